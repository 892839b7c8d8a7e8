"""`partita state gc` and what `state verify` says of destinations."""

from __future__ import annotations

import os
import shutil
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.integration.conftest import Shop

if TYPE_CHECKING:
    from pathlib import Path

LAKE = """
    import pyarrow as pa

    from assets_core import Definitions, asset, load_assets
    from io_managers import DuckDBIOManager, ParquetIOManager
    from partitions import DailyPartitions

    days = DailyPartitions("2025-01-01", end="2025-01-04")


    @asset(partitions=days, io_manager="lake")
    def orders() -> pa.Table:
        return pa.table({"id": [1, 2]})


    @asset
    def total(orders: pa.Table) -> pa.Table:
        return orders


    defs = Definitions(
        assets=load_assets(__name__),
        io_managers={"lake": ParquetIOManager("lake"), "default": DuckDBIOManager("shop.duckdb")},
    )
"""
MONTH_AGO = (datetime.now(UTC) - timedelta(days=31)).timestamp()


@pytest.fixture
def lake(tmp_path: Path) -> Shop:
    """Three days in Parquet files, and a table of DuckDB."""
    shop = Shop(tmp_path / "shop")
    shop.write("assets.py", LAKE)
    return shop


@pytest.fixture
def done(lake: Shop) -> Shop:
    """All of it materialized."""
    lake.run("materialize")
    return lake


def problems(shop: Shop, code: int = 1) -> set[tuple[str, str]]:
    found = shop.run("state", "verify", "--json", code=code).data["problems"]
    return {(one["kind"], one["asset"]) for one in found}


def test_a_state_that_agrees_with_its_destinations_is_sound(done: Shop) -> None:
    assert problems(done, code=0) == set()
    assert "destinations have what it says" in done.run("state", "verify").out


def test_before_the_first_run_there_is_nothing_to_complain_of(lake: Shop) -> None:
    assert problems(lake, code=0) == set()


def test_what_is_gone_at_a_destination_is_told_with_its_place_and_token(done: Shop) -> None:
    (done.folder / "lake" / "orders" / "day=2025-01-02" / "data.parquet").unlink()
    answer = done.run("state", "verify", code=1)
    assert "lake/orders does not have 1 partition that the state believes visible" in answer.out
    assert problems(done) == {("lost", "orders")}
    assert done.run("state", "verify", "--state-only").out.strip() == "the state is sound"
    done.run("materialize")
    assert problems(done, code=0) == set()


def test_an_older_file_in_the_place_of_a_newer_one_is_both_lost_and_unknown(done: Shop) -> None:
    path = done.folder / "lake" / "orders" / "day=2025-01-02" / "data.parquet"
    old = path.read_bytes()
    done.run("materialize", "orders", "--force")
    path.write_bytes(old)
    assert problems(done) == {("lost", "orders"), ("unknown", "orders")}


def test_rows_of_another_state_are_unknown(done: Shop) -> None:
    shutil.rmtree(done.folder / ".partita")
    assert problems(done) == {("unknown", "orders"), ("unknown", "total")}
    assert (
        "has 3 partitions that the state does not know" in done.run("state", "verify", code=1).out
    )


def test_a_table_that_somebody_dropped_is_lost(done: Shop) -> None:
    with duckdb.connect(str(done.folder / "shop.duckdb")) as connection:
        connection.execute("drop table total")
    assert problems(done) == {("lost", "total")}


def test_what_a_crash_published_is_no_problem_before_it_is_recorded(lake: Shop) -> None:
    env = {"PARTITA_FAILPOINTS": "run.published=kill"}
    assert lake.run("materialize", code=None, env=env).code == -signal.SIGKILL
    assert len(list((lake.folder / "lake" / "orders").rglob("*.parquet"))) > 0
    assert problems(lake, code=0) == set()


def crashed(shop: Shop) -> Path:
    """A stage that a killed run left behind."""
    env = {"PARTITA_FAILPOINTS": "run.staged=kill"}
    assert shop.run("materialize", code=None, env=env).code == -signal.SIGKILL
    [stage] = (shop.folder / "lake" / ".partita").iterdir()
    return stage


