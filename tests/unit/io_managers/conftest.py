"""A DuckDB file and a manager of it, for the tests of what such a manager does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from io_managers import DuckDBIOManager
from tests.conformance.io_manager_suite import Steps

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.duckdb"


@pytest.fixture
def steps(path: Path) -> Steps:
    return Steps(DuckDBIOManager(path))
