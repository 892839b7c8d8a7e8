"""A run whose partitions or pool slots a dead run has that can't be settled, and one that meets another run's work when its turn comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from assets_core import Definitions, asset
from assets_core.execution.facts import gather_facts, intern_partition_keys, versions_of
from assets_core.execution.run_request import Effects, OnConflict, RunRequest
from assets_core.execution.runner import Runner
from assets_core.model.records import (
    RunKind,
    RunRecord,
    RunStatus,
    StepClaim,
    StepStatus,
)
from assets_core.planning.planner import PlanRequest, plan_run
from assets_core.state.sqlite import SqliteStore
from io_managers import MemoryIOManager
from tests.integration.bench import NOW, WEEK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assets_core.authoring.definitions import Resolved
    from assets_core.execution.events import RunSummary


def rows() -> pa.Table:
    return pa.table({"x": [1]})


class Beside:
    """A project in which a run `dead` has the first partition of an asset; whoever settles it is told why that can't be done."""

    def __init__(self, *assets: object, pools: Mapping[str, int] | None = None) -> None:
        definitions = Definitions(
            assets=assets, io_managers={"default": MemoryIOManager()}, pools=pools or {}
        )
        self.resolved: Resolved = definitions.resolve()
        self.store = SqliteStore(":memory:")
        self.asked: list[str] = []
        intern_partition_keys(self.resolved.outline, self.store)

    def claim(self, name: str, slot: int = 0) -> None:
        spec = self.resolved.graph.spec(name)
        ids = self.store.register([versions_of(spec)])[name]
        record = RunRecord("dead", RunKind.MATERIALIZE, "", "", "", RunStatus.RUNNING, NOW)
        self.store.start_run(record)
        partition = int(spec.partitions.index(NOW, self.store.key_ids()).ids[slot])
        claim = StepClaim(
            name,
            (partition,),
            "dead-token",
            ids.code_id,
            ids.deps_id,
            pool=spec.pool,
            pool_slots=1 if spec.pool else 0,
        )
        self.store.claim("dead", [claim], NOW)

    def settle_dead(self, run_id: str) -> str:
        self.asked.append(run_id)
        return "the store is down"

    def run(self, on_conflict: OnConflict = OnConflict.WAIT) -> RunSummary:
        """A run of everything that takes the dead one for dead when it plans."""
        numbers = iter(range(1000))
        effects = Effects(
            clock=lambda: NOW,
            pause=lambda _: pytest.fail("it waits for the dead"),
            new_token=lambda: f"token-{next(numbers)}",
            spread=lambda: 0.5,
            settle_dead=self.settle_dead,
        )
        facts = gather_facts(self.resolved.outline, self.store, NOW, run_lives=lambda _: False)
        plan = plan_run(facts, PlanRequest(facts.graph.order, {}))
        request = RunRequest("mine", RunKind.MATERIALIZE, "", "", on_conflict=on_conflict)
        return Runner(self.resolved, self.store, effects).run(plan, facts, request)

    def steps(self, name: str) -> list[tuple[str, str]]:
        return [
            (step.status.value, step.message)
            for step in self.store.steps("mine")
            if step.asset == name and step.status is not StepStatus.SUCCEEDED
        ]


WHY = "run dead, which is dead, can't be settled: the store is down"


def test_what_a_dead_run_has_that_can_not_be_settled_is_left_out_and_all_else_made() -> None:
    bronze = asset(name="bronze", partitions=WEEK)(rows)

    @asset(partitions=WEEK)
    def silver(bronze: pa.Table) -> pa.Table:
        return bronze

    beside = Beside(bronze, silver)
    beside.claim("bronze")
    summary = beside.run()
    assert summary.counts == {StepStatus.SUCCEEDED: 12, StepStatus.SKIPPED: 2}
    assert beside.steps("bronze") == [("skipped", WHY)]
    assert beside.steps("silver") == [("skipped", "it reads bronze@2025-01-01, which was skipped")]
    assert beside.asked == ["dead"]


def test_a_pool_whose_slots_the_dead_have_holds_up_its_own_assets_only() -> None:
    first = asset(name="first", pool="api")(rows)
    second = asset(name="second", pool="api")(rows)
    other = asset(name="other")(rows)
    beside = Beside(first, second, other, pools={"api": 1})
    beside.claim("first")
    summary = beside.run()
    assert summary.counts == {StepStatus.SUCCEEDED: 1, StepStatus.SKIPPED: 2}
    assert beside.steps("first") == beside.steps("second") == [("skipped", WHY)]
    assert beside.asked == ["dead"]


@pytest.mark.parametrize("is_partitioned", [True, False])
def test_a_run_that_is_to_fail_on_a_conflict_names_what_the_other_works_on(
    *, is_partitioned: bool
) -> None:
    chosen = asset(name="chosen", partitions=WEEK)(rows) if is_partitioned else None
    beside = Beside(chosen or asset(name="chosen")(rows))
    beside.claim("chosen")
    assert beside.run(OnConflict.FAIL).status is RunStatus.FAILED
    name = "chosen@2025-01-01" if is_partitioned else "chosen"
    assert beside.steps("chosen")[0] == (
        "cancelled",
        f"run dead works on {name} (--on-conflict fail)",
    )
