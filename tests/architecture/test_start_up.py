"""What is loaded when a user's module imports Partita: little, because the command line waits for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HEAVY = {
    "apsw",
    "deltalake",
    "duckdb",
    "networkx",
    "opentelemetry",
    "pandas",
    "polars",
    "psycopg",
    "pyarrow",
    "pydantic",
    "rich",
    "sqlite3",
}
NOT_FOR_HELP = HEAVY | {"numpy", "pendulum"}


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running the code."""
    answer = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}\nimport sys\nprint(*{{m.partition('.')[0] for m in sys.modules}})",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(answer.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import assets_core", id="the package"),
        pytest.param("import cli.main", id="the command line"),
        pytest.param("from partitions.errors import PartitaError", id="the errors"),
        pytest.param("import io_managers", id="the IO managers"),
    ],
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    assert modules_after(code) & NOT_FOR_HELP == set()


def test_declaring_assets_loads_no_database_and_no_data_frame_library() -> None:
    code = (
        "from assets_core import Definitions, Input, Merge, asset, asset_check, load_assets\n"
        "from io_managers import DeltaIOManager, DuckDBIOManager, ParquetIOManager\n"
        "from partitions import DailyPartitions\n"
        "@asset(partitions=DailyPartitions('2025-01-01'), write=Merge(keys=['id']))\n"
        "def orders(): ...\n"
        "DeltaIOManager('lake')\n"
    )
    assert modules_after(code) & HEAVY == set()


@pytest.mark.parametrize("name", ["partitions", "assets_core", "io_managers"])
def test_every_public_name_can_be_imported_and_listed(name: str) -> None:
    code = (
        f"import {name} as package\n"
        "missing = set(package.__all__) - set(dir(package))\n"
        "assert not missing, missing\n"
        "for public in package.__all__: getattr(package, public)\n"
    )
    assert name in modules_after(code)
