"""Amounts of memory as people write them."""

from __future__ import annotations

import re
from typing import Final

from assets_core.model.errors import DefinitionError

_AMOUNT: Final = re.compile(
    r"(?P<count>\d+(\.\d+)?)\s*(?P<prefix>[kmgt]?)(?P<binary>i?)b?", re.IGNORECASE
)


def as_bytes(asset: str, memory: int | str | None) -> int | None:
    """An amount in bytes: kB, MB, GB, TB are powers of 1000, KiB, MiB, GiB, TiB of 1024. Raises DefinitionError about `asset`.

    >>> as_bytes("orders", "2GiB"), as_bytes("orders", "1.5 MB"), as_bytes("orders", 4096)
    (2147483648, 1500000, 4096)
    """
    if memory is None or (isinstance(memory, int) and not isinstance(memory, bool)):
        return memory
    found = _AMOUNT.fullmatch(memory.strip()) if isinstance(memory, str) else None
    if found is None:
        raise DefinitionError(
            f"asset {asset!r} has memory={memory!r}, which is no amount of memory",
            hint='write a number of bytes, or a text such as "500MB" or "2GiB"',
        )
    step = 1024 if found["binary"] else 1000
    power = ("", "k", "m", "g", "t").index(found["prefix"].lower())
    return int(float(found["count"]) * step**power)
