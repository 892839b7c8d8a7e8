"""The window of one partition, and the index of consecutive windows at one instant.

Which windows exist at an instant is decided here, and why a key names none of them; where windows begin and what they are called is
the calendar's (`cadence`, `cron_ticks`).

Theory of operation. An index holds one int64 array of edges, `starts = edges[:-1]` and `ends = edges[1:]`, and stays the same until
the next edge passes. So each definition keeps its last index with the span of `now` in which it holds; asking again costs a look-up
and two comparisons. The cache holds nothing that can't be computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from partitions.definitions import MAX_PARTITIONS, PartitionIndex, Partitions, too_many
from partitions.errors import UnknownPartitionError
from partitions.zones import DAY, FIRST_YEAR, LAST_YEAR, instant_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from partitions.cadence import Calendar

_FOREVER: Final = 2**62
_TO_THE_MINUTE: Final = len("2025-01-31T05:00")
_FARTHEST: Final = 130 * 366 * DAY
"""Two 29ths of February are up to 8 years apart, those on one weekday up to 40; what does not tick in 130 years never does."""


class TimeDefinition(Partitions, Protocol):
    """What an index needs to know of a time window definition."""

    @property
    def calendar(self) -> Calendar:
        """Where windows begin."""

    @property
    def timezone(self) -> str:
        """IANA name of the zone."""

    @property
    def end_offset(self) -> int:
        """How many windows exist that have not ended."""

    @property
    def first_edge(self) -> int:
        """No window starts before, UTC seconds."""

    @property
    def last_edge(self) -> int | None:
        """No window starts then or later; None: no end."""


@dataclass(frozen=True, slots=True, eq=False)
class TimeWindow:
    """The span of one partition: `start` inclusive, `end` exclusive, both aware and in the definition's zone.

    Use `duration` rather than `end - start`: Python subtracts wall clocks if both have the same zone, which is an hour wrong on
    the days when the clock changes.

    Raises:
        ValueError: a naive end, or a window that is empty.

    >>> from partitions.zones import load_zone
    >>> berlin = load_zone("Europe/Berlin")
    >>> TimeWindow(datetime(2025, 3, 30, tzinfo=berlin), datetime(2025, 3, 31, tzinfo=berlin)).duration
    datetime.timedelta(seconds=82800)
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.utcoffset() is None or self.end.utcoffset() is None:
            raise ValueError(
                f"a window is between aware instants, got {self.start!r}, {self.end!r}"
            )
        if self.duration <= timedelta(0):
            raise ValueError(f"a window ends after it starts, got {self.start!r}, {self.end!r}")

    @property
    def duration(self) -> timedelta:
        """Real time between start and end: 23, 24 or 25 hours for a day in Berlin."""
        return self.end.astimezone(UTC) - self.start.astimezone(UTC)

    def __contains__(self, instant: datetime) -> bool:
        at = instant.astimezone(UTC)
        return self.start.astimezone(UTC) <= at < self.end.astimezone(UTC)

    def __eq__(self, other: object) -> bool:
        # datetime's own == takes the two 02:00 of an autumn night for one, if they have the same zone.
        if not isinstance(other, TimeWindow):
            return NotImplemented
        return self._instants() == other._instants()

    def __hash__(self) -> int:
        return hash(self._instants())

    def __str__(self) -> str:
        return f"{self.start.isoformat()} to {self.end.isoformat()}"

    def _instants(self) -> tuple[datetime, datetime]:
        return self.start.astimezone(UTC), self.end.astimezone(UTC)


