"""Random histories of claims, successes, failures, marks and restarts against a plain model of what the state store promises.

Whether, when and how the log is folded into chunks must not matter: histories also run with folding at random moments.
A history is drawn from one seed, with weights that keep it busy; a failing one is cut short by shrinking its length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core.model.errors import StoreError
from assets_core.model.io_manager import WriteReceipt
from assets_core.model.records import (
    SETTLED,
    AssetVersions,
    AttemptFailed,
    ClaimedStep,
    DataVersions,
    Fenced,
    NotClaimed,
    RecordAnswer,
    RecordedSuccess,
    RunKind,
    RunRecord,
    RunStatus,
    StepClaim,
    StepOutcome,
    StepSkipped,
    StepStatus,
    StepSucceeded,
)
from assets_core.state.postgres import PostgresStore
from assets_core.state.sql_store import Folding
from assets_core.state.sqlite import SqliteStore
from tests import postgres

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assets_core.state.sql_store import SqlStore

START = datetime(2025, 1, 1, tzinfo=UTC)
ASSETS = ("orders", "trends")
RUNS = ("run-1", "run-2")
PARTITIONS = range(-2, 5)
POOL, POOL_SLOTS = "api", 2
ENDS = ("publish", "publish", "some", "nothing", "fail", "fail", "give up", "skip")


@dataclass
class Success:
    seq: int
    read_seq: int
    code_id: int
    deps_id: int
    data_seq: int
    data_version: str | None
    token: str | None
    has_data: int = 1
    horizon: int = 0
    consumed: str | None = None


NEVER = Success(0, 0, 0, 0, 0, None, None, 0)


@dataclass
class Step:
    """The model's view of a step: its epochs, of which the last may still write, and what it would write."""

    run_id: str
    asset: str
    ids: tuple[int, ...]
    code_id: int
    deps_id: int
    epochs: list[int]
    read_seq: int
    token: str
    horizons: tuple[int, ...]
    pool: str | None = None
    running: bool = True
    attempt_failed: bool = False

    @property
    def has_slot(self) -> bool:
        return self.pool is not None and self.running and not self.attempt_failed


@dataclass
class Model:
    seq: int = 0
    restarts: int = 0
    successes: dict[tuple[str, int], Success] = field(default_factory=dict)
    failures: dict[tuple[str, int], int] = field(default_factory=dict)
    tokens: dict[tuple[str, int], str] = field(default_factory=dict)
    unknown: set[tuple[str, int]] = field(default_factory=set)
    run_of: dict[tuple[str, int], str] = field(default_factory=dict)
    """The run that made a partition last."""
    last_seqs: dict[str, int] = field(default_factory=dict)
    """What each run has on record last; a mark counts as of the run that made what is marked."""

    def succeed(
        self,
        step: Step,
        receipts: dict[int, WriteReceipt],
        consumed: Mapping[int, str],
        *,
        disturbed: bool,
    ) -> list[tuple[int, int]]:
        if disturbed:
            consumed = {}
        written = []
        horizons = step.horizons or (SETTLED,) * len(step.ids)
        for partition_id, horizon in zip(step.ids, horizons, strict=True):
            receipt = receipts.get(partition_id)
            if receipts and receipt is None:
                written.append((0, 0))
                continue
            self.seq += 1
            place = (step.asset, partition_id)
            before = self.successes.get(place)
            same = (
                before is not None
                and receipt is not None
                and receipt.data_version == before.data_version
                and place not in self.unknown
            )
            self.unknown.discard(place)
            data_seq = before.data_seq if before is not None and same else self.seq
            self.successes[place] = Success(
                seq=self.seq,
                read_seq=step.read_seq,
                code_id=step.code_id,
                deps_id=step.deps_id,
                data_seq=data_seq,
                data_version=None if receipt is None else receipt.data_version,
                token=None if receipt is None else step.token,
                has_data=int(receipt is not None or place in self.tokens),
                horizon=horizon,
                consumed=consumed.get(partition_id),
            )
            if receipt is not None:
                self.tokens[place] = step.token
            self.last_seqs[step.run_id] = self.seq
            self.run_of[place] = step.run_id
            written.append((self.seq, data_seq))
        return written

    def fail(self, step: Step, *, unknown: bool) -> None:
        for partition_id in step.ids:
            self.seq += 1
            self.failures[step.asset, partition_id] = self.seq
            self.last_seqs[step.run_id] = self.seq
            if unknown:
                self.unknown.add((step.asset, partition_id))

    def restart(self, asset: str) -> int:
        gone = {place for place in (*self.successes, *self.failures) if place[0] == asset}
        for place in gone:
            self.successes.pop(place, None)
            self.failures.pop(place, None)
            self.tokens.pop(place, None)
            self.unknown.discard(place)
        self.restarts += bool(gone)
        self.seq += bool(gone)
        return len(gone)

    def rows(self, asset: str) -> list[tuple[int, ...]]:
        """What the columns must hold: id, seq, read_seq, code_id, deps_id, data_seq, has_data, failed_seq, horizon."""
        ids = {place[1] for place in (*self.successes, *self.failures) if place[0] == asset}
        rows: list[tuple[int, ...]] = []
        for partition_id in sorted(ids):
            last = self.successes.get((asset, partition_id), NEVER)
            failed = self.failures.get((asset, partition_id), 0)
            figures = (last.seq, last.read_seq, last.code_id, last.deps_id, last.data_seq)
            failed = failed if failed > last.seq else 0
            rows.append((partition_id, *figures, last.has_data, failed, last.horizon))
        return rows


