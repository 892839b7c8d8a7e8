from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pendulum
import pytest
from cronsim import CronSim, CronSimError

from partitions.cadence import DayCalendar, HourCalendar, MonthCalendar, WeekCalendar
from partitions.cron_ticks import CronCalendar, parse_cron
from partitions.errors import PartitionDefinitionError
from partitions.zones import load_zone, offset_text, zone_clock

DAY = 86_400


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[arg-type, misc]


def keys(
    calendar: HourCalendar | DayCalendar | WeekCalendar | MonthCalendar | CronCalendar,
    lo: int,
    hi: int,
) -> list[str]:
    return calendar.keys(*calendar.starts(lo, hi))


def test_a_repeated_hour_in_berlin_is_two_windows_and_the_second_carries_its_offset() -> None:
    berlin = HourCalendar("Europe/Berlin")
    assert keys(berlin, at(2025, 10, 25, 23), at(2025, 10, 26, 3)) == [
        "2025-10-26T01:00",
        "2025-10-26T02:00",
        "2025-10-26T02:00+01:00",
        "2025-10-26T03:00",
    ]


def test_a_skipped_hour_in_berlin_is_no_window() -> None:
    berlin = HourCalendar("Europe/Berlin")
    assert keys(berlin, at(2025, 3, 30, 0), at(2025, 3, 30, 2)) == [
        "2025-03-30T01:00",
        "2025-03-30T03:00",
    ]


def test_kathmandu_hours_begin_at_a_quarter_past_of_utc() -> None:
    _, starts = HourCalendar("Asia/Kathmandu").starts(at(2025, 1, 1), at(2025, 1, 2))
    assert set((starts % 3600).tolist()) == {900}


def test_a_change_by_half_an_hour_lengthens_the_hour_it_falls_in() -> None:
    island = HourCalendar("Australia/Lord_Howe")
    spring = island.starts(at(2025, 10, 4, 13, 30), at(2025, 10, 4, 18))
    assert island.keys(*spring)[:3] == ["2025-10-05T00:00", "2025-10-05T01:00", "2025-10-05T03:00"]
    assert np.diff(spring[1]).tolist()[:3] == [3600, 5400, 3600]
    autumn = island.starts(at(2025, 4, 5, 13), at(2025, 4, 5, 17))
    assert island.keys(*autumn)[:3] == ["2025-04-06T00:00", "2025-04-06T01:00", "2025-04-06T02:00"]
    assert np.diff(autumn[1]).tolist()[:3] == [3600, 5400, 3600]


def test_the_odd_part_of_an_hour_never_crosses_a_midnight() -> None:
    # Kathmandu went from 24:00 to 00:15, Pyongyang from 23:30 to 24:00.
    kathmandu = HourCalendar("Asia/Kathmandu")
    assert keys(kathmandu, at(1985, 12, 31, 16), at(1985, 12, 31, 21)) == [
        "1985-12-31T22:00",
        "1985-12-31T23:00",
        "1986-01-01T00:15",
        "1986-01-01T02:00",
    ]
    pyongyang = HourCalendar("Asia/Pyongyang")
    assert keys(pyongyang, at(2018, 5, 4, 12), at(2018, 5, 4, 17)) == [
        "2018-05-04T21:00",
        "2018-05-04T22:00",
        "2018-05-05T00:00",
        "2018-05-05T01:00",
    ]


