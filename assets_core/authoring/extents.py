"""What of an asset's edges makes its dependency version, and what an upstream definition was when an edge was recorded.

Theory of operation
-------------------
What a partition reads follows from the mapping and from the two indexes. The downstream one has the partition itself; what the upstream
one has may depend on its bounds and keys, and a partition that left the definition leaves no trace in the state. So where they matter
(the *extent*), they are lines of the edge's text, and the text is kept with the version. From a recorded text the upstream
definition of then is made again, and whoever wants to know compares what is read over both (`planning.moved_bounds`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from assets_core.authoring.edges import ordered_partition_by
from assets_core.model.records import VersionPart
from partitions.axes import dimensions_of
from partitions.definitions import StaticPartitions
from partitions.errors import PartitionDefinitionError
from partitions.keyed_mappings import All, Identity
from partitions.mappings import Last, Offset, PerDimension, TimeOverlap
from partitions.multi import MultiPartitions
from partitions.time_windows import TimePartitions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from assets_core.authoring.decorators import Asset
    from assets_core.model.specs import AssetSpec, Dependency
    from partitions.definitions import Partitions
    from partitions.keyed_mappings import PartitionMapping

_DIGEST_LENGTH: Final = 16
_KEY: Final = "partition "
_BOUNDS: Final = {
    "start": "partitions from ",
    "end": "partitions until ",
    "end_offset": "partitions ahead ",
}


def _bounds_that_count(mapping: PartitionMapping, *, may_lack: bool) -> tuple[str, ...]:
    """Which bounds of a time definition decide what is read: one that is nowhere near the partition does."""
    if may_lack or isinstance(mapping, All):
        return tuple(_BOUNDS)
    # Windows that overlap or lie so many places away are the same whatever the bounds, or else lacking, and the newest is whatever there
    # is. A window of the last N is cut at the start, and a mapping of the user's may be. None is cut at the end: there definitions grow.
    if isinstance(mapping, (Identity, TimeOverlap, Offset, Last)):
        return ()
    return ("start",)


def _keys_count(mapping: PartitionMapping, *, may_lack: bool) -> bool:
    return may_lack or not isinstance(mapping, Identity)


def _dimensions(
    edge: Dependency, upstream: Partitions, downstream: Partitions
) -> list[tuple[str, Partitions, PartitionMapping]]:
    """The upstream dimensions, each with what begins its lines, and the mapping that decides what of it is read."""
    mapping = edge.mapping
    if isinstance(mapping, PerDimension):
        ups = dimensions_of(upstream)
        pairs = mapping.pairs(upstream, downstream)
        return [(f"{pair.upstream}: ", ups[pair.upstream], pair.mapping) for pair in pairs]
    if isinstance(upstream, MultiPartitions):
        return [(f"{name}: ", dimension, mapping) for name, dimension in upstream.dimensions]
    return [("", upstream, mapping)]


def _extent(edge: Dependency, upstream: Partitions, downstream: Partitions) -> list[str]:
    """What of the bounds and keys of the upstream definition decides which partitions are read, a line each."""
    lines = []
    for prefix, definition, mapping in _dimensions(edge, upstream, downstream):
        if isinstance(definition, StaticPartitions):
            if _keys_count(mapping, may_lack=edge.allow_missing):
                lines += [f"{prefix}{_KEY}{key}" for key in definition.keys]
        elif isinstance(definition, TimePartitions):
            bounds = _bounds_that_count(mapping, may_lack=edge.allow_missing)
            lines += [
                f"{prefix}{_BOUNDS[bound]}{value}"
                for bound in bounds
                if (value := getattr(definition, bound)) not in (None, 0)
            ]
    return lines


def _restored(
    edge: Dependency, upstream: Partitions, downstream: Partitions, lines: Sequence[str]
) -> Partitions | None:
    """The upstream definition that had this extent, everything else as now; None if the lines are of no such."""
    found: dict[str, Partitions] = {}
    left = list(lines)
    for prefix, definition, mapping in _dimensions(edge, upstream, downstream):
        own = [line.removeprefix(prefix) for line in left if line.startswith(prefix)]
        left = [line for line in left if not line.startswith(prefix)]
        try:
            found[prefix] = _with_extent(definition, mapping, own, may_lack=edge.allow_missing)
        except PartitionDefinitionError:
            return None  # such as a start of then after the end of now
    then = next(iter(found.values()), upstream)
    if isinstance(upstream, MultiPartitions):
        names = [name for name, _ in upstream.dimensions]
        then = MultiPartitions({name: found[f"{name}: "] for name in names})
    # Written again, it has to say the same: then nothing was overlooked or read as something else.
    return then if _extent(edge, then, downstream) == list(lines) else None


def _with_extent(
    definition: Partitions, mapping: PartitionMapping, lines: Sequence[str], *, may_lack: bool
) -> Partitions:
    if isinstance(definition, StaticPartitions):
        if not _keys_count(mapping, may_lack=may_lack):
            return definition
        return StaticPartitions([line.removeprefix(_KEY) for line in lines])
    if not isinstance(definition, TimePartitions):
        return definition
    told: dict[str, object] = {}
    for bound in _bounds_that_count(mapping, may_lack=may_lack):
        word = _BOUNDS[bound]
        values = [line.removeprefix(word) for line in lines if line.startswith(word)]
        if bound == "end_offset":
            told[bound] = int(values[0]) if values else 0
        elif values or bound == "end":
            told[bound] = values[0] if values else None
    then: Partitions = replace(definition, **told)  # type: ignore[type-var] # each kind of them is a dataclass
    return then


def deps_version(
    asset: Asset, edges: Iterable[Dependency], definitions: Mapping[str, Partitions]
) -> str:
    """Identifies an asset's edges, mappings and partition space; the order of parameters is no difference.

    `definitions` are the partition definitions of all assets. Where one decides which partitions a mapping reads, its bounds or keys count.
    """
    downstream = definitions[asset.key]
    told = sorted(
        [edge.text(), edge.allow_missing, _extent(edge, definitions[edge.upstream], downstream)]
        for edge in edges
    )
    parts = [told, downstream.space, ordered_partition_by(asset)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_DIGEST_LENGTH]


def deps_parts(spec: AssetSpec, definitions: Mapping[str, Partitions]) -> tuple[VersionPart, ...]:
    """What `deps_version` is made of, one part per edge: equal versions have equal parts, and different ones differ in a part.

    An `input` is named by its parameter, an `order` (of `deps=`) by the upstream asset. `definitions` as there.
    """
    texts = [("partitions", "partitions", spec.partitions.space)]
    by = spec.partition_by
    if by is not None:
        columns = [by] if isinstance(by, str) else [" ".join(pair) for pair in by]
        texts.append(("partition_by", "option", ", ".join(columns)))
    for edge in spec.dependencies:
        extent = _extent(edge, definitions[edge.upstream], spec.partitions)
        texts.append((*part_of_edge(edge), "\n".join([*_head(edge), *extent])))
    return tuple(
        VersionPart(name, kind, hashlib.sha256(text.encode()).hexdigest(), text)
        for name, kind, text in sorted(texts)
    )


def part_of_edge(edge: Dependency) -> tuple[str, str]:
    """Name and kind of the part that tells of an edge."""
    return edge.parameter or edge.upstream, "order" if edge.parameter is None else "input"


def upstream_of_then(
    edge: Dependency, upstream: Partitions, downstream: Partitions, text: str
) -> Partitions | None:
    """The upstream definition as it was when the edge was recorded with this text, as far as it decides what is read.

    None if the text differs in more than that from the edge of now.
    """
    head = _head(edge)
    lines = text.split("\n")
    if lines[: len(head)] != head:
        return None
    return _restored(edge, upstream, downstream, lines[len(head) :])


def _head(edge: Dependency) -> list[str]:
    """The lines of an edge's text before those of the extent."""
    lines = [f"reads {edge.upstream}" if edge.parameter else f"after {edge.upstream}"]
    lines += f"mapping {edge.mapping.text()}".split("\n")
    if edge.allow_missing:
        lines.append("may be missing")
    return lines + [f"column {name}" for name in edge.columns or ()]
