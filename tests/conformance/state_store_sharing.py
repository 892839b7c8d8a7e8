"""The part of the state store's contract that is about several runs at once: the same partitions, and slots of pools."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from assets_core.model.errors import StoreError
from assets_core.model.records import (
    SETTLED,
    ClaimedStep,
    MadeElsewhere,
    NotClaimed,
    RunStatus,
    StepClaim,
)
from tests.conformance.state_store_session import LATER, NOW, ORDERS, TRENDS, Session, receipt

if TYPE_CHECKING:
    from assets_core.state.store import StateStore


class SharingSuite:
    def test_what_another_run_works_on_is_held_until_that_has_ended(
        self, store: StateStore
    ) -> None:
        first, second = Session(store), Session(store, "run-2")
        step = first.claim(1, 2)
        assert second.ask(2, 3) == NotClaimed(held={2: "run-1"})
        assert isinstance(second.ask(2, asset=TRENDS), ClaimedStep)
        first.fail(step, final=False)
        assert second.ask(1) == NotClaimed(held={1: "run-1"})
        first.succeed(step, receipt(1), receipt(2))
        assert isinstance(second.ask(1, 2, 3), ClaimedStep)

    def test_a_refused_claim_starts_nothing_and_stops_no_other(self, store: StateStore) -> None:
        Session(store).claim(2)
        second = Session(store, "run-2")
        versions = store.register([ORDERS])["orders"]
        claims = [
            StepClaim("orders", (one,), f"token-{one}", versions.code_id, versions.deps_id)
            for one in (1, 2, 3)
        ]
        answers = store.claim("run-2", claims, NOW)
        assert [isinstance(one, ClaimedStep) for one in answers] == [True, False, True]
        assert [step.partition_ids for step in store.steps("run-2")] == [(1,), (3,)]
        assert second.ask(2, published_as="token-2") == answers[1]

    def test_what_another_run_made_since_is_told_and_not_claimed(self, store: StateStore) -> None:
        first, second = Session(store), Session(store, "run-2")
        first.materialize(1)
        made = first.materialize(2)
        assert second.ask(1, 2, 3, knows=1) == NotClaimed(
            made=(
                MadeElsewhere(
                    2, made.seqs[0], 1, made.data_seqs[0], has_data=True, run_id="run-1"
                ),
            )
        )
        assert isinstance(second.ask(1, 2, 3, knows=2), ClaimedStep)

    def test_what_was_made_is_made_again_by_whoever_does_not_care(self, store: StateStore) -> None:
        Session(store).materialize(1)
        assert isinstance(Session(store, "run-2").ask(1), ClaimedStep)

    def test_what_was_made_without_rows_says_so(self, store: StateStore) -> None:
        first = Session(store)
        first.succeed(first.claim(1))
        answer = Session(store, "run-2").ask(1, knows=0)
        assert isinstance(answer, NotClaimed)
        assert [one.has_data for one in answer.made] == [False]

    def test_what_was_made_by_other_code_or_failed_since_does_not_count(
        self, store: StateStore
    ) -> None:
        first, second = Session(store), Session(store, "run-2")
        first.materialize(1)
        first.materialize(2)
        first.fail_partitions(2)
        changed = replace(ORDERS, code_version="code-2")
        assert isinstance(second.ask(1, asset=changed, knows=0), ClaimedStep)
        assert isinstance(second.ask(2, knows=0), ClaimedStep)

    @pytest.mark.parametrize(
        ("was", "wanted", "counts"),
        [
            (SETTLED, SETTLED, True),
            (SETTLED, 1, True),
            (1, 1, True),
            (2, 1, True),
            (0, 1, False),
            (2, SETTLED, False),
        ],
    )
    def test_what_was_made_too_early_does_not_count(
        self, store: StateStore, was: int, wanted: int, counts: bool
    ) -> None:
        first = Session(store)
        step = first.ask(1, horizons=(was,))
        assert isinstance(step, ClaimedStep)
        first.succeed(step, receipt(1))
        answer = Session(store, "run-2").ask(1, knows=0, horizons=(wanted,))
        assert isinstance(answer, NotClaimed) == counts

    def test_what_a_step_was_made_from_is_forgotten_if_another_run_was_at_work(
        self, store: StateStore
    ) -> None:
        def consumed(partition: int) -> str | None:
            return store.data_versions("orders", ORDERS.space, [partition])[partition].consumed

        first = Session(store)
        alone, before, beside = first.claim(1), first.claim(2), first.claim(3)
        first.succeed(alone, receipt(1), consumed={1: "fingerprint"})
        second = Session(store, "run-2")
        step = second.claim(7, asset=TRENDS)
        first.succeed(beside, receipt(3), consumed={3: "fingerprint"})
        second.succeed(step, receipt(7))
        first.succeed(before, receipt(2), consumed={2: "fingerprint"})
        after = first.claim(4)
        first.succeed(after, receipt(4), consumed={4: "fingerprint"})
        assert [consumed(one) for one in (1, 2, 3, 4)] == [
            "fingerprint",
            None,
            None,
            "fingerprint",
        ]

    def test_known_seqs_of_other_partitions_than_claimed_are_refused(
        self, store: StateStore
    ) -> None:
        Session(store)
        versions = store.register([ORDERS])["orders"]
        claim = StepClaim(
            "orders", (1, 2), "token", versions.code_id, versions.deps_id, known_seqs=(1,)
        )
        with pytest.raises(StoreError, match="2 partitions has 1 known seqs"):
            store.claim("run-1", [claim], NOW)

    def test_runs_share_the_slots_of_a_pool(self, store: StateStore) -> None:
        first, second = Session(store), Session(store, "run-2")
        one = first.ask(1, slots=2)
        assert isinstance(one, ClaimedStep)
        two = second.ask(2, slots=2)
        assert isinstance(two, ClaimedStep)
        assert second.ask(3, slots=2) == NotClaimed(full=("run-1", "run-2"))
        assert isinstance(second.ask(3), ClaimedStep)
        first.succeed(one, receipt(1))
        assert isinstance(second.ask(4, slots=2), ClaimedStep)

    def test_between_two_attempts_a_step_has_no_slot(self, store: StateStore) -> None:
        first, second = Session(store), Session(store, "run-2")
        step = first.ask(1, slots=1)
        assert isinstance(step, ClaimedStep)
        first.fail(step, final=False)
        other = second.ask(2, slots=1)
        assert isinstance(other, ClaimedStep)
        assert first.try_again(step, slots=1) == NotClaimed(full=("run-2",))
        second.succeed(other, receipt(2))
        again = first.try_again(step, slots=1)
        assert isinstance(again, ClaimedStep)
        assert second.ask(3, slots=1) == NotClaimed(full=("run-1",))

    def test_runs_take_turns(self, store: StateStore) -> None:
        sessions = [Session(store, f"run-{number}") for number in range(3)]
        working = sessions[0].ask(0, slots=1)
        served = [0]
        for partition in range(9):
            holder = sessions[served[-1]]
            for session in sessions:
                if session is not holder:
                    assert isinstance(session.ask(partition + 1, slots=1), NotClaimed)
            assert isinstance(working, ClaimedStep)
            holder.succeed(working, receipt(partition))
            # Whoever has just had a slot asks first, and again.
            assert isinstance(holder.ask(partition + 1, slots=1), NotClaimed)
            answers = [session.ask(partition + 1, slots=1) for session in sessions]
            (turn,) = [at for at, one in enumerate(answers) if isinstance(one, ClaimedStep)]
            working = answers[turn]
            served.append(turn)
        assert all({*served[at : at + 3]} == {0, 1, 2} for at in range(len(served) - 2))

    def test_a_run_that_does_not_come_is_passed_over(self, store: StateStore) -> None:
        first, second = Session(store), Session(store, "run-2")
        step = first.ask(1, slots=1)
        assert isinstance(step, ClaimedStep)
        assert isinstance(second.ask(2, slots=1), NotClaimed)
        first.succeed(step, receipt(1))
        refusals = 0
        while isinstance(first.ask(3, slots=1), NotClaimed):
            refusals += 1
            assert refusals < 100
        assert refusals > 1

    def test_a_run_that_has_ended_waits_for_no_slot(self, store: StateStore) -> None:
        first, second = Session(store), Session(store, "run-2")
        step = first.ask(1, slots=1)
        assert isinstance(step, ClaimedStep)
        assert isinstance(second.ask(2, slots=1), NotClaimed)
        store.finish_run("run-2", RunStatus.CANCELLED, LATER)
        first.succeed(step, receipt(1))
        assert isinstance(first.ask(3, slots=1), ClaimedStep)
