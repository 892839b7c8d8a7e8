"""After a crash: turn every step that was running into what the destination says it is. Runs whose processes live are left alone.

Data is published before its success is recorded, so a step that was RUNNING when its process died is in one of two states: its
token is at the destination, then the state is rolled forward; or it isn't, then nothing is visible, what was staged is thrown
away, and the step is ABANDONED, to be planned again like any stale partition. Where the destination can't be asked (the asset or some
partitions are no longer defined), or has only a part of a step's partitions, nobody knows what readers may have seen: the step is
FAILED with its outcome unknown, so that the next success counts as a change. Where a contract's rejected rows arrived and the others
didn't, the step is FAILED too: rows that were fresh before are made again, so that both tell of the same attempt.

Where a destination does not answer now, nothing is guessed: the step stays RUNNING, and so does its run, until somebody settles it who gets an
answer. Until then nobody can claim its partitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets_core.execution.rejects import discard_attempt, rejected_request
from assets_core.execution.slices import slices_of
from assets_core.failpoints import failpoint
from assets_core.model.errors import IOManagerError, StepsRunningError, StoreError
from assets_core.model.io_manager import StageRequest
from assets_core.model.records import (
    AttemptFailed,
    RunStatus,
    StepSkipped,
    StepStatus,
    StepSucceeded,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from assets_core.authoring.outline import Outline
    from assets_core.model.records import RunRecord, StepOutcome, StepRecord
    from assets_core.state.locks import RunLocks
    from assets_core.state.store import StateStore
    from partitions.definitions import PartitionIndex


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A run of a dead process that can't be settled now: of these steps nobody knows what they published, because a destination does not answer."""

    run: RunRecord
    steps: tuple[StepRecord, ...]
    why: IOManagerError


def recover(
    outline: Outline,
    store: StateStore,
    locks: RunLocks,
    now: datetime,
    *,
    only: str | None = None,
    unsettled: Callable[[Unsettled], None] | None = None,
) -> list[RunRecord]:
    """Settle all runs that a dead process left RUNNING, or that of one id, and answer them.

    The caller has a share or all of the project's lock. Idempotent; a crash in here is recovered the same way. What can be settled of a
    run is; if that is not all, `unsettled` is told, or without it IOManagerError is raised.
    """
    # Whoever waits for a run asks again and again: while it lives, nothing is read of it, least of all its plan.
    if only is not None and locks.holder(only) is not None:
        return []
    settled = []
    judge = _Judge(outline, store, now)
    for run in store.unfinished_runs():
        if only is not None and run.id != only:
            continue
        lock = locks.take_over(run.id)
        if lock is None:
            continue
        with lock:
            answer = _settle(judge, store, run, now)
        if isinstance(answer, Unsettled):
            if unsettled is None:
                raise answer.why
            unsettled(answer)
        elif answer:
            settled.append(run)
    return settled


def _settle(judge: _Judge, store: StateStore, run: RunRecord, now: datetime) -> bool | Unsettled:
    """Settle one run; False if it has ended meanwhile: by another command, or by its own process, which lives after all.

    A process that lost its lock, but not its life, may claim a step after those that were running have been looked at, and have ended it
    when it is asked why the run can't end. Then all is looked at again; it ends when it learns that a step is not its own any more.
    """
    while _is_running(store, run):
        running = [one for one in store.steps(run.id) if one.status is StepStatus.RUNNING]
        outcomes, silent, why = judge.outcomes(running)
        failpoint("recover.judged")
        store.record(outcomes, now)
        failpoint("recover.recorded")
        if why is not None:
            return Unsettled(run, tuple(silent), why)
        try:
            store.finish_run(run.id, RunStatus.CRASHED, now)
        except StepsRunningError:
            continue
        except StoreError:
            if _is_running(store, run):
                raise
            continue
        return True
    return False


class _Judge:
    """Asks destinations what became of steps; one that does not answer is asked once."""

    def __init__(self, outline: Outline, store: StateStore, now: datetime) -> None:
        self._outline = outline
        self._store = store
        self._now = now
        self._silent: dict[int, IOManagerError] = {}

    def outcomes(
        self, steps: Sequence[StepRecord]
    ) -> tuple[list[StepOutcome], list[StepRecord], IOManagerError | None]:
        """What is to be recorded; the steps of which nobody knows, and why the first of them can't be known."""
        key_ids = self._store.key_ids()
        outcomes: list[StepOutcome] = []
        silent: list[StepRecord] = []
        why = None
        for step in steps:
            spec = self._outline.graph.specs.get(step.asset)
            if spec is None:
                outcomes.append(_unknown(step, f"{step.asset} is not defined any more"))
                continue
            place = id(self._outline.manager(step.asset))
            if place not in self._silent:
                try:
                    index = spec.partitions.index(self._now, key_ids)
                    outcomes.append(_outcome(self._outline, step, index))
                    continue
                except IOManagerError as error:
                    self._silent[place] = error
            silent.append(step)
            why = why or self._silent[place]
        return outcomes, silent, why


def _is_running(store: StateStore, run: RunRecord) -> bool:
    found = store.run(run.id)
    return found is not None and found.status is RunStatus.RUNNING


def _outcome(outline: Outline, step: StepRecord, index: PartitionIndex) -> StepOutcome:
    request = _request(outline, step, index)
    manager = outline.manager(step.asset)
    # Before the look: a process that lives after all can't put in place any more what it finds no longer staged.
    discard_attempt(outline, step.asset, step.token)
    receipts = manager.published(request) if request.slices else ()
    beside = not receipts and _left_rejected(outline, request)
    if receipts is None:
        return _unknown(step, f"{manager.destination()} keeps no tokens")
    if len(receipts) == len(step.partition_ids):
        return StepSucceeded(step.id, step.epoch, receipts)
    if len(request.slices) < len(step.partition_ids):
        return _unknown(step, "some of its partitions are not defined any more")
    if receipts:
        return _unknown(
            step, f"{len(receipts)} of {len(step.partition_ids)} partitions were published"
        )
    if beside:
        message = "its process died after the rows that its contract keeps out were published, and before the others were"
        return AttemptFailed(step.id, step.epoch, message, "", final=True)
    message = "its process died before its rows were published"
    return StepSkipped(step.id, step.epoch, StepStatus.ABANDONED, message)


def _left_rejected(outline: Outline, request: StageRequest) -> bool:
    """Whether rejected rows of the attempt are published, beside older rows: they come before the others, and may be alone."""
    target = outline.rejected.get(request.target.asset)
    if target is None or not request.slices:
        return False
    manager = outline.manager(request.target.asset)
    return bool(manager.published(rejected_request(request, target)))


def _unknown(step: StepRecord, why: str) -> AttemptFailed:
    message = f"its process died, and it is not known what readers may have seen: {why}"
    return AttemptFailed(step.id, step.epoch, message, "", final=True, unknown=True)


def _request(outline: Outline, step: StepRecord, index: PartitionIndex) -> StageRequest:
    import numpy as np  # noqa: PLC0415 - recovery is off the start-up path

    slots = index.slots_of_ids(np.asarray(step.partition_ids, dtype=np.int64))
    return StageRequest(
        target=outline.target(step.asset),
        slices=slices_of(index, (int(slot) for slot in slots[slots >= 0])),
        epoch=step.epoch,
        token=step.token,
    )
