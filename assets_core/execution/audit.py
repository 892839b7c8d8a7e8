"""What a contract leads to while rows are staged: they go on, some go elsewhere, or the attempt fails. Nothing becomes visible here.

Theory of operation
-------------------
The attempt's rows are staged, then judged. A violation that stops fails the attempt. With quarantine the rows that break a rule are staged
for `<asset>__rejected`, with their reason; that happens in every attempt, for no rows as well, so that what an earlier one left there goes. Only
if there are such rows is the stage made again from the good ones: they wait under a token of their own meanwhile, because
an IO manager promises nothing about two stages under one token. Rows are told apart in Arrow, by their numbers in the stream, and keep their types.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from assets_core.execution.contract_pass import ContractJudge, JudgedRows
from assets_core.execution.rejects import held_token, rejected_request
from assets_core.model.contracts import REASON_COLUMN
from assets_core.model.errors import DataError, IOManagerError
from assets_core.model.io_manager import ReadRequest
from assets_core.model.specs import SCD2, Replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from assets_core.authoring.outline import Outline
    from assets_core.execution.contract_pass import Keys, Offender, OwnKeys
    from assets_core.execution.step_order import ReferenceOrder, StepOrder
    from assets_core.model.checks import CheckOutcome
    from assets_core.model.contracts import Contract
    from assets_core.model.io_manager import IOManager, Staged, Target


class CheckFailedError(DataError):
    """A blocking check failed on the staged rows; nothing was published. `checks` are all outcomes of the attempt."""

    code = "check-failed"

    def __init__(self, message: str, checks: tuple[CheckOutcome, ...]) -> None:
        super().__init__(
            message,
            hint="the rows that were there before are untouched; fix the data or the check, then run again",
        )
        self.checks = checks


@dataclass(frozen=True, slots=True)
class Audited:
    """Rows that a contract let pass, those that it keeps out (None if it keeps out none), and what it said."""

    staged: Staged
    rejected: Staged | None
    outcomes: tuple[CheckOutcome, ...]


class Auditor:
    """Holds staged rows against contracts."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._judge = ContractJudge()

    def judge_published(self, contract: Contract, order: StepOrder) -> tuple[CheckOutcome, ...]:
        """What the contract says of the partitions of `order` as they are at their destination. Raises DataError, IOManagerError."""
        manager = self._outline.manager(order.asset)
        target = as_returned(self._outline.target(order.asset))
        rows = JudgedRows(
            order.asset,
            order.slices,
            lambda: (manager.read(ReadRequest(target, (one,))) for one in order.slices),
        )
        verdict = self._judge.judge(
            contract, rows, lambda keys: self._keys(order.references, keys), order.now
        )
        return verdict.outcomes

    def audit(self, contract: Contract | None, order: StepOrder, staged: Staged) -> Audited:
        """The rows to publish and to reject. If it raises, what it staged itself is thrown away; `staged` is the caller's still.

        Raises CheckFailedError if the contract stops them, DataError if it can't be checked.
        """
        if contract is None:
            return Audited(staged, None, ())
        manager = self._outline.manager(order.asset)
        rows = JudgedRows(order.asset, order.slices, lambda: manager.read_staged_slices(staged))
        verdict = self._judge.judge(
            contract, rows, lambda keys: self._keys(order.references, keys), order.now
        )
        broken = [one for one in verdict.outcomes if not one.passed]
        stopping = [one for one in broken if one.blocking]
        if stopping:
            told = "; ".join(f"{one.check}: {one.message}" for one in stopping)
            raise CheckFailedError(
                f"the contract of {order.asset} is broken: {told}", verdict.outcomes
            )
        target = self._outline.rejected.get(order.asset)
        if target is None:
            return Audited(staged, None, verdict.outcomes)
        offenders = list(verdict.offenders()) if broken else []
        place = manager.location(target)
        outcomes = tuple(
            one
            if one.passed
            else replace(one, message=f"{one.message}; these rows are in {place}")
            for one in verdict.outcomes
        )
        rejected = manager.stage(
            rejected_request(staged.request, target), _rejected(rows, offenders)
        )
        try:
            good = _restaged(manager, staged, rows, offenders) if offenders else staged
        except BaseException:
            manager.discard(rejected)
            raise
        return Audited(good, rejected, outcomes)

    def _keys(self, references: Sequence[ReferenceOrder], keys: Keys) -> Iterator[OwnKeys]:
        asset, columns = keys
        manager, target = self._outline.manager(asset), self._outline.target(asset)
        for one in references:
            if one.asset != asset or not one.slices:
                continue
            try:
                found = manager.read(ReadRequest(target, one.slices, columns))
            except IOManagerError:
                # An output without rows may have no columns either: then there are no keys.
                if manager.read(ReadRequest(target, one.slices)).schema.names:
                    raise
            else:
                if found.schema.names:
                    yield one.own, found


