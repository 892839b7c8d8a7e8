"""What a typed range selects, in the definition's own zone, and what a range that can't be meant is answered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from partitions.definitions import SINGLE, DynamicPartitions, StaticPartitions
from partitions.errors import RangeSyntaxError, UnknownPartitionError
from partitions.multi import MultiPartitions
from partitions.ranges import parse_from_to, parse_range
from partitions.time_windows import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    WeeklyPartitions,
)

# 2025-03-31T14:30 in Berlin, the day after summer time began.
NOW = datetime(2025, 3, 31, 12, 30, tzinfo=UTC)
BERLIN = "Europe/Berlin"
KEY_IDS = {"dynamic|files": {"a.csv": 1, "b.csv": 2, "c.txt": 3}}
DAYS = DailyPartitions("2024-01-01", timezone=BERLIN).index(NOW)
HOURS = HourlyPartitions("2024-01-01", timezone=BERLIN).index(NOW)
WEEKS = WeeklyPartitions("2024-01-01", timezone=BERLIN).index(NOW)
MONTHS = MonthlyPartitions("2024-01-01", timezone=BERLIN).index(NOW)
CRON = CronPartitions("15 2 * * *", "2024-01-01", timezone=BERLIN).index(NOW)
REGIONS = StaticPartitions(["eu", "eu-west", "us", "a, b", "x...y", 'say "hi"', "latest"])
STATIC = REGIONS.index(NOW)
FILES = DynamicPartitions("files").index(NOW, KEY_IDS)
MULTI = MultiPartitions(
    {
        "day": DailyPartitions("2025-01-01", timezone=BERLIN),
        "region": StaticPartitions(["eu", "us", "a, b"]),
    }
).index(NOW)
LANES = MultiPartitions({"region": REGIONS, "file": DynamicPartitions("files")}).index(
    NOW, KEY_IDS
)


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("2025-01-31", "2025-01-31 (1)"),
        ("  2025-01-31  ", "2025-01-31 (1)"),
        ("2025-02", "2025-02-01...2025-02-28 (28)"),
        ("2024", "2024-01-01...2024-12-31 (366)"),
        ("2025-W05", "2025-01-27...2025-02-02 (7)"),
        ("2025-01-30...2025-02-02", "2025-01-30...2025-02-02 (4)"),
        ("2025-01-30 ... 2025-02-02", "2025-01-30...2025-02-02 (4)"),
        ("2025-01-30..<2025-02-02", "2025-01-30...2025-02-01 (3)"),
        ("2025-01...2025-02", "2025-01-01...2025-02-28 (59)"),
        ("2025-01..<2025-02", "2025-01-01...2025-01-31 (31)"),
        ("2025-03-28...", "2025-03-28...2025-03-30 (3)"),
        ("...2024-01-03", "2024-01-01...2024-01-03 (3)"),
        ("..<2024-01-03", "2024-01-01...2024-01-02 (2)"),
        ("2020...2024-01-02", "2024-01-01...2024-01-02 (2)"),
        ("latest", "2025-03-30 (1)"),
        ("latest:2", "2025-03-29...2025-03-30 (2)"),
        ("latest:100000", "2024-01-01...2025-03-30 (455)"),
        ("2025-03-29...latest", "2025-03-29...2025-03-30 (2)"),
        ("yesterday", "2025-03-30 (1)"),
        ("-7d...today", "2025-03-24...2025-03-30 (7)"),
        ("-2w...yesterday", "2025-03-17...2025-03-30 (14)"),
        ("-1mo", "2025-02-28 (1)"),
        ("-1y", "2024-03-31 (1)"),
        ("-30h...now", "2025-03-30 (1)"),
        ("*", "2024-01-01...2025-03-30 (455)"),
        ("2025-01-01, 2025-01-03,2025-02-27...2025-03-01", "2025-01-01, 2025-01-03, 2025-02-27...2025-03-01 (5)"),
        ("2025-01-01, 2025-01-03 (2)", "2025-01-01, 2025-01-03 (2)"),
        ("2025-01-31T05", "2025-01-31 (1)"),
        ("2025-01-31T05:30", "2025-01-31 (1)"),
        ("2025-01-31T23:30Z", "2025-02-01 (1)"),
    ],
)  # fmt: skip
def test_a_range_of_days(text: str, described: str) -> None:
    assert parse_range(text, DAYS, NOW).describe() == described


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("2025-03-30", "2025-03-30T00:00...2025-03-30T23:00 (23)"),
        ("2024-10-27", "2024-10-27T00:00...2024-10-27T23:00 (25)"),
        ("2024-10-27T02", "2024-10-27T02:00...2024-10-27T02:00+01:00 (2)"),
        ("2024-10-27T02:00", "2024-10-27T02:00 (1)"),
        ("2024-10-27T02:00+01:00", "2024-10-27T02:00+01:00 (1)"),
        ("2024-10-27T02:30+01:00", "2024-10-27T02:00+01:00 (1)"),
        ("2024-10-27T02:00...2024-10-27T03:00", "2024-10-27T02:00...2024-10-27T03:00 (3)"),
        ("2025-01-31T05:59", "2025-01-31T05:00 (1)"),
        ("2025-01-31T05...2025-01-31T07", "2025-01-31T05:00...2025-01-31T07:00 (3)"),
        ("today", "2025-03-31T00:00...2025-03-31T13:00 (14)"),
        ("-3h...now", "2025-03-31T11:00...2025-03-31T13:00 (3)"),
        ("-1d", "2025-03-30T00:00...2025-03-30T23:00 (23)"),
        ("latest:3", "2025-03-31T11:00...2025-03-31T13:00 (3)"),
    ],
)
def test_a_range_of_hours_on_the_clock_of_berlin(text: str, described: str) -> None:
    assert parse_range(text, HOURS, NOW).describe() == described


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("2025-01", "2025-01 (1)"),
        ("2024", "2024-01...2024-12 (12)"),
        ("2025-01-15", "2025-01 (1)"),
        ("2024-11-15...2025-02-02", "2024-11...2025-02 (4)"),
        ("2024-11-15..<2025-02-02", "2024-11...2025-01 (3)"),
        ("-1mo", "2025-02 (1)"),
    ],
)
def test_a_day_stands_for_the_month_that_it_lies_in(text: str, described: str) -> None:
    assert parse_range(text, MONTHS, NOW).describe() == described


def test_weeks_belong_to_the_period_that_they_start_in() -> None:
    assert parse_range("2025-W05", WEEKS, NOW).describe() == "2025-W05 (1)"
    assert parse_range("2025-01", WEEKS, NOW).describe() == "2025-W02...2025-W05 (4)"
    assert parse_range("2025-02", WEEKS, NOW).describe() == "2025-W06...2025-W09 (4)"
    assert parse_range("2025-W05...2025-02-14", WEEKS, NOW).describe() == "2025-W05...2025-W07 (3)"


def test_weeks_that_start_on_another_day_are_found_by_it_and_by_days_within() -> None:
    weeks = WeeklyPartitions("2025-01-01", timezone=BERLIN, starts_on="wednesday").index(NOW)
    assert parse_range("2025-01-29", weeks, NOW).describe() == "2025-01-29 (1)"
    assert parse_range("2025-01-31", weeks, NOW).describe() == "2025-01-29 (1)"


def test_a_day_that_starts_at_six_is_still_the_day_of_its_date() -> None:
    days = DailyPartitions("2025-01-01", timezone=BERLIN, offset=timedelta(hours=6)).index(NOW)
    described = parse_range("2025-02", days, NOW).describe()
    assert described == "2025-02-01...2025-02-28 (28)"


def test_cron_ticks_are_found_by_key_and_by_period() -> None:
    assert parse_range("2025-01-31T02:15", CRON, NOW).describe() == "2025-01-31T02:15 (1)"
    assert parse_range("2025-01-31", CRON, NOW).describe() == "2025-01-31T02:15 (1)"
    assert len(parse_range("2025-01", CRON, NOW)) == 31


def test_relative_days_are_those_of_the_definitions_zone() -> None:
    now = datetime(2025, 3, 30, 23, 30, tzinfo=UTC)  # already the 31st in Berlin
    berlin = DailyPartitions("2025-03-01", timezone=BERLIN).index(now)
    utc = DailyPartitions("2025-03-01").index(now)
    assert parse_range("yesterday", berlin, now).describe() == "2025-03-30 (1)"
    assert parse_range("yesterday", utc, now).describe() == "2025-03-29 (1)"


def test_a_month_ago_is_the_last_day_of_a_shorter_month() -> None:
    now = datetime(2024, 3, 31, 12, tzinfo=UTC)
    days = DailyPartitions("2024-01-01").index(now)
    assert parse_range("-1mo", days, now).describe() == "2024-02-29 (1)"


def test_a_skipped_day_selects_nothing_and_is_a_fine_edge() -> None:
    apia = DailyPartitions("2011-12-01", end="2012-02-01", timezone="Pacific/Apia").index(NOW)
    assert parse_range("2011-12-29...2011-12-31", apia, NOW).describe() == (
        "2011-12-29...2011-12-31 (2)"
    )
    assert len(parse_range("2011-12-28...2011-12-30", apia, NOW)) == 2
    assert parse_range("2011-12-30...2011-12-31", apia, NOW).describe() == "2011-12-31 (1)"
    with pytest.raises(UnknownPartitionError, match="2011-12-30"):
        parse_range("2011-12-30", apia, NOW)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("eu", ["eu"]),
        ("us, eu", ["eu", "us"]),
        ("eu*", ["eu", "eu-west"]),
        ("?s", ["us"]),
        ("[e-u]*", ["eu", "eu-west", "us", 'say "hi"', "latest"]),
        ("*", REGIONS.keys),
        ("a, b", ["a, b"]),
        ('"a, b", us', ["us", "a, b"]),
        ("x...y", ["x...y"]),
        ('say "hi"', ['say "hi"']),
        ('"say \\"hi\\"",eu', ["eu", 'say "hi"']),
        ("latest", ["latest"]),
        ("latest:2", ['say "hi"', "latest"]),
    ],
)
def test_keys_and_globs_of_a_static_definition(text: str, keys: list[str]) -> None:
    assert list(parse_range(text, STATIC, NOW)) == list(keys)


def test_the_latest_dynamic_key_is_the_one_that_came_last() -> None:
    assert list(parse_range("latest", FILES, NOW)) == ["c.txt"]
    assert list(parse_range("*.csv", FILES, NOW)) == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("2025-01-31|eu", "2025-01-31|eu (1)"),
        ("2025-01|eu", "2025-01-01...2025-01-31|eu (31)"),
        ("2025-01-30...2025-02-01|*", "2025-01-30...2025-02-01|* (9)"),
        ("latest:2|u*", "2025-03-29...2025-03-30|us (2)"),
        ("*|us", "2025-01-01...2025-03-30|us (89)"),
        ("*", "2025-01-01...2025-03-30|* (267)"),
        ("2025-01-31", "2025-01-31|* (3)"),
        ("latest:2", "2025-03-29...2025-03-30|* (6)"),
        ("2025-01-31|eu, 2025-02-01|us", "2025-01-31|eu, 2025-02-01|us (2)"),
        ('2025-01-31 | "a, b", yesterday|us', '2025-03-30|us, 2025-01-31|"a, b" (2)'),
    ],
)
def test_a_range_of_a_product(text: str, described: str) -> None:
    assert parse_range(text, MULTI, NOW).describe() == described


def test_a_range_of_a_product_without_time() -> None:
    assert list(parse_range("eu*|*.csv", LANES, NOW)) == [
        "eu|a.csv",
        "eu|b.csv",
        "eu-west|a.csv",
        "eu-west|b.csv",
    ]
    with pytest.raises(RangeSyntaxError, match=r"region\|file"):
        parse_range("eu", LANES, NOW)


@pytest.mark.parametrize("text", ["", "*", "unpartitioned", "unpartitioned (1)"])
def test_an_unpartitioned_asset_has_one_range(text: str) -> None:
    assert len(parse_range(text, SINGLE.index(NOW), NOW)) == 1


def test_an_unpartitioned_asset_has_no_days() -> None:
    with pytest.raises(UnknownPartitionError, match="not partitioned"):
        parse_range("2025-01-31", SINGLE.index(NOW), NOW)


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("", "the range is empty", "type a key"),
        ("2025-1-31", "can't read '2025-1-31'", "type a key"),
        ("2025-02-30", "not in the calendar: day is out of range", "type a date"),
        ("2025-13", "not in the calendar: month must be in 1..12", "type a date"),
        ("2025-W54", "not in the calendar: Invalid week: 54", "type a date"),
        ("2025-01-31T25", "not in the calendar: hour must be in 0..23", "type a date"),
        ("0001", "the year must be from 1000 to 9899", "type 2025-01-31"),
        ("-3m...today", "'m' is no unit of time; the units are h, d, w, mo, y", "type -3mo"),
        ("-9999999y", "leaves the calendar", "type -7d...today"),
        ("-9999999h", "leaves the calendar", "type -7d...today"),
        ("+9999999w", "leaves the calendar", "type -7d...today"),
        ("2025-02-01...2025-01-01", "runs backwards", "type 2025-01-01...2025-02-01"),
        ("2025-02..<2025-01", "runs backwards", "type 2025-01..<2025-02"),
        ("today...-7d", "runs backwards", "type -7d...today"),
        ("2025-01-01..<2025-01-01", "ends where it begins", "type 2025-01-01 for that one alone"),
        ("...", "has no end", "type \\*"),
        ("2025-01-01..<", "has no end", "type \\*"),
        ("2025-01-01...2025-01-02...2025-01-03", "more than one range sign", "type a key"),
        ("2025-01-01,,2025-01-02", "nothing between commas", "remove a comma"),
        ("2025-01-01,", "nothing between commas", "remove a comma"),
        ("latest:0", "needs a number from 1 on", "type latest:7"),
        ("latest:x", "needs a number from 1 on", "type latest:7"),
        (f"latest:{'9' * 5000}", "needs a number from 1 on", "type latest:7"),
        ("2025-01-01...2025-01-05 (4)", "says \\(4\\) and selects 5", "leave the number out"),
        ("2025-01-01 … and 3 more runs (7)", "shortened for display", "complete range"),
        ('"2025-01-01', "a quote is not closed", "end the key"),
        ('"a" b', "something stands behind a quoted key", "separate keys by commas"),
        ("2025-01-*", "can't read", "2025-01"),
    ],
)
def test_a_range_that_can_not_be_read_says_why_and_what_to_type(
    text: str, says: str, hint: str
) -> None:
    with pytest.raises(RangeSyntaxError, match=says) as caught:
        parse_range(text, DAYS, NOW)
    with pytest.raises(RangeSyntaxError, match=hint):
        raise RangeSyntaxError(caught.value.hint or "")


def test_the_part_that_can_not_be_read_is_marked() -> None:
    with pytest.raises(RangeSyntaxError) as caught:
        parse_range("2025-01-01, 2025-01-05...2025-1-7", DAYS, NOW)
    assert caught.value.message.splitlines() == [
        "can't read '2025-1-7'",
        "  2025-01-01, 2025-01-05...2025-1-7",
        "                           ^^^^^^^^",
    ]


def test_a_static_range_is_refused_because_keys_have_no_order() -> None:
    with pytest.raises(RangeSyntaxError, match="has no order") as caught:
        parse_range("eu...us", STATIC, NOW)
    assert "list the keys" in (caught.value.hint or "")


def test_a_part_of_a_product_that_can_not_be_read_names_the_parts() -> None:
    with pytest.raises(RangeSyntaxError, match="can't read 'eu'") as caught:
        parse_range("eu", MULTI, NOW)
    assert (caught.value.hint or "").startswith("parts are day|region")
    with pytest.raises(RangeSyntaxError, match="one part for each dimension of day"):
        parse_range("2025-01-31|eu|x", MULTI, NOW)


@pytest.mark.parametrize("text", ["2030", "2030-01...", "...2020-01-01", "2020...2021"])
def test_a_range_outside_of_the_definition_names_its_first_and_last_key(text: str) -> None:
    with pytest.raises(UnknownPartitionError, match="2024-01-01 to 2025-03-30"):
        parse_range(text, DAYS, NOW)


def test_an_unknown_key_in_a_list_is_not_passed_over() -> None:
    with pytest.raises(UnknownPartitionError, match="2023-12-31"):
        parse_range("2025-01-01, 2023-12-31", DAYS, NOW)


def test_a_future_day_says_what_the_definition_says_of_it() -> None:
    with pytest.raises(UnknownPartitionError) as from_range:
        parse_range("2025-04-05", DAYS, NOW)
    with pytest.raises(UnknownPartitionError) as from_index:
        DAYS.slot("2025-04-05")
    assert from_range.value.message == from_index.value.message


@pytest.mark.parametrize("text", ["asia", "e", '"eu, us"'])
def test_an_unknown_static_key_is_answered_with_keys(text: str) -> None:
    with pytest.raises(UnknownPartitionError) as caught:
        parse_range(text, STATIC, NOW)
    assert "eu" in (caught.value.hint or "")


def test_a_glob_that_matches_nothing_is_answered_with_keys() -> None:
    with pytest.raises(UnknownPartitionError, match="no key of static") as caught:
        parse_range("zz*", STATIC, NOW)
    assert "eu" in (caught.value.hint or "")


def test_a_quoted_key_of_a_product_is_a_whole_key() -> None:
    with pytest.raises(UnknownPartitionError, match="is not a key of"):
        parse_range('"2025-01-31"', MULTI, NOW)


def test_a_definition_that_has_not_begun_says_so() -> None:
    future = DailyPartitions("2026-01-01").index(NOW)
    with pytest.raises(UnknownPartitionError, match="has no partition yet"):
        parse_range("latest", future, NOW)
    assert not parse_range("latest", future, NOW, allow_empty=True)


def test_an_empty_range_is_allowed_where_it_is_asked_for() -> None:
    assert not parse_range("2030", DAYS, NOW, allow_empty=True)
    assert not parse_range("nothing", DAYS, NOW, allow_empty=True)
    assert len(parse_range("2025-01-01, 2030", DAYS, NOW, allow_empty=True)) == 1
    with pytest.raises(RangeSyntaxError):
        parse_range("2025-1-1", DAYS, NOW, allow_empty=True)
    with pytest.raises(UnknownPartitionError, match="'nothing' selects nothing"):
        parse_range("nothing", DAYS, NOW)


def test_from_and_to_are_both_inclusive_and_may_be_open() -> None:
    assert parse_from_to("2025-01-30", "2025-02", DAYS, NOW).describe() == (
        "2025-01-30...2025-02-28 (30)"
    )
    assert parse_from_to("-2d", None, DAYS, NOW).describe() == "2025-03-29...2025-03-30 (2)"
    assert parse_from_to(None, "2024-01-02", DAYS, NOW).describe() == (
        "2024-01-01...2024-01-02 (2)"
    )
    assert len(parse_from_to(None, None, DAYS, NOW)) == 455
    assert parse_from_to("2025-03-30", None, MULTI, NOW).describe() == "2025-03-30|* (3)"


@pytest.mark.parametrize("edge", ["", "a...b", "2025-01-01,2025-01-02", "*", "2025-01-01|eu"])
def test_an_end_of_a_span_is_a_single_period(edge: str) -> None:
    with pytest.raises(RangeSyntaxError, match="no single key or period"):
        parse_from_to(edge, None, DAYS, NOW)


def test_a_span_of_static_keys_is_refused() -> None:
    with pytest.raises(RangeSyntaxError, match="has no order"):
        parse_from_to("eu", "us", STATIC, NOW)
