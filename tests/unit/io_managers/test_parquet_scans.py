"""Reading of Parquet files no more than was asked for: what is not to be read is damaged, and nobody notices."""

from __future__ import annotations

import gc
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from assets_core.authoring.binding import LoadAs
from assets_core.execution.inputs import load_input
from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import ReadRequest
from io_managers import ParquetIOManager, parquet_scans
from tests.conformance.io_manager_suite import Steps, days, target

WEEK = days("2025-01-06", 7)


@pytest.fixture
def manager(tmp_path: Path) -> ParquetIOManager:
    """A week with two columns, a file per day."""
    found = ParquetIOManager(tmp_path / "lake")
    steps = Steps(found)
    for number, day in enumerate(WEEK):
        steps.write(target(), (day,), pa.table({"a": [number] * 100, "b": ["x" * 50] * 100}))
    return found


def file_of(manager: ParquetIOManager, number: int) -> Path:
    return Path(manager.root, "orders", f"day={WEEK[number].key}", "data.parquet")


def damage_all_but(manager: ParquetIOManager, number: int) -> None:
    for other in set(range(len(WEEK))) - {number}:
        file_of(manager, other).write_bytes(b"damaged")


def damage_rows(manager: ParquetIOManager, number: int, column: int) -> None:
    """Change the last byte of a column's pages; the footer stays as it is."""
    path = file_of(manager, number)
    chunk = pq.read_metadata(path).row_group(0).column(column)
    content = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content[start + chunk.total_compressed_size - 1] ^= 0xFF
    path.write_bytes(bytes(content))


def test_one_day_is_read_from_its_own_file_alone(manager: ParquetIOManager) -> None:
    damage_all_but(manager, 3)
    found = manager.read(ReadRequest(target(), (WEEK[3],))).read_all()
    assert found["a"].to_pylist() == [3] * 100


def test_columns_that_are_not_asked_for_are_not_read(manager: ParquetIOManager) -> None:
    damage_rows(manager, 3, 1)
    found = manager.read(ReadRequest(target(), (WEEK[3],), ("a",))).read_all()
    assert found["a"].to_pylist() == [3] * 100
    with pytest.raises(IOManagerError, match="can't be read"):
        manager.read(ReadRequest(target(), (WEEK[3],))).read_all()


def test_a_condition_on_the_partition_leaves_other_files_closed(manager: ParquetIOManager) -> None:
    scan = manager.dataset(ReadRequest(target(), WEEK), with_partition=True)
    assert scan is not None
    damage_all_but(manager, 3)
    connection = duckdb.connect()
    connection.register("orders", scan)
    found = connection.sql(f"select sum(a) from orders where _partition = '{WEEK[3].key}'")
    assert found.fetchall() == [(300,)]
    assert scan.to_table(filter=ds.field("_partition") == WEEK[3].key).num_rows == 100


@pytest.mark.parametrize("load_as", [LoadAs.POLARS_LAZY, LoadAs.DUCKDB])
def test_lazy_inputs_read_when_they_are_used_and_only_what_they_use(
    manager: ParquetIOManager, load_as: LoadAs
) -> None:
    value = load_input(manager, ReadRequest(target(), WEEK), load_as)
    for number in range(len(WEEK)):
        damage_rows(manager, number, 1)
    if isinstance(value, pl.LazyFrame):
        assert value.select(pl.col("a").sum()).collect().item() == 2100
    else:
        assert isinstance(value, duckdb.DuckDBPyRelation)
        assert value.aggregate("sum(a)").fetchall() == [(2100,)]


def test_a_scan_notices_damaged_pages(manager: ParquetIOManager) -> None:
    scan = manager.dataset(ReadRequest(target(), WEEK))
    assert scan is not None
    damage_rows(manager, 3, 0)
    with pytest.raises(OSError, match=r"(?i)crc"):
        scan.to_table(columns=["a"])


def test_columns_that_came_later_are_null_before(tmp_path: Path) -> None:
    manager = ParquetIOManager(tmp_path / "lake")
    steps = Steps(manager)
    steps.write(target(), (WEEK[0],), pa.table({"a": [1], "n": pa.nulls(1)}))
    steps.write(target(), (WEEK[1],), pa.table({"b": ["x"], "a": [2], "n": [1.5]}))
    steps.write(target(), (WEEK[2],), pa.table({}))
    request = ReadRequest(target(), WEEK[:3])
    scan = manager.dataset(request)
    assert scan is not None
    assert scan.to_table().equals(manager.read(request).read_all())


