"""What a partition set says about itself, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from partitions.definitions import SINGLE, StaticPartitions
from partitions.multi import MultiPartitions
from partitions.ranges import parse_range
from partitions.sets import PartitionSet, quote_key
from partitions.time_windows import CronPartitions, DailyPartitions, HourlyPartitions

NOW = datetime(2025, 3, 1, tzinfo=UTC)
DAYS = DailyPartitions("2025-01-01", end="2025-02-01").index(NOW)
REGIONS = StaticPartitions(["eu", "us", "apac"])
REGION_DAYS = MultiPartitions(
    {"day": DailyPartitions("2025-01-01", end="2025-02-01"), "region": REGIONS}
).index(NOW, {"static": {"eu": 1, "us": 2, "apac": 3}})


def test_everything_is_described_as_one_run_with_its_count() -> None:
    assert PartitionSet.all(DAYS).describe() == "2025-01-01...2025-01-31 (31)"


def test_a_lone_day_and_a_run_are_listed() -> None:
    days = PartitionSet.from_slots(DAYS, [0, 4, 5, 6])
    assert days.describe() == "2025-01-01, 2025-01-05...2025-01-07 (4)"


def test_a_long_description_is_shortened_and_the_expression_is_not() -> None:
    days = PartitionSet.from_slots(DAYS, range(0, 10, 2))
    assert days.describe(max_runs=2) == "2025-01-01, 2025-01-03 … and 3 more runs (5)"
    assert days.expression() == "2025-01-01, 2025-01-03, 2025-01-05, 2025-01-07, 2025-01-09"
    assert days.describe() == (
        "2025-01-01, 2025-01-03, 2025-01-05, 2025-01-07 … and 1 more run (5)"
    )


def test_the_empty_set_is_nothing() -> None:
    nothing = PartitionSet.none(DAYS)
    assert nothing.describe() == "nothing"
    assert nothing.expression() == ""
    assert nothing.to_ids() == []
    assert list(nothing.split(5)) == []
    assert repr(nothing) == "<PartitionSet nothing>"


def test_the_empty_set_has_no_first_partition() -> None:
    with pytest.raises(ValueError, match="empty set has no first"):
        PartitionSet.none(DAYS).first()
    with pytest.raises(ValueError, match="empty set has no first"):
        PartitionSet.none(DAYS).last()


def test_static_keys_are_listed_because_nothing_lies_between_them() -> None:
    regions = REGIONS.index(NOW)
    assert PartitionSet.all(regions).describe() == "eu, us, apac (3)"
    assert PartitionSet.all(regions).describe(max_runs=1) == "eu … and 2 more keys (3)"


def test_the_partition_of_an_unpartitioned_asset_is_called_unpartitioned() -> None:
    assert PartitionSet.all(SINGLE.index(NOW)).describe() == "unpartitioned (1)"
    assert PartitionSet.all(SINGLE.index(NOW)).to_ids() == [[0, 1]]


def test_all_lanes_of_a_product_are_written_as_a_star() -> None:
    assert PartitionSet.all(REGION_DAYS).describe() == "2025-01-01...2025-01-31|* (93)"


def test_lanes_are_written_one_by_one_if_one_of_them_is_called_star() -> None:
    odd = MultiPartitions(
        {"day": DailyPartitions("2025-01-01"), "name": StaticPartitions(["a", "*"])}
    )
    index = odd.index(datetime(2025, 1, 3, tzinfo=UTC))
    everything = PartitionSet.all(index)
    assert everything.describe() == '2025-01-01...2025-01-02|a, 2025-01-01...2025-01-02|"*" (4)'
    assert parse_range(everything.describe(), index, NOW) == everything


def test_lanes_that_differ_are_written_one_by_one() -> None:
    some = PartitionSet.from_keys(
        REGION_DAYS, ["2025-01-01|eu", "2025-01-02|eu", "2025-01-02|apac"]
    )
    assert some.describe() == "2025-01-01...2025-01-02|eu, 2025-01-02|apac (3)"


def test_as_many_runs_in_each_lane_are_not_yet_the_same_runs() -> None:
    some = PartitionSet.from_keys(
        REGION_DAYS, ["2025-01-01|eu", "2025-01-02|us", "2025-01-01|apac"]
    )
    assert some.describe() == "2025-01-01|eu, 2025-01-02|us, 2025-01-01|apac (3)"
    in_one_lane = PartitionSet.from_keys(
        REGION_DAYS, ["2025-01-01|eu", "2025-01-03|eu", "2025-01-05|eu"]
    )
    assert in_one_lane.describe() == "2025-01-01|eu, 2025-01-03|eu, 2025-01-05|eu (3)"


def test_a_piece_never_spans_two_lanes() -> None:
    pieces = [piece.describe() for piece in PartitionSet.all(REGION_DAYS).split(20)]
    assert pieces[:3] == [
        "2025-01-01...2025-01-20|eu (20)",
        "2025-01-21...2025-01-31|eu (11)",
        "2025-01-01...2025-01-20|us (20)",
    ]


def test_a_full_set_of_cron_ticks_is_one_run_of_ids() -> None:
    ticks = CronPartitions("15 2 * * *", "2025-01-01").index(NOW)
    assert len(PartitionSet.all(ticks).to_ids()) == 1


def test_a_decade_of_hours_is_one_run() -> None:
    hours = HourlyPartitions("2015-01-01", timezone="Europe/Berlin").index(NOW)
    everything = PartitionSet.all(hours)
    assert everything.runs.shape == (1, 2)
    assert len(everything) == len(hours) > 87_600
    assert len(everything.to_ids()) == 1


def test_removed_keys_are_dropped_when_ids_are_read() -> None:
    key_ids = {"static": {"eu": 1, "us": 2, "apac": 3}}
    stored = PartitionSet.all(REGIONS.index(NOW, key_ids)).to_ids()
    fewer = StaticPartitions(["apac", "eu"]).index(NOW, key_ids)
    assert list(PartitionSet.from_ids(fewer, stored)) == ["apac", "eu"]
    assert stored == [[1, 4]]


def test_dictionary_ids_with_a_gap_are_two_runs() -> None:
    index = REGIONS.index(NOW, {"static": {"eu": 1, "us": 2, "apac": 9}})
    assert PartitionSet.all(index).to_ids() == [[1, 3], [9, 10]]


def test_sets_over_different_indexes_do_not_combine() -> None:
    other = DailyPartitions("2025-01-02", end="2025-02-01").index(NOW)
    with pytest.raises(ValueError, match="two indexes"):
        PartitionSet.all(DAYS) | PartitionSet.all(other)
    assert PartitionSet.all(DAYS) != PartitionSet.all(other)


@pytest.mark.parametrize("runs", [[[3, 3]], [[5, 3]], [[0, 3], [3, 4]], [[-1, 2]], [[0, 32]]])
def test_runs_in_another_form_are_refused(runs: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="runs must be ascending"):
        PartitionSet(DAYS, np.array(runs))


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a mask of"):
        PartitionSet.from_mask(DAYS, np.ones(30, dtype=np.bool_))


def test_pieces_of_nothing_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        PartitionSet.all(DAYS).split(0)


def test_a_set_can_not_be_changed_through_its_arrays() -> None:
    mine = np.array([[0, 3]])
    days = PartitionSet(DAYS, mine)
    mine[0, 1] = 31
    assert len(days) == 3
    with pytest.raises(ValueError, match="read-only"):
        days.runs[0, 1] = 31


def test_what_is_no_key_is_in_no_set() -> None:
    everything = PartitionSet.all(DAYS)
    assert "2025-01-31" in everything
    assert "2025-02-01" not in everything
    assert "nonsense" not in everything
    assert 0 not in everything
    assert PartitionSet.none(DAYS) != "nothing"


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("eu", "eu"),
        ("a, b", '"a, b"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("c:\\d", '"c:\\\\d"'),
        ("x|y", '"x|y"'),
        ("v1...v2", '"v1...v2"'),
        ("all (3)", '"all (3)"'),
        ("a … and 1 more key", '"a … and 1 more key"'),
        ("2025-01-31T05:00", "2025-01-31T05:00"),
        ("$(rm -rf ~); é 😀", "$(rm -rf ~); é 😀"),
    ],
)
def test_a_key_that_looks_like_grammar_is_quoted(key: str, written: str) -> None:
    assert quote_key(key) == written
