"""Working on a project beside runs, or alone, and settling what runs of dead processes left: for every command that changes something."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cli.project.location import make_state_folder
from cli.render.runs import recovered_line, waiting_line

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def settle_crashed(project: Project, printer: Printer, only: str | None = None) -> None:
    """Say what became of the steps of runs whose processes are dead, or of one such run. Called within one of the blocks above."""
    from assets_core.execution.recovery import recover  # noqa: PLC0415 - loads numpy

    for crashed in recover(
        project.outline, project.store, project.locks, datetime.now(UTC), only=only
    ):
        printer.note(recovered_line(crashed.id))
