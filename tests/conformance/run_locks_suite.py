"""The contract of `state.locks.RunLocks` as tests. To hold an adapter against it, subclass `RunLocksSuite` and say what the two hooks answer.

A process of its own holds a lock with `HOLD`; so an adapter's state must be reachable from another process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from assets_core.model.errors import StoreError
from assets_core.state.locks import LockHolder, RunLocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path(__file__).parents[2]
HOLD: Final = """
import sys
{make}
with {locks}.{method}(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


class FakeTime:
    """A clock that only sleeping moves on; of `then` one is called during each sleep."""

    def __init__(self) -> None:
        self.now = 100.0
        self.then: list[Callable[[], object]] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        if self.then:
            self.then.pop(0)()


def nothing() -> None:
    """Let one sleep pass."""


class RunLocksSuite:
    """What every adapter must do."""

    @pytest.fixture
    def time(self) -> FakeTime:
        return FakeTime()

    def make(self, place: str, time: FakeTime) -> RunLocks:
        """New locks of the state at `place`, by this clock."""
        raise NotImplementedError

    def code(self, place: str) -> tuple[str, str]:
        """Statements, and an expression, by which another process makes such locks."""
        raise NotImplementedError

    @pytest.fixture
    def place(self) -> str:
        """Where a state is or might be; another one in each test."""
        raise NotImplementedError

    @contextmanager
    def elsewhere(
        self, place: str, name: str, method: str = "join"
    ) -> Iterator[subprocess.Popen[str]]:
        """Another process that holds a lock until its input ends."""
        make, locks = self.code(place)
        text = HOLD.format(make=make, locks=locks, method=method)
        with subprocess.Popen(
            [sys.executable, "-c", text, name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
            process.kill()

    def test_a_run_lives_from_joining_to_its_end(self, place: str, time: FakeTime) -> None:
        locks, other = self.make(place, time), self.make(place, time)
        assert other.holder("run-1") is None
        with locks.join("run-1") as held:
            for one in (locks, other):
                found = one.holder("run-1")
                assert found is not None
                assert (found.process_id, found.run_id) == (os.getpid(), "run-1")
            assert other.holder("run-2") is None
            held.release()
            assert other.holder("run-1") is None
        assert other.holders() == []

    def test_any_number_of_runs_join(self, place: str, time: FakeTime) -> None:
        locks = self.make(place, time)
        with self.elsewhere(place, "run-1") as first, locks.join("run-3"), locks.join("run-2"):
            found = [(one.process_id, one.run_id) for one in locks.holders()]
            assert found == [(first.pid, "run-1"), (os.getpid(), "run-2"), (os.getpid(), "run-3")]
        assert time.now == 100

    def test_a_run_that_lives_is_not_joined_again(self, place: str, time: FakeTime) -> None:
        locks = self.make(place, time)
        with self.elsewhere(place, "run-1") as process:
            with pytest.raises(StoreError, match=f"run-1 is going on already.* {process.pid}"):
                locks.join("run-1")
            assert [one.process_id for one in locks.holders()] == [process.pid]
        with locks.join("run-1"):
            assert [one.process_id for one in locks.holders()] == [os.getpid()]

    def test_a_killed_run_is_dead_and_can_be_taken_over_by_one(
        self, place: str, time: FakeTime
    ) -> None:
        locks, other = self.make(place, time), self.make(place, time)
        with self.elsewhere(place, "run-1") as process:
            assert locks.take_over("run-1") is None
            process.kill()
            process.wait()
            assert locks.holder("run-1") is None
            held = locks.take_over("run-1")
            assert held is not None
            assert other.take_over("run-1") is None
            held.release()
            again = other.take_over("run-1")
            assert again is not None
            again.release()

    def test_who_was_refused_can_still_take_over_when_the_run_is_dead(
        self, place: str, time: FakeTime
    ) -> None:
        locks = self.make(place, time)
        with locks.join("run-1"):
            assert locks.take_over("run-1") is None
        held = locks.take_over("run-1")
        assert held is not None
        held.release()

    def test_maintenance_waits_for_every_run(self, place: str, time: FakeTime) -> None:
        locks, told = self.make(place, time), list[LockHolder | None]()
        first, second = locks.join("run-1"), locks.join("run-2")
        time.then = [nothing, first.release, nothing, second.release]
        with locks.exclude("state restart", on_wait=told.append):
            assert [one.run_id for one in told if one is not None] == ["run-1", "run-2"]
            assert len(told) == 2
            assert [one.run_id for one in locks.holders()] == ["state restart"]
        assert locks.holders() == []

    def test_runs_wait_for_maintenance_and_are_told_what_it_is(
        self, place: str, time: FakeTime
    ) -> None:
        locks, told = self.make(place, time), list[LockHolder | None]()
        with self.elsewhere(place, "state migrate", "exclude") as process:

            def end() -> None:
                process.communicate("")

            time.then = [nothing, nothing, end]
            with locks.join("run-1", on_wait=told.append):
                assert [one and (one.process_id, one.run_id) for one in told] == [
                    (process.pid, "state migrate")
                ]
                assert [one.run_id for one in locks.holders()] == ["run-1"]

    def test_a_killed_maintenance_keeps_nobody_out(self, place: str, time: FakeTime) -> None:
        locks = self.make(place, time)
        with self.elsewhere(place, "state migrate", "exclude") as process:

            def kill() -> None:
                process.kill()
                process.wait()

            time.then = [kill]
            with locks.join("run-1"):
                assert [one.run_id for one in locks.holders()] == ["run-1"]

    def test_interrupted_waiting_leaves_no_lock(self, place: str, time: FakeTime) -> None:
        locks = self.make(place, time)

        def interrupt() -> None:
            raise KeyboardInterrupt

        with locks.join("run-1"):
            time.then = [interrupt]
            with pytest.raises(KeyboardInterrupt):
                locks.exclude("state restart")
            with locks.join("run-2"):
                assert [one.run_id for one in locks.holders()] == ["run-1", "run-2"]
        with locks.exclude("state restart"):
            time.then = [interrupt]
            with pytest.raises(KeyboardInterrupt):
                locks.join("run-3")
        with locks.exclude("state restart"):
            assert locks.holder("run-3") is None

    def test_a_hostile_run_id_is_only_text(self, place: str, time: FakeTime) -> None:
        locks = self.make(place, time)
        hostile = "../'\"}\n</script>;drop table run--" + "x" * 300
        with locks.join(hostile):
            assert [one.run_id for one in locks.holders()] == [hostile]
            assert locks.holder(hostile) == locks.holders()[0]
