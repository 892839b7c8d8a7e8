"""Azure Blob Storage and Google Cloud Storage: their own ways with ranges and conditions, as their client asks a server on loopback."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from assets_core.model.errors import IOManagerError
from io_managers import ParquetIOManager
from io_managers.conditional_store import ConditionalStore
from io_managers.object_store import StoreChangedError
from tests.blob_server import Dialect, blob_server
from tests.conformance.io_manager_suite import Steps, days, target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

(DAY,) = days("2025-01-31")


@pytest.fixture(params=["azure", "gcs"])
def lake(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, object]]]:
    """A URL, and the options that lead to a server."""
    dialect: Dialect = request.param
    with blob_server(dialect) as address:
        if dialect == "azure":
            yield (
                "az://lake",
                {"account_name": "shop", "endpoint": address, "skip_signature": True},
            )
        else:
            yield "gs://lake", {"base_url": address, "bearer_token": "token"}


def test_one_version_takes_the_place_of_the_one_that_was_seen(
    lake: tuple[str, dict[str, object]], tmp_path: Path
) -> None:
    store = ConditionalStore(*lake)
    source = tmp_path / "source"
    assert store.tail("a/b", 4) is None
    source.write_bytes(b"0123456789")
    store.put("a/b", str(source), None)
    seen = store.tail("a/b", 4)
    assert seen is not None
    assert (seen.content, seen.size) == (b"6789", 10)
    assert store.piece("a/b", 2, 5, seen.version) == b"234"
    whole = store.tail("a/b", 100)
    assert whole is not None
    assert whole.content == b"0123456789"
    with pytest.raises(StoreChangedError):
        store.put("a/b", str(source), None)
    source.write_bytes(b"another")
    store.put("a/b", str(source), seen.version)
    with pytest.raises(StoreChangedError):
        store.put("a/b", str(source), seen.version)
    with pytest.raises(StoreChangedError):
        store.piece("a/b", 2, 5, seen.version)
    assert [(one.key, one.size) for one in store.entries("a/")] == [("a/b", 7)]
    store.delete(["a/b", "a/gone"])
    assert list(store.entries("a/")) == []


def test_partitions_are_written_replaced_read_and_removed(
    lake: tuple[str, dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    url, options = lake
    manager = ParquetIOManager(f"{url}/silver", storage_options=options)
    steps = Steps(manager)
    steps.write(target(), (DAY,), pa.table({"a": [1, 2]}))
    steps.write(target(), (DAY,), pa.table({"a": list(range(50_000))}))
    assert steps.rows(target(), (DAY,))[-1] == {"a": 49_999}
    assert [id_ for id_, _ in manager.holdings(target())] == [DAY.id]
    manager.remove(target())
    assert manager.holdings(target()) == []


def test_a_reply_that_repeats_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9/s3cret-in-the-address")
    options = {
        "access_key_id": "key",
        "secret_access_key": "s3cret-in-the-address",
        "max_retries": 0,
        "timeout": "1s",
    }
    with pytest.raises(IOManagerError, match="s3://lake/a can't be read") as found:
        ConditionalStore("s3://lake", options).tail("a", 4)
    assert "s3cret" not in "".join(traceback.format_exception(found.value))
