"""`partita materialize`: run what is stale."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cli.commands.options import HintedUsageError, PartitaCommand, Settings, open_project
from cli.commands.request import Words, mode_of, selection_options
from cli.commands.run_options import RunOptions, run_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.commands.planning import Source


@click.command("materialize", cls=PartitaCommand)
@selection_options
@click.option(
    "--plan",
    "plan_file",
    metavar="FILE",
    type=click.Path(allow_dash=True),
    help="Run exactly this plan, written by `plan -o json`; - reads standard input.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan and run nothing.")
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
    plan_file: str | None,
    dry_run: bool,
    **options: object,
) -> int:
    """Run what is stale.

    What would run is what `partita plan` shows for the same words. A partition that fails holds up only what reads it. Ctrl-C
    stops clean: running commits are finished, the rest is cancelled; a second one ends at once. With --plan exactly the plan
    in FILE is run, or nothing if it would not come out the same now. Exits with 1 then, and if a step or a check failed.
    """
    if plan_file is not None:
        _require_nothing_else(
            words,
            {
                "--partitions": partitions,
                "--from": from_,
                "--to": to,
                "--force": force,
                "--missing": missing,
                "--upstream": upstream,
                "--downstream": downstream,
            },
        )
    from assets_core.model.records import RunKind  # noqa: PLC0415
    from cli.commands.planning import Asked, AskedBefore, show_plan  # noqa: PLC0415 - loads numpy
    from cli.commands.running import Order, run_order  # noqa: PLC0415

    project, printer = open_project(settings), settings.printer()
    source: Source
    if plan_file is None:
        mode = mode_of(force=force, missing=missing)
        source = Asked(Words(words, partitions, from_, to), mode, upstream, downstream)
    else:
        from cli.commands.plan_file import read_plan  # noqa: PLC0415 - loads pydantic

        # Before the project is loaded: that changes to its root, and the path is relative to where it was typed.
        source = AskedBefore(read_plan(plan_file))
    if dry_run:
        return show_plan(project, printer, "materialize", source, now=datetime.now(UTC))
    return run_order(
        project,
        printer,
        Order("materialize", RunKind.MATERIALIZE, source, RunOptions.of(options)),
    )


def _require_nothing_else(words: tuple[str, ...], options: Mapping[str, object]) -> None:
    """Raise a usage error if anything else says what is to be run: a saved plan does."""
    given = [*words[:1], *(name for name, value in options.items() if value not in {None, False})]
    if given:
        raise HintedUsageError(
            f"--plan says all of what is run, and {given[0]} says something as well",
            "leave one out; what a plan is about is said when it is made: partita plan … -o json",
        )
