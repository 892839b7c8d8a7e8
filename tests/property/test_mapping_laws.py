"""A bound mapping answers as a plain loop over partitions would, in both directions, at any grain and in any zone."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from partitions.definitions import SINGLE, DynamicPartitions, StaticPartitions
from partitions.mapped_set import NOTHING, MappedSet
from partitions.mappings import (
    All,
    Identity,
    Last,
    LastN,
    Offset,
    PerDimension,
    StaticMap,
    TimeOverlap,
    choose_mapping,
)
from partitions.multi import MultiPartitions
from partitions.time_windows import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    WeeklyPartitions,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from partitions.definitions import PartitionIndex, Partitions
    from partitions.mappings import PartitionMapping

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY_IDS = {"static": {"us": 4, "eu": 9}, "dynamic|files": {"b": 3, "a": 1, "c": 7}}
# Each stretch contains what is unusual there: 23 and 25 hours, half-hour changes, a skipped day, a skipped midnight.
STRETCHES = [
    ("Europe/Berlin", "2025-03-24", "2025-04-07"),
    ("Europe/Berlin", "2025-10-20", "2025-11-03"),
    ("America/New_York", "2025-03-03", "2025-03-17"),
    ("Australia/Lord_Howe", "2025-03-31", "2025-04-14"),
    ("Australia/Lord_Howe", "2025-09-29", "2025-10-13"),
    ("Pacific/Apia", "2011-12-26", "2012-01-09"),
    ("America/Sao_Paulo", "2018-10-29", "2018-11-12"),
    ("Asia/Kolkata", "2025-03-24", "2025-04-07"),
]


def day_of(start: str, days: int) -> date:
    """Return the date so many days later; the one before it if that is the date that Apia skipped."""
    day = date.fromisoformat(start) + timedelta(days=days)
    return day - timedelta(days=1) if day == date(2011, 12, 30) else day


def _month_after(text: str) -> date:
    return (date.fromisoformat(text).replace(day=1) + timedelta(days=40)).replace(day=1)


@st.composite
def a_time_definition(draw: st.DrawFn, stretch: tuple[str, str, str]) -> Partitions:
    zone, start, end = stretch
    zone = draw(st.sampled_from([zone, zone, zone, "UTC", "America/Los_Angeles"]))
    length = draw(st.integers(2, 9))  # one of the days may be skipped
    first = draw(st.integers(0, 13))
    begin, until = day_of(start, first), day_of(start, first + length)
    match draw(st.integers(0, 5)):
        case 0:
            return HourlyPartitions(begin, end=until, timezone=zone)
        case 1:
            return WeeklyPartitions(start, end=end, timezone=zone, starts_on="monday")
        case 2:
            return MonthlyPartitions(start[:-2] + "01", end=_month_after(end), timezone=zone)
        case 3:
            return CronPartitions("30 1,2 * * *", begin, end=until, timezone=zone)
        case _:
            return DailyPartitions(begin, end=until, timezone=zone)


@st.composite
def two_time_indexes(draw: st.DrawFn) -> tuple[PartitionIndex, PartitionIndex]:
    stretch = draw(st.sampled_from(STRETCHES))
    upstream = draw(a_time_definition(stretch))
    same = draw(st.booleans())
    downstream = upstream if same and draw(st.booleans()) else draw(a_time_definition(stretch))
    return upstream.index(NOW, KEY_IDS), downstream.index(NOW, KEY_IDS)


def _spans(index: PartitionIndex) -> list[tuple[int, int]]:
    assert index.starts is not None
    assert index.ends is not None
    return list(zip(index.starts.tolist(), index.ends.tolist(), strict=True))


def _matrix(mapped: MappedSet) -> NDArray[np.bool_]:
    """Row per downstream slot, column per upstream slot."""
    table = np.zeros((len(mapped.downstream), len(mapped.upstream)), dtype=np.bool_)
    for slot in range(len(mapped.downstream)):
        table[slot, mapped.upstream_slots(slot)] = True
    return table


@given(two_time_indexes())
def test_time_overlap_equals_comparing_all_pairs_of_windows(
    case: tuple[PartitionIndex, PartitionIndex],
) -> None:
    upstream, downstream = case
    mapped = TimeOverlap().bind(upstream, downstream)
    ups = _spans(upstream)
    for slot, (start, end) in enumerate(_spans(downstream)):
        expected = [u for u, (begin, stop) in enumerate(ups) if begin < end and start < stop]
        assert mapped.upstream_slots(slot).tolist() == expected
        covered = bool(ups) and ups[0][0] <= start and end <= ups[-1][1]
        assert mapped.missing[slot] == (not covered)
        assert bool(mapped.missing_keys(slot)) == (not covered)


@given(two_time_indexes(), st.integers(1, 30))
def test_last_n_equals_counting_back_from_the_end_of_the_window(
    case: tuple[PartitionIndex, PartitionIndex], n: int
) -> None:
    upstream, downstream = case
    mapped = LastN(n).bind(upstream, downstream)
    ups = _spans(upstream)
    for slot, (_, end) in enumerate(_spans(downstream)):
        expected = [u for u, (begin, _) in enumerate(ups) if begin < end][-n:]
        assert mapped.upstream_slots(slot).tolist() == expected
        assert mapped.missing[slot] == (not expected or ups[-1][1] < end)


@given(st.sampled_from(STRETCHES), st.data())
def test_last_one_of_the_same_grain_is_identity(
    stretch: tuple[str, str, str], data: st.DataObject
) -> None:
    zone, start, end = stretch
    upstream = DailyPartitions(start, end=end, timezone=zone).index(NOW)
    begin = day_of(start, data.draw(st.integers(-5, 10)))
    downstream = DailyPartitions(begin, end="2026-01-01", timezone=zone).index(NOW)
    last, same = LastN(1).bind(upstream, downstream), Identity().bind(upstream, downstream)
    own = ~same.missing
    assert np.array_equal(last.missing, same.missing)
    assert np.array_equal(last.lo[own], same.lo[own])


@given(st.sampled_from(STRETCHES), st.integers(-9, 9), st.data())
def test_offset_counts_partitions_of_the_whole_sequence(
    stretch: tuple[str, str, str], by: int, data: st.DataObject
) -> None:
    zone, start, end = stretch
    cls = data.draw(st.sampled_from([DailyPartitions, HourlyPartitions]))
    whole = cls(start, end=end, timezone=zone).index(NOW)
    assert whole.starts is not None
    cuts = sorted(data.draw(st.sets(st.integers(0, 14), min_size=2, max_size=2)))
    if day_of(start, cuts[0]) == day_of(start, cuts[1]):
        return
    part = cls(day_of(start, cuts[0]), end=day_of(start, cuts[1]), timezone=zone).index(NOW)
    upstream, downstream = (whole, part) if data.draw(st.booleans()) else (part, whole)
    mapped = Offset(by).bind(upstream, downstream)
    order = {id_: place for place, id_ in enumerate(whole.ids.tolist())}
    by_place = {order[id_]: slot for slot, id_ in enumerate(upstream.ids.tolist())}
    for slot, id_ in enumerate(downstream.ids.tolist()):
        wanted = by_place.get(order[id_] + by)
        assert mapped.upstream_slots(slot).tolist() == ([] if wanted is None else [wanted])
        assert mapped.missing[slot] == (wanted is None)


MULTI_STATIC = StaticPartitions(["eu", "us"])


@st.composite
def any_definition(draw: st.DrawFn, stretch: tuple[str, str, str]) -> Partitions:
    day = draw(a_time_definition(stretch))
    if draw(st.booleans()):
        return day
    region = StaticPartitions(draw(st.permutations(["eu", "us", "new"]))[:2])
    lanes: dict[str, Partitions] = {"region": region, "file": DynamicPartitions("files")}
    dimensions: dict[str, Partitions] = {"day": day, **lanes}
    chosen = draw(st.permutations(list(dimensions)))[: draw(st.integers(1, 3))]
    if not chosen[1:]:
        return draw(st.sampled_from([SINGLE, dimensions[chosen[0]]]))
    return MultiPartitions({name: dimensions[name] for name in chosen})


@st.composite
def a_mapped_pair(draw: st.DrawFn) -> MappedSet:
    stretch = draw(st.sampled_from(STRETCHES))
    upstream, downstream = draw(any_definition(stretch)), draw(any_definition(stretch))
    up_dims, down_dims = _dimensions(upstream), _dimensions(downstream)
    along_time: list[PartitionMapping]
    along_time = [Offset(-1)] if upstream == downstream else [TimeOverlap(), LastN(3), Last()]
    options: list[PartitionMapping] = [All()]
    lanes_agree = set(up_dims) - {"day"} <= set(down_dims) or not set(down_dims) - set(up_dims)
    if "day" in up_dims and "day" in down_dims and lanes_agree:
        options += along_time
    if lanes_agree and (set(up_dims) <= set(down_dims) or set(down_dims) <= set(up_dims)):
        options.append(choose_mapping(upstream, downstream))
    mapping = draw(st.sampled_from(options))
    return mapping.bind(upstream.index(NOW, KEY_IDS), downstream.index(NOW, KEY_IDS))


def _dimensions(definition: Partitions) -> dict[str, Partitions]:
    if isinstance(definition, MultiPartitions):
        return dict(definition.dimensions)
    if definition is SINGLE:
        return {}
    if definition.kind.is_time:
        return {"day": definition}
    return {"region" if isinstance(definition, StaticPartitions) else "file": definition}


@given(a_mapped_pair(), st.integers(0, 2**32 - 1))
@settings(max_examples=200)
def test_vectorised_answers_equal_a_loop_over_partitions(mapped: MappedSet, seed: int) -> None:
    table = _matrix(mapped)
    rng = np.random.default_rng(seed)
    ups, downs = len(mapped.upstream), len(mapped.downstream)
    for density in (0.02, 0.5):
        mask, wanted = rng.random(ups) < density, rng.random(downs) < density
        assert np.array_equal(mapped.any_upstream(mask), (table & mask).any(axis=1))
        assert np.array_equal(mapped.downstream_of(mask), (table & mask).any(axis=1))
        assert np.array_equal(mapped.upstream_of(wanted), table[wanted].any(axis=0))
    values = rng.integers(-(2**62), 2**62, ups)
    expected = np.where(table, values, NOTHING).max(axis=1, initial=NOTHING)
    assert np.array_equal(mapped.max_upstream(values), expected)


@given(a_mapped_pair())
def test_a_partition_is_upstream_of_exactly_what_is_downstream_of_it(mapped: MappedSet) -> None:
    table = _matrix(mapped)
    for slot in range(0, len(mapped.upstream), 1 + len(mapped.upstream) // 40):
        assert mapped.downstream_slots(slot).tolist() == np.flatnonzero(table[:, slot]).tolist()


@st.composite
def arbitrary_intervals(draw: st.DrawFn) -> MappedSet:
    ups, downs = draw(st.integers(0, 20)), draw(st.integers(0, 12))
    interval = st.tuples(st.integers(0, ups), st.integers(0, ups)).map(sorted)
    upstream, downstream = _numbered(ups), _numbered(downs)
    if draw(st.booleans()):
        one_each = draw(st.lists(interval, min_size=downs, max_size=downs))
        table = np.array(one_each, dtype=np.int64).reshape(-1, 2)
        return MappedSet.from_intervals("x", upstream, downstream, lo=table[:, 0], hi=table[:, 1])
    lists = draw(st.lists(st.lists(interval, max_size=4), min_size=downs, max_size=downs))
    table = np.array([pair for some in lists for pair in some], dtype=np.int64).reshape(-1, 2)
    indptr = np.cumsum([0, *map(len, lists)])
    mapped = MappedSet.from_lists(
        "x", upstream, downstream, indptr=indptr, lo=table[:, 0], hi=table[:, 1]
    )
    expected = [sorted({slot for lo, hi in some for slot in range(lo, hi)}) for some in lists]
    assert [mapped.upstream_slots(slot).tolist() for slot in range(downs)] == expected
    return mapped


def _numbered(count: int) -> PartitionIndex:
    keys = {"dynamic|n": {f"k{number}": number for number in range(count)}}
    return DynamicPartitions("n").index(NOW, keys)


@given(arbitrary_intervals(), st.data())
@settings(max_examples=300)
def test_any_intervals_a_user_returns_are_answered_as_a_loop_would(
    mapped: MappedSet, data: st.DataObject
) -> None:
    table = _matrix(mapped)
    ups, downs = len(mapped.upstream), len(mapped.downstream)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=ups, max_size=ups)), dtype=np.bool_)
    wanted = data.draw(st.lists(st.booleans(), min_size=downs, max_size=downs))
    values = np.array(
        data.draw(st.lists(st.integers(NOTHING, 9), min_size=ups, max_size=ups)), dtype=np.int64
    )
    assert np.array_equal(mapped.any_upstream(mask), (table & mask).any(axis=1))
    chosen = np.array(wanted, dtype=np.bool_)
    assert np.array_equal(mapped.upstream_of(chosen), table[chosen].any(axis=0))
    expected = np.where(table, values, NOTHING).max(axis=1, initial=NOTHING)
    assert np.array_equal(mapped.max_upstream(values), expected)
    for slot in range(ups):
        assert mapped.downstream_slots(slot).tolist() == np.flatnonzero(table[:, slot]).tolist()


@given(st.integers(0, 12), st.data())
def test_one_to_one_is_what_reads_the_same_slot_everywhere_and_answers_as_a_loop_would(
    count: int, data: st.DataObject
) -> None:
    upstream, downstream = (
        _numbered(data.draw(st.sampled_from([count, count + 1]))),
        _numbered(count),
    )
    lo = np.arange(count)
    hi = lo + 1
    if count and data.draw(st.booleans()):
        lo[data.draw(st.integers(0, count - 1))] = 0
    mapped = MappedSet.from_intervals("x", upstream, downstream, lo=lo, hi=hi)
    table = _matrix(mapped)
    assert mapped.one_to_one == (
        table.shape == (count, count) and bool((table == np.eye(count, dtype=np.bool_)).all())
    )
    rng = np.random.default_rng(count)
    mask, wanted = rng.random(len(upstream)) < 0.5, rng.random(count) < 0.5
    values = rng.integers(-9, 9, len(upstream))
    assert np.array_equal(mapped.any_upstream(mask), (table & mask).any(axis=1))
    assert np.array_equal(mapped.upstream_of(wanted), table[wanted].any(axis=0))
    expected = np.where(table, values, NOTHING).max(axis=1, initial=NOTHING)
    assert np.array_equal(mapped.max_upstream(values), expected)


@given(st.sampled_from(STRETCHES), st.data())
def test_a_product_equals_the_product_of_its_dimensions(
    stretch: tuple[str, str, str], data: st.DataObject
) -> None:
    ups = _product_of(data, stretch)
    downs = _product_of(data, stretch)
    mapping = PerDimension({})
    upstream = MultiPartitions(ups).index(NOW, KEY_IDS)
    downstream = MultiPartitions(downs).index(NOW, KEY_IDS)
    if any(len(index) == 0 for index in (upstream, downstream)):
        return
    mapped = mapping.bind(upstream, downstream)
    parts = {
        name: choose_mapping(ups[name], downs[name]).bind(
            ups[name].index(NOW, KEY_IDS), downs[name].index(NOW, KEY_IDS)
        )
        for name in ups
    }
    for slot in range(0, len(downstream), 1 + len(downstream) // 25):
        keys = dict(downstream.dimensions(slot))
        reads = []
        missing = False
        for name, part in parts.items():
            at = part.downstream.slot(keys[name])
            reads.append(part.upstream.keys(part.upstream_slots(at)))
            missing |= bool(part.missing[at])
        expected = {"|".join(combination) for combination in product(*reads)}
        assert set(upstream.keys(mapped.upstream_slots(slot))) == expected
        assert mapped.missing[slot] == missing


def _product_of(data: st.DataObject, stretch: tuple[str, str, str]) -> dict[str, Partitions]:
    regions = data.draw(st.permutations(["eu", "us", "new", "newer"]))[:3]
    dimensions: dict[str, Partitions] = {
        "day": data.draw(a_time_definition(stretch)),
        "region": StaticPartitions(regions),
        "file": DynamicPartitions("files"),
    }
    return {name: dimensions[name] for name in data.draw(st.permutations(list(dimensions)))}


@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from("vwxyz")), max_size=4),
)
def test_a_static_map_reads_what_it_says(pairs: dict[str, list[str]]) -> None:
    upstream = StaticPartitions("dcba"[i] for i in range(4)).index(NOW)
    downstream = StaticPartitions("zxvwy"[i] for i in range(5)).index(NOW)
    mapped = StaticMap(pairs).bind(upstream, downstream)
    for slot, key in enumerate(downstream.keys()):
        expected = {up for up, downs in pairs.items() if key in downs}
        assert set(upstream.keys(mapped.upstream_slots(slot))) == expected
    assert not mapped.missing.any()


@dataclass(frozen=True)
class Case:
    mapping: PartitionMapping
    again: PartitionMapping


def test_mappings_are_values_that_pickle() -> None:
    cases = [
        Case(Identity(), Identity()),
        Case(Offset(-1), Offset(-1)),
        Case(LastN(7), LastN(7)),
        Case(StaticMap({"a": ["x", "y"], "b": []}), StaticMap({"b": (), "a": ("y", "x")})),
        Case(
            PerDimension({"day": Last(), "region": ("country", All())}),
            PerDimension({"region": ("country", All()), "day": Last()}),
        ),
    ]
    for case in cases:
        assert case.mapping == case.again
        assert hash(case.mapping) == hash(case.again)
        assert case.mapping.text() == case.again.text()
        assert pickle.loads(pickle.dumps(case.mapping)) == case.mapping  # noqa: S301 - our own bytes
    assert len({case.mapping.text() for case in cases}) == len(cases)
