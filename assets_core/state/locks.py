"""One run at a time in a project: a lock file whose kernel lock is held for the whole of a run.

The kernel frees the lock when its process ends, however it ends: that is how another command learns that a run recorded as running
was left by a crash. What is written into the file is only for people; the kernel's lock alone decides. What a dead run left half
done is put right by the runner, not here.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from assets_core.model.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike
    from types import TracebackType

_POLL = timedelta(milliseconds=50)
_GRACE = timedelta(milliseconds=500)
"""How long even an acquire that does not wait tries on: `is_held` of another process takes the lock for microseconds."""

_LONGEST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who holds a project: process id and run id, as that process wrote them."""

    process_id: int
    run_id: str


class ProjectLock:
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
        self._clock = clock
        self._sleep = sleep
        self._file: int | None = None

    def acquire(
        self,
        run_id: str,
        *,
        wait: bool | timedelta = False,
        on_wait: Callable[[LockHolder | None], None] | None = None,
    ) -> Self:
        """Take the lock and write this process and `run_id` into it; answers itself, to be used with `with`.

        `wait` is True to wait for as long as it takes, or the longest time to wait. `on_wait` is called once when waiting begins
        and again when the holder changes; it gets None if the holder is not known yet.

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

    def _wait_for(
        self,
        file: int,
        wait: bool | timedelta,
        on_wait: Callable[[LockHolder | None], None] | None,
    ) -> None:
        limit = timedelta(0) if isinstance(wait, bool) else wait
        give_up_at = self._clock() + max(limit, _GRACE).total_seconds()
        announced: list[LockHolder | None] = []
        while not _try_lock(file, fcntl.LOCK_EX):
            holder = _read_holder(file)
            if wait is not True and self._clock() >= give_up_at:
                raise self._held_by(holder)
            if wait is not False and on_wait is not None and announced[-1:] != [holder]:
                announced.append(holder)
                on_wait(holder)
            self._sleep(_POLL.total_seconds())

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

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

    def _held_by(self, holder: LockHolder | None) -> StoreError:
        if holder is None:
            return StoreError(
                f"Another process holds {self._path}.",
                hint="Wait for it to end and run the command again.",
            )
        return StoreError(
            f"Run {holder.run_id} is going on in this project, in process {holder.process_id}.",
            hint=f"Wait for it to end, or stop it: partita runs cancel {holder.run_id}",
        )

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
