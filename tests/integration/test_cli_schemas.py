"""Rows of an older schema: `status`, `show` and `plan` name their partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.conftest import Shop

ASSETS = """
    import pyarrow as pa

    from assets_core import AssetContext, asset
    from partitions import DailyPartitions

    days = DailyPartitions("2025-01-01", end="2025-01-04", timezone="Europe/Berlin")
    columns = pa.schema({"amount": pa.int64()})


    @asset(partitions=days, schema=columns, schema_policy="discard")
    def orders(context: AssetContext) -> pa.Table:
        return pa.table({"amount": [1], "note": ["x"]})
"""
GROWN = 'pa.schema({"amount": pa.int64(), "note": pa.string()})'


def test_partitions_with_an_older_schema_are_named_until_they_are_made_again(empty: Shop) -> None:
    empty.write("assets.py", ASSETS)
    empty.run("materialize")
    assert "undeclared columns left out: 'note'" in empty.run("runs", "logs", "latest").out
    [status] = empty.run("status", "--json").data["assets"]
    assert (status["older_schema"], status["older_schema_partitions"]) == (0, None)
    shown = empty.run("show", "orders", "--json").data
    assert shown["schema"] == "amount int64 (discard)"

    empty.edit("assets.py", 'pa.schema({"amount": pa.int64()})', GROWN)
    told = "schema: 3 partitions of orders have an older schema: 2025-01-01...2025-01-03 (3)"
    assert told in empty.run("status").out
    assert told in empty.run("plan").err
    empty.run("materialize", "orders", "2025-01-02")
    [status] = empty.run("status", "orders", "--json").data["assets"]
    assert status["older_schema"] == 2
    assert status["older_schema_partitions"] == "2025-01-01, 2025-01-03 (2)"
