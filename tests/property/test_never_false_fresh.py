"""The law that matters most: whatever happened, a partition that is called fresh holds what its function would give now.

A simulator drives the real planner, runner, state store and IO manager through random histories: runs of every kind, failures,
skips, code changes, upstream rewrites, days going by, lost data, two runs at once, assets that begin anew, plans that are kept and run
later. Ground truth is recomputed from the rows that are stored.
"""

from __future__ import annotations

import itertools
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core import Asset, AssetContext, Definitions, Input, Skip, asset
from assets_core.execution.events import StepStarted
from assets_core.execution.executors import InProcessExecutor
from assets_core.execution.facts import gather_facts, intern_partition_keys
from assets_core.execution.run_request import Effects, RunRequest
from assets_core.execution.runner import Runner
from assets_core.execution.slices import slices_of
from assets_core.execution.worker import Worker
from assets_core.model.errors import PlanMovedError, RunTakenOverError
from assets_core.model.io_manager import ReadRequest
from assets_core.model.records import RunKind, RunStatus, StepStatus
from assets_core.planning.movement import replan
from assets_core.planning.planner import Mode, PlanRequest, plan_run
from assets_core.planning.reasons import Reason
from assets_core.planning.staleness import judge
from assets_core.state.sqlite import SqliteStore
from io_managers import MemoryIOManager
from partitions import DailyPartitions, LastN
from partitions.sets import PartitionSet
from tests.property.saved_plans import saved_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from assets_core.execution.events import RunEvent, RunSummary
    from assets_core.execution.executors import StepEnd
    from assets_core.execution.step_order import StepOrder
    from assets_core.planning.plan import Plan
    from assets_core.planning.saved_plan import SavedPlan
    from assets_core.planning.staleness import Facts
    from assets_core.telemetry.run_log import RunLog

START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = DailyPartitions("2025-01-01")
NAMES = ("source", "mid", "parity", "window", "total", "spread")


@dataclass
class World:
    """A project whose functions are known in closed form: value = code version + what was read."""

    code: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))
    outside: dict[str, int] = field(default_factory=dict)
    days: int = 4
    failing: set[tuple[str, str]] = field(default_factory=set)
    skipping: set[tuple[str, str]] = field(default_factory=set)
    comparing: frozenset[str] = frozenset()
    """What compares the data versions of its inputs."""
    meanwhile: Callable[[], None] | None = None
    """What happens while the next function is running, after it was given its inputs."""

    def now(self) -> datetime:
        return START + timedelta(days=self.days, hours=1)

    def formula(self, name: str, read: list[str]) -> str:
        if name == "parity":  # forgets most of what it reads, so that changes often stop here
            return f"{self.code[name]}:{sum(int(part.split('/')[-1].rstrip(')')) for part in read) % 2}"
        return f"{self.code[name]}({'+'.join(read)})"

    def assets(self) -> list[Asset]:
        def body(name: str) -> Callable[..., object]:
            def run(context: AssetContext, read: pa.Table | None = None) -> object:
                happens, self.meanwhile = self.meanwhile, None
                if happens is not None:
                    happens()
                key = context.partition_keys[0] if context.partition_keys else ""
                if (name, key) in self.failing:
                    raise RuntimeError("told to fail")
                if (name, key) in self.skipping:
                    return Skip("told to skip")
                values = sorted(read.column("value").to_pylist()) if read is not None else []
                if name == "source":
                    values = [f"{key}/{self.outside.get(key, 0)}"]
                return pa.table({"value": [self.formula(name, values)]})

            return run

        def source(context: AssetContext) -> object:
            return body("source")(context)

        def make(name: str, upstream: str, *, days: bool, last: int | None = None) -> Asset:
            function = body(name)
            return asset(
                name=name,
                partitions=DAYS if days else None,
                inputs={"read": Input(upstream, mapping=LastN(last) if last else None)},
                code_version=str(self.code[name]),
                compare_input_versions=name in self.comparing,
            )(function)

        return [
            asset(name="source", partitions=DAYS, code_version=str(self.code["source"]))(source),
            make("mid", "source", days=True),
            make("parity", "source", days=True),
            make("window", "mid", days=True, last=3),
            make("total", "parity", days=False),
            make("spread", "total", days=True),
        ]


