"""Reading a saved plan from a file or standard input: it comes from outside, so everything in it is checked before it is believed.

Decided here: whether the text is a complete plan of a format that this Partita knows. Whether it fits the project is decided by
`planning.saved_plan`, whether it may still run by `planning.movement`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from assets_core.model.errors import PlanError
from assets_core.planning.planner import Mode
from assets_core.planning.reasons import Reason
from assets_core.planning.saved_plan import (
    NEW_PLAN,
    PLAN_FORMAT,
    SavedPlan,
    SavedRequest,
    SavedRow,
    SavedSet,
    SavedVersions,
)
from cli.render.report import ENVELOPE_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

STDIN = "-"
_MAKERS = ("plan", "materialize", "backfill")
"""Commands whose JSON answer is a plan: the last two with `--dry-run`."""


class _Model(BaseModel):
    # What people need and a run does not (text, sums) may be there too.
    model_config = ConfigDict(extra="ignore", strict=True)


Count = Annotated[int, Field(ge=0)]
Id = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class _Set(_Model):
    count: Count
    ids: list[tuple[Id, Id]]
    expression: str | None = None

    def value(self) -> SavedSet:
        return SavedSet(self.count, tuple(self.ids), self.expression)
