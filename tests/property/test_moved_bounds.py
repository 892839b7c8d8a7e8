"""Laws of definitions whose bounds or keys moved: stale is exactly what would read other partitions than it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from hypothesis import given, reject
from hypothesis import strategies as st

from assets_core import Definitions, Input, asset
from assets_core.authoring.extents import deps_parts
from assets_core.model.records import (
    SETTLED,
    PartitionColumns,
    RecordedVersion,
    StateSnapshot,
    VersionIds,
)
from assets_core.planning.reasons import Reason
from assets_core.planning.staleness import Facts, judge
from io_managers import MemoryIOManager
from partitions import (
    SINGLE,
    All,
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    LastN,
    MappedSet,
    MultiPartitions,
    Offset,
    PerDimension,
    StaticMap,
    StaticPartitions,
    TimeOverlap,
    WeeklyPartitions,
)
from partitions.errors import PartitaError

if TYPE_CHECKING:
    from assets_core.authoring.definitions import Resolved
    from partitions import PartitionIndex, PartitionMapping, Partitions

# In the night of 2025-03-30 Berlin's day has 23 hours.
NOW = datetime(2025, 4, 4, tzinfo=UTC)
ZONE = "Europe/Berlin"
REGIONS = ("eu", "us", "asia", "af")
KEY_IDS = {"static": {key: number for number, key in enumerate(REGIONS, start=1)}}


@dataclass(frozen=True)
class FirstThree:
    """As a user might write it: reads the three oldest partitions there are."""

    triggers: ClassVar[bool] = True

    def text(self) -> str:
        return "first-three"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        lo = np.zeros(len(downstream), dtype=np.int64)
        hi = np.full(len(downstream), min(3, len(upstream)), dtype=np.int64)
        return MappedSet.from_intervals(self.text(), upstream, downstream, lo=lo, hi=hi)


@st.composite
def days(draw: st.DrawFn) -> DailyPartitions:
    return DailyPartitions(
        f"2025-03-{draw(st.integers(27, 31))}",
        end=draw(st.sampled_from([None, None, "2025-04-02", "2025-04-03", "2025-05-01"])),
        timezone=ZONE,
        end_offset=draw(st.sampled_from([0, 0, 1])),
    )


@st.composite
def regions(draw: st.DrawFn) -> StaticPartitions:
    keys = draw(st.permutations(REGIONS))
    return StaticPartitions(keys[: draw(st.integers(1, 4))])


UPSTREAM = {
    "days": days(),
    "hours": st.builds(
        lambda day: HourlyPartitions(f"2025-03-{day}", timezone=ZONE), st.integers(28, 31)
    ),
    "cron": st.builds(
        lambda day: CronPartitions("0 */6 * * *", f"2025-03-{day}T03:00", timezone=ZONE),
        st.integers(28, 31).filter(lambda day: day != 30),
    ),
    "regions": regions(),
    "cells": st.builds(
        lambda day, region: MultiPartitions({"day": day, "region": region}), days(), regions()
    ),
}
DOWNSTREAM = (
    SINGLE,
    DailyPartitions("2025-03-29", timezone=ZONE),
    WeeklyPartitions("2025-03-17", timezone=ZONE),
    StaticPartitions(["us", "eu"]),
    MultiPartitions(
        {
            "region": StaticPartitions(["us", "eu"]),
            "day": DailyPartitions("2025-03-29", timezone=ZONE),
        }
    ),
)
MAPPINGS: tuple[PartitionMapping | None, ...] = (
    None,
    LastN(1),
    LastN(3),
    All(),
    Offset(-1),
    TimeOverlap(),
    FirstThree(),
    StaticMap({"eu": ["us"], "us": ["us", "eu"]}),
    PerDimension({"day": LastN(2)}),
    PerDimension({"day": All()}),
    PerDimension({"day": ("day", FirstThree()), "region": All()}),
)


def resolved(
    upstream: Partitions, downstream: Partitions, mapping: PartitionMapping | None, *, may: bool
) -> Resolved:
    @asset(partitions=upstream)
    def up() -> None: ...

    read = Input(up, mapping=mapping, allow_missing=may)

    @asset(partitions=None if downstream is SINGLE else downstream, inputs={"read": read})
    def down(read: object) -> None: ...

    managers = {"default": MemoryIOManager()}
    return Definitions(assets=[up, down], io_managers=managers).resolve()


def made(index: PartitionIndex, *, seq: int, deps: int) -> PartitionColumns:
    """All partitions of an index, as one run made them."""
    figures = (seq, seq, 1, deps, seq, 1, 0, SETTLED)
    columns = [np.full(len(index), figure, dtype=np.int64) for figure in figures]
    return PartitionColumns(np.sort(index.ids), *columns)


def facts_after(before: Resolved, after: Resolved) -> Facts:
    """Everything was made from the definitions `before`."""
    key_ids = {**KEY_IDS}
    indexes = {key: spec.partitions.index(NOW, key_ids) for key, spec in after.graph.specs.items()}
    old, new = (one.graph.spec("down").deps_version for one in (before, after))
    definitions = {key: spec.partitions for key, spec in before.graph.specs.items()}
    parts = deps_parts(before.graph.spec("down"), definitions)
    return Facts(
        after.graph,
        indexes,
        StateSnapshot(
            seq=9,
            state_id="test",
            partitions={
                "up": made(indexes["up"], seq=1, deps=1),
                "down": made(indexes["down"], seq=2, deps=1),
            },
            version_ids={"up": VersionIds(1, 1), "down": VersionIds(1, 1 if old == new else 2)},
            other_spaces={},
            in_flight={},
        ),
        {},
        NOW,
        versions=lambda ids: {one: RecordedVersion(old, parts) for one in ids if one == 1},
        key_ids=key_ids,
    )


def reads(of: Resolved) -> tuple[list[set[str]], list[bool]]:
    """Per downstream slot the keys that it reads, and whether it lacks something."""
    up, down = (of.graph.spec(key).partitions.index(NOW, KEY_IDS) for key in ("up", "down"))
    mapped = of.graph.spec("down").dependencies[0].mapping.bind(up, down)
    slots = range(len(down))
    return [set(up.keys(mapped.upstream_slots(slot))) for slot in slots], mapped.missing.tolist()


@given(st.data())
def test_what_is_stale_after_bounds_or_keys_moved_is_exactly_what_reads_other_partitions(
    data: st.DataObject,
) -> None:
    kind = data.draw(st.sampled_from(sorted(UPSTREAM)))
    first, second = data.draw(UPSTREAM[kind]), data.draw(UPSTREAM[kind])
    downstream = data.draw(st.sampled_from(DOWNSTREAM))
    mapping = data.draw(st.sampled_from(MAPPINGS))
    may = data.draw(st.booleans())
    try:
        before, after = (resolved(one, downstream, mapping, may=may) for one in (first, second))
        (then, lacked), (now, lacks) = reads(before), reads(after)
    except PartitaError:
        reject()  # the two definitions can't be mapped so
    about = facts_after(before, after)
    (verdict,) = [one for one, _, _ in judge(about) if one.asset == "down"]
    stale = (verdict.reasons == Reason.DEPS).tolist()
    for slot in range(len(stale)):
        if may or not (lacked[slot] or lacks[slot]):
            assert stale[slot] == (then[slot] != now[slot]), (
                f"slot {slot} read {then[slot]}, and reads {now[slot]}"
            )


def test_where_it_is_not_known_what_a_version_was_made_of_all_of_it_is_stale() -> None:
    early, late = (DailyPartitions(f"2025-03-{day}", timezone=ZONE) for day in (27, 28))
    before, after = (resolved(one, DOWNSTREAM[1], LastN(3), may=False) for one in (early, late))
    about = facts_after(before, after)
    blind = Facts(about.graph, about.indexes, about.state, {}, NOW)
    (verdict,) = [one for one, _, _ in judge(blind) if one.asset == "down"]
    assert (verdict.reasons == Reason.DEPS).all()


def test_another_mapping_or_another_input_makes_all_of_it_stale_whatever_the_bounds() -> None:
    early, late = (DailyPartitions(f"2025-03-{day}", timezone=ZONE) for day in (27, 28))
    before = resolved(early, DOWNSTREAM[1], LastN(1), may=False)
    for mapping, may in ((LastN(2), False), (LastN(1), True)):
        about = facts_after(before, resolved(late, DOWNSTREAM[1], mapping, may=may))
        (verdict,) = [one for one, _, _ in judge(about) if one.asset == "down"]
        assert (verdict.reasons == Reason.DEPS).all()
