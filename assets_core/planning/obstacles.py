"""What keeps stale partitions from running: which upstream partitions are in the way, why, and until when. Pure.

A partition is blocked if it must read an upstream partition that has no data and that the plan does not make. Of several that are in
the way, the kind that is told is the one that needs most: somebody's hand before another plan, another plan before time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from assets_core.planning.columns import put
from assets_core.planning.plan import BlockedRow
from assets_core.planning.reasons import Blocked
from assets_core.planning.staleness import NO_CAUSE, in_flight, mask_of_ids
from partitions.keyed_mappings import All
from partitions.sets import PartitionSet
from partitions.zones import instant_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from assets_core.planning.staleness import BoundDependency, Facts, Upstream

    Mask = NDArray[np.bool_]

_ORDER = (
    Blocked.OUTSIDE_UPSTREAM,
    Blocked.UPSTREAM_MISSING,
    Blocked.UPSTREAM_BLOCKED,
    Blocked.UPSTREAM_NOT_DUE,
    Blocked.UPSTREAM_IN_FLIGHT,
)


@dataclass(frozen=True, slots=True, eq=False)
class Obstacles:
    """Of one asset: per slot what stands in the way (`Blocked`, uint8), and the position of the edge that it comes through.

    `upstream` has, by kind and position, the upstream slots that are in the way so; there are none for OUTSIDE_UPSTREAM.
    """

    kinds: NDArray[np.uint8]
    positions: NDArray[np.uint8]
    upstream: Mapping[tuple[Blocked, int], Mask]


def find_obstacles(
    facts: Facts,
    bound: tuple[BoundDependency, ...],
    above: Mapping[str, Upstream],
    can_run: Mask,
    *,
    planned: Mapping[str, Mask],
    stuck: Mapping[str, Mask],
) -> Obstacles:
    """What is in the way of the slots in `can_run`. `planned` and `stuck` say of assets above what of them runs, and what is blocked."""
    kinds = np.zeros(len(can_run), dtype=np.uint8)
    positions = np.full(len(can_run), NO_CAUSE, dtype=np.uint8)
    ways: dict[tuple[Blocked, int], tuple[Mask, Mask | None]] = {}
    if can_run.any():
        for position, edge in enumerate(bound):
            if not edge.dependency.allow_missing:
                for kind, readers, upstream in _in_the_way(facts, edge, above, planned, stuck):
                    ways[kind, position] = readers, upstream
    for kind, position in sorted(ways, key=lambda way: (_ORDER.index(way[0]), way[1])):
        hit = can_run & ways[kind, position][0] & (kinds == Blocked.NOT_BLOCKED)
        put(kinds, hit, kind)
        put(positions, hit, position)
    found = {way: upstream for way, (_, upstream) in ways.items() if upstream is not None}
    return Obstacles(kinds, positions, found)


def _in_the_way(
    facts: Facts,
    edge: BoundDependency,
    above: Mapping[str, Upstream],
    planned: Mapping[str, Mask],
    stuck: Mapping[str, Mask],
) -> Iterator[tuple[Blocked, Mask, Mask | None]]:
    """How this edge stands in the way: the kind, the slots that read something of it, and which upstream slots that is."""
    if edge.mapped.missing.any():
        yield Blocked.OUTSIDE_UPSTREAM, edge.mapped.missing, None
    name = edge.dependency.upstream
    absent, due, not_yet = ~above[name].exists, above[name].due, above[name].not_yet
    if not_yet is not None and isinstance(edge.dependency.mapping, All):
        # It reads what there is: a partition that is still to become due is no gap, and neither is what waits for one.
        absent &= ~not_yet
    if name in planned:
        absent &= ~planned[name]
    if not absent.any():
        return
    busy = in_flight(facts, name)
    blocked = stuck.get(name, np.zeros_like(absent))
    for kind, upstream in (
        (Blocked.UPSTREAM_IN_FLIGHT, absent & busy),
        (Blocked.UPSTREAM_NOT_DUE, absent & ~busy & ~due),
        (Blocked.UPSTREAM_BLOCKED, absent & blocked),
        (Blocked.UPSTREAM_MISSING, absent & ~busy & due & ~blocked),
    ):
        if upstream.any():
            yield kind, edge.mapped.any_upstream(upstream), upstream


def blocked_row(
    facts: Facts, asset: str, mask: Mask, kind: Blocked, *, edge: BoundDependency, upstream: Mask
) -> BlockedRow:
    """The row for slots that are blocked alike; `upstream` are the slots that are in the way so, of whatever reads them."""
    name = edge.dependency.upstream
    waits_for = edge.mapped.upstream_of(mask) & upstream
    return BlockedRow(
        partitions=PartitionSet.from_mask(facts.indexes[asset], mask),
        kind=kind,
        upstream=name,
        waits_for=PartitionSet.from_mask(facts.indexes[name], waits_for),
        until=_until(facts, edge, mask, waits_for) if kind is Blocked.UPSTREAM_NOT_DUE else None,
        runs=runs_on(facts, name, waits_for) if kind is Blocked.UPSTREAM_IN_FLIGHT else (),
    )


def row_of(
    facts: Facts, asset: str, mask: Mask, row: BlockedRow, bound: tuple[BoundDependency, ...]
) -> BlockedRow:
    """The part of a row that these slots are, as if they were all that is blocked."""
    if row.waits_for is None:
        return replace(row, partitions=PartitionSet.from_mask(facts.indexes[asset], mask))
    upstream = row.waits_for.mask()
    edge = next(
        edge
        for edge in bound
        if edge.dependency.upstream == row.upstream
        and not edge.dependency.allow_missing
        and (edge.mapped.upstream_of(mask) & upstream).any()
    )
    return blocked_row(facts, asset, mask, row.kind, edge=edge, upstream=upstream)


def _until(facts: Facts, edge: BoundDependency, mask: Mask, waits_for: Mask) -> datetime:
    """When the first of these slots has all of what it waits for due."""
    name = edge.dependency.upstream
    last = edge.mapped.max_upstream(np.where(waits_for, _due_at(facts, name), 0))
    return instant_of(int(last[mask].min()), facts.indexes[name].timezone or "UTC")


def first_due_at(facts: Facts, asset: str, mask: Mask) -> datetime | None:
    """When the first of these slots becomes due, in the zone of its definition; None if there are none, or they have no windows."""
    index = facts.indexes[asset]
    if index.ends is None or not mask.any():
        return None
    return instant_of(int(_due_at(facts, asset)[mask].min()), index.timezone or "UTC")


def _due_at(facts: Facts, asset: str) -> NDArray[np.int64]:
    ends = facts.indexes[asset].ends
    assert ends is not None  # without windows everything is due
    return ends + int(np.ceil(facts.graph.spec(asset).closed_after.total_seconds()))


def runs_on(facts: Facts, asset: str, mask: Mask) -> tuple[str, ...]:
    """The ids of live runs that work on any of these slots."""
    index = facts.indexes[asset]
    return tuple(
        sorted(
            run
            for run, working in facts.state.in_flight.items()
            if (mask_of_ids(index, working.get(asset, ())) & mask).any()
        )
    )
