"""Stretches of time as people name them: `2025`, `2025-01`, `2025-W05`, `2025-01-31T05`, `yesterday`, `-7d`.

Decided here: which instants such a word means in a zone. Not decided here: which partitions lie there, and everything around a
single word (`ranges`). A period begins and ends where the wall clock says so: a day in Berlin has 23 to 25 hours, and where
midnight is skipped it begins at the end of the gap, as daily partitions do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from partitions.definitions import PartitionKind
from partitions.errors import RangeSyntaxError
from partitions.zones import instant_of, seconds_of, zone_clock

if TYPE_CHECKING:
    from collections.abc import Callable

UNITS: Final = "h, d, w, mo, y"
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clock time, which has no zone
# Far enough for any data; the clocks of zones, read by decades, still fit into a datetime beyond both ends.
_YEARS: Final = range(1000, 9900)
_WORDS: Final = {"today": 0, "yesterday": -1, "tomorrow": 1}
_RELATIVE: Final = re.compile(r"(?P<sign>[+-])(?P<count>\d{1,7})(?P<unit>[a-z]+)", re.ASCII)
_ABSOLUTE: Final = re.compile(
    r"(?P<year>\d{4})(?:-W(?P<week>\d\d)|-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d)(?::(?P<minute>\d\d)(?::(?P<second>\d\d))?(?P<offset>Z|[+-]\d\d:\d\d)?)?)?)?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Period:
    """A named stretch of time: UTC epoch seconds `[start, end)`. An instant lasts the second that it begins.

    A day or hour that the zone skips is empty, at the end of the gap: as an edge of a range it still means something.
    `looks_like` is the kind of partition whose keys are written this way, if there is one.
    """

    start: int
    end: int
    looks_like: PartitionKind | None = None


def read_period(text: str, zone: str, now: datetime) -> Period | None:
    """Return the period that `text` names on the clock of `zone`; None if it does not look like one.

    Years, months, ISO weeks and days are whole; `2025-01-31T05` is the hour (two where it repeats), `2025-01-31T05:30` the instant
    (the first where it repeats, unless an offset is written behind it). `today` is the local date of `now`; `-7d` the day seven
    days before it; `-1mo` and `-1y` the same date then, or the last of that month; `-3h` the hour that began three hours before the
    one of `now`; `now` the instant.

    Raises:
        RangeSyntaxError: it looks like a period and is none: month 13, 30 February, an unknown unit.

    >>> from datetime import UTC
    >>> period = read_period("2025-03-30", "Europe/Berlin", datetime(2025, 6, 1, tzinfo=UTC))
    >>> (period.end - period.start) // 3600
    23
    """
    local = instant_of(seconds_of(now), zone).replace(tzinfo=None)
    if text == "now":
        return Period(seconds_of(now), seconds_of(now) + 1)
    if text in _WORDS:
        # No key is written like this, so that nobody is told what keys look like who asked for a day without partitions.
        return replace(_day(local + timedelta(days=_WORDS[text]), zone), looks_like=None)
    relative = _RELATIVE.fullmatch(text)
    if relative is not None:
        return replace(_relative(text, relative, zone, now, local), looks_like=None)
    absolute = _ABSOLUTE.fullmatch(text)
    return None if absolute is None else _absolute(text, absolute, zone)


def _absolute(text: str, parts: re.Match[str], zone: str) -> Period:
    year = int(parts["year"])
    if year not in _YEARS:
        raise RangeSyntaxError(
            f"{text!r}: the year must be from {_YEARS[0]} to {_YEARS[-1]}", hint="type 2025-01-31"
        )
    if parts["week"] is not None:
        monday = _or_fail(text, lambda: datetime.fromisocalendar(year, int(parts["week"]), 1))
        return _between(monday, monday + timedelta(weeks=1), zone, PartitionKind.WEEK)
    if parts["month"] is None:
        return _between(datetime(year, 1, 1), datetime(year + 1, 1, 1), zone, None)  # noqa: DTZ001
    month = int(parts["month"])
    begin = _or_fail(text, lambda: datetime(year, month, int(parts["day"] or 1)))  # noqa: DTZ001
    if parts["day"] is None:
        return _between(begin, _months_later(begin, 1), zone, PartitionKind.MONTH)
    if parts["hour"] is None:
        return _day(begin, zone)
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    begin = _or_fail(text, lambda: begin.replace(hour=hour, minute=minute, second=second))
    if parts["minute"] is None:
        return _between(begin, begin + timedelta(hours=1), zone, None)
    if parts["offset"] is None:
        at = _first_instant(begin, zone)
    else:
        at = seconds_of(_or_fail(text, lambda: datetime.fromisoformat(text)))
    return Period(at, at + 1, PartitionKind.HOUR)


def _relative(
    text: str, parts: re.Match[str], zone: str, now: datetime, local: datetime
) -> Period:
    count = int(parts["sign"] + parts["count"])
    unit = parts["unit"]
    if unit not in UNITS.split(", "):
        raise RangeSyntaxError(
            f"{text!r}: {unit!r} is no unit of time; the units are {UNITS}",
            hint=f"type {parts['sign']}{parts['count']}{'mo' if unit.startswith('m') else 'd'}",
        )
    try:
        match unit:
            case "h":
                # Hours pass in real time, also in the night that the clocks change.
                moved = instant_of(seconds_of(now) + count * 3600, zone)
            case "d" | "w":
                moved = local + timedelta(days=count * (7 if unit == "w" else 1))
            case _:
                moved = _months_later(local, count * (12 if unit == "y" else 1))
    except (OverflowError, ValueError):
        moved = datetime.min  # noqa: DTZ901 - any year outside of the allowed ones
    if moved.year not in _YEARS:
        raise RangeSyntaxError(f"{text!r} leaves the calendar", hint="type -7d...today")
    if unit == "h":
        begin = seconds_of(moved) - moved.minute * 60 - moved.second
        return Period(begin, begin + 3600)
    return _day(moved, zone)


def _months_later(begin: datetime, months: int) -> datetime:
    """Return the same date `months` later, or the last of that month. Raises ValueError outside of the calendar."""
    year, month = divmod(begin.year * 12 + begin.month - 1 + months, 12)
    first = datetime(year, month + 1, 1)  # noqa: DTZ001
    following = date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
    return first + timedelta(days=min(begin.day, (following - first.date()).days) - 1)


def _day(moment: datetime, zone: str) -> Period:
    begin = datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001
    return _between(begin, begin + timedelta(days=1), zone, PartitionKind.DAY)


def _between(begin: datetime, end: datetime, zone: str, kind: PartitionKind | None) -> Period:
    return Period(_first_instant(begin, zone), _first_instant(end, zone), kind)


def _first_instant(local: datetime, zone: str) -> int:
    seconds = (local - _EPOCH) // timedelta(seconds=1)
    clock = zone_clock(zone, seconds, seconds)
    return int(clock.first_utc(np.array([seconds], dtype=np.int64))[0])


def _or_fail(text: str, make: Callable[[], datetime]) -> datetime:
    try:
        return make()
    except ValueError as error:
        raise RangeSyntaxError(
            f"{text!r} is not in the calendar: {error}", hint="type a date such as 2025-01-31"
        ) from error
