"""Contracts through the command: what is published, what goes beside, what `check`, `status` and `show` tell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Shop

ASSETS = """
    import pyarrow as pa

    from assets_core import AssetContext, Contract, InRange, NotNull, RowCount, asset, sql_check
    from partitions import DailyPartitions

    days = DailyPartitions("2025-01-01", end="2025-01-04")
    LOWEST = -1


    @asset(partitions=days, contract=Contract([NotNull("id"), InRange("amount", min=0)], on_violation="POLICY"))
    def orders(context: AssetContext) -> pa.Table:
        low = LOWEST if context.partition_key == "2025-01-02" else 1
        return pa.table({"id": [1, 2, 3], "amount": [5, low, low]})


    few = sql_check("few", orders, "select * from orders where id > 100", blocking=True)


    @asset(contract=[RowCount(min=1)])
    def prices() -> pa.Table:
        return pa.table({"price": [3]})
"""


def project(shop: Shop, policy: str) -> Shop:
    shop.write("assets.py", ASSETS)
    shop.edit("assets.py", "POLICY", policy)
    return shop


def rows(shop: Shop, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute(f"attach '{shop.folder}/.partita/data.duckdb' as d (read_only)")
        return connection.execute(f"use d; {query}").fetchall()


def test_rows_that_break_a_rule_go_beside_and_a_rerun_replaces_them(shop: Shop) -> None:
    project(shop, "quarantine")
    ran = shop.run("materialize", code=1)
    assert (
        "check failed: orders:in_range(amount): 2025-01-02: 2 of 3 rows, for instance amount = -1; amount = -1"
        in ran.out
    )
    assert rows(shop, "select count(*) from orders") == [(7,)]
    beside = "select _partition, id, amount, _reason from orders__rejected order by all"
    assert rows(shop, beside) == [
        ("2025-01-02", 2, -1, "in_range(amount)"),
        ("2025-01-02", 3, -1, "in_range(amount)"),
    ]
    assert "checks failed: orders: in_range(amount) of 1 partition" in shop.run("status").out
    shown = shop.run("show", "orders")
    assert "orders__rejected" in shown.out
    assert "2025-01-02: 2 of 3 rows" in shown.out
    data = shop.run("show", "orders", "--json").data
    assert [one["check"] for one in data["state"]["failed_checks"]] == ["in_range(amount)"]
    assert data["state"]["checks"]["few"] == {"passed": 3, "failed": 0}
    [run] = shop.run("runs", "list", "--json").data["runs"]
    details = shop.run("runs", "show", run["run"], "--json").data
    assert {one["metadata"]["partition"] for one in details["checks"] if not one["passed"]} == {
        "2025-01-02"
    }
    assert shop.run("state", "verify").code == 0
    shop.edit("assets.py", "LOWEST = -1", "LOWEST = 1")
    shop.run("materialize")
    assert rows(shop, beside) == []
    assert rows(shop, "select count(*) from orders") == [(9,)]
    assert "checks failed" not in shop.run("status").out
    # Also if the contract has stopped to quarantine.
    shop.edit("assets.py", '"quarantine"', '"warn"')
    shop.run("state", "restart", "orders", "--yes")
    tables = "select table_name from duckdb_tables() where table_name like 'orders%'"
    assert rows(shop, tables) == []


def test_published_rows_are_held_against_a_new_rule_without_running_anything(shop: Shop) -> None:
    project(shop, "warn")
    shop.edit("assets.py", "InRange(", "RowCount(max=9), InRange(")
    shop.run("materialize", code=1)
    assert rows(shop, "select count(*) from orders") == [(9,)]
    shop.edit("assets.py", 'RowCount(max=9), InRange("amount", min=0)', 'InRange("id", max=2)')
    shop.edit("assets.py", '"warn"', '"fail"')
    # Neither another rule nor another policy that moves no rows makes anything stale.
    shop.run("plan", "--detailed-exitcode")
    checked = shop.run("check", "orders", "2025-01-01...2025-01-02", code=1)
    assert (
        "check failed: orders:in_range(id): 2025-01-01: 1 of 3 rows, for instance id = 3"
        in checked.out
    )
    assert "2 partitions of 1 asset looked at" in checked.out
    assert "in_range(id) of 2 partitions" in shop.run("status", "orders").out
    found = shop.run("check", "--json", code=1).data
    assert [(one["check"], one["failed"]) for one in found["assets"][0]["checks"]] == [
        ("not_null(id)", 0),
        ("in_range(id)", 3),
        ("few", 0),
    ]
    assert rows(shop, "select count(*) from orders") == [(9,)]
    # A rule that is gone has no more to say.
    shop.edit("assets.py", 'InRange("id", max=2)', 'NotNull("amount")')
    assert "checks failed" not in shop.run("status").out
    assert shop.run("show", "orders", "--json").data["state"]["failed_checks"] == []
    shop.edit("assets.py", 'NotNull("amount")', 'InRange("id", max=2)')
    assert "in_range(id) of 3 partitions" in shop.run("status", "orders").out
    shop.edit("assets.py", "max=2", "max=3")
    shop.run("check")
    assert "checks failed" not in shop.run("status").out


def test_what_nothing_is_said_about_can_not_be_checked(shop: Shop) -> None:
    refused = shop.run("check", "revenue", code=2)
    assert "nothing is said about the rows of revenue" in refused.err
    assert "no asset here has a contract or a check" in shop.run("check").out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('NotNull("id")', 'NotNull("ids")', "did you mean 'id'?"),
        ('NotNull("id")', 'InRange("id", min=3, max=1)', "InRange('id') is empty"),
    ],
)
def test_a_contract_that_can_not_be_is_the_authors_mistake(
    shop: Shop, old: str, new: str, message: str
) -> None:
    project(shop, "fail")
    shop.edit("assets.py", old, new)
    answer = shop.run("materialize", "orders", code=2)
    assert message in answer.out + answer.err
