"""Chunks of columns in the SQLite state file: their bytes, their layout, who may write them, and what `verify` finds."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import apsw
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assets_core.model.errors import StoreError
from assets_core.model.io_manager import WriteReceipt
from assets_core.model.records import (
    AssetVersions,
    AttemptFailed,
    PartitionColumns,
    RunKind,
    RunRecord,
    RunStatus,
    StepClaim,
    StepSucceeded,
)
from assets_core.state import schema, sql_chunks
from assets_core.state.chunk_codec import Chunks, column_arrays, encode_chunk
from assets_core.state.sql_store import Folding
from assets_core.state.sqlite import SqliteStore
from assets_core.state.store import Compaction, ProblemKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

NOW = datetime(2025, 3, 1, tzinfo=UTC)
ORDERS = AssetVersions("orders", "cron|UTC|0 * * * *", "code", "deps")
TRENDS = AssetVersions("trends", "day|UTC|+00:00", "code", "deps")
INT64 = st.integers(-(2**63), 2**63 - 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


class Runs:
    """A store, and short words for what happens to it."""

    def __init__(self, path: Path | str, folding: Folding | None = None) -> None:
        self.store = SqliteStore(path, folding=folding or Folding())
        self.serial = 0
        self.store.start_run(
            RunRecord("run-1", RunKind.BACKFILL, "*", "", "{}", RunStatus.RUNNING, NOW)
        )

    def claim(self, ids: Sequence[int], asset: AssetVersions) -> Any:
        self.serial += 1
        known = self.store.register([asset])[asset.asset]
        claim = StepClaim(
            asset.asset, tuple(ids), f"token-{self.serial}", known.code_id, known.deps_id
        )
        return self.store.claim("run-1", [claim], NOW)[0]

    def materialize(self, ids: Iterable[int], asset: AssetVersions = ORDERS) -> None:
        ids = tuple(ids)
        step = self.claim(ids, asset)
        receipts = tuple(WriteReceipt(i, 1, 1, f"v{self.serial}", "s") for i in ids)
        self.store.record([StepSucceeded(step.step_id, step.epoch, receipts)], NOW)

    def fail(self, ids: Sequence[int], *, unknown: bool = False) -> None:
        step = self.claim(ids, ORDERS)
        failed = AttemptFailed(step.step_id, step.epoch, "no", "", final=True, unknown=unknown)
        self.store.record([failed], NOW)

    def sql(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        with self.store._database.write() as cursor:
            return cursor.execute(statement, parameters).fetchall()

    def layout(self, asset: str = "orders") -> list[tuple[int, int]]:
        """First id and number of partitions of each chunk."""
        return self.sql(
            "select first_id, count from state_chunk join asset on asset.id = asset_id where key = ? order by 1",
            (asset,),
        )

    def watermark(self) -> int:
        return int(self.sql("select seq from compaction")[0][0])

    def ids(self, asset: AssetVersions = ORDERS) -> list[int]:
        found: list[int] = self.store.snapshot([asset]).partitions[asset.asset].ids.tolist()
        return found


def columns_of(rows: Sequence[Sequence[int]]) -> PartitionColumns:
    return PartitionColumns(*np.array(rows, dtype=np.int64).reshape(-1, 9).T)


def rows_of(columns: PartitionColumns) -> list[tuple[int, ...]]:
    return list(zip(*(array.tolist() for array in column_arrays(columns)), strict=True))


def decoded(*chunks: PartitionColumns) -> PartitionColumns:
    bytes_of = [encode_chunk(one) for one in chunks]
    counts = [len(one.ids) for one in chunks]
    return Chunks(counts, [one[0] for one in bytes_of], [one[1] for one in bytes_of]).columns(
        0, len(chunks)
    )


class TestBytes:
    @given(st.lists(st.lists(st.tuples(*[INT64] * 9), min_size=1), min_size=1, max_size=4))
    @example([[(2**63 - 1,) * 9, (-(2**63),) * 9, (0,) * 9]])
    @example([[(-(2**63),) * 9, (2**63 - 1,) * 9]])
    def test_any_columns_come_back(self, chunks: list[list[tuple[int, ...]]]) -> None:
        found = decoded(*(columns_of(rows) for rows in chunks))
        assert rows_of(found) == [row for rows in chunks for row in rows]
        for array in column_arrays(found):
            assert array.dtype == np.int64
            assert array.shape == found.ids.shape

    @given(
        st.integers(-(2**40), 2**40),
        st.integers(-500, 500),
        st.lists(st.integers(1, 300), min_size=1, max_size=5),
        st.sampled_from([0, 1, 127, 128, 255, 256, 2**16, 2**32]),
        st.integers(0, 2**32),
    )
    def test_lines_with_bends_come_back_whatever_the_width(
        self, base: int, slope: int, counts: list[int], spread: int, seed: int
    ) -> None:
        dice = np.random.default_rng(seed)
        total = sum(counts)
        line = base + slope * np.arange(total, dtype=np.int64)
        rows = [line + dice.integers(0, spread, total, endpoint=True) for _ in range(8)]
        whole = PartitionColumns(line, *rows)
        bounds = [0, *np.cumsum(counts).tolist()]
        pieces = [
            PartitionColumns(*(array[begin:end] for array in column_arrays(whole)))
            for begin, end in pairwise(bounds)
        ]
        assert rows_of(decoded(*pieces)) == rows_of(whole)

    @given(
        st.lists(st.sampled_from(["line", "other line", "holes", "other holes"]), max_size=6),
        st.booleans(),
    )
    def test_assets_with_equal_ids_share_them_and_no_others_do(
        self, kinds: list[str], bent: bool
    ) -> None:
        hours = np.arange(40, dtype=np.int64)
        ids_of = {
            "line": hours[:30],
            "other line": hours[1:31],
            "holes": hours[hours % 4 != 3],
            "other holes": hours[hours % 4 != 2],
        }
        assets = []
        for number, kind in enumerate(kinds):
            one = np.ones(30, dtype=np.int64)
            seq = one.cumsum() ** 2 if bent else one.cumsum()
            assets.append(
                PartitionColumns(ids_of[kind], seq + number, *[one] * 3, seq, *[one] * 3)
            )
        pieces = [
            PartitionColumns(*(array[half] for array in column_arrays(whole)))
            for whole in assets
            for half in (slice(20), slice(20, None))
        ]
        encoded = [encode_chunk(piece) for piece in pieces]
        chunks = (
            Chunks([len(piece.ids) for piece in pieces], *zip(*encoded, strict=True))
            if pieces
            else None
        )
        before: PartitionColumns | None = None
        for number, (kind, whole) in enumerate(zip(kinds, assets, strict=True)):
            assert chunks is not None
            found = chunks.columns(2 * number, 2 * number + 2)
            assert rows_of(found) == rows_of(whole)
            if before is not None and kinds[number - 1] == kind and not (bent and "holes" in kind):
                assert found.ids is before.ids
            before = found

    def test_what_counts_up_needs_no_residuals_and_what_stays_no_memory(self) -> None:
        hours = np.arange(8_192, dtype=np.int64)
        one = np.ones(8_192, dtype=np.int64)
        whole = PartitionColumns(
            hours, hours + 9, 9 * one, one, one, hours + 9, one, 0 * one, -one
        )
        halves = [
            PartitionColumns(*(array[half] for array in column_arrays(whole)))
            for half in (slice(4_096), slice(4_096, None))
        ]
        assert [encode_chunk(half)[1] for half in halves] == [b"", b""]
        found = decoded(*halves)
        assert rows_of(found) == rows_of(whole)
        assert [array.strides for array in column_arrays(found)] == [
            *[(8,), (8,)],
            *[(0,), (0,), (0,), (8,), (0,), (0,), (0,)],
        ]

    def test_a_few_partitions_done_again_cost_few_bytes(self) -> None:
        hours = np.arange(4_096, dtype=np.int64)
        seq = hours + 1
        seq[100:200] += 1_000_000
        failed = 0 * hours
        failed[7] = 2_000_000
        rows = PartitionColumns(
            hours,
            seq,
            seq // 100,
            seq % 2,
            hours // 4_000,
            seq,
            seq % 2,
            failed,
            -(hours // 4_095),
        )
        assert len(encode_chunk(rows)[1]) < 4_096
        assert rows_of(decoded(rows)) == rows_of(rows)

    def test_bytes_that_are_not_a_chunk_are_refused(self) -> None:
        dice = np.random.default_rng(1)
        frame, residual = encode_chunk(columns_of(dice.integers(0, 2**40, (50, 9)).tolist()))
        for counts, frames, residuals in (
            ([50], [frame[:-1]], [residual]),
            ([50], [b""], [residual]),
            ([50], [frame[:16] + b"\3" + frame[17:]], [residual]),
            ([50], [frame], [residual[:-1]]),
            ([50], [frame], [residual + b"x"]),
            ([50], [frame], [b""]),
            ([51], [frame], [residual]),
        ):
            with pytest.raises(ValueError, match=r"frame|width|residuals"):
                Chunks(counts, frames, residuals).columns(0, 1)


class TestLayout:
    def test_dense_and_sparse_ids_fill_chunks_alike(self) -> None:
        for step in (1, 60, 10**9):
            runs = Runs(":memory:", Folding(partitions=4))
            runs.materialize(range(0, 10 * step, step))
            assert runs.store.compact(NOW) == Compaction(rows=10, chunks=3)
            assert runs.layout() == [(0, 4), (4 * step, 4), (8 * step, 2)]

    def test_time_that_goes_on_fills_the_last_chunk_before_the_next(self) -> None:
        runs = Runs(":memory:", Folding(partitions=4))
        for begin in range(0, 15, 3):
            runs.materialize(range(begin, begin + 3))
            runs.store.compact(NOW)
        assert runs.layout() == [(0, 4), (4, 4), (8, 4), (12, 3)]

    def test_a_hole_that_is_filled_splits_a_full_chunk_evenly(self) -> None:
        runs = Runs(":memory:", Folding(partitions=4))
        runs.materialize([0, 1, 8, 9, 20, 21, 22, 23])
        runs.store.compact(NOW)
        assert runs.layout() == [(0, 4), (20, 4)]
        runs.materialize([5])
        runs.store.compact(NOW)
        assert runs.layout() == [(0, 2), (5, 3), (20, 4)]
        runs.materialize([-7, 19, 30])
        runs.store.compact(NOW)
        assert runs.layout() == [(-7, 3), (5, 4), (20, 4), (30, 1)]
        assert runs.ids() == [-7, 0, 1, 5, 8, 9, 19, 20, 21, 22, 23, 30]
        assert runs.store.verify() == []

    def test_going_back_in_time_keeps_chunks_filled(self) -> None:
        runs = Runs(":memory:", Folding(partitions=8))
        for number in range(100, 0, -1):
            runs.materialize([number])
            runs.store.compact(NOW)
        assert runs.ids() == list(range(1, 101))
        assert len(runs.layout()) <= 2 * 100 / 8
        assert runs.store.verify() == []

    def test_the_lanes_of_a_product_share_chunks_and_grow_side_by_side(self) -> None:
        runs = Runs(":memory:", Folding(partitions=8))
        for day in range(40):
            runs.materialize((lane << 32) + 2**31 + day for lane in (1, 2, 3))
            runs.store.compact(NOW)
        assert sum(count for _, count in runs.layout()) == 120
        assert len(runs.layout()) <= 2 * 120 / 8
        assert runs.store.verify() == []

    def test_only_chunks_that_are_touched_are_written(self) -> None:
        runs = Runs(":memory:", Folding(partitions=10))
        runs.materialize(range(100))
        runs.materialize(range(100), asset=TRENDS)
        assert runs.store.compact(NOW) == Compaction(rows=200, chunks=20)
        runs.materialize([34, 36])
        runs.fail([99])
        assert runs.store.compact(NOW) == Compaction(rows=3, chunks=2)

    def test_one_transaction_touches_no_more_chunks_than_it_may(self) -> None:
        runs = Runs(":memory:", Folding(partitions=10, chunks=3))
        runs.materialize(range(100))
        runs.store.compact(NOW)
        runs.materialize(range(5, 100, 10))
        stops = []
        while True:
            with runs.store._database.read() as cursor:
                fold = sql_chunks.prepare_fold(cursor, Folding(partitions=10, chunks=3))
            if fold is None:
                break
            stops.append((fold.end, len(fold.added)))
            with runs.store._database.write() as cursor:
                assert sql_chunks.write_fold(cursor, fold, 0) is not None
        assert stops == [(103, 3), (106, 3), (109, 3), (110, 1)]
        assert runs.store.verify() == []


class TestWhenFoldingHappens:
    def test_a_store_folds_by_itself_when_much_is_unfolded(self, path: Path) -> None:
        runs = Runs(path, Folding(due=10))
        runs.materialize(range(9))
        runs.claim([50], ORDERS)
        assert runs.watermark() == 0
        runs.materialize([9])
        runs.claim([51], ORDERS)
        assert runs.watermark() == 10
        runs.store.mark_current(ORDERS, range(10), NOW)
        assert runs.watermark() == 20

    def test_the_end_of_a_run_folds_what_it_left(self, path: Path) -> None:
        runs = Runs(path, Folding(due=10))
        runs.materialize(range(12))
        runs.store.finish_run("run-1", RunStatus.SUCCEEDED, NOW)
        assert runs.watermark() == 12
        assert runs.sql("select at from compaction") == [(1_740_787_200_000_000,)]

    def test_a_long_log_is_folded_a_stretch_at_a_time(self, path: Path) -> None:
        runs = Runs(path, Folding(due=10, rows=15))
        runs.materialize(range(40))
        stops = []
        for number in range(4):
            runs.claim([100 + number], ORDERS)
            stops.append(runs.watermark())
        # The last 10 would still be due; after that nothing is.
        assert stops == [15, 30, 40, 40]

    def test_a_fold_that_was_overtaken_writes_nothing(self, path: Path) -> None:
        runs = Runs(path)
        runs.materialize(range(10))
        with runs.store._database.read() as cursor:
            late = sql_chunks.prepare_fold(cursor, Folding())
        assert late is not None
        with SqliteStore(path) as other:
            # Rebuilt, so that the watermark is where the late one would expect it, but the chunks are others.
            runs.materialize(range(5, 8))
            other.compact(NOW)
            other.compact(NOW, rebuild=True)
        before = runs.layout()
        runs.sql("update compaction set seq = 0")
        with runs.store._database.write() as cursor:
            assert sql_chunks.write_fold(cursor, late, 0) is None
        runs.sql("update compaction set seq = 13")
        assert runs.layout() == before
        assert runs.store.verify() == []

    def test_what_is_recorded_while_a_fold_is_prepared_stays_in_the_tail(self, path: Path) -> None:
        runs = Runs(path)
        runs.materialize([1, 2])
        with runs.store._database.read() as cursor:
            fold = sql_chunks.prepare_fold(cursor, Folding())
        assert fold is not None
        runs.fail([2])
        runs.materialize([3])
        with runs.store._database.write() as cursor:
            assert sql_chunks.write_fold(cursor, fold, 0) is not None
        assert runs.watermark() == 2
        assert runs.ids() == [1, 2, 3]
        assert runs.store.snapshot([ORDERS]).partitions["orders"].failed_seq.tolist() == [0, 3, 0]
        assert runs.store.verify() == []

    def test_compacting_a_state_that_is_not_there_creates_nothing(self, path: Path) -> None:
        with SqliteStore(path.parent / "no" / "state.db") as store:
            assert store.compact(NOW, rebuild=True) == Compaction(0, 0)
            assert store.verify() == []
        assert not (path.parent / "no").exists()

    def test_a_file_from_before_there_were_chunks_is_brought_up_to_date(self, path: Path) -> None:
        runs = Runs(path)
        runs.materialize(range(5))
        expected = rows_of(runs.store.snapshot([ORDERS]).partitions["orders"])
        runs.store.close()
        older = apsw.Connection(str(path))
        older.execute("drop table state_chunk; drop table compaction")
        older.execute(
            "alter table step drop column horizons;"
            "alter table materialization drop column horizon;"
            "alter table materialization drop column consumed"
        )
        older.execute("alter table asset drop column restarted_seq")
        older.execute("alter table asset drop column restarted_at")
        older.execute("drop table version_part; drop table part")
        older.execute("drop index step_measured; alter table step drop column seconds")
        older.execute("drop table pool_turn; drop index step_in_pool")
        older.execute("alter table step drop column pool")
        older.execute(
            "drop table partition_check; alter table check_result drop column partition_id"
        )
        older.execute("alter table partition_key drop column changed_seq")
        older.execute("update meta set value = '1' where name = 'schema_version'")
        older.close()
        with SqliteStore(path) as store:
            assert rows_of(store.snapshot([ORDERS]).partitions["orders"]) == expected
            assert store.compact(NOW).rows == 5
            assert rows_of(store.snapshot([ORDERS]).partitions["orders"]) == expected
        assert schema.MIGRATIONS[1].version == 2


class TestDamage:
    @pytest.fixture
    def runs(self, path: Path) -> Runs:
        runs = Runs(path, Folding(partitions=10))
        runs.materialize(range(30))
        runs.fail([3])
        runs.materialize(range(5), asset=TRENDS)
        runs.store.compact(NOW)
        return runs

    def problems(self, runs: Runs) -> list[tuple[ProblemKind, str | None]]:
        return [(one.kind, one.asset) for one in runs.store.verify()]

    @pytest.mark.parametrize(
        "statement",
        [
            "update state_chunk set frame = zeroblob(192) where first_id = 10",
            "delete from state_chunk where asset_id = 1 and first_id = 10",
            "delete from state_chunk where asset_id = 1",
            "update state_chunk set first_id = 11 where first_id = 10",
            "update state_chunk set count = count - 1 where first_id = 20",
            "update state_chunk set frame = x'00' where first_id = 10",
            "update state_chunk set residual = x'00' where first_id = 0 and asset_id = 1",
        ],
    )
    def test_chunks_that_differ_from_the_log_are_found_and_made_anew(
        self, runs: Runs, statement: str
    ) -> None:
        runs.sql(statement)
        assert self.problems(runs) == [(ProblemKind.CHUNK, "orders")]
        runs.store.compact(NOW, rebuild=True)
        assert self.problems(runs) == []
        assert runs.ids() == list(range(30))

    def test_every_column_is_compared(self, runs: Runs) -> None:
        for place in range(8):
            # The base of one column of one chunk, one more than it was.
            frame = runs.sql("select frame from state_chunk where first_id = 20")[0][0]
            values = np.frombuffer(frame, dtype="<i8").copy()
            values[3 * place] += 1
            runs.sql("update state_chunk set frame = ? where first_id = 20", (values.tobytes(),))
            # data_seq is stored relative to seq: a wrong seq makes both wrong.
            assert set(self.problems(runs)) == {(ProblemKind.CHUNK, "orders")}, place
            runs.sql("update state_chunk set frame = ? where first_id = 20", (frame,))
        assert self.problems(runs) == []

    def test_what_only_the_tail_says_is_not_missed_in_the_chunks(self, runs: Runs) -> None:
        runs.materialize(range(30, 40))
        assert self.problems(runs) == []
        runs.sql("update compaction set seq = seq + 1")
        assert self.problems(runs) == [(ProblemKind.CHUNK, "orders")]

    def test_a_chunk_that_cannot_be_read_is_told_when_it_is_looked_at(self, runs: Runs) -> None:
        runs.sql("update state_chunk set residual = x'00' where first_id = 0 and asset_id = 1")
        partitions = runs.store.snapshot([ORDERS, TRENDS]).partitions
        assert len(partitions["trends"].ids) == 5
        with pytest.raises(StoreError, match="state of orders is damaged: residuals") as caught:
            partitions["orders"]
        assert caught.value.hint is not None
        assert "partita state compact --rebuild" in caught.value.hint
        runs.materialize([4])
        with pytest.raises(StoreError, match="state of orders is damaged"):
            runs.store.compact(NOW)
        runs.sql("update state_chunk set frame = x'00' where first_id = 0 and asset_id = 1")
        with pytest.raises(StoreError, match="is damaged: a frame"):
            runs.store.snapshot([ORDERS])

    @pytest.mark.parametrize(
        ("statement", "kind", "asset"),
        [
            ("update materialization set read_seq = seq where seq = 9", "log", "orders"),
            ("update materialization set data_seq = 3 where kind = 0", "log", "orders"),
            ("update materialization set kind = 2, data_seq = 8 where seq = 9", "log", "orders"),
            ("update materialization set data_seq = 40 where seq = 9", "log", "orders"),
            ("update materialization set data_seq = 8 where seq = 9", "log", "orders"),
            ("update materialization set data_seq = 0 where seq = 9", "log", "orders"),
            ("update materialization set kind = 2 where seq = 9", "log", "orders"),
            ("update materialization set code_id = deps_id where seq = 9", "log", "orders"),
            ("update materialization set deps_id = 4 where seq = 9", "log", "orders"),
            ("update seq_counter set seq = seq - 1", "log", None),
            ("update compaction set seq = 99", "chunk", None),
            ("update step set status = 'cancelled' where asset = 'trends'", "step", None),
            ("update step set status = 'succeeded' where status = 'failed'", "step", None),
            ("delete from materialization where asset_id = 2", "step", None),
            ("update materialization set step_id = 1 where seq = 9", "reference", None),
        ],
    )
    def test_what_breaks_a_law_is_found(
        self, runs: Runs, statement: str, kind: str, asset: str | None
    ) -> None:
        connection = runs.store._database._connection
        assert connection is not None
        connection.pragma("foreign_keys", "off")
        assert runs.store.verify() == []
        runs.sql(statement)
        found = self.problems(runs)
        assert (ProblemKind(kind), asset) in found
        # One message per law, however many rows break it.
        assert len(found) <= 3

    def test_rows_of_a_failure_that_may_be_visible_break_the_chain_of_equal_data(
        self, runs: Runs
    ) -> None:
        runs.materialize([3])
        runs.fail([3], unknown=True)
        runs.store.mark_current(ORDERS, [3], NOW)
        runs.materialize([3])
        assert self.problems(runs) == []
        last, before = runs.sql(
            "select seq, data_seq from materialization where partition_id = 3 and asset_id = 1 and kind = 1 order by seq desc limit 2"
        )
        # As if the failure, or all but the mark, had been overlooked.
        runs.sql("update materialization set data_seq = ? where seq = ?", (before[1], last[0]))
        assert self.problems(runs) == [(ProblemKind.LOG, "orders")]

    def test_a_problem_names_how_many_and_an_example(self, runs: Runs) -> None:
        runs.sql("update materialization set read_seq = seq + 1 where seq in (9, 12)")
        messages = [problem.message for problem in runs.store.verify()]
        assert messages[0] == "2 log rows read what was committed after them (seq 9)"
        assert messages[1] == "its chunks differ from the log in read_seq of 2 partitions (id 8)"

    def test_a_damaged_database_is_told_in_sqlites_words(self, runs: Runs) -> None:
        connection = runs.store._database._connection
        assert connection is not None
        connection.execute("pragma ignore_check_constraints = on")
        runs.sql("update materialization set kind = 7 where seq = 9")
        connection.execute("pragma ignore_check_constraints = off")
        (problem,) = runs.store.verify()
        assert (problem.kind, problem.asset) == (ProblemKind.DAMAGE, None)
        assert "CHECK constraint failed in materialization" in problem.message
