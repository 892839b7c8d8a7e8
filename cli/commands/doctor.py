"""`partita doctor`: looks at everything that can be wrong, one thing after the other, and says what to do. Changes nothing."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assets_core.model.errors import UserCodeError
from cli import __version__
from cli.commands.options import PartitaCommand, Settings, open_project
from cli.render.doctor import Finding, Health, doctor_report
from cli.render.errors import EXIT_DONE, EXIT_FAILED, text_of_unexpected
from partitions.errors import PartitaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cli.project import Project

LIBRARIES = ("apsw", "click", "duckdb", "networkx", "numpy", "pendulum", "pyarrow", "pydantic")


@click.command("doctor", cls=PartitaCommand)
@click.pass_obj
def command(settings: Settings) -> int:
    """Check that everything is in working order.

    Versions, whether the project loads, the state file, destinations, lost data, runs that were cut off, and modules that hide
    Partita's own. Exits with 1 if there is a problem.
    """
    printer = settings.printer()
    findings = list(_examine(settings))
    printer.report(doctor_report(findings))
    bad = any(finding.health is Health.PROBLEM for finding in findings)
    return EXIT_FAILED if bad else EXIT_DONE


def _examine(settings: Settings) -> Iterator[Finding]:
    yield _environment()
    try:
        project = open_project(settings)
    except PartitaError as error:
        yield _problem("project", error)
        return
    yield from _hidden(project)
    yield from _guarded("state", lambda: _state(project))
    yield from _guarded("runs", lambda: _runs(project))
    try:
        count = len(project.resolved.graph)
    except PartitaError as error:
        yield _problem("project", error)
        return
    yield Finding("project", Health.FINE, f"{project.location.source} has {count} assets")
    yield from _guarded("destinations", lambda: _destinations(project))
    yield from _guarded("data", lambda: _data(project))


def _environment() -> Finding:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    found = []
    for library in LIBRARIES:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            return Finding(
                "environment",
                Health.PROBLEM,
                f"{library} is not installed in {sys.prefix}",
                "pip install --force-reinstall partita",
            )
    where = f"partita {__version__}, Python {platform.python_version()} on {platform.system()}"
    return Finding("environment", Health.FINE, f"{where}; {', '.join(found)}")


def _hidden(project: Project) -> Iterator[Finding]:
    from cli.project.location import hidden_packages, search_path  # noqa: PLC0415

    folders = dict.fromkeys(
        [*search_path(project.location), *(Path(one or ".") for one in sys.path)]
    )
    paths = [path for folder in folders for path in hidden_packages(folder)]
    if not paths:
        yield Finding("import names", Health.FINE, "no module hides one of Partita's packages")
    for path in paths:
        yield Finding(
            "import names",
            Health.PROBLEM,
            f"{path} has the name of a package of Partita's: one hides the other",
            f"rename it, for example to my_{path.stem if path.stem != '__init__' else path.parent.name}",
        )


def _state(project: Project) -> Iterator[Finding]:
    path = project.location.state
    if isinstance(path, str):
        yield _server(path)
        return
    if not path.exists():
        yield Finding("state", Health.FINE, f"{path} is not there yet; the first run makes it")
        return
    project.store.key_ids()  # refuses a file that is no state file, or a newer Partita's
    damage = project.state_damage(path)
    if damage:
        yield Finding(
            "state",
            Health.PROBLEM,
            f"{path} is damaged: {damage[0]}",
            f"move it away and run partita materialize: everything is made again, the tables stay in place\n"
            f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.damaged')}",
        )
        return
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        yield Finding(
            "state",
            Health.PROBLEM,
            f"{path} can't be written",
            "make the file and its folder writable",
        )
        return
    yield Finding("state", Health.FINE, f"{path} is sound ({path.stat().st_size / 1024:,.0f} KiB)")


def _server(address: str) -> Finding:
    from assets_core.state.postgres import PostgresStore  # noqa: PLC0415 - only where the state is there

    with PostgresStore(address) as store:
        server = store.server()
    where = f"PostgreSQL {server.version}, {server.place}"
    if not server.may_write:
        told = f"{where}: {server.user} may not write there"
        return Finding("state", Health.PROBLEM, told, server.grant)
    if not server.holds_state:
        told = f"{where}: no state yet; the first run makes it"
        return Finding("state", Health.FINE, told)
    return Finding("state", Health.FINE, f"{where}: answers, and may be written")


def _runs(project: Project) -> Iterator[Finding]:
    unfinished = project.store.unfinished_runs()
    for run in unfinished:
        holder = project.locks.holder(run.id)
        if holder is not None:
            yield Finding("runs", Health.FINE, f"run {run.id} is going on in {holder.place}")
        else:
            yield Finding(
                "runs",
                Health.NOTICE,
                f"run {run.id} was cut off: its process ended before it did",
                "the next partita materialize settles it first; nothing is lost",
            )
    if not unfinished:
        yield Finding("runs", Health.FINE, "no run was cut off")


def _destinations(project: Project) -> Iterator[Finding]:
    outline = project.resolved.outline
    used = {spec.io_manager for spec in outline.graph.specs.values()}
    for name in sorted(used):
        destination = outline.io_managers[name].destination()
        path = Path(destination)
        nearest = next((p for p in (path, *path.absolute().parents) if p.exists()), None)
        if nearest is not None and not os.access(nearest, os.W_OK):
            yield Finding(
                "destinations",
                Health.PROBLEM,
                f"{name} writes to {destination}, and {nearest} can't be written",
                "make it writable, or give the IO manager another path",
            )
        else:
            yield Finding("destinations", Health.FINE, f"{name} writes to {destination}")


def _data(project: Project) -> Iterator[Finding]:
    from datetime import UTC, datetime  # noqa: PLC0415

    from assets_core.planning.planner import space_changed  # noqa: PLC0415
    from cli.commands.conditions import statuses_of  # noqa: PLC0415
    from cli.render.statuses import again_command  # noqa: PLC0415

    facts = project.facts(datetime.now(UTC))
    redefined = [
        space_changed(facts, key) for key in facts.graph.order if key in facts.state.other_spaces
    ]
    for error in redefined:
        yield _problem("data", error)
    lost = [one for one in statuses_of(facts, project.store, facts.graph.order) if one.lost]
    for status in lost:
        yield Finding(
            "data",
            Health.PROBLEM,
            f"{status.asset} was materialized, but {project.location_of(status.asset)} no longer has {status.lost}",
            again_command(status.asset, reads=bool(facts.graph.upstream(status.asset))),
        )
    if not lost and not redefined:
        yield Finding("data", Health.FINE, "everything that was materialized is where it was put")


def _guarded(subject: str, examine: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """One examination; an error in it is a finding, so that the others still take place."""
    try:
        yield from examine()
    except PartitaError as error:
        yield _problem(subject, error)
    except Exception as error:  # noqa: BLE001 - a doctor does not faint; the story is kept
        told = text_of_unexpected(error)
        yield Finding(subject, Health.PROBLEM, told.message, told.hint)


def _problem(subject: str, error: PartitaError) -> Finding:
    hint = error.hint
    if isinstance(error, UserCodeError) and error.frames:
        hint = (
            f"{hint}\npartita list shows the frames" if hint else "partita list shows the frames"
        )
    return Finding(subject, Health.PROBLEM, error.message, hint)
