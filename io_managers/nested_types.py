"""Arrow types and the types within them: of list items, struct fields, map keys and values."""

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
    """The type with `change` applied to whatever in it holds nothing else; lists, structs and maps of it stay such.

    >>> import pyarrow as pa
    >>> str(with_types(pa.list_(pa.int8()), lambda kind: pa.string()))
    'list<item: string>'
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    is_ = pa.types
    if is_.is_map(kind):
        return pa.map_(with_types(kind.key_type, change), with_types(kind.item_type, change))
    if is_.is_fixed_size_list(kind):
        return pa.list_(with_types(kind.value_type, change), kind.list_size)
    if is_.is_list(kind):
        return pa.list_(with_types(kind.value_type, change))
    if is_.is_struct(kind):
        fields = (kind.field(i) for i in range(kind.num_fields))
        return pa.struct([(one.name, with_types(one.type, change)) for one in fields])
    return change(kind)
