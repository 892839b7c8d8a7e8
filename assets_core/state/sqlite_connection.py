"""Opening the SQLite state file, transactions on it, and its failures in the user's words. Statements live in the other modules.

Theory of operation
-------------------
Nothing is opened before the first transaction. A *writer* takes an exclusive flock on a side file (`<file>.lock`) and then
`BEGIN IMMEDIATE`; the kernel wakes waiters and frees the lock when a process dies. A deferred BEGIN that writes later is refused
as "database is locked" as soon as another process wrote in between, and a busy timeout alone polls and starves under several
writers; behind the flock, writers of ours never meet inside SQLite. A *reader* runs a plain deferred transaction: in WAL mode it
sees one commit and blocks nobody. The busy timeout is only for strangers (an SQLite shell) and for SQLite's own checkpoint at the
last close.

What can never be: a transaction on a file that is not Partita's, that a newer Partita wrote, or that was removed or replaced
since it was opened. Reading a file that does not exist creates nothing and answers as an empty store. A file that this user may
not write is only read: see `sqlite_looking`.

Threads of one process may share an instance: a mutex makes them take turns. It must not cross a fork.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assets_core.failpoints import failpoint
from assets_core.model.errors import StoreError
from assets_core.state.schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from assets_core.state.sqlite_looking import Looking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from pathlib import Path

    import apsw

    from assets_core.state.dialects import Cursor
    from assets_core.state.sqlite_cursor import SqliteCursor

_CACHE_KIBIBYTES = (
    65_536  # grows only as pages are read; loading the state of many assets walks the whole log
)
_IS_EMPTY = "select not exists (select 1 from sqlite_schema)"
_READ_VERSION = "select value from meta where name = 'schema_version'"
_SET_VERSION = (
    "insert into meta values ('schema_version', ?1) on conflict (name) do update set value = ?1"
)
_SET_CREATED = (
    "insert into meta values ('created_at', strftime('%Y-%m-%dT%H:%M:%fZ')), "
    "('state_id', lower(hex(randomblob(16)))) on conflict do nothing"
)


class Database:
    """One state file, or a private database in memory if `path` is None; `read` and `write` are transactions on it."""

    def __init__(self, path: Path | None, *, busy_timeout: timedelta) -> None:
        self.path = path
        self._busy_timeout = busy_timeout
        self._mutex = threading.RLock()
        self._connection: apsw.Connection | None = None
        self._blank: apsw.Connection | None = None
        self._looking: Looking | None = None
        self._lock_file: int | None = None
        self._identity: tuple[int, int] | None = None
        self._closed = False

    @property
    def is_read_only(self) -> bool:
        """Whether there is a file, and this user may not write it."""
        return self.path is not None and _exists(self.path) and not may_write(self.path)

    @contextmanager
    def read(self) -> Iterator[Cursor]:
        """A transaction that sees one commit and writes nothing. Raises StoreError."""
        with self._mutex, _in_users_words(self.path), self._reading() as connection:
            cursor = _cursor(connection)
            cursor.execute("begin")
            try:
                yield cursor
            finally:
                _roll_back(connection, cursor)

    @contextmanager
    def write(self) -> Iterator[Cursor]:
        """A transaction that is durable when the block ends, and undone if the block raises. Raises StoreError."""
        with self._mutex, _in_users_words(self.path):
            connection = self._open()
            with self._exclusive():
                self._refuse_if_replaced()
                # One cursor for all: a write whose RETURNING rows were not read to the end would forbid the commit, and the
                # next statement on the same cursor finishes it.
                cursor = _cursor(connection)
                cursor.execute("begin immediate")
                try:
                    yield cursor
                    failpoint("state.commit")
                    cursor.execute("commit")
                    failpoint("state.committed")
                finally:
                    _roll_back(connection, cursor)

    def close(self) -> None:
        """Release the files; any later transaction raises StoreError. Closing twice is fine."""
        with self._mutex, _in_users_words(self.path):
            self._closed = True
            for connection in (self._connection, self._blank):
                if connection is not None:
                    connection.close()
            self._connection = self._blank = None
            if self._looking is not None:
                self._looking.close()
                self._looking = None
            if self._lock_file is not None:
                os.close(self._lock_file)
                self._lock_file = None

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        """The connection to read from. Looking at a project that never ran leaves nothing behind."""
        if self._connection is not None or self.path is None or self._closed:
            yield self._open()
        elif not _exists(self.path):
            if self._blank is None:
                self._blank = self._open_memory()
            yield self._blank
        elif may_write(self.path):
            yield self._open()
        else:
            if self._looking is None:
                self._looking = Looking(self.path)
            with self._looking.reading() as connection:
                if stored_version(connection, self.path) < SCHEMA_VERSION:
                    raise self._too_old(self.path)
                yield connection

    def _too_old(self, path: Path) -> StoreError:
        return StoreError(
            f"The state file {path} was written by an older Partita, and you may not write it, which bringing it up to date takes.",
            hint="Have somebody who may write it type: partita runs list",
        )

    def _open(self) -> apsw.Connection:
        if self._closed:
            raise StoreError(f"The state store {self.path or 'in memory'} is closed.")
        if self._connection is None:
            if self.path is None:
                self._connection = self._open_memory()
            else:
                self._connection = self._open_file(self.path)
        return self._connection

    def _open_memory(self) -> apsw.Connection:
        import apsw  # noqa: PLC0415 - heavy; commands that answer from the manifest don't need it

        connection = apsw.Connection(":memory:")
        connection.pragma("foreign_keys", "on")
        _migrate(connection)
        return connection

    def _open_file(self, path: Path) -> apsw.Connection:
        import apsw  # noqa: PLC0415 - heavy; commands that answer from the manifest don't need it

        path.parent.mkdir(parents=True, exist_ok=True)
        connection = apsw.Connection(str(path))
        try:
            connection.set_busy_timeout(round(self._busy_timeout.total_seconds() * 1000))
            connection.pragma("foreign_keys", "on")
            connection.pragma("synchronous", "full")
            connection.pragma("fullfsync", "on")  # macOS: its fsync alone does not reach the disk
            connection.pragma("cache_size", -_CACHE_KIBIBYTES)
            # The version is asked first: it reads the file, and a file that isn't ours must not be changed, not even its mode.
            if (
                stored_version(connection, path) < SCHEMA_VERSION
                or connection.pragma("journal_mode") != "wal"
            ):
                with self._exclusive():
                    _prepare(connection, path)
            status = path.stat()
        except BaseException:
            connection.close()
            raise
        self._identity = (status.st_dev, status.st_ino)
        return connection

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if self.path is None:
            yield
            return
        if self._lock_file is None:
            lock_path = self.path.with_name(self.path.name + ".lock")
            self._lock_file = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
            yield
        finally:
            # Inside `finally` even if taking it was interrupted: Ctrl-C can arrive just after the kernel granted it.
            fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def _refuse_if_replaced(self) -> None:
        # SQLite goes on writing into a file without a name: commits would be acknowledged and gone.
        if self.path is None or self._lock_file is None:
            return
        try:
            status = self.path.stat()
            same = (status.st_dev, status.st_ino) == self._identity
        except FileNotFoundError:
            same = False
        if not same or os.fstat(self._lock_file).st_nlink == 0:
            raise StoreError(
                f"The state file {self.path} was removed or replaced while it was in use; nothing more is recorded.",
                hint="Run the command again; it opens the file that is there now.",
            )


def _cursor(connection: apsw.Connection) -> SqliteCursor:
    from assets_core.state.sqlite_cursor import SqliteCursor  # noqa: PLC0415 - loads apsw

    return SqliteCursor(connection)


def _roll_back(connection: apsw.Connection, cursor: apsw.Cursor) -> None:
    """End a transaction that is still open: a reader's, or a writer's after an error, a failed commit or Ctrl-C."""
    if connection.in_transaction:  # SQLite itself ends it after some errors
        cursor.close(force=True)
        connection.execute("rollback")


def may_write(path: Path) -> bool:
    """Whether this user may write the file, and what SQLite keeps beside it. True also where only the attempt can tell."""
    effective = os.access in os.supports_effective_ids
    return all(os.access(place, os.W_OK, effective_ids=effective) for place in (path, path.parent))


def _exists(path: Path) -> bool:
    # Not Path.exists: a folder that may not be entered must be an error, never "no state".
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def stored_version(connection: apsw.Connection, path: Path | None) -> int:
    """The file's schema version, 0 for a file that is still empty. Raises StoreError for a foreign or newer file."""
    application_id = connection.pragma("application_id")
    if application_id == 0 and connection.execute(_IS_EMPTY).get:
        return 0
    if application_id != APPLICATION_ID:
        raise StoreError(
            f"{path} is a database of another program, not a Partita state file; it was left untouched.",
            hint=f"Move it away: mv {shlex.quote(str(path))} {shlex.quote(f'{path}.other')}",
        )
    version = int(connection.execute(_READ_VERSION).get)
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"The state file {path} was written by a newer Partita: its schema version is {version}, "
            f"this Partita reads up to version {SCHEMA_VERSION}. It was left untouched.",
            hint="Upgrade: pip install --upgrade partita",
        )
    return version


