"""Looking at a project that may not be written, and at destinations that somebody else has to himself: `plan` and `status` go on, and say so."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from assets_core.state.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Shop

LOOKS = (
    ("plan",),
    ("status",),
    ("show", "orders"),
    ("explain", "orders@2025-01-01"),
    ("runs", "list", "-o", "csv"),
    ("list",),
)
TO_HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing below the folder may be written, nor made."""
    modes = {path: path.stat().st_mode for path in (folder, *folder.rglob("*"))}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@contextmanager
def held_by_a_stranger(path: Path) -> Iterator[int]:
    """Another program has the DuckDB file open for writing; its process id."""
    command = [sys.executable, "-c", TO_HOLD, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.fixture
def done(shop: Shop) -> Shop:
    """Made, but for one asset."""
    shop.run("materialize", "orders", "revenue", "prices")
    return shop


def state_of(shop: Shop) -> Path:
    return shop.folder / ".partita" / "state.db"


def look(shop: Shop, looks: tuple[tuple[str, ...], ...]) -> list[str]:
    """What each command says where nothing may be written."""
    with read_only(shop.folder):
        before = shop.contents()
        answers = [shop.run(*words, overrides=False) for words in looks]
        assert shop.contents() == before
    for words, answer in zip(looks, answers, strict=True):
        is_told = "read-only: you may not write" in answer.err
        assert is_told == (words[0] not in {"runs", "list"}), (words, answer.err)
    return [answer.out for answer in answers]


def test_what_is_recorded_is_shown_where_nothing_may_be_written(done: Shop) -> None:
    expected = [done.run(*words).out for words in LOOKS]
    assert look(done, LOOKS) == expected


def test_also_while_somebody_else_works_on_the_state(done: Shop) -> None:
    with SqliteStore(state_of(done)) as store:
        store.intern_keys({"static:x": ["a"]})
        assert look(done, (("status",),)) == [done.run("status").out]


def test_also_where_somebody_was_killed_while_he_worked(done: Shop, tmp_path: Path) -> None:
    state = state_of(done)
    with SqliteStore(state) as store:
        store.intern_keys({"static:x": ["a"]})
        shutil.copytree(state.parent, tmp_path / "killed")
    assert (tmp_path / "killed" / "state.db-shm").exists()
    shutil.rmtree(state.parent)
    shutil.copytree(tmp_path / "killed", state.parent)
    told = look(done, (("status",),))
    assert told == [done.run("status").out]


def test_where_nothing_may_be_written_nothing_is_run(done: Shop) -> None:
    with read_only(done.folder):
        before = done.contents()
        answer = done.run("materialize", code=None, overrides=False)
        assert done.contents() == before
    assert answer.code == 2
    assert "error: " in answer.err
    assert "Permission denied" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("words", [("plan",), ("status",)])
def test_a_stranger_who_has_the_destination_is_named_and_not_waited_for(
    done: Shop, words: tuple[str, ...]
) -> None:
    expected = done.run(*words).out
    database = done.folder / ".partita" / "data.duckdb"
    os.utime(database)  # what was compared before has to be compared again
    with held_by_a_stranger(database) as process:
        answer = done.run(*words)
    assert answer.out == expected
    (told,) = [line for line in answer.err.splitlines() if line.startswith("not looked at: ")]
    assert f"(PID {process})" in told
    assert "whether rows there were lost is not known" in told
    assert "waiting" not in answer.err


def test_a_process_of_ours_that_writes_is_named_and_not_waited_for(done: Shop) -> None:
    database = done.folder / ".partita" / "data.duckdb"
    os.utime(database)
    with (database.parent / "data.duckdb.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = done.run("status")
    assert f"data.duckdb is being written by process {os.getpid()} (" in answer.err
    assert "whether rows there were lost is not known" in answer.err
    assert "fresh" in answer.out
