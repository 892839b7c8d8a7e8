"""What reaches a function of what it declared to read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from assets_core import Input, asset, materialize
from assets_core.authoring.definitions import Definitions
from assets_core.execution.step_order import InputOrder, StepOrder
from assets_core.model.errors import DefinitionError, UserCodeError
from io_managers import DuckDBIOManager, MemoryIOManager, ParquetIOManager
from partitions import All, DailyPartitions, LastN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from assets_core.model.io_manager import IOManager

days = DailyPartitions("2025-01-01", end="2025-01-04")


@asset(partitions=days)
def orders() -> pa.Table:
    return pa.table({"id": [1, 2], "amount": [10, 20], "note": ["a", "b"]})


def manager_of(kind: str, folder: Path) -> IOManager:
    match kind:
        case "duckdb":
            return DuckDBIOManager(folder / "shop.duckdb")
        case "parquet":
            return ParquetIOManager(folder / "lake")
        case _:
            return MemoryIOManager()


@pytest.mark.parametrize("kind", ["duckdb", "parquet", "memory"])
def test_only_declared_columns_arrive_in_their_order(kind: str, tmp_path: Path) -> None:
    seen: list[object] = []

    @asset(
        partitions=days,
        inputs={"week": Input(orders, mapping=LastN(7), columns=["amount", "id"])},
    )
    def whole(week: pa.Table) -> pa.Table:
        seen.append(week.column_names)
        return week

    @asset(partitions=days, inputs={"each": Input(orders, columns=["note"])})
    def apart(each: dict[str, pa.Table]) -> None:
        seen.extend(table.column_names for table in each.values())

    @asset(partitions=days, inputs={"lazy": Input(orders, columns=["note", "id"])})
    def frame(lazy: pl.LazyFrame) -> pl.DataFrame:
        seen.append(lazy.collect_schema().names())
        return lazy.filter(pl.col("id") == 1).collect()

    @asset(partitions=days, inputs={"rows": Input(orders, columns=["id"])})
    def relation(rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
        seen.append(rows.columns)
        return rows.filter("id = 2")

    materialize(
        [orders, whole, apart, frame, relation],
        io_manager=manager_of(kind, tmp_path),
        partitions="2025-01-01",
    )
    assert sorted(map(str, seen)) == [
        "['amount', 'id']",
        "['id']",
        "['note', 'id']",
        "['note']",
    ]


def test_a_column_that_is_not_there_fails_the_step_with_the_nearest_name() -> None:
    @asset(partitions=days, inputs={"rows": Input(orders, columns=["amout"])})
    def total(rows: pa.Table) -> pa.Table:
        return rows

    with pytest.raises(UserCodeError, match="orders has no column 'amout'"):
        materialize([orders, total], io_manager=MemoryIOManager(), partitions="2025-01-01")


@pytest.mark.parametrize(
    ("columns", "told"),
    [("amount", "is one text"), ([], "names no columns"), (["a", "b", "a"], "'a' twice")],
)
def test_columns_that_can_not_be_meant_are_refused(columns: Any, told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        Input("orders", columns=columns)


def deps_version(columns: Sequence[str] | None) -> str:
    @asset(partitions=days, inputs={"rows": Input(orders, columns=columns)})
    def total(rows: pa.Table) -> pa.Table:
        return rows

    resolved = Definitions(
        assets=[orders, total], io_managers={"default": MemoryIOManager()}
    ).resolve()
    return resolved.graph.spec("total").deps_version


def test_which_columns_are_read_is_part_of_what_an_asset_depends_on() -> None:
    versions = [
        deps_version(columns) for columns in (None, ["id"], ["id", "note"], ["note", "id"])
    ]
    assert len(set(versions)) == 4
    assert deps_version(("id",)) == versions[1]


def test_an_order_keeps_its_columns_on_the_way_to_another_process() -> None:
    inputs = (InputOrder("a", "orders", (), ("id", "note")), InputOrder("b", "orders", ()))
    now = datetime(2025, 1, 1, tzinfo=UTC)
    order = StepOrder("run", "total", 1, 1, "token", 1, (), inputs, now=now)
    assert StepOrder.from_json(order.to_json()) == order


@pytest.mark.parametrize("kind", ["duckdb", "parquet"])
def test_a_lazy_frame_may_be_returned(kind: str, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()

    @asset(partitions=days)
    def doubled(orders: pl.LazyFrame) -> pl.LazyFrame:
        return orders.select("id", pl.col("amount") * 2).filter(pl.col("id") > 1)

    manager = manager_of(kind, tmp_path)
    seen: list[object] = []

    @asset(partitions=days)
    def after(doubled: pa.Table) -> None:
        seen.extend(doubled.to_pylist())

    materialize([orders, doubled, after], io_manager=manager)
    assert seen == [{"id": 2, "amount": 40}] * 3


def test_what_a_lazy_frame_raises_when_it_is_collected_is_the_users() -> None:
    @asset
    def wrong() -> pl.LazyFrame:
        return pl.LazyFrame({"a": [1]}).select("b")

    with pytest.raises(UserCodeError, match="wrong raised ColumnNotFoundError"):
        materialize([wrong], io_manager=MemoryIOManager())


@pytest.mark.parametrize("kind", ["duckdb", "parquet", "memory"])
@pytest.mark.parametrize("columns", [None, ["amount"]])
def test_what_may_be_missing_arrives_without_rows_where_nothing_was_ever_written(
    kind: str, columns: list[str] | None, tmp_path: Path
) -> None:
    orders_maybe = Input("later", mapping=All(), allow_missing=True, columns=columns)
    seen: list[object] = []

    @asset(partitions=DailyPartitions("2300-01-01"))
    def later() -> pa.Table:
        raise AssertionError("there is no partition of it")

    @asset(inputs={"rows": orders_maybe})
    def whole(rows: pa.Table) -> None:
        seen.append(("whole", rows.num_rows, rows.column_names))

    @asset(inputs={"rows": orders_maybe})
    def stream(rows: pa.RecordBatchReader) -> None:
        seen.append(("stream", rows.read_all().num_rows, rows.schema.names))

    @asset(inputs={"rows": orders_maybe})
    def apart(rows: dict[str, pa.Table]) -> None:
        seen.append(("apart", len(rows), columns or []))

    @asset(inputs={"rows": orders_maybe})
    def pandas_frame(rows: pd.DataFrame) -> None:
        seen.append(("pandas", len(rows), list(rows.columns)))

    @asset(inputs={"rows": orders_maybe})
    def frame(rows: pl.DataFrame) -> None:
        seen.append(("frame", rows.height, rows.columns))

    @asset(inputs={"rows": orders_maybe})
    def lazy(rows: pl.LazyFrame) -> None:
        seen.append(("lazy", rows.collect().height, rows.collect().columns))

    @asset(inputs={"rows": Input("later", mapping=All(), allow_missing=True, columns=["amount"])})
    def relation(rows: duckdb.DuckDBPyRelation) -> None:
        seen.append(("relation", len(rows.fetchall()), columns or []))

    readers = [whole, stream, apart, pandas_frame, frame, lazy, relation]
    materialize([later, *readers], io_manager=manager_of(kind, tmp_path))
    assert sorted(seen) == sorted(
        (name, 0, columns or [])
        for name in ("whole", "stream", "apart", "pandas", "frame", "lazy", "relation")
    )


def test_a_relation_of_rows_of_which_no_column_is_known_says_what_to_write(tmp_path: Path) -> None:
    @asset(partitions=DailyPartitions("2300-01-01"))
    def later() -> pa.Table:
        raise AssertionError("there is no partition of it")

    @asset(inputs={"rows": Input(later, mapping=All(), allow_missing=True)})
    def relation(rows: duckdb.DuckDBPyRelation) -> None:
        raise AssertionError("not called")

    summary = materialize(
        [later, relation], io_manager=manager_of("duckdb", tmp_path), raise_on_error=False
    )
    assert summary.failures[0].message == (
        "rows of which no column is known can't be a DuckDB relation"
        " (name the columns with Input(…, columns=[…]) or declare them with schema=…; or annotate the parameter with pa.Table)"
    )
