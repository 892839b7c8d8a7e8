"""Runs that are going on or have ended, and what may be done about them: watch, cancel, resume, retry. Part of `partita runs`."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import click

from cli.commands.found_runs import find_run, run_argument
from cli.commands.options import PartitaCommand, Settings, open_project
from cli.commands.run_options import RunOptions, run_options
from cli.render.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED

if TYPE_CHECKING:
    from assets_core.model.records import RunRecord
    from assets_core.state.locks import LockHolder
    from cli.project import Project
    from cli.render.printer import Printer

_POLL_SECONDS = 0.2
_EXIT_CODES = {"succeeded": EXIT_DONE, "cancelled": EXIT_INTERRUPTED}


@click.command("watch", cls=PartitaCommand)
@run_argument
@click.pass_obj
def watch(settings: Settings, run: str) -> int:
    """Follow a run until it ends.

    Prints the lines of its log as they come, then how it went. Exits with 0 if it succeeded, 1 if it failed or crashed, 130
    if it was cancelled. Ctrl-C ends the watching and not the run.
    """
    from cli.commands.run_details import parsed_line, show_details  # noqa: PLC0415
    from cli.render.report import Output  # noqa: PLC0415

    project, printer = open_project(settings), settings.printer()
    record = find_run(project, run)
    position = 0
    while True:
        going_on = _is_going_on(project, record)
        lines, position = project.logs.read_on(record.id, record.started_at, position)
        for one in lines:
            if printer.output is Output.JSONL:
                printer.record(parsed_line(one))
            else:
                printer.note(one)
        record = project.store.run(record.id) or record
        if not going_on:
            break
        time.sleep(_POLL_SECONDS)
    if printer.output is not Output.JSONL:
        show_details(project, printer, record, alive=False)
    return _EXIT_CODES.get(record.status.value, EXIT_FAILED)


@click.command("cancel", cls=PartitaCommand)
@run_argument
@click.option(
    "--now", is_flag=True, help="End its process at once; the next run settles the rest."
)
@click.pass_obj
def cancel(settings: Settings, run: str, *, now: bool) -> int:
    """Stop a run that is going on, and wait until it has stopped.

    Running commits are finished, steps are asked to end, everything else is cancelled. What is done stays done.
    """
    from assets_core.model.errors import SelectionError  # noqa: PLC0415
    from cli.render.runs import cancelled_report  # noqa: PLC0415

    project, printer = open_project(settings), settings.printer()
    record = find_run(project, run)
    holder = _holder_of(project, record)
    if holder is None:
        if record.status.value != "running":
            raise SelectionError(
                f"run {record.id} has ended already: it {record.status}",
                hint=f"partita runs show {record.id} shows how",
            )
        _settle(project, printer, record)
    else:
        _require_this_machine(record, holder)
        _signal(holder.process_id, signal.SIGKILL if now else signal.SIGINT)
        printer.note(f"waiting for run {record.id} to stop")
        while _is_going_on(project, record):
            time.sleep(_POLL_SECONDS)
        if now:
            _settle(project, printer, record)
    ended = project.store.run(record.id) or record
    printer.report(cancelled_report(ended))
    return 0


@click.command("resume", cls=PartitaCommand)
@run_argument
@run_options
@click.pass_obj
def resume(settings: Settings, /, run: str, **options: object) -> int:
    """Run what a run planned and did not finish.

    What failed, was skipped or cancelled, or was never begun; not what somebody else has done since.
    """
    return _again(settings, run, RunOptions.of(options), failed_only=False)


@click.command("retry", cls=PartitaCommand)
@run_argument
@run_options
@click.pass_obj
def retry(settings: Settings, /, run: str, **options: object) -> int:
    """Run what failed in a run, and what was skipped because of that."""
    return _again(settings, run, RunOptions.of(options), failed_only=True)


def _again(settings: Settings, run: str, options: RunOptions, *, failed_only: bool) -> int:
    from assets_core.model.errors import SelectionError  # noqa: PLC0415
    from cli.commands.planning_again import AskedAgain  # noqa: PLC0415 - loads numpy
    from cli.commands.running import Order, run_order  # noqa: PLC0415

    project, printer = open_project(settings), settings.printer()
    record = find_run(project, run)
    if _is_going_on(project, record):
        raise SelectionError(
            f"run {record.id} is still going on",
            hint=f"wait for it: partita runs watch {record.id}, or stop it: partita runs cancel {record.id}",
        )
    source = AskedAgain(record, failed_only=failed_only)
    command = "runs retry" if failed_only else "runs resume"
    return run_order(project, printer, Order(command, record.kind, source, options))


def _is_going_on(project: Project, record: RunRecord) -> bool:
    """True while the run's process lives."""
    return _holder_of(project, record) is not None


def _holder_of(project: Project, record: RunRecord) -> LockHolder | None:
    return project.locks.holder(record.id)


def _settle(project: Project, printer: Printer, record: RunRecord) -> None:
    """Its process is dead: say what became of its steps now, rather than before the next run."""
    from assets_core.model.errors import IOManagerError  # noqa: PLC0415
    from cli.commands.taking_part import beside_runs, settle_crashed  # noqa: PLC0415

    with beside_runs(project, printer, "runs cancel"):
        for one in settle_crashed(project, printer, only=record.id):
            raise IOManagerError(
                f"run {record.id} is dead and can't be settled: {one.why.message}",
                hint=one.why.hint,
            )


def _require_this_machine(record: RunRecord, holder: LockHolder) -> None:
    import socket  # noqa: PLC0415 - only to cancel

    from assets_core.model.errors import SelectionError  # noqa: PLC0415

    if holder.host and holder.host != socket.gethostname():
        raise SelectionError(
            f"run {record.id} is going on in {holder.place}, and can be stopped only from there",
            hint=f"on {holder.host}, type: partita runs cancel {record.id}",
        )


def _signal(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return  # it ended by itself meanwhile
