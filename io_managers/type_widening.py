"""Which Arrow type holds the values of two: the only place that says which types may grow into which without a loss.

| from | to |
| --- | --- |
| int8 … int64, uint8 … uint64 | an integer with all their values |
| float16, float32 | float32, float64 |
| an integer | a decimal with as many digits before the point (3, 5, 10, 19; uint64: 20) |
| a decimal | a decimal with no fewer digits before and after the point |
| timestamps in s, ms | in ms, us, with or without a time zone alike |
| lists, structs and maps | those whose parts widen; a struct keeps its names |

Nothing else: an integer that becomes a float, a day that becomes an instant, or text that was a number would all mean something else
than before. Nanoseconds are left out because they reach from 1677 to 2262 only.

Two things are no difference of type, whatever the policy: the name of a time zone (an instant stays the same instant, and DuckDB does
not keep the name), and a column or part that holds nothing but nulls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_INT_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19}
_UINT64_DIGITS = 20
_UNITS = ("s", "ms", "us")
_DECIMAL128_DIGITS = 38


def joined_type(one: pa.DataType, other: pa.DataType, *, widen: bool) -> pa.DataType | None:
    """The type that holds the values of both, None if there is none; the same in either order but for the name of a time zone.

    Without `widen` both must be the same but for what is no difference of type; of two zones that of `one` stays.

    >>> import pyarrow as pa
    >>> joined_type(pa.int32(), pa.int64(), widen=True), joined_type(pa.int32(), pa.int64(), widen=False)
    (DataType(int64), None)
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    is_ = pa.types
    if one == other or is_.is_null(other):
        return one
    if is_.is_null(one):
        return other
    if is_.is_timestamp(one) and is_.is_timestamp(other):
        return _joined_timestamps(one, other, widen=widen)
    if is_.is_list(one) and is_.is_list(other):
        inner = joined_type(one.value_type, other.value_type, widen=widen)
        return None if inner is None else pa.list_(inner)
    if is_.is_map(one) and is_.is_map(other):
        key = joined_type(one.key_type, other.key_type, widen=widen)
        item = joined_type(one.item_type, other.item_type, widen=widen)
        return None if key is None or item is None else pa.map_(key, item)
    if is_.is_struct(one) and is_.is_struct(other):
        return _joined_structs(one, other, widen=widen)
    return _wider_number(one, other) if widen else None


def _joined_timestamps(one: pa.DataType, other: pa.DataType, *, widen: bool) -> pa.DataType | None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if (one.tz is None) != (other.tz is None):
        return None
    if one.unit == other.unit:
        return one
    if widen and one.unit in _UNITS and other.unit in _UNITS:
        return pa.timestamp(max(one.unit, other.unit, key=_UNITS.index), tz=one.tz)
    return None


def _joined_structs(one: pa.DataType, other: pa.DataType, *, widen: bool) -> pa.DataType | None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    fields = [one.field(i) for i in range(one.num_fields)]
    others = [other.field(i) for i in range(other.num_fields)]
    if [field.name for field in fields] != [field.name for field in others]:
        return None
    inner = [joined_type(a.type, b.type, widen=widen) for a, b in zip(fields, others, strict=True)]
    if any(kind is None for kind in inner):
        return None
    return pa.struct(list(zip([field.name for field in fields], inner, strict=True)))


def _wider_number(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    is_ = pa.types
    if is_.is_floating(one) and is_.is_floating(other):
        return max(one, other, key=lambda kind: int(kind.bit_width))
    if is_.is_integer(one) and is_.is_integer(other):
        return _wider_integer(one, other)
    if is_.is_decimal(one) and is_.is_decimal(other):
        before = max(one.precision - one.scale, other.precision - other.scale)
        return _decimal(before, max(one.scale, other.scale))
    if is_.is_decimal(one) and is_.is_integer(other):
        return _decimal(max(one.precision - one.scale, _digits(other)), one.scale)
    if is_.is_integer(one) and is_.is_decimal(other):
        return _wider_number(other, one)
    return None


def _wider_integer(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    bits = max(one.bit_width, other.bit_width)
    signed = [pa.types.is_signed_integer(kind) for kind in (one, other)]
    if signed[0] == signed[1]:
        return one if one.bit_width == bits else other
    # The sign takes a bit: all values of uint32 take an int64.
    unsigned = other if signed[0] else one
    bits = max(bits, 2 * unsigned.bit_width)
    wider = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
    return wider.get(bits)


def _digits(kind: pa.DataType) -> int:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if pa.types.is_unsigned_integer(kind) and kind.bit_width == max(_INT_DIGITS):
        return _UINT64_DIGITS
    return _INT_DIGITS[kind.bit_width]


def _decimal(before: int, scale: int) -> pa.DataType | None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    precision = before + scale
    # DuckDB has no larger ones.
    return pa.decimal128(precision, scale) if precision <= _DECIMAL128_DIGITS else None
