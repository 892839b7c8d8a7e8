"""One transaction that publishes a group of staged steps into the attached DuckDB file: rows, schema changes and commit rows.

Theory of operation
-------------------
1. Read the commits of all partitions of the group. A partition that carries the step's own token is done (a reply was lost); one that
   carries the same or a higher epoch fences the step off. Neither takes part any further.
2. Steps of one asset are written together: one DELETE, one INSERT, whatever their number. Everything that can be wrong with them
   (a foreign table, a type that differs) is found out before the first write to their table, so they can be tried one by one
   afterwards within the same transaction. Steps that merge the same keys are always written one by one, in order.
3. The commit rows of everything written go in by one DELETE and one INSERT. COMMIT.

DuckDB's own errors end the transaction: nothing of the group is visible, and the caller tries each step in a transaction of its own.

There are no indexes, primary keys or unique constraints on our tables: they are slower, bloat the file, and were checked on the
staged rows. No three-way MERGE statement: it scans the table.
"""

# ruff: noqa: S608 - names come into SQL through `quoted` only, values are bound

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import numpy as np

from assets_core.failpoints import failpoint
from assets_core.model.errors import DataError, IOManagerError, PartitaError
from assets_core.model.io_manager import (
    PARTITION_COLUMN,
    Published,
    PublishFailed,
    StageRequest,
    WriteReceipt,
)
from assets_core.model.specs import Merge, MergeScope
from io_managers.duckdb_commits import (
    OWN_NAMES,
    Commit,
    OwnTable,
    TableLayout,
    arrow_schema,
    column_types,
    commits_of,
    forget_table,
    make_tables,
    own_tables,
    qualified,
    roll_back,
    save_commits,
    save_moments,
    save_table,
    table_names,
)
from io_managers.duckdb_history import check_view, drop_view, has_view, make_view
from io_managers.duckdb_members import Member, by_asset, incoming_of, rounds, rows_of_slices
from io_managers.duckdb_rows import conditions
from io_managers.fingerprint import SLOT
from io_managers.merging import MergePlan, Stored, merged_receipt, plan_merge
from io_managers.moments import is_history, moment_of
from io_managers.partition_columns import has_key_column
from io_managers.refusals import fenced
from io_managers.schemas import fitted_type, type_differs
from io_managers.workbench import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from assets_core.model.io_manager import Target
    from io_managers.workbench import Workbench

_NO_TYPE = "INTEGER"
"""The type of a column that has held nothing but nulls, until rows bring one."""


Receipts = dict[str, WriteReceipt]
Outcome = Receipts | PublishFailed


def write_group(
    bench: Workbench, connection: DuckDBPyConnection, members: Sequence[Member], path: str
) -> list[Published | PublishFailed]:
    """Publish what can be published, in one transaction; one answer per member. Raises duckdb.Error: then nothing is written."""
    connection.execute("begin transaction")
    try:
        answers = _Transaction(bench, connection, path).write(members)
        failpoint("publish.duckdb.commit")
        connection.execute("commit")
        failpoint("publish.duckdb.committed")
    except BaseException:
        roll_back(connection)
        raise
    return answers


