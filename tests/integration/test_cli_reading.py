"""Commands that only look: list, plan, status, explain, lineage, show, doctor, runs, completion, and what they load."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Shop

HEAVY = {
    "apsw",
    "duckdb",
    "networkx",
    "numpy",
    "pandas",
    "pendulum",
    "pyarrow",
    "pydantic",
    "rich",
}
LOOKING = [
    ["list"],
    ["show", "trend"],
    ["plan"],
    ["materialize", "--dry-run"],
    ["backfill", "orders", "2025-01", "--dry-run"],
    ["status"],
    ["explain", "trend@2025-01-10"],
    ["explain", "store"],
    ["lineage"],
    ["lineage", "trend@2025-01-10"],
    ["runs", "list"],
    ["runs", "show", "latest"],
    ["runs", "logs", "latest"],
    ["partitions", "list"],
    ["doctor"],
    ["completion", "zsh"],
]


@pytest.fixture
def ran(shop: Shop) -> Shop:
    """The shop after its first run."""
    shop.run("materialize")
    return shop


def modules_after(shop: Shop, *arguments: str) -> set[str]:
    code = (
        "import sys\nfrom cli.main import main\n"
        f"code = main({list(arguments)!r})\n"
        "print(code, *sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=shop.folder,
        env=shop.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    answered, *names = done.stderr.split()
    assert answered == "0", done.stderr
    return set(names)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], [], ["plan", "--help"], ["runs", "--help"]]
)
def test_help_loads_nothing_heavy(empty: Shop, arguments: list[str]) -> None:
    assert modules_after(empty, *arguments) & HEAVY == set()


def trusted_manifest(shop: Shop) -> None:
    """Look until the manifest is kept: one of files that were written a moment ago is not trusted yet."""
    for _ in range(50):
        if (shop.folder / ".partita" / "manifest.json").exists():
            return
        shop.run("list")
    pytest.fail("no manifest is ever kept")


@pytest.mark.parametrize("arguments", [["list"], ["list", "bronze", "--json"], ["lineage"]])
def test_looking_at_an_unchanged_project_imports_none_of_it(
    shop: Shop, arguments: list[str]
) -> None:
    trusted_manifest(shop)
    if "bronze" in arguments:
        arguments = ["list", "group:bronze", "--json"]
    loaded = modules_after(shop, *arguments)
    assert loaded & (HEAVY | {"assets"}) == set()


def test_a_changed_module_is_imported_again(shop: Shop) -> None:
    trusted_manifest(shop)
    shop.edit("assets.py", "Not partitioned.", "One table.")
    assert "One table." in shop.run("list").out


def test_another_environment_and_a_file_that_was_missing_are_noticed(shop: Shop) -> None:
    text = (shop.folder / "assets.py").read_text()
    (shop.folder / "assets.py").write_text(
        f"{text}\nimport os\nfrom pathlib import Path\n\ntry:\n    GROUP = Path('group.txt').read_text()\n"
        "except FileNotFoundError:\n    GROUP = os.environ.get('SHOP_GROUP', 'unset')\n\n\n"
        "@asset(group=GROUP)\ndef where(): ...\n"
    )
    trusted_manifest(shop)
    told: list[str] = []
    for env in ({}, {"SHOP_GROUP": "test"}, {"SHOP_GROUP": "live"}, {"OTHER": "1"}):
        listed = shop.run("list", "where", "--json", env=env)
        told += [one["group"] for one in listed.data["assets"]]
    (shop.folder / "group.txt").write_text("file")
    told += [one["group"] for one in shop.run("list", "where", "--json").data["assets"]]
    assert told == ["unset", "test", "live", "unset", "file"]


def test_a_new_module_is_noticed(shop: Shop) -> None:
    shop.write("shop/__init__.py", "")
    shop.write("shop/one.py", "from assets_core import asset\n@asset\ndef first(): ...\n")
    listed = ("-m", "shop", "list", "--json")
    assert [one["asset"] for one in shop.run(*listed).data["assets"]] == ["first"]
    shop.write("shop/two.py", "from assets_core import asset\n@asset\ndef second(): ...\n")
    assert [one["asset"] for one in shop.run(*listed).data["assets"]] == ["first", "second"]


def test_a_changed_pyproject_is_noticed(shop: Shop) -> None:
    shop.write("pyproject.toml", '[tool.partita]\ndefinitions = "assets"\n')
    shop.run("list")
    shop.write("other.py", "from assets_core import asset\n@asset\ndef only(): ...\n")
    shop.write("pyproject.toml", '[tool.partita]\ndefinitions = "other"\n')
    assert [one["asset"] for one in shop.run("list", "--json").data["assets"]] == ["only"]


def test_partita_alone_prints_the_help(empty: Shop) -> None:
    assert empty.run().out == empty.run("--help").out
    assert "materialize" in empty.run().out
    assert re.fullmatch(r"partita \d+\.\d+\.\d+\n", empty.run("--version").out)


@pytest.mark.parametrize("arguments", LOOKING, ids=" ".join)
def test_looking_works_in_every_format_and_json_is_alone_on_standard_output(
    ran: Shop, arguments: list[str]
) -> None:
    ran.edit("assets.py", "import pyarrow", 'print("imported")\nimport pyarrow')
    assert ran.run(*arguments).out.strip()
    envelope = json.loads(ran.run(*arguments, "--json").out)
    assert envelope["partita"] == 1
    assert envelope["command"].split()[0] == arguments[0]
    for text in ran.run(*arguments, "-o", "jsonl").out.splitlines():
        assert isinstance(json.loads(text), dict)
    rows = list(csv.reader(io.StringIO(ran.run("-o", "csv", *arguments).out)))
    assert len({len(row) for row in rows}) == 1


def test_looking_at_a_project_that_never_ran_makes_no_state(shop: Shop) -> None:
    for arguments in (["plan"], ["status"], ["runs", "list"], ["doctor"], ["show", "trend"]):
        shop.run(*arguments)
    assert not (shop.folder / ".partita" / "state.db").exists()
    assert not (shop.folder / ".partita" / "data.duckdb").exists()


def test_a_project_is_found_from_below_and_its_paths_do_not_move(shop: Shop) -> None:
    shop.write("pyproject.toml", '[tool.partita]\ndefinitions = "assets"\n')
    below = shop.folder / "deep" / "down"
    below.mkdir(parents=True)
    shop.run("materialize", "prices", cwd=below)
    assert shop.run("plan", "prices", "--json").data["to_run"] == 0
    assert list(below.iterdir()) == []


def test_a_module_in_a_src_folder_is_found(empty: Shop) -> None:
    empty.write("pyproject.toml", '[tool.partita]\ndefinitions = "shop.assets"\n')
    empty.write("src/shop/__init__.py", "")
    empty.write("src/shop/assets.py", "from assets_core import asset\n@asset\ndef a(): ...\n")
    assert "a " in empty.run("list").out


def test_config_of_pyproject_reaches_the_asset(empty: Shop) -> None:
    empty.write(
        "assets.py",
        """
        import pyarrow as pa
        from pydantic import BaseModel
        from assets_core import asset

        class Settings(BaseModel):
            size: int = 1

        @asset
        def numbers(config: Settings) -> pa.Table:
            return pa.table({"n": list(range(config.size))})
        """,
    )
    empty.write(
        "pyproject.toml",
        '[tool.partita]\ndefinitions = "assets"\n[tool.partita.config.numbers]\nsize = 5\n',
    )
    assert empty.run("materialize", "--json").data["rows"] == 5


def test_list_shows_selected_assets_in_topological_order(shop: Shop) -> None:
    assets = shop.run("list", "+trend", "--json").data["assets"]
    assert [one["asset"] for one in assets] == ["orders", "revenue", "trend"]
    assert assets[0]["tags"] == {"team": "shop"}
    assert [
        one["asset"] for one in shop.run("list", "not", "+trend", "--json").data["assets"]
    ] == ["prices"]


def test_show_tells_all_about_an_asset(ran: Shop) -> None:
    text = ran.run("show", "trend").out
    for words in ("Seven days.", "revenue", "last-n(7)", "assets.py:", "10 fresh", "data.duckdb"):
        assert words in text
    data = ran.run("show", "orders", "--json").data
    assert data["read_by"] == ["revenue"]
    assert data["state"]["fresh"] == 10


def test_plan_groups_reasons_per_asset_and_echoes_the_range(shop: Shop) -> None:
    answer = shop.run("plan", "orders+", "2025-01-01...2025-01-03")
    assert "2025-01-01...2025-01-03 (3) Europe/Berlin" in answer.err
    assert "9 partitions to run in 3 assets" in answer.out
    data = shop.run("plan", "orders+", "2025-01-01...2025-01-03", "--json").data
    assert [one["timezone"] for one in data["range"]] == ["Europe/Berlin"] * 3


@pytest.mark.parametrize(
    ("words", "assets", "count"),
    [
        (["orders", "2025-01-02"], ["orders"], 1),
        (["2025-01-02", "orders"], ["orders"], 1),
        (["orders", "prices", "2025-01-02"], ["orders", "prices"], 2),
        (["2025-01-02"], ["orders", "revenue", "trend", "prices"], 4),
        (["group:silver", "or", "prices"], ["revenue", "prices"], 11),
        (["group:silver or prices", "latest:2"], ["revenue", "prices"], 3),
        (["orders", "--from", "2025-01-09"], ["orders"], 2),
        (["orders", "--to", "2025-01-02"], ["orders"], 2),
        (["orders", "--partitions", "2025-01"], ["orders"], 10),
        (["orders", "-9999d...2025-01-01"], ["orders"], 1),
    ],
)
def test_words_are_assets_or_ranges_by_what_they_can_be(
    shop: Shop, words: list[str], assets: list[str], count: int
) -> None:
    data = shop.run("plan", *words, "--force", "--json").data
    assert sorted(one["asset"] for one in data["assets"]) == sorted(assets)
    assert data["to_run"] + data["blocked"] == count


def test_a_key_that_is_named_like_an_asset_is_reached_by_the_option(empty: Shop) -> None:
    empty.write(
        "assets.py",
        """
        from assets_core import asset
        from partitions import StaticPartitions

        @asset(partitions=StaticPartitions(["eu", "us"]))
        def eu(): ...
        """,
    )
    assert empty.run("plan", "eu", "--json").data["to_run"] == 2
    assert empty.run("plan", "--partitions", "eu", "--json").data["to_run"] == 1
    assert empty.run("plan", "eu", "us", "--json").data["to_run"] == 1
    answer = empty.run("plan", "eu", "uss", code=2)
    assert "us" in answer.err


def test_blocked_partitions_are_shown_with_what_helps(shop: Shop) -> None:
    answer = shop.run("plan", "revenue")
    assert "blocked" in answer.out
    assert "--upstream" in answer.out
    data = shop.run("plan", "revenue", "--upstream", "--json").data
    assert (data["to_run"], data["blocked"]) == (20, 0)


def test_a_detailed_exit_code_tells_whether_there_is_work(shop: Shop) -> None:
    shop.run("plan", "prices", "--detailed-exitcode", code=5)
    shop.run("materialize", "prices")
    shop.run("plan", "prices", "--detailed-exitcode", code=0)


def test_status_counts_and_draws(ran: Shop) -> None:
    ran.edit("assets.py", "[sum(orders", "[2 * sum(orders")
    text = ran.run("status").out
    assert "█" * 10 in text
    assert "▄" * 10 in text
    assert "#" * 10 in ran.run("status", env={"PYTHONIOENCODING": "ascii"}).out
    assets = {one["asset"]: one for one in ran.run("status", "--json").data["assets"]}
    assert assets["revenue"]["reasons"] == {"code": 10}
    assert assets["trend"]["stale"] == 10
    assert assets["orders"]["last_at"].endswith("Z")
    assert [one["asset"] for one in ran.run("list", "status:code", "--json").data["assets"]] == [
        "revenue"
    ]


def test_explain_draws_the_causes(ran: Shop) -> None:
    ran.edit("assets.py", "[sum(orders", "[2 * sum(orders")
    text = ran.run("explain", "trend@2025-01-02").out
    assert "trend@2025-01-02" in text
    assert "├─ revenue@2025-01-01" in text
    assert "the code changed" in text
    assert ran.run("explain", "prices", "--json").data["reason"] == "fresh"


def test_explain_of_a_code_needs_no_project(empty: Shop) -> None:
    assert "runs backwards" in empty.run("explain", "range-syntax").out
    assert "range-syntax" in empty.run("explain", "range-syntx", code=2).err


def test_lineage_of_a_partition_goes_one_level_both_ways(shop: Shop) -> None:
    data = shop.run("lineage", "revenue@2025-01-05", "--json").data
    assert [(one["upstream"], one["downstream"]) for one in data["edges"]] == [
        ("orders", "revenue@2025-01-05"),
        ("revenue@2025-01-05", "trend"),
    ]
    notes = {one["name"]: one["note"] for one in data["nodes"]}
    assert notes["trend"] == "2025-01-05...2025-01-10 (6)"


def test_lineage_as_json_is_the_json_of_every_command(shop: Shop) -> None:
    assert shop.run("lineage", "--format", "json").out == shop.run("lineage", "--json").out


def test_runs_can_be_listed_shown_and_read(ran: Shop) -> None:
    (run,) = ran.run("runs", "list", "--json").data["runs"]
    assert (run["status"], run["kind"]) == ("succeeded", "materialize")
    short = run["run"][:4]
    shown = ran.run("runs", "show", short, "--json").data
    assert {(step["asset"], step["count"]) for step in shown["steps"]} == {
        ("orders", 10),
        ("revenue", 10),
        ("trend", 10),
        ("prices", 1),
    }
    logged = ran.run("runs", "logs", short, "orders@2025-01-03").out
    assert "looking at 2025-01-03" in logged
    assert "2025-01-04" not in logged
    assert "looking at 2025-01-04" in ran.run("runs", "logs", short, "orders").out


def test_runs_can_be_shown_while_the_project_does_not_load(ran: Shop) -> None:
    ran.write("assets.py", "import nosuchmodule\n")
    answer = ran.run("runs", "show", "latest")
    assert "#" in answer.out
    assert "can't be loaded" in answer.err


def test_the_doctor_is_content_with_a_sound_project(ran: Shop) -> None:
    answer = ran.run("doctor")
    assert "everything is in working order" in answer.out
    assert ran.run("doctor", "--json").data["healthy"] is True


def test_the_doctor_reports_a_project_that_does_not_load_and_goes_on(ran: Shop) -> None:
    ran.write("assets.py", "import nosuchmodule\n")
    answer = ran.run("doctor", code=1)
    assert "nosuchmodule" in answer.out
    assert "partita list shows the frames" in answer.out
    assert "state.db is sound" in answer.out


def test_data_that_is_gone_is_noticed(ran: Shop) -> None:
    (ran.folder / ".partita" / "data.duckdb").unlink()
    status = ran.run("status")
    assert "data gone" in status.out
    assert "partita materialize orders" in status.out
    assert "partita materialize orders\n" in ran.run("doctor", code=1).out
    # What an asset reads may be gone as well; the hint must work whichever is typed first.
    assert "partita materialize trend --upstream makes it again" in status.out
    assert "partita materialize trend --upstream\n" in ran.run("doctor", code=1).out
    ran.run("materialize", "trend", "--upstream")
    assert ran.run("plan", "trend").out.startswith("all up to date")
    ran.run("materialize")
    ran.run("doctor")


def completed(shop: Shop, line: str) -> list[str]:
    words = line.split(" ")
    env = {
        "_PARTITA_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    lines = shop.run(env=env, code=None).out.split()
    return [one.partition(",")[2] for one in lines]


def test_a_shell_completes_commands_options_and_assets(shop: Shop) -> None:
    assert completed(shop, "partita mat") == ["materialize"]
    assert "--force" in completed(shop, "partita plan --f")
    assert completed(shop, "partita plan or") == [], "nothing is known before the first look"
    trusted_manifest(shop)
    assert completed(shop, "partita plan or") == ["orders"]
    assert completed(shop, "partita plan +tr") == ["+trend"]
    shop.write("assets.py", "import nosuchmodule\n")
    assert completed(shop, "partita show pr") == ["prices"], "no code of the user's is run"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(empty: Shop, shell: str) -> None:
    assert "_PARTITA_COMPLETE" in empty.run("completion", shell).out


def test_a_reader_that_goes_away_is_no_error(ran: Shop) -> None:
    import subprocess

    process = subprocess.Popen(
        ran.command("runs", "logs", "latest"),
        cwd=ran.folder,
        env=ran.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() in {0, 141}
    process.stderr.close()


def test_partitions_that_were_redefined_under_their_state_are_noticed(ran: Shop) -> None:
    ran.edit("assets.py", 'timezone="Europe/Berlin"', 'timezone="UTC"')
    for answer in (
        ran.run("status"),
        ran.run("show", "orders"),
        ran.run("doctor", code=1),
        ran.run("plan", code=2),
    ):
        told = answer.out + answer.err
        assert "orders was materialized with the partitions 'day|Europe/Berlin|+00:00'" in told
        assert "partita state restart orders" in told


def test_the_log_of_what_a_run_did_not_do_is_a_mistake(ran: Shop) -> None:
    answer = ran.run("runs", "logs", "latest", "ordrs", code=2)
    assert "has no step of 'ordrs'" in answer.err
    assert "did you mean orders?" in answer.err
    assert ran.run("runs", "logs", "latest", "orders").code == 0
