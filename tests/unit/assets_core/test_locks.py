"""Locks of a state in a file, beyond their contract: files that can't be used, are damaged, removed, or asked about just then."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from assets_core.model.errors import StoreError
from assets_core.state.locks import FileLocks, LockHolder
from tests.conformance.run_locks_suite import FakeTime

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".partita"


def the_file(folder: Path) -> Path:
    (path,) = (folder / "running").iterdir()
    return path


def test_asking_creates_nothing(folder: Path) -> None:
    assert FileLocks(folder).holder("run-1") is None
    assert FileLocks(folder).holders() == []
    assert not folder.exists()


def test_a_run_that_ended_leaves_no_file(folder: Path) -> None:
    with FileLocks(folder).join("run-1"):
        assert the_file(folder).exists()
    assert list((folder / "running").iterdir()) == []


def test_joining_outlasts_a_question_of_another_process(folder: Path) -> None:
    # Whoever asks who lives takes the lock for an instant: a run must not be refused because somebody asked just then.
    time = FakeTime()
    asking = FileLocks(folder).join("run-1")
    time.then = [asking.release]
    locks = FileLocks(folder, clock=time.clock, sleep=time.sleep)
    with locks.join("run-1"):
        assert time.now - 100 < 0.5


def test_the_lock_of_a_file_that_is_gone_is_not_taken_for_one(folder: Path) -> None:
    time = FakeTime()
    locks = FileLocks(folder, clock=time.clock, sleep=time.sleep)
    first = locks.join("run-1")
    # The second has opened the file when the first removes it.
    time.then = [first.release]
    with locks.join("run-1"):
        assert the_file(folder).exists()
        assert FileLocks(folder).holder("run-1") is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"process_id": "x"}', "\0" * 50, '"text"'])
def test_a_holder_that_cannot_be_read_lives_all_the_same(folder: Path, text: str) -> None:
    time = FakeTime()
    locks = FileLocks(folder, clock=time.clock, sleep=time.sleep)
    with FileLocks(folder).join("run-1"):
        the_file(folder).write_text(text)
        assert locks.holder("run-1") == LockHolder(0, "run-1")
        assert locks.holders() == []
        assert locks.take_over("run-1") is None
        with pytest.raises(StoreError, match="going on already, in another process"):
            locks.join("run-1")


def test_a_program_started_by_a_run_does_not_keep_its_lock(folder: Path) -> None:
    held = FileLocks(folder).join("run-1")
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        close_fds=False,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        held.release()
        assert child.poll() is None
        assert FileLocks(folder).holder("run-1") is None
        with FileLocks(folder).exclude("state restart"):
            child.kill()


def test_a_file_in_place_of_the_folder_is_named(folder: Path) -> None:
    folder.write_text("not a folder")
    with pytest.raises(StoreError, match="can't be used") as caught:
        FileLocks(folder).join("run-1")
    assert str(folder) in caught.value.message
    with pytest.raises(StoreError, match="Not a directory"):
        FileLocks(folder).holder("run-1")
