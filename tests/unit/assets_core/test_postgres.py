"""What the PostgreSQL store does beyond its contract: lost connections, lost answers to a COMMIT, and a state that goes away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from assets_core.model.errors import ProjectError, StoreError
from assets_core.model.records import AssetVersions, RunKind, RunRecord, RunStatus
from assets_core.state import postgres_connection
from assets_core.state.postgres import PostgresStore
from assets_core.state.postgres_address import expand_variables, parse_address
from assets_core.state.postgres_connection import Database
from assets_core.state.postgres_cursor import PostgresCursor
from assets_core.state.postgres_errors import store_error
from assets_core.state.postgres_schema import MIGRATIONS, SCHEMA_VERSION
from assets_core.state.schema import Migration
from assets_core.state.sql_store import DEFAULT_FOLDING, SqlStore
from tests import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = datetime(2025, 3, 1, tzinfo=UTC)
ORDERS = AssetVersions("orders", "day|UTC|+00:00", "code", "deps")


def run_record(name: str) -> RunRecord:
    return RunRecord(name, RunKind.BACKFILL, name, "", "{}", RunStatus.RUNNING, NOW)


class Wired(PostgresStore):
    """A store whose waiting takes no time, and whose connection can be cut."""

    def __init__(self, url: str) -> None:
        self.waits: list[float] = []
        self.url = url
        self._postgres = Database(parse_address(url), sleep=self.waits.append)
        SqlStore.__init__(self, self._postgres, DEFAULT_FOLDING)

    @property
    def connection(self) -> psycopg.Connection[Any]:
        connection = self._postgres._connection
        assert connection is not None
        return connection

    def cut(self) -> None:
        """Let the server end the session, as when it is restarted."""
        backend = self.connection.info.backend_pid
        postgres.execute(self.url, f"select pg_terminate_backend({backend}, 10000)")


@pytest.fixture
def store(postgres_url: str) -> Iterator[Wired]:
    with Wired(postgres_url) as store:
        store.start_run(run_record("first"))
        yield store


def at_commit(store: Wired, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something when the next transaction of the store would be committed."""

    def once(place: str) -> None:
        if place == "state.commit":
            monkeypatch.undo()
            act()

    monkeypatch.setattr(postgres_connection, "failpoint", once)


def test_a_connection_that_died_between_calls_is_made_again(store: Wired) -> None:
    store.cut()
    assert [run.id for run in store.runs()] == ["first"]
    store.cut()
    store.start_run(run_record("second"))
    assert [run.id for run in store.runs()] == ["second", "first"]
    assert store.waits == [0.1, 0.1]


def cut_after(store: Wired, beginning: str) -> Callable[..., None]:
    """How a cursor executes many if the session ends after the first statement that begins so."""
    executemany = PostgresCursor.executemany

    def cutting(cursor: PostgresCursor, statement: str, bindings: Any) -> None:
        executemany(cursor, statement, bindings)
        if statement.startswith(beginning):
            store.cut()

    return cutting


def test_a_connection_that_dies_within_a_transaction_undoes_it_and_says_where(
    store: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresCursor, "executemany", cut_after(store, "insert into asset"))
    with pytest.raises(StoreError, match=r"can't be used.*termin") as caught:
        store.register([ORDERS])
    monkeypatch.undo()
    assert store._postgres.address.schema in caught.value.message
    assert postgres.execute(store.url, "select count(*) from asset") == [(0,)]
    store.register([ORDERS])


