"""Parquet files in an object store while the network and the store fail: nothing is half there, nothing is written twice, errors say what was."""

from __future__ import annotations

import uuid

import obstore.store
import pyarrow as pa
import pytest

from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import Published, PublishFailed
from assets_core.model.specs import Merge
from io_managers import ParquetIOManager
from tests import object_store
from tests.conformance.io_manager_suite import (
    UNPARTITIONED,
    Steps,
    days,
    recorded,
    table,
    target,
    whole,
)
from tests.faulty_proxy import Fault, Plan

(FIRST,) = days("2025-01-31")
ONCE_MORE = [Fault.RESET_BEFORE, Fault.RESET_AFTER, Fault.SLOW_DOWN, Fault.SLOW_DOWN_AFTER]


def manager(root: str = "", **options: object) -> ParquetIOManager:
    return ParquetIOManager(
        root or f"s3://{object_store.BUCKET}/{uuid.uuid4().hex}",
        storage_options={"max_retries": 0, "timeout": "2s", **options},
    )


def meet(plan: Plan, method: str, *faults: Fault | None) -> None:
    plan.method, plan.faults = method, list(faults)


@pytest.mark.parametrize("fault", ONCE_MORE)
@pytest.mark.parametrize("older", [False, True])
def test_a_write_whose_answer_is_lost_is_read_back_and_not_repeated_blindly(
    plan: Plan, fault: Fault, older: bool
) -> None:
    steps = Steps(manager())
    if older:
        steps.write(target(), [FIRST], table(n=[1]))
    puts = plan.count("PUT")
    meet(plan, "PUT", fault)
    answer = steps.write(target(), [FIRST], table(n=[2, 3]))
    assert isinstance(answer, Published)
    arrived = fault in {Fault.RESET_AFTER, Fault.SLOW_DOWN_AFTER}
    assert plan.count("PUT") - puts == (1 if arrived else 2)
    assert steps.rows(target(), [FIRST]) == [{"n": 2}, {"n": 3}]


def test_a_write_that_never_gets_through_leaves_what_was_there(plan: Plan) -> None:
    steps = Steps(manager())
    steps.write(target(), [FIRST], table(n=[1]))
    meet(plan, "PUT", *[Fault.SLOW_DOWN] * 9)
    staged = steps.stage(target(), [FIRST], table(n=[2]))
    (answer,) = steps.manager.publish([staged])
    assert isinstance(answer, PublishFailed)
    assert "day=2025-01-31/data.parquet can't be written: 503" in answer.message
    assert "SlowDown" in answer.message
    plan.faults.clear()
    assert steps.manager.published(staged.request) == ()
    assert steps.rows(target(), [FIRST]) == [{"n": 1}]


def test_a_write_that_is_not_answered_is_given_up(plan: Plan) -> None:
    steps = Steps(manager(timeout="200ms"))
    meet(plan, "PUT", *[Fault.SILENCE] * 9)
    (answer,) = steps.manager.publish([steps.stage(target(), [FIRST], table(n=[2]))])
    assert isinstance(answer, PublishFailed)
    assert "can't be written" in answer.message
    plan.faults.clear()
    with pytest.raises(IOManagerError, match="is not there"):
        steps.rows(target(), [FIRST])


@pytest.mark.parametrize("fault", [Fault.RESET_BEFORE, Fault.TRUNCATED, Fault.SLOW_DOWN])
@pytest.mark.parametrize("passed", [0, 1, 3])
def test_a_read_is_whole_or_an_error_that_names_the_object(
    plan: Plan, fault: Fault, passed: int
) -> None:
    """It takes four requests: the footer and the whole for the columns, then both for the rows."""
    steps = Steps(manager())
    rows = [uuid.uuid4().hex for _ in range(5_000)]
    steps.write(target(), [FIRST], table(id=rows))
    plan.seen.clear()
    assert steps.rows(target(), [FIRST]) == [{"id": one} for one in rows]
    assert plan.count("GET") == 4
    meet(plan, "GET", *[None] * passed, *[fault] * 9)
    with pytest.raises(IOManagerError, match=r"day=2025-01-31/data\.parquet can't be read"):
        steps.rows(target(), [FIRST])


def test_wrong_credentials_are_told_with_where_they_come_from(plan: Plan) -> None:
    steps = Steps(manager())
    meet(plan, "PUT", *[Fault.DENIED] * 9)
    (answer,) = steps.manager.publish([steps.stage(target(), [FIRST], table(n=[2]))])
    assert isinstance(answer, PublishFailed)
    assert "403 Forbidden, SignatureDoesNotMatch: No such secret." in answer.message
    assert "s3://lake/" in answer.message
    assert "AWS_ACCESS_KEY_ID" in (answer.hint or "")
    assert plan.count("PUT") == 1


