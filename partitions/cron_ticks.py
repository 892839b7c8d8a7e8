"""Cron expressions as a calendar: a partition runs from one tick to the next. Debian cron's rules; `cronsim` reads the syntax.

Rules, which are those of Debian's cron (see cron(8), "Special considerations exist when the clock is changed"):

- If both day fields are restricted, a day matches if either does. A field that starts with `*`, even `*/2`, makes it "both".
- A job whose minute or hour field starts with `*` follows real time: it ticks whenever the wall clock shows a matching minute, so
  in a repeated hour twice and in a skipped one never.
- Any other job ticks once in a repeated hour (the first time) and at the end of a skipped one.

`cronsim` decides what an expression means, but is not asked for ticks: it steps through seconds of Python objects, and where a
zone changes by half an hour or at midnight its real-time jobs lose or invent ticks (`DESIGN.md`). Ticks are computed here for all
days at once and compared with it in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from cronsim import CronSim, CronSimError

from partitions.cadence import DayCalendar, instant_keys, instants_near
from partitions.definitions import MAX_PARTITIONS, PartitionKind, too_many
from partitions.errors import PartitionDefinitionError, nearest
from partitions.zones import DAY, zone_clock

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MINUTE: Final = 60
_FIELDS: Final = ("minute", "hour", "day of month", "month", "day of week")
_ALLOWED: Final = (
    "0-59",
    "0-23",
    "1-31, L (last day) or LW (last weekday)",
    "1-12 or JAN-DEC",
    "0-7 or SUN-SAT, MON#2 (second Monday), 5L (last Friday)",
)
_NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ANY_DAY: Final = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CronRule:
    """A cron expression that has been read. Minutes of the day ascend; days are those of cronsim.

    Attributes:
        text: the expression in its normal form: upper case, one space between fields.
        minutes: minutes since midnight at which a matching day ticks.
        days: days of the month; `CronSim.LAST` and `CronSim.LAST_WEEKDAY` stand for themselves.
        months: 1 to 12.
        weekdays: 0 to 7 (0 and 7: Sunday); `(weekday, n)` the n-th of the month, `(weekday, CronSim.LAST)` the last.
        both_days: whether both day fields have to match, or either.
        real_time: whether a clock change repeats and skips ticks.
    """

    text: str
    minutes: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int | tuple[int, int]]
    both_days: bool
    real_time: bool

    def matching(self, days: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of `days` (since 1970-01-01) on which this ticks."""
        dates = days.astype("datetime64[D]")
        month_starts = dates.astype("datetime64[M]")
        month = month_starts.astype(np.int64) % 12 + 1
        length = (
            (month_starts + 1).astype("datetime64[D]") - month_starts.astype("datetime64[D]")
        ).astype(np.int64)
        number = (dates - month_starts.astype("datetime64[D]")).astype(np.int64) + 1
        weekday = (days + 4) % 7  # 1970-01-01 was a Thursday; Sunday is 0
        in_month = np.isin(number, [day for day in self.days if day > 0])
        if CronSim.LAST in self.days:
            in_month |= number == length
        if CronSim.LAST_WEEKDAY in self.days:
            last = (weekday + length - number) % 7
            # Saturday is one day after the last weekday of the month, Sunday two.
            in_month |= number == length - np.where(last == 6, 1, np.where(last == 0, 2, 0))  # noqa: PLR2004
        in_week = np.zeros(days.shape, dtype=np.bool_)
        for item in self.weekdays:
            match item:
                case (name, CronSim.LAST):
                    in_week |= (weekday == name % 7) & (number + 7 > length)
                case (name, nth):
                    in_week |= (weekday == name % 7) & ((number + 6) // 7 == nth)
                case name:
                    in_week |= weekday == name % 7
        on_day = in_month & in_week if self.both_days else in_month | in_week
        return days[on_day & np.isin(month, sorted(self.months))]


@lru_cache(maxsize=512)
def parse_cron(text: str) -> CronRule:
    """Read a cron expression of five fields, or a nickname of one such as `@daily`.

    Raises:
        PartitionDefinitionError: it can't be read; the message marks the field at fault.

    >>> parse_cron("15  2 * * mon").text
    '15 2 * * MON'
    """
    if not isinstance(text, str):
        raise PartitionDefinitionError(f"a cron expression is text, not {text!r}")
    fields = _NICKNAMES.get(text.strip().lower(), text).split()
    if len(fields) != len(_FIELDS):
        near = nearest(text.strip().lower(), _NICKNAMES) if text.strip().startswith("@") else ()
        raise PartitionDefinitionError(
            f"cron expression {text!r} has {len(fields)} field{'' if len(fields) == 1 else 's'}, not 5: {', '.join(_FIELDS)}",
            hint=f"did you mean {near[0]}?"
            if near
            else 'a daily tick at 02:15 is written "15 2 * * *"',
        )
    for number in range(len(_FIELDS)):
        alone = ["*"] * len(_FIELDS)
        alone[number] = fields[number]
        if _read(" ".join(alone)) is None:
            raise _bad_field(fields, number)
    read = _read(" ".join(fields))
    if read is None:
        # Each field is fine alone, so no month given has the days of the month that are.
        raise _bad_field(fields, 2, hint=f"no month of {fields[3]!r} has such a day")
    minutes = sorted(60 * hour + minute for hour in read.hours for minute in read.minutes)
    return CronRule(
        text=" ".join(fields).upper(),
        minutes=tuple(minutes),
        days=frozenset(read.days),
        months=frozenset(read.months),
        weekdays=frozenset(read.weekdays),
        both_days=read.day_and,
        real_time=fields[0].startswith("*") or fields[1].startswith("*"),
    )


def _read(expression: str) -> CronSim | None:
    try:
        return CronSim(expression, _ANY_DAY)
    except CronSimError:
        return None


def _bad_field(
    fields: list[str], number: int, *, hint: str | None = None
) -> PartitionDefinitionError:
    line = " ".join(fields)
    indent = len(" ".join(fields[:number])) + (1 if number else 0)
    marks = " " * indent + "^" * len(fields[number])
    return PartitionDefinitionError(
        f"cron expression {line!r}: {fields[number]!r} can't be the {_FIELDS[number]}\n  {line}\n  {marks}",
        hint=hint or f"allowed are *, {_ALLOWED[number]}, lists a,b, ranges a-b and steps /n",
    )


@dataclass(frozen=True, slots=True)
class CronCalendar:
    """From each tick to the next; id = whole minutes since 1970 of the tick, in UTC.

    >>> calendar = CronCalendar("UTC", parse_cron("15 2 * * *"))
    >>> calendar.keys(*calendar.starts(0, 86_400))
    ['1970-01-01T02:15']
    """

    kind: ClassVar = PartitionKind.CRON
    adjective: ClassVar = "cron"
    nominal: ClassVar = 0
    longest: ClassVar = 2 * DAY
    offset: ClassVar = 0
    zone: str
    rule: CronRule

    @property
    def space(self) -> str:
        """`cron|zone|15 2 * * *`."""
        return f"cron|{self.zone}|{self.rule.text}"

    @property
    def example(self) -> str:
        """A key such as ticks have."""
        minute = self.rule.minutes[0]
        return f"2025-01-31T{minute // 60:02d}:{minute % 60:02d}"

    def starts(self, lo: int, hi: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and instants of the ticks in `[lo, hi)`.

        Raises:
            PartitionDefinitionError: more than `MAX_PARTITIONS` ticks.
        """
        # Three days cover the largest offset, and a tick put off to the end of a skipped day.
        days = self.rule.matching(np.arange(lo // DAY - 3, hi // DAY + 4, dtype=np.int64))
        count = len(days) * len(self.rule.minutes)
        if count > MAX_PARTITIONS + 10 * len(self.rule.minutes):
            raise too_many(f"cron {self.rule.text} ({self.zone})", count)
        times = np.array(self.rule.minutes, dtype=np.int64) * _MINUTE
        local = (days[:, None] * DAY + times[None, :]).ravel()
        clock = zone_clock(self.zone, lo - 3 * DAY, hi + 3 * DAY)
        first = clock.first_utc(local)
        happens = clock.local(first) == local
        if self.rule.real_time:
            ticks = np.union1d(first[happens], clock.last_utc(local)[happens])
        else:
            # The end of a gap is not always a whole minute (Monrovia, 1972): cron wakes at the next.
            ticks = np.unique(np.where(happens, first, first + -clock.local(first) % _MINUTE))
        if len(ticks):
            # Ids are minutes. Only a change of seconds, as a century ago, brings ticks closer together.
            ticks = ticks[np.diff(ticks, prepend=ticks[0] - _MINUTE) >= _MINUTE]
        ticks = ticks[np.searchsorted(ticks, lo) : np.searchsorted(ticks, hi)]
        return ticks // _MINUTE, ticks

    def keys(self, ids: NDArray[np.int64], starts: NDArray[np.int64]) -> list[str]:
        """`2025-01-31T02:15`, with the offset behind it where the clock shows it for the second time."""
        del ids
        return instant_keys(self.zone, starts)

    def near(self, key: str) -> tuple[int, ...]:
        """Instants that look like `key`."""
        return instants_near(self.zone, key)

    def day_start(self, day: int) -> int | None:
        """The first instant of a local day; it need not be a tick."""
        return DayCalendar(self.zone).day_start(day)
