"""The view with the history that DuckDB users find beside the table of an SCD2 asset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from assets_core.model.specs import SCD2
from tests.conformance.io_manager_suite import Steps, days, target

if TYPE_CHECKING:
    from pathlib import Path

WHERE = target(SCD2(keys=["id"]), asset="it's")
DAYS = days("2025-01-01", 3)


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path)) as connection:
        return connection.execute(sql).fetchall()


def test_the_view_has_the_history_whatever_changes(steps: Steps, path: Path) -> None:
    told = """select id, v, is_current from "it's__history" order by id, valid_from"""
    steps.write(WHERE, DAYS[:1], pa.table({"id": [1, 2], "v": ["a", "x"]}))
    assert query(path, told) == [(1, "a", True), (2, "x", True)]
    steps.write(WHERE, DAYS[2:], pa.table({"id": [1], "v": ["b"], "more": [7]}))
    assert query(path, told) == [(1, "a", False), (1, "b", True), (2, "x", True)]
    assert query(path, """select more from "it's__history" where v = 'b'""") == [(7,)]
    steps.write(WHERE, DAYS[2:], pa.table({"id": [1], "v": ["a"]}))
    assert query(path, told) == [(1, "a", True), (2, "x", True)]


def test_the_view_is_made_once_and_goes_with_the_history(steps: Steps, path: Path) -> None:
    views = "select view_oid from duckdb_views() where view_name like '%__history'"
    for part in DAYS[:2]:
        steps.write(WHERE, [part], pa.table({"id": [1], "v": ["a"]}))
    assert len(query(path, views)) == 1
    steps.write(target(asset="it's"), DAYS[:1], pa.table({"id": [1], "v": ["a"]}))
    assert query(path, views) == []
    steps.write(WHERE, DAYS[:1], pa.table({"id": [1], "v": ["a"]}))
    steps.manager.remove(WHERE)
    assert query(path, views) == []


def test_a_view_that_is_not_ours_stays(steps: Steps, path: Path) -> None:
    query(path, """create view "it's__history" as select 1 as one""")
    refusal = steps.fail(WHERE, DAYS[:1], pa.table({"id": [1], "v": ["a"]}))
    assert "that Partita did not make" in refusal.message
    assert query(path, """select * from duckdb_tables() where table_name = 'it''s'""") == []
    assert query(path, """select * from "it's__history" """) == [(1,)]
