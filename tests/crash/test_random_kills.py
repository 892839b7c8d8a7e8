"""kill -9 at random moments of a backfill, on every pair of destination and state, in process and with processes.

Each kill hits the forced re-run of some days; a reader polls throughout. In process there are 100 kills for each pair, with processes
a few, and for Delta tables, which takes longest, a few with the state in a file; PARTITA_CRASHES says how many there are of each. Every row has the stamp of the call that made it, so that a partition that was made again can't pass for an untouched one.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import deltalake
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets_core.model.io_manager import Target
from assets_core.model.specs import Replace
from io_managers import DuckDBIOManager
from tests.crash.drill import Drill, make_drill, outlived
from tests.crash.launcher import Launcher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

KILLS = {(): 100, ("-j", "2"): 5}
KILLS_OF_DELTA = {(): 8, ("-j", "2"): 2}
if "PARTITA_CRASHES" in os.environ:
    KILLS = KILLS_OF_DELTA = dict.fromkeys(KILLS, int(os.environ["PARTITA_CRASHES"]))
DAYS = [f"2025-01-0{day}" for day in range(1, 7)]
ROWS = 40
SHOP = f"""
import uuid
from pathlib import Path

import pyarrow as pa

from assets_core import AssetContext, Definitions, asset, load_assets
from io_managers import DeltaIOManager, DuckDBIOManager, ParquetIOManager
from partitions import DailyPartitions

days = DailyPartitions("2025-01-01", end="2025-01-07")


@asset(partitions=days)
def orders(context: AssetContext) -> pa.Table:
    value = int(Path("value.txt").read_text())
    return pa.table({{"id": range({ROWS}), "value": [value] * {ROWS}, "stamp": [uuid.uuid4().hex] * {ROWS}}})


@asset(partitions=days)
def archive(orders: pa.Table) -> pa.Table:
    return orders


definitions = Definitions(assets=load_assets(__name__), io_managers={{"default": MANAGER}})
"""
MANAGERS = {
    "DuckDB": 'DuckDBIOManager("shop.duckdb")',
    "Parquet": 'ParquetIOManager("lake")',
    "Delta": 'DeltaIOManager("lake")',
}

PAIRS = [(state, kind) for state in ("SQLite", "PostgreSQL") for kind in MANAGERS]
if "PARTITA_CRASHES" not in os.environ:
    PAIRS.remove(("PostgreSQL", "Delta"))

Place = tuple[str, str]
"""Asset and day."""


@dataclass(frozen=True)
class Part:
    """A partition as a reader sees it: the value and stamp of its rows, its commit token, and for files the bytes of its file."""

    value: int
    stamp: str
    token: str
    content: bytes = field(default=b"", repr=False)


def whole(rows: list[tuple[Any, ...]], place: Place) -> tuple[int, str]:
    """The value and stamp of rows that are one complete partition."""
    assert sorted(row[0] for row in rows) == list(range(ROWS)), place
    ((value, stamp),) = {row[1:] for row in rows}
    return value, stamp


def part_in(path: Path, place: Place) -> Part:
    """A partition that is one file, from one look at it."""
    content = path.read_bytes()
    file = pq.ParquetFile(pa.BufferReader(content))
    table = file.read()
    rows = list(zip(*(table[name].to_pylist() for name in ("id", "value", "stamp")), strict=True))
    token = file.metadata.metadata[b"partita.token"].decode()
    return Part(*whole(rows, place), token, content)


def read_parquet(folder: Path) -> dict[Place, Part]:
    """All partitions, by their paths."""
    return {
        (asset, day): part_in(
            folder / "lake" / asset / f"day={day}" / "data.parquet", (asset, day)
        )
        for asset in ("orders", "archive")
        for day in DAYS
    }


def read_delta(folder: Path) -> dict[Place, Part]:
    """All partitions of the newest version of each table. Replaced files stay, so a reader may take its time."""
    found = {}
    for asset in ("orders", "archive"):
        table = deltalake.DeltaTable(str(folder / "lake" / asset))
        added = pa.table(table.get_add_actions(flatten=True)).to_pylist()
        assert sorted(one["partition._partition"] for one in added) == DAYS
        for one in added:
            place = asset, one["partition._partition"]
            found[place] = part_in(folder / "lake" / asset / one["path"], place)
    return found


def read_duckdb(folder: Path) -> dict[Place, Part]:
    """All partitions as of one moment; readers take the lock that the file asks for.

    Before they look, the next process of Partita has opened the file: it puts right what DuckDB may have left half-written.
    """
    found = {}
    DuckDBIOManager(folder / "shop.duckdb").holdings(Target("orders", Replace(), partitioned=True))
    with (folder / "shop.duckdb.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with duckdb.connect() as connection:
            connection.execute(f"attach '{folder / 'shop.duckdb'}' as it (read_only)")
            for asset in ("orders", "archive"):
                statement = f"select id, value, stamp, _partition from it.{asset}"
                rows = connection.execute(statement).fetchall()
                tokens = dict(
                    connection.execute(
                        "select key, token from it._partita_commits where asset = $1", [asset]
                    ).fetchall()
                )
                for day in DAYS:
                    of_day = [row[:3] for row in rows if row[3] == day]
                    found[asset, day] = Part(*whole(of_day, (asset, day)), tokens[day])
    return found


READERS = {"DuckDB": read_duckdb, "Parquet": read_parquet, "Delta": read_delta}


class Watcher:
    """Reads in a thread, as long as the block lasts; every partition must be whole, and old or new."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self._read = READERS[kind]
        self._ended = threading.Event()
        self.allowed: dict[Place, set[int]] = {}
        self.looks = 0
        self.wrong: list[str] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            allowed = dict(self.allowed)
            try:
                seen = self._read(self._folder)
            except Exception as error:  # noqa: BLE001 - whatever a reader meets is wrong
                self.wrong.append(f"{type(error).__name__}: {error}")
                continue
            self.looks += 1
            if self.allowed == allowed:
                self.wrong += [
                    f"{place} shows {part.value}, not one of {allowed[place]}"
                    for place, part in seen.items()
                    if part.value not in allowed[place]
                ]


