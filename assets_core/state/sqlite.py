"""The state store in one SQLite file, for one machine; the contract is `store.StateStore`.

What it does is in `sql_store` and the modules below it, its tables in `schema`, locks and durability in `sqlite_connection`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from assets_core.model.errors import StoreError
from assets_core.state.sql_store import DEFAULT_FOLDING, Folding, SqlStore
from assets_core.state.sqlite_connection import Database

if TYPE_CHECKING:
    from os import PathLike

    from assets_core.state.locks import FileLocks


class SqliteStore(SqlStore):
    """State in the file `path`, or in memory and gone with the object for ":memory:".

    Opens nothing before the first call, and creates the file (and its folder) with the first write. Threads of a process may
    share an instance and take turns. `busy_timeout` is how long to wait for a program that is not Partita and locks the file.

    >>> with SqliteStore(":memory:") as store:
    ...     store.intern_keys({"static": ["eu", "us"]})
    {'static': {'eu': 1, 'us': 2}}
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        busy_timeout: timedelta = timedelta(seconds=30),
        folding: Folding = DEFAULT_FOLDING,
    ) -> None:
        file = None if path == ":memory:" else Path(path)
        self._file = Database(file, busy_timeout=busy_timeout)
        super().__init__(self._file, folding)
        self._path = file

    @property
    def is_read_only(self) -> bool:
        """Whether there is a file, and this user may not write it: it can be looked at, no more."""
        return self._file.is_read_only

    def run_locks(self) -> FileLocks:
        """The locks of runs on this state: files beside it. Raises StoreError for a state in memory, which needs none."""
        from assets_core.state.locks import FileLocks  # noqa: PLC0415

        if self._path is None:
            raise StoreError("A state in memory has no locks: no other process can use it.")
        return FileLocks(self._path.parent)
