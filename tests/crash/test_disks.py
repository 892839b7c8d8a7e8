"""Disks that are full or may not be written: the place and the cause are named, nothing is half there, and a run goes on when the cause is gone.

The disks are small ones in memory, mounted in a namespace of the command's own, so no rights are needed. What is on them is copied out
before the namespace ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.acceptance.conftest import Project, shop_project

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

DAYS = ("2025-01-01", "2025-01-02", "2025-01-03")
ROWS = 60_000
SHOP = f"""
import random

import pyarrow as pa

from assets_core import AssetContext, Definitions, asset, load_assets
from io_managers import DuckDBIOManager, ParquetIOManager
from partitions import DailyPartitions


@asset(partitions=DailyPartitions("2025-01-01", end="2025-01-04"))
def orders(context: AssetContext) -> pa.Table:
    "What no compression makes small."
    return pa.table({{"id": range({ROWS}), "noise": [random.random() for _ in range({ROWS})]}})


definitions = Definitions(assets=load_assets(__name__), io_managers={{"default": MANAGER}})
"""
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")


@cache
def can_mount() -> bool:
    """Whether this machine lets anybody mount a disk for himself."""
    command = [*UNSHARE, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


needs_mount = pytest.mark.skipif(not can_mount(), reason="no disk can be mounted here")


@dataclass(frozen=True)
class Twice:
    """What two runs said and how they ended: one with a bad disk, one with a good one."""

    bad: tuple[int, str]
    good: tuple[int, str]


def run_twice(project: Project, place: str, bad: str, *words: str) -> Twice:
    """Mount a disk at `place` with the options `bad`, run, mend it, run again; its content is in `place` afterwards."""
    partita = " ".join(f"'{word}'" for word in project.command("materialize", *words))
    script = f"""
        mkdir -p {place}
        mount -t tmpfs -o size=64m tmpfs {place}
        cp -r {place}.before/. {place}/ 2>/dev/null
        mount -o remount,{bad} {place}
        {partita} >bad.txt 2>&1; echo $? >bad.code
        mkdir seen; cp -r {place}/. seen/
        mount -o remount,rw,size=64m {place}
        {partita} >good.txt 2>&1; echo $? >good.code
        mkdir copy; cp -r {place}/. copy/
    """
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", script],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    project.folder.joinpath(place).rmdir()
    project.folder.joinpath("copy").rename(project.folder / place)

    def read(name: str) -> tuple[int, str]:
        code = int((project.folder / f"{name}.code").read_text())
        return code, (project.folder / f"{name}.txt").read_text()

    return Twice(read("bad"), read("good"))


def make(folder: Path, manager: str) -> Project:
    project = shop_project(folder)
    project.write("shop.py", SHOP.replace("MANAGER", manager))
    return project


def parquet_rows(lake: Path) -> dict[str, int]:
    """Rows of each day that has a file; each is whole or not there."""
    found = {}
    for day in DAYS:
        path = lake / "orders" / f"day={day}" / "data.parquet"
        if path.exists():
            found[day] = pq.read_table(path, partitioning=None).num_rows
    return found


def duckdb_rows(path: Path) -> dict[str, int]:
    """Rows of each day in the table."""
    if not path.exists():
        return {}
    with duckdb.connect() as connection:
        connection.execute(f"attach '{path}' as it (read_only)")
        tables = connection.execute("select table_name from duckdb_tables()").fetchall()
        if ("orders",) not in tables:
            return {}
        statement = "select _partition, count(*) from it.orders group by 1"
        return dict(connection.execute(statement).fetchall())


def is_told(said: str, *words: str) -> None:
    assert "Traceback" not in said
    assert "please report" not in said
    for word in words:
        assert word in said, said


COMPLETE = dict.fromkeys(DAYS, ROWS)


@needs_mount
@pytest.mark.parametrize("jobs", [(), ("-j", "2")], ids=["in process", "-j 2"])
def test_a_full_disk_below_parquet_files(tmp_path: Path, jobs: tuple[str, ...]) -> None:
    project = make(tmp_path / "shop", 'ParquetIOManager("lake")')
    found = run_twice(project, "lake", "size=900k", *jobs)
    assert found.bad[0] == 1, found.bad
    is_told(found.bad[1], "lake", "No space left on device")
    half = parquet_rows(project.folder / "seen")
    assert half.items() <= COMPLETE.items()
    assert not [
        one for one in (project.folder / "seen" / ".partita").glob("*") if one.name != "checked"
    ]
    assert found.good[0] == 0, found.good
    assert parquet_rows(project.folder / "lake") == COMPLETE
    assert "to_run" in project.run("plan", "--json").out
    assert project.json("plan")["to_run"] == 0
    project.run("state", "verify")


@needs_mount
@pytest.mark.parametrize("jobs", [(), ("-j", "2")], ids=["in process", "-j 2"])
def test_a_full_disk_below_a_database(tmp_path: Path, jobs: tuple[str, ...]) -> None:
    project = make(tmp_path / "shop", 'DuckDBIOManager("db/shop.duckdb")')
    found = run_twice(project, "db", "size=900k", *jobs)
    assert found.bad[0] == 1, found.bad
    is_told(found.bad[1], "db/shop.duckdb", "No space left on device")
    assert duckdb_rows(project.folder / "seen" / "shop.duckdb").items() <= COMPLETE.items()
    assert list((project.folder / "seen" / "shop.duckdb.stage").glob("*")) == []
    assert found.good[0] == 0, found.good
    assert duckdb_rows(project.folder / "db" / "shop.duckdb") == COMPLETE
    assert project.json("plan")["to_run"] == 0
    project.run("state", "verify")


@needs_mount
@pytest.mark.parametrize("size", ["size=60k", "size=120k", "size=240k"])
def test_a_full_disk_below_the_state(tmp_path: Path, size: str) -> None:
    project = make(tmp_path / "shop", 'ParquetIOManager("lake")')
    found = run_twice(project, ".partita", size)
    assert found.bad[0] in {1, 2}, found.bad
    is_told(found.bad[1], ".partita")
    assert parquet_rows(project.folder / "lake").items() <= COMPLETE.items()
    assert found.good[0] == 0, found.good
    assert parquet_rows(project.folder / "lake") == COMPLETE
    assert project.json("plan")["to_run"] == 0
    project.run("state", "verify")


@needs_mount
@pytest.mark.parametrize(
    ("manager", "place", "named"),
    [
        ('ParquetIOManager("lake")', "lake", "lake can't be written"),
        ('DuckDBIOManager("db/shop.duckdb")', "db", "db/shop.duckdb"),
        ('ParquetIOManager("lake")', ".partita", ".partita"),
    ],
)
def test_a_disk_that_can_only_be_read(
    tmp_path: Path, manager: str, place: str, named: str
) -> None:
    project = make(tmp_path / "shop", manager)
    found = run_twice(project, place, "ro")
    assert found.bad[0] in {1, 2}, found.bad
    is_told(found.bad[1], named)
    assert "ead-only" in found.bad[1] or "read only" in found.bad[1], found.bad[1]
    assert found.good[0] == 0, found.good
    assert project.json("plan")["to_run"] == 0
    project.run("state", "verify")


@pytest.mark.parametrize(
    ("manager", "place", "named"),
    [
        ('ParquetIOManager("lake")', "lake", "lake can't be written: Permission denied"),
        ('DuckDBIOManager("db/shop.duckdb")', "db", "db/shop.duckdb"),
    ],
)
def test_a_folder_that_belongs_to_somebody_else(
    tmp_path: Path, manager: str, place: str, named: str
) -> None:
    project = make(tmp_path / "shop", manager)
    folder = project.folder / place
    folder.mkdir()
    folder.chmod(0o500)
    command = project.command("materialize")
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may write everywhere")
        # Without these two root is like anybody else.
        rights = "-dac_override,-dac_read_search"
        command = ["setpriv", "--bounding-set", rights, "--inh-caps", rights, *command]
    done = subprocess.run(
        command,
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    is_told(done.stdout + done.stderr, named, "ermission denied")
    assert list(folder.iterdir()) == []
    folder.chmod(0o700)
    project.run("materialize")
    assert project.json("plan")["to_run"] == 0
