"""The law that matters most: whatever happened, a partition that is called fresh holds what its function would give now.

A simulator drives the real planner, runner, state store and IO manager through random histories: runs of every kind, several at once
with kills, failures, skips, code changes, upstream rewrites, days going by, starts that move to and fro, lost data, assets that begin
anew, plans that are kept and run later. Ground truth is recomputed from the rows that are stored.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core.execution.run_request import OnConflict
from assets_core.model.records import RunStatus, StepStatus
from assets_core.planning.planner import Mode, PlanRequest, plan_run
from partitions.sets import PartitionSet
from tests.property.saved_plans import saved_plan
from tests.property.simulator import NAMES, Simulator
from tests.property.together import Together

if TYPE_CHECKING:
    from assets_core.planning.staleness import Facts


def request_of(seed: int, facts: Facts) -> PlanRequest:
    """Any request at all, by dice."""
    random = Random(seed)  # noqa: S311 - no secrets are drawn
    assets = tuple(key for key in facts.graph.order if random.random() < 0.5) or ("source",)
    narrowed = {
        key: PartitionSet.from_slots(
            facts.indexes[key],
            [slot for slot in range(len(facts.indexes[key])) if random.random() < 0.5],
        )
        for key in assets
        if key != "total" and random.random() < 0.5
    }
    return PlanRequest(
        assets,
        narrowed,
        mode=random.choice(list(Mode)),
        upstream=random.random() < 0.5,
        downstream=random.random() < 0.5,
    )


SEEDS = st.integers(0, 2**32)


def a_request(data: st.DataObject, facts: Facts) -> PlanRequest:
    return request_of(data.draw(SEEDS), facts)


def let_several_run(data: st.DataObject, simulator: Simulator) -> None:
    together = Together(simulator, Random(data.draw(SEEDS)))  # noqa: S311 - as above
    for _ in range(data.draw(st.integers(2, 3))):
        wanted = partial(request_of, data.draw(SEEDS))
        together.add(wanted, data.draw(st.sampled_from(list(OnConflict))))
    together.go()


CHANGES = ("outside", "code", "day", "start", "start", "lose", "restart", "trouble")


def days_of(simulator: Simulator) -> st.SearchStrategy[str]:
    return st.sampled_from([f"2025-01-{day:02}" for day in range(1, simulator.world.days + 1)])


def act(data: st.DataObject, simulator: Simulator) -> None:
    world = simulator.world
    match data.draw(
        st.sampled_from(
            [
                *["run", "run", "run", "runs together", "runs together", "fetch", "fetch"],
                *["keep a plan", "run the kept plan", "run the kept plan"],
                *CHANGES,
            ]
        )
    ):
        case "run":
            facts = simulator.facts()
            simulator.run(facts, plan_run(facts, a_request(data, facts)))
            world.failing.clear()
            world.skipping.clear()
        case "runs together":
            let_several_run(data, simulator)
            world.failing.clear()
            world.skipping.clear()
        case "keep a plan":
            facts = simulator.facts()
            simulator.saved = saved_plan(facts, a_request(data, facts))
        case "run the kept plan":
            simulator.run_saved()
            world.failing.clear()
            world.skipping.clear()
        case "fetch":
            key = data.draw(days_of(simulator))
            world.outside[key] = data.draw(st.integers(0, 2))
            facts = simulator.facts()
            chosen = PartitionSet.from_slots(
                facts.indexes["source"], [facts.indexes["source"].slot(key)]
            )
            request = PlanRequest(("source",), {"source": chosen}, mode=Mode.FORCE)
            simulator.run(facts, plan_run(facts, request))
        case what:
            change(data, simulator, what)


def change(data: st.DataObject, simulator: Simulator, what: str) -> None:
    """Something happens to the project or its data between runs."""
    world, key = simulator.world, data.draw(days_of(simulator))
    name = data.draw(st.sampled_from(NAMES))
    match what:
        case "outside":
            world.outside[key] = data.draw(st.integers(0, 2))  # it may change back
        case "code":
            world.code[name] += 1
        case "day":
            world.days += 1
        case "start":
            moved = data.draw(st.sampled_from(sorted(world.starts)))
            world.starts[moved] = data.draw(st.integers(1, 3))
        case "lose":
            simulator.lose(name, key)
        case "restart":
            simulator.restart(name, cut_off=data.draw(st.booleans()))
        case "trouble":
            trouble = data.draw(st.sampled_from([world.failing, world.skipping]))
            trouble.add((name, key))


@settings(max_examples=60)
@given(st.data())
def test_whatever_happened_a_fresh_partition_holds_what_its_function_would_give_now(
    data: st.DataObject,
) -> None:
    simulator = simulated(data)
    for _ in range(data.draw(st.integers(1, 12))):
        act(data, simulator)
        simulator.check_that_nothing_is_falsely_fresh()


def simulated(data: st.DataObject) -> Simulator:
    comparing = data.draw(st.sets(st.sampled_from(NAMES[1:])))
    random = Random(data.draw(SEEDS))  # noqa: S311 - as above
    return Simulator(comparing, data.draw(st.integers(1, 3)), random)


@settings(max_examples=30)
@given(st.data())
def test_after_a_run_of_everything_succeeded_the_next_plan_is_empty(data: st.DataObject) -> None:
    simulator = simulated(data)
    for _ in range(data.draw(st.integers(0, 8))):
        act(data, simulator)
    simulator.world.failing.clear()
    simulator.world.skipping.clear()
    facts = simulator.facts()
    summary = simulator.run(facts, plan_run(facts, PlanRequest(facts.graph.order, {})))
    assert summary.status is RunStatus.SUCCEEDED
    assert set(summary.counts) <= {StepStatus.SUCCEEDED, StepStatus.CUT_OFF}
    simulator.check_that_nothing_is_falsely_fresh()
    facts = simulator.facts()
    assert plan_run(facts, PlanRequest(facts.graph.order, {})).size == 0


@settings(max_examples=60)
@given(st.data())
def test_runs_that_share_a_project_make_everything_once_and_leave_nothing_stale(
    data: st.DataObject,
) -> None:
    simulator = simulated(data)
    for _ in range(data.draw(st.integers(0, 3))):
        act(data, simulator)
    simulator.world.failing.clear()
    simulator.world.skipping.clear()
    simulator.recover()
    before = Counter(simulator.world.calls)
    stale = simulator.stale()
    together = Together(simulator, Random(data.draw(SEEDS)), trouble=False)  # noqa: S311 - as above
    for _ in range(data.draw(st.integers(2, 3))):
        together.add(lambda facts: PlanRequest(facts.graph.order, {}))
    together.go()
    assert simulator.stale() == set()
    made = Counter(simulator.world.calls) - before
    assert set(made) <= stale
    assert set(made.values()) <= {1}
    assert simulator.store.verify() == []
    simulator.check_that_nothing_is_falsely_fresh()


@settings(max_examples=40)
@given(st.data())
def test_whatever_several_runs_and_kills_left_one_more_run_makes_good(data: st.DataObject) -> None:
    simulator = simulated(data)
    for _ in range(data.draw(st.integers(1, 3))):
        let_several_run(data, simulator)
        simulator.check_that_nothing_is_falsely_fresh()
        assert simulator.store.verify() == []
    simulator.recover()
    assert simulator.store.unfinished_runs() == []
    facts = simulator.facts()
    assert not facts.state.in_flight
    summary = simulator.run(facts, plan_run(facts, PlanRequest(facts.graph.order, {})))
    assert summary.status is RunStatus.SUCCEEDED
    assert simulator.stale() == set()
    simulator.check_that_nothing_is_falsely_fresh()
