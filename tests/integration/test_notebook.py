"""`load` and `query` in a notebook: rows of a project's assets in the form that is asked for."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from assets_core.model.errors import IOManagerError, PartitaError, QueryError, SelectionError
from cli.notebook import load, query
from partitions.errors import RangeSyntaxError, UnknownPartitionError
from tests.integration.conftest import Shop
from tests.integration.test_cli_query import ASSETS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of four days."""
    shop = Shop(tmp_path_factory.mktemp("notebook") / "shop")
    shop.write("assets.py", ASSETS)
    shop.run("materialize", "orders", "silver_orders", "prices", "2025-01-01...2025-01-03")
    return shop.folder


@pytest.fixture(autouse=True)
def _here(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    # Another test of this process may have imported a module of that name.
    monkeypatch.delitem(sys.modules, "assets", raising=False)


@pytest.mark.parametrize("asset", ["orders", "silver_orders"])
def test_a_range_is_read_as_on_the_command_line(asset: str) -> None:
    one = load(asset, "2025-01-02")
    assert one.equals(pa.table({"id": [20, 21], "amount": [1.5, 1.0]}))
    assert load(asset, "2025-01-01, 2025-01-03")["id"].to_pylist() == [10, 11, 30, 31]
    assert load(asset)["id"].to_pylist() == [10, 11, 20, 21, 30, 31]


@pytest.mark.parametrize("asset", ["orders", "silver_orders"])
def test_rows_become_what_was_asked_for(asset: str) -> None:
    day = "2025-01-02"
    frame = load(asset, day, as_="pandas", columns=["amount"])
    assert isinstance(frame, pd.DataFrame)
    assert frame["amount"].to_list() == [1.5, 1.0]
    assert list(frame.columns) == ["amount"]
    eager, lazy = load(asset, day, as_="polars"), load(asset, day, as_="polars-lazy")
    assert isinstance(eager, pl.DataFrame)
    assert isinstance(lazy, pl.LazyFrame)
    assert eager.equals(lazy.collect())
    relation = load(asset, day, as_="duckdb")
    assert isinstance(relation, duckdb.DuckDBPyRelation)
    assert relation.filter("id = 21").fetchall() == [(21, 1.0)]
    with pytest.raises(QueryError) as caught:
        load(asset, day, as_="pollars")  # type: ignore[call-overload] - the mistake
    assert caught.value.hint == "did you mean 'polars'?"


def test_partitions_that_are_missing_are_named_with_what_to_type() -> None:
    with pytest.raises(IOManagerError, match="orders has no rows of 2025-01-04") as caught:
        load("orders", "2025-01")
    assert str(caught.value.hint).startswith("type: partita materialize orders '2025-01'; or")
    assert load("orders", "2025-01", allow_missing=True).num_rows == 6
    for allow_missing in (False, True):
        with pytest.raises(IOManagerError, match="orders has no rows of 2025-01-04"):
            load("orders", "2025-01-04", allow_missing=allow_missing)
    with pytest.raises(IOManagerError, match="never has no rows") as caught:
        load("never")
    assert caught.value.hint == "type: partita materialize never"


def test_what_can_not_be_meant_is_said_as_on_the_command_line() -> None:
    with pytest.raises(SelectionError, match="'ordres'"):
        load("ordres")
    with pytest.raises(UnknownPartitionError):
        load("orders", "2031-01-01")
    with pytest.raises(RangeSyntaxError):
        load("orders", "2025-01-03...2025-01-01")
    with pytest.raises(UnknownPartitionError, match="not partitioned"):
        load("prices", "2025-01-01")
    with pytest.raises(IOManagerError, match="no column 'amout'"):
        load("orders", columns=["amout"])


@pytest.mark.parametrize(
    ("given", "told", "typed"),
    [
        ({"asset": 5}, "the asset is given as int", 'load("orders")'),
        ({"asset": None}, "the asset is given as NoneType", 'load("orders")'),
        (
            {"partitions": ["2025-01-01"]},
            "partitions is given as list",
            'load("orders", "2025-01")',
        ),
        ({"columns": "id"}, "columns='id' is one text", "columns=['id']"),
        ({"columns": ["id", "id"]}, "columns has 'id' twice", "name it once"),
        ({"columns": [1]}, "columns has a int: 1", 'columns=["id", "amount"]'),
        ({"columns": 1}, "columns is given as int", 'columns=["id", "amount"]'),
        ({"as_": ["pandas"]}, "as_ is given as list", "'pandas'"),
        ({"project": 5}, "project is given as int", "its folder"),
        ({"project": "no/such"}, "nothing is there", "project= names a folder"),
        ({"project": "no/such.py"}, "nothing is there", "project= names a folder"),
    ],
)
def test_an_argument_of_another_kind_is_told_with_what_to_type(
    given: dict[str, object], told: str, typed: str
) -> None:
    with pytest.raises(PartitaError) as caught:
        load(**{"asset": "orders", **given})  # type: ignore[call-overload] - the mistakes
    assert told in caught.value.message
    assert typed in str(caught.value.hint)
    if "asset" in given:
        with pytest.raises(QueryError, match="the query is given as"):
            query(given["asset"])  # type: ignore[call-overload] - the mistake


def test_a_query_answers_in_every_form() -> None:
    sql = "select _partition as day, sum(amount) as total from orders group by all order by 1"
    assert query(sql)["total"].to_pylist() == [2.0, 2.5, 3.0]
    assert query(sql, as_="pandas")["day"].to_list()[0] == "2025-01-01"
    with pytest.raises(QueryError, match="DELETE is not a query"):
        query("delete from orders")


def test_a_project_elsewhere_is_named_and_the_current_folder_stays(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (made, str(made), made / "assets.py", os.path.relpath(made)):
        assert load("prices", project=place)["price"].to_pylist() == [3]
        assert query("from prices", project=place).num_rows == 1
        lazy = load("orders", as_="polars-lazy", project=place)
        assert Path.cwd() == tmp_path
        assert lazy.collect().height == 6
    with pytest.raises(SelectionError):
        load("nothing", project=made)
    assert Path.cwd() == tmp_path


def test_a_project_that_changes_is_loaded_as_it_is_now_and_leaves_ones_own_imports_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path / "shop")
    shop.write("wares.py", "NUMBER = 1\n")
    shop.write("shop_assets.py", "import wares\nfrom assets_core import asset\n\n")
    shop.write(
        "pyproject.toml", '[project]\nname = "x"\n[tool.partita]\ndefinitions = "shop_assets"\n'
    )
    for number, name in enumerate(("first", "second")):
        path = shop.folder / "shop_assets.py"
        path.write_text(f"{path.read_text()}\n@asset\ndef {name}():\n    return [wares]\n\n")
        if number == 0:
            monkeypatch.syspath_prepend(str(shop.folder))
            mine = importlib.import_module("wares")
        with pytest.raises(IOManagerError, match=f"{name} has no rows"):
            load(name, project=shop.folder)
        assert sys.modules["wares"] is mine
        assert "shop_assets" not in sys.modules
