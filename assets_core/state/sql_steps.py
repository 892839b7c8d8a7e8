"""Steps in SQLite: claiming, trying again, recording how they ended, and settling those that were never claimed.

Functions run inside a write transaction of the caller and take its cursor. The states and fences are those of `store`; every
write about a claimed step is one UPDATE that names step, epoch and `running`, so that checking the fence and writing are one act.
Reading runs and steps back lives in `sql_runs`.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, assert_never

from assets_core.model.errors import StoreError
from assets_core.model.records import (
    SETTLED,
    AttemptFailed,
    ClaimedStep,
    Fenced,
    MadeElsewhere,
    NotClaimed,
    RecordedSuccess,
    StepSkipped,
    StepStatus,
    StepSucceeded,
)
from assets_core.state.dialects import per_dialect
from assets_core.state.sql_checks import add_checks, set_latest
from assets_core.state.sql_log import LogWriter
from assets_core.state.sql_pools import PoolSlots
from assets_core.state.sql_rows import (
    horizons_to_text,
    ids_from_text,
    ids_to_text,
    storable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from assets_core.model.io_manager import WriteReceipt
    from assets_core.model.records import RecordAnswer, Settled, StepClaim, StepOutcome
    from assets_core.state.dialects import Cursor, Row

_RUN_NUMBER = "select number, status from run where id = ?"
_COUNTERS = "select seq, epoch from seq_counter"
_SET_EPOCH = "update seq_counter set epoch = ?"
_RUNNING_PARTITIONS = """
select step.asset_id, step.partitions, step.id, run.id from step join run on run.number = step.run
where step.status = 'running'"""
# The latest thing that is on record of a partition, if that is a success.
_LAST_MADE = """
select m.seq, m.read_seq, m.data_seq, m.token is not null, m.horizon, m.code_id, m.deps_id, run.id
from materialization m join step on step.id = m.step_id join run on run.number = step.run
where m.seq = (select max(seq) from materialization where asset_id = ?1 and partition_id = ?2) and m.kind <> 0"""
_CLAIMED_ASSET = """
select code.asset_id from version code join version deps on deps.asset_id = code.asset_id
join asset on asset.id = code.asset_id
where code.id = ? and code.kind = 'code' and deps.id = ? and deps.kind = 'deps' and asset.key = ?
and asset.restarted_seq is null"""
_USED_TOKEN = per_dialect(
    sqlite="select token from step where token in (select value from json_each(?)) limit 1",
    postgres="select token from step where token in (select json_array_elements_text(?::json)) limit 1",
)
_ADD_CLAIMED = """
insert into step (id, run, asset, asset_id, partitions, status, attempt, epoch, token,
                  read_seq, code_id, deps_id, started_at, horizons, pool)
