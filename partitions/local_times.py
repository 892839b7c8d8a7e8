"""Reading what a user writes as `start` or `end`: a local date, time or key, to one instant at which a window starts.

Which instants are window starts is the calendar's to say; that start comes before end, the definition's (`time_windows`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from partitions.cadence import DayCalendar, calendar_day, instant_keys
from partitions.definitions import PartitionKind
from partitions.errors import PartitionDefinitionError
from partitions.zones import DAY, FIRST_YEAR, LAST_YEAR, offset_text, seconds_of, zone_clock

if TYPE_CHECKING:
    from partitions.cadence import Calendar

_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Resolved:
    """A start or end that has been understood.

    Attributes:
        instant: UTC seconds.
        text: its normal form, which reads back as the same instant.
        aware: whether it was written with a UTC offset although its local time alone would have said it.
    """

    instant: int
    text: str
    aware: bool = False


def resolve(value: str | date | datetime, what: str, calendar: Calendar) -> Resolved:
    """The instant that `value` means for a calendar; `what` ("start", "end") names it in errors.

    Raises:
        PartitionDefinitionError: it can't be read, happens never or twice, or is not where a window of the calendar starts.

    >>> resolve("1970-01-02", "start", DayCalendar("UTC"))
    Resolved(instant=86400, text='1970-01-02', aware=False)
    """
    moment = _read(value, what, calendar)
    if isinstance(moment, int):
        return Resolved(moment, _text(moment, calendar))
    if not FIRST_YEAR <= moment.year < LAST_YEAR:
        raise PartitionDefinitionError(
            f"{what}={value!s} is in the year {moment.year}; partitions reach from {FIRST_YEAR} to {LAST_YEAR}"
        )
    if not isinstance(moment, datetime):
        return _of_date(moment.toordinal() - _EPOCH_ORDINAL, what, calendar)
    if moment.second or moment.microsecond:
        raise PartitionDefinitionError(f"{what}={value!s} is not a whole minute")
    if moment.utcoffset() is not None:
        return _of_instant(moment, what, calendar)
    return _of_wall_clock(moment, what, calendar)


def _read(value: str | date | datetime, what: str, calendar: Calendar) -> date | datetime | int:
    """A date or datetime as written; the instant, if it is a week's or month's key."""
    if isinstance(value, date):  # a datetime is one too
        return value
    if not isinstance(value, str):
        raise PartitionDefinitionError(
            f"{what} is a local date or time, not {value!r}", hint=f'write {what}="2025-01-31"'
        )
    text = value.strip()
    day = calendar_day(text)
    if day is not None:
        return date.fromordinal(day + _EPOCH_ORDINAL)
    if calendar.kind in {PartitionKind.WEEK, PartitionKind.MONTH}:
        instants = calendar.near(text)
        if instants and FIRST_YEAR <= int(text[:4]) < LAST_YEAR:
            return instants[0]
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise PartitionDefinitionError(
            f"{what}={value!r} is not a date or time",
            hint=f'write {what}="2025-01-31" or {what}="2025-01-31T06:00"',
        ) from None


def _of_date(day: int, what: str, calendar: Calendar) -> Resolved:
    text = date.fromordinal(day + _EPOCH_ORDINAL).isoformat()
    instant = calendar.day_start(day)
    if instant is None and DayCalendar(calendar.zone).day_start(day) is None:
        raise PartitionDefinitionError(
            f"{what}={text} does not exist in {calendar.zone}: the zone skipped that day",
            hint="write the day after it",
        )
    if instant is None:
        raise _not_a_start(text, DayCalendar(calendar.zone).edge(day), what, calendar)
    return Resolved(instant, _text(instant, calendar))


def _of_instant(moment: datetime, what: str, calendar: Calendar) -> Resolved:
    instant = seconds_of(moment)
    clock = zone_clock(calendar.zone, instant, instant)
    at = np.array([instant], dtype=np.int64)
    offset = int(clock.offset_at(at)[0])
    written = moment.utcoffset()
    assert written is not None
    if int(written.total_seconds()) != offset:
        raise PartitionDefinitionError(
            f"{what}={moment.isoformat()} has the UTC offset {offset_text(int(written.total_seconds()))}, "
            f"but {calendar.zone} is at {offset_text(offset)} then",
            hint=f"write the local time: {what}={instant_keys(calendar.zone, at)[0]!r}",
        )
    _check_start(moment.isoformat(), instant, what, calendar)
    local = clock.local(at)
    twice = bool(clock.first_utc(local)[0] != clock.last_utc(local)[0])
    return Resolved(instant, _text(instant, calendar), aware=not twice)


def _of_wall_clock(moment: datetime, what: str, calendar: Calendar) -> Resolved:
    midnight = (moment.toordinal() - _EPOCH_ORDINAL) * DAY
    local = midnight + moment.hour * 3600 + moment.minute * 60
    text = moment.isoformat(timespec="minutes")
    if calendar.kind not in {PartitionKind.HOUR, PartitionKind.CRON}:
        # The nominal start of a day stands for the day, also where a clock change skips or repeats that minute.
        day, rest = divmod(local - calendar.offset, DAY)
        if rest == 0 and calendar.day_start(day) is not None:
            return _of_date(day, what, calendar)
    at = np.array([local], dtype=np.int64)
    clock = zone_clock(calendar.zone, local, local)
    first, last = int(clock.first_utc(at)[0]), int(clock.last_utc(at)[0])
    if not clock.happens(at)[0]:
        after = instant_keys(calendar.zone, np.array([first], dtype=np.int64))[0]
        raise PartitionDefinitionError(
            f"{what}={text} does not exist in {calendar.zone}: the clock is put forward then",
            hint=f"the next local time that exists is {after}",
        )
    if first != last:
        both = " and ".join(
            text + offset_text(int(offset))
            for offset in clock.offset_at(np.array([first, last], dtype=np.int64))
        )
        raise PartitionDefinitionError(
            f"{what}={text} happens twice in {calendar.zone}: the clock is put back then",
            hint=f"say which with its UTC offset; they are {both}",
        )
    _check_start(text, first, what, calendar)
    return Resolved(first, _text(first, calendar))


def _check_start(text: str, instant: int, what: str, calendar: Calendar) -> None:
    # Cron partitions are whatever ticks fall between start and end.
    if calendar.kind is not PartitionKind.CRON and not len(
        calendar.starts(instant, instant + 1)[0]
    ):
        raise _not_a_start(text, instant, what, calendar)


def _not_a_start(
    text: str, instant: int, what: str, calendar: Calendar
) -> PartitionDefinitionError:
    ids, starts = calendar.starts(instant - calendar.longest, instant + calendar.longest + 1)
    after = int(np.searchsorted(starts, instant))
    around = slice(max(after - 1, 0), after + 1)
    names = " or ".join(
        f"{name} (starts {start})"
        for name, start in zip(
            calendar.keys(ids[around], starts[around]),
            instant_keys(calendar.zone, starts[around]),
            strict=True,
        )
    )
    return PartitionDefinitionError(
        f"{what}={text} is not where one of the {calendar.adjective} partitions starts ({calendar.space})",
        hint=f"the nearest are {names}",
    )


def _text(instant: int, calendar: Calendar) -> str:
    """The normal form: the key of the window, or for hours and ticks the local date or time."""
    starts = np.array([instant], dtype=np.int64)
    if calendar.kind not in {PartitionKind.HOUR, PartitionKind.CRON}:
        return calendar.keys(*calendar.starts(instant, instant + 1))[0]
    key = instant_keys(calendar.zone, starts)[0]
    day = calendar_day(key[:10])
    return key[:10] if day is not None and calendar.day_start(day) == instant else key
