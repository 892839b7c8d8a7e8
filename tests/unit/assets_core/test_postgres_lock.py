"""Locks of a state in PostgreSQL, beyond their contract: leases, lost sessions, schemas."""

from __future__ import annotations

import os
import socket

from assets_core.state.locks import LockHolder
from assets_core.state.postgres_address import parse_address
from assets_core.state.postgres_connection import Database
from assets_core.state.postgres_lock import PostgresLocks
from tests import postgres

HOST = socket.gethostname()


def new_locks(url: str) -> PostgresLocks:
    return PostgresLocks(Database(parse_address(url)))


def end_session(url: str) -> None:
    """Let the server end the session that holds the lock, as when it is restarted."""
    postgres.execute(url, "select pg_terminate_backend(backend::int, 10000) from run_lock")


def test_asking_makes_nothing(postgres_url: str) -> None:
    assert new_locks(postgres_url).holder("run-1") is None
    assert new_locks(postgres_url).holders() == []
    assert postgres.execute(postgres_url, "select to_regclass('run_lock')") == [(None,)]


def test_locks_of_two_schemas_are_two(postgres_server: str, postgres_url: str) -> None:
    with (
        postgres.fresh_schema(postgres_server) as other,
        new_locks(postgres_url).exclude("state restart"),
        new_locks(other).join("run-2"),
    ):
        assert new_locks(other).holder("run-2") == LockHolder(os.getpid(), "run-2", HOST)


def test_a_holder_that_ends_leaves_no_name_behind(postgres_url: str) -> None:
    with new_locks(postgres_url).join("run-1"):
        assert len(postgres.execute(postgres_url, "select * from run_lock")) == 1
    assert postgres.execute(postgres_url, "select * from run_lock") == []


def test_the_lease_is_renewed_by_the_clock_of_the_database(postgres_url: str) -> None:
    with new_locks(postgres_url).join("run-1") as held:
        asked = (
            "select renewed_at, renewed_at - clock_timestamp() < interval '1 minute' from run_lock"
        )
        [(first, _)] = postgres.execute(postgres_url, asked)
        held.renew()
        [(second, is_now)] = postgres.execute(postgres_url, asked)
        assert second > first
        assert is_now


def test_a_session_that_was_lost_is_made_again_with_its_locks(postgres_url: str) -> None:
    locks = new_locks(postgres_url)
    with locks.join("run-1") as held:
        end_session(postgres_url)
        assert locks.holder("run-1") is None
        held.renew()  # learns of it
        held.renew()
        assert locks.holder("run-1") == LockHolder(os.getpid(), "run-1", HOST)
        assert [one.run_id for one in locks.holders()] == ["run-1"]
    assert locks.holders() == []


def test_a_lock_that_went_to_another_is_not_taken_back(postgres_url: str) -> None:
    locks = new_locks(postgres_url)
    with locks.join("run-1") as held:
        end_session(postgres_url)
        other = locks.take_over("run-1")
        assert other is not None
        with other:
            held.renew()
            held.renew()
            assert locks.holders() == []
            held.release()
            assert locks.holder("run-1") is not None
    assert locks.holder("run-1") is None