class ShuffledExecutor:
    """Takes several orders at once, and carries them out one by one, in an order that `random` draws."""

    def __init__(self, worker: Worker, capacity: int, random: Random) -> None:
        self.capacity = capacity
        self._one_by_one = InProcessExecutor(worker, lambda: START)
        self._random = random
        self._orders: list[tuple[StepOrder, str, RunLog | None]] = []

    def start(self, order: StepOrder, name: str, log: RunLog | None) -> None:
        assert len(self._orders) < self.capacity
        self._orders.append((order, name, log))

    def ended(self, seconds: float | None) -> list[StepEnd]:
        if self._orders and (seconds is None or self._random.random() < 0.5):
            self._one_by_one.start(*self._orders.pop(self._random.randrange(len(self._orders))))
        return self._one_by_one.ended(None)

    def cancel(self) -> None:
        raise NotImplementedError

    interrupt = cancel

    def close(self) -> None:
        assert not self._orders


class Simulator:
    def __init__(
        self, comparing: Iterable[str], capacity: int = 1, random: Random | None = None
    ) -> None:
        self.capacity = capacity
        self.random = random or Random(0)  # noqa: S311 - no secrets are drawn
        self.world = World(comparing=frozenset(comparing))
        self.memory = MemoryIOManager()
        self.store = SqliteStore(":memory:")
        self.tokens = itertools.count()
        self.saved: SavedPlan | None = None

    def facts(self) -> Facts:
        self.resolved = Definitions(
            assets=self.world.assets(), io_managers={"default": self.memory}
        ).resolve()
        intern_partition_keys(self.resolved.outline, self.store)
        return gather_facts(self.resolved.outline, self.store, self.world.now())

    def run(
        self, facts: Facts, plan: Plan, on_event: Callable[[RunEvent], None] = lambda _: None
    ) -> RunSummary:
        effects = Effects(
            clock=self.world.now,
            pause=lambda _: None,
            new_token=lambda: f"token-{next(self.tokens)}",
            spread=lambda: 0.5,
            on_event=on_event,
        )
        run_id = f"run-{next(self.tokens)}"
        resolved = self.resolved
        return Runner(
            resolved,
            self.store,
            effects,
            lambda: ShuffledExecutor(
                Worker(resolved, logging.getLogger), self.capacity, self.random
            ),
        ).run(plan, facts, RunRequest(run_id, RunKind.MATERIALIZE, "", ""))

    def run_together(
        self,
        facts: Facts,
        plan: Plan,
        other: Callable[[Facts], PlanRequest],
        at: int,
        *,
        after_reading: bool,
    ) -> None:
        """A run, and in its step number `at`, just before or after that reads, a whole other one. No lock keeps them apart here."""
        started = itertools.count()

        def other_run() -> None:
            now = self.facts()
            self.run(now, plan_run(now, other(now)))

        def interrupt(event: RunEvent) -> None:
            if not isinstance(event, StepStarted) or next(started) != at:
                return
            if after_reading:
                self.world.meanwhile = other_run
            else:
                other_run()

        with suppress(RunTakenOverError):  # a step of it was fenced off by the other run
            self.run(facts, plan, interrupt)

    def run_saved(self) -> None:
        """Run the plan that was kept, unless it moved."""
        if self.saved is None:
            return
        self.facts()

        def facts_at(instant: datetime) -> Facts:
            return gather_facts(self.resolved.outline, self.store, instant)

        with suppress(PlanMovedError):
            made = replan(self.saved, facts_at, self.world.now())
            self.run(made.facts, made.plan)

    def rows(self, name: str, facts: Facts, slots: list[int]) -> list[str]:
        request = ReadRequest(
            self.resolved.outline.target(name), slices_of(facts.indexes[name], slots)
        )
        return sorted(self.memory.read(request).read_all().column("value").to_pylist())

    def lose(self, name: str, key: str) -> None:
        """Somebody deletes a partition behind our back."""
        stored = self.memory._assets.get(name)
        if stored is not None:
            stored.rows.pop(key, None)
            stored.commits.pop(key, None)

    def restart(self, name: str, *, cut_off: bool) -> None:
        """The asset begins anew, or the process that does it dies between rows and state."""
        self.facts()
        self.memory.remove(self.resolved.outline.target(name))
        if not cut_off:
            self.store.restart(name, self.world.now())

    def check_that_nothing_is_falsely_fresh(self) -> None:
        facts = self.facts()
        for verdict, bound, _ in judge(facts):
            for slot in range(len(verdict.reasons)):
                if verdict.reasons[slot] != Reason.FRESH:
                    continue
                if (
                    verdict.asset == "source"
                ):  # the outside can't be seen, only a forced run reads it
                    continue
                read = [
                    row
                    for edge in bound
                    for row in self.rows(
                        edge.dependency.upstream, facts, edge.mapped.upstream_slots(slot).tolist()
                    )
                ]
                expected = self.world.formula(verdict.asset, sorted(read))
                stored = self.rows(verdict.asset, facts, [slot])
                assert stored == [expected], (
                    f"{verdict.asset} slot {slot} is called {verdict.reasons[slot]}"
                )


