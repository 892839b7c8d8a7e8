"""Random projects and histories for the planner: small graphs over mixed partition definitions, with arbitrary recorded state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from assets_core.authoring.graph import AssetGraph
from assets_core.model.records import SETTLED, PartitionColumns, StateSnapshot, VersionIds
from assets_core.model.specs import AssetSpec, Dependency, Replace, RetryPolicy
from assets_core.planning.consumption import consumed_versions
from assets_core.planning.planner import Mode, PlanRequest
from assets_core.planning.staleness import Facts, bind_dependencies
from partitions import (
    SINGLE,
    DailyPartitions,
    HourlyPartitions,
    LastN,
    MultiPartitions,
    Offset,
    StaticPartitions,
    WeeklyPartitions,
    choose_mapping,
)
from partitions.errors import MappingError
from partitions.mappings import Last
from partitions.sets import PartitionSet
from tests.property.planner_reference import RecordedVersions

if TYPE_CHECKING:
    from random import Random

    from numpy.typing import NDArray

    from partitions.definitions import PartitionIndex, Partitions
    from partitions.mappings import PartitionMapping

# Five local days around the night of 2025-03-30, when Berlin's day has 23 hours.
NOW = datetime(2025, 4, 2, 0, 0, tzinfo=UTC)
ZONE = "Europe/Berlin"
DAYS = DailyPartitions("2025-03-28", timezone=ZONE)
OPEN_DAYS = DailyPartitions("2025-03-28", timezone=ZONE, end_offset=2)
LATER_DAYS = DailyPartitions("2025-03-30", timezone=ZONE)
REGIONS = StaticPartitions(["eu", "us", "asia"])

DEFINITIONS: tuple[Partitions, ...] = (
    SINGLE,
    DAYS,
    OPEN_DAYS,
    LATER_DAYS,
    HourlyPartitions("2025-03-29", timezone=ZONE),
    WeeklyPartitions("2025-03-03", timezone=ZONE),
    REGIONS,
    MultiPartitions({"day": DAYS, "region": REGIONS}),
)
KEY_IDS = {
    space: {key: number for number, key in enumerate(keys, start=1)}
    for definition in DEFINITIONS
    for space, keys in definition.dictionary_keys().items()
}


@st.composite
def mappings(
    draw: st.DrawFn, upstream: Partitions, downstream: Partitions
) -> PartitionMapping | None:
    candidates: list[PartitionMapping] = []
    try:
        candidates.append(choose_mapping(upstream, downstream))
    except MappingError:
        return None
    if upstream.kind.is_time and downstream.kind.is_time:
        candidates += [LastN(3), Last()]
        if upstream.space == downstream.space:
            candidates.append(Offset(-1))
    return draw(st.sampled_from(candidates))


@st.composite
def specs(draw: st.DrawFn, number: int, earlier: list[AssetSpec]) -> AssetSpec:
    definition = draw(st.sampled_from(DEFINITIONS))
    edges = []
    for other in earlier:
        if draw(st.booleans()):
            mapping = draw(mappings(other.partitions, definition))
            if mapping is not None:
                edges.append(
                    Dependency(other.key, None, mapping, allow_missing=draw(st.booleans()))
                )
    timed = definition.kind.is_time
    return AssetSpec(
        key=f"a{number}",
        kind="python",
        description="",
        group="default",
        tags=(),
        owners=(),
        partitions=definition,
        dependencies=tuple(edges),
        write=Replace(),
        partition_by=None,
        io_manager="default",
        retry=RetryPolicy(),
        batch_size=1,
        lookback=draw(st.integers(0, 2)) if timed else 0,
        compare_input_versions=draw(st.booleans()),
        closed_after=draw(st.sampled_from([timedelta(0), timedelta(hours=30)]))
        if timed
        else timedelta(0),
        code_version="1",
        deps_version="1",
    )


@st.composite
def columns(draw: st.DrawFn, index: PartitionIndex) -> PartitionColumns:
    rows = []
    # Half the assets read what was newest, as after a run of everything: then bounds alone say that nothing changed.
    earliest_read = draw(st.sampled_from([1, 9]))
    for slot in range(len(index)):
        kind = draw(st.sampled_from(["nothing", "success", "success", "success", "failure"]))
        if kind == "nothing":
            continue
        seq, read, changed = (draw(st.integers(low, 9)) for low in (1, earliest_read, 1))
        failed = seq + 1 if draw(st.integers(0, 5)) == 0 else 0
        versions = [draw(st.sampled_from([1, 1, 1, 1, 1, 2])) for _ in range(2)]
        horizon = draw(st.sampled_from([SETTLED, SETTLED, SETTLED, 0, 1, 2]))
        row = (seq, read, *versions, min(changed, seq), 1, failed, horizon)
        never = (0, 0, 0, 0, 0, 0, 3, 0)
        rows.append((int(index.ids[slot]), *(row if kind == "success" else never)))
    table = np.array(sorted(rows), dtype=np.int64).reshape(-1, 9)
    return PartitionColumns(*(_as_stored(table[:, i]) for i in range(9)))


def _as_stored(column: NDArray[np.int64]) -> NDArray[np.int64]:
    """A column that is one value throughout is a view of that value, as it comes from a state file."""
    if len(column) and (column == column[0]).all():
        return np.broadcast_to(column[0], column.shape)
    return column


NO_COLUMNS = PartitionColumns(*np.empty((9, 0), dtype=np.int64))


def recorded_versions(about: Facts, random: Random) -> RecordedVersions:
    """Versions of the rows of what succeeded, now and when it was all made; most are as they were."""
    now: dict[tuple[str, int], str | None] = {}
    then: dict[tuple[str, int], str | None] = {}
    for key, past in about.state.partitions.items():
        for one in past.ids[past.seq > 0].tolist():
            now[key, one] = random.choice(["a", "a", "a", "b", None])
            before = random.choice(["same", "same", "same", "same", "a", "absent"])
            if before != "absent":
                then[key, one] = now[key, one] if before == "same" else before
    consumers = frozenset(key for key in about.graph.order if random.random() < 0.8)
    old = replace(about, data_versions=RecordedVersions(then, then))
    consumed = {
        (key, int(one)): text
        for key in consumers
        for one, text in zip(
            about.indexes[key].ids,
            consumed_versions(
                old,
                bind_dependencies(old, about.graph.spec(key)),
                range(len(about.indexes[key])),
            ),
            strict=True,
        )
    }
    return RecordedVersions(now, then, consumers, consumed)


@st.composite
def facts(draw: st.DrawFn, *, interned: bool = True) -> Facts:
    """A project of up to five assets with an arbitrary recorded past; unless `interned`, none where ids are only provisional."""
    assets: list[AssetSpec] = []
    for number in range(draw(st.integers(1, 5))):
        assets.append(draw(specs(number, assets)))
    key_ids = KEY_IDS if interned else {}
    indexes = {spec.key: spec.partitions.index(NOW, key_ids) for spec in assets}
    recorded = {
        spec.key: draw(columns(indexes[spec.key]))
        if interned or not spec.partitions.dictionary_keys()
        else NO_COLUMNS
        for spec in assets
    }
    # Equal ids are one array, as they come from a state file.
    ids = {past.ids.tobytes(): past.ids for past in recorded.values()}
    recorded = {key: replace(past, ids=ids[past.ids.tobytes()]) for key, past in recorded.items()}
    lost = {
        key: frozenset(int(i) for i in past.ids[past.seq > 0] if draw(st.integers(0, 9)) == 0)
        for key, past in recorded.items()
    }
    in_flight = {
        key: tuple(int(i) for i in index.ids if draw(st.integers(0, 14)) == 0)
        for key, index in indexes.items()
        if draw(st.booleans())
    }
    state = StateSnapshot(
        seq=20,
        state_id="test",
        partitions=recorded,
        version_ids={spec.key: VersionIds(code_id=1, deps_id=1) for spec in assets},
        other_spaces={},
        in_flight={"run-1": in_flight},
    )
    about = Facts(AssetGraph({spec.key: spec for spec in assets}), indexes, state, lost, NOW)
    return replace(
        about,
        data_versions=recorded_versions(about, draw(st.randoms(use_true_random=False))),
    )


@st.composite
def requests(draw: st.DrawFn, about: Facts) -> PlanRequest:
    """Any request that the command line could make."""
    order = about.graph.order
    assets = tuple(key for key in order if draw(st.booleans())) or (order[-1],)
    chosen = {
        key: PartitionSet.from_slots(
            about.indexes[key], [s for s in range(len(about.indexes[key])) if draw(st.booleans())]
        )
        for key in assets
        if draw(st.integers(0, 2)) == 0
    }
    return PlanRequest(
        assets,
        chosen,
        mode=draw(st.sampled_from(list(Mode))),
        upstream=draw(st.booleans()),
        downstream=draw(st.booleans()),
    )
