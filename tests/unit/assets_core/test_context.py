"""What an asset's function is told about its call."""

from __future__ import annotations

import logging
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from assets_core import AssetContext, DefinitionError
from partitions import TimeWindow

MIDNIGHT = datetime(2025, 1, 31, tzinfo=UTC)
WINDOW = TimeWindow(MIDNIGHT, MIDNIGHT + timedelta(days=1))


def context(*keys: str, **options: Any) -> AssetContext:
    return AssetContext(
        asset="orders",
        run_id="r1",
        attempt=1,
        partition_keys=keys,
        log=logging.getLogger("test"),
        **options,
    )


def test_the_one_partition_key_is_at_hand() -> None:
    found = context(
        "2025-01-31|eu", window=WINDOW, dimensions={"day": "2025-01-31", "region": "eu"}
    )
    assert found.partition_key == "2025-01-31|eu"
    assert found.partition_keys == ("2025-01-31|eu",)
    assert found.window == WINDOW
    assert found.dimensions["region"] == "eu"


def test_an_unpartitioned_asset_has_no_partition_key() -> None:
    for found in (context(), context("")):
        assert found.partition_keys == ()
        assert not found.has_window
        with pytest.raises(DefinitionError, match="but it is not partitioned"):
            _ = found.partition_key
        with pytest.raises(DefinitionError, match="but it is not partitioned"):
            _ = found.window


def test_a_batch_has_several_keys_and_the_error_shows_some_of_them() -> None:
    found = context("a", "b", "c", "d", window=WINDOW)
    with pytest.raises(DefinitionError, match=r"a batch of 4 partitions \(a, b, c, …\)") as caught:
        _ = found.partition_key
    assert caught.value.hint == "use context.partition_keys and context.window, or batch_size=1"


def test_partitions_without_time_have_no_window() -> None:
    with pytest.raises(DefinitionError, match="no time dimension"):
        _ = context("eu").window


def test_a_context_is_a_value() -> None:
    found = context("eu", dimensions={"region": "eu"})
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 -- our own bytes
    with pytest.raises(AttributeError):
        found.attempt = 2  # type: ignore[misc]
