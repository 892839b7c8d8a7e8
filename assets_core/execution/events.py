"""What a run tells while it goes, as frozen values. Whoever shows them (progress bar, lines, web page) lives above."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from assets_core.model.checks import CheckOutcome
    from assets_core.model.records import RunStatus, StepStatus
    from assets_core.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run is recorded; nothing has run yet."""

    run_id: str
    plan: Plan


@dataclass(frozen=True, slots=True)
class StepStarted:
    """An attempt begins. `keys` are the partition keys of the step, empty for an unpartitioned asset."""

    asset: str
    keys: tuple[str, ...]
    attempt: int


@dataclass(frozen=True, slots=True)
class StepSucceeded:
    """Published and recorded. `rows` is None if the function returned None; `seconds` is the function's and the staging's time.

    `dropped` counts returned rows that lay outside the step's partitions and were left out, as `Replace(out_of_range="drop")` asks.
    """

    asset: str
    keys: tuple[str, ...]
    rows: int | None
    seconds: float
    checks: tuple[CheckOutcome, ...] = ()
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class StepFailed:
    """An attempt failed; with `retry_at` it will be tried again then.

    `traceback` holds the user's frames only; `code` is that of the error (`user-code`, `data`, `check-failed`, …).
    """

    asset: str
    keys: tuple[str, ...]
    attempt: int
    message: str
    traceback: str
    code: str
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StepsSettled:
    """Partitions that ended without running: skipped, cut off or cancelled."""

    asset: str
    keys: tuple[str, ...]
    status: StepStatus
    message: str


@dataclass(frozen=True, slots=True)
class StepsWait:
    """Something that could start waits for another run: because that works on the same partitions, or has the slots of `pool`."""

    asset: str
    keys: tuple[str, ...]
    run_id: str
    pool: str | None = None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended. `counts` are partitions by status; `failures` the final failures in order; `rows` what was published."""

    run_id: str
    status: RunStatus
    counts: Mapping[StepStatus, int]
    rows: int
    seconds: float
    failures: tuple[StepFailed, ...] = ()
    failed_checks: tuple[CheckOutcome, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last event of a run."""

    summary: RunSummary


RunEvent = (
    RunStarted | StepStarted | StepSucceeded | StepFailed | StepsSettled | StepsWait | RunFinished
)
