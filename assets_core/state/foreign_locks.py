"""Which process has a file locked, for an error that is to name it. Only Linux says so, in /proc/locks; looking opens nothing.

Opening and closing a file of SQLite itself would drop this process's own locks on it: POSIX locks are of that kind.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def who_locks(path: Path) -> str | None:
    """`process 7 (sqlite3)`, the first other process with a write lock on the database or a file beside it; None if that can't be told."""
    return _holder("POSIX", (path, path.with_name(f"{path.name}-shm")))


def who_holds(path: str) -> str | None:
    """The same of an exclusive flock(2) on a file."""
    return _holder("FLOCK", (Path(path),))


def _holder(kind: str, paths: Iterable[Path]) -> str | None:
    wanted = set()
    for name in paths:
        with suppress(OSError):
            found = name.stat()
            device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
            wanted.add(f"{device}:{found.st_ino}")
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for words in map(str.split, lines):
        # A waiting lock has an arrow before the words of one that is held.
        if words[1] != kind or words[3] != "WRITE" or words[5] not in wanted:
            continue
        process = int(words[4])
        if process not in {os.getpid(), -1}:
            return f"process {process}{_program(process)}"
    return None


def _program(process: int) -> str:
    try:
        return f" ({Path(f'/proc/{process}/comm').read_text(errors='replace').strip()})"
    except OSError:
        return ""
