"""Single bits of a DuckDB file turn over: what `state verify --deep` does, a read of everything, notices, or the bit was in unused space."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from assets_core.model.errors import IOManagerError
from io_managers import DuckDBIOManager
from tests.conformance.io_manager_suite import Steps, days, table, target

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = int(os.environ.get("PARTITA_FLIPS", "150"))
PARTS = days("2025-01-31", 2)
HEADERS = 3 * 4096
"""So long is what comes before the blocks; a third of the bits is taken from there."""


def test_a_bit_that_turned_over_is_noticed_or_changes_no_row(tmp_path: Path) -> None:
    dice = random.Random(seed := random.randrange(2**32))  # noqa: S311 - no secret
    path = tmp_path / "shop.duckdb"
    steps = Steps(DuckDBIOManager(path))
    for one in (*PARTS, *PARTS):  # what is written again leaves blocks that are not used any more
        ids = [dice.getrandbits(60) for _ in range(3_000)]
        steps.write(target(), [one], table(id=ids, name=[f"n{id_ % 97}" for id_ in ids]))
    rows, held = steps.rows(target(), PARTS), steps.manager.holdings(target())
    size, silent, noticed = path.stat().st_size, [], 0
    with path.open("r+b", buffering=0) as file:
        for number in range(FLIPS):
            bit = dice.randrange(8 * (size if number % 3 else HEADERS))
            was = os.pread(file.fileno(), 1, bit // 8)
            os.pwrite(file.fileno(), bytes([was[0] ^ 1 << bit % 8]), bit // 8)
            try:
                found = steps.rows(target(), PARTS), steps.manager.holdings(target())
            except IOManagerError:
                noticed += 1
            else:
                if found != (rows, held):
                    silent.append(bit)
            os.pwrite(file.fileno(), was, bit // 8)
    assert not silent, f"wrong rows without a word (seed {seed}, file of {size} bytes): {silent}"
    assert noticed > FLIPS / 2, f"seed {seed}: a file of {size} bytes is not that empty"
    assert steps.rows(target(), PARTS) == rows
