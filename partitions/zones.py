"""One zone's clock as arrays: when it changes, and local time ⇄ UTC for whole arrays at once. The only user of `zoneinfo`.

Theory of operation. A zone is a list of *instants* (UTC seconds) at which its offset changes, and one offset more than that. At
instant `i` the wall clock jumps from `wall_before[i]` to `wall_after[i]`. If it jumps forward, the local times in
`[wall_before, wall_after)` never happen (a *gap*); if back, those in `[wall_after, wall_before)` happen twice (an *overlap*).
Both lists ascend, because changes are days apart and jumps are at most about a day, so `searchsorted` finds the offset that
holds at any local time: no object per time, 87,600 conversions in a millisecond.

`zoneinfo` keeps its table to itself, so changes are found by probing the offset every five days and bisecting to the second.
The step must stay under six days: the shortest two changes that cancel out are 167 hours apart. Decades are probed when first
needed and kept. What windows are cut from these clocks is decided in `cadence` and `cron_ticks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np

from partitions.errors import PartitionDefinitionError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY: Final = 86_400
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PROBE_STEP: Final = 5 * DAY
_SECOND: Final = timedelta(seconds=1)
_FIRST_DECADE: Final = 1
_LAST_DECADE: Final = 998
_FIRST_SECOND: Final = (datetime(_FIRST_DECADE * 10, 1, 1, tzinfo=UTC) - EPOCH) // _SECOND
_LAST_SECOND: Final = (datetime(_LAST_DECADE * 10 + 10, 1, 1, tzinfo=UTC) - EPOCH) // _SECOND
FIRST_YEAR: Final = 1600
"""Definitions reach from this year …"""
LAST_YEAR: Final = 2400
"""… to before this one: what lies beyond is a slip of the pen, such as the year 0205."""


@dataclass(frozen=True, slots=True, eq=False)
class ZoneClock:
    """The clock of one zone over some decades. Outside of them it goes on with the first and the last offset.

    >>> clock = zone_clock("Europe/Berlin", 1_735_689_600, 1_767_225_600)  # 2025
    >>> clock.first_utc(np.array([1_743_301_800])).tolist()  # 2025-03-30 02:30 never happens: the change at 03:00
    [1743296400]
    """

    instants: NDArray[np.int64]
    offsets: NDArray[np.int64]
    wall_before: NDArray[np.int64]
    wall_after: NDArray[np.int64]

    def offset_at(self, utc: NDArray[np.int64]) -> NDArray[np.int64]:
        """Seconds east of UTC at each instant."""
        return self.offsets[np.searchsorted(self.instants, utc, side="right")]

    def local(self, utc: NDArray[np.int64]) -> NDArray[np.int64]:
        """What the wall clock shows at each instant, as seconds since 1970-01-01T00:00 local."""
        return utc + self.offset_at(utc)

    def first_utc(self, local: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first instant at which the wall clock shows `local`; for a time in a gap, the end of the gap."""
        segment = np.searchsorted(self.wall_before, local, side="right")
        utc = local - self.offsets[segment]
        if not len(self.instants):
            return utc
        began = self.instants[np.maximum(segment - 1, 0)]
        return np.where(segment > 0, np.maximum(utc, began), utc)

    def last_utc(self, local: NDArray[np.int64]) -> NDArray[np.int64]:
        """The last instant at which the wall clock shows `local`; meaningless in a gap."""
        return local - self.offsets[np.searchsorted(self.wall_after, local, side="right")]

    def happens(self, local: NDArray[np.int64]) -> NDArray[np.bool_]:
        """False for the local times in a gap."""
        shown: NDArray[np.bool_] = self.local(self.first_utc(local)) == local
        return shown

    def is_second(self, utc: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True where the wall clock shows what it has shown before."""
        earlier: NDArray[np.bool_] = self.first_utc(self.local(utc)) < utc
        return earlier

    def days_skipped(self, days: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True for local days (days since 1970-01-01) that lie whole in a gap: Apia had no 2011-12-30."""
        if not len(self.instants):
            return np.zeros(days.shape, dtype=np.bool_)
        change = np.searchsorted(self.wall_before, days * DAY, side="right") - 1
        until = self.wall_after[np.maximum(change, 0)]
        return (change >= 0) & (days * DAY + DAY <= until)


@lru_cache(maxsize=512)
def load_zone(name: str) -> ZoneInfo:
    """The zone called `name`.

    Raises:
        PartitionDefinitionError: no such zone, or one that differs between machines; names the nearest.

    >>> load_zone("Europe/Berlin").key
    'Europe/Berlin'
    """
    if not isinstance(name, str):
        raise PartitionDefinitionError(
            f"a time zone is the name of one, not {name!r}", hint='write timezone="Europe/Berlin"'
        )
    # `right/` counts leap seconds; `localtime` is a link to whatever this machine has.
    local_only = name.startswith(("posix/", "right/")) or name in {
        "localtime",
        "posixrules",
        "Factory",
    }
    if not local_only:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            # ValueError: a path that leaves the database; OSError: a folder of it, such as "Europe".
            pass
    near = _nearest_zones(name)
    hint = "did you mean " + " or ".join(near) + "?" if near else "names look like Europe/Berlin"
    raise PartitionDefinitionError(f"there is no time zone {name!r}", hint=hint)


def _nearest_zones(name: str) -> tuple[str, ...]:
    """Zones spelled like `name`, or whose city is."""
    zones = sorted(available_timezones())
    folded = {zone.casefold(): zone for zone in zones}
    wanted = name.casefold().replace(" ", "_")
    cities = {zone.rpartition("/")[2]: zone for zone in folded}
    near = [folded[zone] for zone in nearest(wanted, folded)]
    near += [folded[cities[city]] for city in nearest(wanted.rpartition("/")[2], cities)]
    return tuple(dict.fromkeys(near))[:3]


def zone_clock(name: str, lo: int, hi: int) -> ZoneClock:
    """The clock of zone `name` from `lo` to `hi` (UTC seconds) and at least three days beyond both.

    Raises:
        PartitionDefinitionError: there is no such zone.
    """
    return _clock(name, _decade(lo - 3 * DAY), _decade(hi + 3 * DAY))


def seconds_of(instant: datetime) -> int:
    """UTC epoch seconds of an aware instant, rounded down.

    >>> seconds_of(datetime(1970, 1, 1, 0, 1, tzinfo=UTC))
    60
    """
    return (instant - EPOCH) // _SECOND


def instant_of(seconds: int, zone: str) -> datetime:
    """The instant `seconds` after the epoch, as a datetime in `zone`.

    >>> instant_of(0, "Asia/Kolkata").isoformat()
    '1970-01-01T05:30:00+05:30'
    """
    return (EPOCH + timedelta(seconds=seconds)).astimezone(load_zone(zone))


def offset_text(seconds: int) -> str:
    """An offset as people write it; seconds only where there are some.

    >>> offset_text(3600), offset_text(-12_600), offset_text(21_600)
    ('+01:00', '-03:30', '+06:00')
    """
    sign = "-" if seconds < 0 else "+"
    minutes, rest = divmod(abs(seconds), 60)
    text = f"{sign}{minutes // 60:02d}:{minutes % 60:02d}"
    return f"{text}:{rest:02d}" if rest else text


def _decade(seconds: int) -> int:
    """The decade of an instant; the first or last that datetime can compute with, if it lies beyond."""
    if seconds < _FIRST_SECOND:
        return _FIRST_DECADE
    if seconds >= _LAST_SECOND:
        return _LAST_DECADE
    return (EPOCH + timedelta(seconds=seconds)).year // 10


@lru_cache(maxsize=512)
def _clock(name: str, first_decade: int, last_decade: int) -> ZoneClock:
    parts = [_changes(name, decade) for decade in range(first_decade, last_decade + 1)]
    changes = [change for part in parts for change in part[1]]
    instants = np.array([instant for instant, _ in changes], dtype=np.int64)
    offsets = np.array([parts[0][0], *(offset for _, offset in changes)], dtype=np.int64)
    return ZoneClock(instants, offsets, instants + offsets[:-1], instants + offsets[1:])


@lru_cache(maxsize=4096)
def _changes(name: str, decade: int) -> tuple[int, tuple[tuple[int, int], ...]]:
    """The offset just before the decade, and `(instant, offset from then on)` for each change in it."""
    zone = load_zone(name)

    def offset_at(seconds: int) -> int:
        naive = datetime(1970, 1, 1) + timedelta(seconds=seconds)  # noqa: DTZ001 - fromutc wants its own zone on it
        offset = zone.fromutc(naive.replace(tzinfo=zone)).utcoffset()
        assert offset is not None
        return int(offset.total_seconds())

    begin = _year_start(decade * 10) - 1
    end = _year_start(decade * 10 + 10) - 1
    before = offset_at(begin)
    changes = []
    known_at, known = begin, before
    while known_at < end:
        probe_at = min(known_at + _PROBE_STEP, end)
        offset = offset_at(probe_at)
        if offset != known:
            low, high = known_at, probe_at
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset_at(middle) == known else (low, middle)
            changes.append((high, offset_at(high)))
            # Go on from the change, not from the probe: what else happens before the probe is found too.
            probe_at, offset = high, changes[-1][1]
        known_at, known = probe_at, offset
    return before, tuple(changes)


def _year_start(year: int) -> int:
    return seconds_of(datetime(year, 1, 1, tzinfo=UTC))
