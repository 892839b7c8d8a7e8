"""What Partita adds to 1,000 trivial daily partitions in one process, against the same work written by hand.

Each partition is one row. By hand means the least that leaves the same rows behind with the same durability: for DuckDB a transaction
that deletes the day and inserts it (one per day, or one per 100 days, as Partita groups them); for Parquet a file written under a
temporary name, synced and renamed. Partita does that and also plans, claims, checks the rows, and records every partition in a
SQLite file. CPU seconds are those of this process; the machine's other work does not count in them.

    python benchmarks/overhead.py [PARTITIONS]
"""

from __future__ import annotations

import os
import random
import secrets
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from assets_core import AssetContext, Definitions, asset
from assets_core.execution.facts import gather_facts
from assets_core.execution.run_request import Effects, RunRequest
from assets_core.execution.runner import Runner
from assets_core.model.records import RunKind, RunStatus
from assets_core.planning.planner import PlanRequest, plan_run
from assets_core.state.sqlite import SqliteStore
from io_managers import DuckDBIOManager, MemoryIOManager, ParquetIOManager
from partitions import DailyPartitions

if TYPE_CHECKING:
    from collections.abc import Callable

    from assets_core.model.io_manager import IOManager

FIRST = date(2020, 1, 1)
GROUP = 100


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece of work cost, in seconds."""

    cpu: float
    wall: float


def measured(work: Callable[[], object]) -> Cost:
    """Do the work once."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def rows_of(day: date) -> pa.Table:
    """The one row of a partition."""
    return pa.table({"day": pa.array([day]), "value": pa.array([day.day])})


def days(count: int) -> list[date]:
    """The partitions."""
    return [FIRST + timedelta(days=n) for n in range(count)]


def with_partita(folder: Path, io_manager: IOManager, count: int, batch_size: int = 1) -> None:
    """Plan and run the partitions, state on disk."""
    partitions = DailyPartitions(FIRST, end=FIRST + timedelta(days=count))

    @asset(partitions=partitions, partition_by="day", batch_size=batch_size)
    def trivial(context: AssetContext) -> pa.Table:
        return pa.concat_tables(
            [rows_of(date.fromisoformat(key)) for key in context.partition_keys]
        )

    resolved = Definitions(assets=[trivial], io_managers={"default": io_manager}).resolve()
    store = SqliteStore(folder / "state.db")
    facts = gather_facts(resolved.outline, store, datetime.now(UTC))
    plan = plan_run(facts, PlanRequest(("trivial",), {}))
    effects = Effects(
        clock=lambda: datetime.now(UTC),
        pause=time.sleep,
        new_token=lambda: secrets.token_hex(16),
        spread=random.random,
    )
    request = RunRequest("benchmark", RunKind.MATERIALIZE, "trivial", "")
    summary = Runner(resolved, store, effects).run(plan, facts, request)
    store.close()
    if plan.size != count or summary.status is not RunStatus.SUCCEEDED:
        raise RuntimeError(f"{plan.size} partitions planned, {summary}")


def duckdb_by_hand(path: Path, count: int, group: int) -> None:
    """Delete and insert each day, `group` days per transaction."""
    todo = days(count)
    with duckdb.connect(str(path)) as database:
        database.execute("create table trivial (day date, value bigint)")
        for start in range(0, count, group):
            some = todo[start : start + group]
            rows = pa.concat_tables([rows_of(day) for day in some])
            database.register("rows", rows)
            database.execute("begin")
            database.execute("delete from trivial where day in (select day from rows)")
            database.execute("insert into trivial by name select * from rows")
            database.execute("commit")


def parquet_by_hand(folder: Path, count: int) -> None:
    """One synced and renamed file per day."""
    for day in days(count):
        target = folder / f"day={day}"
        target.mkdir(parents=True)
        temporary = target / ".data.tmp"
        with temporary.open("wb") as file:
            pq.write_table(rows_of(day), file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target / "data.parquet")
        handle = os.open(target, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    with tempfile.TemporaryDirectory(prefix="partita-overhead-") as name:
        root = Path(name)
        place = iter(range(100))

        def folder() -> Path:
            path = root / str(next(place))
            path.mkdir()
            return path

        def partita(io_manager: Callable[[Path], IOManager], batch_size: int = 1) -> Cost:
            here = folder()
            return measured(lambda: with_partita(here, io_manager(here), count, batch_size))

        def in_duckdb(here: Path) -> IOManager:
            return DuckDBIOManager(here / "data.duckdb")

        def in_parquet(here: Path) -> IOManager:
            return ParquetIOManager(here / "lake")

        # Imports and first-time set-up are not the partitions' cost.
        with_partita(folder(), MemoryIOManager(), 10)
        with_partita(folder(), in_duckdb(folder()), 10)
        with_partita(folder(), in_parquet(folder()), 10)

        single = measured(lambda: duckdb_by_hand(folder() / "hand.duckdb", count, 1))
        grouped = measured(lambda: duckdb_by_hand(folder() / "hand.duckdb", count, GROUP))
        files = measured(lambda: parquet_by_hand(folder(), count))
        nothing = measured(lambda: [rows_of(day) for day in days(count)])
        lines = [
            ("rows made, not stored", nothing, nothing),
            ("DuckDB by hand, a transaction a day", single, single),
            (f"DuckDB by hand, a transaction per {GROUP} days", grouped, grouped),
            ("Parquet by hand, a file a day", files, files),
            ("Partita, in memory", partita(lambda _: MemoryIOManager()), nothing),
            ("Partita, DuckDB", partita(in_duckdb), grouped),
            ("Partita, DuckDB, batch_size=30", partita(in_duckdb, 30), grouped),
            ("Partita, Parquet", partita(in_parquet), files),
            ("Partita, Parquet, batch_size=30", partita(in_parquet, 30), files),
        ]
    print(f"{count} partitions of one row")
    print(f"{'':44}{'wall s':>8}{'CPU s':>8}{'overhead, CPU ms/partition':>28}{'CPU ratio':>11}")
    for what, cost, hand in lines:
        own = cost is not hand
        overhead = f"{(cost.cpu - hand.cpu) / count * 1e3:.2f}" if own else ""
        ratio = f"{cost.cpu / hand.cpu:.2f}" if own else ""
        print(f"{what:44}{cost.wall:8.2f}{cost.cpu:8.2f}{overhead:>28}{ratio:>11}")


if __name__ == "__main__":
    main()
