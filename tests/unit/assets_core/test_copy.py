"""A state copied from one database into another: the same answers, all of it or nothing, and no id used twice afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from assets_core.model.errors import StoreError
from assets_core.model.records import RunStatus, Settled, StepStatus, StepSucceeded
from assets_core.state import sql_copy
from assets_core.state.postgres import PostgresStore
from assets_core.state.sql_copy import COLUMNS, TABLES
from assets_core.state.sqlite import SqliteStore
from tests.conformance.state_store_suite import (
    LATER,
    NOW,
    ORDERS,
    PARTS,
    TRENDS,
    Session,
    columns,
    outcome,
    receipt,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from assets_core.state.sql_store import SqlStore


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "state.db") as store:
        yield store


@pytest.fixture
def server(postgres_url: str) -> Iterator[PostgresStore]:
    with PostgresStore(postgres_url) as store:
        yield store


def fill(store: SqlStore) -> None:
    """Something in every table, part of it folded."""
    store.intern_keys({"static": ["eu", "us"], "dynamic|c": ["a", "b"]})
    store.remove_keys("dynamic|c", ["a"])
    store.register([ORDERS], {"orders": PARTS})
    first = Session(store, "run-1")
    first.materialize(1, 2, 3)
    first.fail(first.claim(4), final=True)
    store.restart("orders", NOW)
    first.materialize(1, 2, asset=TRENDS)
    store.compact(NOW)
    step = first.claim(5)
    checked = (outcome("unique", blocking=True, passed=True, metadata={"rows": 3}),)
    store.record([StepSucceeded(step.step_id, step.epoch, (receipt(5),), checked)], LATER)
    store.settle("run-1", [Settled("orders", (9,), StepStatus.SKIPPED, "no")], LATER)
    store.finish_run("run-1", RunStatus.SUCCEEDED, LATER)
    store.mark_current(replace(TRENDS, code_version="code-10"), [1], LATER)
    Session(store, "run-2").claim(7)


def content(store: SqlStore) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables that are copied, and the counters."""
    with store._database.read() as cursor:
        found = {}
        for table, key in TABLES.items():
            names = ", ".join(name for (name,) in cursor.execute(COLUMNS, (table,)).fetchall())
            order = ", ".join(key)
            rows = cursor.execute(f"select {names} from {table} order by {order}").fetchall()
            found[table] = rows
        found["compaction"] = cursor.execute("select seq, version, at from compaction").fetchall()
        found["seq"] = cursor.execute("select seq from seq_counter").fetchall()
        return found


def test_a_state_goes_to_a_server_and_back_unchanged(
    file: SqliteStore, server: PostgresStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_copy, "_BATCH", 2)
    fill(file)
    before = content(file)
    assert all(before[table] for table in TABLES)
    counts = file.copy_to(server)
    assert counts == {table: len(before[table]) for table in TABLES}
    assert content(server) == before == content(file)
    assert server.verify() == []
    assert columns(server) == columns(file)
    with SqliteStore(tmp_path / "back.db") as back:
        assert server.copy_to(back) == counts
        assert content(back) == before
        assert len({one.snapshot([]).state_id for one in (file, server, back)}) == 3


def test_after_the_copy_new_rows_get_new_ids_and_epochs_go_on(
    file: SqliteStore, server: PostgresStore
) -> None:
    fill(file)
    last = Session(file, "run-3").claim(20).epoch
    file.copy_to(server)
    claimed = Session(server, "run-4").claim(21)
    assert claimed.epoch > last
    fill_again = Session(server, "run-5")
    step = fill_again.claim(30, asset=replace(ORDERS, code_version="new"))
    fill_again.fail(step, final=True)
    server.intern_keys({"static": ["cn"]})
    assert server.verify() == []


def test_a_state_that_was_never_used_is_copied_as_nothing(
    file: SqliteStore, server: PostgresStore
) -> None:
    assert set(file.copy_to(server).values()) == {0}
    Session(server).materialize(1)


@pytest.mark.parametrize("used", ["a key", "a version", "a run"])
def test_a_target_that_was_used_is_refused_and_left_as_it_is(
    file: SqliteStore, server: PostgresStore, used: str
) -> None:
    fill(file)
    match used:
        case "a key":
            server.intern_keys({"static": ["eu"]})
        case "a version":
            server.register([ORDERS])
        case _:
            Session(server)
    before = content(server)
    with pytest.raises(StoreError, match="holds a state already"):
        file.copy_to(server)
    assert content(server) == before


def test_a_copy_that_would_not_be_sound_is_not_made(
    file: SqliteStore, server: PostgresStore
) -> None:
    fill(file)
    with file._database.write() as cursor:
        cursor.execute("update materialization set read_seq = seq")
    with pytest.raises(StoreError, match="would not be sound"):
        file.copy_to(server)
    assert not any(content(server)[table] for table in TABLES)


def test_every_table_of_both_databases_is_copied_and_has_the_same_columns(
    file: SqliteStore, server: PostgresStore
) -> None:
    names = {
        "sqlite": "select name from sqlite_schema where type = 'table'",
        "postgres": "select tablename::text from pg_tables where schemaname = current_schema()",
    }
    seen = []
    for store, statement in zip((file, server), names.values(), strict=True):
        store.register([ORDERS])
        with store._database.read() as cursor:
            tables = {name for (name,) in cursor.execute(statement).fetchall()}
            tables -= {"meta", "seq_counter", "compaction", "writer", "run_lock", "pool_turn"}
            seen.append({name: cursor.execute(COLUMNS, (name,)).fetchall() for name in tables})
    assert seen[0] == seen[1]
    assert set(seen[0]) == set(TABLES)
