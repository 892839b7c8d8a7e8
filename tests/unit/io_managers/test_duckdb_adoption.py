"""Tables that others made: refused until they are adopted, and then written like ours, with the rows that were there."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import duckdb
import pytest

from assets_core.model.errors import IOManagerError
from assets_core.model.specs import SCD2, Append, Merge
from io_managers import DuckDBIOManager
from tests.conformance.io_manager_suite import UNPARTITIONED, Steps, days, table, target, whole

if TYPE_CHECKING:
    from pathlib import Path

    from assets_core.model.io_manager import Target

FIRST, SECOND = days("2025-01-31", 2)


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path)) as connection:
        return connection.execute(sql).fetchall()


def adopt(steps: Steps, what: Target) -> bool:
    assert isinstance(steps.manager, DuckDBIOManager)
    return steps.manager.adopt(what)


def test_the_refusal_says_how_to_adopt(steps: Steps, path: Path) -> None:
    ask(path, "create table orders (id bigint)")
    refusal = steps.fail(whole(), UNPARTITIONED, table(id=[1]))
    assert "partita materialize orders --adopt" in str(refusal)


def test_the_refusal_names_the_asset_whose_rejected_rows_would_go_there(
    steps: Steps, path: Path
) -> None:
    ask(path, "create table orders__rejected (id bigint)")
    beside = replace(whole(asset="orders__rejected"), beside="orders")
    refusal = steps.fail(beside, UNPARTITIONED, table(id=[1]))
    assert "partita materialize orders --adopt" in str(refusal)


def test_an_adopted_table_keeps_the_rows_of_partitions_that_are_not_made(
    steps: Steps, path: Path
) -> None:
    ask(path, "create table orders as select 7::bigint as id, date '2025-01-31' as day")
    ask(path, "insert into orders values (8, '2025-02-01'), (9, '2020-05-05')")
    daily = target(by="day")
    assert adopt(steps, daily)
    assert not adopt(steps, daily), "it is ours now"
    steps.write(daily, [FIRST], table(id=[1], day=[date(2025, 1, 31)]))
    assert ask(path, "select id from orders order by id") == [(1,), (8,), (9,)]
    assert steps.rows(daily, [FIRST]) == [{"id": 1, "day": date(2025, 1, 31)}]


def test_an_unpartitioned_table_is_swapped(steps: Steps, path: Path) -> None:
    ask(path, "create table orders as select 'old' as name")
    assert adopt(steps, whole())
    assert ask(path, "select name from orders") == [("old",)]
    steps.write(whole(), UNPARTITIONED, table(id=[1]))
    assert ask(path, "from orders") == [(1,)]


def test_a_merge_goes_on_with_what_is_there(steps: Steps, path: Path) -> None:
    ask(
        path,
        "create table orders as select 1::bigint as id, 'old' as name union all select 2, 'kept'",
    )
    merging = target(Merge(["id"]))
    assert adopt(steps, merging)
    steps.write(merging, [FIRST], table(id=[1, 3], name=["new", "more"]))
    assert ask(path, "select id, name from orders order by id") == [
        (1, "new"),
        (2, "kept"),
        (3, "more"),
    ]


@pytest.mark.parametrize(
    ("made", "what", "reason"),
    [
        ("create view orders as select 1 as id", whole(), "it is a view"),
        ("create table Orders (id int)", whole(), "differ by case"),
        ("create table orders (id int)", target(), "nothing says which partition"),
        ("create table orders (id int)", target(Append()), "nothing says which partition"),
        ("create table orders (id int)", target(by="day"), "no column 'day'"),
        ("create table orders (id int)", target(SCD2(["id"])), "a history is kept"),
        ("create table orders (id int primary key)", whole(), "a PRIMARY KEY"),
        (
            "create table orders (id int); create index by_id on orders (id)",
            whole(),
            "the index 'by_id'",
        ),
    ],
)
def test_what_could_not_be_written_is_not_adopted(
    steps: Steps, path: Path, made: str, what: Target, reason: str
) -> None:
    ask(path, made)
    with pytest.raises(IOManagerError, match=reason):
        adopt(steps, what)
    assert [name for (name,) in ask(path, "select table_name from duckdb_tables()")] == [
        name for name in ("orders", "Orders") if f"table {name} " in made
    ], "nothing of ours was left in it"


def test_without_a_file_or_a_table_there_is_nothing_to_adopt(steps: Steps, path: Path) -> None:
    assert not adopt(steps, whole())
    assert not path.exists()
    ask(path, "create table other (id int)")
    assert not adopt(steps, whole())