def _prepare(connection: apsw.Connection, path: Path) -> None:
    """Bring a file that is empty, older or not in WAL mode into shape; the caller holds the flock."""
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        raise StoreError(
            f"The state file {path} can't be put into write-ahead mode (it stays {mode!r}): its file system lacks shared memory.",
            hint="Keep the project's state on a local disk.",
        )
    # Asked again: another process may have done it while this one waited for the lock.
    if stored_version(connection, path) < SCHEMA_VERSION:
        _migrate(connection)
        # SQLite makes the content durable, but nobody the new file's name.
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _migrate(connection: apsw.Connection) -> None:
    connection.execute("begin immediate")
    try:
        version = stored_version(connection, None)
        for migration in MIGRATIONS:
            if migration.version > version:
                connection.execute(migration.script)
        connection.pragma("application_id", APPLICATION_ID)
        connection.execute(_SET_VERSION, (str(SCHEMA_VERSION),))
        connection.execute(_SET_CREATED)
        connection.execute("commit")
    finally:
        if connection.in_transaction:
            connection.execute("rollback")


@contextmanager
def _in_users_words(path: Path | None) -> Iterator[None]:
    import apsw  # noqa: PLC0415 - heavy

    try:
        yield
    except apsw.Error as error:
        raise store_error(path, error) from error
    except OSError as error:
        raise StoreError(
            f"The state file {path} can't be used: {error.strerror or error}.",
            hint=_hint_about(path),
        ) from error


