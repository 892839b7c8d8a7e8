"""Which runs live, and maintenance that must be alone: what such locks must do, and those of a state in a file.

Theory of operation
-------------------
Any number of runs work on a state at once. Each holds a lock of its own for as long as it lives, and a share of the project's lock.
What needs the state for itself (`exclude`) takes all of the project's lock, so it waits for runs to end, and runs wait for it.

The kernel frees a lock when its process ends, however it ends: that is how another command learns that a run recorded as running
was left by a crash. It then takes the dead run's lock (`take_over`), so that one process settles it and not two. What is written
into a lock file is only for people; the kernel's lock alone decides. What a dead run left half done is put right by
`execution.recovery`, not here. The locks of a state in PostgreSQL are in `postgres_lock`.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from assets_core.model.errors import StoreError

if TYPE_CHECKING:
    from os import PathLike
    from types import TracebackType

_POLL = timedelta(milliseconds=50)
_GRACE = timedelta(milliseconds=500)
"""How long a run's own lock is tried for: whoever asks who lives takes it for microseconds."""

_LONGEST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who is at work: process id, run id and machine, as that process wrote them. `host` is empty if only this machine can be meant.

    `process_id` is 0 if it has not written it yet. For maintenance `run_id` says what is done.
    """

    process_id: int
    run_id: str
    host: str = ""

    @property
    def place(self) -> str:
        """The process, and its machine if that isn't evident.

        >>> LockHolder(7, "run-1").place, LockHolder(7, "run-1", "node-3").place
        ('process 7', 'process 7 on node-3')
        """
        name = f"process {self.process_id}" if self.process_id else "another process"
        return name + (f" on {self.host}" if self.host else "")


OnWait = Callable[[LockHolder | None], None]
"""Is told who is waited for; None if that is not known yet."""


class Held(Protocol):
    """A lock that this process holds until it releases it or ends."""

    def release(self) -> None:
        """Free the lock; freeing one that is not held any more is fine."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class RunLocks(Protocol):
    """The locks of one state. All methods raise StoreError if a lock can't be used; those that only ask make nothing."""

    def join(self, run_id: str, *, on_wait: OnWait | None = None) -> Held:
        """Take the lock of a run, in the name of this process, beside other runs; waits for maintenance to end.

        `on_wait` is called when waiting begins, and again when somebody else is waited for. Raises StoreError if that run lives.
        """
        ...

    def exclude(self, purpose: str, *, on_wait: OnWait | None = None) -> Held:
        """Wait until nobody is at work on the state, and keep everybody out. `purpose` tells others what is done."""
        ...

    def take_over(self, run_id: str) -> Held | None:
        """The lock of a run whose process is dead; None if it lives, or if somebody else takes it over just now.

        Whoever calls this holds a share or all of the project's lock already.
        """
        ...

    def holder(self, run_id: str) -> LockHolder | None:
        """Who holds the lock of a run: this or another living process, or None."""
        ...

    def holders(self) -> list[LockHolder]:
        """Everybody who is at work on the state: runs and maintenance, in the order of their ids."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How a lock is waited for; the clock (seconds, monotonic) and sleeping (seconds) are for tests."""

    poll: timedelta
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def wait(
        self,
        is_taken: Callable[[], bool],
        holder: Callable[[], LockHolder | None],
        on_wait: OnWait | None,
    ) -> None:
        """Try until it is taken; tell whoever is in the way each time that this is somebody else."""
        announced: list[LockHolder | None] = []
        while not is_taken():
            found = holder()
            # Nobody in particular: whoever it was may just be ending.
            is_new = announced[-1:] != [found] if found is not None else not announced
            if on_wait is not None and is_new:
                announced.append(found)
                on_wait(found)
            self.sleep(self.poll.total_seconds())

    def try_for(self, is_taken: Callable[[], bool], limit: timedelta) -> bool:
        """Try for a while; whether it was taken."""
        give_up_at = self.clock() + limit.total_seconds()
        while not is_taken():
            if self.clock() >= give_up_at:
                return False
            self.sleep(self.poll.total_seconds())
        return True


def is_going_on(locks: RunLocks, run_id: str) -> StoreError:
    """What is told of a run that can't begin because it has begun."""
    holder = locks.holder(run_id) or LockHolder(0, run_id)
    return StoreError(
        f"Run {run_id} is going on already, in {holder.place}.",
        hint=f"Watch it: partita runs watch {run_id}",
    )


