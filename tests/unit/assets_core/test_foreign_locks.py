"""A program that is not Partita has the state file locked: it is waited for, and named."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from assets_core.model.errors import StoreError
from assets_core.model.records import RunKind, RunRecord, RunStatus
from assets_core.state.foreign_locks import who_locks
from assets_core.state.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_proc = pytest.mark.skipif(
    not Path("/proc/locks").exists(), reason="only Linux says who holds a lock"
)
STRANGER = """
import sys
import apsw
connection = apsw.Connection(sys.argv[1])
connection.execute(sys.argv[2])
print("locked", flush=True)
sys.stdin.readline()
"""


def record(name: str) -> RunRecord:
    began = datetime(2025, 1, 1, tzinfo=UTC)
    return RunRecord(name, RunKind.BACKFILL, "*", "", "{}", RunStatus.RUNNING, began)


@contextmanager
def stranger(path: Path, statement: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the file locked until it gets a line."""
    with subprocess.Popen(
        [sys.executable, "-c", STRANGER, str(path), statement],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state file with a run in it."""
    path = tmp_path / "state.db"
    with SqliteStore(path) as store:
        store.start_run(record("run-1"))
    return path


@needs_proc
@pytest.mark.parametrize("statement", ["begin immediate", "begin exclusive"])
def test_a_stranger_that_keeps_the_file_locked_is_named(path: Path, statement: str) -> None:
    with (
        SqliteStore(path, busy_timeout=timedelta(milliseconds=50)) as store,
        stranger(path, statement) as other,
    ):
        with pytest.raises(StoreError, match=rf"stays locked by process {other.pid} \(python"):
            store.start_run(record("run-2"))
        assert [run.id for run in store.runs()] == ["run-1"]


def test_a_stranger_that_ends_in_time_is_only_waited_for(path: Path) -> None:
    with SqliteStore(path) as store, stranger(path, "begin immediate") as other:
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
        store.start_run(record("run-2"))
        assert [run.id for run in store.runs()] == ["run-2", "run-1"]


def test_nobody_holds_a_file_that_is_free_or_not_there(path: Path, tmp_path: Path) -> None:
    assert who_locks(path) is None
    assert who_locks(tmp_path / "nothing.db") is None