def store_error(path: Path | None, error: apsw.Error) -> StoreError:
    """What a failure of SQLite means for the user: the file, the cause in SQLite's words, and what to do."""
    import apsw  # noqa: PLC0415 - heavy

    name = str(path) if path is not None else "in memory"
    damaged = (
        "It was left untouched. Restore it from a copy, or move it away to start without state: "
        f"mv {shlex.quote(name)} {shlex.quote(name + '.damaged')}"
    )
    match error:
        case apsw.NotADBError():
            return StoreError(f"{name} is not a Partita state file: {error}.", hint=damaged)
        case apsw.CorruptError():
            return StoreError(f"The state file {name} is damaged: {error}.", hint=damaged)
        case apsw.FullError():
            return StoreError(
                f"The state file {name} can't grow: {error}.",
                hint="Free some space and run the command again; what was recorded before is safe.",
            )
        case apsw.BusyError() | apsw.LockedError():
            from assets_core.state.foreign_locks import who_locks  # noqa: PLC0415 - errors are rare

            who = (who_locks(path) if path is not None else None) or "another program"
            return StoreError(
                f"The state file {name} stays locked by {who}: {error}.",
                hint="Close the program that has it open, such as an SQLite shell inside a transaction.",
            )
        case _:
            return StoreError(
                f"The state file {name} can't be used: {error}.", hint=_hint_about(path)
            )


def _hint_about(path: Path | None) -> str | None:
    """What is evidently wrong with the place, if anything."""
    if path is None:
        return None
    # os.access answers False where Path.exists would raise because a folder may not be entered.
    if os.access(path, os.F_OK) and path.is_dir():
        return f"{path} is a folder; move it away."
    folder = path.parent
    while not os.access(folder, os.F_OK) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} is not a folder; move it away."
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} is read-only for you; make it writable: chmod u+rwx {shlex.quote(str(folder))}"
    if os.access(path, os.F_OK) and not os.access(path, os.R_OK | os.W_OK):
        return (
            f"{path} is read-only for you; make it writable: chmod u+rw {shlex.quote(str(path))}"
        )
    return f"Check the disk and the file system that hold {folder}."
