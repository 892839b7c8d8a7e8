"""`partita mark-current`: accept what is there after a change that does not matter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cli.commands.options import (
    TOKEN,
    HintedUsageError,
    PartitaCommand,
    Settings,
    complete_assets,
    open_project,
)

if TYPE_CHECKING:
    from assets_core.planning.staleness import Facts
    from cli.commands.request import Request
    from partitions.sets import PartitionSet


@click.command("mark-current", cls=PartitaCommand)
@click.argument(
    "words", metavar="SELECT... [RANGE]", nargs=-1, type=TOKEN, shell_complete=complete_assets
)
@click.option("--partitions", metavar="RANGE", type=TOKEN, help="Only these partitions.")
@click.option("--dry-run", is_flag=True, help="Show what would be accepted and record nothing.")
@click.pass_obj
def command(
    settings: Settings, words: tuple[str, ...], partitions: str | None, *, dry_run: bool
) -> int:
    """Accept existing partitions as made by the code and inputs of now.

    For a change that does not matter: rows stay as they are, and what was stale because of code, dependencies or inputs is fresh.
    Partitions that are stale for other reasons (missing, lost, failed) are left out.
    """
    from assets_core.execution.facts import version_parts, versions_of  # noqa: PLC0415 - loads numpy
    from cli.commands.request import Words, read_request  # noqa: PLC0415
    from cli.commands.taking_part import beside_runs  # noqa: PLC0415
    from cli.render.statuses import accepted_report  # noqa: PLC0415

    if not words:
        raise HintedUsageError(
            "mark-current needs assets", "for example: partita mark-current orders 2025-01"
        )
    printer = settings.printer()
    project = open_project(settings)
    now = datetime.now(UTC)
    facts = project.facts(now)
    request = read_request(facts, Words(words, partitions))
    accepted = _acceptable(facts, request)
    if accepted and not dry_run:
        with beside_runs(project, printer, "mark-current"):
            specs = {key: facts.graph.spec(key) for key in accepted}
            parts = version_parts(project.resolved, specs.values())
            project.store.register(map(versions_of, specs.values()), parts)
            for key, chosen in accepted.items():
                ids = [int(facts.indexes[key].ids[slot]) for slot in chosen.slots()]
                project.store.mark_current(versions_of(specs[key]), ids, now)
    printer.report(accepted_report(accepted, dry_run=dry_run))
    return 0


def _acceptable(facts: Facts, request: Request) -> dict[str, PartitionSet]:
    """Of the asked partitions those that have rows and are stale because of a change, by asset in topological order."""
    import numpy as np  # noqa: PLC0415 - heavy

    from assets_core.planning.planner import refuse_changed_space  # noqa: PLC0415
    from assets_core.planning.reasons import Reason  # noqa: PLC0415
    from assets_core.planning.staleness import judge  # noqa: PLC0415
    from partitions.sets import PartitionSet  # noqa: PLC0415

    found: dict[str, PartitionSet] = {}
    for verdict, _, _ in judge(facts, request.assets):
        key = verdict.asset
        if key not in request.assets:
            continue
        refuse_changed_space(facts, key)
        matters = (Reason.CODE, Reason.DEPS, Reason.INPUT)
        mask = verdict.facts.exists & np.isin(verdict.reasons, matters)
        if key in request.partitions:
            mask &= request.partitions[key].mask()
        if mask.any():
            found[key] = PartitionSet.from_mask(facts.indexes[key], mask)
    return found
