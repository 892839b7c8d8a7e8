"""A destination that does not answer holds up what is stored there, and nothing else: neither other assets, nor what a dead run left elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Shop

PROJECT = """
    from datetime import timedelta

    import pyarrow as pa

    from assets_core import Definitions, asset, load_assets
    from io_managers import DuckDBIOManager, ParquetIOManager


    @asset
    def orders() -> pa.Table:
        return pa.table({"id": [1, 2]})


    @asset(io_manager="lake")
    def report(orders: pa.Table) -> pa.Table:
        return orders


    @asset(io_manager="lake")
    def prices() -> pa.Table:
        return pa.table({"id": [3]})


    definitions = Definitions(
        assets=load_assets(__name__),
        io_managers={
            "default": DuckDBIOManager("shop.duckdb", wait_limit=timedelta(0)),
            "lake": ParquetIOManager("lake"),
        },
    )
"""
CONDITIONS = ("fresh", "missing", "stale", "lost", "failed")
KILLED = {"PARTITA_FAILPOINTS": "run.published=kill"}
TO_HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def shop(empty: Shop) -> Shop:
    """A run published `orders` and was killed before it recorded that."""
    empty.write("assets.py", PROJECT)
    empty.run("materialize", "orders", code=-9, env=KILLED)
    return empty


@contextmanager
def out_of_reach(shop: Shop) -> Iterator[None]:
    """A program has the database open."""
    command = [sys.executable, "-c", TO_HOLD, str(shop.folder / "shop.duckdb")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield
        finally:
            process.kill()


def runs(shop: Shop) -> list[str]:
    """How the runs ended, oldest first."""
    return [run["status"] for run in reversed(shop.run("runs", "list", "--json").data["runs"])]


def conditions(shop: Shop) -> dict[str, str]:
    found = {}
    for one in shop.run("status", "--json").data["assets"]:
        (found[one["asset"]],) = [name for name in CONDITIONS if one[name]]
    return found


def test_assets_elsewhere_are_made_and_what_the_dead_run_worked_on_waits(shop: Shop) -> None:
    with out_of_reach(shop):
        answer = shop.run("materialize", "prices")
    (told,) = [line for line in answer.err.splitlines() if line.startswith("not settled: ")]
    assert "which was cut off: shop.duckdb is open in " in told
    assert told.endswith("; orders can't be run until that is known")
    assert conditions(shop) == {"orders": "missing", "report": "missing", "prices": "fresh"}
    assert runs(shop) == ["interrupted", "succeeded"]
    assert "recovered: " in shop.run("materialize").err
    assert set(conditions(shop).values()) == {"fresh"}
    assert runs(shop) == ["crashed", "succeeded", "succeeded"]


def test_what_was_asked_for_and_has_to_wait_is_no_success(shop: Shop) -> None:
    with out_of_reach(shop):
        answer = shop.run("materialize", code=1)
        assert "not settled: " in answer.err
        assert conditions(shop)["prices"] == "fresh"
        steps = shop.run("runs", "show", "latest", "--json").data["steps"]
        told = {step["asset"]: (step["status"], step["message"]) for step in steps}
        assert told["orders"][0] == "skipped"
        assert "which is dead, can't be settled: shop.duckdb is open in" in told["orders"][1]
        assert told["report"] == ("skipped", "it reads orders, which was skipped")
        assert shop.run("materialize", "orders", code=1).out == ""
    assert "recovered: " in shop.run("materialize").err
    assert set(conditions(shop).values()) == {"fresh"}


def test_a_run_that_is_to_be_cancelled_and_can_not_be_settled_is_an_error(shop: Shop) -> None:
    with out_of_reach(shop):
        answer = shop.run("runs", "cancel", "latest", code=None)
    assert answer.code != 0
    assert "is dead and can't be settled: shop.duckdb is open in" in answer.err
    assert "close it there" in answer.err
    shop.run("runs", "cancel", "latest")
    assert runs(shop) == ["crashed"]


def test_a_place_that_can_not_be_looked_at_does_not_hold_up_what_is_stored_elsewhere(
    shop: Shop,
) -> None:
    shop.run("materialize", "orders", "report")
    os.utime(shop.folder / "shop.duckdb")  # what was compared before has to be compared again
    with out_of_reach(shop):
        answer = shop.run("materialize", code=1)
    assert "not looked at: shop.duckdb is open in" in answer.err
    assert conditions(shop) == dict.fromkeys(("orders", "report", "prices"), "fresh")
    os.utime(shop.folder / "shop.duckdb")
    with out_of_reach(shop):
        shop.run("materialize", "prices", "--force")


def test_with_nothing_else_to_do_it_is_told_what_is_not_known(shop: Shop) -> None:
    shop.run("materialize")
    os.utime(shop.folder / "shop.duckdb")
    with out_of_reach(shop):
        answer = shop.run("materialize", code=1)
    assert "all up to date" in answer.out + answer.err
    assert "not known to be there: orders; up to date as far as the state knows" in answer.err