@pytest.mark.parametrize(
    ("zone", "skipped"),
    [
        ("Pacific/Apia", "2011-12-30"),
        ("Pacific/Fakaofo", "2011-12-30"),
        ("Pacific/Kwajalein", "1993-08-21"),
        ("Pacific/Kiritimati", "1994-12-31"),
        ("Pacific/Enderbury", "1994-12-31"),
    ],
)
@pytest.mark.parametrize("offset", [0, 6 * 3600])
def test_a_skipped_day_is_no_window_and_its_neighbours_have_24_hours(
    zone: str, skipped: str, offset: int
) -> None:
    around = int(datetime.fromisoformat(skipped + "T00:00+00:00").timestamp())
    calendar = DayCalendar(zone, offset)
    ids, starts = calendar.starts(around - 4 * DAY, around + 4 * DAY)
    assert skipped not in calendar.keys(ids, starts)
    assert np.diff(ids).max() == 2
    assert np.all(np.abs(np.diff(starts) - DAY) <= 3600)
    assert calendar.near(skipped)
    assert DayCalendar(zone).day_start(around // DAY) is None


def test_a_day_whose_midnight_never_happens_begins_at_the_end_of_the_gap() -> None:
    _, starts = DayCalendar("America/Sao_Paulo").starts(at(2018, 11, 4), at(2018, 11, 5))
    assert starts.tolist() == [at(2018, 11, 4, 3)]


def test_a_day_whose_midnight_happens_twice_begins_at_the_first() -> None:
    _, starts = DayCalendar("America/Havana").starts(at(2025, 11, 2), at(2025, 11, 4))
    assert starts.tolist() == [at(2025, 11, 2, 4), at(2025, 11, 3, 5)]


def test_days_agree_with_pendulum() -> None:
    for zone in ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham"):
        _, starts = DayCalendar(zone).starts(at(2025, 1, 2), at(2026, 1, 1))
        first = pendulum.from_timestamp(int(starts[0]), tz=zone)
        expected = [first.add(days=day).int_timestamp for day in range(len(starts))]
        assert starts.tolist() == expected


@pytest.mark.parametrize("weekday", range(7))
def test_weeks_begin_on_their_weekday_and_week_0_has_the_first_of_january_1970(
    weekday: int,
) -> None:
    calendar = WeekCalendar("Europe/Berlin", weekday)
    ids, starts = calendar.starts(-20 * DAY, 20 * DAY)
    for start in starts.tolist():
        local = datetime.fromtimestamp(start, tz=load_zone("Europe/Berlin"))
        assert (local.weekday(), local.hour) == (weekday, 0)
    in_week = int(np.searchsorted(starts, 3600, side="right")) - 1
    assert ids[in_week] == 0


def test_iso_weeks_belong_to_the_year_of_their_thursday() -> None:
    weeks = keys(WeekCalendar("UTC"), at(2020, 12, 20), at(2021, 1, 12))
    assert weeks == ["2020-W52", "2020-W53", "2021-W01", "2021-W02"]
    lo, hi = at(1990, 1, 1), at(2060, 1, 1)
    ids, starts = WeekCalendar("UTC").starts(lo, hi)
    for key, start in zip(WeekCalendar("UTC").keys(ids, starts), starts.tolist(), strict=True):
        assert datetime.fromtimestamp(start, tz=UTC).strftime("%G-W%V") == key


def test_month_ids_count_months_of_all_years() -> None:
    ids, _ = MonthCalendar("Asia/Kolkata").starts(at(2024, 12, 1), at(2025, 1, 31, 18))
    assert ids.tolist() == [2025 * 12 + 0]


def test_months_can_begin_on_the_fifteenth() -> None:
    calendar = MonthCalendar("UTC", 14 * DAY)
    ids, starts = calendar.starts(at(2025, 1, 1), at(2025, 3, 1))
    assert starts.tolist() == [at(2025, 1, 15), at(2025, 2, 15)]
    assert calendar.keys(ids, starts) == ["2025-01", "2025-02"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("Europe", "Europe"),
        ("../etc/passwd", ""),
        ("localtime", ""),
        ("right/Europe/Berlin", "Berlin"),
        ("", ""),
        ("+02:00", "look like"),
    ],
)
def test_an_unknown_zone_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(PartitionDefinitionError, match="there is no time zone") as caught:
        load_zone(name)
    assert hint in (caught.value.hint or "")


def test_a_zone_object_is_refused_with_what_to_write() -> None:
    with pytest.raises(PartitionDefinitionError, match="name of one"):
        load_zone(UTC)  # type: ignore[arg-type]


