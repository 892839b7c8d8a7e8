"""`partita backfill`: what is stale in a named range of named assets, recorded as a backfill."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from cli.commands.options import HintedUsageError, PartitaCommand, Settings, open_project
from cli.commands.request import Words, mode_of, selection_options
from cli.commands.run_options import RunOptions, run_options


@click.command("backfill", cls=PartitaCommand)
@selection_options
@click.option("--dry-run", is_flag=True, help="Show the plan and run nothing.")
@click.option(
    "--detach",
    is_flag=True,
    help="Run in the background, where it outlives this terminal.",
)
@run_options
@click.pass_obj
def command(
    settings: Settings,
    /,
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
    detach: bool,
    **options: object,
) -> int:
    """Run what is stale in a range of partitions, as a durable run.

    Unlike materialize it wants both SELECT and RANGE, so that history is never recomputed by accident. With --force all of the
    range is run. What a broken-off backfill has done stays done: the same command again runs the rest.
    """
    from assets_core.model.records import RunKind  # noqa: PLC0415
    from cli.commands.planning import Asked, show_plan  # noqa: PLC0415 - loads numpy
    from cli.commands.running import Order, run_order  # noqa: PLC0415

    if not words:
        raise HintedUsageError(
            "a backfill needs assets and a range of partitions",
            "for example: partita backfill orders 2025-01-01...2025-01-31",
        )
    project, printer = open_project(settings), settings.printer()
    asked = Asked(
        Words(words, partitions, from_, to, needs_both=True),
        mode_of(force=force, missing=missing),
        upstream,
        downstream,
    )
    if dry_run:
        return show_plan(project, printer, "backfill", asked, now=datetime.now(UTC))
    if detach:
        from cli.commands.detaching import run_detached  # noqa: PLC0415

        typed = [*asked.as_arguments(), *RunOptions.of(options).as_arguments()]
        return run_detached(project, printer, ["backfill", *typed])
    return run_order(
        project, printer, Order("backfill", RunKind.BACKFILL, asked, RunOptions.of(options))
    )
