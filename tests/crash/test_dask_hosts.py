"""A Dask cluster on two machines, the second of which is cut off in the middle of a step and comes back when others have done its work.

Scheduler, command and one worker are on the first. The second's worker works on meanwhile, and writes to the disk that both share: a zombie
as a network makes it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.conftest import shop_project
from tests.crash.drill import Drill
from tests.dask_cluster import Cluster
from tests.hosts import two_hosts
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts import Host

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dask")]

SHOP = """
import os
import time
from pathlib import Path

import pyarrow as pa

from assets_core import AssetContext, Definitions, asset, load_assets
from io_managers import DuckDBIOManager, ParquetIOManager
from partitions import DailyPartitions

days = DailyPartitions("2025-01-01", end="2025-01-05")
HOST = os.environ.get("TEST_HOST")


def wait_for(name: str) -> None:
    while not Path(name).exists():
        time.sleep(0.02)


@asset(partitions=days, io_manager="lake")
def orders(context: AssetContext) -> pa.Table:
    name = f"{context.partition_key}-{HOST}"
    Path(f"{name}.new").write_text(str(os.getpid()))
    Path(f"{name}.new").rename(f"began-{name}")
    wait_for(f"go-{HOST}")
    if HOST == "near" and Path(f"began-{context.partition_key}-far").exists():
        wait_for("go-again")
    Path(f"returned-{name}").touch()
    return pa.table({"host": [HOST] * 1000})


@asset(partitions=days)
def copied(orders: pa.Table) -> pa.Table:
    Path(f"copied-{HOST}").touch()
    return orders


definitions = Definitions(
    assets=load_assets(__name__),
    io_managers={"default": DuckDBIOManager("shop.duckdb"), "lake": ParquetIOManager("lake")},
)
"""
LOST_SOON = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2s"}
"""The scheduler's; the workers keep Dask's own patience, so the second one does not know for long that it was given up."""


class Machines:
    """The two, with a cluster on them and a project on their disk."""

    def __init__(self, drill: Drill, cluster: Cluster, near: Host, far: Host) -> None:
        self.drill = drill
        self.folder = drill.project.folder
        self.cluster = cluster
        self.near = near
        self.far = far

    def start(self) -> subprocess.Popen[str]:
        """A backfill of everything, on the first."""
        words = ("backfill", "orders", "copied", "--partitions", "2025-01-01...2025-01-04")
        return subprocess.Popen(
            [*self.near.within, *self.drill.project.command(*words)],
            cwd=self.folder,
            env=self.drill.project.environment(self.drill.environment()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def let(self, host: str) -> None:
        """From now on steps there return; on the first those that began on the second only after `let("again")`."""
        (self.folder / f"go-{host}").touch()

    def began(self, host: str) -> list[str]:
        """The days whose steps began there."""
        found = sorted(self.folder.glob(f"began-*-{host}"))
        return [path.name.removeprefix("began-").removesuffix(f"-{host}") for path in found]

    def bring_back(self, day: str) -> None:
        """Let the step return that goes on where nobody hears of it, plug the cable in, and wait until it has ended."""
        zombie = int((self.folder / f"began-{day}-far").read_text())
        self.let("far")
        wait_until((self.folder / f"returned-{day}-far").exists, "it was ended before")
        self.far.plug_cable()
        wait_until(lambda: not Path(f"/proc/{zombie}").exists(), "its step never ended")

    def everything(self) -> list[Any]:
        """All that a zombie could change."""
        log = self.drill.ask("select seq, step_id, token from materialization order by seq")
        steps = self.drill.ask("select id, epoch, status, token from step order by id")
        files = {
            path: path.read_bytes()
            for path in (self.folder / "lake" / "orders").rglob("*.parquet")
        }
        return [log, steps, files, self.hosts_of("copied")]

    def hosts_of(self, asset: str) -> dict[str, set[str]]:
        """Which machine made the rows of each day."""
        rows = self.drill.project.query(
            f"select _partition, host, count(*) from {asset} group by all", "shop.duckdb"
        )
        assert {row[2] for row in rows} == {1000}
        return {day: {row[1] for row in rows if row[0] == day} for day in {row[0] for row in rows}}


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    project = shop_project(tmp_path / "shop")
    drill = Drill(project)
    with two_hosts() as (near, far):
        folder = tmp_path / "cluster"
        folder.mkdir()
        scheduler = Cluster(folder, host=near.address, within=near.within, settings=LOST_SOON)
        with scheduler as cluster:
            for name, host in (("near", near), ("far", far)):
                settings = {"TEST_HOST": name, **drill.environment()}
                cluster.add_worker(host=host.address, within=host.within, settings=settings)
            project.write("shop.py", SHOP)
            project.write(
                "pyproject.toml",
                f"""
                [tool.partita]
                definitions = "shop"
                executor = "dask"
                jobs = 2

                [tool.partita.dask]
                scheduler = "{cluster.address}"
                """,
            )
            wait_until(lambda: cluster.output().count("Registered to") == 2, cluster.output)
            yield Machines(drill, cluster, near, far)


def test_both_machines_work_on_a_backfill(machines: Machines) -> None:
    with machines.start() as run:
        wait_until(lambda: machines.began("near") and machines.began("far"), "one was left out")
        machines.let("near")
        machines.let("far")
        told, _ = run.communicate()
    assert run.returncode == 0, told
    made = machines.hosts_of("copied")
    assert sorted(made) == [f"2025-01-0{day}" for day in range(1, 5)]
    assert set.union(*made.values()) == {"near", "far"}


@pytest.mark.parametrize("is_late", [True, False], ids=["after the run", "during the run"])
def test_a_machine_that_is_cut_off_and_comes_back_changes_nothing(
    machines: Machines, *, is_late: bool
) -> None:
    with machines.start() as run:
        wait_until(lambda: machines.began("near") and machines.began("far"), "one was left out")
        (lost,) = machines.began("far")
        machines.far.pull_cable()
        machines.let("near")
        wait_until(lambda: lost in machines.began("near"), "it was not run again")
        if not is_late:
            machines.bring_back(lost)
        machines.let("again")
        told, _ = run.communicate()
    assert run.returncode == 0, told
    assert machines.hosts_of("copied") == {f"2025-01-0{day}": {"near"} for day in range(1, 5)}
    if is_late:
        before = machines.everything()
        machines.bring_back(lost)
        machines.drill.project.run("state", "gc")
        assert machines.everything() == before
    assert list((machines.folder / "lake" / ".partita").iterdir()) == []
    with machines.drill.store() as store:
        assert store.verify() == []
