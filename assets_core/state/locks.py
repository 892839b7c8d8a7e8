"""One run at a time in a project: what such a lock must do, and the one for a state file, whose kernel lock is held for the whole of a run.

The kernel frees the lock when its process ends, however it ends: that is how another command learns that a run recorded as running
was left by a crash. What is written into the file is only for people; the kernel's lock alone decides. What a dead run left half
done is put right by the runner, not here. The lock of a state in PostgreSQL is in `postgres_lock`.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from assets_core.model.errors import StoreError

if TYPE_CHECKING:
    from os import PathLike
    from types import TracebackType

_POLL = timedelta(milliseconds=50)
_GRACE = timedelta(milliseconds=500)
"""How long even an acquire that does not wait tries on: `is_held` of another process takes the lock for microseconds."""

_LONGEST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who holds a project: process id, run id and machine, as that process wrote them. `host` is empty if only this machine can be meant."""

    process_id: int
    run_id: str
    host: str = ""

    @property
    def place(self) -> str:
        """The process, and its machine if that isn't evident.

        >>> LockHolder(7, "run-1").place, LockHolder(7, "run-1", "node-3").place
        ('process 7', 'process 7 on node-3')
        """
        return f"process {self.process_id}" + (f" on {self.host}" if self.host else "")


OnWait = Callable[[LockHolder | None], None]
"""Is told who is waited for; None if that is not known yet."""


class RunLock(Protocol):
    """The lock that lets one run at a time work on a state. It is free when its process has ended, however it ended."""

    def acquire(
        self, run_id: str, *, wait: bool | timedelta = False, on_wait: OnWait | None = None
    ) -> Self:
        """Take the lock in the name of this process and `run_id`; answers itself, to be used with `with`.

        `wait` is True to wait for as long as it takes, or the longest time to wait. `on_wait` is called once when waiting begins
        and again when the holder changes. Raises StoreError, naming the holder, if it is still held then, or if it can't be used.
        """
        ...

    def release(self) -> None:
        """Free the lock; freeing one that is not held is fine."""
        ...

    def is_held(self) -> bool:
        """True while a living process, this one included, holds the lock. Creates nothing. Raises StoreError."""
        ...

    def holder(self) -> LockHolder | None:
        """Who holds the lock; None if nobody does, or if the holder has not written its name yet."""
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
        longest: bool | timedelta,
        on_wait: OnWait | None,
    ) -> LockHolder | None:
        """Try until it is taken and answer None, or, when `longest` is over, who is in the way; an unknown one has no run id."""
        limit = timedelta(0) if isinstance(longest, bool) else longest
        give_up_at = self.clock() + max(limit, _GRACE).total_seconds()
        announced: list[LockHolder | None] = []
        while not is_taken():
            found = holder()
            if longest is not True and self.clock() >= give_up_at:
                return found or LockHolder(0, "")
            if longest is not False and on_wait is not None and announced[-1:] != [found]:
                announced.append(found)
                on_wait(found)
            self.sleep(self.poll.total_seconds())
        return None


def held_by(holder: LockHolder, lock: str) -> StoreError:
    """What is told of a lock that stays held."""
    if not holder.run_id:
        return StoreError(
            f"Another process holds {lock}.",
            hint="Wait for it to end and run the command again.",
        )
    return StoreError(
        f"Run {holder.run_id} is going on in this project, in {holder.place}.",
        hint=f"Wait for it to end, or stop it: partita runs cancel {holder.run_id}",
    )


class ProjectLock(RunLock):
    """The lock on the file `path`, which is created when needed and never removed (a removed file could be locked twice).

    `clock` (seconds, monotonic) and `sleep` (seconds) are for tests.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, ProjectLock(f"{folder}/run.lock").acquire("run-1"):
    ...     ProjectLock(f"{folder}/run.lock").is_held()
    True
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = Path(path)
        self._patience = Patience(_POLL, clock, sleep)
        self._file: int | None = None

    def acquire(
        self, run_id: str, *, wait: bool | timedelta = False, on_wait: OnWait | None = None
    ) -> Self:
        """Take the lock and write this process and `run_id` into it; answers itself, to be used with `with`.

        Raises StoreError, naming the holder, if it is still held then; or if the file can't be used.
        """
        if self._file is not None:
            raise StoreError(f"{self._path} is already held by this process.")
        file = self._open(os.O_RDWR | os.O_CREAT)
        try:
            self._wait_for(file, wait, on_wait)
            text = json.dumps({"process_id": os.getpid(), "run_id": run_id})
            os.ftruncate(file, 0)
            os.pwrite(file, text.encode(), 0)
        except OSError as error:
            os.close(file)
            raise self._unusable(error) from error
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return self

    def _wait_for(self, file: int, wait: bool | timedelta, on_wait: OnWait | None) -> None:
        other = self._patience.wait(
            lambda: _try_lock(file, fcntl.LOCK_EX), lambda: _read_holder(file), wait, on_wait
        )
        if other is not None:
            raise held_by(other, str(self._path))

    def release(self) -> None:
        """Free the lock; freeing one that is not held is fine."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            os.ftruncate(file, 0)
        except OSError as error:
            raise self._unusable(error) from error
        finally:
            os.close(file)  # the only descriptor of this lock, so closing frees it

    def is_held(self) -> bool:
        """True while a living process, this one included, holds the lock. Creates nothing. Raises StoreError."""
        return self._probe()[0]

    def holder(self) -> LockHolder | None:
        """Who holds the lock; None if nobody does, or if the holder has not written its name yet."""
        held, holder = self._probe()
        return holder if held else None

    def _probe(self) -> tuple[bool, LockHolder | None]:
        if self._file is not None:
            return True, _read_holder(self._file)
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False, None
        except OSError as error:
            raise self._unusable(error) from error
        try:
            # Shared, so that two who ask at once do not see each other; closing frees it.
            return not _try_lock(file, fcntl.LOCK_SH), _read_holder(file)
        finally:
            os.close(file)

    def _open(self, flags: int) -> int:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, flags | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> StoreError:
        return StoreError(
            f"The lock file {self._path} can't be used: {error.strerror or error}.",
            hint=f"Make sure that you may write to {self._path.parent}.",
        )


def _try_lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(file: int) -> LockHolder | None:
    """What the file says; None for anything but a complete entry, as while it is being written."""
    text = os.pread(file, _LONGEST_TEXT, 0)
    try:
        content = json.loads(text)
        return LockHolder(int(content["process_id"]), str(content["run_id"]))
    except (ValueError, KeyError, TypeError):
        return None
