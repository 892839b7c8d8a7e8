"""What may be declared as `schema=`, and what is wrong with it on its own."""

from __future__ import annotations

import enum
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Dict, List, Literal  # noqa: UP035 - as some still write them

import pyarrow as pa
import pytest
from pydantic import AwareDatetime, BaseModel, Field, NaiveDatetime, PositiveInt

from assets_core.authoring.arrow_types import plain_type
from assets_core.authoring.decorators import asset
from assets_core.authoring.definitions import Definitions
from assets_core.authoring.row_schemas import as_table_schema
from assets_core.model.errors import DefinitionError
from assets_core.model.specs import Merge
from assets_core.model.table_schemas import SchemaPolicy
from io_managers import DuckDBIOManager, MemoryIOManager


class Channel(enum.StrEnum):
    SHOP = "shop"


class Place(BaseModel):
    city: str
    zip_code: str | None


class Order(BaseModel):
    id: PositiveInt
    name: str | None = None
    price: Decimal = Field(max_digits=12, decimal_places=2)
    rebate: Annotated[Decimal, Field(max_digits=5, decimal_places=1)] | None
    paid_at: AwareDatetime
    opens: NaiveDatetime | None
    on: date
    took: timedelta
    open: bool
    weight: float
    tags: list[str]
    place: Place
    channel: Channel
    state: Literal["new", "done"]
    small: Annotated[int, pa.int16()]
    scores: dict[str, float]


def test_a_model_becomes_columns_and_optional_fields_nullable_ones() -> None:
    found = as_table_schema("orders", Order)
    assert found is not None
    assert found.text().split(", n")[0] == "id int64 not null"
    assert {one.name: (one.type, one.nullable) for one in found.columns} == {
        "id": ("int64", False),
        "name": ("string", True),
        "price": ("decimal128(12, 2)", False),
        "rebate": ("decimal128(5, 1)", True),
        "paid_at": ("timestamp[us, tz=UTC]", False),
        "opens": ("timestamp[us]", True),
        "on": ("date32[day]", False),
        "took": ("duration[us]", False),
        "open": ("bool", False),
        "weight": ("double", False),
        "tags": ("list<item: string>", False),
        "place": ("struct<city: string, zip_code: string>", False),
        "channel": ("string", False),
        "state": ("string", False),
        "small": ("int16", False),
        "scores": ("map<string, double>", False),
    }


@pytest.mark.parametrize(
    ("annotation", "told", "hint"),
    [
        (datetime, "is datetime, which stands for no one column type", "AwareDatetime"),
        (Decimal, "is Decimal, which", "max_digits"),
        (Any, "is Any, which", "Annotated"),
        (int | str, "is int | str, which", "one type"),
        (dict, "is dict, which", "Annotated"),
        (Dict, "Dict, which", "Annotated"),  # noqa: UP006 - some still write it
        (List, "List, which", "Annotated"),  # noqa: UP006 - same
        (Annotated[Decimal, Field(max_digits=50, decimal_places=2)], "with 50 digits", "38"),
    ],
)
def test_a_field_that_leaves_its_type_open_is_named(
    annotation: object, told: str, hint: str
) -> None:
    model = type("Row", (BaseModel,), {"__annotations__": {"x": annotation}})
    with pytest.raises(DefinitionError, match="asset 'orders': field 'x' of Row") as caught:
        as_table_schema("orders", model)
    assert told in caught.value.message
    assert hint in (caught.value.hint or "")


class Node(BaseModel):
    """A model that has itself inside."""

    name: str
    children: list[Node] = []


class Tree(BaseModel):
    """One that has such a model inside."""

    root: Node


