"""Two projects with a state each that write one table, and a state that is an older copy of itself: what who comes too late is told."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import Shop

if TYPE_CHECKING:
    from pathlib import Path

SHOP = """
    import pyarrow as pa

    from assets_core import AssetContext, Definitions, asset, load_assets
    from io_managers import DeltaIOManager, DuckDBIOManager, ParquetIOManager
    from partitions import DailyPartitions


    @asset(partitions=DailyPartitions("2025-01-01", end="2025-01-04"))
    def orders(context: AssetContext) -> pa.Table:
        return pa.table({"who": [WHO]})


    defs = Definitions(assets=load_assets(__name__), io_managers={"default": MANAGER})
"""
MANAGERS = {
    "../shop.duckdb: orders": 'DuckDBIOManager("../shop.duckdb")',
    "../lake/orders": 'ParquetIOManager("../lake")',
    "../tables/orders": 'DeltaIOManager("../tables")',
}


def project(folder: Path, manager: str) -> Shop:
    shop = Shop(folder)
    shop.write("assets.py", SHOP.replace("WHO", repr(folder.name)).replace("MANAGER", manager))
    return shop


def who(shop: Shop) -> set[str]:
    return {row["who"] for row in shop.run("query", "from orders", "--json").data["rows"]}


@pytest.mark.parametrize("place", MANAGERS)
def test_the_older_project_is_told_whose_rows_are_where_and_what_to_type(
    tmp_path: Path, place: str
) -> None:
    first = project(tmp_path / "first", MANAGERS[place])
    second = project(tmp_path / "second", MANAGERS[place])
    first.run("materialize")
    second.run("materialize")
    told = first.run("materialize", code=1)
    assert (
        f"the rows of orders in {place} are newer than this project's state, which did not write them, so they stay:"
        " another project writes there, or the state is an older copy of the one that did"
        in told.out
    )
    assert "give the asset another name or its IO manager another place" in told.out
    assert "partita state restart orders" in told.out
    assert told.out.count("another project writes there") == 1, "told once for all three days"
    assert who(second) == {"second"}
    first.run("state", "restart", "orders", "--yes")
    first.run("materialize")
    assert who(first) == {"first"}


def test_a_state_that_is_an_older_copy_is_told_so(tmp_path: Path) -> None:
    shop = project(tmp_path / "shop", 'DuckDBIOManager("shop.duckdb")')
    shop.run("materialize")
    shutil.copytree(shop.folder / ".partita", tmp_path / "backup")
    shop.run("materialize", "--force")
    shutil.rmtree(shop.folder / ".partita")
    shutil.copytree(tmp_path / "backup", shop.folder / ".partita")
    told = shop.run("materialize", code=1)
    assert "the state is an older copy of the one that did" in told.out
    shop.run("state", "restart", "orders", "--yes")
    shop.run("materialize")
    assert who(shop) == {"shop"}
