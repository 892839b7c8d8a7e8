"""Rows that are stored in the order of some columns."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets_core import Definitions, asset
from assets_core.model.errors import DataError, DefinitionError
from assets_core.model.io_manager import Published
from assets_core.model.specs import Append, Replace
from io_managers import DuckDBIOManager, MemoryIOManager, ParquetIOManager, row_order, staging
from tests.conformance.io_manager_suite import UNPARTITIONED, Steps, days, table, target, whole

if TYPE_CHECKING:
    from pathlib import Path

    from assets_core.model.io_manager import IOManager
    from assets_core.model.specs import WriteMode

DAYS = days("2025-01-30", 2)
FIRST, SECOND = DAYS


@pytest.fixture(params=["duckdb", "parquet", "memory"])
def steps(request: pytest.FixtureRequest, tmp_path: Path) -> Steps:
    managers: dict[str, IOManager] = {
        "duckdb": DuckDBIOManager(tmp_path / "shop.duckdb"),
        "parquet": ParquetIOManager(tmp_path / "lake"),
        "memory": MemoryIOManager(),
    }
    return Steps(managers[request.param])


@pytest.mark.parametrize("write", [Replace(sort_by=["a", "b"]), Append(sort_by=["a", "b"])])
def test_rows_of_a_partition_are_stored_in_order_with_nulls_last(
    steps: Steps, write: WriteMode
) -> None:
    steps.write(target(write), [FIRST], table(a=[2, None, 1, 2], b=["y", "z", "x", None]))
    steps.write(target(write), [SECOND], table(a=[9, 8], b=["a", "a"]))
    assert steps.rows(target(write), [FIRST]) == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "y"},
        {"a": 2, "b": None},
        {"a": None, "b": "z"},
    ]
    assert [row["a"] for row in steps.rows(target(write), [SECOND])] == [8, 9]


def test_partitions_of_one_step_are_sorted_each_by_itself(steps: Steps) -> None:
    where = target(Replace(sort_by=["n"]), by="day")
    mixed = [DAYS[number % 2].window.start.date() for number in range(6)]  # type: ignore[union-attr]
    steps.write(where, DAYS, table(day=mixed, n=[5, 0, 3, 4, 1, 2]))
    assert [row["n"] for row in steps.rows(where, [FIRST])] == [1, 3, 5]
    assert [row["n"] for row in steps.rows(where, [SECOND])] == [0, 2, 4]


def test_the_order_is_no_part_of_the_content_version(steps: Steps) -> None:
    versions = []
    for write in (Replace(), Replace(sort_by=["n"])):
        done = steps.write(target(write), [FIRST], table(n=[3, 1, 2]))
        assert isinstance(done, Published)
        versions.append(done.receipts[0].data_version)
    assert len(set(versions)) == 1


def test_an_unknown_column_is_named_with_the_nearest(steps: Steps) -> None:
    where = target(Replace(sort_by=["custmer"]))
    with pytest.raises(DataError, match=r"Replace\(sort_by=…\)") as found:
        steps.stage(where, [FIRST], table(customer=[1]))
    assert "customer" in f"{found.value.message} {found.value.hint}"


@pytest.mark.parametrize("spilled", [False, True])
def test_many_rows_are_sorted_as_python_does_and_equal_ones_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, spilled: bool
) -> None:
    dice = random.Random(seed := random.randrange(2**32))  # noqa: S311 - no secret
    monkeypatch.setattr(row_order, "BATCH_ROWS", 97)
    if spilled:
        monkeypatch.setattr(staging, "SPILL_BYTES", 1000)
    rows = [
        {"a": dice.choice([None, 1, 2, 3]), "b": dice.choice(["", "x", None]), "n": number}
        for number in range(2_000)
    ]
    steps = Steps(ParquetIOManager(tmp_path / "lake"))
    where = whole(Replace(sort_by=["a", "b"]))
    steps.write(where, UNPARTITIONED, pa.Table.from_pylist(rows))
    wanted = sorted(
        rows, key=lambda row: (row["a"] is None, row["a"] or 0, row["b"] is None, row["b"] or "")
    )
    assert steps.rows(where, UNPARTITIONED) == wanted, f"seed {seed}"


def test_types_that_duckdb_does_not_have_come_back_as_they_were(tmp_path: Path) -> None:
    steps = Steps(ParquetIOManager(tmp_path / "lake"))
    at = [datetime(2025, 1, day, tzinfo=UTC) for day in (3, 1, 2)]
    rows = pa.table(
        {
            "at": pa.array(at, pa.timestamp("ns", "Europe/Berlin")),
            "half": pa.array(np.array([3, 1, 2], np.float16)),
            "wide": pa.array([Decimal(3), Decimal(1), Decimal(2)], pa.decimal256(50, 0)),
        }
    )
    for column in ("at", "half"):
        steps.write(target(Replace(sort_by=[column])), [FIRST], rows)
        stored = pq.read_table(next((tmp_path / "lake").rglob("*.parquet")), partitioning=None)
        assert stored.equals(rows.take([1, 2, 0]))
    with pytest.raises(DataError, match=r"column 'wide' is decimal256\(50, 0\)"):
        steps.stage(target(Replace(sort_by=["wide"])), [FIRST], rows)


def test_row_groups_of_a_file_do_not_overlap(tmp_path: Path) -> None:
    steps = Steps(ParquetIOManager(tmp_path / "lake"))
    numbers = [one * 7919 % 300_007 for one in range(300_000)]
    steps.write(target(Replace(sort_by=["n"])), [FIRST], table(n=numbers))
    (path,) = (tmp_path / "lake").rglob("*.parquet")
    found = pq.read_metadata(path)
    spans = [
        (found.row_group(i).column(0).statistics.min, found.row_group(i).column(0).statistics.max)
        for i in range(found.num_row_groups)
    ]
    assert len(spans) == 3
    assert all(before[1] < after[0] for before, after in pairwise(spans))


def test_what_is_declared_must_have_the_column() -> None:
    @asset(schema=pa.schema({"customer": pa.int64()}), write=Replace(sort_by=["custmer"]))
    def orders() -> pa.Table: ...

    with pytest.raises(DefinitionError, match=r"Replace\(sort_by=…\) names column 'custmer'"):
        Definitions(assets=[orders]).resolve()
    with pytest.raises(DefinitionError, match="is text, not a list"):
        Replace(sort_by="customer")
    with pytest.raises(DefinitionError, match="names a column twice"):
        Append(sort_by=["a", "a"])


def test_a_mode_without_an_order_reads_as_before() -> None:
    assert Replace().text() == "replace(out_of_range=error)"
    assert Append().text() == "append()"
    assert Append(sort_by=["a"]).text() == "append(sort_by=['a'])"
