"""`partita runs`: what was run, how it ended, and what it said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.commands.found_runs import find_run, run_argument
from cli.commands.options import TOKEN, PartitaGroup, Settings, open_project
from cli.commands.run_control import cancel, resume, retry, watch

if TYPE_CHECKING:
    from assets_core.model.records import RunRecord
    from cli.project import Project


@click.group("runs", cls=PartitaGroup)
def command() -> None:
    """List, inspect, follow, stop and resume runs."""


for each in (watch, cancel, resume, retry):
    command.add_command(each)


@command.command("list")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="The latest so many.",
)
@click.pass_obj
def list_runs(settings: Settings, limit: int) -> int:
    """List the latest runs, newest first."""
    from cli.render.runs import runs_report  # noqa: PLC0415

    printer = settings.printer()
    project = open_project(settings)
    runs = project.store.runs(limit)
    alive = {run.id for run in runs if run.status.value == "running" and project.is_alive(run.id)}
    printer.report(runs_report(runs, alive=alive))
    return 0


@command.command("show")
@run_argument
@click.pass_obj
def show_run(settings: Settings, run: str) -> int:
    """Show how one run went.

    What was asked, how it went for each asset, failures, retries and checks.
    RUN may be shortened to as much as tells it from the others; `latest` is the latest.
    """
    from cli.commands.run_details import show_details  # noqa: PLC0415

    printer = settings.printer()
    project = open_project(settings)
    record = find_run(project, run)
    show_details(project, printer, record, alive=project.is_alive(record.id))
    return 0


@command.command("logs")
@run_argument
@click.argument("step", metavar="[ASSET[@KEY]]", required=False, type=TOKEN)
@click.pass_obj
def show_logs(settings: Settings, run: str, step: str | None) -> int:
    """Print the log of a run.

    What Partita noted, and what the functions of assets printed and logged.
    With ASSET or ASSET@KEY only the lines of that asset or step.
    """
    from assets_core.telemetry.run_log import step_word  # noqa: PLC0415
    from cli.commands.run_details import parsed_line  # noqa: PLC0415
    from cli.render.runs import log_report  # noqa: PLC0415

    printer = settings.printer()
    project = open_project(settings)
    record = find_run(project, run)
    lines = [parsed_line(one) for one in project.logs.read(record.id, record.started_at)]
    if step is not None:
        lines = [one for one in lines if _belongs(one["step"], step_word(step))]
        if not lines:
            _require_step(project, record, step)
    printer.report(log_report(record.id, lines))
    return 0


def _require_step(project: Project, record: RunRecord, name: str) -> None:
    """Raise SelectionError if the run had nothing to do with the asset that `name` begins with."""
    from assets_core.authoring.graph import hint_for  # noqa: PLC0415
    from assets_core.model.errors import SelectionError  # noqa: PLC0415

    asset = name.partition("@")[0]
    known = dict.fromkeys(step.asset for step in project.store.steps(record.id))
    if asset not in known:
        raise SelectionError(
            f"run {record.id} has no step of {asset!r}", hint=hint_for(asset, known)
        )


def _belongs(step: str, wanted: str) -> bool:
    return step == wanted or step.startswith(f"{wanted}@")
