"""What keeps a stale partition from running, in one wording for a plan, its JSON and `explain`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from assets_core import AssetContext, Input, asset
from assets_core.planning.explain import Explanation, explain_partition
from assets_core.planning.planner import PlanRequest, plan_run
from partitions import DailyPartitions, HourlyPartitions, LastN, Offset
from tests.integration.bench import Bench

if TYPE_CHECKING:
    from assets_core.planning.plan import AssetPlan
    from assets_core.planning.staleness import Facts
    from partitions.definitions import Partitions

DAYS = DailyPartitions("2025-01-05", timezone="Asia/Kolkata")
HOURS = HourlyPartitions("2025-01-05", timezone="Asia/Kolkata")
"""It is 17:30 of the 8th there."""


@dataclass
class Chain:
    """bronze → silver → gold (two days) → total; all rows of bronze are a day late."""

    upstream: Partitions = DAYS
    closed_after: timedelta = timedelta(days=1)
    offset: int = 0

    def __post_init__(self) -> None:
        @asset(partitions=self.upstream, closed_after=self.closed_after)
        def bronze(context: AssetContext) -> pa.Table:
            return pa.table({"n": [1]})

        reads = Input(bronze, mapping=Offset(self.offset) if self.offset else None)

        @asset(partitions=DAYS, inputs={"bronze": reads})
        def silver(bronze: pa.Table) -> pa.Table:
            return bronze

        @asset(partitions=DAYS, inputs={"days": Input(silver, mapping=LastN(2))})
        def gold(days: pa.Table) -> pa.Table:
            return days

        @asset
        def total(gold: pa.Table) -> pa.Table:
            return pa.table({"n": [gold.num_rows]})

        self.bench = Bench([bronze, silver, gold, total])

    def facts(self, **in_flight: dict[str, list[str]]) -> Facts:
        """The facts; `in_flight` says which keys of which assets a run works on."""
        facts = self.bench.facts()
        working = {
            run: {
                name: tuple(
                    int(facts.indexes[name].ids[facts.indexes[name].slot(key)]) for key in keys
                )
                for name, keys in assets.items()
            }
            for run, assets in in_flight.items()
        }
        return replace(facts, state=replace(facts.state, in_flight=working))

    def explain(self, facts: Facts, name: str, key: str) -> Explanation:
        index, specs = facts.indexes[name], facts.graph.specs
        return explain_partition(
            facts,
            name,
            index.slot(key),
            lambda one, slot: self.bench.store.history(
                one, specs[one].partitions.space, int(facts.indexes[one].ids[slot])
            ),
            lambda one, slot: pytest.fail(f"{one} {slot} has no other versions"),
        )


def part(facts: Facts, name: str, *assets: str) -> AssetPlan:
    found = plan_run(facts, PlanRequest(assets or facts.graph.order, {})).of(name)
    assert found is not None
    return found


def blocked(facts: Facts, name: str, *assets: str) -> list[tuple[str, str, str]]:
    """Kind, partitions and words of an asset's blocked rows."""
    rows = part(facts, name, *assets).blocked
    assert [row.sentence() for row in rows] == [row.as_json()["because"] for row in rows]
    return [
        (str(row.as_json()["blocked"]), row.partitions.describe(), row.sentence()) for row in rows
    ]


TOMORROW = "2025-01-09T00:00:00+05:30"


def test_an_upstream_partition_that_is_not_due_yet_is_told_with_the_instant() -> None:
    chain = Chain()
    facts = chain.facts()
    words = f"bronze has no data there and is not due before {TOMORROW}"
    assert blocked(facts, "silver") == [("upstream_not_due", "2025-01-07 (1)", words)]
    assert blocked(facts, "silver", "silver")[-1] == (
        "upstream_not_due",
        "2025-01-07 (1)",
        words,
    )
    told = chain.explain(facts, "silver", "2025-01-07")
    assert told.because == f"never materialized; blocked: {words}"
    assert told.evidence["blocked_by"] == {
        "blocked": "upstream_not_due",
        "upstream": "bronze",
        "until": TOMORROW,
    }
    assert [(one.name, one.because) for one in told.causes] == [
        ("bronze@2025-01-07", f"never materialized; not due before {TOMORROW}")
    ]


def test_who_reads_all_there_is_does_not_wait_for_what_waits_for_something_that_is_not_due() -> (
    None
):
    chain = Chain()
    assert part(chain.facts(), "total").blocked == ()
    chain.bench.run()
    after = part(chain.facts(), "total")
    assert (after.fresh, len(after.partitions), len(after.waiting)) == (1, 0, 0)
    assert chain.explain(chain.facts(), "total", "").reason.word == "fresh"
    assert chain.bench.column("total", "n") == [3]
    chain.bench.now += timedelta(hours=7)  # the 7th is due
    assert [row.reason.word for row in part(chain.facts(), "total").rows] == ["upstream"]
    chain.bench.run()
    assert chain.bench.column("total", "n") == [5]


