"""Laws of staleness and planning, on random projects and pasts, against the naive reference."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assets_core.authoring.graph import AssetGraph
from assets_core.planning.planner import Mode, PlanRequest, plan_run
from assets_core.planning.reasons import Reason
from assets_core.planning.staleness import Facts, Shared, judge
from partitions.keyed_mappings import All
from tests.property.planner_reference import Reference
from tests.property.planner_strategies import facts, requests

if TYPE_CHECKING:
    from assets_core.model.specs import Dependency
    from partitions.definitions import PartitionIndex
    from partitions.keyed_mappings import PartitionMapping
    from partitions.mapped_set import MappedSet


@given(facts())
def test_every_reason_is_the_one_that_the_rules_give_partition_by_partition(about: Facts) -> None:
    reference = Reference(about)
    for verdict, _, _ in judge(about):
        words = [Reason(int(code)).word for code in verdict.reasons]
        assert words == [reference.reason[verdict.asset, slot] for slot in range(len(words))]


@given(st.data())
def test_a_plan_equals_the_reference_plan_in_partitions_reasons_and_blocks(
    data: st.DataObject,
) -> None:
    about = data.draw(facts())
    request = data.draw(requests(about))
    planned, blocked = Reference(about).plan(request)
    plan = plan_run(about, request)
    found = {
        (part.asset, int(slot)): row.reason.word
        for part in plan.assets
        for row in part.rows
        for slot in row.partitions.slots()
    }
    assert found == planned
    stuck = {
        (part.asset, int(slot))
        for part in plan.assets
        for row in part.blocked
        for slot in row.partitions.slots()
    }
    assert stuck == blocked


@given(st.data())
def test_a_plan_names_each_partition_once_in_topological_order_and_holds_nothing_fresh(
    data: st.DataObject,
) -> None:
    about = data.draw(facts())
    request = data.draw(requests(about))
    plan = plan_run(about, request)
    places = {key: place for place, key in enumerate(about.graph.order)}
    assert [places[part.asset] for part in plan.assets] == sorted(
        places[part.asset] for part in plan.assets
    )
    for part in plan.assets:
        assert sum(len(row.partitions) for row in part.rows) == len(part.partitions)
        for row in part.rows:
            assert row.reason is not Reason.FRESH
            if row.conditional:
                assert row.cause is not None
                assert plan.of(row.cause) is not None


@given(st.data())
def test_every_partition_in_scope_is_in_one_part_of_the_plan_and_only_what_is_fresh_is_called_so(
    data: st.DataObject,
) -> None:
    about = data.draw(facts())
    request = data.draw(requests(about))
    verdicts = {verdict.asset: verdict for verdict, _, _ in judge(about)}
    scope = Reference(about).scope(request)
    plan = plan_run(about, request)
    assert {key for key, _ in scope} <= {part.asset for part in plan.assets}
    for part in plan.assets:
        blocked = [row.partitions for row in part.blocked]
        left = (part.not_due, part.in_flight, part.waiting, part.passed_over)
        slots = [int(slot) for one in (part.partitions, *blocked, *left) for slot in one.slots()]
        assert len(set(slots)) == len(slots)
        fresh = {slot for key, slot in scope if key == part.asset} - set(slots)
        assert part.fresh == len(fresh)
        verdict = verdicts[part.asset]
        assert not verdict.stale[sorted(fresh)].any()
        assert (verdict.reasons[part.waiting.mask()] == Reason.UPSTREAM).all()
        if request.mode is not Mode.MISSING:
            assert not part.passed_over


@dataclass
class Unhashable:
    """Binds as the mapping that it holds, and is the key of nothing."""

    mapping: PartitionMapping
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def triggers(self) -> bool:
        return self.mapping.triggers

    def text(self) -> str:
        return self.mapping.text()

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        return self.mapping.bind(upstream, downstream)


@given(facts())
def test_mappings_whose_binding_assets_cant_share_give_the_same_plan(about: Facts) -> None:
    def unshared(edge: Dependency) -> Dependency:
        # The planner knows `All` by its class.
        alone = edge.mapping if isinstance(edge.mapping, All) else Unhashable(edge.mapping)
        return replace(edge, mapping=alone)

    specs = {
        key: replace(spec, dependencies=tuple(map(unshared, spec.dependencies)))
        for key, spec in about.graph.specs.items()
    }
    request = PlanRequest(about.graph.order, {})
    alone = replace(about, graph=AssetGraph(specs), shared=Shared())
    assert plan_run(alone, request).as_json() == plan_run(about, request).as_json()


@given(facts())
def test_planning_twice_gives_the_same_plan(about: Facts) -> None:
    request = PlanRequest(about.graph.order, {}, mode=Mode.STALE)
    assert plan_run(about, request).as_json() == plan_run(about, request).as_json()


@given(facts())
def test_verdicts_have_one_entry_per_partition_and_a_cause_exactly_where_an_upstream_is_to_blame(
    about: Facts,
) -> None:
    for verdict, bound, _ in judge(about):
        assert len(verdict.reasons) == len(about.indexes[verdict.asset])
        to_blame = np.isin(verdict.reasons, (Reason.INPUT, Reason.UPSTREAM))
        assert np.array_equal(verdict.causes < len(bound), to_blame)
