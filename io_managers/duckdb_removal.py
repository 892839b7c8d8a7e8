"""Removing an asset from the attached DuckDB file: its table, if that is ours, its view, and every commit, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from io_managers.duckdb_commits import (
    base_tables,
    forget_table,
    make_tables,
    own_tables,
    qualified,
    roll_back,
)
from io_managers.duckdb_history import drop_view

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def remove_asset(connection: DuckDBPyConnection, asset: str) -> None:
    """Remove all of an asset; a table or view of its name that we did not make stays. Raises duckdb.Error: then all is as it was."""
    tables = base_tables(connection)
    if not {"_partita_commits", "_partita_tables"} <= tables:
        return
    connection.execute("begin transaction")
    try:
        make_tables(connection)
        own = own_tables(connection).get(asset.casefold())
        if own is not None and own.asset == asset and asset in tables:
            connection.execute(f"drop table {qualified(asset)}")
        drop_view(connection, asset)
        forget_table(connection, asset)
        connection.execute("commit")
    except BaseException:
        roll_back(connection)
        raise
