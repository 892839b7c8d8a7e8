"""Which partitions are stale, and the first reason why: array algebra over one asset at a time, in topological order.

Theory of operation
-------------------
Every success of a partition recorded `seq` (when it committed), `read_seq` (the counter that was committed before the step read
its first input) and `data_seq` (the seq at which its rows last changed). A partition p of asset A is

    missing   if it has no success                       lost     if the destination no longer has its rows
    failed    if its last failure is later than that     code     if it was made by another code version
    deps      if edges, mappings or partition space changed, or if it reads other partitions since bounds or keys of what it reads moved
    provisional  if it was made while its window was open, and the window has closed
    input     if some mapped upstream partition u has data_seq(u) > read_seq(p), or if it is read across the keys of a dynamic
              definition, of which one was removed or came back later than read_seq(p)
    lookback  if one of the `lookback` partitions after it became due only after it was made

and *root stale* if any of these holds. It is *transitively* stale if it is not root stale and some mapped upstream partition is
stale, due, and does not wait: it will run only if that upstream's rows really change. A partition without data *waits* if it, or something that
it must read, is still to become due.

Comparing counters instead of timestamps is what makes this exact: data is published before its success commits, so an upstream
write that a step could have missed always carries a seq greater than the step's read_seq.

Not here: what the user selected, and what a run does about it (`planner`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from assets_core.planning.columns import Layout, PartitionFacts, Recent, least, most, put
from assets_core.planning.consumption import with_unchanged_inputs
from assets_core.planning.lateness import (
    due_partitions,
    made_before_later_ones,
    made_while_open,
)
from assets_core.planning.moved_bounds import of_other_dependencies
from assets_core.planning.reasons import Reason
from partitions.errors import MappingError
from partitions.keyed_mappings import All
from partitions.mapped_set import bind_mapping
from partitions.mappings import dynamic_spaces_across

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from assets_core.authoring.graph import AssetGraph
    from assets_core.model.records import DataVersions, RecordedVersion, StateSnapshot
    from assets_core.model.specs import AssetSpec, Dependency
    from partitions.definitions import KeyIds, PartitionIndex
    from partitions.keyed_mappings import PartitionMapping
    from partitions.mapped_set import MappedSet

    Mask = NDArray[np.bool_]
    Ints = NDArray[np.int64]

NO_CAUSE = 255
"""In a cause array: no edge caused it."""


def _no_versions(asset: str, partition_ids: Iterable[int]) -> Mapping[int, DataVersions]:
    del asset, partition_ids
    return {}


def _nothing_known(ids: Iterable[int]) -> Mapping[int, RecordedVersion]:
    del ids
    return {}


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """What was computed for one asset and is the same for others; see `Recent`. Holds nothing that can't be computed again."""

    mapped: Recent[MappedSet] = field(default_factory=Recent)
    layouts: Recent[Layout] = field(default_factory=Recent)
    due: Recent[Mask] = field(default_factory=Recent)
    moved: Recent[Mask | None] = field(default_factory=Recent)


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """All that decisions may look at: definitions, one snapshot of the state, what destinations lost, and the instant.

    `indexes` has one partition index per asset, made at `now`; `lost` names partition ids whose data is gone. `data_versions` answers for
    an asset and partition ids what versions are recorded of those that ever succeeded, `versions` for ids of code and dependency versions
    what they are made of. `key_ids` are those that the indexes were made with; `removed_keys` answers those of dynamic keys that are out of use.
    """

    graph: AssetGraph
    indexes: Mapping[str, PartitionIndex]
    state: StateSnapshot
    lost: Mapping[str, frozenset[int]]
    now: datetime
    data_versions: Callable[[str, Iterable[int]], Mapping[int, DataVersions]] = _no_versions
    versions: Callable[[Iterable[int]], Mapping[int, RecordedVersion]] = _nothing_known
    key_ids: KeyIds = field(default_factory=dict)
    removed_keys: Callable[[], KeyIds] = dict
    shared: Shared = field(default_factory=Shared, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Staleness:
    """The verdict on one asset, per slot: the first reason (uint8), the edge that caused INPUT or UPSTREAM, and the facts used.

    `causes` holds positions in the asset's dependencies, NO_CAUSE elsewhere.
    """

    asset: str
    facts: PartitionFacts
    reasons: NDArray[np.uint8]
    causes: NDArray[np.uint8]
    root: Mask
    """Stale by themselves."""
    stale: Mask
    """Root or transitively stale."""
    not_yet: Mask | None
    """Without data, and it, or something that it must read, is still to become due. None: there are no such."""


@dataclass(frozen=True, slots=True, eq=False)
class BoundDependency:
    """One edge with its mapping laid over the two indexes."""

    dependency: Dependency
    mapped: MappedSet


def bind_dependencies(facts: Facts, spec: AssetSpec) -> tuple[BoundDependency, ...]:
    """The asset's edges over the indexes of this instant. Raises MappingError if a mapping does not fit its definitions."""
    downstream = facts.indexes[spec.key]
    bound = []
    for edge in spec.dependencies:
        try:
            mapped = _mapped(facts, edge.mapping, facts.indexes[edge.upstream], downstream)
        except MappingError as error:
            where = f" ({spec.defined_in})" if spec.defined_in else ""
            raise MappingError(
                f"asset {spec.key!r} can't read {edge.upstream!r}: {error.message}{where}",
                hint=error.hint,
            ) from error
        bound.append(BoundDependency(edge, mapped))
    return tuple(bound)


def _mapped(
    facts: Facts, mapping: PartitionMapping, upstream: PartitionIndex, downstream: PartitionIndex
) -> MappedSet:
    def bind() -> MappedSet:
        return bind_mapping(mapping, upstream, downstream)

    try:
        hash(mapping)
    except TypeError:
        # Somebody's mapping that holds a dictionary: no two of them are known to be the same.
        return bind()
    return facts.shared.mapped.answer((mapping, upstream, downstream), bind)


def partition_facts(facts: Facts, spec: AssetSpec) -> PartitionFacts:
    """What is recorded of the asset, laid over its index; partitions that the index no longer has are left out."""
    index = facts.indexes[spec.key]
    recorded = facts.state.partitions[spec.key]
    return PartitionFacts(
        recorded=recorded,
        # An array is the same if it is one; the layout keeps it, so that its id stays taken.
        layout=facts.shared.layouts.answer(
            (index, id(recorded.ids)), lambda: Layout.of(index, recorded.ids)
        ),
        lost=mask_of_ids(index, facts.lost.get(spec.key, ())),
        in_flight=in_flight(facts, spec.key),
        due=facts.shared.due.answer(
            (index, spec.closed_after, facts.now), lambda: due_partitions(index, spec, facts.now)
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Upstream:
    """What the assets that read an asset need of its verdict, and all that is kept of it until the last of them was judged."""

    changed: Ints
    """Recorded `data_seq`."""
    layout: Layout
    stale: Mask
    """Stale, due, and not waiting: a run would change it, or try to."""
    exists: Mask
    due: Mask
    not_yet: Mask | None

    @property
    def data_seq(self) -> Ints:
        """When the rows of each slot last changed; 0: there never were any."""
        return self.layout.spread(self.changed)


Verdict = tuple[Staleness, tuple[BoundDependency, ...], "Mapping[str, Upstream]"]
"""An asset's staleness, its bound edges, and what is known of everything that it reads."""


def judge(facts: Facts, assets: Iterable[str] | None = None) -> Iterator[Verdict]:
    """The staleness of `assets` and all that they read (default: of every asset), in topological order.

    O(partitions) per edge in numpy. Of each verdict only what later assets read is kept, and only until the last of them, so memory
    follows the width of the graph and not its size.
    """
    order = facts.graph.order if assets is None else _with_ancestors(facts.graph, assets)
    last_reader = {
        edge.upstream: key for key in order for edge in facts.graph.spec(key).dependencies
    }
    above: dict[str, Upstream] = {}
    for key in order:
        spec = facts.graph.spec(key)
        bound = bind_dependencies(facts, spec)
        verdict = judge_asset(facts, spec, bound, above)
        yield verdict, bound, above
        if key in last_reader:
            own = verdict.facts
            above[key] = Upstream(
                changed=own.recorded.data_seq,
                layout=own.layout,
                stale=would_run(verdict),
                exists=own.exists,
                due=own.due,
                not_yet=verdict.not_yet,
            )
        for upstream in {edge.upstream for edge in spec.dependencies}:
            if last_reader[upstream] == key:
                del above[upstream]


def judge_asset(
    facts: Facts,
    spec: AssetSpec,
    bound: tuple[BoundDependency, ...],
    above: Mapping[str, Upstream],
) -> Staleness:
    """The staleness of one asset, given what is known of everything that it reads."""
    own = partition_facts(facts, spec)
    if spec.compare_input_versions:
        own = with_unchanged_inputs(facts, spec.key, own, bound, lambda key: above[key].data_seq)
    index, versions = facts.indexes[spec.key], facts.state.version_ids[spec.key]
    recorded, horizon = own.recorded, own.horizon
    reasons = np.zeros(len(index), dtype=np.uint8)
    causes = np.full(len(index), NO_CAUSE, dtype=np.uint8)
    fresh = np.ones(len(index), dtype=np.bool_)

    def mark(mask: Mask | None, reason: Reason, cause: int = NO_CAUSE) -> None:
        # Most masks are empty most of the time, and finding that out is the cheapest thing that numpy does.
        if mask is not None and mask.any():
            hit = mask & fresh
            put(reasons, hit, reason)
            put(causes, hit, cause)
            np.logical_xor(fresh, hit, out=fresh)

    # What is not recorded is MISSING, so that below bounds of what is recorded tell whether a rule can apply at all.
    mark(own.never_tried, Reason.MISSING)
    mark(own.lost, Reason.LOST)
    if most(recorded.failed_seq) > 0:
        mark(own.failed_seq > own.seq, Reason.FAILED)
    mark(own.differs(recorded.code_id, versions.code_id), Reason.CODE)
    mark(of_other_dependencies(facts, spec, own, bound), Reason.DEPS)
    if horizon is not None:
        mark(made_while_open(index, horizon, own.seq, facts.now), Reason.PROVISIONAL)
    oldest_read = least(recorded.read_seq)
    for position, edge in enumerate(bound):
        upstream = above[edge.dependency.upstream]
        keys_seq = keys_changed(facts, spec, edge.dependency)
        if edge.dependency.mapping.triggers and (
            most(upstream.changed) > oldest_read or keys_seq > oldest_read
        ):
            newest = edge.mapped.max_upstream(upstream.data_seq)
            mark((newest > own.read_seq) | (keys_seq > own.read_seq), Reason.INPUT, position)
    if horizon is not None:
        late = made_before_later_ones(horizon, own.due, spec.lookback, index.lane_length)
        mark(late, Reason.LOOKBACK)
    root = ~fresh
    for position, edge in enumerate(bound):
        stale = above[edge.dependency.upstream].stale
        if edge.dependency.mapping.triggers and stale.any():
            mark(edge.mapped.any_upstream(stale), Reason.UPSTREAM, position)
    not_yet = _not_yet(own, bound, above)
    return Staleness(spec.key, own, reasons, causes, root, ~fresh, not_yet)


def would_run(verdict: Staleness) -> Mask:
    """Slots that a run would change, or try to: stale, due, and not waiting for something that is not due."""
    would = verdict.stale & verdict.facts.due
    return would if verdict.not_yet is None else would & ~verdict.not_yet


def _not_yet(
    own: PartitionFacts, bound: tuple[BoundDependency, ...], above: Mapping[str, Upstream]
) -> Mask | None:
    waits = ~own.due
    for edge in bound:
        upstream = above[edge.dependency.upstream].not_yet
        # `All` reads what there is, and waits for nothing that is still to become due.
        if (
            upstream is None
            or edge.dependency.allow_missing
            or isinstance(edge.dependency.mapping, All)
        ):
            continue
        waits = waits | edge.mapped.any_upstream(upstream)
    if not waits.any():
        return None
    waits = waits & ~own.exists
    return waits if waits.any() else None


def keys_changed(facts: Facts, spec: AssetSpec, edge: Dependency) -> int:
    """The seq at which a dynamic key was last removed or came back across which the edge reads; 0: none ever was.

    A partition that is no longer read has nothing in the snapshot that would tell, and one that came back has its old `data_seq`.
    """
    changes = facts.state.key_changes
    if not changes:
        return 0
    upstream = facts.graph.spec(edge.upstream).partitions
    spaces = dynamic_spaces_across(edge.mapping, upstream, spec.partitions)
    return max((changes.get(space, 0) for space in spaces), default=0)


def _with_ancestors(graph: AssetGraph, assets: Iterable[str]) -> tuple[str, ...]:
    wanted = set(assets)
    for key in reversed(graph.order):
        if key in wanted:
            wanted.update(edge.upstream for edge in graph.spec(key).dependencies)
    return tuple(key for key in graph.order if key in wanted)


def in_flight(facts: Facts, asset: str) -> Mask:
    """The slots of an asset that live runs work on."""
    ids = [one for run in facts.state.in_flight.values() for one in run.get(asset, ())]
    return mask_of_ids(facts.indexes[asset], ids)


def mask_of_ids(index: PartitionIndex, ids: Collection[int]) -> Mask:
    """The slots with one of these ids."""
    mask = np.zeros(len(index), dtype=np.bool_)
    if ids:
        slots = index.slots_of_ids(np.fromiter(ids, dtype=np.int64, count=len(ids)))
        mask[slots[slots >= 0]] = True
    return mask
