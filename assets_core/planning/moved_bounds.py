"""Which partitions read others since bounds or keys of what they read moved. Pure; what is recorded of versions is passed in as a function.

Theory of operation
-------------------
Each success names the version of the dependencies that it was made with, and the state keeps what that version says of each edge, bounds
and keys of the upstream definition included where they decide what is read (`authoring.extents`). So where only those differ from
now, the upstream definition of then is made again, laid over the present instant, and mapped: a partition is of other dependencies exactly
if it would read other partitions then than it does now. Partitions that became due since are in both.

Sets of partitions are compared by sums over them of 128 bits that stand for an id: each partition's sum is a difference of two prefix
sums, whatever the mapping, and nothing is ever listed. An interval that a mapping names twice counts twice, in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assets_core.authoring.extents import deps_parts, part_of_edge, upstream_of_then
from partitions.errors import PartitaError
from partitions.mapped_set import bind_mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from assets_core.model.records import VersionPart
    from assets_core.model.specs import AssetSpec
    from assets_core.planning.columns import PartitionFacts
    from assets_core.planning.staleness import BoundDependency, Facts
    from partitions.definitions import Partitions
    from partitions.mapped_set import MappedSet

    Mask = NDArray[np.bool_]
    Sums = NDArray[np.uint64]

_SEEDS = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03], dtype=np.uint64)


def of_other_dependencies(
    facts: Facts, spec: AssetSpec, own: PartitionFacts, bound: tuple[BoundDependency, ...]
) -> Mask | None:
    """Recorded slots that were made with other edges, or read other partitions than they would now; None if there are none."""
    current = facts.state.version_ids[spec.key].deps_id
    differs = own.differs(own.recorded.deps_id, current)
    if differs is None or not differs.any():
        return None
    made_by = own.deps_id
    versions = np.unique(made_by[differs]).tolist()
    known = facts.versions(versions)
    for version in versions:
        parts = known[version].parts if version in known else ()
        others = _reading_others(facts, spec, bound, parts)
        if others is not None:
            differs &= (made_by != version) | others
    return differs


def _reading_others(
    facts: Facts,
    spec: AssetSpec,
    bound: tuple[BoundDependency, ...],
    then: tuple[VersionPart, ...],
) -> Mask | None:
    """Slots that read other partitions than when the dependencies were `then`; None if something else differs, or that is not known."""
    above = {edge.dependency.upstream for edge in bound}
    definitions = {key: facts.graph.spec(key).partitions for key in above}
    before = {(part.name, part.kind): part for part in then}
    after = {(part.name, part.kind): part for part in deps_parts(spec, definitions)}
    edges = {part_of_edge(edge.dependency): edge for edge in bound}
    if before.keys() != after.keys() or len(before) != len(then):
        return None
    others = np.zeros(len(facts.indexes[spec.key]), dtype=np.bool_)
    for name, part in before.items():
        if part.digest == after[name].digest:
            continue
        edge = edges.get(name)
        upstream = None if edge is None else _then(facts, spec, edge, part.source)
        if edge is None or upstream is None:
            return None
        moved = _other_sets(facts, edge, upstream)
        if moved is None:
            return None
        others |= moved
    return others


def _then(facts: Facts, spec: AssetSpec, edge: BoundDependency, text: str) -> Partitions | None:
    upstream = facts.graph.spec(edge.dependency.upstream).partitions
    return upstream_of_then(edge.dependency, upstream, spec.partitions, text)


def _other_sets(facts: Facts, edge: BoundDependency, then: Partitions) -> Mask | None:
    """Slots for which the mapping reads other partitions of the definition `then` than it does now; None if it can't be asked."""

    def compare() -> Mask | None:
        now = edge.mapped
        try:
            index = then.index(facts.now, facts.key_ids)
            before = bind_mapping(edge.dependency.mapping, index, now.downstream)
        except PartitaError:
            return None
        return np.asarray((_sums(before) != _sums(now)).any(axis=1))

    return facts.shared.moved.answer((edge.mapped, then), compare)


def _sums(mapped: MappedSet) -> Sums:
    """Per downstream slot, a sum over the ids of the upstream partitions that it reads: equal for equal sets."""
    ids = mapped.upstream.ids.astype(np.uint64)
    per_interval = _differences(_bits(ids), mapped.lo, mapped.hi)
    if mapped.indptr is None:
        return per_interval
    return _differences(per_interval, mapped.indptr[:-1], mapped.indptr[1:])


def _differences(values: Sums, lo: NDArray[np.int64], hi: NDArray[np.int64]) -> Sums:
    before = np.zeros((len(values) + 1, 2), dtype=np.uint64)
    np.cumsum(values, axis=0, out=before[1:])
    return np.asarray(before[hi] - before[lo])


def _bits(ids: Sums) -> Sums:
    """Two numbers for each id that look random (splitmix64): sums of different sets of them are equal once in 2^128 times."""
    mixed = (ids[:, None] + np.uint64(1)) * _SEEDS
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
