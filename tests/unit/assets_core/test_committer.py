"""What is published of a group, and in which order, where a contract keeps rows out."""

from __future__ import annotations

import pyarrow as pa
import pytest

from assets_core.execution.attempts import Attempt
from assets_core.execution.committer import Done, publish_group
from assets_core.execution.rejects import rejected_request
from assets_core.execution.worker import Produced
from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import (
    PartitionSlice,
    PublishFailed,
    StageRequest,
    Target,
    WriteReceipt,
)
from assets_core.model.records import AttemptFailed, StepSucceeded
from assets_core.model.specs import Replace
from io_managers import MemoryIOManager

GOOD = Target("orders", Replace(), partitioned=True)
BAD = Target("orders__rejected", Replace(), partitioned=True, beside="orders")
ROWS = pa.table({"id": [1]})


def request(key: str, epoch: int) -> StageRequest:
    return StageRequest(GOOD, (PartitionSlice(int(key), key),), epoch, f"token-{key}-{epoch}")


def done(manager: MemoryIOManager, wanted: StageRequest, step_id: int) -> Done:
    good = manager.stage(wanted, ROWS.to_reader())
    bad = manager.stage(rejected_request(wanted, BAD), ROWS.to_reader())
    attempt = Attempt("orders", (0,), step_id, wanted.epoch, wanted.token, 1)
    return Done(attempt, Produced(good, (), None, bad), 0.1, {})


def known(token: str) -> bool:
    """Every attempt is one of this state."""
    return True


class Watching(MemoryIOManager):
    """Remembers in which order tables were published."""

    def __init__(self) -> None:
        super().__init__()
        self.published_to: list[str] = []

    def publish(self, staged):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 - as the class has it
        self.published_to += [one.request.target.asset for one in staged]
        return super().publish(staged)


def test_rejected_rows_of_all_steps_come_before_the_others() -> None:
    manager = Watching()
    group = [done(manager, request(key, 1), int(key)) for key in ("1", "2")]
    outcomes = publish_group(manager, group, known)
    assert all(isinstance(one, StepSucceeded) for one in outcomes)
    assert manager.published_to == ["orders__rejected"] * 2 + ["orders"] * 2


def test_a_step_whose_rejected_rows_are_refused_publishes_nothing() -> None:
    manager = MemoryIOManager()
    newer = rejected_request(request("1", 5), BAD)
    manager.publish([manager.stage(newer, ROWS.to_reader())])
    refused, fine = publish_group(
        manager, [done(manager, request("1", 4), 1), done(manager, request("2", 4), 2)], known
    )
    assert isinstance(refused, AttemptFailed)
    assert not refused.unknown
    assert isinstance(fine, StepSucceeded)
    assert [id_ for id_, _ in manager.holdings(GOOD)] == [2]


@pytest.mark.parametrize("table", [GOOD, BAD], ids=["the rows", "the rejected rows"])
def test_rows_of_another_state_are_told_with_place_and_what_to_type(table: Target) -> None:
    manager, newer = MemoryIOManager(), request("1", 5)
    there = newer if table is GOOD else rejected_request(newer, BAD)
    manager.publish([manager.stage(there, ROWS.to_reader())])
    asked: list[str] = []

    def unknown(token: str) -> bool:
        asked.append(token)
        return False

    (refused,) = publish_group(manager, [done(manager, request("1", 4), 1)], unknown)
    assert isinstance(refused, AttemptFailed)
    assert asked == [newer.token]
    assert f"the rows of {table.asset} in memory: {table.asset} are newer" in refused.message
    assert "another project writes there, or the state is an older copy" in refused.message
    assert "partita state restart orders removes them" in refused.message


def test_a_newer_attempt_of_the_same_state_needs_nothing_to_be_done() -> None:
    manager = MemoryIOManager()
    manager.publish([manager.stage(request("1", 5), ROWS.to_reader())])
    (refused,) = publish_group(manager, [done(manager, request("1", 4), 1)], known)
    assert isinstance(refused, AttemptFailed)
    assert refused.message == (
        "orders 1 was published by a newer attempt, so this one came too late and changed nothing (nothing to do: partita status)"
    )


class Unreachable(MemoryIOManager):
    """Can't be reached any more when it publishes to `lost`."""

    def __init__(self, lost: str) -> None:
        super().__init__()
        self.lost_table = lost

    def publish(self, staged):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 - as the class has it
        if any(one.request.target.asset == self.lost_table for one in staged):
            return [PublishFailed("the store can't be written: 503") for _ in staged]
        return super().publish(staged)

    def published(self, request: StageRequest) -> tuple[WriteReceipt, ...]:
        if request.slices[0].key == "1":
            raise IOManagerError("the store can't be read: no route to host")
        return super().published(request)


def test_a_destination_that_can_t_even_be_asked_fails_its_own_step_as_unknown() -> None:
    manager = Unreachable("orders")
    gone, absent = publish_group(
        manager, [done(manager, request(key, 1), int(key)) for key in "12"], known
    )
    assert isinstance(gone, AttemptFailed)
    assert gone.unknown
    assert gone.message == (
        "the store can't be written: 503; and whether the rows arrived can't be asked:"
        " the store can't be read: no route to host"
    )
    assert isinstance(absent, AttemptFailed)
    assert not absent.unknown
    assert absent.message == "the store can't be written: 503"


class Overtaken(MemoryIOManager):
    """Puts partitions in place one by one, and meets a newer attempt at the last of them."""

    def publish(self, staged):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 - as the class has it
        return [PublishFailed("a newer attempt was there", fenced=True) for _ in staged]

    def published(self, request: StageRequest) -> tuple[WriteReceipt, ...]:
        return tuple(WriteReceipt(one.id, 1, 1, "v", "s") for one in request.slices[:-1])


def test_a_step_that_was_overtaken_midway_leaves_what_readers_may_have_seen() -> None:
    manager = Overtaken()
    parts = tuple(PartitionSlice(number, str(number)) for number in (1, 2))
    by_id = Target("orders", Replace(), partitioned=True, partition_by="id")
    told = StageRequest(by_id, parts, 1, "token")
    staged = manager.stage(told, pa.table({"id": ["1", "2"]}).to_reader())
    attempt = Attempt("orders", (0, 1), 7, 1, "token", 1)
    (midway,) = publish_group(manager, [Done(attempt, Produced(staged, ()), 0.1, {})], known)
    assert isinstance(midway, AttemptFailed)
    assert midway.unknown


def test_rejected_rows_that_can_t_be_asked_about_keep_the_others_back() -> None:
    manager = Unreachable("orders__rejected")
    group = [done(manager, request(key, 1), int(key)) for key in "12"]
    assert all(isinstance(one, AttemptFailed) for one in publish_group(manager, group, known))
    assert manager.holdings(GOOD) == []
