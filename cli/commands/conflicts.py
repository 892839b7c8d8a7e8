"""Which planned partitions other runs are to make, for a run that was told not to wait for them (`--on-conflict skip` or `fail`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.execution.run_request import LeftToRun, OnConflict
from assets_core.model.errors import ConflictError
from cli.commands.planning_again import still_to_make

if TYPE_CHECKING:
    from cli.commands.planning import Planned
    from cli.project import Project


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
                found.append(LeftToRun(run.id, asset, both))
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
