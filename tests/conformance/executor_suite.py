"""The contract of an executor as tests. Subclass `ExecutorSuite`, say how to make one, and pytest runs every law on it.

The project that it works on is in `PROJECT`; `make` gets it loaded, and how another process loads it.
"""

from __future__ import annotations

import io
import itertools
import secrets
import sys
import textwrap
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from assets_core.execution.executors import Failed
from assets_core.execution.slices import slices_of
from assets_core.execution.step_order import InputOrder, StepOrder
from assets_core.execution.worker import Produced, Skipped
from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import Published, ReadRequest
from assets_core.telemetry.run_log import RunLog
from cli.project import Project
from cli.project.execution import loading_of
from cli.project.location import find_location, make_state_folder
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from assets_core.authoring.definitions import Resolved
    from assets_core.execution.executors import Executor, StepEnd
    from assets_core.execution.process_executor import Loading

NOW = datetime(2025, 1, 8, 12, tzinfo=UTC)

PROJECT = """
    import datetime
    import pyarrow as pa
    from assets_core import AssetContext, CheckResult, RetryPolicy, Skip, asset, asset_check
    from partitions import DailyPartitions

    daily = DailyPartitions("2025-01-01", end="2025-01-08")

    @asset(partitions=daily)
    def orders(context: AssetContext) -> pa.Table:
        print("fetching", context.partition_key)
        context.log.info("attempt %s", context.attempt)
        return pa.table({"day": [context.partition_key], "attempt": [context.attempt]})

    @asset(partitions=daily)
    def copied(orders: pa.Table) -> pa.Table:
        return orders

    @asset(partitions=daily)
    def closed() -> Skip:
        return Skip("the shop was closed")

    @asset(partitions=daily)
    def nothing() -> None:
        return None

    def deep() -> None:
        raise ValueError("no such customer")

    @asset(partitions=daily)
    def broken() -> None:
        deep()

    @asset(partitions=daily, partition_by="day")
    def outside() -> pa.Table:
        return pa.table({"day": [datetime.date(1999, 1, 1)]})

    @asset(partitions=daily)
    def leaving() -> None:
        raise SystemExit(3)

    @asset(partitions=daily)
    def judged() -> pa.Table:
        return pa.table({"x": [1]})

    @asset_check(judged, blocking=True)
    def never(judged: pa.Table) -> CheckResult:
        return CheckResult(passed=False, message="as ever")

    @asset(partitions=daily)
    def forking() -> pa.Table:
        import os
        os.fork()
        return pa.table({"x": [1]})
"""


class Stage:
    """A project in a folder, an executor, and what it wrote to the log."""

    def __init__(self, project: Project, executor: Executor) -> None:
        self.resolved = project.resolved
        self.executor = executor
        self.text = io.StringIO()
        self.log = RunLog(self.text, lambda: NOW)
        self._numbers = itertools.count(1)

    def order(self, asset: str, slot: int = 0, *, reads: str | None = None) -> StepOrder:
        index = self.resolved.graph.spec(asset).partitions.index(NOW)
        spec = self.resolved.graph.spec(asset)
        number = next(self._numbers)
        return StepOrder(
            run_id="run",
            asset=asset,
            step_id=number,
            epoch=number,
            # Nobody else has it: what steps started is found and ended by it, machine-wide.
            token=secrets.token_hex(8),
            number=2,
            slices=slices_of(index, [slot]),
            inputs=() if reads is None else (InputOrder(reads, reads, slices_of(index, [slot])),),
            now=NOW,
            timeout=None if spec.timeout is None else spec.timeout.total_seconds(),
            memory=spec.memory,
        )

    def start(self, asset: str, slot: int = 0, *, reads: str | None = None) -> StepOrder:
        order = self.order(asset, slot, reads=reads)
        self.executor.start(order, f"{asset}@{order.slices[0].key}", self.log)
        return order

    def wait(self, count: int = 1) -> list[StepEnd]:
        """The next ends; fails if they do not come."""
        found: list[StepEnd] = []

        def all_ended() -> bool:
            found.extend(self.executor.ended(1.0))
            return len(found) >= count

        wait_until(all_ended, lambda: f"only {found} ended")
        return found

    def run(self, asset: str, slot: int = 0, *, reads: str | None = None) -> StepEnd:
        order = self.start(asset, slot, reads=reads)
        (end,) = self.wait()
        assert end.step_id == order.step_id
        return end

    def failure(self, asset: str) -> Failed:
        result = self.run(asset).result
        assert isinstance(result, Failed)
        return result

    def publish(self, end: StepEnd) -> None:
        assert isinstance(end.result, Produced)
        assert end.result.staged is not None
        manager = self.resolved.outline.manager(end.result.staged.request.target.asset)
        (answer,) = manager.publish([end.result.staged])
        assert isinstance(answer, Published)

    def rows(self, asset: str, slot: int = 0) -> list[dict[str, object]]:
        index = self.resolved.graph.spec(asset).partitions.index(NOW)
        request = ReadRequest(self.resolved.outline.target(asset), slices_of(index, [slot]))
        found: list[dict[str, object]] = (
            self.resolved.outline.manager(asset).read(request).read_all().to_pylist()
        )
        return found

    def lines(self) -> list[str]:
        """What the steps printed: step and message."""
        return [line.partition(" ")[2] for line in self.text.getvalue().splitlines()]


