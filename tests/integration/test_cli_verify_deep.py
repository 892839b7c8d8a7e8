"""`partita state verify --deep`: every partition is read again, and its rows are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.integration.conftest import Shop

if TYPE_CHECKING:
    from pathlib import Path

SHOP = """
    import pyarrow as pa

    from assets_core import SCD2, AssetContext, Definitions, Merge, asset, load_assets
    from io_managers import DuckDBIOManager, ParquetIOManager
    from partitions import DailyPartitions

    days = DailyPartitions("2025-01-01", end="2025-01-05")
    ROWS = 3_000


    def rows_of(key: str) -> pa.Table:
        first = int(key[-2:]) * ROWS
        return pa.table({"id": range(first, first + ROWS), "mark": [f"{key} {i * 7919}" for i in range(ROWS)]})


    @asset(partitions=days, io_manager="lake")
    def files(context: AssetContext) -> pa.Table:
        return rows_of(context.partition_key)


    @asset(partitions=days)
    def orders(context: AssetContext) -> pa.Table:
        return rows_of(context.partition_key)


    @asset(partitions=days, write=Merge(["id"]))
    def latest(context: AssetContext) -> pa.Table:
        return pa.table({"id": [1, 2], "day": [context.partition_key] * 2})


    @asset(partitions=days, write=SCD2(["id"]), io_manager="lake")
    def versions(context: AssetContext) -> pa.Table:
        return pa.table({"id": [1, 2], "price": [3, int(context.partition_key[-2:])]})


    @asset
    def total(orders: pa.Table) -> pa.Table:
        return pa.table({"rows": [orders.num_rows]})


    defs = Definitions(
        assets=load_assets(__name__),
        io_managers={"lake": ParquetIOManager("lake"), "default": DuckDBIOManager("shop.duckdb")},
    )
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Four days in files and tables, merged and with a history, and an asset without partitions."""
    shop = Shop(tmp_path / "shop")
    shop.write("assets.py", SHOP)
    shop.run("materialize")
    return shop


def problems(shop: Shop, code: int = 1) -> list[dict[str, str]]:
    found: list[dict[str, str]] = shop.run("state", "verify", "--deep", "--json", code=code).data[
        "problems"
    ]
    return found


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def repaired(shop: Shop, found: list[dict[str, str]]) -> None:
    """Type what the problems say."""
    for one in found:
        words = one["hint"].splitlines()[0].replace("'", "").split()
        key = [" ".join(words[3:-1])] if words[3:-1] else []
        shop.run("materialize", words[2], *key, "--force")
    assert problems(shop, code=0) == []


def day(shop: Shop, asset: str, number: int) -> Path:
    return shop.folder / "lake" / asset / f"day=2025-01-0{number}" / "data.parquet"


def test_a_sound_project_is_sound(shop: Shop) -> None:
    assert problems(shop, code=0) == []
    told = shop.run("state", "verify", "--deep").out
    assert "destinations have what it says; every partition was read" in told


def test_a_bit_that_turned_over_in_a_page_is_told_with_its_partition_and_what_to_type(
    shop: Shop,
) -> None:
    flip(day(shop, "files", 2), 5_000)
    flip(day(shop, "versions", 3), 30)
    assert shop.run("state", "verify").out.startswith("the state is sound")
    found = problems(shop)
    assert [(one["kind"], one["asset"]) for one in found] == [
        ("unreadable", "files"),
        ("unreadable", "versions"),
    ]
    assert found[0]["message"].startswith("2025-01-02 (1): lake/files/day=2025-01-02/data.parquet")
    again = "partita materialize files 2025-01-02 --force"
    assert found[0]["hint"].splitlines()[0] == again
    assert again in shop.run("state", "verify", "--deep", code=1).out
    repaired(shop, found)


def test_a_damaged_footer_is_told_once_and_the_other_partitions_are_still_read(shop: Shop) -> None:
    path = day(shop, "files", 2)
    flip(path, path.stat().st_size - 100)
    flip(day(shop, "files", 4), 5_000)
    found = problems(shop)
    assert [one["message"][:10] for one in found] == ["2025-01-02", "2025-01-04"]
    assert (
        shop.run("state", "verify", "--json", code=1).data["problems"][0]["kind"] == "unreadable"
    )


def test_a_byte_that_changed_in_a_block_of_duckdb_is_told_with_its_partitions(shop: Shop) -> None:
    path = shop.folder / "shop.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        [(block,)] = connection.execute(
            "select distinct block_id from pragma_storage_info('orders')"
            " where column_name = 'id' and segment_type = 'BIGINT' and persistent"
        ).fetchall()
    flip(path, 3 * 4096 + block * 262_144 + 5_000)
    found = problems(shop)
    assert {(one["kind"], one["asset"]) for one in found} == {("unreadable", "orders")}
    assert [one["message"][:25] for one in found] == ["2025-01-01...2025-01-04 (4)"[:25]]
    # DuckDB can't write to a table with such a block: only all of it can be made anew.
    assert found[0]["hint"].endswith(
        "partita state restart orders, and then partita materialize orders"
    )
    shop.run("state", "restart", "orders", "--yes")
    shop.run("materialize", "orders")
    assert problems(shop, code=0) == []


def test_rows_that_were_deleted_by_hand_are_missed_partition_by_partition(shop: Shop) -> None:
    with duckdb.connect(str(shop.folder / "shop.duckdb")) as connection:
        connection.execute("delete from orders where _partition = '2025-01-02' and id % 2 = 0")
        connection.execute("delete from orders where _partition = '2025-01-04'")
        connection.execute("delete from total")
        connection.execute("delete from latest where id = 1")
    found = problems(shop)
    assert found == [
        {
            "kind": "rows",
            "asset": "orders",
            "message": "2025-01-02, 2025-01-04 (2): shop.duckdb: orders holds other rows than were written,"
            " for instance 2025-01-02: 1,500 instead of 3,000",
            "hint": "partita materialize orders '2025-01-02, 2025-01-04' --force",
        },
        {
            "kind": "rows",
            "asset": "total",
            "message": "shop.duckdb: total holds other rows than were written: 0 instead of 1",
            "hint": "partita materialize total --force",
        },
    ]
    repaired(shop, found)


def test_a_destination_that_is_none_is_told_once_for_each_asset(shop: Shop) -> None:
    (shop.folder / "shop.duckdb").write_bytes(b"no database" * 1_000)
    found = problems(shop)
    assert [(one["kind"], one["asset"]) for one in found] == [
        ("unreadable", "orders"),
        ("unreadable", "latest"),
        ("unreadable", "total"),
    ]
    assert all("is not a DuckDB database file" in one["message"] for one in found)


def test_deep_without_destinations_is_refused(shop: Shop) -> None:
    answer = shop.run("state", "verify", "--deep", "--state-only", code=2)
    assert "--deep and --state-only contradict each other" in answer.err