@pytest.mark.parametrize("model", [Node, Tree])
def test_a_model_that_has_itself_inside_is_no_row(model: type[BaseModel]) -> None:
    with pytest.raises(DefinitionError, match="stands for no one column type") as caught:
        as_table_schema("orders", model)
    assert "Node has itself inside" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        (pa.map_(pa.large_string(), pa.large_string()), pa.map_(pa.string(), pa.string())),
        (pa.list_view(pa.large_string()), pa.list_(pa.string())),
        (pa.large_list_view(pa.int8()), pa.list_(pa.int8())),
        (pa.list_(pa.large_string(), 3), pa.list_(pa.string(), 3)),
        (pa.run_end_encoded(pa.int32(), pa.large_string()), pa.string()),
    ],
    ids=str,
)
def test_nested_types_have_one_form_too(kind: pa.DataType, plain: pa.DataType) -> None:
    assert plain_type(kind) == plain


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"id": int}, "neither a pyarrow schema nor a pydantic model"),
        (pa.schema([]), "without columns"),
        (pa.schema([("a", pa.int64()), ("A", pa.int64())]), "differ only by case"),
        (pa.schema([("_partition", pa.string())]), "a reserved name"),
        (pa.schema([("", pa.string())]), "without a usable name"),
        (pa.schema([("a", pa.null())]), "column 'a' has no type"),
        (
            pa.schema([("a", pa.list_(pa.sparse_union([pa.field("i", pa.int8())])))]),
            "column 'a' is list<item: sparse_union<",
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_schema_that_can_not_be_is_a_mistake_of_the_definition(schema: Any, told: str) -> None:
    with pytest.raises(DefinitionError) as caught:

        @asset(schema=schema)
        def orders() -> None: ...

    assert told in caught.value.message


def test_the_default_policy_depends_on_whether_columns_are_declared() -> None:
    @asset(schema=pa.schema({"id": pa.int64()}))
    def closed() -> None: ...

    @asset
    def open_() -> None: ...

    assert (closed.schema_policy, open_.schema_policy) == (
        SchemaPolicy.FREEZE,
        SchemaPolicy.ADD_NULLABLE,
    )


@pytest.mark.parametrize("policy", ["freeze", "discard"])
def test_a_closed_policy_needs_a_schema(policy: Any) -> None:
    with pytest.raises(DefinitionError, match="no schema"):
        asset(name="orders", schema_policy=policy)(lambda: None)


def test_a_mistyped_policy_has_a_nearest_one() -> None:
    with pytest.raises(DefinitionError, match="'wide', which is not one of") as caught:
        asset(name="orders", schema_policy="wide")(lambda: None)  # type: ignore[arg-type] # that's the point
    assert caught.value.hint == "did you mean 'widen'?"


def test_a_key_that_the_schema_does_not_have_is_found_before_anything_runs() -> None:
    @asset(schema=pa.schema({"order_id": pa.int64()}), write=Merge(keys=["orderid"]))
    def orders() -> None: ...

    with pytest.raises(DefinitionError, match="names column 'orderid'") as caught:
        Definitions(assets=[orders], io_managers={"default": MemoryIOManager()}).resolve()
    assert "did you mean 'order_id'?" in str(caught.value)


def test_a_type_that_the_destination_can_not_store_is_found_before_anything_runs() -> None:
    @asset(schema=pa.schema({"x": pa.float16()}))
    def orders() -> None: ...

    with pytest.raises(DefinitionError, match="column 'x' is halffloat"):
        Definitions(assets=[orders], io_managers={"default": DuckDBIOManager("a.db")}).resolve()


def test_the_schema_is_part_of_the_code_version() -> None:
    def version(schema: pa.Schema) -> str:
        @asset(schema=schema)
        def orders() -> None: ...

        manager = MemoryIOManager()
        resolved = Definitions(assets=[orders], io_managers={"default": manager}).resolve()
        return resolved.outline.graph.spec("orders").code_version

    a, b, c = (
        version(pa.schema({"x": kind})) for kind in (pa.string(), pa.large_string(), pa.int8())
    )
    assert a == b
    assert a != c
