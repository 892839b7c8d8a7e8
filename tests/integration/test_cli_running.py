"""Commands that run something: what they run, what they print, what they leave behind, and how they are stopped."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from assets_core.state.locks import FileLocks

if TYPE_CHECKING:
    from tests.integration.conftest import Shop

SLOW = """
    import time

    import pyarrow as pa
    from assets_core import AssetContext, asset
    from partitions import DailyPartitions

    days = DailyPartitions("2025-01-01", end="2025-03-01")


    @asset(partitions=days)
    def slow(context: AssetContext) -> pa.Table:
        time.sleep(0.05)
        return pa.table({"x": [1]})
"""


@pytest.mark.parametrize("example", ["daily", "rollup"])
def test_a_new_project_works_at_once(empty: Shop, example: str) -> None:
    from tests.integration.conftest import Shop

    empty.run("init", "new shop", "--example", example)
    project = Shop(empty.folder / "new shop")
    assert "succeeded" in project.run("materialize").out
    assert "all up to date" in project.run("materialize").out
    assert project.run("doctor").code == 0


def test_init_overwrites_nothing(empty: Shop) -> None:
    mine = empty.write("here/README.md", "mine\n")
    answer = empty.run("init", "here", code=2)
    assert "README.md" in answer.err
    assert mine.read_text() == "mine\n"
    assert [path.name for path in mine.parent.iterdir()] == ["README.md"]


def test_materialize_runs_what_plan_shows_and_then_nothing(shop: Shop) -> None:
    planned = shop.run("plan", "--json").data["to_run"]
    data = shop.run("materialize", "--json").data
    assert data["status"] == "succeeded"
    assert data["counts"] == {"succeeded": planned}
    assert {one["asset"]: one["rows"] for one in data["assets"]} == {
        "orders": 20,
        "revenue": 10,
        "trend": 10,
        "prices": 1,
    }
    assert all("data.duckdb" in one["location"] for one in data["assets"])
    assert shop.run("materialize", "--json").data["status"] == "nothing_to_do"


def test_a_second_run_says_so_and_touches_nothing(shop: Shop) -> None:
    shop.run("materialize")
    shop.run("list")
    shop.run("plan")  # by now the manifest is kept
    before = shop.contents()
    answer = shop.run("materialize")
    assert "all up to date" in answer.out
    assert shop.contents() == before


def test_what_assets_print_goes_to_the_log_and_json_stays_alone(shop: Shop) -> None:
    shop.write(
        "assets.py",
        """
        import os
        import subprocess
        import pyarrow as pa
        from assets_core import asset

        print("while imported")
        os.write(1, b"past Python\\n")
        subprocess.run(["echo", "from another program"])

        @asset
        def loud() -> pa.Table:
            print("while run")
            os.write(1, b"past Python again\\n")
            return pa.table({"x": [1]})
        """,
    )
    answer = shop.run("materialize", "--json")
    assert json.loads(answer.out)["data"]["status"] == "succeeded"
    assert "past Python again" in answer.err
    assert "from another program" in answer.err
    assert "while run" in shop.run("runs", "logs", "latest").out


def test_events_come_as_json_lines(shop: Shop) -> None:
    lines = shop.run("materialize", "orders", "2025-01-01", "-o", "jsonl").out.splitlines()
    events = [json.loads(line) for line in lines]
    assert [one["event"] for one in events] == [
        "run_started",
        "step_started",
        "step_succeeded",
        "run_finished",
    ]
    assert events[2]["partitions"] == ["2025-01-01"]


def test_a_run_as_csv_has_a_row_per_asset(shop: Shop) -> None:
    out = shop.run("materialize", "prices", "-o", "csv").out
    assert out.splitlines()[0].startswith("asset,succeeded,failed")
    assert out.splitlines()[1].startswith("prices,1,0")


def test_each_distinct_failure_is_shown_once_with_the_users_frames(shop: Shop) -> None:
    shop.edit(
        "assets.py",
        'print("looking at"',
        'raise ValueError(f"no {context.partition_key}")\n    print("looking at"',
    )
    answer = shop.run("materialize", code=1)
    assert answer.out.count("Traceback (most recent call last)") == 1
    assert "in orders" in answer.out
    assert "10 partitions" in answer.out
    assert "assets_core/" not in answer.out + answer.err
    data = shop.run("materialize", "orders", "2025-01-01", "--json", code=1).data
    assert "no 2025-01-01" in data["failures"][0]["traceback"]
    assert "failed" in shop.run("status").out


def test_a_failed_check_is_an_exit_code_of_1(shop: Shop) -> None:
    shop.edit(
        "assets.py",
        "days = Daily",
        "from assets_core import CheckResult, asset_check\n\n\n"
        "@asset_check('prices')\ndef cheap(prices) -> CheckResult:\n"
        "    return CheckResult(passed=False, message='too dear')\n\n\ndays = Daily",
    )
    answer = shop.run("materialize", "prices", code=1)
    assert "too dear" in answer.out
    assert "check failed: prices:cheap" in shop.run("runs", "show", "latest").out


def test_everything_asked_for_is_blocked_is_no_success(shop: Shop) -> None:
    answer = shop.run("materialize", "revenue", "2025-01-02", code=1)
    assert "--upstream" in answer.out
    shop.run("materialize", "revenue", "2025-01-02", "--upstream")


def test_a_backfill_is_recorded_as_one(shop: Shop) -> None:
    shop.run("backfill", "orders", "2025-01-02...2025-01-04")
    (run,) = shop.run("runs", "list", "--json").data["runs"]
    assert (run["kind"], run["selection"]) == ("backfill", "orders")
    assert run["partitions"] == "2025-01-02...2025-01-04"
    again = shop.run("backfill", "orders", "2025-01-02...2025-01-04", "--force", "--json").data
    assert again["counts"] == {"succeeded": 3}


def test_a_dry_run_changes_nothing(shop: Shop) -> None:
    shop.run("plan")
    before = shop.contents()
    assert shop.run("materialize", "--dry-run", "--json").data["to_run"] == 31
    assert shop.contents() == before


def test_a_static_key_that_was_never_seen_is_planned_and_run(empty: Shop) -> None:
    empty.write(
        "assets.py",
        """
        import pyarrow as pa
        from assets_core import asset
        from partitions import StaticPartitions

        @asset(partitions=StaticPartitions(["eu", "us"]))
        def regions(context) -> pa.Table:
            return pa.table({"x": [1]})
        """,
    )
    assert empty.run("plan", "--json").data["to_run"] == 2
    empty.run("materialize", "us")
    assert empty.run("plan", "--json").data["to_run"] == 1


def test_dynamic_keys_come_and_go(empty: Shop) -> None:
    empty.write(
        "assets.py",
        """
        import pyarrow as pa
        from assets_core import asset
        from partitions import DynamicPartitions

        @asset(partitions=DynamicPartitions("customers"))
        def orders(context) -> pa.Table:
            return pa.table({"customer": [context.partition_key]})

        @asset
        def total(orders: pa.Table) -> pa.Table:
            return pa.table({"orders": [len(orders)]})
        """,
    )
    assert (
        "blocked: they read partitions that orders does not have" in empty.run("materialize").out
    )
    empty.run("partitions", "add", "customers", "acme", "initech", "../odd; name")
    clash = empty.run("partitions", "add", "customers", "new", "ACME", code=2)
    assert "differs from 'acme' only by case" in clash.err
    assert "nothing was added" in clash.err
    first = empty.run("materialize", "--json").data
    assert first["counts"] == {"succeeded": 4}
    keys = [one["key"] for one in empty.run("partitions", "list", "--json").data["keys"]]
    assert keys == ["acme", "initech", "../odd; name"]
    empty.run("partitions", "remove", "customers", "initech")
    assert "did you mean acme" in empty.run("partitions", "remove", "customers", "acm", code=2).err
    assert empty.run("plan", "orders", "--force", "--json").data["to_run"] == 2
    shown = empty.run("runs", "show", first["run"]).out
    assert "acme, ../odd; name, initech" in shown, "by name, and what is gone last"
    # What reads all of them reads one less now, and one more again when its state came back.
    for command, rows in (("remove", 2), ("add", 3)):
        if command == "add":
            empty.run("partitions", "add", "customers", "initech")
        assert empty.run("plan", "--json").data["to_run"] == 1
        told = empty.run("explain", "total").out
        assert "a partition of orders was removed or came back" in told
        assert empty.run("materialize", "--json").data["counts"] == {"succeeded": 1}
        found = empty.run("query", "from total", "--json").data["rows"]
        assert found == [{"orders": rows}]
        assert empty.run("plan", "--json").data["to_run"] == 0
        assert empty.run("state", "verify").code == 0
    refused = empty.run("partitions", "add", "customers", " x", code=2)
    assert "white space" in refused.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_clean(shop: Shop, number: signal.Signals) -> None:
    shop.write("assets.py", SLOW)
    with shop.start("materialize") as process:
        assert process.stderr is not None
        assert process.stdout is not None
        # A line about a finished step: the run is under way.
        while "done" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        out = process.stdout.read()
        assert process.wait() == 130
    assert "cancelled" in out
    (run,) = shop.run("runs", "list", "--json").data["runs"]
    assert run["status"] == "cancelled"
    left = shop.run("plan", "--json").data["to_run"]
    assert 0 < left < 59
    assert shop.run("materialize", "--json").data["counts"] == {"succeeded": left}


def test_a_run_that_was_killed_is_recovered_by_the_next(shop: Shop) -> None:
    shop.write("assets.py", SLOW)
    with shop.start("materialize") as process:
        assert process.stderr is not None
        while "done" not in process.stderr.readline():
            assert process.poll() is None
        process.kill()
    (run,) = shop.run("runs", "list", "--json").data["runs"]
    assert run["status"] == "interrupted"
    assert "was cut off" in shop.run("doctor").out
    assert f"recovered: run {run['run']}" in shop.run("materialize").err
    assert [one["status"] for one in shop.run("runs", "list", "--json").data["runs"]] == [
        "succeeded",
        "crashed",
    ]
    assert shop.run("plan", "--json").data["to_run"] == 0


def test_maintenance_is_waited_for_and_named(shop: Shop) -> None:
    lock = FileLocks(shop.folder / ".partita").exclude("state restart")
    with shop.start("materialize", "prices") as process:
        assert process.stderr is not None
        waiting = process.stderr.readline()
        assert "waiting for state restart" in waiting
        assert str(os.getpid()) in waiting
        lock.release()
        process.communicate()
        assert process.returncode == 0


def test_a_wait_can_be_interrupted(shop: Shop) -> None:
    with (
        FileLocks(shop.folder / ".partita").exclude("state restart"),
        shop.start("materialize") as process,
    ):
        assert process.stderr is not None
        assert "waiting" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate()
        assert process.returncode == 130
        assert rest.strip() == "interrupted"


def on_a_terminal(shop: Shop, *arguments: str, **env: str) -> tuple[int, str]:
    """Run a command whose output is a terminal; answer its exit code and all that it wrote there."""
    ours, theirs = pty.openpty()
    environment = shop.environment({"TERM": "xterm-256color", "COLUMNS": "100", **env})
    for name in ("NO_COLOR", "CI"):
        environment.pop(name, None)
    process = subprocess.Popen(
        shop.command(*arguments),
        cwd=shop.folder,
        env=environment | env,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # how Linux says that the other end was closed
            break
        if not piece:
            break
        written += piece
    os.close(ours)
    return process.wait(), written.decode()


def test_a_terminal_gets_a_bar_and_colours_and_no_line_per_step(shop: Shop) -> None:
    code, text = on_a_terminal(shop, "materialize")
    assert code == 0
    assert "\x1b[32msucceeded\x1b[0m" in text
    assert "done       orders@" not in text


def test_no_color_is_respected_on_a_terminal(shop: Shop) -> None:
    _, text = on_a_terminal(shop, "status", NO_COLOR="1")
    assert "\x1b" not in text
    assert "orders" in text


def test_failures_are_shown_above_the_bar(shop: Shop) -> None:
    shop.edit(
        "assets.py",
        'print("looking at"',
        'raise ValueError("\\x1b[2J[bold]bad[/bold]")\n    print("looking at"',
    )
    code, text = on_a_terminal(shop, "materialize", "orders", "2025-01-01...2025-01-02")
    assert code == 1
    assert "\x1b[2J" not in text, "a message can't steer the terminal"
    assert "[bold]bad[/bold]" in text


def test_mark_current_accepts_a_change_that_does_not_matter(shop: Shop) -> None:
    shop.run("materialize")
    shop.edit("assets.py", '{"price": [3]}', "dict(price=[3])")
    before = shop.run("plan", "--json").data["to_run"]
    assert before > 0
    told = shop.run("mark-current", "*", "--dry-run", "--json").data
    assert told["dry_run"] is True
    assert [one["asset"] for one in told["accepted"]] == ["prices"]
    assert shop.run("plan", "--json").data["to_run"] == before
    shop.run("mark-current", "*")
    assert shop.run("plan", "--json").data["to_run"] == 0
    assert shop.run("mark-current", code=2).err.startswith("error: mark-current needs assets")


def test_the_state_is_verified_and_compacted(shop: Shop) -> None:
    shop.run("materialize")
    assert "the state is sound" in shop.run("state", "verify").out
    planned = shop.run("status", "--json").data
    folded = shop.run("state", "compact", "--rebuild", "--json").data
    assert folded["rows"] > 0
    assert shop.run("status", "--json").data == planned
    assert shop.run("state", "verify", "--json").data == {"problems": []}


def test_what_is_stale_because_of_something_not_planned_is_never_called_up_to_date(
    shop: Shop,
) -> None:
    shop.run("materialize")
    shop.edit("assets.py", '"amount": [1, 2]', '"amount": [1, 3]')
    for words in (["plan", "revenue"], ["materialize", "revenue"]):
        answer = shop.run(*words)
        assert "up to date" not in answer.out
        assert "nothing to run now (0 fresh), 10 waiting for what they read" in answer.out
        assert "hint: --upstream plans what makes waiting partitions stale" in answer.out
    part = shop.run("plan", "revenue", "--json").data["assets"][0]
    assert (part["waiting"]["count"], part["fresh"]) == (10, 0)
    assert "10 stale but not missing" in shop.run("plan", "--missing", "orders").out
    assert "20 partitions to run" in shop.run("materialize", "revenue", "--upstream").err
    assert "all up to date (10 fresh)" in shop.run("plan", "revenue").out
