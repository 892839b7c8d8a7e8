from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from partitions.definitions import PartitionKind
from partitions.errors import PartitionDefinitionError, UnknownPartitionError
from partitions.time_windows import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    TimePartitions,
    TimeWindow,
    WeeklyPartitions,
)

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
FAR = datetime(2026, 6, 1, tzinfo=UTC)


def test_a_year_of_days_has_365_partitions() -> None:
    year = DailyPartitions("2013-01-01", end="2014-01-01", timezone="America/New_York")
    index = year.index(NOW)
    assert len(index) == 365
    assert (index.key(0), index.key(364)) == ("2013-01-01", "2013-12-31")
    assert index.timezone == "America/New_York"


@pytest.mark.parametrize(
    ("day", "hours"), [("2025-03-30", 23), ("2025-06-01", 24), ("2025-10-26", 25)]
)
def test_a_day_in_berlin_has_23_24_or_25_hours(day: str, hours: int) -> None:
    following = date.fromisoformat(day) + timedelta(days=1)
    by_hour = HourlyPartitions(day, end=following, timezone="Europe/Berlin").index(FAR)
    assert len(by_hour) == hours
    by_day = DailyPartitions(day, end=following, timezone="Europe/Berlin").index(FAR)
    window = by_day.window(0)
    assert window is not None
    assert window.duration == timedelta(hours=hours)
    assert window.start.tzinfo is BERLIN


def test_without_an_end_a_window_exists_from_the_instant_it_ends() -> None:
    days = DailyPartitions("2025-01-01", timezone="Europe/Berlin")
    midnight = datetime(2025, 1, 3, tzinfo=BERLIN)
    assert days.index(midnight - timedelta(seconds=1)).keys() == ["2025-01-01"]
    assert days.index(midnight).keys() == ["2025-01-01", "2025-01-02"]


@pytest.mark.parametrize(("end_offset", "count"), [(-1, 1), (0, 2), (1, 3), (2, 4)])
def test_end_offset_adds_windows_that_have_not_ended_or_takes_ended_ones(
    end_offset: int, count: int
) -> None:
    days = DailyPartitions("2025-01-01", end_offset=end_offset)
    assert len(days.index(datetime(2025, 1, 3, 12, tzinfo=UTC))) == count


def test_end_offset_never_goes_beyond_the_end() -> None:
    days = DailyPartitions("2025-01-01", end="2025-01-04", end_offset=5)
    assert len(days.index(datetime(2025, 1, 3, 12, tzinfo=UTC))) == 3
    assert len(days.index(FAR)) == 3


def test_before_the_start_there_is_nothing_unless_end_offset_reaches_it() -> None:
    assert len(DailyPartitions("2030-01-01").index(NOW)) == 0
    soon = DailyPartitions("2025-06-02", end_offset=2)
    assert soon.index(NOW).keys() == ["2025-06-02"]
    assert DailyPartitions("2025-06-02", end_offset=1).index(NOW).keys() == []


def test_the_index_is_kept_until_the_next_window_ends() -> None:
    hours = HourlyPartitions("2016-01-01")
    first = hours.index(NOW)
    assert hours.index(NOW + timedelta(minutes=59)) is first
    assert HourlyPartitions(date(2016, 1, 1)).index(NOW) is first
    later = hours.index(NOW + timedelta(minutes=60))
    assert len(later) == len(first) + 1
    assert hours.index(NOW).keys([0]) == first.keys([0])


