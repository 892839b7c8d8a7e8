"""A plan as a file: made by one command, looked at, run by another, and refused once it would not come out the same."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from assets_core.state.locks import FileLocks
from tests.integration.conftest import PATIENCE, Answer

if TYPE_CHECKING:
    from tests.integration.conftest import Shop

DYNAMIC = """
    import pyarrow as pa
    from assets_core import AssetContext, asset
    from partitions import DailyPartitions, DynamicPartitions, MultiPartitions, StaticPartitions

    @asset(partitions=DynamicPartitions("files"))
    def loaded(context: AssetContext) -> pa.Table:
        return pa.table({"x": [1]})

    regions = StaticPartitions(["eu", "a, b", "b (1)", "*"])
    days = DailyPartitions("2025-01-01", end="2025-01-03")

    @asset(partitions=regions)
    def by_region(context: AssetContext) -> pa.Table:
        return pa.table({"x": [1]})

    @asset(partitions=MultiPartitions({"day": days, "region": regions}))
    def by_day(context: AssetContext) -> pa.Table:
        return pa.table({"x": [1]})
"""


def keep(shop: Shop, *words: str, name: str = "plan.json") -> Any:
    """Write the plan to a file and answer its data."""
    answer = shop.run("plan", *words, "-o", "json")
    (shop.folder / name).write_text(answer.out)
    return answer.data


def moved(shop: Shop, name: str = "plan.json") -> list[str]:
    """What is told to have moved, by a command that runs nothing."""
    before = shop.run("runs", "list", "--json").out
    answer = shop.run("materialize", "--plan", name, "--json", code=1)
    assert answer.error["code"] == "plan-moved"
    assert answer.error["hint"] == "make a new one: partita plan … -o json > plan.json"
    assert shop.run("runs", "list", "--json").out == before
    first, *told = answer.error["message"].splitlines()
    assert first.endswith("would not come out the same now, so nothing was run:")
    return told


def test_a_plan_is_kept_looked_at_and_run_and_a_second_time_refused(shop: Shop) -> None:
    kept = keep(shop)
    seen = shop.run("materialize", "--plan", "plan.json", "--dry-run")
    assert seen.out == shop.run("plan").out
    done = shop.run("materialize", "--plan", "plan.json", "--json").data
    assert (done["status"], done["counts"]) == ("succeeded", {"succeeded": kept["to_run"]})
    assert moved(shop) == [
        "orders 2025-01-01...2025-01-10 (10) were materialized or marked current since (seq 10)",
        "revenue 2025-01-01...2025-01-10 (10) were materialized or marked current since (seq 20)",
        "trend 2025-01-01...2025-01-10 (10) were materialized or marked current since (seq 30)",
        "prices was materialized or marked current since (seq 31)",
    ]
    # For people too, and a look at it is refused as the run is.
    answer = shop.run("materialize", "--plan", "plan.json", "--dry-run", code=1)
    assert "error: the plan of " in answer.err
    assert answer.out == ""
    assert "--plan" in shop.run("explain", "plan-moved").out


def test_exactly_the_plan_is_run_and_recorded_as_what_it_was_made_for(shop: Shop) -> None:
    kept = keep(shop, "orders", "2025-01-02...2025-01-04")
    assert kept["to_run"] == 3
    shop.run("materialize", "--plan", "plan.json")
    run = shop.run("runs", "list", "--json").data["runs"][0]
    assert (run["selection"], run["partitions"]) == ("orders", "2025-01-02...2025-01-04")
    rows = {one["asset"]: one["fresh"] for one in shop.run("status", "--json").data["assets"]}
    assert rows == {"orders": 3, "revenue": 0, "trend": 0, "prices": 0}


def test_forced_missing_upstream_and_downstream_are_part_of_the_plan(shop: Shop) -> None:
    shop.run("materialize")
    for words, counts in (
        (["orders", "2025-01-05", "--force", "--downstream"], {"succeeded": 1, "cut_off": 7}),
        (["revenue", "2025-01-05", "--force", "--upstream"], {"succeeded": 1}),
    ):
        keep(shop, *words)
        done = shop.run("materialize", "--plan", "plan.json", "--json").data
        counted = done["counts"]
        assert counted.get("succeeded") == counts["succeeded"]
        assert (
            sum(counted.values())
            == json.loads((shop.folder / "plan.json").read_text())["data"]["to_run"]
        )
    keep(shop, "--missing")
    assert (
        shop.run("materialize", "--plan", "plan.json", "--json").data["status"] == "nothing_to_do"
    )


def test_the_answer_of_a_dry_run_is_a_plan_too(shop: Shop) -> None:
    answer = shop.run("backfill", "orders", "2025-01-02", "--dry-run", "-o", "json")
    (shop.folder / "plan.json").write_text(answer.out)
    assert shop.run("materialize", "--plan", "plan.json", "--json").data["counts"] == {
        "succeeded": 1
    }


def test_a_plan_comes_on_standard_input(shop: Shop) -> None:
    def piped(text: str) -> Answer:
        done = subprocess.run(
            shop.command("materialize", "--plan", "-"),
            cwd=shop.folder,
            env=shop.environment(),
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    text = shop.run("plan", "prices", "-o", "json").out
    assert "1 succeeded" in piped(text).out
    assert piped(text).code == 1
    empty = piped("")
    assert (empty.code, empty.out) == (2, "")
    assert "standard input holds no plan that can be run: it is empty" in empty.err


def test_a_path_is_relative_to_the_folder_that_the_command_is_typed_in(shop: Shop) -> None:
    shop.write("pyproject.toml", '[tool.partita]\ndefinitions = "assets"\n')
    below = shop.folder / "notes"
    below.mkdir()
    (below / "mine.json").write_text(shop.run("plan", "prices", "-o", "json").out)
    assert "1 succeeded" in shop.run("materialize", "--plan", "mine.json", cwd=below).out


def test_code_that_was_edited_since_is_told(shop: Shop) -> None:
    keep(shop, "orders", "revenue")
    shop.edit("assets.py", '"amount": [1, 2]', '"amount": [1, 3]')
    (told,) = moved(shop)
    assert told.startswith("the code of orders changed: ")


def test_code_that_was_formatted_or_that_the_plan_is_not_about_moves_nothing(shop: Shop) -> None:
    keep(shop, "orders")
    shop.edit("assets.py", "[1, 2]", "[\n        1,  # one\n        2,\n    ]")
    shop.edit("assets.py", '"price": [3]', '"price": [4]')
    assert "10 succeeded" in shop.run("materialize", "--plan", "plan.json").out


def test_what_another_run_did_since_is_told(shop: Shop) -> None:
    keep(shop, "revenue", "2025-01-03...2025-01-04", "--upstream", name="both.json")
    shop.run("materialize", "orders")
    keep(shop, "revenue", "2025-01-03...2025-01-04")
    shop.edit("assets.py", '"amount": [1, 2]', '"amount": [1, 3]')
    shop.run("materialize", "orders", "2025-01-04")
    assert moved(shop) == ["orders@2025-01-04, which revenue reads, changed since (seq 11)"]
    assert moved(shop, "both.json")[0].startswith("the code of orders changed: ")


def test_what_moves_while_it_waits_for_the_lock_is_told_too(empty: Shop) -> None:
    empty.write("assets.py", DYNAMIC)
    empty.run("partitions", "add", "files", "a.csv")
    (empty.folder / "plan.json").write_text(empty.run("plan", "loaded", "-o", "json").out)
    lock = FileLocks(empty.folder / ".partita").exclude("state restart")
    with empty.start("materialize", "--plan", "plan.json") as process:
        assert process.stderr is not None
        assert "waiting for state restart" in process.stderr.readline()
        empty.run("partitions", "add", "files", "b.csv")
        lock.release()
        out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert "loaded@b.csv was not planned then, and now: planned (never materialized)" in err
    assert empty.run("runs", "list", "--json").data["runs"] == []


def test_keys_that_have_no_id_yet_are_run_as_planned(empty: Shop) -> None:
    empty.write("assets.py", DYNAMIC)
    kept = keep(empty, "by_region", "by_day", "a, b", name="some.json")
    assert kept["to_run"] == 1
    assert keep(empty, "by_region", "by_day")["to_run"] == 4 + 8
    assert empty.run("materialize", "--plan", "some.json", "--json").data["counts"] == {
        "succeeded": 1
    }
    # By now all keys have ids; what the first plan did moved the other.
    assert moved(empty) == ["by_region@a, b was materialized or marked current since (seq 1)"]
    keep(empty, "by_region", "by_day")
    assert empty.run("materialize", "--plan", "plan.json", "--json").data["counts"] == {
        "succeeded": 11
    }


def test_a_key_that_is_gone_moves_a_plan(empty: Shop) -> None:
    empty.write("assets.py", DYNAMIC)
    empty.run("partitions", "add", "files", "a.csv", "b.csv")
    keep(empty, "loaded")
    empty.run("partitions", "remove", "files", "b.csv")
    error = empty.run("materialize", "--plan", "plan.json", "--json", code=1).error
    assert error["code"] == "plan-moved"
    assert "2 partitions of loaded" in error["message"]


AT = """
import sys
from datetime import datetime, timezone
import cli.commands.plan, cli.commands.materialize, cli.commands.running
when = datetime.fromisoformat(sys.argv.pop(1)).replace(tzinfo=timezone.utc)

