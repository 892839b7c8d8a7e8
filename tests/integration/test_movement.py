"""When a plan that was kept may still run, and what is said if not, word for word, from the real engine."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from assets_core import AssetContext, asset
from assets_core.execution.facts import gather_facts
from assets_core.execution.run_request import RunRequest
from assets_core.model.errors import PlanError, PlanMovedError
from assets_core.model.records import RunKind, RunStatus
from assets_core.planning.movement import Replanned, replan
from assets_core.planning.planner import Mode, PlanRequest
from assets_core.state.sqlite import SqliteStore
from io_managers import MemoryIOManager
from partitions import (
    DailyPartitions,
    DynamicPartitions,
    HourlyPartitions,
    MultiPartitions,
    StaticPartitions,
)
from partitions.sets import PartitionSet
from tests.integration.bench import NOW, WEEK, Bench
from tests.property.saved_plans import saved_plan

if TYPE_CHECKING:
    from assets_core.planning.saved_plan import SavedPlan
    from assets_core.planning.staleness import Facts
    from partitions.definitions import Partitions

HINT = "make a new one: partita plan … -o json > plan.json"


@dataclass
class Project:
    """bronze → silver → total (all days), with knobs."""

    rows: int = 1
    broken: bool = False
    days: Partitions = WEEK
    code: dict[str, str] = field(
        default_factory=lambda: dict.fromkeys(["bronze", "silver", "total"], "1")
    )
    left_out: str = ""

    def __post_init__(self) -> None:
        self.bench = Bench(self.assets())

    def assets(self) -> list[object]:
        @asset(partitions=self.days, code_version=self.code["bronze"])
        def bronze(context: AssetContext) -> pa.Table:
            if self.broken:
                raise ValueError("the shop is closed")
            return pa.table({"n": [1] * self.rows})

        @asset(partitions=self.days, code_version=self.code["silver"])
        def silver(bronze: pa.Table) -> pa.Table:
            return bronze

        @asset(code_version=self.code["total"])
        def total(silver: pa.Table) -> pa.Table:
            return pa.table({"n": [silver.num_rows]})

        @asset
        def other() -> pa.Table:
            return pa.table({"n": [1]})

        found = {"bronze": bronze, "silver": silver, "total": total, "other": other}
        return [one for name, one in found.items() if name != self.left_out]

    def reload(self) -> None:
        self.bench.assets = self.assets()
        self.bench.resolve()

    def keep(
        self, *selected: str, days: list[int] | None = None, force: bool = False
    ) -> SavedPlan:
        facts = self.bench.facts()
        assets = selected or facts.graph.order
        chosen = (
            {}
            if days is None
            else {key: PartitionSet.from_slots(facts.indexes[key], days) for key in assets}
        )
        mode = Mode.FORCE if force else Mode.STALE
        return saved_plan(facts, PlanRequest(tuple(assets), chosen, mode=mode))

    def replan(self, saved: SavedPlan) -> Replanned:
        bench = self.bench

        def facts_at(instant: datetime) -> Facts:
            return gather_facts(bench.resolved.outline, bench.store, instant)

        return replan(saved, facts_at, bench.now)

    def run(self, saved: SavedPlan) -> int:
        """Run the kept plan, and answer how many partitions succeeded."""
        made = self.replan(saved)
        request = RunRequest("kept", RunKind.MATERIALIZE, "", "")
        summary = self.bench.runner.run(made.plan, made.facts, request)
        assert summary.status is RunStatus.SUCCEEDED
        return sum(summary.counts.values())

    def refusal(self, saved: SavedPlan) -> list[str]:
        """What is told of the movements."""
        with pytest.raises(PlanMovedError) as caught:
            self.replan(saved)
        assert caught.value.hint == HINT
        first, *told = caught.value.message.splitlines()
        assert first == (
            "the plan of 2025-01-08 12:00:00+00:00 would not come out the same now, so nothing was run:"
        )
        return told


def test_a_plan_runs_as_it_was_made_and_only_once() -> None:
    project = Project()
    saved = project.keep()
    assert project.run(saved) == 7 + 7 + 1 + 1
    assert project.refusal(saved) == [
        "bronze 2025-01-01...2025-01-07 (7) were materialized or marked current since (seq 7)",
        "silver 2025-01-01...2025-01-07 (7) were materialized or marked current since (seq 14)",
        "total was materialized or marked current since (seq 15)",
        "other was materialized or marked current since (seq 16)",
    ]


def test_a_partition_that_was_run_by_somebody_else_is_named() -> None:
    project = Project()
    saved = project.keep("bronze")
    project.bench.run_slots("bronze", [2])
    assert project.refusal(saved) == [
        "bronze@2025-01-03 was materialized or marked current since (seq 1)"
    ]


def test_a_forced_partition_that_was_run_meanwhile_is_told_although_it_is_planned_as_before() -> (
    None
):
    project = Project()
    project.bench.run()
    saved = project.keep("bronze", days=[0, 4], force=True)
    project.bench.run_slots("bronze", [4])
    assert project.refusal(saved) == [
        "bronze@2025-01-05 was materialized or marked current since (seq 17)"
    ]


def test_what_was_tried_since_and_failed_moves_a_plan() -> None:
    project = Project()
    saved = project.keep("bronze")
    project.broken = True
    project.bench.run_slots("bronze", [0, 1])
    assert project.refusal(saved) == [
        "bronze 2025-01-01...2025-01-02 (2) were tried since, and failed (seq 2)"
    ]


def test_other_code_is_told_with_both_versions_and_nothing_else() -> None:
    project = Project()
    saved = project.keep()
    project.code["silver"] = "2"
    project.reload()
    assert project.refusal(saved) == ["the code of silver changed: declared:1 → declared:2"]


def test_other_code_of_what_is_in_scope_and_was_fresh_is_more_to_run() -> None:
    project = Project()
    project.bench.run()
    saved = project.keep("bronze", "other")
    project.code["bronze"] = "2"
    project.reload()
    assert project.refusal(saved) == [
        "bronze 2025-01-01...2025-01-07 (7) were not planned then, and now: planned (the code changed)"
    ]


def test_other_code_of_what_the_plan_is_not_about_moves_nothing() -> None:
    project = Project()
    saved = project.keep("bronze")
    project.code["silver"] = "2"
    project.reload()
    assert project.run(saved) == 7


def test_other_dependencies_are_told() -> None:
    project = Project()
    saved = project.keep("other")
    versions = replace(saved.versions["other"], deps="before")
    assert [
        line.startswith("the dependencies of other changed: before → ")
        for line in project.refusal(replace(saved, versions={"other": versions}))
    ] == [True]


def test_other_partitions_are_told() -> None:
    project = Project()
    saved = project.keep("bronze")
    project.days = HourlyPartitions("2025-01-01", end="2025-01-08")
    project.reload()
    assert project.refusal(saved)[0] == (
        "the partitions of bronze changed: day|UTC|+00:00 → hour|UTC"
    )


def test_new_rows_of_what_the_plan_reads_and_does_not_run_move_it() -> None:
    project = Project()
    project.bench.run("bronze")
    saved = project.keep("silver")
    project.rows = 2
    project.bench.run_slots("bronze", [2, 3])
    assert project.refusal(saved) == [
        "bronze 2025-01-03...2025-01-04 (2), which silver reads, changed since (seq 9)"
    ]


def test_the_same_rows_again_move_nothing() -> None:
    project = Project()
    project.bench.run("bronze")
    saved = project.keep("silver")
    project.bench.run_slots("bronze", [2, 3])
    assert project.run(saved) == 7


def test_rows_that_only_other_partitions_read_move_nothing() -> None:
    project = Project()
    project.bench.run("bronze")
    saved = project.keep("silver", days=[0, 1])
    project.rows = 2
    project.bench.run_slots("bronze", [2, 3])
    assert project.run(saved) == 2


def test_what_can_not_run_any_more_is_told_with_what_stands_in_the_way() -> None:
    project = Project()
    project.bench.run("bronze")
    saved = project.keep("silver")
    memory = project.bench.memory._assets["bronze"]
    memory.rows.pop("2025-01-04")
    memory.commits.pop("2025-01-04")
    assert project.refusal(saved) == [
        "silver@2025-01-04 was to run, and can't now: bronze has no data there and is not part of this plan"
    ]


def test_what_a_live_run_works_on_is_told() -> None:
    project = Project()
    saved = project.keep("bronze")
    facts = project.bench.facts()
    one = int(facts.indexes["bronze"].ids[1])
    busy = replace(facts, state=replace(facts.state, in_flight={"run-1": {"bronze": (one,)}}))
    with pytest.raises(PlanMovedError) as caught:
        replan(saved, lambda _: busy, NOW)
    assert caught.value.message.splitlines()[1:] == [
        "bronze@2025-01-02 was to run, and can't now: being made by run run-1"
    ]


def test_a_refusal_names_five_movements_and_counts_the_rest() -> None:
    project = Project()
    project.bench.run()
    saved = project.keep(force=True)
    for name in project.code:
        project.code[name] = "2"
    project.reload()
    more = replace(
        saved, versions={key: replace(was, deps="before") for key, was in saved.versions.items()}
    )
    told = project.refusal(more)
    assert len(told) == 6
    assert told[-1] == "and 2 more"


def test_a_plan_of_another_state_is_refused() -> None:
    project = Project()
    project.bench.run("other")
    saved = project.keep()
    project.bench.store = SqliteStore(":memory:")
    project.bench.memory = MemoryIOManager()
    project.reload()
    told = project.refusal(saved)
    assert len(told) == 1
    assert told[0].startswith(
        f"the state is another one: the plan was made from {saved.state_id}, this is "
    )


def test_a_state_that_was_set_back_is_told() -> None:
    project = Project()
    project.bench.run("other")
    saved = replace(project.keep(), seq=9)
    assert project.refusal(saved) == [
        "the state went back: the plan was made at seq 9, and this is seq 1"
    ]


def test_a_plan_of_an_empty_state_runs_on_any_empty_state() -> None:
    project = Project()
    saved = project.keep()
    project.bench.store = SqliteStore(":memory:")
    project.reload()
    assert project.run(saved) == 16


def test_an_asset_that_is_gone_is_a_movement_and_one_that_never_was_a_mistake() -> None:
    project = Project()
    project.bench.run("other")
    saved = project.keep()
    project.left_out = "total"
    project.reload()
    with pytest.raises(
        PlanMovedError, match="about the asset 'total', which this project no longer has"
    ):
        project.replan(saved)
    with pytest.raises(
        PlanError, match="about the asset 'total', which this project does not have"
    ):
        project.replan(replace(saved, state_id="another"))
    odd = replace(saved, state_id="another", rows={"silvr": ()})
    project.left_out = ""
    project.reload()
    with pytest.raises(PlanError) as caught:
        project.replan(odd)
    assert caught.value.hint == f"nearest: silver; {HINT}"


def test_partitions_that_are_no_longer_defined_are_told() -> None:
    project = Project()
    saved = project.keep("bronze")
    project.days = DailyPartitions("2025-01-01", end="2025-01-05")
    project.reload()
    with pytest.raises(PlanMovedError) as caught:
        project.replan(saved)
    assert caught.value.message == (
        "the plan is about 7 partitions of bronze (2025-01-01...2025-01-07) that its definition"
        " (daily from 2025-01-01 to 2025-01-05 (UTC)) does not have now: 2025-01-05...2025-01-07 (3) are gone; nothing was run"
    )
    project.days = DailyPartitions("2025-01-03")
    project.reload()
    with pytest.raises(PlanMovedError, match="now: of these there are 5; nothing was run"):
        project.replan(saved)


def test_keys_that_were_removed_are_told_and_keys_that_were_added_are_more_to_run() -> None:
    @asset(partitions=DynamicPartitions("files"))
    def loaded(context: AssetContext) -> pa.Table:
        return pa.table({"n": [1]})

    project = Project()
    project.bench.assets = [loaded]
    project.bench.resolve()
    space = DynamicPartitions("files").space
    project.bench.store.intern_keys({space: ["a", "b"]})
    saved = project.keep()
    project.bench.store.intern_keys({space: ["c"]})
    assert project.refusal(saved) == [
        "loaded@c was not planned then, and now: planned (never materialized)"
    ]
    project.bench.store.remove_keys(space, ["b", "c"])
    with pytest.raises(PlanMovedError) as caught:
        project.replan(saved)
    assert caught.value.message == (
        "the plan is about 2 partitions of loaded (a, b) that its definition (dynamic: files)"
        " does not have now: b (1) is gone; nothing was run"
    )


def test_keys_of_a_dimension_that_were_removed_are_named_in_a_range_too() -> None:
    cells = {
        "day": DailyPartitions("2025-01-01", end="2025-01-03"),
        "shop": DynamicPartitions("shops"),
    }

    @asset(partitions=MultiPartitions(cells))
    def sold(context: AssetContext) -> pa.Table:
        return pa.table({"n": [1]})

    project = Project()
    project.bench.assets = [sold]
    project.bench.resolve()
    space = DynamicPartitions("shops").space
    project.bench.store.intern_keys({space: ["a", "b"]})
    saved = project.keep(days=[0, 1, 2, 3])
    project.bench.store.remove_keys(space, ["b"])
    with pytest.raises(PlanMovedError, match=r"now: 2025-01-01...2025-01-02\|b \(2\) are gone;"):
        project.replan(saved)


def test_static_keys_that_left_the_definition_are_named() -> None:
    def loaded(keys: list[str]) -> object:
        @asset(partitions=StaticPartitions(keys))
        def loaded(context: AssetContext) -> pa.Table:
            return pa.table({"n": [1]})

        return loaded

    project = Project()
    project.bench.assets = [loaded(["a", "b", "c"])]
    project.bench.resolve()
    saved = project.keep()
    project.bench.assets = [loaded(["c"])]
    project.bench.resolve()
    with pytest.raises(PlanMovedError, match=r"\(a, b, c\) .* now: a, b \(2\) are gone; nothing"):
        project.replan(saved)


def test_a_static_key_that_was_added_moves_a_plan_before_and_after_keys_have_ids() -> None:
    def loaded(keys: list[str]) -> object:
        @asset(partitions=StaticPartitions(keys))
        def loaded(context: AssetContext) -> pa.Table:
            return pa.table({"n": [1]})

        return loaded

    project = Project()
    project.bench.assets = [loaded(["a", "b"])]
    project.bench.resolve()
    saved = project.keep()
    project.bench.assets = [loaded(["b", "c", "a"])]
    project.bench.resolve()
    assert project.refusal(saved) == [
        "loaded@c was not planned then, and now: planned (never materialized)"
    ]


class TestAfterMidnight:
    """A plan of the 8th that is run on the 9th."""

    def make(self) -> Project:
        return Project(days=DailyPartitions("2025-01-01"))

    def test_it_runs_what_it_says_and_leaves_what_became_due_since(self) -> None:
        project = self.make()
        saved = project.keep()
        project.bench.now += timedelta(days=1)
        assert project.run(saved) == 7 + 7 + 1 + 1
        after = {
            part.asset: [(row.reason.word, list(row.partitions)) for row in part.rows]
            for part in project.bench.plan().assets
        }
        assert after["bronze"] == after["silver"] == [("missing", ["2025-01-08"])]
        assert after["total"][0][0] == "upstream"

    def test_it_is_moved_if_a_run_made_what_became_due_since_and_the_plan_would_not_read_that(
        self,
    ) -> None:
        project = self.make()
        project.bench.run("bronze", "silver")
        saved = project.keep("total")
        project.bench.now += timedelta(days=1)
        project.bench.run("bronze", "silver")
        assert project.refusal(saved) == [
            "silver@2025-01-08, which total reads, changed since (seq 16)"
        ]

    def test_it_is_not_moved_by_that_if_nothing_in_it_reads_that(self) -> None:
        project = self.make()
        project.bench.run("bronze")
        saved = project.keep("silver")
        project.bench.now += timedelta(days=1)
        project.bench.run("bronze")
        assert project.run(saved) == 7

    def test_a_plan_from_the_future_is_refused(self) -> None:
        project = self.make()
        saved = project.keep()
        project.bench.now -= timedelta(seconds=1)
        with pytest.raises(PlanError, match=r"made at 2025-01-08T12:00:00\+00:00, which is still"):
            project.replan(saved)


def test_a_row_that_names_a_partition_of_another_row_is_refused() -> None:
    project = Project()
    saved = project.keep("bronze")
    doubled = replace(saved, rows={"bronze": saved.rows["bronze"] * 2})
    with pytest.raises(PlanError, match=r"names bronze 2025-01-01...2025-01-07 \(7\) in two rows"):
        project.replan(doubled)


def test_a_row_that_was_edited_is_told_as_what_it_is_now() -> None:
    project = Project()
    project.bench.run("bronze")
    saved = project.keep("bronze", days=[0], force=True)
    other = project.keep("bronze", days=[1], force=True)
    assert project.refusal(replace(saved, rows=other.rows)) == [
        "bronze@2025-01-01 was not planned then, and now: planned (asked for with --force)",
        "bronze@2025-01-02 was planned (asked for with --force) then, and now: not planned",
    ]
