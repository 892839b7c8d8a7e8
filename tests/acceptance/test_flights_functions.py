"""The example's functions without any framework: calling an asset calls the plain function."""

from __future__ import annotations

import sys
from datetime import date, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest

from assets_core import AssetContext
from partitions import TimeWindow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def example(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The example's module, imported as a project would."""
    root: Path = request.config.rootpath
    sys.path.insert(0, str(root / "examples" / "flights"))
    yield import_module("flights_assets")
    sys.path.remove(str(root / "examples" / "flights"))
    for name in ("flights_assets", "flights_source"):
        del sys.modules[name]


def context(start: datetime, end: datetime, *keys: str) -> AssetContext:
    """What an asset is told about a call; wall-clock New York time, end exclusive."""
    import logging

    window = TimeWindow(start.replace(tzinfo=NEW_YORK), end.replace(tzinfo=NEW_YORK))
    return AssetContext(
        asset="any",
        run_id="run",
        attempt=1,
        log=logging.getLogger(__name__),
        partition_keys=keys,
        window=window,
    )


def days(start: date, count: int = 1) -> AssetContext:
    """A call for `count` whole days."""
    midnight = datetime.combine(start, datetime.min.time())
    keys = [(start + timedelta(days=n)).isoformat() for n in range(count)]
    return context(midnight, midnight + timedelta(days=count), *keys)


@pytest.mark.parametrize(
    ("day", "rows", "instants"),
    [
        pytest.param(date(2013, 3, 9), 72, 24, id="an ordinary day"),
        pytest.param(date(2013, 3, 10), 69, 23, id="the day without 02:00"),
        pytest.param(
            date(2013, 11, 3),
            72,
            24,
            id="the day with 01:00 twice; its first hour was not recorded",
        ),
        pytest.param(date(2013, 12, 31), 0, 0, id="a day after the end of the file"),
    ],
)
def test_a_local_day_of_weather_is_cut_out_by_instant(
    example: Any, day: date, rows: int, instants: int
) -> None:
    table = example.weather_hourly(days(day))
    assert table.num_rows == rows
    assert len(set(table["time_hour"].to_pylist())) == instants


def test_the_hour_that_happens_twice_is_two_partitions_of_one_row_per_airport(
    example: Any,
) -> None:
    index = example.hours.index(datetime(2014, 1, 1, tzinfo=NEW_YORK))
    keys = ("2013-11-03T01:00", "2013-11-03T01:00-05:00")
    instants = set()
    for key in keys:
        window = index.window(index.slot(key))
        table = example.source.weather_between(window.start, window.end)
        assert sorted(table["origin"].to_pylist()) == ["EWR", "JFK", "LGA"]
        assert table["hour"].to_pylist() == [1, 1, 1]
        instants |= set(table["time_hour"].to_pylist())
    assert len(instants) == 2


def test_weather_is_rolled_up_per_airport_without_the_broken_sensor(example: Any) -> None:
    table = example.weather_daily(example.weather_hourly(days(date(2013, 2, 12))))
    rows = {row["origin"]: row for row in table.to_pylist()}
    assert set(rows) == {"EWR", "JFK", "LGA"}
    assert all(row["observed_on"] == date(2013, 2, 12) for row in rows.values())
    assert rows["EWR"]["hours"] == 24
    assert rows["EWR"]["max_wind"] < 50


def test_no_weather_rolls_up_to_no_rows(example: Any) -> None:
    empty = example.weather_hourly(days(date(2013, 12, 31)))
    table = example.weather_daily(empty)
    assert table.num_rows == 0
    assert "mean_temp" in table.column_names


def test_flights_belong_to_the_day_on_which_they_were_scheduled(example: Any) -> None:
    table = example.flights_daily(days(date(2013, 1, 1), 2))
    assert table.num_rows == 842 + 943
    assert set(table["scheduled_on"].to_pylist()) == {date(2013, 1, 1), date(2013, 1, 2)}


def clean(example: Any, day: date) -> pa.Table:
    """The cleaned flights of a day."""
    with duckdb.connect() as database:
        bronze = database.from_arrow(example.flights_daily(days(day)))
        return example.flights_clean(bronze).to_arrow_table()


def test_cleaned_flights_keep_every_row_and_say_what_became_of_it(example: Any) -> None:
    table = clean(example, date(2013, 1, 1))
    assert table.num_rows == 842
    outcomes = table["outcome"].to_pylist()
    assert (outcomes.count("cancelled"), outcomes.count("diverted")) == (4, 7)
    keys = zip(*(table[name].to_pylist() for name in ("carrier", "flight", "origin")), strict=True)
    assert len(set(keys)) == 842


def test_the_check_passes_the_real_flights_and_stops_a_flight_to_where_it_began(
    example: Any,
) -> None:
    table = clean(example, date(2013, 1, 1))
    assert example.flights_are_plausible(table).passed
    spoiled = table.set_column(table.column_names.index("dest"), "dest", table["origin"])
    verdict = example.flights_are_plausible(spoiled)
    assert not verdict.passed
    assert verdict.metadata == {"flights": 842}


def test_delays_stand_beside_the_days_weather(example: Any) -> None:
    day = date(2013, 1, 1)
    weather = example.weather_daily(example.weather_hourly(days(day)))
    table = example.delays_by_carrier(clean(example, day), weather)
    rows = table.to_pylist()
    assert sum(row["flights"] for row in rows) == 842
    assert sum(row["cancelled"] for row in rows) == 4
    assert len({(row["mean_temp"], row["max_wind"]) for row in rows}) == 1
    assert rows[0]["mean_temp"] is not None


def test_a_day_without_weather_keeps_its_flights(example: Any) -> None:
    day = date(2013, 12, 31)
    weather = example.weather_daily(example.weather_hourly(days(day)))
    rows = example.delays_by_carrier(clean(example, day), weather).to_pylist()
    assert sum(row["flights"] for row in rows) == 776
    assert {row["mean_temp"] for row in rows} == {None}


def test_the_trend_weighs_each_day_by_its_flights(example: Any) -> None:
    week = pa.table(
        {
            "carrier": ["AA", "AA"],
            "flights": [10, 31],
            "cancelled": [0, 1],
            "delay_minutes": [100, 0],
        }
    )
    (row,) = example.delay_trend(days(date(2013, 1, 2)), week).to_pylist()
    assert row == {
        "day": date(2013, 1, 2),
        "carrier": "AA",
        "days": 2,
        "flights": 41,
        "cancelled": 1,
        "mean_delay": 2.5,
    }


def test_a_destination_that_is_no_known_airport_keeps_a_null_name(example: Any) -> None:
    flights = clean(example, date(2013, 1, 1))
    rows = example.destinations_monthly(flights, example.airports()).to_pylist()
    names = {row["dest"]: row["name"] for row in rows}
    assert names["SJU"] is None
    assert names["IAH"] == "George Bush Intercontinental"
    assert sum(row["flights"] for row in rows) == 842
