"""Content versions: one text for equal rows, whatever their order; another for any other rows.

Up to 200 rows of plain columns are written out, sorted and hashed in Python: for one row that costs a tenth of a query, for 200 as
much, and many partitions are small. More rows are hashed by DuckDB, one 64-bit hash a row, and added up twice in unlike ways (sum, and
xor of a second mix); both don't depend on the order. The row hash is mixed once more before it is added: DuckDB combines columns by
multiply and xor, and without the second mix two rows that swap values would keep their sum about once in 10⁸.

Which way is taken depends on the rows and their types alone, so a partition has one version however it came to be computed. DuckDB may
change its hash between releases; then partitions recomputed after the upgrade count as changed, once.
"""

# ruff: noqa: S608 - names come into SQL through `quoted` only, values are bound

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from assets_core.authoring.arrow_types import with_types
from assets_core.model.table_schemas import columns_hash
from io_managers.workbench import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from io_managers.workbench import Workbench

SLOT = "_partita_slot"
"""Int32: the position of a row's slice in its request; only where a request has several slices."""

_FEW = 200
_PIECE = 32_768


@dataclass(frozen=True, slots=True)
class SliceFacts:
    """What is known of the staged rows of one slice: how many, their Arrow size (shared out by rows), their content version."""

    rows: int
    bytes: int
    data_version: str


def schema_hash(schema: pa.Schema) -> str:
    """One text for equal names and types, whatever the columns' order.

    >>> import pyarrow as pa
    >>> a, b = pa.field("a", pa.int64()), pa.field("b", pa.string())
    >>> schema_hash(pa.schema([a, b])) == schema_hash(pa.schema([b, a]))
    True
    """
    return columns_hash((field.name, str(field.type)) for field in schema if field.name != SLOT)


def slice_facts(
    bench: Workbench, table: pa.Table, slices: int, *, by_content: bool = True
) -> tuple[SliceFacts, ...]:
    """Count and version the rows of each of `slices` slices; a `_partita_slot` column tells them apart if there are several.

    Without `by_content` versions say nothing of values: what the rows are merged into has another one anyway, see `version_after`.
    """
    schema = schema_hash(table.schema)
    names = sorted(name for name in table.column_names if name != SLOT)
    plain = all(_is_plain(table.schema.field(name).type) for name in names)
    if slices == 1:
        counts = np.array([table.num_rows])
    else:
        counts = np.bincount(table.column(SLOT).to_numpy(), minlength=slices)
    few = (counts <= _FEW) if plain else (counts == 0)
    bodies: dict[int, str] = {}
    if by_content:
        bodies = _few_bodies(table, names, np.flatnonzero(few & (counts > 0)).tolist(), slices)
        if not few.all():
            bodies |= _many_bodies(bench, table, names)
    per_row = table.nbytes / max(table.num_rows, 1)
    return tuple(
        SliceFacts(
            rows=int(rows),
            bytes=int(rows * per_row),
            data_version=_digest(f"{schema}:{rows}:{bodies.get(slot, '')}"),
        )
        for slot, rows in enumerate(counts)
    )


def version_after(previous: str, token: str) -> str:
    """The version of a partition that a merge with these rows has changed: no other merge ends up with the same one."""
    return _digest(f"{previous}:{token}")


def _few_bodies(
    table: pa.Table, names: Sequence[str], slots: Sequence[int], slices: int
) -> dict[int, str]:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if len(slots) == 0:
        return {}
    if slices > 1:
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        wanted = pa.array(np.asarray(slots, dtype=np.int32))
        table = table.filter(pc.is_in(table.column(SLOT), value_set=wanted))
    columns = []
    for name in names:
        column = table.column(name)
        if pa.types.is_temporal(column.type):
            column = column.cast(
                pa.int32() if column.type.bit_width == 32 else pa.int64()  # noqa: PLR2004 - bits
            )
        values = column.to_pylist()
        if pa.types.is_floating(column.type):
            values = [None if value is None else value + 0.0 for value in values]  # -0.0 is 0.0
        columns.append(values)
    rows: dict[int, list[str]] = {}
    owners = table.column(SLOT).to_pylist() if slices > 1 else [0] * table.num_rows
    for owner, row in zip(owners, zip(*columns, strict=True), strict=True):
        rows.setdefault(owner, []).append(repr(row))
    return {owner: _digest("\n".join(sorted(texts))) for owner, texts in rows.items()}


def _many_bodies(bench: Workbench, table: pa.Table, names: Sequence[str]) -> dict[int, str]:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    # In pieces, which DuckDB shares out to its threads.
    hashed = hashable(table)
    hashed = pa.Table.from_batches(hashed.to_batches(max_chunksize=_PIECE), schema=hashed.schema)
    columns = ", ".join(quoted(name) for name in names)
    # Without a slot no GROUP BY: a sum over everything costs half of a sum over one group.
    slot, group = (SLOT, f" group by {SLOT}") if SLOT in table.column_names else ("0", "")
    with bench.tables(staged=hashed) as connection:
        found = connection.execute(
            f"select {slot}, cast(sum(row_hash) as varchar), cast(bit_xor(hash(row_hash, 1)) as varchar)"
            f" from (select *, hash(hash({columns})) as row_hash from staged){group}"
        ).fetchall()
    return {int(slot): f"{total}:{mix}" for slot, total, mix in found}


def hashable(table: pa.Table) -> pa.Table:
    """The table with the column types that DuckDB can't read, or reads with a loss, in a form that keeps every difference."""
    for i, field in enumerate(table.schema):
        kind = with_types(field.type, _readable)
        if kind != field.type:
            table = table.set_column(i, field.name, table.column(i).cast(kind))
    return table


def _readable(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if pa.types.is_timestamp(kind) and kind.unit == "ns" and kind.tz is not None:
        return pa.int64()
    if pa.types.is_float16(kind):
        return pa.float32()
    return pa.string() if pa.types.is_decimal256(kind) else kind


def _is_plain(kind: pa.DataType) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    types = pa.types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_string(kind)
        or types.is_date32(kind)
        or types.is_timestamp(kind)
        or types.is_time(kind)
        or types.is_decimal(kind)
        or types.is_binary(kind)
        or types.is_null(kind)
    )


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
