"""The materialization log in SQLite: appending to it, and reading it as snapshots, tokens and histories.

Functions run inside a transaction of the caller and take its cursor. Steps and fences live in `sql_steps`, the columns of a
snapshot in `sql_chunks`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from assets_core.model.errors import StoreError
from assets_core.model.records import (
    SETTLED,
    DataVersions,
    PartitionHistory,
    StateSnapshot,
    VersionIds,
)
from assets_core.state.dialects import per_dialect
from assets_core.state.sql_rows import horizons_from_text, ids_from_text, int_to_instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from assets_core.model.io_manager import WriteReceipt
    from assets_core.model.records import AssetVersions
    from assets_core.state.dialects import Cursor

_FAILURE, _SUCCESS = 0, 1  # as in the table's check; 2 is a mark

_COUNTER = "select seq from seq_counter"
_BACKLOG = "select seq_counter.seq - compaction.seq from seq_counter, compaction"
_KEY_CHANGES = (
    "select space, max(changed_seq) from partition_key where changed_seq > 0 group by space"
)
_SET_COUNTER = "update seq_counter set seq = ?"
_ASSET_ID = "select id from asset where key = ? and space = ?"
_ASSET_AND_VERSIONS = """
select id,
       coalesce((select id from version where asset_id = asset.id and kind = 'code' and text = ?3), 0),
       coalesce((select id from version where asset_id = asset.id and kind = 'deps' and text = ?4), 0)
from asset where key = ?1 and space = ?2"""
_ADD_ASSET = "insert into asset (key, space) values (?, ?) on conflict do nothing"
_ADD_VERSION = """
insert into version (asset_id, kind, text)
select id, ?3, ?4 from asset where key = ?1 and space = ?2 on conflict do nothing"""

_OTHER_SPACE = """
select space from asset
where key = ? and space <> ? and restarted_seq is null
and exists (select 1 from materialization where asset_id = asset.id)
order by id desc limit 1"""
_SPACES = """
select asset.space, count(distinct partition_id) from asset join materialization on asset_id = asset.id
where asset.key = ? and asset.restarted_seq is null group by asset.id order by asset.id"""
_WORKING_STEP = """
select step.id from step join run on run.number = step.run
where step.asset = ? and step.status = 'running' and run.status = 'running' limit 1"""
_RETIRE = """
update asset set restarted_seq = ?2, restarted_at = ?3, space = space || ' until ' || ?2
where key = ?1 and restarted_seq is null and exists (select 1 from materialization where asset_id = asset.id)"""
_STATE_ID = "select coalesce(max(value), '') from meta where name = 'state_id'"
_IN_FLIGHT = """
select run.id, step.asset_id, step.partitions from step join run on run.number = step.run
where step.status = 'running' and run.status = 'running' order by step.id"""
# With a single max(), SQLite takes the bare columns from the row that has the maximum.
_TOKENS = per_dialect(
    sqlite="""
select partition_id, token from (
    select partition_id, token, max(seq) from materialization
    where asset_id = ? and token is not null group by partition_id)""",
    postgres="""
select distinct on (partition_id) partition_id, token from materialization
where asset_id = ? and token is not null order by partition_id, seq desc""",
)

_SCHEMA_HASHES = per_dialect(
    sqlite="""
select partition_id, schema_hash from (
    select partition_id, schema_hash, max(seq) as seq from materialization
    where asset_id = ? and kind = 1 and schema_hash is not null group by partition_id)
order by seq""",
    postgres="""
select partition_id, schema_hash from (
    select distinct on (partition_id) partition_id, schema_hash, seq from materialization
    where asset_id = ? and kind = 1 and schema_hash is not null order by partition_id, seq desc) last
order by seq""",
)

_ROW_COUNTS = per_dialect(
    sqlite="""
select partition_id, rows from (
    select partition_id, rows, max(seq) from materialization
    where asset_id = ? and (kind = 1 or (kind = 0 and data_seq > 0)) group by partition_id)
