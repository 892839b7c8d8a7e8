"""The tables of a DuckDB file that are Partita's own: commits of partitions, tables that are ours, moments of partitions with a history.

`_partita_commits` has one row per partition that was ever published: its rows arrive, or go, in the transaction that changes the
partition's own rows. A partition is identified by its key, as the rows are; the id is kept for comparison with the state.
"""

# ruff: noqa: S608 - names come into SQL through `quoted` only, values are bound

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from assets_core.model.io_manager import PARTITION_COLUMN, WriteReceipt
from io_managers.duckdb_file import ATTACHED
from io_managers.moments import Moment, no_moment
from io_managers.partition_columns import has_key_column, partition_columns
from io_managers.workbench import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from assets_core.model.io_manager import StageRequest, Target
    from io_managers.workbench import Workbench

COMMITS = f"{ATTACHED}.main._partita_commits"
TABLES = f"{ATTACHED}.main._partita_tables"
MOMENTS = f"{ATTACHED}.main._partita_moments"
OWN_NAMES = frozenset(table.rpartition(".")[2] for table in (COMMITS, TABLES, MOMENTS))
"""The names of the three tables in their file."""
_COLUMNS = "asset, key, id, epoch, token, rows, bytes, data_version, schema_hash"


@dataclass(frozen=True, slots=True)
class Commit:
    """The last publish of one partition."""

    epoch: int
    token: str
    receipt: WriteReceipt


class TableLayout(StrEnum):
    """How the rows of a table know their partition: there are none, a `_partition` column, or the columns of `partition_by`."""

    WHOLE = "whole"
    BY_KEY = "key"
    BY_COLUMNS = "columns"

    @classmethod
    def of(cls, target: Target) -> Self:
        """The layout in which an asset is written."""
        if has_key_column(target):
            return cls.BY_KEY
        return cls.BY_COLUMNS if partition_columns(target) else cls.WHOLE


@dataclass(frozen=True, slots=True)
class OwnTable:
    """A table that we write. `untyped` are columns that have held nulls only."""

    asset: str
    layout: TableLayout
    untyped: tuple[str, ...]


def make_tables(connection: DuckDBPyConnection) -> None:
    """Make the three tables where they are missing."""
    connection.execute(
        f"create table if not exists {COMMITS} (asset varchar, key varchar, id bigint, epoch bigint, token varchar, rows bigint,"
        " bytes bigint, data_version varchar, schema_hash varchar)"
    )
    connection.execute(
        f"create table if not exists {TABLES} (asset varchar, layout varchar, untyped varchar[])"
    )
    connection.execute(
        f"create table if not exists {MOMENTS} (asset varchar, key varchar, moment timestamptz)"
    )


def table_names(connection: DuckDBPyConnection) -> frozenset[str]:
    """All tables and views of the attached file, ours and others'."""
    found = connection.execute(
        "select table_name from duckdb_tables() where database_name = $name and schema_name = 'main'"
        " union all select view_name from duckdb_views() where database_name = $name and schema_name = 'main'",
        {"name": ATTACHED},
    ).fetchall()
    return frozenset(name for (name,) in found)


def base_tables(connection: DuckDBPyConnection) -> frozenset[str]:
    """The tables of the attached file, without views."""
    found = connection.execute(
        "select table_name from duckdb_tables() where database_name = $name and schema_name = 'main'",
        {"name": ATTACHED},
    ).fetchall()
    return frozenset(name for (name,) in found)


class Catalog:
    """Tables and columns of one state of the file: they stay the same as long as the file does, and cost most of a small read."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._names = table_names(connection)
        self._types: dict[str, dict[str, str]] = {}

    @property
    def is_ours(self) -> bool:
        """False for a database that we have never written."""
        return {"_partita_commits", "_partita_tables"} <= self._names

    def has_table(self, asset: str) -> bool:
        """True if the asset has a table."""
        return asset in self._names

    def types(self, connection: DuckDBPyConnection, asset: str) -> dict[str, str]:
        """Columns and DuckDB types of the asset's table, which must be there."""
        if asset not in self._types:
            self._types[asset] = column_types(connection, qualified(asset))
        return self._types[asset]


def qualified(asset: str) -> str:
    """The table of an asset, as an SQL name."""
    return f"{ATTACHED}.main.{quoted(asset)}"


def column_types(connection: DuckDBPyConnection, source: str) -> dict[str, str]:
    """Column names and DuckDB types of a table or registered name, in order."""
    found = connection.execute(f"describe select * from {source}").fetchall()
    return {row[0]: row[1] for row in found}


def arrow_schema(connection: DuckDBPyConnection, source: str) -> pa.Schema:
    """The visible columns of a table or registered name, with the Arrow types that readers get."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    reader = connection.sql(f"select * from {source} limit 0").to_arrow_reader()
    try:
        fields = [field for field in reader.schema if field.name != PARTITION_COLUMN]
        return with_durations(pa.schema(fields))
    finally:
        reader.close()


def with_durations(schema: pa.Schema) -> pa.Schema:
    """The schema with durations where DuckDB hands out intervals, as which it stores them."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.schema(
        [
            field.with_type(pa.duration("us")) if pa.types.is_interval(field.type) else field
            for field in schema
        ]
    )


