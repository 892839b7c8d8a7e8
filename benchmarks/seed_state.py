"""State files of any size, made quickly: for other benchmarks, and for timing how long loading state takes.

`seed_state` writes what one run would leave that materialized everything asset by asset: the runner, the partitions' work and the
syncs to disk are left out. With `with_log=False` it writes only the chunks and the counter, so that 1,000 assets of 87,600 hours fit
anywhere; such a file loads like any other, but `verify` finds the log missing.

    python benchmarks/seed_state.py                              print how long loading takes, over sizes and kinds of history
    python benchmarks/seed_state.py FILE [ASSETS [PARTITIONS]]   make FILE
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import tracemalloc
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import numpy as np

from assets_core.model.records import (
    SETTLED,
    AssetVersions,
    PartitionColumns,
    RunKind,
    RunRecord,
    RunStatus,
)
from assets_core.state.sql_chunks import Fold, encode_pieces, write_fold
from assets_core.state.sql_rows import instant_to_int
from assets_core.state.sql_store import Folding
from assets_core.state.sqlite import SqliteStore
from assets_core.state.sqlite_cursor import SqliteCursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from assets_core.state.dialects import Cursor

    Ints = NDArray[np.int64]

NOW = datetime(2025, 1, 1, tzinfo=UTC)
AT = instant_to_int(NOW)
RUN = "seed"
HOURLY = "hour|UTC|+00:00"
FIRST_HOUR = 400_000

_ADD_STEP = """
insert into step (id, run, asset, asset_id, partitions, status, attempt, epoch, token, read_seq, code_id, deps_id,
                  started_at, ended_at, rows)
values (?1, (select number from run), ?2, (select asset_id from version where id = ?6), ?3, 'succeeded', 1, ?1, ?4, ?5, ?6, ?7,
        ?8, ?8, ?9)"""
_ADD_LOG = """
insert into materialization (seq, asset_id, partition_id, kind, read_seq, code_id, deps_id, data_seq, data_version, rows, bytes,
                             schema_hash, step_id, token, at)
select ?1 + key, step.asset_id, value, 1, ?1 - 1, step.code_id, step.deps_id, ?1 + key, printf('%016x', ?1 + key), 1000, 65536,
       '0123456789abcdef', step.id, step.token, step.ended_at
