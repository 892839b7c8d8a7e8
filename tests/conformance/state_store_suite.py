"""What every state store must do, as tests. To hold a store against it, subclass `StateStoreSuite` and give it a fixture `store`:

    class TestMyStore(StateStoreSuite):
        @pytest.fixture
        def store(self) -> Iterator[StateStore]: ...

The fixture hands out an empty store and closes it. Durability and concurrency are tested in tests/crash.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from assets_core.model.checks import CheckOutcome, Scalar
from assets_core.model.errors import StoreError
from assets_core.model.records import (
    SETTLED,
    AssetVersions,
    AttemptFailed,
    AttemptRecord,
    CheckTally,
    ClaimedStep,
    DataVersions,
    Fenced,
    PartitionCheck,
    RecordedSuccess,
    RunKind,
    RunStatus,
    Settled,
    StepClaim,
    StepDuration,
    StepSkipped,
    StepStatus,
    StepSucceeded,
    VersionIds,
    VersionPart,
    VersionParts,
)
from tests.conformance.state_store_session import (
    DAY,
    LATER,
    NOW,
    ORDERS,
    TRENDS,
    Session,
    receipt,
    run_record,
)
from tests.conformance.state_store_sharing import SharingSuite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from assets_core.state.store import StateStore

HOSTILE = "x'); drop table run;--\n<script>$(id)</script> ../🦆 " + "y" * 300


def part(name: str, text: str, kind: str = "function") -> VersionPart:
    return VersionPart(name, kind, f"digest of {text}", text)


PARTS = VersionParts(
    code=(part("shop.orders", "return clean()"), part("shop.clean", "return 1")),
    deps=(part("partitions", DAY, "partitions"),),
)


def outcome(
    check: str,
    *,
    blocking: bool,
    passed: bool,
    message: str = "",
    metadata: dict[str, Scalar] | None = None,
    partition_id: int | None = None,
) -> CheckOutcome:
    return CheckOutcome(check, "orders", blocking, passed, message, metadata or {}, partition_id)


def columns(store: StateStore, asset: AssetVersions = ORDERS) -> dict[int, tuple[int, ...]]:
    """Per partition id: seq, read_seq, code_id, deps_id, data_seq, failed_seq."""
    state = store.snapshot([asset]).partitions[asset.asset]
    arrays = (state.seq, state.read_seq, state.code_id, state.deps_id)
    rows = zip(*(a.tolist() for a in (*arrays, state.data_seq, state.failed_seq)), strict=True)
    return dict(zip(state.ids.tolist(), rows, strict=True))


def seqs(store: StateStore, asset: AssetVersions = ORDERS) -> dict[int, tuple[int, int, int]]:
    """Per partition id: seq, data_seq, failed_seq."""
    return {key: (row[0], row[4], row[5]) for key, row in columns(store, asset).items()}


class KeysSuite:
    def test_a_new_store_is_empty(self, store: StateStore) -> None:
        assert store.key_ids() == {}
        assert store.runs() == []
        assert store.unfinished_runs() == []
        assert store.run("run-1") is None
        assert store.steps("run-1") == []
        assert store.tokens("orders", DAY) == {}
        snapshot = store.snapshot([ORDERS])
        assert snapshot.seq == 0
        assert len(snapshot.partitions["orders"].ids) == 0
        assert snapshot.partitions["orders"].failed_seq.dtype == "int64"
        assert snapshot.version_ids == {"orders": VersionIds(0, 0)}
        assert (snapshot.other_spaces, snapshot.in_flight) == ({}, {})

    def test_keys_get_ids_in_the_order_given(self, store: StateStore) -> None:
        ids = store.intern_keys({"static": ["us", "eu"], "dynamic|customers": ["acme"]})
        assert list(ids["static"].items()) == [("us", 1), ("eu", 2)]
        assert ids["dynamic|customers"] == {"acme": 1}
        assert store.key_ids() == ids

    def test_an_id_is_for_ever(self, store: StateStore) -> None:
        store.intern_keys({"static": ["us", "eu"]})
        assert store.intern_keys({"static": ["cn", "eu", "eu"]})["static"] == {
            "us": 1,
            "eu": 2,
            "cn": 3,
        }

    def test_a_removed_key_is_left_out_and_comes_back_with_its_old_id(
        self, store: StateStore
    ) -> None:
        store.intern_keys({"dynamic|c": ["a", "b"]})
        assert store.removed_keys() == {}
        store.remove_keys("dynamic|c", ["b"])
        assert store.key_ids() == {"dynamic|c": {"a": 1}}
        assert store.removed_keys() == {"dynamic|c": {"b": 2}}
        assert store.intern_keys({"dynamic|c": ["c"]})["dynamic|c"] == {"a": 1, "c": 3}
        assert list(store.intern_keys({"dynamic|c": ["b"]})["dynamic|c"]) == ["a", "b", "c"]

    def test_removing_a_key_and_bringing_it_back_costs_a_seq_and_adding_one_does_not(
        self, store: StateStore
    ) -> None:
        def now() -> tuple[int, Mapping[str, int]]:
            found = store.snapshot([])
            return found.seq, found.key_changes

        store.intern_keys({"dynamic|c": ["a", "b"], "dynamic|d": ["a"]})
        assert now() == (0, {})
        store.remove_keys("dynamic|c", ["a", "b"])
        assert now() == (1, {"dynamic|c": 1})
        store.intern_keys({"dynamic|c": ["new"]})
        assert now() == (1, {"dynamic|c": 1})
        store.intern_keys({"dynamic|c": ["b", "more"]})
        assert now() == (2, {"dynamic|c": 2})
        assert store.verify() == []

    def test_removing_an_unknown_key_names_the_nearest_and_removes_none(
        self, store: StateStore
    ) -> None:
        store.intern_keys({"dynamic|c": ["customer-1"]})
        with pytest.raises(StoreError, match="'custmer-1'") as caught:
            store.remove_keys("dynamic|c", ["customer-1", "custmer-1"])
        assert caught.value.hint == "Nearest: customer-1"
        assert store.key_ids() == {"dynamic|c": {"customer-1": 1}}

    def test_hostile_names_are_data(self, store: StateStore) -> None:
        assert store.intern_keys({HOSTILE: [HOSTILE]}) == {HOSTILE: {HOSTILE: 1}}
        asset = AssetVersions(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
        Session(store, HOSTILE).materialize(1, version=HOSTILE, asset=asset)
        assert columns(store, asset)[1][0] == 1
        history = store.history(HOSTILE, HOSTILE, 1)
        assert (history.code_version, history.data_version) == (HOSTILE, HOSTILE)
        assert [step.asset for step in store.steps(HOSTILE, asset=HOSTILE)] == [HOSTILE]


class VersionsSuite:
    def test_versions_have_ids_that_stay(self, store: StateStore) -> None:
        first = store.register([ORDERS, TRENDS])
        edited = replace(ORDERS, code_version="code-2")
        second = store.register([edited])["orders"]
        assert second.code_id != first["orders"].code_id
        assert second.deps_id == first["orders"].deps_id
        assert store.register([ORDERS, TRENDS]) == first
        assert store.snapshot([edited]).version_ids == {"orders": second}

    def test_two_assets_do_not_share_versions(self, store: StateStore) -> None:
        ids = store.register([ORDERS, replace(ORDERS, asset="copies")])
        assert ids["orders"].code_id != ids["copies"].code_id

    def test_an_unknown_version_equals_no_recorded_one(self, store: StateStore) -> None:
        Session(store).materialize(1)
        edited = replace(ORDERS, code_version="code-2")
        snapshot = store.snapshot([edited])
        assert snapshot.version_ids["orders"].code_id == 0
        assert snapshot.version_ids["orders"].deps_id == snapshot.partitions["orders"].deps_id[0]

    def test_a_changed_space_starts_without_state_and_names_the_old_one(
        self, store: StateStore
    ) -> None:
        Session(store).materialize(1, 2)
        moved = replace(ORDERS, space="hour|Europe/Berlin|+00:00")
        store.register([moved])
        snapshot = store.snapshot([moved])
        assert len(snapshot.partitions["orders"].ids) == 0
        assert snapshot.other_spaces == {"orders": DAY}
        assert store.snapshot([ORDERS]).other_spaces == {}
        assert list(columns(store)) == [1, 2]


class PartsSuite:
    def test_what_versions_are_made_of_comes_back_in_order(self, store: StateStore) -> None:
        ids = store.register([ORDERS], {"orders": PARTS, "nobody": PARTS})["orders"]
        known = store.versions([ids.deps_id, ids.code_id, 4711])
        assert set(known) == {ids.code_id, ids.deps_id}
        assert (known[ids.code_id].text, known[ids.code_id].parts) == ("code-1", PARTS.code)
        assert (known[ids.deps_id].text, known[ids.deps_id].parts) == ("deps-1", PARTS.deps)
        assert store.versions([]) == {}
        assert store.verify() == []

    def test_a_new_store_knows_no_versions(self, store: StateStore) -> None:
        assert store.versions([1]) == {}

    def test_what_a_version_is_made_of_is_kept_the_first_time_that_it_is_said(
        self, store: StateStore
    ) -> None:
        ids = store.register([ORDERS])["orders"]
        assert store.versions([ids.code_id])[ids.code_id].parts == ()
        store.mark_current(ORDERS, [], NOW)
        assert store.register([ORDERS], {"orders": PARTS})["orders"] == ids
        other = replace(PARTS, code=PARTS.code[:1])
        assert store.register([ORDERS], {"orders": other})["orders"] == ids
        assert store.versions([ids.code_id])[ids.code_id].parts == PARTS.code

    def test_a_version_keeps_its_parts_when_the_next_shares_some(self, store: StateStore) -> None:
        ids = [store.register([ORDERS], {"orders": PARTS})["orders"].code_id]
        edited = (PARTS.code[0], part("shop.clean", "return 2"), part("shop.more", "return 1"))
        for number, told in enumerate((edited, edited[::-1]), 2):
            asset = replace(ORDERS, code_version=f"code-{number}")
            parts = {"orders": replace(PARTS, code=told)}
            ids.append(store.register([asset], parts)["orders"].code_id)
        known = store.versions(ids)
        assert [known[one].parts for one in ids] == [PARTS.code, edited, edited[::-1]]

    def test_parts_of_versions_that_have_some_are_not_asked_for(self, store: StateStore) -> None:
        class Asked(dict[str, VersionParts]):
            def __getitem__(self, key: str) -> VersionParts:
                raise AssertionError(key)

            def __iter__(self) -> Iterator[str]:
                raise AssertionError

        first = store.register([ORDERS], {"orders": PARTS})
        assert store.register([ORDERS], Asked(orders=PARTS)) == first
        trends = store.register([ORDERS, TRENDS], {"orders": PARTS, "trends": PARTS})["trends"]
        assert store.versions([trends.code_id])[trends.code_id].parts == PARTS.code

    def test_any_text_is_kept(self, store: StateStore) -> None:
        hostile = VersionPart(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
        undecodable = VersionPart("a\udce9", "function", "1", "b\udce9")
        parts = {"orders": replace(PARTS, code=(hostile, undecodable))}
        ids = store.register([ORDERS], parts)["orders"]
        kept = store.versions([ids.code_id])[ids.code_id].parts
        assert kept[0] == hostile
        assert (kept[1].name, kept[1].source) == ("a\\udce9", "b\\udce9")


class LogSuite:
    def test_a_success_is_one_row_per_partition_under_rising_seqs(self, store: StateStore) -> None:
        session = Session(store)
        answer = session.materialize(5, 3, 4)
        assert (answer.seqs, answer.data_seqs) == ((1, 2, 3), (1, 2, 3))
        ids = store.register([ORDERS])["orders"]
        assert columns(store) == {
            3: (2, 0, ids.code_id, ids.deps_id, 2, 0),
            4: (3, 0, ids.code_id, ids.deps_id, 3, 0),
            5: (1, 0, ids.code_id, ids.deps_id, 1, 0),
        }
        assert store.snapshot([]).seq == 3

    def test_the_same_data_version_keeps_the_data_seq(self, store: StateStore) -> None:
        session = Session(store)
        session.materialize(1)
        session.materialize(1)
        assert seqs(store) == {1: (2, 1, 0)}
        session.materialize(1, version="v2")
        assert seqs(store) == {1: (3, 3, 0)}
        session.materialize(1, version="v1")
        assert seqs(store) == {1: (4, 4, 0)}

    def test_after_a_failure_of_unknown_outcome_an_equal_data_version_counts_as_changed(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        session.materialize(1, 2)
        for partition_id, unknown in ((1, False), (2, True)):
            step = session.claim(partition_id)
            failed = AttemptFailed(
                step.step_id, step.epoch, "killed", "", final=True, unknown=unknown
            )
            assert store.record([failed], LATER) == [None]
        session.materialize(1, 2)
        assert seqs(store) == {1: (5, 1, 0), 2: (6, 6, 0)}
        session.materialize(2)
        assert seqs(store)[2] == (7, 6, 0)

    def test_data_versions_of_other_partitions_and_assets_do_not_count(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        session.materialize(1)
        session.materialize(1, asset=TRENDS)
        session.materialize(2)
        assert seqs(store) == {1: (1, 1, 0), 2: (3, 3, 0)}
        assert seqs(store, TRENDS) == {1: (2, 2, 0)}

    def test_a_success_without_receipts_counts_as_changed_data(self, store: StateStore) -> None:
        session = Session(store)
        session.materialize(1)
        assert session.succeed(session.claim(1)).data_seqs == (2,)
        assert session.succeed(session.claim(1)).data_seqs == (3,)
        assert session.materialize(1).data_seqs == (4,)
        assert [step.rows for step in store.steps("run-1")] == [10, None, None, 10]

    def test_receipts_are_matched_by_partition_not_by_place(self, store: StateStore) -> None:
        session = Session(store)
        session.succeed(session.claim(1, 2), receipt(2, "two"), receipt(1, "one"))
        assert store.history("orders", DAY, 1).data_version == "one"
        assert store.history("orders", DAY, 2).data_version == "two"

    def test_partitions_without_a_receipt_stay_as_they_were(self, store: StateStore) -> None:
        session = Session(store)
        session.materialize(1, 2)
        answer = session.succeed(session.claim(1, 2, 3), receipt(2, "v2"))
        assert (answer.seqs, answer.data_seqs) == ((0, 3, 0), (0, 3, 0))
        assert seqs(store) == {1: (1, 1, 0), 2: (3, 3, 0)}

    def test_a_receipt_for_a_partition_not_claimed_records_nothing(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        good, bad = session.claim(1), session.claim(2)
        outcomes = [
            StepSucceeded(good.step_id, good.epoch, (receipt(1),)),
            StepSucceeded(bad.step_id, bad.epoch, (receipt(2), receipt(7))),
        ]
        with pytest.raises(StoreError, match=r"did not claim partition ids \[7\]"):
            store.record(outcomes, LATER)
        assert columns(store) == {}
        assert {step.status for step in store.steps("run-1")} == {StepStatus.RUNNING}

    def test_two_receipts_for_one_partition_are_refused(self, store: StateStore) -> None:
        session = Session(store)
        step = session.claim(1)
        with pytest.raises(StoreError, match="two receipts"):
            session.succeed(step, receipt(1), receipt(1, "v2"))

    def test_one_call_records_many_outcomes_in_their_order(self, store: StateStore) -> None:
        session = Session(store)
        steps = [session.claim(number) for number in range(100)]
        outcomes = [
            StepSucceeded(step.step_id, step.epoch, (receipt(number),))
            for number, step in enumerate(steps)
        ]
        answers = store.record(outcomes, LATER)
        assert [answer.step_id for answer in answers if isinstance(answer, RecordedSuccess)] == [
            step.step_id for step in steps
        ]
        assert {key: row[0] for key, row in seqs(store).items()} == {n: n + 1 for n in range(100)}

    def test_recording_nothing_is_fine(self, store: StateStore) -> None:
        assert store.record([], NOW) == []

    def test_ids_of_any_64_bits_keep_their_value(self, store: StateStore) -> None:
        lanes = tuple((lane << 32) + time for lane in (1, 9) for time in range(3))
        ids = (-(2**63), -5, -4, 0, *lanes, 2**63 - 1)
        Session(store).materialize(*ids)
        assert list(columns(store)) == list(ids)
        assert store.steps("run-1")[0].partition_ids == ids


class FailureSuite:
    def test_a_failure_counts_until_the_next_success(self, store: StateStore) -> None:
        session = Session(store)
        session.materialize(1)
        session.fail_partitions(1)
        assert seqs(store) == {1: (1, 1, 2)}
        session.fail_partitions(1)
        assert seqs(store) == {1: (1, 1, 3)}
        session.materialize(1)
        assert seqs(store) == {1: (4, 1, 0)}

    def test_a_partition_that_only_failed_has_an_entry_without_a_success(
        self, store: StateStore
    ) -> None:
        Session(store).fail_partitions(1, 2)
        assert columns(store) == {1: (0, 0, 0, 0, 0, 1), 2: (0, 0, 0, 0, 0, 2)}

    def test_a_success_of_one_partition_is_none_of_the_next(self, store: StateStore) -> None:
        session = Session(store)
        session.materialize(1, 5)
        session.fail_partitions(2)
        session.fail_partitions(5)
        assert seqs(store) == {1: (1, 1, 0), 2: (0, 0, 3), 5: (2, 2, 4)}

    def test_an_attempt_that_is_not_the_last_leaves_the_partition_alone(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        step = session.claim(1)
        session.fail(step, final=False)
        assert columns(store) == {}
        assert store.snapshot([ORDERS]).in_flight == {"run-1": {"orders": (1,)}}
        assert store.steps("run-1")[0].status is StepStatus.RUNNING

    def test_attempts_are_kept_with_their_times_and_words(self, store: StateStore) -> None:
        session = Session(store)
        first = session.claim(1)
        session.fail(first, final=False, message="first")
        second = store.reclaim(first.step_id, "again", LATER)
        session.fail(second, final=True, message="second")
        frames = "line 3, in orders"
        assert store.attempts("run-1") == [
            AttemptRecord(first.step_id, 1, NOW, LATER, "first", frames),
            AttemptRecord(first.step_id, 2, LATER, LATER, "second", frames),
        ]
        step = store.steps("run-1")[0]
        assert (step.status, step.attempt, step.message) == (StepStatus.FAILED, 2, "second")
        assert (step.token, step.started_at, step.ended_at) == ("again", LATER, LATER)

    def test_reporting_an_attempt_twice_keeps_one(self, store: StateStore) -> None:
        session = Session(store)
        step = session.claim(1)
        session.fail(step, final=False, message="first")
        session.fail(step, final=True, message="given up")
        assert [attempt.message for attempt in store.attempts("run-1")] == ["given up"]
        assert store.steps("run-1")[0].status is StepStatus.FAILED

    def test_words_that_are_not_unicode_are_kept_escaped(self, store: StateStore) -> None:
        session = Session(store)
        session.fail(session.claim(1), final=True, message="can't read caf\udce9\0.csv")
        # Not every database can hold the character NUL: it, too, may become its escape.
        kept = store.steps("run-1")[0].message.replace("\0", "\\x00")
        assert kept == "can't read caf\\udce9\\x00.csv"


class FenceSuite:
    def test_a_new_attempt_has_a_new_epoch_and_reads_the_counter_again(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        first = session.claim(1)
        session.materialize(2, 3)
        session.fail(first, final=False)
        second = store.reclaim(first.step_id, "again", LATER)
        assert second.step_id == first.step_id
        assert second.epoch > first.epoch
        assert (first.read_seq, second.read_seq) == (0, 2)
        session.succeed(second, receipt(1))
        assert columns(store)[1][1] == 2

    def test_epochs_rise_over_steps_and_runs(self, store: StateStore) -> None:
        sessions = [Session(store, "run-1"), Session(store, "run-2")]
        claims = [sessions[number % 2].claim(number) for number in range(6)]
        epochs = [claim.epoch for claim in claims]
        assert epochs == sorted(set(epochs))
        assert len({claim.step_id for claim in claims}) == 6

    def test_what_lost_its_claim_changes_nothing_and_stops_nobody(self, store: StateStore) -> None:
        session = Session(store)
        old = session.claim(1)
        session.fail(old, final=False)
        current = store.reclaim(old.step_id, "again", LATER)
        other = session.claim(2)
        check = outcome("unique", blocking=True, passed=False)
        before = store.steps("run-1")[0]
        answers = store.record(
            [
                StepSucceeded(old.step_id, old.epoch, (receipt(1),), (check,)),
                AttemptFailed(old.step_id, old.epoch, "late", "", final=True, checks=(check,)),
                StepSkipped(old.step_id, old.epoch, StepStatus.CANCELLED, "late"),
                StepSucceeded(other.step_id, other.epoch, (receipt(2),)),
                StepSucceeded(999, 999, ()),
            ],
            LATER,
        )
        assert answers[:3] == [Fenced(old.step_id)] * 3
        assert answers[3:] == [RecordedSuccess(other.step_id, (1,), (1,)), Fenced(999)]
        assert store.steps("run-1")[0] == before
        assert store.checks("run-1") == []
        assert len(store.attempts("run-1")) == 1
        assert session.succeed(current, receipt(1)).seqs == (2,)

    def test_a_step_ends_once(self, store: StateStore) -> None:
        session = Session(store)
        step = session.claim(1)
        success = StepSucceeded(step.step_id, step.epoch, (receipt(1),))
        failure = AttemptFailed(step.step_id, step.epoch, "late", "", final=True)
        answers = store.record([success, success, failure], LATER)
        assert answers[1:] == [Fenced(step.step_id)] * 2
        assert seqs(store) == {1: (1, 1, 0)}
        assert store.attempts("run-1") == []

    def test_only_a_failed_attempt_can_be_tried_again(self, store: StateStore) -> None:
        session = Session(store)
        running, done = session.claim(1), session.claim(2)
        session.succeed(done, receipt(2))
        for step_id, told in (
            (running.step_id, "is running in attempt 1"),
            (done.step_id, "is succeeded"),
            (999, "does not exist"),
        ):
            with pytest.raises(StoreError, match=told):
                store.reclaim(step_id, f"token-of-{step_id}", LATER)

    def test_a_token_belongs_to_one_step(self, store: StateStore) -> None:
        session = Session(store)
        session.succeed(session.claim(1, published_as="mine"), receipt(1))
        with pytest.raises(StoreError, match="mine belongs to another step"):
            session.claim(2, published_as="mine")
        other = session.claim(2)
        session.fail(other, final=False)
        with pytest.raises(StoreError, match="mine belongs to another step"):
            store.reclaim(other.step_id, "mine", LATER)
        assert store.tokens("orders", DAY) == {1: "mine"}

    def test_a_run_does_not_work_on_a_partition_twice_at_once(self, store: StateStore) -> None:
        session = Session(store)
        first = session.claim(1, 2)
        with pytest.raises(StoreError, match=f"step {first.step_id} of run run-1"):
            session.claim(2, 3)
        versions = store.register([ORDERS])["orders"]
        same = [
            StepClaim("orders", (7,), token, versions.code_id, versions.deps_id) for token in "ab"
        ]
        with pytest.raises(StoreError, match="partition id 7"):
            store.claim("run-1", same, NOW)
        assert len(store.steps("run-1")) == 1
        session.claim(2, asset=TRENDS)
        session.succeed(first, receipt(1), receipt(2))
        assert session.claim(2).read_seq == 2

    def test_claims_that_make_no_sense_are_refused(self, store: StateStore) -> None:
        session = Session(store)
        known = store.register([ORDERS, TRENDS])
        orders, trends = known["orders"], known["trends"]
        for claim, told in (
            (StepClaim("orders", (), "t", orders.code_id, orders.deps_id), "at least one"),
            (StepClaim("orders", (1,), "", orders.code_id, orders.deps_id), "a token"),
            (StepClaim("orders", (1,), "t", 0, 0), "not registered"),
            (StepClaim("orders", (1,), "t", orders.code_id, trends.deps_id), "not registered"),
            (StepClaim("orders", (1,), "t", trends.code_id, trends.deps_id), "not registered"),
            (StepClaim("orders", (1,), "t", orders.deps_id, orders.code_id), "not registered"),
        ):
            with pytest.raises(StoreError, match=told):
                store.claim("run-1", [claim], NOW)
        with pytest.raises(StoreError, match="no run 'run-7'"):
            store.claim("run-7", [], NOW)
        assert store.steps(session.run_id) == []


class LatenessSuite:
    """How late partitions were made, and from which data versions."""

    def claim(self, session: Session, horizons: tuple[int, ...]) -> ClaimedStep:
        versions = session.store.register([ORDERS])["orders"]
        ids = tuple(range(1, 4))
        claim = StepClaim("orders", ids, "t", versions.code_id, versions.deps_id, horizons)
        return session.store.claim(session.run_id, [claim], NOW)[0]

    def horizons(self, store: StateStore) -> dict[int, int]:
        state = store.snapshot([ORDERS]).partitions["orders"]
        return dict(zip(state.ids.tolist(), state.horizon.tolist(), strict=True))

    def test_a_claim_without_horizons_is_settled_throughout(self, store: StateStore) -> None:
        session = Session(store)
        session.succeed(self.claim(session, ()), *map(receipt, (1, 2, 3)))
        assert self.horizons(store) == dict.fromkeys((1, 2, 3), SETTLED)

    def test_a_success_has_the_horizons_of_its_claim_in_the_order_of_its_partitions(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        step = self.claim(session, (SETTLED, 1, 0))
        session.succeed(step, receipt(3), receipt(1), receipt(2))
        assert self.horizons(store) == {1: SETTLED, 2: 1, 3: 0}
        store.compact(LATER)
        assert self.horizons(store) == {1: SETTLED, 2: 1, 3: 0}

    def test_another_attempt_keeps_them_and_a_failure_and_a_mark_leave_them(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        step = self.claim(session, (2, 1, 0))
        session.fail(step, final=False)
        again = store.reclaim(step.step_id, "t2", LATER)
        session.succeed(again, *map(receipt, (1, 2, 3)))
        session.fail_partitions(2)
        store.mark_current(ORDERS, [3], LATER)
        assert self.horizons(store) == {1: 2, 2: 1, 3: 0}
        session.materialize(2)
        assert self.horizons(store) == {1: 2, 2: SETTLED, 3: 0}

    def test_horizons_for_other_partitions_than_claimed_are_refused(
        self, store: StateStore
    ) -> None:
        with pytest.raises(StoreError, match="3 partitions has 2 horizons"):
            self.claim(Session(store), (0, 1))

    def test_data_versions_are_those_of_the_last_success(self, store: StateStore) -> None:
        session = Session(store)
        assert store.data_versions("orders", DAY, [1]) == {}
        session.materialize(1, 2, version="v1")
        step = session.claim(1)
        made = StepSucceeded(
            step.step_id, step.epoch, (receipt(1, "v2"),), consumed={1: "from this"}
        )
        store.record([made], LATER)
        session.fail_partitions(2)
        store.mark_current(ORDERS, [1], LATER)
        assert store.data_versions("orders", DAY, [1, 2, 3]) == {
            1: DataVersions("v2", "from this"),
            2: DataVersions("v1", None),
        }
        assert store.data_versions("orders", DAY, [2]).keys() == {2}
        assert store.data_versions("orders", "another space", [1]) == {}

    def test_versions_are_not_known_where_nothing_was_published_or_an_outcome_is_unknown(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        session.succeed(session.claim(1))
        session.materialize(2)
        step = session.claim(2)
        store.record(
            [AttemptFailed(step.step_id, step.epoch, "?", "", final=True, unknown=True)], LATER
        )
        found = store.data_versions("orders", DAY, [1, 2])
        assert found == dict.fromkeys((1, 2), DataVersions(None, None))


class MarkSuite:
    def test_a_mark_makes_a_success_current_and_leaves_its_data(self, store: StateStore) -> None:
        session = Session(store)
        session.materialize(1, 2)
        session.materialize(9, asset=TRENDS)
        token = store.tokens("orders", DAY)[1]
        edited = replace(ORDERS, code_version="code-2", deps_version="deps-2")
        store.mark_current(edited, [1], LATER)
        new, old = store.register([edited])["orders"], store.register([ORDERS])["orders"]
        assert columns(store) == {
            1: (4, 3, new.code_id, new.deps_id, 1, 0),
            2: (2, 0, old.code_id, old.deps_id, 2, 0),
        }
        assert store.tokens("orders", DAY)[1] == token
        history = store.history("orders", DAY, 1)
        assert (history.seq, history.read_seq, history.data_seq) == (4, 3, 1)
        assert (history.code_version, history.deps_version) == ("code-2", "deps-2")
        assert (history.data_version, history.rows, history.run_id) == ("v1", 10, "run-1")
        assert history.succeeded_at == LATER
        assert session.materialize(1).data_seqs == (1,)

    def test_a_mark_accepts_the_last_success_although_an_attempt_failed_since(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        session.materialize(1)
        session.fail_partitions(1)
        store.mark_current(ORDERS, [1, 1], LATER)
        assert seqs(store) == {1: (3, 1, 0)}

    def test_marking_what_was_never_materialized_marks_nothing(self, store: StateStore) -> None:
        session = Session(store)
        session.materialize(1)
        session.fail_partitions(2)
        before = columns(store)
        with pytest.raises(StoreError, match=r"orders: 2 of the partitions.*id is 2"):
            store.mark_current(replace(ORDERS, code_version="code-2"), [1, 2, 3], LATER)
        assert columns(store) == before
        assert store.snapshot([]).seq == 2

    def test_marking_nothing_is_fine(self, store: StateStore) -> None:
        store.mark_current(ORDERS, [], LATER)
        assert store.snapshot([]).seq == 0


class HistorySuite:
    def test_a_partition_without_a_past_has_no_history(self, store: StateStore) -> None:
        Session(store).materialize(1)
        for history in (store.history("orders", DAY, 2), store.history("nobody", DAY, 1)):
            assert (history.seq, history.run_id, history.succeeded_at) == (None, None, None)
            assert (history.failed_at, history.failure) == (None, None)

    def test_history_tells_of_the_last_success_and_the_last_failure(
        self, store: StateStore
    ) -> None:
        first = Session(store, "run-1")
        first.materialize(1, version="old")
        first.fail(first.claim(1), final=True, message="first failure")
        second = Session(store, "run-2")
        second.materialize(1, version="new")
        second.fail(second.claim(1), final=True, message="second failure")
        history = store.history("orders", DAY, 1)
        assert (history.seq, history.data_seq, history.read_seq) == (3, 3, 2)
        assert (history.data_version, history.run_id) == ("new", "run-2")
        assert (history.code_version, history.deps_version) == ("code-1", "deps-1")
        assert (history.succeeded_at, history.failed_at) == (LATER, LATER)
        assert history.failure == "second failure"

    def test_schema_hashes_come_in_the_order_of_their_rows(self, store: StateStore) -> None:
        session = Session(store)
        old, new = (replace(receipt(1), schema_hash=text) for text in ("old", "new"))
        both = (replace(old, partition_id=one) for one in (1, 2))
        session.succeed(session.claim(1, 2), *both)
        session.succeed(session.claim(1), new)
        session.fail_partitions(2)
        assert list(store.schema_hashes("orders", DAY).items()) == [(2, "old"), (1, "new")]
        assert store.schema_hashes("orders", "another space") == {}

    def test_row_counts_are_those_of_the_last_success_where_that_is_known(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        session.succeed(session.claim(1, 2, 3, 4), *(receipt(one) for one in (1, 2, 3, 4)))
        session.succeed(session.claim(1), replace(receipt(1), rows=77))
        session.fail_partitions(2)
        third = session.claim(3)
        unknown = AttemptFailed(third.step_id, third.epoch, "killed", "", final=True, unknown=True)
        assert store.record([unknown], LATER) == [None]
        session.succeed(session.claim(4))
        store.mark_current(ORDERS, [1], LATER)
        known = receipt(2).rows
        assert list(store.row_counts("orders", DAY).items()) == [(1, 77), (2, known)]
        assert store.row_counts("orders", "another space") == {}

    def test_a_token_is_of_the_last_success_that_published(self, store: StateStore) -> None:
        session = Session(store)
        session.succeed(session.claim(1, 2, published_as="both"), receipt(1), receipt(2))
        session.succeed(session.claim(2, published_as="second"), receipt(2))
        session.succeed(session.claim(2, published_as="published nothing"))
        session.fail_partitions(1)
        assert store.tokens("orders", DAY) == {1: "both", 2: "second"}
        assert store.tokens("orders", "another space") == {}


class RunsSuite:
    def test_a_run_comes_back_as_it_was_written(self, store: StateStore) -> None:
        berlin = timezone(timedelta(hours=1))
        run = replace(run_record(), kind=RunKind.BACKFILL, started_at=NOW.astimezone(berlin))
        store.start_run(run)
        found = store.run("run-1")
        assert found == run
        assert found is not None
        assert found.started_at.tzinfo is UTC
        store.finish_run("run-1", RunStatus.FAILED, LATER)
        assert store.run("run-1") == replace(run, status=RunStatus.FAILED, ended_at=LATER)

    def test_runs_come_newest_first_without_their_plans(self, store: StateStore) -> None:
        for number in range(5):
            store.start_run(run_record(f"run-{number}"))
        assert [run.id for run in store.runs(3)] == ["run-4", "run-3", "run-2"]
        assert {run.plan for run in store.runs()} == {""}
        assert len(store.runs()) == 5
        assert store.runs(0) == store.runs(-1) == []

    def test_unfinished_runs_come_oldest_first(self, store: StateStore) -> None:
        for number in range(3):
            store.start_run(run_record(f"run-{number}"))
        store.finish_run("run-1", RunStatus.SUCCEEDED, LATER)
        assert store.unfinished_runs() == [run_record("run-0"), run_record("run-2")]

    def test_two_runs_cannot_have_one_id(self, store: StateStore) -> None:
        store.start_run(run_record())
        with pytest.raises(StoreError, match="already a run run-1"):
            store.start_run(run_record())

    def test_a_run_with_a_running_step_cannot_be_finished(self, store: StateStore) -> None:
        session = Session(store)
        step = session.claim(1)
        with pytest.raises(StoreError, match="1 of its steps"):
            store.finish_run("run-1", RunStatus.SUCCEEDED, LATER)
        session.succeed(step, receipt(1))
        store.finish_run("run-1", RunStatus.SUCCEEDED, LATER)

    def test_an_ended_run_stays_as_it_ended(self, store: StateStore) -> None:
        session = Session(store)
        store.finish_run("run-1", RunStatus.CRASHED, LATER)
        settled = Settled("orders", (1,), StepStatus.CUT_OFF, "")
        with pytest.raises(StoreError, match="has ended"):
            store.finish_run("run-1", RunStatus.SUCCEEDED, LATER)
        with pytest.raises(StoreError, match="has ended"):
            session.claim(1)
        with pytest.raises(StoreError, match="has ended"):
            store.settle("run-1", [settled], LATER)
        with pytest.raises(StoreError, match="no run 'nobody'"):
            store.finish_run("nobody", RunStatus.SUCCEEDED, LATER)
        with pytest.raises(StoreError, match="can't be finished as running"):
            store.finish_run("run-1", RunStatus.RUNNING, LATER)

    def test_steps_are_listed_in_the_order_they_were_written(self, store: StateStore) -> None:
        session = Session(store)
        claimed = session.claim(3, 1, 2)
        store.settle(
            "run-1",
            [
                Settled("trends", (1, 2), StepStatus.SKIPPED, "orders@2025-01-01 failed"),
                Settled("trends", (3,), StepStatus.CUT_OFF, "nothing it reads changed"),
            ],
            LATER,
        )
        session.claim(4, asset=TRENDS)
        steps = store.steps("run-1")
        assert [(step.asset, step.partition_ids, step.status) for step in steps] == [
            ("orders", (3, 1, 2), StepStatus.RUNNING),
            ("trends", (1, 2), StepStatus.SKIPPED),
            ("trends", (3,), StepStatus.CUT_OFF),
            ("trends", (4,), StepStatus.RUNNING),
        ]
        assert (steps[0].id, steps[0].epoch, steps[0].read_seq) == (
            claimed.step_id,
            claimed.epoch,
            claimed.read_seq,
        )
        assert (steps[0].started_at, steps[0].ended_at, steps[0].attempt) == (NOW, None, 1)
        assert (steps[1].message, steps[1].token, steps[1].attempt) == (
            "orders@2025-01-01 failed",
            "",
            0,
        )
        assert store.steps("run-1", asset="trends") == steps[1:]
        assert store.steps("run-1", asset="nobody") == []

    def test_steps_that_end_without_data_leave_the_log_alone(self, store: StateStore) -> None:
        session = Session(store)
        ends = (
            StepStatus.SKIPPED,
            StepStatus.CUT_OFF,
            StepStatus.CANCELLED,
            StepStatus.ABANDONED,
        )
        for number, status in enumerate(ends):
            step = session.claim(number)
            store.record([StepSkipped(step.step_id, step.epoch, status, "why")], LATER)
        store.settle("run-1", [Settled("orders", (9,), s, "why") for s in ends], LATER)
        assert [step.status for step in store.steps("run-1")] == [*ends, *ends]
        assert {step.message for step in store.steps("run-1")} == {"why"}
        assert columns(store) == {}
        assert store.snapshot([]).seq == 0

    def test_only_ends_without_data_can_be_settled_or_skipped(self, store: StateStore) -> None:
        session = Session(store)
        step = session.claim(1)
        for status in (StepStatus.RUNNING, StepStatus.SUCCEEDED, StepStatus.FAILED):
            with pytest.raises(StoreError, match=f"recorded as {status}"):
                store.settle("run-1", [Settled("orders", (2,), status, "")], LATER)
            with pytest.raises(StoreError, match=f"recorded as {status}"):
                store.record([StepSkipped(step.step_id, step.epoch, status, "")], LATER)
        with pytest.raises(StoreError, match="at least one partition"):
            store.settle("run-1", [Settled("orders", (), StepStatus.SKIPPED, "")], LATER)
        assert len(store.steps("run-1")) == 1

    def test_checks_come_back_with_their_steps(self, store: StateStore) -> None:
        session = Session(store)
        passed = outcome("unique", blocking=True, passed=True)
        told = outcome(
            "rows", blocking=False, passed=False, message="3 <🦆>", metadata={"n": 3, "share": 0.5}
        )
        odd = outcome(
            "odd",
            blocking=True,
            passed=False,
            message="\udc80",
            metadata={"\udc80": None, "b": True},
        )
        good, bad = session.claim(1), session.claim(2)
        store.record(
            [
                StepSucceeded(good.step_id, good.epoch, (receipt(1),), (passed, told)),
                AttemptFailed(
                    bad.step_id, bad.epoch, "check failed", "", final=True, checks=(odd,)
                ),
            ],
            LATER,
        )
        assert store.checks("run-1") == [
            (good.step_id, passed),
            (good.step_id, told),
            (bad.step_id, replace(odd, message="\\udc80")),
        ]
        assert store.checks("run-2") == []

    def test_the_last_word_of_a_check_is_kept_per_partition(self, store: StateStore) -> None:
        session = Session(store)
        good = outcome("range", blocking=False, passed=True, partition_id=1)
        bad = outcome("range", blocking=False, passed=False, message="3 rows", partition_id=2)
        whole = outcome("rows", blocking=False, passed=False, message="few", metadata={"n": 2})
        step = session.claim(1, 2)
        store.record(
            [
                StepSucceeded(
                    step.step_id, step.epoch, (receipt(1), receipt(2)), (good, bad, whole)
                )
            ],
            LATER,
        )
        assert store.checks("run-1") == [(step.step_id, one) for one in (good, bad, whole)]
        assert store.check_tallies("orders", ORDERS.space) == [
            CheckTally("range", 1, 1),
            CheckTally("rows", 0, 2),
        ]
        assert store.failed_checks("orders", ORDERS.space) == [
            PartitionCheck(replace(whole, partition_id=1), LATER, step.step_id),
            PartitionCheck(bad, LATER, step.step_id),
            PartitionCheck(replace(whole, partition_id=2), LATER, step.step_id),
        ]
        assert len(store.failed_checks("orders", ORDERS.space, limit=2)) == 2
        failing = session.claim(1)
        only = outcome("range", blocking=True, passed=False, message="worse")
        failed = AttemptFailed(failing.step_id, failing.epoch, "", "", final=True, checks=(only,))
        store.record([failed], LATER)
        # What was said before of that partition went, also by checks that are no more.
        assert store.check_tallies("orders", ORDERS.space) == [
            CheckTally("range", 0, 2),
            CheckTally("rows", 0, 1),
        ]
        assert store.check_tallies("trend", ORDERS.space) == []
        assert store.failed_checks("orders", "another space") == []

    def test_published_rows_are_judged_again_without_becoming_fresh_or_stale(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        session.materialize(1, 2)
        before, tokens = columns(store), store.snapshot([ORDERS]).seq
        broken = outcome("range", blocking=False, passed=False, partition_id=2)
        store.record_checks("orders", ORDERS.space, [1, 2], [broken], LATER)
        assert store.failed_checks("orders", ORDERS.space) == [PartitionCheck(broken, LATER, None)]
        assert (columns(store), store.snapshot([ORDERS]).seq) == (before, tokens)
        store.record_checks("orders", ORDERS.space, [2], [replace(broken, passed=True)], LATER)
        assert store.check_tallies("orders", ORDERS.space) == [CheckTally("range", 1, 0)]
        with pytest.raises(StoreError, match="nothing was ever recorded"):
            store.record_checks("nobody", ORDERS.space, [1], [broken], LATER)
        assert store.verify() == []

    def test_the_seconds_of_a_step_are_kept_apart_from_the_times_of_its_group(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        measured, unmeasured = session.claim(1, 2), session.claim(3)
        store.record(
            [
                StepSucceeded(
                    measured.step_id, measured.epoch, (receipt(1), receipt(2)), seconds=0.25
                ),
                StepSucceeded(unmeasured.step_id, unmeasured.epoch, (receipt(3),)),
            ],
            LATER,
        )
        assert [(step.seconds, step.ended_at) for step in store.steps("run-1")] == [
            (0.25, LATER),
            (None, LATER),
        ]

    def test_durations_are_those_of_the_latest_measured_successes_newest_first(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        elsewhere = replace(ORDERS, space="hour|UTC|+00:00")
        for number, (asset, ids) in enumerate(
            [(ORDERS, (5,)), (TRENDS, (1,)), (elsewhere, (1,)), (ORDERS, (3, 1, 2))], start=1
        ):
            step = session.claim(*ids, asset=asset)
            receipts = tuple(receipt(each) for each in ids)
            store.record(
                [StepSucceeded(step.step_id, step.epoch, receipts, seconds=number)], LATER
            )
        session.materialize(7)
        session.fail_partitions(8)
        found = [StepDuration(4.0, 3), StepDuration(1.0, 1)]
        assert store.durations("orders", DAY) == found
        assert store.durations("orders", DAY, 1) == found[:1]
        assert store.durations("orders", DAY, 0) == store.durations("orders", DAY, -1) == []
        assert store.durations("nobody", DAY) == store.durations("orders", "no space") == []

    def test_in_flight_is_what_running_steps_of_running_runs_work_on(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        session.claim(1, 2)
        done = session.claim(3)
        session.succeed(done, receipt(3))
        session.claim(5, asset=TRENDS)
        Session(store, "run-2").claim(7)
        orders = {"run-1": {"orders": (1, 2)}, "run-2": {"orders": (7,)}}
        assert store.snapshot([ORDERS]).in_flight == orders
        orders["run-1"]["trends"] = (5,)
        assert store.snapshot([ORDERS, TRENDS]).in_flight == orders
        moved = replace(ORDERS, space="hour|UTC|+00:00")
        assert store.snapshot([moved]).in_flight == {}

    def test_a_naive_instant_is_refused(self, store: StateStore) -> None:
        naive = NOW.replace(tzinfo=None)
        with pytest.raises(TypeError):
            store.start_run(replace(run_record(), started_at=naive))
        assert store.runs() == []


class SnapshotSuite:
    def test_a_snapshot_answers_for_many_assets_at_once(self, store: StateStore) -> None:
        session = Session(store)
        assets = [replace(ORDERS, asset=f"asset-{number}") for number in range(20)]
        for number, asset in enumerate(assets):
            session.materialize(*range(number), number, asset=asset)
        snapshot = store.snapshot([*assets, TRENDS])
        lengths = [len(snapshot.partitions[asset.asset].ids) for asset in assets]
        assert lengths == list(range(1, 21))
        assert len(snapshot.partitions["trends"].ids) == 0
        assert snapshot.seq == sum(lengths)

    def test_a_snapshot_of_a_long_history_is_its_last_state(self, store: StateStore) -> None:
        session = Session(store)
        for version in range(5):
            session.materialize(*range(-50, 50), version=f"v{version // 2}")
            session.fail_partitions(version)
        found = columns(store)
        assert list(found) == list(range(-50, 50))
        assert found[-50][0] == found[-49][0] - 1
        # The last change of data was by the fifth round, after four rounds of 101 rows.
        assert found[-50][4] == 4 * 101 + 1
        assert [key for key, row in found.items() if row[5]] == [4]


class CompactionSuite:
    def test_compacting_changes_no_answer(self, store: StateStore) -> None:
        session = Session(store)
        session.materialize(*range(-5, 30))
        session.materialize(*range(10, 15), version="v2")
        session.materialize(2**33 + 7, 60 * 10**6, -(2**40), asset=TRENDS)
        session.fail_partitions(3, 4, 99)
        store.mark_current(replace(ORDERS, code_version="code-2"), [5], LATER)
        session.claim(1)
        before = store.snapshot([ORDERS, TRENDS])
        expected = columns(store), columns(store, TRENDS)
        store.compact(LATER)
        after = store.snapshot([ORDERS, TRENDS])
        assert (columns(store), columns(store, TRENDS)) == expected
        assert (after.seq, after.version_ids) == (before.seq, before.version_ids)
        assert (after.other_spaces, after.in_flight) == (before.other_spaces, before.in_flight)
        # What was read before is a view of that moment, whenever it is looked at.
        assert before.partitions["orders"].seq.tolist() == after.partitions["orders"].seq.tolist()
        assert store.verify() == []

    def test_what_is_recorded_after_a_compaction_lies_over_it(self, store: StateStore) -> None:
        session = Session(store)
        session.materialize(1, 2, 4)
        session.fail_partitions(1, 5)
        store.compact(LATER)
        session.materialize(5, 3)
        session.fail_partitions(2, 0)
        expected = {
            0: (0, 0, 9),
            1: (1, 1, 4),
            2: (2, 2, 8),
            3: (7, 7, 0),
            4: (3, 3, 0),
            5: (6, 6, 0),
        }
        assert seqs(store) == expected
        store.compact(LATER)
        assert seqs(store) == expected

    def test_a_rebuild_makes_the_same_state_from_the_log(self, store: StateStore) -> None:
        session = Session(store)
        session.materialize(*range(20))
        store.compact(LATER)
        session.fail_partitions(3)
        expected = columns(store)
        done = store.compact(LATER, rebuild=True)
        assert done.rows == 21
        assert done.chunks > 0
        assert columns(store) == expected

    def test_compacting_nothing_does_nothing(self, store: StateStore) -> None:
        for rebuild in (False, True):
            done = store.compact(NOW, rebuild=rebuild)
            assert (done.rows, done.chunks) == (0, 0)
        Session(store).materialize(1)
        store.compact(NOW)
        assert store.compact(NOW).rows == 0

    def test_a_changed_space_does_not_see_the_chunks_of_the_other(self, store: StateStore) -> None:
        Session(store).materialize(1, 2)
        store.compact(NOW)
        moved = replace(ORDERS, space="hour|UTC|+00:00")
        snapshot = store.snapshot([moved])
        assert len(snapshot.partitions["orders"].ids) == 0
        assert snapshot.other_spaces == {"orders": DAY}
        assert list(seqs(store)) == [1, 2]

    def test_an_asset_that_begins_anew_was_never_tried(self, store: StateStore) -> None:
        session = Session(store)
        session.materialize(1, 2)
        session.fail_partitions(3)
        session.materialize(1, asset=TRENDS)
        trends = columns(store, TRENDS)
        before = store.snapshot([ORDERS]).seq
        assert store.spaces("orders") == {DAY: 3}
        assert store.restart("orders", NOW) == 3
        assert store.spaces("orders") == {}
        after = store.snapshot([ORDERS, TRENDS])
        assert after.seq > before
        assert after.other_spaces == {}
        assert columns(store) == {}
        assert columns(store, TRENDS) == trends
        assert store.tokens("orders", DAY) == {}
        assert store.history("orders", DAY, 1).seq is None
        assert store.history("orders", DAY, 3).failed_at is None
        assert store.compact(LATER).rows >= 0
        assert columns(store) == {}
        with pytest.raises(StoreError, match="never materialized"):
            store.mark_current(ORDERS, [1], LATER)
        assert [step.partition_ids for step in store.steps("run-1", asset="orders")] == [
            (1, 2),
            (3,),
        ]

    def test_the_first_success_after_a_new_beginning_counts_as_changed(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        session.materialize(1, version="v1")
        reader = session.claim(1, asset=TRENDS)
        session.succeed(reader, receipt(1))
        store.restart("orders", NOW)
        again = session.materialize(1, version="v1")
        assert again.data_seqs == again.seqs
        assert again.data_seqs[0] > reader.read_seq
        assert seqs(store) == {1: (again.seqs[0], again.seqs[0], 0)}
        assert session.materialize(1, version="v1").data_seqs == again.data_seqs

    def test_a_new_beginning_counts_for_all_partition_spaces(self, store: StateStore) -> None:
        session = Session(store)
        hourly = replace(ORDERS, space="hour|UTC")
        session.materialize(1)
        session.materialize(7, 8, asset=hourly)
        assert store.spaces("orders") == {DAY: 1, "hour|UTC": 2}
        assert store.restart("orders", NOW) == 3
        for space in (DAY, "hour|UTC", "week|UTC"):
            versions = replace(ORDERS, space=space)
            found = store.snapshot([versions])
            assert columns(store, versions) == {}
            assert found.other_spaces == {}

    def test_an_asset_can_begin_anew_again_and_again(self, store: StateStore) -> None:
        session = Session(store)
        for _ in range(3):
            session.materialize(1)
            store.compact(LATER)
            assert store.restart("orders", NOW) == 1
            assert columns(store) == {}
        session.materialize(2)
        assert list(columns(store)) == [2]
        assert store.verify() == []

    def test_what_has_no_state_begins_anew_without_a_trace(self, store: StateStore) -> None:
        Session(store)
        store.register([ORDERS])
        before = store.snapshot([ORDERS]).seq
        assert store.restart("orders", NOW) == 0
        assert store.restart("never heard of", NOW) == 0
        assert store.snapshot([ORDERS]).seq == before

    def test_an_asset_that_is_worked_on_does_not_begin_anew(self, store: StateStore) -> None:
        session = Session(store)
        session.materialize(1)
        step = session.claim(1)
        with pytest.raises(StoreError, match="is working on it"):
            store.restart("orders", NOW)
        assert list(columns(store)) == [1]
        session.succeed(step, receipt(1))
        assert store.restart("orders", NOW) == 1

    def test_versions_from_before_a_new_beginning_can_t_be_claimed(
        self, store: StateStore
    ) -> None:
        session = Session(store)
        session.materialize(1)
        old = store.register([ORDERS])["orders"]
        store.restart("orders", NOW)
        with pytest.raises(StoreError, match="not registered"):
            store.claim(
                "run-1", [StepClaim("orders", (1,), "late", old.code_id, old.deps_id)], NOW
            )

    def test_a_snapshot_has_an_entry_for_each_asset_asked_for_and_no_other(
        self, store: StateStore
    ) -> None:
        Session(store).materialize(1, asset=TRENDS)
        store.compact(NOW)
        partitions = store.snapshot([ORDERS, TRENDS]).partitions
        assert list(partitions) == ["orders", "trends"]
        assert len(partitions) == 2
        assert "nobody" not in partitions
        assert list(store.snapshot([ORDERS]).partitions) == ["orders"]

    def test_a_sound_state_has_no_problems(self, store: StateStore) -> None:
        assert store.verify() == []
        session = Session(store)
        session.materialize(1, 2)
        session.claim(3)
        session.succeed(session.claim(4, 5), receipt(4))
        session.succeed(session.claim(6))
        session.fail_partitions(1)
        store.mark_current(ORDERS, [1, 1], LATER)
        store.settle("run-1", [Settled("orders", (9,), StepStatus.CUT_OFF, "")], LATER)
        assert store.verify() == []
        store.compact(LATER)
        assert store.verify() == []


class ClosingSuite:
    def test_a_closed_store_says_so(self, store: StateStore) -> None:
        store.intern_keys({"static": ["eu"]})
        store.close()
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.key_ids()
        with pytest.raises(StoreError, match="closed"):
            store.start_run(run_record())


class StateStoreSuite(
    KeysSuite,
    VersionsSuite,
    PartsSuite,
    LogSuite,
    FailureSuite,
    FenceSuite,
    SharingSuite,
    LatenessSuite,
    MarkSuite,
    HistorySuite,
    RunsSuite,
    SnapshotSuite,
    CompactionSuite,
    ClosingSuite,
):
    """The whole contract."""
