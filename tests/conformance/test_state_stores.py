"""The state store contract, held against our stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw
import pytest

from assets_core.state.sqlite import Folding, SqliteStore
from tests.conformance.state_store_suite import StateStoreSuite

if TYPE_CHECKING:
    from collections.abc import Iterator
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


def assert_laws(path: Path) -> None:
    """What is true of the file after any test."""
    with SqliteStore(path) as store:
        assert store.verify() == []
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert connection.execute("pragma integrity_check").get == "ok"
        assert connection.execute("pragma foreign_key_check").fetchall() == []
        counter, highest, rows = connection.execute(
            "select (select seq from seq_counter), coalesce(max(seq), 0), count(*) from materialization"
        ).get
        restarts = connection.execute(
            "select distinct restarted_seq from asset where restarted_seq is not null"
        ).fetchall()
        assert counter == max([highest, *(seq for (seq,) in restarts)]) == rows + len(restarts)
        unexplained = """
            select step.id from step where status = 'succeeded'
            and not exists (select 1 from materialization where step_id = step.id)"""
        assert connection.execute(unexplained).fetchall() == []
    finally:
        connection.close()
