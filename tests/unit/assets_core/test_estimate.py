"""What an estimate rests on, what it leaves out, and its words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from assets_core.model.records import StepDuration
from assets_core.planning.estimate import Estimate, estimate_plan
from assets_core.planning.plan import AssetPlan, Plan, PlanRow
from assets_core.planning.reasons import Reason
from cli.render.plans import estimate_line
from partitions import DailyPartitions
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime(2025, 2, 1, tzinfo=UTC)
DAYS = DailyPartitions("2025-01-01", end="2025-02-01").index(NOW)
NONE = PartitionSet.none(DAYS)


def part(asset: str, sure: int, maybe: int = 0) -> AssetPlan:
    rows = [
        PlanRow(PartitionSet.from_slots(DAYS, range(sure)), Reason.MISSING, None),
        PlanRow(PartitionSet.from_slots(DAYS, range(sure, sure + maybe)), Reason.UPSTREAM, "up"),
    ]
    return AssetPlan(
        asset=asset,
        partitions=PartitionSet.from_slots(DAYS, range(sure + maybe)),
        rows=tuple(row for row in rows if row.partitions),
        blocked=(),
        not_due=NONE,
        in_flight=NONE,
        waiting=NONE,
        passed_over=NONE,
        fresh=0,
    )


def estimate(past: dict[str, Sequence[StepDuration]], *parts: AssetPlan) -> Estimate:
    return estimate_plan(Plan(1, NOW, parts), lambda asset: past.get(asset, ()))


def words(found: Estimate) -> str:
    return "".join(span.text for span in estimate_line(found)).removeprefix("estimate: ")


def test_it_is_the_median_of_seconds_per_partition_times_the_partitions() -> None:
    past = [StepDuration(2.0, 1), StepDuration(900.0, 1), StepDuration(30.0, 10)]
    found = estimate({"orders": past}, part("orders", 10))
    assert found.as_json() == {
        "seconds": 30.0,
        "conditional_seconds": 0.0,
        "steps": 3,
        "assets": [
            {
                "asset": "orders",
                "seconds": 30.0,
                "conditional_seconds": 0.0,
                "seconds_per_partition": 3.0,
                "steps": 3,
            }
        ],
        "not_counted": [],
    }
    assert words(found) == "about 30.0 s, judged by 3 past steps"


def test_assets_add_up_and_what_runs_only_if_something_changes_is_told_apart() -> None:
    past = {"a": [StepDuration(1.0, 1)], "b": [StepDuration(2.0, 1)]}
    found = estimate(past, part("a", 3), part("b", 1, 4))
    assert (found.seconds, found.conditional_seconds, found.steps) == (5.0, 8.0, 2)
    assert words(found) == (
        "about 5.0 s, judged by 2 past steps; up to 8.0 s more if what is read changes"
    )


def test_a_plan_that_may_come_to_nothing_says_so() -> None:
    found = estimate({"a": [StepDuration(2.0, 1)]}, part("a", 0, 4))
    assert words(found) == "up to 8.0 s if what is read changes, judged by 1 past step"


def test_an_asset_without_a_past_is_named_and_not_counted() -> None:
    found = estimate({"a": [StepDuration(1.0, 1)]}, part("a", 1), part("b", 1), part("c", 1))
    assert found.not_counted == ("b", "c")
    assert words(found).endswith("; 2 assets have no measured step yet and are not counted")
    one = estimate({"a": [StepDuration(1.0, 1)]}, part("a", 1), part("b", 1))
    assert words(one).endswith("; 1 asset has no measured step yet and is not counted")


def test_without_a_past_nothing_is_known_which_is_not_nothing() -> None:
    found = estimate({}, part("a", 3))
    assert found.assets == ()
    assert found.as_json() == {
        "seconds": None,
        "conditional_seconds": None,
        "steps": 0,
        "assets": [],
        "not_counted": ["a"],
    }


def test_only_assets_that_run_are_asked_about() -> None:
    def past(asset: str) -> list[StepDuration]:
        if asset == "idle":
            pytest.fail("it does not run")
        return []

    assert estimate_plan(Plan(1, NOW, (part("idle", 0), part("a", 1))), past).not_counted == ("a",)
