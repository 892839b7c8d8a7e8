"""Arrow types: which of them are one and the same, and the types within a type (of list items, struct fields, map keys and values)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa


def types_within(kind: pa.DataType) -> Iterator[pa.DataType]:
    """The type itself, and all types within it at any depth.

    >>> import pyarrow as pa
    >>> [str(one) for one in types_within(pa.list_(pa.struct({"a": pa.int8()})))]
    ['list<item: struct<a: int8>>', 'struct<a: int8>', 'int8']
    """
    yield kind
    for i in range(kind.num_fields):
        yield from types_within(kind.field(i).type)


def with_types(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """The type with `change` applied to whatever in it holds nothing else, and one form of each kind of list.

    >>> import pyarrow as pa
    >>> str(with_types(pa.large_list(pa.int8()), lambda kind: pa.string()))
    'list<item: string>'
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    is_ = pa.types
    if is_.is_map(kind):
        changed = pa.map_(with_types(kind.key_type, change), with_types(kind.item_type, change))
    elif is_.is_fixed_size_list(kind):
        changed = pa.list_(with_types(kind.value_type, change), kind.list_size)
    elif _is_list(kind):
        changed = pa.list_(with_types(kind.value_type, change))
    elif is_.is_struct(kind):
        fields = (kind.field(i) for i in range(kind.num_fields))
        changed = pa.struct([(one.name, with_types(one.type, change)) for one in fields])
    else:
        return change(kind)
    # Its own, if that is equal: with the names and flags of its parts.
    return kind if kind == changed else changed


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The one type that stands for all with the same values: `string` for dictionaries, views and large strings, and so on."""
    return with_types(kind, _plain_scalar)


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    is_ = pa.types
    return bool(
        is_.is_list(kind)
        or is_.is_large_list(kind)
        or is_.is_list_view(kind)
        or is_.is_large_list_view(kind)
    )


def _plain_scalar(kind: pa.DataType) -> pa.DataType:
    """The same for values without parts. Times, instants and durations are in microseconds, the one unit that DuckDB has for them."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    is_ = pa.types
    if is_.is_dictionary(kind) or is_.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if is_.is_large_string(kind) or is_.is_string_view(kind):
        return pa.string()
    if is_.is_large_binary(kind) or is_.is_binary_view(kind) or is_.is_fixed_size_binary(kind):
        return pa.binary()
    if is_.is_date64(kind):
        return pa.date32()
    if is_.is_time32(kind):
        return pa.time64("us")
    if is_.is_interval(kind) or (is_.is_duration(kind) and kind.unit in {"s", "ms"}):
        return pa.duration("us")
    if is_.is_timestamp(kind) and kind.tz is not None and kind.unit in {"s", "ms"}:
        return pa.timestamp("us", tz=kind.tz)
    if is_.is_decimal32(kind) or is_.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)
    return kind