@pytest.fixture
def address(request: pytest.FixtureRequest) -> str | None:
    """Where the state is; None for a file."""
    if request.param == "SQLite":
        return None
    found: str = request.getfixturevalue("postgres_url")
    return found


def tokens_recorded(drill: Drill) -> dict[Place, str]:
    """The commit token of the last success of each partition."""
    rows = drill.ask(
        "select asset.key, partition_id, materialization.token from materialization"
        " join asset on asset.id = asset_id where kind = 1 order by seq"
    )
    first = min(row[1] for row in rows)
    return {(asset, DAYS[id_ - first]): token for asset, id_, token in rows}


def assert_agreed(drill: Drill, seen: dict[Place, Part], where: str) -> None:
    """Destination and state say the same, and nothing is under way or left over."""
    tokens = {place: part.token for place, part in seen.items()}
    assert tokens == tokens_recorded(drill), where
    for what in ("run", "step"):
        count = f"select count(*) from {what} where status = 'running'"
        assert drill.ask(count) == [(0,)], where
    stages = [drill.project.folder / one for one in ("lake/.partita", "shop.duckdb.stage")]
    left = [one for stage in stages if stage.exists() for one in stage.iterdir()]
    assert [one for one in left if one.name != "checked"] == [], where


@pytest.mark.parametrize("jobs", [(), ("-j", "2")], ids=["in process", "-j 2"])
@pytest.mark.parametrize(("address", "kind"), PAIRS, indirect=["address"])
def test_after_a_kill_at_a_random_moment_one_run_converges_and_readers_never_saw_a_half(
    tmp_path: Path, address: str | None, kind: str, jobs: tuple[str, ...]
) -> None:
    drill = make_drill(tmp_path / "shop", *jobs, address=address)
    folder, read = drill.project.folder, READERS[kind]
    drill.project.write("shop.py", SHOP.replace("MANAGER", MANAGERS[kind]))
    drill.project.write("value.txt", "0")
    seed = int(os.environ.get("PARTITA_CRASHES_SEED", "2025"))
    dice = random.Random(f"{seed} {kind} {address is None} {jobs}")  # noqa: S311 - moments, not secrets
    watcher = Watcher(folder, kind)
    wanted, hits = (KILLS_OF_DELTA if kind == "Delta" else KILLS)[jobs], 0
    environment = drill.project.environment(drill.environment())
    with Launcher(folder, environment) as launcher:
        done = launcher.run("materialize", *jobs)
        assert done.code == 0, done.said
        before = read(folder)
        watcher.allowed = {place: {0} for place in before}
        longest = launcher.run(
            "backfill",
            "orders",
            "archive",
            "--partitions",
            f"{DAYS[0]}...{DAYS[-1]}",
            "--force",
            *jobs,
        ).seconds
        before = read(folder)
        with watcher.watching():
            for number in itertools.count(1):
                if hits == wanted:
                    break
                assert number <= 3 * wanted + 10, f"only {hits} runs lasted until their kill"
                first, last = sorted(dice.choices(range(len(DAYS)), k=2))
                touched = set(DAYS[first : last + 1])
                command = (
                    "backfill",
                    "orders",
                    "archive",
                    "--partitions",
                    f"{DAYS[first]}...{DAYS[last]}",
                    "--force",
                    *jobs,
                )
                moment = dice.uniform(0, longest)
                where = f"seed {seed}, kill {number} after {moment:.4f} s, {sorted(touched)}"
                watcher.allowed = {
                    place: {part.value, number} if place[1] in touched else {part.value}
                    for place, part in before.items()
                }
                drill.project.write("value.txt", str(number))
                ended = launcher.run(*command, kill_after=moment)
                hits += ended.code == -9
                assert ended.code in {0, -9}, (where, ended.said)
                assert outlived(drill, launcher.process_id) == [], where
                torn = read(folder)
                for place, part in torn.items():
                    if place[1] not in touched:
                        assert part == before[place], (where, place)
                again = launcher.run(*command)
                assert again.code == 0, (where, again.said)
                longest = max(longest * 0.9, again.seconds)
                after = read(folder)
                for place, part in after.items():
                    if place[1] in touched:
                        assert part.value == number, (where, place)
                    else:
                        assert part == before[place], (where, place)
                for day in DAYS:
                    assert after["orders", day].stamp == after["archive", day].stamp, (where, day)
                assert_agreed(drill, after, where)
                assert watcher.wrong == [], where
                before = after
    with drill.store() as store:
        assert store.verify() == []
    assert watcher.looks > 0
    sys.stdout.write(
        f"{hits} of {number - 1} runs were killed, {watcher.looks} looks, seed {seed}\n"
    )
