"""The columns that tell rows apart in a write mode with keys: that they are there, and that each key is there once.

Not decided here: how nulls among them are counted while rows come in (`staging`), and what becomes of rows that are stored (`merging`,
`history`).
"""

# ruff: noqa: S608 - names come into SQL through `quoted` only, values are bound

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assets_core.model.errors import DataError
from assets_core.model.specs import (
    HISTORY_COLUMNS,
    SCD2,
    Append,
    Merge,
    MergeScope,
    OnDuplicate,
    Replace,
)
from io_managers.fingerprint import SLOT, hashable
from io_managers.merging import ROW, check_deletes
from io_managers.partition_columns import missing_column
from io_managers.workbench import SPILL_BYTES, quoted

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from assets_core.model.io_manager import Target
    from assets_core.model.specs import WriteMode
    from io_managers.workbench import Workbench

_DENSE = 8
"""Whole numbers are ticked off where at most so many are possible for each that is there."""
_LEAST_PORTION = 50_000
"""Counting so few keys at once must be possible."""


def never_null(write: WriteMode) -> tuple[str, ...]:
    """The columns that tell rows apart, and must have a value."""
    if isinstance(write, SCD2):
        return (*write.keys, *((write.effective,) if write.effective is not None else ()))
    return write.keys if isinstance(write, Merge) else ()


def check_columns(asset: str, write: WriteMode, schema: pa.Schema) -> None:
    """Raise DataError for a column that the write mode names and the rows don't have, or can't have."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    mode, named = type(write).__name__, list[tuple[str, str]]()
    if isinstance(write, Merge | SCD2):
        named += [("keys", key) for key in write.keys]
    if isinstance(write, Append | Replace):
        named += [("sort_by", column) for column in write.sort_by]
    if isinstance(write, Merge) and write.order_by is not None:
        named.append(("order_by", write.order_by))
    if isinstance(write, SCD2):
        named += [("track", column) for column in write.track or ()]
        if write.effective is not None:
            named.append(("effective", write.effective))
        for name in schema.names:
            if name.casefold() in HISTORY_COLUMNS:
                raise DataError(
                    f"{asset}: SCD2 adds a column {name!r}, and the returned rows have one",
                    hint="rename it in the function that returns the rows",
                )
    for option, column in named:
        if column not in schema.names:
            raise missing_column(asset, f"{mode}({option}=…)", column, schema.names)
        kind = schema.field(column).type
        if option == "effective" and not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
            raise DataError(
                f"{asset}: SCD2(effective={column!r}) is {kind}, neither a date nor a timestamp"
            )


def rows_to_keep(bench: Workbench, target: Target, table: pa.Table) -> NDArray[np.bool_] | None:
    """A mask of the rows that stay, one per key; None if all do. Raises DataError where the write mode does not say which."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    write = target.write
    if isinstance(write, Merge) and write.delete_when is not None and table.column_names:
        check_deletes(bench, write, table, target.asset)
    columns = never_null(write)
    if not columns or table.num_rows <= 1:
        return None
    order = write.order_by if isinstance(write, Merge) else None
    within = isinstance(write, Merge) and write.scope is MergeScope.PARTITION
    slot = [SLOT] if within and SLOT in table.column_names else []
    if _are_unique(bench, hashable(table.select([*columns, *slot]))):
        return None
    keys = ", ".join(quoted(key) for key in (*columns, *slot))
    names = list(dict.fromkeys((*columns, *slot, *([order] if order is not None else ()))))
    needed = hashable(table.select(names)).append_column(ROW, pa.array(np.arange(table.num_rows)))
    with bench.tables(staged=needed) as connection:
        ((row, count),) = connection.execute(
            f"select min({ROW}), count(*) over () from staged group by {keys} having count(*) > 1 limit 1"
        ).fetchall()
        if (
            not isinstance(write, Merge)
            or order is None
            or write.on_duplicate is OnDuplicate.ERROR
        ):
            raise DataError(
                f"{target.asset}: {_keys(count)} of {type(write).__name__}(keys={list(columns)}) returned more than once,"
                f" for instance {_example(table, columns, row)}",
                hint='return each key once, or say which row wins: Merge(…, order_by="updated_at", on_duplicate="latest")'
                if isinstance(write, Merge)
                else "return each key once in a partition, or once for each effective instant",
            )
        ranked = (
            f"select {ROW}, rank() over (partition by {keys} order by {quoted(order)} desc nulls last) as place,"
            f" {keys} from staged"
        )
        ties = connection.execute(
            f"select min({ROW}), count(*) over () from ({ranked}) where place = 1"
            f" group by {keys} having count(*) > 1 limit 1"
        ).fetchall()
        if ties:
            row, count = ties[0]
            raise DataError(
                f"{target.asset}: {_keys(count)} of Merge with several latest rows by {order!r},"
                f" for instance {_example(table, (*columns, order), row)}",
                hint="order_by must tell the rows of one key apart",
            )
        winners = connection.execute(f"select {ROW} from ({ranked}) where place = 1").fetchnumpy()
    keep = np.zeros(table.num_rows, dtype=bool)
    keep[winners[ROW]] = True
    return keep


def _are_unique(bench: Workbench, keys: pa.Table) -> bool:
    """Whether no two rows are equal; they have no nulls. Cheaper than finding the ones that are."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    column = keys.column(0)
    if keys.num_columns == 1 and pa.types.is_signed_integer(column.type):
        ends = pc.min_max(column).as_py()
        span = ends["max"] - ends["min"] + 1
        if span <= min(_DENSE * keys.num_rows, SPILL_BYTES):
            # Numbers from a sequence: ticking them off costs a fiftieth of a hash table.
            seen = np.zeros(span, dtype=np.bool_)
            for chunk in column.chunks:
                seen[chunk.to_numpy().astype(np.int64) - ends["min"]] = True
            return bool(np.count_nonzero(seen) == keys.num_rows)
    with bench.tables(keys=keys) as connection:
        return bool(_distinct(connection, keys) == keys.num_rows)


def _distinct(connection: DuckDBPyConnection, keys: pa.Table) -> int:
    """How many different rows the registered `keys` have."""
    import duckdb  # noqa: PLC0415 - heavy

    names, portions = ", ".join(quoted(name) for name in keys.column_names), 1
    while True:
        try:
            found = [
                connection.execute(
                    f"select count(*) from (select distinct {names} from keys where hash({names}) % {portions} = {portion})"
                ).fetchall()
                for portion in range(portions)
            ]
        except duckdb.OutOfMemoryException:
            # Its hash tables find their way to disk too late where there is little memory: then fewer rows at once.
            portions *= 4
            if keys.num_rows < _LEAST_PORTION * portions:
                raise
        else:
            return sum(int(rows[0][0]) for rows in found)


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count} keys"


def _example(table: pa.Table, columns: tuple[str, ...], row: int) -> str:
    shown = table.select(list(columns)).slice(row, 1).to_pylist()[0]
    return ", ".join(f"{name} = {value!r}" for name, value in shown.items())
