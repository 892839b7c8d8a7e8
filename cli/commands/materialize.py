"""`partita materialize`: run what is stale."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from cli.commands.options import PartitaCommand, Settings, open_project
from cli.commands.request import Words, mode_of, selection_options


@click.command("materialize", cls=PartitaCommand)
@selection_options
@click.option("--dry-run", is_flag=True, help="Show the plan and run nothing.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
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
    dry_run: bool,
    fail_fast: bool,
) -> int:
    """Run what is stale.

    What would run is what `partita plan` shows for the same words. A partition that fails holds up only what reads it. Ctrl-C
    stops clean: running commits are finished, the rest is cancelled; a second one ends at once. Exits with 1 if a step or a
    check failed.
    """
    from assets_core.model.records import RunKind  # noqa: PLC0415
    from cli.commands.planning import show_plan  # noqa: PLC0415 - loads numpy
    from cli.commands.running import Order, run_order  # noqa: PLC0415

    project, printer = open_project(settings), settings.printer()
    asked = Words(words, partitions, from_, to)
    mode = mode_of(force=force, missing=missing)
    if dry_run:
        return show_plan(
            project,
            printer,
            "materialize",
            asked,
            mode,
            now=datetime.now(UTC),
            upstream=upstream,
            downstream=downstream,
        )
    order = Order("materialize", RunKind.MATERIALIZE, asked, mode, upstream, downstream, fail_fast)
    return run_order(project, printer, order)
