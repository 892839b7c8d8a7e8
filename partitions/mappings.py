"""Which upstream partitions a partition reads: the mappings along time and per dimension, and the one chosen if none is written.

Decided here: what each of them means between two definitions, what it requires that the upstream definition lacks, and which
mapping follows from two definitions alone. Not decided here: what a mapping is and those that need no windows (`keyed_mappings`,
offered here as well), how a bound mapping answers questions (`mapped_set`), how dimensions are paired and multiplied (`axes`), and
whether a newer upstream partition makes a downstream one stale (the planner; it asks `triggers`).

A mapping is a small frozen value that knows no index. `bind` meets it with the upstream and the downstream index of one instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from partitions.axes import (
    Pair,
    bind_pairs,
    dimensions_of,
    pair_dimensions,
    time_dimension_of,
)
from partitions.definitions import DynamicPartitions, PartitionKind
from partitions.errors import MappingError
from partitions.keyed_mappings import (
    All,
    Identity,
    PartitionMapping,
    StaticMap,
    require_same_space,
)
from partitions.mapped_set import MappedSet, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from partitions.definitions import PartitionIndex, Partitions

__all__ = [
    "All",
    "Identity",
    "Last",
    "LastN",
    "Offset",
    "PartitionMapping",
    "PerDimension",
    "StaticMap",
    "TimeOverlap",
    "choose_mapping",
]


@dataclass(frozen=True, slots=True)
class TimeOverlap:
    """Each partition reads all upstream partitions whose window overlaps its own: roll-up and fan-out between any two grains.

    Windows are compared as instants: a day in Berlin reads 23, 24 or 25 hours, a UTC day reads two days of New York. A partition is
    `missing` if part of its window lies before the first or after the last window of the upstream definition at this instant.
    Chosen between two time definitions with different id spaces.

    >>> TimeOverlap().text()
    'time-overlap'
    """

    triggers: ClassVar[bool] = True

    def text(self) -> str:
        """Return "time-overlap"."""
        return "time-overlap"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        """Return the mapping over these two indexes; multi definitions overlap along their time dimension.

        Raises:
            MappingError: one of the two has no time windows.
        """
        if PartitionKind.MULTI in (upstream.kind, downstream.kind):
            return _along_time(self, upstream, downstream)
        (up_starts, up_ends), (starts, ends) = _windows(self.text(), upstream, downstream)
        lo = np.searchsorted(up_ends, starts, side="right")
        hi = np.maximum(lo, np.searchsorted(up_starts, ends, side="left"))
        if up_starts.size == 0:
            missing = np.ones(starts.size, dtype=np.bool_)
        else:
            missing = (starts < up_starts[0]) | (ends > up_ends[-1])
        return MappedSet.from_intervals(
            self.text(),
            upstream,
            downstream,
            lo=lo,
            hi=hi,
            missing=missing,
            name_missing=_outside(upstream, downstream),
        )


@dataclass(frozen=True, slots=True)
class Offset:
    """Each partition reads the upstream partition `by` places away in the same id space: -1 is the one before, 1 the one after.

    Places are counted in partitions, not in hours or days, so `Offset(-1)` on days across a skipped local day is the day before it.
    At the edge of the upstream definition the partition is `missing`.

    Raises:
        MappingError: `by` is not an int.

    >>> Offset(-1).text()
    'offset(-1)'
    """

    by: int
    triggers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require_int("Offset", "by", self.by)

    def text(self) -> str:
        """Return, for example, "offset(-1)"."""
        return f"offset({self.by})"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        """Return the mapping over these two indexes; multi definitions move along their time dimension.

        Raises:
            MappingError: the id spaces differ or are not of time windows, or partitions that neither definition has lie between the two.
        """
        if PartitionKind.MULTI in (upstream.kind, downstream.kind):
            return _along_time(self, upstream, downstream)
        _windows(self.text(), upstream, downstream)
        require_same_space(self.text(), upstream, downstream)
        target = self._places(upstream, downstream) + self.by
        found = (target >= 0) & (target < len(upstream))
        lo = np.where(found, target, 0)
        return MappedSet.from_intervals(
            self.text(),
            upstream,
            downstream,
            lo=lo,
            hi=lo + found,
            missing=~found,
            name_missing=lambda slot: (_beyond(upstream, before=bool(target[slot] < 0)),),
        )

    def _places(self, upstream: PartitionIndex, downstream: PartitionIndex) -> NDArray[np.int64]:
        """Return the upstream slot of each downstream partition, counted on beyond both ends of the upstream index."""
        places: NDArray[np.int64] = np.arange(len(downstream), dtype=np.int64)
        if len(upstream) == 0 or len(downstream) == 0:
            return places
        # Both are gapless stretches of one sequence of windows, so one meeting point aligns them. Ids can't be subtracted: a
        # skipped local day has an id and no partition.
        slots = upstream.slots_of_ids(downstream.ids)
        shared = np.flatnonzero(slots >= 0)
        if shared.size:
            return places + int(slots[shared[0]] - shared[0])
        (up_starts, up_ends), (starts, ends) = _windows(self.text(), upstream, downstream)
        if up_ends[-1] == starts[0]:
            return places + len(upstream)
        if ends[-1] == up_starts[0]:
            return places - len(downstream)
        raise refusal(
            self.text(),
            upstream.definition,
            downstream.definition,
            "partitions that neither of the two has lie between them",
            hint="let one definition start where the other ends, or write your own mapping",
        )


@dataclass(frozen=True, slots=True)
class LastN:
    """Each partition reads the `n` last upstream partitions up to the end of its own window.

    With the same grain that is itself and the `n - 1` before it. With another grain the upstream partitions are counted: `LastN(24)` of
    hours is a day on which no clock changes. Fewer are read at the start of the upstream definition; nothing is `missing` there as
    long as one exists. `missing` is a partition whose window ends after the last upstream window, or before the first one begins.

    Raises:
        MappingError: `n` is not an int or less than 1.

    >>> LastN(7).text()
    'last-n(7)'
    """

    n: int
    triggers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require_int("LastN", "n", self.n)
        if self.n < 1:
            raise MappingError(f"LastN({self.n}) reads nothing", hint="write LastN(1) or more")

    def text(self) -> str:
        """Return, for example, "last-n(7)"."""
        return f"last-n({self.n})"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        """Return the mapping over these two indexes; multi definitions look back along their time dimension.

        Raises:
            MappingError: one of the two has no time windows.
        """
        if PartitionKind.MULTI in (upstream.kind, downstream.kind):
            return _along_time(self, upstream, downstream)
        (up_starts, up_ends), (_, ends) = _windows(self.text(), upstream, downstream)
        hi = np.searchsorted(up_starts, ends, side="left")
        lo = np.maximum(hi - self.n, 0)
        missing = hi == 0
        if up_ends.size:
            missing |= ends > up_ends[-1]
        return MappedSet.from_intervals(
            self.text(),
            upstream,
            downstream,
            lo=lo,
            hi=hi,
            missing=missing,
            name_missing=lambda slot: (_beyond(upstream, before=bool(hi[slot] == 0)),),
        )


@dataclass(frozen=True, slots=True)
class Last:
    """Each partition reads the newest upstream partition there is when it runs (a snapshot of a slowly changing table).

    It does not trigger: otherwise each new snapshot would make all history downstream stale. Newest is the last in the order of
    the definition. Every partition is `missing` while the upstream definition has none.

    >>> Last().text(), Last().triggers
    ('last', False)
    """

    triggers: ClassVar[bool] = False

    def text(self) -> str:
        """Return "last"."""
        return "last"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        """Return the mapping over these two indexes; of a multi upstream, the newest along its time dimension.

        Raises:
            MappingError: the upstream is a multi definition without a time dimension, or its other dimensions can't be inferred.
        """
        if upstream.kind is PartitionKind.MULTI:
            return _along_time(self, upstream, downstream)
        hi = np.full(len(downstream), len(upstream), dtype=np.int64)
        return MappedSet.from_intervals(
            self.text(),
            upstream,
            downstream,
            lo=np.maximum(hi - 1, 0),
            hi=hi,
            missing=hi == 0,
            name_missing=lambda _slot: (_beyond(upstream, before=False),),
        )


@dataclass(frozen=True, slots=True, init=False)
class PerDimension:
    """A mapping for each dimension of multi-partitions: `PerDimension({"region": All(), "day": LastN(7)})`.

    Names are upstream dimensions. Each meets the downstream dimension that `choose_mapping` would pair it with; write
    `{"country": ("region", StaticMap({...}))}` to pair it with another one. Dimensions that are not named are inferred.
    A partition is `missing` if it is so in any dimension. It triggers if the mappings of all dimensions do.

    >>> PerDimension({"day": LastN(7), "country": ("region", All())}).text()
    'per-dimension(country->region: all, day: last-n(7))'
    """

    given: tuple[tuple[str, str | None, PartitionMapping], ...]

    def __init__(
        self, dimensions: Mapping[str, PartitionMapping | tuple[str, PartitionMapping]]
    ) -> None:
        given: list[tuple[str, str | None, PartitionMapping]] = [
            (name, *value) if isinstance(value, tuple) else (name, None, value)
            for name, value in dimensions.items()
        ]
        object.__setattr__(self, "given", tuple(sorted(given, key=lambda item: item[0])))

    @property
    def triggers(self) -> bool:
        """Whether the mappings of all named dimensions trigger."""
        return all(mapping.triggers for _, _, mapping in self.given)

    def text(self) -> str:
        """Return "per-dimension(…)" with the mappings by name."""
        return f"per-dimension({', '.join(_pair_text(*item) for item in self.given)})"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        """Return the mapping over these two indexes.

        Raises:
            MappingError: a named dimension does not exist, the rest can't be inferred, or a mapping does not fit its dimensions.
        """
        pairs = self.pairs(upstream.definition, downstream.definition)
        return bind_pairs(self.text(), upstream, downstream, pairs)

    def pairs(self, upstream: Partitions, downstream: Partitions) -> tuple[Pair, ...]:
        """Return the mapping of every upstream dimension, inferred ones included.

        Raises:
            MappingError: a named dimension does not exist or the rest can't be inferred.
        """
        given = {name: (target, mapping) for name, target, mapping in self.given}
        return pair_dimensions(upstream, downstream, given, choose_mapping)


def choose_mapping(upstream: Partitions, downstream: Partitions) -> PartitionMapping:
    """Return the mapping that follows from the two definitions alone.

    The same id space: `Identity`. One of them unpartitioned: `All`. Time against time: `TimeOverlap`. Products of dimensions:
    `PerDimension`, where time meets time, other dimensions meet by name, an upstream dimension left over is read whole and a
    downstream one left over does not matter.

    Raises:
        MappingError: static or dynamic against time, two static definitions without a common key, two dynamic ones, or products
            with dimensions left over on both sides. The message describes both, the hint says what to write.

    >>> from partitions import SINGLE, DailyPartitions, HourlyPartitions
    >>> choose_mapping(HourlyPartitions("2025-01-01"), DailyPartitions("2025-01-01"))
    TimeOverlap()
    >>> choose_mapping(DailyPartitions("2025-01-01"), SINGLE)
    All()
    """
    if upstream.space == downstream.space:
        if upstream.kind is PartitionKind.STATIC:
            _require_common_keys(upstream, downstream)
        return Identity()
    kinds = {upstream.kind, downstream.kind}
    if PartitionKind.SINGLE in kinds:
        return All()
    if PartitionKind.MULTI in kinds:
        pairs = pair_dimensions(upstream, downstream, {}, choose_mapping)
        return PerDimension(
            {
                pair.upstream: pair.mapping
                if pair.downstream is None
                else (pair.downstream, pair.mapping)
                for pair in pairs
            }
        )
    if upstream.kind.is_time and downstream.kind.is_time:
        return TimeOverlap()
    raise MappingError(
        f"no mapping follows from {upstream.describe()} to {downstream.describe()}",
        hint='say which partitions are read: inputs={"x": Input(x, mapping=All())}, or Last(), or a StaticMap',
    )


def dynamic_spaces_across(
    mapping: PartitionMapping, upstream: Partitions, downstream: Partitions
) -> frozenset[str]:
    """The spaces of dynamic keys of which one downstream partition reads several, or may: it then reads others when keys come or go.

    >>> from partitions.definitions import SINGLE, DynamicPartitions
    >>> dynamic_spaces_across(All(), DynamicPartitions("shops"), SINGLE) == {DynamicPartitions("shops").space}
    True
    """
    if isinstance(mapping, Identity):
        return frozenset()
    ups = dimensions_of(upstream)
    pairs: list[tuple[str, str | None, PartitionMapping]] = [(name, None, mapping) for name in ups]
    if isinstance(mapping, PerDimension):
        pairs = [
            (p.upstream, p.downstream, p.mapping) for p in mapping.pairs(upstream, downstream)
        ]
    return frozenset(
        ups[up].space
        for up, down, each in pairs
        if isinstance(ups[up], DynamicPartitions)
        and not (down is not None and isinstance(each, Identity))
    )


def _pair_text(name: str, target: str | None, mapping: PartitionMapping) -> str:
    arrow = "" if target is None or target == name else f"->{target or '*'}"
    return f"{name or '*'}{arrow}: {mapping.text()}"


def _along_time(
    mapping: PartitionMapping, upstream: PartitionIndex, downstream: PartitionIndex
) -> MappedSet:
    """Return `mapping` between the time dimensions of two products, everything else inferred."""
    name = time_dimension_of(upstream.definition)
    if name is None:
        raise refusal(
            mapping.text(),
            upstream.definition,
            downstream.definition,
            "the upstream one has no time windows to go along",
            hint="map its dimensions with PerDimension({...})",
        )
    return PerDimension({name: mapping}).bind(upstream, downstream)


def _windows(
    text: str, upstream: PartitionIndex, downstream: PartitionIndex
) -> tuple[
    tuple[NDArray[np.int64], NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.int64]]
]:
    """Return (starts, ends) of both indexes in UTC epoch seconds."""
    windows = []
    for side, index in (("upstream", upstream), ("downstream", downstream)):
        if index.starts is None or index.ends is None:
            raise refusal(
                text,
                upstream.definition,
                downstream.definition,
                f"it compares time windows, and the {side} one has none",
                hint="use All(), Last() or a StaticMap",
            )
        windows.append((index.starts, index.ends))
    return windows[0], windows[1]


def _outside(
    upstream: PartitionIndex, downstream: PartitionIndex
) -> Callable[[int], tuple[str, ...]]:
    """Return what names the parts of a downstream window that no upstream window covers."""

    def name(slot: int) -> tuple[str, ...]:
        (up_starts, up_ends), (starts, ends) = _windows("", upstream, downstream)
        if up_starts.size == 0:
            return (_beyond(upstream, before=False),)
        sides = (starts[slot] < up_starts[0], ends[slot] > up_ends[-1])
        return tuple(
            _beyond(upstream, before=before)
            for before, open_ in zip((True, False), sides, strict=True)
            if open_
        )

    return name


def _beyond(upstream: PartitionIndex, *, before: bool) -> str:
    """Name partitions that have no key because the upstream definition does not reach them."""
    if len(upstream) == 0:
        return f"any partition of {upstream.definition.describe()}"
    return f"before {upstream.key(0)}" if before else f"after {upstream.key(len(upstream) - 1)}"


def _require_common_keys(upstream: Partitions, downstream: Partitions) -> None:
    ups = upstream.dictionary_keys()[upstream.space]
    downs = downstream.dictionary_keys()[downstream.space]
    if set(ups).isdisjoint(downs):
        raise MappingError(
            f"no mapping follows from {upstream.describe()} to {downstream.describe()}: they have no key in common",
            hint='say which key reads which: inputs={"x": Input(x, mapping=StaticMap({upstream_key: [downstream_key]}))}',
        )


def _require_int(mapping: str, field: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise MappingError(
            f"{mapping}({field}={value!r}): {field} must be a whole number of partitions",
            hint=f"write {mapping}(7)",
        )
