"""What a write costs through an IO manager, against the same write by hand, on the same rows and in one run.

By hand means: for DuckDB the statement itself, in a transaction on a database that is attached for it and detached afterwards, as a
program does that shares the file with others (an Append that can run again stores which load a row came with); for Parquet `pyarrow.parquet.write_table` with the same options, synced and renamed. Partita
also takes the rows in, holds them against the write contract, makes their content version, fences, and stores the token with them. Each
figure is a median; both sides take turns, on tables of the same size.

    python benchmarks/writes.py [MILLIONS OF ROWS THAT ARE THERE BEFORE]

Bars: 1.2 times by hand for 100,000 rows and more; from 100 to 10,000 partitions one Replace may cost 2 times as much.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assets_core.model.io_manager import (
    PartitionSlice,
    PublishFailed,
    ReadRequest,
    StageRequest,
    Target,
)
from assets_core.model.specs import Append, Merge, Replace
from io_managers import DuckDBIOManager, ParquetIOManager
from partitions.time_windows import TimeWindow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from assets_core.model.io_manager import IOManager
    from assets_core.model.specs import WriteMode

FIRST = date(2000, 1, 1)
SIZES = (1_000, 100_000, 1_000_000)
ROUNDS = 5
SMALL = 365
MILLION = 1_000_000
EPOCHS = count(1)


@dataclass
class Meter:
    """The costs of one thing that is done again and again, in milliseconds."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """What the block costs."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.cpu.append((time.process_time() - cpu) * 1e3)
        self.wall.append((time.perf_counter() - wall) * 1e3)


def day_of(number: int) -> date:
    """The day with this number."""
    return FIRST + timedelta(days=number)


def slice_of(number: int) -> PartitionSlice:
    """The partition of a day."""
    day = day_of(number)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return PartitionSlice(number, day.isoformat(), TimeWindow(start, start + timedelta(days=1)))


def rows_of(number: int, size: int, first_id: int) -> pa.Table:
    """The rows of a day, with ids from `first_id` on."""
    noise = np.random.default_rng(number + first_id)
    return pa.table(
        {
            "id": pa.array(np.arange(first_id, first_id + size)),
            "day": pa.array(np.full(size, np.datetime64(day_of(number), "D"))),
            "amount": pa.array(noise.random(size)),
            "shop": pa.array(noise.integers(0, 50, size).astype(str)),
        }
    )


def filling(numbers: Sequence[int], size: int) -> pa.Table:
    """The rows of many days, with ids from 0 on."""
    return pa.concat_tables([rows_of(n, size, i * size) for i, n in enumerate(numbers)])


class Written:
    """A table that a manager writes."""

    def __init__(self, manager: IOManager, write: WriteMode) -> None:
        self.manager = manager
        by = None if isinstance(write, Append) else "day"
        self.target = Target("orders", write, partitioned=True, partition_by=by, time_kind="day")

    def request(self, numbers: Sequence[int]) -> StageRequest:
        """A new attempt at some days."""
        epoch = next(EPOCHS)
        return StageRequest(self.target, tuple(map(slice_of, numbers)), epoch, f"token-{epoch}")

    def put(self, *parts: tuple[int, pa.Table]) -> None:
        """Write some days in one group."""
        self._publish([(self.request([number]), rows) for number, rows in parts])

    def fill(self, numbers: Sequence[int], size: int) -> None:
        """Write many days, with ids from 0 on."""
        if self.target.partition_by is None:
            for i, number in enumerate(numbers):
                self.put((number, rows_of(number, size, i * size)))
        else:
            self._publish([(self.request(numbers), filling(numbers, size))])

    def _publish(self, parts: Sequence[tuple[StageRequest, pa.Table]]) -> None:
        staged = [self.manager.stage(request, rows.to_reader()) for request, rows in parts]
        failed = [one for one in self.manager.publish(staged) if isinstance(one, PublishFailed)]
        if failed:
            raise RuntimeError(failed[0].message)

    def read(self, number: int) -> int:
        """How many rows a day has."""
        request = ReadRequest(self.target, (slice_of(number),))
        return int(self.manager.read(request).read_all().num_rows)


