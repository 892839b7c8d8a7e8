"""The RUN argument of all commands about runs, and finding the run that it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.commands.options import TOKEN

if TYPE_CHECKING:
    from assets_core.model.records import RunRecord
    from cli.project import Project

run_argument = click.argument("run", metavar="RUN", type=TOKEN)


def find_run(project: Project, given: str) -> RunRecord:
    """The run whose id begins with `given`, or the latest for `latest`. Raises SelectionError for none or several."""
    from assets_core.model.errors import SelectionError  # noqa: PLC0415

    if (exact := project.store.run(given)) is not None:
        return exact
    every = project.store.runs(1_000_000)
    found = [run for run in every if run.id.startswith(given)] if given else []
    if given == "latest":
        found = every[:1]
    if len(found) == 1:
        # The list leaves plans out.
        return project.store.run(found[0].id) or found[0]
    if found:
        ids = ", ".join(run.id for run in found[:5])
        raise SelectionError(
            f"{given!r} begins the ids of {len(found)} runs: {ids}", hint="type more of it"
        )
    latest = f"the latest is {every[0].id}" if every else "nothing was run in this project yet"
    raise SelectionError(
        f"there is no run {given!r}", hint=f"{latest}; partita runs list shows them"
    )
