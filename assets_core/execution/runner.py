"""The in-process runner: carries out what `run_state` decides, one call at a time, publishing and recording in groups.

Theory of operation
-------------------
The runner asks `RunState.decide` for the next instruction and reports what happened; it makes no decision about order itself. A group
of offered steps goes through five acts: claim (one state transaction: epochs, tokens, read_seq), run and stage each, publish per
destination, record (one state transaction), report. A crash between any two of them is put right by `recovery`: what the destination
carries a token of is recorded, the rest is abandoned.

The size of a group follows the duration of the asset's steps, so that quick steps share their commits (up to 100) and slow ones
are visible as soon as they are done (about once a second).

`stop` may be called from a signal handler: it interrupts a user's function, never a publish or a record.
"""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from assets_core.execution.committer import Done, publish_group
from assets_core.execution.events import (
    RunFinished,
    RunStarted,
    RunSummary,
    StepFailed,
    StepsSettled,
    StepStarted,
    StepSucceeded,
)
from assets_core.execution.facts import version_parts, versions_of
from assets_core.execution.run_state import (
    Finish,
    Offer,
    Retry,
    RunState,
    Settle,
    SlotStatus,
    Wait,
)
from assets_core.execution.slices import ids_of, keys_of
from assets_core.execution.worker import Attempt, CheckFailedError, Skipped, Worker
from assets_core.failpoints import failpoint
from assets_core.model.errors import InternalError, PartitaError, UserCodeError
from assets_core.model.records import (
    AttemptFailed,
    Fenced,
    RecordedSuccess,
    RunRecord,
    RunStatus,
    Settled,
    StepClaim,
    StepSkipped,
    StepStatus,
)
from assets_core.model.records import StepSucceeded as SuccessRecord
from assets_core.planning.consumption import consumed_versions
from assets_core.planning.lateness import horizons_of
from assets_core.telemetry.observability import run_span, step_span
from assets_core.telemetry.run_log import ASSET_LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from assets_core.authoring.definitions import Resolved
    from assets_core.execution.events import RunEvent
    from assets_core.model.checks import CheckOutcome
    from assets_core.model.records import RecordAnswer, RunKind, StepOutcome, VersionIds
    from assets_core.planning.plan import Plan
    from assets_core.planning.staleness import Facts
    from assets_core.state.store import StateStore
    from assets_core.telemetry.run_log import RunLog, RunLogs

GROUP_SECONDS = 1.0
"""How long a group of steps may take before what is staged is published."""

GROUP_ROWS = 2_000_000
"""How many staged rows may wait before they are published."""

INTERRUPTED = "the run was interrupted"

_STATUS = {
    SlotStatus.SUCCEEDED: StepStatus.SUCCEEDED,
    SlotStatus.FAILED: StepStatus.FAILED,
    SlotStatus.SKIPPED: StepStatus.SKIPPED,
    SlotStatus.UNCHANGED: StepStatus.SKIPPED,
    SlotStatus.CUT_OFF: StepStatus.CUT_OFF,
    SlotStatus.CANCELLED: StepStatus.CANCELLED,
}


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


class Runner:
    """Runs plans in this process, one at a time."""

    def __init__(self, resolved: Resolved, store: StateStore, effects: Effects) -> None:
        self._resolved = resolved
        self._store = store
        self._effects = effects
        self._flight: _Flight | None = None
        self._stopped = False

    def stop(self) -> None:
        """Finish the running commit, cancel the rest. Raises KeyboardInterrupt into a user's function if one is running."""
        self._stopped = True
        if self._flight is not None:
            self._flight.stop()

    def run(self, plan: Plan, facts: Facts, request: RunRequest) -> RunSummary:
        """Carry out the plan and answer how it went. `facts` are those that the plan was made from.

        A failing step fails the run's status, not this call. Raises StoreError if the state can't be written.
        """
        started_at = self._effects.clock()
        with ExitStack() as stack:
            stack.enter_context(run_span(request.run_id, request.kind, plan.size))
            log = None
            if self._effects.logs is not None:
                log = stack.enter_context(
                    self._effects.logs.open(request.run_id, started_at, self._effects.clock)
                )
            self._flight = _Flight(
                self._resolved, self._store, self._effects, plan, facts, request, log
            )
            if self._stopped:
                self._flight.stop()
            return self._flight.carry_out(started_at)


