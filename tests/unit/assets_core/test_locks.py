"""The project lock: one run at a time, freed by the kernel however its process ends."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from assets_core.model.errors import StoreError
from assets_core.state.locks import LockHolder, ProjectLock

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
HOLD = """
import sys
from assets_core.state.locks import ProjectLock
with ProjectLock(sys.argv[1]).acquire(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


class FakeTime:
    """A clock that sleeping moves on; `then` is called during each sleep."""

    def __init__(self) -> None:
        self.now = 100.0
        self.then: list[object] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        if self.then:
            action = self.then.pop(0)
            assert callable(action)
            action()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".partita" / "run.lock"


@pytest.fixture
def elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), "run-7"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_is_held_until_it_is_released(path: Path) -> None:
    lock, other = ProjectLock(path), ProjectLock(path)
    assert not other.is_held()
    with lock.acquire("run-1"):
        assert lock.is_held()
        assert other.is_held()
    assert not lock.is_held()
    assert not other.is_held()
    lock.release()
    with other.acquire("run-2"):
        assert lock.is_held()


def test_asking_creates_nothing(path: Path) -> None:
    assert not ProjectLock(path).is_held()
    assert ProjectLock(path).holder() is None
    assert not path.parent.exists()


def test_another_process_that_holds_it_is_named(
    path: Path, elsewhere: subprocess.Popen[str]
) -> None:
    time = FakeTime()
    lock = ProjectLock(path, clock=time.clock, sleep=time.sleep)
    assert lock.is_held()
    assert lock.holder() == LockHolder(elsewhere.pid, "run-7")
    with pytest.raises(StoreError, match=f"Run run-7 .* process {elsewhere.pid}") as caught:
        lock.acquire("run-8")
    assert caught.value.hint is not None
    assert "partita runs cancel run-7" in caught.value.hint
    assert lock.holder() == LockHolder(elsewhere.pid, "run-7")


def test_a_killed_process_holds_nothing(path: Path, elsewhere: subprocess.Popen[str]) -> None:
    elsewhere.kill()
    elsewhere.wait()
    lock = ProjectLock(path)
    assert not lock.is_held()
    assert lock.holder() is None
    assert "run-7" in path.read_text()
    with lock.acquire("run-8"):
        assert ProjectLock(path).holder() is not None


def test_a_lock_can_be_taken_again_after_being_refused(path: Path) -> None:
    time = FakeTime()
    lock, other = ProjectLock(path), ProjectLock(path, clock=time.clock, sleep=time.sleep)
    with lock.acquire("run-1"), pytest.raises(StoreError):
        other.acquire("run-2")
    with other.acquire("run-2"):
        assert lock.is_held()


def test_one_lock_is_not_taken_twice(path: Path) -> None:
    with ProjectLock(path).acquire("run-1") as lock:
        with pytest.raises(StoreError, match="already held by this process"):
            lock.acquire("run-2")
        assert lock.is_held()


def test_waiting_ends_when_the_holder_lets_go(path: Path) -> None:
    time = FakeTime()
    holder = ProjectLock(path).acquire("run-1")
    told: list[LockHolder | None] = []
    time.then = [lambda: None, lambda: None, holder.release]
    waiter = ProjectLock(path, clock=time.clock, sleep=time.sleep)
    with waiter.acquire("run-2", wait=True, on_wait=told.append):
        answer = waiter.holder()
    assert answer is not None
    assert answer.run_id == "run-2"
    assert [one.run_id for one in told if one is not None] == ["run-1"]
    assert len(told) == 1


def test_who_waits_is_told_when_the_holder_changes(path: Path) -> None:
    time = FakeTime()
    first, second = ProjectLock(path).acquire("run-1"), ProjectLock(path)
    told: list[LockHolder | None] = []

    def hand_over() -> None:
        first.release()
        second.acquire("run-2")

    time.then = [lambda: None, hand_over, lambda: None, second.release]
    waiter = ProjectLock(path, clock=time.clock, sleep=time.sleep)
    with waiter.acquire("run-3", wait=True, on_wait=told.append):
        assert [one.run_id for one in told if one is not None] == ["run-1", "run-2"]


def test_waiting_has_a_limit(path: Path) -> None:
    time = FakeTime()
    told: list[LockHolder | None] = []
    waiter = ProjectLock(path, clock=time.clock, sleep=time.sleep)
    with ProjectLock(path).acquire("run-1"), pytest.raises(StoreError, match="Run run-1"):
        waiter.acquire("run-2", wait=timedelta(seconds=30), on_wait=told.append)
    assert 30 <= time.now - 100 < 31
    assert len(told) == 1


def test_not_waiting_outlasts_a_question_of_another_process(path: Path) -> None:
    # is_held takes the lock for an instant: a run must not be refused because somebody asked just then.
    time = FakeTime()
    asking = ProjectLock(path).acquire("asking")
    path.write_text("")
    time.then = [asking.release]
    lock = ProjectLock(path, clock=time.clock, sleep=time.sleep)
    with lock.acquire("run-1"):
        assert time.now - 100 < 0.5


def test_not_waiting_calls_nobody_back(path: Path) -> None:
    time = FakeTime()
    told: list[LockHolder | None] = []
    lock = ProjectLock(path, clock=time.clock, sleep=time.sleep)
    with ProjectLock(path).acquire("run-1"), pytest.raises(StoreError):
        lock.acquire("run-2", on_wait=told.append)
    assert told == []
    assert time.now - 100 < 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"process_id": "x"}', "\0" * 50, '"text"'])
def test_a_holder_that_cannot_be_read_is_unknown_and_holds_all_the_same(
    path: Path, text: str
) -> None:
    time = FakeTime()
    with ProjectLock(path).acquire("run-1"):
        path.write_text(text)
        lock = ProjectLock(path, clock=time.clock, sleep=time.sleep)
        assert lock.is_held()
        assert lock.holder() is None
        with pytest.raises(StoreError, match="Another process holds"):
            lock.acquire("run-2")


def test_interrupted_waiting_leaves_no_lock(path: Path) -> None:
    time = FakeTime()

    def interrupt() -> None:
        raise KeyboardInterrupt

    time.then = [interrupt]
    lock = ProjectLock(path, clock=time.clock, sleep=time.sleep)
    with ProjectLock(path).acquire("run-1"), pytest.raises(KeyboardInterrupt):
        lock.acquire("run-2", wait=True)
    assert not lock.is_held()


def test_a_program_started_by_a_run_does_not_keep_its_lock(path: Path) -> None:
    lock = ProjectLock(path).acquire("run-1")
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        close_fds=False,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        lock.release()
        assert child.poll() is None
        assert not ProjectLock(path).is_held()
        child.kill()


def test_a_file_in_place_of_the_folder_is_named(path: Path) -> None:
    path.parent.write_text("not a folder")
    with pytest.raises(StoreError, match="can't be used") as caught:
        ProjectLock(path).acquire("run-1")
    assert str(path) in caught.value.message
    with pytest.raises(StoreError, match="Not a directory"):
        ProjectLock(path).is_held()


def test_a_hostile_run_id_is_only_text(path: Path) -> None:
    hostile = '"}\n\udc80</script>' + "x" * 300
    with ProjectLock(path).acquire(hostile) as lock:
        assert lock.holder() is not None
        assert ProjectLock(path).holder() == lock.holder()
        found = lock.holder()
        assert found is not None
        assert found.run_id == hostile
