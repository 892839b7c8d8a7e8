"""What follows from an asset and what it reads: the mapping of an edge, the identity of all edges, the destination of the rows."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from assets_core.authoring.problems import kind_of
from assets_core.authoring.rules import dimensions, time_kind
from assets_core.model.errors import DefinitionError
from assets_core.model.io_manager import Target
from assets_core.model.records import VersionPart
from partitions.definitions import SINGLE, StaticPartitions
from partitions.keyed_mappings import All, Identity
from partitions.mappings import LastN, choose_mapping
from partitions.multi import MultiPartitions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from assets_core.authoring.decorators import Asset
    from assets_core.model.specs import AssetSpec, Dependency, Input, PartitionBy
    from partitions.definitions import Partitions
    from partitions.mappings import PartitionMapping

_DIGEST_LENGTH: Final = 16
# Any instant will do to ask whether a mapping fits two definitions; this one makes most indexes empty, and so the answer quick.
_SOME_INSTANT: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _extent(mapping: PartitionMapping, upstream: Partitions) -> list[object]:
    if isinstance(mapping, Identity):
        return []
    if isinstance(upstream, MultiPartitions):
        return [_extent(mapping, dimension) for _, dimension in upstream.dimensions]
    if isinstance(upstream, StaticPartitions):
        return list(upstream.keys)
    # Windows that overlap are the same whatever the bounds; a window of the last N is cut at the start.
    start, end = getattr(upstream, "start", None), getattr(upstream, "end", None)
    if isinstance(mapping, All):
        return [start, end]
    return [start] if isinstance(mapping, LastN) else []


def _extent_lines(mapping: PartitionMapping, upstream: Partitions) -> Iterator[str]:
    """What `_extent` says, for people."""
    if isinstance(upstream, MultiPartitions) and not isinstance(mapping, Identity):
        for name, dimension in upstream.dimensions:
            yield from (f"{name}: {each}" for each in _extent_lines(mapping, dimension))
        return
    extent = _extent(mapping, upstream)
    if isinstance(upstream, StaticPartitions):
        yield from (f"partition {key}" for key in extent)
        return
    yield from (
        f"partitions {word} {bound}"
        for word, bound in zip(("from", "until"), extent, strict=False)
        if bound is not None
    )


def partitions_of(asset: Asset) -> Partitions:
    """The partition definition of an asset; the one of a single partition if it has none."""
    return SINGLE if asset.partitions is None else asset.partitions


def edge_mapping(read: Input, upstream: Partitions, downstream: Partitions) -> PartitionMapping:
    """The mapping of one edge: the declared one, else the one that follows from the two definitions.

    Raises:
        DefinitionError: there is none, or the declared one fits no partitions of these two definitions.
    """
    mapping = read.mapping
    if mapping is None:
        return choose_mapping(upstream, downstream)
    if isinstance(mapping, type) or not hasattr(mapping, "bind"):
        raise DefinitionError(
            f"mapping= is {kind_of(mapping)}, which is no partition mapping",
            hint="write, for example, mapping=LastN(7)",
        )
    mapping.bind(upstream.index(_SOME_INSTANT), downstream.index(_SOME_INSTANT))
    return mapping


def ordered_partition_by(asset: Asset) -> PartitionBy | None:
    """`partition_by` with its pairs in the order of the dimensions: the order in which they were written is no difference."""
    names = [name for name, _ in dimensions(partitions_of(asset))]
    by = asset.partition_by
    if by is None or isinstance(by, str) or not names:
        return by
    return tuple(sorted(by, key=lambda pair: names.index(pair[0])))


def target_of(asset: Asset) -> Target:
    """The asset as a destination for rows."""
    kind = time_kind(partitions_of(asset))
    return Target(
        asset=asset.key,
        write=asset.write,
        partitioned=asset.partitions is not None,
        partition_by=ordered_partition_by(asset),
        time_kind=None if kind is None else kind.value,
    )


def deps_version(
    asset: Asset, dependencies: Iterable[Dependency], definitions: Mapping[str, Partitions]
) -> str:
    """Identifies an asset's edges, mappings and partition space; the order of parameters is no difference.

    `definitions` are the partition definitions of all assets. Where one decides which partitions a mapping reads (`All` of them, or of
    the keys of a dimension), its bounds or keys count: a partition that is no longer read leaves no trace in the state.
    """
    edges = sorted(
        [edge.text(), edge.allow_missing, _extent(edge.mapping, definitions[edge.upstream])]
        for edge in dependencies
    )
    parts = [edges, partitions_of(asset).space, ordered_partition_by(asset)]
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
        lines = [f"reads {edge.upstream}" if edge.parameter else f"after {edge.upstream}"]
        lines.append(f"mapping {edge.mapping.text()}")
        if edge.allow_missing:
            lines.append("may be missing")
        lines += _extent_lines(edge.mapping, definitions[edge.upstream])
        kind = "order" if edge.parameter is None else "input"
        texts.append((edge.parameter or edge.upstream, kind, "\n".join(lines)))
    return tuple(
        VersionPart(name, kind, hashlib.sha256(text.encode()).hexdigest(), text)
        for name, kind, text in sorted(texts)
    )
