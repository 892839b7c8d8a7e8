"""Outcomes of checks: what was said in each step, which is history, and what was said last of each partition.

An outcome about all of a step's partitions together is the last word about each of them. With a step's outcomes everything that was
said before of its partitions goes, so a check that is no longer there is forgotten when they are next judged.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from assets_core.model.errors import StoreError
from assets_core.model.records import CheckTally, PartitionCheck
from assets_core.state.sql_rows import check_outcome, check_row, int_to_instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets_core.model.checks import CheckOutcome
    from assets_core.state.dialects import Cursor

_COLUMNS = "check_name, asset, blocking, passed, message, metadata, partition_id"
_ADD = f"insert into check_result (step_id, {_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_OF_RUN = f"""
select step_id, {_COLUMNS} from check_result
where step_id in (select id from step where run = (select number from run where id = ?)) order by id"""  # noqa: S608
_FORGET = "delete from partition_check where asset_id = ? and partition_id = ?"
_SET = """
insert into partition_check (step_id, check_name, asset_id, blocking, passed, message, metadata, partition_id, at)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (asset_id, partition_id, check_name) do update
set blocking = excluded.blocking, passed = excluded.passed, message = excluded.message, metadata = excluded.metadata"""
_ASSET = "select id from asset where key = ?1 and space = ?2"
_TALLIES = """
select check_name, sum(passed), count(*) - sum(passed) from partition_check
where asset_id = (select id from asset where key = ?1 and space = ?2) group by check_name order by check_name"""
_FAILED = """
select step_id, check_name, ?1, blocking, passed, message, metadata, partition_id, at from partition_check
where asset_id = (select id from asset where key = ?1 and space = ?2) and passed = 0
order by partition_id, check_name limit ?3"""


def add_checks(cursor: Cursor, step_id: int, checks: Sequence[CheckOutcome]) -> None:
    """Write what was said in a step."""
    if checks:
        cursor.executemany(_ADD, [check_row(step_id, check) for check in checks])


def set_latest(
    cursor: Cursor,
    asset_id: int,
    partition_ids: Sequence[int],
    checks: Sequence[CheckOutcome],
    *,
    step_id: int | None,
    at: int,
) -> None:
    """Make these the last words about the partitions; without any, what was said before stays."""
    if not checks:
        return
    rows = []
    for check in checks:
        about = partition_ids if check.partition_id is None else (check.partition_id,)
        for partition_id in about:
            _, name, _, *rest = check_row(0, replace(check, partition_id=partition_id))
            rows.append((step_id, name, asset_id, *rest, at))
    cursor.executemany(_FORGET, [(asset_id, one) for one in partition_ids])
    cursor.executemany(_SET, rows)


def asset_id_of(cursor: Cursor, asset: str, space: str) -> int:
    """The id of an asset in a partition space. Raises StoreError if nothing was ever recorded of it."""
    row = cursor.execute(_ASSET, (asset, space)).fetchone()
    if row is None:
        raise StoreError(
            f"{asset}: nothing was ever recorded of it, so there is nothing to check."
        )
    found: int = row[0]
    return found


def read_checks(cursor: Cursor, run_id: str) -> list[tuple[int, CheckOutcome]]:
    """Check outcomes of a run in the order they were recorded."""
    return [check_outcome(row) for row in cursor.execute(_OF_RUN, (run_id,))]


def read_tallies(cursor: Cursor, asset: str, space: str) -> list[CheckTally]:
    """How many partitions pass each check, by name."""
    return [
        CheckTally(name, int(passed), int(failed))
        for name, passed, failed in cursor.execute(_TALLIES, (asset, space))
    ]


def read_failed(cursor: Cursor, asset: str, space: str, limit: int) -> list[PartitionCheck]:
    """Partitions that don't pass a check, in order."""
    return [
        PartitionCheck(check_outcome(tuple(row[:-1]))[1], int_to_instant(row[-1]), row[0])
        for row in cursor.execute(_FAILED, (asset, space, limit))
    ]