def test_the_ways_to_write_a_start_make_equal_definitions() -> None:
    same: list[TimePartitions] = [
        DailyPartitions("2025-01-01", timezone="Europe/Berlin"),
        DailyPartitions(date(2025, 1, 1), timezone="Europe/Berlin"),
        DailyPartitions(datetime(2025, 1, 1), timezone="Europe/Berlin"),  # noqa: DTZ001 - a local time
        DailyPartitions(datetime(2025, 1, 1, tzinfo=BERLIN), timezone="Europe/Berlin"),
        DailyPartitions("2025-01-01T00:00", timezone="Europe/Berlin"),
        DailyPartitions("2025-01-01T00:00+01:00", timezone="Europe/Berlin"),
    ]
    assert len(set(same)) == 1
    assert len({HourlyPartitions("2025-01-01"), HourlyPartitions("2025-01-01T00:00")}) == 1
    assert MonthlyPartitions("2025-01") == MonthlyPartitions("2025-01-01")
    assert WeeklyPartitions("2025-W02") == WeeklyPartitions("2025-01-06")


def test_moving_start_or_end_keeps_space_and_ids() -> None:
    whole = HourlyPartitions("2025-03-01", timezone="Europe/Berlin")
    part = HourlyPartitions("2025-03-30", end="2025-03-31", timezone="Europe/Berlin")
    assert whole.space == part.space
    index, some = whole.index(NOW), part.index(NOW)
    assert index.keys(index.slots_of_ids(some.ids)) == some.keys()


@pytest.mark.parametrize(
    ("definition", "space", "kind", "text"),
    [
        (HourlyPartitions("2025-01-01", timezone="Asia/Kolkata"), "hour|Asia/Kolkata", "hour", "hourly from 2025-01-01 (Asia/Kolkata)"),
        (DailyPartitions("2025-01-01", offset=timedelta(hours=6)), "day|UTC|+06:00", "day", "daily at 06:00 from 2025-01-01 (UTC)"),
        (WeeklyPartitions("2025-01-05", starts_on="sunday"), "week|UTC|sunday|+00:00", "week", "weekly (sunday to saturday) from 2025-01-05 (UTC)"),
        (MonthlyPartitions("2025-01", end="2026-01"), "month|UTC|+00:00", "month", "monthly from 2025-01 to 2026-01 (UTC)"),
        (MonthlyPartitions("2025-01", offset=timedelta(days=14)), "month|UTC|+336:00", "month", "monthly at day 15, 00:00 from 2025-01 (UTC)"),
        (CronPartitions("15  2 * * mon", "2025-01-01"), "cron|UTC|15 2 * * MON", "cron", 'cron "15 2 * * MON" from 2025-01-01 (UTC)'),
    ],
)  # fmt: skip
def test_definitions_describe_themselves(
    definition: TimePartitions, space: str, kind: str, text: str
) -> None:
    assert definition.space == space
    assert definition.kind is PartitionKind(kind)
    assert definition.describe() == text
    assert dict(definition.dictionary_keys()) == {}
    copy = pickle.loads(pickle.dumps(definition))  # noqa: S301 - our own bytes
    assert copy == definition
    assert copy.index(NOW).keys() == definition.index(NOW).keys()
    assert eval(repr(definition).replace("datetime.", "")) == definition  # noqa: S307 - our own repr


def test_a_day_that_starts_at_six_is_named_by_its_date() -> None:
    days = DailyPartitions("2025-01-01", timezone="Europe/Berlin", offset=timedelta(hours=6))
    index = days.index(datetime(2025, 1, 3, 5, tzinfo=UTC))
    assert index.keys() == ["2025-01-01", "2025-01-02"]
    window = index.window(0)
    assert window is not None
    assert str(window) == "2025-01-01T06:00:00+01:00 to 2025-01-02T06:00:00+01:00"
    assert (
        DailyPartitions("2025-01-01T06:00", timezone="Europe/Berlin", offset=timedelta(hours=6))
        == days
    )


def test_a_zone_that_skipped_a_day_has_no_partition_for_it() -> None:
    days = DailyPartitions("2011-12-28", end="2012-01-02", timezone="Pacific/Apia")
    assert days.index(NOW).keys() == ["2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01"]
    with pytest.raises(UnknownPartitionError, match="no window is called so") as caught:
        days.index(NOW).slot("2011-12-30")
    assert "2011-12-31" in (caught.value.hint or "")


