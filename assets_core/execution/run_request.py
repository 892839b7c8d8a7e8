"""What a run is told from outside: who it is, and what it needs from the world. What it does with them is the runner's business."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from assets_core.execution.events import RunEvent
    from assets_core.model.records import RunKind
    from assets_core.telemetry.run_log import RunLogs
    from partitions.sets import PartitionSet


class OnConflict(StrEnum):
    """What to do about partitions that another run works on or is to make: wait for it, leave them to it, or fail."""

    WAIT = "wait"
    SKIP = "skip"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, eq=False)
class LeftToRun:
    """Planned partitions of one asset that are left to another run; `why` is recorded of each.

    With `is_dead` its process is, and a destination does not say what it did: then they can't be run.
    """

    run_id: str
    asset: str
    partitions: PartitionSet
    why: str
    is_dead: bool = False


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Who the run is: its id and what was asked for, as text that `runs show` repeats.

    `on_conflict` is about partitions that another run works on when their turn comes; `left` are those that are not tried at all.
    """

    run_id: str
    kind: RunKind
    selection: str
    partitions: str
    fail_fast: bool = False
    process_id: int = 0
    on_conflict: OnConflict = OnConflict.WAIT
    left: tuple[LeftToRun, ...] = ()


@dataclass(frozen=True, slots=True)
class Effects:
    """What a run needs from the world, passed in so that tests can hold it.

    `clock` answers aware UTC; `pause(seconds)` waits and may return early; `new_token` answers unguessable text; `spread` a number in
    [0, 1) for jitter. `settle_dead` is called with the id of a run that is in the way, and puts right what it left if its process is dead; it
    answers why that can't be done, None if it is done or nobody is dead.
    """

    clock: Callable[[], datetime]
    pause: Callable[[float], None]
    new_token: Callable[[], str]
    spread: Callable[[], float]
    on_event: Callable[[RunEvent], None] = lambda _: None
    logs: RunLogs | None = None
    settle_dead: Callable[[str], str | None] = lambda _: None
