"""Bad input: exit code 2, one message, what to type next, and never a traceback of ours."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Answer, Shop


def refused(answer: Answer, *words: str) -> None:
    assert answer.code == 2, answer.err
    assert answer.err.count("error: ") == 1
    assert "assets_core/" not in answer.err
    assert "cli/" not in answer.err.replace("my_cli", "")
    for word in words:
        assert word in answer.err, answer.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["plna"], ["no command 'plna'", "partita plan?"], id="command"),
        pytest.param(
            ["runs", "shwo"], ["no command 'shwo'", "partita runs show"], id="subcommand"
        ),
        pytest.param(["plan", "--forse"], ["--forse", "did you mean", "--force"], id="option"),
        pytest.param(["plan", "-o", "xml"], ["'xml' is not one of"], id="format"),
        pytest.param(["plan", "--force", "--missing"], ["--force and --missing"], id="modes"),
        pytest.param(["plan", "ordrs"], ["no asset 'ordrs'", "did you mean orders?"], id="asset"),
        pytest.param(["list", "group:brnze"], ["no asset has group", "bronze"], id="group"),
        pytest.param(["plan", "status:odd"], ["no status 'odd'", "stale"], id="status"),
        pytest.param(["plan", "orders", "2025-01-3x"], ["can't read '2025-01-3x'"], id="range"),
        pytest.param(
            ["plan", "orders", "2025-01-05...2025-01-02"],
            ["runs backwards", "2025-01-02...2025-01-05"],
            id="reversed",
        ),
        pytest.param(["plan", "orders", "2024-12-31"], ["2024-12-31", "2025-01-01"], id="outside"),
        pytest.param(
            ["plan", "prices", "2025-01-02"], ["none of the selected"], id="no partitions"
        ),
        pytest.param(["plan", "2025-01-02", "--to", "2025-01-03"], ["given twice"], id="twice"),
        pytest.param(
            ["plan", "--partitions", "2025-01", "--from", "2025-01-02"],
            ["--partitions"],
            id="both",
        ),
        pytest.param(["explain", "orders"], ["is partitioned", "orders@2025-01-10"], id="no key"),
        pytest.param(["explain", "orders@2030-01-01"], ["2030-01-01"], id="future key"),
        pytest.param(["show", "ordrs"], ["did you mean orders?"], id="show"),
        pytest.param(["backfill"], ["needs assets and a range"], id="backfill of nothing"),
        pytest.param(
            ["backfill", "orders"], ["a range of partitions must be named"], id="no range"
        ),
        pytest.param(["backfill", "2025-01-02"], ["assets must be named"], id="no assets"),
        pytest.param(["runs", "show", "abc"], ["no run 'abc'", "nothing was run"], id="run"),
        pytest.param(["partitions", "add", "x", "y"], ["dynamic partitions 'x'"], id="dynamic"),
        pytest.param(
            ["plan", "orders@2025-01-05"],
            ["no asset 'orders@2025-01-05'", "orders 2025-01-05", "partita explain orders@"],
            id="a partition for an asset",
        ),
        pytest.param(
            ["show", "orders@2025-01-05"],
            ["partita explain orders@2025-01-05"],
            id="show a partition",
        ),
        pytest.param(
            ["plan", "orders", "2025-01-01..2025-01-03"],
            ["can't read", "three dots: type 2025-01-01...2025-01-03"],
            id="two dots",
        ),
        pytest.param(
            ["plan", "orders", "2025-01-01:2025-01-03"],
            ["can't read", "three dots: type 2025-01-01...2025-01-03"],
            id="colon",
        ),
        pytest.param(["plan", "orders", "-3d:"], ["three dots: type -3d..."], id="open colon"),
        pytest.param(["plan", "orders", "last:3"], ["type latest:3"], id="last"),
        pytest.param(["plan", "orders", "today"], ["'today' selects nothing"], id="today"),
        pytest.param(["runs", "list", "--limit", "-1"], ["'-1' is not a valid"], id="minus"),
        pytest.param(["-C", "nowhere", "list"], ["can't change", "nowhere"], id="folder"),
        pytest.param(["-m", "nowhere", "list"], ["no module nowhere"], id="module"),
        pytest.param(["-f", "nowhere.py", "list"], ["there is no file"], id="file"),
        pytest.param(["-m", "cli.assets", "list"], ["cli", "rename it"], id="our name"),
    ],
)
def test_bad_input_is_refused_in_words(shop: Shop, arguments: list[str], words: list[str]) -> None:
    answer = shop.run(*arguments, code=2)
    refused(answer, *words, "hint: ")
    assert answer.out == ""


def test_no_project_says_the_three_ways_to_name_one(empty: Shop) -> None:
    refused(
        empty.run("list", code=2), "partita -m", "partita -f", "[tool.partita]", "partita init"
    )


def test_an_error_in_json_is_an_envelope_on_standard_output(shop: Shop) -> None:
    answer = shop.run("plan", "ordrs", "--json", code=2)
    assert answer.error["code"] == "selection"
    assert answer.error["hint"] == "did you mean orders?"
    assert shop.run("plan", "--bogus", "--json", code=2).error["code"] == "usage"


IMPORT_ERRORS = {
    "raises": (
        "x = 1\n\ndef f():\n    return x / 0\n\nf()\n",
        ["line 4, in f", "ZeroDivisionError"],
    ),
    "syntax": ("def f(:\n    pass\n", ["line 1", "def f(:", "^", "syntax error"]),
    "missing module": ("import nosuchmodule\n", ["nosuchmodule", "install"]),
    "exits": ("import sys\nsys.exit(3)\n", ["sys.exit(3)"]),
    "no assets": ("x = 1\n", ["no assets and no Definitions"]),
    "unknown parameter": (
        "from assets_core import asset\n@asset\ndef a(b): ...\n@asset\ndef bb(): ...\n",
        ["asset 'a'", "assets.py:2"],
    ),
    "two of one key": (
        "from assets_core import asset\n@asset\ndef a(): ...\n@asset(name='a')\ndef b(): ...\n",
        ["two assets are called 'a'"],
    ),
    "a cycle": (
        "from assets_core import asset\n@asset\ndef a(b): ...\n@asset\ndef b(a): ...\n",
        ["a → b → a"],
    ),
    "a bad zone": (
        "from partitions import DailyPartitions\nDailyPartitions('2025-01-01', timezone='Europe/Berln')\n",
        ["assets.py:2", "Europe/Berln", "Europe/Berlin"],
    ),
    "two definitions": (
        "from assets_core import Definitions\na = Definitions()\nb = Definitions()\n",
        ["2 Definitions: a, b"],
    ),
}


@pytest.mark.parametrize("kind", IMPORT_ERRORS)
@pytest.mark.parametrize("command", ["list", "materialize"])
def test_a_module_that_can_not_be_loaded_shows_the_users_part(
    shop: Shop, command: str, kind: str
) -> None:
    source, words = IMPORT_ERRORS[kind]
    shop.write("assets.py", source)
    answer = shop.run(command, code=2)
    refused(answer, *words)
    assert "<frozen importlib" not in answer.err


def test_all_problems_of_a_project_are_told_together(shop: Shop) -> None:
    shop.write(
        "assets.py",
        "from assets_core import asset\n@asset\ndef a(x): ...\n@asset(io_manager='lake')\ndef b(): ...\n",
    )
    refused(shop.run("plan", code=2), "2 problems", "'x'", "'lake'")


@pytest.mark.parametrize("name", ["partitions", "assets_core", "io_managers", "cli"])
def test_a_module_that_hides_ours_is_refused(shop: Shop, name: str) -> None:
    shop.write(f"{name}.py", "")
    refused(shop.run("list", code=2), f"{name}.py", f"my_{name}")
    answer = shop.run("doctor", code=1)
    assert f"my_{name}" in answer.out


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('definition = "assets"', ["`definition`", "did you mean definitions?"]),
        ("definitions = 3", ["`definitions`", "string"]),
        (
            'state = "mysql://ann:secret@db/partita"',
            ["is an address", "mysql://ann:***@db/partita"],
        ),
        ("config = 3", ["`config`"]),
    ],
)
def test_a_bad_table_is_refused(shop: Shop, table: str, words: list[str]) -> None:
    shop.write("pyproject.toml", f"[tool.partita]\n{table}\n")
    refused(shop.run("list", code=2), "pyproject.toml", *words)


def test_a_place_that_can_not_be_written_is_named(shop: Shop) -> None:
    shop.write("pyproject.toml", '[tool.partita]\nstate = "/dev/null/state.db"\n')
    refused(shop.run("materialize", code=2), "/dev/null", "state")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/sys is Linux's")
def test_a_folder_that_not_even_root_may_write_is_named(shop: Shop) -> None:
    shop.write("pyproject.toml", '[tool.partita]\nstate = "/sys/partita/state.db"\n')
    refused(shop.run("materialize", code=2), "/sys/partita", "can't be written", "writable")


def test_a_definition_that_grew_too_large_names_the_asset(shop: Shop) -> None:
    shop.edit(
        "assets.py",
        'DailyPartitions("2025-01-01", end="2025-01-11", timezone="Europe/Berlin")',
        'MultiPartitions({"k": DynamicPartitions("k"), "h": HourlyPartitions("1700-01-01")})',
    )
    shop.edit(
        "assets.py",
        "import DailyPartitions",
        "import DynamicPartitions, HourlyPartitions, MultiPartitions",
    )
    shop.run("plan")
    shop.run("partitions", "add", "k", *"abcd")
    refused(shop.run("plan", code=2), "the partitions of asset 'orders' (", "at most 10,000,000")


def test_a_word_that_is_neither_asset_nor_key_is_told_as_what_it_was_more_likely_meant_for(
    shop: Shop,
) -> None:
    shop.write(
        "assets.py",
        """
        import pyarrow as pa
        from assets_core import asset
        from partitions import DailyPartitions, StaticPartitions

        @asset(partitions=DailyPartitions("2025-01-01", end="2025-01-03"))
        def orders() -> pa.Table:
            return pa.table({"a": [1]})

        @asset(partitions=StaticPartitions(["north", "south"]))
        def shops() -> pa.Table:
            return pa.table({"a": [1]})
        """,
    )
    refused(shop.run("plan", "nowhere", code=2), "no asset 'nowhere'", "orders, shops")
    refused(shop.run("plan", "nroth", code=2), "no partition 'nroth'", "did you mean north")
    refused(shop.run("plan", "order", code=2), "no asset 'order'", "did you mean orders?")
    refused(
        shop.run("plan", "shops", "x", code=2), "no partition 'x'", "the keys are north, south"
    )


def test_a_read_only_folder_can_be_looked_at_but_not_run(shop: Shop) -> None:
    shop.folder.chmod(0o555)
    try:
        shop.run("list", overrides=False)
        shop.run("plan", overrides=False)
        refused(shop.run("materialize", code=2, overrides=False), "can't be written")
    finally:
        shop.folder.chmod(0o755)


def test_a_file_that_is_no_state_is_refused_and_left_alone(shop: Shop) -> None:
    path = shop.write(".partita/state.db", "not a database\n" * 1000)
    refused(shop.run("plan", code=2), "state.db")
    refused(shop.run("materialize", code=2), "state.db")
    assert path.read_text() == "not a database\n" * 1000
    assert "PROBLEM" in shop.run("doctor", code=1).out


def test_a_state_of_a_newer_partita_is_refused(shop: Shop) -> None:
    import apsw

    shop.run("materialize", "prices")
    connection = apsw.Connection(str(shop.folder / ".partita" / "state.db"))
    connection.execute("update meta set value = 999 where name = 'schema_version'")
    connection.close()
    refused(shop.run("plan", code=2), "newer")
    assert "newer" in shop.run("doctor", code=1).out


def test_a_damaged_state_is_refused_or_found_by_the_doctor(shop: Shop) -> None:
    shop.run("materialize")
    path = shop.folder / ".partita" / "state.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\x55" * (len(whole) - 4096))
    answer = shop.run("plan", code=None)
    assert answer.code == 2
    assert "Traceback" not in answer.err
    assert "PROBLEM" in shop.run("doctor", code=1).out


def test_an_error_of_ours_is_written_down_and_not_shown(shop: Shop) -> None:
    # What no user can cause is made with a broken part of Partita itself.
    broken = shop.folder / "broken"
    shutil.copytree(
        shop.folder.parents[0], broken, ignore=shutil.ignore_patterns("*"), dirs_exist_ok=True
    )
    shop.write(
        "broken/sitecustomize.py",
        """
        import cli.project

        def explode(self):
            raise RuntimeError("odd")

        cli.project.Project.manifest_path = property(explode)
        """,
    )
    from tests.integration.conftest import ROOT

    paths = {"PYTHONPATH": f"{broken}{os.pathsep}{ROOT}"}
    answer = shop.run("list", code=1, env=paths)
    assert "Partita broke on RuntimeError: odd" in answer.err
    assert "partita-error-" in answer.err
    assert "Traceback" not in answer.err
    assert "Traceback" in shop.run("list", code=1, env={**paths, "PARTITA_DEBUG": "1"}).err


CONTRACT = """
    import datetime

    import pyarrow as pa
    from assets_core import AssetContext, Merge, asset
    from partitions import DailyPartitions

    days = DailyPartitions("2025-01-01", end="2025-01-04")


    @asset(partitions=days, write=Merge(keys=["order_id"]))
    def no_key() -> pa.Table:
        return pa.table({"order": [1], "amount": [3]})


    @asset(partitions=days, partition_by="day")
    def wrong_day() -> pa.Table:
        return pa.table({"day": [datetime.date(2025, 2, 1)]})


    @asset(partitions=days, partition_by="day")
    def no_day() -> pa.Table:
        return pa.table({"date": [datetime.date(2025, 1, 1)]})


    @asset
    def raises() -> pa.Table:
        raise ValueError("out of paper")
