"""Single bits of a Parquet file turn over: a read of all columns notices, wherever it is."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from assets_core.model.errors import IOManagerError
from io_managers import ParquetIOManager
from tests.conformance.io_manager_suite import Steps, days, table, target

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = int(os.environ.get("PARTITA_FLIPS", "150"))
(DAY,) = days("2025-01-31")


def test_a_bit_that_turned_over_is_noticed_or_changes_no_row(tmp_path: Path) -> None:
    dice = random.Random(seed := random.randrange(2**32))  # noqa: S311 - no secret
    steps = Steps(ParquetIOManager(tmp_path / "lake"))
    ids = [dice.getrandbits(60) for _ in range(3_000)]
    steps.write(target(), [DAY], table(id=ids, name=[f"n{one % 97}" for one in ids]))
    rows = steps.rows(target(), [DAY])
    (path,) = (tmp_path / "lake").rglob("*.parquet")
    whole, silent = path.read_bytes(), []
    for bit in (dice.randrange(8 * len(whole)) for _ in range(FLIPS)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            if steps.rows(target(), [DAY]) != rows:
                silent.append(bit)
        except IOManagerError:
            continue
    assert not silent, (
        f"wrong rows without a word (seed {seed}, file of {len(whole)} bytes): {silent}"
    )
