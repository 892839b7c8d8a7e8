"""Opening a DuckDB file without losing commits: who may hold it when, and what is remembered about it after closing.

What is in the file is not decided here (see `duckdb_tables`, `duckdb_writes`).

Theory of operation
-------------------
DuckDB 2.0 reads a file's headers before it takes its own lock, so processes that take turns lose acknowledged commits; and its
lock is of the kind that any `open` and `close` of the file elsewhere in the process drops. So every process of ours takes an `flock`
on `<db>.lock` *before* opening the file and gives it back *after* closing: exclusive to write, shared to read. The file is never
connected to, but attached to an in-memory connection that is at hand (`Workbench`) and detached again, which writes the log into
the file. `tests/crash/test_duckdb_locking.py` keeps both the loss and its absence reproducible.

No lock is held between two calls, and no stream that is handed out reads from the file: a process can't lock itself out.

A stranger (the `duckdb` shell, a notebook) holds DuckDB's lock but not ours. It is waited for up to a limit.

A new database is made under another name and renamed when it is complete: a process killed while making it leaves no half file.

What DuckDB itself can leave half-written when it is killed is put back by whoever opens the file next: see `duckdb_undo`. The copies that
this takes are in the side file while somebody writes.

The note: after a writer has closed the file, it writes inode, size and modification time into the side file, with the assets whose
rows have been compared with a state since (`checked`), each with the basis of that state then. It takes the note away before it opens
the file, and leaves out of it what it writes. As long as file and note agree, nobody else wrote, and as long as a state's basis is the
noted one, it believes what it believed; that answers "is anything lost?" by one stat. A write by a stranger, a crash, a copied or a
new file: file and note disagree, and every asset is compared again, once. A state that went on, another state that uses the file, one
restored from a backup: the basis differs, and the asset is compared again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shlex
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assets_core.failpoints import failpoint
from assets_core.model.errors import IOManagerError
from assets_core.state.foreign_locks import who_holds
from io_managers.workbench import quoted_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import timedelta

    from duckdb import DuckDBPyConnection

    from io_managers.workbench import Workbench

ATTACHED = "partita_destination"
"""The name under which the file is attached while it is open."""

_log = logging.getLogger(__name__)
_HOLDER = re.compile(r"held in (?P<program>.+?) \(PID (?P<process>\d+)\)")
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Note:
    """What the side file says: the identity of the database file when it was last closed; the assets checked since, by their basis."""

    identity: tuple[int, int, int]
    checked: Mapping[str, str]


class DatabaseFile:
    """One database file on disk, opened for one block at a time.

    `wait_limit` bounds the wait for a stranger; `sleep` takes seconds, `clock` gives them. It is attached under `name`.
    """

    def __init__(
        self,
        path: str,
        bench: Workbench,
        *,
        wait_limit: timedelta,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
        name: str = ATTACHED,
    ) -> None:
        self.path = path
        self._name = name
        self._bench = bench
        self._wait_limit = wait_limit
        self._sleep = sleep
        self._clock = clock

    def on(self, bench: Workbench, name: str) -> DatabaseFile:
        """The same file, to be attached to another connection under another name."""
        return DatabaseFile(
            self.path,
            bench,
            wait_limit=self._wait_limit,
            sleep=self._sleep,
            clock=self._clock,
            name=name,
        )

    @property
    def lock_path(self) -> str:
        """The side file that is locked, and holds the note."""
        return f"{self.path}.lock"

    def exists(self) -> bool:
        """True if there is a file with something in it. Raises IOManagerError if there is a folder instead."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - on the path of every no-op run
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._refused("read", error) from error
        if stat.S_ISDIR(found.st_mode):
            raise IOManagerError(
                f"{self.path} is a folder, not a DuckDB database file",
                hint="give the path of a file, such as DuckDBIOManager('data.duckdb')",
            )
        return found.st_size > 0

    @contextmanager
    def writing(self, assets: Iterable[str]) -> Iterator[DuckDBPyConnection]:
        """The file attached for writing rows of these assets; made if there is none. Other processes wait meanwhile.

        Raises IOManagerError if it can't be opened. The note is kept only if the block ends without an exception.
        """
        exists = self.exists()
        with self._locked(exclusive=True) as lock:
            self._repair(lock)
            note = _read_note(lock)
            os.ftruncate(lock, 0)
            known = exists and note is not None and note.identity == self.identity()
            if not self.exists():
                self._create()
                known = False
            with self._open_to_write(lock) as connection:
                yield connection
            failpoint("publish.duckdb.closed")
            # A checkpoint that failed, on a full disk for instance, leaves what one that was killed does.
            self._repair(lock)
            checked = dict(note.checked) if known and note is not None else {}
            for asset in assets:
                checked.pop(asset, None)
            self._write_note(lock, checked)

    @contextmanager
    def reading(self) -> Iterator[DuckDBPyConnection]:
        """The file attached for reading; other readers may have it open too, writers wait.

        Results must be taken out of the connection before the block ends. Raises IOManagerError if it can't be opened.
        """
        self._require()
        with self._locked(exclusive=False) as lock:
            self._require()
            self._repair_for_reading(lock)
            with self._attached(read_only=True) as connection:
                yield connection

    def is_as_noted(self, asset: str, basis: str) -> bool:
        """True if the file is as we last closed it, and since then this asset was compared with a state of this basis. One stat."""
        try:
            with open(self.lock_path, "rb") as file:  # noqa: PTH123 - on the path of every no-op run
                note = _parse_note(file.read())
        except OSError:
            return False
        if note is None or note.checked.get(asset) != basis:
            return False
        return note.identity == self.identity()

    @contextmanager
    def checking(
        self, asset: str, basis: str, patience: timedelta | None
    ) -> Iterator[tuple[DuckDBPyConnection, Callable[[], None]]]:
        """As `reading`; the second value notes that `asset` is as a state of this basis believes, and is called if it is.

        With `patience` nobody is waited for longer: neither strangers nor processes of ours.
        """
        self._require()
        with self._locked(exclusive=False, patience=patience) as lock:
            self._require()
            self._repair_for_reading(lock)
            before = self.identity()

            def confirm() -> None:
                # The writers' exclusive lock keeps the file still, and of two readers' notes either one is true.
                note = _read_note(lock) if lock >= 0 else None
                known = note.checked if note is not None and note.identity == before else {}
                if lock >= 0 and before == self.identity():
                    self._write_note(lock, {**known, asset: basis})

            with self._attached(read_only=True, limit=patience) as connection:
                yield connection, confirm

    def _require(self) -> None:
        if not self.exists():
            raise IOManagerError(
                f"there is no database file {self.path}",
                hint="materialize the asset first, or correct the path of its DuckDBIOManager",
            )

    @contextmanager
    def _locked(self, *, exclusive: bool, patience: timedelta | None = None) -> Iterator[int]:
        """Hold the side file's lock; the value is its descriptor, -1 if a reader can't have one."""
        lock = self._open_lock(exclusive=exclusive, patience=patience)
        try:
            yield lock
        finally:
            if lock >= 0:
                os.close(lock)

    def _open_lock(self, *, exclusive: bool, patience: timedelta | None) -> int:
        while True:
            try:
                lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                if exclusive:
                    raise self._refused("written", error) from error
                # A folder that we can't write in: writers who made the side file are kept out by a lock on it all the same;
                # where nobody made one, nobody writes by our rules.
                try:
                    lock = os.open(self.lock_path, os.O_RDONLY | os.O_CLOEXEC)
                except OSError:
                    return -1
            try:
                self._flock(lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, patience)
                if os.fstat(lock).st_ino == os.stat(self.lock_path).st_ino:  # noqa: PTH116 - descriptors and paths compared alike
                    return lock
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(lock)
                raise
            # Somebody deleted the side file while we waited: a lock on a file without a name keeps nobody out.
            os.close(lock)

    def _flock(self, lock: int, kind: int, patience: timedelta | None = None) -> None:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("waiting for another process of Partita to close %s", self.path)
            if patience is None:
                fcntl.flock(lock, kind)
            else:
                self._flock_within(lock, kind, patience)

    def _flock_within(self, lock: int, kind: int, patience: timedelta) -> None:
        until = self._clock() + patience.total_seconds()
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, kind | fcntl.LOCK_NB)
                return
            if self._clock() >= until:
                who = who_holds(self.lock_path) or "another process of Partita"
                raise IOManagerError(
                    f"{self.path} is being written by {who}, which did not finish within {patience.total_seconds():g} s"
                )
            self._sleep(_FIRST_PAUSE)

    @contextmanager
    def _open_to_write(self, lock: int) -> Iterator[DuckDBPyConnection]:
        """The file attached for writing. Copies are made before each of three checkpoints: of a killed writer's log, of a big commit, of detaching."""
        if os.path.exists(f"{self.path}.wal"):  # noqa: PTH110 - once per publish
            with self._attached(read_only=True) as connection:
                self._save_undo(lock, connection)
        with self._attached(read_only=False) as connection:
            self._save_undo(lock, connection)
            try:
                yield connection
            finally:
                self._save_undo(lock, connection)

    def _save_undo(self, lock: int, connection: DuckDBPyConnection) -> None:
        from io_managers.duckdb_undo import save_undo  # noqa: PLC0415 - a no-op run needs none of it

        try:
            save_undo(lock, self.path, connection, self._name)
        except OSError as error:
            raise self._refused("written", error) from error

    def _repair(self, lock: int) -> None:
        """Undo what a checkpoint left that did not come to its end. Called with the exclusive lock."""
        from io_managers.duckdb_undo import has_undo, put_back  # noqa: PLC0415 - a no-op run needs none of it

        if not has_undo(lock):
            return
        try:
            put_back(lock, self.path)
            os.ftruncate(lock, 0)
        except OSError as error:
            raise self._refused("repaired", error) from error

    def _repair_for_reading(self, lock: int) -> None:
        """The same for one of many readers, which then holds the shared lock again."""
        from io_managers.duckdb_undo import has_undo  # noqa: PLC0415 - a no-op run needs none of it

        while lock >= 0 and has_undo(lock):
            self._flock(lock, fcntl.LOCK_EX)
            self._repair(lock)
            self._flock(lock, fcntl.LOCK_SH)

    @contextmanager
    def _attached(
        self, *, read_only: bool, limit: timedelta | None = None
    ) -> Iterator[DuckDBPyConnection]:
        connection = self._bench.connection()
        self._attach(connection, self.path, read_only=read_only, limit=limit)
        try:
            yield connection
        finally:
            self._detach(connection)

    def _attach(
        self,
        connection: DuckDBPyConnection,
        path: str,
        *,
        read_only: bool,
        limit: timedelta | None = None,
    ) -> None:
        import duckdb  # noqa: PLC0415 - heavy

        patience = self._wait_limit if limit is None else min(limit, self._wait_limit)
        seconds = patience.total_seconds()
        mode = ", READ_ONLY" if read_only else ""
        sql = f"attach {quoted_text(path)} as {self._name} (type duckdb{mode})"
        began: float | None = None
        pause = _FIRST_PAUSE
        while True:
            try:
                connection.execute(sql)
            except duckdb.Error as error:
                if "Could not set lock" not in str(error):
                    raise self._explained(error) from error
                now = self._clock()
                if began is None:
                    began = now
                    if limit is None:
                        _log.warning(
                            "waiting for %s, which is open in %s", self.path, _holder(error)
                        )
                if now - began >= seconds:
                    raise IOManagerError(
                        f"{self.path} is open in {_holder(error)}, and was not closed within {seconds:g} s",
                        hint="close it there and run again",
                    ) from error
                self._sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                return

    def _detach(self, connection: DuckDBPyConnection) -> None:
        import duckdb  # noqa: PLC0415 - heavy

        try:
            connection.execute(f"detach {self._name}")
        except duckdb.Error:
            # An unfinished result or transaction keeps it attached; only the end of the whole connection closes the file then.
            self._bench.close()

    def _create(self) -> None:
        """Make an empty database. Called with the exclusive lock."""
        fresh = f"{self.path}.new"
        try:
            for leftover in (fresh, f"{fresh}.wal", f"{self.path}.wal"):
                # A log without its database: of a file that somebody deleted, or of one that was never finished.
                Path(leftover).unlink(missing_ok=True)
            connection = self._bench.connection()
            self._attach(connection, fresh, read_only=False)
            self._detach(connection)
            _sync(fresh)
            os.replace(fresh, self.path)  # noqa: PTH105 - the atomic act, by its POSIX name
            failpoint("publish.duckdb.created")
            _sync(str(Path(self.path).parent))
        except OSError as error:
            raise self._refused("written", error) from error

    def identity(self) -> tuple[int, int, int] | None:
        """Inode, size and modification time, None if there is no file or a log beside it waits to be read."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - on the path of every no-op run
        except OSError:
            return None
        if os.path.exists(f"{self.path}.wal"):  # noqa: PTH110 - same
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _write_note(self, lock: int, checked: Mapping[str, str]) -> None:
        identity = self.identity()
        if identity is None:
            return
        text = json.dumps({"identity": identity, "checked": dict(checked)}).encode()
        # The note saves time and nothing else: data that is published stays published if it can't be written.
        with suppress(OSError):
            os.ftruncate(lock, 0)
            os.pwrite(lock, text, 0)

    def _refused(self, what: str, error: OSError) -> IOManagerError:
        folder = Path(self.path).parent
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return IOManagerError(
                f"{self.path} can't be {what}: there is no folder {folder}",
                hint=f"make it with: mkdir -p {shlex.quote(str(folder))}, or correct the path of the DuckDBIOManager",
            )
        return IOManagerError(
            f"{self.path} can't be {what}: {error.strerror or error}",
            hint=f"{folder} must be writable: the database, its log and its lock are kept there",
        )

    def _explained(self, error: Exception) -> IOManagerError:
        text = str(error).split("\n", 1)[0]
        if "not a valid DuckDB database file" in text:
            return IOManagerError(
                f"{self.path} is not a DuckDB database file",
                hint="move it away, or give the DuckDBIOManager another path",
            )
        if "already attached" in text:
            return IOManagerError(
                f"{self.path} is open in this very process, by another DuckDB connection",
                hint="close that connection; inputs come as parameters, and need none",
            )
        path = shlex.quote(self.path)
        return IOManagerError(
            f"{self.path} can't be opened: {text}",
            hint=f"if it is damaged, move it away: mv {path} {path}.damaged; then partita materialize makes what it held again",
        )


def _read_note(lock: int) -> Note | None:
    return _parse_note(os.pread(lock, os.fstat(lock).st_size, 0))


def _parse_note(text: bytes) -> Note | None:
    """The note; None for an empty one or one that was cut short."""
    try:
        found = json.loads(text)
        inode, size, changed_at = found["identity"]
        checked = {str(asset): str(basis) for asset, basis in found["checked"].items()}
        return Note((int(inode), int(size), int(changed_at)), checked)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _holder(error: Exception) -> str:
    found = _HOLDER.search(str(error))
    if found is None:
        return "another program"
    return f"{found['program']} (PID {found['process']})"
