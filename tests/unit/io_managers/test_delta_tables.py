"""What is particular to Delta tables: races between attempts, what other programs read and change, types that Delta does not have."""

from __future__ import annotations

import subprocess
import sys
from datetime import time, timedelta
from typing import TYPE_CHECKING

import deltalake
import polars as pl
import pyarrow as pa
import pytest

from assets_core.model.errors import DataError, DefinitionError, IOManagerError
from assets_core.model.io_manager import Published, PublishFailed, ReadRequest, StageRequest
from assets_core.model.specs import Merge
from io_managers import DeltaIOManager, delta_folders, delta_writes
from tests.conformance.io_manager_suite import (
    HOSTILE,
    Steps,
    days,
    keys,
    recorded,
    target,
    under,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from assets_core.model.io_manager import PartitionSlice

PARTS = days("2025-01-31", 3)
WORKER = """
import sys
import pyarrow as pa
from assets_core.model.io_manager import StageRequest
from io_managers import DeltaIOManager
from tests.conformance.io_manager_suite import keys, target
folder, me, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
manager, where = DeltaIOManager(folder), target(kind=None)
for round in range(count):
    for one in (keys("shared", *(f"own{i}" for i in range(3)))[0], keys("shared", "own0", "own1", "own2")[me + 1]):
        request = StageRequest(where, (one,), 3 * round + me + 1, f"{me}-{round}-{one.key}")
        rows = pa.table({"epoch": [request.epoch]})
        (answer,) = manager.publish([manager.stage(request, rows.to_reader())])
        print(one.key, request.epoch, getattr(answer, "fenced", "done"), flush=True)
"""


@pytest.fixture
def manager(tmp_path: Path) -> DeltaIOManager:
    return DeltaIOManager(tmp_path / "lake")


@pytest.fixture
def steps(manager: DeltaIOManager) -> Steps:
    return Steps(manager)


def table_at(tmp_path: Path) -> deltalake.DeltaTable:
    return deltalake.DeltaTable(str(tmp_path / "lake" / "orders"))


def attempt(
    manager: DeltaIOManager, one: PartitionSlice, epoch: int, value: int
) -> Published | PublishFailed:
    request = StageRequest(target(), (one,), epoch, f"token-{epoch}")
    staged = manager.stage(request, pa.table({"v": [value]}).to_reader())
    (answer,) = manager.publish([staged])
    return answer


def before_the_commit(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen once between what a publish reads and its commit."""
    commit, acts = delta_writes.commit, [act]

    def late(*arguments: object) -> None:
        if acts:
            acts.pop()()
        commit(*arguments)  # type: ignore[arg-type] # handed on

    monkeypatch.setattr(delta_writes, "commit", late)


@pytest.mark.parametrize("before", [PARTS[0], PARTS[1]], ids=["again", "first"])
def test_a_newer_attempt_that_commits_in_between_fences_the_older_off(
    manager: DeltaIOManager,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: PartitionSlice,
) -> None:
    attempt(manager, before, 1, 1)
    other = DeltaIOManager(tmp_path / "lake")
    before_the_commit(monkeypatch, lambda: attempt(other, PARTS[0], 9, 9))
    late = attempt(manager, PARTS[0], 5, 5)
    assert isinstance(late, PublishFailed)
    assert late.fenced
    assert Steps(manager).rows(target(), PARTS[:1]) == [{"v": 9}]


def test_a_row_that_a_merge_in_between_brought_is_merged_with(
    manager: DeltaIOManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = target(Merge(keys=["id"]))

    def merge(into: DeltaIOManager, one: PartitionSlice, epoch: int) -> None:
        rows = pa.table({"id": [7], "epoch": [epoch]})
        staged = into.stage(StageRequest(where, (one,), epoch, f"token-{epoch}"), rows.to_reader())
        (answer,) = into.publish([staged])
        assert isinstance(answer, Published)

    first = StageRequest(where, PARTS[2:], 1, "token-1")
    manager.publish([manager.stage(first, pa.table({"id": [1], "epoch": [1]}).to_reader())])
    other = DeltaIOManager(tmp_path / "lake")
    before_the_commit(monkeypatch, lambda: merge(other, PARTS[0], 2))
    merge(manager, PARTS[1], 3)
    found = table_at(tmp_path).to_pyarrow_table().select(["id", "epoch"]).to_pylist()
    assert sorted(found, key=str) == [{"id": 1, "epoch": 1}, {"id": 7, "epoch": 3}]


def test_another_partition_that_is_committed_in_between_stays(
    manager: DeltaIOManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(manager, PARTS[0], 1, 1)
    other = DeltaIOManager(tmp_path / "lake")
    before_the_commit(monkeypatch, lambda: attempt(other, PARTS[1], 2, 2))
    assert isinstance(attempt(manager, PARTS[0], 3, 3), Published)
    assert Steps(manager).rows(target(), PARTS[:2]) == [{"v": 3}, {"v": 2}]


def test_two_first_publishes_make_one_table(
    manager: DeltaIOManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = DeltaIOManager(tmp_path / "lake")
    before_the_commit(monkeypatch, lambda: attempt(other, PARTS[1], 2, 2))
    assert isinstance(attempt(manager, PARTS[0], 3, 3), Published)
    assert Steps(manager).rows(target(), PARTS[:2]) == [{"v": 3}, {"v": 2}]


def newest_of(told: Sequence[Sequence[str]]) -> dict[str, int]:
    """The newest epoch of each key that was published, by what the workers say."""
    newest: dict[str, int] = {}
    for key, epoch, answer in told:
        assert answer in {"done", "True"}
        if answer == "done":
            newest[key] = max(newest.get(key, 0), int(epoch))
    return newest


def test_processes_that_publish_at_once_lose_nothing_and_the_newest_epoch_stays(
    tmp_path: Path,
) -> None:
    folder = str(tmp_path / "lake")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, folder, str(me), "8"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in range(3)
    ]
    told = [line.split() for one in workers for line in one.communicate()[0].splitlines()]
    assert [one.returncode for one in workers] == [0, 0, 0]
    newest = newest_of(told)
    assert newest["shared"] == 24
    parts = keys("shared", "own0", "own1", "own2")
    found = Steps(DeltaIOManager(folder)).rows(target(kind=None), parts)
    assert [row["epoch"] for row in found] == [newest[one.key] for one in parts]


def test_other_readers_get_the_values_whatever_types_and_names_partitions_brought(
    steps: Steps, tmp_path: Path
) -> None:
    where = under("widen")
    first = {"id": pa.array([2**32 - 1], pa.uint32()), "Big": pa.array([2**64 - 1], pa.uint64())}
    steps.write(where, PARTS[:1], pa.table(first))
    steps.write(where, PARTS[1:2], pa.table({"ID": pa.array([-5]), "n": pa.nulls(1)}))
    steps.write(where, PARTS[2:], pa.table({"id": [7], "n": ["x"]}))
    seen = pa.table(table_at(tmp_path).to_pyarrow_table().sort_by("_partition"))
    assert seen.to_pylist() == [
        {"id": 2**32 - 1, "Big": 2**64 - 1, "_partition": "2025-01-31", "n": None},
        {"id": -5, "Big": None, "_partition": "2025-02-01", "n": None},
        {"id": 7, "Big": None, "_partition": "2025-02-02", "n": "x"},
    ]
    assert steps.rows(where, PARTS) == [
        {"id": 2**32 - 1, "Big": 2**64 - 1, "n": None},
        {"id": -5, "Big": None, "n": None},
        {"id": 7, "Big": None, "n": "x"},
    ]


def test_readers_that_take_partitions_from_folders_get_any_key(
    steps: Steps, tmp_path: Path
) -> None:
    parts = keys(*HOSTILE)
    for number, one in enumerate(parts):
        steps.write(target(kind=None), [one], pa.table({"n": [number]}))
    seen = pl.read_delta(str(tmp_path / "lake" / "orders")).sort("n")
    assert seen["_partition"].to_list() == list(HOSTILE)


def test_earlier_versions_stay_to_be_read(steps: Steps, tmp_path: Path) -> None:
    steps.write(target(), PARTS[:1], pa.table({"v": [1]}))
    before = table_at(tmp_path).version()
    steps.write(target(), PARTS[:1], pa.table({"v": [2]}))
    table = table_at(tmp_path)
    table.load_as_version(before)
    assert table.to_pyarrow_table()["v"].to_pylist() == [1]


def test_the_commit_tells_the_tokens(steps: Steps, tmp_path: Path) -> None:
    steps.write(target(), PARTS[:1], pa.table({"v": [1]}))
    (last,) = table_at(tmp_path).history(1)
    assert last["partita"] == {"2025-01-31": "token-1"}


def test_rows_that_another_program_deleted_are_lost_and_the_fence_stays(
    steps: Steps, tmp_path: Path
) -> None:
    steps.write(target(), PARTS[:1], pa.table({"v": [1, 2]}))
    state = recorded(PARTS[:1], {PARTS[0].id: "token-1"})
    assert steps.manager.lost(target(), state) == frozenset()
    table_at(tmp_path).delete("v = 1")
    assert steps.manager.lost(target(), state) == {PARTS[0].id}
    steps.epoch = 0
    late = steps.fail(target(), PARTS[:1], pa.table({"v": [3]}))
    assert isinstance(late, PublishFailed)
    assert late.fenced
    steps.write(target(), PARTS[:1], pa.table({"v": [4]}))
    assert steps.rows(target(), PARTS[:1]) == [{"v": 4}]


def test_a_file_that_is_gone_is_lost(steps: Steps, tmp_path: Path) -> None:
    steps.write(target(), PARTS[:1], pa.table({"v": [1]}))
    (file,) = (tmp_path / "lake" / "orders").rglob("*.parquet")
    file.unlink()
    state = recorded(PARTS[:1], {PARTS[0].id: "token-1"})
    assert steps.manager.lost(target(), state) == {PARTS[0].id}


@pytest.mark.parametrize(
    "values",
    [
        pa.array([time(12)]),
        pa.array([timedelta(1)]),
        pa.array([1], pa.decimal256(50, 0)),
        pa.array([[time(12)]]),
    ],
    ids=lambda one: str(one.type),
)
def test_a_type_that_delta_lacks_is_refused_by_column(
    steps: Steps, values: pa.Array, tmp_path: Path
) -> None:
    told = steps.fail(target(), PARTS[:1], pa.table({"v": values}))
    assert isinstance(told, DataError)
    assert told.message.startswith(f"orders: column 'v' is {values.type}, and Delta has no type")
    assert not [*tmp_path.rglob("*.parquet")]


def test_nanoseconds_are_kept_if_they_are_whole_microseconds_and_else_refused(
    steps: Steps,
) -> None:
    kind = pa.timestamp("ns")
    steps.write(target(), PARTS[:1], pa.table({"at": pa.array([1_000], kind)}))
    found = steps.manager.read(ReadRequest(target(), PARTS[:1])).read_all()
    assert found == pa.table({"at": pa.array([1_000], kind)})
    told = steps.fail(target(), PARTS[:1], pa.table({"at": pa.array([1_001], kind)}))
    assert "'at' is timestamp[ns], and has a value that Delta can't hold" in told.message


def test_a_merge_moves_a_row_from_one_partition_to_another(steps: Steps, tmp_path: Path) -> None:
    where = target(Merge(keys=["id"]))
    steps.write(where, PARTS[:1], pa.table({"id": [1, 2], "v": ["a", "b"]}))
    steps.write(where, PARTS[1:2], pa.table({"id": [2], "v": ["B"]}))
    assert table_at(tmp_path).to_pyarrow_table().num_rows == 2
    first = recorded(PARTS[:2], {PARTS[0].id: "token-1", PARTS[1].id: "token-2"})
    assert steps.manager.lost(where, first) == frozenset()


def test_a_table_of_someone_else_is_left_alone(steps: Steps, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    folder = str(tmp_path / "lake" / "orders")
    deltalake.write_deltalake(folder, pa.table({"v": [1]}))
    told = steps.fail(target(), PARTS[:1], pa.table({"v": [2]}))
    assert "is a Delta table that Partita did not make" in told.message
    with pytest.raises(IOManagerError, match="did not make"):
        steps.manager.remove(target())
    assert deltalake.DeltaTable(folder).to_pyarrow_table().to_pylist() == [{"v": 1}]


def test_a_table_with_other_partitions_says_how_to_begin_anew(steps: Steps) -> None:
    steps.write(whole(), keys(""), pa.table({"v": [1]}))
    told = steps.fail(target(), PARTS[:1], pa.table({"v": [2]}))
    assert "was written without partitions" in told.message
    assert told.hint == "begin anew with: partita state restart orders"


@pytest.mark.parametrize(
    ("root", "options", "told"),
    [
        ("gs://bucket/lake", None, "in folders of this machine and in S3, not in gs://"),
        (
            "sftp://ann:hush@host/lake",
            None,
            "in folders of this machine and in S3, not in sftp://",
        ),
        ("s3://", None, "names no bucket"),
        ("", None, "names no folder"),
        ("lake", {"region": "eu"}, "takes no storage_options: it is a folder"),
        ("s3://bucket/lake", {"timeout": 5}, "'timeout' is int, not a duration"),
        ("s3://bucket/lake", {"credential_provider": dict}, "'credential_provider' is a function"),
    ],
)
def test_what_can_t_be_a_root_is_told_when_the_project_is_loaded(
    root: str, options: dict[str, object] | None, told: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        DeltaIOManager(root, storage_options=options)
    assert told in caught.value.message
    assert caught.value.message.startswith(f"DeltaIOManager({root.replace(':hush', '')!r}")
    assert caught.value.hint


def test_a_table_whose_log_is_damaged_can_be_removed_if_its_files_are_the_asset_s(
    steps: Steps, tmp_path: Path
) -> None:
    steps.write(target(), PARTS[:1], pa.table({"v": [1]}))
    log = tmp_path / "lake" / "orders" / "_delta_log"
    for version in log.glob("*.json"):
        version.write_text("damaged")
    with pytest.raises(IOManagerError) as caught:
        steps.rows(target(), PARTS[:1])
    assert caught.value.hint == "if its log is damaged, begin anew with: partita state restart"
    steps.manager.remove(target())
    steps.write(target(), PARTS[:1], pa.table({"v": [2]}))
    assert steps.rows(target(), PARTS[:1]) == [{"v": 2}]


def test_a_damaged_table_of_someone_else_stays(steps: Steps, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    folder = tmp_path / "lake" / "orders"
    deltalake.write_deltalake(str(folder), pa.table({"v": [1]}))
    for version in (folder / "_delta_log").glob("*.json"):
        version.write_text("damaged")
    with pytest.raises(IOManagerError, match="was not written by Partita"):
        steps.manager.remove(target())
    assert [*folder.glob("*.parquet")]


def test_a_folder_that_deltalake_would_mistake_is_refused(tmp_path: Path) -> None:
    steps = Steps(DeltaIOManager(tmp_path / "100%20"))
    told = steps.fail(target(), PARTS[:1], pa.table({"v": [2]}))
    assert "takes % and \\ in a path for something else" in told.message


def test_a_missing_package_says_what_to_install(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(IOManagerError) as caught:
        steps.stage(target(), PARTS[:1], pa.table({"v": [2]}))
    assert caught.value.hint == "pip install 'partita[delta]'"


def test_compacting_and_vacuuming_leave_partitions_as_they_are(
    steps: Steps, tmp_path: Path
) -> None:
    for value in (1, 2):
        for one in PARTS:
            steps.write(target(), [one], pa.table({"v": [value]}))
    state = recorded(PARTS, {one.id: f"token-{4 + i}" for i, one in enumerate(PARTS)})
    table = table_at(tmp_path)
    table.optimize.compact()
    gone = table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert len(gone) == 3
    assert steps.manager.lost(target(), state) == frozenset()
    assert steps.rows(target(), PARTS) == [{"v": 2}] * 3


def test_a_table_with_deletion_vectors_is_refused(steps: Steps, tmp_path: Path) -> None:
    steps.write(target(), PARTS[:1], pa.table({"v": [1]}))
    table_at(tmp_path).alter.add_feature(
        deltalake.TableFeatures.DeletionVectors, allow_protocol_versions_increase=True
    )
    with pytest.raises(IOManagerError, match="uses deletionVectors, which Partita does not write"):
        steps.rows(target(), PARTS[:1])


def test_a_commit_whose_answer_is_an_error_is_read_back_and_loses_no_file(
    manager: DeltaIOManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(manager, PARTS[0], 1, 1)

    def fails(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(delta_folders.FolderTables, "committed", fails)
        told = attempt(manager, PARTS[0], 2, 2)
    assert isinstance(told, PublishFailed)
    request = StageRequest(target(), PARTS[:1], 2, "token-2")
    assert len(manager.published(request)) == 1
    assert Steps(manager).rows(target(), PARTS[:1]) == [{"v": 2}]


@pytest.mark.parametrize("done", [False, True])
def test_an_error_of_deltalake_is_told_and_what_was_committed_all_the_same_counts(
    manager: DeltaIOManager, monkeypatch: pytest.MonkeyPatch, *, done: bool
) -> None:
    attempt(manager, PARTS[0], 1, 1)
    write = deltalake.DeltaTable.create_write_transaction

    def fails(*arguments: object, **options: object) -> None:
        if done:
            write(*arguments, **options)  # type: ignore[arg-type] # handed on
        raise deltalake.exceptions.DeltaError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr(deltalake.DeltaTable, "create_write_transaction", fails)
        told = attempt(manager, PARTS[0], 2, 2)
    if done:
        assert isinstance(told, Published)
    else:
        assert isinstance(told, PublishFailed)
        assert told.message.endswith("lake/orders can't be written: no space left")
    assert Steps(manager).rows(target(), PARTS[:1]) == [{"v": 2 if done else 1}]


def test_tokens_and_fences_outlast_the_log(steps: Steps, tmp_path: Path) -> None:
    for one in PARTS:
        steps.write(target(), [one], pa.table({"v": [one.id]}))
    table = table_at(tmp_path)
    table.create_checkpoint()
    *older, _ = sorted((tmp_path / "lake" / "orders" / "_delta_log").glob("*.json"))
    for version in older:  # as a cleanup of the log does
        version.unlink()
    held = sorted(steps.manager.holdings(target()))
    assert held == [(one.id, f"token-{i + 1}") for i, one in enumerate(PARTS)]
    steps.epoch = 0
    late = steps.fail(target(), PARTS[1:2], pa.table({"v": [0]}))
    assert isinstance(late, PublishFailed)
    assert late.fenced
    steps.epoch = 9
    steps.write(target(), PARTS[1:2], pa.table({"v": [9]}))
    assert steps.rows(target(), PARTS[1:2]) == [{"v": 9}]
