"""Judging rows by a contract: one pass of DuckDB over a step's rows, and one of Python for rules that are another library's.

Decided here: how rows are handed to DuckDB, and how a violation is told. What a rule means in SQL is `contract_sql`'s, what a violation leads to
`audit`'s. Rows are never changed here: DuckDB only answers counts, examples and row numbers, so they keep types that it does not have.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from assets_core.execution.contract_fit import (
    require_columns,
    require_same_sorts,
    require_types,
)
from assets_core.execution.contract_models import judge_models
from assets_core.execution.contract_sql import (
    KEY_SLOT,
    ROW,
    SHOWN_CHARACTERS,
    SLOT,
    STAGED,
    compile_rules,
    key_column,
    key_table,
)
from assets_core.model.checks import CheckOutcome
from assets_core.model.contract_rules import (
    ForeignKey,
    FrameSchema,
    FreshColumn,
    RowCount,
    RowModel,
    RowRule,
)
from assets_core.model.errors import DataError, InternalError, PartitaError
from assets_core.model.sql_names import quoted
from assets_core.process_memory import duckdb_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from assets_core.execution.contract_models import ModelFound
    from assets_core.execution.contract_sql import Compiled, SqlRule
    from assets_core.model.contract_rules import Rule
    from assets_core.model.contracts import Contract
    from assets_core.model.io_manager import PartitionSlice

Keys = tuple[str, tuple[str, ...]]
"""An asset, and the columns of it that a foreign key refers to."""

OwnKeys = tuple[tuple[int, ...], "pa.RecordBatchReader"]
"""The keys that rows of some partitions may have, and the positions of these partitions in `JudgedRows.slices`."""


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """Rows to be judged: of these partitions of `asset`, each as a stream, in order. `open` may be called any number of times."""

    asset: str
    slices: tuple[PartitionSlice, ...]
    open: Callable[[], Iterator[pa.RecordBatchReader]]


@dataclass(frozen=True, slots=True)
class Offender:
    """A row that breaks rules: its place in the stream over all partitions, and which rules, in words."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """One outcome per rule and partition, in the contract's order. `offenders` are asked for only if rows go elsewhere: it reads all again."""

    outcomes: tuple[CheckOutcome, ...]
    offenders: Callable[[], Iterator[Offender]]


