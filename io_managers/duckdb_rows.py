"""Finding the rows of some partitions in a DuckDB table: conditions for deleting them, queries for reading them in order.

Values are always bound. Windows that touch are one span, so a year of days is one condition that DuckDB can hold against its zone
maps; what can't be joined is asked in pieces, because one condition of thousands of terms is slow to plan.
"""

# ruff: noqa: S608 - names come into SQL through `quoted` only, values are bound

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import PARTITION_COLUMN
from io_managers.duckdb_commits import arrow_schema, qualified, with_durations
from io_managers.duckdb_history import history_of
from io_managers.moments import is_history
from io_managers.partition_columns import (
    ColumnKind,
    bounds_of,
    has_key_column,
    lanes,
    partition_columns,
)
from io_managers.schemas import (
    conformed_stream,
    missing_wanted,
    readable_schema,
    wanted_schema,
)
from io_managers.workbench import BATCH_ROWS, quoted

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    import pyarrow as pa

    from assets_core.model.io_manager import PartitionSlice, ReadRequest, Target
    from io_managers.duckdb_commits import Catalog
    from io_managers.partition_columns import Bound, Lane
    from io_managers.workbench import Workbench

TERMS = 200
"""So many at most go into one condition."""
_KINDS = {
    "DATE": ColumnKind.DATE,
    "TIMESTAMP": ColumnKind.WALL_CLOCK,
    "TIMESTAMP_S": ColumnKind.WALL_CLOCK,
    "TIMESTAMP_MS": ColumnKind.WALL_CLOCK,
    "TIMESTAMP_NS": ColumnKind.WALL_CLOCK,
    "TIMESTAMP WITH TIME ZONE": ColumnKind.INSTANT,
    "VARCHAR": ColumnKind.TEXT,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """SQL over the columns of one table, with its bound parameters: `$1`, `$2` and so on."""

    sql: str
    parameters: tuple[object, ...]


def conditions(
    target: Target, slices: Sequence[PartitionSlice], types: Mapping[str, str]
) -> Iterator[Condition]:
    """What the rows of these partitions have in common, and no other row has; in pieces, to be used one after the other."""
    if has_key_column(target):
        yield _one_of(PARTITION_COLUMN, [one.key for one in slices])
        return
    columns = partition_columns(target)
    if not columns:
        yield Condition("true", ())
        return
    kinds = kinds_of(target, types)
    found = lanes(target, slices, kinds)
    if kinds == (ColumnKind.TEXT,):
        yield _one_of(columns[0].column, [lane.texts[0] for lane in found])
        return
    names = [part.column for part in columns]
    terms = [term for lane in found for term in terms_of(lane, names, kinds)]
    for start in range(0, len(terms), TERMS):
        yield _any_of(terms[start : start + TERMS])


def rows_of(
    bench: Workbench, catalog: Catalog, request: ReadRequest
) -> Generator[pa.RecordBatchReader, None, None]:
    """The rows of the asked partitions, in partition order, as streams that follow each other. At least one, maybe without columns."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    target, connection = request.target, bench.connection()
    if not catalog.has_table(target.asset):
        # Only rows without any column were ever published: there was nothing to make a table of.
        yield pa.RecordBatchReader.from_batches(pa.schema([]), [])
        return
    if is_history(target):
        yield from history_of(bench, request)
        return
    types = catalog.types(connection, target.asset)
    schema = None
    if target.schema is None:
        names = _wanted(request, types)
    else:
        stored = arrow_schema(connection, qualified(target.asset))
        schema = wanted_schema(request, readable_schema(target, stored))
        names = _stored_names(schema, stored)
    if not names:
        yield pa.RecordBatchReader.from_batches(pa.schema([]), [])
        return
    columns = ", ".join(quoted(name) for name in names)
    texts, time = _text_and_time(target, types)
    order, join, tables = "", "", {}
    if len(request.slices) > 1:
        order = f" order by {', '.join(_order(texts, time))}"
        if texts:
            tables["lane_order"] = _positions(target, request.slices, texts, types)
            pairs = [f"t.{quoted(name)} = o.text_{i}" for i, name in enumerate(texts)]
            join = f" join lane_order o on {' and '.join(pairs)}"
    for condition in conditions(target, request.slices, types):
        found = (
            f"select *, rowid as _partita_row from {qualified(target.asset)} where {condition.sql}"
        )
        sql = f"select {columns} from ({found}) t{join}{order}"
        with bench.tables(**tables) as connection:
            reader = connection.sql(sql, params=list(condition.parameters)).to_arrow_reader(
                BATCH_ROWS
            )
            try:
                yield conformed_stream(reader, schema or with_durations(reader.schema))
            finally:
                # DuckDB 2.0 takes no further statement while a result is open.
                reader.close()


def _order(texts: Sequence[str], time: str | None) -> list[str]:
    by = ["o.position"] if texts else []
    by += [f"t.{quoted(time)}"] if time is not None else []
    return [*by, "t._partita_row"]


def partition_kind(asset: str, column: str, types: Mapping[str, str]) -> ColumnKind:
    """How a column of an existing table tells partitions apart. Raises IOManagerError if it can't."""
    for name, kind in types.items():
        if name.casefold() == column.casefold():
            if kind in _KINDS:
                return _KINDS[kind]
            raise IOManagerError(
                f"{asset}: partition_by names column {column!r}, which is {kind} in the stored table"
            )
    raise missing_wanted(asset, column, list(types))


def kinds_of(target: Target, types: Mapping[str, str]) -> tuple[ColumnKind, ...]:
    """How each `partition_by` column of an existing table tells partitions apart."""
    return tuple(
        partition_kind(target.asset, part.column, types) for part in partition_columns(target)
    )


def _text_and_time(target: Target, types: Mapping[str, str]) -> tuple[list[str], str | None]:
    if has_key_column(target):
        return [PARTITION_COLUMN], None
    columns = partition_columns(target)
    texts, time = [], None
    for part, kind in zip(columns, kinds_of(target, types), strict=True):
        if kind is ColumnKind.TEXT:
            texts.append(part.column)
        else:
            time = part.column
    return texts, time


def _positions(
    target: Target,
    slices: Sequence[PartitionSlice],
    texts: Sequence[str],
    types: Mapping[str, str],
) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    found: list[tuple[str, ...]]
    if has_key_column(target):
        found = [(one.key,) for one in slices]
    else:
        found = [lane.texts for lane in lanes(target, slices, kinds_of(target, types))]
    columns: dict[str, list[str] | list[int]] = {
        f"text_{i}": [lane[i] for lane in found] for i in range(len(texts))
    }
    columns["position"] = list(range(len(found)))
    return pa.table(columns)


def terms_of(
    lane: Lane, names: Sequence[str], kinds: Sequence[ColumnKind]
) -> Iterator[list[tuple[str, Bound]]]:
    """One conjunction per span of a lane (one in all without a time column): pairs of `"column" op` and value."""
    texts = iter(lane.texts)
    fixed: list[tuple[str, Bound]] = []
    time: tuple[str, ColumnKind] | None = None
    for name, kind in zip(names, kinds, strict=True):
        if kind is ColumnKind.TEXT:
            fixed.append((f"{quoted(name)} =", next(texts)))
        else:
            time = (quoted(name), kind)
    if time is None:
        yield fixed
        return
    for start, end in lane.spans:
        low, high = bounds_of(start, end, time[1])
        yield [*fixed, (f"{time[0]} >=", low), (f"{time[0]} <", high)]


def _any_of(terms: Sequence[Sequence[tuple[str, Bound]]]) -> Condition:
    parameters: list[object] = []
    written = []
    for term in terms:
        parts = []
        for left, value in term:
            parameters.append(value)
            parts.append(f"{left} ${len(parameters)}")
        written.append(f"({' and '.join(parts)})")
    return Condition(f"({balanced(written)})", tuple(parameters))


def balanced(terms: Sequence[str]) -> str:
    """`a or b or …` as a balanced tree: DuckDB limits the depth of an expression."""
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return f"({balanced(terms[:middle])}) or ({balanced(terms[middle:])})"


def _one_of(column: str, keys: Sequence[str]) -> Condition:
    if len(keys) == 1:
        return Condition(f"{quoted(column)} = $1", (keys[0],))
    return Condition(f"{quoted(column)} in (select unnest($1::varchar[]))", (list(keys),))


def _stored_names(schema: pa.Schema, stored: pa.Schema) -> list[str]:
    """The stored columns to read for `schema`. Rows of which none is wanted must still be counted: then it is any."""
    wanted = {name.casefold() for name in schema.names}
    return [name for name in stored.names if name.casefold() in wanted] or stored.names[:1]


def _wanted(request: ReadRequest, types: Mapping[str, str]) -> Sequence[str]:
    have = [name for name in types if name != PARTITION_COLUMN]
    wanted = request.columns if request.columns is not None else have
    for name in wanted:
        if name not in have:
            raise missing_wanted(request.target.asset, name, have)
    return wanted
