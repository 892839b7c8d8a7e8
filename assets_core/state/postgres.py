"""The state store in a PostgreSQL database, for any number of machines; the contract is `store.StateStore`.

What it does is in `sql_store` and the modules below it, as in SQLite; its tables are in `postgres_schema`, connections, transactions and
failures in `postgres_connection`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.state.postgres_address import parse_address
from assets_core.state.postgres_connection import Database
from assets_core.state.sql_store import DEFAULT_FOLDING, Folding, SqlStore

if TYPE_CHECKING:
    from assets_core.state.postgres_connection import Server
    from assets_core.state.postgres_lock import PostgresLocks


class PostgresStore(SqlStore):
    """State in one schema of the database at `url`, such as `postgresql://host/database?schema=shop`.

    Connects with the first call, and makes the schema and its tables with the first write. Threads of a process may share an instance
    and take turns.
    """

    def __init__(self, url: str, *, folding: Folding = DEFAULT_FOLDING) -> None:
        self._postgres = Database(parse_address(url))
        super().__init__(self._postgres, folding)

    def run_locks(self) -> PostgresLocks:
        """The locks of runs on this state."""
        from assets_core.state.postgres_lock import PostgresLocks  # noqa: PLC0415

        return PostgresLocks(self._postgres)

    def server(self) -> Server:
        """What answers at the address, and whether it holds a state already. Raises StoreError."""
        return self._postgres.server()
