"""What a parameter means, from its name and annotation."""

from __future__ import annotations

import functools
import subprocess
import sys
import typing
from typing import TYPE_CHECKING, Any, Optional

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel

from assets_core import AssetContext, Input
from assets_core.authoring.binding import (
    Bound,
    ConfigParameter,
    ContextParameter,
    InputParameter,
    LoadAs,
    ResourceParameter,
    bind_parameters,
    parameter_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas  # noqa: ICN001 -- odd names are what is tested
    import polars as polar_bear  # noqa: ICN001 -- same
    from duckdb import DuckDBPyRelation
    from pyarrow import RecordBatchReader as Stream


class Settings(BaseModel):
    limit: int = 3


def bind(function: Callable[..., object], **options: Any) -> Bound:
    given = {
        "subject": "asset 'x'",
        "inputs": {"week": Input("orders")},
        "assets": {"orders": "orders", "customers": "customers"},
        "resources": {"crm", "orders_api"},
        **options,
    }
    return bind_parameters(function, **given)


def only(function: Callable[..., object]) -> InputParameter:
    bound = bind(function, inputs={})
    assert bound.problems == ()
    (parameter,) = bound.parameters
    assert isinstance(parameter, InputParameter)
    return parameter


def problem(function: Callable[..., object], **options: Any) -> tuple[str, str]:
    (found,) = bind(function, **{"inputs": {}, **options}).problems
    return found.message, found.hint or ""


def test_a_name_is_context_then_input_then_asset_then_resource_then_config() -> None:
    def silver(
        context: AssetContext,
        week: pa.Table,
        customers: pa.Table,
        crm: object,
        *,
        config: Settings,
    ) -> None: ...

    assert bind(silver).parameters == (
        ContextParameter("context"),
        InputParameter("week", "orders", LoadAs.TABLE, per_partition=False),
        InputParameter("customers", "customers", LoadAs.TABLE, per_partition=False),
        ResourceParameter("crm", "crm"),
        ConfigParameter("config", Settings),
    )


def test_an_earlier_meaning_wins_over_a_later_one() -> None:
    def silver(context: object, orders: pa.Table, config: pa.Table) -> None: ...

    bound = bind(
        silver,
        inputs={"orders": Input("other")},
        assets={"orders": "orders", "config": "config", "context": "context"},
        resources={"orders"},
    )
    assert [type(each) for each in bound.parameters] == [
        ContextParameter,
        InputParameter,
        InputParameter,
    ]
    assert bound.parameters[1].upstream == "other"  # type: ignore[union-attr]


def test_an_input_loads_as_it_is_annotated() -> None:
    def table(orders: pa.Table) -> None: ...
    def stream(orders: pa.RecordBatchReader) -> None: ...
    def pandas_frame(orders: pd.DataFrame) -> None: ...
    def polars_frame(orders: pl.DataFrame) -> None: ...
    def lazy(orders: pl.LazyFrame) -> None: ...
    def relation(orders: duckdb.DuckDBPyRelation) -> None: ...
    def bare(orders) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
    def anything(orders: Any) -> None: ...
    def maybe(orders: pd.DataFrame | None) -> None: ...
    def optional(orders: Optional[pl.DataFrame]) -> None: ...  # noqa: UP045 -- both spellings count
    def annotated(orders: typing.Annotated[pl.LazyFrame, "note"]) -> None: ...

    wanted = {
        table: LoadAs.TABLE,
        stream: LoadAs.READER,
        pandas_frame: LoadAs.PANDAS,
        polars_frame: LoadAs.POLARS,
        lazy: LoadAs.POLARS_LAZY,
        relation: LoadAs.DUCKDB,
        bare: LoadAs.TABLE,
        anything: LoadAs.TABLE,
        maybe: LoadAs.PANDAS,
        optional: LoadAs.POLARS,
        annotated: LoadAs.POLARS_LAZY,
    }
    assert {each: only(each).load_as for each in wanted} == wanted
    assert not any(only(each).per_partition for each in wanted)


def test_annotations_that_are_objects_load_the_same() -> None:
    def silver(orders): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202

    for annotation, wanted in [
        (pa.Table, LoadAs.TABLE),
        (pd.DataFrame, LoadAs.PANDAS),
        (pl.LazyFrame | None, LoadAs.POLARS_LAZY),
        (duckdb.DuckDBPyRelation, LoadAs.DUCKDB),
        ("pl.DataFrame", LoadAs.POLARS),
        (typing.ForwardRef("pl.DataFrame"), LoadAs.POLARS),
    ]:
        silver.__annotations__ = {"orders": annotation}
        assert only(silver).load_as is wanted, annotation
        silver.__annotations__ = {"orders": dict[str, annotation]}  # type: ignore[valid-type]
        assert only(silver) == InputParameter("orders", "orders", wanted, per_partition=True)
        silver.__annotations__ = {"orders": typing.Mapping[str, annotation]}  # type: ignore[valid-type]
        assert only(silver).per_partition


def test_a_dictionary_gets_one_value_per_partition() -> None:
    def tables(orders: dict[str, pa.Table]) -> None: ...
    def frames(orders: Mapping[str, pl.DataFrame]) -> None: ...
    def old(orders: typing.Dict[str, pd.DataFrame]) -> None: ...  # noqa: UP006 -- both spellings count

    assert only(tables) == InputParameter("orders", "orders", LoadAs.TABLE, per_partition=True)
    assert only(frames) == InputParameter("orders", "orders", LoadAs.POLARS, per_partition=True)
    assert only(old) == InputParameter("orders", "orders", LoadAs.PANDAS, per_partition=True)


def test_imports_for_the_type_checker_alone_are_understood() -> None:
    def one(orders: pandas.DataFrame) -> None: ...
    def two(orders: polar_bear.LazyFrame) -> None: ...
    def three(orders: DuckDBPyRelation) -> None: ...
    def four(orders: Stream | None) -> None: ...

    found = [only(each).load_as for each in (one, two, three, four)]
    assert found == [LoadAs.PANDAS, LoadAs.POLARS_LAZY, LoadAs.DUCKDB, LoadAs.READER]


def test_reading_annotations_loads_no_frame_library() -> None:
    program = (
        "from __future__ import annotations\n"
        "import sys\n"
        "from assets_core.authoring.binding import bind_parameters\n"
        "def f(a: pd.DataFrame, b: pl.LazyFrame, c: duckdb.DuckDBPyRelation, d: dict[str, pa.Table]): ...\n"
        "bound = bind_parameters(f, subject='f', inputs={}, assets=dict(a='a', b='b', c='c', d='d'), resources=[])\n"
        "print([p.load_as.name for p in bound.parameters])\n"
        "print(sorted({'pandas', 'polars', 'duckdb', 'pyarrow'} & set(sys.modules)))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert answer.stdout.splitlines() == ["['PANDAS', 'POLARS_LAZY', 'DUCKDB', 'TABLE']", "[]"]


@pytest.mark.parametrize(
    "annotation",
    [
        "int",
        "list[int]",
        "dict[int, pa.Table]",
        "dict[str, int]",
        "nothing.Known",
        "pa.Array",
        "1 +",
        "pa.Table | pl.DataFrame",
    ],
)
def test_an_annotation_that_rows_can_not_be_loaded_as_is_a_problem(annotation: str) -> None:
    def silver(orders): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202

    silver.__annotations__ = {"orders": annotation}
    message, hint = problem(silver)
    assert message == f"asset 'x' reads 'orders' as {annotation}, which rows can't be loaded as"
    assert "pandas.DataFrame" in hint


def test_an_unknown_parameter_names_the_nearest() -> None:
    def silver(order: pa.Table) -> None: ...
    def far(zzz: int = 3) -> None: ...

    message, hint = problem(silver)
    assert "parameter 'order', which is no input, no asset, no resource" in message
    assert hint == "did you mean orders or orders_api?"
    assert "inputs={'zzz': Input(…)}" in problem(far)[1]


def test_a_declared_input_that_no_parameter_takes_is_a_problem() -> None:
    def silver(weak: pa.Table) -> None: ...

    bound = bind(silver, assets={"weak": "weak"})
    (found,) = bound.problems
    assert (
        found.message
        == "asset 'x' declares an input 'week', but its function has no parameter of that name"
    )
    assert found.hint == "did you mean weak?"


def test_every_bad_parameter_is_reported() -> None:
    async def silver(first: int, /, *rest: int, orders: int, **more: int) -> None: ...

    messages = [each.message for each in bind(silver, inputs={}).problems]
    assert len(messages) == 5
    for part in ("async", "'first'", "*rest", "**more", "'orders' as int"):
        assert any(part in message for message in messages), part


def test_a_class_is_no_function() -> None:
    class Silver:
        def __init__(self, orders: int) -> None: ...

    (problem,) = bind(Silver, inputs={}).problems
    assert "is a class; Partita calls functions" in problem.message


def test_generator_functions_are_allowed() -> None:
    def stream(orders: pa.RecordBatchReader) -> typing.Iterator[pa.RecordBatch]:
        yield from orders

    assert only(stream).load_as is LoadAs.READER


def test_what_a_partial_filled_in_is_no_parameter() -> None:
    def silver(orders: pl.DataFrame, region: str, scale: int) -> None: ...

    assert only(functools.partial(silver, region="eu", scale=2)).load_as is LoadAs.POLARS


def test_config_must_be_a_pydantic_model() -> None:
    def silver(config: dict[str, int]) -> None: ...
    def bare(config) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    for function in (silver, bare):
        message, hint = problem(function)
        assert "'config' that is not annotated with a pydantic model" in message
        assert "class Settings(pydantic.BaseModel)" in hint


def test_a_check_has_no_config_and_gets_its_rows_by_the_name_of_the_asset() -> None:
    def good(shop_orders: pa.Table) -> None: ...
    def bad(config: Settings) -> None: ...

    options: dict[str, Any] = {
        "assets": {"shop_orders": "shop/orders"},
        "inputs": {},
        "with_config": False,
    }
    (parameter,) = bind(good, **options).parameters
    assert parameter == InputParameter(
        "shop_orders", "shop/orders", LoadAs.TABLE, per_partition=False
    )
    message, _ = problem(bad, **options)
    assert "neither shop_orders, nor a resource, nor `context`" in message


@pytest.mark.parametrize(
    ("key", "name"),
    [("orders", "orders"), ("a/b.c-d", "a_b_c_d"), ("2025", "_2025"), ("<x>", "_x_")],
)
def test_a_key_that_is_no_python_name_has_a_parameter_name(key: str, name: str) -> None:
    assert parameter_name(key) == name
