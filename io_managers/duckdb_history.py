"""Histories in a DuckDB file: folded where the events are, for readers of the asset and, as a view `<asset>__history`, for anybody's SQL.

The fold itself is `history`'s. A view is ours if its comment says so; the comment also has a digest of what the view was made of, so that
it is made anew only when columns changed.
"""

# ruff: noqa: S608 - names come into SQL through `quoted` only, values are bound

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import PARTITION_COLUMN
from assets_core.model.specs import HISTORY_COLUMNS
from io_managers.duckdb_commits import arrow_schema, moments_of, qualified
from io_managers.duckdb_file import ATTACHED
from io_managers.history import (
    MOMENTS,
    PLACE,
    begun_sql,
    history_schema,
    history_sql,
    moments_table,
)
from io_managers.merging import ROW
from io_managers.moments import is_asked, last_end, last_moment
from io_managers.schemas import conformed_stream, readable_schema, wanted_schema
from io_managers.workbench import BATCH_ROWS, quoted, quoted_text

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Sequence

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from assets_core.model.io_manager import ReadRequest, Target
    from io_managers.workbench import Workbench

_OURS = "made by Partita, "


def history_of(
    bench: Workbench, request: ReadRequest
) -> Generator[pa.RecordBatchReader, None, None]:
    """The history up to the last of the asked partitions."""
    target, connection = request.target, bench.connection()
    table, last = qualified(target.asset), last_moment(target, request.slices)
    stored = arrow_schema(connection, table)
    schema = wanted_schema(request, history_schema(target, readable_schema(target, stored)))
    moments = [
        one for one in moments_of(connection, target.asset) if is_asked(target, one.at, last)
    ]
    begun = begun_sql(target, stored, last_end(request.slices)) if stored.names else "true"
    fold = _fold(target, stored.names, table, begun)
    with bench.tables(**{MOMENTS: moments_table(moments)}) as connection:
        reader = connection.sql(f"{fold} order by f.valid_from, f.{ROW}").to_arrow_reader(
            BATCH_ROWS
        )
        try:
            yield conformed_stream(reader, schema)
        finally:
            reader.close()


def view_name(asset: str) -> str:
    """The view with the history of an asset.

    >>> view_name("customers")
    'customers__history'
    """
    return f"{asset}__history"


def has_view(asset: str, names: Collection[str]) -> bool:
    """Whether there may be a view of ours, by the folded names of all tables and views."""
    return view_name(asset).casefold() in names


def check_view(connection: DuckDBPyConnection, asset: str, path: str) -> None:
    """Raise IOManagerError if something that is not ours has the name of the view."""
    known = _comment(connection, view_name(asset))
    if known is not None and not known.startswith(_OURS):
        raise IOManagerError(
            f"{path} has a table or view {view_name(asset)!r} that Partita did not make, and the history of {asset!r} would be one",
            hint="rename the table or the asset",
        )


def make_view(connection: DuckDBPyConnection, target: Target) -> None:
    """Make the view with the whole history, if it is not as it should be; what is there must be ours (`check_view`)."""
    name = view_name(target.asset)
    stored = arrow_schema(connection, qualified(target.asset))
    moments = (
        f"select row_number() over (order by moment) - 1 as {PLACE}, key, moment from main._partita_moments"
        f" where asset = {quoted_text(target.asset)}"
    )
    if target.since is not None:
        moments += f" and moment >= {quoted_text(target.since.isoformat())}::timestamptz"
    # Names without the database: whoever opens the file gives it another one.
    fold = _fold(target, stored.names, f"main.{quoted(target.asset)}")
    sql = f"with {MOMENTS} as ({moments}) select * from ({fold})"
    digest = blake2b(f"{sql} {stored}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    if _comment(connection, name) == f"{_OURS}{digest}":
        return
    connection.execute(f"create or replace view {qualified(name)} as {sql}")
    connection.execute(f"comment on view {qualified(name)} is {quoted_text(_OURS + digest)}")


def drop_view(connection: DuckDBPyConnection, asset: str) -> None:
    """Drop the view, if it is ours."""
    known = _comment(connection, view_name(asset))
    if known is not None and known.startswith(_OURS):
        connection.execute(f"drop view {qualified(view_name(asset))}")


def _comment(connection: DuckDBPyConnection, name: str) -> str | None:
    """The comment on a view, empty for one without and for a table; None if there is nothing of that name."""
    found = connection.execute(
        "select comment from duckdb_views() where database_name = $1 and schema_name = 'main' and lower(view_name) = lower($2)"
        " union all select '' from duckdb_tables() where database_name = $1 and schema_name = 'main' and lower(table_name) = lower($2)",
        [ATTACHED, name],
    ).fetchall()
    return (found[0][0] or "") if found else None


def _fold(target: Target, columns: Sequence[str], table: str, begun: str = "true") -> str:
    """The query for all columns of all versions; it ends where an ORDER BY may follow. Moments are there under `MOMENTS`."""
    events = f"(select t.*, t.rowid as {ROW}, m.{PLACE} from {table} t join {MOMENTS} m on t.{PARTITION_COLUMN} = m.key)"
    shown = ", ".join(
        f"{'f' if name in HISTORY_COLUMNS else 'e'}.{quoted(name)}"
        for name in (*columns, *HISTORY_COLUMNS)
    )
    return f"select {shown} from ({history_sql(target, columns, events, begun)}) f join {table} e on e.rowid = f.{ROW}"
