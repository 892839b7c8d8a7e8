"""A small project for crash tests, run with the real command, and the oracle that judges it from outside.

The oracle reads the DuckDB file, the Parquet files and the state's tables with plain SQL and pyarrow, without Partita's own readers. Every
partition holds the rows 0…49 and the version of the code that made them; each test makes one version after the other, so that what is
there is version n or n-1, and the log has n successes of each partition, never more.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import pyarrow.parquet as pq

from assets_core.state.postgres import PostgresStore
from assets_core.state.sqlite import SqliteStore
from tests import postgres
from tests.acceptance.conftest import Answer, Project, shop_project

if TYPE_CHECKING:
    from collections.abc import Callable

    from assets_core.state.sql_store import SqlStore

ROWS = 50
DAYS = ("2025-01-01", "2025-01-02")
SHOP = f"""
from pathlib import Path

import pyarrow as pa

from assets_core import AssetContext, Definitions, asset, load_assets
from io_managers import DuckDBIOManager, ParquetIOManager
from partitions import DailyPartitions

days = DailyPartitions("2025-01-01", end="2025-01-03")
version = Path("version.txt").read_text()


@asset(partitions=days, code_version=version)
def orders(context: AssetContext) -> pa.Table:
    return pa.table({{"id": range({ROWS}), "version": [int(version)] * {ROWS}}})


@asset(partitions=days, io_manager="lake")
def archive(orders: pa.Table) -> pa.Table:
    return orders


@asset
def total(orders: pa.Table) -> pa.Table:
    return orders


definitions = Definitions(
    assets=load_assets(__name__),
    io_managers={{"default": DuckDBIOManager("shop.duckdb"), "lake": ParquetIOManager("lake")}},
)
"""

Place = tuple[str, str]
"""Asset and partition key; the key is empty for an asset without partitions."""

PLACES_OF_ROWS: frozenset[Place] = frozenset(
    {(asset, key) for asset in ("orders", "archive") for key in DAYS} | {("total", "")}
)
ELSEWHERE = frozenset({"publish.rejected", "publish.delta.commit", "publish.delta.committed"})
"""Failpoints that a run of this project never passes; those of contracts are for `test_quarantine_kills`, Delta's for `test_object_store_kills`."""

PATIENCE_SECONDS = 60.0
"""Far above what anything that is waited for takes."""
_MARK = "PARTITA_TESTS_DRILL"


