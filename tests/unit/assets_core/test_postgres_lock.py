"""The run lock of a state in PostgreSQL: it is free when its process or its session has ended, and says who holds it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from assets_core.model.errors import StoreError
from assets_core.state.locks import LockHolder
from assets_core.state.postgres_address import parse_address
from assets_core.state.postgres_connection import Database
from assets_core.state.postgres_lock import PostgresLock
from tests import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
HOST = socket.gethostname()
HOLD = """
import sys
from assets_core.state.postgres import PostgresStore
with PostgresStore(sys.argv[1]).run_lock().acquire(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


class FakeTime:
    """A clock that only sleeping moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def new_lock(url: str) -> PostgresLock:
    time = FakeTime()
    return PostgresLock(Database(parse_address(url)), clock=time.clock, sleep=time.sleep)


@pytest.fixture
def elsewhere(postgres_url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, postgres_url, "run-7"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def end_session(url: str) -> None:
    """Let the server end the session that holds the lock, as when it is restarted."""
    postgres.execute(url, "select pg_terminate_backend(backend::int, 10000) from run_lock")


def test_a_lock_is_held_until_it_is_released(postgres_url: str) -> None:
    lock, other = new_lock(postgres_url), new_lock(postgres_url)
    assert not other.is_held()
    assert other.holder() is None
    with lock.acquire("run-1"):
        assert lock.is_held()
        assert other.is_held()
        assert other.holder() == LockHolder(os.getpid(), "run-1", HOST)
        with pytest.raises(StoreError, match="already held by this process"):
            lock.acquire("run-2")
    assert not lock.is_held()
    assert other.holder() is None
    lock.release()
    with other.acquire("run-2"):
        assert lock.is_held()


def test_asking_makes_nothing(postgres_url: str) -> None:
    assert not new_lock(postgres_url).is_held()
    assert postgres.execute(postgres_url, "select to_regclass('run_lock')") == [(None,)]


def test_locks_of_two_schemas_are_two(postgres_server: str, postgres_url: str) -> None:
    with (
        postgres.fresh_schema(postgres_server) as other,
        new_lock(postgres_url).acquire("run-1"),
        new_lock(other).acquire("run-2"),
    ):
        assert new_lock(postgres_url).holder() == LockHolder(os.getpid(), "run-1", HOST)


def test_a_lock_that_stays_held_is_refused_with_who_holds_it(
    postgres_url: str, elsewhere: subprocess.Popen[str]
) -> None:
    waited: list[LockHolder | None] = []
    for wait in (False, timedelta(seconds=30)):
        with pytest.raises(StoreError, match="Run run-7 is going on") as caught:
            new_lock(postgres_url).acquire("run-8", wait=wait, on_wait=waited.append)
        assert f"process {elsewhere.pid} on {HOST}" in caught.value.message
        assert "partita runs cancel" in (caught.value.hint or "")
    assert waited == [LockHolder(elsewhere.pid, "run-7", HOST)]


def test_a_killed_holder_frees_the_lock(
    postgres_url: str, elsewhere: subprocess.Popen[str]
) -> None:
    lock = PostgresLock(Database(parse_address(postgres_url)))
    with lock.acquire("run-8", wait=True, on_wait=lambda _: elsewhere.kill()):
        assert elsewhere.wait() != 0
        assert lock.holder() == LockHolder(os.getpid(), "run-8", HOST)


def test_a_holder_that_ends_leaves_no_name_behind(
    postgres_url: str, elsewhere: subprocess.Popen[str]
) -> None:
    elsewhere.communicate("")
    assert not new_lock(postgres_url).is_held()
    assert postgres.execute(postgres_url, "select * from run_lock") == []


def test_the_lease_is_renewed_by_the_clock_of_the_database(postgres_url: str) -> None:
    with new_lock(postgres_url).acquire("run-1") as lock:
        asked = (
            "select renewed_at, renewed_at - clock_timestamp() < interval '1 minute' from run_lock"
        )
        [(first, _)] = postgres.execute(postgres_url, asked)
        lock.renew()
        [(second, is_now)] = postgres.execute(postgres_url, asked)
        assert second > first
        assert is_now


def test_a_session_that_was_lost_is_made_again_with_the_lock(postgres_url: str) -> None:
    with new_lock(postgres_url).acquire("run-1") as lock:
        end_session(postgres_url)
        assert not new_lock(postgres_url).is_held()
        lock.renew()  # learns of it
        lock.renew()
        assert new_lock(postgres_url).holder() == LockHolder(os.getpid(), "run-1", HOST)
    assert not new_lock(postgres_url).is_held()


def test_a_lock_that_went_to_another_is_not_taken_back(postgres_url: str) -> None:
    with new_lock(postgres_url).acquire("run-1") as lock:
        end_session(postgres_url)
        with new_lock(postgres_url).acquire("run-2") as other:
            lock.renew()
            lock.renew()
            assert lock.holder() == other.holder() == LockHolder(os.getpid(), "run-2", HOST)
            lock.release()
            assert other.is_held()
    assert not new_lock(postgres_url).is_held()
