"""Partitions that were made too early, and inputs that changed and changed back, with the real engine."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from assets_core import AssetContext, Input, RetryPolicy, asset
from assets_core.model.records import RunStatus, StepStatus
from partitions import DailyPartitions, LastN, MultiPartitions, StaticPartitions
from tests.integration.bench import WEEK, Bench, day_of

if TYPE_CHECKING:
    from partitions.definitions import Partitions

DAY = timedelta(days=1)


def planned(bench: Bench, name: str = "bronze") -> dict[str, str]:
    """The plan's partitions of an asset by reason."""
    part = bench.plan().of(name)
    assert part is not None
    return {row.reason.word: row.partitions.describe() for row in part.rows}


def days(
    definition: Partitions, *, lookback: int = 0, closed_after: timedelta = timedelta(0)
) -> Bench:
    @asset(partitions=definition, lookback=lookback, closed_after=closed_after)
    def bronze(context: AssetContext) -> pa.Table:
        return pa.table({"n": [1]})

    return Bench([bronze])


def test_a_partition_made_while_its_window_was_open_is_made_again_once_it_has_closed() -> None:
    bench = days(DailyPartitions("2025-01-06", end_offset=1))
    bench.run()
    assert planned(bench) == {}
    bench.now += timedelta(hours=3)
    assert planned(bench) == {}
    bench.now += DAY
    assert planned(bench) == {"provisional": "2025-01-08 (1)", "missing": "2025-01-09 (1)"}
    bench.run()
    bench.now += DAY
    assert planned(bench) == {"provisional": "2025-01-09 (1)", "missing": "2025-01-10 (1)"}


def test_a_provisional_partition_stays_so_until_a_run_of_it_succeeds() -> None:
    bench = days(DailyPartitions("2025-01-06", end_offset=1))
    bench.run()
    bench.run("bronze")
    bench.now += DAY
    assert "provisional" in planned(bench)
    bench.run()
    assert planned(bench) == {}


def test_each_new_partition_has_the_ones_before_it_re_done_once() -> None:
    bench = days(DailyPartitions("2025-01-01"), lookback=2)
    bench.run()
    assert planned(bench) == {}
    bench.now += DAY
    assert planned(bench) == {
        "missing": "2025-01-08 (1)",
        "lookback": "2025-01-06...2025-01-07 (2)",
    }
    bench.run()
    assert planned(bench) == {}


def test_the_newest_partition_alone_leaves_its_lookback_to_be_done() -> None:
    bench = days(DailyPartitions("2025-01-01"), lookback=2)
    bench.run()
    bench.now += DAY
    index = bench.facts().indexes["bronze"]
    bench.run_slots("bronze", [index.slot("2025-01-08")])
    assert planned(bench) == {"lookback": "2025-01-06...2025-01-07 (2)"}


def test_a_week_without_runs_leaves_late_data_of_the_days_before_it_to_be_fetched() -> None:
    bench = days(DailyPartitions("2025-01-01"), lookback=2)
    bench.run()
    bench.now += 7 * DAY
    assert planned(bench)["lookback"] == "2025-01-06...2025-01-07 (2)"
    bench.run()
    assert planned(bench) == {}


def test_a_hole_that_is_filled_has_nothing_re_done() -> None:
    bench = days(DailyPartitions("2025-01-01"), lookback=2)
    index = bench.facts().indexes["bronze"]
    bench.run_slots(
        "bronze", [slot for slot in range(len(index)) if slot != index.slot("2025-01-03")]
    )
    assert planned(bench) == {"missing": "2025-01-03 (1)"}


def test_a_greater_lookback_leaves_what_was_settled_under_the_old_one() -> None:
    bench = days(DailyPartitions("2025-01-01"), lookback=1)
    bench.run()
    wider = days(DailyPartitions("2025-01-01"), lookback=5)
    bench.assets = wider.assets
    bench.resolve()
    assert planned(bench) == {}
    bench.now += DAY
    assert planned(bench)["lookback"] == "2025-01-07 (1)"


def test_lanes_of_a_product_look_back_each_for_itself() -> None:
    regions = StaticPartitions(["eu", "us"])
    both = MultiPartitions({"region": regions, "day": DailyPartitions("2025-01-01")})
    bench = days(both, lookback=1)
    bench.run()
    bench.now += DAY
    part = bench.plan().of("bronze")
    assert part is not None
    again = next(row for row in part.rows if row.reason.word == "lookback")
    assert again.partitions.describe() == "*|2025-01-07 (2)"