class ExecutorSuite:
    """The laws. `make` answers an executor for the project; it is closed by the suite."""

    project_text = PROJECT

    def make(self, resolved: Resolved, loading: Loading) -> Executor:
        raise NotImplementedError

    @contextmanager
    def staged(self, folder: Path, more: str = "") -> Iterator[Stage]:
        text = textwrap.dedent(self.project_text) + textwrap.dedent(more)
        (folder / "assets.py").write_text(text)
        sys.modules.pop("assets", None)
        project = Project(find_location(folder))
        make_state_folder(project.location.folder)
        executor = self.make(project.resolved, loading_of(project))
        try:
            yield Stage(project, executor)
        finally:
            executor.close()

    @pytest.fixture
    def stage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
        monkeypatch.syspath_prepend(tmp_path)
        with self.staged(tmp_path) as stage:
            yield stage

    def test_rows_are_staged_for_the_caller_to_publish(self, stage: Stage) -> None:
        end = stage.run("orders", 1)
        with pytest.raises(IOManagerError):
            stage.rows("orders", 1)
        stage.publish(end)
        assert stage.rows("orders", 1) == [{"day": "2025-01-02", "attempt": 2}]

    def test_a_step_reads_what_was_published_before_it_started(self, stage: Stage) -> None:
        stage.publish(stage.run("orders", 3))
        stage.publish(stage.run("copied", 3, reads="orders"))
        assert stage.rows("copied", 3) == stage.rows("orders", 3)

    def test_what_a_step_prints_and_logs_goes_to_the_log_under_its_name(
        self, stage: Stage
    ) -> None:
        stage.run("orders")
        assert stage.lines() == [
            "orders@2025-01-01 fetching 2025-01-01",
            "orders@2025-01-01 INFO attempt 2",
        ]

    def test_skip_and_none_come_through(self, stage: Stage) -> None:
        assert stage.run("closed").result == Skipped("the shop was closed")
        assert stage.run("nothing").result == Produced(None, ())

    def test_an_exception_is_told_with_the_users_frames_only(self, stage: Stage) -> None:
        failure = stage.failure("broken")
        assert failure.message == "broken raised ValueError: no such customer"
        assert (failure.code, failure.died) == ("user-code", False)
        assert "deep()" in failure.frames
        assert "assets_core" not in failure.frames

    def test_rows_that_break_the_contract_are_the_datas_fault(self, stage: Stage) -> None:
        failure = stage.failure("outside")
        assert failure.code == "data"
        assert "outside: 1 row outside partition 2025-01-01" in failure.message

    def test_a_blocking_check_fails_the_attempt_with_its_outcome(self, stage: Stage) -> None:
        failure = stage.failure("judged")
        assert failure.code == "check-failed", (failure, stage.lines())
        assert [(check.check, check.passed) for check in failure.checks] == [("never", False)]

    def test_sys_exit_fails_the_step_only(self, stage: Stage) -> None:
        assert stage.failure("leaving").message == "leaving called sys.exit(3)"
        assert isinstance(stage.run("orders").result, Produced)

    def test_a_fork_that_returns_twice_answers_once(self, stage: Stage) -> None:
        result = stage.run("forking").result
        assert isinstance(result, Produced), (result, stage.lines())
        assert stage.executor.ended(0.1) == []

    def test_orders_up_to_the_capacity_run_side_by_side(self, stage: Stage) -> None:
        started = [stage.start("orders", slot).step_id for slot in range(stage.executor.capacity)]
        assert sorted(end.step_id for end in stage.wait(len(started))) == started

    def test_ended_answers_nothing_when_nothing_goes_on(self, stage: Stage) -> None:
        assert stage.executor.ended(0.0) == []
