"""A small project in memory, driven through the real planner, runner and state store, and the truth to hold it against.

Its functions are known in closed form, so that what a partition should hold is recomputed from the rows that are stored. Several runs take
turns: see `together`.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import pyarrow as pa

from assets_core import Asset, AssetContext, Definitions, Input, Skip, asset
from assets_core.execution.executors import InProcessExecutor
from assets_core.execution.facts import gather_facts, intern_partition_keys
from assets_core.execution.recovery import recover
from assets_core.execution.run_request import Effects, OnConflict, RunRequest
from assets_core.execution.runner import Runner
from assets_core.execution.slices import slices_of
from assets_core.execution.worker import Worker
from assets_core.model.errors import PlanMovedError
from assets_core.model.io_manager import ReadRequest
from assets_core.model.records import RunKind
from assets_core.planning.movement import replan
from assets_core.planning.reasons import Reason
from assets_core.planning.staleness import judge
from assets_core.state.locks import Held, LockHolder, RunLocks
from assets_core.state.sqlite import SqliteStore
from io_managers import MemoryIOManager
from partitions import DailyPartitions, LastN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from assets_core.authoring.definitions import Resolved
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
POOL = frozenset({"mid", "window"})
POOL_SLOTS = 2


@dataclass
class World:
    """A project whose functions are known in closed form: value = code version + what was read."""

    code: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))
    outside: dict[str, int] = field(default_factory=dict)
    days: int = 4
    starts: dict[str, int] = field(default_factory=lambda: {"mid": 1, "parity": 1})
    """The first day of what may begin later than all the rest: what reads it reads fewer days then, and more again."""
    failing: set[tuple[str, str]] = field(default_factory=set)
    skipping: set[tuple[str, str]] = field(default_factory=set)
    comparing: frozenset[str] = frozenset()
    """What compares the data versions of its inputs."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Every call of a function so far."""
    inside: Callable[[], None] = lambda: None
    """What happens while a function is running, after it was given its inputs."""

    def now(self) -> datetime:
        return START + timedelta(days=self.days, hours=1)

    def days_of(self, name: str) -> DailyPartitions:
        return DailyPartitions(f"2025-01-{self.starts.get(name, 1):02}")

    def formula(self, name: str, read: list[str]) -> str:
        if name == "parity":  # forgets most of what it reads, so that changes often stop here
            return f"{self.code[name]}:{sum(int(part.split('/')[-1].rstrip(')')) for part in read) % 2}"
        return f"{self.code[name]}({'+'.join(read)})"

    def assets(self) -> list[Asset]:
        def body(name: str) -> Callable[..., object]:
            def run(context: AssetContext, read: pa.Table | None = None) -> object:
                key = context.partition_keys[0] if context.partition_keys else ""
                self.calls.append((name, key))
                self.inside()
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
                partitions=self.days_of(name) if days else None,
                inputs={"read": Input(upstream, mapping=LastN(last) if last else None)},
                code_version=str(self.code[name]),
                compare_input_versions=name in self.comparing,
                pool="api" if name in POOL else None,
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
    """Takes several orders at once, and carries them out one by one, in an order that `random` draws.

    `running` counts what all executors of a simulator have taken: by asset and partition, and of the pool.
    """

    def __init__(
        self, worker: Worker, capacity: int, random: Random, running: Counter[tuple[str, str]]
    ) -> None:
        self.capacity = capacity
        self._one_by_one = InProcessExecutor(worker, lambda: START)
        self._random = random
        self._orders: list[tuple[StepOrder, str, RunLog | None]] = []
        self._running = running
        self._is_dead = False

    def forget(self) -> None:
        """Others take this one for dead from now on: what it runs may overlap with theirs, and is counted no more."""
        self._is_dead = True
        for order, _, _ in self._orders:
            self._running.subtract(_places(order))

    def start(self, order: StepOrder, name: str, log: RunLog | None) -> None:
        assert len(self._orders) < self.capacity
        self._orders.append((order, name, log))
        if self._is_dead:
            return
        self._running.update(_places(order))
        assert max(self._running.values()) <= 1, f"{name} runs twice at once"
        in_pool = sum(count for place, count in self._running.items() if place[0] in POOL)
        assert in_pool <= POOL_SLOTS, "the pool has more steps than slots"

    def ended(self, seconds: float | None) -> list[StepEnd]:
        if self._orders and (seconds is None or self._random.random() < 0.5):
            chosen = self._orders[self._random.randrange(len(self._orders))]
            self._one_by_one.start(*chosen)
            ends = self._one_by_one.ended(None)
            self._orders.remove(chosen)
            if not self._is_dead:
                self._running.subtract(_places(chosen[0]))
            return ends
        return self._one_by_one.ended(None)

    def cancel(self) -> None:
        """What was taken is carried out to its end."""

    interrupt = cancel

    def close(self) -> None:
        """Nothing is left of what this one took."""
        self.forget()