"""


@pytest.mark.parametrize(
    ("asset", "words"),
    [
        ("no_key", ["order_id", "order", "amount"]),
        ("wrong_day", ["day", "2025-02-01", "2025-01-01", "out_of_range"]),
        ("no_day", ["day", "date"]),
    ],
)
def test_rows_that_break_the_assets_own_definition_are_refused_in_words(
    empty: Shop, asset: str, words: list[str]
) -> None:
    empty.write("assets.py", CONTRACT)
    answer = empty.run("materialize", asset, code=2)
    told = answer.out + answer.err
    assert all(word in told for word in words), told
    assert "Traceback" not in told


def test_a_function_that_raises_beside_broken_rows_is_a_failed_run(empty: Shop) -> None:
    empty.write("assets.py", CONTRACT)
    answer = empty.run("materialize", code=1)
    assert "ValueError: out of paper" in answer.out + answer.err


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("exec {command} plan >&-", 0, ""),
        (
            "exec {command} status > /dev/full",
            1,
            "error: the output can't be written: No space left on device\n",
        ),
        (
            "mkdir gone && cd gone && rmdir ../gone && exec {command} plan",
            2,
            "error: the current folder is not there any more; change to another one\n",
        ),
    ],
    ids=["closed", "full", "gone"],
)
def test_what_the_shell_gives_us_may_be_of_no_use(
    shop: Shop, line: str, code: int, told: str
) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", line.format(command=shlex.join(shop.command()))],
        cwd=shop.folder,
        env=shop.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, told)
