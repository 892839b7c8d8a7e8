"""A value of any type that Arrow has comes back from each destination as it was, or its column is refused by name."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from assets_core.authoring.arrow_types import plain_type
from assets_core.model.errors import DataError
from assets_core.model.io_manager import ReadRequest
from io_managers import DeltaIOManager, DuckDBIOManager, MemoryIOManager, ParquetIOManager
from tests.conformance.io_manager_suite import UNPARTITIONED, Steps, declared, whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from assets_core.model.io_manager import IOManager

PLACES: dict[str, Callable[[Path], IOManager]] = {
    "duckdb": lambda folder: DuckDBIOManager(folder / "it.duckdb"),
    "parquet": lambda folder: ParquetIOManager(folder / "it"),
    "delta": lambda folder: DeltaIOManager(folder / "it"),
    "memory": lambda _folder: MemoryIOManager(),
}
HALF, WIDE, NANOS = pa.float16(), pa.decimal256(50, 2), pa.timestamp("ns", "UTC")
INTERVAL = pa.month_day_nano_interval()
UNION = pa.UnionArray.from_sparse(
    pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]
)
COLUMNS = {
    "uint64": pa.array([2**64 - 1, None], pa.uint64()),
    "float16": pa.array([np.float16(1.5), None], HALF),
    "decimal32": pa.array([Decimal("1.5"), None], pa.decimal32(5, 2)),
    "decimal256": pa.array([Decimal("1.5"), None], WIDE),
    "date64": pa.array([86_400_000, None], pa.date64()),
    "time32": pa.array([1, None], pa.time32("s")),
    "time64 in nanoseconds": pa.array([1, None], pa.time64("ns")),
    "instant in nanoseconds": pa.array([1, None], NANOS),
    "wall clock in nanoseconds": pa.array([1, None], pa.timestamp("ns")),
    "duration": pa.array([1, None], pa.duration("ns")),
    "duration in seconds": pa.array([10**6, None], pa.duration("s")),
    "interval": pa.array([None, (0, 2, 3_000), (0, 0, -9_000)], INTERVAL).slice(1),
    "interval of months": pa.array([(1, 2, 3_000), None], INTERVAL),
    "interval with nanoseconds": pa.array([(0, 2, 3), None], INTERVAL),
    "binary of one size": pa.array([b"ab", None], pa.binary(2)),
    "text view": pa.array(["a", None], pa.string_view()),
    "list view": pa.array([[1], None], pa.list_view(pa.int64())),
    "runs": pa.RunEndEncodedArray.from_arrays([2], [5]),
    "union": UNION,
    "union in a struct": pa.StructArray.from_arrays([UNION], ["u"]),
    "empty struct": pa.array([{}, None], pa.struct([])),
    "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
    "list of one size": pa.array([[1, 2], None], pa.list_(pa.int64(), 2)),
    "float16 in a list": pa.array([[np.float16(1.5)], None], pa.list_(HALF)),
    "decimal256 in a struct": pa.array([{"a": Decimal("1.5")}, None], pa.struct({"a": WIDE})),
    "decimal256 in a map": pa.array([[("a", Decimal(1))], None], pa.map_(pa.string(), WIDE)),
    "instant in nanoseconds in a list": pa.array([[1], None], pa.list_(NANOS, 1)),
    "interval in a list": pa.array([[(1, 2, 3)], None], pa.list_(INTERVAL)),
    "nothing": pa.nulls(2),
}


def plain(column: pa.Array) -> pa.Array:
    """The column in the one form that its values have in all destinations."""
    kind = plain_type(column.type)
    if column.type == INTERVAL:
        days = [
            (one.days * 86_400 * 10**9 + one.nanoseconds) // 1000 for one in column.to_pylist()
        ]
        return pa.array(days, kind)
    return column if kind == column.type else pa.array(column.to_pylist(), kind)


@pytest.mark.parametrize("is_declared", [False, True])
@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("place", PLACES)
def test_values_come_back_or_their_column_is_refused(
    place: str, name: str, is_declared: bool, tmp_path: Path
) -> None:
    column, steps, where = COLUMNS[name], Steps(PLACES[place](tmp_path)), whole()
    kind = plain_type(column.type)
    if is_declared:
        if pa.types.is_null(kind) or "union" in name:
            pytest.skip("a declared column has one type")
        where = declared(pa.schema({"col": kind}), partitioned=False)
        if refused := steps.manager.supports(where):
            assert refused.startswith("column 'col' is ")
            return
    try:
        steps.write(where, UNPARTITIONED, pa.table({"col": column}))
    except DataError as error:
        told = error.message
    else:
        found = steps.manager.read(ReadRequest(where, UNPARTITIONED)).read_all().column("col")
        assert found.null_count == column.null_count
        assert not is_declared or found.type == kind
        # Whatever unit of time readers get, no value is another one.
        if not pa.types.is_null(kind):
            assert found.cast(kind).combine_chunks().equals(plain(column))
        return
    assert re.search("column 'col' (is|has) ", told)
