"""Mappings between products of dimensions: which dimension meets which, and the product of the bound mappings.

Decided here: how the dimensions of two definitions are paired where the user does not say, and how the mappings of the pairs
multiply into one mapping over whole slots. Not decided here: what a mapping of one dimension means (`mappings`).

A definition that is no product has one dimension without a name (""), an unpartitioned one has none. So a day against
region × day needs no rule of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from partitions.definitions import SINGLE, PartitionKind
from partitions.errors import MappingError, nearest
from partitions.mapped_set import MappedSet, bind_mapping, expand, refusal
from partitions.multi import MultiPartitions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from partitions.definitions import PartitionIndex, Partitions
    from partitions.keyed_mappings import PartitionMapping


@dataclass(frozen=True, slots=True)
class Pair:
    """An upstream dimension, the downstream one it depends on (None: on none of them) and the mapping between the two."""

    upstream: str
    downstream: str | None
    mapping: PartitionMapping


@dataclass(frozen=True, slots=True)
class _Axis:
    """A bound pair: `coordinates[slot]` is the downstream slot's place in the pair's downstream dimension."""

    name: str
    mapped: MappedSet
    coordinates: NDArray[np.int64]


def dimensions_of(definition: Partitions) -> dict[str, Partitions]:
    """The dimensions of `definition` by name in declared order: one named "" if it is no product, none if it is unpartitioned.

    >>> dimensions_of(SINGLE)
    {}
    """
    if isinstance(definition, MultiPartitions):
        return dict(definition.dimensions)
    return {} if definition.kind is PartitionKind.SINGLE else {"": definition}


def time_dimension_of(definition: Partitions) -> str | None:
    """The name of the dimension that has windows, or None.

    >>> time_dimension_of(SINGLE) is None
    True
    """
    for name, dimension in dimensions_of(definition).items():
        if dimension.kind.is_time:
            return name
    return None


def pair_dimensions(
    upstream: Partitions,
    downstream: Partitions,
    given: Mapping[str, tuple[str | None, PartitionMapping]],
    choose: Callable[[Partitions, Partitions], PartitionMapping],
) -> tuple[Pair, ...]:
    """Return one pair for each upstream dimension, in their declared order.

    `given` maps upstream dimensions to their downstream dimension (None: infer it) and mapping. The rest is inferred: time meets
    time, other dimensions meet the one of the same name (or the only one, where one side is no product), dynamic ones that of the
    same space. An upstream dimension that meets nothing is read whole; a downstream one that meets nothing does not matter.
    `choose` says how two dimensions that meet are mapped, and how one is read whole (against `SINGLE`).

    Raises:
        MappingError: an unknown name in `given`; or both sides have dimensions left over, where "all of it" may well not be meant.
    """
    ups, downs = dimensions_of(upstream), dimensions_of(downstream)
    for name, (target, _) in given.items():
        _require_dimension(name, "upstream", upstream, downstream)
        if target is not None:
            _require_dimension(target, "downstream", upstream, downstream)
    free = dict(downs)
    pairs: dict[str, Pair] = {}
    for name, (target, mapping) in given.items():
        meets = _counterpart(name, ups, downs) if target is None else target
        pairs[name] = Pair(name, meets, mapping)
        if meets is not None:
            free.pop(meets, None)
    left_over = []
    for name in ups:
        if name in pairs:
            continue
        meets = _counterpart(name, ups, free)
        if meets is None:
            left_over.append(name)
            pairs[name] = Pair(name, None, choose(ups[name], SINGLE))
        else:
            pairs[name] = Pair(name, meets, choose(ups[name], free.pop(meets)))
    if left_over and free:
        dimension = left_over[0]
        raise MappingError(
            f"no mapping follows from {upstream.describe()} to {downstream.describe()}: upstream "
            f"{_dimension(dimension)} and downstream {_dimension(next(iter(free)))} have nothing to meet",
            hint='say which partitions are read: inputs={"x": Input(x, mapping='
            + (f"PerDimension({{{dimension!r}: All()}}))}}" if dimension else "All())}"),
        )
    return tuple(pairs[name] for name in ups)


def bind_pairs(
    text: str, upstream: PartitionIndex, downstream: PartitionIndex, pairs: Sequence[Pair]
) -> MappedSet:
    """Return the product of the mappings of `pairs`, which name every upstream dimension; O(intervals).

    Raises:
        MappingError: the mapping of a pair does not fit its two dimensions.
    """
    axes = [_bound(text, upstream, downstream, pair) for pair in pairs]
    # Slots are lane-major: time is the innermost axis wherever it was declared, the others keep their order.
    axes.sort(key=lambda axis: axis.mapped.upstream.kind.is_time)
    owners = np.arange(len(downstream), dtype=np.int64)
    places = np.zeros(len(downstream), dtype=np.int64)
    for axis in axes[:-1]:
        intervals, chosen = _intervals_of(axis.mapped, axis.coordinates[owners])
        slots, of_interval = expand(axis.mapped.lo[intervals], axis.mapped.hi[intervals])
        source = chosen[of_interval]
        places = places[source] * len(axis.mapped.upstream) + slots
        owners = owners[source]
    if axes:
        inner = axes[-1]
        intervals, chosen = _intervals_of(inner.mapped, inner.coordinates[owners])
        base = places[chosen] * len(inner.mapped.upstream)
        lo, hi = base + inner.mapped.lo[intervals], base + inner.mapped.hi[intervals]
        owners = owners[chosen]
    else:
        lo, hi = places, places + 1
    indptr = np.zeros(len(downstream) + 1, dtype=np.int64)
    np.cumsum(np.bincount(owners, minlength=len(downstream)), out=indptr[1:])
    missing = np.zeros(len(downstream), dtype=np.bool_)
    for axis in axes:
        missing |= axis.mapped.missing[axis.coordinates]
    return MappedSet.from_lists(
        text,
        upstream,
        downstream,
        indptr=indptr,
        lo=lo,
        hi=hi,
        missing=missing,
        name_missing=lambda slot: _missing_names(axes, slot),
    )


def _bound(text: str, upstream: PartitionIndex, downstream: PartitionIndex, pair: Pair) -> _Axis:
    source = dict(upstream.dimension_indexes)[pair.upstream] if pair.upstream else upstream
    count = len(downstream)
    if pair.downstream is None:
        target = SINGLE.index(datetime(1970, 1, 1, tzinfo=UTC))
        coordinates = np.zeros(count, dtype=np.int64)
    elif pair.downstream:
        target = dict(downstream.dimension_indexes)[pair.downstream]
        coordinates = downstream.dimension_slots(pair.downstream)
    else:
        target = downstream
        coordinates = np.arange(count, dtype=np.int64)
    try:
        return _Axis(pair.upstream, bind_mapping(pair.mapping, source, target), coordinates)
    except MappingError as error:
        if source is upstream and target is downstream:
            raise
        why = f"{_dimension(pair.upstream)}: {error.message}"
        raise refusal(
            text, upstream.definition, downstream.definition, why, hint=error.hint
        ) from error


def _intervals_of(
    mapped: MappedSet, slots: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of the intervals of `slots`, one slot after another, and for each the place in `slots` it belongs to."""
    if mapped.indptr is None:
        return slots, np.arange(slots.size, dtype=np.int64)
    return expand(mapped.indptr[slots], mapped.indptr[slots + 1])