values (?1, ?2, ?3, ?4, ?5, 'running', 1, ?1, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"""
_ADD_SETTLED = """
insert into step (id, run, asset, partitions, status, attempt, epoch, read_seq, started_at, ended_at, message)
values (?1, ?2, ?3, ?4, ?5, 0, 0, ?6, ?7, ?7, ?8)"""
_MAY_TRY_AGAIN = """
select step.pool, step.run, run.id from step join run on run.number = step.run
where step.id = ? and step.status = 'running'
  and exists (select 1 from attempt where step_id = step.id and attempt = step.attempt)"""
_CLAIM_AGAIN = """
update step set attempt = attempt + 1, epoch = ?2, token = ?3, read_seq = ?4, started_at = ?5 where id = ?1"""
_STEP_STATUS = "select status, attempt from step where id = ?"

_END_STEP = """
update step set status = ?3, ended_at = ?4, rows = ?5, message = ?6, traceback = ?7, seconds = ?8
where id = ?1 and epoch = ?2 and status = 'running'
returning asset_id, partitions, token, read_seq, code_id, deps_id, horizons"""
# Whether nobody else can have published anything between the claim and now: then what the step read is what was on record.
_IS_UNDISTURBED = """
select not exists (select 1 from step other where other.status = 'running' and other.run <> step.run)
   and not exists (select 1 from materialization m join step other on other.id = m.step_id
                   where m.seq > step.read_seq and other.run <> step.run)
from step where id = ?"""
# An attempt that was already reported as failed stays in its place when it is reported again as the final one.
_ADD_ATTEMPT = """
insert into attempt (step_id, attempt, started_at, ended_at, message, traceback)
select id, attempt, started_at, ?3, ?4, ?5 from step where id = ?1 and epoch = ?2 and status = 'running'
on conflict (step_id, attempt) do update
set ended_at = excluded.ended_at, message = excluded.message, traceback = excluded.traceback"""

_WITHOUT_DATA = frozenset(
    {StepStatus.SKIPPED, StepStatus.CUT_OFF, StepStatus.CANCELLED, StepStatus.ABANDONED}
)


def running_run(cursor: Cursor, run_id: str) -> int:
    """The row number of a run that is RUNNING. Raises StoreError for any other."""
    row = cursor.execute(_RUN_NUMBER, (run_id,)).fetchone()
    if row is None:
        raise StoreError(f"There is no run {run_id!r}.", hint="partita runs list")
    number, status = row
    if status != "running":
        raise StoreError(
            f"Run {run_id} has ended ({status}); nothing more can be written to it.",
            hint=f"partita runs show {run_id}",
        )
    found: int = number
    return found


def claim_steps(
    cursor: Cursor, run_id: str, claims: Sequence[StepClaim], at: int
) -> list[ClaimedStep | NotClaimed]:
    """Insert RUNNING steps, each under an epoch of its own. Raises StoreError if one may not start; then none does."""
    number = running_run(cursor, run_id)
    seq, epoch = cursor.execute(_COUNTERS).get
    asset_ids = _claimed_assets(cursor, claims)
    made = _made_elsewhere(cursor, claims, asset_ids)
    taken = {
        (asset_id, partition_id): (step_id, run)
        for asset_id, partitions, step_id, run in cursor.execute(_RUNNING_PARTITIONS)
        for partition_id in ids_from_text(partitions)
    }
    pools = PoolSlots(cursor, number, run_id)
    rows = []
    answers: list[ClaimedStep | NotClaimed] = []
    for claim, asset_id in zip(claims, asset_ids, strict=True):
        mine = _taken_here(claim, asset_id, run_id, taken)
        if mine is not None:
            raise StoreError(
                f"{claim.asset}: step {mine[0]} of run {run_id} is already working on partition id {mine[1]}."
            )
        refused = _refused(claim, asset_id, taken, made)
        if refused is None and claim.pool is not None:
            full = pools.take(claim.pool, claim.pool_slots)
            refused = NotClaimed(full=full) if full else None
        if refused is not None:
            answers.append(refused)
            continue
        epoch += 1
        taken.update({(asset_id, one): (epoch, run_id) for one in claim.partition_ids})
        partitions = ids_to_text(claim.partition_ids)
        row = (epoch, number, claim.asset, asset_id, partitions, claim.token, seq)
        versions = (claim.code_id, claim.deps_id)
        rows.append((*row, *versions, at, horizons_to_text(claim.horizons), claim.pool))
        answers.append(ClaimedStep(step_id=epoch, epoch=epoch, read_seq=seq))
    _refuse_used_tokens(cursor, [claim.token for claim in claims])
    pools.finish()
    if rows:
        cursor.executemany(_ADD_CLAIMED, rows)
        cursor.execute(_SET_EPOCH, (epoch,))
    return answers


def _claimed_assets(cursor: Cursor, claims: Sequence[StepClaim]) -> list[int]:
    """The asset's id for each claim. Raises StoreError for a claim that makes no sense."""
    by_versions: dict[tuple[int, int, str], int] = {}
    seen: set[tuple[str, int]] = set()
    for claim in claims:
        if not claim.partition_ids or not claim.token:
            raise StoreError(f"{claim.asset}: a claim names at least one partition and a token.")
        count = len(claim.partition_ids)
        for told, name in ((claim.horizons, "horizons"), (claim.known_seqs, "known seqs")):
            if told and len(told) != count:
                raise StoreError(
                    f"{claim.asset}: a claim of {count} partitions has {len(told)} {name}."
                )
        for partition_id in claim.partition_ids:
            if (claim.asset, partition_id) in seen:
                raise StoreError(
                    f"{claim.asset}: partition id {partition_id} is claimed twice at once."
                )
            seen.add((claim.asset, partition_id))
        versions = (claim.code_id, claim.deps_id, claim.asset)
        if versions not in by_versions:
            by_versions[versions] = _claimed_asset(cursor, versions)
    return [by_versions[claim.code_id, claim.deps_id, claim.asset] for claim in claims]


Place = tuple[int, int]
"""Asset id and partition id."""


def _made_elsewhere(
    cursor: Cursor, claims: Sequence[StepClaim], asset_ids: Sequence[int]
) -> dict[Place, MadeElsewhere]:
    """What others made after the successes that the claims know of, so that it would count as if the claim had made it."""
    wanted = [
        ((asset_id, partition_id), known, horizon, (claim.code_id, claim.deps_id))
        for claim, asset_id in zip(claims, asset_ids, strict=True)
        if claim.known_seqs
        for partition_id, known, horizon in zip(
            claim.partition_ids,
            claim.known_seqs,
            claim.horizons or (SETTLED,) * len(claim.partition_ids),
            strict=True,
        )
    ]
    found: dict[Place, MadeElsewhere] = {}
    rows = cursor.each(_LAST_MADE, [place for place, *_ in wanted])
    for (place, known, horizon, versions), row in zip(wanted, rows, strict=True):
        if row is None:
            continue
        seq, read_seq, data_seq, has_data, its_horizon, *its_versions, run = row
        is_late_enough = its_horizon == SETTLED or its_horizon >= horizon != SETTLED
        if seq > known and tuple(its_versions) == versions and is_late_enough:
            found[place] = MadeElsewhere(place[1], seq, read_seq, data_seq, bool(has_data), run)
    return found


def _taken_here(
    claim: StepClaim, asset_id: int, run_id: str, taken: Mapping[Place, tuple[int, str]]
) -> tuple[int, int] | None:
    """The step of the claim's own run that has one of its partitions, and which; None if there is none."""
    for partition_id in claim.partition_ids:
        step_id, run = taken.get((asset_id, partition_id), (0, ""))
        if run == run_id:
            return step_id, partition_id
    return None


def _refused(
    claim: StepClaim,
    asset_id: int,
    taken: Mapping[Place, tuple[int, str]],
    made: Mapping[Place, MadeElsewhere],
) -> NotClaimed | None:
    places = [(asset_id, partition_id) for partition_id in claim.partition_ids]
    held = {place[1]: taken[place][1] for place in places if place in taken}
    there = tuple(made[place] for place in places if place in made and claim.known_seqs)
    return NotClaimed(made=there, held=held) if held or there else None


def claim_again(
    cursor: Cursor, step_id: int, token: str, at: int, pool_slots: int
) -> ClaimedStep | NotClaimed:
    """Start a step's next attempt. Raises StoreError unless it is RUNNING and its last attempt was recorded as failed."""
    seq, epoch = cursor.execute(_COUNTERS).get
    epoch += 1
    _refuse_used_tokens(cursor, [token])
    found = cursor.execute(_MAY_TRY_AGAIN, (step_id,)).fetchone()
    if found is None:
        row = cursor.execute(_STEP_STATUS, (step_id,)).fetchone()
        state = "does not exist" if row is None else f"is {row[0]} in attempt {row[1]}"
        raise StoreError(
            f"Step {step_id} {state}: only a running step whose last attempt failed can be tried again."
        )
    pool, run, run_id = found
    if pool is not None:
        pools = PoolSlots(cursor, run, run_id)
        full = pools.take(pool, pool_slots)
        pools.finish()
        if full:
            return NotClaimed(full=full)
    cursor.execute(_CLAIM_AGAIN, (step_id, epoch, token, seq, at))
    cursor.execute(_SET_EPOCH, (epoch,))
    return ClaimedStep(step_id=step_id, epoch=epoch, read_seq=seq)


def settle_steps(cursor: Cursor, run_id: str, settled: Sequence[Settled], at: int) -> None:
    """Insert steps that ended without being claimed."""
    number = running_run(cursor, run_id)
    seq, step_id = cursor.execute(_COUNTERS).get
    for step in settled:
        step_id += 1
        _refuse_unless_without_data(step.status)
        if not step.partition_ids:
            raise StoreError(f"{step.asset}: a settled step names at least one partition.")
        partitions = ids_to_text(step.partition_ids)
        row = (step_id, number, step.asset, partitions, step.status, seq, at)
        cursor.execute(_ADD_SETTLED, (*row, storable(step.message)))
    cursor.execute(_SET_EPOCH, (step_id,))


def record_outcomes(
    cursor: Cursor, outcomes: Sequence[StepOutcome], at: int
) -> list[RecordAnswer]:
    """Write outcomes in order, one answer each. Raises StoreError for receipts that don't fit their step."""
    log = LogWriter(cursor, at)
    undisturbed = _undisturbed(cursor, outcomes)  # before anything is ended here
    answers: list[RecordAnswer] = []
    # Successes that follow each other are ended at once: over a network it is the round trips that cost.
    for _, group in groupby(outcomes, lambda outcome: isinstance(outcome, StepSucceeded)):
        succeeded: list[StepSucceeded] = []
        for outcome in group:
            match outcome:
                case StepSucceeded():
                    succeeded.append(outcome)
                case AttemptFailed():
                    answers.append(_failed(cursor, log, outcome, at))
                case StepSkipped():
                    answers.append(_skipped(cursor, outcome, at))
                case _:
                    assert_never(outcome)
        if succeeded:
            answers += _succeeded(cursor, log, succeeded, at, undisturbed)
    log.finish()
    return answers


def _succeeded(
    cursor: Cursor,
    log: LogWriter,
    outcomes: Sequence[StepSucceeded],
    at: int,
    undisturbed: set[int],
) -> Iterator[RecordedSuccess | Fenced]:
    steps = cursor.each(_END_STEP, [_end_of(outcome, at) for outcome in outcomes])
    ids = [() if step is None else ids_from_text(step[1]) for step in steps]
    log.look_up(
        (step[0], one)
        for step, some in zip(steps, ids, strict=True)
        if step is not None
        for one in some
    )
    for outcome, step, some in zip(outcomes, steps, ids, strict=True):
        if step is None:
            yield Fenced(outcome.step_id)
            continue
        step_id, receipts = outcome.step_id, outcome.receipts
        by_id = _receipts_by_id(step_id, some, receipts) if receipts else None
        consumed = outcome.consumed if step_id in undisturbed else {}
        seqs, data_seqs = log.success(step_id, step, some, by_id, consumed)
        add_checks(cursor, step_id, outcome.checks)
        set_latest(cursor, step[0], some, outcome.checks, step_id=step_id, at=at)
        yield RecordedSuccess(step_id, seqs, data_seqs)


def _undisturbed(cursor: Cursor, outcomes: Sequence[StepOutcome]) -> set[int]:
    """Steps that say what they were made from, and can be believed: no other run was at work meanwhile."""
    asking = [
        outcome.step_id
        for outcome in outcomes
        if isinstance(outcome, StepSucceeded) and outcome.consumed
    ]
    found = cursor.each(_IS_UNDISTURBED, [(step_id,) for step_id in asking])
    return {
        step_id for step_id, row in zip(asking, found, strict=True) if row is not None and row[0]
    }


def _end_of(outcome: StepSucceeded, at: int) -> Row:
    receipts = outcome.receipts
    rows = sum(receipt.rows for receipt in receipts) if receipts else None
    return (outcome.step_id, outcome.epoch, "succeeded", at, rows, "", "", outcome.seconds)


def _receipts_by_id(
    step_id: int, ids: tuple[int, ...], receipts: tuple[WriteReceipt, ...]
) -> dict[int, WriteReceipt]:
    by_id = {receipt.partition_id: receipt for receipt in receipts}
    strange = sorted(by_id.keys() - set(ids))
    if strange:
        raise StoreError(
            f"Step {step_id} did not claim partition ids {strange[:5]}, but there are receipts for them; nothing was recorded."
        )
    if len(by_id) != len(receipts):
        raise StoreError(
            f"Step {step_id} has two receipts for one partition; nothing was recorded."
        )
    return by_id


def _failed(cursor: Cursor, log: LogWriter, outcome: AttemptFailed, at: int) -> Fenced | None:
    step_id = outcome.step_id
    message, traceback = storable(outcome.message), storable(outcome.traceback)
    cursor.execute(_ADD_ATTEMPT, (step_id, outcome.epoch, at, message, traceback))
    if not cursor.connection.changes():
        return Fenced(step_id)
    if outcome.final:
        end = (step_id, outcome.epoch, "failed", at, None, message, traceback, None)
        step = cursor.execute(_END_STEP, end).get
        ids = ids_from_text(step[1])
        log.failure(step_id, step, ids, unknown=outcome.unknown)
        set_latest(cursor, step[0], ids, outcome.checks, step_id=step_id, at=at)
    add_checks(cursor, step_id, outcome.checks)
    return None


def _skipped(cursor: Cursor, outcome: StepSkipped, at: int) -> Fenced | None:
    _refuse_unless_without_data(outcome.status)
    message = storable(outcome.message)
    end = (outcome.step_id, outcome.epoch, outcome.status, at, None, message, "", None)
    if cursor.execute(_END_STEP, end).fetchone() is None:
        return Fenced(outcome.step_id)
    return None


def _refuse_unless_without_data(status: StepStatus) -> None:
    if status not in _WITHOUT_DATA:
        raise StoreError(f"A step that ends without data can't be recorded as {status}.")


def _claimed_asset(cursor: Cursor, versions: tuple[int, int, str]) -> int:
    row = cursor.execute(_CLAIMED_ASSET, versions).fetchone()
    if row is None:
        code_id, deps_id, asset = versions
        raise StoreError(
            f"{asset}: its claim names versions {code_id} and {deps_id}, which were not registered for it."
        )
    asset_id: int = row[0]
    return asset_id


def _refuse_used_tokens(cursor: Cursor, tokens: Sequence[str]) -> None:
    """Raise StoreError for a token that another step has. Writers take turns, so what is asked before the write holds at the write."""
    found = cursor.execute(_USED_TOKEN, (json.dumps(tokens),)).fetchone()
    twice = next((token for token, count in Counter(tokens).items() if count > 1), None)
    used = twice if found is None else found[0]
    if used is not None:
        raise StoreError(f"The commit token {used} belongs to another step; a token is used once.")
