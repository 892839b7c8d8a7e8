"""A project of which one asset waits for as long as there is a file `hold`, and notes in the file `going` what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.integration.conftest import Shop

PROJECT = """
    import os
    import time
    from datetime import timedelta
    from pathlib import Path

    import pyarrow as pa
    from assets_core import AssetContext, Definitions, asset, load_assets
    from partitions import DailyPartitions

    days = DailyPartitions("2025-01-01", end="2025-01-09")


    @asset(partitions=days, pool="api")
    def fetched(context: AssetContext) -> pa.Table:
        with open("going", "a") as file:
            file.write(f"+{os.getpid()} ")
        while Path("hold").exists():
            time.sleep(0.01)
        if Path("sick").exists() and context.partition_key.endswith(Path("sick").read_text()):
            raise ValueError("the service is down")
        with open("going", "a") as file:
            file.write(f"-{os.getpid()} ")
        return pa.table({"x": [1]})


    @asset(partitions=days)
    def counted(fetched: pa.Table) -> pa.Table:
        return fetched


    @asset(partitions=days)
    def other() -> pa.Table:
        return pa.table({"x": [2]})


    defs = Definitions(assets=load_assets(__name__), pools={"api": 2})
"""


def going(shop: Shop) -> list[str]:
    path = shop.folder / "going"
    return path.read_text().split() if path.exists() else []


def start_detached(shop: Shop) -> str:
    (shop.folder / "hold").touch()
    run: str = shop.run(
        "backfill", "fetched", "counted", "2025-01", "--detach", "-j", "2", "--json"
    ).data["run"]
    wait_until(lambda: going(shop), "no step started")
    return run