class ContractJudge:
    """Judges rows in an in-memory DuckDB of its own, which is opened at the first use in the process that uses it."""

    def __init__(self) -> None:
        self._connection: DuckDBPyConnection | None = None
        self._process = 0

    def judge(
        self,
        contract: Contract,
        rows: JudgedRows,
        keys: Callable[[Keys], Iterable[OwnKeys]],
        now: datetime,
    ) -> Verdict:
        """What the contract says of these rows.

        `keys` answers the columns of another asset that a foreign key refers to, partition by partition; `now` stands in for the end of a window.

        Raises DataError if a rule can't be checked: a column that isn't there, an expression that DuckDB doesn't understand.
        """
        schema = _schema_of(rows)
        # A function that returned nothing at all has no columns, and so no row that could break anything.
        known = [
            one for one in contract.rules if len(schema) or isinstance(one, RowCount | FreshColumn)
        ]
        for rule in known if len(schema) else ():
            require_columns(rows.asset, rule, schema)
            require_types(rows.asset, rule, schema)
        frame = _Frame(rows, schema, known)
        summary = self._summary(frame, keys) if len(schema) else {}
        models = judge_models(known, rows)
        answers = _Answers(frame, summary, models, now)
        outcomes = tuple(
            answers.outcome(contract, rule, slot)
            for rule in contract.rules
            for slot in range(len(rows.slices))
        )
        return Verdict(outcomes, lambda: self._offenders(frame, keys, models))

    def _summary(
        self, frame: _Frame, keys: Callable[[Keys], Iterable[OwnKeys]]
    ) -> dict[int, tuple[Any, ...]]:
        compiled = frame.compiled
        try:
            found = self._run(frame, compiled, compiled.summary, keys)
        except PartitaError:
            raise
        except Exception as error:
            raise self._blame(frame, keys, error) from error
        # A stream that a plan reads twice is silently empty in some versions of DuckDB, and no rows break no rule.
        judged = sum(row[1] for row in found)
        if judged != frame.rows_fed:
            raise InternalError(
                f"{frame.rows.asset}: DuckDB judged {judged} of {frame.rows_fed} rows"
            )
        return {row[0]: row[1:] for row in found}

    def _offenders(
        self,
        frame: _Frame,
        keys: Callable[[Keys], Iterable[OwnKeys]],
        models: Mapping[str, ModelFound],
    ) -> Iterator[Offender]:
        """In order of rows, each once, whichever rules it breaks."""
        compiled = frame.compiled
        reasons: dict[int, list[str]] = {}
        if compiled.row_rules:
            for row, positions in self._run(frame, compiled, compiled.offenders, keys):
                reasons[row] = [compiled.row_rules[position].name for position in positions]
        for found in models.values():
            for row, reason in found.offenders:
                reasons.setdefault(row, []).append(reason)
        return (Offender(row, "; ".join(reasons[row])) for row in sorted(reasons))

    def _run(
        self,
        frame: _Frame,
        compiled: Compiled,
        statement: str,
        keys: Callable[[Keys], Iterable[OwnKeys]],
    ) -> list[tuple[Any, ...]]:
        """Rows of a statement. Raises what stands in the way of reading rows, and DataError where memory does not suffice, as it is: no rule is to blame."""
        import duckdb  # noqa: PLC0415 - heavy

        connection = self._opened()
        tables: list[str] = []
        try:
            for position, rule in enumerate(compiled.row_rules):
                if isinstance(rule, ForeignKey):
                    tables.append(key_table(position))
                    _load_keys(connection, position, rule, frame, keys((rule.asset, rule.to)))
            connection.register(STAGED, frame.fed())
            return connection.execute(statement, list(compiled.values)).fetchall()
        except duckdb.OutOfMemoryException as error:
            raise DataError(
                f"{frame.rows.asset}: memory does not suffice to check its contract: {_first_line(error)}",
                hint="give its steps more: @asset(memory=…), or fewer at once",
            ) from error
        except duckdb.Error:
            if frame.unread is not None:
                raise frame.unread from None
            raise
        finally:
            connection.unregister(STAGED)
            for table in tables:
                connection.execute(f"drop table if exists {table}")

    def _blame(
        self, frame: _Frame, keys: Callable[[Keys], Iterable[OwnKeys]], error: Exception
    ) -> DataError:
        """The error, told of the rule that it comes from: DuckDB says what is wrong with a statement, and ours holds all rules."""
        import duckdb  # noqa: PLC0415 - heavy
        import pyarrow as pa  # noqa: PLC0415 - heavy

        for rule in frame.rules:
            alone = _Frame(frame.rows, frame.schema, [rule])
            try:
                self._run(alone, alone.compiled, alone.compiled.summary, keys)
            except (duckdb.Error, pa.ArrowException) as own:
                return _unjudged(frame.rows.asset, rule, own, frame.schema)
        if not isinstance(error, (duckdb.Error, pa.ArrowException)):
            raise error
        return DataError(
            f"{frame.rows.asset}: its contract can't be checked: {_first_line(error)}"
        )

    def _opened(self) -> DuckDBPyConnection:
        # A connection that crossed a fork is another process's.
        if self._connection is None or self._process != os.getpid():
            import duckdb  # noqa: PLC0415 - heavy

            self._connection = duckdb.connect(
                config={
                    "python_enable_replacements": False,
                    "autoinstall_known_extensions": False,
                    **duckdb_memory(),
                    # Made when rows don't fit into memory, and removed with the connection.
                    "temp_directory": f"{tempfile.gettempdir()}{os.sep}partita-contract-{os.getpid()}",
                }
            )
            self._process = os.getpid()
            self._connection.execute("set TimeZone = 'UTC'")
        return self._connection


