"""How much memory this process may take, if a step's `memory=` says so, and what DuckDB may take of it.

The system can limit data that a process reserves, not what it uses, and the two differ by some hundred MB: stacks of threads, and what
allocators keep for later. So the system's limit is set as much higher, and holds to within that. What is in use is read from Linux.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

_RESERVED_LATER: Final = 256 * 2**20
"""What a step reserves and never touches after it began: some 16 threads of Arrow and DuckDB at 8 MB, and their allocators (measured)."""

_SHARE: Final = 0.6
"""Of what is left when DuckDB is opened. The rest is for rows on their way, for which Arrow and Python take memory of their own."""
_UNSEEN: Final = 48 * 2**20
"""What DuckDB takes besides what it counts (measured, 2.0)."""
_LEAST: Final = 64 * 2**20
_PER_THREAD: Final = 96 * 2**20
"""With less for each of its threads DuckDB can't go to disk."""

_LIMIT: Final = "PARTITA_MEMORY_LIMIT"
"""In the environment of a limited process, and of what it starts, which the system limits as well: bytes."""


def limit_memory(limit: int) -> None:
    """Let this process fail with MemoryError when it wants more than `limit` bytes, where the system can do that."""
    import resource  # noqa: PLC0415 - not on every system

    os.environ[_LIMIT] = str(limit)
    whole = limit + _RESERVED_LATER
    if sys.platform == "linux":
        whole += max(_bytes("VmData") - _bytes("RssAnon"), 0)
    # Whoever started this may have limited it more, and that can't be raised.
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    allowed = whole if most == resource.RLIM_INFINITY else min(whole, most)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


def duckdb_memory() -> dict[str, str | bool | int | float | list[str]]:
    """Settings for `duckdb.connect(config=…)` that keep to the limit; none without one: DuckDB takes four fifths of the machine's then."""
    limit = os.environ.get(_LIMIT)
    if limit is None or sys.platform != "linux":
        return {}
    left = int(limit) - _bytes("RssAnon")
    allowed = max(int((left - _UNSEEN) * _SHARE), _LEAST)
    return {
        "memory_limit": f"{allowed // 2**20}MiB",
        "threads": max(1, min(len(os.sched_getaffinity(0)), allowed // _PER_THREAD)),
    }


def _bytes(field: str) -> int:
    """A size that Linux tells of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise KeyError(field)
