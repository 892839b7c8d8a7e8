"""Several steps at once from the command line, and runs that are watched, stopped, resumed and started in the background."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from assets_core.state.locks import FileLocks
from tests.integration.busy_project import going, start_detached
from tests.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from tests.integration.conftest import Shop


def test_steps_run_side_by_side_in_other_processes_and_no_more_than_their_pool_has_slots(
    busy: Shop,
) -> None:
    data = busy.run("materialize", "-j", "4", "--json").data
    assert data["counts"] == {"succeeded": 24}
    marks = going(busy)
    assert len({mark[1:] for mark in marks}) == 8
    now = most = 0
    for mark in marks:
        now += 1 if mark[0] == "+" else -1
        most = max(most, now)
    assert 1 <= most <= 2
    assert "all up to date" in busy.run("materialize", "-j", "4").out


def test_the_setting_chooses_processes_as_well(busy: Shop) -> None:
    busy.write(
        "pyproject.toml",
        '[tool.partita]\ndefinitions = "assets"\nexecutor = "process"\njobs = 2\n',
    )
    busy.run("materialize", "fetched")
    assert len({mark[1:] for mark in going(busy)}) == 8


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('executor = "proces"', 'did you mean "process"?'),
        ("jobs = 0", "greater than 0"),
        ('job = "2"', "did you mean jobs?"),
    ],
)
def test_a_setting_that_can_not_be_is_told(busy: Shop, line: str, told: str) -> None:
    busy.write("pyproject.toml", f'[tool.partita]\ndefinitions = "assets"\n{line}\n')
    answer = busy.run("materialize", code=2)
    assert told in answer.err
    assert "pyproject.toml" in answer.err


def test_jobs_must_be_a_number_of_one_or_more(busy: Shop) -> None:
    assert "--jobs" in busy.run("materialize", "-j", "0", code=2).err


def test_an_unknown_or_empty_pool_is_told_with_what_to_write(busy: Shop) -> None:
    busy.edit("assets.py", 'pools={"api": 2}', 'pools={"apis": 0}')
    answer = busy.run("plan", code=2)
    assert "pools['apis'] is 0" in answer.err
    assert "pool='api', and there is no pool of that name" in answer.err
    assert "apis" in answer.err.partition("no pool of that name")[2]


def test_memory_of_one_process_is_refused_where_steps_run_in_others(busy: Shop) -> None:
    busy.edit(
        "assets.py",
        'pools={"api": 2})',
        'pools={"api": 2}, io_managers={"default": MemoryIOManager()})',
    )
    busy.edit(
        "assets.py",
        "import pyarrow as pa",
        "import pyarrow as pa\nfrom io_managers import MemoryIOManager",
    )
    answer = busy.run("materialize", "-j", "2", code=2)
    assert "kept in the memory of one process" in answer.err
    assert "leave -j out" in answer.err
    busy.run("materialize")
    busy.edit(
        "assets.py",
        "@asset(partitions=days)\ndef other",
        "@asset(partitions=days, timeout=timedelta(hours=1))\ndef other",
    )
    answer = busy.run("materialize", code=2)
    assert "'other' has a timeout" in answer.err
    assert "leave its timeout out" in answer.err


def test_a_failure_in_another_process_is_told_like_one_here(busy: Shop) -> None:
    busy.write("sick", "03")
    told = [
        busy.run("materialize", "fetched", "counted", *jobs, code=1).err
        for jobs in (("--force",), ("--force", "-j", "2"))
    ]
    for one in told:
        assert "ValueError: the service is down" in one
        assert "assets_core" not in one


def test_a_detached_run_outlives_its_command_and_is_watched_to_its_end(busy: Shop) -> None:
    run = start_detached(busy)
    assert busy.run("runs", "list", "--json").data["runs"][0]["status"] == "running"
    watching = busy.start("runs", "watch", run)
    (busy.folder / "hold").unlink()
    out, err = watching.communicate(timeout=PATIENCE)
    assert watching.returncode == 0, err
    assert "succeeded: 16 succeeded" in err
    assert "succeeded" in out
    assert "all up to date" in busy.run("materialize", "fetched", "counted").out


def test_a_detached_command_that_can_not_start_says_why(busy: Shop) -> None:
    answer = busy.run("backfill", "fetchd", "2025-01", "--detach", code=2)
    assert "fetched" in answer.err
    busy.run("backfill", "other", "2025-01")
    assert "all up to date" in busy.run("backfill", "other", "2025-01", "--detach").err


def test_cancel_stops_a_run_and_resume_does_the_rest(busy: Shop) -> None:
    run = start_detached(busy)
    cancelled = busy.run("runs", "cancel", run, "--json").data
    assert cancelled["status"] == "cancelled"
    assert busy.run("runs", "watch", run, code=130).code == 130
    (busy.folder / "hold").unlink()
    assert busy.run("runs", "resume", run, "--json").data["counts"] == {"succeeded": 16}
    # `other` was never part of it.
    assert "other" not in busy.run("runs", "show", "latest").out
    assert "nothing to run: nothing is left of it" in busy.run("runs", "resume", run).out


def test_cancel_now_kills_and_settles(busy: Shop) -> None:
    run = start_detached(busy)
    assert busy.run("runs", "cancel", run, "--now", "--json").data["status"] == "crashed"
    (busy.folder / "hold").unlink()
    assert busy.run("runs", "resume", run, "--json").data["counts"] == {"succeeded": 16}


def test_a_killed_run_is_settled_by_cancel_as_well(busy: Shop) -> None:
    run = start_detached(busy)
    process = busy.run("runs", "list", "--json").data["runs"][0]
    assert process["status"] == "running"
    os.kill(FileLocks(busy.folder / ".partita").holders()[0].process_id, signal.SIGKILL)
    assert busy.run("runs", "watch", run, code=1).code == 1
    assert busy.run("runs", "cancel", run, "--json").data["status"] == "crashed"


def test_retry_runs_what_failed_and_what_that_held_up(busy: Shop) -> None:
    busy.write("sick", "03")
    failed = busy.run("materialize", "fetched", "counted", "--json", code=1).data
    assert failed["counts"] == {"succeeded": 14, "failed": 1, "skipped": 1}
    (busy.folder / "sick").unlink()
    before = len(going(busy))
    again = busy.run("runs", "retry", failed["run"], "--json").data
    assert again["counts"] == {"succeeded": 2}
    assert len(going(busy)) == before + 2
    assert busy.run("runs", "retry", failed["run"], "--json").data["status"] == "nothing_to_do"


def test_what_was_forced_is_forced_again_where_it_was_not_done(busy: Shop) -> None:
    busy.run("materialize", "fetched")
    busy.write("sick", "03")
    failed = busy.run("materialize", "fetched", "--force", "--json", code=1).data
    (busy.folder / "sick").unlink()
    before = len(going(busy))
    assert busy.run("runs", "resume", failed["run"], "--json").data["counts"] == {"succeeded": 1}
    assert len(going(busy)) == before + 2


def test_a_run_that_is_going_on_can_not_be_resumed_and_an_ended_one_not_cancelled(
    busy: Shop,
) -> None:
    run = start_detached(busy)
    answer = busy.run("runs", "resume", run, code=2)
    assert f"partita runs watch {run}" in answer.err
    (busy.folder / "hold").unlink()
    busy.run("runs", "watch", run)
    answer = busy.run("runs", "cancel", run, code=2)
    assert f"run {run} has ended already: it succeeded" in answer.err


def test_ctrl_c_ends_steps_in_other_processes(busy: Shop) -> None:
    (busy.folder / "hold").touch()
    running = busy.start("materialize", "fetched", "-j", "2")
    wait_until(lambda: len(going(busy)) == 2, "no step started")
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130, err
    for mark in going(busy):
        state = Path(f"/proc/{mark[1:]}")
        wait_until(lambda gone=state: not gone.exists(), "a step lives on")
    statuses = {
        step["status"] for step in busy.run("runs", "show", "latest", "--json").data["steps"]
    }
    assert statuses == {"cancelled"}
