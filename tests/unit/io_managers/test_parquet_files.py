from __future__ import annotations

import os
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from assets_core.model.errors import DefinitionError, IOManagerError
from assets_core.model.io_manager import Published, PublishFailed, ReadRequest
from assets_core.model.specs import Append, Merge
from io_managers import ParquetIOManager
from tests.conformance.io_manager_suite import (
    UNPARTITIONED,
    Steps,
    days,
    hours,
    keys,
    multi,
    recorded,
    table,
    target,
    whole,
)

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = days("2025-01-31", 2)
MERGE = whole(Merge(keys=["id"]))


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def steps(lake: Path) -> Steps:
    return Steps(ParquetIOManager(lake))


def _files(lake: Path) -> list[str]:
    return sorted(str(p.relative_to(lake)) for p in lake.rglob("*") if p.is_file())


def test_a_partition_is_one_file_in_a_folder_named_by_its_grain(steps: Steps, lake: Path) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    hour = hours(datetime(2025, 1, 1, 5, tzinfo=UTC), 1, "UTC")
    steps.write(target(asset="views", kind="hour"), hour, table(n=[1]))
    steps.write(target(asset="a/b", kind=None), keys("eu"), table(n=[1]))
    steps.write(target(asset="both"), multi("2025-01-01", 1, ["eu"]), table(n=[1]))
    steps.write(whole(asset="airports"), UNPARTITIONED, table(n=[1]))
    assert _files(lake) == [
        "a%2Fb/partition=eu/data.parquet",
        "airports/data.parquet",
        "both/day=2025-01-01/region=eu/data.parquet",
        "orders/day=2025-01-31/data.parquet",
        "views/hour=2025-01-01T05%3A00%3A00+00%3A00/data.parquet",
    ]


def test_other_programs_read_the_folder(steps: Steps, lake: Path) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    steps.write(target(), [SECOND], table(n=[2]))
    waiting = steps.stage(target(), [SECOND], table(n=[3]))
    found = duckdb.sql(
        f"select n, day from read_parquet('{lake}/**/*.parquet') order by n"
    ).fetchall()
    assert found == [(1, date(2025, 1, 31)), (2, date(2025, 2, 1))]
    folder = ds.dataset(lake / "orders", partitioning="hive").to_table().to_pylist()
    assert folder == [{"n": 1, "day": "2025-01-31"}, {"n": 2, "day": "2025-02-01"}]
    steps.manager.discard(waiting)


def test_files_are_compressed_checked_and_say_who_wrote_them(steps: Steps, lake: Path) -> None:
    answer = steps.write(target(), [FIRST], table(n=range(300_000)))
    path = lake / "orders/day=2025-01-31/data.parquet"
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(3)] == [122_880, 122_880, 54_240]
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert metadata.metadata[b"partita.asset"] == b"orders"
    assert metadata.metadata[b"partita.partition"] == b"2025-01-31"
    assert metadata.metadata[b"partita.epoch"] == b"1"
    assert metadata.metadata[b"partita.token"] == b"token-1"
    assert answer.receipts[0].bytes == path.stat().st_size
    damaged = bytearray(path.read_bytes())
    damaged[2000] ^= 4
    path.write_bytes(damaged)
    with pytest.raises((IOManagerError, OSError), match=r"can't be read|CRC"):
        steps.rows(target(), [FIRST])


def test_nothing_but_data_stays(steps: Steps, lake: Path) -> None:
    for i in range(3):
        steps.write(target(), [FIRST], table(n=[i]))
        steps.write(MERGE, UNPARTITIONED, table(id=[i]))
    assert _files(lake) == ["orders/data.parquet", "orders/day=2025-01-31/data.parquet"]
    assert list((lake / ".partita").iterdir()) == []


def test_a_file_that_is_not_ours_is_not_overwritten(steps: Steps, lake: Path) -> None:
    path = lake / "orders/day=2025-01-31/data.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(table(mine=[1]), path)
    before = path.read_bytes()
    answer = steps.fail(target(), [FIRST], table(n=[1]))
    assert "was not written by Partita" in str(answer)
    path.write_bytes(b"no parquet")
    answer = steps.fail(target(), [FIRST], table(n=[1]))
    assert "can't be read" in str(answer)
    path.write_bytes(before)
    assert pq.read_table(path).to_pylist() == [{"mine": 1}]


def test_two_names_that_the_file_system_takes_for_one_are_noticed(
    steps: Steps, lake: Path
) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    (lake / "ORDERS").symlink_to(lake / "orders")
    answer = steps.fail(target(asset="ORDERS"), [FIRST], table(n=[2]))
    assert "holds 'orders 2025-01-31'" in str(answer)
    assert steps.rows(target(), [FIRST]) == [{"n": 1}]


def test_lost_partitions_are_those_without_a_file(steps: Steps, lake: Path) -> None:
    for one in (FIRST, SECOND):
        steps.write(target(), [one], table(n=[1]))
    state = recorded([FIRST, SECOND], {FIRST.id: "token-1", SECOND.id: "token-2"})
    (lake / "orders/day=2025-02-01/data.parquet").unlink()
    assert steps.manager.lost(target(), state) == {SECOND.id}
    with pytest.raises(IOManagerError, match="2025-02-01 is not there: no file"):
        steps.rows(target(), [FIRST, SECOND])


