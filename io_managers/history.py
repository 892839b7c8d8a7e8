"""The history of keys as a fold over what partitions brought: the algebra of `SCD2`, the same for every destination.

Theory of operation
-------------------
What is stored is what each partition returned, its *events*, and the *moment* of each partition (its start). Nothing else: no version
is written, closed or corrected anywhere, so a partition that is run again, or out of order, or a crash, can't leave a history that is
wrong. Whoever reads gets the fold over the events of all partitions up to the last one that was asked for, in the order of time.

Per key, events are ordered by the instant that they tell (the moment of their partition, or their `effective` column), then by their
partition; of two at the same instant the later partition's counts. With `on_absent="close"` the first partition without a key that the
partition before had is an event too: an absence. Walking along them, a version begins where there was none before, or where a tracked
column differs from the event before; an absence ends it. A version shows the last event in it, and is valid up to the next event that
began or ended one.

With an `effective` column an event may be told in advance. It is part of the history once a partition is asked for that ends after it.

DuckDB folds; only row numbers and times come out, so rows of Parquet and memory keep types that DuckDB doesn't have.
"""

# ruff: noqa: S608 - names come into SQL through `quoted` only, values are bound

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from assets_core.model.errors import InternalError
from assets_core.model.specs import HISTORY_COLUMNS, SCD2, OnAbsent
from io_managers.fingerprint import hashable
from io_managers.merging import ROW
from io_managers.workbench import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from assets_core.model.io_manager import Target
    from io_managers.moments import Moment
    from io_managers.workbench import Workbench

PLACE = "_partita_place"
"""Int64: the position of a partition among all that the fold is over, in the order of time."""
MOMENTS = "partita_moments"
"""The name under which places and moments are registered for `history_sql`."""


def moments_table(moments: Sequence[Moment]) -> pa.Table:
    """Moments in the order of time, for `history_sql`."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    ordered = sorted(moments, key=lambda one: one.at)
    return pa.table(
        {
            PLACE: pa.array(range(len(ordered)), pa.int64()),
            "key": pa.array([one.key for one in ordered], pa.string()),
            "moment": pa.array([one.at for one in ordered], pa.timestamp("us", "UTC")),
        }
    )


def history_table(
    bench: Workbench,
    target: Target,
    events: Sequence[pa.Table],
    moments: Sequence[Moment],
    end: datetime | None,
) -> pa.Table:
    """The history before `end` of events, one table per moment and all with the same columns. Empty without columns if the events have none."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    order = sorted(range(len(moments)), key=lambda i: moments[i].at)
    rows = pa.concat_tables([events[i] for i in order])
    if not rows.column_names:
        return rows
    places = np.repeat(np.arange(len(order)), [len(events[i]) for i in order])
    numbered = (
        hashable(rows)
        .append_column(ROW, pa.array(np.arange(len(rows))))
        .append_column(PLACE, pa.array(places))
    )
    begun = begun_sql(target, rows.schema, end)
    sql = f"{history_sql(target, rows.column_names, 'events', begun)} order by valid_from, {ROW}"
    with bench.tables(events=numbered, **{MOMENTS: moments_table(moments)}) as connection:
        found = connection.sql(sql).to_arrow_table()
    kept = rows.take(found.column(ROW))
    kind = time_type(target, rows.schema)
    for name in HISTORY_COLUMNS:
        column = found.column(name)
        kept = kept.append_column(name, column if name == "is_current" else column.cast(kind))
    return kept


def history_schema(target: Target, schema: pa.Schema) -> pa.Schema:
    """The columns of events and what the history adds to them; none if the events have none."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if not schema.names:
        return schema
    kind = time_type(target, schema)
    kinds = (kind, kind, pa.bool_())
    added = [pa.field(name, one) for name, one in zip(HISTORY_COLUMNS, kinds, strict=True)]
    return pa.schema([*schema, *added])


def time_type(target: Target, schema: pa.Schema) -> pa.DataType:
    """The type of `valid_from` and `valid_to`: that of the `effective` column, else instants."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    effective = _write(target).effective
    return pa.timestamp("us", "UTC") if effective is None else schema.field(effective).type


def begun_sql(target: Target, schema: pa.Schema, end: datetime | None) -> str:
    """The SQL condition that leaves out events `e` which are told in advance and begin at `end` or later. Partitions begin before they end."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    effective = _write(target).effective
    if effective is None or end is None:
        return "true"
    kind, column = schema.field(effective).type, f"e.{quoted(effective)}"
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        return f"{column}::timestamp < timestamp '{end.replace(tzinfo=None).isoformat(sep=' ')}'"
    instant = end.astimezone(UTC)
    if kind.unit == "ns":  # as `hashable` has it
        micros = (instant - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
        return f"{column} < {micros * 1000}"
    return f"{column} < timestamptz '{instant.isoformat(sep=' ')}'"


def history_sql(target: Target, columns: Sequence[str], source: str, begun: str = "true") -> str:
    """The query for `_partita_row`, `valid_from`, `valid_to` and `is_current` of every version.

    `source` is an SQL relation with the events' `columns`, `_partita_row` and `_partita_place`; places and moments are registered as
    `MOMENTS`. Events `e` that are not `begun` are left out.
    """
    write = _write(target)
    apart = {*write.keys, write.effective}
    tracked = [name for name in columns if name not in apart]
    tracked = [name for name in tracked if write.track is None or name in write.track]
    keys = [f"k{i}" for i in range(len(write.keys))]
    told = [f"c{i}" for i in range(len(tracked))]
    named = ", ".join(
        f"e.{quoted(name)} as {short}"
        for name, short in zip([*write.keys, *tracked], [*keys, *told], strict=True)
    )
    by = ", ".join(keys)
    instant = "m.moment" if write.effective is None else f"e.{quoted(write.effective)}"
    # Of events of one key at one instant, the last partition's counts.
    first = f"row_number() over (partition by {by}, instant order by place desc) = 1"
    absent = ""
    if write.on_absent is OnAbsent.CLOSE:
        nulls = "".join(f", null as {short}" for short in told)
        absent = (
            f" union all select {by}{nulls}, null, m.{PLACE}, m.moment, false from"
            f" (select {by}, place, lead(place) over (partition by {by} order by place) as again from present) p"
            f" join {MOMENTS} m on m.{PLACE} = p.place + 1 where again is distinct from p.place + 1"
        )
    differs = " or ".join(
        ["lag(is_there) over w is distinct from is_there"]
        + [f"{short} is distinct from lag({short}) over w" for short in told]
    )
    return (
        f"with present as (select {named}, e.{ROW} as row, m.{PLACE} as place, {instant} as instant, true as is_there"
        f" from {source} e join {MOMENTS} m on m.{PLACE} = e.{PLACE} where {begun} qualify {first}),"
        f" happened as (select * from present{absent}),"
        f" marked as (select *, ({differs}) as begins from happened window w as (partition by {by} order by instant, place)),"
        f" versioned as (select *, sum(begins::integer) over (partition by {by} order by instant, place) as version from marked),"
        f" versions as (select {by}, version, min(instant) as valid_from, last(row order by instant, place) as row, bool_and(is_there) as is_there"
        f" from versioned group by {by}, version),"
        f" ended as (select *, lead(valid_from) over (partition by {by} order by version) as valid_to from versions)"
        f" select row as {ROW}, valid_from, valid_to, valid_to is null as is_current from ended where is_there"
    )


def _write(target: Target) -> SCD2:
    if not isinstance(target.write, SCD2):
        raise InternalError(f"{target.asset} keeps no history")
    return target.write
