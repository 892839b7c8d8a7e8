"""kill -9 at every step of stage and publish: each partition is whole-old or whole-new, the token says which, a re-run converges.

A process publishes version 2 of three partitions in one group and kills itself just before or just after a chosen call. What it left
is then judged from outside.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import (
    IOManager,
    PartitionSlice,
    Published,
    ReadRequest,
    Recorded,
    StageRequest,
    Target,
)
from assets_core.model.specs import SCD2, Append, Merge, Replace
from io_managers import (
    DeltaIOManager,
    DuckDBIOManager,
    ParquetIOManager,
    delta_folders,
    delta_writes,
    duckdb_file,
    duckdb_removal,
    duckdb_writes,
    parquet_local,
    parquet_removal,
    parquet_writes,
)
from partitions.time_windows import TimeWindow
from tests.strays import strays

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
WORKER = "tests.crash.test_io_manager_kills"

PARTS = tuple(PartitionSlice(i, f"p{i}") for i in range(3))
WHOLE = (PartitionSlice(0, ""),)
DAYS = tuple(
    PartitionSlice(
        i,
        f"2025-01-0{i + 1}",
        TimeWindow(datetime(2025, 1, i + 1, tzinfo=UTC), datetime(2025, 1, i + 2, tzinfo=UTC)),
    )
    for i in range(3)
)
TARGETS = {
    "replace": (Target("orders", Replace(), partitioned=True), PARTS),
    "append": (Target("orders", Append(), partitioned=True), PARTS),
    "everywhere": (Target("orders", Merge(keys=["id", "part"]), partitioned=True), PARTS),
    "whole": (Target("orders", Replace(), partitioned=False), WHOLE),
    "merge": (Target("orders", Merge(keys=["id"]), partitioned=False), WHOLE),
    "within": (Target("orders", Merge(keys=["id"], scope="partition"), partitioned=True), PARTS),
    "history": (Target("orders", SCD2(keys=["id"]), partitioned=True, time_kind="day"), DAYS),
}
PLACES: dict[str, tuple[object, str]] = {
    "begin": (duckdb_writes, "write_group"),
    "commits": (duckdb_writes, "save_commits"),
    "moments": (duckdb_writes, "save_moments"),
    "detach": (duckdb_file.DatabaseFile, "_detach"),
    "note": (duckdb_file.DatabaseFile, "_write_note"),
    "rename": (os, "replace"),
    "write": (parquet_writes, "write_file"),
    "lock": (parquet_local, "_lock_folder"),
    "delta file": (delta_writes, "write_file"),
    "table": (delta_writes, "make_table"),
    "link": (os, "link"),
    "version": (delta_writes, "commit"),
    "durable": (delta_folders.FolderTables, "committed"),
    "forget": (duckdb_removal, "forget_table"),
    "note of files": (parquet_removal, "forget_note"),
    "aside": (os, "rename"),
    "delete": (parquet_removal.shutil, "rmtree"),
}


def _manager(kind: str, folder: Path) -> IOManager:
    if kind == "duckdb":
        return DuckDBIOManager(folder / "shop.duckdb")
    if kind == "delta":
        return DeltaIOManager(folder / "lake")
    return ParquetIOManager(folder / "lake")


def _requests(mode: str, version: int) -> list[StageRequest]:
    target, slices = TARGETS[mode]
    return [StageRequest(target, (one,), version, f"v{version}{one.key}") for one in slices]


def _publish(manager: IOManager, mode: str, version: int) -> None:
    staged = []
    for request in _requests(mode, version):
        part = request.slices[0].key
        rows = {"id": range(500), "version": [version] * 500, "part": [part] * 500}
        staged.append(manager.stage(request, pa.table(rows).to_reader()))
    for answer in manager.publish(staged):
        assert isinstance(answer, Published), answer


def _version(manager: IOManager, mode: str, one: PartitionSlice) -> int | None:
    """The version that all 500 rows of a partition have; None if it isn't there."""
    try:
        found = manager.read(ReadRequest(TARGETS[mode][0], (one,))).read_all()
    except IOManagerError:
        return None
    if "is_current" in found.column_names:
        found = found.filter(found.column("is_current"))
    assert sorted(found.column("id").to_pylist()) == list(range(500))
    (version,) = set(found.column("version").to_pylist())
    assert isinstance(version, int)
    return version