where rows is not null order by partition_id""",
    postgres="""
select partition_id, rows from (
    select distinct on (partition_id) partition_id, rows from materialization
    where asset_id = ? and (kind = 1 or (kind = 0 and data_seq > 0)) order by partition_id, seq desc) last
where rows is not null order by partition_id""",
)

_LAST_SUCCESS = """
select m.seq, m.read_seq, m.data_seq, code.text, deps.text, m.data_version, m.rows, run.id
from materialization m
join version code on code.id = m.code_id
join version deps on deps.id = m.deps_id
join step on step.id = m.step_id
join run on run.number = step.run
where m.asset_id = ? and m.partition_id = ? and m.kind <> 0 order by m.seq desc limit 1"""
_LAST_SUCCESS_AT = """
select at from materialization
where asset_id = ? and partition_id = ? and kind = 1 order by seq desc limit 1"""
_LAST_FAILURE = """
select m.at, step.message from materialization m join step on step.id = m.step_id
where m.asset_id = ? and m.partition_id = ? and m.kind = 0 order by m.seq desc limit 1"""

_LAST_DATA = """
select data_version, data_seq from materialization
where asset_id = ? and partition_id = ? and (kind = 1 or (kind = 0 and data_seq > 0)) order by seq desc limit 1"""
_DATA_VERSIONS = per_dialect(
    sqlite="""
select partition_id, data_version, consumed from (
    select partition_id, data_version, consumed, max(seq) from materialization
    where asset_id = ? and partition_id in (select value from json_each(?))
      and (kind = 1 or (kind = 0 and data_seq > 0)) group by partition_id)""",
    postgres="""
select distinct on (partition_id) partition_id, data_version, consumed from materialization
where asset_id = ? and partition_id in (select value::bigint from json_array_elements_text(?::json))
  and (kind = 1 or (kind = 0 and data_seq > 0)) order by partition_id, seq desc""",
)
_APPEND = """
insert into materialization (seq, asset_id, partition_id, kind, read_seq, code_id, deps_id, data_seq,
                             data_version, rows, bytes, schema_hash, step_id, token, at, horizon, consumed)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_APPEND_MARK = """
insert into materialization (seq, asset_id, partition_id, kind, read_seq, code_id, deps_id, data_seq,
                             data_version, rows, bytes, schema_hash, step_id, token, at, horizon)
select ?1, asset_id, partition_id, 2, ?4, ?5, ?6, data_seq, data_version, rows, bytes, schema_hash, step_id, token, ?7, horizon
from materialization
where asset_id = ?2 and partition_id = ?3 and kind <> 0 order by seq desc limit 1
returning seq"""


def committed_seq(cursor: Cursor) -> int:
    """The counter as this transaction found it; 0 before the first log row."""
    seq: int = cursor.execute(_COUNTER).get
    return seq


def backlog(cursor: Cursor) -> int:
    """Log rows that no chunk holds yet."""
    rows: int = cursor.execute(_BACKLOG).get
    return rows


StepRow = tuple[int, str, str, int, int, int, str]
"""Of a step that ends: asset id, partitions, token, read_seq, code id, deps id, horizons."""