def test_what_reads_the_re_done_days_follows_if_they_come_out_differently() -> None:
    rows = [1]

    @asset(partitions=DailyPartitions("2025-01-01"), lookback=1)
    def bronze(context: AssetContext) -> pa.Table:
        return pa.table({"n": rows})

    @asset(
        partitions=DailyPartitions("2025-01-01"),
        inputs={"recent": Input(bronze, mapping=LastN(2))},
    )
    def trend(recent: pa.Table) -> pa.Table:
        return recent

    bench = Bench([bronze, trend])
    bench.run()
    bench.now += DAY
    rows[0] = 2
    assert planned(bench, "trend") == {
        "missing": "2025-01-08 (1)",
        "upstream": "2025-01-07 (1)",
    }
    assert bench.run().counts == {StepStatus.SUCCEEDED: 4}


def test_due_later_counts_for_lookback_as_well() -> None:
    bench = days(DailyPartitions("2025-01-01"), lookback=1, closed_after=timedelta(hours=13))
    bench.run()
    assert bench.facts().indexes["bronze"].key(6) == "2025-01-07"
    assert planned(bench) == {}
    bench.now += timedelta(hours=1)
    assert planned(bench) == {"missing": "2025-01-07 (1)", "lookback": "2025-01-06 (1)"}


def test_a_retry_after_midnight_still_counts_from_when_the_step_was_first_claimed() -> None:
    tries = []

    @asset(
        partitions=DailyPartitions("2025-01-08", end_offset=1),
        retry=RetryPolicy(max_attempts=2, delay=DAY, max_delay=DAY),
    )
    def bronze(context: AssetContext) -> pa.Table:
        tries.append(context.attempt)
        if len(tries) == 1:
            raise ValueError("try again tomorrow")
        return pa.table({"n": [1]})

    bench = Bench([bronze])
    assert bench.run().status is RunStatus.SUCCEEDED
    assert tries == [1, 2]
    assert "provisional" in planned(bench)


class Flip:
    """source → reader, whose source can be rewritten with other rows."""

    def __init__(self, *, compare: bool) -> None:
        self.value = "A"
        self.calls: list[str] = []

        @asset(partitions=WEEK)
        def source(context: AssetContext) -> pa.Table:
            return pa.table({"v": [self.value], "day": [day_of(context)]})

        @asset(partitions=WEEK, compare_input_versions=compare)
        def reader(context: AssetContext, source: pa.Table) -> pa.Table:
            self.calls.append(context.partition_key)
            return source

        self.bench = Bench([source, reader])
        self.bench.run()

    def rewrite(self, value: str, key: str = "2025-01-03") -> None:
        self.value = value
        self.bench.run_slots("source", [self.bench.facts().indexes["source"].slot(key)])


def test_rows_that_changed_and_changed_back_make_stale_by_their_counters() -> None:
    flip = Flip(compare=False)
    flip.rewrite("B")
    flip.rewrite("A")
    assert planned(flip.bench, "reader") == {"input": "2025-01-03 (1)"}


def test_rows_that_changed_and_changed_back_leave_alone_what_compares_versions() -> None:
    flip = Flip(compare=True)
    flip.rewrite("B")
    assert planned(flip.bench, "reader") == {"input": "2025-01-03 (1)"}
    flip.rewrite("A")
    assert planned(flip.bench, "reader") == {}
    flip.rewrite("B")
    flip.calls.clear()
    flip.bench.run()
    assert flip.calls == ["2025-01-03"]
    flip.rewrite("A")
    assert planned(flip.bench, "reader") == {"input": "2025-01-03 (1)"}


def test_a_re_run_of_what_changed_back_cuts_its_reader_off() -> None:
    flip = Flip(compare=True)
    flip.rewrite("B")
    flip.rewrite("A")
    flip.calls.clear()
    bench = flip.bench
    summary = bench.run_slots(
        "source", [bench.facts().indexes["source"].slot("2025-01-03")], downstream=True
    )
    assert summary.counts == {StepStatus.SUCCEEDED: 1, StepStatus.CUT_OFF: 1}
    assert flip.calls == []


def test_a_version_that_is_not_known_equals_nothing() -> None:
    @asset(partitions=WEEK)
    def source(context: AssetContext) -> None:
        return None

    @asset(partitions=WEEK, deps=[source], compare_input_versions=True)
    def reader() -> pa.Table:
        return pa.table({"n": [1]})

    bench = Bench([source, reader])
    bench.run()
    bench.run_slots("source", [0])
    assert planned(bench, "reader") == {"input": "2025-01-01 (1)"}


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_compare_input_versions_is_true_or_false(value: object) -> None:
    from assets_core import Definitions
    from assets_core.model.errors import DefinitionError

    @asset(compare_input_versions=value)  # type: ignore[call-overload,untyped-decorator]
    def orders() -> pa.Table:
        return pa.table({"n": [1]})

    with pytest.raises(DefinitionError, match="compare_input_versions="):
        Definitions(assets=[orders]).resolve()
