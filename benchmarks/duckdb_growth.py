"""How large a DuckDB file gets by replacing its partitions again and again: 30 days of 1,000 rows, 1,000 replaces one by one.

Fails if the file ends up more than 1.5 times as large as it was when every day had been written once.
"""

from __future__ import annotations

import tempfile
from datetime import date, timedelta
from pathlib import Path
from random import Random

import pyarrow as pa

from assets_core.model.io_manager import PartitionSlice, Published, StageRequest, Target
from assets_core.model.specs import Replace
from io_managers import DuckDBIOManager

DAYS = 30
REPLACES = 1_000
BOUND = 1.5


def main() -> None:
    """Print the size after some of the replaces."""
    days = [
        PartitionSlice(number, (date(2025, 1, 1) + timedelta(days=number)).isoformat())
        for number in range(DAYS)
    ]
    target = Target("orders", Replace(), partitioned=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shop.duckdb")
        manager = DuckDBIOManager(path)
        first, source = 0, Random(0)  # noqa: S311 - noise, so that rows do not compress
        for number in range(1, REPLACES + 1):
            noise = [source.random() for _ in range(1_000)]
            rows = pa.table({"id": range(number, number + 1_000), "noise": noise})
            request = StageRequest(target, (days[number % DAYS],), number, f"token-{number}")
            [answer] = manager.publish([manager.stage(request, rows.to_reader())])
            assert isinstance(answer, Published), answer
            if number in {DAYS, 2 * DAYS, 100, 300, REPLACES}:
                size = path.stat().st_size
                first = first or size
                print(f"{number:5,} replaces: {size / 2**20:.2f} MiB, {size / first:.2f} x")
        assert path.stat().st_size <= BOUND * first
        assert {one.name for one in Path(folder).iterdir()} <= {path.name, f"{path.name}.lock"}


if __name__ == "__main__":
    main()
