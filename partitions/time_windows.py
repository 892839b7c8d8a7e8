"""What the user writes for time: hourly, daily, weekly, monthly and cron partitions.

Only what is wrong with a definition as such is decided here. Where windows begin and what they are called is the calendar's
(`cadence`, `cron_ticks`); which of them exist at an instant, the index's (`time_index`); how `start` and `end` are read,
`local_times`'.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeAlias

from partitions.cadence import (
    WEEKDAYS,
    DayCalendar,
    HourCalendar,
    MonthCalendar,
    WeekCalendar,
)
from partitions.cron_ticks import CronCalendar, parse_cron
from partitions.definitions import (
    NO_KEY_IDS,
    KeyIds,
    PartitionIndex,
    PartitionKind,
    check_now,
)
from partitions.errors import PartitionDefinitionError, nearest
from partitions.local_times import Resolved, resolve
from partitions.time_index import TimeWindow, check_count, index_for
from partitions.zones import DAY, load_zone, offset_text, seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from partitions.cadence import Calendar

__all__ = [
    "CronPartitions",
    "DailyPartitions",
    "HourlyPartitions",
    "LocalTime",
    "MonthlyPartitions",
    "TimePartitions",
    "TimeWindow",
    "WeeklyPartitions",
]

LocalTime: TypeAlias = str | date | datetime
"""A local date or time in the definition's zone, as text or object; with a UTC offset only to say which of two equal times."""

Weekday: TypeAlias = Literal[
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
]

_NO_OFFSET: Final = timedelta(0)