class LogWriter:
    """Appends rows within one write transaction, each under the next seq; `finish` writes them and the counter.

    Rows are held back and inserted together: looking up the last success inside the INSERT itself makes SQLite copy its answer
    aside first, and costs twice as much as asking before.
    """

    def __init__(self, cursor: Cursor, at: int) -> None:
        self._cursor = cursor
        self._at = at
        self._stored = self.seq = committed_seq(cursor)
        self._rows: list[tuple[str | int | None, ...]] = []
        self._last_data: dict[tuple[int, int], tuple[str | None, int] | None] = {}

    def look_up(self, partitions: Iterable[tuple[int, int]]) -> None:
        """Ask what the last data of these partitions (asset id, partition id) was, at once; before `success` of any of them."""
        places = [place for place in partitions if place not in self._last_data]
        for place, row in zip(places, self._cursor.each(_LAST_DATA, places), strict=True):
            self._last_data[place] = None if row is None else (row[0], row[1])

    def success(
        self,
        step_id: int,
        step: StepRow,
        ids: Sequence[int],
        receipts: Mapping[int, WriteReceipt] | None,
        consumed: Mapping[int, str],
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Append a success of each partition that has a receipt, or of all without figures if `receipts` is None.

        `consumed` has fingerprints of what some were made from. Answers the rows' seqs and data_seqs, one for each of `ids`; 0 where nothing was written. The data_seq stays the last success's if the data version is the same.
        Without a receipt the data version is unknown: it counts as changed.
        """
        asset_id, _, token, read_seq, code_id, deps_id, horizons = step
        seqs, data_seqs = [], []
        for partition_id, horizon in zip(ids, horizons_from_text(horizons, len(ids)), strict=True):
            receipt = None if receipts is None else receipts.get(partition_id)
            if receipt is None and receipts is not None:
                # A crash between the publishing of two partitions: calling this one fresh would be false.
                seqs.append(0)
                data_seqs.append(0)
                continue
            self.seq += 1
            data_seq = self._data_seq((asset_id, partition_id), receipt)
            row = (asset_id, partition_id, _SUCCESS, read_seq, code_id, deps_id, data_seq)
            figures: tuple[str | int | None, ...] = (None, None, None, None, step_id, None)
            if receipt is not None:
                version, schema = receipt.data_version, receipt.schema_hash
                figures = (version, receipt.rows, receipt.bytes, schema, step_id, token)
            lateness = (horizon, consumed.get(partition_id))
            self._rows.append((self.seq, *row, *figures, self._at, *lateness))
            seqs.append(self.seq)
            data_seqs.append(data_seq)
        return tuple(seqs), tuple(data_seqs)

    def _data_seq(self, place: tuple[int, int], receipt: WriteReceipt | None) -> int:
        """The data_seq of the row about to be written under `seq`."""
        last = self._last_data[place]
        version = None if receipt is None else receipt.data_version
        data_seq = self.seq
        if last is not None and receipt is not None:
            last_version, last_seq = last
            if version == last_version:
                data_seq = last_seq
        self._last_data[place] = (version, data_seq)
        return data_seq

    def failure(
        self,
        step_id: int,
        step: StepRow,
        ids: Sequence[int],
        *,
        unknown: bool,
    ) -> None:
        """Append a final failure of each partition.

        With `unknown`, readers may have seen rows of it: no later success is compared with the one before.
        """
        asset_id, _, _, read_seq, code_id, deps_id, _ = step
        for partition_id in ids:
            self.seq += 1
            data_seq = self.seq if unknown else 0
            if unknown:
                self._last_data[asset_id, partition_id] = (None, data_seq)
            row = (asset_id, partition_id, _FAILURE, read_seq, code_id, deps_id, data_seq)
            figures = (None, None, None, None, step_id, None)
            self._rows.append((self.seq, *row, *figures, self._at, SETTLED, None))

    def mark(self, asset_id: int, partition_id: int, read_seq: int, versions: VersionIds) -> bool:
        """Append the last stored success again, as made by these versions from inputs as of `read_seq`; False if there is none."""
        seq = self.seq + 1
        row = (
            seq,
            asset_id,
            partition_id,
            read_seq,
            versions.code_id,
            versions.deps_id,
            self._at,
        )
        if self._cursor.execute(_APPEND_MARK, row).get is None:
            return False
        self.seq = seq
        return True

    def finish(self) -> None:
        """Write the rows and the counter; they become visible by the same commit."""
        if self.seq != self._stored:
            self._cursor.executemany(_APPEND, self._rows)
            self._rows.clear()
            self._cursor.execute(_SET_COUNTER, (self.seq,))
            self._stored = self.seq


def known_versions(
    cursor: Cursor, assets: Sequence[AssetVersions]
) -> dict[str, tuple[int, VersionIds]]:
    """By asset key, its id (0 if the store has not seen it in this space) and the ids of its versions."""
    names = [(one.asset, one.space, one.code_version, one.deps_version) for one in assets]
    return {
        asset.asset: (0, VersionIds(0, 0)) if row is None else (row[0], VersionIds(*row[1:]))
        for asset, row in zip(assets, cursor.each(_ASSET_AND_VERSIONS, names), strict=True)
    }


def intern_versions(
    cursor: Cursor, assets: Sequence[AssetVersions]
) -> dict[str, tuple[int, VersionIds]]:
    """Like `known_versions`, writing what is not known yet."""
    known = known_versions(cursor, assets)
    new = [
        one for one in assets if not (known[one.asset][1].code_id and known[one.asset][1].deps_id)
    ]
    if not new:
        return known
    cursor.executemany(_ADD_ASSET, [(one.asset, one.space) for one in new])
    for kind in ("code", "deps"):
        texts = [one.code_version if kind == "code" else one.deps_version for one in new]
        rows = [(one.asset, one.space, kind, text) for one, text in zip(new, texts, strict=True)]
        cursor.executemany(_ADD_VERSION, rows)
    return known_versions(cursor, assets)


def read_snapshot(cursor: Cursor, assets: Iterable[AssetVersions]) -> StateSnapshot:
    """The columns of each asset and what else a planner asks; linear in the chunks of these assets and the log's tail."""
    from assets_core.state.sql_chunks import (  # noqa: PLC0415 - loads numpy, which only snapshots need
        read_state,
    )

    wanted = list(assets)
    known = known_versions(cursor, wanted)
    asset_ids = {asset: asset_id for asset, (asset_id, _) in known.items()}
    version_ids = {asset: versions for asset, (_, versions) in known.items()}
    state = read_state(cursor, asset_ids)
    empty = [(one.asset, one.space) for one in wanted if state.is_empty(one.asset)]
    others = zip(empty, cursor.each(_OTHER_SPACE, empty), strict=True)
    other_spaces = {asset: other[0] for (asset, _), other in others if other is not None}
    asset_of_id = {asset_id: key for key, asset_id in asset_ids.items() if asset_id}
    in_flight: dict[str, dict[str, tuple[int, ...]]] = {}
    for run, asset_id, ids in cursor.execute(_IN_FLIGHT):
        key = asset_of_id.get(asset_id)
        if key is not None:
            of_run = in_flight.setdefault(run, {})
            of_run[key] = of_run.get(key, ()) + ids_from_text(ids)
    state_id = cursor.execute(_STATE_ID).get
    key_changes = {space: int(seq) for space, seq in cursor.execute(_KEY_CHANGES)}
    return StateSnapshot(
        committed_seq(cursor), state_id, state, version_ids, other_spaces, in_flight, key_changes
    )


def read_tokens(cursor: Cursor, asset: str, space: str) -> dict[int, str]:
    """Token of the last success that published data, by partition id in ascending order."""
    row = cursor.execute(_ASSET_ID, (asset, space)).fetchone()
    return {} if row is None else dict(cursor.execute(_TOKENS, row))


def read_schema_hashes(cursor: Cursor, asset: str, space: str) -> dict[int, str]:
    """Schema hash of the last rows published, by partition id, in the order in which they were."""
    row = cursor.execute(_ASSET_ID, (asset, space)).fetchone()
    return {} if row is None else dict(cursor.execute(_SCHEMA_HASHES, row))


def read_row_counts(cursor: Cursor, asset: str, space: str) -> dict[int, int]:
    """Rows of the last success, by partition id in ascending order. A failure of unknown outcome has none, and counts as the last."""
    row = cursor.execute(_ASSET_ID, (asset, space)).fetchone()
    return {} if row is None else dict(cursor.execute(_ROW_COUNTS, row))


def read_data_versions(
    cursor: Cursor, asset: str, space: str, partition_ids: Iterable[int]
) -> dict[int, DataVersions]:
    """The versions of those partitions that were ever materialized. Marks don't count: they say nothing about rows."""
    row = cursor.execute(_ASSET_ID, (asset, space)).fetchone()
    if row is None:
        return {}
    wanted = json.dumps([int(partition_id) for partition_id in partition_ids])
    return {
        partition_id: DataVersions(own, consumed)
        for partition_id, own, consumed in cursor.execute(_DATA_VERSIONS, (row[0], wanted))
    }


def read_history(cursor: Cursor, asset: str, space: str, partition_id: int) -> PartitionHistory:
    """The last success (`succeeded_at` and `run_id` are of the run that made the data, not of a later mark) and failure."""
    row = cursor.execute(_ASSET_ID, (asset, space)).fetchone()
    partition = (0 if row is None else row[0], partition_id)
    success = cursor.execute(_LAST_SUCCESS, partition).fetchone() or (None,) * 8
    success_at = cursor.execute(_LAST_SUCCESS_AT, partition).fetchone()
    failed_at, failure = cursor.execute(_LAST_FAILURE, partition).fetchone() or (None, None)
    seq, read_seq, data_seq, code_version, deps_version, data_version, rows, run_id = success
    return PartitionHistory(
        seq=seq,
        read_seq=read_seq,
        data_seq=data_seq,
        code_version=code_version,
        deps_version=deps_version,
        data_version=data_version,
        rows=rows,
        run_id=run_id,
        succeeded_at=None if success_at is None else int_to_instant(success_at[0]),
        failed_at=None if failed_at is None else int_to_instant(failed_at),
        failure=failure,
    )


def set_seq(cursor: Cursor, seq: int) -> None:
    """Spend seqs on something that has no row in the log."""
    cursor.execute(_SET_COUNTER, (seq,))


def read_spaces(cursor: Cursor, asset: str) -> dict[str, int]:
    """Partitions on record by partition space, in the order in which these were first used."""
    return dict(cursor.execute(_SPACES, (asset,)))


def restart_asset(cursor: Cursor, asset: str, at: int) -> int:
    """Retire what is recorded of an asset; answers of how many partitions that was. Raises StoreError while a step works on it.

    The retired rows keep their log, their versions and their chunks, and a new row takes the place under a new id: so data_seq begins
    anew as well, and whatever read the old rows becomes stale when there are new ones, even equal ones. That costs a seq, so that
    whoever compares the counter with an earlier one sees that the state moved.
    """
    working = cursor.execute(_WORKING_STEP, (asset,)).fetchone()
    if working is not None:
        raise StoreError(
            f"{asset}: step {working[0]} is working on it, so its state can't begin anew; nothing was changed.",
            hint="Wait for the run to end: partita runs list",
        )
    count = sum(read_spaces(cursor, asset).values())
    if count:
        seq = committed_seq(cursor) + 1
        cursor.execute(_RETIRE, (asset, seq, at))
        set_seq(cursor, seq)
    return count


def mark_partitions(
    cursor: Cursor, asset: AssetVersions, partition_ids: Iterable[int], at: int
) -> None:
    """Append a mark for each partition. Raises StoreError if one has no success; then nothing is kept."""
    asset_id, versions = intern_versions(cursor, [asset])[asset.asset]
    log = LogWriter(cursor, at)
    read_seq = log.seq
    missing = [
        partition_id
        for partition_id in dict.fromkeys(int(partition_id) for partition_id in partition_ids)
        if not log.mark(asset_id, partition_id, read_seq, versions)
    ]
    if missing:
        raise StoreError(
            f"{asset.asset}: {len(missing)} of the partitions to be marked current were never materialized"
            f" (the first one's id is {missing[0]}); nothing was marked.",
            hint=f"Materialize them, or leave them out: partita plan {asset.asset}",
        )
    log.finish()
