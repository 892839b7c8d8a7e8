"""Rows in the order of some columns, for files whose statistics then tell more: `Replace(sort_by=…)` and `Append(sort_by=…)`.

DuckDB sorts the columns that are asked for, on disk where they are bigger than memory, and hands out row numbers: the rows themselves
keep types that it doesn't have. Order is no part of a content version. Equal rows keep the order in which they came.
"""

# ruff: noqa: S608 - names come into SQL through `quoted` only

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assets_core.model.errors import DataError, IOManagerError
from assets_core.model.specs import Append, Replace
from io_managers.fingerprint import SLOT, hashable
from io_managers.merging import ROW
from io_managers.refusals import first_line
from io_managers.workbench import BATCH_ROWS, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from assets_core.model.io_manager import Target
    from io_managers.workbench import Workbench


def sorted_batches(
    bench: Workbench, target: Target, table: pa.Table
) -> Iterator[pa.RecordBatch] | None:
    """The rows in the order that the write mode asks for, within each slice; None if it asks for none. Nulls come last.

    Raises DataError for a column that can't be sorted by.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    write = target.write
    columns = write.sort_by if isinstance(write, (Append, Replace)) else ()
    if not columns or table.num_rows <= 1:
        return None
    for column in columns:
        if pa.types.is_decimal256(table.schema.field(column).type):
            raise _unsortable(target, f"column {column!r} is {table.schema.field(column).type}")
    return _in_order(bench, target, table, columns)


def _in_order(
    bench: Workbench, target: Target, table: pa.Table, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    import duckdb  # noqa: PLC0415 - heavy
    import pyarrow as pa  # noqa: PLC0415 - heavy

    slot = [SLOT] if SLOT in table.column_names else []
    needed = hashable(table.select([*columns, *slot]))
    by = ", ".join([*slot, *(f"{quoted(column)} nulls last" for column in columns), ROW])
    numbered = pa.RecordBatchReader.from_batches(
        needed.schema.append(pa.field(ROW, pa.int64())), _numbered(needed)
    )
    source = _Source(table)
    try:
        with bench.tables(staged=numbered) as connection:
            order = connection.sql(f"select {ROW} from staged order by {by}").to_arrow_reader(
                BATCH_ROWS
            )
            try:
                for batch in order:
                    yield source.rows(batch.column(0).to_numpy())
            finally:
                order.close()
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise IOManagerError(
            f"rows of {target.asset} can't be sorted: {first_line(error)}"
        ) from error
    except duckdb.Error as error:
        raise _unsortable(target, first_line(error)) from error


def _numbered(table: pa.Table) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    start = 0
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        numbers = np.arange(start, start + batch.num_rows, dtype=np.int64)
        yield batch.append_column(ROW, pa.array(numbers))
        start += batch.num_rows


class _Source:
    """A table of which rows are taken by number, batch by batch: all at once would copy a mapped file into memory."""

    def __init__(self, table: pa.Table) -> None:
        self._schema = table.schema
        self._batches = table.to_batches(max_chunksize=BATCH_ROWS)
        self._ends = np.cumsum([batch.num_rows for batch in self._batches])

    def rows(self, numbers: NDArray[np.int64]) -> pa.RecordBatch:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        owners = np.searchsorted(self._ends, numbers, side="right")
        by_owner = np.argsort(owners, kind="stable")
        found, counts = np.unique(owners, return_counts=True)
        pieces, start = [], 0
        for owner, count in zip(found.tolist(), counts.tolist(), strict=True):
            batch = self._batches[owner]
            mine = numbers[by_owner[start : start + count]] - (self._ends[owner] - batch.num_rows)
            pieces.append(batch.take(pa.array(mine)))
            start += count
        back = np.empty_like(by_owner)
        back[by_owner] = np.arange(len(by_owner))
        taken = pa.Table.from_batches(pieces, schema=self._schema).combine_chunks()
        (whole,) = taken.take(pa.array(back)).combine_chunks().to_batches()
        return whole


def _unsortable(target: Target, why: str) -> DataError:
    mode = type(target.write).__name__
    return DataError(
        f"{target.asset}: {mode}(sort_by=…) can't sort the rows: {why}",
        hint="leave that column out of sort_by, or return it as another type",
    )
