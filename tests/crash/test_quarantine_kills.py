"""kill -9 while rows that a contract keeps out are published, and between them and the others: one more run converges."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from tests.acceptance.conftest import shop_project
from tests.crash.drill import DAYS, Drill

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Project

pytestmark = pytest.mark.slow

SHOP = """
from pathlib import Path

import pyarrow as pa

from assets_core import Contract, Definitions, InRange, asset, load_assets
from io_managers import DuckDBIOManager, ParquetIOManager
from partitions import DailyPartitions

days = DailyPartitions("2025-01-01", end="2025-01-03")
version = int(Path("version.txt").read_text())


@asset(
    partitions=days,
    code_version=str(version),
    io_manager="PLACE",
    contract=Contract(InRange("id", max=1), on_violation="quarantine"),
)
def orders() -> pa.Table:
    return pa.table({"id": [1, 2], "version": [version, version]})


definitions = Definitions(
    assets=load_assets(__name__),
    io_managers={"duckdb": DuckDBIOManager("shop.duckdb"), "parquet": ParquetIOManager("lake")},
)
"""

KILLS = {
    "duckdb": (
        "publish.rejected=kill",
        "publish.duckdb.commit=kill",
        "publish.duckdb.commit=kill@2",
        "run.published=kill",
    ),
    "parquet": (
        "publish.parquet.renamed=kill",
        "publish.rejected=kill",
        "publish.parquet.rename=kill@3",
    ),
}
"""The first two partitions that are renamed are of rejected rows, the third is the first of the others."""


def versions(project: Project, place: str, asset: str) -> dict[str, tuple[int, int]]:
    """The one row of each partition: its id and its version."""
    if place == "duckdb":
        query = f"select _partition, id, version from {asset}"
        found = project.query(query, "shop.duckdb")
        assert len({row[0] for row in found}) == len(found)
        return {key: (id_, version) for key, id_, version in found}
    there = {}
    for key in DAYS:
        path = project.folder / "lake" / asset / f"day={key}" / "data.parquet"
        (row,) = pq.read_table(path, partitioning=None).to_pylist()
        there[key] = (row["id"], row["version"])
    return there


@pytest.mark.parametrize(
    ("place", "armed"), [(place, armed) for place, kills in KILLS.items() for armed in kills]
)
def test_good_rows_are_never_visible_without_those_that_were_kept_out(
    tmp_path: Path, place: str, armed: str
) -> None:
    project = shop_project(tmp_path / "shop")
    project.write("shop.py", SHOP.replace("PLACE", place))
    project.write("version.txt", "1")
    drill = Drill(project)
    drill.materialize(code=1)  # rows were kept out
    drill.new_version(2)
    assert drill.materialize(armed, code=None).code == -signal.SIGKILL
    good, bad = versions(project, place, "orders"), versions(project, place, "orders__rejected")
    for key in DAYS:
        assert good[key][0] == 1
        assert bad[key][0] == 2
        assert bad[key][1] >= good[key][1], key
    drill.materialize(code=None)
    assert versions(project, place, "orders") == dict.fromkeys(DAYS, (1, 2))
    assert versions(project, place, "orders__rejected") == dict.fromkeys(DAYS, (2, 2))
    project.run("plan", "--detailed-exitcode")
    project.run("state", "verify")
    assert [path for path in project.folder.rglob("*") if ".held" in path.name] == []
    assert [path for path in project.folder.rglob("*") if ".rejected" in path.name] == []
