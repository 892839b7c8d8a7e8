"""Which process has a file of SQLite locked, for an error that is to name it. Only Linux says so, in /proc/locks; looking opens nothing.

Opening and closing the file itself would drop this process's own locks on it: POSIX locks are of that kind.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def who_locks(path: Path) -> str | None:
    """`process 7 (sqlite3)`, the first other process with a write lock on the database or a file beside it; None if that can't be told."""
    wanted = set()
    for name in (path, path.with_name(f"{path.name}-shm")):
        with suppress(OSError):
            found = name.stat()
            device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
            wanted.add(f"{device}:{found.st_ino}")
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for words in map(str.split, lines):
        if words[1] != "POSIX" or words[3] != "WRITE" or words[5] not in wanted:
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