def test_cron_partitions_are_the_ticks_from_start_to_before_end() -> None:
    nightly = CronPartitions(
        "15 2 * * *", "2025-01-01", end="2025-02-01", timezone="Europe/Berlin"
    )
    index = nightly.index(NOW)
    assert len(index) == 31
    assert (index.key(0), index.key(30)) == ("2025-01-01T02:15", "2025-01-31T02:15")
    window = index.window(30)
    assert window is not None
    assert window.end == datetime(2025, 2, 1, 2, 15, tzinfo=BERLIN)


def test_rare_cron_ticks_are_found_however_far_apart_they_are() -> None:
    leap = CronPartitions("0 0 29 2 *", "2000-01-01", end_offset=1)
    keys = leap.index(datetime(2025, 6, 1, tzinfo=UTC)).keys()
    assert keys[0] == "2000-02-29T00:00"
    assert keys[-2:] == ["2020-02-29T00:00", "2024-02-29T00:00"]
    assert len(leap.index(datetime(2103, 6, 1, tzinfo=UTC))) == 25  # 2100 is no leap year


@pytest.mark.parametrize("end_offset", [-2, 0, 3])
def test_long_after_the_end_an_index_is_what_it_was_and_costs_no_more(end_offset: int) -> None:
    minutes = CronPartitions("* * * * *", "2025-01-01", end="2025-01-02", end_offset=end_offset)
    soon = minutes.index(datetime(2025, 1, 2, 0, 10, tzinfo=UTC))
    assert len(soon) == 1440
    assert minutes.index(datetime(9000, 1, 1, tzinfo=UTC)).keys() == soon.keys()
    yearly = CronPartitions("0 0 1 1 *", "2025-01-01", end="2027-01-01", end_offset=end_offset)
    assert len(yearly.index(datetime(9000, 1, 1, tzinfo=UTC))) == 2
    assert len(yearly.index(datetime(2027, 6, 1, tzinfo=UTC))) == 2 + min(end_offset, 0)


def bad(make: Any, *args: Any, **options: Any) -> PartitionDefinitionError:
    with pytest.raises(PartitionDefinitionError) as caught:
        make(*args, **options)
    return caught.value


@pytest.mark.parametrize("make", [HourlyPartitions, DailyPartitions])
def test_a_start_that_is_not_before_the_end_is_refused(make: Any) -> None:
    assert (
        "start 2025-01-02 is not before end 2025-01-02"
        in bad(make, "2025-01-02", end="2025-01-02").message
    )


def test_an_unknown_zone_is_refused_with_the_nearest() -> None:
    error = bad(DailyPartitions, "2025-01-01", timezone="Europe/Berlinn")
    assert (error.hint or "").startswith("did you mean Europe/Berlin")


def test_a_local_time_that_happens_twice_is_refused_and_the_offset_says_which() -> None:
    error = bad(HourlyPartitions, "2025-10-26T02:00", timezone="Europe/Berlin")
    assert "happens twice" in error.message
    assert "2025-10-26T02:00+02:00 and 2025-10-26T02:00+01:00" in (error.hint or "")
    for text, first in (("+02:00", "2025-10-26T02:00"), ("+01:00", "2025-10-26T02:00+01:00")):
        hours = HourlyPartitions(
            f"2025-10-26T02:00{text}", end="2025-10-27", timezone="Europe/Berlin"
        )
        assert hours.index(FAR).key(0) == first


@pytest.mark.parametrize(
    "make", [HourlyPartitions, lambda start, **zone: CronPartitions("0 * * * *", start, **zone)]
)
def test_a_local_time_that_never_happens_is_refused(make: Any) -> None:
    error = bad(make, "2025-03-30T02:00", timezone="Europe/Berlin")
    assert "does not exist in Europe/Berlin" in error.message
    assert error.hint == "the next local time that exists is 2025-03-30T03:00"


