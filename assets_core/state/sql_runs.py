"""Runs in SQLite: starting and finishing them, and reading runs, steps and attempts back. Steps are written in `sql_steps`.

Functions run inside a transaction of the caller and take its cursor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.model.errors import StepsRunningError, StoreError
from assets_core.model.records import RunStatus, StepDuration, StepStatus
from assets_core.state.sql_pools import forget_turns
from assets_core.state.sql_rows import (
    RUN_COLUMNS,
    STEP_COLUMNS,
    attempt_record,
    count_ids,
    instant_to_int,
    run_record,
    step_record,
    storable,
)
from assets_core.state.sql_steps import running_run

if TYPE_CHECKING:
    from assets_core.model.records import AttemptRecord, RunRecord, StepRecord
    from assets_core.state.dialects import Cursor

_ADD_RUN = """
insert into run (id, kind, selection, partitions, status, started_at, process_id, plan)
values (?, ?, ?, ?, 'running', ?, ?, ?) on conflict (id) do nothing"""
_FINISH_RUN = "update run set status = ?, ended_at = ? where number = ?"
_STATUS_BY_COMMIT = "select status from step where token = ?"
_COUNT_RUNNING = "select count(*) from step where status = 'running' and run = ?"

# The column lists are constants of `sql_rows`, kept beside the code that reads them; nothing else is ever joined into SQL.
_RUN = f"select {RUN_COLUMNS}, plan from run where id = ?"  # noqa: S608
_RUNS = f"select {RUN_COLUMNS} from run order by number desc limit ?"  # noqa: S608
_UNFINISHED = f"select {RUN_COLUMNS}, plan from run where status = 'running' order by number"  # noqa: S608
_STEPS = f"""
select {STEP_COLUMNS} from step where run = (select number from run where id = ?1) and (cast(?2 as text) is null or asset = ?2)
order by id"""  # noqa: S608
_ATTEMPTS = """
select step_id, attempt, started_at, ended_at, message, traceback from attempt
where step_id in (select id from step where run = (select number from run where id = ?)) order by id"""


_DURATIONS = """
select seconds, partitions from step
where asset_id = (select id from asset where key = ?1 and space = ?2) and seconds is not null
order by id desc limit ?3"""


def insert_run(cursor: Cursor, run: RunRecord) -> None:
    """Insert a run as RUNNING. Raises StoreError if its id is taken."""
    cursor.execute(
        _ADD_RUN,
        (
            run.id,
            run.kind,
            storable(run.selection),
            storable(run.partitions),
            instant_to_int(run.started_at),
            run.process_id,
            run.plan,
        ),
    )
    if not cursor.connection.changes():
        raise StoreError(f"There is already a run {run.id}.")


def end_run(cursor: Cursor, run_id: str, status: RunStatus, at: int) -> None:
    """Set a final status. Raises StoreError for an ended run, StepsRunningError while steps of it are RUNNING."""
    if status is RunStatus.RUNNING:
        raise StoreError(f"Run {run_id} can't be finished as {status}.")
    number = running_run(cursor, run_id)
    running = cursor.execute(_COUNT_RUNNING, (number,)).get
    if running:
        raise StepsRunningError(
            f"Run {run_id} can't be finished as {status}: {running} of its steps are still running."
        )
    cursor.execute(_FINISH_RUN, (status, at, number))
    forget_turns(cursor, number)


def read_run(cursor: Cursor, run_id: str) -> RunRecord | None:
    """One run with its plan."""
    row = cursor.execute(_RUN, (run_id,)).fetchone()
    return None if row is None else run_record(row[:-1], row[-1])


def read_runs(cursor: Cursor, limit: int) -> list[RunRecord]:
    """The latest runs without their plans, newest first."""
    return [run_record(row, "") for row in cursor.execute(_RUNS, (max(limit, 0),))]


def read_unfinished(cursor: Cursor) -> list[RunRecord]:
    """RUNNING runs with their plans, oldest first."""
    return [run_record(row[:-1], row[-1]) for row in cursor.execute(_UNFINISHED)]


def read_steps(cursor: Cursor, run_id: str, asset: str | None) -> list[StepRecord]:
    """Steps in the order they were written; no run, no steps."""
    return [step_record(run_id, row) for row in cursor.execute(_STEPS, (run_id, asset))]


def read_durations(cursor: Cursor, asset: str, space: str, limit: int) -> list[StepDuration]:
    """The latest measured steps of an asset, newest first; reads no more rows than it answers."""
    return [
        StepDuration(seconds, count_ids(partitions))
        for seconds, partitions in cursor.execute(_DURATIONS, (asset, space, max(limit, 0)))
    ]


def read_status_of_token(cursor: Cursor, token: str) -> StepStatus | None:
    """The status of the step with this token; None if there is none."""
    row = cursor.execute(_STATUS_BY_COMMIT, (token,)).fetchone()
    return None if row is None else StepStatus(row[0])


def read_attempts(cursor: Cursor, run_id: str) -> list[AttemptRecord]:
    """Failed attempts in the order they were first recorded."""
    return [attempt_record(row) for row in cursor.execute(_ATTEMPTS, (run_id,))]
