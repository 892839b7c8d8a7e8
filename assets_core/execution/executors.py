"""Carrying out orders: the port, and the executor that does it in this process. Another one is `process_executor`.

An executor decides nothing: what runs, when, how often, and what becomes of the result is the runner's. It never publishes and knows
no state: the worst that a lost or forgotten worker can do is to leave a stage behind.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from assets_core.execution.audit import CheckFailedError
from assets_core.model.errors import IOManagerError, PartitaError, UserCodeError
from assets_core.telemetry.observability import step_span

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from assets_core.execution.step_order import StepOrder
    from assets_core.execution.worker import Produced, Skipped, Worker
    from assets_core.model.checks import CheckOutcome
    from assets_core.telemetry.run_log import RunLog


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt failed; `frames` is the traceback of the user's code, `code` that of the error.

    With `died` its process ended without an answer, so nobody threw away what it staged.
    """

    message: str
    code: str
    frames: str = ""
    checks: tuple[CheckOutcome, ...] = ()
    died: bool = False


@dataclass(frozen=True, slots=True)
class StepEnd:
    """How one attempt ended, and how many seconds it took."""

    step_id: int
    result: Produced | Skipped | Failed
    seconds: float


_INTERRUPTED: Final = Failed("it was interrupted", "interrupted", died=True)


class Executor(Protocol):
    """Carries out orders, as many at once as it has `capacity`. `tests/conformance/executor_suite.py` is this contract as tests."""

    @property
    def capacity(self) -> int:
        """How many orders it carries out at the same time, 1 or more."""
        ...

    def start(self, order: StepOrder, name: str, log: RunLog | None) -> None:
        """Begin an order; it may be finished when this returns. `name` is the step's in `log`, which gets what it prints.

        The caller starts no more than `capacity` at once.
        """
        ...

    def ended(self, seconds: float | None) -> list[StepEnd]:
        """What ended since the last call; if nothing did, wait so long, or with None until something does. May return early."""
        ...

    def cancel(self) -> None:
        """End all that is going on; each attempt still ends with an answer, whatever that is."""
        ...

    def interrupt(self) -> None:
        """Called from a signal handler: make `start` or `ended` return soon, by raising KeyboardInterrupt in a user's function if need be."""
        ...

    def close(self) -> None:
        """End everything and free what it holds."""
        ...


def failed(error: PartitaError) -> Failed:
    """What an attempt's error says."""
    return Failed(
        message=f"{error.message} ({error.hint})" if error.hint else error.message,
        code=error.code,
        frames=error.frames if isinstance(error, (IOManagerError, UserCodeError)) else "",
        checks=error.checks if isinstance(error, CheckFailedError) else (),
    )


class InProcessExecutor:
    """Carries out each order within `start`. Limits of time and memory are not enforced here."""

    capacity = 1

    def __init__(self, worker: Worker, clock: Callable[[], datetime]) -> None:
        self._worker = worker
        self._clock = clock
        self._ended: list[StepEnd] = []
        self._interrupted = False
        self._broken_into = False

    def start(self, order: StepOrder, name: str, log: RunLog | None) -> None:
        """Run it, and keep its end for `ended`. What isn't an error of the user or of a destination is raised."""
        began = self._clock()
        self._broken_into = False
        result: Produced | Skipped | Failed
        try:
            with (
                step_span(order.asset, name, order.number),
                log.capture(name) if log is not None else nullcontext(),
            ):
                result = self._worker.execute(order)
        except (Exception, KeyboardInterrupt) as error:
            if self._interrupted:
                # Libraries turn the interruption into errors of their own ("Query interrupted").
                result = _INTERRUPTED
            elif isinstance(error, PartitaError):
                result = failed(error)
            else:
                raise
        if self._broken_into:
            # A bare `except:` may have swallowed it: what the function returned then may be half of what it should.
            result = _INTERRUPTED
        # A clock that was set back must not make a duration negative.
        seconds = max(0.0, (self._clock() - began).total_seconds())
        self._ended.append(StepEnd(order.step_id, result, seconds))

    def ended(self, seconds: float | None) -> list[StepEnd]:
        """What `start` did."""
        del seconds  # there is nothing to wait for
        ended, self._ended = self._ended, []
        return ended

    def cancel(self) -> None:
        """Nothing goes on between two calls."""

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt into the user's function, if one is running."""
        self._interrupted = True
        if self._worker.calling:
            self._broken_into = True
            raise KeyboardInterrupt

    def close(self) -> None:
        """Nothing is held."""
