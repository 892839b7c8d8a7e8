"""An asset that keeps a history, and one that reads it as of each day: a past day that was different makes later days again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from tests.integration.conftest import Shop

ASSETS = """
    import json
    from pathlib import Path

    import pyarrow as pa

    from assets_core import SCD2, AssetContext, Input, asset
    from partitions import DailyPartitions, LastN

    days = DailyPartitions("2025-01-01", end="2025-01-05", timezone="Europe/Berlin")


    @asset(partitions=days, write=SCD2(keys=["customer"], on_absent="close"))
    def addresses(context: AssetContext) -> pa.Table:
        told = json.loads(Path("cities.json").read_text())[context.partition_key]
        return pa.table({"customer": [1], "city": [told]})


    before = Input(addresses, mapping=LastN(1000), allow_missing=True)


    @asset(partitions=days, inputs={"history": before})
    def residents(history: pa.Table) -> pa.Table:
        return history.filter(history["is_current"])
"""
CITIES = '{"2025-01-01": "Kiel", "2025-01-02": "Kiel", "2025-01-03": "Bonn", "2025-01-04": "Bonn"}'


def rows(shop: Shop, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(shop.folder / ".partita" / "data.duckdb"), read_only=True) as file:
        return file.execute(sql).fetchall()


def test_a_past_day_that_was_different_is_replayed_for_everybody(empty: Shop) -> None:
    empty.write("assets.py", ASSETS)
    empty.write("cities.json", CITIES)
    empty.run("materialize")
    versions = "select city, day(valid_from at time zone 'Europe/Berlin'), is_current from addresses__history order by valid_from"
    assert rows(empty, versions) == [("Kiel", 1, False), ("Bonn", 3, True)]

    empty.edit("cities.json", '"2025-01-02": "Kiel"', '"2025-01-02": "Bonn"')
    empty.run("materialize", "addresses", "2025-01-02", "--force")
    assert rows(empty, versions) == [("Kiel", 1, False), ("Bonn", 2, True)]
    [status] = empty.run("status", "residents", "--json").data["assets"]
    assert (status["fresh"], status["stale"]) == (1, 3)
    empty.run("materialize")
    since = "select _partition, city, day(valid_from at time zone 'Europe/Berlin') from residents order by 1"
    assert rows(empty, since) == [
        ("2025-01-01", "Kiel", 1),
        ("2025-01-02", "Bonn", 2),
        ("2025-01-03", "Bonn", 2),
        ("2025-01-04", "Bonn", 2),
    ]


def test_days_before_a_later_start_are_in_the_history_no_more(empty: Shop) -> None:
    empty.write("assets.py", ASSETS)
    empty.write("cities.json", CITIES)
    empty.run("materialize")
    empty.edit("assets.py", 'DailyPartitions("2025-01-01"', 'DailyPartitions("2025-01-02"')
    empty.run("materialize", "--force")
    begun = "day(valid_from at time zone 'Europe/Berlin')"
    assert rows(
        empty,
        f"select _partition, {begun} from residents where _partition > '2025-01-01' order by 1",
    ) == [("2025-01-02", 2), ("2025-01-03", 3), ("2025-01-04", 3)]
    assert rows(empty, f"select city, {begun} from addresses__history order by 2") == [
        ("Kiel", 2),
        ("Bonn", 3),
    ]
