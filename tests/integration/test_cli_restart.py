"""`partita state restart`: an asset begins anew, under other partitions or the same, and what reads it hears of it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.integration.conftest import PATIENCE

if TYPE_CHECKING:
    from tests.integration.conftest import Shop

TEN = 10
KILLED = 9


def plan(shop: Shop, *words: str) -> dict[str, set[str]]:
    """Asset → reasons for which it would run."""
    found: dict[str, set[str]] = {}
    lines = shop.run("plan", *words, "-o", "jsonl").out.splitlines()
    for row in map(json.loads, lines):
        found.setdefault(row["asset"], set()).add(row["reason"])
    return found


@pytest.fixture
def done(shop: Shop) -> Shop:
    """The shop, all of it materialized."""
    shop.run("materialize")
    return shop


def test_an_asset_whose_partitions_were_redefined_begins_anew(done: Shop) -> None:
    weeks = 'WeeklyPartitions("2024-12-30", end="2025-01-13", timezone="Europe/Berlin")'
    done.edit(
        "assets.py", 'partitions=days, group="bronze"', f'partitions={weeks}, group="bronze"'
    )
    done.edit("assets.py", "DailyPartitions, LastN", "DailyPartitions, LastN, WeeklyPartitions")
    refused = done.run("plan", code=2)
    assert "hint" in refused.err
    command = refused.err.rpartition("partita ")[2].split()
    assert command == ["state", "restart", "orders"]
    assert done.run("mark-current", "orders", code=2).err == refused.err
    answer = done.run(*command, "--yes")
    assert "orders begins anew" in answer.out
    assert plan(done) == {"orders": {"missing"}, "revenue": {"deps"}, "trend": {"upstream"}}
    done.run("materialize")
    assert plan(done) == {}
    database = str(done.folder / ".partita" / "data.duckdb")
    with duckdb.connect(database, read_only=True) as connection:
        assert connection.execute(
            "select distinct _partition from orders order by 1"
        ).fetchall() == [
            ("2025-W01",),
            ("2025-W02",),
        ]
    assert done.run("state", "verify", "--state-only").out == "the state is sound\n"


def test_readers_of_an_asset_that_begins_anew_are_stale_although_its_rows_come_out_the_same(
    done: Shop,
) -> None:
    answer = done.run("state", "restart", "orders", "--yes", "--json").data
    assert (answer["partitions"], answer["readers"]) == (TEN, ["revenue"])
    assert plan(done) == {"orders": {"missing"}, "revenue": {"upstream"}, "trend": {"upstream"}}
    status = {one["asset"]: one for one in done.run("status", "--json").data["assets"]}
    assert (status["orders"]["missing"], status["revenue"]["stale"]) == (TEN, TEN)
    done.run("materialize", "orders")
    assert plan(done) == {"revenue": {"input"}, "trend": {"upstream"}}
    done.run("materialize")
    assert plan(done) == {}


def test_cut_off_between_rows_and_state_the_rows_count_as_lost_and_the_command_does_the_rest(
    done: Shop,
) -> None:
    code = (
        "import os, sys; from assets_core.state.sqlite import SqliteStore; from cli.main import run;"
        " SqliteStore.restart = lambda *_: os._exit(9); run()"
    )
    command = [done.command()[0], "-P", "-c", code, "state", "restart", "orders", "--yes"]
    killed = subprocess.run(
        command, cwd=done.folder, env=done.environment(), check=False, timeout=PATIENCE
    )
    assert killed.returncode == KILLED
    assert plan(done) == {"orders": {"lost"}, "revenue": {"upstream"}, "trend": {"upstream"}}
    done.run("state", "restart", "orders", "--yes")
    assert plan(done)["orders"] == {"missing"}
    done.run("materialize")
    assert plan(done) == {}


def test_a_dry_run_shows_what_would_go_and_removes_nothing(done: Shop) -> None:
    before = done.contents()
    answer = done.run("state", "restart", "orders", "--dry-run")
    assert "10 partitions recorded" in answer.out
    assert "revenue" in answer.out
    assert done.run("state", "restart", "orders", "--dry-run", "--json").data["dry_run"] is True
    assert plan(done) == {}
    kept = {name for name in before if name.endswith((".db", ".duckdb"))}
    assert {name: done.contents()[name] for name in kept} == {name: before[name] for name in kept}


def test_without_anybody_to_agree_nothing_is_removed(done: Shop) -> None:
    refused = done.run("state", "restart", "orders", code=2)
    assert "nobody is there to agree" in refused.err
    assert "partita state restart orders --yes" in refused.err
    assert plan(done) == {}


@pytest.mark.parametrize(("word", "code"), [("y", 0), ("YES", 0), ("n", 1), ("", 1)])
def test_on_a_terminal_it_asks(done: Shop, word: str, code: int) -> None:
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            done.command("state", "restart", "orders"),
            cwd=done.folder,
            env=done.environment(),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            os.write(ours, f"{word}\n".encode())
            shown = b""
            with suppress(OSError):  # the end of a terminal that its last user has closed
                while piece := os.read(ours, 4096):
                    shown += piece
            assert process.wait(PATIENCE) == code
    finally:
        os.close(ours)
    assert b"Remove the rows of orders? [y/N]" in shown
    assert b"10 partitions recorded" in shown
    assert bool(plan(done)) == (code == 0)


def test_an_asset_that_was_never_materialized_begins_anew_as_well(shop: Shop) -> None:
    answer = shop.run("state", "restart", "orders", "--yes", "--json").data
    assert answer["partitions"] == 0
    shop.run("materialize")
    assert plan(shop) == {}


def test_an_unknown_asset_is_named_with_the_nearest(done: Shop) -> None:
    refused = done.run("state", "restart", "ordres", "--yes", code=2)
    assert "did you mean orders?" in refused.err
    assert plan(done) == {}


def test_rows_that_cannot_be_removed_leave_the_state_as_it_was(shop: Shop) -> None:
    imports = "from assets_core import Definitions, load_assets\nfrom io_managers import ParquetIOManager"
    shop.edit("assets.py", "from partitions", f"{imports}\nfrom partitions")
    path = shop.folder / "assets.py"
    managers = 'io_managers={"default": ParquetIOManager("lake")}'
    text = f"{path.read_text()}\n\ndefs = Definitions(assets=load_assets(__name__), {managers})\n"
    path.write_text(text)
    shop.run("materialize")
    (shop.folder / "lake" / "orders" / "mine.txt").write_text("keep me")
    refused = shop.run("state", "restart", "orders", "--yes", code=2)
    assert "mine.txt is not a file of orders" in refused.err
    assert plan(shop) == {}
    (shop.folder / "lake" / "orders" / "mine.txt").unlink()
    shop.run("state", "restart", "orders", "--yes")
    assert not (shop.folder / "lake" / "orders").exists()


def test_a_run_that_was_cut_off_is_settled_first(done: Shop) -> None:
    code = (
        "import os; from assets_core.state.sqlite import SqliteStore; from cli.main import run;"
        " SqliteStore.record = lambda *_: os._exit(9); run()"
    )
    command = [done.command()[0], "-P", "-c", code, "materialize", "orders", "--force"]
    subprocess.run(command, cwd=done.folder, env=done.environment(), check=False, timeout=PATIENCE)
    answer = done.run("state", "restart", "orders", "--yes")
    assert "recovered" in answer.err
    assert plan(done)["orders"] == {"missing"}
    assert done.run("state", "verify", "--state-only").out == "the state is sound\n"
