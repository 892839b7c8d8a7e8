"""What a run tells about itself, to its log and to whoever listens, and the summary it ends with. It decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.execution.events import (
    RunFinished,
    RunStarted,
    RunSummary,
    StepFailed,
    StepsSettled,
    StepStarted,
    StepSucceeded,
    StepsWait,
)
from assets_core.execution.run_state import SlotStatus
from assets_core.execution.slices import keys_of
from assets_core.model.records import StepStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from assets_core.execution.attempts import Attempt
    from assets_core.execution.events import RunEvent
    from assets_core.model.checks import CheckOutcome
    from assets_core.model.records import AttemptFailed, RunStatus
    from assets_core.model.records import StepSucceeded as SuccessRecord
    from assets_core.planning.plan import Plan
    from assets_core.planning.staleness import Facts
    from assets_core.telemetry.run_log import RunLog

_STATUS = {
    SlotStatus.SUCCEEDED: StepStatus.SUCCEEDED,
    SlotStatus.FAILED: StepStatus.FAILED,
    SlotStatus.SKIPPED: StepStatus.SKIPPED,
    SlotStatus.UNCHANGED: StepStatus.SKIPPED,
    SlotStatus.CUT_OFF: StepStatus.CUT_OFF,
    SlotStatus.CANCELLED: StepStatus.CANCELLED,
}


class RunReport:
    """One run's log and listener."""

    def __init__(
        self,
        run_id: str,
        facts: Facts,
        log: RunLog | None,
        on_event: Callable[[RunEvent], None],
    ) -> None:
        self._run_id = run_id
        self._facts = facts
        self._on_event = on_event
        self._rows = 0
        self._failures: list[StepFailed] = []
        self._failed_checks: list[CheckOutcome] = []
        self.log = log

    def name(self, attempt: Attempt) -> str:
        """The step as `asset@key`, `asset@first...last` for several partitions."""
        keys = self._keys(attempt)
        if not keys:
            return attempt.asset
        span = keys[0] if len(keys) == 1 else f"{keys[0]}...{keys[-1]}"
        return f"{attempt.asset}@{span}"

    def started(self, plan: Plan) -> None:
        """The run is recorded."""
        self._write("run", f"started: {plan.size} partitions planned")
        self._on_event(RunStarted(self._run_id, plan))

    def attempt_started(self, attempt: Attempt) -> None:
        """An attempt begins."""
        self._on_event(StepStarted(attempt.asset, self._keys(attempt), attempt.number))

    def succeeded(
        self, attempt: Attempt, record: SuccessRecord, dropped: int, columns: tuple[str, ...] = ()
    ) -> None:
        """A step is published and recorded; `dropped` rows and `columns` were left out."""
        rows = sum(receipt.rows for receipt in record.receipts) if record.receipts else None
        self._rows += rows or 0
        self._failed_checks.extend(check for check in record.checks if not check.passed)
        told = f"succeeded: {rows} row{'' if rows == 1 else 's'}" + (
            f", {dropped} dropped" if dropped else ""
        )
        if columns:
            told += f", undeclared columns left out: {', '.join(map(repr, columns))}"
        self._write(self.name(attempt), told)
        self._on_event(
            StepSucceeded(
                attempt.asset,
                self._keys(attempt),
                rows,
                record.seconds or 0.0,
                record.checks,
                dropped,
            )
        )

    def failed(self, attempt: Attempt, record: AttemptFailed, retry_at: datetime | None) -> None:
        """An attempt failed; without `retry_at` it was the last."""
        event = StepFailed(
            asset=attempt.asset,
            keys=self._keys(attempt),
            attempt=attempt.number,
            message=record.message,
            traceback=record.traceback,
            code=record.code,
            retry_at=retry_at,
        )
        if retry_at is None:
            self._failures.append(event)
            self._failed_checks.extend(check for check in record.checks if not check.passed)
        told = f"attempt {attempt.number} failed: {record.message}"
        self._write(
            self.name(attempt), f"{told}\n{record.traceback}" if record.traceback else told
        )
        self._on_event(event)

    def settled(
        self, asset: str, slots: tuple[int, ...], status: StepStatus, message: str
    ) -> None:
        """Partitions ended without rows of their own."""
        keys = keys_of(self._facts.indexes[asset], slots)
        self._write(self._span(asset, keys), f"{status}: {message}")
        self._on_event(StepsSettled(asset, keys, status, message))

    def waits(
        self, asset: str, slots: tuple[int, ...], run_id: str, pool: str | None = None
    ) -> None:
        """These wait for another run: it works on them, or has the pool's slots."""
        keys = keys_of(self._facts.indexes[asset], slots)
        why = "works on it" if pool is None else f"has the slots of pool {pool}"
        self._write(self._span(asset, keys), f"waits for run {run_id}, which {why}")
        self._on_event(StepsWait(asset, keys, run_id, pool))

    def finished(
        self, status: RunStatus, counts: Mapping[SlotStatus, int], seconds: float
    ) -> RunSummary:
        """The run has ended, and is recorded as such."""
        by_status: dict[StepStatus, int] = {}
        for slot_status, count in counts.items():
            if count:
                by_status[_STATUS[slot_status]] = by_status.get(_STATUS[slot_status], 0) + count
        summary = RunSummary(
            run_id=self._run_id,
            status=status,
            counts=by_status,
            rows=self._rows,
            seconds=seconds,
            failures=tuple(self._failures),
            failed_checks=tuple(self._failed_checks),
        )
        told = ", ".join(f"{count} {word}" for word, count in by_status.items())
        self._write("run", f"{status}: {told or 'nothing to do'}")
        self._on_event(RunFinished(summary))
        return summary

    def _span(self, asset: str, keys: tuple[str, ...]) -> str:
        span = f"{keys[0]} and {len(keys) - 1} more" if len(keys) > 1 else "".join(keys)
        return f"{asset}@{span}" if span else asset

    def _keys(self, attempt: Attempt) -> tuple[str, ...]:
        return keys_of(self._facts.indexes[attempt.asset], attempt.slots)

    def _write(self, step: str, message: str) -> None:
        if self.log is not None:
            self.log.write(step, message)