@st.composite
def requests(draw: st.DrawFn, facts: Facts) -> PlanRequest:
    assets = tuple(key for key in facts.graph.order if draw(st.booleans())) or ("source",)
    narrowed = {
        key: PartitionSet.from_slots(
            facts.indexes[key], draw(st.sets(st.integers(0, len(facts.indexes[key]) - 1)))
        )
        for key in assets
        if key != "total" and draw(st.booleans())
    }
    return PlanRequest(
        assets,
        narrowed,
        mode=draw(st.sampled_from(list(Mode))),
        upstream=draw(st.booleans()),
        downstream=draw(st.booleans()),
    )


def two_runs(data: st.DataObject, simulator: Simulator) -> None:
    facts = simulator.facts()
    plan = plan_run(facts, data.draw(requests(facts)))
    if plan.size:
        at = data.draw(st.integers(0, plan.size - 1))
        after_reading = data.draw(st.booleans())
        simulator.run_together(
            facts,
            plan,
            lambda then: data.draw(requests(then)),
            at,
            after_reading=after_reading,
        )
        simulator.world.meanwhile = None


def act(data: st.DataObject, simulator: Simulator) -> None:
    world = simulator.world
    keys = [f"2025-01-{day:02}" for day in range(1, world.days + 1)]
    match data.draw(
        st.sampled_from(
            [
                *["run", "run", "run", "two runs", "two runs"],
                *["outside", "fetch", "fetch", "code", "day", "lose", "restart", "trouble"],
                *["keep a plan", "run the kept plan", "run the kept plan"],
            ]
        )
    ):
        case "run":
            facts = simulator.facts()
            simulator.run(facts, plan_run(facts, data.draw(requests(facts))))
            world.failing.clear()
            world.skipping.clear()
        case "two runs":
            two_runs(data, simulator)
            world.failing.clear()
            world.skipping.clear()
        case "keep a plan":
            facts = simulator.facts()
            simulator.saved = saved_plan(facts, data.draw(requests(facts)))
        case "run the kept plan":
            simulator.run_saved()
            world.failing.clear()
            world.skipping.clear()
        case "outside":
            key = data.draw(st.sampled_from(keys))
            world.outside[key] = data.draw(st.integers(0, 2))  # it may change back
        case "fetch":
            key = data.draw(st.sampled_from(keys))
            world.outside[key] = data.draw(st.integers(0, 2))
            facts = simulator.facts()
            chosen = PartitionSet.from_slots(
                facts.indexes["source"], [facts.indexes["source"].slot(key)]
            )
            request = PlanRequest(("source",), {"source": chosen}, mode=Mode.FORCE)
            simulator.run(facts, plan_run(facts, request))
        case "code":
            world.code[data.draw(st.sampled_from(NAMES))] += 1
        case "day":
            world.days += 1
        case "lose":
            simulator.lose(data.draw(st.sampled_from(NAMES)), data.draw(st.sampled_from(keys)))
        case "restart":
            simulator.restart(data.draw(st.sampled_from(NAMES)), cut_off=data.draw(st.booleans()))
        case "trouble":
            node = (data.draw(st.sampled_from(NAMES)), data.draw(st.sampled_from(keys)))
            (world.failing if data.draw(st.booleans()) else world.skipping).add(node)


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
    return Simulator(comparing, data.draw(st.integers(1, 3)), data.draw(st.randoms()))


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
