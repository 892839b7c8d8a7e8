"""What is wrong with a write mode before anything runs."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from assets_core.authoring.decorators import asset
from assets_core.authoring.definitions import Definitions
from assets_core.authoring.problems import DefinitionsError
from assets_core.model.errors import DefinitionError
from assets_core.model.specs import SCD2, Merge
from io_managers import MemoryIOManager
from partitions import DailyPartitions, MultiPartitions, StaticPartitions


def _history(write: SCD2, **options: Any) -> DefinitionsError:
    @asset(write=write, **options)
    def customers() -> None: ...

    with pytest.raises(DefinitionsError) as caught:
        Definitions(assets=[customers], io_managers={"default": MemoryIOManager()}).resolve()
    return caught.value


def test_a_history_needs_time_partitions_and_nothing_else_to_order_it_by() -> None:
    write, daily = SCD2(keys=["id"]), DailyPartitions("2025-01-01")
    both = MultiPartitions({"day": daily, "region": StaticPartitions(["eu"])})
    for partitions in (None, StaticPartitions(["a"]), both):
        assert "no time partitions" in str(_history(write, partitions=partitions))
    assert "leave partition_by out" in str(_history(write, partitions=daily, partition_by="day"))
    schema = pa.schema({"id": pa.int64(), "valid_from": pa.date32()})
    assert "which SCD2 adds itself" in str(_history(write, partitions=daily, schema=schema))
    tracked = SCD2(keys=["id"], track=["nme"])
    schema = pa.schema({"id": pa.int64(), "name": pa.string()})
    assert "did you mean 'name'?" in str(_history(tracked, partitions=daily, schema=schema))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"keys": "id"}, "is text, not a list"),
        ({"keys": []}, "at least one key column"),
        ({"keys": ["id"], "track": []}, "at least one column in track"),
        ({"keys": ["id", "id"]}, "names a column twice"),
        ({"keys": ["id"], "track": ["id"]}, "'id' as a key and as something else"),
        ({"keys": ["id"], "on_absent": "drop"}, "'keep', 'close'"),
        ({"keys": ["id"], "effective": "at", "on_absent": "close"}, "absent has no at"),
        ({"keys": ["id"], "effective": "at", "track": ["at"]}, "'at' as effective and in track"),
        ({"keys": [1]}, "1, which is no name of a column"),
        ({"keys": ["id"], "effective": 3}, "3, which is no name of a column"),
    ],
)
def test_a_history_that_contradicts_itself_is_refused(options: Any, told: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        SCD2(**options)
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"scope": "row"}, "'table', 'partition'"),
        ({"delete_when": ""}, "no condition"),
        ({"delete_when": True}, "no condition"),
        ({"delete_when": " "}, "no condition"),
        ({"order_by": 3}, "3, which is no name of a column"),
        ({"order_by": ""}, "'', which is no name of a column"),
    ],
)
def test_a_merge_that_means_nothing_is_refused(options: Any, told: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Merge(keys=["id"], **options)
    assert told in caught.value.message


def test_write_modes_tell_all_that_changes_data() -> None:
    assert Merge(keys=["id"]).text() == "merge(keys=['id'], order_by=None, on_duplicate=error)"
    other = Merge(keys=["id"], scope="partition", delete_when="gone").text()
    assert other.endswith("on_duplicate=error, scope=partition, delete_when='gone')")