class _Frame:
    """The rows as DuckDB gets them: the columns that rules look at, and for each row its partition and its place."""

    def __init__(self, rows: JudgedRows, schema: pa.Schema, rules: Sequence[Rule]) -> None:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        self.rows = rows
        self.schema = schema
        self.rules = rules
        self.rows_fed = 0
        self.unread: PartitaError | None = None
        named = {column for rule in rules for column in rule.columns}
        if any(isinstance(rule, RowRule) for rule in rules):
            named |= {field.name for field in schema if not pa.types.is_decimal256(field.type)}
        self._columns = [name for name in schema.names if name in named]
        instants = {one.name for one in schema if pa.types.is_timestamp(one.type) and one.type.tz}
        floats = {one.name for one in schema if pa.types.is_floating(one.type)}
        self.compiled = compile_rules(rules, self._columns, frozenset(instants), frozenset(floats))

    def fed(self) -> pa.RecordBatchReader:
        """The stream for DuckDB."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        none = pa.RecordBatch.from_pylist([], schema=self.schema)
        schema = self._as_fed(none, 0, 0).schema
        return pa.RecordBatchReader.from_batches(schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        row = 0
        for slot, stream in enumerate(self.rows.open()):
            for batch in self._read(stream):
                yield self._as_fed(batch, slot, row)
                row += batch.num_rows
        self.rows_fed = row

    def _read(self, stream: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        try:
            yield from stream
        except PartitaError as error:
            # What comes back from DuckDB has its text and no more.
            self.unread = error
            raise

    def _as_fed(self, batch: pa.RecordBatch, slot: int, row: int) -> pa.RecordBatch:
        import numpy as np  # noqa: PLC0415 - heavy
        import pyarrow as pa  # noqa: PLC0415 - heavy

        places = pa.array(np.arange(row, row + batch.num_rows))
        fed = {
            SLOT: pa.repeat(pa.scalar(slot, pa.int32()), batch.num_rows),
            ROW: places,
            **{name: _readable(batch.column(name)) for name in self._columns},
        }
        return pa.RecordBatch.from_pydict(fed)


def _readable(column: pa.Array) -> pa.Array:
    """The column in a type that DuckDB has: float16 as float32, nanoseconds with a zone cut to microseconds."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if pa.types.is_float16(column.type):
        return column.cast(pa.float32())
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns" and column.type.tz:
        return column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return column


def _schema_of(rows: JudgedRows) -> pa.Schema:
    return next(iter(rows.open())).schema


def _load_keys(
    connection: DuckDBPyConnection,
    position: int,
    rule: ForeignKey,
    frame: _Frame,
    found: Iterable[OwnKeys],
) -> None:
    """Make the key table of a foreign key: the distinct keys for each partition. Raises DataError if they don't compare with the rows."""
    names = [key_column(position, part) for part in range(len(rule.to))]
    table, columns = key_table(position), ", ".join(map(quoted, names))
    is_new = True
    for own, stream in found:
        require_same_sorts(frame.rows.asset, rule, frame.schema, stream.schema)
        with _registered(connection, f"{table}_source", stream, names) as source:
            rows = f"select unnest($1::integer[]) as {KEY_SLOT}, {columns} from (select distinct {columns} from {source})"  # noqa: S608 - our own names
            how = f"create temp table {table} as" if is_new else f"insert into {table} by name"
            connection.execute(f"{how} {rows}", [list(own)])
        is_new = False
    if is_new:
        nothing = ", ".join(f"null as {name}" for name in (KEY_SLOT, *names))
        connection.execute(f"create temp table {table} as select {nothing} limit 0")


@contextmanager
def _registered(
    connection: DuckDBPyConnection, source: str, stream: pa.RecordBatchReader, names: Sequence[str]
) -> Iterator[str]:
    """The stream under the name `source`, its columns renamed and in types that DuckDB has."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    none = [_readable(pa.array([], one.type)) for one in stream.schema]
    schema = pa.schema([(name, one.type) for name, one in zip(names, none, strict=True)])
    batches = (
        pa.RecordBatch.from_arrays([_readable(one) for one in batch.columns], schema=schema)
        for batch in stream
    )
    connection.register(source, pa.RecordBatchReader.from_batches(schema, batches))
    try:
        yield source
    finally:
        connection.unregister(source)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a rule found in one partition: how many of its rows break it (1 of a rule about the whole), and that in words."""

    broken: int
    rows: int
    told: str
    whole: bool = False