class History:
    """Two runs over two assets; processes that lost their claim still write now and then."""

    def __init__(self, seed: int, store: SqlStore) -> None:
        self.random = Random(seed)  # noqa: S311 -- a test's dice
        self.store = store
        self.model = Model()
        self.steps: dict[int, Step] = {}
        self.last_epoch = 0
        self.code = dict.fromkeys(ASSETS, "code-1")
        self.clock = START
        self.serial = 0
        self.waiting: set[str] = set()
        for run_id in RUNS:
            store.start_run(
                RunRecord(run_id, RunKind.BACKFILL, "*", "", "", RunStatus.RUNNING, START)
            )

    def advance(self, *, compacting: bool = False) -> None:
        actions = (self.claim, self.record, self.try_again, self.mark, self.edit, self.restart)
        weights = (4, 8, 3, 2, 1, 1, 3 if compacting else 0)
        self.random.choices((*actions, self.compact), weights=weights)[0]()

    def compact(self) -> None:
        rebuild = self.random.random() < 0.2
        done = self.store.compact(self.now(), rebuild=rebuild)
        assert done.rows <= self.model.seq
        if rebuild:
            assert done.rows == self.model.seq - self.model.restarts
        assert self.store.compact(self.now()).rows == 0
        assert self.store.verify() == []

    def now(self) -> datetime:
        # Backwards now and then: the order of commits must not depend on clocks.
        self.clock += timedelta(seconds=self.random.choice((-5, 0, 2)))
        return self.clock

    def token(self) -> str:
        self.serial += 1
        return f"token-{self.serial}"

    def versions(self, asset: str) -> AssetVersions:
        return AssetVersions(asset, "day|UTC|+00:00", self.code[asset], "deps")

    def started(self, claimed: ClaimedStep) -> None:
        assert claimed.read_seq == self.model.seq
        assert claimed.epoch > self.last_epoch
        self.last_epoch = claimed.epoch

    def edit(self) -> None:
        self.code[self.random.choice(ASSETS)] = self.random.choice(("code-1", "code-2"))

    def claim(self) -> None:
        run_id, asset = self.random.choice(RUNS), self.random.choice(ASSETS)
        ids = self.store.register([self.versions(asset)])[asset]
        groups = [
            tuple(self.random.sample(PARTITIONS, self.random.choice((1, 1, 2, 3))))
            for _ in range(self.random.choice((1, 1, 2)))
        ]
        wanted = [
            StepClaim(
                asset,
                group,
                self.token(),
                ids.code_id,
                ids.deps_id,
                self.horizons(group),
                self.known_seqs(asset, group),
                self.random.choice((None, POOL)),
                POOL_SLOTS,
            )
            for group in groups
        ]
        busy = {
            partition_id: step.run_id
            for step in self.steps.values()
            if step.running and step.asset == asset
            for partition_id in step.ids
        }
        flat = [partition_id for group in groups for partition_id in group]
        mine = {partition_id for partition_id, other in busy.items() if other == run_id}
        if mine.intersection(flat) or len(set(flat)) < len(flat):
            with pytest.raises(StoreError, match=r"already working on|claimed twice"):
                self.store.claim(run_id, wanted, self.now())
            return
        for one, claim in zip(self.store.claim(run_id, wanted, self.now()), wanted, strict=True):
            held = {id_: busy[id_] for id_ in claim.partition_ids if id_ in busy}
            made = self.made_since(claim)
            if held or made:
                assert isinstance(one, NotClaimed)
                assert one.held == held
                assert {found.partition_id: found.seq for found in one.made} == made
                continue
            if not self.slot_is_given(run_id, claim.pool, one):
                continue
            assert isinstance(one, ClaimedStep)
            assert one.step_id not in self.steps
            self.started(one)
            self.steps[one.step_id] = Step(
                run_id,
                asset,
                claim.partition_ids,
                claim.code_id,
                claim.deps_id,
                [one.epoch],
                one.read_seq,
                claim.token,
                claim.horizons,
                claim.pool,
            )

    def known_seqs(self, asset: str, group: tuple[int, ...]) -> tuple[int, ...]:
        """None, the true ones, or of a time before some of the successes."""
        if self.random.random() < 0.5:
            return ()
        ago = self.random.choice((0, 0, 3))
        last = [self.model.successes.get((asset, one), NEVER).seq for one in group]
        return tuple(max(0, seq - ago) for seq in last)

    def made_since(self, claim: StepClaim) -> dict[int, int]:
        """What the claim's partitions were made under, where it does not know of it and would take it as its own."""
        horizons = claim.horizons or (SETTLED,) * len(claim.partition_ids)
        found = {}
        for one, known, horizon in zip(
            claim.partition_ids, claim.known_seqs, horizons, strict=False
        ):
            last = self.model.successes.get((claim.asset, one), NEVER)
            if (
                last.seq > max(known, self.model.failures.get((claim.asset, one), 0))
                and (last.code_id, last.deps_id) == (claim.code_id, claim.deps_id)
                and (last.horizon == SETTLED or (horizon != SETTLED and last.horizon >= horizon))
            ):
                found[one] = last.seq
        return found

    def slot_is_given(
        self, run_id: str, pool: str | None, answer: ClaimedStep | NotClaimed
    ) -> bool:
        """Check the answer to whoever asked for a slot: one that is free is refused only for the sake of a run that waits."""
        if pool is None:
            return True
        in_use = sum(step.has_slot for step in self.steps.values())
        if isinstance(answer, NotClaimed):
            assert answer.full
            assert in_use == POOL_SLOTS or self.waiting - {run_id}
            self.waiting.add(run_id)
            return False
        assert in_use < POOL_SLOTS
        self.waiting.discard(run_id)
        return True

    def horizons(self, group: tuple[int, ...]) -> tuple[int, ...]:
        if self.random.random() < 0.6:
            return ()
        return tuple(self.random.choice((SETTLED, 0, 1, 2)) for _ in group)

    def try_again(self) -> None:
        retryable = [
            key for key, step in self.steps.items() if step.running and step.attempt_failed
        ]
        others = [key for key in self.steps if key not in retryable]
        if others and (not retryable or self.random.random() < 0.2):
            with pytest.raises(StoreError, match="can be tried again"):
                self.store.reclaim(self.random.choice(others), self.token(), self.now())
        elif retryable:
            step_id, token = self.random.choice(retryable), self.token()
            claimed = self.store.reclaim(step_id, token, self.now(), pool_slots=POOL_SLOTS)
            step = self.steps[step_id]
            if not self.slot_is_given(step.run_id, step.pool, claimed):
                return
            assert isinstance(claimed, ClaimedStep)
            assert claimed.step_id == step_id
            self.started(claimed)
            step.epochs.append(claimed.epoch)
            step.read_seq, step.token, step.attempt_failed = claimed.read_seq, token, False

    def record(self) -> None:
        running = [step_id for step_id, step in self.steps.items() if step.running]
        undisturbed = self.undisturbed()
        outcomes: list[StepOutcome] = []
        expected: list[RecordAnswer] = []
        for _ in range(self.random.choice((1, 1, 2, 4))):
            # Late: a step that has ended, or the first epoch of one that was tried again.
            late = self.random.random() < 0.25
            choice = list(self.steps) if late else running
            if not choice:
                continue
            step_id = self.random.choice(choice)
            step = self.steps[step_id]
            epoch = step.epochs[0 if late else -1]
            outcome = self.outcome(step_id, epoch)
            outcomes.append(outcome)
            if step.running and step.epochs[-1] == epoch:
                expected.append(self.apply(step, outcome, disturbed=step_id not in undisturbed))
            else:
                expected.append(Fenced(step_id))
        assert self.store.record(outcomes, self.now()) == expected

    def outcome(self, step_id: int, epoch: int) -> StepOutcome:
        version = self.random.choice(("v1", "v2"))
        unknown = self.random.random() < 0.5
        ids = self.steps[step_id].ids
        receipts = tuple(WriteReceipt(i, 1, 1, version, "schema") for i in ids)
        match self.random.choice(ENDS):
            case "publish":
                consumed = {one: version for one in ids if self.random.random() < 0.5}
                return StepSucceeded(step_id, epoch, receipts[::-1], consumed=consumed)
            case "some":
                return StepSucceeded(step_id, epoch, receipts[:1])
            case "nothing":
                return StepSucceeded(step_id, epoch, ())
            case "skip":
                return StepSkipped(step_id, epoch, StepStatus.CANCELLED, "stopped")
            case how:
                return AttemptFailed(
                    step_id, epoch, "no", "", final=how == "give up", unknown=unknown
                )

    def undisturbed(self) -> set[int]:
        """Steps during which no other run has worked on anything."""
        return {
            step_id
            for step_id, step in self.steps.items()
            if not any(
                other.running and other.run_id != step.run_id for other in self.steps.values()
            )
            and not any(
                seq > step.read_seq
                for run, seq in self.model.last_seqs.items()
                if run != step.run_id
            )
        }

    def apply(self, step: Step, outcome: StepOutcome, *, disturbed: bool) -> RecordAnswer:
        match outcome:
            case StepSucceeded():
                step.running = False
                receipts = {one.partition_id: one for one in outcome.receipts}
                written = self.model.succeed(step, receipts, outcome.consumed, disturbed=disturbed)
                seqs, data_seqs = zip(*written, strict=True)
                return RecordedSuccess(outcome.step_id, seqs, data_seqs)
            case AttemptFailed():
                step.attempt_failed = True
                if outcome.final:
                    step.running = False
                    self.model.fail(step, unknown=outcome.unknown)
            case StepSkipped():
                step.running = False
        return None

    def mark(self) -> None:
        asset = self.random.choice(ASSETS)
        known = [place[1] for place in self.model.successes if place[0] == asset]
        unknown = [one for one in PARTITIONS if one not in known]
        ids = self.random.sample(known, min(len(known), self.random.choice((1, 2))))
        if unknown and self.random.random() < 0.3:
            with pytest.raises(StoreError, match="nothing was marked"):
                self.store.mark_current(
                    self.versions(asset), [*ids, self.random.choice(unknown)], self.now()
                )
            return
        self.store.mark_current(self.versions(asset), ids, self.now())
        version_ids = self.store.register([self.versions(asset)])[asset]
        read_seq = self.model.seq
        for partition_id in ids:
            self.model.seq += 1
            success = self.model.successes[asset, partition_id]
            success.seq, success.read_seq = self.model.seq, read_seq
            success.code_id, success.deps_id = version_ids.code_id, version_ids.deps_id
            self.model.last_seqs[self.model.run_of[asset, partition_id]] = self.model.seq

    def restart(self) -> None:
        asset = self.random.choice(ASSETS)
        if any(step.running and step.asset == asset for step in self.steps.values()):
            with pytest.raises(StoreError, match="is working on it"):
                self.store.restart(asset, self.now())
            return
        assert self.store.restart(asset, self.now()) == self.model.restart(asset)

    def compare(self) -> None:
        """Columns are the last of the log; steps and what is in flight stand where the model has them."""
        snapshot = self.store.snapshot([self.versions(asset) for asset in ASSETS])
        assert snapshot.seq == self.model.seq
        for asset in ASSETS:
            state = snapshot.partitions[asset]
            figures = (state.seq, state.read_seq, state.code_id, state.deps_id, state.data_seq)
            arrays = (state.ids, *figures, state.has_data, state.failed_seq, state.horizon)
            assert all(array.dtype == np.int64 and array.ndim == 1 for array in arrays)
            assert list(zip(*(a.tolist() for a in arrays), strict=True)) == self.model.rows(asset)
            space = self.versions(asset).space
            assert self.store.data_versions(asset, space, PARTITIONS) == {
                place[1]: DataVersions(None, None)
                if place in self.model.unknown
                else DataVersions(last.data_version, last.consumed)
                for place in self.model.successes.keys() | self.model.unknown
                if place[0] == asset
                for last in [self.model.successes.get(place, NEVER)]
            }
            assert self.store.tokens(asset, space) == {
                place[1]: text for place, text in self.model.tokens.items() if place[0] == asset
            }
            in_flight = [
                partition_id
                for step in self.steps.values()
                if step.running and step.asset == asset
                for partition_id in step.ids
            ]
            found_in_flight = [
                partition_id
                for run in snapshot.in_flight.values()
                for partition_id in run.get(asset, ())
            ]
            assert sorted(found_in_flight) == sorted(in_flight)
        found = {step.id: step for run_id in RUNS for step in self.store.steps(run_id)}
        assert found.keys() == self.steps.keys()
        for step_id, step in self.steps.items():
            assert (found[step_id].status is StepStatus.RUNNING) == step.running
            assert (found[step_id].epoch, found[step_id].attempt) == (
                step.epochs[-1],
                len(step.epochs),
            )
            assert (found[step_id].partition_ids, found[step_id].token) == (step.ids, step.token)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 80))
