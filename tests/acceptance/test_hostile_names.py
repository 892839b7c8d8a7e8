"""Names are data: a group or partition key never becomes a path, SQL, shell or markup; what can't be a name is refused by a named rule."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.acceptance.conftest import Project

pytestmark = pytest.mark.xdist_group("hostile names")

HOSTILE = [
    "../../escape",
    "/etc/passwd",
    "a/b\\c",
    "it's",
    'say "so"',
    "x'; drop table plain; --",
    "$(touch pwned)",
    "`touch pwned`",
    "a;touch pwned",
    "<script>alert(1)</script>",
    "%2e%2e%2f",
    "{curly} %s %(name)s",
    "[bold]markup[/bold]",
    "🦆 canard",
    "nul",
    "*",
    "?",
    "a,b",
    "a...b",
    "latest:7",
    "day=2025-01-01",
    "_partition",
    "x" * 200,
]

SHOP = """
    from pathlib import Path

    import json
    import pyarrow as pa

    from assets_core import AssetContext, Definitions, asset, load_assets
    from io_managers import DuckDBIOManager, ParquetIOManager
    from partitions import StaticPartitions

    names = StaticPartitions(json.loads(Path("names.json").read_text()))


    @asset(partitions=names, io_manager="lake")
    def filed(context: AssetContext) -> pa.Table:
        return pa.table({"name": [context.partition_key], "length": [len(context.partition_key)]})


    @asset(partitions=names, partition_by="name")
    def by_column(filed: pa.Table) -> pa.Table:
        return filed


    @asset(partitions=names)
    def plain(by_column: pa.Table) -> pa.Table:
        return by_column.select(["length"])


    definitions = Definitions(
        assets=load_assets(__name__),
        io_managers={"default": DuckDBIOManager("shop.duckdb"), "lake": ParquetIOManager("lake")},
    )
"""


GROUPS = """
    import json
    from pathlib import Path

    from assets_core import asset


    def member(number, group):
        @asset(name=f"member_{number}", group=group)
        def any_name() -> None:
            return None

        return any_name


    members = [member(*pair) for pair in enumerate(json.loads(Path("groups.json").read_text()))]
