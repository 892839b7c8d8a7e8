"""`partita explain ASSET --diff` through the real command: what changed since partitions were made, word for word."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Shop

ASSETS = '''
    """A shop."""

    import pyarrow as pa

    import cleaning
    from assets_core import asset
    from partitions import DailyPartitions, LastN
    from rates import RATE

    days = DailyPartitions("2025-01-01", end="2025-01-04")


    @asset(partitions=days)
    def orders() -> pa.Table:
        return pa.table({"amount": [1, 2]})


    @asset(partitions=days)
    def prices() -> pa.Table:
        return pa.table({"price": [3]})


    @asset(partitions=days)
    def revenue(orders: pa.Table) -> pa.Table:
        """What they add up to."""
        total = sum(cleaning.clean(orders["amount"].to_pylist()))
        return pa.table({"total": [total * RATE]})
'''
CLEANING = """
    def clean(amounts):
        return [absolute(each) for each in amounts]


    def absolute(amount):
        return abs(amount)
"""


@pytest.fixture
def shop(empty: Shop) -> Shop:
    """A project of three modules, materialized."""
    empty.write("assets.py", ASSETS)
    empty.write("cleaning.py", CLEANING)
    empty.write("rates.py", "RATE = 2\n")
    empty.run("materialize")
    return empty


def told(shop: Shop, *arguments: str) -> str:
    """The answer without the two versions, which are digests."""
    return shop.run("explain", *arguments).out


HEAD = "revenue: 3 partitions not made by the code and dependencies of now; compared with the latest, 2025-01-03\n\n"


def test_without_a_change_it_says_so(shop: Shop) -> None:
    assert told(shop, "revenue", "--diff") == (
        "revenue: nothing changed; 3 partitions made by the code and dependencies of now\n"
    )
    assert told(shop, "revenue@2025-01-02", "--diff") == (
        "revenue@2025-01-02: nothing changed; it was made by the code and dependencies of now\n"
    )
    shop.edit("cleaning.py", "def clean(amounts):", "def clean(amounts: list) -> list:  # hint")
    shop.edit("assets.py", "import cleaning\n", "import cleaning\nimport os\n")
    answer = shop.run("explain", "revenue", "--diff", "--json").data
    assert (answer["parts"], answer["changed"], answer["compared_with"]) == ([], [], None)


def test_a_changed_helper_of_another_module_is_shown_old_against_new(shop: Shop) -> None:
    shop.edit("cleaning.py", "abs(amount)", "max(amount, 0)")
    assert told(shop, "revenue", "--diff") == HEAD + (
        "changed function cleaning.absolute\n"
        "@@ -1,2 +1,2 @@\n"
        " def absolute(amount):\n"
        "-    return abs(amount)\n"
        "+    return max(amount, 0)\n"
    )
    assert told(shop, "orders", "--diff").startswith("orders: nothing changed; ")


def test_a_changed_constant_is_shown_and_named_by_the_tree(shop: Shop) -> None:
    shop.write("rates.py", "RATE = 3  # was 2\n")
    assert told(shop, "revenue", "--diff") == HEAD + (
        "changed constant rates.RATE\n@@ -1 +1 @@\n-RATE = 2\n+RATE = 3\n"
    )
    tree = shop.run("explain", "revenue@2025-01-02", "--json").data
    assert tree["because"].startswith("the code changed: constant rates.RATE; made by version ")
    assert tree["evidence"]["changed"] == ["constant rates.RATE"]
    # From the manifest as well, which has no functions.
    assert shop.run("explain", "revenue@2025-01-02", "--json").data == tree


def test_a_changed_write_option_is_shown_in_one_line(shop: Shop) -> None:
    shop.edit(
        "assets.py",
        "@asset(partitions=days)\n    def revenue".replace("    ", ""),
        "@asset(partitions=days, write=Append(), group='gold')\ndef revenue",
    )
    shop.edit("assets.py", "import asset\n", "import Append, asset\n")
    assert told(shop, "revenue", "--diff") == HEAD + (
        "changed option write: replace(out_of_range=error) → append()\n"
    )


def test_a_removed_helper_is_shown_with_what_called_it(shop: Shop) -> None:
    shop.write("cleaning.py", "def clean(amounts):\n    return amounts\n")
    assert told(shop, "revenue", "--diff") == HEAD + (
        "changed function cleaning.clean\n"
        "@@ -1,2 +1,2 @@\n"
        " def clean(amounts):\n"
        "-    return [absolute(each) for each in amounts]\n"
        "+    return amounts\n"
        "\n"
        "removed function cleaning.absolute\n"
        "@@ -1,2 +0,0 @@\n"
        "-def absolute(amount):\n"
        "-    return abs(amount)\n"
    )


def test_an_added_edge_is_a_change_of_the_dependencies(shop: Shop) -> None:
    shop.edit("assets.py", "def revenue(orders: pa.Table)", "def revenue(orders, prices)")
    answer = shop.run("explain", "revenue", "--diff", "--json").data
    assert answer["changed"] == ["code", "deps"]
    assert [(part["change"], part["kind"], part["name"]) for part in answer["parts"]] == [
        ("changed", "function", "assets.revenue"),
        ("added", "input", "prices"),
    ]
    assert answer["parts"][1]["diff"] == "@@ -0,0 +1,2 @@\n+reads prices\n+mapping identity"


def test_a_wider_mapping_and_other_bounds_of_what_is_read_are_shown(shop: Shop) -> None:
    shop.edit(
        "assets.py",
        "@asset(partitions=days)\ndef revenue",
        '@asset(partitions=days, deps=[Input("prices", mapping=LastN(2))])\ndef revenue',
    )
    shop.edit("assets.py", "import asset\n", "import Input, asset\n")
    shop.run("materialize")
    assert told(shop, "revenue", "--diff").startswith("revenue: nothing changed")
    shop.edit("assets.py", "LastN(2)", "LastN(3)")
    assert told(shop, "revenue", "--diff") == HEAD + (
        "changed order prices\n"
        "@@ -1,3 +1,3 @@\n"
        " after prices\n"
        "-mapping last-n(2)\n"
        "+mapping last-n(3)\n"
        " partitions from 2025-01-01\n"
    )
    tree = shop.run("explain", "revenue@2025-01-02").out
    assert "the dependencies or their mappings changed: order prices; made with " in tree


def test_partitions_of_several_versions_are_counted_and_each_can_be_asked_for(
    shop: Shop,
) -> None:
    shop.write("rates.py", "RATE = 3\n")
    shop.run("materialize", "revenue", "2025-01-02")
    shop.write("rates.py", "RATE = 4\n")
    shop.run("materialize", "revenue", "2025-01-01")
    shop.write("rates.py", "RATE = 5\n")
    answer = shop.run("explain", "revenue", "--diff", "--json").data
    makers = answer["made_by"]
    assert [(each["partitions"], each["latest"]) for each in makers] == [
        (1, "2025-01-01"),
        (1, "2025-01-02"),
        (1, "2025-01-03"),
    ]
    assert answer["compared_with"] == makers[0]
    assert answer["parts"][0]["diff"] == "@@ -1 +1 @@\n-RATE = 4\n+RATE = 5"
    older = told(shop, "revenue@2025-01-02", "--diff")
    assert older.endswith("\n-RATE = 3\n+RATE = 5\n")
    lines = older.splitlines()
    assert lines[0] == ("revenue@2025-01-02: it was not made by the code and dependencies of now")
    assert lines[2].split() == ["code", "dependencies", "partitions", "latest"]
    assert lines[4].endswith("2025-01-02  compared with")
    shop.write("rates.py", "RATE = 4\n")
    back = shop.run("explain", "revenue", "--diff", "--json").data
    assert [each["current"] for each in back["made_by"]] == [True, False, False]
    assert back["compared_with"] == back["made_by"][1]


def test_accepted_partitions_are_those_of_the_code_that_they_were_accepted_for(
    shop: Shop,
) -> None:
    shop.write("rates.py", "RATE = 3\n")
    shop.run("mark-current", "revenue")
    assert told(shop, "revenue", "--diff").startswith("revenue: nothing changed; 3 partitions")
    shop.write("rates.py", "RATE = 4\n")
    assert told(shop, "revenue", "--diff").endswith("\n-RATE = 3\n+RATE = 4\n")


def test_an_asset_without_partitions_shows_config_classes_and_swapped_imports(empty: Shop) -> None:
    empty.write("pyproject.toml", "[tool.partita.config.total]\nlimit = 3\n")
    empty.write("one.py", "def read():\n    return 1\n")
    empty.write("two.py", "def read():\n    return 2\n")
    empty.write(
        "assets.py",
        """
        import pyarrow as pa
        from pydantic import BaseModel

        from assets_core import asset
        from one import read as first
        from two import read as second

        class Limits(BaseModel):
            limit: int = 1

        @asset
        def total(config: Limits) -> pa.Table:
            return pa.table({"n": [first() - second() + config.limit]})
        """,
    )
    empty.run("materialize")
    assert told(empty, "total", "--diff") == (
        "total: nothing changed; it was made by the code and dependencies of now\n"
    )
    empty.edit("pyproject.toml", "3", "4")
    empty.edit("assets.py", "limit: int = 1", "limit: int = 2")
    assert told(empty, "total", "--diff") == (
        "total: it was not made by the code and dependencies of now\n"
        "\n"
        "changed class assets.Limits\n"
        "@@ -1,2 +1,2 @@\n"
        " class Limits(BaseModel):\n"
        "-    limit: int = 1\n"
        "+    limit: int = 2\n"
        "\n"
        "changed config\n"
        "@@ -1 +1 @@\n"
        "-dict{str 'limit': int 3}\n"
        "+dict{str 'limit': int 4}\n"
    )
    empty.run("materialize")
    empty.edit("assets.py", "from one", "from three")
    empty.edit("assets.py", "from two", "from one")
    empty.edit("assets.py", "from three", "from two")
    assert told(empty, "total", "--diff") == (
        "total: it was not made by the code and dependencies of now\n"
        "\n"
        "nothing was edited, but a name now leads to another function or constant\n"
    )


def test_partitions_of_another_kind_are_not_compared(shop: Shop) -> None:
    shop.edit("assets.py", 'end="2025-01-04")', 'end="2025-01-04", timezone="Asia/Tokyo")')
    assert told(shop, "revenue", "--diff") == (
        "revenue: its partitions are others now (they were day|UTC|+00:00), and none of these was ever materialized\n"
    )


def test_what_was_never_made_has_nothing_to_be_compared_with(empty: Shop) -> None:
    empty.write("assets.py", ASSETS)
    empty.write("cleaning.py", CLEANING)
    empty.write("rates.py", "RATE = 2\n")
    for name in ("revenue", "revenue@2025-01-02"):
        assert told(empty, name, "--diff") == (
            f"{name}: never materialized, so there is nothing to compare with\n"
        )
    answer = empty.run("explain", "revenu", "--diff", code=2)
    assert "revenue" in answer.err


def test_code_that_nobody_kept_is_said_to_be_unknown_and_kept_from_the_next_run_on(
    shop: Shop,
) -> None:
    import apsw

    state = apsw.Connection(str(shop.folder / ".partita" / "state.db"))
    state.execute("delete from version_part; delete from part")
    state.close()
    shop.write("rates.py", "RATE = 3\n")
    answer = shop.run("explain", "revenue", "--diff", "--json").data
    assert (answer["unknown"], answer["parts"]) == (["code"], [])
    was = answer["compared_with"]["code_version"]
    assert told(shop, "revenue", "--diff") == HEAD + (
        f"the code of version {was} is not known: nobody kept it when it was recorded\n"
    )
    assert "the code changed: made by version" in told(shop, "revenue@2025-01-02")
    shop.write("rates.py", "RATE = 2\n")
    shop.run("materialize", "revenue", "2025-01-02", "--force")
    shop.write("rates.py", "RATE = 3\n")
    assert told(shop, "revenue@2025-01-03", "--diff").endswith("\n-RATE = 2\n+RATE = 3\n")
    assert shop.run("state", "verify").code == 0


def test_a_table_and_json_lines_tell_the_same(shop: Shop) -> None:
    shop.write("rates.py", "RATE = 3\n")
    out = shop.run("explain", "revenue", "--diff", "-o", "jsonl").out
    (record,) = [json.loads(one) for one in out.splitlines()]
    assert (record["asset"], record["partition"], record["name"]) == (
        "revenue",
        None,
        "rates.RATE",
    )
    assert shop.run("explain", "orders", "--diff", "-o", "csv").out == (
        "asset,partition,name,kind,change,was,diff\n"
    )


class TestPackages:
    """`code_depends` with a distribution of the test's own, in a folder of PYTHONPATH."""

    @pytest.fixture
    def path(self, shop: Shop) -> Path:
        return shop.folder.parent / "installed"

    def install(self, path: Path, version: str, *, name: str = "Money_Kit") -> None:
        for older in path.glob(f"{name}-*.dist-info"):
            (older / "METADATA").unlink()
            (older / "top_level.txt").unlink()
            older.rmdir()
        folder = path / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (folder / "METADATA").write_text(metadata)
        (folder / "top_level.txt").write_text("money\n")

    def run(self, shop: Shop, path: Path, *arguments: str, code: int = 0) -> str:
        root = shop.environment()["PYTHONPATH"]
        answer = shop.run(*arguments, code=code, env={"PYTHONPATH": f"{root}:{path}"})
        return answer.out + answer.err

    def depend_on(self, shop: Shop, name: str) -> None:
        shop.edit(
            "assets.py",
            "@asset(partitions=days)\ndef revenue",
            f'@asset(partitions=days, code_depends=["{name}"])\ndef revenue',
        )

    @pytest.mark.parametrize("name", ["money-kit", "money"])
    def test_another_version_makes_the_asset_stale_and_is_named(
        self, shop: Shop, path: Path, name: str
    ) -> None:
        self.install(path, "2.2.2")
        self.depend_on(shop, name)
        added = self.run(shop, path, "explain", "revenue", "--diff")
        assert added == HEAD + "added package money-kit 2.2.2\n"
        self.run(shop, path, "materialize")
        assert "all up to date" in self.run(shop, path, "plan")
        self.install(path, "2.2.3")
        assert "the code changed" in self.run(shop, path, "plan")
        assert self.run(shop, path, "explain", "revenue", "--diff") == HEAD + (
            "changed package money-kit 2.2.2 → 2.2.3\n"
        )
        assert "the code changed: package money-kit; made by version" in self.run(
            shop, path, "explain", "revenue@2025-01-02"
        )

    def test_an_unknown_package_names_the_nearest_one(self, shop: Shop, path: Path) -> None:
        self.install(path, "2.2.2")
        self.depend_on(shop, "money-kitt")
        out = self.run(shop, path, "plan", code=2)
        assert "asset 'revenue' has 'money-kitt' in code_depends" in out
        assert "no package 'money-kitt' is installed" in out
        assert "write 'money-kit', or install it into this environment" in out

    def test_a_plan_that_finds_nothing_changed_does_not_import_the_project(
        self, shop: Shop, path: Path
    ) -> None:
        self.install(path, "2.2.2")
        self.depend_on(shop, "money-kit")
        shop.edit("assets.py", '"""A shop."""', 'import sys\nprint("imported", file=sys.stderr)')
        self.run(shop, path, "materialize")
        (shop.folder / "notes.txt").write_text("a file beside the modules")
        assert "imported" not in self.run(shop, path, "plan")
        self.install(path, "2.2.3")
        assert "imported" in self.run(shop, path, "plan")