def _places(order: StepOrder) -> list[tuple[str, str]]:
    return [(order.asset, one.key) for one in order.slices]


class LivingRuns(RunLocks):
    """Which runs live, as the test says."""

    def __init__(self) -> None:
        self.living: set[str] = set()

    def join(self, run_id: str, *, on_wait: object = None) -> Held:
        self.living.add(run_id)
        return _HeldInMemory(self.living, run_id)

    def exclude(self, purpose: str, *, on_wait: object = None) -> Held:
        raise NotImplementedError

    def take_over(self, run_id: str) -> Held | None:
        return None if run_id in self.living else self.join(run_id)

    def holder(self, run_id: str) -> LockHolder | None:
        return LockHolder(1, run_id) if run_id in self.living else None

    def holders(self) -> list[LockHolder]:
        return [LockHolder(1, run_id) for run_id in sorted(self.living)]


class _HeldInMemory(Held):
    def __init__(self, living: set[str], run_id: str) -> None:
        self._living = living
        self._run_id = run_id

    def release(self) -> None:
        self._living.discard(self._run_id)


class Simulator:
    def __init__(
        self, comparing: Iterable[str], capacity: int = 1, random: Random | None = None
    ) -> None:
        self.capacity = capacity
        self.random = random or Random(0)  # noqa: S311 - no secrets are drawn
        self.world = World(comparing=frozenset(comparing))
        self.memory = MemoryIOManager()
        self.store = SqliteStore(":memory:")
        self.locks = LivingRuns()
        self.running: Counter[tuple[str, str]] = Counter()
        self.tokens = itertools.count()
        self.waited = timedelta(0)
        self.saved: SavedPlan | None = None

    def now(self) -> datetime:
        return self.world.now() + self.waited

    def resolve(self) -> Resolved:
        resolved = Definitions(
            assets=self.world.assets(),
            io_managers={"default": self.memory},
            pools={"api": POOL_SLOTS},
        ).resolve()
        intern_partition_keys(resolved.outline, self.store)
        return resolved

    def facts(self, *, to_run: bool = False) -> Facts:
        """What planning looks at; a run also plans what another one works on."""
        self.resolved = self.resolve()
        return gather_facts(
            self.resolved.outline,
            self.store,
            self.now(),
            run_lives=lambda run: not to_run and run in self.locks.living,
        )

    def stale(self) -> set[tuple[str, str]]:
        """Asset and key of what is not fresh, and can be: not what reads days that its upstream has not any more."""
        facts = self.facts()
        return {
            (verdict.asset, facts.indexes[verdict.asset].key(slot))
            for verdict, bound, _ in judge(facts)
            for slot in range(len(verdict.reasons))
            if verdict.reasons[slot] != Reason.FRESH
            and not any(edge.mapped.missing[slot] for edge in bound)
        }

    def recover(self, only: str | None = None) -> None:
        recover(self.resolve().outline, self.store, self.locks, self.now(), only=only)

    def run(
        self,
        facts: Facts,
        plan: Plan,
        *,
        on_event: Callable[[RunEvent], None] = lambda _: None,
        between: Callable[[], None] = lambda: None,
        on_conflict: OnConflict = OnConflict.WAIT,
        made: Callable[[str, Runner, ShuffledExecutor], None] = lambda *_: None,
    ) -> RunSummary:
        """Run a plan; `between` is called whenever it looks at the clock or waits, `made` with its id before it begins."""

        def clock() -> datetime:
            between()
            return self.now()

        def pause(seconds: float) -> None:
            self.waited += timedelta(seconds=seconds)
            between()

        effects = Effects(
            clock=clock,
            pause=pause,
            new_token=lambda: f"token-{next(self.tokens)}",
            spread=lambda: 0.5,
            on_event=on_event,
            settle_dead=lambda run: self.recover(only=run),
        )
        run_id = f"run-{next(self.tokens)}"
        worker = Worker(self.resolved, logging.getLogger)
        executor = ShuffledExecutor(worker, self.capacity, self.random, self.running)
        runner = Runner(self.resolved, self.store, effects, lambda: executor)
        made(run_id, runner, executor)
        with self.locks.join(run_id):
            request = RunRequest(run_id, RunKind.MATERIALIZE, "", "", on_conflict=on_conflict)
            return runner.run(plan, facts, request)

    def run_saved(self) -> None:
        """Run the plan that was kept, unless it moved."""
        if self.saved is None:
            return
        self.facts()

        def facts_at(instant: datetime) -> Facts:
            return gather_facts(self.resolved.outline, self.store, instant)

        with suppress(PlanMovedError):
            made = replan(self.saved, facts_at, self.now())
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
            self.store.restart(name, self.now())

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
