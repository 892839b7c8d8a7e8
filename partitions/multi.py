"""Products of partition definitions: a day and a region, a customer and a table.

Theory of operation. The dimensions without windows form *lanes*: one per combination of their keys, in declared order, the last
one fastest. The time dimension, if there is one, runs inside each lane: `slot = lane · n_time + t`. So a run of slots is a span of
time, which is what mappings and steps want. Ids follow the same shape: `(lane id << 32) + (time id + 2³¹)`, or just the lane id if
there is no time. A lane's id is that of its key where one dimension makes the lanes (so dynamic keys need no second dictionary),
else one from a dictionary of combinations. Lanes without an id yet get negative ones, under which nothing is ever stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Final

import numpy as np

from partitions.definitions import (
    MAX_PARTITIONS,
    NO_KEY_IDS,
    KeyIds,
    PartitionIndex,
    PartitionKind,
    Partitions,
    StaticPartitions,
    check_now,
    dictionary_ids,
    too_many,
)
from partitions.errors import PartitionDefinitionError, UnknownPartitionError
from partitions.time_windows import TimePartitions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from partitions.time_index import TimeWindow

SEPARATOR: Final = "|"
_TIME_BITS: Final = 32
_TIME_BIAS: Final = 2**31
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class MultiPartitions:
    """Every combination of the keys of two or more named dimensions, at most one of them time.

    Keys are those of the dimensions in declared order: `2025-01-31|eu`.

    Raises:
        PartitionDefinitionError: fewer than two dimensions, two of time, a dimension that can't be one, a name that is not an
            identifier, a static key with `|` in it.

    >>> from datetime import UTC, datetime
    >>> from partitions.time_windows import DailyPartitions
    >>> both = MultiPartitions({"day": DailyPartitions("2025-01-01"), "region": StaticPartitions(["eu", "us"])})
    >>> both.index(datetime(2025, 1, 3, tzinfo=UTC)).keys()
    ['2025-01-01|eu', '2025-01-02|eu', '2025-01-01|us', '2025-01-02|us']
    """

    dimensions: tuple[tuple[str, Partitions], ...]

    def __init__(self, dimensions: Mapping[str, Partitions]) -> None:
        named = tuple(dict(dimensions).items())
        if len(named) < 2:  # noqa: PLR2004 - a product of one is that one
            raise PartitionDefinitionError(
                f"MultiPartitions needs two dimensions or more, got {len(named)}",
                hint="for one dimension use its definition by itself",
            )
        for name, definition in named:
            _check_dimension(name, definition)
        times = [name for name, definition in named if definition.kind.is_time]
        if len(times) > 1:
            raise PartitionDefinitionError(
                f"MultiPartitions can have one time dimension, got {' and '.join(times)}",
                hint="use the finer one; coarser assets roll it up by themselves",
            )
        object.__setattr__(self, "dimensions", named)
        # What has no end, or keys that are yet to come, is counted when there is an index of it.
        count = prod(_least(definition) for _, definition in named)
        if count > MAX_PARTITIONS:
            raise too_many(self.describe(), count)

    @property
    def kind(self) -> PartitionKind:
        """MULTI."""
        return PartitionKind.MULTI

    @property
    def space(self) -> str:
        """`multi(day=day|Europe/Berlin|+00:00,region=static)`."""
        return f"multi({_spaces(self.dimensions)})"

    @property
    def lane_space(self) -> str:
        """The dictionary that lane ids come from: that of the one dimension without windows, or one of combinations."""
        others = self._lane_dimensions()
        return others[0][1].space if len(others) == 1 else f"lanes({_spaces(others)})"

    def index(self, now: datetime, key_ids: KeyIds = NO_KEY_IDS) -> PartitionIndex:
        """All combinations of the dimensions' partitions at `now`.

        Raises:
            PartitionDefinitionError: more than `MAX_PARTITIONS` combinations, or a dynamic key with `|` in it.
            ValueError: `now` is naive.
        """
        check_now(now)
        indexes = tuple(
            (name, definition.index(now, key_ids)) for name, definition in self.dimensions
        )
        count = prod(len(index) for _, index in indexes)
        if count > MAX_PARTITIONS:
            raise too_many(self.describe(), count)
        others = [index for _, index in indexes if index.starts is None]
        for name, index in indexes:
            if index.kind is PartitionKind.DYNAMIC:
                _check_separator(name, index.keys())
        lanes = _combinations([index.keys() for index in others])
        if len(others) == 1:
            lane_ids = others[0].ids
        else:
            lane_ids = dictionary_ids(lanes, key_ids.get(self.lane_space, {}))
        return MultiIndex(self, indexes, lane_ids)

    def dictionary_keys(self, key_ids: KeyIds = NO_KEY_IDS) -> Mapping[str, tuple[str, ...]]:
        """The lanes, if they are not dynamic keys themselves.

        >>> both = MultiPartitions({"a": StaticPartitions(["x"]), "b": StaticPartitions(["y", "z"])})
        >>> dict(both.dictionary_keys())
        {'lanes(a=static,b=static)': ('x|y', 'x|z')}
        """
        others = self._lane_dimensions()
        if len(others) == 1:
            return others[0][1].dictionary_keys(key_ids)
        keys = [
            definition.keys
            if isinstance(definition, StaticPartitions)
            else tuple(key_ids.get(definition.space, {}))
            for _, definition in others
        ]
        return {self.lane_space: _combinations(keys)}

    def describe(self) -> str:
        """`day (daily from 2025-01-01 (UTC)) x region (static: eu, us)`."""
        return " x ".join(
            f"{name} ({definition.describe()})" for name, definition in self.dimensions
        )

    def _lane_dimensions(self) -> tuple[tuple[str, Partitions], ...]:
        return tuple(pair for pair in self.dimensions if not pair[1].kind.is_time)


class MultiIndex(PartitionIndex):
    """The combinations at one instant, lane after lane."""

    definition: MultiPartitions

    def __init__(
        self,
        definition: MultiPartitions,
        indexes: tuple[tuple[str, PartitionIndex], ...],
        lane_ids: NDArray[np.int64],
    ) -> None:
        self._indexes = indexes
        self._lane_ids = lane_ids
        self._time = next((index for _, index in indexes if index.starts is not None), None)
        time = self._time
        if time is None or time.starts is None or time.ends is None:
            super().__init__(definition, lane_ids.copy())
            return
        ids = (lane_ids[:, None] << _TIME_BITS) + (time.ids[None, :] + _TIME_BIAS)
        super().__init__(
            definition,
            ids.ravel(),
            starts=np.tile(time.starts, len(lane_ids)),
            ends=np.tile(time.ends, len(lane_ids)),
            timezone=time.timezone,
        )

    def keys(self, slots: Iterable[int] | NDArray[np.int64] | None = None) -> list[str]:
        """The keys of `slots`; of all slots if None."""
        chosen = self._checked(slots)
        parts = []
        for (_, index), coordinates in zip(self._indexes, self._coordinates(chosen), strict=True):
            # Each key of a dimension is made once, however many combinations it is in.
            needed, places = np.unique(coordinates, return_inverse=True)
            names = index.keys(needed)
            parts.append([names[place] for place in places.tolist()])
        return [SEPARATOR.join(key) for key in zip(*parts, strict=True)]

    def slot(self, key: str) -> int:
        """The slot of `key`."""
        parts = key.split(SEPARATOR)
        if len(parts) != len(self._indexes):
            names = SEPARATOR.join(name for name, _ in self._indexes)
            example = f", such as {self.key(0)}" if len(self) else ""
            raise UnknownPartitionError(
                f"{key!r} is not a key of {self.definition.describe()}",
                hint=f"keys are {names}{example}",
            )
        slot = time_slot = 0
        for part, (name, index) in zip(parts, self._indexes, strict=True):
            try:
                found = index.slot(part)
            except UnknownPartitionError as error:
                raise UnknownPartitionError(
                    f"there is no partition {key!r}: dimension {name}: {error.message}",
                    hint=error.hint,
                ) from error
            if index is self._time:
                time_slot = found
            else:
                slot = slot * len(index) + found
        return slot * self.lane_length + time_slot

    def slots_of_ids(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slot of each id; -1 where there is none. Looked up by lane and by time, so no array of all ids is sorted."""
        if self._time is None:
            return super().slots_of_ids(ids)
        wanted = np.asarray(ids, dtype=np.int64)
        order = np.argsort(self._lane_ids, kind="stable")
        known = self._lane_ids[order]
        if not len(known):
            return np.full(wanted.shape, -1, dtype=np.int64)
        lane_ids = wanted >> _TIME_BITS
        at = np.minimum(np.searchsorted(known, lane_ids), len(known) - 1)
        lanes = np.where(known[at] == lane_ids, order[at], -1)
        times = self._time.slots_of_ids((wanted & (2**_TIME_BITS - 1)) - _TIME_BIAS)
        return np.where((lanes >= 0) & (times >= 0), lanes * self.lane_length + times, -1)

    def window(self, slot: int) -> TimeWindow | None:
        """The window of the slot's time dimension; None if there is none."""
        self._checked((slot,))
        return None if self._time is None else self._time.window(slot % self.lane_length)

    def dimensions(self, slot: int) -> tuple[tuple[str, str], ...]:
        """`(("day", "2025-01-31"), ("region", "eu"))`."""
        coordinates = self._coordinates(self._checked((slot,)))
        return tuple(
            (name, index.key(int(at[0])))
            for (name, index), at in zip(self._indexes, coordinates, strict=True)
        )

    @property
    def dimension_indexes(self) -> tuple[tuple[str, PartitionIndex], ...]:
        """`((name, index), …)` in declared order."""
        return self._indexes

    def dimension_slots(self, name: str) -> NDArray[np.int64]:
        """For each slot, its slot in the index of dimension `name`."""
        for place, (known, _) in enumerate(self._indexes):
            if known == name:
                return self._coordinates(np.arange(len(self), dtype=np.int64))[place]
        raise KeyError(name)

    @property
    def lane_length(self) -> int:
        """Partitions of the time dimension; 1 without one."""
        return 1 if self._time is None else len(self._time)

    def _coordinates(self, slots: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """For each dimension in declared order, the place of each slot in it."""
        length = max(self.lane_length, 1)
        lanes, times = np.divmod(slots, length)
        places: list[NDArray[np.int64]] = []
        for _, index in reversed(self._indexes):
            if index is self._time:
                places.append(times)
            else:
                lanes, place = np.divmod(lanes, max(len(index), 1))
                places.append(place)
        return places[::-1]


def _combinations(keys: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(SEPARATOR.join(lane) for lane in product(*keys))


def _least(definition: Partitions) -> int:
    """How many partitions a dimension has at any rate, once all of its time is over."""
    if isinstance(definition, StaticPartitions):
        return len(definition.keys)
    if isinstance(definition, TimePartitions) and definition.last_edge is not None:
        nominal = definition.calendar.nominal
        return (definition.last_edge - definition.first_edge) // nominal if nominal else 1
    return 1


def _spaces(dimensions: Iterable[tuple[str, Partitions]]) -> str:
    return ",".join(f"{name}={definition.space}" for name, definition in dimensions)


def _check_dimension(name: str, definition: Partitions) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PartitionDefinitionError(
            f"{name!r} can't name a dimension: names are letters, digits and _, and begin with no digit"
        )
    kind = getattr(definition, "kind", None)
    if not isinstance(kind, PartitionKind):
        raise PartitionDefinitionError(
            f"dimension {name} is {definition!r}, not a partition definition"
        )
    if kind in {PartitionKind.MULTI, PartitionKind.SINGLE}:
        raise PartitionDefinitionError(
            f"dimension {name} can't be {definition.describe()}",
            hint="list all dimensions side by side",
        )
    if isinstance(definition, StaticPartitions):
        _check_separator(name, definition.keys)


def _check_separator(name: str, keys: Iterable[str]) -> None:
    for key in keys:
        if SEPARATOR in key:
            raise PartitionDefinitionError(
                f"the key {key!r} of dimension {name} has a {SEPARATOR} in it, which separates dimensions",
                hint="use another character",
            )