@pytest.mark.parametrize(
    ("definition", "key", "hint"),
    [
        (
            DailyPartitions("2011-12-01", end="2012-02-01", timezone="Pacific/Apia"),
            "2011-12-30",
            "did you mean 2011-12-29 or 2011-12-31?",
        ),
        (
            HourlyPartitions("2025-03-30", end="2025-03-31", timezone="Europe/Berlin"),
            "2025-03-30T02:00",
            "did you mean 2025-03-30T01:00 or 2025-03-30T03:00?",
        ),
        (
            HourlyPartitions("2024-10-27", end="2024-10-28", timezone="Europe/Berlin"),
            "2024-10-27T02:00+02:00",
            "did you mean 2024-10-27T02:00 or 2024-10-27T02:00+01:00?",
        ),
        (
            WeeklyPartitions("2024-12-01", end="2025-02-02", starts_on="sunday"),
            "2025-01-08",
            "did you mean 2025-01-05 or 2025-01-12?",
        ),
    ],
)
def test_a_key_that_no_window_has_names_those_around_it(
    definition: Any, key: str, hint: str
) -> None:
    with pytest.raises(UnknownPartitionError) as caught:
        definition.index(FAR).slot(key)
    assert caught.value.hint == hint


def test_a_skipped_day_can_not_be_a_start() -> None:
    assert (
        "skipped that day" in bad(DailyPartitions, "2011-12-30", timezone="Pacific/Apia").message
    )


def test_a_day_without_midnight_can_be_a_start() -> None:
    for make in (DailyPartitions, HourlyPartitions):
        index = make("2018-11-04", timezone="America/Sao_Paulo").index(NOW)
        window = index.window(0)
        assert window is not None
        assert window.start.hour == 1


@pytest.mark.parametrize(
    ("make", "start", "options", "near"),
    [
        (HourlyPartitions, "2025-01-01T05:30", {}, "2025-01-01T05:00"),
        (
            HourlyPartitions,
            "2025-10-05T02:30",
            {"timezone": "Australia/Lord_Howe"},
            "2025-10-05T03:00",
        ),
        (DailyPartitions, "2025-01-01T05:00", {}, "2025-01-02"),
        (WeeklyPartitions, "2025-01-01", {}, "2025-W01 (starts 2024-12-30T00:00)"),
        (WeeklyPartitions, "2025-01-06", {"starts_on": "sunday"}, "2025-01-05"),
        (MonthlyPartitions, "2025-01-15", {}, "2025-02"),
    ],
)
def test_a_start_inside_of_a_window_is_refused_with_its_neighbours(
    make: Any, start: str, options: dict[str, str], near: str
) -> None:
    error = bad(make, start, **options)
    assert "is not where one of" in error.message
    assert near in (error.hint or "")


def test_naive_and_aware_can_not_be_mixed_and_a_foreign_offset_is_refused() -> None:
    foreign = bad(DailyPartitions, datetime(2025, 1, 1, tzinfo=UTC), timezone="America/New_York")
    assert "has the UTC offset +00:00, but America/New_York is at -05:00 then" in foreign.message
    assert "2024-12-31T19:00" in (foreign.hint or "")
    aware = datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    mixed = bad(DailyPartitions, aware, end="2026-01-01", timezone="Europe/Berlin")
    assert "has a UTC offset, the other has not" in mixed.message


@pytest.mark.parametrize(
    "start",
    ["yesterday", "2025-02-30", "2025-1-1", "", "0025-01-01", "2500-01-01", 20250101, None],
)
def test_a_start_that_is_no_date_is_refused(start: Any) -> None:
    assert "start" in bad(DailyPartitions, start).message


def test_seconds_are_refused() -> None:
    assert "whole minute" in bad(CronPartitions, "* * * * *", "2025-01-01T00:00:30").message


@pytest.mark.parametrize(
    "offset", [timedelta(hours=24), timedelta(hours=-1), timedelta(seconds=30), 6, "06:00"]
)
def test_a_bad_offset_is_refused(offset: Any) -> None:
    assert "offset=" in bad(DailyPartitions, "2025-01-01", offset=offset).message


