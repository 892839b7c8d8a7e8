"""A partition set behaves like a set of keys, whatever the index; it survives storage, text and being cut up."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitions.definitions import DynamicPartitions, StaticPartitions
from partitions.multi import MultiPartitions
from partitions.sets import PartitionSet
from partitions.time_windows import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    WeeklyPartitions,
)

if TYPE_CHECKING:
    from partitions.definitions import PartitionIndex, Partitions

NOW = datetime(2025, 4, 10, 12, tzinfo=UTC)
KEY_IDS = {
    "static": {"us": 4, "eu": 9, "apac": 2},
    "dynamic|files": {"b": 3, "a": 1, "c": 7, "d": 8},
}
REGIONS = StaticPartitions(["eu", "us", "apac"])
DEFINITIONS: list[Partitions] = [
    DailyPartitions("2025-03-01", timezone="Europe/Berlin"),
    DailyPartitions("2011-12-20", end="2012-01-10", timezone="Pacific/Apia"),
    HourlyPartitions("2025-03-29", end="2025-04-01", timezone="Europe/Berlin"),
    WeeklyPartitions("2025-01-01", starts_on="wednesday"),
    MonthlyPartitions("2023-01-01"),
    CronPartitions("15 2 * * 1-5", "2025-02-01"),
    REGIONS,
    DynamicPartitions("files"),
    MultiPartitions({"day": DailyPartitions("2025-04-01"), "region": REGIONS}),
    MultiPartitions({"region": REGIONS, "file": DynamicPartitions("files")}),
]
INDEXES = [definition.index(NOW, KEY_IDS) for definition in DEFINITIONS]


@st.composite
def an_index_and_key_sets(
    draw: st.DrawFn, count: int = 2
) -> tuple[PartitionIndex, list[set[str]]]:
    index = draw(st.sampled_from(INDEXES))
    chosen = []
    for _ in range(count):
        # Stretches as well as single keys, so that runs of every length meet.
        slots: set[int] = set()
        for _ in range(draw(st.integers(0, 4))):
            start = draw(st.integers(0, len(index) - 1))
            slots.update(range(start, min(len(index), start + draw(st.integers(1, 40)))))
        chosen.append(set(index.keys(sorted(slots))))
    return index, chosen


@given(an_index_and_key_sets())
def test_operators_equal_those_of_a_set_of_keys(
    case: tuple[PartitionIndex, list[set[str]]],
) -> None:
    index, (left, right) = case
    a, b = PartitionSet.from_keys(index, left), PartitionSet.from_keys(index, right)
    assert set(a & b) == left & right
    assert set(a | b) == left | right
    assert set(a - b) == left - right
    assert set(~a) == set(index.keys()) - left
    assert (a == b) == (left == right)
    assert (a & b == b) == (right <= left)


@given(an_index_and_key_sets(count=1))
def test_questions_equal_those_of_a_set_of_keys(
    case: tuple[PartitionIndex, list[set[str]]],
) -> None:
    index, (keys,) = case
    a = PartitionSet.from_keys(index, keys)
    everything = index.keys()
    in_order = [key for key in everything if key in keys]
    assert list(a) == in_order
    assert len(a) == len(keys)
    assert bool(a) == bool(keys)
    assert [key in a for key in everything] == [key in keys for key in everything]
    assert [a.first(), a.last()] == [in_order[0], in_order[-1]] if keys else not a
    assert index.keys(np.flatnonzero(a.mask())) == in_order
    assert index.keys(a.slots()) == in_order


@given(an_index_and_key_sets(count=1))
def test_the_same_set_comes_from_keys_slots_mask_and_runs(
    case: tuple[PartitionIndex, list[set[str]]],
) -> None:
    index, (keys,) = case
    a = PartitionSet.from_keys(index, keys)
    assert PartitionSet.from_mask(index, a.mask()) == a
    assert PartitionSet.from_slots(index, reversed(a.slots().tolist())) == a
    assert PartitionSet.from_runs(index, [*a.runs[::-1].tolist(), *a.runs.tolist()]) == a
    assert hash(PartitionSet.from_mask(index, a.mask())) == hash(a)
    assert pickle.loads(pickle.dumps(a)) == a  # noqa: S301 - our own bytes


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=8))
def test_runs_in_any_order_are_merged(stretches: list[tuple[int, int]]) -> None:
    index = DailyPartitions("2025-01-01", end="2025-02-15").index(NOW)
    runs = [[start, start + length] for start, length in stretches]
    a = PartitionSet.from_runs(index, runs)
    assert set(a.slots().tolist()) == {slot for start, end in runs for slot in range(start, end)}
    edges = a.runs.ravel()
    assert np.all(edges[1:] > edges[:-1])


@given(an_index_and_key_sets(count=1))
def test_ids_bring_the_set_back(case: tuple[PartitionIndex, list[set[str]]]) -> None:
    index, (keys,) = case
    a = PartitionSet.from_keys(index, keys)
    assert PartitionSet.from_ids(index, a.to_ids()) == a


@given(an_index_and_key_sets(count=1))
def test_stored_ids_cover_no_id_outside_of_the_set(
    case: tuple[PartitionIndex, list[set[str]]],
) -> None:
    index, (keys,) = case
    a = PartitionSet.from_keys(index, keys)
    runs = a.to_ids()
    stored = [any(start <= id_ < end for start, end in runs) for id_ in index.ids.tolist()]
    assert stored == a.mask().tolist()


@pytest.mark.parametrize("cls", [DailyPartitions, HourlyPartitions, WeeklyPartitions])
@given(data=st.data())
def test_ids_survive_a_moved_start_and_end(
    cls: type[DailyPartitions], data: st.DataObject
) -> None:
    narrow = cls("2025-03-03", end="2025-03-31", timezone="Europe/Berlin").index(NOW)
    wide = cls("2025-02-03", end="2025-04-07", timezone="Europe/Berlin").index(NOW)
    slots = data.draw(st.sets(st.integers(0, len(narrow) - 1)))
    a = PartitionSet.from_slots(narrow, slots)
    moved = PartitionSet.from_ids(wide, a.to_ids())
    assert list(moved) == list(a)
    assert PartitionSet.from_ids(narrow, moved.to_ids()) == a


@given(an_index_and_key_sets(count=1), st.integers(1, 20))
def test_pieces_are_consecutive_and_together_the_whole(
    case: tuple[PartitionIndex, list[set[str]]], size: int
) -> None:
    index, (keys,) = case
    a = PartitionSet.from_keys(index, keys)
    pieces = list(a.split(size))
    assert [slot for piece in pieces for slot in piece.slots().tolist()] == a.slots().tolist()
    for piece in pieces:
        assert 1 <= len(piece) <= size
        assert len(piece.runs) == 1
        if index.starts is not None and index.ends is not None:
            slots = piece.slots()
            assert np.array_equal(index.starts[slots[1:]], index.ends[slots[:-1]])


@given(st.integers(0, 400), st.integers(1, 60))
def test_no_more_pieces_than_needed(days: int, size: int) -> None:
    index = DailyPartitions("2024-01-01").index(NOW)
    a = PartitionSet.from_slots(index, range(days))
    assert len(list(a.split(size))) == -(-days // size)


def test_sets_over_an_index_built_twice_combine() -> None:
    definition = DailyPartitions("2025-01-01")
    one, two = definition.index(NOW), definition.index(NOW + timedelta(minutes=1))
    assert PartitionSet.all(one) & PartitionSet.all(two) == PartitionSet.all(one)
