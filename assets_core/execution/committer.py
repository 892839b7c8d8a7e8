"""Publishing what a group of steps staged, and what is to be recorded of it. Recording is the runner's next act."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from assets_core.execution.rejects import step_token
from assets_core.failpoints import failpoint
from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import Published, PublishFailed
from assets_core.model.records import AttemptFailed, StepSucceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from assets_core.execution.attempts import Attempt
    from assets_core.execution.worker import Produced
    from assets_core.model.io_manager import IOManager, Staged, WriteReceipt


@dataclass(frozen=True, slots=True)
class Done:
    """An attempt whose function returned and whose rows wait to be published; `seconds` it took so far.

    `consumed` has fingerprints of what its partitions were made from, by id, where they are known and its asset wants them.
    """

    attempt: Attempt
    produced: Produced
    seconds: float
    consumed: Mapping[int, str]

    @property
    def staged(self) -> Staged | None:
        """The rows that wait; None if there are none to publish."""
        return self.produced.staged


def publish_group(
    manager: IOManager, done: Sequence[Done], is_known: Callable[[str], bool]
) -> list[StepSucceeded | AttemptFailed]:
    """Publish what steps staged for one IO manager, as one group, and say what to record for each, in order.

    `is_known` says of a commit token whether it is one of this state: rows of another make an attempt come too late as well.

    Rejected rows come first, for all steps of the group: rows that a contract let pass are never visible without those that it kept
    out. A step whose rejected rows can't be published fails, and publishes nothing else.

    A step that could not be published is looked for at its destination first: a reply may have been lost after the rows were written.
    A failure is `final` for this attempt; whether there is another one is the caller's decision.
    """
    refused = _publish_rejected(manager, done, is_known)
    waiting = [
        one for one in done if one.staged is not None and one.attempt.step_id not in refused
    ]
    answers = manager.publish([one.staged for one in waiting if one.staged is not None])
    by_step = {one.attempt.step_id: answer for one, answer in zip(waiting, answers, strict=True)}
    return [
        refused.get(one.attempt.step_id)
        or _outcome(manager, one, by_step.get(one.attempt.step_id), is_known)
        for one in done
    ]


def _publish_rejected(
    manager: IOManager, done: Sequence[Done], is_known: Callable[[str], bool]
) -> dict[int, AttemptFailed]:
    """Publish the rows that contracts keep out; failures by step, whose other rows are thrown away."""
    waiting = [(one, rejected) for one in done if (rejected := one.produced.rejected) is not None]
    if not waiting:
        return {}
    answers = manager.publish([rejected for _, rejected in waiting])
    failpoint("publish.rejected")
    refused = {}
    for (one, rejected), answer in zip(waiting, answers, strict=True):
        if isinstance(answer, PublishFailed):
            found, told = _found(manager, rejected, answer, is_known)
            if found is None or len(found) < len(rejected.request.slices):
                if one.staged is not None:
                    manager.discard(one.staged)
                refused[one.attempt.step_id] = _failure(one, told, unknown=False)
    return refused


def _outcome(
    manager: IOManager,
    one: Done,
    answer: Published | PublishFailed | None,
    is_known: Callable[[str], bool],
) -> StepSucceeded | AttemptFailed:
    receipts: tuple[WriteReceipt, ...] = ()
    if isinstance(answer, Published):
        receipts = answer.receipts
    elif isinstance(answer, PublishFailed):
        found, told = _found(manager, one.staged, answer, is_known)
        if found is None or len(found) < len(one.attempt.slots):
            return _failure(one, told, unknown=found is None or bool(found))
        receipts = found
    given = one.produced.data_version
    if given is not None:
        # Marked, so that text chosen by a person never equals a content hash.
        receipts = tuple(replace(receipt, data_version=f"given:{given}") for receipt in receipts)
    return StepSucceeded(
        one.attempt.step_id, one.attempt.epoch, receipts, one.produced.checks, one.consumed
    )


def _found(
    manager: IOManager,
    staged: Staged | None,
    failed: PublishFailed,
    is_known: Callable[[str], bool],
) -> tuple[tuple[WriteReceipt, ...] | None, PublishFailed]:
    """What the destination has of rows whose publishing failed, None if it can't tell; and the failure, with why it can't.

    Also of a step that was fenced off: where partitions are put in place one by one, a newer attempt may have come in between. A
    destination that is out of reach fails the steps that store there, and no others.
    """
    if staged is None:
        return (), failed
    newer = failed.overtaken_by
    if newer is not None and not is_known(step_token(newer)):
        failed = _of_another_state(manager.location(staged.request.target), staged, failed)
    try:
        return manager.published(staged.request), failed
    except IOManagerError as error:
        if error.message == failed.message:
            return None, failed
        message = f"{failed.message}; and whether the rows arrived can't be asked: {error.message}"
        return None, replace(failed, message=message)


def _of_another_state(where: str, staged: Staged, failed: PublishFailed) -> PublishFailed:
    """The refusal in words that tell what is there; without the partition, so that it is told once for all of them."""
    asset, owner = staged.request.target.asset, shlex.quote(staged.request.target.owner)
    return replace(
        failed,
        message=f"the rows of {asset} in {where} are newer than this project's state, which did not write them, so they stay:"
        " another project writes there, or the state is an older copy of the one that did",
        hint="if it is another project, give the asset another name or its IO manager another place;"
        f" if this one is to have the rows, partita state restart {owner} removes them, and then partita materialize {owner}",
    )


def _failure(one: Done, answer: PublishFailed, *, unknown: bool) -> AttemptFailed:
    return AttemptFailed(
        step_id=one.attempt.step_id,
        epoch=one.attempt.epoch,
        message=f"{answer.message} ({answer.hint})" if answer.hint else answer.message,
        traceback=answer.frames,
        final=True,
        checks=one.produced.checks,
        code=answer.code,
        unknown=unknown,
    )
