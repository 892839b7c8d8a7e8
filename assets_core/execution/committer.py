"""Publishing what is staged, grouped per destination, and recording it: data first, record second, both atomic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from assets_core.model.io_manager import Published, PublishFailed
from assets_core.model.records import AttemptFailed, StepSucceeded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from assets_core.execution.worker import Attempt, Produced
    from assets_core.model.io_manager import IOManager, Staged


@dataclass(frozen=True, slots=True)
class Done:
    """An attempt whose function returned and whose rows wait to be published; `seconds` it took so far."""

    attempt: Attempt
    produced: Produced
    seconds: float

    @property
    def staged(self) -> Staged | None:
        """The rows that wait; None if there are none to publish."""
        return self.produced.staged


def publish_group(
    done: Sequence[Done], managers: Mapping[str, IOManager]
) -> list[StepSucceeded | AttemptFailed]:
    """Publish a group and say what to record for each member, in order. `managers` holds each asset's IO manager.

    Members of one destination are published together; a member that is refused fails alone, and its failure is final for this
    attempt only (`final` is left to the caller's retry policy).
    """
    answers: dict[str, Published | PublishFailed] = {}
    by_manager: dict[int, list[Done]] = {}
    for one in done:
        if one.staged is not None:
            by_manager.setdefault(id(managers[one.attempt.asset]), []).append(one)
    for members in by_manager.values():
        manager = managers[members[0].attempt.asset]
        staged = [one.staged for one in members if one.staged is not None]
        for one, answer in zip(members, manager.publish(staged), strict=True):
            answers[one.attempt.token] = answer
    return [_outcome(one, answers.get(one.attempt.token)) for one in done]


def _outcome(one: Done, answer: Published | PublishFailed | None) -> StepSucceeded | AttemptFailed:
    if isinstance(answer, PublishFailed):
        return AttemptFailed(
            step_id=one.attempt.step_id,
            epoch=one.attempt.epoch,
            message=f"{answer.message} ({answer.hint})" if answer.hint else answer.message,
            traceback="",
            final=True,
            checks=one.produced.checks,
            code=answer.code,
        )
    receipts = answer.receipts if answer is not None else ()
    given = one.produced.data_version
    if given is not None:
        # Marked, so that text chosen by a person never equals a content hash.
        receipts = tuple(replace(receipt, data_version=f"given:{given}") for receipt in receipts)
    return StepSucceeded(one.attempt.step_id, one.attempt.epoch, receipts, one.produced.checks)
