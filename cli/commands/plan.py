"""`partita plan`: what would run, and why. Reads only."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from cli.commands.options import PartitaCommand, Settings, open_project
from cli.commands.request import Words, mode_of, selection_options


@click.command("plan", cls=PartitaCommand)
@selection_options
@click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 5 if there is something to run."
)
@click.pass_obj
def command(
    settings: Settings,
    words: tuple[str, ...],
    partitions: str | None,
    from_: str | None,
    to: str | None,
    *,
    force: bool,
    missing: bool,
    upstream: bool,
    downstream: bool,
    detailed_exitcode: bool,
) -> int:
    """Show what would run, and why.

    SELECT names assets: orders, +orders, orders+, group:bronze, "tag:k=v and not status:fresh". RANGE names partitions:
    2025-01-31, 2025-01, 2025-01-01...2025-01-31, latest:7, -7d...today. Without SELECT it is about all assets, without
    RANGE about all partitions. Nothing is run or changed. With -o json the answer can be kept and run later, exactly as it
    is: materialize --plan FILE.
    """
    from cli.commands.planning import Asked, show_plan  # noqa: PLC0415 - loads numpy

    printer = settings.printer()
    return show_plan(
        open_project(settings),
        printer,
        "plan",
        Asked(
            Words(words, partitions, from_, to),
            mode_of(force=force, missing=missing),
            upstream,
            downstream,
        ),
        now=datetime.now(UTC),
        detailed_exitcode=detailed_exitcode,
    )
