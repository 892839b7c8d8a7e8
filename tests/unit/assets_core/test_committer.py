"""What is published of a group, and in which order, where a contract keeps rows out."""

from __future__ import annotations

import pyarrow as pa

from assets_core.execution.attempts import Attempt
from assets_core.execution.committer import Done, publish_group
from assets_core.execution.rejects import rejected_request
from assets_core.execution.worker import Produced
from assets_core.model.io_manager import PartitionSlice, StageRequest, Target
from assets_core.model.records import AttemptFailed, StepSucceeded
from assets_core.model.specs import Replace
from io_managers import MemoryIOManager

GOOD = Target("orders", Replace(), partitioned=True)
BAD = Target("orders__rejected", Replace(), partitioned=True)
ROWS = pa.table({"id": [1]})


def request(key: str, epoch: int) -> StageRequest:
    return StageRequest(GOOD, (PartitionSlice(int(key), key),), epoch, f"token-{key}-{epoch}")


def done(manager: MemoryIOManager, wanted: StageRequest, step_id: int) -> Done:
    good = manager.stage(wanted, ROWS.to_reader())
    bad = manager.stage(rejected_request(wanted, BAD), ROWS.to_reader())
    attempt = Attempt("orders", (0,), step_id, wanted.epoch, wanted.token, 1)
    return Done(attempt, Produced(good, (), None, bad), 0.1, {})


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
    outcomes = publish_group(manager, group)
    assert all(isinstance(one, StepSucceeded) for one in outcomes)
    assert manager.published_to == ["orders__rejected"] * 2 + ["orders"] * 2


def test_a_step_whose_rejected_rows_are_refused_publishes_nothing() -> None:
    manager = MemoryIOManager()
    newer = rejected_request(request("1", 5), BAD)
    manager.publish([manager.stage(newer, ROWS.to_reader())])
    refused, fine = publish_group(
        manager, [done(manager, request("1", 4), 1), done(manager, request("2", 4), 2)]
    )
    assert isinstance(refused, AttemptFailed)
    assert not refused.unknown
    assert isinstance(fine, StepSucceeded)
    assert [id_ for id_, _ in manager.holdings(GOOD)] == [2]