class TimeIndex(PartitionIndex):
    """Consecutive windows of one calendar."""

    definition: TimeDefinition
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    timezone: str

    def __init__(
        self, definition: TimeDefinition, ids: NDArray[np.int64], edges: NDArray[np.int64]
    ) -> None:
        super().__init__(
            definition,
            ids,
            starts=edges[:-1],
            ends=edges[1:],
            timezone=definition.timezone,
        )
        self._calendar = definition.calendar

    def keys(self, slots: Iterable[int] | NDArray[np.int64] | None = None) -> list[str]:
        """The keys of `slots`; of all slots if None."""
        if slots is None:
            return self._calendar.keys(self.ids, self.starts)
        chosen = self._checked(slots)
        return self._calendar.keys(self.ids[chosen], self.starts[chosen])

    def slot(self, key: str) -> int:
        """The slot of `key`. O(log n): the text is turned into an instant, and the windows there are asked for their keys."""
        for instant in self._calendar.near(key):
            at = int(np.searchsorted(self.starts, instant, side="right"))
            for slot in range(max(at - 2, 0), min(at + 1, len(self))):
                if self.key(slot) == key:
                    return slot
        raise _unknown(key, self, self.definition)

    def slots_of_ids(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slot of each id; -1 where there is none. O(m) if ids are consecutive, else O(m log n)."""
        wanted = np.asarray(ids, dtype=np.int64)
        size = len(self)
        if size and int(self.ids[-1]) - int(self.ids[0]) == size - 1:
            slots = wanted - self.ids[0]
            return np.where((slots >= 0) & (slots < size), slots, -1)
        return PartitionIndex.slots_of_ids(self, wanted)

    def window(self, slot: int) -> TimeWindow:
        """The window of one slot, in the definition's zone."""
        self._checked((slot,))
        return TimeWindow(
            instant_of(int(self.starts[slot]), self.timezone),
            instant_of(int(self.ends[slot]), self.timezone),
        )


@dataclass(frozen=True, slots=True)
class _Holds:
    """An index, and the span of `now` in which it is the right one."""

    since: int
    until: int
    index: TimeIndex


class _Latest:
    """The newest index of one definition; replaced whole, so threads at worst compute it twice."""

    __slots__ = ("holds",)

    def __init__(self) -> None:
        self.holds: _Holds | None = None


def index_for(definition: TimeDefinition, now: int) -> TimeIndex:
    """The index of `definition` at `now` (UTC seconds); the same object until it changes.

    Raises:
        PartitionDefinitionError: more than `MAX_PARTITIONS` windows.
    """
    latest = _latest(definition)
    holds = latest.holds
    if holds is None or not holds.since <= now < holds.until:
        holds = latest.holds = _index_at(definition, now)
    return holds.index


@lru_cache(maxsize=256)
def _latest(definition: TimeDefinition) -> _Latest:
    del definition  # the key
    return _Latest()


def _index_at(definition: TimeDefinition, now: int) -> _Holds:
    """Build the index for `now` (UTC seconds) and the span in which it holds."""
    calendar, first, last = definition.calendar, definition.first_edge, definition.last_edge
    need = abs(definition.end_offset) + 2
    margin = calendar.longest * need
    at = now
    if last is not None and now > last:
        # Long after the end nothing changes any more: the windows since need not be computed.
        at = min(now, int(_around(calendar, last, last, need)[1][-1]))
    if calendar.nominal and at + margin < first:
        return _Holds(-_FOREVER, first - margin, _empty(definition, first))
    if calendar.nominal:
        check_count(definition.describe(), (at + margin - first) // calendar.nominal)
    while True:
        # Only windows that start between the two matter: ended ones from `first` on, and those that end_offset adds.
        ids, edges = calendar.starts(min(first, at - margin), at + margin)
        current = int(np.searchsorted(edges, at, side="right")) - 1
        enough = len(edges) > current + need and current >= 0
        if enough or calendar.nominal or margin > _FARTHEST:
            break
        margin *= 2
    begin = int(np.searchsorted(edges, first))
    stop = current + definition.end_offset
    since = int(edges[current]) if current >= 0 else -_FOREVER
    until = int(edges[current + 1]) if current + 1 < len(edges) else at + margin
    if last is not None:
        final = int(np.searchsorted(edges, last))
        if stop >= final:
            stop, until = final, _FOREVER
    stop = min(stop, len(edges) - 1)
    if stop <= begin:
        return _Holds(since, until, _empty(definition, first))
    check_count(definition.describe(), stop - begin)
    index = TimeIndex(definition, ids[begin:stop].copy(), edges[begin : stop + 1].copy())
    return _Holds(since, until, index)


def _empty(definition: TimeDefinition, first: int) -> TimeIndex:
    return TimeIndex(definition, np.zeros(0, dtype=np.int64), np.array([first], dtype=np.int64))


def _unknown(key: str, index: TimeIndex, definition: TimeDefinition) -> UnknownPartitionError:
    """Why there is no partition `key`: malformed, never, before the start, after the end, or not yet."""
    calendar = definition.calendar
    instants = calendar.near(key)
    if not instants:
        return UnknownPartitionError(
            f"{key!r} is not a key of {definition.describe()}",
            hint=f"{calendar.adjective} keys look like {calendar.example}",
        )
    if not FIRST_YEAR <= int(key[:4]) < LAST_YEAR:
        return UnknownPartitionError(
            f"{key!r} is not in {definition.describe()}",
            hint=f"partitions reach from the year {FIRST_YEAR} to {LAST_YEAR}",
        )
    ids, edges = _around(calendar, instants[0], instants[-1], abs(definition.end_offset) + 2)
    names = calendar.keys(ids, edges)
    if key not in names:
        after = int(np.searchsorted(edges, instants[0]))
        # A repeated hour has two windows of that time, and neither is called so; otherwise no window has it.
        alike = [name for name in names if name.startswith(key[:_TO_THE_MINUTE])]
        near = alike or [names[slot] for slot in (after - 1, after) if 0 <= slot < len(names)]
        return UnknownPartitionError(
            f"{key!r} does not exist in {definition.describe()}: no window is called so",
            hint="did you mean " + " or ".join(near) + "?" if near else None,
        )
    at = names.index(key)
    start = int(edges[at])
    if start < definition.first_edge:
        hint = f"the first is {index.key(0)}" if len(index) else None
        return UnknownPartitionError(f"{key!r} is before {definition.describe()}", hint=hint)
    if definition.last_edge is not None and start >= definition.last_edge:
        hint = f"the last is {index.key(len(index) - 1)}" if len(index) else None
        return UnknownPartitionError(f"{key!r} is after {definition.describe()}", hint=hint)
    due = at + 1 - definition.end_offset
    when = instant_of(int(edges[due]), definition.timezone) if 0 <= due < len(edges) else None
    so_far = f"; the last so far is {index.key(len(index) - 1)}" if len(index) else ""
    return UnknownPartitionError(
        f"{key!r} does not exist yet in {definition.describe()}{so_far}",
        hint=f"it becomes available at {when.isoformat()}" if when else None,
    )


def _around(
    calendar: Calendar, lo: int, hi: int, need: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Windows around two instants, at least `need` on either side if the calendar has so many."""
    margin = calendar.longest * (need + 1)
    while True:
        ids, edges = calendar.starts(lo - margin, hi + margin)
        before = int(np.searchsorted(edges, lo))
        after = len(edges) - int(np.searchsorted(edges, hi, side="right"))
        if calendar.nominal or min(before, after) > need or margin > _FARTHEST:
            return ids, edges
        margin *= 2


def check_count(what: str, count: int) -> None:
    """Raise PartitionDefinitionError for more than `MAX_PARTITIONS`."""
    if count > MAX_PARTITIONS:
        raise too_many(what, count)
