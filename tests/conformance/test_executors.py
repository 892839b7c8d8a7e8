"""The executors keep the contract of the port, and those with processes of their own put an end to everything that a step does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from assets_core.execution.executors import Failed, InProcessExecutor
from assets_core.execution.process_executor import LimitingExecutor, ProcessExecutor
from assets_core.execution.worker import Produced, Worker
from assets_core.model.errors import PartitaError
from cli.project import Project
from cli.project.execution import loading_of, logger_of
from cli.project.location import find_location
from tests.conformance.executor_suite import ExecutorSuite
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets_core.authoring.definitions import Resolved
    from assets_core.execution.executors import Executor
    from assets_core.execution.process_executor import Loading
    from tests.conformance.executor_suite import Stage

LIMITED = """
    import os, signal, subprocess, sys, time
    from dataclasses import replace
    from assets_core import Definitions, load_assets
    from io_managers import DuckDBIOManager
    from datetime import timedelta
    from pathlib import Path

    short = timedelta(seconds=1)

    @asset(timeout=short)
    def hanging() -> None:
        try:
            time.sleep(1000)
        finally:
            Path("finally").touch()

    @asset(timeout=short)
    def stubborn() -> None:
        while True:
            try:
                time.sleep(1000)
            except KeyboardInterrupt:
                print("never")

    def half() -> pa.Table:
        rows = ["first page"]
        try:
            Path("started").touch()
            time.sleep(1000)
            rows.append("second page")
        except:
            pass
        return pa.table({"x": rows})

    swallowing = asset(name="swallowing")(half)
    late_and_swallowing = asset(name="late_and_swallowing", timeout=short)(half)

    def note(process: int) -> None:
        with open("processes", "a") as file:
            file.write(f"{process}\\n")

    @asset(timeout=short)
    def parent() -> None:
        note(subprocess.Popen(["sleep", "1000"]).pid)
        note(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid)
        time.sleep(1000)

    @asset
    def leaving_somebody_behind() -> None:
        note(subprocess.Popen(["sleep", "1000"]).pid)

    @asset(memory="300MiB")
    def greedy() -> pa.Table:
        return pa.table({"x": bytearray(2**30)})

    @asset
    def killed() -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    class Odd(DuckDBIOManager):
        def stage(self, request, stream):
            return replace(super().stage(request, stream), content=lambda: None)

    class Broken(DuckDBIOManager):
        def read_staged(self, staged):
            raise KeyError("no such thing")

    @asset(io_manager="odd")
    def oddly_staged() -> pa.Table:
        return pa.table({"x": [1]})

    @asset(io_manager="broken")
    def badly_read() -> pa.Table:
        return pa.table({"x": [1]})

    @asset_check(badly_read)
    def looked_at(badly_read: pa.Table) -> bool:
        return True

    @asset
    def exiting() -> None:
        os._exit(7)

    @asset
    def chatty() -> None:
        for _ in range(40_000):
            print("x" * 99)

    @asset
    def binary() -> None:
        os.write(1, b"\\xff\\x00 \\x1b[31m\\n")
        subprocess.run(["echo", "from a child"], check=True)

    @asset
    def patient() -> None:
        Path("started").touch()
        time.sleep(1000)

    defs = Definitions(
        assets=load_assets(__name__),
        io_managers={
            "default": DuckDBIOManager(".partita/data.duckdb"),
            "odd": Odd(".partita/odd.duckdb"),
            "broken": Broken(".partita/broken.duckdb"),
        },
    )
"""


def _gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def assert_all_end(processes: list[int]) -> None:
    """Wait until these processes have ended; if they don't, end them."""
    try:
        wait_until(lambda: all(map(_gone, processes)), "what a step started lives on")
    finally:
        for process in processes:
            if not _gone(process):
                os.kill(process, signal.SIGKILL)