def _missing_names(axes: Sequence[_Axis], slot: int) -> tuple[str, ...]:
    return tuple(
        f"{axis.name}={key}" if axis.name else key
        for axis in axes
        for key in axis.mapped.missing_keys(int(axis.coordinates[slot]))
    )


def _counterpart(
    name: str, ups: Mapping[str, Partitions], downs: Mapping[str, Partitions]
) -> str | None:
    """Return the dimension of `downs` that upstream dimension `name` meets without being told, or None."""
    dimension = ups[name]
    if dimension.kind.is_time:
        return next((other for other in downs if downs[other].kind.is_time), None)
    if name in downs and not downs[name].kind.is_time:
        return name
    alike = [other for other in downs if downs[other].space == dimension.space]
    if len(alike) != 1:
        return None
    # All static definitions share one space, so it says little between two names: only "" (no product) takes what there is.
    alone = sum(other.space == dimension.space for other in ups.values()) == 1
    unnamed = "" in {name, alike[0]}
    return alike[0] if alone and (unnamed or dimension.kind is PartitionKind.DYNAMIC) else None


def _require_dimension(name: str, side: str, upstream: Partitions, downstream: Partitions) -> None:
    known = dimensions_of(upstream if side == "upstream" else downstream)
    if name in known:
        return
    near = nearest(name, known)
    names = ", ".join(repr(other) for other in known if other)
    raise refusal(
        "PerDimension",
        upstream,
        downstream,
        f"it names {name!r}, which is no dimension of the {side} definition",
        hint=f"did you mean {near[0]!r}?"
        if near
        else f"its dimensions are {names}"
        if names
        else "it is no MultiPartitions: leave PerDimension out",
    )


def _dimension(name: str) -> str:
    return f"dimension {name!r}" if name else "the whole definition"
