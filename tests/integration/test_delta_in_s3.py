"""Delta tables in an object store: writers that meet, faults of network and store, what other programs read, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import deltalake
import obstore.store
import polars as pl
import pytest

from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import Published, PublishFailed
from assets_core.model.specs import Merge
from io_managers import DeltaIOManager
from tests import object_store
from tests.conformance.io_manager_suite import (
    HOSTILE,
    Steps,
    days,
    keys,
    recorded,
    table,
    target,
)
from tests.faulty_proxy import Fault, Plan
from tests.unit.io_managers.test_delta_tables import WORKER, newest_of

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = days("2025-01-31", 3)
FIRST = PARTS[:1]
HTTP = {"allow_http": "true"}


def at(root: str = "", **options: object) -> DeltaIOManager:
    return DeltaIOManager(
        root or f"s3://{object_store.BUCKET}/{uuid.uuid4().hex}",
        storage_options={"max_retries": 0, "timeout": "2s", **options},
    )


def beside(manager: DeltaIOManager) -> Steps:
    """Another writer of the same tables, who is not behind the proxy."""
    return Steps(at(manager.root, endpoint=object_store.address()))


def objects(manager: DeltaIOManager) -> list[str]:
    prefix = manager.root.partition(f"{object_store.BUCKET}/")[2]
    store = obstore.store.from_url(
        f"s3://{object_store.BUCKET}",
        endpoint=object_store.address(),
        client_options={"allow_http": True},
    )
    return [one["path"] for chunk in store.list(f"{prefix}/") for one in chunk]


def meanwhile(plan: Plan, act: Callable[[], object]) -> None:
    """Let something happen once when `deltalake` has looked for a newer version, found none, and sends its own."""
    acts = [act]

    def before(method: str, path: str) -> None:
        if acts and method == "PUT" and "_delta_log" in path:
            acts.pop()()

    plan.before = before


@pytest.mark.parametrize("unsafe", [{}, {"AWS_S3_ALLOW_UNSAFE_RENAME": "true"}], ids=str)
def test_a_newer_attempt_that_commits_first_fences_the_older_off(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, unsafe: dict[str, str]
) -> None:
    for name, value in unsafe.items():
        monkeypatch.setenv(name, value)
    steps = Steps(at())
    steps.write(target(), FIRST, table(v=[1]))
    late = steps.stage(target(), FIRST, table(v=[2]))
    other = beside(steps.manager)
    other.epoch = 8
    meanwhile(plan, lambda: other.write(target(), FIRST, table(v=[9])))
    (answer,) = steps.manager.publish([late])
    assert isinstance(answer, PublishFailed)
    assert answer.fenced
    assert steps.rows(target(), FIRST) == [{"v": 9}]
    assert len([one for one in objects(steps.manager) if one.endswith(".parquet")]) == 2


def test_a_merge_that_commits_first_is_merged_with_and_files_are_sent_once(plan: Plan) -> None:
    where = target(Merge(keys=["id"]))
    steps = Steps(at())
    steps.write(where, PARTS[2:], table(id=[1], v=["a"]))
    own = steps.stage(where, PARTS[1:2], table(id=[7], v=["own"]))
    other = beside(steps.manager)
    other.epoch = 8
    meanwhile(plan, lambda: other.write(where, FIRST, table(id=[7], v=["other"])))
    (answer,) = steps.manager.publish([own])
    assert isinstance(answer, Published)
    assert sorted(map(str, steps.rows(where, PARTS))) == [
        "{'id': 1, 'v': 'a'}",
        "{'id': 7, 'v': 'own'}",
    ]


def test_two_first_publishes_make_one_table(plan: Plan) -> None:
    steps = Steps(at())
    own = steps.stage(target(), FIRST, table(v=[1]))
    other = beside(steps.manager)
    other.epoch = 8
    meanwhile(plan, lambda: other.write(target(), PARTS[1:2], table(v=[2])))
    (answer,) = steps.manager.publish([own])
    assert isinstance(answer, Published)
    assert steps.rows(target(), PARTS[:2]) == [{"v": 1}, {"v": 2}]


def test_processes_that_publish_at_once_lose_nothing_and_the_newest_epoch_stays(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store.address())
    root = at().root
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, root, str(me), "3"], stdout=subprocess.PIPE, text=True
        )
        for me in range(2)
    ]
    told = [line.split() for one in workers for line in one.communicate()[0].splitlines()]
    assert [one.returncode for one in workers] == [0, 0]
    newest = newest_of(told)
    parts = keys("shared", "own0", "own1")
    found = Steps(at(root)).rows(target(kind=None), parts)
    assert [row["epoch"] for row in found] == [newest[one.key] for one in parts]


@pytest.mark.parametrize(
    "fault", [Fault.RESET_BEFORE, Fault.RESET_AFTER, Fault.SLOW_DOWN, Fault.SLOW_DOWN_AFTER]
)
def test_a_commit_whose_answer_is_lost_is_looked_for(plan: Plan, fault: Fault) -> None:
    steps = Steps(at())
    steps.write(target(), FIRST, table(v=[1]))
    plan.method, plan.faults = "PUT", [None, fault]
    staged = steps.stage(target(), FIRST, table(v=[2]))
    (answer,) = steps.manager.publish([staged])
    arrived = fault in {Fault.RESET_AFTER, Fault.SLOW_DOWN_AFTER}
    assert isinstance(answer, Published) == arrived, answer
    assert len(steps.manager.published(staged.request)) == arrived
    assert steps.rows(target(), FIRST) == [{"v": 2 if arrived else 1}]
    if isinstance(answer, PublishFailed):
        assert answer.message.startswith(f"{steps.manager.root}/orders can't be written: ")
        assert answer.hint is not None


def test_a_commit_that_arrives_after_it_was_given_up_finds_its_files(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(at())
    steps.write(target(), FIRST, table(v=[1]))
    write = deltalake.DeltaTable.create_write_transaction
    late: list[Callable[[], object]] = []

    def silence(*told: object, **options: object) -> None:
        late.append(lambda: write(*told, **options))  # type: ignore[arg-type] # handed on
        raise OSError(
            "Generic S3 error: Error performing PUT http://store in 2s - HTTP error: timed out"
        )

    staged = steps.stage(target(), FIRST, table(v=[2]))
    with monkeypatch.context() as slow:
        slow.setattr(deltalake.DeltaTable, "create_write_transaction", silence)
        (answer,) = steps.manager.publish([staged])
    assert isinstance(answer, PublishFailed)
    assert "HTTP error: timed out" in answer.message
    assert steps.manager.published(staged.request) == ()
    late[0]()
    assert len(steps.manager.published(staged.request)) == 1
    assert steps.rows(target(), FIRST) == [{"v": 2}]


def test_a_commit_that_was_given_up_and_never_arrives_leaves_what_a_recovery_removes(
    plan: Plan,
) -> None:
    steps = Steps(at())
    steps.write(target(), FIRST, table(v=[1]))
    before = objects(steps.manager)
    plan.method, plan.faults = "PUT", [None, Fault.RESET_BEFORE]
    staged = steps.stage(target(), FIRST, table(v=[2]))
    steps.manager.publish([staged])
    assert len(objects(steps.manager)) == len(before) + 1
    steps.manager.discard_leftovers(staged.request.token, target())
    assert objects(steps.manager) == before


def test_a_missing_bucket_is_named_in_the_words_of_parquet_files(plan: Plan) -> None:
    steps = Steps(at("s3://nowhere/shop"))
    told = steps.fail(target(), FIRST, table(v=[1]))
    assert isinstance(told, PublishFailed)
    assert "s3://nowhere/shop/orders" in told.message
    assert "there is no bucket nowhere" in told.message
    assert told.hint == "make the bucket, or correct the URL of the DeltaIOManager"
    with pytest.raises(IOManagerError, match="there is no bucket nowhere"):
        steps.manager.lost(target(), recorded(FIRST, {FIRST[0].id: "token"}))


@pytest.mark.parametrize("passed", range(6))
def test_wrong_credentials_are_told_with_where_they_come_from(plan: Plan, passed: int) -> None:
    """Whichever request it is that they are refused for."""
    steps = Steps(at())
    steps.write(target(), FIRST, table(v=[1]))
    staged = steps.stage(target(), FIRST, table(v=[2]))
    plan.method, plan.faults = "GET", [*[None] * passed, *[Fault.DENIED] * 99]
    (answer,) = steps.manager.publish([staged])
    if isinstance(answer, Published):
        return
    assert "403 Forbidden, SignatureDoesNotMatch: No such secret." in answer.message
    assert steps.manager.root in answer.message
    assert "AWS_ACCESS_KEY_ID" in (answer.hint or "")


def test_a_store_out_of_reach_is_told_with_its_cause(plan: Plan) -> None:
    steps = Steps(at(endpoint="http://127.0.0.1:9"))
    told = steps.fail(target(), FIRST, table(v=[1]))
    assert isinstance(told, PublishFailed)
    assert steps.manager.root in told.message
    assert told.hint == "try again; if the store is another one, set AWS_ENDPOINT_URL"


def test_a_store_that_pays_no_heed_to_conditions_is_refused_each_time(plan: Plan) -> None:
    plan.without = frozenset({"if-none-match"})
    steps = Steps(at())
    for _ in range(2):
        told = steps.fail(target(), FIRST, table(v=[1]))
        assert isinstance(told, PublishFailed)
        assert (
            f"{steps.manager.root}/orders can't be written: its store puts an object in place of another"
            in told.message
        )
    assert objects(steps.manager) == []


def test_other_programs_read_every_key(plan: Plan) -> None:
    steps, parts = Steps(at()), keys(*HOSTILE)
    steps.write(target(by="key", kind=None), parts, table(key=[one.key for one in parts]))
    address = f"{steps.manager.root}/orders"
    seen = pl.read_delta(address, storage_options=HTTP)
    assert sorted(seen["_partition"].to_list()) == sorted(HOSTILE)
    found = deltalake.DeltaTable(address, storage_options=HTTP).to_pyarrow_table()
    assert found["_partition"].to_pylist() == found["key"].to_pylist()


def test_what_is_not_of_the_table_keeps_it_from_being_removed(plan: Plan) -> None:
    steps = Steps(at())
    steps.write(target(), FIRST, table(v=[1]))
    client = obstore.store.from_url(
        steps.manager.root, endpoint=object_store.address(), client_options={"allow_http": True}
    )
    client.put("orders/notes.txt", b"mine")
    with pytest.raises(IOManagerError, match=r"orders/notes\.txt is not a file of orders"):
        steps.manager.remove(target())
    assert steps.rows(target(), FIRST) == [{"v": 1}]
    client.delete("orders/notes.txt")
    steps.manager.remove(target())
    assert objects(steps.manager) == []


@pytest.mark.parametrize("passed", range(4))
def test_a_removal_that_breaks_off_goes_on_when_it_is_called_again(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, passed: int
) -> None:
    """One object at a time: at each the rest is a table whose partitions are lost, or none."""
    steps = Steps(at())
    for value in (1, 2):
        steps.write(target(), FIRST, table(v=[value]))
    state = recorded(FIRST, {FIRST[0].id: "token-2"})
    store = steps.manager._files.place._store  # type: ignore[attr-defined] # of this adapter
    delete, left = type(store).delete, [passed]

    def one_by_one(self: object, names: list[str]) -> None:
        for name in names:
            if not left[0]:
                raise IOManagerError("broken off")
            left[0] -= 1
            delete(self, [name])

    with monkeypatch.context() as broken:
        broken.setattr(type(store), "delete", one_by_one)
        with pytest.raises(IOManagerError, match="broken off"):
            steps.manager.remove(target())
    assert len(objects(steps.manager)) == 5 - passed
    with suppress(IOManagerError):
        assert steps.rows(target(), FIRST) == [{"v": 2}]
    steps.manager.remove(target())
    assert objects(steps.manager) == []
    assert steps.manager.lost(target(), state) == {FIRST[0].id}