@dataclass(frozen=True)
class Drill:
    """The project with its state in a file, or at an address of PostgreSQL; `words` follow every `materialize`."""

    project: Project
    address: str | None = None
    words: tuple[str, ...] = ()
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def materialize(self, failpoints: str = "", code: int | None = 0) -> Answer:
        """Run everything that is stale."""
        return self.project.run(
            "materialize", *self.words, code=code, env=self.environment(failpoints)
        )

    def environment(self, failpoints: str = "") -> dict[str, str]:
        """What makes the command's processes known again, and dangerous."""
        return {_MARK: self.mark, "PARTITA_FAILPOINTS": failpoints}

    def start(self, failpoints: str = "") -> subprocess.Popen[str]:
        """The same in the background."""
        return self.start_command("materialize", *self.words, failpoints=failpoints)

    def start_command(self, *arguments: str, failpoints: str = "") -> subprocess.Popen[str]:
        """Any command in the background."""
        return subprocess.Popen(
            self.project.command(*arguments),
            cwd=self.project.folder,
            env=self.project.environment(self.environment(failpoints)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of the state."""
        if self.address is not None:
            return postgres.execute(self.address, statement)
        connection = apsw.Connection(str(self.project.folder / ".partita" / "state.db"))
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def has_state(self) -> bool:
        """False before the first run has made it."""
        if self.address is None:
            return (self.project.folder / ".partita" / "state.db").exists()
        return self.ask("select to_regclass('materialization')") != [(None,)]

    def store(self) -> SqlStore:
        """The state, for its own `verify`."""
        if self.address is not None:
            return PostgresStore(self.address)
        return SqliteStore(self.project.folder / ".partita" / "state.db")

    def new_version(self, number: int) -> None:
        """Make all partitions stale."""
        self.project.write("version.txt", str(number))


def make_drill(folder: Path, *words: str, address: str | None = None) -> Drill:
    """A project that never ran, with its code at version 1."""
    project = shop_project(folder)
    project.write("shop.py", SHOP)
    project.write("version.txt", "1")
    if address is not None:
        settings = f'[tool.partita]\ndefinitions = "shop"\nstate = "{address}"\n'
        project.write("pyproject.toml", settings)
    return Drill(project, address, words)


def copy_of(drill: Drill, folder: Path) -> Drill:
    """The same, files and all, somewhere else; for a state in a file."""
    assert drill.address is None
    shutil.copytree(drill.project.folder, folder)
    return Drill(Project(folder), None, drill.words)


def visible(project: Project) -> dict[Place, int]:
    """The version that every partition shows. Each holds each row exactly once, all of one version."""
    ids = Counter(range(ROWS))
    found: dict[Place, int] = {}
    for key in DAYS:
        path = project.folder / "lake" / "archive" / f"day={key}" / "data.parquet"
        if path.exists():
            table = pq.read_table(path, partitioning=None)
            assert Counter(table["id"].to_pylist()) == ids, path
            (found["archive", key],) = set(table["version"].to_pylist())
    if not (project.folder / "shop.duckdb").exists():
        return found
    tables = {
        name for (name,) in project.query("select table_name from duckdb_tables()", "shop.duckdb")
    }
    if "orders" in tables:
        rows = project.query("select _partition, id, version from orders", "shop.duckdb")
        for key in {row[0] for row in rows}:
            assert Counter(row[1] for row in rows if row[0] == key) == ids, key
            (found["orders", key],) = {row[2] for row in rows if row[0] == key}
    if "total" in tables:
        rows = project.query("select id, version from total", "shop.duckdb")
        assert Counter(row[0] for row in rows) == Counter({one: len(DAYS) for one in range(ROWS)})
        (found["total", ""],) = {row[1] for row in rows}
    return found


def tokens_there(project: Project) -> dict[Place, str]:
    """The commit token that every partition carries at its destination."""
    found: dict[Place, str] = {}
    for key in DAYS:
        path = project.folder / "lake" / "archive" / f"day={key}" / "data.parquet"
        found["archive", key] = pq.read_metadata(path).metadata[b"partita.token"].decode()
    rows = project.query("select asset, key, token from _partita_commits", "shop.duckdb")
    return {**found, **{(asset, key): token for asset, key, token in rows}}


def place_of(asset: str, partition_id: int) -> Place:
    """A partition as the state names it."""
    if asset == "total":
        return asset, ""
    return asset, str(date(1970, 1, 1) + timedelta(days=partition_id))


def successes(drill: Drill) -> dict[Place, int]:
    """How many successes the log has of each partition."""
    if not drill.has_state():
        return {}
    rows = drill.ask(
        "select asset.key, materialization.partition_id, count(*) from materialization"
        " join asset on asset.id = asset_id where kind = 1 group by 1, 2"
    )
    return {place_of(asset, partition_id): int(times) for asset, partition_id, times in rows}


def tokens_recorded(drill: Drill) -> dict[Place, str]:
    """The commit token of the last success of each partition."""
    rows = drill.ask(
        "select asset.key, materialization.partition_id, materialization.token from materialization"
        " join asset on asset.id = asset_id where kind = 1 order by seq"
    )
    return {place_of(asset, partition_id): token for asset, partition_id, token in rows}


def leftovers(project: Project) -> list[str]:
    """Files that nobody needs: all but sources, rows, state, logs, locks, and the notes of what was compared."""
    root = project.folder
    expected = {"pyproject.toml", "shop.py", "version.txt", "shop.duckdb", "shop.duckdb.lock"}
    # The database's own log: of a commit after which nothing was written, so that nobody has folded it into the file yet.
    expected.add("shop.duckdb.wal")
    expected |= {f"lake/archive/day={key}/data.parquet" for key in DAYS}
    expected.add("lake/.partita/checked/archive")
    found = (path for path in root.rglob("*") if path.is_file())
    names = (str(path.relative_to(root)) for path in found)
    stages = [root / "lake" / ".partita", root / "shop.duckdb.stage"]
    folders = [one for stage in stages if stage.exists() for one in stage.iterdir()]
    return [
        name for name in names if name not in expected and not name.startswith(".partita/")
    ] + [str(one) for one in folders if one.name != "checked"]


def processes(drill: Drill) -> list[int]:
    """Living processes that commands of this drill started, at whatever remove."""
    wanted = f"{_MARK}={drill.mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            found.append(int(folder.name))
    return found


def wait_until(is_so: Callable[[], bool]) -> None:
    """Ask again and again, up to a limit far above what it takes."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)  # another process is waited for


def outlived(drill: Drill, *known: int) -> list[int]:
    """Processes that are still there some time after the command that started them is dead, but those that are `known`."""
    left = []
    for pid in set(processes(drill)).difference(known):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        if not select.select([handle], [], [], PATIENCE_SECONDS)[0]:
            left.append(pid)
            os.kill(pid, signal.SIGKILL)
        os.close(handle)
    return left


def assert_nothing_is_torn(drill: Drill, version: int, where: str) -> None:
    """After a crash while `version` was made: old or new is visible, nothing is missing, and what was recorded is visible."""
    seen = visible(drill.project)
    for place, found in seen.items():
        assert found in {version - 1, version}, (where, place)
    if version > 1:
        assert seen.keys() == PLACES_OF_ROWS, f"{PLACES_OF_ROWS - seen.keys()} are gone ({where})"
    for place, times in successes(drill).items():
        assert times <= version, f"{place} was recorded {times} times ({where})"
        if times == version:
            assert seen.get(place) == version, f"{place} was recorded, and is not there ({where})"


def assert_converged(drill: Drill, version: int, where: str) -> None:
    """One run after a crash: everything is of `version`, recorded once, and nothing is left over."""
    assert visible(drill.project) == dict.fromkeys(PLACES_OF_ROWS, version), where
    assert successes(drill) == dict.fromkeys(PLACES_OF_ROWS, version), where
    assert tokens_recorded(drill) == tokens_there(drill.project), where
    assert leftovers(drill.project) == [], where
    assert drill.ask("select count(*) from run where status = 'running'") == [(0,)], where
    assert drill.ask("select count(*) from step where status = 'running'") == [(0,)], where
    with drill.store() as store:
        assert store.verify() == [], where
    assert processes(drill) == [], where
