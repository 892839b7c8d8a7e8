"""A user's project, as mypy --strict sees it: `test_user_project_types` runs the checker on this file."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, assert_type

from pydantic import BaseModel

from assets_core import (
    Append,
    Asset,
    AssetCheck,
    AssetContext,
    CheckResult,
    Definitions,
    Input,
    Merge,
    RetryPolicy,
    Skip,
    asset,
    asset_check,
    load_assets,
)
from io_managers import DuckDBIOManager, ParquetIOManager
from partitions import DailyPartitions, HourlyPartitions, LastN, MultiPartitions, StaticPartitions

if TYPE_CHECKING:
    from collections.abc import Iterator  # noqa: TC004 -- written as text below

    import polars as pl  # noqa: TC004 -- as users do it

daily = DailyPartitions("2025-01-01", timezone="Europe/Berlin")
cells = MultiPartitions({"day": daily, "region": StaticPartitions(["eu", "us"])})


class Row(BaseModel):
    limit: int = 3


class Crm:
    def changed(self) -> list[int]:
        return [1]


@asset
def calendar() -> pl.DataFrame:
    raise SystemExit


@asset(
    partitions=daily,
    group="bronze",
    retry=RetryPolicy(max_attempts=3, delay=timedelta(seconds=30)),
)
def bronze_orders(context: AssetContext) -> pl.DataFrame | Skip:
    if context.window.start.year < 2025 or context.partition_key == "":
        return Skip("before the shop")
    context.log.info("loading %s", context.partition_key)
    raise SystemExit


@asset(
    partitions=daily,
    write=Merge(keys=["order_id"], order_by="updated_at"),
    deps=[calendar, "dump"],
    code_depends=["polars"],
)
def silver_orders(bronze_orders: pl.DataFrame, crm: Crm, config: Row) -> pl.DataFrame:
    return bronze_orders.head(config.limit + len(crm.changed()))


@asset_check(silver_orders, blocking=True)
def order_ids_are_unique(silver_orders: pl.DataFrame) -> CheckResult:
    return CheckResult(
        passed=not silver_orders.is_empty(), metadata={"rows": silver_orders.height}
    )


@asset(
    partitions=daily, inputs={"week": Input(silver_orders, mapping=LastN(7)), "days": "calendar"}
)
def weekly_trend(week: dict[str, pl.DataFrame], days: pl.DataFrame) -> pl.DataFrame:
    return week["2025-01-01"].join(days, on="day")


@asset(
    partitions=cells,
    partition_by={"day": "day", "region": "region"},
    write=Append(),
    io_manager="lake",
)
def streamed(context: AssetContext) -> Iterator[pl.DataFrame]:
    yield from ()


plain = asset(len, name="length")

definitions = Definitions(
    assets=[*load_assets(__name__), calendar, order_ids_are_unique],
    io_managers={"default": DuckDBIOManager("shop.duckdb"), "lake": ParquetIOManager("lake/")},
    resources={"crm": Crm()},
    config={"silver_orders": {"limit": 5}},
)
hours = HourlyPartitions("2025-01-01")


def what_the_checker_knows() -> None:
    assert_type(calendar(), "pl.DataFrame")
    assert_type(silver_orders.key, str)
    assert_type(order_ids_are_unique(calendar()), CheckResult)
    assert_type(list[Asset]([silver_orders]), list[Asset])
    assert_type(list[AssetCheck]([order_ids_are_unique]), list[AssetCheck])


def mistakes_that_the_checker_finds() -> None:
    silver_orders(calendar())  # type: ignore[call-arg]
    silver_orders("rows", Crm(), Row())  # type: ignore[arg-type]
    calendar().no_such_method()  # type: ignore[attr-defined]
    asset(partitions="daily")  # type: ignore[call-overload]
    asset(deps=[3])  # type: ignore[list-item]
    asset(code_depends=[3])  # type: ignore[list-item]
    asset_check(3)  # type: ignore[arg-type]
    bronze_orders.group = "gold"  # type: ignore[misc]
