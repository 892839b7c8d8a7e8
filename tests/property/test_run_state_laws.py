"""Laws of the run machine: driven by random plans and random outcomes, checked against the plan's own edges."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets_core.execution.run_state import Finish, Offer, Retry, RunState, Settle, Wait
from assets_core.model.records import RunStatus, StepStatus
from assets_core.planning.planner import plan_run
from assets_core.planning.staleness import bind_dependencies
from tests.property.planner_strategies import NOW, facts, requests

if TYPE_CHECKING:
    from assets_core.planning.plan import Plan
    from assets_core.planning.staleness import Facts

Node = tuple[str, int]
FINAL = {"succeeded", "failed", "skipped", "cut_off", "cancelled", "unchanged"}


@dataclass
class Driver:
    """Drives a machine to its end, and refuses any instruction that breaks lineage order."""

    about: Facts
    plan: Plan
    data: st.DataObject
    fail_fast: bool = False
    status: dict[Node, str] = field(default_factory=dict)
    reads: dict[Node, set[Node]] = field(default_factory=dict)
    needs: dict[Node, set[Node]] = field(default_factory=dict)
    rowless: set[Node] = field(default_factory=set)
    changed: set[Node] = field(default_factory=set)
    attempts: dict[Node, int] = field(default_factory=dict)
    seq: int = 100

    def __post_init__(self) -> None:
        for part in self.plan.assets:
            bound = bind_dependencies(self.about, self.about.graph.spec(part.asset))
            for slot in part.partitions.slots():
                node = (part.asset, int(slot))
                self.status[node] = "queued"
                pairs = [
                    (edge.dependency.allow_missing, (edge.dependency.upstream, int(above)))
                    for edge in bound
                    for above in edge.mapped.upstream_slots(int(slot))
                ]
                self.reads[node] = {above for _, above in pairs}
                self.needs[node] = {above for may_miss, above in pairs if not may_miss}

    def run(self) -> RunStatus:
        machine = RunState(self.plan, self.about, fail_fast=self.fail_fast)
        now = NOW
        while True:
            match machine.decide(now):
                case Offer(asset=asset, steps=steps):
                    taken = steps[: self.data.draw(st.integers(1, len(steps)))]
                    machine.started(asset, taken)
                    for slots in taken:
                        self.step(machine, asset, slots)
                case Retry(asset=asset, slots=slots):
                    assert all(self.status[asset, slot] == "waiting" for slot in slots)
                    for slot in slots:
                        self.status[asset, slot] = "queued"
                    self.step(machine, asset, slots)
                case Settle(asset=asset, slots=slots, status=status):
                    for slot in slots:
                        self.settle((asset, slot), status)
                case Wait(until=until):
                    assert until > now
                    now = until
                case Finish(status=status):
                    return status

    def step(self, machine: RunState, asset: str, slots: tuple[int, ...]) -> None:
        for slot in slots:
            node = (asset, slot)
            assert self.status[node] == "queued"
            open_reads = {
                a for a in self.reads[node] & self.status.keys() if self.status[a] not in FINAL
            }
            assert not open_reads, f"{node} started before {open_reads}"
            self.attempts[node] = self.attempts.get(node, 0) + 1
        outcome = self.data.draw(
            st.sampled_from(["changed", "changed", "same", "fail", "retry", "skip"])
        )
        if outcome == "retry" and self.attempts[asset, slots[0]] > 2:
            outcome = "fail"
        self.seq += 1
        match outcome:
            case "changed":
                machine.succeeded(asset, slots, tuple(self.seq for _ in slots))
                self.changed |= {(asset, slot) for slot in slots}
            case "same":
                facts = machine._facts[asset]
                machine.succeeded(
                    asset, slots, tuple(int(facts.data_seq[slot]) or 1 for slot in slots)
                )
            case "fail":
                machine.failed(asset, slots, retry_at=None)
            case "retry":
                machine.failed(asset, slots, retry_at=NOW + timedelta(hours=self.seq))
            case "skip":
                machine.skipped(asset, slots)
        if outcome == "skip":
            exists = machine._facts[asset].exists
            self.rowless |= {(asset, slot) for slot in slots if not exists[slot]}
        stopping = machine.stopping is not None
        words = {
            "changed": "succeeded",
            "same": "succeeded",
            "fail": "failed",
            "retry": "waiting",
            "skip": "unchanged",
        }
        for slot in slots:
            word = words[outcome]
            self.status[asset, slot] = "failed" if word == "waiting" and stopping else word

    def settle(self, node: Node, status: StepStatus) -> None:
        assert self.status[node] in {"queued", "waiting"}
        planned = self.reads[node] & self.status.keys()
        match status:
            case StepStatus.SKIPPED:
                assert self.bad_reads(node)
            case StepStatus.CUT_OFF:
                part = self.plan.of(node[0])
                assert part is not None
                assert bool(part.conditional.mask()[node[1]])
                assert all(self.status[a] in FINAL for a in planned)
                assert not self.triggering(node) & self.changed
            case StepStatus.CANCELLED:
                assert self.fail_fast
            case _:
                pytest.fail(f"settled as {status}")
        self.status[node] = status.value

    def bad_reads(self, node: Node) -> set[Node]:
        """What the node reads and can't go on from."""
        planned = self.reads[node] & self.status.keys()
        bad = {a for a in planned if self.status[a] in {"failed", "skipped", "cancelled"}}
        return bad | (planned & self.needs[node] & self.rowless)

    def triggering(self, node: Node) -> set[Node]:
        bound = bind_dependencies(self.about, self.about.graph.spec(node[0]))
        return {
            (edge.dependency.upstream, int(above))
            for edge in bound
            if edge.dependency.mapping.triggers
            for above in edge.mapped.upstream_slots(node[1])
        }


@given(st.data())
def test_every_planned_partition_ends_once_after_all_that_it_reads(data: st.DataObject) -> None:
    about = data.draw(facts())
    driver = Driver(about, plan_run(about, data.draw(requests(about))), data)
    verdict = driver.run()
    assert set(driver.status.values()) <= FINAL
    assert (verdict is RunStatus.FAILED) == ("failed" in driver.status.values())


@given(st.data())
def test_a_failure_holds_up_exactly_what_reads_it(data: st.DataObject) -> None:
    about = data.draw(facts())
    driver = Driver(about, plan_run(about, data.draw(requests(about))), data)
    driver.run()
    for node, status in driver.status.items():
        assert (status == "skipped") == bool(driver.bad_reads(node))


@given(st.data())
def test_fail_fast_starts_nothing_after_the_first_final_failure(data: st.DataObject) -> None:
    about = data.draw(facts())
    driver = Driver(about, plan_run(about, data.draw(requests(about))), data, fail_fast=True)
    verdict = driver.run()
    assert set(driver.status.values()) <= FINAL
    if verdict is not RunStatus.FAILED:
        assert "cancelled" not in driver.status.values()
