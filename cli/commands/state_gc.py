"""`partita state gc`: remove what nothing refers to any more. What that is, `execution.garbage` decides."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from cli.commands.options import PartitaCommand, Settings, open_project
from cli.commands.taking_part import beside_runs, settle_crashed
from cli.render.errors import EXIT_DONE
from cli.render.state_file import Garbage, collected_report

if TYPE_CHECKING:
    from cli.project import Project

_AGE = re.compile(r"(?P<count>\d{1,6})(?P<unit>[hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class _Age(click.ParamType[timedelta]):
    """`12h`, `30d`, `4w`."""

    name = "age"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        found = _AGE.fullmatch(value)
        if found is None:
            self.fail(f"{value!r} is no age; write 12h, 30d or 4w", param, ctx)
        return timedelta(**{_UNITS[found["unit"]]: int(found["count"])})


@click.command("gc", cls=PartitaCommand)
@click.option(
    "--logs-older-than",
    "log_age",
    metavar="AGE",
    type=_Age(),
    help="Remove logs of runs that started longer ago as well: 30d, 4w.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.pass_obj
def gc(settings: Settings, log_age: timedelta | None, *, dry_run: bool) -> int:
    """Remove what nothing refers to any more.

    What attempts that are over left in the stages of destinations, scratch files of processes that are dead, and old logs if asked
    for. Rows, and what a run may still publish, are never touched. Settles crashed runs first.
    """
    printer = settings.printer()
    project = open_project(settings)
    if dry_run:
        found = _collect(project, log_age, remove=False)
    else:
        with beside_runs(project, printer, "state gc"):
            settle_crashed(project, printer)
            found = _collect(project, log_age, remove=True)
    printer.report(collected_report(found, is_dry=dry_run))
    return EXIT_DONE


def _collect(project: Project, log_age: timedelta | None, *, remove: bool) -> list[Garbage]:
    from assets_core.execution.garbage import find_garbage  # noqa: PLC0415

    now = datetime.now(UTC)
    found = []
    for manager, leftover in find_garbage(project.outline, project.store, now):
        kind = "scratch" if leftover.token is None else "stage"
        if remove:
            manager.remove_leftover(leftover)
        found.append(Garbage(kind, leftover.path, leftover.bytes))
    if log_age is not None:
        alive = {run.id for run in project.store.unfinished_runs()}
        for folder in project.logs.older_than((now - log_age).date()):
            if folder.name in alive:
                continue
            size = sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
            if remove:
                project.logs.remove(folder)
            found.append(Garbage("log", str(folder), size))
    return found