def test_a_lost_answer_to_a_commit_that_took_place_is_found_out(
    store: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    def commit_and_cut() -> None:
        store.connection.execute("commit")
        store.cut()

    at_commit(store, monkeypatch, commit_and_cut)
    store.start_run(run_record("second"))
    assert [run.id for run in store.runs()] == ["second", "first"]
    store.start_run(run_record("third"))
    assert len(store.runs()) == 3


def test_a_lost_commit_that_did_not_take_place_is_an_error_and_not_sent_again(
    store: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_commit(store, monkeypatch, store.cut)
    with pytest.raises(StoreError, match="nothing of it was recorded"):
        store.start_run(run_record("second"))
    assert [run.id for run in store.runs()] == ["first"]
    store.start_run(run_record("second"))


def test_a_commit_that_can_not_be_looked_up_is_told_as_that(
    store: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish() -> None:
        store.cut()
        gone = parse_address("postgresql://ann:secret@127.0.0.1:1/shop")
        store._postgres.address = gone

    at_commit(store, monkeypatch, vanish)
    with pytest.raises(StoreError, match="can't be asked whether it took place") as caught:
        store.start_run(run_record("second"))
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"
    assert store.waits == [0.1, 1.0, 5.0]


def test_a_writer_waits_for_its_turn_and_a_reader_does_not(store: Wired) -> None:
    store.register([ORDERS])
    with (
        PostgresStore(f"{store.url}&options=-clock_timeout%3D50") as other,
        store._postgres.write() as cursor,
    ):
        cursor.execute("update seq_counter set seq = seq + 1")
        assert other.snapshot([ORDERS]).seq == 0
        with pytest.raises(StoreError, match="lock timeout"):
            other.start_run(run_record("second"))
    with PostgresStore(store.url) as other:
        assert other.snapshot([ORDERS]).seq == 1


def test_a_state_that_was_dropped_is_not_made_anew_by_a_run_that_used_it(store: Wired) -> None:
    schema = store._postgres.address.schema
    postgres.execute(store.url, f"drop schema {schema} cascade")
    with pytest.raises(StoreError, match="removed or damaged"):
        store.start_run(run_record("second"))
    with PostgresStore(store.url) as other:
        other.start_run(run_record("other"))
    with pytest.raises(StoreError, match="removed or replaced"):
        store.start_run(run_record("second"))


def test_commits_are_on_disk_and_sessions_outlive_what_the_server_is_set_to(
    postgres_url: str,
) -> None:
    options = "-csynchronous_commit%3Doff%20-cidle_session_timeout%3D1000"
    with Wired(f"{postgres_url}&options={options}") as store:
        store.start_run(run_record("first"))
        shown = [
            store.connection.execute(f"show {name}".encode()).fetchone()
            for name in ("synchronous_commit", "idle_session_timeout", "tcp_user_timeout")
        ]
        assert shown[:2] == [("on",), ("0",)]


def test_a_machine_that_vanished_is_given_up_within_fifteen_seconds() -> None:
    client = postgres_connection._CLIENT
    silent = client["keepalives_idle"] + client["keepalives_interval"] * client["keepalives_count"]
    assert silent <= 15
    assert client["tcp_user_timeout"] <= 15_000
    for name in ("idle", "interval", "count"):
        assert (
            f"tcp_keepalives_{name} = {client[f'keepalives_{name}']};"
            in postgres_connection._SESSION
        )


def test_reading_a_state_that_is_not_there_makes_nothing(postgres_url: str) -> None:
    with PostgresStore(postgres_url) as store:
        assert store.runs() == []
        assert store.snapshot([ORDERS]).seq == 0
        assert not store.server().holds_state
    assert postgres.execute(postgres_url, "select to_regclass('meta')") == [(None,)]


@pytest.mark.parametrize("begins_by", ["reading", "writing"])
def test_an_older_state_is_brought_up_to_date_when_it_is_next_used(
    store: Wired, monkeypatch: pytest.MonkeyPatch, begins_by: str
) -> None:
    before = store.snapshot([]).state_id
    later = Migration(SCHEMA_VERSION + 1, "something new", "create table extra (a integer);")
    monkeypatch.setattr(postgres_connection, "MIGRATIONS", (*MIGRATIONS, later))
    monkeypatch.setattr(postgres_connection, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    with PostgresStore(store.url) as newer:
        if begins_by == "writing":
            newer.start_run(run_record("second"))
        assert newer.runs()[-1].id == "first"
        assert newer.snapshot([]).state_id == before
    version = "select value from meta where name = 'schema_version'"
    assert postgres.execute(store.url, version) == [(str(SCHEMA_VERSION + 1),)]
    assert postgres.execute(store.url, "select * from extra") == []


def test_an_empty_schema_is_used_as_it_is(postgres_url: str) -> None:
    schema = parse_address(postgres_url).schema
    postgres.execute(postgres_url, f"create schema {schema}")
    with PostgresStore(postgres_url) as store:
        store.register([ORDERS])
        assert store.server().holds_state


@pytest.mark.parametrize("schema", ["", "pg_mine", "information_schema", "x" * 64, "ä" * 32])
def test_a_schema_that_postgres_would_not_take_is_refused(schema: str) -> None:
    with pytest.raises(ProjectError, match="can't be kept in a schema"):
        parse_address(f"postgresql://db/shop?schema={schema}")


def test_a_hostile_schema_is_a_name(postgres_server: str) -> None:
    url = postgres.in_schema(postgres_server, "x%22%3B%20drop%20table%20run%3B%20--%20%24%7B%27")
    schema = parse_address(url).schema
    assert schema == "x\"; drop table run; -- ${'"
    try:
        with PostgresStore(url) as store:
            store.register([ORDERS])
            assert store.verify() == []
            assert store.run_locks().holders() == []
            with store.run_locks().join("run-1"):
                assert [one.run_id for one in store.run_locks().holders()] == ["run-1"]
    finally:
        quoted = postgres_connection.quoted(schema)
        postgres.execute(postgres_server, f"drop schema {quoted} cascade")


def test_a_variable_that_is_not_set_is_an_error() -> None:
    with pytest.raises(ProjectError, match="NOWHERE, which is not set"):
        expand_variables("postgresql://${NOWHERE}/shop", {})


@pytest.mark.parametrize(
    ("told", "hint"),
    [
        ('FATAL: password authentication failed for user "ann"', "PGPASSWORD"),
        ("fe_sendauth: no password supplied", "~/.pgpass"),
        (
            'FATAL:  database "shop" does not exist',
            "createdb --host=db --port=5433 --username=ann shop",
        ),
        ('FATAL:  role "ann" does not exist', "createuser --host=db --port=5433 ann"),
        ("server does not support SSL, but SSL was required", "sslmode"),
        ("connection refused", "pg_isready --host=db --port=5433"),
    ],
)
def test_a_failure_to_connect_says_what_to_type(told: str, hint: str) -> None:
    address = parse_address("postgresql://ann:secret@db:5433/shop")
    error = store_error(address, psycopg.OperationalError(told))
    assert "database shop at db:5433" in error.message
    assert hint in (error.hint or "")
    assert "secret" not in f"{error.message}{error.hint}"


def test_a_server_that_is_too_old_is_refused(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "OLDEST_SERVER", 1000)
    with PostgresStore(postgres_url) as store, pytest.raises(StoreError, match="1000 or later"):
        store.runs()
