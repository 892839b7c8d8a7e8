"""A mapping that a user wrote, in a module of theirs, through the real command: planned, run, explained, changed, and refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Shop

MAPPINGS = '''
    """The mappings of this shop."""

    from dataclasses import dataclass
    from typing import ClassVar

    import numpy as np

    from partitions import MappedSet, MappingError, PartitionIndex, PartitionKind


    @dataclass(frozen=True)
    class BusinessDays:
        """Each day reads itself; a Monday also reads the `back` days before it."""

        back: int = 2
        triggers: ClassVar[bool] = True

        def text(self) -> str:
            return f"business-days({self.back})"

        def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
            if upstream.space != downstream.space or downstream.kind is not PartitionKind.DAY:
                raise MappingError(f"{self.text()} is between equal days", hint="use daily partitions")
            first = downstream.ids - np.where(downstream.ids % 7 == 4, self.back, 0)
            lo = np.searchsorted(upstream.ids, first)
            hi = np.searchsorted(upstream.ids, downstream.ids, side="right")
            missing = (upstream.slots_of_ids(first) < 0) | (upstream.slots_of_ids(downstream.ids) < 0)
            return MappedSet.from_intervals(
                self.text(), upstream, downstream, lo=lo, hi=np.maximum(lo, hi), missing=missing
            )
'''

ASSETS = """
    import pyarrow as pa

    from assets_core import AssetContext, Input, asset
    from partitions import DailyPartitions, StaticPartitions
    from shop_mappings import BusinessDays

    # The first is a Wednesday, the sixth a Monday.
    days = DailyPartitions("2025-01-01", end="2025-01-08", timezone="Europe/Berlin")


    @asset(partitions=days)
    def orders(context: AssetContext) -> pa.Table:
        return pa.table({"day": [context.partition_key]})


    @asset(partitions=days, inputs={"rows": Input(orders, mapping=BusinessDays())})
    def report(rows: pa.Table) -> pa.Table:
        return pa.table({"days": [" ".join(sorted(rows["day"].to_pylist()))]})
