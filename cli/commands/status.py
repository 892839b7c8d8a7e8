"""`partita status`: how fresh each asset is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.commands.options import TOKEN, PartitaCommand, Settings, complete_assets, open_project

if TYPE_CHECKING:
    from cli.render.statuses import AssetStatus


@click.command("status", cls=PartitaCommand)
@click.argument(
    "words", metavar="[SELECT]...", nargs=-1, type=TOKEN, shell_complete=complete_assets
)
@click.pass_obj
def command(settings: Settings, words: tuple[str, ...]) -> int:
    """Show how fresh each asset is.

    Counts partitions by condition, tells when rows were last published, and draws the partitions from first to last. Asks every
    destination whether it still has what was written there, and names partitions whose rows have an older schema.
    """
    from datetime import UTC, datetime  # noqa: PLC0415 - `--help` needs none of it

    from cli.commands.conditions import are_few, statuses_of  # noqa: PLC0415
    from cli.commands.looking import look_only  # noqa: PLC0415
    from cli.commands.request import select  # noqa: PLC0415
    from cli.render.statuses import status_report  # noqa: PLC0415

    printer = settings.printer()
    project = open_project(settings)
    look_only(project, printer)
    facts = project.facts(datetime.now(UTC))
    assets = select(facts.graph, words, facts)
    statuses: list[AssetStatus] = statuses_of(
        facts, project.store, assets, schemas=bool(words) or are_few(facts, assets)
    )
    printer.report(status_report(statuses, unicode=printer.unicode))
    return 0
