"""`partita state`: look after the state file."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from cli.commands.options import PartitaGroup, Settings, open_project
from cli.render.errors import EXIT_DONE, EXIT_FAILED
from cli.render.state_file import compacted_report, verified_report


@click.group("state", cls=PartitaGroup)
def command() -> None:
    """Verify and compact the state."""


@command.command("verify")
@click.pass_obj
def verify(settings: Settings) -> int:
    """Check the state file against its own laws.

    The log is the truth: everything that was made from it to load faster is made again and compared. Reads the whole file.
    """
    printer = settings.printer()
    problems = open_project(settings).store.verify()
    printer.report(verified_report(problems))
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
