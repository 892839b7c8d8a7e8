"""From staleness and a request to a plan: scope, what runs, what is blocked. Pure; the rules of staleness are `staleness`'s.

    plan = (root ∪ transitive) ∩ scope − not due − in flight − blocked

A transitive partition is planned only if the upstream that makes it so is planned as well: running it alone could change nothing.
Otherwise it waits: it is neither run nor called fresh.
A partition is blocked if it must read an upstream partition that has no data and that this plan does not make (`obstacles`).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from enum import Enum
from operator import itemgetter
from typing import TYPE_CHECKING, assert_never

import numpy as np

from assets_core.model.errors import DefinitionError
from assets_core.planning.columns import put
from assets_core.planning.obstacles import blocked_row, find_obstacles, first_due_at, runs_on
from assets_core.planning.plan import AssetPlan, BlockedRow, Plan, PlanRow
from assets_core.planning.reasons import Blocked, Reason
from assets_core.planning.staleness import NO_CAUSE, bind_dependencies, judge
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from assets_core.planning.obstacles import Obstacles
    from assets_core.planning.staleness import BoundDependency, Facts, Staleness, Upstream

    Mask = NDArray[np.bool_]


class SpaceChangedError(DefinitionError):
    """The partition space of an asset changed under existing state."""

    code = "space-changed"


class Mode(Enum):
    """Which partitions in scope are taken: the stale ones, only those without data, or all."""

    STALE = "stale"
    MISSING = "missing"
    FORCE = "force"


@dataclass(frozen=True, slots=True, eq=False)
class PlanRequest:
    """What the user asked for.

    `partitions` narrows selected assets; one without an entry is taken whole. `upstream` and `downstream` widen the scope by the
    partitions of ancestors that the selected ones read, and by those of descendants that read them.
    """

    assets: tuple[str, ...]
    partitions: Mapping[str, PartitionSet]
    mode: Mode = Mode.STALE
    upstream: bool = False
    downstream: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Planning:
    """What the parts of one planning share; the dictionaries grow in topological order.

    `planned` holds what runs per asset, `stuck` what is blocked, `reached` the partitions that `downstream` widens the scope by.
    """

    facts: Facts
    request: PlanRequest
    above_selection: Mapping[str, Mask]
    planned: dict[str, Mask] = field(default_factory=dict)
    stuck: dict[str, Mask] = field(default_factory=dict)
    reached: dict[str, Mask] = field(default_factory=dict)


def plan_run(facts: Facts, request: PlanRequest) -> Plan:
    """The plan for a request: every stale partition in scope that can run, its reason, and what can't run and why.

    Deterministic in its arguments. O(assets · partitions) in numpy, linear in runs of gaps.

    Raises:
        SpaceChangedError: an asset in scope has state, but under another partition space than its definition's.
    """
    above_selection = _read_by(facts, request) if request.upstream else {}
    planning = _Planning(facts, request, above_selection)
    last = None if request.downstream else request.assets
    parts = []
    for verdict, bound, above in judge(facts, last):
        scope = _scope(planning, verdict.asset, bound)
        if scope is not None:
            refuse_changed_space(facts, verdict.asset)
            parts.append(_plan_asset(planning, verdict, bound, above, scope))
    return Plan(facts.state.seq, facts.now, tuple(parts))


def refuse_changed_space(facts: Facts, key: str) -> None:
    """Raise SpaceChangedError if there is state of the asset, and all of it of other partitions than it is defined with."""
    # Its table still holds rows of the old partitions, which no new partition would ever replace.
    if key in facts.state.other_spaces:
        raise space_changed(facts, key)


def space_changed(facts: Facts, key: str) -> SpaceChangedError:
    """The error for an asset that has state, but under another partition space than its definition's."""
    before, now = facts.state.other_spaces[key], facts.graph.spec(key).partitions.space
    return SpaceChangedError(
        f"{key} was materialized with the partitions {before!r} and is now defined with {now!r}; "
        "the rows of the old partitions would stay beside the new ones",
        hint=f"restore the old definition of {key}, give the asset a new name,"
        f" or remove its rows and begin anew: partita state restart {shlex.quote(key)}",
    )


def _plan_asset(
    planning: _Planning,
    verdict: Staleness,
    bound: tuple[BoundDependency, ...],
    above: Mapping[str, Upstream],
    scope: Mask,
) -> AssetPlan:
    facts, key, own = planning.facts, verdict.asset, verdict.facts
    index = facts.indexes[key]
    reasons, causes = _reasons(planning, verdict, bound)
    wanted = scope & (reasons != Reason.FRESH)
    if not (wanted | verdict.stale).any():
        none = PartitionSet.none(index)
        fresh = int(np.count_nonzero(scope))
        return AssetPlan(key, none, (), (), none, none, none, none, fresh)
    can_run = wanted & own.due & ~own.in_flight
    obstacles = find_obstacles(
        facts, bound, above, can_run, planned=planning.planned, stuck=planning.stuck
    )
    runs = can_run & (obstacles.kinds == Blocked.NOT_BLOCKED)
    stuck = can_run ^ runs
    not_due, in_flight = wanted & ~own.due, wanted & own.due & own.in_flight
    left_out = scope & ~wanted & verdict.stale
    # Stale by itself and not wanted: that's what a plan of what is missing does.
    passed_over = left_out & verdict.root
    if runs.any():
        planning.planned[key] = runs
    if stuck.any():
        planning.stuck[key] = stuck
    rows = _rows(facts, key, runs, reasons, causes)
    return AssetPlan(
        asset=key,
        partitions=rows[0].partitions if len(rows) == 1 else PartitionSet.from_mask(index, runs),
        rows=tuple(rows),
        blocked=tuple(_blocked_rows(facts, key, bound, stuck, obstacles)),
        not_due=PartitionSet.from_mask(index, not_due),
        in_flight=PartitionSet.from_mask(index, in_flight),
        waiting=PartitionSet.from_mask(index, left_out & ~passed_over),
        passed_over=PartitionSet.from_mask(index, passed_over),
        fresh=int(np.count_nonzero(scope) - np.count_nonzero(wanted) - np.count_nonzero(left_out)),
        due_at=first_due_at(facts, key, not_due),
        runs=runs_on(facts, key, in_flight) if in_flight.any() else (),
    )


