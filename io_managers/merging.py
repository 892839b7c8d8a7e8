"""What a merge changes: which old rows go, which staged rows come. The same plan for a DuckDB table, a Parquet file and memory.

A staged row is written if its key is new, or if it is not older than the row it meets (by `order_by`, where there is one) and differs
from it in some column. Rows that would be replaced by their equals stay untouched: that is how a merge knows it changed nothing.

NULL in `order_by` is older than anything; of two equally old rows the staged one wins, so that a re-run can repair rows.
The staged rows hold each key once and no null key (`staging` saw to that); so each old row meets at most one staged row. With
`scope="partition"` all that is said here holds for each partition by itself: callers compare one partition at a time.

A staged row for which `delete_when` holds removes the old row that it meets, if it is not older, and is not written.
"""

# ruff: noqa: S608 - names come into SQL through `quoted` only, values are bound

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assets_core.model.errors import DataError
from assets_core.model.io_manager import WriteReceipt
from io_managers.fingerprint import hashable, version_after
from io_managers.refusals import first_line
from io_managers.workbench import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from assets_core.model.specs import Merge
    from io_managers.staging import StagedRows
    from io_managers.workbench import Workbench

ROW = "_partita_row"
"""Int64: the position of a row, in old and staged rows that are joined outside a database table."""


@dataclass(frozen=True, slots=True)
class MergePlan:
    """`gone`: row numbers of old rows to remove. Masks over the staged rows: `written`, and `changed` those that wrote or removed one."""

    gone: NDArray[np.int64]
    written: NDArray[np.bool_]
    changed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows of a table of the attached file: those for which `condition` holds, with its bound parameters. `table` is a quoted name."""

    table: str
    condition: str = "true"
    parameters: tuple[object, ...] = ()


def plan_merge(
    bench: Workbench,
    write: Merge,
    staged: pa.Table,
    old: pa.RecordBatchReader | Stored | None,
    old_columns: Sequence[str],
) -> MergePlan:
    """Compare staged rows with old ones by key.

    `old` is a stream with a `_partita_row` column, rows of a table, or None: there are no old rows. `old_columns` are its visible
    columns; those that only one side has count as NULL on the other. Names match without regard to case.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    new = hashable(staged).append_column(ROW, pa.array(np.arange(staged.num_rows)))
    deletes = _deletes(bench, write, new)
    if old is None:
        return MergePlan(np.zeros(0, dtype=np.int64), ~deletes, ~deletes)
    if isinstance(old, Stored):
        tables, parameters = {"staged": new}, list(old.parameters)
        source, number = f"(select *, rowid as {ROW} from {old.table} where {old.condition})", ROW
    else:
        tables, parameters = {"staged": new, "kept": _hashable_stream(old)}, []
        source, number = "kept", ROW
    sql = (
        f"select o.{number} as gone, s.{ROW} as row, {_wins(write)} as wins, {_differs(staged.column_names, old_columns)} as differs"
        f" from staged s join {source} o on {' and '.join(f's.{quoted(key)} = o.{quoted(key)}' for key in write.keys)}"
    )
    with bench.tables(**tables) as connection:
        met = connection.execute(sql, parameters).fetchnumpy()
    rows = np.asarray(met["row"], dtype=np.int64)
    differs = np.asarray(met["differs"], dtype=bool) | deletes[rows]
    replaced = np.asarray(met["wins"], dtype=bool) & differs
    changed = ~deletes
    changed[rows] = replaced
    return MergePlan(
        np.asarray(met["gone"], dtype=np.int64)[replaced], changed & ~deletes, changed
    )


def check_deletes(bench: Workbench, write: Merge, staged: pa.Table, asset: str) -> None:
    """Raise DataError if `delete_when` is no condition over these rows: no SQL, or its value is no truth value."""
    import duckdb  # noqa: PLC0415 - heavy

    told = f"{asset}: Merge(delete_when={write.delete_when!r})"
    with bench.tables(staged=hashable(staged.slice(0, 0))) as connection:
        try:
            ((_, kind, *_),) = connection.execute(
                f"describe select ({write.delete_when}) as deletes from staged"
            ).fetchall()
        except duckdb.Error as error:
            raise DataError(
                f"{told} is no condition over the returned rows: {first_line(error)}",
                hint=f"they have {', '.join(map(repr, staged.column_names))}",
            ) from error
    if kind not in {"BOOLEAN", '"NULL"'}:
        raise DataError(
            f"{told} is {kind}, not true or false", hint=f"compare it: {write.delete_when} = 1"
        )


def _deletes(bench: Workbench, write: Merge, new: pa.Table) -> NDArray[np.bool_]:
    """Which of the staged rows, numbered in `_partita_row`, stand for a deletion."""
    if write.delete_when is None or not new.num_rows:
        return np.zeros(new.num_rows, dtype=bool)
    with bench.tables(staged=new) as connection:
        # The condition is the author's own, like the query of an asset in SQL; NULL deletes nothing.
        found = connection.execute(
            f"select coalesce(({write.delete_when}), false) as deletes from staged order by {ROW}"
        ).fetchnumpy()
    return np.asarray(found["deletes"], dtype=bool)


def merged_receipt(
    partition_id: int,
    rows: StagedRows,
    position: int,
    token: str,
    previous: WriteReceipt | None,
    *,
    changed: bool,
) -> WriteReceipt:
    """The receipt of one slice of a merge; `previous` is what the destination holds for that partition from before, if anything.

    The version of a merged partition can't be that of the staged rows: the same rows merged again may undo what another partition
    wrote since. So a merge that changed something has a version of its own, one that changed nothing keeps the previous one.
    """
    facts = rows.facts[position]
    if previous is not None and not changed:
        version = previous.data_version
    else:
        version = version_after(facts.data_version, token)
    return WriteReceipt(partition_id, facts.rows, facts.bytes, version, rows.schema_hash)


def _hashable_stream(stream: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Old rows in the same form as the staged ones they are compared with."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    schema = hashable(stream.schema.empty_table()).schema
    batches = (
        converted
        for batch in stream
        for converted in hashable(pa.Table.from_batches([batch])).to_batches()
    )
    return pa.RecordBatchReader.from_batches(schema, batches)


def _wins(write: Merge) -> str:
    if write.order_by is None:
        return "true"
    order = quoted(write.order_by)
    return f"coalesce(o.{order} is null or s.{order} >= o.{order}, false)"


def _differs(new: Sequence[str], old: Sequence[str]) -> str:
    known = {name.casefold(): name for name in old}
    pairs = []
    for name in new:
        match = known.pop(name.casefold(), None)
        other = f"o.{quoted(match)}" if match is not None else "null"
        pairs.append(f"s.{quoted(name)} is distinct from {other}")
    pairs += [f"o.{quoted(name)} is not null" for name in known.values()]
    return " or ".join(pairs) or "false"
