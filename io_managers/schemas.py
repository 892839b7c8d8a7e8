"""Fitting stored rows of different ages together: a column that one side lacks is null there, a type that differs is refused.

Types are joined as the asset's schema policy allows (`type_widening` has the list); no value is ever lost. Names match without regard to case, as they do in SQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.model.errors import DataError, IOManagerError
from assets_core.model.table_schemas import SchemaPolicy
from io_managers.row_shape import cast_column, declared_schema
from io_managers.type_widening import joined_type
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from assets_core.model.io_manager import ReadRequest, Target


_WIDEN = 'let schema_policy="widen" take in both'


def joined_schema(
    old: pa.Schema, new: pa.Schema, target: Target, *, reading: bool = False
) -> pa.Schema:
    """The columns of `old`, then those that only `new` has, with the types that the asset's policy allows.

    When rows are written, `old` is what is stored and `new` what comes; with `reading` both are stored. Raises DataError for a
    column whose two types can't be one.

    >>> import pyarrow as pa
    >>> from assets_core.model.io_manager import Target
    >>> from assets_core.model.specs import Replace
    >>> where = Target("x", Replace(), partitioned=True)
    >>> joined_schema(pa.schema({"a": pa.int64()}), pa.schema({"A": pa.int64(), "b": pa.string()}), where).names
    ['a', 'b']
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    fields = {field.name.casefold(): field for field in old}
    for field in new:
        known = fields.get(field.name.casefold())
        if known is None:
            fields[field.name.casefold()] = field
            continue
        kind = fitted_type(target, field.name, known.type, field.type, reading=reading)
        if kind is None:
            raise (_types_differ if reading else type_differs)(
                target, field.name, field.type, known.type
            )
        fields[field.name.casefold()] = pa.field(known.name, kind)
    return pa.schema(list(fields.values()))


def fitted_type(
    target: Target, column: str, stored: pa.DataType, new: pa.DataType, *, reading: bool = False
) -> pa.DataType | None:
    """The type of a stored column once rows with `new` are there too; None if they don't fit.

    A column follows its declaration where that loses nothing: rows that were stored under an older one are widened.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if target.schema_policy is SchemaPolicy.WIDEN or reading:
        return joined_type(
            stored,
            new,
            widen=target.schema_policy is SchemaPolicy.WIDEN or _is_declared(target, column),
        )
    if not _is_declared(target, column) or pa.types.is_null(new):
        return joined_type(stored, new, widen=False)
    kind = joined_type(stored, new, widen=True)
    return kind if kind is not None and joined_type(kind, new, widen=False) is not None else None


def readable_schema(target: Target, stored: pa.Schema) -> pa.Schema:
    """What readers get of stored columns: the declared columns first, and under an open policy the others after them.

    Raises IOManagerError for a column that is stored with values that the declared type can't hold.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if target.schema is None:
        return stored
    found = {field.name.casefold(): field for field in stored}
    fields = []
    for field in declared_schema(target.schema):
        there = found.pop(field.name.casefold(), None)
        kind = field.type if there is None else joined_type(field.type, there.type, widen=True)
        widens = target.schema_policy is SchemaPolicy.WIDEN
        if kind is None or (not widens and joined_type(kind, field.type, widen=False) is None):
            raise IOManagerError(
                f"{target.asset}: column {field.name!r} is stored as {there.type if there else None}, and the schema says {field.type}",
                hint=f"materialize {target.owner} again, all partitions; or change schema=…",
            )
        fields.append(pa.field(field.name, kind))
    if not target.schema_policy.is_closed:
        fields += found.values()
    return pa.schema(fields)


def type_differs(target: Target, column: str, new: pa.DataType, stored: pa.DataType) -> DataError:
    """The error for a column whose type is not that of the rows that are there."""
    way_out = (
        _WIDEN
        if _would_widen(target, column, new, stored)
        else f"to change the type for good, begin anew with: partita state restart {target.owner}"
    )
    return DataError(
        f"{target.asset}: column {column!r} is {new} in the returned rows and {stored} where they are stored; values are never cast silently",
        hint=f"return it as {stored}; or {way_out}",
    )


def _types_differ(target: Target, column: str, one: pa.DataType, other: pa.DataType) -> DataError:
    again = f"materialize all partitions of {target.owner} again"
    return DataError(
        f"{target.asset}: column {column!r} is {one} in one partition and {other} in another; values are never cast silently",
        hint=f"{again}, or {_WIDEN}" if _would_widen(target, column, one, other) else again,
    )


def _would_widen(target: Target, column: str, one: pa.DataType, other: pa.DataType) -> bool:
    if target.schema_policy is SchemaPolicy.WIDEN or _is_declared(target, column):
        return False
    return joined_type(one, other, widen=True) is not None


def conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with exactly the columns of `schema`, nulls for those it lacks. The types must fit (see `joined_schema`)."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if batch.schema == schema:
        return batch
    positions = {name.casefold(): i for i, name in enumerate(batch.schema.names)}
    columns = []
    for field in schema:
        position = positions.get(field.name.casefold())
        if position is None:
            columns.append(pa.nulls(batch.num_rows, field.type))
        else:
            columns.append(cast_column(batch.column(position), field.type))
    if not columns:
        return batch
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def conformed_table(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly the columns of `schema`; as `conformed`."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if table.schema == schema:
        return table
    return pa.Table.from_batches(
        [conformed(batch, schema) for batch in table.to_batches()], schema=schema
    )


def conformed_stream(stream: pa.RecordBatchReader, schema: pa.Schema) -> pa.RecordBatchReader:
    """The stream with exactly the columns of `schema`; as `conformed`."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if stream.schema == schema:
        return stream
    return pa.RecordBatchReader.from_batches(schema, (conformed(one, schema) for one in stream))


def wanted_schema(request: ReadRequest, schema: pa.Schema) -> pa.Schema:
    """The part of `schema` that the request asks for, in its order. Raises IOManagerError for a column that isn't there."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if request.columns is None:
        return schema
    return pa.schema([_field(request.target.asset, schema, name) for name in request.columns])


def missing_wanted(asset: str, column: str, have: Sequence[str]) -> IOManagerError:
    """The error for a column that a reader asks for and the stored rows don't have."""
    near = nearest(column, have)
    listed = ", ".join(repr(name) for name in have)
    return IOManagerError(
        f"{asset} has no column {column!r}; it has {listed or 'none'}",
        hint=f"did you mean {near[0]!r}?" if near else None,
    )


def _field(asset: str, schema: pa.Schema, name: str) -> pa.Field:
    if name not in schema.names:
        raise missing_wanted(asset, name, schema.names)
    return schema.field(name)


def _is_declared(target: Target, column: str) -> bool:
    if target.schema is None:
        return False
    return column.casefold() in {one.name.casefold() for one in target.schema.columns}
