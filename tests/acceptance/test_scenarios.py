"""What a person does in a week with a project, each through the real command: edit, force, fail, add, lose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project

SHOP = '''
    """Orders of a shop, from one text file of amounts per day."""

    from pathlib import Path

    import pyarrow as pa

    from assets_core import AssetContext, Definitions, Input, asset, load_assets
    from io_managers import DuckDBIOManager, ParquetIOManager
    from partitions import DailyPartitions, LastN

    days = DailyPartitions("2025-01-01", end="2025-01-15", timezone="Europe/Berlin")


    @asset(partitions=days, io_manager="lake")
    def orders(context: AssetContext) -> pa.Table:
        """One row per order."""
        text = (Path("source") / f"{context.partition_key}.txt").read_text()
        return pa.table({"amount": [int(word) for word in text.split()]})


    @asset(partitions=days)
    def totals(orders: pa.Table) -> pa.Table:
        """What a day's orders add up to."""
        return pa.table({"total": [sum(orders["amount"].to_pylist())]})


    @asset(partitions=days)
    def counts(orders: pa.Table) -> pa.Table:
        """How many orders a day had."""
        return pa.table({"orders": [orders.num_rows]})


    @asset(partitions=days)
    def busy(counts: pa.Table) -> pa.Table:
        """Whether a day had more than two orders."""
        return pa.table({"busy": [counts["orders"][0].as_py() > 2]})


    @asset(partitions=days, inputs={"week": Input(totals, mapping=LastN(7))})
    def trend(week: pa.Table) -> pa.Table:
        """The seven days that end with a day."""
        return pa.table({"total": [sum(week["total"].to_pylist())], "days": [week.num_rows]})


    @asset
    def prices() -> pa.Table:
        """A dimension without partitions."""
        return pa.table({"price": [3]})


    @asset(partitions=days)
    def joined(totals: pa.Table, counts: pa.Table, prices: pa.Table) -> pa.Table:
        """A day's total, count and price."""
        return pa.table({"total": totals["total"], "orders": counts["orders"], "price": prices["price"]})


    definitions = Definitions(
        assets=load_assets(__name__),
        io_managers={"default": DuckDBIOManager("shop.duckdb"), "lake": ParquetIOManager("lake")},
    )
