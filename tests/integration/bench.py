"""A project in memory for tests: the real planner, runner and store, a clock that only `pause` moves."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from assets_core import AssetContext, Definitions
from assets_core.execution.facts import gather_facts, intern_partition_keys
from assets_core.execution.run_request import Effects, RunRequest
from assets_core.execution.runner import Runner
from assets_core.execution.slices import slices_of
from assets_core.model.io_manager import ReadRequest
from assets_core.model.records import RunKind, StepStatus
from assets_core.planning.planner import Mode, PlanRequest, plan_run
from assets_core.state.sqlite import SqliteStore
from io_managers import MemoryIOManager
from partitions import DailyPartitions
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets_core.execution.events import RunEvent, RunSummary
    from assets_core.planning.plan import Plan
    from assets_core.planning.staleness import Facts
    from assets_core.telemetry.run_log import RunLogs

NOW = datetime(2025, 1, 8, 12, tzinfo=UTC)
WEEK = DailyPartitions("2025-01-01", end="2025-01-08")


@dataclass
class Bench:
    """A project in memory, with a clock that only `pause` moves."""

    assets: list[object]
    resources: dict[str, object] = field(default_factory=dict)
    memory: MemoryIOManager = field(default_factory=MemoryIOManager)
    store: SqliteStore = field(default_factory=lambda: SqliteStore(":memory:"))
    now: datetime = NOW
    pauses: list[float] = field(default_factory=list)
    events: list[RunEvent] = field(default_factory=list)
    logs: RunLogs | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.resolve()

    def resolve(self) -> None:
        self.resolved = Definitions(
            assets=self.assets, io_managers={"default": self.memory}, resources=self.resources
        ).resolve()
        intern_partition_keys(self.resolved.outline, self.store)
        self.runner = Runner(
            self.resolved,
            self.store,
            Effects(
                clock=lambda: self.now,
                pause=self.pause,
                new_token=lambda: f"token-{next(self.numbers)}",
                spread=lambda: 0.5,
                on_event=self.events.append,
                logs=self.logs,
            ),
        )

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += timedelta(seconds=seconds)

    def facts(self) -> Facts:
        return gather_facts(self.resolved.outline, self.store, self.now)

    def plan(self) -> Plan:
        """What a run of everything would do."""
        facts = self.facts()
        return plan_run(facts, PlanRequest(facts.graph.order, {}))

    def run(
        self,
        *selected: str,
        mode: Mode = Mode.STALE,
        downstream: bool = False,
        fail_fast: bool = False,
    ) -> RunSummary:
        facts = self.facts()
        order = facts.graph.order
        chosen = selected or order
        plan = plan_run(facts, PlanRequest(tuple(chosen), {}, mode=mode, downstream=downstream))
        self.run_id = f"run-{next(self.numbers)}"
        return self.runner.run(
            plan, facts, RunRequest(self.run_id, RunKind.MATERIALIZE, "", "", fail_fast=fail_fast)
        )

    def run_slots(self, name: str, slots: list[int], *, downstream: bool = False) -> RunSummary:
        """Force some partitions of one asset."""
        facts = self.facts()
        chosen = {name: PartitionSet.from_slots(facts.indexes[name], slots)}
        request = PlanRequest((name,), chosen, mode=Mode.FORCE, downstream=downstream)
        self.run_id = f"run-{next(self.numbers)}"
        return self.runner.run(
            plan_run(facts, request),
            facts,
            RunRequest(self.run_id, RunKind.MATERIALIZE, "", ""),
        )

    def column(self, name: str, column: str, *keys: str) -> list[object]:
        index = self.facts().indexes[name]
        slots = [index.slot(key) for key in keys] if keys else range(len(index))
        request = ReadRequest(self.resolved.outline.target(name), slices_of(index, slots))
        return list(self.memory.read(request).read_all().column(column).to_pylist())

    def steps(self, status: StepStatus) -> list[tuple[str, int]]:
        return [
            (step.asset, len(step.partition_ids))
            for step in self.store.steps(self.run_id)
            if step.status is status
        ]


def day_of(context: AssetContext) -> int:
    return int(context.partition_key[-2:])
