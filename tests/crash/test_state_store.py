"""Processes that write state are killed at random moments, alone and among others: whatever was acknowledged is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from assets_core.model.records import RunStatus, StepOutcome, StepSkipped, StepStatus
from assets_core.state.postgres_address import is_address
from tests import postgres
from tests.crash.state_store_writer import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NOW = datetime(2025, 3, 1, tzinfo=UTC)
ENDLESS = 1_000_000
TRANSACTIONS = int(os.environ.get("PARTITA_TEST_TRANSACTIONS", "120"))
"""Of all processes that write at once together; each records ten partitions: 20,000 of them with 2,000. For a drill of an hour, ask for 200,000."""


@contextmanager
def writer(
    place: str, name: str, transactions: int, *, due: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.crash.state_store_writer"]
    with subprocess.Popen(
        [*command, place, name, str(transactions), *([] if due is None else [str(due)])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read(process: subprocess.Popen[str], lines: int) -> list[dict[str, Any]]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline()) for _ in range(lines)]


def read_rest(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """What it said before it died; its last line may be cut off."""
    assert process.stdout is not None
    lines = process.stdout.read().split("\n")
    return [json.loads(line) for line in lines[:-1]]


def kill_after(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a state is to be that does not exist yet: a file, or an address."""
    if request.param == "sqlite":
        return str(tmp_path / "state.db")
    url: str = request.getfixturevalue("postgres_url")
    return url