class _Transaction:
    """What is known of the database while one group is written."""

    def __init__(self, bench: Workbench, connection: DuckDBPyConnection, path: str) -> None:
        self._bench = bench
        self._connection = connection
        self._path = path
        names = table_names(connection)
        if not names >= OWN_NAMES:
            make_tables(connection)
        self._names = {name.casefold(): name for name in names}
        self._own = own_tables(connection)
        self._forgotten: set[str] = set()

    def write(self, members: Sequence[Member]) -> list[Published | PublishFailed]:
        outcomes: dict[int, Outcome] = {}
        done: dict[int, Published] = {}
        saved: list[tuple[StageRequest, Mapping[str, WriteReceipt]]] = []
        for asset, numbered in by_asset(members).items():
            keys = [one.key for _, member in numbered for one in member.request.slices]
            commits = commits_of(self._connection, asset, keys)
            newest = {key: (commit.epoch, commit.token) for key, commit in commits.items()}
            todo = []
            for position, member in numbered:
                receipts = receipts_of(member.request, commits)
                if len(receipts) == len(member.request.slices):
                    done[position] = Published(receipts)
                elif refusal := _fenced(member.request, newest):
                    outcomes[position] = refusal
                else:
                    mine = member.request.epoch, member.request.token
                    newest |= dict.fromkeys((one.key for one in member.request.slices), mine)
                    todo.append((position, member))
            for round_ in rounds(todo):
                self._write_round(round_, commits, outcomes)
                commits |= _commits(round_, outcomes)
        answers: list[Published | PublishFailed] = []
        for position, member in enumerate(members):
            if position in done:
                answers.append(done[position])
                continue
            outcome = outcomes[position]
            if isinstance(outcome, PublishFailed):
                answers.append(outcome)
                continue
            saved.append((member.request, outcome))
            answers.append(Published(tuple(outcome[one.key] for one in member.request.slices)))
        save_commits(self._bench, saved)
        return answers

    def _write_round(
        self,
        numbered: Sequence[tuple[int, Member]],
        commits: Mapping[str, Commit],
        outcomes: dict[int, Outcome],
    ) -> None:
        """Steps of one asset without a partition in common: together, or if they don't fit together, one by one."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        members = [member for _, member in numbered]
        try:
            receipts = self._write_members(members, commits)
        except (PartitaError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
            if len(members) > 1:
                for one in numbered:
                    self._write_round([one], commits, outcomes)
                return
            known = isinstance(error, PartitaError)
            outcomes[numbered[0][0]] = PublishFailed(
                str(error),
                error.hint if known else None,
                code=error.code if known else DataError.code,
            )
        else:
            for (position, _), one_receipts in zip(numbered, receipts, strict=True):
                outcomes[position] = one_receipts

    def _write_members(
        self, members: Sequence[Member], commits: Mapping[str, Commit]
    ) -> list[Receipts]:
        target = members[0].request.target
        own = self._owned(target)
        incoming = incoming_of(members)
        if isinstance(target.write, Merge):
            return self._merge(members, incoming, own, commits)
        if is_history(target):
            check_view(self._connection, target.asset, self._path)
        if target.partitioned:
            self._replace(members, incoming, own)
            if is_history(target):
                moments = [moment_of(member.request) for member in members]
                save_moments(self._connection, target.asset, moments)
                if target.asset.casefold() in self._names:
                    make_view(self._connection, target)
            elif has_view(target.asset, self._names):
                drop_view(self._connection, target.asset)
        else:
            self._swap(target, incoming, own)
        return [
            {
                one.key: WriteReceipt(
                    one.id, facts.rows, facts.bytes, facts.data_version, member.rows.schema_hash
                )
                for one, facts in zip(member.request.slices, member.rows.facts, strict=True)
            }
            for member in members
        ]

    def _owned(self, target: Target) -> OwnTable | None:
        """What we know of the table; None if there is none. Raises IOManagerError for a table that is not ours to write."""
        asset, folded = target.asset, target.asset.casefold()
        own, name = self._own.get(folded), self._names.get(folded)
        if name is None:
            if own is not None or asset in self._own:
                # Somebody dropped our table: the rows of all partitions went with it.
                forget_table(self._connection, own.asset if own is not None else asset)
                self._own.pop(folded, None)
                self._forgotten.add(asset)
            return None
        if own is None:
            raise IOManagerError(
                f"{self._path} has a table {name!r} that Partita did not make, and asset {asset!r} would overwrite it",
                hint="rename one of the two, give the asset another IO manager, or let it have the table, rows and all:"
                f" partita materialize {shlex.quote(target.owner)} --adopt",
            )
        if own.asset != asset:
            raise IOManagerError(
                f"{self._path} has a table for asset {own.asset!r}, and DuckDB takes {asset!r} for the same name",
                hint="rename one of the two assets, or give it another IO manager",
            )
        if has_key_column(target) and own.layout is not TableLayout.BY_KEY:
            raise IOManagerError(
                f"{self._path}: the rows of table {asset!r} were written without a {PARTITION_COLUMN} column, so those of one partition"
                " can't be told from the others",
                hint=f"set partition_by again, or drop the table and materialize {target.owner} anew: drop table {quoted(asset)}",
            )
        return own

    def _swap(self, target: Target, incoming: pa.Table, own: OwnTable | None) -> None:
        table = qualified(target.asset)
        if own is not None:
            forget_table(self._connection, target.asset)
        if not incoming.column_names:
            self._connection.execute(f"drop table if exists {table}")
            self._names.pop(target.asset.casefold(), None)
            self._own.pop(target.asset.casefold(), None)
            return
        with self._bench.tables(incoming=incoming):
            columns, untyped = _selection(incoming)
            self._connection.execute(
                f"create or replace table {table} as select {columns} from incoming"
            )
        self._remember(OwnTable(target.asset, TableLayout.WHOLE, untyped))

    def _replace(
        self, members: Sequence[Member], incoming: pa.Table, own: OwnTable | None
    ) -> None:
        target = members[0].request.target
        slices = [one for member in members for one in member.request.slices]
        table = qualified(target.asset)
        with self._bench.tables(**({"incoming": incoming} if incoming.column_names else {})):
            types = self._fitted(target, incoming, own)
            if not types:
                return
            if own is not None:
                for condition in conditions(target, slices, types):
                    self._connection.execute(
                        f"delete from {table} where {condition.sql}", list(condition.parameters)
                    )
                if not has_key_column(target) and PARTITION_COLUMN in types:
                    # Written before partition_by was set: what these partitions loaded then may lie anywhere.
                    self._connection.execute(
                        f"delete from {table} where {PARTITION_COLUMN} in (select unnest($1::varchar[]))",
                        [[one.key for one in slices]],
                    )
            if incoming.num_rows:
                self._insert(table, incoming.schema, "incoming")

    def _merge(
        self,
        members: Sequence[Member],
        incoming: pa.Table,
        own: OwnTable | None,
        commits: Mapping[str, Commit],
    ) -> list[Receipts]:
        target = members[0].request.target
        write = target.write
        if not isinstance(write, Merge):
            raise DataError(f"{target.asset} does not merge")
        owners = np.repeat(np.arange(len(members)), [member.rows.rows for member in members])
        changed = np.zeros(incoming.num_rows, dtype=bool)
        if incoming.column_names:
            with self._bench.tables(incoming=incoming):
                whole_table = write.scope is MergeScope.TABLE
                if whole_table and len(members) > 1 and self._has_repeats(write):
                    raise DataError(f"{target.asset}: two steps of one group merge the same key")
                types = self._fitted(target, incoming, own)
                if incoming.num_rows:
                    plan = self._planned(write, members, incoming, types, is_new=own is None)
                    changed = plan.changed
                    self._delete(target, plan)
                    if plan.written.any():
                        self._insert_written(target, incoming, plan)
        before = {} if target.asset in self._forgotten else commits
        return [
            self._merge_receipts(member, changed[owners == i], before)
            for i, member in enumerate(members)
        ]

    def _planned(
        self,
        write: Merge,
        members: Sequence[Member],
        incoming: pa.Table,
        types: Mapping[str, str],
        *,
        is_new: bool,
    ) -> MergePlan:
        """What the merge of all members changes: against all rows of the table, or each partition's rows against its own."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        target = members[0].request.target
        table = qualified(target.asset)
        rows = incoming.select([one for one in incoming.column_names if one != PARTITION_COLUMN])
        names = [name for name in types if name != PARTITION_COLUMN]
        if is_new or write.scope is MergeScope.TABLE:
            return plan_merge(self._bench, write, rows, None if is_new else Stored(table), names)
        gone: list[NDArray[np.int64]] = []
        written, changed = (np.zeros(incoming.num_rows, dtype=bool) for _ in range(2))
        for one, mine in rows_of_slices(members):
            if not len(mine):
                continue
            (condition,) = conditions(target, [one], types)
            old = Stored(table, condition.sql, condition.parameters)
            plan = plan_merge(self._bench, write, rows.take(pa.array(mine)), old, names)
            gone.append(plan.gone)
            written[mine], changed[mine] = plan.written, plan.changed
        return MergePlan(np.concatenate(gone), written, changed)

    def _delete(self, target: Target, plan: MergePlan) -> None:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        if len(plan.gone):
            with self._bench.tables(gone=pa.table({"number": plan.gone})):
                self._connection.execute(
                    f"delete from {qualified(target.asset)} where rowid in (select number from gone)"
                )

    def _merge_receipts(
        self,
        member: Member,
        changed: NDArray[np.bool_],
        commits: Mapping[str, Commit],
    ) -> Receipts:
        request, rows = member.request, member.rows
        staged = rows.open()
        slots = staged.column(SLOT).to_numpy() if SLOT in staged.column_names else None
        receipts = {}
        for position, one in enumerate(request.slices):
            previous = commits.get(one.key)
            mine = changed if slots is None else changed[slots == position]
            receipts[one.key] = merged_receipt(
                one.id,
                rows,
                position,
                request.token,
                previous.receipt if previous is not None else None,
                changed=bool(mine.any()),
            )
        return receipts

    def _has_repeats(self, write: Merge) -> bool:
        keys = ", ".join(quoted(key) for key in write.keys)
        found = self._connection.execute(
            f"select 1 from incoming group by {keys} having count(*) > 1 limit 1"
        ).fetchall()
        return bool(found)

    def _fitted(self, target: Target, incoming: pa.Table, own: OwnTable | None) -> dict[str, str]:
        """Make the table and the rows registered as `incoming` fit: create it, add columns, give untyped ones a type.

        Answers the table's columns afterwards; none if there is no table and nothing to make one of. All refusals come before the
        first change. Raises DataError.
        """
        table = qualified(target.asset)
        layout = TableLayout.of(target)
        if own is None:
            if not incoming.column_names:
                return {}
            columns, untyped = _selection(incoming)
            # A partition published before, if any, was one of rows without columns, or went with a dropped table.
            self._connection.execute(
                f"create table {table} as select {columns} from incoming limit 0"
            )
            self._remember(OwnTable(target.asset, layout, untyped))
            return column_types(self._connection, table)
        types = column_types(self._connection, table)
        changes, untyped = self._changes(target, incoming, own, types)
        for change in changes:
            self._connection.execute(f"alter table {table} {change}")
        if untyped != own.untyped or layout != own.layout:
            self._remember(OwnTable(target.asset, layout, untyped))
        return column_types(self._connection, table) if changes else types

    def _changes(
        self, target: Target, incoming: pa.Table, own: OwnTable, types: Mapping[str, str]
    ) -> tuple[list[str], tuple[str, ...]]:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        new_types = column_types(self._connection, "incoming") if incoming.column_names else {}
        known = {name.casefold(): (name, kind) for name, kind in types.items()}
        changes, untyped = [], list(own.untyped)
        for name, kind in new_types.items():
            has_no_type = pa.types.is_null(incoming.schema.field(name).type)
            old = known.get(name.casefold())
            if old is None:
                changes.append(f"add column {quoted(name)} {_NO_TYPE if has_no_type else kind}")
                untyped += [name] if has_no_type else []
            elif has_no_type or (kind == old[1] and old[0] not in untyped):
                continue
            elif old[0] in untyped:
                changes.append(f"alter column {quoted(old[0])} type {kind} using null")
                untyped.remove(old[0])
            elif (wider := self._wider(target, name, old)) != old[1]:
                changes.append(f"alter column {quoted(old[0])} type {wider}")
        return changes, tuple(untyped)

    def _wider(self, target: Target, incoming: str, stored: tuple[str, str]) -> str:
        """The DuckDB type of a stored column (name, type) that takes in the rows registered as `incoming`. Raises DataError."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        name, stored_type = stored
        old = arrow_schema(self._connection, qualified(target.asset)).field(name).type
        new = arrow_schema(self._connection, "incoming").field(incoming).type
        kind = fitted_type(target, name, old, new)
        if kind is None:
            raise type_differs(target, incoming, new, old)
        if kind == old:
            return stored_type
        with self._bench.tables(wider=pa.table({name: pa.array([], kind)})):
            return column_types(self._connection, "wider")[name]

    def _insert_written(self, target: Target, incoming: pa.Table, plan: MergePlan) -> None:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        table = qualified(target.asset)
        if plan.written.all():
            self._insert(table, incoming.schema, "incoming")
            return
        with self._bench.tables(arriving=incoming.filter(pa.array(plan.written))):
            self._insert(table, incoming.schema, "arriving")

    def _insert(self, table: str, schema: pa.Schema, source: str) -> None:
        """Insert by name. Columns without a type are left out: INTEGER nulls don't fit every type, a missing column does."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        typed = [field.name for field in schema if not pa.types.is_null(field.type)]
        columns = ", ".join(quoted(name) for name in typed)
        if not typed:
            columns = f"null as {quoted(schema.names[0])}"
        self._connection.execute(f"insert into {table} by name select {columns} from {source}")

    def _remember(self, table: OwnTable) -> None:
        save_table(self._connection, table)
        self._own[table.asset.casefold()] = table
        self._names[table.asset.casefold()] = table.asset


