"""kill -9 of the coordinator at every failpoint, with steps in processes and with the state in PostgreSQL; `test_failpoints` does so in process.

With PARTITA_CRASHES set, at every passing of every failpoint, on both databases; else at a sample of them.
"""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import TYPE_CHECKING

import pytest

from assets_core.failpoints import PLACES
from tests.crash.drill import (
    ELSEWHERE,
    Drill,
    assert_converged,
    assert_nothing_is_torn,
    make_drill,
    outlived,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = pytest.mark.slow

# Where a step's own process stops; that one dies then, and the coordinator reports it.
OF_A_STEP = "stage.written"
COORDINATOR = [place for place in PLACES if place not in {OF_A_STEP, *ELSEWHERE}]
EVERY_PASSING = bool(os.environ.get("PARTITA_CRASHES"))
SAMPLE = {"state.commit": (2, 5, 8), "state.committed": (4, 7)}
IN_POSTGRES = COORDINATOR if EVERY_PASSING else ["state.commit", "run.published", "recover.judged"]


def kill_at(drill: Drill, place: str, hits: Iterable[int]) -> int:
    """Kill a run at each of these passings of a place, each followed by one that converges; the number of kills. Ends with a run that was not killed."""
    drill.materialize()
    version, kills = 1, 0
    for hit in hits:
        version += 1
        drill.new_version(version)
        if place == "publish.duckdb.created":
            (drill.project.folder / "shop.duckdb").unlink()
        if place.startswith("recover."):
            assert drill.materialize("run.published=kill", code=None).code == -signal.SIGKILL
        armed = f"{place}=kill@{hit}"
        ended = drill.materialize(armed, code=None)
        assert outlived(drill) == [], armed
        if ended.code == 0:
            break
        assert ended.code == -signal.SIGKILL, ended.text
        kills += 1
        if place == "publish.duckdb.created":
            drill.materialize()
            continue
        assert_nothing_is_torn(drill, version, armed)
        drill.materialize()
        assert_converged(drill, version, armed)
    drill.project.run("plan", "--detailed-exitcode")
    return kills


def hits_of(place: str) -> Iterable[int]:
    """Which passings of a place."""
    return count(1) if EVERY_PASSING else SAMPLE.get(place, (1,))


@pytest.mark.parametrize("place", COORDINATOR)
def test_with_steps_in_processes_a_kill_loses_and_doubles_nothing(
    tmp_path: Path, place: str
) -> None:
    drill = make_drill(tmp_path / "shop", "-j", "2")
    assert kill_at(drill, place, hits_of(place)) >= len(SAMPLE.get(place, (1,)))


@pytest.mark.parametrize("jobs", [(), ("-j", "2")], ids=["in process", "-j 2"])
@pytest.mark.parametrize("place", IN_POSTGRES)
def test_with_the_state_in_postgres_a_kill_loses_and_doubles_nothing(
    tmp_path: Path, postgres_url: str, place: str, jobs: tuple[str, ...]
) -> None:
    drill = make_drill(tmp_path / "shop", *jobs, address=postgres_url)
    assert kill_at(drill, place, hits_of(place)) >= len(SAMPLE.get(place, (1,)))


def test_a_step_that_is_killed_fails_alone_and_leaves_nothing(tmp_path: Path) -> None:
    drill = make_drill(tmp_path / "shop", "-j", "2")
    drill.materialize()
    drill.new_version(2)
    ended = drill.materialize(f"{OF_A_STEP}=kill", code=1)
    assert "was ended by SIGKILL" in ended.text
    assert_nothing_is_torn(drill, 2, OF_A_STEP)
    drill.materialize()
    assert_converged(drill, 2, OF_A_STEP)


STARTS_OTHERS = """
import subprocess
import time
from pathlib import Path

import pyarrow as pa

from assets_core import asset


@asset
def hungry() -> pa.Table:
    subprocess.Popen(["sleep", "1000"])
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    Path("ready").touch()
    time.sleep(1000)
    return pa.table({"id": [1]})
"""


def test_what_steps_started_does_not_outlive_a_killed_coordinator(tmp_path: Path) -> None:
    drill = make_drill(tmp_path / "shop", "-j", "2")
    drill.project.write("shop.py", STARTS_OTHERS)
    with drill.start() as run:
        wait_until((drill.project.folder / "ready").exists)
        run.kill()
    assert outlived(drill) == []
