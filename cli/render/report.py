"""What a command answers, before a format is chosen: one value that the printer writes as text, JSON, JSON lines or CSV."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cli.render.text import Block

    Json = Mapping[str, object]

ENVELOPE_VERSION: Final = 1
"""The number under "partita" in every JSON answer; it grows when a field changes its meaning or goes away."""


class Output(StrEnum):
    """The form of an answer on standard output."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"

    @property
    def is_for_machines(self) -> bool:
        """True if nothing but the answer may reach standard output."""
        return self is not Output.TABLE


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """A command's answer in its three shapes.

    `data` is the complete answer for JSON. `records` is its flat part, one mapping per row with the same keys in each, for JSON lines
    and CSV; `columns` names the keys for an answer that may have no row. `blocks` is the text for people.
    """

    command: str
    data: Json
    records: Sequence[Json]
    blocks: Sequence[Block]
    columns: tuple[str, ...] = ()

    def envelope(self) -> dict[str, object]:
        """The versioned JSON object around `data`."""
        return {"partita": ENVELOPE_VERSION, "command": self.command, "data": self.data}


@dataclass(frozen=True, slots=True)
class ErrorText:
    """An error as it is shown: `details` holds the user's traceback frames or the list of problems, one per line."""

    code: str
    message: str
    hint: str | None = None
    details: str = ""

    def envelope(self) -> dict[str, object]:
        """The versioned JSON object of an error."""
        error = {"code": self.code, "message": self.message, "hint": self.hint}
        if self.details:
            error["details"] = self.details
        return {"partita": ENVELOPE_VERSION, "error": error}
