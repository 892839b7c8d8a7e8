"""Reading a saved plan from a file or standard input: it comes from outside, so everything in it is checked before it is believed.

Decided here: whether the text is a complete plan of a format that this Partita knows. Whether it fits the project is decided by
`planning.saved_plan`, whether it may still run by `planning.movement`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
)

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

STDIN: Final = "-"
_MAKERS: Final = ("plan", "materialize", "backfill")
"""Commands whose JSON answer is a plan: the last two with `--dry-run`."""
_REASONS: Final = {reason.word: reason for reason in Reason if reason is not Reason.FRESH}
_OLDEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_NEWEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""No plan is older or newer; near the first and the last year that a calendar has, zones run out of it."""


def _reason(word: object) -> Reason:
    if not isinstance(word, str) or word not in _REASONS:
        raise ValueError(f"there is no reason {word!r}")
    return _REASONS[word]


Count = Annotated[int, Field(ge=0)]
Id = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class _Model(BaseModel):
    # What people need and a run does not (sums, words) may be there too.
    model_config = ConfigDict(extra="ignore", strict=True)


def _forward(run: tuple[int, int]) -> tuple[int, int]:
    if run[0] >= run[1]:
        raise ValueError(f"the ids {run[0]} to {run[1]} are no run")
    return run


class _Set(_Model):
    count: Count
    ids: list[Annotated[tuple[Id, Id], AfterValidator(_forward)]]
    expression: str | None = None
    text: str = ""

    def value(self) -> SavedSet:
        return SavedSet(self.count, tuple(self.ids), self.expression, self.text)


class _Row(_Model):
    reason: Annotated[Reason, PlainValidator(_reason)]
    cause: str | None
    partitions: _Set

    def value(self) -> SavedRow:
        return SavedRow(self.reason, self.cause, self.partitions.value())


class _Asset(_Model):
    asset: str
    rows: list[_Row]


class _Versions(_Model):
    space: str
    code: str
    deps: str

    def value(self) -> SavedVersions:
        return SavedVersions(self.space, self.code, self.deps)


class _Request(_Model):
    selection: str
    range: str
    assets: list[str]
    partitions: dict[str, _Set]
    mode: Mode
    upstream: bool
    downstream: bool

    def value(self) -> SavedRequest:
        return SavedRequest(
            selection=self.selection,
            range_text=self.range,
            assets=tuple(self.assets),
            partitions={asset: chosen.value() for asset, chosen in self.partitions.items()},
            mode=self.mode,
            upstream=self.upstream,
            downstream=self.downstream,
        )


class _Plan(_Model):
    seq: Count
    made_at: Annotated[AwareDatetime, Field(gt=_OLDEST, lt=_NEWEST)]
    state_id: str
    request: _Request
    versions: dict[str, _Versions]
    assets: list[_Asset]

    def value(self) -> SavedPlan:
        return SavedPlan(
            seq=self.seq,
            made_at=self.made_at.astimezone(UTC),
            state_id=self.state_id,
            request=self.request.value(),
            versions={asset: was.value() for asset, was in self.versions.items()},
            rows={
                part.asset: tuple(row.value() for row in part.rows)
                for part in self.assets
                if part.rows
            },
        )


class _Envelope(_Model):
    data: _Plan


def read_plan(path: str) -> SavedPlan:
    """The plan in a file, or on standard input for "-". Raises PlanError unless it is a complete one that this Partita can read."""
    name = "standard input" if path == STDIN else repr(path)
    return plan_of(_text_of(path, name), name)


def plan_of(text: str, name: str) -> SavedPlan:
    """The plan in a text; `name` says in errors where that comes from. Raises PlanError as `read_plan`."""
    _require_plan(text, name)
    try:
        plan = _Envelope.model_validate_json(text).data
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        told = first["msg"].lower()
        raise _unreadable(name, f"`{place}`: {told}" if place else told) from error
    named = [part.asset for part in plan.assets]
    twice = next((asset for asset, count in Counter(named).items() if count > 1), None)
    if twice is not None:
        raise _unreadable(name, f"it names {twice!r} twice")
    saved = plan.value()
    # Without them nobody could tell whether the code moved.
    unknown = [
        asset for asset in (*saved.rows, *saved.request.partitions) if asset not in saved.versions
    ]
    if unknown:
        raise _unreadable(name, f"it does not say which versions of {unknown[0]!r} it is about")
    return saved


def _text_of(path: str, name: str) -> str:
    if path == STDIN and sys.stdin is None:  # it was closed: `<&-`
        raise _unreadable(name, "it is closed")
    try:
        raw = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        raise PlanError(
            f"the plan {name} can't be read: {error.strerror}", hint=NEW_PLAN
        ) from error
    try:
        # Some shells redirect into UTF-16.
        return raw.decode(json.detect_encoding(raw))
    except UnicodeDecodeError as error:
        raise _unreadable(name, f"it is no text: {error.reason}") from error


def _require_plan(text: str, name: str) -> None:
    """Raise PlanError unless this is a plan's JSON of our format, whatever is in it."""
    if not text.strip():
        raise _unreadable(name, "it is empty")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(name, f"it is not JSON, or was cut short: {error}") from error
    if not isinstance(answer, dict) or "partita" not in answer:
        raise _unreadable(name, "it is JSON, and no answer of partita")
    version = answer["partita"]
    if version != ENVELOPE_VERSION:
        raise _unreadable(
            name, f"it is an answer of form {version!r}, and this Partita reads {ENVELOPE_VERSION}"
        )
    if isinstance(answer.get("error"), dict):
        message = str(answer["error"].get("message"))
        raise _unreadable(name, f"it is the error that the plan ended with: {message}")
    command, data = answer.get("command"), answer.get("data")
    if command not in _MAKERS or not isinstance(data, dict) or "made_at" not in data:
        raise _unreadable(name, f"it is the answer of `partita {command}`")
    if data.get("format") != PLAN_FORMAT:
        written = data.get("format")
        was = "without a format number" if written is None else f"of format {written!r}"
        raise _unreadable(name, f"it is a plan {was}, and this Partita reads {PLAN_FORMAT}")


def _unreadable(name: str, why: str) -> PlanError:
    return PlanError(f"{name} holds no plan that can be run: {why}", hint=NEW_PLAN)