def own_tables(connection: DuckDBPyConnection) -> dict[str, OwnTable]:
    """The tables that we made, by name in one case."""
    found = connection.execute(f"select asset, layout, untyped from {TABLES}").fetchall()
    return {
        asset.casefold(): OwnTable(asset, TableLayout(layout), tuple(untyped))
        for asset, layout, untyped in found
    }


def save_table(connection: DuckDBPyConnection, table: OwnTable) -> None:
    """Remember that a table is ours to write, and its layout."""
    connection.execute(f"delete from {TABLES} where asset = $1", [table.asset])
    connection.execute(
        f"insert into {TABLES} values ($1, $2, $3::varchar[])",
        [table.asset, table.layout.value, list(table.untyped)],
    )


def forget_table(connection: DuckDBPyConnection, asset: str) -> None:
    """Forget a table, and every commit to it: the rows of all its partitions are gone."""
    connection.execute(f"delete from {TABLES} where asset = $1", [asset])
    connection.execute(f"delete from {COMMITS} where asset = $1", [asset])
    connection.execute(f"delete from {MOMENTS} where asset = $1", [asset])


def save_moments(connection: DuckDBPyConnection, asset: str, moments: Sequence[Moment]) -> None:
    """Replace the moments of these partitions."""
    keys = [one.key for one in moments]
    connection.execute(
        f"delete from {MOMENTS} where asset = $1 and key in (select unnest($2::varchar[]))",
        [asset, keys],
    )
    connection.execute(
        f"insert into {MOMENTS} select $1, unnest($2::varchar[]), unnest($3::timestamptz[])",
        [asset, keys, [one.at.isoformat() for one in moments]],
    )


def moments_of(connection: DuckDBPyConnection, asset: str) -> list[Moment]:
    """The moments of all partitions of an asset. Raises IOManagerError for one that was written without."""
    found = connection.execute(
        f"select key, moment::varchar from {COMMITS} left join (select key, moment from {MOMENTS} where asset = $1) using (key)"
        " where asset = $1",
        [asset],
    ).fetchall()
    for key, moment in found:
        if moment is None:
            raise no_moment(asset, key)
    # As text: DuckDB's own way to a datetime with a zone needs a package of its own.
    return [Moment(key, datetime.fromisoformat(moment).astimezone(UTC)) for key, moment in found]


def commits_of(
    connection: DuckDBPyConnection, asset: str, keys: Sequence[str]
) -> dict[str, Commit]:
    """The commits of some partitions of an asset, by key."""
    # One key is asked for by far the most often, and a plain comparison costs a third of a semi-join.
    one = len(keys) == 1
    condition = "key = $2" if one else "key in (select unnest($2::varchar[]))"
    found = connection.execute(
        "select key, epoch, token, id, rows, bytes, data_version, schema_hash"
        f" from {COMMITS} where asset = $1 and {condition}",
        [asset, keys[0] if one else list(keys)],
    ).fetchall()
    return {
        key: Commit(epoch, token, WriteReceipt(*receipt)) for key, epoch, token, *receipt in found
    }


def tokens_of(connection: DuckDBPyConnection, asset: str) -> list[tuple[int, str, int]]:
    """Id, token and row count of every partition of an asset."""
    return connection.execute(
        f"select id, token, rows from {COMMITS} where asset = $1", [asset]
    ).fetchall()


def save_commits(
    bench: Workbench,
    written: Sequence[tuple[StageRequest, Mapping[str, WriteReceipt]]],
) -> None:
    """Replace the commits of what was written: one DELETE and one INSERT for all assets and partitions together."""
    rows = {
        (request.target.asset, key): (
            request.target.asset,
            key,
            receipt.partition_id,
            request.epoch,
            request.token,
            receipt.rows,
            receipt.bytes,
            receipt.data_version,
            receipt.schema_hash,
        )
        for request, receipts in written
        for key, receipt in receipts.items()
    }
    if len(rows) == 1:
        # By far the most frequent, and bound values cost half of a registered table.
        ((key, row),) = rows.items()
        connection = bench.connection()
        connection.execute(f"delete from {COMMITS} where asset = $1 and key = $2", key)
        connection.execute(
            f"insert into {COMMITS} ({_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)", row
        )
    elif rows:
        _save_many(bench, list(rows.values()))


def _save_many(bench: Workbench, rows: Sequence[tuple[object, ...]]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    columns = map(list, zip(*rows, strict=True))
    table = pa.table(dict(zip(_COLUMNS.split(", "), columns, strict=True)))
    with bench.tables(new_commits=table) as connection:
        connection.execute(
            f"delete from {COMMITS} old using new_commits new where old.asset = new.asset and old.key = new.key"
        )
        connection.execute(f"insert into {COMMITS} by name select * from new_commits")


def roll_back(connection: DuckDBPyConnection) -> None:
    """End the transaction if DuckDB has not ended it itself; the error that led here is the one to tell."""
    import duckdb  # noqa: PLC0415 - heavy

    with suppress(duckdb.Error):
        connection.execute("rollback")