class _Flight:
    """One call of `Runner.run`: the mutable state of a run that isn't the machine's."""

    def __init__(  # noqa: PLR0917 - one caller, above
        self,
        resolved: Resolved,
        store: StateStore,
        effects: Effects,
        plan: Plan,
        facts: Facts,
        request: RunRequest,
        log: RunLog | None,
    ) -> None:
        self._resolved = resolved
        self._store = store
        self._effects = effects
        self._plan = plan
        self._facts = facts
        self._request = request
        self._log = log
        self._state = RunState(plan, facts, fail_fast=request.fail_fast)
        self._worker = Worker(resolved, facts.indexes, _logger)
        self._managers = {key: resolved.outline.manager(key) for key in facts.graph.specs}
        self._targets = resolved.outline.targets
        self._versions: dict[str, VersionIds] = {}
        self._retrying: dict[tuple[str, tuple[int, ...]], Attempt] = {}
        self._seconds_per_step: dict[str, float] = {}
        self._failures: list[StepFailed] = []
        self._failed_checks: list[CheckOutcome] = []
        self._rows = 0
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True
        if self._worker.calling:
            raise KeyboardInterrupt

    def carry_out(self, started_at: datetime) -> RunSummary:
        self._begin(started_at)
        while True:
            if self._stopping:
                self._state.stop(INTERRUPTED)
            instruction = self._state.decide(self._effects.clock())
            match instruction:
                case Offer(asset=asset, steps=steps):
                    self._run_group(self._claim(asset, steps[: self._group_size(asset)]))
                case Retry(asset=asset, slots=slots):
                    self._run_group([self._reclaim(asset, slots)])
                case Settle():
                    self._settle(instruction)
                case Wait(until=until):
                    # Never negative: the clock goes on between two looks at it.
                    self._effects.pause(max(0.0, (until - self._effects.clock()).total_seconds()))
                case Finish(status=status):
                    return self._end(status, started_at)
                case _:
                    assert_never(instruction)

    def _begin(self, started_at: datetime) -> None:
        request = self._request
        self._store.start_run(
            RunRecord(
                id=request.run_id,
                kind=request.kind,
                selection=request.selection,
                partitions=request.partitions,
                plan=json.dumps(self._plan.as_json()),
                status=RunStatus.RUNNING,
                started_at=started_at,
                process_id=request.process_id,
            )
        )
        specs = [self._facts.graph.specs[part.asset] for part in self._plan.assets]
        self._versions = dict(
            self._store.register(map(versions_of, specs), version_parts(self._resolved, specs))
        )
        self._write_log("run", f"started: {self._plan.size} partitions planned")
        self._tell(RunStarted(request.run_id, self._plan))

    def _end(self, status: RunStatus, started_at: datetime) -> RunSummary:
        now = self._effects.clock()
        self._store.finish_run(self._request.run_id, status, now)
        counts: dict[StepStatus, int] = {}
        for slot_status, count in self._state.counts().items():
            if count:
                counts[_STATUS[slot_status]] = counts.get(_STATUS[slot_status], 0) + count
        summary = RunSummary(
            run_id=self._request.run_id,
            status=status,
            counts=counts,
            rows=self._rows,
            seconds=(now - started_at).total_seconds(),
            failures=tuple(self._failures),
            failed_checks=tuple(self._failed_checks),
        )
        told = ", ".join(f"{count} {word}" for word, count in counts.items())
        self._write_log("run", f"{status}: {told or 'nothing to do'}")
        self._tell(RunFinished(summary))
        return summary

    def _group_size(self, asset: str) -> int:
        # The first step of an asset goes alone: it tells how long its steps take.
        seconds = self._seconds_per_step.get(asset)
        if seconds is None:
            return 1
        return max(1, int(GROUP_SECONDS / max(seconds, 1e-6)))

    def _claim(self, asset: str, steps: Sequence[tuple[int, ...]]) -> list[Attempt]:
        index, spec = self._facts.indexes[asset], self._facts.graph.spec(asset)
        versions = self._versions[asset]
        now = self._effects.clock()
        claims = [
            StepClaim(
                asset=asset,
                partition_ids=ids_of(index, slots),
                token=self._effects.new_token(),
                code_id=versions.code_id,
                deps_id=versions.deps_id,
                horizons=horizons_of(index, spec, slots, now),
            )
            for slots in steps
        ]
        claimed = self._store.claim(self._request.run_id, claims, now)
        failpoint("run.claimed")
        self._state.started(asset, tuple(steps))
        return [
            Attempt(
                self._request.run_id, asset, slots, one.step_id, one.epoch, claim.token, number=1
            )
            for slots, claim, one in zip(steps, claims, claimed, strict=True)
        ]

    def _reclaim(self, asset: str, slots: tuple[int, ...]) -> Attempt:
        before = self._retrying.pop((asset, slots))
        token = self._effects.new_token()
        claimed = self._store.reclaim(before.step_id, token, self._effects.clock())
        return replace(before, epoch=claimed.epoch, token=token, number=before.number + 1)

    def _run_group(self, attempts: Sequence[Attempt]) -> None:
        """Run claimed attempts one after the other; publish and record what is done when the group is long or large enough."""
        group_began = self._effects.clock()
        done: list[Done] = []
        for position, attempt in enumerate(attempts):
            if self._stopping or self._state.stopping is not None:
                self._record([], [self._cancelled(left) for left in attempts[position:]], attempts)
                break
            outcome = self._attempt(attempt)
            if isinstance(outcome, Done):
                failpoint("run.staged")
                done.append(outcome)
            else:
                self._record([], [outcome], attempts)
            waited = (self._effects.clock() - group_began).total_seconds()
            rows = sum(one.staged.rows for one in done if one.staged is not None)
            if waited > GROUP_SECONDS or rows > GROUP_ROWS:
                self._record(done, [], attempts)
                done = []
                group_began = self._effects.clock()
        self._record(done, [], attempts)

    def _attempt(self, attempt: Attempt) -> Done | AttemptFailed | StepSkipped:
        began = self._effects.clock()
        name = self._name(attempt)
        self._tell(StepStarted(attempt.asset, self._keys(attempt), attempt.number))
        consumed = self._consumed(attempt)
        try:
            with (
                step_span(attempt.asset, name, attempt.number),
                self._log.capture(name) if self._log is not None else nullcontext(),
            ):
                result = self._worker.execute(attempt, self._state)
        except (Exception, KeyboardInterrupt) as error:
            if self._stopping:
                # Libraries turn the interruption into errors of their own ("Query interrupted").
                self._managers[attempt.asset].discard_leftovers(
                    attempt.token, self._targets[attempt.asset]
                )
                return self._cancelled(attempt)
            if not isinstance(error, PartitaError):
                raise
            return self._failure(attempt, error)
        seconds = self._seconds_since(began)
        self._seconds_per_step[attempt.asset] = seconds
        if isinstance(result, Skipped):
            return StepSkipped(attempt.step_id, attempt.epoch, StepStatus.SKIPPED, result.reason)
        return Done(attempt, result, seconds, consumed)

    def _consumed(self, attempt: Attempt) -> dict[int, str]:
        """What the attempt is about to read. After the claim, so that nothing newer can be read without a later counter."""
        if not self._facts.graph.spec(attempt.asset).compare_input_versions:
            return {}
        found = consumed_versions(self._facts, self._state.edges(attempt.asset), attempt.slots)
        ids = ids_of(self._facts.indexes[attempt.asset], attempt.slots)
        return {id_: text for id_, text in zip(ids, found, strict=True) if text is not None}

    def _failure(self, attempt: Attempt, error: PartitaError) -> AttemptFailed:
        return AttemptFailed(
            step_id=attempt.step_id,
            epoch=attempt.epoch,
            message=f"{error.message} ({error.hint})" if error.hint else error.message,
            traceback=error.frames if isinstance(error, UserCodeError) else "",
            final=self._is_last(attempt),
            checks=error.checks if isinstance(error, CheckFailedError) else (),
            code=error.code,
        )

    def _cancelled(self, attempt: Attempt) -> StepSkipped:
        return StepSkipped(
            attempt.step_id,
            attempt.epoch,
            StepStatus.CANCELLED,
            self._state.stopping or INTERRUPTED,
        )

    def _is_last(self, attempt: Attempt) -> bool:
        return (
            self._stopping
            or self._state.stopping is not None
            or attempt.number >= self._facts.graph.spec(attempt.asset).retry.max_attempts
        )

    def _record(
        self,
        done: Sequence[Done],
        ended: Sequence[AttemptFailed | StepSkipped],
        attempts: Sequence[Attempt],
    ) -> None:
        """Publish what is staged, record everything in one transaction, report it to the machine and the listener."""
        outcomes: list[StepOutcome] = list(ended)
        by_step = {attempt.step_id: attempt for attempt in attempts}
        done_by_step = {one.attempt.step_id: one for one in done}
        manager = self._managers[attempts[0].asset]
        began = self._effects.clock()
        answered = publish_group(manager, done) if done else []
        # Publishing is one act for the whole group, so each step bears its share.
        share = self._seconds_since(began) / max(len(done), 1)
        for published in answered:
            if isinstance(published, AttemptFailed):
                final = self._is_last(by_step[published.step_id])
                outcomes.append(replace(published, final=final))
            else:
                seconds = done_by_step[published.step_id].seconds + share
                outcomes.append(replace(published, seconds=seconds))
        if not outcomes:
            return
        failpoint("run.published")
        answers = self._store.record(outcomes, self._effects.clock())
        failpoint("run.recorded")
        for outcome, answer in zip(outcomes, answers, strict=True):
            attempt = by_step[outcome.step_id]
            if isinstance(answer, Fenced):
                raise InternalError(
                    f"step {answer.step_id} of run {self._request.run_id} was taken over by another process",
                    hint=f"type: partita runs show {self._request.run_id}",
                )
            self._report(attempt, outcome, answer, done_by_step.get(attempt.step_id))

    def _report(
        self, attempt: Attempt, outcome: StepOutcome, answer: RecordAnswer, done: Done | None
    ) -> None:
        match outcome:
            case SuccessRecord(receipts=receipts, checks=checks):
                assert isinstance(answer, RecordedSuccess)
                assert done is not None
                rows = sum(receipt.rows for receipt in receipts) if receipts else None
                dropped = done.staged.dropped if done.staged is not None else 0
                self._rows += rows or 0
                self._failed_checks.extend(check for check in checks if not check.passed)
                self._state.succeeded(
                    attempt.asset, attempt.slots, answer.data_seqs, has_data=bool(receipts)
                )
                told = f"succeeded: {rows} row{'' if rows == 1 else 's'}" + (
                    f", {dropped} dropped" if dropped else ""
                )
                self._write_log(self._name(attempt), told)
                keys = self._keys(attempt)
                self._tell(StepSucceeded(attempt.asset, keys, rows, done.seconds, checks, dropped))
            case AttemptFailed():
                self._report_failure(attempt, outcome)
            case StepSkipped(status=status, message=message):
                if status is StepStatus.SKIPPED:
                    self._state.skipped(attempt.asset, attempt.slots)
                else:
                    self._state.cancelled(attempt.asset, attempt.slots)
                self._write_log(self._name(attempt), f"{status}: {message}")
                self._tell(StepsSettled(attempt.asset, self._keys(attempt), status, message))
            case _:
                assert_never(outcome)

    def _report_failure(self, attempt: Attempt, outcome: AttemptFailed) -> None:
        retry_at = None
        if not outcome.final:
            policy = self._facts.graph.spec(attempt.asset).retry
            retry_at = self._effects.clock() + policy.pause_after(
                attempt.number, spread=self._effects.spread()
            )
            self._retrying[attempt.asset, attempt.slots] = attempt
        self._state.failed(attempt.asset, attempt.slots, retry_at=retry_at)
        event = StepFailed(
            asset=attempt.asset,
            keys=self._keys(attempt),
            attempt=attempt.number,
            message=outcome.message,
            traceback=outcome.traceback,
            code=outcome.code,
            retry_at=retry_at,
        )
        if retry_at is None:
            self._failures.append(event)
            self._failed_checks.extend(check for check in outcome.checks if not check.passed)
        told = f"attempt {attempt.number} failed: {outcome.message}"
        self._write_log(
            self._name(attempt), f"{told}\n{outcome.traceback}" if outcome.traceback else told
        )
        self._tell(event)

    def _settle(self, settle: Settle) -> None:
        """Record slots that end without running; those that wait for a retry have a step already, which ends here."""
        now = self._effects.clock()
        slots = set(settle.slots)
        waiting = [
            key for key in self._retrying if key[0] == settle.asset and slots.issuperset(key[1])
        ]
        outcomes: list[StepOutcome] = []
        for key in waiting:
            attempt = self._retrying.pop(key)
            slots.difference_update(key[1])
            outcomes.append(
                StepSkipped(attempt.step_id, attempt.epoch, settle.status, settle.message)
            )
        if outcomes:
            self._store.record(outcomes, now)
        index = self._facts.indexes[settle.asset]
        if slots:
            ids = ids_of(index, sorted(slots))
            self._store.settle(
                self._request.run_id,
                [Settled(settle.asset, ids, settle.status, settle.message)],
                now,
            )
        keys = keys_of(index, settle.slots)
        span = f"{keys[0]} and {len(keys) - 1} more" if len(keys) > 1 else "".join(keys)
        self._write_log(
            f"{settle.asset}@{span}" if span else settle.asset,
            f"{settle.status}: {settle.message}",
        )
        self._tell(StepsSettled(settle.asset, keys, settle.status, settle.message))

    def _seconds_since(self, began: datetime) -> float:
        # A clock that was set back must not make a duration negative.
        return max(0.0, (self._effects.clock() - began).total_seconds())

    def _keys(self, attempt: Attempt) -> tuple[str, ...]:
        return keys_of(self._facts.indexes[attempt.asset], attempt.slots)

    def _name(self, attempt: Attempt) -> str:
        keys = self._keys(attempt)
        if not keys:
            return attempt.asset
        return (
            f"{attempt.asset}@{keys[0]}"
            if len(keys) == 1
            else f"{attempt.asset}@{keys[0]}...{keys[-1]}"
        )

    def _write_log(self, step: str, message: str) -> None:
        if self._log is not None:
            self._log.write(step, message)

    def _tell(self, event: RunEvent) -> None:
        self._effects.on_event(event)


def _logger(asset: str) -> logging.Logger:
    return logging.getLogger(ASSET_LOGGER).getChild(asset)
