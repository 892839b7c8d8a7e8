"""kill -9 at random moments of the demo: whatever was being done, one more run makes the tables what they would have been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.acceptance.conftest import Project

pytestmark = pytest.mark.slow

# A few days around the one of 23 hours; every asset has something to do.
SPAN = {"start": "2013-03-08", "end": "2013-03-12"}
SEEDS, KILLS_PER_SEED = range(5), 10
TABLES = (
    "airports",
    "delay_trend",
    "delays_by_carrier",
    "destinations_monthly",
    "flights_clean",
    "flights_daily",
    "weather_daily",
)


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody killed: what it left, and how many seconds it took."""

    content: dict[str, list[tuple[Any, ...]]]
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, copy_flights: Callable[..., Project]
) -> Undisturbed:
    project = copy_flights(tmp_path_factory.mktemp("undisturbed") / "flights", **SPAN)
    began = time.perf_counter()
    project.run("materialize")
    return Undisturbed(content(project), time.perf_counter() - began)


def content(project: Project) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, sorted, and the names of all files of the lake."""
    found = {
        table: project.query(f"select * from {table} order by all", "flights.duckdb")
        for table in TABLES
    }
    lake = project.folder / "lake"
    with duckdb.connect() as connection:
        observations = connection.execute(
            "select * replace (epoch(time_hour)::bigint as time_hour)"
            " from read_parquet(?, hive_partitioning = false) order by all",
            [str(lake / "**" / "*.parquet")],
        )
        found["weather_hourly"] = observations.fetchall()
    # All but the note of what was last compared with the state: it only saves time, and a kill may come before it is written.
    note = lake / ".partita" / "checked"
    found["files"] = sorted(
        (str(path.relative_to(lake)),)
        for path in lake.rglob("*")
        if path.is_file() and note not in path.parents
    )
    return found


def killed_during(project: Project, seconds: float) -> bool:
    """Start a run, kill it after so many seconds; False if it was done before."""
    process = subprocess.Popen(
        project.command("materialize"),
        cwd=project.folder,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)  # the random moment is what this test is about
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_kill_one_more_run_converges(
    tmp_path: Path, copy_flights: Callable[..., Project], undisturbed: Undisturbed, seed: int
) -> None:
    moments = random.Random(seed)  # noqa: S311 - moments, not secrets
    hits = 0
    for number in range(KILLS_PER_SEED):
        project = copy_flights(tmp_path / f"flights-{number}", **SPAN)
        delay = moments.uniform(0, undisturbed.seconds)
        hits += killed_during(project, delay)
        if number % 3 == 2:  # the run that repairs is killed as well
            killed_during(project, moments.uniform(0, undisturbed.seconds))
        where = f"seed {seed}, kill {number} after {delay:.3f} s"
        project.run("materialize")
        found = content(project)
        for name, rows in undisturbed.content.items():
            assert found[name] == rows, f"{name} differs ({where})"
        running = [
            run["run"]
            for run in project.json("runs", "list")["runs"]
            if run["status"] == "running"
        ]
        assert running == [], where
        if number % 5 == 4:
            assert project.json("plan")["to_run"] == 0, where
            assert "in working order" in project.run("doctor").text, where
    assert hits > 0, "no run lasted until its kill"
