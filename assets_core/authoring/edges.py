"""What follows from an asset and what it reads: the mapping of an edge, the destination of the rows. What identifies edges is `extents`'s."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from assets_core.authoring.problems import kind_of
from assets_core.authoring.row_schemas import with_text
from assets_core.authoring.rules import dimensions, time_kind
from assets_core.model.contracts import REASON_COLUMN, REJECTED_SUFFIX
from assets_core.model.errors import DefinitionError
from assets_core.model.io_manager import Target
from assets_core.model.specs import SCD2, Append, Replace
from partitions.definitions import SINGLE
from partitions.keyed_mappings import PartitionMapping
from partitions.mapped_set import bind_mapping
from partitions.mappings import choose_mapping
from partitions.time_windows import TimePartitions

if TYPE_CHECKING:
    from assets_core.authoring.decorators import Asset
    from assets_core.model.specs import Input, PartitionBy
    from partitions.definitions import Partitions

# Any instant will do to ask whether a mapping fits two definitions; this one makes most indexes empty, and so the answer quick.
_SOME_INSTANT: Final = datetime(1970, 1, 1, tzinfo=UTC)


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
