from __future__ import annotations

import pickle
from datetime import UTC, datetime

import numpy as np
import pytest

import partitions
from partitions.definitions import (
    SINGLE,
    DynamicPartitions,
    PartitionKind,
    Partitions,
    StaticPartitions,
    dictionary_ids,
    key_problem,
)
from partitions.errors import PartitionDefinitionError, UnknownPartitionError
from partitions.time_windows import DailyPartitions

NOW = datetime(2025, 6, 1, tzinfo=UTC)


def test_every_exported_name_can_be_imported() -> None:
    for name in partitions.__all__:
        assert getattr(partitions, name) is not None
    assert set(partitions.__all__) == set(partitions._HOME)
    assert "StaticPartitions" in dir(partitions)


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Yearly'"):
        _ = partitions.Yearly


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("", "empty"),
        (" eu", "white space"),
        ("eu\t", "white space"),
        ("a\nb", "one line"),
        ("a\x00b", "one line"),
        ("a\u2028b", "one line"),
        ("a\u202eb", "one line"),
        ("a\ud800b", "one line"),
        ("x" * 201, "201 characters"),
        (".", "folder"),
        ("..", "folder"),
        (7, "int"),
    ],
)
def test_a_key_that_people_can_not_see_or_type_is_refused_by_a_named_rule(
    key: object, rule: str
) -> None:
    with pytest.raises(PartitionDefinitionError, match=rule):
        StaticPartitions([key])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "key",
    [
        "'; drop table x --",
        "$(rm -rf /)",
        "../../etc",
        "<script>",
        "👩‍💻",
        "a b",
        "x" * 200,
        "ß",
        "%2e",
    ],
)
def test_keys_are_data_whatever_they_look_like(key: str) -> None:
    assert key_problem(key) is None
    assert StaticPartitions([key]).index(NOW).keys() == [key]


def test_two_keys_that_are_equal_or_differ_only_by_case_are_refused() -> None:
    with pytest.raises(
        PartitionDefinitionError, match="'eu' can't be a partition key: it is there twice"
    ):
        StaticPartitions(["eu", "us", "eu"])
    with pytest.raises(PartitionDefinitionError, match=r"'EU' .* differs from 'eu' only by case"):
        StaticPartitions(["eu", "EU"])
    with pytest.raises(PartitionDefinitionError, match="only by case"):
        StaticPartitions(["straße", "STRASSE"])


def test_static_partitions_of_nothing_or_of_one_text_are_refused() -> None:
    with pytest.raises(PartitionDefinitionError, match="at least one key"):
        StaticPartitions([])
    with pytest.raises(PartitionDefinitionError, match="not the text 'eu'") as caught:
        StaticPartitions("eu")
    assert caught.value.hint == "write StaticPartitions(['eu'])"


def test_static_ids_come_from_the_dictionary_and_new_keys_have_provisional_negative_ones() -> None:
    definition = StaticPartitions(["eu", "us", "asia"])
    index = definition.index(NOW, {"static": {"us": 12, "old": 3}})
    assert index.ids.tolist() == [-1, 12, -3]
    assert index.slots_of_ids(np.array([12, -3, 3, 99])).tolist() == [1, 2, -1, -1]
    assert dict(definition.dictionary_keys()) == {"static": ("eu", "us", "asia")}


def test_moving_a_static_key_keeps_its_id() -> None:
    known = {"static": {"eu": 1, "us": 2}}
    before = StaticPartitions(["eu", "us"]).index(NOW, known)
    after = StaticPartitions(["us", "asia", "eu"]).index(NOW, known)
    assert before.ids[before.slot("eu")] == after.ids[after.slot("eu")] == 1


def test_an_unknown_static_key_names_the_nearest_or_lists_the_keys() -> None:
    index = StaticPartitions(["europe", "america"]).index(NOW)
    with pytest.raises(UnknownPartitionError, match="'euroep'") as near:
        index.slot("euroep")
    assert near.value.hint == "did you mean europe?"
    with pytest.raises(UnknownPartitionError) as far:
        index.slot("zzz")
    assert far.value.hint == "the keys are europe, america"


def test_dynamic_partitions_are_the_keys_that_were_added_in_order_of_arrival() -> None:
    customers = DynamicPartitions("customers")
    index = customers.index(NOW, {"dynamic|customers": {"b": 9, "a": 11, "c": 2}})
    assert index.keys() == ["c", "b", "a"]
    assert index.ids.tolist() == [2, 9, 11]
    assert index.keys([2, 0]) == ["a", "c"]
    assert dict(customers.dictionary_keys()) == {}
    assert len(customers.index(NOW)) == 0
    with pytest.raises(UnknownPartitionError, match="no keys yet"):
        customers.index(NOW).slot("a")


@pytest.mark.parametrize("name", ["", "a|b", "a\nb"])
def test_a_bad_name_for_dynamic_partitions_is_refused(name: str) -> None:
    with pytest.raises(PartitionDefinitionError, match="can't name dynamic partitions"):
        DynamicPartitions(name)


def test_an_unpartitioned_asset_has_one_slot() -> None:
    index = SINGLE.index(NOW)
    assert (len(index), index.key(0), index.ids.tolist(), index.space) == (1, "", [0], "single")
    assert index.slot("") == 0
    assert index.window(0) is None
    assert index.dimensions(0) == ()
    with pytest.raises(UnknownPartitionError, match="not partitioned"):
        index.slot("2025-01-01")


@pytest.mark.parametrize(
    "definition",
    [StaticPartitions(["eu"]), DynamicPartitions("x"), SINGLE, DailyPartitions("2025-01-01")],
)
def test_definitions_are_values_hashable_picklable_and_frozen(definition: Partitions) -> None:
    copy = pickle.loads(pickle.dumps(definition))  # noqa: S301 - our own bytes
    assert copy == definition
    assert hash(copy) == hash(definition)
    with pytest.raises((AttributeError, TypeError)):
        definition.space = "other"  # type: ignore[misc]
    with pytest.raises(ValueError, match="timezone-aware"):
        definition.index(datetime(2025, 1, 1))  # noqa: DTZ001 - that is what is refused


def test_slots_outside_of_an_index_are_an_error_and_negative_ones_are_not_from_the_end() -> None:
    index = StaticPartitions(["eu", "us"]).index(NOW)
    for slot in (-1, 2):
        with pytest.raises(IndexError):
            index.key(slot)
        with pytest.raises(IndexError):
            index.window(slot)


def test_the_arrays_of_an_index_can_not_be_written() -> None:
    index = DailyPartitions("2025-01-01").index(NOW)
    assert index.starts is not None
    for array in (index.ids, index.starts):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_only_windows_are_time() -> None:
    time = {kind for kind in PartitionKind if kind.is_time}
    assert {kind.value for kind in time} == {"hour", "day", "week", "month", "cron"}


def test_provisional_ids_are_distinct() -> None:
    assert dictionary_ids(["a", "b", "c"], {}).tolist() == [-1, -2, -3]
