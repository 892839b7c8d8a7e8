"""The state store contract, held against our stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw
import pytest

from assets_core.state.postgres import PostgresStore
from assets_core.state.sql_store import Folding
from assets_core.state.sqlite import SqliteStore
from tests import postgres
from tests.conformance.state_store_suite import StateStoreSuite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from assets_core.state.store import StateStore


class TestSqliteFile(StateStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[StateStore]:
        path = tmp_path / "state.db"
        with SqliteStore(path) as store:
            yield store
        if path.exists():
            assert_laws(path)


class TestSqliteInMemory(StateStoreSuite):
    @pytest.fixture
    def store(self) -> Iterator[StateStore]:
        with SqliteStore(":memory:") as store:
            yield store


class TestSqliteThatFoldsAllTheTime(StateStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[StateStore]:
        path = tmp_path / "state.db"
        with SqliteStore(path, folding=Folding(partitions=3, due=1, rows=7, chunks=2)) as store:
            yield store
        if path.exists():
            assert_laws(path)


class TestPostgres(StateStoreSuite):
    @pytest.fixture
    def store(self, postgres_url: str) -> Iterator[StateStore]:
        with PostgresStore(postgres_url) as store:
            yield store
        assert_laws_in_postgres(postgres_url)


class TestPostgresThatFoldsAllTheTime(StateStoreSuite):
    @pytest.fixture
    def store(self, postgres_url: str) -> Iterator[StateStore]:
        folding = Folding(partitions=3, due=1, rows=7, chunks=2)
        with PostgresStore(postgres_url, folding=folding) as store:
            yield store
        assert_laws_in_postgres(postgres_url)


def assert_laws(path: Path) -> None:
    """What is true of the file after any test."""
    with SqliteStore(path) as store:
        assert store.verify() == []
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert connection.execute("pragma integrity_check").get == "ok"
        assert connection.execute("pragma foreign_key_check").fetchall() == []
        assert_counted(lambda statement: connection.execute(statement).fetchall())
    finally:
        connection.close()


def assert_laws_in_postgres(url: str) -> None:
    """What is true of the schema after any test."""
    with PostgresStore(url) as store:
        assert store.verify() == []
        if store.server().holds_state:
            assert_counted(lambda statement: postgres.execute(url, statement))


def assert_counted(ask: Callable[[str], list[tuple[Any, ...]]]) -> None:
    """The counter stands at what was logged, and no success is without its row."""
    [(counter, highest, rows)] = ask(
        "select (select seq from seq_counter), coalesce(max(seq), 0), count(*) from materialization"
    )
    restarts = ask("select distinct restarted_seq from asset where restarted_seq is not null")
    keys = ask("select distinct changed_seq from partition_key where changed_seq > 0")
    assert counter == max([highest, *(seq for (seq,) in restarts + keys)])
    spent = rows + len(restarts) + len(keys)
    # Of a key that was removed and came back only the last seq is kept.
    assert spent <= counter if keys else spent == counter
    unexplained = """
        select step.id from step where status = 'succeeded'
        and not exists (select 1 from materialization where step_id = step.id)"""
    assert ask(unexplained) == []