@pytest.mark.parametrize(
    ("kind", "mode", "place", "moment", "first"),
    [
        ("duckdb", "replace", "begin", "before", False),
        ("duckdb", "replace", "commits", "before", False),
        ("duckdb", "replace", "commits", "after", False),
        ("duckdb", "replace", "detach", "before", False),
        ("duckdb", "replace", "note", "before", False),
        ("duckdb", "replace", "note", "after", False),
        ("duckdb", "replace", "commits", "after", True),
        ("duckdb", "append", "commits", "after", False),
        ("duckdb", "everywhere", "commits", "after", False),
        ("duckdb", "everywhere", "detach", "before", True),
        ("duckdb", "whole", "commits", "after", False),
        ("duckdb", "merge", "commits", "after", False),
        ("duckdb", "within", "commits", "after", False),
        ("duckdb", "history", "commits", "after", False),
        ("duckdb", "history", "moments", "after", True),
        ("parquet", "replace", "write", "before", False),
        ("parquet", "replace", "write", "after", False),
        ("parquet", "replace", "lock", "after", False),
        ("parquet", "replace", "rename", "before", False),
        ("parquet", "replace", "rename", "after", False),
        ("parquet", "replace", "rename", "before", True),
        ("parquet", "append", "rename", "after", False),
        ("parquet", "merge", "write", "after", False),
        ("parquet", "merge", "rename", "after", False),
        ("parquet", "within", "rename", "before", False),
        ("parquet", "within", "rename", "after", False),
        ("parquet", "history", "rename", "after", True),
        ("delta", "replace", "delta file", "before", False),
        ("delta", "replace", "delta file", "after", True),
        ("delta", "replace", "table", "before", True),
        ("delta", "replace", "table", "after", True),
        ("delta", "replace", "link", "before", False),
        ("delta", "replace", "link", "after", False),
        ("delta", "replace", "version", "before", False),
        ("delta", "replace", "version", "after", False),
        ("delta", "replace", "durable", "before", False),
        ("delta", "append", "link", "after", False),
        ("delta", "everywhere", "version", "before", False),
        ("delta", "whole", "link", "after", False),
        ("delta", "whole", "version", "after", False),
        ("delta", "merge", "link", "after", False),
        ("delta", "merge", "version", "after", False),
        ("delta", "within", "delta file", "after", False),
        ("delta", "within", "version", "before", False),
        ("delta", "history", "version", "after", True),
    ],
)
def test_a_kill_leaves_old_or_new_and_a_re_run_converges(
    tmp_path: Path, *, kind: str, mode: str, place: str, moment: str, first: bool
) -> None:
    if not first:
        _publish(_manager(kind, tmp_path), mode, 1)
    _be_killed(tmp_path, kind, mode, place, moment)
    manager = _manager(kind, tmp_path)
    seen = []
    for request in _requests(mode, 2):
        version = _version(manager, mode, request.slices[0])
        assert version in {2, None if first else 1}
        assert bool(manager.published(request)) == (version == 2)
        manager.discard_leftovers(request.token, request.target)
        seen.append(version)
    if kind != "parquet":
        assert len(set(seen)) == 1, "a group is one transaction"
    target, slices = TARGETS[mode]
    tokens = {
        one.id: f"v{version}{one.key}"
        for one, version in zip(slices, seen, strict=True)
        if version
    }
    state = Recorded(
        len(tokens),
        lambda: tuple(tokens),
        lambda: [one for one in slices if one.id in tokens],
        lambda: tokens,
        "state 1",
    )
    assert manager.lost(target, state) == frozenset()
    _publish(manager, mode, 3)
    assert [_version(manager, mode, one) for one in slices] == [3] * len(slices)
    assert strays(tmp_path, "shop.duckdb") == []


@pytest.mark.parametrize(
    ("kind", "place", "moment", "removed"),
    [
        ("duckdb", "forget", "before", False),
        ("duckdb", "forget", "after", False),
        ("duckdb", "detach", "before", True),
        ("duckdb", "note", "before", True),
        ("parquet", "note of files", "after", False),
        ("parquet", "aside", "before", False),
        ("parquet", "aside", "after", True),
        ("parquet", "delete", "before", True),
        ("delta", "aside", "before", False),
        ("delta", "aside", "after", True),
        ("delta", "delete", "before", True),
    ],
)
def test_a_kill_while_an_asset_is_removed_leaves_all_or_nothing_and_again_removes_the_rest(
    tmp_path: Path, *, kind: str, place: str, moment: str, removed: bool
) -> None:
    manager = _manager(kind, tmp_path)
    _publish(manager, "replace", 1)
    target, slices = TARGETS["replace"]
    tokens = {one.id: f"v1{one.key}" for one in slices}
    state = Recorded(3, lambda: tuple(tokens), lambda: list(slices), lambda: tokens, "state 1")
    assert manager.lost(target, state) == frozenset()
    _be_killed(tmp_path, kind, "replace", place, moment, "remove")
    manager = _manager(kind, tmp_path)
    there = [_version(manager, "replace", one) for one in slices]
    assert there == [None if removed else 1] * 3
    assert manager.lost(target, state) == (frozenset(tokens) if removed else frozenset())
    manager.remove(target)
    assert manager.lost(target, state) == frozenset(tokens)
    assert strays(tmp_path, "shop.duckdb") == []
    assert kind == "duckdb" or not [*tmp_path.rglob("*.parquet")]
    _publish(manager, "replace", 1)
    assert [_version(manager, "replace", one) for one in slices] == [1] * 3


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_while_the_database_is_made_leaves_nothing_half_made(
    tmp_path: Path, moment: str
) -> None:
    _be_killed(tmp_path, "duckdb", "replace", "rename", moment)
    manager = _manager("duckdb", tmp_path)
    assert [_version(manager, "replace", one) for one in PARTS] == [None] * 3
    _publish(manager, "replace", 3)
    assert [_version(manager, "replace", one) for one in PARTS] == [3] * 3
    assert strays(tmp_path, "shop.duckdb") == []


def _be_killed(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", WORKER, str(folder), *arguments]
    ended = subprocess.run(command, cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL, "the worker never came to the place"


def _work(  # noqa: PLR0917 - a command line
    folder: Path, kind: str, mode: str, place: str, moment: str, act: str = "publish"
) -> None:
    if "MUTANT" in os.environ:
        import tests.crash.mutants  # noqa: F401 - plants it
    holder, name = PLACES[place]
    original: Callable[..., Any] = getattr(holder, name)

    @wraps(original)
    def deadly(*args: Any, **kwargs: Any) -> Any:
        if moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(holder, name, deadly)
    if act == "remove":
        _manager(kind, folder).remove(TARGETS[mode][0])
    else:
        _publish(_manager(kind, folder), mode, 2)


if __name__ == "__main__":
    _work(Path(sys.argv[1]), *sys.argv[2:])
