"""What steps cost in processes of their own, what several at once gain, and how long it takes to put a killed run right.

One project of two daily assets in DuckDB, the second reading the first. With `trivial` steps the difference between the command with
`-j 1` and without is what a process costs; with `busy` ones, which compute for some 50 ms, `-j 2` shows what a second core gains, beside the
same work written by hand in one process. CPU seconds are those of the command and of all processes that it started. On Dask the workers
are not the command's: what they spend is told apart.

    python benchmarks/parallel.py [DAYS]
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.dask_cluster import Cluster  # noqa: E402 - after the path

FIRST = date(2024, 1, 1)

PROJECT = """
from datetime import date

import pyarrow as pa
from assets_core import AssetContext, asset
from partitions import DailyPartitions

days = DailyPartitions("{first}", end="{end}")


def work(day: str) -> int:
    total = 0
    for number in range({rounds}):
        total = (total * 31 + number) % 1_000_003
    return total


@asset(partitions=days, partition_by="day")
def made(context: AssetContext) -> pa.Table:
    day = context.partition_key
    return pa.table({{"day": [date.fromisoformat(day)], "value": [work(day)]}})


@asset(partitions=days, partition_by="day")
def read(made: pa.Table, context: AssetContext) -> pa.Table:
    work(context.partition_key)
    return made
"""

BY_HAND = """
import duckdb
from assets import date, pa, work

with duckdb.connect("hand.duckdb") as database:
    database.execute("create table made (day date, value bigint)")
    database.execute("create table read (day date, value bigint)")
    for day in {days}:
        rows = pa.table({{"day": [date.fromisoformat(day)], "value": [work(day)]}})
        database.execute("insert into made select * from rows")
        work(day)
        database.execute("insert into read select * from made where day = ?", [day])
"""

PARTITA = str(Path(sys.executable).with_name("partita"))
BUSY = 700_000
"""Rounds of the loop: some 50 ms."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds."""

    cpu: float
    wall: float


def spent(folder: Path, *command: str, code: int = 0, **environment: str) -> Cost:
    """Run a command in the folder; CPU is its own and that of everything that it waited for."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != code:
        raise RuntimeError(f"{command} exited with {done.returncode}: {done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, wall)


def project(root: Path, name: str, days: int, rounds: int) -> Path:
    """A folder with the project in it, never run."""
    folder = root / name
    folder.mkdir()
    end = FIRST + timedelta(days=days)
    (folder / "assets.py").write_text(PROJECT.format(first=FIRST, end=end, rounds=rounds))
    keys = [str(FIRST + timedelta(days=n)) for n in range(days)]
    (folder / "hand.py").write_text(BY_HAND.format(days=keys))
    return folder


def side_by_side(root: Path, kind: str, days: int, rounds: int) -> dict[str, Cost]:
    """The same partitions by hand and with Partita, in one process and in several."""
    ways = {"in process": (), "-j 1": ("-j", "1"), "-j 2": ("-j", "2")}
    costs = {
        "by hand": spent(project(root, f"{kind}-hand", days, rounds), sys.executable, "hand.py")
    }
    for way, options in ways.items():
        folder = project(root, f"{kind}{way}", days, rounds)
        costs[way] = spent(folder, PARTITA, "materialize", *options)
    return costs


def on_dask(root: Path, days: int) -> tuple[Cost, Cost]:
    """Trivial steps on one worker with two threads: what the command spends, and what scheduler and worker do."""
    folder = project(root, "dask", days, 0)
    place = root / "cluster"
    place.mkdir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with Cluster(place) as cluster:
        cluster.add_worker("--nthreads", "2")
        (folder / "pyproject.toml").write_text(
            f'[tool.partita]\ndefinitions = "assets"\nexecutor = "dask"\n\n[tool.partita.dask]\nscheduler = "{cluster.address}"\n'
        )
        command = spent(folder, PARTITA, "materialize")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return command, Cost(cpu - command.cpu, command.wall)


def recovery(root: Path, days: int) -> tuple[Cost, Cost]:
    """A no-op command, and the command after a kill between publishing the last group and recording it."""
    folder = project(root, "killed", days, 0)
    spent(folder, PARTITA, "materialize")
    nothing = spent(folder, PARTITA, "materialize")
    failing = {"PARTITA_FAILPOINTS": "run.published=kill"}
    spent(folder, PARTITA, "materialize", "read", "latest:1", "--force", code=-9, **failing)
    return nothing, spent(folder, PARTITA, "materialize")


def main() -> None:
    """Print the tables."""
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 365
    with tempfile.TemporaryDirectory(prefix="partita-parallel-") as name:
        root = Path(name)
        for kind, rounds in (("trivial", 0), ("busy", BUSY)):
            costs = side_by_side(root, kind, days, rounds)
            hand, here, steps = costs["by hand"], costs["in process"], 2 * days
            print(f"{steps} {kind} steps, {days} days of 2 assets")
            print(
                f"{'':16}{'wall s':>8}{'CPU s':>8}{'wall, × by hand':>17}{'CPU ms/step over in process':>30}"
            )
            for way, cost in costs.items():
                over = f"{(cost.cpu - here.cpu) / steps * 1e3:.1f}" if way.startswith("-j") else ""
                print(
                    f"{way:16}{cost.wall:8.2f}{cost.cpu:8.2f}{cost.wall / hand.wall:17.2f}{over:>30}"
                )
            if kind == "trivial":
                command, cluster = on_dask(root, days)
                told = f"{(command.wall - here.wall) / steps * 1e3:.1f} ms wall/step over in process, {cluster.cpu:.1f} s CPU on the cluster"
                print(f"{'Dask, 2 threads':16}{command.wall:8.2f}{command.cpu:8.2f}  {told}")
        nothing, after = recovery(root, 30)
        print(
            f"no-op command {nothing.cpu:.2f} s CPU; the command after kill -9 {after.cpu:.2f} s CPU, {after.wall:.2f} s wall"
        )


if __name__ == "__main__":
    main()
