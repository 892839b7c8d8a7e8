"""kill -9 while rows go to an object store, as Parquet files and as Delta tables: judged by what the store has, and one more run converges."""

from __future__ import annotations

import io
import json
import os
import signal
from itertools import product
from typing import TYPE_CHECKING

import deltalake
import pyarrow.parquet as pq
import pytest

from tests import object_store
from tests.acceptance.conftest import shop_project

if TYPE_CHECKING:
    from pathlib import Path

DAYS = ("2025-01-01", "2025-01-02")
ROWS = 50
JOBS = ((), ("-j", "2"))
PLACES = {
    "Parquet": ("stage.written", "publish.parquet.rename", "publish.parquet.renamed"),
    "Delta": ("stage.written", "publish.delta.commit", "publish.delta.committed"),
}
CASES = [(kind, place, jobs) for kind in PLACES for place, jobs in product(PLACES[kind], JOBS)]
if "PARTITA_CRASHES" not in os.environ:
    CASES = [(kind, PLACES[kind][1], JOBS[1]) for kind in PLACES] + [
        (kind, PLACES[kind][2], JOBS[0]) for kind in PLACES
    ]
SHOP = """
from pathlib import Path

import pyarrow as pa

from assets_core import AssetContext, Definitions, asset, load_assets
from io_managers import DeltaIOManager, ParquetIOManager
from partitions import DailyPartitions

version = Path("version.txt").read_text()


@asset(partitions=DailyPartitions("2025-01-01", end="2025-01-03"), code_version=version)
def orders(context: AssetContext) -> pa.Table:
    return pa.table({"id": range(50), "version": [int(version)] * 50})


definitions = Definitions(
    assets=load_assets(__name__), io_managers={"default": KINDIOManager("ROOT")}
)
"""


def objects(prefix: str) -> dict[str, bytes]:
    from obstore.store import S3Store  # an extra

    store = S3Store(
        object_store.BUCKET,
        prefix=prefix,
        access_key_id="key",
        secret_access_key="secret",  # noqa: S106 - no secret: the server takes any
        region="us-east-1",
        endpoint=object_store.address(),
        client_options={"allow_http": True},
    )
    names = [one["path"] for chunk in store.list() for one in chunk]
    return {name: bytes(store.get(name).bytes()) for name in names}


def of_parquet(prefix: str) -> dict[str, int]:
    """The version that each partition shows; every object holds each row once, all of one version."""
    found = {}
    for name, content in objects(prefix).items():
        rows = pq.read_table(io.BytesIO(content))
        assert sorted(rows["id"].to_pylist()) == list(range(ROWS)), name
        day = name.removeprefix("orders/day=").removesuffix("/data.parquet")
        (found[day],) = set(rows["version"].to_pylist())
    return found


def of_delta(prefix: str) -> dict[str, int]:
    """The same as another program reads it from the newest version of the table."""
    address = f"s3://{object_store.BUCKET}/{prefix}/orders"
    table = deltalake.DeltaTable(address, storage_options={"allow_http": "true"})
    rows = table.to_pyarrow_table().to_pylist()
    found = {}
    for day in {row["_partition"] for row in rows}:
        of_day = [row for row in rows if row["_partition"] == day]
        assert sorted(row["id"] for row in of_day) == list(range(ROWS)), day
        (found[day],) = {row["version"] for row in of_day}
    return found


VERSIONS = {"Parquet": of_parquet, "Delta": of_delta}


def strays(prefix: str) -> list[str]:
    """Files of a Delta table that no version of it has."""
    there = objects(prefix)
    logs = [content for name, content in there.items() if name.endswith(".json")]
    actions = [json.loads(line) for content in logs for line in content.splitlines()]
    known = {f"orders/{one['add']['path']}" for one in actions if "add" in one}
    return [name for name in there if name.endswith(".parquet") and name not in known]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "place", "jobs"), CASES)
def test_a_kill_leaves_whole_partitions_and_the_next_run_converges(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    place: str,
    jobs: tuple[str, ...],
) -> None:
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    prefix = f"{tmp_path.name}-{kind}-{place}-{len(jobs)}".replace(".", "-")
    versions = VERSIONS[kind]
    project = shop_project(tmp_path / "shop")
    shop = SHOP.replace("ROOT", f"s3://{object_store.BUCKET}/{prefix}")
    project.write("shop.py", shop.replace("KINDIO", f"{kind}IO"))
    project.write("version.txt", "1")
    project.run("materialize", *jobs)
    assert versions(prefix) == dict.fromkeys(DAYS, 1)
    project.write("version.txt", "2")
    armed = {"PARTITA_FAILPOINTS": f"{place}=kill"}
    ended = project.run("materialize", *jobs, code=None, env=armed)
    assert ended.code in {-signal.SIGKILL, 1}, ended.text  # 1: a worker died, and the run told
    seen = versions(prefix)
    assert seen.keys() == {*DAYS}
    if place in {"publish.parquet.renamed", "publish.delta.committed"}:
        assert 2 in seen.values()
    project.run("materialize", *jobs)
    assert versions(prefix) == dict.fromkeys(DAYS, 2)
    project.run("plan", "--detailed-exitcode")
    project.run("state", "verify")
    assert not list(tmp_path.glob("partita-*/*/[!c]*"))
    assert kind == "Parquet" or strays(prefix) == []