'''
EVERY_DAY, EVERY_DAY_COUNTED = "2025-01-01...2025-01-14", "2025-01-01...2025-01-14 (14)"
DAYS = [f"2025-01-{day:02}" for day in range(1, 15)]
ASSETS = ("orders", "totals", "counts", "busy", "trend", "prices", "joined")


@pytest.fixture
def shop(project: Project) -> Project:
    """The shop, materialized."""
    project.write("shop.py", SHOP)
    for number, day in enumerate(DAYS):
        project.write(f"source/{day}.txt", f"{number} 10 20\n")
    project.run("materialize")
    return project


def planned(project: Project, *arguments: str) -> dict[str, list[tuple[str, str]]]:
    """Per asset with something to run: (reason, partitions as text)."""
    plan = project.json("plan", *arguments)
    return {
        part["asset"]: [(row["reason"], row["partitions"]["text"]) for row in part["rows"]]
        for part in plan["assets"]
        if part["rows"]
    }


def outcome(project: Project) -> dict[str, dict[str, str]]:
    """Of the last run, per status and asset the partitions as text."""
    found: dict[str, dict[str, str]] = {}
    for step in project.json("runs", "show", "latest")["steps"]:
        found.setdefault(step["status"], {})[step["asset"]] = step["partitions"]
    return found


def rows(project: Project, table: str) -> list[tuple[Any, ...]]:
    return project.query(f"select * from {table} order by all", "shop.duckdb")


# (a) an edit


def test_an_edit_makes_the_asset_and_what_reads_it_stale_and_nothing_else(shop: Project) -> None:
    shop.edit("shop.py", "[sum(orders", "[1 + sum(orders")
    plan = planned(shop)
    assert plan == {
        "totals": [("code", EVERY_DAY_COUNTED)],
        "trend": [("upstream", EVERY_DAY_COUNTED)],
        "joined": [("upstream", EVERY_DAY_COUNTED)],
    }
    assert "the code changed" in shop.run("plan").out
    shop.run("materialize")
    assert set(outcome(shop)["succeeded"]) == {"totals", "trend", "joined"}
    assert planned(shop) == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            'return pa.table({"total": [sum(orders',
            '# The sum.\n    return pa.table({"total": [sum(orders',
            id="a comment",
        ),
        pytest.param(
            "What a day's orders add up to.", "The sum of a day's orders.", id="a docstring"
        ),
        pytest.param(
            'pa.table({"orders": [orders.num_rows]})',
            "pa.table(\n        {'orders': [orders.num_rows]},\n    )",
            id="the layout",
        ),
        pytest.param("@asset\ndef prices", "\n\n@asset\ndef prices", id="a blank line"),
    ],
)
def test_what_is_no_code_makes_nothing_stale(shop: Project, old: str, new: str) -> None:
    shop.edit("shop.py", old, new)
    assert planned(shop) == {}
    assert "up to date" in shop.run("materialize").text


def test_an_edited_helper_makes_those_who_call_it_stale(shop: Project) -> None:
    shop.write("pricing.py", "LIMIT = 2\n\n\ndef is_busy(n: int) -> bool:\n    return n > LIMIT\n")
    shop.edit(
        "shop.py", "import pyarrow as pa", "import pyarrow as pa\nfrom pricing import is_busy"
    )
    shop.edit("shop.py", 'counts["orders"][0].as_py() > 2', 'is_busy(counts["orders"][0].as_py())')
    assert planned(shop) == {"busy": [("code", EVERY_DAY_COUNTED)]}
    shop.run("materialize")
    shop.edit("pricing.py", "LIMIT = 2", "LIMIT = 3")
    assert planned(shop) == {"busy": [("code", EVERY_DAY_COUNTED)]}


# (b) one bronze day again


def test_a_forced_day_re_runs_exactly_what_reads_it_and_stops_where_nothing_changed(
    shop: Project,
) -> None:
    shop.write("source/2025-01-05.txt", "400 10 20\n")
    week = "2025-01-05...2025-01-11 (7)"
    arguments = ("orders", "2025-01-05", "--force", "--downstream")
    assert planned(shop, *arguments) == {
        "orders": [("forced", "2025-01-05 (1)")],
        "totals": [("upstream", "2025-01-05 (1)")],
        "counts": [("upstream", "2025-01-05 (1)")],
        "busy": [("upstream", "2025-01-05 (1)")],
        "trend": [("upstream", week)],
        "joined": [("upstream", "2025-01-05 (1)")],
    }
    before = {
        table: rows(shop, table) for table in ("totals", "counts", "busy", "trend", "joined")
    }
    shop.run("materialize", *arguments)
    assert outcome(shop) == {
        "succeeded": {
            "orders": "2025-01-05",
            "totals": "2025-01-05",
            "counts": "2025-01-05",
            "trend": "2025-01-05...2025-01-11",
            "joined": "2025-01-05",
        },
        "cut_off": {"busy": "2025-01-05"},  # still three orders
    }
    changed = {
        table: len(set(rows(shop, table)) ^ set(kept)) // 2 for table, kept in before.items()
    }
    assert changed == {"totals": 1, "counts": 0, "busy": 0, "trend": 7, "joined": 1}
    assert planned(shop) == {}


def test_a_forced_day_that_comes_out_the_same_cuts_off_all_that_reads_it(shop: Project) -> None:
    shop.run("materialize", "orders", "2025-01-05", "--force", "--downstream")
    result = outcome(shop)
    assert result["succeeded"] == {"orders": "2025-01-05"}
    assert set(result["cut_off"]) == {"totals", "counts", "busy", "trend", "joined"}
    assert planned(shop) == {}


# (c) one day fails


def test_a_failing_day_stops_only_its_readers_and_after_the_fix_only_they_run(
    project: Project,
) -> None:
    project.write("shop.py", SHOP)
    for day in DAYS:
        project.write(f"source/{day}.txt", "7 8 9\n")
    project.write("source/2025-01-05.txt", "7 eight 9\n")
    answer = project.run("materialize", code=1)
    assert "invalid literal for int() with base 10: 'eight'" in answer.text
    assert "shop.py" in answer.text
    assert "[int(word) for word in text.split()]" in answer.text
    assert "assets_core" not in answer.text, "the traceback shows the user's frames, not ours"
    readers = dict.fromkeys(("totals", "counts", "busy", "joined"), "2025-01-05")
    missing = {"orders": "2025-01-05", **readers, "trend": "2025-01-05...2025-01-11"}
    most = "2025-01-01...2025-01-04, 2025-01-06...2025-01-14"
    assert outcome(project) == {
        "failed": {"orders": "2025-01-05"},
        "skipped": {**readers, "trend": missing["trend"]},
        "succeeded": {
            "orders": most,
            **dict.fromkeys(readers, most),
            "trend": "2025-01-01...2025-01-04, 2025-01-12...2025-01-14",
            "prices": "unpartitioned",
        },
    }
    status = project.run("status")
    assert "failed" in status.out

    project.write("source/2025-01-05.txt", "7 8 9\n")
    project.run("materialize")
    assert outcome(project) == {"succeeded": missing}
    assert [total for (total, *_) in rows(project, "totals")] == [24] * 14
    assert planned(project) == {}


def test_fail_fast_stops_at_the_first_failure(project: Project) -> None:
    project.write("shop.py", SHOP)
    for day in DAYS:
        project.write(f"source/{day}.txt", "no\n")
    project.run("materialize", "orders", "--fail-fast", code=1)
    result = outcome(project)
    assert result == {
        "failed": {"orders": "2025-01-01"},
        "cancelled": {"orders": "2025-01-02...2025-01-14"},
    }


# (d) an asset added later


def test_a_new_asset_is_backfilled_over_a_range_and_nothing_else_runs(shop: Project) -> None:
    source = (shop.folder / "shop.py").read_text()
    new = '''
