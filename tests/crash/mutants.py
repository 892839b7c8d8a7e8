"""Bugs of the commit protocol, planted on purpose: each must be caught by the tests that are named with it (`test_mutants`).

A mutant is applied to the process that the tests run in (this module is a pytest plugin then), to every `partita` that they
start, which they start as `python -m tests.crash.mutants NAME …`, and to the processes that start steps for any of these. Without the environment variable MUTANT nothing of this is imported.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Mutant:
    """`plant` breaks the code of this process; `tests` are what must notice, as arguments of pytest."""

    plant: Callable[[], None]
    tests: tuple[str, ...]


def _in_duckdb_ignore_the_fence() -> None:
    from io_managers import duckdb_writes

    duckdb_writes._fenced = lambda *_: None


def _leave_what_duckdb_half_wrote() -> None:
    from io_managers import duckdb_undo

    duckdb_undo.put_back = lambda *_: None


def _in_parquet_ignore_the_fence() -> None:
    from io_managers import parquet_writes

    parquet_writes._refusal = lambda *_: None


def _in_delta_ignore_the_fence() -> None:
    from io_managers import delta_log

    delta_log.TableVersion.fence = lambda *_: None  # type: ignore[method-assign,assignment]


def _in_delta_commit_on_top_of_what_was_not_read() -> None:
    from io_managers import delta_log

    class WithRetries(delta_log.Delta):
        def __init__(self) -> None:
            super().__init__()
            properties = self.CommitProperties
            self.CommitProperties = lambda **told: properties(**{**told, "max_commit_retries": 15})  # type: ignore[assignment,misc]

    delta_log.Delta = WithRetries  # type: ignore[misc]


def _in_parquet_read_the_fence_only_once() -> None:
    from io_managers import parquet_writes

    original = parquet_writes.ParquetWriter._replaced

    def unfenced(self: Any, staged: Any, position: int, path: str, grown: set[str]) -> Any:
        check, parquet_writes._check_fence = parquet_writes._check_fence, lambda *_: None
        try:
            return original(self, staged, position, path, grown)
        finally:
            parquet_writes._check_fence = check

    parquet_writes.ParquetWriter._replaced = unfenced  # type: ignore[method-assign]


def _commit_rows_before_their_token() -> None:
    from io_managers import duckdb_writes

    original = duckdb_writes.save_commits

    def late(bench: Any, saved: Any) -> None:
        bench.connection().execute("commit")
        bench.connection().execute("begin transaction")
        original(bench, saved)

    duckdb_writes.save_commits = late


def _remove_a_file_before_its_successor_is_there() -> None:
    from io_managers import parquet_local

    original = parquet_local.failpoint

    def after_removal(place: str) -> None:
        if place == "publish.parquet.rename":
            for path in Path("lake/archive").glob("*/data.parquet"):
                path.unlink()
        original(place)

    parquet_local.failpoint = after_removal


def _record_before_publishing() -> None:
    from assets_core.execution import flight

    publish = flight.publish_group
    later: list[Callable[[], object]] = []

    def postponed(manager: Any, done: Any, is_known: Any) -> Any:
        for one in later:
            one()
        later.clear()
        if manager.destination() != "lake":
            return publish(manager, done, is_known)
        from assets_core.model.records import StepSucceeded

        later.append(lambda: publish(manager, done, is_known))
        return [
            StepSucceeded(one.attempt.step_id, one.attempt.epoch, one.staged.content.receipts)
            for one in done
        ]

    flight.publish_group = postponed


def _believe_every_step_of_a_crash() -> None:
    from assets_core.execution import recovery
    from assets_core.model.io_manager import WriteReceipt
    from assets_core.model.records import StepSucceeded

    recovery._outcome = lambda _outline, step, _index: StepSucceeded(
        step.id,
        step.epoch,
        tuple(WriteReceipt(one, 1, 1, "believed", "") for one in step.partition_ids),
    )


def _abandon_what_a_crash_had_published() -> None:
    from io_managers import DuckDBIOManager, MemoryIOManager, ParquetIOManager

    for kind in (DuckDBIOManager, MemoryIOManager, ParquetIOManager):
        kind.published = lambda _self, _request: ()  # type: ignore[method-assign]


def _leave_crashed_runs_running() -> None:
    from assets_core.state.sqlite import SqliteStore

    original = SqliteStore.finish_run

    def only_if_not_crashed(self: Any, run_id: str, status: Any, now: Any) -> None:
        if str(status) != "crashed":
            original(self, run_id, status, now)

    SqliteStore.finish_run = only_if_not_crashed  # type: ignore[method-assign]


def _keep_what_dead_attempts_staged() -> None:
    from io_managers import ParquetIOManager

    ParquetIOManager.discard_leftovers = lambda _self, _token, _target: None  # type: ignore[method-assign]


def _let_any_epoch_end_a_step() -> None:
    from assets_core.state import sql_steps

    sql_steps._END_STEP = sql_steps._END_STEP.replace("and epoch = ?2 ", "and ?2 > 0 ")


def _read_the_counter_when_recording() -> None:
    from assets_core.state import sql_log

    original = sql_log.LogWriter.success

    def late(self: Any, step_id: int, step: Any, *rest: Any) -> Any:
        asset_id, partitions, token, _, *versions = step
        return original(self, step_id, (asset_id, partitions, token, self.seq, *versions), *rest)

    sql_log.LogWriter.success = late  # type: ignore[method-assign]


def _call_changed_rows_unchanged() -> None:
    from assets_core.state import sql_log

    def kept(self: Any, place: tuple[int, int], _receipt: Any) -> int:
        last = self._cursor.execute(sql_log._LAST_DATA, place).fetchone()
        return self.seq if last is None else last[1]

    sql_log.LogWriter._data_seq = kept  # type: ignore[method-assign]


def _forget_to_sync_a_staged_file() -> None:
    from io_managers import parquet_rows

    parquet_rows.sync = lambda _path: None


class _WithoutSync:
    """The module `os`, whose `fsync` does nothing."""

    def __getattr__(self, name: str) -> object:
        return (lambda _: None) if name == "fsync" else getattr(os, name)


def _forget_to_sync_the_folder() -> None:
    from io_managers import parquet_local

    parquet_local.os = _WithoutSync()  # type: ignore[assignment]


def _in_postgres_let_writers_not_take_turns() -> None:
    from assets_core.state import postgres_connection

    statement = postgres_connection._LOCK_COUNTER.replace(" for update", "")
    postgres_connection._LOCK_COUNTER = statement  # type: ignore[misc]


def _in_postgres_believe_that_a_lost_commit_took_place() -> None:
    from assets_core.state.postgres_connection import Database

    Database._took_place = lambda _self: True  # type: ignore[method-assign]


def _take_over_a_run_that_lives() -> None:
    from assets_core.state import locks

    locks._try_lock = lambda *_: True


def _blame_the_state_for_a_run_that_was_taken_over() -> None:
    from assets_core.execution.runner import Runner

    Runner._is_settled = lambda _self, _run_id: False  # type: ignore[method-assign]


def _publish_without_asking_whose_run_it_is() -> None:
    from assets_core.execution.flight import Flight

    Flight._require_claims = lambda *_: None  # type: ignore[method-assign]


def _leave_what_a_killed_step_staged() -> None:
    from assets_core.execution.flight import Flight

    Flight._discard_stage = lambda *_: None  # type: ignore[method-assign]


def _end_no_more_than_the_step_itself() -> None:
    from assets_core.execution import step_server

    step_server._kill_tree = lambda child: step_server._signal(child.pid, signal.SIGKILL)


def _believe_a_step_that_was_asked_to_end() -> None:
    from assets_core.execution.step_server import StepServer

    original = StepServer._finish

    def credulous(self: Any, child: Any, status: int, peak: int) -> None:
        if child.result:
            child.why_ended = None
        original(self, child, status, peak)

    StepServer._finish = credulous  # type: ignore[method-assign]


def _let_retries_into_a_full_pool() -> None:
    from assets_core.execution.run_state import RunState

    original = RunState.decide

    def greedy(self: Any, now: Any, *, room: bool = True) -> Any:
        from assets_core.execution.run_state import Retry

        for entry in self._waiting if room and self._stopping is None else ():
            until, asset, slots = entry
            if until <= now:
                self._waiting.remove(entry)
                self._begin(asset, slots)
                return Retry(asset, slots)
        return original(self, now, room=room)

    RunState.decide = greedy  # type: ignore[method-assign]


def _let_a_worker_publish() -> None:
    from assets_core.execution.worker import Produced, Worker

    original = Worker.execute

    def eager(self: Any, order: Any) -> Any:
        result = original(self, order)
        if isinstance(result, Produced) and result.staged is not None:
            self._manager(order.asset).publish([result.staged])
        return result

    Worker.execute = eager  # type: ignore[method-assign]


def _claim_what_another_run_works_on() -> None:
    from assets_core.state import sql_steps

    original = sql_steps._refused

    def blind(claim: Any, asset_id: int, taken: Any, made: Any) -> Any:
        return original(claim, asset_id, {}, made)

    sql_steps._refused = blind


def _take_what_others_made_for_current() -> None:
    from assets_core.execution.run_state import RunState

    original = RunState.made_elsewhere

    def trusting(self: Any, asset: str, made: Any) -> Any:
        for found in made.values():
            object.__setattr__(found, "read_seq", 2**60)
        return original(self, asset, made)

    RunState.made_elsewhere = trusting  # type: ignore[method-assign]


def _forget_what_was_held() -> None:
    from assets_core.execution.run_state import RunState

    original = RunState._let_go

    def forgetful(self: Any, now: Any) -> None:
        before = {asset: run.changed for asset, run in self._runs.items()}
        original(self, now)
        for asset, run in self._runs.items():
            run.changed = before[asset]

    RunState._let_go = forgetful  # type: ignore[method-assign]


def _believe_what_a_step_read_beside_others() -> None:
    from assets_core.state import sql_steps

    sql_steps._undisturbed = lambda _cursor, outcomes: {one.step_id for one in outcomes}


def _call_everything_staged_garbage() -> None:
    from assets_core.execution import garbage

    garbage._is_garbage = lambda *_: True


FAILPOINTS = "tests/crash/test_failpoints.py::test_a_kill_at_a_failpoint_loses_and_doubles_nothing"
DESTINATIONS = "tests/conformance/test_io_managers.py"
SIMULATOR = "tests/property/test_never_false_fresh.py"
TWO_WRITERS = "tests/property/test_two_writers_laws.py"

MUTANTS = {
    "in DuckDB, ignore the fence": Mutant(
        _in_duckdb_ignore_the_fence, (DESTINATIONS, "-k", "DuckDB and (token or attempt)")
    ),
    "in Parquet, ignore the fence": Mutant(
        _in_parquet_ignore_the_fence, (DESTINATIONS, "-k", "Parquet and (token or attempt)")
    ),
    "in Parquet, read the fence only once": Mutant(
        _in_parquet_read_the_fence_only_once, (TWO_WRITERS, "-k", "middle and replace")
    ),
    "in Delta, ignore the fence": Mutant(
        _in_delta_ignore_the_fence, (TWO_WRITERS, "-k", "turns and replace")
    ),
    "in Delta, commit on top of what was not read": Mutant(
        _in_delta_commit_on_top_of_what_was_not_read, (TWO_WRITERS, "-k", "middle and merge")
    ),
    "commit rows before their token": Mutant(
        _commit_rows_before_their_token,
        ("tests/crash/test_io_manager_kills.py", "-k", "duckdb-replace-commits"),
    ),
    "remove a file before its successor is there": Mutant(
        _remove_a_file_before_its_successor_is_there, (f"{FAILPOINTS}[publish.parquet.rename]",)
    ),
    "record before publishing": Mutant(
        _record_before_publishing, (f"{FAILPOINTS}[run.recorded]",)
    ),
    "believe every step of a crash": Mutant(
        _believe_every_step_of_a_crash,
        ("tests/integration/test_runner.py", "-k", "recovery or crash"),
    ),
    "abandon what a crash had published": Mutant(
        _abandon_what_a_crash_had_published,
        ("tests/integration/test_runner.py", "-k", "recovery or crash"),
    ),
    "leave crashed runs running": Mutant(
        _leave_crashed_runs_running, (f"{FAILPOINTS}[run.claimed]",)
    ),
    "keep what dead attempts staged": Mutant(
        _keep_what_dead_attempts_staged, (f"{FAILPOINTS}[stage.written]",)
    ),
    "let any epoch end a step": Mutant(
        _let_any_epoch_end_a_step, ("tests/conformance/test_state_stores.py", "-k", "claim")
    ),
    "read the counter when recording": Mutant(
        _read_the_counter_when_recording, ("tests/integration/test_two_runs.py",)
    ),
    "in PostgreSQL, let writers not take turns": Mutant(
        _in_postgres_let_writers_not_take_turns,
        ("tests/unit/assets_core/test_postgres.py", "-k", "turn"),
    ),
    "in PostgreSQL, believe that a lost commit took place": Mutant(
        _in_postgres_believe_that_a_lost_commit_took_place,
        ("tests/unit/assets_core/test_postgres.py", "-k", "commit"),
    ),
    "take over a run that lives": Mutant(
        _take_over_a_run_that_lives,
        ("tests/crash/test_zombies.py", "-k", "in_a_file and run.staged"),
    ),
    "blame the state for a run that was taken over": Mutant(
        _blame_the_state_for_a_run_that_was_taken_over,
        ("tests/crash/test_zombies.py", "-k", "whose_work and state.committed"),
    ),
    "publish without asking whose run it is": Mutant(
        _publish_without_asking_whose_run_it_is,
        ("tests/crash/test_zombies.py", "-k", "not_made_again and run.staged"),
    ),
    "leave what a killed step staged": Mutant(
        _leave_what_a_killed_step_staged,
        ("tests/crash/test_coordinator_kills.py", "-k", "fails_alone"),
    ),
    "end no more than the step itself": Mutant(
        _end_no_more_than_the_step_itself,
        ("tests/conformance/test_executors.py", "-k", "everything_that_the_step_started"),
    ),
    "believe a step that was asked to end": Mutant(
        _believe_a_step_that_was_asked_to_end,
        ("tests/conformance/test_executors.py", "-k", "swallowed_its_cancel"),
    ),
    "let retries into a full pool": Mutant(
        _let_retries_into_a_full_pool, ("tests/property/test_run_state_laws.py",)
    ),
    "let a worker publish": Mutant(
        _let_a_worker_publish,
        ("tests/conformance/test_executors.py", "-k", "rows_are_staged"),
    ),
    "claim what another run works on": Mutant(
        _claim_what_another_run_works_on,
        ("tests/conformance/test_state_stores.py", "-k", "SqliteFile and held"),
    ),
    "take what others made for current": Mutant(
        _take_what_others_made_for_current, ("tests/property/test_run_state_laws.py",)
    ),
    "forget what was held": Mutant(_forget_what_was_held, (SIMULATOR, "-k", "share")),
    "believe what a step read beside others": Mutant(
        _believe_what_a_step_read_beside_others,
        ("tests/conformance/test_state_stores.py", "-k", "SqliteFile and made_from"),
    ),
    "call everything staged garbage": Mutant(
        _call_everything_staged_garbage,
        ("tests/integration/test_cli_gc.py", "-k", "stays"),
    ),
    "call changed rows unchanged": Mutant(_call_changed_rows_unchanged, (SIMULATOR,)),
    "leave what DuckDB half-wrote": Mutant(
        _leave_what_duckdb_half_wrote, ("tests/crash/test_duckdb_undo.py",)
    ),
    "forget to sync a staged file": Mutant(
        _forget_to_sync_a_staged_file, ("tests/crash/test_syncs.py",)
    ),
    "forget to sync the folder": Mutant(
        _forget_to_sync_the_folder, ("tests/crash/test_syncs.py",)
    ),
}

if name := os.environ.get("MUTANT"):
    from assets_core.execution import process_executor

    MUTANTS[name].plant()
    process_executor._SERVER = "tests.crash.mutant_step_server"  # type: ignore[misc]

if __name__ == "__main__":
    from cli.main import main

    sys.exit(main(sys.argv[1:]))