def test_a_partition_that_is_not_due_yet_says_until_when() -> None:
    facts = Chain().facts()
    found = part(facts, "bronze")
    assert found.not_due.describe() == "2025-01-07 (1)"
    told = found.as_json()["not_due"]
    assert isinstance(told, dict)
    assert told["because"] == f"not due before {TOMORROW}"


def test_what_reads_a_blocked_partition_says_so_and_explain_goes_down_to_the_first_cause() -> None:
    chain = Chain()
    facts = chain.facts()
    words = "silver has no data there and is blocked itself"
    assert blocked(facts, "gold") == [("upstream_blocked", "2025-01-07 (1)", words)]
    told = chain.explain(facts, "gold", "2025-01-07")
    assert told.because == f"never materialized; blocked: {words}"
    (silver,) = told.causes
    (bronze,) = silver.causes
    assert (silver.name, bronze.name) == ("silver@2025-01-07", "bronze@2025-01-07")
    assert (bronze.causes, told.more) == ((), 0)


def test_an_upstream_partition_that_another_run_makes_names_the_run() -> None:
    chain = Chain(closed_after=timedelta(0))
    facts = chain.facts(alpha={"bronze": ["2025-01-06"]}, beta={"silver": ["2025-01-05"]})
    words = "bronze has no data there yet: being made by run alpha"
    assert blocked(facts, "silver") == [("upstream_in_flight", "2025-01-06 (1)", words)]
    assert part(facts, "bronze").as_json()["in_flight"] == {
        "count": 1,
        "text": "2025-01-06 (1)",
        "ids": [[20094, 20095]],
        "because": "being made by run alpha",
    }
    told = chain.explain(facts, "silver", "2025-01-06")
    assert told.because == f"never materialized; blocked: {words}"
    assert told.evidence["blocked_by"] == {
        "blocked": "upstream_in_flight",
        "upstream": "bronze",
        "runs": ("alpha",),
    }
    assert told.causes[0].because == "never materialized; being made by run alpha"


def test_several_runs_are_all_named() -> None:
    chain = Chain(upstream=HOURS, closed_after=timedelta(0))
    keys = {"alpha": "2025-01-06T01:00", "beta": "2025-01-06T02:00", "gamma": "2025-01-05T02:00"}
    facts = chain.facts(**{run: {"bronze": [key]} for run, key in keys.items()})
    told = chain.explain(facts, "silver", "2025-01-06")
    assert told.because.endswith("bronze has no data there yet: being made by runs alpha, beta")


def test_a_day_waits_for_the_last_of_its_hours_and_several_days_for_the_first_of_them() -> None:
    chain = Chain(upstream=HOURS, closed_after=timedelta(hours=30))
    facts = chain.facts()
    # Hours that ended before 11:30 of the 7th are due.
    assert blocked(facts, "silver") == [
        (
            "upstream_not_due",
            "2025-01-07 (1)",
            "bronze has no data there and is not due before 2025-01-09T06:00:00+05:30",
        )
    ]
    later = Chain(upstream=HOURS, closed_after=timedelta(hours=54))
    facts = later.facts()
    assert [row[1:] for row in blocked(facts, "silver")] == [
        (
            "2025-01-06...2025-01-07 (2)",
            "bronze has no data there and is not due before 2025-01-09T06:00:00+05:30",
        )
    ]
    told = later.explain(facts, "silver", "2025-01-07")
    assert told.because.endswith("is not due before 2025-01-10T06:00:00+05:30")


def test_what_is_in_the_way_for_good_is_told_before_what_time_will_solve() -> None:
    chain = Chain(upstream=HOURS, closed_after=timedelta(hours=30))
    facts = chain.facts(alpha={"bronze": ["2025-01-07T01:00"]})
    # Of the 7th one hour is in a run, eleven and more are not due, and those before are left out by who asked.
    assert blocked(facts, "silver", "silver") == [
        (
            "upstream_missing",
            "2025-01-05...2025-01-07 (3)",
            "bronze has no data there and is not part of this plan",
        )
    ]
    assert [row[0] for row in blocked(facts, "silver")] == ["upstream_not_due"]


def test_what_an_upstream_does_not_have_is_named_by_explain_in_the_words_of_the_plan() -> None:
    chain = Chain(closed_after=timedelta(0), offset=-1)
    facts = chain.facts()
    words = "they read partitions that bronze does not have"
    assert blocked(facts, "silver") == [("outside_upstream", "2025-01-05 (1)", words)]
    told = chain.explain(facts, "silver", "2025-01-05")
    assert told.because == f"never materialized; blocked: {words}: before 2025-01-05"
    assert told.evidence["blocked_by"] == {
        "blocked": "outside_upstream",
        "upstream": "bronze",
        "lacking": ("before 2025-01-05",),
    }


def test_a_blocked_row_names_the_upstream_partitions_in_json() -> None:
    chain = Chain(upstream=HOURS, closed_after=timedelta(hours=30))
    (row,) = part(chain.facts(), "silver").blocked
    told = row.as_json()
    waits_for = told["waits_for"]
    assert isinstance(waits_for, dict)
    assert waits_for["text"] == "2025-01-07T11:00...2025-01-07T23:00 (13)"
    assert told["until"] == "2025-01-09T06:00:00+05:30"
