"""Working on a project beside runs, or alone, and settling what runs of dead processes left: for every command that changes something."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cli.project.location import make_state_folder
from cli.render.runs import recovered_line, unsettled_line, waiting_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets_core.execution.recovery import Unsettled
    from cli.project import Project
    from cli.render.printer import Printer


@contextmanager
def beside_runs(project: Project, printer: Printer, purpose: str) -> Iterator[None]:
    """Keep maintenance out for as long as the block takes, and runs not."""
    make_state_folder(project.location.folder)
    name = f"{purpose} in process {os.getpid()}"  # several may do the same at once
    with project.locks.join(name, on_wait=lambda holder: printer.note(waiting_line(holder))):
        yield


@contextmanager
def alone(project: Project, printer: Printer, purpose: str) -> Iterator[None]:
    """Wait until nobody works on the project, and keep everybody out for as long as the block takes."""
    make_state_folder(project.location.folder)
    with project.locks.exclude(purpose, on_wait=lambda holder: printer.note(waiting_line(holder))):
        yield


def settle_crashed(
    project: Project, printer: Printer, only: str | None = None
) -> tuple[Unsettled, ...]:
    """Say what became of the steps of runs whose processes are dead, or of one such run. Called within one of the blocks above.

    Answers what can't be settled, because a destination does not answer; that is told as well.
    """
    from assets_core.execution.recovery import recover  # noqa: PLC0415 - loads numpy

    found: list[Unsettled] = []

    def unsettled(one: Unsettled) -> None:
        found.append(one)
        printer.note(unsettled_line(one, _names(project, one)))

    for crashed in recover(
        project.outline,
        project.store,
        project.locks,
        datetime.now(UTC),
        only=only,
        unsettled=unsettled,
    ):
        printer.note(recovered_line(crashed.id))
    return tuple(found)


def _names(project: Project, unsettled: Unsettled) -> list[str]:
    """What its steps worked on, as people write it."""
    from cli.commands.conflicts import partitions_of  # noqa: PLC0415 - loads numpy

    key_ids, now = project.store.key_ids(), datetime.now(UTC)
    return [
        f"{step.asset}@{key}" if key else step.asset
        for step in unsettled.steps
        for key in partitions_of(
            step, project.outline.graph.spec(step.asset).partitions.index(now, key_ids)
        )
    ]
