"""Gathering the facts that planning looks at: indexes at this instant, one snapshot of the state, what destinations lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from assets_core.authoring.extents import deps_parts
from assets_core.execution.slices import ids_of, slices_of
from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import Recorded
from assets_core.model.records import AssetVersions, VersionParts
from assets_core.planning.staleness import Facts
from partitions.errors import PartitionDefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime, timedelta

    from assets_core.authoring.definitions import Resolved
    from assets_core.authoring.outline import Outline
    from assets_core.model.records import DataVersions, StateSnapshot
    from assets_core.model.specs import AssetSpec
    from assets_core.state.store import StateStore
    from partitions.definitions import KeyIds, PartitionIndex, Partitions


def gather_facts(
    outline: Outline,
    store: StateStore,
    now: datetime,
    *,
    verify: bool = True,
    run_lives: Callable[[str], bool] = lambda _: True,
    patience: timedelta | None = None,
    unreachable: Callable[[str, IOManagerError], None] | None = None,
) -> Facts:
    """Everything that `plan_run` and `judge` need, as of `now`; reads only.

    With `verify` every destination is asked, cheaply, whether it still has what the state believes it has, when its asset is looked
    at; `patience` as in `Recorded`. One that can't answer raises IOManagerError, or, where `unreachable` is given, is believed to have
    everything: `unreachable` is told each asset, and the place is not asked again. `run_lives` tells whether the process of an unfinished run
    is there; steps of a dead one are not in flight.
    """
    key_ids = store.key_ids()
    specs = outline.graph.specs
    # Equal definitions have one index: what is computed about it for one asset serves the others.
    of_definition: dict[Partitions, PartitionIndex] = {}
    for spec in specs.values():
        if spec.partitions not in of_definition:
            of_definition[spec.partitions] = _index_of(spec, now, key_ids)
    indexes = {key: of_definition[spec.partitions] for key, spec in specs.items()}
    state = store.snapshot(versions_of(spec) for spec in outline.graph.specs.values())
    living = {run: steps for run, steps in state.in_flight.items() if run_lives(run)}
    state = replace(state, in_flight=living)

    silent: dict[int, IOManagerError] = {}

    def lost_of(key: str) -> frozenset[int]:
        spec, manager = outline.graph.spec(key), outline.manager(key)
        recorded = _recorded(store, spec, indexes[key], state, patience)
        if recorded is None:
            return frozenset()
        if id(manager) not in silent:
            try:
                return manager.lost(outline.target(key), recorded)
            except IOManagerError as error:
                if unreachable is None:
                    raise
                silent[id(manager)] = error
        assert unreachable is not None
        unreachable(key, silent[id(manager)])
        return frozenset()

    def data_versions(key: str, partition_ids: Iterable[int]) -> Mapping[int, DataVersions]:
        return store.data_versions(key, outline.graph.spec(key).partitions.space, partition_ids)

    lost = OnDemand(outline.graph.specs, lost_of) if verify else {}
    return Facts(
        graph=outline.graph,
        indexes=indexes,
        state=state,
        lost=lost,
        now=now,
        data_versions=data_versions,
        versions=store.versions,
        key_ids=key_ids,
        removed_keys=store.removed_keys,
    )


def _index_of(spec: AssetSpec, now: datetime, key_ids: KeyIds) -> PartitionIndex:
    try:
        return spec.partitions.index(now, key_ids)
    except PartitionDefinitionError as error:
        where = f" ({spec.defined_in})" if spec.defined_in else ""
        raise PartitionDefinitionError(
            f"the partitions of asset {spec.key!r}{where}: {error.message}", hint=error.hint
        ) from error


T = TypeVar("T")


class OnDemand(Mapping[str, T]):
    """A mapping whose values are made, once each, when they are first asked for."""

    def __init__(self, keys: Iterable[str], make: Callable[[str], T]) -> None:
        self._keys = dict.fromkeys(keys)
        self._make = make
        self._made: dict[str, T] = {}

    def __getitem__(self, key: str) -> T:
        if key not in self._keys:
            raise KeyError(key)
        if key not in self._made:
            self._made[key] = self._make(key)
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def versions_of(spec: AssetSpec) -> AssetVersions:
    """What the state store identifies an asset by."""
    return AssetVersions(
        asset=spec.key,
        space=spec.partitions.space,
        code_version=spec.code_version,
        deps_version=spec.deps_version,
    )


def version_parts(resolved: Resolved, specs: Iterable[AssetSpec]) -> Mapping[str, VersionParts]:
    """What the versions of these assets are made of, by asset key, each made when it is first asked for.

    An asset whose spec is of other code than was loaded is left out: its file was edited between a look at the manifest and loading.
    """
    loaded = resolved.graph.specs
    definitions = {key: spec.partitions for key, spec in loaded.items()}

    def parts_of(key: str) -> VersionParts:
        return VersionParts(resolved.fingerprints[key].parts, deps_parts(loaded[key], definitions))

    same = [
        spec.key
        for spec in specs
        if spec.key in loaded and versions_of(loaded[spec.key]) == versions_of(spec)
    ]
    return OnDemand(same, parts_of)


def _recorded(
    store: StateStore,
    spec: AssetSpec,
    index: PartitionIndex,
    state: StateSnapshot,
    patience: timedelta | None,
) -> Recorded | None:
    """What the state believes visible of an asset; None if that is nothing."""
    columns = state.partitions[spec.key]
    count = int(np.count_nonzero(columns.has_data))
    if not count:
        return None

    # Only what this instant's index still has: a partition that left the definition is nobody's loss.
    @cache
    def believed() -> list[int]:
        slots = index.slots_of_ids(columns.ids[columns.has_data > 0])
        return [int(slot) for slot in slots[slots >= 0]]

    return Recorded(
        count=count,
        ids=lambda: ids_of(index, believed()),
        slices=lambda: slices_of(index, believed()),
        tokens=lambda: store.tokens(spec.key, spec.partitions.space),
        # The newest success says that nothing was added or replaced since; the definition, which of them are asked about.
        basis=f"{state.state_id} {int(columns.seq.max())} {count} {spec.partitions!r}",
        patience=patience,
    )


def intern_partition_keys(outline: Outline, store: StateStore) -> None:
    """Give every static key and lane of the project an id, so that its partitions can be stored. Writes only what is new."""
    known = store.key_ids()
    new: dict[str, list[str]] = {}
    for spec in outline.graph.specs.values():
        for space, keys in spec.partitions.dictionary_keys().items():
            ids = known.get(space, {})
            unknown = [key for key in keys if key not in ids]
            new.setdefault(space, []).extend(unknown)
    new = {space: list(dict.fromkeys(keys)) for space, keys in new.items() if keys}
    if new:
        store.intern_keys(new)