def test_offsets_are_written_with_seconds_only_if_there_are_some() -> None:
    assert [offset_text(seconds) for seconds in (0, -2670, 45_900)] == [
        "+00:00",
        "-00:44:30",
        "+12:45",
    ]


def test_no_two_clock_changes_are_closer_than_the_probe_step() -> None:
    for zone in ("America/Recife", "Africa/Casablanca", "Africa/Cairo"):
        instants = zone_clock(zone, at(1970, 1, 1), at(2090, 1, 1)).instants.tolist()
        assert min(after - before for before, after in pairwise(instants)) > 6 * DAY


@pytest.mark.parametrize(
    ("cron", "field", "marks"),
    [
        ("61 2 * * *", "'61' can't be the minute", "  ^^"),
        ("0 24 * * *", "'24' can't be the hour", "    ^^"),
        ("0 0 32 * *", "'32' can't be the day of month", "      ^^"),
        ("0 0 1 foo *", "'foo' can't be the month", "        ^^^"),
        ("0 0 * * MON-SUN", "'MON-SUN' can't be the day of week", "          ^^^^^^^"),
        ("*/0 0 * * *", "'*/0' can't be the minute", "  ^^^"),
        ("0 5-1 * * *", "'5-1' can't be the hour", "    ^^^"),
        ("0 0 -1 * *", "'-1'", "      ^^"),
        ("0 0 * * 5#6", "'5#6'", "          ^^^"),
        ("٣ 0 * * *", "can't be the minute", "  ^"),
    ],
)
def test_a_cron_error_marks_the_field(cron: str, field: str, marks: str) -> None:
    with pytest.raises(PartitionDefinitionError) as caught:
        parse_cron(cron)
    assert field in caught.value.message
    assert caught.value.message.splitlines()[1:] == [f"  {cron}", marks]
    assert "allowed are" in (caught.value.hint or "")


@pytest.mark.parametrize("months", ["2", "FEB", "2,4", "APR-JUN/2"])
def test_a_day_that_no_given_month_has_is_marked_with_the_months(months: str) -> None:
    day = "30" if months in {"2", "FEB"} else "31"
    if months == "APR-JUN/2":
        months = "APR,JUN"
    with pytest.raises(PartitionDefinitionError) as caught:
        parse_cron(f"0 0 {day} {months} *")
    assert f"'{day}' can't be the day of month" in caught.value.message
    assert caught.value.message.splitlines()[2] == "      ^^"
    assert caught.value.hint == f"no month of {months!r} has such a day"


@pytest.mark.parametrize(
    ("cron", "hint"),
    [
        ("@dayly", "did you mean @daily?"),
        ("@reboot", "15 2"),
        ("* * * *", "15 2"),
        ("0 0 0 * * *", "15 2"),
        ("", "15 2"),
    ],
)
def test_a_cron_expression_without_five_fields_says_so(cron: str, hint: str) -> None:
    with pytest.raises(PartitionDefinitionError, match=r"fields?, not 5") as caught:
        parse_cron(cron)
    assert hint in (caught.value.hint or "")


def test_a_cron_expression_has_one_normal_form() -> None:
    assert parse_cron(" 0  2 * jan   mon-fri ") == parse_cron("0 2 * JAN MON-FRI")
    assert parse_cron(" @Daily") == parse_cron("@midnight") == parse_cron("0 0 * * *")
    assert parse_cron("@weekly") == parse_cron("0 0 * * 0")


def test_the_days_are_or_if_both_are_restricted_and_and_if_one_begins_with_a_star() -> None:
    january = at(2025, 1, 1), at(2025, 2, 1)
    either = keys(CronCalendar("UTC", parse_cron("0 0 13 * FRI")), *january)
    assert [key[8:10] for key in either] == ["03", "10", "13", "17", "24", "31"]
    both = keys(CronCalendar("UTC", parse_cron("0 0 */2 * FRI")), *january)
    assert [key[8:10] for key in both] == ["03", "17", "31"]