def _reasons(
    planning: _Planning, verdict: Staleness, bound: tuple[BoundDependency, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The verdict's reasons, with UPSTREAM recomputed against what this plan runs, then bent by the mode."""
    reasons = verdict.reasons.copy()
    causes = verdict.causes.copy()
    transitive = reasons == Reason.UPSTREAM
    if transitive.any():
        put(reasons, transitive, Reason.FRESH)
        put(causes, transitive, NO_CAUSE)
    for position, edge in enumerate(bound):
        above = planning.planned.get(edge.dependency.upstream)
        if above is not None and edge.dependency.mapping.triggers:
            hit = edge.mapped.any_upstream(above) & (reasons == Reason.FRESH)
            put(reasons, hit, Reason.UPSTREAM)
            put(causes, hit, position)
    # The mode is about what was asked for; what `upstream` and `downstream` add to it runs only if it is stale.
    selected = _selected(planning.facts, planning.request, verdict.asset)
    if selected is None:
        return reasons, causes
    match planning.request.mode:
        case Mode.FORCE:
            put(reasons, selected, Reason.FORCED)
            put(causes, selected, NO_CAUSE)
        case Mode.MISSING:
            other = selected & verdict.facts.materialized & (reasons != Reason.LOST)
            put(reasons, other, Reason.FRESH)
            put(causes, other, NO_CAUSE)
        case Mode.STALE:
            pass
        case _:
            assert_never(planning.request.mode)
    return reasons, causes


def _rows(
    facts: Facts, asset: str, runs: Mask, reasons: NDArray[np.uint8], causes: NDArray[np.uint8]
) -> list[PlanRow]:
    edges = facts.graph.spec(asset).dependencies
    return [
        PlanRow(
            PartitionSet.from_mask(facts.indexes[asset], mask),
            Reason(code),
            None if cause == NO_CAUSE else edges[cause].upstream,
        )
        for code, cause, mask in _groups(runs, reasons, causes)
    ]


def _blocked_rows(
    facts: Facts,
    asset: str,
    bound: tuple[BoundDependency, ...],
    stuck: Mask,
    found: Obstacles,
) -> Iterator[BlockedRow]:
    for code, position, mask in _groups(stuck, found.kinds, found.positions):
        kind, edge = Blocked(code), bound[position]
        upstream = found.upstream.get((kind, position))
        if upstream is None:
            partitions = PartitionSet.from_mask(facts.indexes[asset], mask)
            yield BlockedRow(partitions, kind, edge.dependency.upstream)
        else:
            yield blocked_row(facts, asset, mask, kind, edge=edge, upstream=upstream)


def _groups(
    mask: Mask, first: NDArray[np.uint8], second: NDArray[np.uint8]
) -> list[tuple[int, int, Mask]]:
    """The distinct pairs under the mask and where they are, ascending by pair. O(partitions · pairs)."""
    groups = []
    rest = mask
    # There are few pairs, and finding the next one is cheaper than sorting all there are.
    while rest.any():
        at = rest.argmax()
        here = rest & (first == first[at]) & (second == second[at])
        groups.append((int(first[at]), int(second[at]), here))
        rest = rest ^ here
    return sorted(groups, key=itemgetter(0, 1))


def _scope(planning: _Planning, key: str, bound: tuple[BoundDependency, ...]) -> Mask | None:
    """The partitions of an asset that the request is about; None if it is not about the asset at all."""
    request = planning.request
    selected = _selected(planning.facts, request, key)
    if request.downstream:
        reached = selected
        for edge in bound:
            source = planning.reached.get(edge.dependency.upstream)
            if source is not None:
                reached = _either(reached, edge.mapped.downstream_of(source))
        if reached is not None:
            planning.reached[key] = selected = reached
    return _either(selected, planning.above_selection.get(key))


def _selected(facts: Facts, request: PlanRequest, key: str) -> Mask | None:
    if key not in request.assets:
        return None
    chosen = request.partitions.get(key)
    return np.ones(len(facts.indexes[key]), dtype=np.bool_) if chosen is None else chosen.mask()


def _read_by(facts: Facts, request: PlanRequest) -> dict[str, Mask]:
    """All that the selected partitions read, directly or not, by asset."""
    reading: dict[str, Mask] = {}
    for key in reversed(facts.graph.order):
        mask = _either(_selected(facts, request, key), reading.get(key))
        if mask is not None:
            for edge in bind_dependencies(facts, facts.graph.spec(key)):
                upstream = edge.dependency.upstream
                read = _either(reading.get(upstream), edge.mapped.upstream_of(mask))
                if read is not None:
                    reading[upstream] = read
    return reading


def _either(first: Mask | None, second: Mask | None) -> Mask | None:
    if first is None or second is None:
        return second if first is None else first
    return first | second
