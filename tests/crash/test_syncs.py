"""What must be on disk before what: a kill can't show it, because the kernel survives one, but a power cut would.

The order of the calls is recorded in this process; DuckDB and SQLite sync their own files, and are told to by their settings.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pyarrow as pa
import pytest

from assets_core.model.io_manager import Published
from assets_core.model.specs import Merge
from assets_core.state.sqlite import SqliteStore
from io_managers import DuckDBIOManager, ParquetIOManager
from tests.conformance.io_manager_suite import UNPARTITIONED, Steps, days, target, whole

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = pa.table({"id": [1, 2], "v": [1, 2]})


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Syncs and renames as they happen: ("sync" or "rename", path)."""
    done: list[tuple[str, str]] = []

    def recorded(what: str, original: Callable[..., None]) -> Callable[..., None]:
        def act(*arguments: object) -> None:
            first = arguments[0]
            path = str(Path(f"/proc/self/fd/{first}").readlink()) if isinstance(first, int) else ""
            original(*arguments)
            done.append((what, path or str(arguments[-1])))

        return act

    monkeypatch.setattr(os, "fsync", recorded("sync", os.fsync))
    monkeypatch.setattr(os, "replace", recorded("rename", os.replace))
    return done


def synced_in_order(acts: list[tuple[str, str]], staged: str, path: Path) -> bool:
    """A sync of a file that the pattern `staged` is found in, then the rename to `path`, then a sync of its folder."""
    renamed = acts.index(("rename", str(path)))
    before, after = acts[:renamed], acts[renamed + 1 :]
    return (
        any(what == "sync" and re.search(staged, name) for what, name in before)
        and (
            "sync",
            str(path.parent),
        )
        in after
    )


def test_a_parquet_file_is_synced_before_it_is_renamed_and_its_folder_after(
    tmp_path: Path, acts: list[tuple[str, str]]
) -> None:
    steps = Steps(ParquetIOManager(tmp_path / "lake"))
    assert isinstance(steps.write(target(), days("2025-01-01", 1), ROWS), Published)
    (path,) = (tmp_path / "lake").rglob("*.parquet")
    assert synced_in_order(acts, r"/0-\w+\.tmp$", path)


def test_new_folders_are_synced_up_to_the_root(
    tmp_path: Path, acts: list[tuple[str, str]]
) -> None:
    Steps(ParquetIOManager(tmp_path / "lake")).write(target(), days("2025-01-01", 1), ROWS)
    (path,) = (tmp_path / "lake").rglob("*.parquet")
    synced = {name for what, name in acts if what == "sync"}
    assert {str(path.parent.parent), str(tmp_path / "lake")} <= synced


def test_a_merged_parquet_file_is_synced_in_the_same_order(
    tmp_path: Path, acts: list[tuple[str, str]]
) -> None:
    steps = Steps(ParquetIOManager(tmp_path / "lake"))
    for _ in range(2):
        acts.clear()
        steps.write(whole(Merge(keys=["id"])), UNPARTITIONED, ROWS)
        (path,) = (tmp_path / "lake").rglob("*.parquet")
        assert synced_in_order(acts, r"/merged-0\.tmp$", path)


def test_a_new_database_is_synced_before_it_has_its_name(
    tmp_path: Path, acts: list[tuple[str, str]]
) -> None:
    path = tmp_path / "shop.duckdb"
    Steps(DuckDBIOManager(path)).write(target(), days("2025-01-01", 1), ROWS)
    assert synced_in_order(acts, "shop.duckdb.new", path)


def test_the_state_syncs_every_commit(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "state.db") as store:
        store.intern_keys({"static": ["a"]})
        with store._database.write() as cursor:
            assert isinstance(cursor, apsw.Cursor)
            assert cursor.execute("pragma synchronous").get == 2  # FULL
            assert cursor.execute("pragma journal_mode").get == "wal"
            assert stat.S_ISREG((tmp_path / "state.db").stat().st_mode)