def as_returned(target: Target) -> Target:
    """Where to read what a function returned, which is what contracts and checks are about: of a history its events, not their fold."""
    return replace(target, write=Replace()) if isinstance(target.write, SCD2) else target


def _restaged(
    manager: IOManager, staged: Staged, rows: JudgedRows, offenders: Sequence[Offender]
) -> Staged:
    """The stage made again without the offenders."""
    request = staged.request
    held = manager.stage(replace(request, token=held_token(request.token)), _good(rows, offenders))
    try:
        manager.discard(staged)
        good = manager.stage(request, manager.read_staged(held))
    finally:
        manager.discard(held)
    return replace(good, dropped=staged.dropped, dropped_columns=staged.dropped_columns)


def _good(rows: JudgedRows, offenders: Sequence[Offender]) -> pa.RecordBatchReader:
    import numpy as np  # noqa: PLC0415 - heavy
    import pyarrow as pa  # noqa: PLC0415 - heavy

    def batches() -> Iterator[pa.RecordBatch]:
        for batch, bad in _with_places(streams, offenders):
            if not bad:
                yield batch
                continue
            keep = np.ones(batch.num_rows, dtype=bool)
            keep[[place for place, _ in bad]] = False
            yield batch.filter(pa.array(keep))

    schema, streams = _opened(rows)
    return pa.RecordBatchReader.from_batches(schema, batches())


def _rejected(rows: JudgedRows, offenders: Sequence[Offender]) -> pa.RecordBatchReader:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    def batches() -> Iterator[pa.RecordBatch]:
        for batch, bad in _with_places(streams, offenders):
            if bad:
                places = pa.array([place for place, _ in bad], pa.int64())
                reasons = pa.array([one.reason for _, one in bad], pa.string())
                yield pa.RecordBatch.from_arrays(
                    [*batch.take(places).columns, reasons], schema=with_reason
                )

    schema, streams = _opened(rows)
    if any(name.casefold() == REASON_COLUMN for name in schema.names):
        raise DataError(
            f"{rows.asset}: column {REASON_COLUMN!r} is the one that says why rows are rejected",
            hint="rename it, or choose another on_violation than quarantine",
        )
    with_reason = schema.append(pa.field(REASON_COLUMN, pa.string()))
    return pa.RecordBatchReader.from_batches(with_reason, batches() if offenders else iter(()))


def _opened(rows: JudgedRows) -> tuple[pa.Schema, Iterator[pa.RecordBatchReader]]:
    streams = rows.open()
    first = next(streams)
    return first.schema, chain([first], streams)


def _with_places(
    streams: Iterator[pa.RecordBatchReader], offenders: Sequence[Offender]
) -> Iterator[tuple[pa.RecordBatch, list[tuple[int, Offender]]]]:
    """Each batch with its offenders and their places in it."""
    row = 0
    at = 0
    for stream in streams:
        for batch in stream:
            bad = []
            while at < len(offenders) and offenders[at].row < row + batch.num_rows:
                bad.append((offenders[at].row - row, offenders[at]))
                at += 1
            yield batch, bad
            row += batch.num_rows
