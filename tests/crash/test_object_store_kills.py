"""kill -9 while rows go to an object store: judged by what the store has, and one more run converges."""

from __future__ import annotations

import io
import os
import signal
from itertools import product
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from tests import object_store
from tests.acceptance.conftest import shop_project

if TYPE_CHECKING:
    from pathlib import Path

DAYS = ("2025-01-01", "2025-01-02")
ROWS = 50
JOBS = ((), ("-j", "2"))
PLACES = ("stage.written", "publish.parquet.rename", "publish.parquet.renamed")
ALL = "PARTITA_CRASHES" in os.environ
CASES = list(product(PLACES, JOBS)) if ALL else [(PLACES[1], JOBS[1]), (PLACES[2], JOBS[0])]
SHOP = """
from pathlib import Path

import pyarrow as pa

from assets_core import AssetContext, Definitions, asset, load_assets
from io_managers import ParquetIOManager
from partitions import DailyPartitions

version = Path("version.txt").read_text()


@asset(partitions=DailyPartitions("2025-01-01", end="2025-01-03"), code_version=version)
def orders(context: AssetContext) -> pa.Table:
    return pa.table({"id": range(50), "version": [int(version)] * 50})


definitions = Definitions(
    assets=load_assets(__name__), io_managers={"default": ParquetIOManager("ROOT")}
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


def versions(prefix: str) -> dict[str, int]:
    """The version that each partition shows; every object holds each row once, all of one version."""
    found = {}
    for name, content in objects(prefix).items():
        rows = pq.read_table(io.BytesIO(content))
        assert sorted(rows["id"].to_pylist()) == list(range(ROWS)), name
        (found[name],) = set(rows["version"].to_pylist())
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("place", "jobs"), CASES)
def test_a_kill_leaves_whole_objects_and_the_next_run_converges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, jobs: tuple[str, ...]
) -> None:
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    prefix = f"{tmp_path.name}-{place}-{len(jobs)}".replace(".", "-")
    project = shop_project(tmp_path / "shop")
    project.write("shop.py", SHOP.replace("ROOT", f"s3://{object_store.BUCKET}/{prefix}"))
    project.write("version.txt", "1")
    project.run("materialize", *jobs)
    names = {f"orders/day={day}/data.parquet" for day in DAYS}
    assert versions(prefix) == dict.fromkeys(names, 1)
    project.write("version.txt", "2")
    armed = {"PARTITA_FAILPOINTS": f"{place}=kill"}
    ended = project.run("materialize", *jobs, code=None, env=armed)
    assert ended.code in {-signal.SIGKILL, 1}, ended.text  # 1: a worker died, and the run told
    seen = versions(prefix)
    assert seen.keys() == names
    if place == "publish.parquet.renamed":
        assert 2 in seen.values()
    project.run("materialize", *jobs)
    assert versions(prefix) == dict.fromkeys(names, 2)
    project.run("plan", "--detailed-exitcode")
    project.run("state", "verify")
    assert not list(tmp_path.glob("partita-*/*/[!c]*"))