@asset(partitions=days)
def mean(totals: pa.Table, counts: pa.Table) -> pa.Table:
    """The mean amount of a day."""
    return pa.table({"mean": [totals["total"][0].as_py() / counts["orders"][0].as_py()]})


definitions'''
    (shop.folder / "shop.py").write_text(source.replace("\ndefinitions", new, 1))
    assert planned(shop) == {"mean": [("missing", EVERY_DAY_COUNTED)]}
    asked = ("mean", "2025-01-03...2025-01-06")
    dry = shop.run("backfill", *asked, "--dry-run")
    assert "2025-01-03...2025-01-06" in dry.text
    assert planned(shop) == {"mean": [("missing", EVERY_DAY_COUNTED)]}
    shop.run("backfill", *asked)
    assert outcome(shop) == {"succeeded": {"mean": "2025-01-03...2025-01-06"}}
    assert len(rows(shop, "mean")) == 4
    assert planned(shop) == {
        "mean": [("missing", "2025-01-01...2025-01-02, 2025-01-07...2025-01-14 (10)")]
    }
    shop.run("backfill", "mean", "2025-01")
    assert outcome(shop) == {
        "succeeded": {"mean": "2025-01-01...2025-01-02, 2025-01-07...2025-01-14"}
    }


# (e) data that is gone


def test_a_deleted_database_is_noticed_and_repaired(shop: Project) -> None:
    before = {table: rows(shop, table) for table in ("totals", "trend", "prices", "joined")}
    (shop.folder / "shop.duckdb").unlink()
    status = shop.run("status", code=None)
    doctor = shop.run("doctor", code=None)
    assert "lost" in status.text or "gone" in status.text
    assert "partita materialize" in doctor.text
    plan = planned(shop)
    assert "orders" not in plan, "its rows are in the lake, which is whole"
    assert {reason for found in plan.values() for reason, _ in found} == {"lost"}
    assert set(plan) == set(ASSETS) - {"orders"}
    shop.run("plan", "--detailed-exitcode", code=5)
    shop.run("materialize")
    assert {table: rows(shop, table) for table in before} == before
    assert planned(shop) == {}


def test_a_deleted_parquet_partition_is_noticed_and_only_it_is_repaired(shop: Project) -> None:
    (victim,) = (shop.folder / "lake" / "orders").rglob("*2025-01-08*/*.parquet")
    content = victim.read_bytes()
    victim.unlink()
    assert planned(shop, "orders") == {"orders": [("lost", "2025-01-08 (1)")]}
    assert "2025-01-08" in shop.run("doctor", code=None).text
    assert "gone" in shop.run("explain", "orders@2025-01-08").text
    shop.run("materialize")
    result = outcome(shop)
    assert result["succeeded"] == {"orders": "2025-01-08"}
    assert set(result["cut_off"]) == {"totals", "counts", "busy", "trend", "joined"}
    assert victim.stat().st_size > len(content) // 2
    assert planned(shop) == {}


def test_a_dropped_table_is_noticed(shop: Project) -> None:
    import duckdb

    with duckdb.connect(str(shop.folder / "shop.duckdb")) as connection:
        connection.execute("drop table counts")
    plan = planned(shop)
    assert plan["counts"] == [("lost", EVERY_DAY_COUNTED)]
    shop.run("materialize")
    assert len(rows(shop, "counts")) == 14
    assert planned(shop) == {}
