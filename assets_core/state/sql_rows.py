"""How values are written into columns of the SQLite state file, and rows read back as records. No statement runs here.

Instants are integer microseconds since 1970 in UTC; a step's partition ids are compact text; text that users' programs produced is
made storable.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from assets_core.model.checks import CheckOutcome
from assets_core.model.records import (
    SETTLED,
    AttemptRecord,
    RunKind,
    RunRecord,
    RunStatus,
    StepRecord,
    StepStatus,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

RUN_COLUMNS = "id, kind, selection, partitions, status, started_at, ended_at, process_id"
"""What `run_record` reads, followed by the plan."""

STEP_COLUMNS = (
    "id, asset, partitions, status, attempt, epoch, token, read_seq, code_id, deps_id, "
    "started_at, ended_at, rows, message, traceback, seconds"
)
"""What `step_record` reads."""

LOG_COLUMNS = "asset_id, partition_id, seq, kind, read_seq, code_id, deps_id, data_seq, rows is not null, horizon"
"""What the arrays of `columns` are made of."""


def instant_to_int(instant: datetime) -> int:
    """Microseconds since 1970 of a timezone-aware instant, exactly. Raises TypeError for a naive one.

    >>> instant_to_int(datetime(1970, 1, 2, tzinfo=UTC))
    86400000000
    """
    return (instant - _EPOCH) // _MICROSECOND


def int_to_instant(microseconds: int) -> datetime:
    """The instant in UTC.

    >>> int_to_instant(86_400_000_000).isoformat()
    '1970-01-02T00:00:00+00:00'
    """
    return _EPOCH + timedelta(microseconds=microseconds)


def ids_to_text(ids: Iterable[int]) -> str:
    """Partition ids in their order as compact text: runs of consecutive ids as `first:count`. Empty for no ids.

    >>> ids_to_text([7, 8, 9, -3, 20])
    '7:3,-3,20'
    """
    runs: list[list[int]] = []
    for number in ids:
        if runs and runs[-1][0] + runs[-1][1] == number:
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
    return ",".join(f"{first}:{count}" if count > 1 else f"{first}" for first, count in runs)


def ids_from_text(text: str) -> tuple[int, ...]:
    """The inverse of `ids_to_text`.

    >>> ids_from_text("7:3,-3,20")
    (7, 8, 9, -3, 20)
    """
    ids: list[int] = []
    for part in text.split(","):
        first, _, count = part.partition(":")
        if count:
            ids.extend(range(int(first), int(first) + int(count)))
        elif first:
            ids.append(int(first))
    return tuple(ids)


def horizons_to_text(horizons: Iterable[int]) -> str:
    """Horizons in their order as text; empty for none.

    >>> horizons_to_text([2, 1, 0])
    '2,1,0'
    """
    return ",".join(map(str, horizons))


def horizons_from_text(text: str, count: int) -> tuple[int, ...]:
    """The horizons of `count` partitions; empty text stands for SETTLED throughout.

    >>> horizons_from_text("", 2), horizons_from_text("1,0", 2)
    ((-1, -1), (1, 0))
    """
    return tuple(map(int, text.split(","))) if text else (SETTLED,) * count


def count_ids(text: str) -> int:
    """How many ids `ids_from_text` would give, without making them.

    >>> count_ids("7:3,-3,20")
    5
    """
    counts = (part.partition(":")[2] for part in text.split(",") if part)
    return sum(int(count) if count else 1 for count in counts)


def storable(text: str) -> str:
    r"""Text that SQLite can hold: a lone surrogate, as in the name of a file that is not UTF-8, becomes its escape.

    >>> storable("caf\udce9.csv")
    'caf\\udce9.csv'
    """
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def run_record(row: tuple[Any, ...], plan: str) -> RunRecord:
    """A run from RUN_COLUMNS."""
    run_id, kind, selection, partitions, status, started_at, ended_at, process_id = row
    return RunRecord(
        id=run_id,
        kind=RunKind(kind),
        selection=selection,
        partitions=partitions,
        plan=plan,
        status=RunStatus(status),
        started_at=int_to_instant(started_at),
        ended_at=None if ended_at is None else int_to_instant(ended_at),
        process_id=process_id,
    )


def step_record(run_id: str, row: tuple[Any, ...]) -> StepRecord:
    """A step from STEP_COLUMNS."""
    (step_id, asset, partitions, status, attempt, epoch, token, read_seq, code_id, deps_id) = row[
        :10
    ]
    started_at, ended_at, rows, message, traceback, seconds = row[10:]
    return StepRecord(
        id=step_id,
        run_id=run_id,
        asset=asset,
        partition_ids=ids_from_text(partitions),
        status=StepStatus(status),
        attempt=attempt,
        epoch=epoch,
        token=token or "",
        read_seq=read_seq,
        code_id=code_id or 0,
        deps_id=deps_id or 0,
        started_at=int_to_instant(started_at),
        ended_at=None if ended_at is None else int_to_instant(ended_at),
        rows=rows,
        message=message,
        traceback=traceback,
        seconds=seconds,
    )


def attempt_record(row: tuple[Any, ...]) -> AttemptRecord:
    """An attempt from step_id, attempt, started_at, ended_at, message, traceback."""
    step_id, attempt, started_at, ended_at, message, traceback = row
    return AttemptRecord(
        step_id, attempt, int_to_instant(started_at), int_to_instant(ended_at), message, traceback
    )


def check_row(step_id: int, check: CheckOutcome) -> tuple[int | str | None, ...]:
    """A check's outcome as a row; the inverse is `check_outcome`."""
    # JSON escapes what is not ASCII, so metadata is storable whatever it holds.
    metadata = json.dumps(dict(check.metadata))
    return (
        step_id,
        check.check,
        check.asset,
        int(check.blocking),
        int(check.passed),
        storable(check.message),
        metadata,
        check.partition_id,
    )


def check_outcome(row: tuple[Any, ...]) -> tuple[int, CheckOutcome]:
    """A step id and a check's outcome from step_id, check_name, asset, blocking, passed, message, metadata, partition_id."""
    step_id, check, asset, blocking, passed, message, metadata, partition_id = row
    return step_id, CheckOutcome(
        check=check,
        asset=asset,
        blocking=bool(blocking),
        passed=bool(passed),
        message=message,
        metadata=json.loads(metadata),
        partition_id=partition_id,
    )