class At(datetime):
    @classmethod
    def now(cls, tz=None):
        return when

for module in (cli.commands.plan, cli.commands.materialize, cli.commands.running):
    module.datetime = At
from cli.main import run
run()
"""


def test_a_plan_that_is_run_after_midnight_runs_the_days_of_before(shop: Shop) -> None:
    def at(instant: str, *arguments: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-P", "-c", AT, instant, *arguments],
            cwd=shop.folder,
            env=shop.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    shop.edit("assets.py", ', end="2025-01-11"', "")
    before = at("2025-01-10T22:59:00", "plan", "orders", "latest:2", "-o", "json")
    (shop.folder / "plan.json").write_text(before.out)
    late = at("2025-01-10T23:01:00", "materialize", "--plan", "plan.json", "--json")
    assert late.data["counts"] == {"succeeded": 2}
    # Berlin's 10th is over: `latest:2` typed now means other days than when the plan was made.
    after = at("2025-01-10T23:02:00", "plan", "orders", "latest:3", "-o", "json").data
    (row,) = after["assets"][0]["rows"]
    assert (row["reason"], row["partitions"]["text"]) == ("missing", "2025-01-10 (1)")
    early = at("2025-01-10T22:58:00", "materialize", "--plan", "plan.json")
    assert early.code == 2
    assert "made at 2025-01-10T22:59:00+00:00, which is still to come" in early.err


def test_the_exit_code_tells_whether_there_is_something_to_run(shop: Shop) -> None:
    answer = shop.run("plan", "--detailed-exitcode", "-o", "json", code=5)
    (shop.folder / "plan.json").write_text(answer.out)
    shop.run("materialize", "--plan", "plan.json")
    answer = shop.run("plan", "--detailed-exitcode", "-o", "json", code=0)
    assert answer.data["to_run"] == 0
    (shop.folder / "plan.json").write_text(answer.out)
    assert "all up to date" in shop.run("materialize", "--plan", "plan.json").out


@pytest.mark.parametrize(
    "more",
    [
        ["orders"],
        ["2025-01-01"],
        ["--partitions", "2025-01-01"],
        ["--from", "2025-01-01"],
        ["--to", ""],
        ["--force"],
        ["--missing"],
        ["--upstream"],
        ["--downstream"],
    ],
    ids=lambda more: more[0],
)
def test_what_is_run_can_not_be_said_twice(shop: Shop, more: list[str]) -> None:
    keep(shop, "prices")
    error = shop.run("materialize", "--plan", "plan.json", *more, "--json", code=2).error
    assert (
        error["message"] == f"--plan says all of what is run, and {more[0]} says something as well"
    )
    assert not shop.run("runs", "list", "--json").data["runs"]


def test_a_file_that_holds_no_plan_is_a_usage_error_that_says_what_it_holds(shop: Shop) -> None:
    text = json.dumps(keep(shop))
    for name, content, told in (
        ("cut.json", text[:100], "it is not JSON, or was cut short"),
        ("data.json", text, "it is JSON, and no answer of partita"),
        ("status.json", shop.run("status", "--json").out, "it is the answer of `partita status`"),
        (
            "error.json",
            shop.run("plan", "ordrs", "--json", code=2).out,
            "it is the error that the plan ended with: there is no asset 'ordrs'",
        ),
    ):
        shop.write(name, content)
        error = shop.run("materialize", "--plan", name, "--json", code=2).error
        assert error["code"] == "plan"
        assert told in error["message"]
    error = shop.run("materialize", "--plan", "nowhere.json", "--json", code=2).error
    assert error["message"] == "the plan 'nowhere.json' can't be read: No such file or directory"
    # Before the project is looked at: a broken one must not hide what is wrong with the file.
    shop.write("assets.py", "1 / 0\n")
    assert "cut short" in shop.run("materialize", "--plan", "cut.json", code=2).err


def test_a_plan_of_another_project_is_refused(shop: Shop) -> None:
    keep(shop)
    shop.edit("assets.py", "def prices", "def costs")
    error = shop.run("materialize", "--plan", "plan.json", "--json", code=2).error
    assert (
        error["message"]
        == "the plan is about the asset 'prices', which this project does not have"
    )


def test_an_estimate_rests_on_past_steps_and_says_on_how_many(shop: Shop) -> None:
    first = shop.run("plan", "--json")
    assert first.data["estimate"]["seconds"] is None
    assert sorted(first.data["estimate"]["not_counted"]) == [
        "orders",
        "prices",
        "revenue",
        "trend",
    ]
    assert "estimate" not in first.err
    shop.run("materialize", "orders")
    for command in (["plan"], ["materialize", "--dry-run"]):
        again = shop.run(*command, "orders", "prices", "--force", "--json")
        estimate = again.data["estimate"]
        assert estimate["seconds"] > 0
        assert (estimate["steps"], estimate["not_counted"]) == (10, ["prices"])
        (one,) = estimate["assets"]
        assert (one["asset"], one["steps"]) == ("orders", 10)
        (told,) = again.err.splitlines()
        assert told.startswith("estimate: about ")
        assert told.endswith(
            ", judged by 10 past steps; 1 asset has no measured step yet and is not counted"
        )
    idle = shop.run("plan", "orders")
    assert (idle.err, "estimate" in idle.out) == ("", False)
