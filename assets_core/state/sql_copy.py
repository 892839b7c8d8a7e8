"""A whole state copied from one database into another, empty one, whichever they are. Runs inside one transaction on each side.

All that is true is copied under its own ids, so that nothing that points to it (a commit token at a destination, an id in a log file)
has to change. What a copy must not share is who it is: the target keeps its own `state_id`, so a plan saved from the one is not taken
for a plan of the other. `writer`, `run_lock` and `pool_turn` are about who is at work now, and nobody is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from assets_core.model.errors import StoreError
from assets_core.state.dialects import per_dialect
from assets_core.state.sql_verify import find_problems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from assets_core.state.dialects import Cursor, Row

TABLES: Final = {
    "asset": ("id",),
    "partition_key": ("space", "id"),
    "version": ("id",),
    "part": ("id",),
    "version_part": ("version_id", "position"),
    "run": ("number",),
    "step": ("id",),
    "attempt": ("id",),
    "check_result": ("id",),
    "partition_check": ("asset_id", "partition_id", "check_name"),
    "materialization": ("seq",),
    "state_chunk": ("asset_id", "first_id"),
}
"""Tables with their primary keys, in an order in which every row finds what it points to. Tables of one row are copied by hand."""

_GENERATED: Final = frozenset({"asset", "version", "part", "run", "attempt", "check_result"})
"""Tables whose ids the database makes."""

_BATCH: Final = 2_000
"""Rows held at a time. A run's plan may be megabytes, but there are few runs."""

COLUMNS: Final = per_dialect(
    sqlite="select name from pragma_table_info(?) order by name",
    postgres="""
select attname::text from pg_attribute
where attrelid = to_regclass(?) and attnum > 0 and not attisdropped order by attname""",
)
_IS_USED: Final = """
select exists (select 1 from run) or exists (select 1 from asset) or exists (select 1 from partition_key)
    or exists (select 1 from seq_counter where seq > 0)"""
_COUNTERS: Final = "select seq, epoch from seq_counter"
# A destination refuses an epoch that is not above those it has seen; the target's own may be above all of them already.
_SET_COUNTERS: Final = (
    "update seq_counter set seq = ?1, epoch = case when epoch < ?2 then ?2 else epoch end"
)
_COMPACTION: Final = "select seq, version, at from compaction"
_SET_COMPACTION: Final = "update compaction set seq = ?, version = ?, at = ?"


def copy_state(source: Cursor, target: Cursor) -> dict[str, int]:
    """Copy everything, and answer how many rows each table has. Raises StoreError, and then the target is to be rolled back."""
    if target.execute(_IS_USED).get:
        raise StoreError(
            "The target holds a state already; nothing was copied into it.",
            hint="Name a file that does not exist, or another schema: ?schema=…",
        )
    counts = {table: _copy_table(source, target, table) for table in TABLES}
    target.execute(_SET_COUNTERS, source.execute(_COUNTERS).fetchone())
    target.execute(_SET_COMPACTION, source.execute(_COMPACTION).fetchone())
    for table, count in counts.items():
        for name, cursor in (("source", source), ("target", target)):
            found = cursor.execute(f"select count(*) from {table}").get  # noqa: S608 - of TABLES
            if found != count:
                raise StoreError(
                    f"{count} rows of {table} were copied, but the {name} has {found}; nothing was changed."
                )
    problems = find_problems(target)
    if problems:
        raise StoreError(
            f"The copy would not be sound: {problems[0].message}. Nothing was changed.",
            hint="See what is wrong with the state: partita state verify",
        )
    return counts


def _copy_table(source: Cursor, target: Cursor, table: str) -> int:
    columns = [name for (name,) in source.execute(COLUMNS, (table,)).fetchall()]
    # Names of our own tables and columns, as their database spells them; none needs quoting.
    names, places = ", ".join(columns), ", ".join("?" for _ in columns)
    insert = f"insert into {table} ({names}) values ({places})"  # noqa: S608
    count = 0
    for rows in _batches(source, table, columns):
        target.executemany(insert, rows)
        count += len(rows)
    if table in _GENERATED:
        _go_on_after(target, table)
    return count


def _batches(source: Cursor, table: str, columns: Sequence[str]) -> Iterator[list[Row]]:
    """All rows in the order of the primary key, some at a time."""
    key = TABLES[table]
    names, order = ", ".join(columns), ", ".join(key)
    at = [columns.index(name) for name in key]
    places = ", ".join("?" for _ in key)
    first = f"select {names} from {table} order by {order} limit {_BATCH}"  # noqa: S608
    more = (
        f"select {names} from {table} where ({order}) > ({places}) order by {order} limit {_BATCH}"  # noqa: S608
    )
    rows = source.execute(first).fetchall()
    while rows:
        yield rows
        last: list[Any] = [rows[-1][place] for place in at]
        rows = source.execute(more, last).fetchall()


def _go_on_after(target: Cursor, table: str) -> None:
    """Rows came with their ids; PostgreSQL's generators of ids don't learn of that by themselves, as SQLite's do."""
    (key,) = TABLES[table]
    statement = f"select setval(pg_get_serial_sequence('{table}', '{key}'), coalesce(max({key}), 0) + 1, false) from {table}"  # noqa: S608
    target.execute(per_dialect(sqlite="select 1", postgres=statement)).fetchall()
