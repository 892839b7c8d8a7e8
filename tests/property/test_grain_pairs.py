"""Every time grain against every other, in both directions, over stretches in which clocks change oddly: all pairs, none drawn.

Two references. One compares all pairs of windows as instants; which windows there are is tested with the definitions. The other knows
no window at all: it goes by what the keys say, date by date.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from partitions.definitions import StaticPartitions
from partitions.mappings import Identity, LastN, Offset, PerDimension, TimeOverlap, choose_mapping
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
    from partitions.mapped_set import MappedSet

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REGIONS = StaticPartitions(["eu", "us", "asia"])
STRETCHES = {
    "Europe/Berlin": "2024-10",  # back by an hour
    "America/New_York": "2025-03",  # forward by an hour
    "Australia/Lord_Howe": "2025-03",  # back by half an hour
    "America/Caracas": "2007-12",  # back by half an hour for good, at 03:00
    "Asia/Pyongyang": "2018-05",  # forward by half an hour, at 23:30
    "America/St_Johns": "2011-11",  # a zone of half hours, back at 02:00 since that month
    "Asia/Kathmandu": "1986-01",  # forward by a quarter of an hour, at midnight
    "Pacific/Apia": "2011-12",  # without the 30th
    "America/Sao_Paulo": "2018-11",  # without the midnight of the 4th
    "America/Havana": "2024-11",  # with two midnights on the 3rd
}
GRAINS = ("hour", "day", "shift", "week", "sunday", "month", "fiscal", "cron", "workdays")


def grain(name: str, zone: str, month: str) -> Partitions:
    """A definition of about six weeks: from the week in which a month begins; months are two of them."""
    first = date.fromisoformat(f"{month}-01")
    monday = first - timedelta(days=first.weekday())
    start, end = monday, monday + timedelta(days=42)
    last = (first + timedelta(days=62)).replace(day=1)
    match name:
        case "hour":
            return HourlyPartitions(start + timedelta(days=1), end=end, timezone=zone)
        case "day":
            return DailyPartitions(start, end=end, timezone=zone)
        case "shift":
            return DailyPartitions(start, end=end, timezone=zone, offset=timedelta(hours=6))
        case "week":
            return WeeklyPartitions(start, end=end, timezone=zone)
        case "sunday":
            return WeeklyPartitions(
                start - timedelta(days=1),
                end=end - timedelta(days=1),
                timezone=zone,
                starts_on="sunday",
                offset=timedelta(hours=2, minutes=30),
            )
        case "month":
            return MonthlyPartitions(first, end=last, timezone=zone)
        case "fiscal":
            return MonthlyPartitions(first, end=last, timezone=zone, offset=timedelta(days=4))
        case "cron":
            return CronPartitions("30 1,2,23 * * *", start, end=end, timezone=zone)
        case _:
            return CronPartitions("0 0 * * 1-5", start, end=end, timezone=zone)


def _table(mapped: MappedSet) -> NDArray[np.bool_]:
    """Row per downstream slot, column per upstream slot; the same from both directions."""
    shape = (len(mapped.downstream), len(mapped.upstream))
    forth, back = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    for slot in range(shape[0]):
        forth[slot, mapped.upstream_slots(slot)] = True
    for slot in range(shape[1]):
        back[mapped.downstream_slots(slot), slot] = True
    assert np.array_equal(forth, back)
    return forth


def _windows(index: PartitionIndex) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    assert index.starts is not None
    assert index.ends is not None
    return index.starts, index.ends


def _overlaps(upstream: PartitionIndex, downstream: PartitionIndex) -> NDArray[np.bool_]:
    (up_starts, up_ends), (starts, ends) = _windows(upstream), _windows(downstream)
    answer: NDArray[np.bool_] = (up_starts < ends[:, None]) & (starts[:, None] < up_ends)
    return answer


def _seconds_shared(upstream: PartitionIndex, downstream: PartitionIndex) -> NDArray[np.int64]:
    """How much of each downstream window the upstream windows cover together."""
    (up_starts, up_ends), (starts, ends) = _windows(upstream), _windows(downstream)
    shared = np.minimum(up_ends, ends[:, None]) - np.maximum(up_starts, starts[:, None])
    answer: NDArray[np.int64] = np.maximum(shared, 0).sum(axis=1)
    return answer


@pytest.mark.parametrize("zone", STRETCHES)
@pytest.mark.parametrize("upper", GRAINS)
def test_each_grain_reads_the_windows_of_each_other_that_overlap(zone: str, upper: str) -> None:
    upstream = grain(upper, zone, STRETCHES[zone]).index(NOW)
    for lower in GRAINS:
        downstream = grain(lower, zone, STRETCHES[zone]).index(NOW)
        mapped = TimeOverlap().bind(upstream, downstream)
        assert np.array_equal(_table(mapped), _overlaps(upstream, downstream)), lower
        starts, ends = _windows(downstream)
        covered = _seconds_shared(upstream, downstream) == ends - starts
        assert np.array_equal(~mapped.missing, covered), lower
        chosen = choose_mapping(upstream.definition, downstream.definition)
        same = upstream.space == downstream.space
        assert chosen == (Identity() if same else TimeOverlap())
        if same:
            assert np.array_equal(_table(chosen.bind(upstream, downstream)), _table(mapped))


@pytest.mark.parametrize("zone", STRETCHES)
@pytest.mark.parametrize("upper", GRAINS)
def test_each_grain_counts_back_in_each_other(zone: str, upper: str) -> None:
    upstream = grain(upper, zone, STRETCHES[zone]).index(NOW)
    for lower in GRAINS:
        downstream = grain(lower, zone, STRETCHES[zone]).index(NOW)
        (up_starts, up_ends), (_, ends) = _windows(upstream), _windows(downstream)
        mapped = LastN(3).bind(upstream, downstream)
        begun = up_starts < ends[:, None]
        later = begun[:, ::-1].cumsum(axis=1)[:, ::-1]  # itself and what began after it
        assert np.array_equal(_table(mapped), begun & (later <= 3)), lower
        assert np.array_equal(mapped.missing, ~begun.any(axis=1) | (ends > up_ends.max())), lower


@pytest.mark.parametrize("zone", STRETCHES)
@pytest.mark.parametrize("name", GRAINS)
@pytest.mark.parametrize("by", [-2, -1, 0, 1])
def test_each_grain_moves_by_places(zone: str, name: str, by: int) -> None:
    index = grain(name, zone, STRETCHES[zone]).index(NOW)
    expected = np.eye(len(index), k=by, dtype=np.bool_)
    mapped = Offset(by).bind(index, index)
    assert np.array_equal(_table(mapped), expected)
    assert np.array_equal(mapped.missing, ~expected.any(axis=1))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"])
@pytest.mark.parametrize("upper", [name for name in GRAINS if name != "hour"])
def test_each_grain_reads_each_other_region_by_region(zone: str, upper: str) -> None:
    """Region by region, without regions upstream, and without them downstream; the lanes of a product are one after another."""
    ups = grain(upper, zone, STRETCHES[zone])
    regions = np.eye(len(REGIONS.keys), dtype=np.bool_)
    every = np.ones((len(REGIONS.keys), 1), dtype=np.bool_)
    up_cells = MultiPartitions({"at": ups, "region": REGIONS})
    for lower in (name for name in GRAINS if name != "hour"):
        downs = grain(lower, zone, STRETCHES[zone])
        down_cells = MultiPartitions({"region": REGIONS, "on": downs})
        for along in (TimeOverlap(), LastN(2)):
            alone = along.bind(ups.index(NOW), downs.index(NOW))
            table = _table(alone)
            for upstream, downstream, lanes in (
                (up_cells, down_cells, regions),
                (ups, down_cells, every),
                (up_cells, downs, every.T),
            ):
                name = "at" if upstream is up_cells else ""
                mapping = along if name else PerDimension({"": along})
                mapped = mapping.bind(upstream.index(NOW), downstream.index(NOW))
                assert np.array_equal(_table(mapped), np.kron(lanes, table)), lower
                lacking = np.kron(np.ones(len(lanes), dtype=np.bool_), alone.missing)
                assert np.array_equal(mapped.missing, lacking), lower


def _dates(name: str, key: str) -> set[date]:
    """The local dates that a key speaks of."""
    match name:
        case "hour" | "day":
            return {date.fromisoformat(key[:10])}
        case "week":
            monday = date.fromisocalendar(int(key[:4]), int(key[6:]), 1)
            return {monday + timedelta(days=n) for n in range(7)}
        case _:
            first = date.fromisoformat(f"{key}-01")
            return {
                day for n in range(31) if (day := first + timedelta(days=n)).month == first.month
            }


@pytest.mark.parametrize("zone", STRETCHES)
def test_calendar_grains_of_a_zone_meet_as_their_keys_say(zone: str) -> None:
    names = ("hour", "day", "week", "month")
    indexes = {name: grain(name, zone, STRETCHES[zone]).index(NOW) for name in names}
    dates = {name: [_dates(name, key) for key in indexes[name].keys()] for name in names}  # noqa: SIM118 - no dict
    for upper in names:
        for lower in names:
            if upper == lower == "hour":
                continue
            mapped = TimeOverlap().bind(indexes[upper], indexes[lower])
            for slot, own in enumerate(dates[lower]):
                expected = [at for at, other in enumerate(dates[upper]) if own & other]
                assert mapped.upstream_slots(slot).tolist() == expected, (upper, lower)
