"""Reading a state file that this user may not write: in a read-only folder, of another user, on a read-only disk.

Theory of operation
-------------------
A file in write-ahead mode has two others beside it while somebody has it open: the log, with commits that are not in the file itself yet,
and shared memory that says who reads what. SQLite reads such a file without writing if both are there, also if whoever made them is dead.
Where nobody has the file open they are not there, and SQLite would have to make them. Then the file holds everything, and it is read as
something that does not change (`immutable`). Should it change all the same, because somebody else began to work on it, that is noticed when the
transaction ends: nobody writes into the file itself but at the end of a log, and each write moves its time.

What can't be read is a log without its shared memory, as a copy of a project may have it whose process was killed.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from assets_core.model.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw

Identity = tuple[int, int, int]
"""Inode, size, and time of the last write in nanoseconds."""


class Looking:
    """Connections to one file, for reading only. Opens nothing when it is made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: apsw.Connection | None = None
        self._still: Identity | None = None

    def close(self) -> None:
        """Close what is open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """A connection that sees one commit as long as the block takes. Raises StoreError, apsw.Error."""
        if self._connection is None or (self._still is not None and not self._is_still()):
            self.close()
            self._open()
        assert self._connection is not None
        yield self._connection
        if self._still is not None and self._identity() != self._still:
            self.close()
            raise StoreError(
                f"The state file {self._path} was written while it was read.",
                hint="Run the command again.",
            )

    def _open(self) -> None:
        import apsw  # noqa: PLC0415 - heavy; commands that answer from the manifest don't need it

        # Asked in this order, so that a write in between is noticed at the end.
        identity, is_quiet = self._identity(), self._is_quiet()
        log = self._beside("wal")
        if not is_quiet and not self._beside("shm").exists():
            raise StoreError(
                f"{log} has changes that are not in the state file yet, and only somebody who may write in {log.parent} can read them.",
                hint="Have somebody who may type there: partita runs list",
            )
        self._still = identity if is_quiet else None
        self._connection = apsw.Connection(
            f"file:{quote(str(self._path))}?{'immutable=1' if is_quiet else 'mode=ro'}",
            flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
        )

    def _is_still(self) -> bool:
        return self._is_quiet() and self._identity() == self._still

    def _is_quiet(self) -> bool:
        """Whether nobody has the file open, nor left a log."""
        log = self._beside("wal")
        return not self._beside("shm").exists() and not (log.exists() and log.stat().st_size)

    def _beside(self, what: str) -> Path:
        return self._path.with_name(f"{self._path.name}-{what}")

    def _identity(self) -> Identity:
        found = self._path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns
