"""Looking for what is wrong with a SQLite state file: damage, broken laws of the log, chunks that differ from it. Nothing is repaired.

Functions run inside a read transaction of the caller and take its cursor. The laws:

    seq        unique (the primary key), and none beyond the counter
    read_seq   less than the row's seq: what a step read was committed before
    data_seq   of a failure 0, or its own seq if rows of it may be visible; of a mark that of the success before it; of a success
               its own seq, or that of the success before it if no such failure lies between
    mark       only over a success
    versions   a code and a deps version of the row's own asset
    step       a success or mark belongs to a step that succeeded, a failure to one that failed, and the other way round
    restart    not beyond the counter, and nothing is logged of the retired asset after it
    chunks     not beyond the counter; what the log up to the watermark says, and nothing else
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from assets_core.state.chunk_codec import Chunks, column_arrays
from assets_core.state.columns import (
    CODE,
    DATA_SEQ,
    DEPS,
    FAILURE,
    KIND,
    PARTITION,
    READ_SEQ,
    SEQ,
    last_of_log,
    log_array,
)
from assets_core.state.dialects import per_dialect
from assets_core.state.sql_chunks import CHUNKS, WATERMARK
from assets_core.state.sql_log import committed_seq
from assets_core.state.sql_rows import LOG_COLUMNS
from assets_core.state.store import ProblemKind, StateProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from assets_core.model.records import PartitionColumns
    from assets_core.state.dialects import Cursor

    Ints = NDArray[np.int64]

_SUCCESS, _MARK = 1, 2  # kinds, as in the table's check

# A PostgreSQL server looks after its own pages, and a check of them is not an ordinary user's to make. References it has enforced at
# every write, unless somebody switched that off: those of the log and of steps are looked at again.
_INTEGRITY = per_dialect(sqlite="pragma integrity_check", postgres="select 'ok'")
_REFERENCES = per_dialect(
    sqlite='select "table", parent, count(*) from pragma_foreign_key_check group by 1, 2',
    postgres="""
select 'materialization', 'asset', count(*) from materialization m
where not exists (select 1 from asset where id = m.asset_id) having count(*) > 0
union all
select 'materialization', 'step', count(*) from materialization m
where not exists (select 1 from step where id = m.step_id) having count(*) > 0
union all
select 'materialization', 'version', count(*) from materialization m
where not exists (select 1 from version where id = m.code_id) or not exists (select 1 from version where id = m.deps_id) having count(*) > 0
union all
select 'step', 'run', count(*) from step s
where not exists (select 1 from run where number = s.run) having count(*) > 0""",
)
_ASSETS = "select id, key from asset order by key, id"
# LOG_COLUMNS is a constant of `sql_rows`. The index gives this order; the rows themselves lie in the order of seq.
_LOG_OF_ASSET = (
    f"select {LOG_COLUMNS} from materialization where asset_id = ? order by partition_id, seq"  # noqa: S608
)
_VERSIONS = "select id, kind from version where asset_id = ?"
_HIGHEST = "select coalesce(max(seq), 0) from materialization"
_LAST_RESTART = "select coalesce(max(restarted_seq), 0) from asset"
_LOG_OF_RETIRED = """
select asset.key, count(*), min(materialization.seq) from materialization join asset on asset.id = materialization.asset_id
where materialization.seq >= asset.restarted_seq group by asset.id"""
_ENDED_WITHOUT_LOG = """
select count(*), min(id) from step
where status in ('succeeded', 'failed') and asset_id is not null and id not in (select step_id from materialization)"""
_LOG_AGAINST_STEP = """
select count(*), min(materialization.seq) from materialization join step on step.id = materialization.step_id
where step.status <> case materialization.kind when 0 then 'failed' else 'succeeded' end
   or step.asset_id is distinct from materialization.asset_id"""


def find_problems(cursor: Cursor) -> list[StateProblem]:
    """All problems, one entry per law and asset. If the database is damaged, only what SQLite says about that."""
    damage = [
        StateProblem(ProblemKind.DAMAGE, None, told)
        for (told,) in cursor.execute(_INTEGRITY)
        if told != "ok"
    ]
    if damage:
        return damage
    problems = [
        StateProblem(
            ProblemKind.REFERENCE,
            None,
            f"{count} rows of {table} point to a {parent} that is gone",
        )
        for table, parent, count in cursor.execute(_REFERENCES).fetchall()
    ]
    problems.extend(_of_counters(cursor))
    problems.extend(_of_restarts(cursor))
    problems.extend(_of_steps(cursor))
    assets: list[tuple[Any, ...]] = cursor.execute(_ASSETS).fetchall()
    for asset_id, key in assets:
        log = log_array(cursor.execute(_LOG_OF_ASSET, (asset_id,)))
        problems.extend(
            StateProblem(ProblemKind.LOG, key, message)
            for message in (*_of_log(log), *_of_versions(cursor, asset_id, log))
        )
        problems.extend(
            StateProblem(ProblemKind.CHUNK, key, message)
            for message in _of_chunks(cursor, asset_id, log)
        )
    return problems


def _of_counters(cursor: Cursor) -> Iterator[StateProblem]:
    counter, highest = committed_seq(cursor), cursor.execute(_HIGHEST).get
    if highest > counter:
        message = f"the log goes up to seq {highest}, but the counter stands at {counter}"
        yield StateProblem(ProblemKind.LOG, None, message)
    watermark, _ = cursor.execute(WATERMARK).get
    if watermark > counter:
        message = f"chunks claim to hold the log up to seq {watermark}, but the counter stands at {counter}"
        yield StateProblem(ProblemKind.CHUNK, None, message)


def _of_restarts(cursor: Cursor) -> Iterator[StateProblem]:
    counter, last = committed_seq(cursor), cursor.execute(_LAST_RESTART).get
    if last > counter:
        message = f"an asset began anew at seq {last}, but the counter stands at {counter}"
        yield StateProblem(ProblemKind.LOG, None, message)
    retired: list[tuple[Any, ...]] = cursor.execute(_LOG_OF_RETIRED).fetchall()
    for key, count, example in retired:
        message = f"{count} log rows belong to what it was before it began anew, and are newer (seq {example})"
        yield StateProblem(ProblemKind.LOG, key, message)


def _of_steps(cursor: Cursor) -> Iterator[StateProblem]:
    for statement, message in (
        (_ENDED_WITHOUT_LOG, "{} steps succeeded or failed without a log row (step {})"),
        (_LOG_AGAINST_STEP, "{} log rows say other than the step they belong to (seq {})"),
    ):
        count, example = cursor.execute(statement).get
        if count:
            yield StateProblem(ProblemKind.STEP, None, message.format(count, example))


def _of_log(log: Ints) -> Iterator[str]:
    """Laws within an asset's log rows, which come by partition and seq."""
    seq, data_seq, failed = log[:, SEQ], log[:, DATA_SEQ], log[:, KIND] == FAILURE
    yield from _told(seq, log[:, READ_SEQ] >= seq, "read what was committed after them")
    foreign = failed & (data_seq != 0) & (data_seq != seq)
    yield from _told(seq, foreign, "are failures, but name a change of data that is not theirs")
    # A failure whose rows may be visible stands between two successes; another one, and a mark, does not.
    changes = log[(log[:, KIND] == _SUCCESS) | (failed & (data_seq != 0))]
    done = changes[changes[:, KIND] == _SUCCESS]
    kept = done[done[:, DATA_SEQ] != done[:, SEQ]]
    wrong = _data_seq_before(changes, kept, unless_failure=True) != kept[:, DATA_SEQ]
    wrong |= kept[:, DATA_SEQ] == 0
    told = "name a change of data that is neither theirs nor the last"
    yield from _told(kept[:, SEQ], wrong, told)
    marks = log[log[:, KIND] == _MARK]
    before = _data_seq_before(log[~failed], marks)
    yield from _told(marks[:, SEQ], before == 0, "mark a partition that was never materialized")
    yield from _told(marks[:, SEQ], (before != marks[:, DATA_SEQ]) & (before != 0), told)


def _data_seq_before(rows: Ints, some: Ints, *, unless_failure: bool = False) -> Ints:
    """For `some` of the rows, the data_seq of the row before it of the same partition; 0 if there is none, or it is a failure."""
    before = np.zeros(len(rows), dtype=np.int64)
    again = rows[1:, PARTITION] == rows[:-1, PARTITION]
    if unless_failure:
        again &= rows[:-1, KIND] != FAILURE
    before[1:][again] = rows[:-1, DATA_SEQ][again]
    # By seq, which is unique; the rows themselves come by partition.
    order = np.argsort(rows[:, SEQ])
    return np.asarray(before[order[np.searchsorted(rows[order, SEQ], some[:, SEQ])]])


def _of_versions(cursor: Cursor, asset_id: int, log: Ints) -> Iterator[str]:
    known: dict[str, list[int]] = {"code": [], "deps": []}
    for version_id, kind in cursor.execute(_VERSIONS, (asset_id,)):
        known[kind].append(version_id)
    for kind, column in (("code", CODE), ("deps", DEPS)):
        strange = ~np.isin(log[:, column], known[kind])
        yield from _told(log[:, SEQ], strange, f"name a {kind} version that is not this asset's")


def _told(seq: Ints, broken: NDArray[np.bool_], what: str) -> Iterator[str]:
    if broken.any():
        yield f"{int(broken.sum())} log rows {what} (seq {int(seq[broken].min())})"


def _of_chunks(cursor: Cursor, asset_id: int, log: Ints) -> Iterator[str]:
    """Compare the asset's chunks with its log up to the watermark."""
    watermark, _ = cursor.execute(WATERMARK).get
    rows: list[tuple[Any, ...]] = cursor.execute(CHUNKS, (f"[{asset_id}]",)).fetchall()
    try:
        found = Chunks.of_rows(rows).columns(0, len(rows))
    except ValueError as error:
        yield f"its chunks can't be read: {error}"
        return
    _, expected = last_of_log(log[log[:, SEQ] <= watermark])
    if not np.array_equal(found.ids, expected.ids):
        both = np.intersect1d(found.ids, expected.ids)
        yield (
            f"its chunks hold {len(found.ids)} partitions, the log {len(expected.ids)} ({len(both)} of them are the same)"
        )
        return
    for name, differs in _differences(found, expected):
        yield (
            f"its chunks differ from the log in {name} of {int(differs.sum())} partitions (id {int(expected.ids[differs][0])})"
        )
    starts = np.cumsum([0, *(row[2] for row in rows)])[:-1]
    if [row[1] for row in rows] != found.ids[starts].tolist():
        yield "its chunks do not begin where they say"


def _differences(
    found: PartitionColumns, expected: PartitionColumns
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    names = type(expected).__slots__
    for name, one, other in zip(names, column_arrays(found), column_arrays(expected), strict=True):
        differs = one != other
        if differs.any():
            yield name, differs
