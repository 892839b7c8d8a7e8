"""Which Delta type holds which Arrow type, and how a table remembers what the rows had before: nothing is stored that could not come back.

Delta has no unsigned integers, no half floats and one unit of time, and the `deltalake` package takes others without a word: it gives
`uint64` out as `int64`, so that 2⁶⁴ - 1 comes back as -1. So the types are chosen here. What fits a larger type is stored in it and
noted with the column; what fits none (times of day, durations, decimals of more than 38 digits) is refused by column, and so are
nanoseconds that are no whole microseconds.

A column that holds nothing but nulls, or has parts that do, has no type: it is in the file and not in the table's schema, until rows
bring one.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from assets_core.authoring.arrow_types import plain_type
from assets_core.model.errors import DataError
from assets_core.model.io_manager import PARTITION_COLUMN

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import Schema

_NOTE = "partita.type"
_UINT64_DIGITS = 20


def stored_type(kind: pa.DataType) -> pa.DataType | None:
    """The type in which values of this one are in the files; None if Delta has none that holds them all.

    >>> import pyarrow as pa
    >>> stored_type(pa.uint64()), stored_type(pa.time64("us"))
    (Decimal128Type(decimal128(20, 0)), None)
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    is_ = pa.types
    if is_.is_list(kind) or is_.is_fixed_size_list(kind):
        inner = stored_type(kind.value_type)
        return None if inner is None else pa.list_(inner)
    if is_.is_map(kind):
        key, item = stored_type(kind.key_type), stored_type(kind.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    if is_.is_struct(kind):
        if not kind.num_fields:
            return None
        parts = [(kind.field(i).name, stored_type(kind.field(i).type)) for i in range(len(kind))]
        return None if any(part is None for _, part in parts) else pa.struct(parts)
    if is_.is_timestamp(kind):
        return pa.timestamp("us", kind.tz and "UTC")
    larger = {
        pa.uint8(): pa.int16(),
        pa.uint16(): pa.int32(),
        pa.uint32(): pa.int64(),
        pa.uint64(): pa.decimal128(_UINT64_DIGITS, 0),
        pa.float16(): pa.float32(),
    }
    if kind in larger:
        return larger[kind]
    plain = (
        is_.is_signed_integer(kind)
        or is_.is_floating(kind)
        or is_.is_boolean(kind)
        or is_.is_string(kind)
        or is_.is_binary(kind)
        or is_.is_date32(kind)
        or is_.is_decimal128(kind)
        or is_.is_null(kind)
    )
    return kind if plain else None


def check_storable(asset: str, schema: pa.Schema) -> None:
    """Raise DataError for a column whose values no Delta type holds."""
    for field in schema:
        if stored_type(field.type) is None:
            raise DataError(
                f"{asset}: column {field.name!r} is {field.type}, and Delta has no type that holds it without a loss",
                hint="cast it in the asset's function (times and durations to text or integers), or store the asset elsewhere",
            )


def check_values(asset: str, batch: pa.RecordBatch) -> None:
    """Raise DataError for a column that `check_storable` refuses, or that has a value which its Delta type would change."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    check_storable(asset, batch.schema)
    for field, column in zip(batch.schema, batch.columns, strict=True):
        kind = stored_type(field.type)
        try:
            if kind != field.type:
                column.cast(kind)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{asset}: column {field.name!r} is {field.type}, and has a value that Delta can't hold: {error}",
                hint="round it in the asset's function: Delta keeps microseconds",
            ) from error


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """The columns as they are in the files."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.schema([(field.name, stored_type(field.type)) for field in schema])


def typed_part(schema: pa.Schema) -> pa.Schema:
    """The columns that have a type in all their parts: those that the table's schema can have."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.schema([field for field in schema if not _has_nulls_only(field.type)])


def delta_schema(schema: pa.Schema, *, partitioned: bool) -> Schema:
    """The table's schema for rows with these columns, each with a note of its own type where Delta's is another."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    from deltalake import Field, Schema  # noqa: PLC0415 - an extra

    kept = typed_part(schema)
    stored = stored_schema(kept)
    fields = list(Schema.from_arrow(stored).fields) if stored.names else []
    noted = [
        told
        if field.type == there.type
        else Field(told.name, told.type, nullable=True, metadata={_NOTE: encoded(field)})
        for told, field, there in zip(fields, kept, stored, strict=True)
    ]
    if partitioned or not noted:
        key = pa.schema({PARTITION_COLUMN: pa.string()})
        noted += Schema.from_arrow(key).fields
    return Schema(noted)


def noted_schema(schema: Schema) -> pa.Schema:
    """The columns of a table with the types that their rows had; without `_partition`."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    plain = pa.schema(schema.to_arrow())
    fields = []
    for field in json.loads(schema.to_json())["fields"]:
        name, note = field["name"], field["metadata"].get(_NOTE)
        if name != PARTITION_COLUMN:
            fields.append(decoded(note).field(0) if note else pa.field(name, _plain(plain, name)))
    return pa.schema(fields)


def encoded(what: pa.Schema | pa.Field) -> str:
    """A schema, or one field, as text."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    schema = what if isinstance(what, pa.Schema) else pa.schema([what])
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def decoded(text: str) -> pa.Schema:
    """What `encoded` made text of."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.ipc.read_schema(pa.BufferReader(base64.b64decode(text)))


def _plain(schema: pa.Schema, name: str) -> pa.DataType:
    """The type with the names that Arrow gives parts of lists: Delta calls them `element`."""
    return _renamed(plain_type(schema.field(name).type))


def _renamed(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    is_ = pa.types
    if is_.is_list(kind):
        return pa.list_(_renamed(kind.value_type))
    if is_.is_map(kind):
        return pa.map_(_renamed(kind.key_type), _renamed(kind.item_type))
    if is_.is_struct(kind):
        return pa.struct(
            [(kind.field(i).name, _renamed(kind.field(i).type)) for i in range(len(kind))]
        )
    return kind


def _has_nulls_only(kind: pa.DataType) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if pa.types.is_nested(kind):
        return any(_has_nulls_only(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pa.types.is_null(kind))