class ByHand:
    """A table in a DuckDB file of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = duckdb.connect()

    def run(self, rows: pa.Table | None, *statements: str) -> list[tuple[object, ...]]:
        """Some statements in a transaction; `rows` are a table of that name."""
        found: list[tuple[object, ...]] = []
        if rows is not None:
            self._connection.register("rows", rows)
        self._connection.execute(f"attach '{self._path}' as it")
        self._connection.execute("begin")
        for statement in statements:
            found = self._connection.execute(statement).fetchall()
        self._connection.execute("commit")
        self._connection.execute("detach it")
        return found

    def fill(self, numbers: Sequence[int], size: int, columns: str = "*") -> None:
        """As `Written.fill`."""
        select = f"select {columns} from rows"  # noqa: S608 - no input
        self.run(filling(numbers, size), f"create table it.orders as {select}")

    def read(self, number: int) -> int:
        """As `Written.read`."""
        self._connection.execute(f"attach '{self._path}' as it (read_only)")
        day = day_of(number)
        found = self._connection.sql("select * from it.orders where day = $1", params=[day])
        rows = found.to_arrow_table()
        self._connection.execute("detach it")
        return int(rows.num_rows)


DELETE_DAY = "delete from it.orders where day in (select day from rows limit 1)"
DELETE_KEYS = "delete from it.orders where id in (select id from rows)"
INSERT = "insert into it.orders by name select * from rows"
DELETE_LOAD = "delete from it.orders where _partition = (select day::varchar from rows limit 1)"
INSERT_LOAD = "insert into it.orders by name select *, day::varchar as _partition from rows"
STATEMENTS: dict[str, tuple[WriteMode, tuple[str, ...]]] = {
    "Replace": (Replace(), (DELETE_DAY, INSERT)),
    "Append": (Append(), (DELETE_LOAD, INSERT_LOAD)),
    "Merge": (Merge(keys=["id"]), (DELETE_KEYS, INSERT)),
}


def show(what: str, ours: Meter, hand: Meter) -> None:
    """A line of the table."""
    mine, theirs = statistics.median(ours.wall), statistics.median(hand.wall)
    cpu = statistics.median(ours.cpu) / statistics.median(hand.cpu)
    print(f"{what:44}{theirs:10.1f}{mine:10.1f}{mine / theirs:8.2f}{cpu:8.2f}")


def in_duckdb(mode: str, millions: int, folder: Path) -> None:
    """One mode, all sizes, into a table that already holds so many rows."""
    write, statements = STATEMENTS[mode]
    mine, hand = Written(DuckDBIOManager(folder / "mine"), write), ByHand(folder / "hand")
    days = range(millions * 10)
    mine.fill(days, MILLION // 10)
    hand.fill(days, MILLION // 10, "*, day::varchar as _partition" if mode == "Append" else "*")
    after = count(len(days))
    for size in SIZES:
        ours, theirs = Meter(), Meter()
        day = next(after)
        for number in range(ROUNDS + 1):
            if mode == "Append":
                day = next(after)
            # A merge meets as many known ids, with other values, as new ones; a Replace replaces what the round before wrote.
            first_id = number * size
            if mode == "Merge":
                first_id = millions * MILLION + (number - 1) * size // 2
            rows = rows_of(day, size, first_id)
            if number == 0:
                mine.put((day, rows))
                hand.run(rows, *statements)
                continue
            with theirs.measuring():
                hand.run(rows, *statements)
            with ours.measuring():
                mine.put((day, rows))
        show(f"{mode}, {size:,} rows into DuckDB", ours, theirs)


def write_file(rows: pa.Table, path: Path) -> None:
    """A complete file by hand."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    pq.write_table(
        rows, temporary, compression="zstd", row_group_size=122_880, write_page_checksum=True
    )
    descriptor = os.open(temporary, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    temporary.rename(path)


def in_parquet(folder: Path) -> None:
    """All sizes as files."""
    mine = Written(ParquetIOManager(folder / "lake"), Replace())
    for day, size in enumerate(SIZES):
        ours, theirs = Meter(), Meter()
        path = folder / "hand" / str(day) / "data.parquet"
        for number in range(ROUNDS + 1):
            rows = rows_of(day, size, number * size)
            if number == 0:
                mine.put((day, rows))
                continue
            with theirs.measuring():
                write_file(rows, path)
            with ours.measuring():
                mine.put((day, rows))
        show(f"Replace, {size:,} rows as Parquet", ours, theirs)


def in_groups(folder: Path) -> None:
    """A year of small partitions, one by one and in one group."""
    parts = [(day, rows_of(day, 1_000, day * 1_000)) for day in range(SMALL)]
    one_by_one, grouped = Meter(), Meter()
    for number in range(2):
        single = Written(DuckDBIOManager(folder / f"single-{number}"), Replace())
        with one_by_one.measuring():
            for part in parts:
                single.put(part)
        group = Written(DuckDBIOManager(folder / f"group-{number}"), Replace())
        with grouped.measuring():
            group.put(*parts)
    show(f"{SMALL} days of 1,000 rows grouped, against one by one", grouped, one_by_one)


def in_growing_tables(folder: Path) -> None:
    """One Replace, and one read, in tables of more and more partitions."""
    first: tuple[float, float] | None = None
    for partitions in (100, 1_000, 10_000):
        mine = Written(DuckDBIOManager(folder / f"mine-{partitions}"), Replace())
        hand = ByHand(folder / f"hand-{partitions}")
        mine.fill(range(partitions), 1_000)
        hand.fill(range(partitions), 1_000)
        day = partitions // 2
        ours, theirs, our_reads, their_reads = Meter(), Meter(), Meter(), Meter()
        for number in range(4 * ROUNDS):
            rows = rows_of(day, 1_000, number)
            with theirs.measuring():
                hand.run(rows, DELETE_DAY, INSERT)
            with ours.measuring():
                mine.put((day, rows))
            with their_reads.measuring():
                hand.read(day)
            with our_reads.measuring():
                mine.read(day)
        show(f"Replace of one of {partitions:,} partitions", ours, theirs)
        show(f"read of one of {partitions:,} partitions", our_reads, their_reads)
        now = statistics.median(ours.wall), statistics.median(theirs.wall)
        first = first or now
        if partitions == 10_000:
            grown, by_hand = now[0] / first[0], now[1] / first[1]
            print(f"from 100 to 10,000 partitions: {grown:.2f} times; by hand {by_hand:.2f} times")


def main() -> None:
    """Print the table."""
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    print(f"into tables of {millions} million rows before")
    print(f"{'':44}{'hand ms':>10}{'here ms':>10}{'wall ×':>8}{'CPU ×':>8}")
    for part in (
        *(lambda folder, mode=mode: in_duckdb(mode, millions, folder) for mode in STATEMENTS),
        in_parquet,
        in_groups,
        in_growing_tables,
    ):
        with tempfile.TemporaryDirectory(prefix="partita-writes-") as name:
            part(Path(name))


if __name__ == "__main__":
    main()