def test_a_fixed_hour_job_ticks_once_in_the_repeated_hour_and_at_the_end_of_the_skipped_one() -> (
    None
):
    job = CronCalendar("Europe/Berlin", parse_cron("30 2 * * *"))
    assert keys(job, at(2025, 10, 25), at(2025, 10, 27, 12)) == [
        "2025-10-25T02:30",
        "2025-10-26T02:30",
        "2025-10-27T02:30",
    ]
    assert keys(job, at(2025, 3, 29), at(2025, 3, 31)) == ["2025-03-29T02:30", "2025-03-30T03:00"]


def test_two_ticks_put_off_to_the_end_of_a_gap_are_one() -> None:
    job = CronCalendar("Europe/Berlin", parse_cron("0,30 2,3 * * *"))
    assert keys(job, at(2025, 3, 30), at(2025, 3, 30, 12)) == [
        "2025-03-30T03:00",
        "2025-03-30T03:30",
    ]


def test_a_starred_job_follows_real_time_through_a_clock_change() -> None:
    job = CronCalendar("Europe/Berlin", parse_cron("*/30 2 * * *"))
    assert keys(job, at(2025, 10, 26), at(2025, 10, 26, 12)) == [
        "2025-10-26T02:00",
        "2025-10-26T02:30",
        "2025-10-26T02:00+01:00",
        "2025-10-26T02:30+01:00",
    ]
    assert keys(job, at(2025, 3, 30), at(2025, 3, 30, 12)) == []


def test_where_a_zone_changes_by_half_an_hour_cronsim_loses_real_time_ticks_and_we_do_not() -> (
    None
):
    # The reason why ticks are not taken from cronsim: it goes from 01:00 by whole hours to 02:30, 03:30, … and misses 05:00.
    cron = "*/15 5 * * *"
    island = load_zone("Australia/Lord_Howe")
    after_six = datetime(2025, 10, 4, 6, tzinfo=island)
    theirs = next(CronSim(cron, after_six)).isoformat()
    ours = keys(
        CronCalendar("Australia/Lord_Howe", parse_cron(cron)), at(2025, 10, 4), at(2025, 10, 5)
    )
    assert theirs == "2025-10-05T05:30:00+11:00"
    assert ours == ["2025-10-05T05:00", "2025-10-05T05:15", "2025-10-05T05:30", "2025-10-05T05:45"]


def test_what_cronsim_refuses_we_refuse() -> None:
    for cron in (
        "0 0 30 2 *",
        "60 * * * *",
        "* * * 13 *",
        "0 0 L-3 * *",
        "0 0 * * L",
        "0 0 1,,2 * *",
    ):
        with pytest.raises(CronSimError):
            CronSim(cron, datetime(2025, 1, 1, tzinfo=UTC))
        with pytest.raises(PartitionDefinitionError):
            parse_cron(cron)


def test_last_days_and_last_weekdays_of_months() -> None:
    year = at(2025, 1, 1), at(2026, 1, 1)
    last = keys(CronCalendar("UTC", parse_cron("0 0 L * *")), *year)
    assert [key[5:10] for key in last][:3] == ["01-31", "02-28", "03-31"]
    workday = keys(CronCalendar("UTC", parse_cron("0 0 LW * *")), *year)
    assert [key[5:10] for key in workday][:5] == ["01-31", "02-28", "03-31", "04-30", "05-30"]
    friday = keys(CronCalendar("UTC", parse_cron("0 0 * * 5L")), *year)
    assert [key[5:10] for key in friday][:2] == ["01-31", "02-28"]
    second = keys(CronCalendar("UTC", parse_cron("0 0 * * MON#2")), *year)
    assert [key[5:10] for key in second][:2] == ["01-13", "02-10"]


def test_cron_ids_are_utc_minutes() -> None:
    ids, starts = CronCalendar("Asia/Kolkata", parse_cron("15 2 * * *")).starts(0, 30 * DAY)
    assert np.array_equal(ids * 60, starts)
    assert timedelta(minutes=int(ids[0])) == timedelta(hours=20, minutes=45)
