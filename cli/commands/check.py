"""`partita check`: hold rows that are published against contracts and checks once more."""

from __future__ import annotations

from dataclasses import replace
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
    from assets_core.model.checks import CheckOutcome
    from assets_core.planning.staleness import Facts
    from cli.commands.request import Request
    from cli.project import Project
    from cli.render.checks import Rechecked
    from partitions.sets import PartitionSet

_RECORDED_AT_ONCE = 100


@click.command("check", cls=PartitaCommand)
@click.argument(
    "words", metavar="[SELECT]... [RANGE]", nargs=-1, type=TOKEN, shell_complete=complete_assets
)
@click.option("--partitions", metavar="RANGE", type=TOKEN, help="Only these partitions.")
@click.pass_obj
def command(settings: Settings, words: tuple[str, ...], partitions: str | None) -> int:
    """Hold published rows against contracts and checks.

    For rules that are new, and for rows that somebody else may have changed. Reads the rows and changes none: only the outcomes
    are recorded, for `partita status` and `partita show`. Exits with 1 if a blocking check or rule fails.
    """
    from cli.commands.request import Words, read_request  # noqa: PLC0415 - loads numpy
    from cli.render.checks import checked_report  # noqa: PLC0415
    from cli.render.errors import EXIT_DONE, EXIT_FAILED  # noqa: PLC0415

    printer, project = settings.printer(), open_project(settings)
    now = datetime.now(UTC)
    facts = project.facts(now)
    request = read_request(facts, Words(words, partitions))
    found = [
        _checked(project, facts, asset, chosen, now)
        for asset, chosen in _published(project, facts, request).items()
    ]
    if not found and words and not any(_is_checked(project, one) for one in request.assets):
        raise HintedUsageError(
            f"nothing is said about the rows of {', '.join(request.assets[:3])}",
            "give the asset a contract=, or write an @asset_check",
        )
    printer.report(checked_report(found))
    return EXIT_FAILED if any(one.is_broken for one in found) else EXIT_DONE


def _is_checked(project: Project, asset: str) -> bool:
    from assets_core.execution.recheck import has_checks  # noqa: PLC0415 - loads numpy

    return has_checks(project.resolved, asset)


def _published(project: Project, facts: Facts, request: Request) -> dict[str, PartitionSet]:
    """Of the asked partitions those that have rows, by asset in topological order; only assets that something is said about."""
    from assets_core.planning.staleness import partition_facts  # noqa: PLC0415 - loads numpy
    from partitions.sets import PartitionSet  # noqa: PLC0415

    found: dict[str, PartitionSet] = {}
    for key in request.assets:
        if not _is_checked(project, key):
            continue
        mask = partition_facts(facts, facts.graph.spec(key)).readable.copy()
        if key in request.partitions:
            mask &= request.partitions[key].mask()
        found[key] = PartitionSet.from_mask(facts.indexes[key], mask)
    return found


def _checked(
    project: Project, facts: Facts, asset: str, chosen: PartitionSet, now: datetime
) -> Rechecked:
    from assets_core.execution.recheck import recheck  # noqa: PLC0415 - loads numpy
    from cli.render.checks import Rechecked  # noqa: PLC0415

    space = facts.graph.spec(asset).partitions.space
    outcomes: list[CheckOutcome] = []
    ids: list[int] = []
    waiting: list[CheckOutcome] = []
    for id_, said in recheck(project.resolved, facts, asset, chosen.slots(), now):
        ids.append(id_)
        waiting += (replace(one, partition_id=id_) for one in said)
        outcomes += said
        if len(ids) >= _RECORDED_AT_ONCE:
            project.store.record_checks(asset, space, ids, waiting, now)
            ids, waiting = [], []
    if ids:
        project.store.record_checks(asset, space, ids, waiting, now)
    return Rechecked(asset, len(chosen), tuple(outcomes))
