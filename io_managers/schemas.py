"""Fitting Arrow rows of different ages together: a column that one side lacks is null there, a type that differs is refused.

No value is cast here. The one exception is no exception: a column without any type (all null) takes the type of its namesake.
Names match without regard to case, as they do in SQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.model.errors import DataError, IOManagerError
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from assets_core.model.io_manager import ReadRequest


def joined_schema(old: pa.Schema, new: pa.Schema, asset: str) -> pa.Schema:
    """The columns of `old`, then those that only `new` has. Raises DataError for a column with two types.

    >>> import pyarrow as pa
    >>> joined_schema(pa.schema({"a": pa.int64()}), pa.schema({"A": pa.int64(), "b": pa.string()}), "x").names
    ['a', 'b']
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    fields = {field.name.casefold(): field for field in old}
    for field in new:
        known = fields.get(field.name.casefold())
        if known is None:
            fields[field.name.casefold()] = field
        elif pa.types.is_null(known.type):
            fields[field.name.casefold()] = pa.field(known.name, field.type)
        elif known.type != field.type and not pa.types.is_null(field.type):
            raise type_differs(asset, field.name, str(field.type), str(known.type))
    return pa.schema(list(fields.values()))


def type_differs(asset: str, column: str, new: str, old: str) -> DataError:
    """The error for a column whose type is not that of the rows that are there."""
    return DataError(
        f"{asset}: column {column!r} is {new} in the returned rows and {old} where they are stored; values are never cast silently",
        hint=f"return it as {old}; or to change the type for good, remove the stored rows and materialize all partitions again",
    )


def conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with exactly the columns of `schema`, nulls for those it lacks. The types must fit (see `joined_schema`)."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if batch.schema == schema:
        return batch
    positions = {name.casefold(): i for i, name in enumerate(batch.schema.names)}
    columns = []
    for field in schema:
        position = positions.get(field.name.casefold())
        if position is None or pa.types.is_null(batch.schema.field(position).type):
            columns.append(pa.nulls(batch.num_rows, field.type))
        else:
            columns.append(batch.column(position))
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