@pytest.mark.parametrize("end_offset", [True, 1.5, "1", None])
def test_an_end_offset_that_is_no_number_of_windows_is_refused(end_offset: Any) -> None:
    assert "end_offset" in bad(DailyPartitions, "2025-01-01", end_offset=end_offset).message


def test_a_weekday_that_is_none_names_the_nearest() -> None:
    error = bad(WeeklyPartitions, "2025-01-06", starts_on="mondy")
    assert error.hint == "did you mean monday?"
    assert WeeklyPartitions("2025-01-06", starts_on="Monday").starts_on == "monday"  # type: ignore[arg-type]


def test_a_bad_cron_expression_is_refused_when_the_definition_is_made() -> None:
    assert "'25' can't be the hour" in bad(CronPartitions, "0 25 * * *", "2025-01-01").message


def test_more_than_ten_million_partitions_are_refused() -> None:
    cron = CronPartitions("* * * * *", "2000-01-01")
    with pytest.raises(PartitionDefinitionError, match="at most 10,000,000"):
        cron.index(NOW)
    assert (
        "at most 10,000,000"
        in bad(CronPartitions, "* * * * *", "2000-01-01", end="2025-01-01").message
    )
    assert len(CronPartitions("* * * * *", "2025-01-01").index(NOW)) == 151 * 1440 + 720
    hours = HourlyPartitions("1600-01-01")
    with pytest.raises(PartitionDefinitionError, match="at most"):
        hours.index(datetime(2900, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("definition", "key", "message", "hint"),
    [
        (DailyPartitions("2025-01-01"), "2025-1-1", "is not a key of", "daily keys look like 2025-01-31"),
        (DailyPartitions("2025-01-01"), "2025-02-30", "is not a key of", "daily keys look like"),
        (DailyPartitions("2025-01-01"), "2024-12-31", "is before", "the first is 2025-01-01"),
        (DailyPartitions("2025-01-01"), "2025-06-03", "does not exist yet", "it becomes available at 2025-06-04T00:00:00+00:00"),
        (DailyPartitions("2025-01-01", end_offset=1), "2025-06-03", "does not exist yet", "it becomes available at 2025-06-03T00:00:00+00:00"),
        (DailyPartitions("2025-01-01", end="2025-02-01"), "2025-02-01", "is after", "the last is 2025-01-31"),
        (DailyPartitions("2030-01-01"), "2030-01-02", "does not exist yet", "2030-01-03T00:00:00+00:00"),
        (HourlyPartitions("2025-01-01"), "2025-01-01", "is not a key of", "hourly keys look like 2025-01-31T05:00"),
        (HourlyPartitions("2025-01-01"), "2025-01-01T05:30", "no window is called so", "2025-01-01T05:00 or 2025-01-01T06:00"),
        (HourlyPartitions("2025-01-01", timezone="Europe/Berlin"), "2025-03-30T02:00", "no window is called so", "2025-03-30T03:00"),
        (HourlyPartitions("2024-01-01", timezone="Europe/Berlin"), "2024-10-27T02:00+02:00", "no window is called so", "2024-10-27T02:00"),
        (HourlyPartitions("2024-01-01", timezone="Europe/Berlin"), "2024-12-01T02:00+01:00", "no window is called so", "2024-12-01T02:00"),
        (WeeklyPartitions("2025-01-06"), "2025-W54", "is not a key of", "2025-W05"),
        (WeeklyPartitions("2025-01-05", starts_on="sunday"), "2025-W05", "is not a key of", "weekly keys look like 2025-01-26"),
        (WeeklyPartitions("2025-01-05", starts_on="sunday"), "2025-01-07", "no window is called so", "2025-01-05"),
        (MonthlyPartitions("2025-01"), "2025-13", "is not a key of", "2025-01"),
        (MonthlyPartitions("2025-01"), "2025-06", "does not exist yet", "2025-07-01"),
        (CronPartitions("15 2 * * *", "2025-01-01"), "2025-01-31T02:00", "no window is called so", "2025-01-31T02:15"),
        (CronPartitions("0 0 29 2 *", "2020-01-01"), "2028-02-29T00:00", "does not exist yet", "2032-02-29"),
    ],
)  # fmt: skip
def test_an_unknown_key_says_why(
    definition: TimePartitions, key: str, message: str, hint: str
) -> None:
    with pytest.raises(UnknownPartitionError, match=message) as caught:
        definition.index(NOW).slot(key)
    assert hint in (caught.value.hint or "")
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert (copy.message, copy.hint) == (caught.value.message, caught.value.hint)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "9999-12-31T23:59",
        "0001-01-01T00:00",
        "٢٠٢٥-01-01T05:00",
        "2025-01-01T24:00",
        "2025-01-01T05:00\n",
    ],
)
def test_odd_keys_are_unknown_and_nothing_worse(key: str) -> None:
    for definition in (HourlyPartitions("2025-01-01"), CronPartitions("0 5 * * *", "2025-01-01")):
        with pytest.raises(UnknownPartitionError):
            definition.index(NOW).slot(key)