def receipts_of(request: StageRequest, commits: Mapping[str, Commit]) -> tuple[WriteReceipt, ...]:
    """Receipts of the partitions of a request that carry its token, in order."""
    found = (commits.get(one.key) for one in request.slices)
    return tuple(
        commit.receipt for commit in found if commit is not None and commit.token == request.token
    )


def _fenced(request: StageRequest, newest: Mapping[str, tuple[int, str]]) -> PublishFailed | None:
    """The refusal of a step that comes after a newer attempt at one of its partitions, of which epoch and token are given; None if it may go on."""
    for one in request.slices:
        epoch, token = newest.get(one.key, (request.epoch - 1, ""))
        if epoch >= request.epoch:
            return fenced(request.target.asset, one.key, token)
    return None


def _commits(
    numbered: Sequence[tuple[int, Member]], outcomes: Mapping[int, Outcome]
) -> dict[str, Commit]:
    """What these members have written, as the next round must find it."""
    found: dict[str, Commit] = {}
    for position, member in numbered:
        outcome = outcomes[position]
        if not isinstance(outcome, PublishFailed):
            epoch, token = member.request.epoch, member.request.token
            found |= {key: Commit(epoch, token, receipt) for key, receipt in outcome.items()}
    return found


def _selection(rows: pa.Table) -> tuple[str, tuple[str, ...]]:
    """The select list that makes a table of these rows, and the names of the columns that have no type yet."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    untyped = tuple(field.name for field in rows.schema if pa.types.is_null(field.type))
    columns = [
        f"cast(null as {_NO_TYPE}) as {quoted(name)}" if name in untyped else quoted(name)
        for name in rows.column_names
    ]
    return ", ".join(columns), untyped
