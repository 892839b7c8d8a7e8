from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from partitions.definitions import SINGLE, DynamicPartitions, StaticPartitions
from partitions.errors import PartitionDefinitionError, UnknownPartitionError
from partitions.multi import MultiPartitions
from partitions.time_windows import DailyPartitions, HourlyPartitions

NOW = datetime(2025, 1, 4, tzinfo=UTC)
DAYS = DailyPartitions("2025-01-01", timezone="Europe/Berlin")
REGIONS = StaticPartitions(["eu", "us"])
BOTH = MultiPartitions({"day": DAYS, "region": REGIONS})
KNOWN = {"static": {"eu": 5, "us": 3}}


def test_keys_are_those_of_the_dimensions_in_declared_order() -> None:
    assert BOTH.index(NOW).key(0) == "2025-01-01|eu"
    turned = MultiPartitions({"region": REGIONS, "day": DAYS})
    assert turned.index(NOW).key(0) == "eu|2025-01-01"
    assert turned != BOTH


@pytest.mark.parametrize(
    "other",
    [
        StaticPartitions([f"shop {number}" for number in range(4_000)]),
        HourlyPartitions("2000-01-01", end="2001-01-01"),
    ],
)
def test_a_product_that_is_too_large_whatever_the_time_is_refused_at_once(other: Any) -> None:
    keys = StaticPartitions([str(number) for number in range(4_000)])
    with pytest.raises(PartitionDefinitionError, match="at most 10,000,000 are allowed"):
        MultiPartitions({"key": keys, "other": other})


def test_time_runs_inside_of_each_lane() -> None:
    index = BOTH.index(NOW, KNOWN)
    days = DAYS.index(NOW)
    assert (len(index), index.lane_length) == (6, 3)
    assert index.keys([2, 3]) == ["2025-01-03|eu", "2025-01-01|us"]
    assert index.starts is not None
    assert days.starts is not None
    assert index.starts.tolist() == [*days.starts.tolist()] * 2
    assert index.timezone == "Europe/Berlin"
    assert index.window(4) == days.window(1)
    assert index.dimensions(4) == (("day", "2025-01-02"), ("region", "us"))
    assert index.dimension_slots("day").tolist() == [0, 1, 2, 0, 1, 2]
    assert index.dimension_slots("region").tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(KeyError):
        index.dimension_slots("tier")


def test_ids_pack_lane_and_time_and_outlive_changes_of_both() -> None:
    index = BOTH.index(NOW, KNOWN)
    day_ids = DAYS.index(NOW).ids
    assert index.ids[0] == (5 << 32) + int(day_ids[0]) + 2**31
    later = MultiPartitions(
        {
            "day": DailyPartitions("2025-01-02", timezone="Europe/Berlin"),
            "region": StaticPartitions(["us", "asia", "eu"]),
        }
    ).index(NOW, KNOWN)
    assert later.space == index.space == "multi(day=day|Europe/Berlin|+00:00,region=static)"
    common = later.slots_of_ids(index.ids)
    expected = [later.slot(key) if "01-01" not in key else -1 for key in index.keys(None)]
    assert common.tolist() == expected


def test_a_lane_without_an_id_has_provisional_ids_that_no_store_holds() -> None:
    index = BOTH.index(NOW, {"static": {"us": 3}})
    assert np.all(index.ids[:3] < 0)
    assert np.all(index.ids[3:] > 0)
    assert index.slots_of_ids(index.ids).tolist() == [0, 1, 2, 3, 4, 5]
    assert BOTH.index(NOW, KNOWN).slots_of_ids(index.ids[:3]).tolist() == [-1, -1, -1]


def test_every_key_leads_back_to_its_slot_in_products_of_three() -> None:
    cube = MultiPartitions(
        {
            "region": REGIONS,
            "hour": HourlyPartitions("2025-01-03"),
            "tier": StaticPartitions(["a", "b", "c"]),
        }
    )
    index = cube.index(NOW)
    assert len(index) == 2 * 24 * 3
    assert list(map(index.slot, index.keys())) == list(range(len(index)))
    assert index.keys([24]) == ["eu|2025-01-03T00:00|b"]
    assert dict(cube.dictionary_keys()) == {
        "lanes(region=static,tier=static)": ("eu|a", "eu|b", "eu|c", "us|a", "us|b", "us|c")
    }


