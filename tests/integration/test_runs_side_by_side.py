"""Several commands at once on one project: who makes what, who waits for whom, and what becomes of those that die."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from assets_core.state.locks import FileLocks
from tests.integration.busy_project import going, start_detached
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    import subprocess

    from tests.integration.conftest import Shop


def release(busy: Shop) -> None:
    (busy.folder / "hold").unlink()


def until_it_says(process: subprocess.Popen[str], words: str) -> str:
    """Read what it says until these words come; the line."""
    assert process.stderr is not None
    while words not in (told := process.stderr.readline()):
        assert told, f"it ended and never said {words!r}"
    return told


def test_what_another_run_has_not_planned_is_made_at_once(busy: Shop) -> None:
    run = start_detached(busy)
    assert busy.run("materialize", "other", "--json").data["counts"] == {"succeeded": 8}
    assert busy.run("materialize", "other", "--on-conflict", "fail").code == 0
    runs = busy.run("runs", "list", "--json").data["runs"]
    assert {one["run"]: one["status"] for one in runs}[run] == "running"
    assert len(runs) == 2
    release(busy)
    assert busy.run("runs", "watch", run).code == 0


def test_what_another_run_works_on_is_waited_for_and_taken_as_made(busy: Shop) -> None:
    run = start_detached(busy)
    with busy.start("materialize", "fetched", "counted", "--json") as waiting:
        told = until_it_says(waiting, "waits")
        assert f"run {run} works on it" in told or f"run {run} has the slots of pool api" in told
        release(busy)
        out, err = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == 0, err
    busy.run("runs", "watch", run)
    # Whoever made it, it was made once.
    assert len(going(busy)) == 2 * 8
    assert busy.run("plan", "--json").data["to_run"] == 8  # other
    log = busy.run("runs", "logs", "latest").out
    assert "meanwhile" in log
    assert '"succeeded"' in out


def test_runs_share_the_slots_of_a_pool(busy: Shop) -> None:
    start_detached(busy)
    with busy.start("materialize", "fetched", "-j", "4") as second:
        until_it_says(second, "waits")
        release(busy)
        second.communicate(timeout=PATIENCE)
    assert second.returncode == 0
    now = most = 0
    for mark in going(busy):
        now += 1 if mark[0] == "+" else -1
        most = max(most, now)
    assert most == 2


def test_what_another_run_is_to_make_is_left_to_it_if_so_told(busy: Shop) -> None:
    run = start_detached(busy)
    all_of_it = busy.run("materialize", "fetched", "counted", "--on-conflict", "skip")
    assert f"skipped: 16 partitions left to run {run}, which is going on" in all_of_it.err
    assert len(busy.run("runs", "list", "--json").data["runs"]) == 1
    some = busy.run("materialize", "--on-conflict", "skip", "--json").data
    assert some["counts"] == {"succeeded": 8, "skipped": 16}
    assert (
        f"it is left to run {run} (--on-conflict skip)" in busy.run("runs", "logs", "latest").out
    )
    assert len(going(busy)) == 2
    release(busy)
    busy.run("runs", "watch", run)
    assert busy.run("plan", "--json").data["to_run"] == 0


def test_what_another_run_is_to_make_is_an_error_if_so_told(busy: Shop) -> None:
    run = start_detached(busy)
    answer = busy.run("materialize", "--on-conflict", "fail", "--json", code=1)
    assert answer.error["code"] == "conflict"
    assert answer.error["message"].startswith(f"run {run} is to make fetched@2025-01-0")
    assert "and 15 more" in answer.error["message"]
    assert f"partita runs watch {run}" in answer.error["hint"]
    assert len(busy.run("runs", "list", "--json").data["runs"]) == 1
    release(busy)
    busy.run("runs", "watch", run)
    assert busy.run("materialize", "--on-conflict", "fail").code == 0


def test_what_is_forced_is_made_again_after_the_other_run_made_it(busy: Shop) -> None:
    run = start_detached(busy)
    with busy.start("materialize", "fetched", "--force", "--json") as second:
        until_it_says(second, "waits")
        release(busy)
        out, _ = second.communicate(timeout=PATIENCE)
    assert json.loads(out)["data"]["counts"] == {"succeeded": 8}, "it made all of it itself"
    busy.run("runs", "watch", run)
    # What the first run was at is made twice; of the rest it may find some made, and takes that.
    assert 2 * (8 + 2) <= len(going(busy)) <= 2 * 16


def test_a_run_that_waits_for_a_killed_one_settles_it_and_makes_the_rest(busy: Shop) -> None:
    run = start_detached(busy)
    with busy.start("materialize", "fetched", "counted", "--json") as second:
        until_it_says(second, "waits")
        (first,) = [
            one for one in FileLocks(busy.folder / ".partita").holders() if one.run_id == run
        ]
        os.kill(first.process_id, signal.SIGKILL)
        until_it_says(second, f"recovered: run {run}")
        release(busy)
        second.communicate(timeout=PATIENCE)
    assert second.returncode == 0
    statuses = {
        one["run"]: one["status"] for one in busy.run("runs", "list", "--json").data["runs"]
    }
    assert statuses.pop(run) == "crashed"
    assert list(statuses.values()) == ["succeeded"]
    assert busy.run("plan", "fetched", "counted", "--json").data["to_run"] == 0


def test_each_of_two_runs_is_cancelled_by_its_own_id(busy: Shop) -> None:
    first = start_detached(busy)
    second = busy.run("backfill", "fetched", "2025-01", "--force", "--detach", "--json").data[
        "run"
    ]
    assert busy.run("runs", "cancel", second, "--json").data["status"] == "cancelled"
    assert busy.run("doctor").out.count("is going on in process") == 1
    assert busy.run("runs", "cancel", first, "--json").data["status"] == "cancelled"
    assert FileLocks(busy.folder / ".partita").holders() == []


@pytest.mark.parametrize("command", [("mark-current", "*"), ("state", "gc")])
def test_upkeep_does_not_wait_for_runs(busy: Shop, command: tuple[str, ...]) -> None:
    run = start_detached(busy)
    assert busy.run(*command).code == 0
    release(busy)
    assert busy.run("runs", "watch", run).code == 0
    assert busy.run("state", "verify").code == 0


def test_beginning_anew_waits_for_every_run(busy: Shop) -> None:
    run = start_detached(busy)
    with busy.start("state", "restart", "fetched", "--yes") as process:
        assert run in until_it_says(process, "waiting for")
        release(busy)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert busy.run("plan", "fetched", "--json").data["to_run"] == 8
