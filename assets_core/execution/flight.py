"""A run in flight: carries out what `run_state` decides, through an executor, publishing and recording in groups.

Theory of operation
-------------------
The flight asks `RunState.decide` for the next instruction and reports what happened; it makes no decision about order itself. A group
of offered steps goes through five acts: claim (one state transaction: epochs, tokens, read_seq), run and stage each in the executor,
publish per destination, record (one state transaction), report. A crash between any two of them is put right by `recovery`: what the
destination carries a token of is recorded, the rest is abandoned. Only this process publishes; an executor stages, wherever it works.

The size of a group follows the duration of the asset's steps, so that quick steps share their commits and slow ones are visible as
soon as they are done (about once a second). What is staged is published as soon as the executor would otherwise stand idle.

`stop` may be called from a signal handler: it interrupts a user's function, never a publish or a record.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, assert_never

from assets_core.execution.attempts import Attempt, Readable, order_for
from assets_core.execution.committer import Done, publish_group
from assets_core.execution.executors import Failed, StepEnd, failed
from assets_core.execution.facts import version_parts, versions_of
from assets_core.execution.other_runs import OtherRuns
from assets_core.execution.rejects import discard_attempt
from assets_core.execution.run_state import Finish, Offer, Retry, RunState, Settle, Wait
from assets_core.execution.slices import ids_of
from assets_core.execution.worker import Produced, Skipped
from assets_core.failpoints import failpoint
from assets_core.model.errors import PartitaError, RunTakenOverError
from assets_core.model.records import (
    AttemptFailed,
    ClaimedStep,
    Fenced,
    NotClaimed,
    RecordedSuccess,
    RunRecord,
    RunStatus,
    Settled,
    StepClaim,
    StepSkipped,
    StepStatus,
    StepSucceeded,
)
from assets_core.planning.consumption import consumed_versions
from assets_core.planning.lateness import horizons_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from assets_core.authoring.definitions import Resolved
    from assets_core.execution.events import RunSummary
    from assets_core.execution.executors import Executor
    from assets_core.execution.reporting import RunReport
    from assets_core.execution.run_request import Effects, RunRequest
    from assets_core.model.records import RecordAnswer, StepOutcome, VersionIds
    from assets_core.planning.plan import Plan
    from assets_core.planning.staleness import Facts
    from assets_core.state.store import StateStore

GROUP_SECONDS = 1.0
"""How long a group of steps may take before what is staged is published."""

GROUP_ROWS = 2_000_000
"""How many staged rows may wait before they are published."""

INTERRUPTED = "the run was interrupted"


class Flight:
    """One call of `Runner.run`: the mutable state of a run that isn't the machine's.

    A claimed attempt is in exactly one place: `_claimed` (waits for room), `_running` (in the executor), `_done` (its rows wait to be
    published), or `_retrying` (a failed one, until its next).
    """

    def __init__(
        self,
        *,
        resolved: Resolved,
        store: StateStore,
        effects: Effects,
        plan: Plan,
        facts: Facts,
        request: RunRequest,
        executor: Executor,
        report: RunReport,
    ) -> None:
        self._resolved = resolved
        self._store = store
        self._effects = effects
        self._plan = plan
        self._facts = facts
        self._request = request
        self._executor = executor
        self._report = report
        self._state = RunState(
            plan, facts, fail_fast=request.fail_fast, pools=resolved.outline.pools
        )
        self._managers = {key: resolved.outline.manager(key) for key in facts.graph.specs}
        self._versions: dict[str, VersionIds] = {}
        self._claimed: deque[Attempt] = deque()
        self._running: dict[int, _Started] = {}
        self._done: list[Done] = []
        self._done_since = effects.clock()
        self._retrying: dict[tuple[str, tuple[int, ...]], Attempt] = {}
        self._seconds_per_step: dict[str, float] = {}
        self._stopping = False
        self._others = OtherRuns(
            state=self._state,
            facts=facts,
            request=request,
            effects=effects,
            report=report,
            settle=self._settle,
        )

    def stop(self) -> None:
        """Finish the running commit, cancel the rest."""
        self._stopping = True
        self._executor.interrupt()

    def discard_stages(self) -> None:
        """Throw away what attempts staged that will not be published."""
        waiting = [*self._claimed, *(one.attempt for one in self._running.values())]
        for attempt in (*waiting, *(one.attempt for one in self._done)):
            self._discard_stage(attempt)

    def carry_out(self, started_at: datetime) -> RunSummary:
        """Do all of it, and answer how it went. Raises StoreError, RunTakenOverError."""
        self._begin(started_at)
        self._others.leave()
        while True:
            if self._stopping and self._state.stopping != INTERRUPTED:
                self._state.stop(INTERRUPTED)
                self._executor.cancel()
            if self._state.stopping is not None:
                self._drop_claimed()
            self._fill()
            if not self._has_room():
                self._wait_for_ends(None)
                if self._is_publishing_due():
                    self._publish()
                continue
            self._take(self._executor.ended(0.0) if self._running else [])
            if self._done:
                # The executor has room and nothing is claimed: what is staged may make something ready.
                self._publish()
            status = self._next()
            if status is not None:
                return self._end(status, started_at)

    def _next(self) -> RunStatus | None:
        """Carry out the machine's next instruction; the verdict if that was the last."""
        instruction = self._state.decide(self._effects.clock())
        match instruction:
            case Offer(asset=asset, steps=steps):
                self._claim(asset, steps[: self._group_size(asset)])
            case Retry(asset=asset, slots=slots):
                self._reclaim(asset, slots)
            case Settle():
                self._settle(instruction)
            case Wait(until=until):
                if self._running:
                    self._wait_for_ends(until)
                elif until is not None:
                    self._effects.pause(self._seconds_until(until))
            case Finish(status=status):
                return status
            case _:
                assert_never(instruction)
        return None

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
        self._report.started(self._plan)

    def _end(self, status: RunStatus, started_at: datetime) -> RunSummary:
        now = self._effects.clock()
        self._store.finish_run(self._request.run_id, status, now)
        return self._report.finished(
            status, self._state.counts(), (now - started_at).total_seconds()
        )

    def _has_room(self) -> bool:
        return not self._claimed and len(self._running) < self._executor.capacity

    def _group_size(self, asset: str) -> int:
        """How many steps to claim now: those that can start at once, or about a second's worth if they are quick.

        Not so of a pool, whose slots other runs may be waiting for.
        """
        free = self._executor.capacity - len(self._running)
        if self._facts.graph.spec(asset).pool is not None:
            return free
        # The first steps of an asset go without company: they tell how long its steps take.
        seconds = self._seconds_per_step.get(asset, GROUP_SECONDS)
        return max(free, int(self._executor.capacity * GROUP_SECONDS / max(seconds, 1e-6)))

    def _claim(self, asset: str, steps: Sequence[tuple[int, ...]]) -> None:
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
                known_seqs=self._state.known_seqs(asset, slots),
                pool=spec.pool,
                pool_slots=self._slots_of_pool(spec.pool),
            )
            for slots in steps
        ]
        answers = self._store.claim(self._request.run_id, claims, now)
        failpoint("run.claimed")
        for slots, claim, answer in zip(steps, claims, answers, strict=True):
            match answer:
                case ClaimedStep(step_id=step_id, epoch=epoch):
                    self._state.started(asset, (slots,))
                    self._claimed.append(
                        Attempt(asset, slots, step_id, epoch, claim.token, number=1)
                    )
                case NotClaimed():
                    self._others.refused(asset, slots, answer)
                case _:
                    assert_never(answer)

    def _reclaim(self, asset: str, slots: tuple[int, ...]) -> None:
        before = self._retrying[asset, slots]
        token = self._effects.new_token()
        pool_slots = self._slots_of_pool(self._facts.graph.spec(asset).pool)
        answer = self._store.reclaim(
            before.step_id, token, self._effects.clock(), pool_slots=pool_slots
        )
        match answer:
            case ClaimedStep(epoch=epoch):
                del self._retrying[asset, slots]
                self._claimed.append(
                    replace(before, epoch=epoch, token=token, number=before.number + 1)
                )
            case NotClaimed():
                self._others.retry_refused(asset, slots, answer)
            case _:
                assert_never(answer)

    def _slots_of_pool(self, pool: str | None) -> int:
        return 0 if pool is None else self._resolved.outline.pools[pool]

    def _drop_claimed(self) -> None:
        """Nothing more starts."""
        dropped = [self._cancelled(attempt) for attempt in self._claimed]
        attempts = {attempt.step_id: attempt for attempt in self._claimed}
        self._claimed.clear()
        self._record(dropped, attempts, {})

    def _fill(self) -> None:
        """Start what is claimed, as far as the executor has room; a stop is seen between two steps."""
        while (
            self._claimed
            and len(self._running) < self._executor.capacity
            and not self._stopping
            and self._state.stopping is None
        ):
            attempt = self._claimed.popleft()
            self._report.attempt_started(attempt)
            consumed = self._consumed(attempt)
            self._running[attempt.step_id] = _Started(attempt, consumed)
            try:
                order = order_for(
                    attempt,
                    self._resolved.parameters[attempt.asset],
                    self._resolved.assets[attempt.asset].contract,
                    Readable(self._facts, self._state.edges(attempt.asset), self._state.readable),
                    run_id=self._request.run_id,
                    now=self._effects.clock(),
                )
            except PartitaError as error:
                self._take([StepEnd(attempt.step_id, failed(error), 0.0)])
                continue
            self._executor.start(order, self._report.name(attempt), self._report.log)

    def _wait_for_ends(self, until: datetime | None) -> None:
        """Wait for the executor, but not past `until`, nor past the time when what is staged is due."""
        limits = [] if until is None else [self._seconds_until(until)]
        if self._done:
            waited = (self._effects.clock() - self._done_since).total_seconds()
            limits.append(max(0.0, GROUP_SECONDS - waited))
        if self._running:
            self._take(self._executor.ended(min(limits, default=None)))

    def _take(self, ends: Sequence[StepEnd]) -> None:
        """Sort what the executor ended: rows wait to be published, everything else is recorded at once."""
        for end in ends:
            attempt, consumed = self._running.pop(end.step_id)
            match end.result:
                case Produced():
                    failpoint("run.staged")
                    self._seconds_per_step[attempt.asset] = end.seconds
                    if not self._done:
                        self._done_since = self._effects.clock()
                    self._done.append(Done(attempt, end.result, end.seconds, consumed))
                    continue
                case Skipped(reason=reason):
                    self._seconds_per_step[attempt.asset] = end.seconds
                    outcome: AttemptFailed | StepSkipped = StepSkipped(
                        attempt.step_id, attempt.epoch, StepStatus.SKIPPED, reason
                    )
                case Failed():
                    outcome = self._failure(attempt, end.result)
                case _:
                    assert_never(end.result)
            self._record([outcome], {attempt.step_id: attempt}, {})

    def _consumed(self, attempt: Attempt) -> dict[int, str]:
        """What the attempt is about to read. After the claim, so that nothing newer can be read without a later counter."""
        if not self._facts.graph.spec(attempt.asset).compare_input_versions:
            return {}
        found = consumed_versions(self._facts, self._state.edges(attempt.asset), attempt.slots)
        ids = ids_of(self._facts.indexes[attempt.asset], attempt.slots)
        return {id_: text for id_, text in zip(ids, found, strict=True) if text is not None}

    def _failure(self, attempt: Attempt, result: Failed) -> AttemptFailed | StepSkipped:
        if result.died or self._stopping:
            self._discard_stage(attempt)
        if self._stopping:
            return self._cancelled(attempt)
        return AttemptFailed(
            step_id=attempt.step_id,
            epoch=attempt.epoch,
            message=result.message,
            traceback=result.frames,
            final=self._is_last(attempt),
            checks=result.checks,
            code=result.code,
        )

    def _discard_stage(self, attempt: Attempt) -> None:
        discard_attempt(self._resolved.outline, attempt.asset, attempt.token)

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

    def _is_publishing_due(self) -> bool:
        if not self._done:
            return False
        waited = (self._effects.clock() - self._done_since).total_seconds()
        rows = sum(one.staged.rows for one in self._done if one.staged is not None)
        return waited >= GROUP_SECONDS or rows > GROUP_ROWS

    def _publish(self) -> None:
        """Make what is staged visible, one group per destination, and record it. Raises RunTakenOverError."""
        done = {one.attempt.step_id: one for one in self._done}
        by_manager: dict[int, list[Done]] = {}
        for one in done.values():
            by_manager.setdefault(id(self._managers[one.attempt.asset]), []).append(one)
        outcomes: list[StepOutcome] = []
        for group in by_manager.values():
            self._require_claims(group)
            began = self._effects.clock()
            manager = self._managers[group[0].attempt.asset]
            answers = publish_group(manager, group, self._is_known)
            # Publishing is one act for the whole group, so each step bears its share.
            share = self._seconds_since(began) / len(group)
            for one, answer in zip(group, answers, strict=True):
                if isinstance(answer, AttemptFailed):
                    outcomes.append(replace(answer, final=self._is_last(one.attempt)))
                else:
                    outcomes.append(replace(answer, seconds=one.seconds + share))
        self._done = []
        failpoint("run.published")
        self._record(outcomes, {id_: one.attempt for id_, one in done.items()}, done)

    def _require_claims(self, group: Sequence[Done]) -> None:
        """Raise RunTakenOverError if another process settled one of these steps: nothing of it may become visible any more.

        Whoever settles a run settles all of its steps that are running then, so the one that was claimed first tells for all.
        """
        first = min((one.attempt for one in group), key=lambda attempt: attempt.epoch)
        if self._store.step_of_token(first.token) is not StepStatus.RUNNING:
            raise taken_over(self._request.run_id)

    def _is_known(self, token: str) -> bool:
        return self._store.step_of_token(token) is not None

    def _record(
        self,
        outcomes: Sequence[StepOutcome],
        attempts: Mapping[int, Attempt],
        done: Mapping[int, Done],
    ) -> None:
        """Record everything in one transaction, and report it to the machine and the listener. Raises RunTakenOverError."""
        if not outcomes:
            return
        answers = self._recorded(outcomes)
        failpoint("run.recorded")
        for outcome, answer in zip(outcomes, answers, strict=True):
            attempt = attempts[outcome.step_id]
            match outcome:
                case StepSucceeded(receipts=receipts):
                    assert isinstance(answer, RecordedSuccess)
                    staged = done[outcome.step_id].staged
                    self._state.succeeded(
                        attempt.asset, attempt.slots, answer.data_seqs, has_data=bool(receipts)
                    )
                    dropped = staged.dropped if staged is not None else 0
                    columns = staged.dropped_columns if staged is not None else ()
                    self._report.succeeded(attempt, outcome, dropped, columns)
                case AttemptFailed():
                    self._fail(attempt, outcome)
                case StepSkipped(status=status, message=message):
                    if status is StepStatus.SKIPPED:
                        self._state.skipped(attempt.asset, attempt.slots)
                    else:
                        self._state.cancelled(attempt.asset, attempt.slots)
                    self._report.settled(attempt.asset, attempt.slots, status, message)
                case _:
                    assert_never(outcome)

    def _recorded(self, outcomes: Sequence[StepOutcome]) -> Sequence[RecordAnswer]:
        answers = self._store.record(outcomes, self._effects.clock())
        if any(isinstance(answer, Fenced) for answer in answers):
            raise taken_over(self._request.run_id)
        return answers

    def _fail(self, attempt: Attempt, outcome: AttemptFailed) -> None:
        retry_at = None
        if not outcome.final:
            policy = self._facts.graph.spec(attempt.asset).retry
            retry_at = self._effects.clock() + policy.pause_after(
                attempt.number, spread=self._effects.spread()
            )
            self._retrying[attempt.asset, attempt.slots] = attempt
        self._state.failed(attempt.asset, attempt.slots, retry_at=retry_at)
        self._report.failed(attempt, outcome, retry_at)

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
            self._recorded(outcomes)
        if slots:
            ids = ids_of(self._facts.indexes[settle.asset], sorted(slots))
            self._store.settle(
                self._request.run_id,
                [Settled(settle.asset, ids, settle.status, settle.message)],
                now,
            )
        self._report.settled(settle.asset, settle.slots, settle.status, settle.message)

    def _seconds_since(self, began: datetime) -> float:
        # A clock that was set back must not make a duration negative.
        return max(0.0, (self._effects.clock() - began).total_seconds())

    def _seconds_until(self, until: datetime) -> float:
        # Never negative: the clock goes on between two looks at it.
        return max(0.0, (until - self._effects.clock()).total_seconds())


class _Started(NamedTuple):
    """An attempt in the executor, and fingerprints of what it reads."""

    attempt: Attempt
    consumed: dict[int, str]


def taken_over(run_id: str) -> RunTakenOverError:
    """What a run ends with that another process has settled."""
    return RunTakenOverError(
        f"run {run_id} was taken over by another process, which took this one for dead; nothing more was recorded",
        hint="type: partita plan; what is left to do, it says",
    )
