"""The in-process runner with the real store and the in-memory IO manager: order, retries, checks, stops, recovery."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from assets_core import (
    AssetContext,
    CheckResult,
    Definitions,
    Input,
    Merge,
    Output,
    Replace,
    RetryPolicy,
    Skip,
    asset,
    asset_check,
)
from assets_core.execution.events import RunEvent, StepFailed, StepStarted, StepSucceeded
from assets_core.execution.facts import versions_of
from assets_core.execution.recovery import recover
from assets_core.execution.slices import slices_of
from assets_core.model.io_manager import ReadRequest, StageRequest
from assets_core.model.records import (
    ClaimedStep,
    RunKind,
    RunRecord,
    RunStatus,
    StepClaim,
    StepSkipped,
    StepStatus,
)
from assets_core.planning.planner import Mode, PlanRequest, SpaceChangedError, plan_run
from assets_core.state.locks import FileLocks
from assets_core.telemetry.run_log import RunLogs
from io_managers import MemoryIOManager
from partitions import DailyPartitions, LastN, StaticPartitions, WeeklyPartitions
from partitions.sets import PartitionSet
from tests.integration.bench import NOW, WEEK, Bench, day_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from assets_core.model.io_manager import Published, PublishFailed, Staged


def test_a_failed_day_holds_up_only_what_reads_that_day() -> None:
    broken = {3}

    @asset(partitions=WEEK)
    def bronze(context: AssetContext) -> pa.Table:
        if day_of(context) in broken:
            raise ValueError("no file for today")
        return pa.table({"day": [day_of(context)]})

    @asset(partitions=WEEK)
    def silver(bronze: pa.Table) -> pa.Table:
        return bronze

    @asset(partitions=WEEK, inputs={"days": Input(silver, mapping=LastN(3))})
    def trend(days: pa.Table) -> pa.Table:
        return days

    bench = Bench([bronze, silver, trend])
    summary = bench.run()
    assert summary.status is RunStatus.FAILED
    assert summary.counts == {
        StepStatus.SUCCEEDED: 6 + 6 + 4,
        StepStatus.FAILED: 1,
        StepStatus.SKIPPED: 1 + 3,
    }
    assert [failure.keys for failure in summary.failures] == [("2025-01-03",)]
    skipped = [
        step.message
        for step in bench.store.steps(bench.run_id)
        if step.status is StepStatus.SKIPPED
    ]
    assert "it reads bronze@2025-01-03, which failed" in skipped
    broken.clear()
    repaired = bench.run()
    assert repaired.counts == {StepStatus.SUCCEEDED: 1 + 1 + 3}


def test_each_failed_attempt_is_recorded_and_pauses_grow_exponentially() -> None:
    tries = []

    @asset(retry=RetryPolicy(max_attempts=4, delay=timedelta(seconds=2)))
    def flaky() -> pa.Table:
        tries.append(1)
        if len(tries) < 4:
            raise ConnectionError(f"try {len(tries)}")
        return pa.table({"x": [1]})

    bench = Bench([flaky])
    summary = bench.run()
    assert summary.status is RunStatus.SUCCEEDED
    assert bench.pauses == [2.0, 4.0, 8.0]
    attempts = bench.store.attempts(bench.run_id)
    assert [attempt.attempt for attempt in attempts] == [1, 2, 3]
    assert "ConnectionError: try 3" in attempts[-1].message
    assert [step.attempt for step in bench.store.steps(bench.run_id)] == [4]


def test_other_days_go_on_while_one_waits_for_its_retry() -> None:
    order: list[str] = []

    @asset(partitions=WEEK, retry=RetryPolicy(max_attempts=2, delay=timedelta(minutes=1)))
    def bronze(context: AssetContext) -> pa.Table:
        order.append(f"bronze {day_of(context)}")
        if day_of(context) == 1 and order.count("bronze 1") == 1:
            raise ConnectionError
        return pa.table({"day": [day_of(context)]})

    @asset(partitions=WEEK)
    def silver(context: AssetContext, bronze: pa.Table) -> pa.Table:
        order.append(f"silver {day_of(context)}")
        return bronze

    bench = Bench([bronze, silver])
    assert bench.run().status is RunStatus.SUCCEEDED
    assert order.index("silver 7") < len(order) - 2
    assert order[-2:] == ["bronze 1", "silver 1"]
    assert bench.pauses == [60.0]


def test_fail_fast_cancels_what_has_not_started() -> None:
    @asset(partitions=WEEK)
    def bronze(context: AssetContext) -> pa.Table:
        if day_of(context) == 2:
            raise ValueError
        return pa.table({"day": [day_of(context)]})

    bench = Bench([bronze])
    summary = bench.run(fail_fast=True)
    assert summary.status is RunStatus.FAILED
    assert summary.counts == {
        StepStatus.SUCCEEDED: 1,
        StepStatus.FAILED: 1,
        StepStatus.CANCELLED: 5,
    }
    assert bench.store.unfinished_runs() == []


def test_stopping_interrupts_the_function_and_keeps_what_was_published() -> None:
    bench: Bench

    @asset(partitions=WEEK)
    def bronze(context: AssetContext) -> pa.Table:
        if day_of(context) == 5:
            bench.runner.stop()
        return pa.table({"day": [day_of(context)]})

    bench = Bench([bronze])
    summary = bench.run()
    assert summary.status is RunStatus.CANCELLED
    assert summary.counts == {StepStatus.SUCCEEDED: 4, StepStatus.CANCELLED: 3}
    assert bench.column("bronze", "day", "2025-01-01", "2025-01-04") == [1, 4]
    bench.resolve()
    rest = bench.run()
    assert rest.counts.get(StepStatus.CANCELLED) == 3, "the function stops the second run as well"


def test_an_unchanged_recomputation_cuts_off_what_reads_it() -> None:
    @asset(partitions=WEEK)
    def bronze(context: AssetContext) -> pa.Table:
        return pa.table({"day": [day_of(context)]})

    @asset(partitions=WEEK)
    def silver(bronze: pa.Table) -> pa.Table:
        return bronze

    bench = Bench([bronze, silver])
    bench.run()
    summary = bench.run("bronze", mode=Mode.FORCE, downstream=True)
    assert summary.counts == {StepStatus.SUCCEEDED: 7, StepStatus.CUT_OFF: 7}
    assert bench.run().counts == {}


def test_none_records_a_success_without_data_and_skip_records_nothing() -> None:
    @asset
    def side_effect() -> None:
        return None

    @asset
    def not_today() -> Skip:
        return Skip("the shop was closed")

    @asset(deps=[side_effect])
    def after() -> pa.Table:
        return pa.table({"x": [1]})

    bench = Bench([side_effect, not_today, after])
    summary = bench.run()
    assert summary.status is RunStatus.SUCCEEDED
    assert summary.counts == {StepStatus.SUCCEEDED: 2, StepStatus.SKIPPED: 1}
    assert [
        row.partitions.describe()
        for part in bench.plan().assets
        for row in part.rows
        if part.asset == "not_today"
    ]
    assert all(part.asset == "not_today" for part in bench.plan().assets if part.partitions)


def test_a_batch_is_one_call_and_its_rows_are_told_apart_by_their_column() -> None:
    calls: list[tuple[str, ...]] = []

    @asset(partitions=WEEK, batch_size=3, partition_by="day")
    def bronze(context: AssetContext) -> pa.Table:
        calls.append(context.partition_keys)
        assert context.window is not None
        days = (context.window.end - context.window.start).days
        first = context.window.start.date()
        return pa.table(
            {"day": pa.array([first + timedelta(days=n) for n in range(days)], pa.date32())}
        )

    bench = Bench([bronze])
    summary = bench.run()
    assert summary.rows == 7
    assert [len(keys) for keys in calls] == [3, 3, 1]
    assert [str(day) for day in bench.column("bronze", "day", "2025-01-02")] == ["2025-01-02"]


def test_inputs_arrive_in_the_type_of_their_annotation() -> None:
    seen: dict[str, object] = {}

    @asset(partitions=WEEK)
    def up(context: AssetContext) -> pa.Table:
        return pa.table({"n": [day_of(context)]})

    @asset(inputs={"up": Input(up)})
    def as_table(up: pa.Table) -> pa.Table:
        seen["table"] = up.num_rows
        return up

    @asset(inputs={"up": Input(up)})
    def as_reader(up: pa.RecordBatchReader) -> pa.RecordBatchReader:
        return up

    @asset(inputs={"up": Input(up)})
    def as_pandas(up: pd.DataFrame) -> pd.DataFrame:
        seen["pandas"] = type(up).__name__
        return up

    @asset(inputs={"up": Input(up)})
    def as_polars(up: pl.DataFrame) -> pl.DataFrame:
        seen["polars"] = up.shape
        return up

    @asset(inputs={"up": Input(up)})
    def as_lazy(up: pl.LazyFrame) -> pl.DataFrame:
        return up.collect()

    @asset(inputs={"up": Input(up)})
    def as_relation(up: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
        return up.filter("n > 5")

    @asset(inputs={"up": Input(up)})
    def as_dict(up: dict[str, pa.Table]) -> pa.Table:
        seen["dict"] = sorted(up)
        return up["2025-01-01"]

    names = [
        "as_table",
        "as_reader",
        "as_pandas",
        "as_polars",
        "as_lazy",
        "as_relation",
        "as_dict",
    ]
    bench = Bench([up, as_table, as_reader, as_pandas, as_polars, as_lazy, as_relation, as_dict])
    summary = bench.run()
    assert summary.status is RunStatus.SUCCEEDED, summary.failures
    assert seen == {
        "table": 7,
        "pandas": "DataFrame",
        "polars": (7, 1),
        "dict": [f"2025-01-0{d}" for d in range(1, 8)],
    }
    assert [sorted(bench.column(name, "n")) for name in names[:5]] == [list(range(1, 8))] * 5
    assert sorted(bench.column("as_relation", "n")) == [6, 7]


def test_a_generator_streams_and_its_error_is_the_users_own() -> None:
    @asset
    def stream() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"n": [1]})
        yield pa.record_batch({"n": [2]})

    @asset
    def breaks() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"n": [1]})
        raise LookupError("page 2 is gone")

    bench = Bench([stream, breaks])
    summary = bench.run()
    assert bench.column("stream", "n") == [1, 2]
    (failure,) = summary.failures
    assert failure.message == "breaks raised LookupError: page 2 is gone"
    assert "test_runner.py" in failure.traceback
    assert "assets_core" not in failure.traceback


@pytest.mark.parametrize("value", [3, "text", [1, 2], {"a": 1}, object()])
def test_a_value_that_cannot_be_stored_names_its_type_and_what_is_accepted(value: object) -> None:
    @asset
    def wrong() -> object:
        return value

    (failure,) = Bench([wrong]).run().failures
    assert type(value).__name__ in failure.message
    assert "pyarrow Table" in failure.message


def test_rows_that_break_the_definition_are_told_apart_from_a_function_that_raised() -> None:
    @asset(write=Merge(keys=["id"]))
    def no_key() -> pa.Table:
        return pa.table({"number": [1]})

    @asset
    def raises() -> pa.Table:
        raise ValueError

    bench = Bench([no_key, raises])
    assert {failure.keys: failure.code for failure in bench.run("no_key").failures} == {(): "data"}
    assert [failure.code for failure in bench.run("raises").failures] == ["user-code"]


def test_a_function_that_exits_fails_its_step_and_not_the_run() -> None:
    @asset
    def leaves() -> pa.Table:
        raise SystemExit(3)

    (failure,) = Bench([leaves]).run().failures
    assert failure.message == "leaves called sys.exit(3)"


def test_a_blocking_check_keeps_the_rows_that_were_there() -> None:
    value = [1]

    @asset
    def numbers() -> pa.Table:
        return pa.table({"n": list(value)})

    @asset_check(numbers, blocking=True)
    def positive(numbers: pa.Table) -> CheckResult:
        low = min(numbers.column("n").to_pylist())
        return CheckResult(passed=low > 0, message=f"lowest is {low}")

    @asset_check(numbers)
    def small(numbers: pa.Table) -> bool:
        return numbers.num_rows < 2

    bench = Bench([numbers, positive, small])
    assert bench.run().status is RunStatus.SUCCEEDED
    value[:] = [-5, 7]
    summary = bench.run(mode=Mode.FORCE)
    assert summary.status is RunStatus.FAILED
    assert "positive: lowest is -5" in summary.failures[0].message
    assert bench.column("numbers", "n") == [1]
    recorded = {outcome.check: outcome.passed for _, outcome in bench.store.checks(bench.run_id)}
    assert recorded == {"positive": False, "small": False}


def test_a_failed_check_that_does_not_block_is_told_and_the_rows_are_published() -> None:
    @asset
    def numbers() -> pa.Table:
        return pa.table({"n": [1, 2, 3]})

    @asset_check(numbers)
    def small(numbers: pa.Table) -> bool:
        return numbers.num_rows < 2

    bench = Bench([numbers, small])
    summary = bench.run()
    assert summary.status is RunStatus.SUCCEEDED
    assert [check.check for check in summary.failed_checks] == ["small"]
    assert bench.column("numbers", "n") == [1, 2, 3]


def test_resources_and_static_partitions_reach_the_function() -> None:
    @asset(partitions=StaticPartitions(["eu", "us"]))
    def sales(context: AssetContext, shop: dict[str, int]) -> pa.Table:
        return pa.table({"n": [shop[context.partition_key]]})

    bench = Bench([sales], resources={"shop": {"eu": 10, "us": 20}})
    assert bench.run().status is RunStatus.SUCCEEDED
    assert bench.column("sales", "n", "us") == [20]


def test_what_a_function_prints_and_logs_goes_to_the_runs_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @asset(partitions=WEEK)
    def chatty(context: AssetContext) -> pa.Table:
        print("hello\x1b[31m", day_of(context))  # noqa: T201 - it is what the test is about
        context.log.info("fetched %s", day_of(context))
        return pa.table({"n": [1]})

    logs = RunLogs(tmp_path)
    bench = Bench([chatty], logs=logs)
    bench.run()
    text = "\n".join(logs.read(bench.run_id, NOW))
    assert "chatty@2025-01-03 hello\\x1b[31m 3" in text
    assert "chatty@2025-01-03 INFO fetched 3" in text
    assert capsys.readouterr().out == ""


def test_events_tell_attempts_and_retries_in_order() -> None:
    tries = []

    @asset(retry=RetryPolicy(max_attempts=2))
    def flaky() -> pa.Table:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError
        return pa.table({"x": [1]})

    bench = Bench([flaky])
    bench.run()
    told = [event for event in bench.events if isinstance(event, StepStarted | StepFailed)]
    assert [(type(event).__name__, event.attempt) for event in told] == [
        ("StepStarted", 1),
        ("StepFailed", 1),
        ("StepStarted", 2),
    ]
    failed = told[1]
    assert isinstance(failed, StepFailed)
    assert failed.retry_at == NOW + timedelta(seconds=1)


def crashed_bench(*, publish: bool) -> Bench:
    """A project whose process died after claiming a step, before or after publishing its rows."""

    @asset(partitions=WEEK)
    def bronze(context: AssetContext) -> pa.Table:
        return pa.table({"day": [day_of(context)]})

    bench = Bench([bronze])
    facts = bench.facts()
    index = facts.indexes["bronze"]
    versions = bench.store.register(versions_of(spec) for spec in facts.graph.specs.values())[
        "bronze"
    ]
    bench.store.start_run(
        RunRecord("dead", RunKind.MATERIALIZE, "", "", "", RunStatus.RUNNING, NOW)
    )
    claim = StepClaim(
        "bronze", (int(index.ids[0]),), "dead-token", versions.code_id, versions.deps_id
    )
    (claimed,) = bench.store.claim("dead", [claim], NOW)
    if publish:
        request = StageRequest(
            bench.resolved.outline.target("bronze"),
            slices_of(index, [0]),
            claimed.epoch,
            "dead-token",
        )
        staged = bench.memory.stage(request, pa.table({"day": [1]}).to_reader())
        bench.memory.publish([staged])
    return bench


def test_recovery_records_a_step_whose_rows_had_been_published(tmp_path: Path) -> None:
    bench = crashed_bench(publish=True)
    (run,) = recover(bench.resolved.outline, bench.store, FileLocks(tmp_path), NOW)
    assert run.id == "dead"
    assert [step.status for step in bench.store.steps("dead")] == [StepStatus.SUCCEEDED]
    assert bench.run().counts == {StepStatus.SUCCEEDED: 6}
    assert bench.column("bronze", "day") == [1, 2, 3, 4, 5, 6, 7]


def test_recovery_abandons_a_step_that_had_published_nothing(tmp_path: Path) -> None:
    bench = crashed_bench(publish=False)
    recover(bench.resolved.outline, bench.store, FileLocks(tmp_path), NOW)
    assert [step.status for step in bench.store.steps("dead")] == [StepStatus.ABANDONED]
    assert bench.store.unfinished_runs() == []
    assert recover(bench.resolved.outline, bench.store, FileLocks(tmp_path), NOW) == []
    assert bench.run().counts == {StepStatus.SUCCEEDED: 7}


def test_recovery_looks_again_if_a_run_that_it_took_for_dead_made_a_step_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = crashed_bench(publish=False)
    ids = bench.store.register(versions_of(s) for s in bench.facts().graph.specs.values())
    second = int(bench.facts().indexes["bronze"].ids[1])
    code_id, deps_id = ids["bronze"].code_id, ids["bronze"].deps_id
    claim = StepClaim("bronze", (second,), "late-token", code_id, deps_id)
    finish_run = bench.store.finish_run

    def beside_a_living_run(run_id: str, status: RunStatus, now: datetime) -> None:
        monkeypatch.undo()
        (claimed,) = bench.store.claim("dead", [claim], NOW)
        assert isinstance(claimed, ClaimedStep)
        try:
            finish_run(run_id, status, now)
        finally:
            quick = StepSkipped(claimed.step_id, claimed.epoch, StepStatus.SKIPPED, "quick")
            assert bench.store.record([quick], NOW) == [None]

    monkeypatch.setattr(bench.store, "finish_run", beside_a_living_run)
    (run,) = recover(bench.resolved.outline, bench.store, FileLocks(tmp_path), NOW)
    assert run.id == "dead"
    assert bench.store.unfinished_runs() == []
    statuses = [step.status for step in bench.store.steps("dead")]
    assert statuses == [StepStatus.ABANDONED, StepStatus.SKIPPED]


def test_a_data_version_given_by_the_function_decides_whether_readers_run() -> None:
    fetched, etag = [0], ["a"]

    @asset
    def page() -> Output:
        fetched[0] += 1
        return Output(pa.table({"fetched": [fetched[0]]}), data_version=etag[0])

    @asset
    def words(page: pa.Table) -> pa.Table:
        return page

    bench = Bench([page, words])
    bench.run()
    same = bench.run("page", mode=Mode.FORCE, downstream=True)
    assert same.counts == {StepStatus.SUCCEEDED: 1, StepStatus.CUT_OFF: 1}
    etag[0] = "b"
    other = bench.run("page", mode=Mode.FORCE, downstream=True)
    assert other.counts == {StepStatus.SUCCEEDED: 2}


def test_a_step_that_the_crash_left_half_published_makes_its_readers_run_again(
    tmp_path: Path,
) -> None:
    """The rows of an unknown attempt may have been read: an equal data version afterwards proves nothing."""
    bench = crashed_bench(publish=True)
    recover(bench.resolved.outline, bench.store, FileLocks(tmp_path), NOW)
    index = bench.facts().indexes["bronze"]
    first = int(index.ids[0])
    version = bench.store.history("bronze", WEEK.space, first)
    versions = bench.store.register(versions_of(s) for s in bench.facts().graph.specs.values())
    run = RunRecord("dead2", RunKind.MATERIALIZE, "", "", "", RunStatus.RUNNING, NOW)
    bench.store.start_run(run)
    ids = versions["bronze"]
    claim = StepClaim("bronze", (first,), "token-x", ids.code_id, ids.deps_id)
    bench.store.claim("dead2", [claim], NOW)
    bench.assets = [
        asset(name="other")(lambda: pa.table({"x": [1]})),
    ]
    renamed = Definitions(assets=bench.assets, io_managers={"default": bench.memory}).resolve()
    recover(renamed.outline, bench.store, FileLocks(tmp_path), NOW)
    (step,) = bench.store.steps("dead2")
    assert step.status is StepStatus.FAILED
    assert "bronze is not defined any more" in step.message
    plan = bench.plan().of("bronze")
    assert plan is not None
    assert [row.reason.word for row in plan.rows] == ["missing", "failed"]
    bench.run()
    again = bench.store.history("bronze", WEEK.space, first)
    assert again.data_version == version.data_version
    assert again.data_seq == again.seq, (
        "an equal version counts as a change after an unknown outcome"
    )


def test_interrupting_a_library_that_turns_it_into_its_own_error_cancels_the_step() -> None:
    bench: Bench

    @asset
    def query() -> pa.Table:
        try:
            bench.runner.stop()
        except KeyboardInterrupt:
            raise RuntimeError("Query interrupted") from None
        return pa.table({"x": [1]})

    bench = Bench([query])
    summary = bench.run()
    assert summary.status is RunStatus.CANCELLED
    assert summary.counts == {StepStatus.CANCELLED: 1}


def test_an_input_that_cannot_be_read_fails_its_step_and_not_the_run() -> None:
    class Damaged(MemoryIOManager):
        def read(self, request: ReadRequest) -> pa.RecordBatchReader:
            if request.target.asset == "bad":
                raise OSError("block 7 is damaged")
            return super().read(request)

    @asset
    def bad() -> pa.Table:
        return pa.table({"x": [1]})

    @asset
    def reader(bad: pa.Table) -> pa.Table:
        return bad

    @asset
    def bystander() -> pa.Table:
        return pa.table({"x": [1]})

    bench = Bench([bad, reader, bystander], memory=Damaged())
    summary = bench.run()
    assert summary.counts == {StepStatus.SUCCEEDED: 2, StepStatus.FAILED: 1}
    assert "reading bad failed: OSError: block 7 is damaged" in summary.failures[0].message


def test_a_reader_that_allows_missing_goes_on_without_what_was_skipped_or_has_no_rows() -> None:
    @asset(partitions=WEEK)
    def some(context: AssetContext) -> pa.Table | Skip | None:
        match day_of(context):
            case 1:
                return Skip("closed")
            case 2:
                return None
        return pa.table({"day": [day_of(context)]})

    @asset(inputs={"some": Input(some, allow_missing=True)})
    def lenient(some: pa.Table) -> pa.Table:
        return some

    @asset(inputs={"some": Input(some)})
    def strict(some: pa.Table) -> pa.Table:
        return some

    bench = Bench([some, lenient, strict])
    bench.run()
    assert sorted(bench.column("lenient", "day")) == [3, 4, 5, 6, 7]
    (step,) = [s for s in bench.store.steps(bench.run_id) if s.asset == "strict"]
    assert (
        step.message
        == "it reads some@2025-01-01, which was skipped by its function and has no older rows"
    )


def test_a_reader_of_a_partition_whose_function_returned_none_is_told_what_to_write() -> None:
    @asset
    def script() -> None:
        return None

    @asset
    def reader(script: pa.Table) -> pa.Table:
        return script

    (failure,) = Bench([script, reader]).run().failures
    assert "whose function returned None" in failure.message
    assert "deps=[script]" in failure.message


def test_a_reader_of_all_takes_what_is_due_and_waits_for_nothing_else() -> None:
    days = DailyPartitions("2025-01-01")

    @asset(partitions=days, closed_after=timedelta(days=2))
    def slow(context: AssetContext) -> pa.Table:
        return pa.table({"day": [day_of(context)]})

    @asset
    def total(slow: pa.Table) -> pa.Table:
        return slow

    bench = Bench([slow, total])
    assert bench.run().status is RunStatus.SUCCEEDED
    assert sorted(bench.column("total", "day")) == [1, 2, 3, 4, 5]


def test_check_figures_are_made_plain_before_anything_is_published() -> None:
    import numpy as np

    @asset
    def numbers() -> pa.Table:
        return pa.table({"n": [1, 2, 3]})

    @asset_check(numbers)
    def counted(numbers: pa.Table) -> CheckResult:
        return CheckResult(
            passed=np.array([0]).any(), metadata={"rows": np.int64(numbers.num_rows)}
        )

    bench = Bench([numbers, counted])
    bench.run()
    ((_, outcome),) = bench.store.checks(bench.run_id)
    assert (outcome.passed, dict(outcome.metadata)) == (False, {"rows": 3})

    @asset_check(numbers, name="counted")
    def wrong(numbers: pa.Table) -> CheckResult:
        return CheckResult(passed=True, metadata={"rows": numbers})

    (failure,) = Bench([numbers, wrong]).run().failures
    assert "metadata['rows'] is of type Table" in failure.message


def test_an_iterator_that_yields_something_else_is_the_users_mistake() -> None:
    @asset
    def wrong_type() -> Iterator[object]:
        yield pa.record_batch({"n": [1]})
        yield {"n": 2}

    @asset
    def wrong_columns() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"n": [1]})
        yield pa.record_batch({"m": [1]})

    first, second = Bench([wrong_type, wrong_columns]).run().failures
    assert "yielded a dict" in first.message
    assert "a later one has m int64" in second.message
    assert {first.code, second.code} == {"user-code"}


def test_force_with_upstream_forces_only_what_was_asked_for() -> None:
    @asset(partitions=WEEK)
    def up(context: AssetContext) -> pa.Table:
        return pa.table({"day": [day_of(context)]})

    @asset(partitions=WEEK, inputs={"up": Input(up, mapping=LastN(3))})
    def down(up: pa.Table) -> pa.Table:
        return up

    bench = Bench([up, down])
    bench.run()
    facts = bench.facts()
    chosen = {
        key: PartitionSet.from_keys(facts.indexes[key], ["2025-01-05"]) for key in ("up", "down")
    }
    plan = plan_run(facts, PlanRequest(("up", "down"), chosen, mode=Mode.FORCE, upstream=True))
    assert {part.asset: part.partitions.describe() for part in plan.assets} == {
        "up": "2025-01-05 (1)",
        "down": "2025-01-05 (1)",
    }


def test_a_changed_partition_space_is_refused_however_the_asset_comes_into_scope() -> None:
    @asset(name="up", partitions=WEEK)
    def daily(context: AssetContext) -> pa.Table:
        return pa.table({"day": [day_of(context)]})

    @asset(name="up", partitions=WeeklyPartitions("2024-12-30", end="2025-01-06"))
    def weekly() -> pa.Table:
        return pa.table({"day": [1]})

    @asset
    def total(up: pa.Table) -> pa.Table:
        return up

    bench = Bench([daily, total])
    bench.run()
    bench.assets = [weekly, total]
    bench.resolve()
    for request in (PlanRequest(("up",), {}), PlanRequest(("total",), {}, upstream=True)):
        with pytest.raises(SpaceChangedError, match="up was materialized with the partitions"):
            plan_run(bench.facts(), request)


def test_rows_are_missed_even_if_a_later_run_returned_none() -> None:
    answers: list[pa.Table | None] = [pa.table({"x": [1]}), None]

    @asset
    def sometimes() -> pa.Table | None:
        return answers.pop(0)

    bench = Bench([sometimes])
    bench.run()
    bench.run(mode=Mode.FORCE)
    assert bench.plan().size == 0
    bench.memory = MemoryIOManager()
    bench.resolve()
    part = bench.plan().of("sometimes")
    assert part is not None
    assert [row.reason.word for row in part.rows] == ["lost"]


def test_rows_outside_of_the_partition_are_counted_when_they_are_dropped() -> None:
    @asset(partitions=WEEK, partition_by="day", write=Replace(out_of_range="drop"))
    def wide(context: AssetContext) -> pa.Table:
        today = context.window.start.date()
        return pa.table({"day": pa.array([today, today + timedelta(days=40)], pa.date32())})

    bench = Bench([wide])
    assert bench.run().rows == 7
    told = [event for event in bench.events if isinstance(event, StepSucceeded)]
    assert {event.dropped for event in told} == {1}


def test_a_step_is_recorded_with_its_own_seconds_and_its_share_of_publishing_the_group() -> None:
    class SlowToPublish(MemoryIOManager):
        def publish(self, staged: Sequence[Staged]) -> list[Published | PublishFailed]:
            bench.now += timedelta(seconds=0.2 * len(staged))
            return super().publish(staged)

    @asset(partitions=WEEK)
    def bronze(context: AssetContext) -> pa.Table:
        bench.now += timedelta(seconds=0.1 * day_of(context))
        return pa.table({"day": [day_of(context)]})

    bench = Bench([bronze], memory=SlowToPublish())
    assert bench.run().status is RunStatus.SUCCEEDED
    steps = bench.store.steps(bench.run_id)
    assert len({step.started_at for step in steps}) < 7, "some were claimed as a group"
    assert [step.seconds for step in steps] == pytest.approx(
        [0.1 * day + 0.2 for day in range(1, 8)]
    )


def test_a_clock_that_is_set_back_makes_no_duration_negative() -> None:
    @asset
    def bronze() -> pa.Table:
        bench.now -= timedelta(hours=1)
        return pa.table({"x": [1]})

    bench = Bench([bronze])
    bench.run()
    assert [step.seconds for step in bench.store.steps(bench.run_id)] == [0.0]


class BreaksAtTheFourth(list[RunEvent]):
    """A listener that fails."""

    def append(self, event: RunEvent) -> None:
        super().append(event)
        if sum(isinstance(one, StepStarted) for one in self) == 4:
            raise RuntimeError("the listener broke")


def test_whatever_ends_a_run_early_what_was_staged_is_thrown_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @asset(partitions=WEEK)
    def numbers(context: AssetContext) -> pa.Table:
        return pa.table({"n": [day_of(context)]})

    bench = Bench([numbers], events=BreaksAtTheFourth())
    discarded: list[str] = []
    monkeypatch.setattr(
        bench.memory, "discard_leftovers", lambda token, _target: discarded.append(token)
    )
    with pytest.raises(RuntimeError, match="the listener broke"):
        bench.run()
    steps = bench.store.steps(bench.run_id)
    claimed = [one.token for one in steps if one.status is StepStatus.RUNNING]
    # The fourth had not started; the second and third were staged, the others claimed.
    assert sorted(discarded) == sorted(set(claimed) - {steps[3].token})
    assert len(discarded) == 5
