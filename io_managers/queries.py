"""SQL over assets as views: which of them a query names, and its rows, taken out before anything that was opened is closed.

Decided here: what is opened for a query (the named assets, nothing else). Not decided here: what may be asked (`query_names`), which
partitions are visible (whoever makes a `Source` knows), how rows are shown.

Nothing can be written. Statements of other kinds are refused before anything is opened, database files are attached read-only, and the
connection that the query runs on can open no file and change no setting.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from assets_core.model.errors import DataError, IOManagerError, QueryError
from assets_core.model.io_manager import PARTITION_COLUMN, ReadRequest, ScansInPlace
from io_managers.duckdb_kept import kept
from io_managers.moments import is_history
from io_managers.partition_columns import has_key_column
from io_managers.query_names import named_assets, plain
from io_managers.schemas import conformed_table, joined_schema
from io_managers.workbench import BATCH_ROWS, Workbench, quoted, sweep_scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from contextlib import AbstractContextManager

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from assets_core.model.io_manager import IOManager, PartitionSlice, Target


@runtime_checkable
class OpensTables(Protocol):
    """What an IO manager has besides, if its assets are tables of a database that DuckDB can attach."""

    def destination(self) -> str:
        """The file: what two IO managers have in common is opened once."""
        ...

    def attached(self, bench: Workbench, name: str) -> AbstractContextManager[None]:
        """The database attached for reading under `name`, for as long as the block runs."""
        ...

    def visible_rows(self, bench: Workbench, name: str, request: ReadRequest) -> str | None:
        """SQL for the rows of the request's partitions in the database that is attached as `name`, with `_partition` if that tells them apart.

        None if there is no column. Raises IOManagerError if a partition is not there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """An asset that a query may name. `slices` answers its visible partitions, in order; it costs time and is called only when needed."""

    target: Target
    manager: IOManager
    slices: Callable[[], tuple[PartitionSlice, ...]]


def query_rows(
    sql: str, sources: Mapping[str, Source], scratch: str, *, limit: int | None = None
) -> pa.RecordBatchReader:
    """The rows of a query over the assets, as of now and independent of everything; at most `limit` of them.

    What does not fit into memory waits below the folder `scratch`. Columns of one name are told apart as `name`, `name_2`.

    Raises:
        QueryError: the text is not one statement that only reads, names what is no asset, or DuckDB refuses it.
        IOManagerError: a named asset can't be read.
    """
    named = named_assets(sql, sources)
    sweep_scratch(scratch)
    bench = Workbench(scratch)
    try:
        with _opened(bench, {name: sources[name] for name in named}) as connection:
            return kept(_answer(connection, sql, limit), scratch)
    finally:
        bench.close()


@contextmanager
def _opened(bench: Workbench, sources: Mapping[str, Source]) -> Iterator[DuckDBPyConnection]:
    """A connection in which each source is a view, and that can reach nothing else."""
    connection = bench.connection()
    in_tables: dict[str, tuple[OpensTables, ReadRequest]] = {}
    for asset, source in sources.items():
        request = ReadRequest(source.target, source.slices())
        if not request.slices:
            raise _never_materialized(asset)
        # A history is a fold over its rows, which the IO manager makes.
        if isinstance(source.manager, OpensTables) and not is_history(source.target):
            in_tables[asset] = (source.manager, request)
        else:
            connection.register(asset, _rows_of(source.manager, request))
    with ExitStack() as stack:
        databases: dict[str, str] = {}
        for asset, (manager, request) in in_tables.items():
            place = os.path.realpath(manager.destination())
            if place not in databases:
                databases[place] = f"database_{len(databases) + 1}"
                stack.enter_context(manager.attached(bench, databases[place]))
            rows = manager.visible_rows(bench, databases[place], request)
            if rows is None:
                raise _no_columns(asset)
            connection.execute(f"create view {quoted(asset)} as {rows}")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        yield connection


def _rows_of(manager: IOManager, request: ReadRequest) -> object:
    """What DuckDB can scan any number of times: files in place, else a table."""
    if isinstance(manager, ScansInPlace):
        found = manager.dataset(request, with_partition=True)
        if found is not None:
            return found
    if has_key_column(request.target) and not is_history(request.target):
        table = _with_keys(manager, request)
    else:
        table = manager.read(request).read_all()
    if not table.column_names:
        raise _no_columns(request.target.asset)
    return table


def _with_keys(manager: IOManager, request: ReadRequest) -> pa.Table:
    """The rows of each partition with its key; without columns if no row has any."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    parts = [
        manager.read(ReadRequest(request.target, (one,))).read_all() for one in request.slices
    ]
    whole = pa.schema([])
    for part in parts:
        try:
            whole = joined_schema(whole, part.schema, request.target, reading=True)
        except DataError as error:
            raise IOManagerError(error.message, hint=error.hint) from error
    if not whole.names:
        return whole.empty_table()
    return pa.concat_tables(
        conformed_table(part, whole).append_column(
            pa.field(PARTITION_COLUMN, pa.string()),
            pa.repeat(pa.scalar(one.key, pa.string()), len(part)),
        )
        for part, one in zip(parts, request.slices, strict=True)
    )


def _no_columns(asset: str) -> QueryError:
    return QueryError(f"{asset} has no columns: nothing but empty rows was ever returned for it")


def _answer(
    connection: DuckDBPyConnection, sql: str, limit: int | None
) -> Generator[pa.RecordBatchReader, None, None]:
    import duckdb  # noqa: PLC0415 - heavy
    import pyarrow as pa  # noqa: PLC0415 - heavy

    try:
        reader = connection.sql(sql).to_arrow_reader(BATCH_ROWS)
    except duckdb.Error as error:
        raise plain(error) from error
    fields = zip(_told_apart(reader.schema.names), reader.schema, strict=True)
    schema = pa.schema([pa.field(name, field.type) for name, field in fields])

    def batches() -> Iterator[pa.RecordBatch]:
        left = limit
        try:
            for batch in reader:
                part = batch if left is None else batch.slice(0, left)
                yield pa.RecordBatch.from_arrays(part.columns, schema=schema)
                if left is not None:
                    left -= part.num_rows
                    if left <= 0:
                        return
        except (duckdb.Error, OSError, pa.ArrowException) as error:
            raise plain(error) from error

    try:
        yield pa.RecordBatchReader.from_batches(schema, batches())
    finally:
        # A file stays attached while a result is open.
        reader.close()


def _told_apart(names: list[str]) -> list[str]:
    """Every name once.

    >>> _told_apart(["a", "b", "a"])
    ['a', 'b', 'a_2']
    """
    found: list[str] = []
    for name in names:
        number, unique = 1, name
        while unique in found:
            number += 1
            unique = f"{name}_{number}"
        found.append(unique)
    return found


def _never_materialized(asset: str) -> QueryError:
    return QueryError(
        f"{asset} was never materialized, so there is nothing to read",
        hint=f"type: partita materialize {asset}",
    )