def test_any_history_leaves_what_a_plain_model_says(seed: int, length: int) -> None:
    with SqliteStore(":memory:") as store:
        history = History(seed, store)
        for _ in range(length):
            history.advance()
            history.compare()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 80),
    partitions=st.integers(1, 8),
    rows=st.integers(1, 12),
    chunks=st.integers(1, 4),
    due=st.integers(1, 20),
)
def test_when_and_how_the_log_is_folded_makes_no_difference(  # noqa: PLR0917
    seed: int, length: int, partitions: int, rows: int, chunks: int, due: int
) -> None:
    folding = Folding(partitions=partitions, due=due, rows=rows, chunks=chunks)
    with SqliteStore(":memory:", folding=folding) as store:
        history = History(seed, store)
        for _ in range(length):
            history.advance(compacting=True)
            history.compare()
        assert store.verify() == []


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 60),
    folding=st.builds(
        Folding,
        partitions=st.integers(1, 8),
        rows=st.integers(1, 12),
        chunks=st.integers(1, 4),
        due=st.integers(1, 20),
    ),
)
def test_in_postgres_any_history_leaves_what_a_plain_model_says_however_it_is_folded(
    postgres_server: str, seed: int, length: int, folding: Folding
) -> None:
    with (
        postgres.fresh_schema(postgres_server) as url,
        PostgresStore(url, folding=folding) as store,
    ):
        history = History(seed, store)
        for _ in range(length):
            history.advance(compacting=True)
            history.compare()
        assert store.verify() == []