def test_a_missing_bucket_is_named(plan: Plan) -> None:
    steps = Steps(manager("s3://nowhere/shop"))
    (answer,) = steps.manager.publish([steps.stage(target(), [FIRST], table(n=[2]))])
    assert isinstance(answer, PublishFailed)
    assert "s3://nowhere/shop/orders/day=2025-01-31/data.parquet" in answer.message
    assert "there is no bucket nowhere" in answer.message
    with pytest.raises(IOManagerError, match="there is no bucket nowhere"):
        steps.manager.lost(target(), recorded([FIRST], {FIRST.id: "token"}))


def test_an_attempt_that_was_overtaken_while_it_sent_its_rows_changes_nothing(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zombie: it has read the fence, and stands still until a newer attempt has published."""
    steps = Steps(manager())
    steps.write(target(), [FIRST], table(n=[1]))
    late = steps.stage(target(), [FIRST], table(n=[2]))
    newer = steps.stage(target(), [FIRST], table(n=[3]))
    overtaken: list[object] = []

    def stand_still(place: str) -> None:
        if place == "publish.parquet.rename" and not overtaken:
            overtaken.append(None)
            overtaken.extend(steps.manager.publish([newer]))

    monkeypatch.setattr("io_managers.parquet_objects.failpoint", stand_still)
    (answer,) = steps.manager.publish([late])
    assert isinstance(overtaken[1], Published)
    assert isinstance(answer, PublishFailed)
    assert answer.fenced
    assert steps.rows(target(), [FIRST]) == [{"n": 3}]


def test_a_merge_that_was_overtaken_by_an_older_attempt_is_merged_again(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, where = Steps(manager()), whole(Merge(keys=["id"]))
    older = steps.stage(where, UNPARTITIONED, table(id=[1], n=[1]))
    newer = steps.stage(where, UNPARTITIONED, table(id=[2], n=[2]))
    between: list[object] = []

    def other_first(place: str) -> None:
        if place == "publish.parquet.rename" and not between:
            between.append(None)
            between.extend(steps.manager.publish([older]))

    monkeypatch.setattr("io_managers.parquet_objects.failpoint", other_first)
    (answer,) = steps.manager.publish([newer])
    assert isinstance(answer, Published)
    assert steps.rows(where, UNPARTITIONED) == [{"id": 1, "n": 1}, {"id": 2, "n": 2}]


def test_what_is_lost_is_asked_with_one_request_once_it_was_compared(plan: Plan) -> None:
    steps, many = Steps(manager()), days("2025-01-01", 10)
    tokens = {}
    for number, one in enumerate(many, start=1):
        steps.write(target(), [one], table(n=[1]))
        tokens[one.id] = f"token-{number}"
    state = recorded(many, tokens)
    plan.seen.clear()
    assert steps.manager.lost(target(), state) == frozenset()
    assert len(plan.seen) == 1 + len(many)
    plan.seen.clear()
    assert steps.manager.lost(target(), state) == frozenset()
    assert len(plan.seen) == 1
    steps.write(target(), [many[0]], table(n=[2]))
    plan.seen.clear()
    assert steps.manager.lost(target(), recorded(many, tokens)) == {many[0].id}
    assert len(plan.seen) == 2


def test_big_objects_are_read_by_the_columns_that_are_asked_for(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("io_managers.parquet_objects.WHOLE_BYTES", 0)
    steps = Steps(manager())
    wide = [uuid.uuid4().hex for _ in range(20_000)]
    steps.write(target(), [FIRST], pa.table({"wide": wide, "n": range(20_000)}))
    plan.seen.clear()
    assert steps.rows(target(), [FIRST], columns=("n",))[-1] == {"n": 19_999}
    assert plan.count("GET") <= 3


def test_an_object_of_somebody_else_keeps_an_asset_from_being_removed(plan: Plan) -> None:
    root = f"s3://{object_store.BUCKET}/{uuid.uuid4().hex}"
    steps = Steps(manager(root))
    steps.write(target(), [FIRST], table(n=[1]))
    client = obstore.store.from_url(
        root, endpoint=object_store.address(), client_options={"allow_http": True}
    )
    client.put("orders/notes.txt", b"mine")
    with pytest.raises(IOManagerError, match=r"orders/notes\.txt is not a file of orders"):
        steps.manager.remove(target())
    assert steps.rows(target(), [FIRST]) == [{"n": 1}]
    client.delete("orders/notes.txt")
    steps.manager.remove(target())
    assert [one for chunk in client.list() for one in chunk] == []


def test_an_object_without_a_byte_is_named(plan: Plan) -> None:
    lake = manager()
    steps = Steps(lake)
    steps.write(target(), [FIRST], table(n=[1]))
    store = obstore.store.from_url(
        lake.root, endpoint=object_store.address(), client_options={"allow_http": True}
    )
    obstore.put(store, "orders/day=2025-01-31/data.parquet", b"")
    for ask in (lambda: steps.rows(target(), [FIRST]), lambda: lake.holdings(target())):
        with pytest.raises(
            IOManagerError, match=r"data\.parquet can't be read: .*0 bytes"
        ) as found:
            ask()
        assert "remove it and materialize" in str(found.value.hint)
    assert plan.count("PUT") == 1
