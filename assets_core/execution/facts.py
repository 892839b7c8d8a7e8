"""Gathering the facts that planning looks at: indexes at this instant, one snapshot of the state, what destinations lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.execution.slices import slices_of
from assets_core.model.io_manager import Recorded
from assets_core.model.records import AssetVersions
from assets_core.planning.staleness import Facts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from assets_core.authoring.definitions import Resolved
    from assets_core.model.io_manager import PartitionSlice
    from assets_core.model.records import PartitionColumns
    from assets_core.model.specs import AssetSpec
    from assets_core.state.store import StateStore
    from partitions.definitions import PartitionIndex


def gather_facts(
    resolved: Resolved, store: StateStore, now: datetime, *, verify: bool = True
) -> Facts:
    """Everything that `plan_run` and `judge` need, as of `now`; reads only.

    With `verify` every destination is asked, cheaply, whether it still has what the state believes it has.
    """
    key_ids = store.key_ids()
    indexes = {
        key: spec.partitions.index(now, key_ids) for key, spec in resolved.graph.specs.items()
    }
    state = store.snapshot(versions_of(spec) for spec in resolved.graph.specs.values())
    lost = {
        key: _lost(resolved, store, spec, indexes[key], state.partitions[key])
        if verify
        else frozenset[int]()
        for key, spec in resolved.graph.specs.items()
    }
    return Facts(graph=resolved.graph, indexes=indexes, state=state, lost=lost, now=now)


def versions_of(spec: AssetSpec) -> AssetVersions:
    """What the state store identifies an asset by."""
    return AssetVersions(
        asset=spec.key,
        space=spec.partitions.space,
        code_version=spec.code_version,
        deps_version=spec.deps_version,
    )


def _lost(
    resolved: Resolved,
    store: StateStore,
    spec: AssetSpec,
    index: PartitionIndex,
    columns: PartitionColumns,
) -> frozenset[int]:
    # Only what this instant's index still has: a partition that left the definition is nobody's loss.
    slots = index.slots_of_ids(columns.ids)
    believed = slots[(slots >= 0) & (columns.has_data > 0)]
    if not len(believed):
        return frozenset()
    ids = tuple(int(i) for i in index.ids[believed])

    def slices() -> Sequence[PartitionSlice]:
        return slices_of(index, (int(slot) for slot in believed))

    def tokens() -> dict[int, str]:
        return dict(store.tokens(spec.key, spec.partitions.space))

    manager = resolved.io_managers[spec.io_manager]
    return manager.lost(resolved.target(spec.key), Recorded(ids=ids, slices=slices, tokens=tokens))


def intern_partition_keys(resolved: Resolved, store: StateStore) -> None:
    """Give every static key and lane of the project an id, so that its partitions can be stored. Writes only what is new."""
    known = store.key_ids()
    new: dict[str, list[str]] = {}
    for spec in resolved.graph.specs.values():
        for space, keys in spec.partitions.dictionary_keys().items():
            ids = known.get(space, {})
            unknown = [key for key in keys if key not in ids]
            new.setdefault(space, []).extend(unknown)
    new = {space: list(dict.fromkeys(keys)) for space, keys in new.items() if keys}
    if new:
        store.intern_keys(new)
