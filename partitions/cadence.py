"""Calendars: where the hours, days, weeks and months of a zone begin, as int64 UTC seconds, and what each is called.

A calendar knows neither a definition's start nor its end: its windows, ids and keys are those of the zone, for ever. `starts(lo,
hi)` gives the same window the same id and the same key however much is asked for. Cron ticks, a calendar too, live in
`cron_ticks`; clocks in `zones`; what the user writes in `time_windows`.

Theory of operation:

- A *day* begins at the first instant at which the wall clock shows its nominal start (midnight plus `offset`), or, where that is
  skipped, at the end of the gap. A local day that is skipped whole (Apia, 2011-12-30) is no window. Weeks and months begin where
  their first day does.
- An *hour* begins whenever the wall clock shows a whole hour, so a repeated hour is two windows and a skipped one none. No hour
  window is shorter than an hour: a change by 30 minutes lengthens the hour that it falls in (Lord Howe), or, where the odd half
  hour touches a midnight, the neighbour on its own side of that midnight. So hours always nest in days, and starts are at least
  3,600 s apart, which makes `start // 3600` a unique id in every zone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

import numpy as np

from partitions.definitions import PartitionKind
from partitions.zones import DAY, offset_text, zone_clock

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOUR: Final = 3600
WEEKDAYS: Final = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_EPOCH_MONTH: Final = 1970 * 12
_INSTANT_KEY: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d)(?:[+-]\d\d:\d\d(?::\d\d)?)?", re.ASCII
)
_DATE_KEY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_WEEK_KEY: Final = re.compile(r"(\d{4})-W(\d\d)", re.ASCII)
_MONTH_KEY: Final = re.compile(r"(\d{4})-(\d\d)", re.ASCII)


class Calendar(Protocol):
    """Windows of one cadence in one zone, without beginning or end. Frozen and hashable."""

    kind: ClassVar[PartitionKind]
    adjective: ClassVar[str]
    """As in "hourly keys"."""
    nominal: ClassVar[int]
    """Seconds that a window usually lasts; 0 if that can't be said."""
    longest: ClassVar[int]
    """No window lasts longer, in seconds; for cron only a first guess."""

    @property
    def zone(self) -> str:
        """IANA name of the zone."""

    @property
    def offset(self) -> int:
        """Seconds from a local midnight to the nominal start of the window that its day begins; 0 for hours and cron."""

    @property
    def space(self) -> str:
        """Canonical text of the id space."""

    @property
    def example(self) -> str:
        """A key of this calendar."""

    def starts(self, lo: int, hi: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and starts of all windows that start in `[lo, hi)`, in order; both strictly increasing."""

    def keys(self, ids: NDArray[np.int64], starts: NDArray[np.int64]) -> list[str]:
        """The key of each window."""

    def near(self, key: str) -> tuple[int, ...]:
        """Instants where a window called `key` would start; empty if no key of this calendar looks like that."""

    def day_start(self, day: int) -> int | None:
        """The start of the window that begins on a local day (days since 1970-01-01); None if none does."""


def calendar_day(text: str) -> int | None:
    """Days since 1970-01-01 of an ISO date; None if it is not one.

    >>> calendar_day("1970-01-02"), calendar_day("2025-02-30")
    (1, None)
    """
    if not _DATE_KEY.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        return None


def day_text(day: int) -> str:
    """The ISO date of a day since 1970-01-01.

    >>> day_text(1)
    '1970-01-02'
    """
    return date.fromordinal(day + _EPOCH_ORDINAL).isoformat()


def instant_keys(zone: str, starts: NDArray[np.int64]) -> list[str]:
    """Local time of each start to the minute; with the UTC offset behind it where the clock shows it again.

    The suffix depends on the zone alone, never on which windows a definition has.

    >>> instant_keys("Europe/Berlin", np.array([1_761_436_800, 1_761_440_400]))
    ['2025-10-26T02:00', '2025-10-26T02:00+01:00']
    """
    if not len(starts):
        return []
    clock = zone_clock(zone, int(starts.min()), int(starts.max()))
    texts: list[str] = np.datetime_as_string(
        clock.local(starts).astype("datetime64[s]"), unit="m"
    ).tolist()
    for slot in np.flatnonzero(clock.is_second(starts)).tolist():
        texts[slot] += offset_text(int(clock.offset_at(starts[slot : slot + 1])[0]))
    return texts


def instants_near(zone: str, key: str) -> tuple[int, ...]:
    """The first and the last instant at which the wall clock shows what a key of `instant_keys` says."""
    shape = _INSTANT_KEY.fullmatch(key)
    if shape is None:
        return ()
    try:
        moment = datetime.fromisoformat(shape[1])
    except ValueError:
        return ()
    local = (moment.toordinal() - _EPOCH_ORDINAL) * DAY + moment.hour * HOUR + moment.minute * 60
    clock = zone_clock(zone, local, local)
    at = np.array([local], dtype=np.int64)
    return tuple(dict.fromkeys((int(clock.first_utc(at)[0]), int(clock.last_utc(at)[0]))))


@dataclass(frozen=True, slots=True)
class HourCalendar:
    """The hours of the wall clock; id = UTC hours since 1970 of the start.

    >>> HourCalendar("Asia/Kolkata").keys(*HourCalendar("Asia/Kolkata").starts(0, 7200))
    ['1970-01-01T06:00', '1970-01-01T07:00']
    """

    kind: ClassVar = PartitionKind.HOUR
    adjective: ClassVar = "hourly"
    nominal: ClassVar = HOUR
    longest: ClassVar = 3 * HOUR
    zone: str
    offset: ClassVar = 0

    @property
    def space(self) -> str:
        """`hour|zone`."""
        return f"hour|{self.zone}"

    @property
    def example(self) -> str:
        """An hourly key."""
        return "2025-01-31T05:00"

    def starts(self, lo: int, hi: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and starts of the hours that start in `[lo, hi)`."""
        edges = _hour_edges(self.zone, lo - 2 * self.longest, hi + 2 * self.longest)
        edges = edges[np.searchsorted(edges, lo) : np.searchsorted(edges, hi)]
        return edges // HOUR, edges

    def keys(self, ids: NDArray[np.int64], starts: NDArray[np.int64]) -> list[str]:
        """`2025-01-31T05:00`; the second of a repeated hour `2025-10-26T02:00+01:00`."""
        del ids
        return instant_keys(self.zone, starts)

    def near(self, key: str) -> tuple[int, ...]:
        """Instants that look like `key`."""
        return instants_near(self.zone, key)

    def day_start(self, day: int) -> int | None:
        """The first hour of a local day."""
        return DayCalendar(self.zone).day_start(day)


def _hour_edges(zone: str, lo: int, hi: int) -> NDArray[np.int64]:
    """Starts of hours in `[lo, hi)`; within a few hours of both ends, where a fix-up lacks its neighbour, not to be relied on."""
    clock = zone_clock(zone, lo, hi)
    inside = slice(
        int(np.searchsorted(clock.instants, lo, side="right")),
        int(np.searchsorted(clock.instants, hi, side="left")),
    )
    changes = clock.instants[inside]
    offsets = clock.offsets[inside.start : inside.stop + 1]
    phases = -offsets % HOUR
    before, after = clock.wall_before[inside], clock.wall_after[inside]
    # Midnights that a jump forward passes over: the day begins at the change, so an hour has to.
    passes = -(-before // DAY) * DAY < after
    extra = changes[passes & (after % HOUR != 0)]  # the others begin an hour anyway
    if not len(extra) and np.all(phases == phases[0]):
        # Nearly every zone nearly always: changes by whole hours leave one regular grid of UTC.
        return np.arange(lo + (phases[0] - lo) % HOUR, hi, HOUR, dtype=np.int64)
    bounds = np.concatenate([[lo], changes, [hi]]).astype(np.int64)
    grids = [
        np.arange(begin + (phase - begin) % HOUR, end, HOUR, dtype=np.int64)
        for begin, end, phase in zip(
            bounds[:-1].tolist(), bounds[1:].tolist(), phases.tolist(), strict=True
        )
    ]
    edges = np.concatenate(grids)
    if len(extra):
        edges = np.sort(np.concatenate([edges, extra]))
    keep = np.ones(len(edges), dtype=np.bool_)
    for slot in np.flatnonzero(np.diff(edges) < HOUR).tolist():
        # The odd part of an hour joins its neighbour, but never across a midnight.
        later = edges[slot + 1 : slot + 2]
        local = clock.local(later)
        first = clock.first_utc(local)[0] == later[0] and local[0] % DAY == 0
        midnight = first or later[0] in changes[passes]
        keep[slot if midnight else slot + 1] = False
    return edges[keep]


@dataclass(frozen=True, slots=True)
class DayCalendar:
    """Local days that begin `offset` seconds after midnight; id = days since 1970-01-01 of the local date.

    >>> DayCalendar("Europe/Berlin").keys(*DayCalendar("Europe/Berlin").starts(0, 90_000))
    ['1970-01-02']
    """

    kind: ClassVar = PartitionKind.DAY
    adjective: ClassVar = "daily"
    nominal: ClassVar = DAY
    longest: ClassVar = 3 * DAY
    zone: str
    offset: int = 0

    @property
    def space(self) -> str:
        """`day|zone|+06:00`."""
        return f"day|{self.zone}|{offset_text(self.offset)}"

    @property
    def example(self) -> str:
        """A daily key."""
        return "2025-01-31"

    def starts(self, lo: int, hi: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and starts of the days that start in `[lo, hi)`."""
        days = np.arange(
            (lo - self.offset) // DAY - 2, (hi - self.offset) // DAY + 3, dtype=np.int64
        )
        clock = zone_clock(self.zone, lo, hi)
        days = days[~clock.days_skipped(days)]
        edges = clock.first_utc(days * DAY + self.offset)
        return _between(days, edges, lo, hi)

    def keys(self, ids: NDArray[np.int64], starts: NDArray[np.int64]) -> list[str]:
        """`2025-01-31`."""
        del starts
        return _dates(ids)

    def near(self, key: str) -> tuple[int, ...]:
        """Where the day would start; a skipped one where the next does."""
        day = calendar_day(key)
        return () if day is None else (self.edge(day),)

    def day_start(self, day: int) -> int | None:
        """The start of the day; None if it is skipped."""
        clock = zone_clock(self.zone, day * DAY, day * DAY)
        skipped = bool(clock.days_skipped(np.array([day], dtype=np.int64))[0])
        return None if skipped else self.edge(day)

    def edge(self, day: int) -> int:
        """Where the day starts or, if it is skipped, the next one."""
        clock = zone_clock(self.zone, day * DAY, day * DAY)
        return int(clock.first_utc(np.array([day * DAY + self.offset], dtype=np.int64))[0])


@dataclass(frozen=True, slots=True)
class WeekCalendar:
    """Weeks that begin on a weekday (0 = Monday), `offset` seconds after midnight.

    Id = weeks since the one that 1970-01-01, a Thursday, lies in.

    >>> WeekCalendar("UTC").keys(*WeekCalendar("UTC").starts(0, 8 * 86_400))
    ['1970-W02']
    """

    kind: ClassVar = PartitionKind.WEEK
    adjective: ClassVar = "weekly"
    nominal: ClassVar = 7 * DAY
    longest: ClassVar = 9 * DAY
    zone: str
    weekday: int = 0
    offset: int = 0

    @property
    def space(self) -> str:
        """`week|zone|monday|+00:00`."""
        return f"week|{self.zone}|{WEEKDAYS[self.weekday]}|{offset_text(self.offset)}"

    @property
    def example(self) -> str:
        """A weekly key."""
        if self.weekday == 0:
            return "2025-W05"
        return day_text(self.first_day(20_119))

    @property
    def _shift(self) -> int:
        """Days from the start of week 0 to 1970-01-01."""
        return (3 - self.weekday) % 7

    def first_day(self, day: int) -> int:
        """The first day of the week that a day (since 1970-01-01) lies in."""
        return (day + self._shift) // 7 * 7 - self._shift

    def starts(self, lo: int, hi: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and starts of the weeks that start in `[lo, hi)`."""
        ids = np.arange(lo // (7 * DAY) - 2, hi // (7 * DAY) + 3, dtype=np.int64)
        clock = zone_clock(self.zone, lo - self.longest, hi + self.longest)
        edges = clock.first_utc((ids * 7 - self._shift) * DAY + self.offset)
        return _between(ids, edges, lo, hi)

    def keys(self, ids: NDArray[np.int64], starts: NDArray[np.int64]) -> list[str]:
        """ISO weeks (`2025-W05`) if they begin on Monday, as ISO weeks do; else the local date of the start."""
        del starts
        days = ids * 7 - self._shift
        if self.weekday:
            return _dates(days)
        thursdays = (days + 3).astype(
            "datetime64[D]"
        )  # a week belongs to the year of its Thursday
        years = thursdays.astype("datetime64[Y]")
        weeks = (thursdays - years.astype("datetime64[D]")).astype(np.int64) // 7 + 1
        return [
            f"{year}-W{week:02d}"
            for year, week in zip(
                np.datetime_as_string(years).tolist(), weeks.tolist(), strict=True
            )
        ]

    def near(self, key: str) -> tuple[int, ...]:
        """Where the week would start."""
        if self.weekday:
            day = calendar_day(key)
        else:
            shape = _WEEK_KEY.fullmatch(key)
            if shape is None:
                return ()
            try:
                day = date.fromisocalendar(int(shape[1]), int(shape[2]), 1).toordinal()
            except ValueError:
                return ()
            day -= _EPOCH_ORDINAL
        return () if day is None else (DayCalendar(self.zone, self.offset).edge(day),)

    def day_start(self, day: int) -> int | None:
        """The start of the week that begins on this day."""
        if self.first_day(day) != day:
            return None
        return DayCalendar(self.zone, self.offset).edge(day)


@dataclass(frozen=True, slots=True)
class MonthCalendar:
    """Months that begin `offset` seconds after the first midnight; id = year · 12 + month - 1.

    >>> MonthCalendar("UTC").keys(*MonthCalendar("UTC").starts(0, 32 * 86_400))
    ['1970-01', '1970-02']
    """

    kind: ClassVar = PartitionKind.MONTH
    adjective: ClassVar = "monthly"
    nominal: ClassVar = 30 * DAY
    longest: ClassVar = 33 * DAY
    zone: str
    offset: int = 0

    @property
    def space(self) -> str:
        """`month|zone|+00:00`."""
        return f"month|{self.zone}|{offset_text(self.offset)}"

    @property
    def example(self) -> str:
        """A monthly key."""
        return "2025-01"

    def starts(self, lo: int, hi: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and starts of the months that start in `[lo, hi)`."""
        first, last = (
            int(np.datetime64(seconds, "s").astype("datetime64[M]").astype(np.int64))
            for seconds in (lo, hi)
        )
        months = np.arange(first - 2, last + 3, dtype=np.int64)
        clock = zone_clock(self.zone, lo - 2 * self.longest, hi + 2 * self.longest)
        edges = clock.first_utc(_month_days(months) * DAY + self.offset)
        return _between(months + _EPOCH_MONTH, edges, lo, hi)

    def keys(self, ids: NDArray[np.int64], starts: NDArray[np.int64]) -> list[str]:
        """`2025-01`."""
        del starts
        texts: list[str] = np.datetime_as_string(
            (ids - _EPOCH_MONTH).astype("datetime64[M]")
        ).tolist()
        return texts

    def near(self, key: str) -> tuple[int, ...]:
        """Where the month would start."""
        shape = _MONTH_KEY.fullmatch(key)
        if shape is None or not 1 <= int(shape[2]) <= 12 or int(shape[1]) == 0:  # noqa: PLR2004 - months
            return ()
        month = int(shape[1]) * 12 + int(shape[2]) - 1 - _EPOCH_MONTH
        day = int(_month_days(np.array([month], dtype=np.int64))[0])
        return (self._edge(day),)

    def day_start(self, day: int) -> int | None:
        """The start of the month whose first day this is."""
        return self._edge(day) if day_text(day).endswith("-01") else None

    def _edge(self, day: int) -> int:
        at = day * DAY + self.offset
        return int(zone_clock(self.zone, at, at).first_utc(np.array([at], dtype=np.int64))[0])


def _month_days(months: NDArray[np.int64]) -> NDArray[np.int64]:
    """Days since 1970-01-01 of the first of each month since 1970-01."""
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def _dates(days: NDArray[np.int64]) -> list[str]:
    texts: list[str] = np.datetime_as_string(days.astype("datetime64[D]")).tolist()
    return texts


def _between(
    ids: NDArray[np.int64], edges: NDArray[np.int64], lo: int, hi: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    inside = slice(int(np.searchsorted(edges, lo)), int(np.searchsorted(edges, hi)))
    return ids[inside], edges[inside]
