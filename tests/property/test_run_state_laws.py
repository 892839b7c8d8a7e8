"""Laws of the run machine: driven by random plans, outcomes and other runs, checked against the plan's own edges."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets_core.authoring.graph import AssetGraph
from assets_core.execution.run_state import Finish, Offer, Retry, RunState, Settle, Wait
from assets_core.model.records import MadeElsewhere, RunStatus, StepStatus
from assets_core.planning.planner import plan_run
from assets_core.planning.staleness import bind_dependencies
from tests.property.planner_strategies import NOW, facts, requests

if TYPE_CHECKING:
    from assets_core.planning.plan import Plan
    from assets_core.planning.staleness import Facts

Node = tuple[str, int]
PAUSE = timedelta(hours=1)
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
    now: datetime = NOW
    running: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    held: list[tuple[datetime, str, tuple[int, ...]]] = field(default_factory=list)
    pools: dict[str, int] = field(default_factory=dict)
    pool_of: dict[str, str] = field(default_factory=dict)
    priority: dict[str, int] = field(default_factory=dict)
    data_seq: dict[Node, int] = field(default_factory=dict)
    full_until: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [part.asset for part in self.plan.assets]
        self.pools = self.data.draw(
            st.dictionaries(st.sampled_from(["api", "disk"]), st.integers(1, 2))
        )
        for name in names:
            pool = self.data.draw(st.sampled_from([None, *self.pools]))
            if pool is not None:
                self.pool_of[name] = pool
            self.priority[name] = self.data.draw(st.integers(-1, 1))
        specs = self.about.graph.specs
        changed = {
            name: replace(specs[name], pool=self.pool_of.get(name), priority=self.priority[name])
            for name in names
        }
        self.about = replace(self.about, graph=AssetGraph({**specs, **changed}))
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
        machine = RunState(self.plan, self.about, fail_fast=self.fail_fast, pools=self.pools)
        self.data_seq = {
            (asset, slot): int(seq)
            for asset, facts in machine._facts.items()
            for slot, seq in enumerate(facts.data_seq)
        }
        while True:
            if self.running and self.data.draw(st.booleans()):
                self.end_one(machine)
                continue
            # Time also passes while steps run, so that a retry may become due when its pool is full.
            self.now += timedelta(hours=self.data.draw(st.sampled_from([0, 0, 60])))
            room = self.data.draw(st.booleans())
            instruction = machine.decide(self.now, room=room)
            match instruction:
                case Offer() | Retry():
                    assert room
                    self.take(machine, instruction)
                case Settle(asset=asset, slots=slots, status=status):
                    for slot in slots:
                        self.settle((asset, slot), status)
                case Wait(until=until):
                    self.wait(machine, until, room=room)
                case Finish(status=status):
                    assert not self.running
                    return status

    def take(self, machine: RunState, instruction: Offer | Retry) -> None:
        if isinstance(instruction, Retry):
            nodes = [(instruction.asset, slot) for slot in instruction.slots]
            assert all(self.status[node] == "waiting" for node in nodes)
            self.require_pool(instruction.asset)
            if self.pool_is_full_elsewhere(machine, instruction.asset):
                machine.put_off(instruction.asset, instruction.slots, self.now + PAUSE)
                return
            self.status |= dict.fromkeys(nodes, "queued")
            self.start(instruction.asset, instruction.slots)
            return
        self.require_pool(instruction.asset)
        steps = instruction.steps[: self.data.draw(st.integers(1, len(instruction.steps)))]
        for slots in steps:
            for slot in slots:
                self.require_startable((instruction.asset, slot))
            match self.data.draw(
                st.sampled_from(["mine", "mine", "mine", "held", "made", "full"])
            ):
                case "held":
                    machine.held(instruction.asset, slots, self.now + PAUSE)
                    self.status |= {(instruction.asset, slot): "held" for slot in slots}
                    self.held.append((self.now + PAUSE, instruction.asset, slots))
                case "made":
                    self.make_elsewhere(machine, instruction.asset, slots)
                case "full" if self.pool_is_full_elsewhere(machine, instruction.asset):
                    return
                case _:
                    machine.started(instruction.asset, (slots,))
                    self.start(instruction.asset, slots)

    def require_pool(self, asset: str) -> None:
        """A pool that was told to be full is left alone until then."""
        until = self.full_until.get(self.pool_of.get(asset, ""))
        assert until is None or until <= self.now

    def pool_is_full_elsewhere(self, machine: RunState, asset: str) -> bool:
        pool = self.pool_of.get(asset)
        if pool is None or self.data.draw(st.booleans()):
            return False
        self.full_until[pool] = self.now + PAUSE
        machine.pool_full(pool, self.now + PAUSE)
        return True

    def make_elsewhere(self, machine: RunState, asset: str, slots: tuple[int, ...]) -> None:
        """Another run made some of them, from inputs as of some moment."""
        some = slots[: self.data.draw(st.integers(1, len(slots)))]
        self.seq += 1
        read_seq = self.data.draw(st.integers(0, self.seq - 1))
        is_new = self.data.draw(st.booleans())
        made = {
            slot: MadeElsewhere(
                partition_id=slot,
                seq=self.seq,
                read_seq=read_seq,
                data_seq=self.seq if is_new else self.data_seq[asset, slot],
                has_data=True,
                run_id="other",
            )
            for slot in some
        }
        current = {
            slot
            for slot in some
            if all(self.data_seq[above] <= read_seq for above in self.triggering((asset, slot)))
        }
        assert set(machine.made_elsewhere(asset, made)) == current
        assert all(machine.known_seqs(asset, (slot,)) in {(), (self.seq,)} for slot in some)
        for slot in some:
            self.data_seq[asset, slot] = made[slot].data_seq
            self.rowless.discard((asset, slot))
            if is_new:
                self.changed.add((asset, slot))
        self.status |= {(asset, slot): "cut_off" for slot in current}

    def wait(self, machine: RunState, until: datetime | None, *, room: bool) -> None:
        if self.running:
            self.end_one(machine)
        elif until is None:
            # Only a caller without room is told to wait for nothing.
            assert not room
        else:
            assert until > self.now
            self.now = until

    def require_startable(self, node: Node) -> None:
        over = {
            (asset, slot)
            for until, asset, slots in self.held
            if until <= self.now
            for slot in slots
        }
        if self.status[node] == "held":
            assert node in over
            self.status[node] = "queued"
        assert self.status[node] == "queued"
        open_reads = {
            a for a in self.reads[node] & self.status.keys() if self.status[a] not in FINAL
        }
        assert not open_reads, f"{node} started before {open_reads}"

    def start(self, asset: str, slots: tuple[int, ...]) -> None:
        self.running.append((asset, slots))
        for pool, most in self.pools.items():
            assert sum(self.pool_of.get(name) == pool for name, _ in self.running) <= most
        for slot in slots:
            node = (asset, slot)
            self.require_startable(node)
            self.attempts[node] = self.attempts.get(node, 0) + 1
            self.status[node] = "running"

    def end_one(self, machine: RunState) -> None:
        asset, slots = self.running.pop(self.data.draw(st.integers(0, len(self.running) - 1)))
        outcome = self.data.draw(
            st.sampled_from(["changed", "changed", "same", "fail", "retry", "retry", "skip"])
        )
        if outcome == "retry" and self.attempts[asset, slots[0]] > 2:
            outcome = "fail"
        self.seq += 1
        match outcome:
            case "changed":
                machine.succeeded(asset, slots, tuple(self.seq for _ in slots))
                self.changed |= {(asset, slot) for slot in slots}
                self.data_seq |= {(asset, slot): self.seq for slot in slots}
            case "same":
                facts = machine._facts[asset]
                same = tuple(int(facts.data_seq[slot]) or 1 for slot in slots)
                machine.succeeded(asset, slots, same)
                self.data_seq |= {
                    (asset, slot): seq for slot, seq in zip(slots, same, strict=True)
                }
            case "fail":
                machine.failed(asset, slots, retry_at=None)
            case "retry":
                machine.failed(asset, slots, retry_at=self.now + timedelta(hours=100))
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
        assert self.status[node] in {"queued", "waiting", "held"}
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
