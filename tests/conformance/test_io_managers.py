"""The three adapters keep the contract of the IO manager port."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from io_managers import DuckDBIOManager, MemoryIOManager, ParquetIOManager
from tests.conformance.io_manager_suite import FullIOManagerSuite

if TYPE_CHECKING:
    from pathlib import Path

    from assets_core.model.io_manager import IOManager


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


class TestMemory(FullIOManagerSuite):
    def make(self, folder: Path) -> IOManager:
        return MemoryIOManager()

    def lose_everything(self, manager: IOManager, folder: Path) -> IOManager:
        return self.make(folder)
