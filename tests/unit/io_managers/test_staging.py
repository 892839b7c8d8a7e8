from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from assets_core.authoring.arrow_types import plain_type
from assets_core.model.errors import DataError, IOManagerError
from assets_core.model.io_manager import StageRequest, Target
from assets_core.model.specs import Merge, Replace
from io_managers import DuckDBIOManager, ParquetIOManager, staging
from io_managers.staging import StagedRows, stage_folder, take_in
from io_managers.workbench import Workbench
from tests.conformance.io_manager_suite import UNPARTITIONED, days, keys, target, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from assets_core.model.io_manager import PartitionSlice

REGIONS = keys("eu", "us")
BY_REGION = target(by="region", kind=None)


@pytest.fixture
def bench() -> Iterator[Workbench]:
    bench = Workbench()
    yield bench
    bench.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 1 kB is much."""
    monkeypatch.setattr(staging, "SPILL_BYTES", 1000)


def _take(
    bench: Workbench,
    rows: pa.Table,
    where: Target,
    slices: tuple[PartitionSlice, ...],
    folder: Path | None = None,
) -> StagedRows:
    request = StageRequest(where, slices, 1, "token/1")
    stream = pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(max_chunksize=100))
    return take_in(bench, request, stream, None if folder is None else str(folder))


def _mixed(count: int) -> pa.Table:
    return pa.table({"region": [("us", "eu")[i % 2] for i in range(count)], "n": range(count)})


def _numbers(batches: Iterable[pa.RecordBatch]) -> list[int]:
    return [value for batch in batches for value in batch.column("n").to_pylist()]


def test_slices_are_found_in_one_look_at_the_rows(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"r{i}" for i in range(400)]
    scattered = [(i * 7) % 400 for i in range(4000)]
    rows = _take(
        bench,
        pa.table({"region": [names[i] for i in scattered], "n": scattered}),
        BY_REGION,
        keys(*names),
    )
    looks: list[int] = []
    opened = StagedRows.open

    def look(self: StagedRows) -> pa.Table:
        looks.append(1)
        return opened(self)

    monkeypatch.setattr(StagedRows, "open", look)
    assert [_numbers(batches) for batches in rows.by_slice()] == [[i] * 10 for i in range(400)]
    assert looks == [1]


@pytest.mark.usefixtures("small")
def test_many_rows_wait_in_one_file_that_pickles_as_its_path(
    bench: Workbench, tmp_path: Path
) -> None:
    rows = _take(bench, _mixed(1000), BY_REGION, REGIONS, tmp_path)
    assert isinstance(rows.held, str)
    assert [path.name[:5] for path in tmp_path.rglob("*.arrow")] == ["rows-"]
    assert stage_folder(str(tmp_path), "token/1") == str(tmp_path / "token%2F1")
    again = pickle.loads(pickle.dumps(rows))  # noqa: S301 - our own bytes
    assert again.visible().column("n").to_pylist() == list(range(1000))
    numbers = [_numbers(batches) for batches in again.by_slice()]
    assert numbers == [list(range(1, 1000, 2)), list(range(0, 1000, 2))]
    assert [facts.rows for facts in rows.facts] == [500, 500]


@pytest.mark.usefixtures("small")
def test_rows_have_one_version_in_memory_and_on_disk(bench: Workbench, tmp_path: Path) -> None:
    on_disk = _take(bench, _mixed(1000), BY_REGION, REGIONS, tmp_path)
    in_memory = _take(bench, _mixed(1000), BY_REGION, REGIONS)
    assert isinstance(in_memory.held, pa.Table)
    assert [f.data_version for f in on_disk.facts] == [f.data_version for f in in_memory.facts]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("where", [BY_REGION, target(Merge(keys=["region"]), kind=None)])
def test_refused_rows_leave_no_file(bench: Workbench, tmp_path: Path, where: Target) -> None:
    with pytest.raises(DataError):
        _take(bench, _mixed(1000), where, REGIONS[:1], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
def test_the_latest_of_many_rows_are_found_on_disk(bench: Workbench, tmp_path: Path) -> None:
    write = Merge(keys=["region"], order_by="n", on_duplicate="latest")
    rows = _take(bench, _mixed(1000), whole(write), UNPARTITIONED, tmp_path)
    assert rows.visible().to_pylist() == [
        {"region": "eu", "n": 999},
        {"region": "us", "n": 998},
    ] or (rows.visible().to_pylist() == [{"region": "us", "n": 998}, {"region": "eu", "n": 999}])
    assert rows.facts[0].rows == 2


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("make", [DuckDBIOManager, ParquetIOManager])
def test_a_discarded_stage_leaves_no_file(
    tmp_path: Path, make: type[DuckDBIOManager | ParquetIOManager]
) -> None:
    manager = make(tmp_path / "place")
    request = StageRequest(BY_REGION, REGIONS, 1, "t")
    for end in ("discard", "leftovers", "publish"):
        staged = manager.stage(request, _mixed(1000).to_reader())
        assert any(path.is_file() for path in tmp_path.rglob("*"))
        if end == "discard":
            manager.discard(staged)
        elif end == "leftovers":
            manager.discard_leftovers("t", BY_REGION)
        else:
            manager.publish([staged])
        waiting = [p for p in tmp_path.rglob("*") if p.suffix in {".arrow", ".tmp"}]
        assert waiting == []


@pytest.mark.usefixtures("small")
def test_a_stage_that_cant_be_written_is_the_environments_fault(
    bench: Workbench, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(IOManagerError, match="can't be staged"):
        _take(bench, _mixed(1000), BY_REGION, REGIONS, tmp_path / "file")


def test_rows_without_columns_are_refused(bench: Workbench) -> None:
    rows = pa.table({"a": [1, 2]}).select([])
    with pytest.raises(DataError, match="2 rows without columns"):
        _take(bench, rows, target(), days("2025-01-31"))


def test_a_single_big_batch_is_taken_in_pieces(bench: Workbench) -> None:
    rows = _take(bench, pa.table({"n": range(300_000)}), whole(), UNPARTITIONED)
    assert rows.rows == 300_000
    assert max(len(batch) for batch in next(rows.by_slice())) <= 122_880


def test_dropped_rows_are_not_in_the_version(bench: Workbench) -> None:
    where = target(Replace(out_of_range="drop"), by="region", kind=None)
    dropped = _take(bench, _mixed(10), where, REGIONS[:1])
    kept = _take(
        bench, _mixed(10).filter(pa.array([i % 2 == 1 for i in range(10)])), where, REGIONS[:1]
    )
    assert dropped.dropped == 5
    assert dropped.facts[0].data_version == kept.facts[0].data_version


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (pa.large_string(), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.dictionary(pa.int8(), pa.large_string()), pa.string()),
        (pa.large_binary(), pa.binary()),
        (pa.date64(), pa.date32()),
        (pa.run_end_encoded(pa.int32(), pa.int64()), pa.int64()),
        (pa.large_list(pa.large_string()), pa.list_(pa.string())),
        (pa.struct([("a", pa.large_string())]), pa.struct([("a", pa.string())])),
        (pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("ns", "Europe/Berlin")),
        (pa.timestamp("s", "Europe/Berlin"), pa.timestamp("us", "Europe/Berlin")),
        (pa.timestamp("s"), pa.timestamp("s")),
        (pa.list_(pa.field("item", pa.int32(), nullable=False)), pa.list_(pa.int32())),
        (pa.decimal32(5, 2), pa.decimal128(5, 2)),
    ],
    ids=str,
)
def test_types_with_the_same_values_are_one_type(given: pa.DataType, plain: pa.DataType) -> None:
    assert plain_type(given) == plain