"""


def with_names(project: Project, names: list[str]) -> Project:
    project.write("names.json", json.dumps(names))
    project.write("shop.py", SHOP)
    return project


def with_groups(project: Project, groups: list[str]) -> Project:
    project.write("groups.json", json.dumps(groups))
    project.write("shop.py", GROUPS)
    return project


def everything_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def hostile(
    tmp_path_factory: pytest.TempPathFactory, new_project: Callable[[Path], Project]
) -> Project:
    """A materialized project whose static partitions are the hostile names; tests leave its tables as they are."""
    project = with_names(new_project(tmp_path_factory.mktemp("hostile") / "shop"), HOSTILE)
    project.run("materialize")
    return project


def test_every_hostile_key_is_stored_and_read_back_as_itself(hostile: Project) -> None:
    expected = sorted((name, len(name)) for name in HOSTILE)
    rows = hostile.query("select name, length from by_column", "shop.duckdb")
    assert sorted(rows) == expected
    rows = hostile.query("select _partition, length from plain", "shop.duckdb")
    assert sorted(rows) == expected
    assert hostile.json("plan")["to_run"] == 0


def test_no_key_leaves_its_folder_or_runs_anything(hostile: Project) -> None:
    hostile.run("plan")  # it notes what it compared, under a name made of the asset's
    assert not list(hostile.folder.parent.rglob("pwned"))
    assert [path.name for path in hostile.folder.parent.iterdir()] == [hostile.folder.name]
    ours = {
        "pyproject.toml",
        "names.json",
        "group.json",
        "shop.py",
        "shop.duckdb",
        "lake",
        ".partita",
    }
    top = {
        path.name for path in hostile.folder.iterdir() if not path.name.startswith("shop.duckdb.")
    }
    assert top <= ours
    lake = hostile.folder / "lake"
    files = [str(path.relative_to(lake)) for path in lake.rglob("*") if path.is_file()]
    assert sum(name.endswith(".parquet") for name in files) == len(HOSTILE)
    assert [name for name in files if not name.endswith(".parquet")] == [".partita/checked/filed"]


@pytest.mark.parametrize(
    "name", ["../../escape", "x'; drop table plain; --", "$(touch pwned)", "a,b", "a...b", "*"]
)
def test_a_hostile_key_can_be_asked_for_by_name(hostile: Project, name: str) -> None:
    plan = hostile.json("plan", "filed", f"--partitions={name}", "--force")
    assert [part["partitions"]["count"] for part in plan["assets"]] == [1]


def test_one_hostile_partition_is_replaced_and_no_other(hostile: Project) -> None:
    before = everything_under(hostile.folder / "lake")
    hostile.run("materialize", "plain", "--partitions=x'; drop table plain; --", "--force")
    assert len(hostile.query("select * from plain", "shop.duckdb")) == len(HOSTILE)
    assert everything_under(hostile.folder / "lake") == before


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("show", "filed"),
        ("plan", "--force"),
        ("status",),
        ("explain", "plain@$(touch pwned)"),
        ("lineage",),
        ("runs", "list"),
    ],
    ids=" ".join,
)
def test_every_command_shows_hostile_names_and_answers_in_valid_json(
    hostile: Project, command: tuple[str, ...]
) -> None:
    text = hostile.run(*command).out
    assert "\x1b" not in text
    assert hostile.json(*command) is not None
    assert not list(hostile.folder.rglob("pwned"))


def test_hostile_groups_are_only_text(project: Project) -> None:
    groups = [*HOSTILE, "X" * 300, "nUL"]  # long ones and those that differ by case are groups too
    with_groups(project, groups)
    project.run("materialize")
    assert project.json("plan")["to_run"] == 0
    listed = project.json("list")["assets"]
    assert [each["group"] for each in listed] == groups
    for form in ("mermaid", "dot", "tree"):
        assert "<script>" not in project.run("lineage", "--format", form).out
    assert not list(project.folder.parent.rglob("pwned"))


@pytest.mark.parametrize(
    "group", ["a\nb", "a\x1b[31mb", ""], ids=["a newline", "an escape sequence", "nothing"]
)
def test_what_can_be_no_group_is_refused_by_a_named_rule(project: Project, group: str) -> None:
    with_groups(project, [group])
    answer = project.run("materialize", code=2)
    assert "group" in answer.text
    assert "printed on one line" in answer.text or "not a text" in answer.text
    assert "\x1b[31m" not in answer.text


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        pytest.param(["a\nb"], "printed on one line", id="a newline"),
        pytest.param(["a\x1b[31mb"], "printed on one line", id="an escape sequence"),
        pytest.param(["a\x00b"], "printed on one line", id="a NUL"),
        pytest.param([""], "empty", id="nothing"),
        pytest.param([" a"], "white space", id="a leading space"),
        pytest.param(["x" * 300], "200", id="300 characters"),
        pytest.param(["EU", "eu"], "case", id="two that differ by case"),
        pytest.param(["straße", "STRASSE"], "case", id="two that fold to the same"),
        pytest.param(["a", "a"], "twice", id="the same twice"),
        pytest.param([".."], "..", id="the parent folder"),
    ],
)
def test_what_can_be_no_key_is_refused_by_a_named_rule(
    project: Project, names: list[str], rule: str
) -> None:
    with_names(project, names)
    answer = project.run("materialize", code=2)
    assert rule in answer.text
    assert "\x1b[31m" not in answer.text
    assert not (project.folder / "lake").exists()


@pytest.mark.parametrize(
    "name", ["../escape", "a b", "x'; drop table y; --", "<script>", "a\nb", "x" * 300, "🦆"]
)
def test_a_hostile_asset_name_works_or_is_refused_by_a_named_rule(
    project: Project, name: str
) -> None:
    project.write(
        "shop.py",
        f"""
        import pyarrow as pa
        from assets_core import asset

        @asset(name={name!r})
        def innocent() -> pa.Table:
            return pa.table({{"x": [1]}})
        """,
    )
    answer = project.run("materialize", code=None)
    assert answer.code in {0, 2}, answer.text
    assert "Traceback" not in answer.text
    if answer.code == 2:
        assert "name" in answer.text or "key" in answer.text
    assert [path.name for path in project.folder.parent.iterdir()] == [project.folder.name]