def ask(place: str, statement: str) -> list[tuple[Any, ...]]:
    """What the database itself says."""
    if is_address(place):
        return postgres.execute(place, statement)
    connection = apsw.Connection(place, flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def remove(place: str) -> None:
    """Let the state not exist."""
    if is_address(place):
        schema = place.rpartition("=")[2]
        postgres.execute(place, f"drop schema if exists {schema} cascade")
    else:
        for path in Path(place).parent.glob("state.db*"):
            path.unlink()


def assert_acknowledged(place: str, acknowledged: list[dict[str, Any]]) -> None:
    """Each acknowledged step is a success under its token, with its two log rows under the seqs that were answered."""
    steps = {
        step_id: (status, token)
        for step_id, status, token in ask(place, "select id, status, token from step")
    }
    log: dict[int, list[tuple[int, str]]] = {}
    for step_id, seq, token in ask(
        place, "select step_id, seq, token from materialization order by seq"
    ):
        log.setdefault(step_id, []).append((seq, token))
    for entry in acknowledged:
        for step_id, token, seqs in zip(
            entry["steps"], entry["tokens"], entry["seqs"], strict=True
        ):
            assert steps[step_id] == ("succeeded", token)
            assert log[step_id] == [(seq, token) for seq in seqs]


def assert_laws(place: str) -> None:
    """What holds at any moment: no damage, no gap or double in the log, no success without its rows, no rows without one."""
    with open_store(place) as store:
        assert store.verify() == []
    seqs = [row[0] for row in ask(place, "select seq from materialization order by 1")]
    assert seqs == list(range(1, len(seqs) + 1))
    assert ask(place, "select seq from seq_counter") == [(len(seqs),)]
    torn = """
        select step.id from step left join materialization m on m.step_id = step.id
        group by step.id having count(m.seq) <> case step.status when 'succeeded' then 2 else 0 end"""
    assert ask(place, torn) == []
    assert ask(place, "select seq from materialization where read_seq >= seq") == []


def test_what_was_acknowledged_survives_kills_at_random_moments(place: str) -> None:
    random = Random(2025)  # noqa: S311 -- a test's dice
    acknowledged: list[dict[str, Any]] = []
    for number in range(10):
        with writer(place, f"victim-{number}", ENDLESS) as process:
            started, *early = read(process, 1 + random.randrange(4))
            kill_after(process, random.uniform(0, 0.05))
            acknowledged += [*early, *read_rest(process)]
        assert started == {"started": process.pid}
        assert_acknowledged(place, acknowledged)
        assert_laws(place)
    assert len(acknowledged) > 10


def test_kills_between_foldings_leave_chunks_that_are_what_the_log_says(place: str) -> None:
    random = Random(42)  # noqa: S311 -- a test's dice
    acknowledged: list[dict[str, Any]] = []
    folded = []
    # Folding at every claim, so that about every second kill meets one; another process folds at its own pace beside it.
    with writer(place, "survivor", ENDLESS, due=40) as survivor:
        read(survivor, 2)
        for number in range(10):
            with writer(place, f"victim-{number}", ENDLESS, due=1) as victim:
                read(victim, 2 + random.randrange(4))
                kill_after(victim, random.uniform(0, 0.03))
                acknowledged += [entry for entry in read_rest(victim) if "steps" in entry]
            with open_store(place) as store:
                assert store.verify() == []
                with store._database.read() as cursor:
                    folded.append(cursor.execute("select seq from compaction").get)
        survivor.kill()
        survivor.wait()
    assert folded == sorted(folded)
    assert folded[-1] > 0
    with open_store(place) as store:
        assert store.verify() == []
    assert_acknowledged(place, acknowledged)
    assert_laws(place)


def test_kills_during_creation_leave_what_the_next_process_uses(place: str) -> None:
    random = Random(7)  # noqa: S311 -- a test's dice
    for _ in range(8):
        remove(place)
        with writer(place, "victim", ENDLESS) as process:
            # From before Python is up until the first commits.
            kill_after(process, random.uniform(0.05, 0.4))
            said = read_rest(process)
        with writer(place, "successor", 1) as process:
            acknowledged = read_rest(process)
            assert process.wait() == 0
        assert len(acknowledged) == 2
        assert_acknowledged(place, [*said[1:], acknowledged[1]])
        assert_laws(place)


def test_a_crashed_run_can_be_put_right_by_the_next_process(place: str) -> None:
    with writer(place, "victim", ENDLESS) as process:
        read(process, 3)
        process.kill()
        process.wait()
    with open_store(place) as store:
        (run,) = store.unfinished_runs()
        running = [step for step in store.steps(run.id) if step.status is StepStatus.RUNNING]
        abandoned: list[StepOutcome] = [
            StepSkipped(step.id, step.epoch, StepStatus.ABANDONED, "process died")
            for step in running
        ]
        assert store.record(abandoned, NOW) == [None] * len(running)
        store.finish_run(run.id, RunStatus.CRASHED, NOW)
        assert store.unfinished_runs() == []
    assert_laws(place)


@pytest.mark.parametrize(
    ("place", "processes"),
    [("sqlite", 3), ("sqlite", 16), ("postgres", 3), ("postgres", 8)],
    indirect=["place"],
)
def test_processes_that_write_at_once_never_meet_a_lock_error(place: str, processes: int) -> None:
    transactions = TRANSACTIONS // processes
    with ExitStack() as stack:
        # All start on a state that is not there: creating it is part of the race.
        writers = [
            stack.enter_context(writer(place, f"writer-{number}", transactions))
            for number in range(processes)
        ]
        said = [read_rest(process) for process in writers]
        for process in writers:
            assert process.stderr is not None
            assert process.stderr.read() == ""
            assert process.wait() == 0
    acknowledged = [entry for one in said for entry in one[1:]]
    assert len(acknowledged) == processes * transactions
    for one in said:
        seqs = [seq for entry in one[1:] for pair in entry["seqs"] for seq in pair]
        assert seqs == sorted(seqs)
    answered = [seq for entry in acknowledged for pair in entry["seqs"] for seq in pair]
    assert sorted(answered) == list(range(1, processes * transactions * 10 + 1))
    assert_acknowledged(place, acknowledged)
    assert_laws(place)


def test_a_killed_writer_holds_up_nobody(place: str) -> None:
    random = Random(11)  # noqa: S311 -- a test's dice
    acknowledged: list[dict[str, Any]] = []
    with writer(place, "survivor", ENDLESS) as survivor:
        for number in range(5):
            with writer(place, f"victim-{number}", ENDLESS) as victim:
                read(victim, 1 + random.randrange(3))
                kill_after(victim, random.uniform(0, 0.02))
            # What it said before the kill may still wait in the pipe: read on to a commit that came after.
            with open_store(place) as store:
                then = store.snapshot([]).seq
            while not acknowledged or acknowledged[-1]["seqs"][-1][-1] <= then:
                acknowledged += [entry for entry in read(survivor, 1) if "steps" in entry]
        survivor.kill()
        survivor.wait()
        acknowledged += read_rest(survivor)
    assert len(acknowledged) >= 5
    assert_acknowledged(place, acknowledged)
    assert_laws(place)
