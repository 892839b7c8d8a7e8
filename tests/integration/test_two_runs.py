"""A second run in the middle of a step of the first, at the moments that matter. No lock keeps them apart here."""

from __future__ import annotations

import pyarrow as pa

from assets_core import AssetContext, asset
from assets_core.planning.planner import Mode
from tests.integration.bench import WEEK, Bench, day_of


def test_an_input_rewritten_after_a_step_has_read_it_makes_the_step_stale() -> None:
    value, meanwhile = [1], []

    @asset(partitions=WEEK)
    def bronze(context: AssetContext) -> pa.Table:
        return pa.table({"n": [value[0] * day_of(context)]})

    @asset(partitions=WEEK)
    def silver(bronze: pa.Table) -> pa.Table:
        while meanwhile:
            meanwhile.pop()()
        return bronze

    bench = Bench([bronze, silver])
    bench.run("bronze")

    def rewrite() -> None:
        value[0] = 2
        bench.run("bronze", mode=Mode.FORCE)

    meanwhile.append(rewrite)
    bench.run("silver")
    part = bench.plan().of("silver")
    assert part is not None
    assert {row.reason.word: row.partitions.describe() for row in part.rows} == {
        "input": "2025-01-01 (1)"
    }
    bench.run()
    assert bench.plan().size == 0
    assert bench.column("silver", "n") == [2 * day for day in range(1, 8)]
