"""What a run planned and did not finish: as a source of plans for `runs resume` and `runs retry`, and what a living run is still to make."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from assets_core.model.records import StepStatus
from assets_core.planning.planner import Mode, PlanRequest, plan_run
from assets_core.planning.reasons import Reason
from assets_core.planning.staleness import partition_facts
from cli.commands.planning import Planned
from cli.commands.request import Request
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from assets_core.model.records import RunRecord
    from assets_core.planning.staleness import Facts
    from cli.project import Project

_DONE = frozenset({StepStatus.SUCCEEDED, StepStatus.CUT_OFF})
_FAILED = frozenset({StepStatus.FAILED, StepStatus.SKIPPED})


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """The partitions of `run` that are to be run once more; `failed_only`: not those that were never begun or cancelled."""

    run: RunRecord
    failed_only: bool

    def plan(self, project: Project, now: datetime, *, to_run: bool = False) -> Planned:
        """The plan from the state as it is: what was forced then is forced again, everything else runs if it is stale."""
        facts = project.facts(now, in_flight=not to_run)
        left = self._left(project, facts)
        request = Request(tuple(left), left, self.run.selection, self.run.partitions)
        mode = Mode.FORCE if self._was_forced() else Mode.STALE
        wanted = PlanRequest(tuple(left), left, mode)
        return Planned(plan_run(facts, wanted), facts, request, wanted)

    def _left(self, project: Project, facts: Facts) -> dict[str, PartitionSet]:
        by_status = _steps_of(project, self.run)
        plan = json.loads(self.run.plan)
        found = {}
        for asset, planned in _planned(plan, facts):
            if self.failed_only:
                chosen = planned & _of(_ids_of(by_status, _FAILED, asset), planned)
            else:
                chosen = planned & ~_of(_ids_of(by_status, _DONE, asset), planned)
            chosen &= ~_done_since(facts, asset, plan["seq"])
            if chosen:
                found[asset] = chosen
        return found

    def _was_forced(self) -> bool:
        forced = Reason.FORCED.name.lower()
        plan = json.loads(self.run.plan)
        return any(row["reason"] == forced for part in plan["assets"] for row in part["rows"])


def still_to_make(project: Project, facts: Facts, run: RunRecord) -> dict[str, PartitionSet]:
    """The partitions that a run planned and that have not ended in it, by asset."""
    by_status = _steps_of(project, run)
    ended = frozenset(StepStatus) - {StepStatus.RUNNING}
    return {
        asset: planned & ~_of(_ids_of(by_status, ended, asset), planned)
        for asset, planned in _planned(json.loads(run.plan), facts)
    }


def _planned(plan: Any, facts: Facts) -> Iterator[tuple[str, PartitionSet]]:  # noqa: ANN401 - JSON of ours
    """What a plan has of each asset that is still defined."""
    for part in plan["assets"]:
        if part["asset"] in facts.graph.specs:
            ids = [tuple(run) for run in part["partitions"]["ids"]]
            yield part["asset"], PartitionSet.from_ids(facts.indexes[part["asset"]], ids)


def _steps_of(project: Project, run: RunRecord) -> dict[StepStatus, dict[str, set[int]]]:
    by_status: dict[StepStatus, dict[str, set[int]]] = {}
    for step in project.store.steps(run.id):
        ids = by_status.setdefault(step.status, {}).setdefault(step.asset, set())
        ids.update(step.partition_ids)
    return by_status


def _ids_of(
    by_status: Mapping[StepStatus, Mapping[str, set[int]]],
    statuses: frozenset[StepStatus],
    asset: str,
) -> set[int]:
    return {id_ for status in statuses for id_ in by_status.get(status, {}).get(asset, ())}


def _of(ids: set[int], like: PartitionSet) -> PartitionSet:
    slots = like.index.slots_of_ids(np.asarray(sorted(ids), dtype=np.int64))
    return PartitionSet.from_slots(like.index, slots[slots >= 0])


def _done_since(facts: Facts, asset: str, seq: int) -> PartitionSet:
    """Partitions that somebody made, with success, after the counter was `seq`: in the run itself or later."""
    made = partition_facts(facts, facts.graph.spec(asset))
    return PartitionSet.from_mask(
        facts.indexes[asset], (made.seq > seq) & (made.failed_seq < made.seq)
    )