@dataclass(frozen=True, slots=True)
class _Answers:
    """What was counted, and how to read it rule by rule. `summary` has an entry for each partition with rows."""

    frame: _Frame
    summary: Mapping[int, tuple[Any, ...]]
    models: Mapping[str, ModelFound]
    now: datetime

    def outcome(self, contract: Contract, rule: Rule, slot: int) -> CheckOutcome:
        found = self._found(rule, slot)
        rows = self.frame.rows
        one = rows.slices[slot]
        where = f"{one.key}: " if one.key else ""
        return CheckOutcome(
            check=rule.name,
            asset=rows.asset,
            blocking=contract.stops(rule) or (found.whole and contract.rejects),
            passed=not found.broken,
            message=f"{where}{found.told}" if found.broken else "",
            metadata={
                "partition": one.key or None,
                "rule": rule.text(),
                "rows": found.rows,
                "violations": found.broken,
            },
            partition_id=one.id,
        )

    def _found(self, rule: Rule, slot: int) -> _Found:
        answer = self.summary.get(slot)
        rows = 0 if answer is None else answer[0]
        match rule:
            case RowCount():
                wrong = (rule.min is not None and rows < rule.min) or (
                    rule.max is not None and rows > rule.max
                )
                return _Found(int(wrong), rows, f"{_rows(rows)}, and it takes {rule.bounds()}")
            case FreshColumn():
                return self._age(rule, answer, slot)
            case RowModel() | FrameSchema():
                model = self.models.get(rule.name)
                broken = None if model is None else model.by_slot.get(slot)
                if broken is None:
                    return _Found(0, rows, "")
                if broken.whole:
                    return _Found(1, rows, "; ".join(broken.examples), whole=True)
                return _Found(broken.count, rows, _told(broken.count, rows, broken.examples))
            case _:
                return self._rows_of(rule, answer)

    def _rows_of(self, rule: SqlRule, answer: tuple[Any, ...] | None) -> _Found:
        compiled = self.frame.compiled
        if answer is None or rule not in compiled.row_rules:
            return _Found(0, 0, "")
        position = compiled.row_rules.index(rule)
        rows, broken, examples = answer[0], answer[1 + 2 * position], answer[2 + 2 * position]
        names = compiled.shown[position]
        told = [_example(names, self.frame.schema, one) for one in examples or ()]
        return _Found(broken, rows, _told(broken, rows, told))

    def _age(self, rule: FreshColumn, answer: tuple[Any, ...] | None, slot: int) -> _Found:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        compiled = self.frame.compiled
        place = 1 + 2 * len(compiled.row_rules) + compiled.fresh.index(rule)
        rows = 0 if answer is None else answer[0]
        if answer is None or answer[place] is None:
            return _Found(1, rows, f"no row has a value in {rule.column!r}")
        window = self.frame.rows.slices[slot].window
        end = self.now.astimezone(UTC) if window is None else window.end
        oldest = end.astimezone(UTC) - rule.within
        kind = self.frame.schema.field(rule.column).type
        if not (pa.types.is_timestamp(kind) and kind.tz):
            # A wall clock is compared with the wall clock of the partitions.
            oldest = oldest.astimezone(end.tzinfo).replace(tzinfo=UTC, fold=0)
        newest = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=answer[place])
        told = f"the newest {rule.column!r} is {newest:%Y-%m-%d %H:%M:%S}, and {oldest:%Y-%m-%d %H:%M:%S} is the oldest that it may be"
        return _Found(int(newest < oldest), rows, told)


def _told(broken: int, rows: int, examples: Iterable[str]) -> str:
    told = "; ".join(examples)
    return f"{broken:,} of {_rows(rows)}{f', for instance {told}' if told else ''}"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _example(names: Sequence[str], schema: pa.Schema, values: Sequence[str | None]) -> str:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    told = []
    for name, value in zip(names, values, strict=True):
        if value is None:
            text = "NULL"
        else:
            cut = value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}…"
            is_text = pa.types.is_string(schema.field(name).type)
            # Also what is no text may hold characters that a terminal would obey: escaped they are harmless.
            text = repr(cut) if is_text or not cut.isprintable() else cut
        told.append(f"{name} = {text}")
    return ", ".join(told)


def _unjudged(asset: str, rule: Rule, error: Exception, schema: pa.Schema) -> DataError:
    types = ", ".join(
        f"{name} is {schema.field(name).type}" for name in rule.columns if name in schema.names
    )
    return DataError(
        f"{asset}: the contract's rule {rule.text()} can't be checked{f' ({types})' if types else ''}: {_first_line(error)}",
        hint="correct the rule, or the type of the column that it is about",
    )


def _first_line(error: Exception) -> str:
    # DuckDB goes on with our own statement, which tells the author of a rule nothing.
    told = str(error).partition("LINE 1:")[0].partition("Candidate functions:")[0]
    return " ".join(told.split())


__all__ = ["ContractJudge", "JudgedRows", "Keys", "Offender", "OwnKeys", "Verdict"]
