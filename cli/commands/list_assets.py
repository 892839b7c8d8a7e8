"""`partita list`: the assets of a project, from the manifest."""

from __future__ import annotations

import click

from cli.commands.options import TOKEN, PartitaCommand, Settings, complete_assets, open_project
from cli.render.listing import list_report


@click.command("list", cls=PartitaCommand)
@click.argument(
    "words", metavar="[SELECT]...", nargs=-1, type=TOKEN, shell_complete=complete_assets
)
@click.pass_obj
def command(settings: Settings, words: tuple[str, ...]) -> int:
    """List the assets of the project.

    In topological order, each after everything that it reads. The project's modules are imported only if one of them
    changed since the last time, or if the selection asks for a status.
    """
    from cli.commands.manifest_graph import select_from_manifest  # noqa: PLC0415 - `--help` needs none of it

    printer = settings.printer()
    project = open_project(settings)
    printer.report(list_report(select_from_manifest(project, words)))
    return 0
