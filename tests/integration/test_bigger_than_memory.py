"""A partition with several times more rows than its step's memory holds flows through: streamed, sorted, judged, merged, read."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Shop

BATCHES = int(os.environ.get("PARTITA_BIG_BATCHES", "30"))
"""Of 100,000 rows and 10 MB each. A step of 250 MiB has some 60 MB for rows; the rest is what Python, Arrow and DuckDB need for themselves."""

PROJECT = f"""
    import numpy as np
    import pyarrow as pa

    from assets_core import Definitions, Merge, NotNull, Replace, Unique, asset
    from io_managers import DuckDBIOManager, ParquetIOManager

    ROWS = 100_000
    NOTE = pa.array([f"{{number:080}}" for number in range(ROWS)])
    SCHEMA = pa.schema({{"id": pa.int64(), "dice": pa.int64(), "note": pa.string()}})


    def batches():
        dice = np.random.default_rng(0)
        for number in range({BATCHES}):
            ids = np.arange(number * ROWS, (number + 1) * ROWS) * 2_654_435_761
            yield pa.record_batch([ids, dice.integers(0, 2**60, ROWS), NOTE], schema=SCHEMA)


    @asset(memory="250MiB", io_manager="lake", write=Replace(sort_by=["dice"]), contract=[NotNull("note"), Unique("id")])
    def judged() -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(SCHEMA, batches())


    @asset(memory="250MiB", io_manager="shop", write=Merge(keys=["id"]))
    def merged(judged: pa.RecordBatchReader) -> pa.RecordBatchReader:
        return judged


    defs = Definitions(
        assets=[judged, merged],
        io_managers={{"lake": ParquetIOManager("lake"), "shop": DuckDBIOManager("shop.duckdb")}},
    )
"""


@pytest.mark.slow
def test_a_partition_bigger_than_its_memory_is_sorted_judged_read_and_merged(
    shop: Shop,
) -> None:
    shop.write("assets.py", PROJECT)
    shop.run("materialize")
    found = shop.run(
        "query",
        "select count(*) as n, count(distinct id) as ids, (select count(*) from"
        " (select dice < lag(dice) over () as descends from judged) where descends) as descents from merged",
        "-o",
        "jsonl",
    )
    rows = BATCHES * 100_000
    assert json.loads(found.out) == {"n": rows, "ids": rows, "descents": 0}
