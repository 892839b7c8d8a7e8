"""Taking over a table that others made: from then on it is written as if it were ours, and publishing replaces rows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.model.errors import IOManagerError
from assets_core.model.specs import Merge, MergeScope
from io_managers.duckdb_commits import (
    OwnTable,
    TableLayout,
    base_tables,
    column_types,
    make_tables,
    own_tables,
    qualified,
    roll_back,
    save_table,
    table_names,
)
from io_managers.duckdb_file import ATTACHED
from io_managers.moments import is_history
from io_managers.partition_columns import has_key_column, partition_columns
from io_managers.workbench import quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from assets_core.model.io_manager import Target


def adopt_table(connection: DuckDBPyConnection, target: Target, path: str) -> bool:
    """Make the table of the asset's name ours, without touching a row. False if there is none, or if it is ours already.

    Raises IOManagerError if what is there can't be written as this asset is.
    """
    asset = target.asset
    connection.execute("begin transaction")
    try:
        make_tables(connection)
        same = {name for name in table_names(connection) if name.casefold() == asset.casefold()}
        is_foreign = bool(same) and asset.casefold() not in own_tables(connection)
        if is_foreign:
            _check_fit(connection, target, same.pop(), path)
            save_table(connection, OwnTable(asset, TableLayout.of(target), ()))
        connection.execute("commit")
    except BaseException:
        roll_back(connection)
        raise
    return is_foreign


def _check_fit(connection: DuckDBPyConnection, target: Target, name: str, path: str) -> None:
    if reason := _unfit(connection, target, name):
        raise IOManagerError(
            f"{path}: {name!r} can't become the table of asset {target.asset!r}: {reason}",
            hint="give one of the two another name; then the asset's table is made anew",
        )


def _unfit(connection: DuckDBPyConnection, target: Target, name: str) -> str | None:
    """Why this table or view can't be written as the asset is; None if it can."""
    if name not in base_tables(connection):
        return "it is a view"
    if name != target.asset:
        return "their names differ by case"
    if is_history(target):
        return "a history is kept as the rows that each partition returned, and a table of others has no such rows"
    merges_all = isinstance(target.write, Merge) and target.write.scope is MergeScope.TABLE
    if has_key_column(target) and not merges_all:
        return "nothing says which partition its rows belong to; that takes partition_by"
    columns = column_types(connection, qualified(name))
    for part in partition_columns(target):
        if part.column not in columns:
            return f"it has no column {part.column!r}, which partition_by names"
    if rules := _uniqueness(connection, name):
        return (
            f"it has {rules}, and DuckDB refuses to replace rows under that in one transaction;"
            f" a copy has none: create table … as from {quoted(name)}"
        )
    return None


def _uniqueness(connection: DuckDBPyConnection, name: str) -> str | None:
    """The first index or key of a table, by what it is called."""
    keys = connection.execute(
        "select constraint_type from duckdb_constraints() where database_name = $1 and schema_name = 'main' and table_name = $2"
        " and constraint_type in ('PRIMARY KEY', 'UNIQUE', 'FOREIGN KEY') order by 1",
        [ATTACHED, name],
    ).fetchall()
    if keys:
        return f"a {keys[0][0]}"
    indexes = connection.execute(
        "select index_name from duckdb_indexes() where database_name = $1 and schema_name = 'main' and table_name = $2 order by 1",
        [ATTACHED, name],
    ).fetchall()
    return f"the index {indexes[0][0]!r}" if indexes else None