def test_what_a_crashed_run_staged_stays_while_it_may_be_published(lake: Shop) -> None:
    stage = crashed(lake)
    assert lake.run("state", "gc", "--dry-run", "--json").data["removed"] == []
    assert stage.exists()


def test_gc_settles_crashed_runs_and_removes_what_their_steps_left(lake: Shop) -> None:
    stage = crashed(lake)
    kept = lake.folder / "kept"
    shutil.copytree(stage, kept)
    assert "recovered" in lake.run("state", "gc").err
    assert not stage.exists()
    # As if recovery had not managed to remove it.
    shutil.move(kept, stage)
    dry = lake.run("state", "gc", "--dry-run", "--json").data
    size = sum(one.stat().st_size for one in stage.iterdir())
    assert dry == {
        "removed": [{"kind": "stage", "path": "lake/.partita/" + stage.name, "bytes": size}],
        "bytes": size,
        "dry_run": True,
    }
    assert stage.exists()
    assert "1 leftover" in lake.run("state", "gc").out
    assert not stage.exists()
    assert lake.run("state", "gc").out.strip() == "nothing to remove"


def test_what_a_dead_process_left_for_itself_goes_and_what_a_living_one_has_stays(
    done: Shop,
) -> None:
    stage = done.folder / "shop.duckdb.stage"
    stage.mkdir(exist_ok=True)
    dead, living = stage / "process-999999999", stage / f"process-{os.getpid()}"
    dead.mkdir()
    living.mkdir()
    [one] = done.run("state", "gc", "--json").data["removed"]
    assert (one["kind"], one["path"]) == ("scratch", "shop.duckdb.stage/process-999999999")
    assert (dead.exists(), living.exists()) == (False, True)


def test_a_stage_that_nobody_knows_goes_only_when_it_is_old(done: Shop) -> None:
    stage = done.folder / "lake" / ".partita" / "of-another-project"
    stage.mkdir()
    file = stage / "0.tmp"
    file.write_bytes(b"rows")
    assert done.run("state", "gc", "--json").data["removed"] == []
    for path in (file, stage):
        os.utime(path, (MONTH_AGO, MONTH_AGO))
    [one] = done.run("state", "gc", "--json").data["removed"]
    assert one["path"].endswith("of-another-project")
    assert not stage.exists()


def test_a_live_file_is_never_removed(done: Shop) -> None:
    beside = done.folder / "lake" / "orders" / "day=2025-01-01" / "mine.tmp"
    beside.touch()
    for path in done.folder.rglob("*"):
        os.utime(path, (MONTH_AGO, MONTH_AGO))
    before = done.contents()
    assert done.run("state", "gc", "--json").data["removed"] == []
    after = done.contents()
    assert before.keys() <= after.keys()
    assert {name: after[name] for name in before if ".partita" not in name} == {
        name: before[name] for name in before if ".partita" not in name
    }


def test_logs_go_by_their_age(done: Shop) -> None:
    runs = done.folder / ".partita" / "runs"
    [today] = runs.iterdir()
    old = runs / "2024-12-31"
    shutil.copytree(today, old)
    (runs / "notes").mkdir()
    assert done.run("state", "gc", "--json").data["removed"] == []
    found = done.run("state", "gc", "--logs-older-than", "30d", "--dry-run", "--json").data
    assert [one["kind"] for one in found["removed"]] == ["log"]
    assert old.exists()
    done.run("state", "gc", "--logs-older-than", "4w")
    assert (old.exists(), today.exists(), (runs / "notes").exists()) == (False, True, True)
    assert "looking" not in done.run("runs", "logs", "latest").out


def test_an_age_that_is_none_is_refused_with_examples(done: Shop) -> None:
    answer = done.run("state", "gc", "--logs-older-than", "soon", code=2)
    assert "'soon' is no age; write 12h, 30d or 4w" in answer.err


def test_a_stage_that_can_not_be_removed_is_named(done: Shop) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may remove everything")
    stage = done.folder / "shop.duckdb.stage"
    dead = stage / "process-999999999"
    dead.mkdir(parents=True)
    stage.chmod(0o500)
    try:
        answer = done.run("state", "gc", code=2)
    finally:
        stage.chmod(0o700)
    assert "process-999999999 can't be removed: Permission denied" in answer.err
