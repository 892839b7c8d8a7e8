"""Looking at a project without changing it: what a command then does without, and says so in one line instead of failing or waiting."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from assets_core.model.errors import IOManagerError
    from cli.project import Project
    from cli.render.printer import Printer

PATIENCE: Final = timedelta(seconds=1)
"""How long somebody who has a destination to himself is waited for."""


def look_only(project: Project, printer: Printer) -> None:
    """Let the command go on where the state may not be written, and where a destination does not answer."""
    if project.store.is_read_only:
        from cli.render.runs import read_only_line  # noqa: PLC0415 - rare

        printer.note(read_only_line(project.location.state))
    project.go_on_without(Unlooked(printer).tell, PATIENCE)


class Unlooked:
    """Takes in which assets can't be looked at, and tells each reason once."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._told: set[str] = set()
        self.assets: set[str] = set()

    def tell(self, asset: str, error: IOManagerError) -> None:
        """The destination of this asset does not say what it has."""
        self.assets.add(asset)
        if error.message not in self._told:
            from cli.render.runs import unlooked_line  # noqa: PLC0415 - rare

            self._told.add(error.message)
            self._printer.note(unlooked_line(error.message))
