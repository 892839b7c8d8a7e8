"""kill -9 at every failpoint, every time that it is passed: what is then true is judged from outside, and one more run converges.

Project and oracle are in `drill`. With steps in processes and with PostgreSQL: `test_coordinator_kills`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from assets_core.failpoints import PLACES, FailpointError, parse_failpoints
from tests.acceptance.conftest import Project, shop_project
from tests.crash.drill import (
    ELSEWHERE,
    SHOP,
    Drill,
    assert_converged,
    assert_nothing_is_torn,
    copy_of,
    make_drill,
    visible,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Drill:
    """The project with everything materialized as version 1; tests work on copies of it."""
    drill = make_drill(tmp_path_factory.mktemp("prepared") / "shop")
    drill.materialize()
    drill.new_version(2)
    return drill


def copies(prepared: Drill, folder: Path, first: str) -> Iterator[tuple[int, Drill]]:
    """Fresh copies of the project, numbered from 1; with `first`, each after a run that was killed there."""
    for number in count(1):
        drill = copy_of(prepared, folder / f"shop-{number}")
        if first:
            assert drill.materialize(f"{first}=kill", code=None).code == -signal.SIGKILL
        yield number, drill
        shutil.rmtree(drill.project.folder)


def begin_anew(drill: Drill) -> None:
    """No database file, no state, no rows: for what happens only while a file is made."""
    for name in (".partita", "lake"):
        shutil.rmtree(drill.project.folder / name)
    (drill.project.folder / "shop.duckdb").unlink()
    drill.new_version(1)


@pytest.mark.slow
@pytest.mark.parametrize("place", [place for place in PLACES if place not in ELSEWHERE])
def test_a_kill_at_a_failpoint_loses_and_doubles_nothing(
    tmp_path: Path, prepared: Drill, place: str
) -> None:
    first = "run.published" if place.startswith("recover.") else ""
    for hit, drill in copies(prepared, tmp_path, first):
        version = 2
        if place == "publish.duckdb.created":
            version = 1
            begin_anew(drill)
        armed = f"{place}=kill@{hit}"
        ended = drill.materialize(armed, code=None)
        if ended.code == 0:
            assert hit > 1, "the place was never passed"
            return
        assert ended.code == -signal.SIGKILL, ended.text
        assert_nothing_is_torn(drill, version, armed)
        drill.materialize()
        assert_converged(drill, version, armed)
        drill.project.run("plan", "--detailed-exitcode")


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [
        place
        for place in PLACES
        if place.startswith(("state.", "stage.", "publish.")) and place not in ELSEWHERE
    ],
)
def test_an_error_of_the_disk_is_told_and_the_next_run_converges(
    tmp_path: Path, prepared: Drill, place: str
) -> None:
    _, drill = next(copies(prepared, tmp_path, first=""))
    version = 2
    if place == "publish.duckdb.created":
        version = 1
        begin_anew(drill)
    ended = drill.materialize(f"{place}=error", code=None)
    assert "please report" not in ended.text, ended.text
    if ended.code != 0:
        assert f"failpoint {place}" in ended.text, ended.text
    assert_nothing_is_torn(drill, version, place)
    drill.materialize()
    assert_converged(drill, version, place)


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
