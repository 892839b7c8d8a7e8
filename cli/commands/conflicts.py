"""Which planned partitions are not for a run to make: those that other runs are to make, if it was told not to wait for them, and those of dead runs that can't be settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assets_core.execution.run_request import LeftToRun, OnConflict
from assets_core.model.errors import ConflictError
from cli.commands.planning_again import still_to_make
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from assets_core.execution.recovery import Unsettled
    from assets_core.model.records import StepRecord
    from cli.commands.planning import Planned
    from cli.project import Project
    from partitions.definitions import PartitionIndex


def partitions_of_others(
    project: Project, planned: Planned, on_conflict: OnConflict
) -> tuple[LeftToRun, ...]:
    """The planned partitions that living runs have planned as well and not ended, each once; none for a run that waits.

    Raises ConflictError if there are any and the run is told to fail.
    """
    if on_conflict is OnConflict.WAIT:
        return ()
    wanted = {part.asset: part.partitions for part in planned.plan.assets if part.partitions}
    found = []
    for run in project.store.unfinished_runs():
        if not project.is_alive(run.id):
            continue
        for asset, theirs in still_to_make(project, planned.facts, run).items():
            both = wanted[asset] & theirs if asset in wanted else None
            if both:
                why = f"it is left to run {run.id} (--on-conflict skip)"
                found.append(LeftToRun(run.id, asset, both, why))
                wanted[asset] &= ~both
    if found and on_conflict is OnConflict.FAIL:
        first, count = found[0], sum(len(one.partitions) for one in found)
        key = next(iter(first.partitions))
        name = f"{first.asset}@{key}" if key else first.asset
        more = f" and {count - 1:,} more" if count > 1 else ""
        raise ConflictError(
            f"run {first.run_id} is to make {name}{more}, so nothing was run",
            hint=f"wait for it: partita runs watch {first.run_id}, or leave --on-conflict fail out",
        )
    return tuple(found)


def partitions_of_the_dead(
    planned: Planned, unsettled: Iterable[Unsettled]
) -> tuple[LeftToRun, ...]:
    """The planned partitions that dead runs worked on of which a destination does not say what became of them."""
    wanted = {part.asset: part.partitions for part in planned.plan.assets if part.partitions}
    found = []
    for one in unsettled:
        why = f"run {one.run.id}, which is dead, can't be settled: {one.why.message}"
        for step in one.steps:
            if step.asset in wanted:
                both = wanted[step.asset] & partitions_of(step, planned.facts.indexes[step.asset])
                if both:
                    found.append(LeftToRun(one.run.id, step.asset, both, why, is_dead=True))
    return tuple(found)


def partitions_of(step: StepRecord, index: PartitionIndex) -> PartitionSet:
    """What a step works on, as far as it is still defined."""
    return PartitionSet.from_mask(index, np.isin(index.ids, step.partition_ids))