class TestInProcess(ExecutorSuite):
    project_text = (
        ExecutorSuite.project_text
        + """
    import os, signal

    @asset
    def swallowing() -> pa.Table:
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
        except:
            pass
        return pa.table({"x": ["first page"]})
"""
    )

    def make(self, resolved: Resolved, loading: Loading) -> Executor:
        return InProcessExecutor(Worker(resolved, logger_of), lambda: datetime.now(UTC))

    def test_what_a_function_returns_that_swallowed_its_interruption_does_not_count(
        self, stage: Stage
    ) -> None:
        before = signal.signal(signal.SIGUSR1, lambda *_: stage.executor.interrupt())
        try:
            assert stage.failure("swallowing") == Failed(
                "it was interrupted", "interrupted", died=True
            )
        finally:
            signal.signal(signal.SIGUSR1, before)


class TestProcesses(ExecutorSuite):
    def make(self, resolved: Resolved, loading: Loading) -> Executor:
        return ProcessExecutor(2, loading)


class TestFreshInterpreters(ExecutorSuite):
    """What happens where importing the project starts a thread, so that forking is not safe."""

    project_text = (
        ExecutorSuite.project_text
        + """
    import threading
    threading.Thread(target=threading.Event().wait, daemon=True).start()
"""
    )

    def make(self, resolved: Resolved, loading: Loading) -> Executor:
        return ProcessExecutor(2, loading)


class TestLimits(ExecutorSuite):
    """What has limits runs elsewhere; the rest here."""

    project_text = ExecutorSuite.project_text + LIMITED

    def make(self, resolved: Resolved, loading: Loading) -> Executor:
        here = InProcessExecutor(Worker(resolved, logger_of), lambda: datetime.now(UTC))
        return LimitingExecutor(here, loading)

    def test_a_timeout_ends_the_step_and_lets_it_clean_up(
        self, stage: Stage, tmp_path: Path
    ) -> None:
        failure = stage.failure("hanging")
        assert failure == Failed(
            "hanging: it took longer than its timeout of 1 s", "user-code", died=True
        )
        assert (tmp_path / "finally").exists()

    def test_what_ignores_the_request_is_killed(self, stage: Stage) -> None:
        assert "timeout of 1 s" in stage.failure("stubborn").message
        assert "stubborn@ never" in stage.lines()

    def test_what_a_function_returns_that_swallowed_its_timeout_does_not_count(
        self, stage: Stage
    ) -> None:
        assert stage.failure("late_and_swallowing") == Failed(
            "late_and_swallowing: it took longer than its timeout of 1 s", "user-code", died=True
        )

    def test_a_timeout_ends_everything_that_the_step_started(
        self, stage: Stage, tmp_path: Path
    ) -> None:
        assert "timeout of 1 s" in stage.failure("parent").message
        processes = [int(line) for line in (tmp_path / "processes").read_text().split()]
        assert len(processes) == 2
        assert_all_end(processes)

    def test_a_memory_limit_fails_the_step_and_names_the_limit(self, stage: Stage) -> None:
        failure = stage.failure("greedy")
        assert "MemoryError" in failure.message
        assert "its memory limit is 300 MiB" in failure.message


