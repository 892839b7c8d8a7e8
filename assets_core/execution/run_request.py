"""What a run is told from outside: who it is, and what it needs from the world. What it does with them is the runner's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from assets_core.execution.events import RunEvent
    from assets_core.model.records import RunKind
    from assets_core.telemetry.run_log import RunLogs


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Who the run is: its id and what was asked for, as text that `runs show` repeats."""

    run_id: str
    kind: RunKind
    selection: str
    partitions: str
    fail_fast: bool = False
    process_id: int = 0


@dataclass(frozen=True, slots=True)
class Effects:
    """What a run needs from the world, passed in so that tests can hold it.

    `clock` answers aware UTC; `pause(seconds)` waits and may return early; `new_token` answers unguessable text; `spread` a number in
    [0, 1) for jitter.
    """

    clock: Callable[[], datetime]
    pause: Callable[[float], None]
    new_token: Callable[[], str]
    spread: Callable[[], float]
    on_event: Callable[[RunEvent], None] = lambda _: None
    logs: RunLogs | None = None