from json_each(?2), step where step.id = ?3"""


@dataclass(frozen=True, slots=True, eq=False)
class Seed:
    """An asset and the ascending ids of its partitions that were materialized."""

    versions: AssetVersions
    ids: Ints


def hourly_seeds(assets: int, partitions: int, *, without_every: int = 0) -> list[Seed]:
    """Assets `asset_0000`… with the same hours; every `without_every`-th hour is left out if it is not 0."""
    ids = np.arange(FIRST_HOUR, FIRST_HOUR + partitions, dtype=np.int64)
    if without_every:
        ids = ids[np.arange(partitions) % without_every != without_every - 1]
    return [
        Seed(AssetVersions(f"asset_{number:04}", HOURLY, "code", "deps"), ids)
        for number in range(assets)
    ]


def seed_state(path: Path, seeds: Sequence[Seed], *, with_log: bool = True) -> None:
    """Make the state file `path`: every seed materialized after those before it in one run that succeeded, and compacted.

    Give upstream assets first: then nothing in the state is stale. `path` must not exist.
    """
    if path.exists():
        raise FileExistsError(path)
    with SqliteStore(path) as store:
        store.start_run(RunRecord(RUN, RunKind.BACKFILL, "*", "", "{}", RunStatus.RUNNING, NOW))
        versions = store.register(seed.versions for seed in seeds)
    connection = apsw.Connection(str(path))
    connection.pragma("synchronous", "off")  # a crash here costs a benchmark, not somebody's state
    with connection:
        cursor = SqliteCursor(connection)
        epoch = cursor.execute("select epoch from seq_counter").get
        seq = 0
        states: list[tuple[int, PartitionColumns]] = []
        for seed in seeds:
            epoch += 1
            ids = versions[seed.versions.asset]
            figures = (seq, ids.code_id, ids.deps_id, AT, 1000 * len(seed.ids))
            token = f"{epoch:032x}"
            step = (epoch, seed.versions.asset, _ids_text(seed.ids), token, *figures)
            cursor.execute(_ADD_STEP, step)
            if with_log:
                cursor.execute(_ADD_LOG, (seq + 1, json.dumps(seed.ids.tolist()), epoch))
            else:
                asset_id = _asset_id(cursor, seed.versions)
                states.append((asset_id, straight(seed.ids, seq, ids.code_id, ids.deps_id)))
            seq += len(seed.ids)
        cursor.execute("update seq_counter set seq = ?, epoch = ?", (seq, epoch))
        if not with_log:
            write_states(cursor, states, seq)
    connection.close()
    with SqliteStore(path) as store:
        store.finish_run(RUN, RunStatus.SUCCEEDED, NOW)
        store.compact(NOW)


def straight(ids: Ints, seq: int, code_id: int, deps_id: int) -> PartitionColumns:
    """The columns of partitions that were materialized one after the other, when `seq` was the last seq before."""
    one = np.ones(len(ids), dtype=np.int64)
    seqs = np.arange(seq + 1, seq + 1 + len(ids), dtype=np.int64)
    return PartitionColumns(
        ids,
        seqs,
        seq * one,
        code_id * one,
        deps_id * one,
        seqs,
        one,
        np.zeros_like(one),
        SETTLED * one,
    )


def write_states(cursor: Cursor, states: Iterable[tuple[int, PartitionColumns]], seq: int) -> None:
    """Write columns by asset id as chunks up to `seq`, in place of the chunks there are."""
    cursor.execute("delete from state_chunk")
    begin, version = cursor.execute("select seq, version from compaction").get
    size = Folding().partitions
    added = [row for asset_id, columns in states for row in encode_pieces(asset_id, columns, size)]
    write_fold(cursor, Fold(begin, seq, version, 0, [], added), AT)


def _ids_text(ids: Ints) -> str:
    """Like `sql_rows.ids_to_text`, without an object per id."""
    ends = [*(np.flatnonzero(np.diff(ids) != 1) + 1).tolist(), len(ids)]
    starts = [0, *ends[:-1]]
    return ",".join(
        f"{ids[start]}:{end - start}" if end - start > 1 else f"{ids[start]}"
        for start, end in zip(starts, ends, strict=True)
    )


def rewrite(
    path: Path, seeds: Sequence[Seed], change: Callable[[PartitionColumns], PartitionColumns]
) -> None:
    """Change the columns of every asset in the chunks, and only there."""
    with SqliteStore(path) as store:
        snapshot = store.snapshot(seed.versions for seed in seeds)
    connection = apsw.Connection(str(path))
    connection.pragma("synchronous", "off")
    with connection:
        cursor = SqliteCursor(connection)
        states = [
            (_asset_id(cursor, seed.versions), change(snapshot.partitions[seed.versions.asset]))
            for seed in seeds
        ]
        write_states(cursor, states, snapshot.seq)
    connection.close()


def without_chunks(path: Path) -> None:
    """Forget all chunks, as in a file from before there were any: loading walks the log."""
    connection = apsw.Connection(str(path))
    with connection:
        connection.execute("delete from state_chunk; update compaction set seq = 0, version = 0")
    connection.close()


def _asset_id(cursor: apsw.Cursor, versions: AssetVersions) -> int:
    statement = "select id from asset where key = ? and space = ?"
    found: int = cursor.execute(statement, (versions.asset, versions.space)).get
    return found


def at_random(columns: PartitionColumns) -> PartitionColumns:
    """As if the partitions had been materialized in random order, in groups that read at one seq: the worst there is."""
    order = np.random.default_rng(7).permutation(len(columns.ids))
    seq = columns.seq[order]
    return PartitionColumns(
        columns.ids,
        seq,
        seq - 1 - seq % 100,
        columns.code_id,
        columns.deps_id,
        seq,
        columns.has_data,
        columns.failed_seq,
        columns.horizon,
    )


def in_groups(columns: PartitionColumns) -> PartitionColumns:
    """As a run leaves it: groups of 100 that read at one seq, a few partitions done again later, a few failures since."""
    dice = np.random.default_rng(7)
    seq, data_seq, failed_seq = (
        np.array(a) for a in (columns.seq, columns.data_seq, columns.failed_seq)
    )
    last = int(seq[-1])
    again = dice.choice(len(seq), len(seq) // 100, replace=False)
    seq[again] = last + dice.permutation(len(again))
    data_seq[again[::2]] = seq[again[::2]]
    read_seq = seq - 1 - seq % 100
    failed_seq[dice.choice(len(seq), 10)] = last + len(again)
    return PartitionColumns(
        columns.ids,
        seq,
        read_seq,
        columns.code_id,
        columns.deps_id,
        data_seq,
        columns.has_data,
        failed_seq,
        columns.horizon,
    )


def report(what: str, path: Path, seeds: Sequence[Seed]) -> None:
    """Load the state three times and print the best figures: reading, and decoding all columns of one asset after the other."""
    best = (float("inf"), 0.0, 0)
    for _ in range(3):
        began = time.process_time()
        with SqliteStore(path) as store:
            snapshot = store.snapshot(seed.versions for seed in seeds)
        read = time.process_time() - began
        partitions = sum(len(columns.ids) for columns in snapshot.partitions.values())
        best = min(best, (time.process_time() - began, read, partitions))
    tracemalloc.start()
    with SqliteStore(path) as store:
        for columns in store.snapshot(seed.versions for seed in seeds).partitions.values():
            del columns
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    total, read, partitions = best
    size = path.stat().st_size / 1e6
    print(
        f"{what:46}{partitions:12,}{read:9.3f}{total - read:9.3f}{total:9.3f}{peak:9.1f}{size:9.1f}"
    )


def report_size(folder: Path, assets: int, partitions: int, *, with_log: bool) -> None:
    """The lines about one size."""
    size = f"{assets:,} × {partitions:,}"
    path = folder / f"{assets}-{partitions}.db"
    seeds = hourly_seeds(assets, partitions)
    seed_state(path, seeds, with_log=with_log)
    if with_log:
        report(f"{size}, with log", path, seeds)
        without_chunks(path)
        report(f"{size}, log alone", path, seeds)
    else:
        report(size, path, seeds)
    rewrite(path, seeds, in_groups)
    report(f"{size}, after many runs", path, seeds)
    rewrite(path, seeds, at_random)
    report(f"{size}, in random order", path, seeds)
    path.unlink()
    seeds = hourly_seeds(assets, partitions, without_every=10)
    seed_state(path, seeds, with_log=False)
    report(f"{size}, every tenth hour missing", path, seeds)
    path.unlink()


def main() -> None:
    """Make the file that was asked for, or print the table."""
    if len(sys.argv) > 1:
        assets, partitions = [*map(int, sys.argv[2:4]), *(50, 8_760)[len(sys.argv) - 2 :]]
        seed_state(Path(sys.argv[1]), hourly_seeds(assets, partitions))
        return
    print("CPU seconds to load state from a file in the page cache; memory and file in MB")
    print(f"{'':46}{'partitions':>12}{'read':>9}{'decode':>9}{'both':>9}{'memory':>9}{'file':>9}")
    with tempfile.TemporaryDirectory(prefix="partita-state-") as name:
        for assets, partitions in ((50, 8_760), (200, 8_760), (1_000, 8_760), (1_000, 87_600)):
            report_size(Path(name), assets, partitions, with_log=assets == 50)


if __name__ == "__main__":
    main()