@pytest.mark.parametrize(
    "key",
    [
        "9999-12-31",
        "0001-01-01",
        "9999-12",
        "0001-01",
        "0000-01",
        "9999-W52",
        "0001-W01",
        "0000-W01",
    ],
)
def test_keys_at_the_ends_of_the_calendar_are_unknown_and_nothing_worse(key: str) -> None:
    for definition in (
        DailyPartitions("2025-01-01", timezone="Pacific/Auckland"),
        WeeklyPartitions("2025-01-06", timezone="America/New_York"),
        MonthlyPartitions("2025-01", timezone="Pacific/Auckland"),
    ):
        with pytest.raises(UnknownPartitionError):
            definition.index(NOW).slot(key)


def test_ids_that_are_not_there_have_slot_minus_one() -> None:
    days = DailyPartitions("2011-12-28", end="2012-01-02", timezone="Pacific/Apia").index(NOW)
    assert days.slots_of_ids(days.ids).tolist() == [0, 1, 2, 3]
    assert days.slots_of_ids(np.array([15336, 15337, 15338, 15339])).tolist() == [0, 1, -1, 2]
    hours = HourlyPartitions("1970-01-02", end="1970-01-03").index(NOW)
    assert hours.slots_of_ids(np.array([23, 24, 47, 48])).tolist() == [-1, 0, 23, -1]
    assert DailyPartitions("2030-01-01").index(NOW).slots_of_ids(np.array([1])).tolist() == [-1]


def test_a_window_is_half_open_and_knows_real_time() -> None:
    night = TimeWindow(
        datetime(2025, 10, 26, 2, tzinfo=BERLIN), datetime(2025, 10, 26, 2, fold=1, tzinfo=BERLIN)
    )
    assert night.duration == timedelta(hours=1)
    assert night.start in night
    assert night.end not in night
    assert night == TimeWindow(
        datetime(2025, 10, 26, 0, tzinfo=UTC), datetime(2025, 10, 26, 1, tzinfo=UTC)
    )
    assert len({night, TimeWindow(night.start, night.end)}) == 1
    other = TimeWindow(night.end, datetime(2025, 10, 26, 3, tzinfo=BERLIN))
    assert night != other
    assert night != "night"


def test_a_naive_or_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        TimeWindow(datetime(2025, 1, 1), NOW)  # noqa: DTZ001 - that is what is refused
    with pytest.raises(ValueError, match="ends after it starts"):
        TimeWindow(NOW, NOW)


def test_errors_can_be_imported_without_numpy_and_definitions_without_pendulum() -> None:
    script = (
        "import sys; from partitions.errors import PartitaError; assert 'numpy' not in sys.modules;"
        "from partitions import DailyPartitions; assert 'pendulum' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
