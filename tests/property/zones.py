"""Zones with unusual rules, and hypothesis strategies that look where a calendar can go wrong: around clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from partitions.zones import EPOCH, zone_clock

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # changes by 30 minutes
    "Pacific/Apia",  # had no 2011-12-30
    "Pacific/Kwajalein",  # had no 1993-08-21
    "Pacific/Kiritimati",  # had no 1994-12-31, and 1995 began at 00:40
    "Pacific/Enderbury",
    "Pacific/Fakaofo",
    "Asia/Kathmandu",  # 1986 began at 00:15
    "Asia/Kolkata",
    "Asia/Colombo",  # put back from 00:30 to 00:00
    "Asia/Pyongyang",  # put forward from 23:30 to 00:00
    "Asia/Tehran",
    "Asia/Kabul",
    "Asia/Yangon",
    "Asia/Karachi",
    "Asia/Dhaka",
    "Asia/Singapore",
    "Asia/Beirut",  # changes at midnight
    "Asia/Gaza",
    "Asia/Hebron",
    "Asia/Amman",
    "Asia/Ust-Nera",
    "America/St_Johns",  # changed at 00:01
    "America/Sao_Paulo",  # midnights that never happen
    "America/Havana",  # midnights that happen twice
    "America/Caracas",  # changed by 30 minutes at 02:30
    "America/Santo_Domingo",  # summer time of half an hour
    "America/Guyana",
    "America/Paramaribo",
    "America/Asuncion",
    "America/Santiago",
    "America/Scoresbysund",
    "America/Nuuk",
    "America/Metlakatla",
    "Atlantic/Azores",
    "Atlantic/Stanley",
    "Africa/Casablanca",  # winter time in Ramadan
    "Africa/El_Aaiun",
    "Africa/Cairo",
    "Africa/Monrovia",  # 44 minutes and 30 seconds, until 1972
    "Africa/Windhoek",
    "Antarctica/Troll",  # changes by two hours
    "Antarctica/Casey",
    "Antarctica/Vostok",
    "Australia/Eucla",
    "Europe/Dublin",  # winter time is the exception
    "Europe/Istanbul",
    "Europe/Volgograd",
    "Pacific/Chatham",
    "Pacific/Rarotonga",
    "Pacific/Norfolk",
    "Pacific/Marquesas",
    "Pacific/Tongatapu",
)

FIRST = 0
LAST = (datetime(2090, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(seconds=1)
DAY = 86_400


@cache
def changes(zone: str) -> tuple[int, ...]:
    """UTC seconds of the clock changes of a zone from 1970 to 2090."""
    instants = zone_clock(zone, FIRST, LAST).instants.tolist()
    return tuple(instant for instant in instants if FIRST <= instant < LAST)


def wall_clock(seconds: int, zone: str) -> datetime:
    """The naive local time at an instant, by `zoneinfo` alone."""
    return (EPOCH + timedelta(seconds=seconds)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


@st.composite
def zone_instants(draw: st.DrawFn) -> tuple[str, int]:
    """A zone and an instant in it, on a whole day of UTC; mostly close to a clock change."""
    zone = draw(st.sampled_from(ZONES))
    near = changes(zone)
    anywhere: SearchStrategy[int] = st.integers(FIRST // DAY, LAST // DAY - 1).map(
        lambda day: day * DAY
    )
    if not near:
        return zone, draw(anywhere)
    close = st.sampled_from(near).map(lambda instant: instant // DAY * DAY)
    return zone, draw(st.one_of(close, close, close, anywhere))
