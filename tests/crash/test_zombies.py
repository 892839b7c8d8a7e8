"""A coordinator that is halted at a durable act, taken for dead, and wakes up when another process has done its work.

With the state in a file nobody can take it for dead: its locks hold as long as it lives, and others do the rest. In PostgreSQL its
sessions are ended, as the server does for a machine that vanished, so that the other run may take it over. With PARTITA_CRASHES set at every place in every
way, else at a sample.
"""

from __future__ import annotations

import os
import select
import signal
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import postgres
from tests.crash.drill import (
    PATIENCE_SECONDS,
    Drill,
    assert_converged,
    assert_nothing_is_torn,
    make_drill,
    tokens_recorded,
    tokens_there,
    visible,
    wait_until,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

# Those that hold no lock on the machine itself: the other run does its whole work meanwhile.
FREE = {
    "state.commit": 5,
    "state.committed": 5,
    "stage.written": 1,
    "run.claimed": 1,
    "run.staged": 1,
    "run.published": 1,
    "run.recorded": 2,
}
# Those that hold the destination's: the other run waits there.
HOLDING = (
    "publish.duckdb.created",
    "publish.duckdb.commit",
    "publish.duckdb.committed",
    "publish.duckdb.closed",
    "publish.parquet.rename",
    "publish.parquet.renamed",
)

EVERYWHERE = bool(os.environ.get("PARTITA_CRASHES"))
WITH_PROCESSES = tuple(FREE) if EVERYWHERE else ("run.staged",)
SAMPLE = ("state.commit", "run.staged", "publish.duckdb.commit", "publish.parquet.rename")
IN_A_FILE = (*FREE, *HOLDING) if EVERYWHERE else SAMPLE
WAYS = [(place, ()) for place in FREE] + [
    (place, ("-j", "2")) for place in WITH_PROCESSES if place != "stage.written"
]
"""Not with processes where a step's own would stand still."""
UNPUBLISHED = WAYS if EVERYWHERE else [("run.claimed", ()), ("run.staged", ())]
HALF_PUBLISHED = HOLDING if EVERYWHERE else ("publish.duckdb.commit", "publish.parquet.rename")


@pytest.fixture
def own_database(postgres_server: str) -> Iterator[str]:
    """The address of a state in a database that nobody else uses."""
    name = f"zombie_{uuid.uuid4().hex}"
    postgres.execute(postgres_server, f"create database {name}")
    try:
        yield postgres.in_schema(postgres.in_database(postgres_server, name), "shop")
    finally:
        postgres.execute(postgres_server, f"drop database {name} with (force)")


def end_sessions(drill: Drill) -> None:
    """What the server does about a machine that vanished."""
    drill.ask(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )


@contextmanager
def halted(drill: Drill, failpoints: str) -> Iterator[subprocess.Popen[str]]:
    """A run that stands still there."""
    with drill.start(failpoints) as zombie:
        try:
            found = os.waitid(os.P_PID, zombie.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            assert found is not None
            assert found.si_code == os.CLD_STOPPED, "the place was never passed"
            yield zombie
        finally:
            zombie.kill()


def wake(zombie: subprocess.Popen[str]) -> tuple[int, str]:
    """Let it go on; its exit code, and what it said."""
    zombie.send_signal(signal.SIGCONT)
    out, err = zombie.communicate(timeout=PATIENCE_SECONDS)
    return zombie.returncode, out + err


def waits_for_a_lock(process: subprocess.Popen[str]) -> bool:
    """True if it stands in flock(2), or has ended."""
    blocked = [
        line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" in line
    ]
    return process.poll() is not None or any(str(process.pid) in words for words in blocked)


def everything(drill: Drill) -> list[Any]:
    """All that a zombie could change."""
    log = drill.ask("select seq, step_id, partition_id, token from materialization order by seq")
    steps = drill.ask("select id, epoch, status, token from step order by id")
    runs = drill.ask("select id, status from run order by number")
    files = {
        str(path): path.stat().st_mtime_ns
        for path in (drill.project.folder / "lake").rglob("*.parquet")
    }
    return [visible(drill.project), tokens_there(drill.project), log, steps, runs, files]


@pytest.mark.parametrize(
    ("place", "jobs"), WAYS, ids=[" ".join((place, *jobs)) for place, jobs in WAYS]
)
def test_a_zombie_whose_work_another_run_did_changes_nothing_and_says_so(
    tmp_path: Path, own_database: str, place: str, jobs: tuple[str, ...]
) -> None:
    drill = make_drill(tmp_path / "shop", *jobs, address=own_database)
    drill.materialize()
    drill.new_version(2)
    with halted(drill, f"{place}=stop@{FREE[place]}") as zombie:
        end_sessions(drill)
        assert "recovered" in drill.materialize().text
        before = everything(drill)
        code, told = wake(zombie)
    assert (code, "Traceback" in told, "please report" in told) == (1, False, False), told
    assert "was taken over by another process" in told
    assert everything(drill) == before
    assert_converged(drill, 2, place)


@pytest.mark.parametrize(
    ("place", "jobs"),
    UNPUBLISHED,
    ids=[" ".join((place, *jobs)) for place, jobs in UNPUBLISHED],
)
def test_a_zombie_whose_run_was_settled_and_not_made_again_changes_nothing(
    tmp_path: Path, own_database: str, place: str, jobs: tuple[str, ...]
) -> None:
    """Nothing newer is at the destinations that would keep it out: whoever settled its run did nothing else."""
    drill = make_drill(tmp_path / "shop", *jobs, address=own_database)
    drill.materialize()
    drill.new_version(2)
    with halted(drill, f"{place}=stop@{FREE[place]}") as zombie:
        end_sessions(drill)
        assert "recovered" in drill.project.run("state", "gc").text
        before = everything(drill)
        code, told = wake(zombie)
    assert (code, "Traceback" in told, "please report" in told) == (1, False, False), told
    assert "was taken over by another process" in told
    assert everything(drill) == before
    drill.materialize()
    assert_converged(drill, 2, place)


def begun(folder: Path, address: str, place: str) -> tuple[Drill, int]:
    """A drill, and the version that its next run makes: the first, where the place is passed only once."""
    drill = make_drill(folder / "shop", address=address)
    if place == "publish.duckdb.created":
        return drill, 1
    drill.materialize()
    drill.new_version(2)
    return drill, 2


@pytest.mark.parametrize("place", HALF_PUBLISHED)
def test_a_zombie_that_holds_the_destination_is_settled_as_what_it_does_there(
    tmp_path: Path, own_database: str, place: str
) -> None:
    drill, version = begun(tmp_path, own_database, place)
    with halted(drill, f"{place}=stop") as zombie:
        end_sessions(drill)
        with drill.start_command("state", "gc") as other:
            wait_until(lambda: waits_for_a_lock(other))
            code, told = wake(zombie)
            out, err = other.communicate(timeout=PATIENCE_SECONDS)
    assert other.returncode == 0, out + err
    # It is faster with the record, or the other one is.
    assert code in {0, 1}, told
    assert "Traceback" not in told + out + err
    assert "please report" not in told
    if version == 2:
        assert tokens_recorded(drill) == tokens_there(drill.project)
    drill.materialize()
    assert_converged(drill, version, place)


@pytest.mark.parametrize("place", HOLDING)
def test_beside_a_zombie_that_holds_the_destination_another_run_waits_and_both_end_well(
    tmp_path: Path, own_database: str, place: str
) -> None:
    drill, version = begun(tmp_path, own_database, place)
    with halted(drill, f"{place}=stop") as zombie:
        end_sessions(drill)
        with drill.start() as other:
            wait_until(lambda: waits_for_a_lock(other))
            code, told = wake(zombie)
            out, err = other.communicate(timeout=PATIENCE_SECONDS)
    assert other.returncode == 0, out + err
    assert code in {0, 1}, told
    assert "Traceback" not in told + out + err
    assert "please report" not in told
    drill.materialize()
    assert_converged(drill, version, place)


@pytest.mark.parametrize("place", IN_A_FILE)
def test_with_the_state_in_a_file_nobody_takes_over_what_a_halted_run_works_on(
    tmp_path: Path, place: str
) -> None:
    drill = make_drill(tmp_path / "shop")
    version = 1
    if place != "publish.duckdb.created":
        drill.materialize()
        version = 2
        drill.new_version(2)
    with halted(drill, f"{place}=stop@{FREE.get(place, 1)}") as zombie:
        its_steps = "select step.* from step join run on run.number = step.run where run.id = "
        [(its_run,)] = drill.ask("select id from run where status = 'running'") or [(None,)]
        before = drill.ask(f"{its_steps}'{its_run}'")
        with drill.start() as other:
            # It says for whom it waits, stands before the lock of the destination or of the state's writers, or is done with all.
            said = b""

            def waits() -> bool:
                nonlocal said
                assert other.stderr is not None
                while select.select([other.stderr], [], [], 0)[0]:
                    text = os.read(other.stderr.fileno(), 65_536)
                    said += text
                    if not text:
                        break
                return b"waits " in said or waits_for_a_lock(other)

            wait_until(waits)
            if its_run is not None:
                assert (its_run,) in drill.ask("select id from run where status = 'running'")
            assert drill.ask(f"{its_steps}'{its_run}'") == before
            code, told = wake(zombie)
            out, err = other.communicate(timeout=PATIENCE_SECONDS)
    assert code == 0, told
    assert other.returncode == 0, said.decode() + out + err
    assert "recovered" not in said.decode() + err
    assert_nothing_is_torn(drill, version, place)
    assert_converged(drill, version, place)
