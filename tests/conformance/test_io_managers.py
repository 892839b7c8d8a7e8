"""All adapters keep the contract of the IO manager port."""

from __future__ import annotations

import os
import shutil
import uuid
from typing import TYPE_CHECKING

import pytest

from io_managers import DeltaIOManager, DuckDBIOManager, MemoryIOManager, ParquetIOManager
from tests import object_store
from tests.conformance.io_manager_suite import (
    CommitLaws,
    FullIOManagerSuite,
    HoldingLaws,
    IOManagerSuite,
    LossLaws,
    MergeLaws,
    ReadLaws,
    RemovalLaws,
    target,
)

if TYPE_CHECKING:
    from pathlib import Path

    from assets_core.model.io_manager import IOManager


EVERYWHERE = "PARTITA_LAWS" in os.environ
"""With PARTITA_LAWS set Delta tables in S3 are held to all laws, which takes minutes; else to those in which the place matters."""


class TestDuckDB(FullIOManagerSuite):
    def make(self, folder: Path) -> IOManager:
        return DuckDBIOManager(folder / "shop.duckdb")

    def lose_everything(self, manager: IOManager, folder: Path) -> IOManager:
        (folder / "shop.duckdb").unlink()
        return manager


class TestParquet(FullIOManagerSuite):
    def make(self, folder: Path) -> IOManager:
        return ParquetIOManager(folder / "lake")

    def lose_everything(self, manager: IOManager, folder: Path) -> IOManager:
        shutil.rmtree(folder / "lake")
        return manager


class TestDelta(FullIOManagerSuite):
    def make(self, folder: Path) -> IOManager:
        return DeltaIOManager(folder / "lake")

    def lose_everything(self, manager: IOManager, folder: Path) -> IOManager:
        shutil.rmtree(folder / "lake")
        return manager


class _InS3(IOManagerSuite):
    @pytest.fixture(autouse=True)
    def server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in object_store.environment().items():
            monkeypatch.setenv(name, value)

    def lose_everything(self, manager: IOManager, folder: Path) -> IOManager:
        manager.remove(target())
        return manager


class TestParquetInS3(_InS3, FullIOManagerSuite):
    def make(self, folder: Path) -> IOManager:
        return ParquetIOManager(f"s3://{object_store.BUCKET}/{_unique(folder)}")


class OfPlaces(MergeLaws, CommitLaws, HoldingLaws, ReadLaws, LossLaws, RemovalLaws):
    """The laws in which it matters where files lie."""


class TestDeltaInS3(_InS3, FullIOManagerSuite if EVERYWHERE else OfPlaces):  # type: ignore[misc] # either way a class
    def make(self, folder: Path) -> IOManager:
        return DeltaIOManager(f"s3://{object_store.BUCKET}/{_unique(folder)}")


class TestParquetByFsspec(FullIOManagerSuite):
    def make(self, folder: Path) -> IOManager:
        return ParquetIOManager(f"memory://{_unique(folder)}")

    def lose_everything(self, manager: IOManager, folder: Path) -> IOManager:
        manager.remove(target())
        return manager


def _unique(folder: Path) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, str(folder)).hex


class TestMemory(FullIOManagerSuite):
    def make(self, folder: Path) -> IOManager:
        return MemoryIOManager()

    def lose_everything(self, manager: IOManager, folder: Path) -> IOManager:
        return self.make(folder)
