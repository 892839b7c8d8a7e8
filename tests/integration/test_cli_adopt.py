"""`materialize --adopt`: a table that something else made becomes the asset's, and only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from tests.integration.conftest import Shop

SHOP = """
    from datetime import date

    import pyarrow as pa
    from assets_core import AssetContext, Definitions, asset, load_assets
    from io_managers import DuckDBIOManager
    from partitions import DailyPartitions

    days = DailyPartitions("2025-01-01", end="2025-01-03")


    @asset(partitions=days, partition_by="day")
    def orders(context: AssetContext) -> pa.Table:
        return pa.table({"id": [1], "day": [context.window.start.date()]})


    definitions = Definitions(
        assets=load_assets(__name__), io_managers={"default": DuckDBIOManager("warehouse.duckdb")}
    )
"""


def test_a_table_of_others_is_refused_and_with_adopt_written(empty: Shop) -> None:
    empty.write("shop.py", SHOP)
    empty.write("pyproject.toml", '[tool.partita]\ndefinitions = "shop"\n')
    with duckdb.connect(str(empty.folder / "warehouse.duckdb")) as connection:
        connection.execute("create table orders (id bigint, day date)")
        connection.execute(
            "insert into orders values (7, '2024-12-31'), (8, '2025-01-01'), (9, '2025-01-02')"
        )
    refused = empty.run("materialize", code=1)
    assert "partita materialize orders --adopt" in refused.err + refused.out
    assert rows(empty) == [(7, "2024-12-31"), (8, "2025-01-01"), (9, "2025-01-02")]
    answer = empty.run("materialize", "orders", "2025-01-01", "--adopt")
    assert "adopted warehouse.duckdb: orders" in answer.err
    assert rows(empty) == [(1, "2025-01-01"), (7, "2024-12-31"), (9, "2025-01-02")]
    seen = empty.run("query", "select id, day from orders", "--json").data["rows"]
    assert seen == [{"id": 1, "day": "2025-01-01"}]
    assert "adopted" not in empty.run("materialize", "--adopt").err
    assert rows(empty) == [(1, "2025-01-01"), (1, "2025-01-02"), (7, "2024-12-31")]
    assert empty.run("state", "verify", "--deep").code == 0


def rows(shop: Shop) -> list[tuple[int, str]]:
    with duckdb.connect(str(shop.folder / "warehouse.duckdb"), read_only=True) as connection:
        return connection.execute("select id, day::varchar from orders order by all").fetchall()
