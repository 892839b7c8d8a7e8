"""`partita state`: look after the state file."""

from __future__ import annotations

import os
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.commands.options import (
    TOKEN,
    HintedUsageError,
    PartitaGroup,
    Settings,
    complete_assets,
    open_project,
)
from cli.commands.state_gc import gc
from cli.commands.taking_part import alone, settle_crashed
from cli.render.errors import EXIT_DONE, EXIT_FAILED
from cli.render.state_file import (
    Restart,
    compacted_report,
    migrated_report,
    restart_lines,
    restart_report,
    verified_report,
)

if TYPE_CHECKING:
    from assets_core.model.io_manager import IOManager, Target
    from cli.project import Project
    from cli.render.printer import Printer


@click.group("state", cls=PartitaGroup)
def command() -> None:
    """Verify, compact, move or clean up the state, or let that of an asset begin anew."""


command.add_command(gc)


@command.command("verify")
@click.option("--state-only", is_flag=True, help="Do not ask the destinations.")
@click.option("--deep", is_flag=True, help="Also read every partition, and count its rows.")
@click.pass_obj
def verify(settings: Settings, *, state_only: bool, deep: bool) -> int:
    """Check the state against its own laws, and against what destinations have.

    The log is the truth: everything that was made from it to load faster is made again and compared. Then every destination is asked
    for all that it has; with --deep every row is read, so that damaged bytes and missing rows are found. Changes nothing.
    """
    from assets_core.execution.holdings import compare_holdings  # noqa: PLC0415

    if deep and state_only:
        raise HintedUsageError(
            "--deep and --state-only contradict each other",
            "--deep reads what destinations have; leave one out",
        )
    printer = settings.printer()
    project = open_project(settings)
    problems = project.store.verify()
    if not problems and deep:
        from assets_core.execution.rereading import reread  # noqa: PLC0415 - loads numpy

        problems = reread(project.outline, project.store, datetime.now(UTC))
    elif not problems and not state_only:
        problems = compare_holdings(project.outline, project.store)
    printer.report(verified_report(problems, state_only=state_only, deep=deep))
    return EXIT_FAILED if problems else EXIT_DONE


@command.command("compact")
@click.option("--rebuild", is_flag=True, help="Make everything anew from the log.")
@click.pass_obj
def compact(settings: Settings, *, rebuild: bool) -> int:
    """Fold the log into chunks that load fast.

    Runs do so by themselves from time to time. The log itself stays. With --rebuild chunks that are damaged are replaced too.
    """
    printer = settings.printer()
    done = open_project(settings).store.compact(datetime.now(UTC), rebuild=rebuild)
    printer.report(compacted_report(done.rows, done.chunks))
    return EXIT_DONE


@command.command("migrate")
@click.option(
    "--to",
    "target",
    metavar="ADDRESS|FILE",
    required=True,
    help="A PostgreSQL address, or a state file.",
)
@click.pass_obj
def migrate(settings: Settings, target: str) -> int:
    """Copy the state to PostgreSQL, or from there to a file.

    The target must be empty. It gets everything in one transaction, or nothing; the old state is left as it is. Waits for a run that
    is going on. Afterwards `state` in pyproject.toml is to be changed: the command says to what.
    """
    from cli.project import open_store  # noqa: PLC0415
    from cli.project.location import place_of_state, setting_of  # noqa: PLC0415

    printer = settings.printer()
    project = open_project(settings)
    place = place_of_state(target, Path.cwd())
    if isinstance(place, Path):
        place = Path(os.path.normpath(place))  # as it is to stand in pyproject.toml
    with alone(project, printer, "state migrate"), open_store(place) as store:
        counts = project.store.copy_to(store)
    location = project.location
    folders = (str(location.folder), str(location.folder_beside(place)))
    printer.report(migrated_report(counts, setting_of(target, place, location.root), *folders))
    return EXIT_DONE


@command.command("restart")
@click.argument("asset", metavar="ASSET", type=TOKEN, shell_complete=complete_assets)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.pass_obj
def restart(settings: Settings, asset: str, *, yes: bool, dry_run: bool) -> int:
    """Remove an asset's rows for good and let its state begin anew.

    The next plan then says of all its partitions that they were never materialized. For an asset whose partitions were redefined, or
    whose rows are to be made from nothing. What reads it becomes stale once it is made again. Cut off midway, type it again.
    """
    printer = settings.printer()
    project = open_project(settings)
    found = _restart_of(project, asset, dry_run=dry_run)
    if not dry_run:
        if not yes and not _is_agreed(printer, found):
            return EXIT_FAILED
        _carry_out(project, printer, asset)
    printer.report(restart_report(found))
    return EXIT_DONE


def _restart_of(project: Project, asset: str, *, dry_run: bool) -> Restart:
    graph = project.outline.graph
    space = graph.spec(asset).partitions.space
    recorded = project.store.spaces(asset)
    return Restart(
        asset, project.location_of(asset), space, recorded, graph.downstream(asset), dry_run
    )


def _is_agreed(printer: Printer, found: Restart) -> bool:
    again = f"partita state restart {shlex.quote(found.asset)}"
    if not printer.can_ask():
        raise HintedUsageError(
            f"the rows of {found.asset} would be removed for good, and nobody is there to agree to it",
            f"{again} --yes; with --dry-run it shows what would go",
        )
    for told in restart_lines(found):
        printer.note(told)
    if printer.asks(f"Remove the rows of {found.asset}?"):
        return True
    printer.note("nothing was changed")
    return False


def _carry_out(project: Project, printer: Printer, asset: str) -> None:
    """Rows first, then the state: cut off in between, the rows count as lost, and the same command does the rest."""
    from assets_core.authoring.edges import rejected_target  # noqa: PLC0415 - loads numpy

    with alone(project, printer, "state restart"):
        settle_crashed(project, printer)
        outline = project.outline
        _remove_rows(outline.manager(asset), outline.target(asset))
        # Also where the contract has stopped to quarantine: what it kept out before is still there.
        rejected = rejected_target(outline.target(asset))
        if rejected.asset.casefold() not in {key.casefold() for key in outline.graph.specs}:
            _remove_rows(outline.manager(asset), rejected)
        project.store.restart(asset, datetime.now(UTC))


def _remove_rows(manager: IOManager, target: Target) -> None:
    from io_managers.refusals import users_own  # noqa: PLC0415 - what else loads it loads rows

    what = f"{manager.location(target)} can't be removed"
    with users_own(f"{type(manager).__name__}.remove", what):
        manager.remove(target)
