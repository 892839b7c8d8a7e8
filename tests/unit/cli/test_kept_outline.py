"""An outline survives packing, and names nothing but values of ours."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from assets_core import Definitions, Input, Merge, asset
from cli.project.kept_outline import packed, unpacked
from io_managers import DuckDBIOManager, ParquetIOManager
from partitions import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    LastN,
    MappedSet,
    MultiPartitions,
    PartitionIndex,
    PerDimension,
    StaticPartitions,
)

if TYPE_CHECKING:
    from assets_core.authoring.outline import Outline
    from assets_core.model.io_manager import Target

DAYS = DailyPartitions("2025-01-01", timezone="Europe/Berlin")


class OwnIOManager(DuckDBIOManager):
    """Lives in a module of the user's."""

    def location(self, target: Target) -> str:
        return f"mine: {target.asset}"


@dataclass(frozen=True)
class OwnMapping:
    """Lives in a module of the user's."""

    triggers: ClassVar[bool] = True

    def text(self) -> str:
        return "own"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        return LastN(2).bind(upstream, downstream)


def outline(manager: DuckDBIOManager) -> Outline:
    @asset(partitions=HourlyPartitions("2025-01-01", timezone="Europe/Berlin"), io_manager="lake")
    def hours() -> pa.Table: ...

    @asset(partitions=DAYS, write=Merge(keys=["id"]), closed_after=None or DAYS.offset)
    def days(hours: pa.Table) -> pa.Table: ...

    @asset(partitions=DAYS, inputs={"week": Input(days, mapping=LastN(7))})
    def trend(week: pa.Table) -> pa.Table: ...

    @asset(partitions=MultiPartitions({"day": DAYS, "region": StaticPartitions(["eu"])}))
    def cells() -> pa.Table: ...

    @asset(partitions=CronPartitions("0 6 * * *", "2025-01-01"))
    def ticks() -> pa.Table: ...

    return (
        Definitions(
            assets=[hours, days, trend, cells, ticks],
            io_managers={"default": manager, "lake": ParquetIOManager("lake")},
        )
        .resolve()
        .outline
    )


def test_an_outline_comes_back_with_the_same_assets_targets_and_destinations() -> None:
    before = outline(DuckDBIOManager("shop.duckdb"))
    after = unpacked(packed(before))
    assert after is not None
    assert after.graph.order == before.graph.order
    assert dict(after.graph.specs) == dict(before.graph.specs)
    assert after.targets == before.targets
    assert after.manager("hours").location(after.target("hours")) == "lake/hours"


def test_a_project_with_an_io_manager_of_its_own_keeps_none() -> None:
    assert packed(outline(OwnIOManager("shop.duckdb"))) == b""


def test_a_project_with_a_mapping_of_its_own_keeps_none_also_inside_a_mapping_of_ours() -> None:
    cells = MultiPartitions({"day": DAYS, "region": StaticPartitions(["eu"])})
    for partitions, mapping in (
        (DAYS, OwnMapping()),
        (cells, PerDimension({"day": OwnMapping()})),
    ):

        @asset(partitions=partitions)
        def one() -> pa.Table: ...

        @asset(partitions=partitions, inputs={"some": Input(one, mapping=mapping)})
        def two(some: pa.Table) -> pa.Table: ...

        resolved = Definitions(
            assets=[one, two], io_managers={"default": DuckDBIOManager("shop.duckdb")}
        ).resolve()
        assert packed(resolved.outline) == b""


def test_bytes_that_name_a_function_to_call_are_refused() -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("gotcha",))

    assert unpacked(pickle.dumps(Evil())) is None
    assert unpacked(b"rubbish") is None
    assert unpacked(pickle.dumps(DAYS)) is None
