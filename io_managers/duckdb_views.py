"""What a query sees of an asset's table: the rows of the partitions that count, as one SQL relation over the attached file.

Rows of other partitions may be there: published by a run whose record was lost, forgotten by the state, or of a table that was adopted.
Where nothing says that there are some, the relation is the table as it is, and DuckDB has all its statistics; else a condition is put before
it, through which the query's own conditions still reach the table.
"""

# ruff: noqa: S608 - names come into SQL through `quoted` only, values through `_literal`

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import PARTITION_COLUMN
from assets_core.model.specs import Merge
from io_managers.duckdb_commits import column_types
from io_managers.duckdb_rows import TERMS, balanced, kinds_of, terms_of
from io_managers.partition_columns import ColumnKind, has_key_column, lanes, partition_columns
from io_managers.workbench import quoted, quoted_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from assets_core.model.io_manager import PartitionSlice, ReadRequest, Target
    from io_managers.partition_columns import Bound


def visible_rows(
    connection: DuckDBPyConnection, database: str, request: ReadRequest, path: str
) -> str | None:
    """A query for the rows of the request's partitions, with all stored columns; None if no row ever had a column.

    It may need an Arrow table that is registered here, and goes with the connection. Raises IOManagerError if a partition is not there.
    """
    target = request.target
    table = f"{quoted(database)}.main.{quoted(target.asset)}"
    stored = _stored_rows(connection, database, target.asset)
    is_there = _has_table(connection, database, target.asset)
    for one in request.slices:
        if one.key not in stored or (stored[one.key] and not is_there):
            shown = f" partition {one.key}" if one.key else ""
            raise IOManagerError(
                f"{target.asset}{shown} is not in {path}", hint="materialize it first"
            )
    if not is_there:
        return None
    hidden = stored.keys() - {one.key for one in request.slices}
    if not hidden and not _may_have_others(connection, target, table, sum(stored.values())):
        return f"from {table}"
    if has_key_column(target):
        keys = [one.key for one in request.slices]
        return _among(connection, target, table, PARTITION_COLUMN, keys)
    return _within(connection, target, table, request.slices)


def _stored_rows(connection: DuckDBPyConnection, database: str, asset: str) -> dict[str, int]:
    """How many rows each partition was published with, by key."""
    if not _has_table(connection, database, "_partita_commits"):
        return {}
    found = connection.execute(
        f"select key, rows from {quoted(database)}.main._partita_commits where asset = $1", [asset]
    ).fetchall()
    return dict(found)


def _has_table(connection: DuckDBPyConnection, database: str, name: str) -> bool:
    found = connection.execute(
        "select 1 from duckdb_tables() where database_name = $1 and schema_name = 'main' and table_name = $2",
        [database, name],
    ).fetchall()
    return bool(found)


def _may_have_others(
    connection: DuckDBPyConnection, target: Target, table: str, published: int
) -> bool:
    """Whether there may be rows that no partition published: those of a table that was adopted."""
    if not target.partitioned:
        return False
    if isinstance(target.write, Merge):
        return True  # what a partition was published with says nothing: a later one may have replaced its rows
    if has_key_column(target):
        return False  # such a table is not adopted
    counted = connection.execute(f"select count(*) from {table}").fetchone()
    return counted != (published,)


def _among(
    connection: DuckDBPyConnection, target: Target, table: str, column: str, keys: Sequence[str]
) -> str:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    name = f"_partita_keys_of_{target.asset}"
    connection.register(name, pa.table({"key": pa.array(keys, pa.string())}))
    return f"from {table} where {quoted(column)} in (select key from {quoted(name)})"


def _within(
    connection: DuckDBPyConnection,
    target: Target,
    table: str,
    slices: Sequence[PartitionSlice],
) -> str:
    columns = [part.column for part in partition_columns(target)]
    kinds = kinds_of(target, column_types(connection, table))
    found = lanes(target, slices, kinds)
    if kinds == (ColumnKind.TEXT,):
        return _among(connection, target, table, columns[0], [lane.texts[0] for lane in found])
    terms = [
        f"({' and '.join(f'{left} {_literal(value)}' for left, value in term)})"
        for lane in found
        for term in terms_of(lane, columns, kinds)
    ]
    # In pieces: one condition of thousands of terms is slow to plan.
    pieces = [balanced(terms[start : start + TERMS]) for start in range(0, len(terms), TERMS)]
    return " union all ".join(f"(from {table} where {piece})" for piece in pieces)


def _literal(value: Bound) -> str:
    """A value in SQL: a view takes no parameters."""
    match value:
        case str():
            return quoted_text(value)
        case datetime(tzinfo=None):
            return f"'{value.isoformat()}'::timestamp"
        case datetime():
            return f"'{value.isoformat()}'::timestamptz"
        case date():
            return f"'{value.isoformat()}'::date"