def test_names_in_other_case_are_no_scan_but_a_stream(tmp_path: Path) -> None:
    manager = ParquetIOManager(tmp_path / "lake")
    steps = Steps(manager)
    steps.write(target(), (WEEK[0],), pa.table({"a": [1]}))
    steps.write(target(), (WEEK[1],), pa.table({"A": [2]}))
    request = ReadRequest(target(), WEEK[:2])
    assert manager.dataset(request) is None
    lazy = load_input(manager, request, LoadAs.POLARS_LAZY)
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.collect()["a"].to_list() == [1, 2]


def test_a_scan_does_not_depend_on_the_current_folder(
    manager: ParquetIOManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scan = ParquetIOManager("lake").dataset(ReadRequest(target(), WEEK, ("a",)))
    assert scan is not None
    monkeypatch.chdir("/")
    assert pc.sum(scan.to_table()["a"]).as_py() == 2100


def write_anew(manager: ParquetIOManager, number: int) -> None:
    """Another attempt writes other rows, and fewer."""
    again = Steps(manager)
    again.epoch = 100
    again.write(target(), (WEEK[number],), pa.table({"a": [1000], "b": ["other"]}))


def test_a_scan_shows_the_same_rows_again_though_a_partition_was_replaced(
    manager: ParquetIOManager,
) -> None:
    relation = load_input(manager, ReadRequest(target(), WEEK), LoadAs.DUCKDB)
    frame = load_input(manager, ReadRequest(target(), WEEK), LoadAs.POLARS_LAZY)
    assert isinstance(relation, duckdb.DuckDBPyRelation)
    assert isinstance(frame, pl.LazyFrame)
    assert relation.aggregate("sum(a), count(b)").fetchall() == [(2100, 700)]
    write_anew(manager, 3)
    assert relation.aggregate("sum(a), count(b)").fetchall() == [(2100, 700)]
    assert frame.select(pl.col("a").sum()).collect().item() == 2100
    fresh = load_input(manager, ReadRequest(target(), WEEK), LoadAs.POLARS_LAZY)
    assert isinstance(fresh, pl.LazyFrame)
    assert fresh.select(pl.col("a").sum()).collect().item() == 2100 - 300 + 1000


@pytest.mark.parametrize("gone", [False, True])
def test_a_file_that_could_not_stay_open_is_refused_once_it_is_another(
    manager: ParquetIOManager, monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    monkeypatch.setattr(parquet_scans, "_SHARE", 2**62)
    scan = manager.dataset(ReadRequest(target(), WEEK))
    assert scan is not None
    assert pc.sum(scan.to_table()["a"]).as_py() == 2100
    if gone:
        file_of(manager, 3).unlink()
    else:
        write_anew(manager, 3)
    with pytest.raises(IOManagerError, match=r"data\.parquet was replaced since it was loaded"):
        scan.to_table()
    with pytest.raises(duckdb.Error, match="was replaced since it was loaded"):
        duckdb.connect().from_arrow(scan).fetchall()


def test_files_of_a_scan_are_closed_with_it(manager: ParquetIOManager) -> None:
    def open_files() -> list[str]:
        found = Path("/proc/self/fd").iterdir()
        return [str(one.readlink()) for one in found if one.is_symlink()]

    scan = manager.dataset(ReadRequest(target(), WEEK))
    assert scan is not None
    assert scan.to_table().num_rows == 700
    assert len([one for one in open_files() if manager.root in one]) == len(WEEK)
    del scan
    gc.collect()
    assert [one for one in open_files() if manager.root in one] == []


def test_a_scan_of_a_day_without_columns_has_those_of_the_others(
    manager: ParquetIOManager,
) -> None:
    empty = days("2025-02-01", 1)
    Steps(manager).write(target(), empty, pa.table({}))
    scan = manager.dataset(ReadRequest(target(), empty))
    assert scan is not None
    assert scan.to_table().schema == pa.schema({"a": pa.int64(), "b": pa.string()})
    assert duckdb.connect().from_arrow(scan).fetchall() == []