"""


IMPORT = "    from shop_mappings import BusinessDays\n"


@pytest.fixture
def project(empty: Shop) -> Shop:
    empty.write("shop_mappings.py", MAPPINGS)
    empty.write("assets.py", ASSETS)
    return empty


def read_of(project: Shop, day: str) -> set[str]:
    """What the report of a day has read, by its rows."""
    import duckdb

    with duckdb.connect(str(project.folder / ".partita" / "data.duckdb"), read_only=True) as it:
        rows = it.execute("select days from main.report").fetchall()
    (found,) = [row[0] for row in rows if row[0].endswith(day)]
    return set(found.split())


def test_it_is_planned_run_and_explained(project: Shop) -> None:
    assert project.run("plan", "--json").data["to_run"] == 14
    assert project.run("materialize", "--json").data["counts"] == {"succeeded": 14}
    assert read_of(project, "2025-01-06") == {"2025-01-04", "2025-01-05", "2025-01-06"}
    assert read_of(project, "2025-01-05") == {"2025-01-05"}
    assert project.run("plan", "--json").data["to_run"] == 0
    assert "all up to date" in project.run("materialize").out

    project.run("materialize", "orders", "2025-01-04", "--force")
    assert "fresh: up to date" in project.run("explain", "report@2025-01-06").out

    project.edit(
        "assets.py",
        '{"day": [context.partition_key]}',
        '{"day": [context.partition_key], "n": [1]}',
    )
    project.run("materialize", "orders", "2025-01-04")
    changed = "input: orders@2025-01-04 changed"
    assert changed in project.run("explain", "report@2025-01-06").out
    assert changed not in project.run("explain", "report@2025-01-05").out


def test_it_may_be_in_the_module_of_the_assets_themselves(empty: Shop) -> None:
    empty.write("assets.py", MAPPINGS + ASSETS.replace(IMPORT, ""))
    for words in ((), ("-f", "assets.py")):
        assert empty.run("plan", "--json", *words).data["to_run"] == 14
    assert (empty.folder / ".partita" / "outline.pickle").read_bytes() == b""
    empty.run("materialize")
    assert read_of(empty, "2025-01-06") == {"2025-01-04", "2025-01-05", "2025-01-06"}
    assert empty.run("plan", "--json").data["to_run"] == 0


def test_it_is_named_where_the_project_is_shown(project: Shop) -> None:
    assert "business-days(2)" in project.run("show", "report").out
    lineage = project.run("lineage", "report@2025-01-06").out
    assert "2025-01-04...2025-01-06 (3)" in lineage
    assert "business-days(2)" in lineage


def test_no_outline_is_kept_and_the_second_plan_loads_the_project_in_full(project: Shop) -> None:
    first = project.run("plan", "--json").data
    kept = project.folder / ".partita"
    assert json.loads((kept / "manifest.json").read_text())
    assert (kept / "outline.pickle").read_bytes() == b"", "it could not be read back"
    assert project.run("plan", "--json").data["to_run"] == first["to_run"]
    assert project.run("list", "--json").code == 0


def test_a_parameter_of_it_that_changes_makes_what_reads_through_it_stale(project: Shop) -> None:
    project.run("materialize")
    project.edit("assets.py", "BusinessDays()", "BusinessDays(back=3)")
    data = project.run("plan", "--json").data
    assert data["to_run"] == 7
    assert "dependencies or their mappings changed" in project.run("plan").out
    project.run("materialize")
    assert len(read_of(project, "2025-01-06")) == 4


def test_its_refusal_names_the_asset_and_its_hint(project: Shop) -> None:
    project.edit(
        "assets.py",
        "@asset(partitions=days, inputs",
        '@asset(partitions=StaticPartitions(["eu"]), inputs',
    )
    told = project.run("plan", code=2).err
    assert "asset 'report' can't read 'orders': business-days(2) is between equal days" in told
    assert "use daily partitions" in told


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("triggers: ClassVar[bool] = True", "", "BusinessDays has no triggers"),
        ("def text(self)", "def txt(self)", "BusinessDays has no text"),
        ('return f"business-days({self.back})"', "return None", "BusinessDays returned None"),
        ("first = downstream.ids - ", "first = downstream.nope - ", "raised AttributeError in"),
        ("return MappedSet.from_intervals(", "return str(", "raised TypeError in"),
        (
            "first = downstream.ids - ",
            "first = exit(3) or downstream.ids - ",
            "raised SystemExit in",
        ),
        (
            "missing=missing",
            "missing=missing.astype(int)",
            "missing must be a numpy array of booleans",
        ),
    ],
)
def test_a_mistake_in_it_is_an_error_of_the_definition(
    project: Shop, old: str, new: str, says: str
) -> None:
    project.edit("shop_mappings.py", old, new)
    told = project.run("plan", code=2).err
    assert says in told
    assert "report" in told


def test_a_mistake_that_only_partitions_show_names_the_line(project: Shop) -> None:
    old = "first = downstream.ids - "
    project.edit("shop_mappings.py", old, f"len(downstream) and [][7]\n        {old}")
    told = project.run("plan", code=2).err
    assert "asset 'report' can't read 'orders': bind() of the mapping BusinessDays raised" in told
    assert "IndexError in" in told
    assert "shop_mappings.py:" in told


def test_an_answer_that_fits_only_empty_indexes_names_the_asset(project: Shop) -> None:
    project.edit("shop_mappings.py", "hi=np.maximum(lo, hi)", "hi=np.maximum(lo, hi) + (lo > 0)")
    told = project.run("plan", code=2).err
    assert "asset 'report' can't read 'orders': mapping business-days(2) from daily" in told
    assert "(assets.py:" in told
