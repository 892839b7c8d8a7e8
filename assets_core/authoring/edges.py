"""What follows from an asset and what it reads: the mapping of an edge, the identity of all edges, the destination of the rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from assets_core.authoring.problems import kind_of
from assets_core.authoring.row_schemas import with_text
from assets_core.authoring.rules import dimensions, time_kind
from assets_core.model.contracts import REASON_COLUMN, REJECTED_SUFFIX
from assets_core.model.errors import DefinitionError
from assets_core.model.io_manager import Target
from assets_core.model.records import VersionPart
from assets_core.model.specs import SCD2, Append, Replace
from partitions.axes import dimensions_of
from partitions.definitions import SINGLE, StaticPartitions
from partitions.keyed_mappings import All, Identity, PartitionMapping
from partitions.mapped_set import bind_mapping
from partitions.mappings import Last, Offset, PerDimension, TimeOverlap, choose_mapping
from partitions.multi import MultiPartitions
from partitions.time_windows import TimePartitions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from assets_core.authoring.decorators import Asset
    from assets_core.model.specs import AssetSpec, Dependency, Input, PartitionBy
    from partitions.definitions import Partitions

_DIGEST_LENGTH: Final = 16
# Any instant will do to ask whether a mapping fits two definitions; this one makes most indexes empty, and so the answer quick.
_SOME_INSTANT: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _extent(mapping: PartitionMapping, upstream: Partitions, downstream: Partitions) -> list[str]:
    """What of the bounds and keys of the upstream definition decides which partitions are read, a line each."""
    if isinstance(mapping, Identity):
        return []
    if isinstance(mapping, PerDimension):
        ups, downs = dimensions_of(upstream), dimensions_of(downstream)
        return [
            f"{pair.upstream}: {line}"
            for pair in mapping.pairs(upstream, downstream)
            for line in _extent(
                pair.mapping,
                ups[pair.upstream],
                SINGLE if pair.downstream is None else downs[pair.downstream],
            )
        ]
    if isinstance(upstream, MultiPartitions):
        return [
            f"{name}: {line}"
            for name, dimension in upstream.dimensions
            for line in _extent(mapping, dimension, downstream)
        ]
    if isinstance(upstream, StaticPartitions):
        return [f"partition {key}" for key in upstream.keys]
    # Windows that overlap or lie so many places away are the same whatever the bounds, and the newest is whatever there is. A window
    # of the last N is cut at the start, and a mapping of the user's may be. None is cut at the end: there definitions grow.
    if isinstance(mapping, (TimeOverlap, Offset, Last)):
        return []
    bounds = {"from": "start", "until": "end"} if isinstance(mapping, All) else {"from": "start"}
    return [
        f"partitions {word} {bound}"
        for word, name in bounds.items()
        if (bound := getattr(upstream, name, None)) is not None
    ]


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
    _require_mapping(mapping)
    bind_mapping(mapping, upstream.index(_SOME_INSTANT), downstream.index(_SOME_INSTANT))
    return mapping


def _require_mapping(mapping: object) -> None:
    """Raise DefinitionError unless `mapping` has what the port of mappings asks for."""
    if isinstance(mapping, type) or not hasattr(mapping, "bind"):
        raise DefinitionError(
            f"mapping= is {kind_of(mapping)}, which is no partition mapping",
            hint="write, for example, mapping=LastN(7)",
        )
    if not isinstance(mapping, PartitionMapping):
        absent = [name for name in ("triggers", "text") if not hasattr(mapping, name)]
        raise DefinitionError(
            f"the mapping {type(mapping).__name__} has no {' and no '.join(absent)}",
            hint="give it all that partitions.PartitionMapping lists: triggers, text() and bind()",
        )
    text = mapping.text()
    if not isinstance(text, str) or not text:
        raise DefinitionError(
            f"text() of the mapping {type(mapping).__name__} returned {text!r}",
            hint="return its name and parameters: it tells one mapping from another",
        )


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
        schema=asset.schema,
        schema_policy=asset.schema_policy,
        since=_history_start(asset),
    )


def _history_start(asset: Asset) -> datetime | None:
    """Where the history begins of an asset that keeps one."""
    if not isinstance(asset.write, SCD2) or not isinstance(asset.partitions, TimePartitions):
        return None
    return datetime.fromtimestamp(asset.partitions.first_edge, UTC)


def rejected_target(target: Target) -> Target:
    """The destination of rows that a contract keeps out of `target`: its partitions are the asset's, each replaced as a whole.

    Rows of `Append` may lie anywhere in time and belong to the partition that loaded them, beside it as well. Where columns are declared,
    the reason is one of them.
    """
    by = None if isinstance(target.write, Append) else target.partition_by
    name = f"{target.asset}{REJECTED_SUFFIX}"
    schema = None if target.schema is None else with_text(target.schema, REASON_COLUMN)
    return replace(
        target,
        asset=name,
        write=Replace(),
        partition_by=by,
        schema=schema,
        since=None,
        beside=target.asset,
    )


def deps_version(
    asset: Asset, dependencies: Iterable[Dependency], definitions: Mapping[str, Partitions]
) -> str:
    """Identifies an asset's edges, mappings and partition space; the order of parameters is no difference.

    `definitions` are the partition definitions of all assets. Where one decides which partitions a mapping reads (`All` of them, or of
    the keys of a dimension), its bounds or keys count: a partition that is no longer read leaves no trace in the state.
    """
    downstream = partitions_of(asset)
    edges = sorted(
        [
            edge.text(),
            edge.allow_missing,
            _extent(edge.mapping, definitions[edge.upstream], downstream),
        ]
        for edge in dependencies
    )
    parts = [edges, downstream.space, ordered_partition_by(asset)]
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
        lines += [f"column {name}" for name in edge.columns or ()]
        lines += _extent(edge.mapping, definitions[edge.upstream], spec.partitions)
        kind = "order" if edge.parameter is None else "input"
        texts.append((edge.parameter or edge.upstream, kind, "\n".join(lines)))
    return tuple(
        VersionPart(name, kind, hashlib.sha256(text.encode()).hexdigest(), text)
        for name, kind, text in sorted(texts)
    )
