"""Joining types: in either order, with itself, and without a loss at the edges of what a type holds."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from itertools import product

import pyarrow as pa
import pytest

from io_managers.row_shape import cast_column
from io_managers.type_widening import joined_type

INTEGERS = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
]
PLAIN = [
    *INTEGERS,
    *(pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.binary(), pa.date32()),
    *(pa.decimal128(5, 2), pa.decimal128(20, 0), pa.decimal128(38, 19), pa.null()),
    *(pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("us", "UTC")),
]
TYPES = [
    *PLAIN,
    *(pa.list_(kind) for kind in (pa.null(), pa.int8(), pa.uint64(), pa.string())),
    *(pa.struct([("a", kind)]) for kind in (pa.null(), pa.int8(), pa.decimal128(5, 2))),
]


def edges(kind: pa.DataType) -> pa.Array:
    """The least and the greatest value of a type, and null."""
    if pa.types.is_list(kind):
        return pa.array([edges(kind.value_type).to_pylist(), [], None], kind)
    if pa.types.is_struct(kind):
        return pa.array([*({"a": v} for v in edges(kind.field(0).type).to_pylist()), None], kind)
    if pa.types.is_integer(kind):
        bits = kind.bit_width - pa.types.is_signed_integer(kind)
        low = -(2**bits) if pa.types.is_signed_integer(kind) else 0
        return pa.array([low, 2**bits - 1, None], kind)
    if pa.types.is_decimal(kind):
        most = Decimal((0, (9,) * kind.precision, -kind.scale))
        return pa.array([most, most.copy_negate(), None], kind)
    if pa.types.is_timestamp(kind):
        return pa.array([datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59), None]).cast(kind)  # noqa: DTZ001
    if pa.types.is_floating(kind):
        return pa.array([0.1, float("inf"), None], kind)
    return pa.nulls(1, kind)


@pytest.mark.parametrize("widen", [False, True])
def test_the_order_of_two_types_does_not_matter(*, widen: bool) -> None:
    for one, other in product(TYPES, TYPES):
        assert joined_type(one, other, widen=widen) == joined_type(other, one, widen=widen)


def test_the_order_in_which_three_integers_arrive_does_not_matter_where_all_fit() -> None:
    for kinds in product(INTEGERS, INTEGERS, INTEGERS):
        found = set()
        for order in (kinds, kinds[::-1]):
            first = joined_type(order[0], order[1], widen=True)
            found.add(first and joined_type(first, order[2], widen=True))
        assert len(found - {None}) <= 1, kinds


def test_a_type_joins_itself_and_what_is_wider_once_stays() -> None:
    for one, other in product(TYPES, TYPES):
        assert joined_type(one, one, widen=False) == one
        both = joined_type(one, other, widen=True)
        if both is not None:
            assert joined_type(one, both, widen=True) == both


def test_no_value_is_lost() -> None:
    for one, other in product(TYPES, TYPES):
        both = joined_type(one, other, widen=True)
        if both is not None:
            values = edges(one)
            assert cast_column(values, both).to_pylist() == values.to_pylist(), (one, other)