class TestDeaths:
    """Steps that end in other ways than by returning."""

    @pytest.fixture
    def stage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
        monkeypatch.syspath_prepend(tmp_path)
        with TestProcesses().staged(tmp_path, LIMITED) as stage:
            yield stage

    def test_a_signal_is_named(self, stage: Stage) -> None:
        failure = stage.failure("killed")
        assert failure.died
        assert "killed: its process was ended by SIGSEGV" in failure.message

    def test_an_exit_code_is_named(self, stage: Stage) -> None:
        assert "exit code 7 before the function returned" in stage.failure("exiting").message

    def test_what_can_not_be_handed_over_is_the_io_managers_fault(self, stage: Stage) -> None:
        failure = stage.failure("oddly_staged")
        assert failure.code == "io-manager"
        assert "can't be handed to the run's own process" in failure.message

    def test_what_breaks_in_a_way_nobody_foresaw_is_told_with_its_story(
        self, stage: Stage
    ) -> None:
        failure = stage.failure("badly_read")
        assert failure.code == "internal"
        assert "Partita broke on KeyError: 'no such thing'" in failure.message
        assert "read_staged" in failure.frames

    def test_a_death_breaks_no_neighbour(self, stage: Stage) -> None:
        dying, living = stage.start("killed"), stage.start("orders")
        ends = {end.step_id: end.result for end in stage.wait(2)}
        assert isinstance(ends[dying.step_id], Failed)
        assert isinstance(ends[living.step_id], Produced)

    def test_output_is_capped_and_made_printable(self, stage: Stage) -> None:
        stage.run("chatty")
        lines = stage.lines()
        assert sum(map(len, lines)) < 3 * 2**20
        assert "further bytes of output were left out" in lines[-1]

    def test_bytes_that_are_no_text_are_escaped(self, stage: Stage) -> None:
        stage.run("binary")
        assert stage.lines() == [r"binary@ \xff\x00 \x1b[31m", "binary@ from a child"]

    def test_what_a_step_leaves_behind_is_ended(self, stage: Stage, tmp_path: Path) -> None:
        assert isinstance(stage.run("leaving_somebody_behind").result, Produced)
        assert_all_end([int((tmp_path / "processes").read_text())])

    def test_cancel_ends_what_goes_on(self, stage: Stage, tmp_path: Path) -> None:
        stage.start("patient")
        wait_until((tmp_path / "started").exists, "it never started")
        stage.executor.cancel()
        (end,) = stage.wait()
        assert end.result == Failed("patient: it was cancelled", "user-code", died=True)

    def test_what_a_function_returns_that_swallowed_its_cancel_does_not_count(
        self, stage: Stage, tmp_path: Path
    ) -> None:
        stage.start("swallowing")
        wait_until((tmp_path / "started").exists, "it never started")
        stage.executor.cancel()
        (end,) = stage.wait()
        assert end.result == Failed("swallowing: it was cancelled", "user-code", died=True)

    def test_a_dead_server_fails_its_steps_and_is_replaced(
        self, stage: Stage, tmp_path: Path
    ) -> None:
        assert isinstance(stage.executor, ProcessExecutor)
        stage.start("patient")
        wait_until((tmp_path / "started").exists, "it never started")
        os.kill(stage.executor.server_process, signal.SIGKILL)
        (end,) = stage.wait()
        assert isinstance(end.result, Failed)
        assert "the process that starts steps ended (signal 9)" in end.result.message
        assert isinstance(stage.run("orders").result, Produced)


class TestOtherProcesses:
    def test_everything_ends_when_the_run_is_killed(self, tmp_path: Path) -> None:
        text = textwrap.dedent(ExecutorSuite.project_text) + textwrap.dedent(LIMITED)
        (tmp_path / "assets.py").write_text(text + "\nnote(os.getpid())\n")
        run = subprocess.Popen(
            [str(Path(sys.executable).with_name("partita")), "materialize", "patient", "-j", "1"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until((tmp_path / "started").exists, "it never started")
        run.kill()
        run.wait()
        processes = [int(line) for line in (tmp_path / "processes").read_text().split()]
        assert len(set(processes)) > 1
        assert_all_end(processes)

    def test_a_project_that_was_edited_meanwhile_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        suite = TestProcesses()
        with suite.staged(tmp_path) as stage:
            assert isinstance(stage.run("orders").result, Produced)
        path = tmp_path / "assets.py"
        del sys.modules["assets"]
        loading = loading_of(Project(find_location(tmp_path)))
        path.write_text(path.read_text().replace("fetching", "getting"))
        with pytest.raises(PartitaError, match="were edited while the run was starting"):
            ProcessExecutor(1, loading)

    def test_a_project_that_does_not_load_there_is_told_as_here(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        suite = TestProcesses()
        with suite.staged(tmp_path) as stage:
            assert stage.executor.capacity == 2
        del sys.modules["assets"]
        loading = loading_of(Project(find_location(tmp_path)))
        (tmp_path / "assets.py").write_text("raise ValueError('not today')\n")
        with pytest.raises(PartitaError, match="not today"):
            ProcessExecutor(1, loading)
