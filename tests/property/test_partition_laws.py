"""Laws of time windows, over zones with unusual rules from 1970 to 2090; oracles are `zoneinfo`, one time after the other, and `cronsim`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from cronsim import CronSim
from hypothesis import example, given, settings
from hypothesis import strategies as st

from partitions.cadence import Calendar, DayCalendar, HourCalendar, MonthCalendar, WeekCalendar
from partitions.cron_ticks import CronCalendar, parse_cron
from partitions.definitions import StaticPartitions
from partitions.multi import MultiPartitions
from partitions.time_windows import CronPartitions, DailyPartitions, HourlyPartitions
from partitions.zones import EPOCH, zone_clock
from tests.property.zones import DAY, FIRST, LAST, ZONES, changes, wall_clock, zone_instants

MINUTES = ("*", "*/15", "*/7", "0", "30", "59", "15,45", "5-50/7")
HOURS = ("*", "*/2", "0", "2", "3", "23", "1-3", "0,2,12", "0-23")
DAYS = ("*", "*/2", "1", "L", "LW", "15-20", "31,1")
MONTHS = ("*", "*/3", "MAR,OCT,NOV", "1-6")
WEEKDAYS = ("*", "*/2", "MON-FRI", "0", "7", "5L", "MON#2", "6,SUN")
CRONS = st.tuples(*map(st.sampled_from, (MINUTES, HOURS, DAYS, MONTHS, WEEKDAYS))).map(" ".join)
FIXED_CRONS = st.tuples(
    st.sampled_from([minute for minute in MINUTES if not minute.startswith("*")]),
    st.sampled_from([hour for hour in HOURS if not hour.startswith("*")]),
    *map(st.sampled_from, (DAYS, MONTHS, WEEKDAYS)),
).map(" ".join)


def calendars(zone: str) -> list[Calendar]:
    return [
        HourCalendar(zone),
        DayCalendar(zone),
        DayCalendar(zone, 6 * 3600),
        WeekCalendar(zone),
        WeekCalendar(zone, weekday=6, offset=90 * 60),
        MonthCalendar(zone),
        MonthCalendar(zone, offset=14 * DAY),
        CronCalendar(zone, parse_cron("*/20 * * * *")),
        CronCalendar(zone, parse_cron("30 2 * * *")),
    ]


def test_the_laws_look_at_forty_zones_or_more() -> None:
    assert len(set(ZONES)) >= 40


@pytest.mark.parametrize("zone", ZONES)
def test_hours_from_1970_to_2090_are_unique_at_least_an_hour_long_and_nest_in_days(
    zone: str,
) -> None:
    ids, starts = HourCalendar(zone).starts(FIRST, LAST)
    lengths = np.diff(starts)
    assert lengths.min() >= 3600
    assert lengths.max() < 7200 + 3600
    assert np.all(np.diff(ids) > 0)
    assert np.array_equal(ids, starts // 3600)
    _, days = DayCalendar(zone).starts(FIRST + 3 * DAY, LAST - 3 * DAY)
    assert np.array_equal(starts[np.searchsorted(starts, days)], days)
    _, weeks = WeekCalendar(zone).starts(FIRST + 10 * DAY, LAST - 3 * DAY)
    _, months = MonthCalendar(zone).starts(FIRST + 3 * DAY, LAST - 3 * DAY)
    for coarse in (weeks, months):
        assert np.array_equal(days[np.searchsorted(days, coarse)], coarse)


@pytest.mark.parametrize("zone", ZONES)
def test_every_day_from_1970_to_2090_has_one_start_and_every_key_is_unique(zone: str) -> None:
    for calendar in calendars(zone)[1:7]:
        ids, starts = calendar.starts(FIRST, LAST)
        assert np.all(np.diff(ids) > 0)
        assert np.all(np.diff(starts) > 0)
        keys = calendar.keys(ids, starts)
        assert len(set(keys)) == len(keys)


@settings(max_examples=600)
@given(zone_instants(), st.integers(-4 * DAY, 4 * DAY))
def test_the_clock_agrees_with_zoneinfo(at: tuple[str, int], shift: int) -> None:
    zone, around = at
    instant = around + shift
    clock = zone_clock(zone, instant, instant)
    utc = np.array([instant])
    local = wall_clock(instant, zone)
    assert EPOCH.replace(tzinfo=None) + timedelta(seconds=int(clock.local(utc)[0])) == local
    walls = clock.local(utc)
    for fold, found in ((0, clock.first_utc(walls)), (1, clock.last_utc(walls))):
        expected = local.replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()
        assert found[0] == expected


@settings(max_examples=400)
@given(zone_instants())
def test_days_begin_when_the_wall_clock_first_shows_their_date(at: tuple[str, int]) -> None:
    zone, around = at
    ids, starts = DayCalendar(zone).starts(around - 3 * DAY, around + 4 * DAY)
    for key, start in zip(DayCalendar(zone).keys(ids, starts), starts.tolist(), strict=True):
        assert wall_clock(start, zone).date() == date.fromisoformat(key)
        assert wall_clock(start - 1, zone).date() < date.fromisoformat(key)


@settings(max_examples=200)
@given(zone_instants())
def test_hours_begin_when_the_wall_clock_shows_a_whole_hour(at: tuple[str, int]) -> None:
    zone, around = at
    lo, hi = around - DAY, around + 2 * DAY
    _, starts = HourCalendar(zone).starts(lo, hi)
    step = 30 if zone == "Africa/Monrovia" else 300
    walls = [wall_clock(second, zone) for second in range(lo, hi, step)]
    whole = [
        second
        for second, wall in zip(range(lo, hi, step), walls, strict=True)
        if wall.minute == 0 and wall.second == 0
    ]
    steps = {int((after - before).total_seconds()) for before, after in pairwise(walls)}
    if all((jump - step) % 3600 == 0 for jump in steps):
        assert starts.tolist() == whole
    else:
        # Where the clock changes by part of an hour, the hours beside the change take in the odd part.
        assert len(set(starts.tolist()) ^ set(whole)) <= 3


@settings(max_examples=400)
@given(zone_instants(), st.integers(0, 8))
def test_windows_do_not_depend_on_how_much_is_asked_for(at: tuple[str, int], which: int) -> None:
    zone, around = at
    calendar = calendars(zone)[which]
    ids, starts = calendar.starts(around - 40 * DAY, around + 40 * DAY)
    for lo, hi in ((around - 3 * DAY, around + 2 * DAY), (around, around + 3600)):
        part = slice(*np.searchsorted(starts, [lo, hi]).tolist())
        some_ids, some_starts = calendar.starts(lo, hi)
        assert np.array_equal(some_starts, starts[part])
        assert np.array_equal(some_ids, ids[part])
        assert calendar.keys(some_ids, some_starts) == calendar.keys(ids, starts)[part]


@settings(max_examples=400)
@given(zone_instants(), st.integers(0, 8))
def test_keys_lead_back_to_their_windows(at: tuple[str, int], which: int) -> None:
    zone, around = at
    calendar = calendars(zone)[which]
    ids, starts = calendar.starts(around - 2 * DAY, around + 3 * DAY)
    keys = calendar.keys(ids, starts)
    assert len(set(keys)) == len(keys)
    for key, start in zip(keys, starts.tolist(), strict=True):
        # A key says minutes; only a start at odd seconds is up to a minute away from what it says.
        assert min(abs(near - start) for near in calendar.near(key)) < 60


@settings(max_examples=60)
@given(zone_instants(), st.sampled_from([HourlyPartitions, DailyPartitions]))
def test_key_id_slot_and_window_are_one_thing(
    at: tuple[str, int], make: type[HourlyPartitions | DailyPartitions]
) -> None:
    zone, around = at
    first, later, end = (wall_clock(around + days * DAY, zone).date() for days in (-7, -2, 20))
    now = EPOCH + timedelta(seconds=around + 3 * DAY)
    index = make(first, timezone=zone).index(now)
    shorter = make(later, end=end, timezone=zone).index(now)
    assert np.array_equal(index.starts[1:], index.ends[:-1])
    assert shorter.keys() == index.keys()[-len(shorter) :]
    assert np.array_equal(shorter.ids, index.ids[-len(shorter) :])
    assert np.array_equal(
        index.slots_of_ids(shorter.ids), np.arange(len(index) - len(shorter), len(index))
    )
    for slot in range(len(index)):
        assert index.slot(index.key(slot)) == slot
        window = index.window(slot)
        assert window is not None
        assert window.start.timestamp() == index.starts[slot]
        assert window.end.timestamp() == index.ends[slot]
        assert index.key(slot).startswith(
            window.start.isoformat()[: 10 if make is DailyPartitions else 16]
        )
    assert window.end <= now
    product = MultiPartitions(
        {"region": StaticPartitions(["eu", "us"]), "time": make(first, timezone=zone)}
    ).index(now, {"static": {"us": 3, "eu": 5}})
    assert np.array_equal(product.slots_of_ids(product.ids), np.arange(len(product)))
    assert list(map(product.slot, product.keys())) == list(range(len(product)))


@settings(max_examples=400)
@given(zone_instants(), FIXED_CRONS)
@example(("America/Sao_Paulo", changes("America/Sao_Paulo")[-2] // DAY * DAY), "30 0 * * *")
@example(("Pacific/Apia", 1_325_203_200), "30 12 * * *")
@example(("Africa/Monrovia", changes("Africa/Monrovia")[0] // DAY * DAY), "30 0 * * *")
def test_fixed_hour_cron_jobs_tick_when_cronsim_says(at: tuple[str, int], cron: str) -> None:
    zone, around = at
    lo, hi = around - 3 * DAY, around + 3 * DAY
    _, ticks = CronCalendar(zone, parse_cron(cron)).starts(lo, hi)
    # cronsim reads a repeated local time as its first, so it starts where there is none.
    simulation = CronSim(
        cron, (EPOCH + timedelta(seconds=lo - 2 * DAY)).astimezone(ZoneInfo(zone))
    )
    expected = []
    for tick in simulation:
        if tick.timestamp() >= hi:
            break
        if tick.timestamp() >= lo:
            expected.append(int(tick.timestamp()))
    assert ticks.tolist() == expected


@settings(max_examples=150)
@given(zone_instants(), CRONS.filter(lambda cron: cron[0] == "*" or cron.split()[1][0] == "*"))
def test_real_time_cron_jobs_tick_at_every_minute_that_matches(
    at: tuple[str, int], cron: str
) -> None:
    zone, around = at
    lo, hi = around - DAY, around + 2 * DAY
    _, ticks = CronCalendar(zone, parse_cron(cron)).starts(lo, hi)
    matches = CronSim(cron, datetime(2025, 1, 1, tzinfo=UTC))
    expected = []
    step = 30 if zone == "Africa/Monrovia" else 60
    for second in range(lo, hi, step):
        wall = wall_clock(second, zone)
        if (
            wall.second == 0
            and wall.minute in matches.minutes
            and wall.hour in matches.hours
            and wall.month in matches.months
            and matches.match_day(wall.date())
        ):
            expected.append(second)
    assert ticks.tolist() == expected


@settings(max_examples=200)
@given(
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"]),
    CRONS,
    st.integers(0, 40_000),
)
def test_where_the_clock_changes_by_an_hour_at_night_all_cron_jobs_agree_with_cronsim(
    zone: str, cron: str, day: int
) -> None:
    begin = day * DAY
    simulation = CronSim(cron, (EPOCH + timedelta(seconds=begin - 1)).astimezone(ZoneInfo(zone)))
    expected = [int(next(simulation).timestamp()) for _ in range(60)]
    _, ticks = CronCalendar(zone, parse_cron(cron)).starts(begin, expected[-1] + 1)
    assert ticks.tolist() == expected


@settings(max_examples=200)
@given(
    zone_instants(),
    st.sampled_from(["30 2 * * *", "*/30 * * * *", "0 0 * * MON"]),
    st.integers(-2, 3),
    st.lists(st.integers(0, 12 * DAY), min_size=2, max_size=6),
)
def test_an_index_is_the_same_however_the_clock_got_there(
    at: tuple[str, int], cron: str, end_offset: int, offsets: list[int]
) -> None:
    zone, around = at
    start = wall_clock(around, zone).date()
    kept = CronPartitions(cron, start, timezone=zone, end_offset=end_offset)
    for offset in offsets:
        second = kept.first_edge - 3 * DAY + offset
        now = EPOCH + timedelta(seconds=second)
        index = kept.index(now)
        _, edges = kept.calendar.starts(second - 30 * DAY, second + 60 * DAY)
        ended = int(np.searchsorted(edges, second, side="right")) - 1
        stop = max(ended + end_offset, 0)
        expected = [edge for edge in edges[:stop].tolist() if edge >= kept.first_edge]
        assert index.starts is not None
        assert index.starts.tolist() == expected
