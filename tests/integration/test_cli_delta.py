"""A project whose assets are Delta tables, through the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import deltalake
import pytest

from tests.integration.conftest import Shop

if TYPE_CHECKING:
    from pathlib import Path

SHOP = """
    import pyarrow as pa

    from assets_core import SCD2, Append, AssetContext, Definitions, Merge, asset, load_assets
    from io_managers import DeltaIOManager
    from partitions import DailyPartitions

    days = DailyPartitions("2025-01-01", end="2025-01-05")


    @asset(partitions=days)
    def orders(context: AssetContext) -> pa.Table:
        return pa.table({"id": [1, 2], "day": [context.partition_key] * 2})


    @asset(partitions=days, write=Append())
    def loads(orders: pa.Table) -> pa.Table:
        return orders


    @asset(partitions=days, write=Merge(["id"]))
    def latest(orders: pa.Table) -> pa.Table:
        return orders


    @asset(partitions=days, write=SCD2(["id"]))
    def versions(orders: pa.Table) -> pa.Table:
        return orders


    @asset
    def total(orders: pa.Table) -> pa.Table:
        return pa.table({"rows": [orders.num_rows]})


    defs = Definitions(assets=load_assets(__name__), io_managers={"default": DeltaIOManager("tables")})
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Four days in each write mode, and an asset without partitions."""
    shop = Shop(tmp_path / "shop")
    shop.write("assets.py", SHOP)
    shop.run("materialize")
    return shop


def table(shop: Shop, asset: str) -> deltalake.DeltaTable:
    return deltalake.DeltaTable(str(shop.folder / "tables" / asset))


def test_every_mode_is_stored_queried_and_found_sound(shop: Shop) -> None:
    sql = "select (select count(*) from orders), (select count(*) from latest), (select count(*) from versions), (select rows from total)"
    told = shop.run("query", sql, "--json").data
    assert [*told["rows"][0].values()] == [8, 2, 8, 8]
    assert table(shop, "loads").to_pyarrow_table().num_rows == 8
    assert shop.run("state", "verify", "--deep", "--json").data["problems"] == []
    assert shop.run("materialize").out.startswith("all up to date")


def test_what_another_program_deleted_is_lost_and_made_again(shop: Shop) -> None:
    table(shop, "orders").delete("day = '2025-01-02' and id = 1")
    plan = shop.run("plan", "orders").out
    assert "2025-01-02" in plan
    assert "the data is gone" in plan
    shop.run("materialize")
    assert table(shop, "orders").to_pyarrow_table().num_rows == 8
    assert shop.run("state", "verify", "--deep", "--json").data["problems"] == []


def test_a_restarted_asset_is_a_new_table(shop: Shop) -> None:
    before = table(shop, "orders").version()
    assert before > 0
    shop.run("state", "restart", "orders", "--yes")
    assert not (shop.folder / "tables" / "orders").exists()
    shop.run("materialize")
    assert table(shop, "orders").to_pyarrow_table().num_rows == 8


def test_steps_in_other_processes_publish_to_one_table(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    shop.write("assets.py", SHOP)
    shop.run("materialize", "-j", "2")
    assert table(shop, "orders").to_pyarrow_table().num_rows == 8
    assert table(shop, "latest").to_pyarrow_table().num_rows == 2