def test_a_folder_removed_by_hand_is_made_again(steps: Steps, lake: Path) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    (lake / "orders/day=2025-01-31/data.parquet").unlink()
    (lake / "orders/day=2025-01-31").rmdir()
    steps.write(target(), [FIRST], table(n=[2]))
    assert steps.rows(target(), [FIRST]) == [{"n": 2}]


def test_a_stream_reads_the_old_file_or_the_new_one(steps: Steps) -> None:
    for one, n in ((FIRST, 1), (SECOND, 2)):
        steps.write(target(), [one], table(n=[n]))
    stream = steps.manager.read(ReadRequest(target(), (FIRST, SECOND)))
    assert stream.read_next_batch().to_pylist() == [{"n": 1}]
    steps.write(target(), [FIRST], table(n=[10]))
    steps.write(target(), [SECOND], table(n=[20]))
    assert stream.read_all().to_pylist() in ([{"n": 2}], [{"n": 20}])


def test_a_big_partition_is_never_held_whole(steps: Steps) -> None:
    rows = pa.table({"v": [float(i * 7919 % 1_000_003) for i in range(2_000_000)]})
    steps.write(target(), [FIRST], rows)
    size, before, peak, read = rows.nbytes, pa.total_allocated_bytes(), 0, 0
    for batch in steps.manager.read(ReadRequest(target(), (FIRST,))):
        read += batch.num_rows
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert read == 2_000_000
    assert peak < size / 3


def test_a_missing_folder_is_named_and_only_the_root_is_made(tmp_path: Path) -> None:
    steps = Steps(ParquetIOManager(tmp_path / "data" / "lake"))
    with pytest.raises(IOManagerError) as caught:
        steps.stage(target(), [FIRST], table(n=[1]))
    assert f"there is no folder {tmp_path / 'data'}" in caught.value.message
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(IOManagerError, match="no file"):
        steps.rows(target(), [FIRST])


def test_a_file_in_place_of_the_root_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("x")
    with pytest.raises(IOManagerError, match="is a file"):
        Steps(ParquetIOManager(tmp_path / "lake")).stage(target(), [FIRST], table(n=[1]))


@pytest.mark.parametrize("root", ["s3://bucket/lake", ""])
def test_what_is_no_folder_is_refused(root: str) -> None:
    with pytest.raises(DefinitionError, match="takes a folder"):
        ParquetIOManager(root)


def test_what_files_cant_keep_is_refused_with_a_way_out(steps: Steps) -> None:
    reason = steps.manager.supports(target(Merge(keys=["id"])))
    assert reason is not None
    assert "DuckDBIOManager" in reason
    assert steps.manager.supports(MERGE) is None
    assert steps.manager.supports(target(Append())) is None
    assert steps.manager.supports(whole(Append())) is not None


def test_a_merge_keeps_types_that_duckdb_does_not_have(steps: Steps) -> None:
    kind = pa.timestamp("ns", "Europe/Berlin")
    first = pa.table({"id": [1, 2], "at": pa.array([1, 2], pa.int64()).cast(kind)})
    second = pa.table({"id": [2], "at": pa.array([3], pa.int64()).cast(kind)})
    steps.write(MERGE, UNPARTITIONED, first)
    answer = steps.write(MERGE, UNPARTITIONED, second)
    assert not answer.receipts[0].unchanged
    found = steps.manager.read(ReadRequest(MERGE, UNPARTITIONED)).read_all()
    assert found.schema.field("at").type == kind
    assert found.column("at").cast(pa.int64()).to_pylist() == [1, 3]


def test_a_merge_of_many_rows_reads_the_old_file_in_pieces(steps: Steps) -> None:
    steps.write(MERGE, UNPARTITIONED, table(id=range(300_000), v=[0] * 300_000))
    steps.write(MERGE, UNPARTITIONED, table(id=range(250_000, 310_000), v=[1] * 60_000))
    found = steps.manager.read(ReadRequest(MERGE, UNPARTITIONED)).read_all()
    assert found.num_rows == 310_000
    assert sum(found.column("v").to_pylist()) == 60_000


def test_a_step_with_one_fenced_partition_publishes_none(steps: Steps) -> None:
    where = target(by="day")
    late = steps.stage(where, [FIRST, SECOND], table(day=[date(2025, 1, 31)], n=[1]))
    steps.write(where, [SECOND], table(day=[date(2025, 2, 1)], n=[2]))
    (answer,) = steps.manager.publish([late])
    assert isinstance(answer, PublishFailed)
    assert answer.fenced
    assert steps.manager.lost(where, recorded([FIRST], {FIRST.id: "x"})) == {FIRST.id}


def test_a_lost_stage_fails_only_its_own_step(steps: Steps, lake: Path) -> None:
    staged = [steps.stage(target(), [one], table(n=[1])) for one in (FIRST, SECOND)]
    for path in (lake / ".partita" / "token-1").iterdir():
        path.unlink()
    answers = steps.manager.publish(staged)
    assert isinstance(answers[0], PublishFailed)
    assert "can't be written" in answers[0].message
    assert isinstance(answers[1], Published)


def test_a_read_only_root_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        root = "/proc/lake"  # a place where nobody can make a folder
    else:
        (tmp_path / "closed").mkdir(mode=0o555)
        root = str(tmp_path / "closed" / "lake")
    with pytest.raises(IOManagerError, match=f"{root} can't be written"):
        Steps(ParquetIOManager(root)).stage(target(), [FIRST], table(n=[1]))
