"""Text and sets say the same: what a set writes is read back, periods are prefixes of keys, and nothing typed breaks the reader."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partitions.definitions import SINGLE, DynamicPartitions, StaticPartitions, key_problem
from partitions.errors import PartitaError, RangeSyntaxError, UnknownPartitionError
from partitions.multi import MultiPartitions
from partitions.ranges import parse_range
from partitions.sets import PartitionSet
from partitions.time_windows import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    WeeklyPartitions,
)

if TYPE_CHECKING:
    from partitions.definitions import PartitionIndex

NOW = datetime(2025, 11, 10, 12, 30, tzinfo=UTC)
NASTY = [
    "eu",
    "a,b",
    'q"x',
    "\\",
    '"quoted"',
    "x...y",
    "<*>",
    "[a-z]",
    "latest",
    "?",
    "n (3)",
    "é 😀",
]
KEY_IDS = {"dynamic|files": {key: number for number, key in enumerate([*NASTY, "p|q", "nothing"])}}
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "America/St_Johns",
    "Pacific/Chatham",
]
INDEXES = [
    DailyPartitions("2025-09-01", timezone="Europe/Berlin").index(NOW),
    DailyPartitions("2011-12-20", end="2012-01-10", timezone="Pacific/Apia").index(NOW),
    HourlyPartitions("2025-10-25", end="2025-10-28", timezone="Europe/Berlin").index(NOW),
    HourlyPartitions("2025-04-05", end="2025-04-07", timezone="Australia/Lord_Howe").index(NOW),
    WeeklyPartitions("2024-12-01", starts_on="sunday", timezone="Asia/Kolkata").index(NOW),
    WeeklyPartitions("2024-12-02").index(NOW),
    MonthlyPartitions("2023-01-01").index(NOW),
    CronPartitions("*/20 1,2 * * *", "2025-10-20", timezone="Europe/Berlin").index(NOW),
    StaticPartitions(NASTY).index(NOW),
    DynamicPartitions("files").index(NOW, KEY_IDS),
    MultiPartitions(
        {
            "day": DailyPartitions("2025-11-01", timezone="Europe/Berlin"),
            "region": StaticPartitions(NASTY),
        }
    ).index(NOW),
    MultiPartitions(
        {"region": StaticPartitions(NASTY), "file": StaticPartitions(["a", "b,c"])}
    ).index(NOW),
    SINGLE.index(NOW),
]


@given(st.sampled_from(INDEXES), st.data())
@settings(max_examples=300)
def test_what_a_set_writes_is_read_back(index: PartitionIndex, data: st.DataObject) -> None:
    runs = st.tuples(st.integers(0, len(index) - 1), st.integers(1, 9))
    drawn = data.draw(st.lists(runs, min_size=1, max_size=6))
    slots = {slot for start, size in drawn for slot in range(start, min(len(index), start + size))}
    chosen = PartitionSet.from_slots(index, slots)
    assert parse_range(chosen.expression(), chosen.index, NOW) == chosen
    assert parse_range(chosen.describe(max_runs=10_000), chosen.index, NOW) == chosen


@given(st.lists(st.text(max_size=12), min_size=1, max_size=4, unique_by=str.casefold))
@settings(max_examples=300)
def test_any_static_key_can_be_typed_alone_and_in_a_list(keys: list[str]) -> None:
    good = [key for key in keys if key_problem(key) is None]
    if not good:
        return
    index = StaticPartitions(good).index(NOW)
    assert list(parse_range(good[0], index, NOW)) == [good[0]]
    everything = PartitionSet.all(index)
    assert parse_range(everything.expression(), index, NOW) == everything


def _period_texts(key: str) -> list[str]:
    day, _, clock = key.partition("T")
    texts = [day[:4], day[:7], day]
    return [*texts, f"{day}T{clock[:2]}"] if clock else texts


@given(
    st.sampled_from(ZONES),
    st.sampled_from([DailyPartitions, HourlyPartitions, MonthlyPartitions]),
    st.integers(1990, 2037),
    st.data(),
)
@settings(max_examples=60)
def test_a_period_selects_exactly_the_keys_that_begin_with_it(
    zone: str, cls: type[DailyPartitions], year: int, data: st.DataObject
) -> None:
    index = cls(f"{year}-01-01", end=f"{year + 1}-02-01", timezone=zone).index(
        datetime(2040, 1, 1, tzinfo=UTC)
    )
    keys = index.keys()
    key = data.draw(st.sampled_from(keys))
    for text in _period_texts(key):
        if len(text) <= len(key):
            expected = [other for other in keys if other.startswith(text)]
            assert list(parse_range(text, index, NOW)) == expected


@given(st.sampled_from(INDEXES[:8]), st.data())
@settings(max_examples=200)
def test_a_span_of_two_keys_is_what_lies_between_them(
    index: PartitionIndex, data: st.DataObject
) -> None:
    keys = index.keys()
    slots = st.integers(0, len(keys) - 1)
    first, last = data.draw(slots), data.draw(slots)
    for sign, stop in (("...", last + 1), ("..<", last)):
        text = f"{keys[first]}{sign}{keys[last]}"
        if first < stop:
            assert list(parse_range(text, index, NOW)) == keys[first:stop]
            continue
        with pytest.raises(RangeSyntaxError) as caught:
            parse_range(text, index, NOW)
        # What the hint says to type can be typed.
        hint = (caught.value.hint or "").removeprefix("type ").removesuffix(" for that one alone")
        assert parse_range(hint, index, NOW)


@given(
    st.sampled_from(ZONES),
    st.integers(0, 40),
    st.datetimes(datetime(1990, 1, 3), datetime(2037, 12, 1)),  # noqa: DTZ001 - drawn as UTC below
)
@settings(max_examples=60)
def test_so_many_days_ago_is_the_local_date_so_many_days_ago(
    zone: str, days: int, at: datetime
) -> None:
    now = at.replace(tzinfo=UTC)
    start = (now - timedelta(days=80)).date()
    index = DailyPartitions(start, timezone=zone, end_offset=2).index(now)
    window = index.window(0)
    assert window is not None
    wanted = now.astimezone(window.start.tzinfo).date() - timedelta(days=days)
    assert list(parse_range(f"-{days}d", index, now)) == [wanted.isoformat()]


PIECES = [
    *[
        "...",
        "..<",
        ",",
        "|",
        "*",
        "?",
        "[",
        "]",
        '"',
        "\\",
        " ",
        "(",
        ")",
        "3",
        "-",
        "+",
        ":",
        "\n",
    ],
    *[
        "latest",
        "latest:",
        "now",
        "today",
        "yesterday",
        "-7d",
        "-1mo",
        "+2w",
        "-99999y",
        "nothing",
    ],
    *["2025", "2025-10", "2025-W43", "2025-10-26", "2025-10-26T02", "2025-10-26T02:00", "+01:00"],
    *["9899-12-31", "0000", "2025-02-30", "eu", "x...y", "a,b", "é", "\x00", "٣"],
]


@given(
    st.sampled_from(INDEXES),
    st.lists(st.sampled_from(PIECES), max_size=7).map("".join) | st.text(max_size=20),
    st.booleans(),
)
@settings(max_examples=1500)
def test_whatever_is_typed_is_a_set_or_an_error_with_advice(
    index: PartitionIndex, text: str, allow_empty: bool
) -> None:
    refused: PartitaError | None = None
    try:
        found = parse_range(text, index, NOW, allow_empty=allow_empty)
    except (RangeSyntaxError, UnknownPartitionError) as error:
        refused = error
    if refused is None:
        assert found or allow_empty
    else:
        assert refused.message
        assert refused.hint
