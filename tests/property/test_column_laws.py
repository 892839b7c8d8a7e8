"""Recorded columns laid over slots say what a look at each partition would; bounds and shared answers change nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assets_core.model.records import SETTLED, PartitionColumns
from assets_core.planning.columns import Layout, PartitionFacts, Recent, least, most, put
from partitions import DailyPartitions

INDEX = DailyPartitions("2025-01-05", end="2025-01-13").index(datetime(2025, 2, 1, tzinfo=UTC))
SLOTS = len(INDEX)
NAMES = PartitionColumns.__slots__[1:]
MASKS = st.lists(st.booleans(), min_size=SLOTS, max_size=SLOTS).map(np.array)


@st.composite
def recorded(draw: st.DrawFn) -> PartitionColumns:
    """Any columns, of partitions before, in and after the index; those of one value are views, as a store may give them."""
    first = int(INDEX.ids[0])
    anywhere = st.sets(st.integers(first - 3, first + SLOTS + 2))
    ids = draw(st.sampled_from([list(range(first, first + SLOTS)), sorted(draw(anywhere))]))
    columns = []
    for name in NAMES:
        low = SETTLED if name == "horizon" else 0
        values = st.integers(low, low + draw(st.integers(0, 3)))
        entries = draw(st.lists(values, min_size=len(ids), max_size=len(ids)))
        column = np.array(entries, dtype=np.int64)
        if draw(st.booleans()) and len(set(entries)) == 1:
            column = np.broadcast_to(column[0], column.shape)
        columns.append(column)
    return PartitionColumns(np.array(ids, dtype=np.int64), *columns)


def by_slot(columns: PartitionColumns, name: str) -> list[int]:
    """One entry per slot, by looking each partition up."""
    entries = zip(columns.ids.tolist(), getattr(columns, name).tolist(), strict=True)
    known = dict(entries)
    return [known.get(one, 0) for one in INDEX.ids.tolist()]


def laid(
    columns: PartitionColumns, lost: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> PartitionFacts:
    nowhere = np.zeros(SLOTS, dtype=np.bool_)
    return PartitionFacts(columns, Layout.of(INDEX, columns.ids), lost, nowhere, ~nowhere)


@given(recorded(), MASKS)
def test_every_column_and_mask_says_what_is_recorded_of_each_slot(
    columns: PartitionColumns, lost: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> None:
    facts = laid(columns, lost)
    for one in (facts, facts.per_slot()):
        for name in NAMES:
            found = getattr(one, name)
            if found is None:
                assert set(columns.horizon.tolist()) <= {SETTLED}
            else:
                assert found.tolist() == by_slot(columns, name)
    seq, failed, has = (np.array(by_slot(columns, n)) for n in ("seq", "failed_seq", "has_data"))
    for one in (facts, facts.per_slot()):
        assert one.never_tried.tolist() == ((seq == 0) & (failed == 0)).tolist()
        assert one.materialized.tolist() == (seq > 0).tolist()
        assert one.exists.tolist() == ((seq > 0) & ~lost).tolist()
        assert one.readable.tolist() == ((seq > 0) & ~lost & (has > 0)).tolist()


@given(recorded(), st.integers(0, 3))
def test_slots_that_differ_are_those_of_which_something_else_is_recorded(
    columns: PartitionColumns, current: int
) -> None:
    there = np.isin(INDEX.ids, columns.ids)
    differs = laid(columns, ~there).differs(columns.code_id, current)
    expected = there & (np.array(by_slot(columns, "code_id")) != current)
    assert expected.tolist() == ([False] * SLOTS if differs is None else differs.tolist())


@given(recorded(), MASKS)
def test_columns_that_are_put_in_place_of_recorded_ones_leave_the_others(
    columns: PartitionColumns, lost: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> None:
    sevens = np.full(SLOTS, 7, dtype=np.int64)
    changed = laid(columns, lost).per_slot(read_seq=sevens)
    assert changed.read_seq is sevens
    assert changed.seq.tolist() == by_slot(columns, "seq")
    assert changed.lost is lost


@given(recorded())
def test_bounds_are_the_least_and_the_greatest_entry(columns: PartitionColumns) -> None:
    for name in NAMES:
        entries = getattr(columns, name)
        assert least(entries) == min(entries.tolist(), default=0)
        assert most(entries) == max(entries.tolist(), default=0)


@given(st.lists(st.integers(0, 255), min_size=SLOTS, max_size=SLOTS), MASKS, st.integers(0, 255))
def test_putting_equals_assigning_under_a_mask(
    entries: list[int], where: np.ndarray[tuple[int], np.dtype[np.bool_]], value: int
) -> None:
    put_there, assigned = np.array(entries, dtype=np.uint8), np.array(entries, dtype=np.uint8)
    put(put_there, where, value)
    assigned[where] = value
    assert put_there.tolist() == assigned.tolist()


@given(st.lists(st.integers(0, 40)))
def test_a_shared_answer_is_the_one_that_would_be_made_anew(questions: list[int]) -> None:
    answers: Recent[list[int]] = Recent()
    before: dict[int, list[int]] = {}
    for number, question in enumerate(questions):
        found = answers.answer(question, lambda question=question: [question])
        assert found == [question]
        if number and questions[number - 1] == question:
            assert found is before[question]
        before[question] = found


def test_facts_of_one_recorded_past_can_be_written_without_changing_it() -> None:
    some = np.ones(SLOTS, dtype=np.int64)
    columns = PartitionColumns(INDEX.ids, *[some] * 8)
    facts = laid(columns, np.zeros(SLOTS, dtype=np.bool_))
    own = replace(facts.per_slot(seq=facts.seq.copy()), lost=facts.lost.copy())
    own.seq[2] = 9
    assert own.seq[2] == 9
    assert columns.seq[2] == 1