def test_a_product_without_time_has_lane_ids_and_lanes_of_one() -> None:
    table = MultiPartitions({"region": REGIONS, "tier": StaticPartitions(["a", "b"])})
    ids = {"lanes(region=static,tier=static)": {"us|a": 9}}
    index = table.index(NOW, ids)
    assert index.ids.tolist() == [-1, -2, 9, -4]
    assert index.starts is None
    assert index.lane_length == 1
    assert index.window(0) is None
    assert index.slots_of_ids(np.array([9, 8])).tolist() == [2, -1]


def test_dynamic_keys_are_lanes_by_their_own_ids() -> None:
    customers = MultiPartitions({"day": DAYS, "customer": DynamicPartitions("customers")})
    assert dict(customers.dictionary_keys()) == {}
    assert len(customers.index(NOW)) == 0
    assert customers.index(NOW).slots_of_ids(np.array([1])).tolist() == [-1]
    index = customers.index(NOW, {"dynamic|customers": {"acme": 4}})
    assert index.keys() == ["2025-01-01|acme", "2025-01-02|acme", "2025-01-03|acme"]
    assert index.ids[0] >> 32 == 4


def test_combinations_with_dynamic_keys_are_listed_once_these_are_known() -> None:
    table = MultiPartitions({"customer": DynamicPartitions("customers"), "region": REGIONS})
    space = "lanes(customer=dynamic|customers,region=static)"
    assert dict(table.dictionary_keys()) == {space: ()}
    known = {"dynamic|customers": {"acme": 4}}
    assert dict(table.dictionary_keys(known)) == {space: ("acme|eu", "acme|us")}


def test_a_separator_inside_of_a_key_is_refused() -> None:
    with pytest.raises(PartitionDefinitionError, match=r"'e\|u' of dimension region"):
        MultiPartitions({"day": DAYS, "region": StaticPartitions(["e|u"])})
    customers = MultiPartitions({"day": DAYS, "customer": DynamicPartitions("customers")})
    with pytest.raises(PartitionDefinitionError, match="separates dimensions"):
        customers.index(NOW, {"dynamic|customers": {"a|b": 1}})


@pytest.mark.parametrize(
    ("dimensions", "message"),
    [
        ({"day": DAYS}, "two dimensions or more"),
        ({}, "two dimensions or more"),
        (
            {"day": DAYS, "hour": HourlyPartitions("2025-01-01")},
            "one time dimension, got day and hour",
        ),
        ({"day": DAYS, "x": BOTH}, "dimension x can't be"),
        ({"day": DAYS, "x": SINGLE}, "dimension x can't be unpartitioned"),
        ({"day": DAYS, "a b": REGIONS}, "'a b' can't name a dimension"),
        ({"day": DAYS, "": REGIONS}, "can't name a dimension"),
        ({"day": DAYS, "x": ["eu"]}, "not a partition definition"),
    ],
)
def test_a_product_that_can_not_be_is_refused(dimensions: Any, message: str) -> None:
    with pytest.raises(PartitionDefinitionError, match=message):
        MultiPartitions(dimensions)


def test_more_than_ten_million_combinations_are_refused() -> None:
    thousand = StaticPartitions([f"k{number}" for number in range(4000)])
    with pytest.raises(PartitionDefinitionError, match="at most 10,000,000"):
        MultiPartitions({"a": thousand, "b": thousand}).index(NOW)


@pytest.mark.parametrize(
    ("key", "message", "hint"),
    [
        ("2025-01-01", "is not a key of", "keys are day|region, such as 2025-01-01|eu"),
        ("2025-01-01|eu|x", "is not a key of", "day|region"),
        ("2025-01-01|ue", "dimension region", "eu"),
        (
            "2025-01-09|eu",
            "dimension day: .*does not exist yet",
            "becomes available at 2025-01-10T00:00:00",
        ),
    ],
)
def test_an_unknown_key_says_which_dimension_is_wrong(key: str, message: str, hint: str) -> None:
    with pytest.raises(UnknownPartitionError, match=message) as caught:
        BOTH.index(NOW).slot(key)
    assert hint in (caught.value.hint or "")


def test_products_are_values() -> None:
    copy = pickle.loads(pickle.dumps(BOTH))  # noqa: S301 - our own bytes
    assert copy == BOTH
    assert hash(copy) == hash(BOTH)
    assert (
        copy.describe() == "day (daily from 2025-01-01 (Europe/Berlin)) x region (static: eu, us)"
    )
