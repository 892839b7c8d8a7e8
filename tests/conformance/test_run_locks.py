"""The contract of run locks, held against ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from assets_core.state.locks import FileLocks
from assets_core.state.postgres_address import parse_address
from assets_core.state.postgres_connection import Database
from assets_core.state.postgres_lock import PostgresLocks
from tests.conformance.run_locks_suite import RunLocksSuite

if TYPE_CHECKING:
    from pathlib import Path

    from assets_core.state.locks import RunLocks
    from tests.conformance.run_locks_suite import FakeTime


class TestFiles(RunLocksSuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        return str(tmp_path / ".partita")

    def make(self, place: str, time: FakeTime) -> RunLocks:
        return FileLocks(place, clock=time.clock, sleep=time.sleep)

    def code(self, place: str) -> tuple[str, str]:
        return "from assets_core.state.locks import FileLocks", f"FileLocks({place!r})"


class TestPostgres(RunLocksSuite):
    @pytest.fixture
    def place(self, postgres_url: str) -> str:
        return postgres_url

    def make(self, place: str, time: FakeTime) -> RunLocks:
        return PostgresLocks(Database(parse_address(place)), clock=time.clock, sleep=time.sleep)

    def code(self, place: str) -> tuple[str, str]:
        store = "from assets_core.state.postgres import PostgresStore"
        return store, f"PostgresStore({place!r}).run_locks()"
