from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core.model.errors import DataError, InternalError
from io_managers.partition_columns import (
    ColumnKind,
    SliceMatcher,
    bounds_of,
    lanes,
    partition_columns,
)
from partitions.zones import load_zone
from tests.conformance.io_manager_suite import days, hours, keys, multi, target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets_core.model.io_manager import PartitionSlice

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Havana",
]
ZERO = datetime(2018, 1, 1, tzinfo=UTC)


def _owner(slices: Sequence[PartitionSlice], at: datetime) -> int:
    return next((i for i, one in enumerate(slices) if one.window and at in one.window), -1)


@settings(max_examples=60)
@given(
    st.sampled_from(ZONES),
    st.integers(0, 700),
    st.integers(1, 40),
    st.lists(st.integers(-86_400, 45 * 86_400), min_size=1, max_size=30),
    st.sampled_from(["s", "ms", "us", "ns"]),
)
def test_every_instant_belongs_to_the_day_whose_window_holds_it(
    zone: str, first: int, count: int, offsets: list[int], unit: str
) -> None:
    parts = days((ZERO + timedelta(days=first)).date().isoformat(), count, zone)
    at = [ZERO + timedelta(days=first, seconds=offset) for offset in offsets]
    batch = pa.record_batch(
        {"at": pa.array(at, pa.timestamp("us", "UTC")).cast(pa.timestamp(unit, "UTC"))}
    )
    found = SliceMatcher(target(by="at"), parts, batch.schema).ordinals(batch)
    assert found.tolist() == [_owner(parts, each) for each in at]


@given(st.sampled_from(ZONES), st.integers(0, 700), st.integers(1, 40), st.data())
def test_every_local_date_belongs_to_its_day(
    zone: str, first: int, count: int, data: st.DataObject
) -> None:
    start = (ZERO + timedelta(days=first)).date()
    parts = days(start.isoformat(), count, zone)
    on = data.draw(
        st.lists(st.none() | st.dates(start - timedelta(2), start + timedelta(45)), min_size=1)
    )
    batch = pa.record_batch({"on": pa.array(on, pa.date32())})
    found = SliceMatcher(target(by="on"), parts, batch.schema).ordinals(batch)
    known = {one.key: i for i, one in enumerate(parts)}
    assert found.tolist() == [known.get(str(each), -1) for each in on]


@given(
    st.lists(st.none() | st.dates(date(2018, 1, 30), date(2018, 2, 2)), max_size=4),
    st.lists(st.none() | st.sampled_from(["a", "b"]), min_size=4, max_size=4),
    st.sampled_from([pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ns")]),
)
def test_the_ends_of_a_column_tell_whether_all_rows_are_of_one_partition(
    on: list[date | None], names: list[str | None], kind: pa.DataType
) -> None:
    one = (days("2018-02-01", 1), target(by="on"))
    named = (keys("a"), target(by="name", kind=None))
    columns = {
        "on": pa.array(on, pa.date32()).cast(kind),
        "name": pa.array(names[: len(on)], pa.string()),
    }
    batch = pa.record_batch(columns)
    for slices, where in (one, named):
        matcher = SliceMatcher(where, slices, batch.schema)
        inside = matcher.ordinals(batch) >= 0
        assert matcher.holds_all(batch) == bool(len(on) and inside.all())


def test_with_several_partitions_the_ends_of_a_column_tell_nothing() -> None:
    batch = pa.record_batch({"on": [date(2018, 2, 1)] * 2})
    matcher = SliceMatcher(target(by="on"), days("2018-02-01", 2), batch.schema)
    assert not matcher.holds_all(batch)


def test_both_hours_of_an_autumn_night_have_their_own_rows() -> None:
    parts = hours(datetime(2025, 10, 25, 23, tzinfo=UTC), 4, "Europe/Berlin")
    at = [datetime(2025, 10, 26, 0, 30, tzinfo=UTC), datetime(2025, 10, 26, 1, 30, tzinfo=UTC)]
    batch = pa.record_batch({"at": pa.array(at, pa.timestamp("us", "Europe/Berlin"))})
    where = target(by="at", kind="hour")
    assert SliceMatcher(where, parts, batch.schema).ordinals(batch).tolist() == [1, 2]


def test_windows_that_touch_are_one_span_and_others_are_not() -> None:
    parts = days("2025-10-24", 5)
    kinds = (ColumnKind.DATE,)
    (lane,) = lanes(target(by="on"), [*parts[:3], parts[4]], kinds)
    assert [bounds_of(*span, ColumnKind.DATE) for span in lane.spans] == [
        (date(2025, 10, 24), date(2025, 10, 27)),
        (date(2025, 10, 28), date(2025, 10, 29)),
    ]


def test_hours_of_an_autumn_night_are_one_span_of_instants() -> None:
    parts = hours(datetime(2025, 10, 25, 23, tzinfo=UTC), 4, "Europe/Berlin")
    (lane,) = lanes(target(by="at", kind="hour"), parts, (ColumnKind.INSTANT,))
    (span,) = lane.spans
    assert bounds_of(*span, ColumnKind.INSTANT) == (
        datetime(2025, 10, 25, 23, tzinfo=UTC),
        datetime(2025, 10, 26, 3, tzinfo=UTC),
    )


def test_lanes_keep_the_order_of_their_first_slice() -> None:
    where = target(by=(("day", "on"), ("region", "region")))
    found = lanes(where, multi("2025-01-01", 3, ["us", "eu"]), (ColumnKind.DATE, ColumnKind.TEXT))
    assert [(lane.texts, len(lane.spans)) for lane in found] == [(("us",), 1), (("eu",), 1)]


def test_a_day_that_begins_at_six_is_its_start_date() -> None:
    tz = load_zone("Europe/Berlin")
    start, end = datetime(2025, 1, 31, 6, tzinfo=tz), datetime(2025, 2, 1, 6, tzinfo=tz)
    assert bounds_of(start, end, ColumnKind.DATE) == (date(2025, 1, 31), date(2025, 2, 1))
    assert bounds_of(start, end, ColumnKind.WALL_CLOCK) == (
        datetime(2025, 1, 31, 6),  # noqa: DTZ001 - a wall clock
        datetime(2025, 2, 1, 6),  # noqa: DTZ001 - a wall clock
    )
    with pytest.raises(InternalError):
        bounds_of(start, end, ColumnKind.TEXT)


def test_two_time_columns_are_refused() -> None:
    where = target(by=(("day", "on"), ("region", "at")))
    schema = pa.schema({"on": pa.date32(), "at": pa.date32()})
    with pytest.raises(DataError, match="two time columns"):
        SliceMatcher(where, multi("2025-01-01", 1, ["eu"]), schema)


def test_a_time_column_tells_no_static_keys_apart() -> None:
    with pytest.raises(DataError, match="no time windows"):
        SliceMatcher(target(by="on", kind=None), keys("eu"), pa.schema({"on": pa.date32()}))


def test_append_has_no_partition_columns() -> None:
    from assets_core.model.specs import Append

    assert partition_columns(target(Append(), by="on")) == ()
    assert [part.column for part in partition_columns(target(by="on"))] == ["on"]
