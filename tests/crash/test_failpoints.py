"""kill -9 at every failpoint, every time that it is passed: what is then true is judged from outside, and one more run converges.

The oracle reads the DuckDB file, the Parquet files and the state's log without Partita's own readers.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pyarrow.parquet as pq
import pytest

from assets_core.failpoints import PLACES, FailpointError, parse_failpoints
from assets_core.state.sqlite import SqliteStore
from tests.acceptance.conftest import Project, shop_project

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
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
"""Asset and partition key."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with everything materialized as version 1; tests work on copies of it."""
    project = shop_project(tmp_path_factory.mktemp("prepared") / "shop")
    project.write("shop.py", SHOP)
    project.write("version.txt", "1")
    project.run("materialize")
    project.write("version.txt", "2")
    return project


def visible(project: Project) -> dict[Place, int]:
    """The version that every partition shows, read without Partita. Each holds each row exactly once, all of one version."""
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


def recorded(project: Project) -> Iterator[Place]:
    """Partitions whose version 2 is recorded as made: their last success is of another code or of the second run."""
    path = project.folder / ".partita" / "state.db"
    if not path.exists():
        return
    connection = apsw.Connection(str(path))
    statement = """
        select asset.key, materialization.partition_id, count(*) from materialization
        join asset on asset.id = asset_id where kind = 1 group by 1, 2"""
    for key, partition_id, times in connection.execute(statement).fetchall():
        if times > 1:
            day = "" if key == "total" else str(date(1970, 1, 1) + timedelta(days=partition_id))
            yield key, day
    connection.close()


def leftovers(project: Project) -> list[str]:
    """Files of attempts that are over."""
    folders = [project.folder / "lake" / ".partita", project.folder / "shop.duckdb.stage"]
    return [
        str(path.relative_to(project.folder))
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "checked"
    ]


def converges(project: Project, where: str) -> None:
    """One more run makes everything version 2, and leaves nothing behind."""
    project.run("materialize")
    expected = {("orders", key): 2 for key in DAYS} | {("archive", key): 2 for key in DAYS}
    assert visible(project) == {**expected, ("total", ""): 2}, where
    assert leftovers(project) == [], where
    with SqliteStore(project.folder / ".partita" / "state.db") as store:
        assert store.unfinished_runs() == [], where
        assert store.verify() == [], where
    project.run("plan", "--detailed-exitcode")


def copies(prepared: Project, folder: Path, first: str) -> Iterator[tuple[int, Project]]:
    """Fresh copies of the project, numbered from 1; with `first`, each after a run that was killed there."""
    for number in count(1):
        project = Project(folder / f"shop-{number}")
        shutil.copytree(prepared.folder, project.folder)
        if first:
            assert (
                project.run(
                    "materialize", code=None, env={"PARTITA_FAILPOINTS": f"{first}=kill"}
                ).code
                == -signal.SIGKILL
            )
        yield number, project
        shutil.rmtree(project.folder)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_kill_at_a_failpoint_loses_and_doubles_nothing(
    tmp_path: Path, prepared: Project, place: str
) -> None:
    before = dict.fromkeys(visible(prepared), 1)
    if place == "publish.duckdb.created":
        before = {}
    first = "run.published" if place.startswith("recover.") else ""
    for hit, project in copies(prepared, tmp_path, first):
        if place == "publish.duckdb.created":
            shutil.rmtree(project.folder / ".partita")
            shutil.rmtree(project.folder / "lake")
            (project.folder / "shop.duckdb").unlink()
        armed = f"{place}=kill@{hit}"
        ended = project.run("materialize", code=None, env={"PARTITA_FAILPOINTS": armed})
        if ended.code == 0:
            assert hit > 1, "the place was never passed"
            return
        assert ended.code == -signal.SIGKILL, ended.text
        seen = visible(project)
        for one, version in seen.items():
            assert version in {before.get(one), 2}, (armed, one)
        assert seen.keys() >= before.keys(), armed
        for one in recorded(project):
            assert seen[one] == 2, f"{one} was recorded before it was visible ({armed})"
        converges(project, armed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", [place for place in PLACES if place.startswith(("state.", "stage.", "publish."))]
)
def test_an_error_of_the_disk_is_told_and_the_next_run_converges(
    tmp_path: Path, prepared: Project, place: str
) -> None:
    _, project = next(copies(prepared, tmp_path, first=""))
    if place == "publish.duckdb.created":
        shutil.rmtree(project.folder / ".partita")
        (project.folder / "shop.duckdb").unlink()
    ended = project.run("materialize", code=None, env={"PARTITA_FAILPOINTS": f"{place}=error"})
    assert "please report" not in ended.text, ended.text
    if ended.code != 0:
        assert f"failpoint {place}" in ended.text, ended.text
    converges(project, place)


def test_places_and_actions_are_read() -> None:
    armed = parse_failpoints("run.staged=stop@2, state.commit=kill")
    assert {place: (one.action.value, one.hit) for place, one in armed.items()} == {
        "run.staged": ("stop", 2),
        "state.commit": ("kill", 1),
    }
    assert parse_failpoints("") == {}


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("run.stagd=kill", "'run.stagd', which does not exist", "did you mean run.staged or"),
        ("zzz=kill", "'zzz', which does not exist", "there are state.commit, "),
        ("run.staged", "'run.staged' does not say", "write run.staged=kill"),
        ("run.staged=explode", "does not say", "the actions are kill, stop, error"),
        ("run.staged=kill@0", "does not say", "run.staged=kill@3"),
        ("run.staged=kill@x", "does not say", "run.staged=kill@3"),
    ],
)
def test_a_drill_that_would_test_nothing_is_refused(text: str, told: str, hint: str) -> None:
    with pytest.raises(FailpointError, match=told) as caught:
        parse_failpoints(text)
    assert hint in str(caught.value.hint)


def test_the_command_line_refuses_it_too(project: Project) -> None:
    project.write("shop.py", SHOP)
    project.write("version.txt", "1")
    ended = project.run("materialize", code=2, env={"PARTITA_FAILPOINTS": "run.stagd=kill"})
    assert "did you mean run.staged or" in ended.text
    assert not (project.folder / "shop.duckdb").exists()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return shop_project(tmp_path / "shop")


def test_the_page_about_drills_lists_every_place() -> None:
    page = (ROOT / "docs" / "crash-drills.md").read_text()
    assert all(f"| `{place}` | {told} |" in page for place, told in PLACES.items())
    assert page.count("\n| `") == len(PLACES)


def test_the_commands_of_the_page_about_drills_do_what_it_says(project: Project) -> None:
    project.write("shop.py", SHOP)
    project.write("version.txt", "2")
    page = (ROOT / "docs" / "crash-drills.md").read_text()
    killed, repaired = re.findall(r"^\$ (.*)$", page, re.MULTILINE)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    codes = [
        subprocess.run(
            ["/bin/sh", "-c", f"exec env {line}"],
            cwd=project.folder,
            env={**project.environment(), "PATH": path},
            capture_output=True,
            check=False,
        ).returncode
        for line in (killed, repaired)
    ]
    assert codes == [-signal.SIGKILL, 0]
    assert visible(project)["total", ""] == 2