class TimePartitions(ABC):
    """What hourly, daily, weekly, monthly and cron definitions share."""

    __slots__ = ()

    kind: ClassVar[PartitionKind]
    start: LocalTime
    end: LocalTime | None
    timezone: str
    end_offset: int
    first_edge: int
    last_edge: int | None

    @property
    @abstractmethod
    def calendar(self) -> Calendar:
        """The windows of this cadence without start and end."""

    @abstractmethod
    def _cadence(self) -> str:
        """How often, in words."""

    @property
    def space(self) -> str:
        """Kind, zone and what else moves the edges; not start, end or end_offset."""
        return self.calendar.space

    def index(self, now: datetime, key_ids: KeyIds = NO_KEY_IDS) -> PartitionIndex:
        """The windows that have ended by `now`, and `end_offset` further ones; none that starts at `end` or later.

        O(1) until the next window ends, then O(windows).

        Raises:
            PartitionDefinitionError: more than `MAX_PARTITIONS` windows.
            ValueError: `now` is naive.

        >>> from datetime import UTC
        >>> DailyPartitions("2025-01-01").index(datetime(2025, 1, 3, 12, tzinfo=UTC)).keys()
        ['2025-01-01', '2025-01-02']
        """
        del key_ids
        check_now(now)
        return index_for(self, seconds_of(now))

    def dictionary_keys(self, key_ids: KeyIds = NO_KEY_IDS) -> Mapping[str, tuple[str, ...]]:
        """Nothing: ids are computed."""
        del key_ids
        return {}

    def describe(self) -> str:
        """`daily from 2013-01-01 to 2014-01-01 (America/New_York)`; the end is exclusive."""
        until = f" to {self.end}" if self.end is not None else ""
        return f"{self._cadence()} from {self.start}{until} ({self.timezone})"

    def _settle(self) -> None:
        """Check all fields and put start and end into their normal form, so that equal definitions are equal.

        Raises:
            PartitionDefinitionError: see the class.
        """
        if isinstance(self.end_offset, bool) or not isinstance(self.end_offset, int):
            raise PartitionDefinitionError(
                f"end_offset is a number of windows, not {self.end_offset!r}"
            )
        load_zone(self.timezone)
        calendar = self.calendar
        first = resolve(self.start, "start", calendar)
        last: Resolved | None = None
        if self.end is not None:
            last = resolve(self.end, "end", calendar)
            if first.aware is not last.aware:
                raise PartitionDefinitionError(
                    f"one of start={self.start} and end={self.end} has a UTC offset, the other has not",
                    hint="write both as local times",
                )
            if last.instant <= first.instant:
                raise PartitionDefinitionError(
                    f"start {first.text} is not before end {last.text}",
                    hint="end is exclusive: for one day write the next as the end",
                )
            if calendar.nominal:
                check_count(self.describe(), (last.instant - first.instant) // calendar.nominal)
            else:
                calendar.starts(first.instant, last.instant)
        for name, value in (
            ("start", first.text),
            ("end", last.text if last else None),
            ("first_edge", first.instant),
            ("last_edge", last.instant if last else None),
        ):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class HourlyPartitions(TimePartitions):
    """Hours of the wall clock, `start` inclusive, `end` exclusive. A repeated hour is two partitions, a skipped one none.

    In a zone that changes by less than an hour the hour of the change is longer or the one beside it (`DESIGN.md`); no partition
    is shorter than an hour.

    Raises:
        PartitionDefinitionError: unknown zone; start or end is not a whole hour, is skipped by a clock change, or happens
            twice without a UTC offset that says which; start not before end; too many partitions.

    >>> from datetime import UTC
    >>> now = datetime(2025, 10, 27, tzinfo=UTC)
    >>> HourlyPartitions("2025-10-26", end="2025-10-27", timezone="Europe/Berlin").index(now).keys()[1:4]
    ['2025-10-26T01:00', '2025-10-26T02:00', '2025-10-26T02:00+01:00']
    """

    kind: ClassVar = PartitionKind.HOUR
    start: LocalTime
    _: KW_ONLY
    end: LocalTime | None = None
    timezone: str = "UTC"
    end_offset: int = 0
    first_edge: int = field(init=False, repr=False, compare=False)
    last_edge: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._settle()

    @property
    def calendar(self) -> Calendar:
        """Hours of the zone."""
        return HourCalendar(self.timezone)

    def _cadence(self) -> str:
        return "hourly"


@dataclass(frozen=True, slots=True)
class DailyPartitions(TimePartitions):
    """Local days, `start` inclusive, `end` exclusive; with `offset` each begins that long after its midnight.

    A day is named by its date even if it begins at 06:00. A day has 23, 24 or 25 hours; a date that the zone skipped has no
    partition.

    Raises:
        PartitionDefinitionError: unknown zone; start or end is not a day of the zone; start not before end; too many partitions;
            offset not whole minutes from 0 to less than a day.

    >>> DailyPartitions("2013-01-01", end="2014-01-01", timezone="America/New_York").describe()
    'daily from 2013-01-01 to 2014-01-01 (America/New_York)'
    """

    kind: ClassVar = PartitionKind.DAY
    start: LocalTime
    _: KW_ONLY
    end: LocalTime | None = None
    timezone: str = "UTC"
    offset: timedelta = _NO_OFFSET
    end_offset: int = 0
    first_edge: int = field(init=False, repr=False, compare=False)
    last_edge: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_offset(self.offset, days=1)
        self._settle()

    @property
    def calendar(self) -> Calendar:
        """Days of the zone."""
        return DayCalendar(self.timezone, _whole(self.offset))

    def _cadence(self) -> str:
        return "daily" + _at(self.offset)


@dataclass(frozen=True, slots=True)
class WeeklyPartitions(TimePartitions):
    """Weeks that begin on `starts_on`, `offset` after its midnight; `start` and `end` (exclusive) are first days of weeks.

    Keys are ISO weeks (`2025-W05`) if weeks begin on Monday, else the date of the first day.

    Raises:
        PartitionDefinitionError: as for days; `starts_on` is not a weekday, or start or end not the first day of a week.

    >>> from datetime import UTC
    >>> now = datetime(2025, 2, 1, tzinfo=UTC)
    >>> WeeklyPartitions("2025-01-13").index(now).keys()
    ['2025-W03', '2025-W04']
    """

    kind: ClassVar = PartitionKind.WEEK
    start: LocalTime
    _: KW_ONLY
    end: LocalTime | None = None
    timezone: str = "UTC"
    starts_on: Weekday = "monday"
    offset: timedelta = _NO_OFFSET
    end_offset: int = 0
    first_edge: int = field(init=False, repr=False, compare=False)
    last_edge: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_offset(self.offset, days=1)
        name = str(self.starts_on).lower()
        if name not in WEEKDAYS:
            near = nearest(name, WEEKDAYS)
            raise PartitionDefinitionError(
                f"starts_on={self.starts_on!r} is not a weekday",
                hint=f"did you mean {near[0]}?" if near else f"write one of {', '.join(WEEKDAYS)}",
            )
        object.__setattr__(self, "starts_on", name)
        self._settle()

    @property
    def calendar(self) -> Calendar:
        """Weeks of the zone."""
        return WeekCalendar(self.timezone, WEEKDAYS.index(self.starts_on), _whole(self.offset))

    def _cadence(self) -> str:
        first = f" ({self.starts_on} to {WEEKDAYS[WEEKDAYS.index(self.starts_on) - 1]})"
        return "weekly" + (first if self.starts_on != "monday" else "") + _at(self.offset)


@dataclass(frozen=True, slots=True)
class MonthlyPartitions(TimePartitions):
    """Months that begin `offset` (less than 28 days) after their first midnight; `start` and `end` (exclusive) are months.

    Raises:
        PartitionDefinitionError: as for days; start or end is not the first day of a month.

    >>> from datetime import UTC
    >>> now = datetime(2025, 3, 15, tzinfo=UTC)
    >>> MonthlyPartitions("2025-01").index(now).keys()
    ['2025-01', '2025-02']
    """

    kind: ClassVar = PartitionKind.MONTH
    start: LocalTime
    _: KW_ONLY
    end: LocalTime | None = None
    timezone: str = "UTC"
    offset: timedelta = _NO_OFFSET
    end_offset: int = 0
    first_edge: int = field(init=False, repr=False, compare=False)
    last_edge: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_offset(self.offset, days=28)
        self._settle()

    @property
    def calendar(self) -> Calendar:
        """Months of the zone."""
        return MonthCalendar(self.timezone, _whole(self.offset))

    def _cadence(self) -> str:
        return "monthly" + _at(self.offset)


@dataclass(frozen=True, slots=True)
class CronPartitions(TimePartitions):
    """From each tick of a cron expression to the next, by Debian cron's rules (`cron_ticks`).

    Partitions are those whose tick is in `[start, end)`; the last may reach beyond `end`. Neither needs to be a tick.

    Raises:
        PartitionDefinitionError: the expression can't be read (the field is marked); unknown zone; start or end is skipped by a
            clock change, or happens twice without a UTC offset; start not before end; too many partitions.

    >>> from datetime import UTC
    >>> now = datetime(2025, 1, 4, tzinfo=UTC)
    >>> CronPartitions("15 2 * * *", "2025-01-01", timezone="Europe/Berlin").index(now).keys()
    ['2025-01-01T02:15', '2025-01-02T02:15']
    """

    kind: ClassVar = PartitionKind.CRON
    cron: str
    start: LocalTime
    _: KW_ONLY
    end: LocalTime | None = None
    timezone: str = "UTC"
    end_offset: int = 0
    first_edge: int = field(init=False, repr=False, compare=False)
    last_edge: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cron", parse_cron(self.cron).text)
        self._settle()

    @property
    def calendar(self) -> Calendar:
        """Ticks in the zone."""
        return CronCalendar(self.timezone, parse_cron(self.cron))

    def _cadence(self) -> str:
        return f'cron "{self.cron}"'


def _whole(offset: timedelta) -> int:
    return offset // timedelta(seconds=1)


def _at(offset: timedelta) -> str:
    if not offset:
        return ""
    days = f"day {offset.days + 1}, " if offset.days else ""
    return f" at {days}{offset_text(_whole(offset) % DAY)[1:]}"


def _check_offset(offset: timedelta, *, days: int) -> None:
    whole = isinstance(offset, timedelta) and not offset % timedelta(minutes=1)
    if not whole or not timedelta(0) <= offset < timedelta(days=days):
        raise PartitionDefinitionError(
            f"offset={offset!r} is not whole minutes from 0 to less than {days} day{'s' * (days > 1)}",
            hint="for days that start at 06:00 write offset=timedelta(hours=6)",
        )
