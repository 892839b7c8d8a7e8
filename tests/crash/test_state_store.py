"""Processes that write state are killed at random moments, alone and among others: whatever was acknowledged is there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import apsw

from assets_core.model.records import RunStatus, StepOutcome, StepSkipped, StepStatus
from assets_core.state.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NOW = datetime(2025, 3, 1, tzinfo=UTC)
ENDLESS = 1_000_000


@contextmanager
def writer(
    path: Path, name: str, transactions: int, *, due: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.crash.state_store_writer"]
    with subprocess.Popen(
        [*command, str(path), name, str(transactions), *([] if due is None else [str(due)])],
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


def assert_acknowledged(path: Path, acknowledged: list[dict[str, Any]]) -> None:
    """Each acknowledged step is a success under its token, with its two log rows under the seqs that were answered."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        for entry in acknowledged:
            for step_id, token, seqs in zip(
                entry["steps"], entry["tokens"], entry["seqs"], strict=True
            ):
                step = "select status, token from step where id = ?"
                assert connection.execute(step, (step_id,)).fetchall() == [("succeeded", token)]
                log = "select seq, token from materialization where step_id = ? order by seq"
                rows = connection.execute(log, (step_id,)).fetchall()
                assert rows == [(seq, token) for seq in seqs]
    finally:
        connection.close()


def assert_laws(path: Path) -> None:
    """What holds at any moment: no damage, no gap or double in the log, no success without its rows, no rows without one."""
    connection = apsw.Connection(str(path))
    try:
        assert connection.execute("pragma integrity_check").get == "ok"
        assert connection.execute("pragma foreign_key_check").fetchall() == []
        seqs = [row[0] for row in connection.execute("select seq from materialization order by 1")]
        assert seqs == list(range(1, len(seqs) + 1))
        assert connection.execute("select seq from seq_counter").get == len(seqs)
        torn = """
            select step.id from step left join materialization m on m.step_id = step.id
            group by step.id having count(m.seq) <> case step.status when 'succeeded' then 2 else 0 end"""
        assert connection.execute(torn).fetchall() == []
        wrong_order = "select seq from materialization where read_seq >= seq"
        assert connection.execute(wrong_order).fetchall() == []
    finally:
        connection.close()


def test_what_was_acknowledged_survives_kills_at_random_moments(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    random = Random(2025)  # noqa: S311 -- a test's dice
    acknowledged: list[dict[str, Any]] = []
    for number in range(10):
        with writer(path, f"victim-{number}", ENDLESS) as process:
            started, *early = read(process, 1 + random.randrange(4))
            kill_after(process, random.uniform(0, 0.05))
            acknowledged += [*early, *read_rest(process)]
        assert started == {"started": process.pid}
        assert_acknowledged(path, acknowledged)
        assert_laws(path)
    assert len(acknowledged) > 10


def test_kills_between_foldings_leave_chunks_that_are_what_the_log_says(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    random = Random(42)  # noqa: S311 -- a test's dice
    acknowledged: list[dict[str, Any]] = []
    folded = []
    # Folding at every claim, so that about every second kill meets one; another process folds at its own pace beside it.
    with writer(path, "survivor", ENDLESS, due=40) as survivor:
        read(survivor, 2)
        for number in range(10):
            with writer(path, f"victim-{number}", ENDLESS, due=1) as victim:
                read(victim, 2 + random.randrange(4))
                kill_after(victim, random.uniform(0, 0.03))
                acknowledged += [entry for entry in read_rest(victim) if "steps" in entry]
            with SqliteStore(path) as store:
                assert store.verify() == []
                with store._database.read() as cursor:
                    folded.append(cursor.execute("select seq from compaction").get)
        survivor.kill()
        survivor.wait()
    assert folded == sorted(folded)
    assert folded[-1] > 0
    with SqliteStore(path) as store:
        assert store.verify() == []
    assert_acknowledged(path, acknowledged)
    assert_laws(path)


def test_kills_during_creation_leave_a_file_that_the_next_process_uses(tmp_path: Path) -> None:
    random = Random(7)  # noqa: S311 -- a test's dice
    for number in range(8):
        path = tmp_path / f"{number}" / "state.db"
        with writer(path, "victim", ENDLESS) as process:
            # From before Python is up until the first commits.
            kill_after(process, random.uniform(0.05, 0.4))
            said = read_rest(process)
        with writer(path, "successor", 1) as process:
            acknowledged = read_rest(process)
            assert process.wait() == 0
        assert len(acknowledged) == 2
        assert_acknowledged(path, [*said[1:], acknowledged[1]])
        assert_laws(path)


def test_a_crashed_run_can_be_put_right_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with writer(path, "victim", ENDLESS) as process:
        read(process, 3)
        process.kill()
        process.wait()
    with SqliteStore(path) as store:
        (run,) = store.unfinished_runs()
        running = [step for step in store.steps(run.id) if step.status is StepStatus.RUNNING]
        abandoned: list[StepOutcome] = [
            StepSkipped(step.id, step.epoch, StepStatus.ABANDONED, "process died")
            for step in running
        ]
        assert store.record(abandoned, NOW) == [None] * len(running)
        store.finish_run(run.id, RunStatus.CRASHED, NOW)
        assert store.unfinished_runs() == []
    assert_laws(path)


def test_processes_that_write_at_once_never_meet_a_lock_error(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    # All start on a file that is not there: creating it is part of the race.
    with (
        writer(path, "a", 40) as first,
        writer(path, "b", 40) as second,
        writer(path, "c", 40) as third,
    ):
        processes = [first, second, third]
        said = [read_rest(process) for process in processes]
        for process in processes:
            assert process.stderr is not None
            assert process.stderr.read() == ""
            assert process.wait() == 0
    acknowledged = [entry for one in said for entry in one[1:]]
    assert len(acknowledged) == 3 * 40
    for one in said:
        seqs = [seq for entry in one[1:] for pair in entry["seqs"] for seq in pair]
        assert seqs == sorted(seqs)
    answered = [seq for entry in acknowledged for pair in entry["seqs"] for seq in pair]
    assert sorted(answered) == list(range(1, 3 * 40 * 10 + 1))
    assert_acknowledged(path, acknowledged)
    assert_laws(path)


def test_a_killed_writer_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    random = Random(11)  # noqa: S311 -- a test's dice
    acknowledged: list[dict[str, Any]] = []
    with writer(path, "survivor", ENDLESS) as survivor:
        for number in range(5):
            with writer(path, f"victim-{number}", ENDLESS) as victim:
                read(victim, 1 + random.randrange(3))
                kill_after(victim, random.uniform(0, 0.02))
            # What it said before the kill may still wait in the pipe: read on to a commit that came after.
            with SqliteStore(path) as store:
                then = store.snapshot([]).seq
            while not acknowledged or acknowledged[-1]["seqs"][-1][-1] <= then:
                acknowledged += [entry for entry in read(survivor, 1) if "steps" in entry]
        survivor.kill()
        survivor.wait()
        acknowledged += read_rest(survivor)
    assert len(acknowledged) >= 5
    assert_acknowledged(path, acknowledged)
    assert_laws(path)