class FileLocks(RunLocks):
    """The locks of the state in `folder`: `run.lock`, which is never removed, and one file per run in `running/`, gone when it has ended.

    `clock` (seconds, monotonic) and `sleep` (seconds) are for tests.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, FileLocks(folder).join("run-1"):
    ...     [holder.run_id for holder in FileLocks(folder).holders()]
    ['run-1']
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._shared = Path(folder) / "run.lock"
        self._running = Path(folder) / "running"
        self._patience = Patience(_POLL, clock, sleep)

    def join(self, run_id: str, *, on_wait: OnWait | None = None) -> Held:
        """Take the lock of a run; waits for maintenance to end."""
        shared = _open(self._shared)
        try:
            self._patience.wait(
                lambda: _try_lock(shared, fcntl.LOCK_SH), lambda: _read_holder(shared), on_wait
            )
            own = self._take(run_id)
        except BaseException:
            os.close(shared)
            raise
        if own is None:
            os.close(shared)
            raise is_going_on(self, run_id)
        return _HeldFiles((own, shared), self._path(run_id), removed=True)

    def exclude(self, purpose: str, *, on_wait: OnWait | None = None) -> Held:
        """Wait until nobody is at work on the state, and keep everybody out."""
        shared = _open(self._shared)
        try:
            self._patience.wait(
                lambda: _try_lock(shared, fcntl.LOCK_EX),
                lambda: next(iter(self.holders()), None),
                on_wait,
            )
            _write_holder(shared, purpose, self._shared)
        except BaseException:
            os.close(shared)
            raise
        return _HeldFiles((shared,), self._shared, removed=False)

    def take_over(self, run_id: str) -> Held | None:
        """The lock of a run whose process is dead."""
        if self.holder(run_id) is not None:
            return None
        own = self._take(run_id)
        return None if own is None else _HeldFiles((own,), self._path(run_id), removed=True)

    def holder(self, run_id: str) -> LockHolder | None:
        """Who holds the lock of a run."""
        found = _probe(self._path(run_id))
        return LockHolder(found.process_id, run_id) if found is not None else None

    def holders(self) -> list[LockHolder]:
        """Everybody who is at work on the state."""
        try:
            paths = [path for path in self._running.iterdir() if path.suffix == ".lock"]
        except (FileNotFoundError, NotADirectoryError):
            paths = []
        except OSError as error:
            raise _unusable(self._running, error) from error
        found = [_probe(path) for path in (self._shared, *paths)]
        return sorted(
            (one for one in found if one is not None and one.run_id), key=lambda one: one.run_id
        )

    def _path(self, run_id: str) -> Path:
        # An id is text that somebody chose; as a file name it would have to be short and harmless.
        name = blake2b(run_id.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
        return self._running / f"{name}.lock"

    def _take(self, run_id: str) -> int | None:
        """The locked file of a run; None if another process has it."""
        path = self._path(run_id)
        while True:
            file = _open(path)
            try:
                taken = self._patience.try_for(partial(_try_lock, file, fcntl.LOCK_EX), _GRACE)
                is_there = taken and os.fstat(file).st_nlink > 0
                if is_there:
                    _write_holder(file, run_id, path)
            except BaseException:
                os.close(file)
                raise
            if is_there:
                return file
            os.close(file)
            if not taken:
                return None
            # Whoever had it has removed it meanwhile: the lock of a file that nobody finds any more locks nothing.


class _HeldFiles(Held):
    """Locked files, freed by closing them. Before that the first, at `path`, is removed or emptied."""

    def __init__(self, files: tuple[int, ...], path: Path, *, removed: bool) -> None:
        self._files = files
        self._path = path
        self._removed = removed

    def release(self) -> None:
        """Free the locks."""
        files, self._files = self._files, ()
        if not files:
            return
        try:
            if self._removed:
                self._path.unlink(missing_ok=True)
            else:
                os.ftruncate(files[0], 0)
        except OSError as error:
            raise _unusable(self._path, error) from error
        finally:
            for file in files:
                os.close(file)  # the only descriptor of this lock, so closing frees it


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _unusable(path, error) from error


def _probe(path: Path) -> LockHolder | None:
    """Who has the file locked for itself; with an empty id if it has not written that yet. None if nobody has."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        # Shared, so that two who ask at once do not see each other; closing frees it.
        if _try_lock(file, fcntl.LOCK_SH):
            return None
        return _read_holder(file) or LockHolder(0, "")
    finally:
        os.close(file)


def _try_lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_holder(file: int, run_id: str, path: Path) -> None:
    text = json.dumps({"process_id": os.getpid(), "run_id": run_id})
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, text.encode(), 0)
    except OSError as error:
        raise _unusable(path, error) from error


def _read_holder(file: int) -> LockHolder | None:
    """What the file says; None for anything but a complete entry, as while it is being written."""
    text = os.pread(file, _LONGEST_TEXT, 0)
    try:
        content = json.loads(text)
        return LockHolder(int(content["process_id"]), str(content["run_id"]))
    except (ValueError, KeyError, TypeError):
        return None


def _unusable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"The lock file {path} can't be used: {error.strerror or error}.",
        hint=f"Make sure that you may write to {path.parent}.",
    )
