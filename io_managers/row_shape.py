"""How returned rows become rows of the declared columns, or are refused: the schema policies, the same for every destination.

Only what the rows and the declaration say is decided here; whether stored rows of older columns fit beside them is `schemas`'
business. Names match without regard to case, as they do in SQL, and the declared spelling stays; the order of columns doesn't matter,
the declared one stays.

    freeze        columns and types are exactly the declared ones
    add_nullable  declared columns have their types, those not returned are null; further columns follow
    widen         as add_nullable, and a returned type that widens to the declared one is cast, or the declared one to it
    discard       declared columns have their types, those not returned are null; further columns are left out

A declared column that is not nullable has to be there, and may not be null, under every policy. Rows without any column, an empty
output, have the declared ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets_core.model.errors import DataError
from assets_core.model.table_schemas import SchemaPolicy
from io_managers.type_widening import joined_type
from partitions.errors import nearest

if TYPE_CHECKING:
    import pyarrow as pa

    from assets_core.model.io_manager import Target
    from assets_core.model.table_schemas import TableSchema

_HINTS = {
    SchemaPolicy.FREEZE: 'return exactly the declared columns, change schema=…, or let schema_policy="add_nullable" take others in'
    ' or "discard" leave them out',
    SchemaPolicy.ADD_NULLABLE: 'return the declared types, or let schema_policy="widen" take in those that widen without a loss',
    SchemaPolicy.WIDEN: "return a type that widens without a loss, or change schema=…",
    SchemaPolicy.DISCARD: "return the declared types, or change schema=…",
}


def declared_schema(schema: TableSchema) -> pa.Schema:
    """The declared columns as an Arrow schema; whether they are nullable is left out, as it is of all rows that are taken in."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    found = pa.ipc.read_schema(pa.BufferReader(schema.arrow))
    return pa.schema([(field.name, field.type) for field in found])


def row_shape(target: Target, returned: pa.Schema) -> RowShape | None:
    """What makes batches with the columns `returned` fit the declaration; None if nothing is declared.

    Raises:
        DataError: they can't be made to fit under the asset's policy; every column that doesn't is named.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if target.schema is None:
        return None
    declared, policy = declared_schema(target.schema), target.schema_policy
    found = {field.name.casefold(): field for field in returned}
    required = {one.name for one in target.schema.columns if not one.nullable}
    fields, wrong = [], []
    for field in declared:
        there = found.pop(field.name.casefold(), None)
        if there is None:
            fields.append(field)
            if returned.names and (policy is SchemaPolicy.FREEZE or field.name in required):
                wrong.append(f"column {field.name!r} ({field.type}) is missing")
            continue
        kind = joined_type(field.type, there.type, widen=policy is SchemaPolicy.WIDEN)
        if kind is None:
            wrong.append(
                f"column {field.name!r} is {there.type} in the returned rows, and the schema says {field.type}"
            )
        fields.append(pa.field(field.name, kind or field.type))
    if policy is SchemaPolicy.FREEZE:
        wrong += [_undeclared(field, declared) for field in found.values()]
    if wrong:
        raise DataError(f"{target.asset}: {'; '.join(wrong)}", hint=_HINTS[policy])
    if policy is not SchemaPolicy.DISCARD:
        fields += found.values()
    left_out = tuple(field.name for field in found.values()) if policy.is_closed else ()
    return RowShape(target.asset, pa.schema(fields), frozenset(required), left_out)


@dataclass(frozen=True, slots=True)
class RowShape:
    """Gives batches the columns of `schema`. `left_out` names returned columns that are not among them."""

    asset: str
    schema: pa.Schema
    required: frozenset[str]
    left_out: tuple[str, ...]

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with exactly these columns. Raises DataError for a null where none may be."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        if not batch.schema.names and batch.num_rows:
            raise DataError(f"{self.asset} returned {batch.num_rows} rows without columns")
        positions = {name.casefold(): i for i, name in enumerate(batch.schema.names)}
        columns = []
        for field in self.schema:
            position = positions.get(field.name.casefold())
            column = (
                pa.nulls(batch.num_rows, field.type)
                if position is None
                else self._cast(batch.column(position), field)
            )
            if field.name in self.required and column.null_count:
                raise DataError(
                    f"{self.asset}: column {field.name!r} is declared as not null, and {column.null_count} rows have no value in it",
                    hint="leave such rows out, or declare it nullable (str | None in a model)",
                )
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _cast(self, column: pa.Array, field: pa.Field) -> pa.Array:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        try:
            return cast_column(column, field.type)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{self.asset}: column {field.name!r} has a value that does not fit {field.type}: {error}"
            ) from error


def cast_column(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The column under a type that `joined_type` has found for it. Raises pyarrow.ArrowInvalid for a value out of its range."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if column.type == kind:
        return column
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), kind)
    if pa.types.is_interval(column.type):
        return _durations(column).cast(kind)
    return column.cast(kind)


def _durations(column: pa.Array) -> pa.Array:
    """Intervals, which are DuckDB's durations, in microseconds. Raises pyarrow.ArrowInvalid for one that has no fixed length, or is finer."""
    import numpy as np  # noqa: PLC0415 - heavy
    import pyarrow as pa  # noqa: PLC0415 - heavy

    layout = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
    found = np.frombuffer(column.buffers()[1], layout, len(column) + column.offset)
    found = found[column.offset :]
    missing = column.is_null().to_numpy(zero_copy_only=False)
    known = found[~missing]
    if known["months"].any():
        raise pa.ArrowInvalid("an interval of months has no fixed length")
    if (known["nanoseconds"] % 1000).any():
        raise pa.ArrowInvalid("an interval is no whole number of microseconds")
    micros = found["days"].astype(np.int64) * 86_400_000_000 + found["nanoseconds"] // 1000
    return pa.array(micros, mask=missing).cast(pa.duration("us"))


def _undeclared(field: pa.Field, declared: pa.Schema) -> str:
    near = nearest(field.name, declared.names)
    meant = f" (did you mean {near[0]!r}?)" if near else ""
    return f"column {field.name!r} ({field.type}) is not in the schema{meant}"
