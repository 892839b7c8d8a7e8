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
    Input,
    Merge,
    Output,
    RetryPolicy,
    Skip,
    asset,
    asset_check,
)
from assets_core.execution.events import StepFailed, StepStarted
from assets_core.execution.facts import versions_of
from assets_core.execution.recovery import recover
from assets_core.execution.slices import slices_of
from assets_core.model.io_manager import StageRequest
from assets_core.model.records import (
    RunKind,
    RunRecord,
    RunStatus,
    StepClaim,
    StepStatus,
)
from assets_core.planning.planner import Mode
from assets_core.telemetry.run_log import RunLogs
from partitions import LastN, StaticPartitions
from tests.integration.bench import NOW, WEEK, Bench, day_of

if TYPE_CHECKING:
    from pathlib import Path


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


def test_recovery_records_a_step_whose_rows_had_been_published() -> None:
    bench = crashed_bench(publish=True)
    (run,) = recover(bench.resolved.outline, bench.store, NOW)
    assert run.id == "dead"
    assert [step.status for step in bench.store.steps("dead")] == [StepStatus.SUCCEEDED]
    assert bench.run().counts == {StepStatus.SUCCEEDED: 6}
    assert bench.column("bronze", "day") == [1, 2, 3, 4, 5, 6, 7]


def test_recovery_abandons_a_step_that_had_published_nothing() -> None:
    bench = crashed_bench(publish=False)
    recover(bench.resolved.outline, bench.store, NOW)
    assert [step.status for step in bench.store.steps("dead")] == [StepStatus.ABANDONED]
    assert bench.store.unfinished_runs() == []
    assert recover(bench.resolved.outline, bench.store, NOW) == []
    assert bench.run().counts == {StepStatus.SUCCEEDED: 7}


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
