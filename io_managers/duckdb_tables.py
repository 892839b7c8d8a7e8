"""Assets as tables of one DuckDB file: `DuckDBIOManager`.

Here: the port's methods, reading, and what is lost. How the file is opened is `duckdb_file`'s business, what a publish writes is
`duckdb_writes`'s. What reads or writes rows is imported when rows are read or written: a manager that is made, asked for its place, or
asked what is lost while nothing happened, loads none of it.

Each asset is one table of its own name in the schema `main`. Two tables are Partita's own: `_partita_commits` (which attempt wrote
each partition) and `_partita_tables` (which tables are ours).
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from assets_core.model.column_names import RESERVED_PREFIX
from assets_core.model.errors import DataError, DefinitionError, IOManagerError, PartitaError
from assets_core.model.io_manager import PublishFailed, Staged
from io_managers.duckdb_file import DatabaseFile
from io_managers.refusals import append_needs_partitions, first_line, reading_from, stream_from
from io_managers.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from assets_core.model.io_manager import (
        Leftover,
        Published,
        ReadRequest,
        Recorded,
        StageRequest,
        Target,
        WriteReceipt,
    )
    from assets_core.model.table_schemas import TableSchema
    from io_managers.duckdb_commits import Catalog
    from io_managers.duckdb_members import Member

_WAIT_LIMIT = timedelta(seconds=60)


class DuckDBIOManager:
    """Stores assets as tables of one DuckDB file; many processes may use the file, one at a time.

    `path` is the file; its folder must exist, the file is made when first written. A program outside Partita that has it open is
    waited for up to `wait_limit`. `sleep` (seconds) and `clock` are for tests.

    Raises:
        DefinitionError: `path` is `:memory:` or empty.

    >>> DuckDBIOManager("shop.duckdb").destination()
    'shop.duckdb'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        wait_limit: timedelta = _WAIT_LIMIT,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = os.fspath(path)
        if not self.path or self.path == ":memory:":
            raise DefinitionError(
                f"DuckDBIOManager({self.path!r}): rows must outlive the connection that writes them",
                hint="give the path of a file, or use MemoryIOManager() in tests",
            )
        self._stage = f"{self.path}.stage"
        self._bench = Workbench(self._stage)
        self._file = DatabaseFile(
            self.path, self._bench, wait_limit=wait_limit, sleep=sleep, clock=clock
        )
        self._seen: tuple[tuple[int, int, int] | None, Catalog | None] = (None, None)

    def __getstate__(self) -> dict[str, object]:
        # What was seen in the file is for this process: it brings in all that reads one.
        return {**self.__dict__, "_seen": (None, None)}

    def destination(self) -> str:
        """The path as it was given."""
        return self.path

    def location(self, target: Target) -> str:
        """`file: table`."""
        return f"{self.path}: {target.asset}"

    def supports(self, target: Target) -> str | None:
        """All write modes; not Append without partitions, and no table name of Partita's own."""
        if target.asset.casefold().startswith(RESERVED_PREFIX):
            return f"table names that start with {RESERVED_PREFIX!r} are Partita's own"
        if not target.asset or "\0" in target.asset:
            return f"{target.asset!r} can't be a table name"
        if target.schema is not None and (reason := _not_storable(target.asset, target.schema)):
            return reason
        return append_needs_partitions(target)

    def read(self, request: ReadRequest) -> pa.RecordBatchReader:
        """Rows as of now, taken out of the file before this returns: more than 64 MB wait in a nameless file beside it.

        So a stream that is open never keeps anybody from writing, and never changes.
        """
        from io_managers.duckdb_commits import (  # noqa: PLC0415 - see the module's first lines
            arrow_schema,
            commits_of,
            qualified,
        )
        from io_managers.duckdb_kept import kept  # noqa: PLC0415 - same
        from io_managers.duckdb_rows import rows_of  # noqa: PLC0415 - same
        from io_managers.no_rows import no_rows  # noqa: PLC0415 - same

        asset = request.target.asset
        if not request.slices and not self._file.exists():
            return no_rows(request)
        with reading_from(self.location(request.target)), self._file.reading() as connection:
            catalog = self._catalog(connection)
            keys = [one.key for one in request.slices]
            stored = commits_of(connection, asset, keys) if catalog.is_ours else {}
            for one in request.slices:
                if one.key not in stored:
                    shown = f" partition {one.key}" if one.key else ""
                    raise IOManagerError(
                        f"{asset}{shown} is not in {self.path}",
                        hint="materialize it first",
                    )
            if not request.slices:
                is_there = catalog.is_ours and catalog.has_table(asset)
                return no_rows(
                    request, arrow_schema(connection, qualified(asset)) if is_there else None
                )
            return kept(rows_of(self._bench, catalog, request), self._stage)

    @contextmanager
    def attached(self, bench: Workbench, name: str) -> Iterator[None]:
        """The file attached to another connection, for reading. Writers wait meanwhile."""
        with self._file.on(bench, name).reading():
            yield

    def visible_rows(self, bench: Workbench, name: str, request: ReadRequest) -> str | None:
        """See `OpensTables`."""
        from io_managers.duckdb_views import visible_rows  # noqa: PLC0415 - see the module's first lines

        return visible_rows(bench.connection(), name, request, self.path)

    def stage(self, request: StageRequest, stream: pa.RecordBatchReader) -> Staged:
        """Take the rows in; more than 64 MB go to `<db>.stage/<token>`. Raises DataError, IOManagerError."""
        from io_managers.staging import take_in  # noqa: PLC0415 - see the module's first lines

        asset = request.target.asset

        def convert(batch: pa.RecordBatch) -> pa.RecordBatch:
            return _storable(asset, batch)

        rows = take_in(
            self._bench, request, stream, self._stage, convert, in_files=request.in_files
        )
        return Staged(request, rows.rows, rows.dropped, rows, rows.dropped_columns)

    def read_staged(self, staged: Staged) -> pa.RecordBatchReader:
        """The staged rows, any number of times."""
        from io_managers.staging import staged_rows  # noqa: PLC0415 - see the module's first lines

        with reading_from(self._stage):
            return stream_from(self._stage, staged_rows(staged).visible().to_reader())

    def read_staged_slices(self, staged: Staged) -> Iterator[pa.RecordBatchReader]:
        """The staged rows of each partition, any number of times."""
        from io_managers.staging import staged_rows  # noqa: PLC0415 - see the module's first lines

        with reading_from(self._stage):
            for stream in staged_rows(staged).readers():
                yield stream_from(self._stage, stream)

    def publish(self, staged: Sequence[Staged]) -> list[Published | PublishFailed]:
        """All in one transaction; if DuckDB refuses that, each in one of its own."""
        import duckdb  # noqa: PLC0415 - heavy
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.duckdb_members import Member  # noqa: PLC0415 - see the module's first lines
        from io_managers.staging import staged_rows  # noqa: PLC0415 - same

        members = [Member(one.request, staged_rows(one)) for one in staged]
        try:
            return self._publish_as_one(members)
        except PartitaError as error:
            return [PublishFailed(error.message, error.hint, code=error.code)] * len(members)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            if len(members) == 1:
                return [self._failed(members[0], error)]
            return [self._publish_alone(member) for member in members]
        finally:
            self._seen = (None, None)
            for one in staged:
                self.discard(one)

    def published(self, request: StageRequest) -> tuple[WriteReceipt, ...]:
        """Receipts of the partitions that carry the token; none if there is no file."""
        if not self._file.exists():
            return ()
        from io_managers.duckdb_commits import commits_of  # noqa: PLC0415 - see the module's first lines
        from io_managers.duckdb_writes import receipts_of  # noqa: PLC0415 - same

        with reading_from(self.location(request.target)), self._file.reading() as connection:
            if not self._catalog(connection).is_ours:
                return ()
            keys = [one.key for one in request.slices]
            stored = commits_of(connection, request.target.asset, keys)
        return receipts_of(request, stored)

    def discard(self, staged: Staged) -> None:
        """Remove the staged rows from disk, if that is where they are."""
        from io_managers.staging import remove_stage, staged_rows  # noqa: PLC0415 - see the module's first lines

        if isinstance(staged_rows(staged).held, str):
            remove_stage(self._stage, staged.request.token)

    def discard_leftovers(self, token: str, target: Target) -> None:  # noqa: ARG002 - the port's; one stage serves all tables
        """Remove what an attempt left in `<db>.stage`, and the scratch files of dead processes."""
        from io_managers.staging import remove_stage  # noqa: PLC0415 - see the module's first lines
        from io_managers.workbench import sweep_scratch  # noqa: PLC0415 - same

        remove_stage(self._stage, token)
        sweep_scratch(self._stage)

    def remove(self, target: Target) -> None:
        """Drop the asset's table and forget its commits, in one transaction; a table that is not ours stays."""
        if not self._file.exists():
            return
        import duckdb  # noqa: PLC0415 - heavy

        from io_managers.duckdb_removal import remove_asset  # noqa: PLC0415 - see the module's first lines

        try:
            with self._file.writing({target.asset}) as connection:
                remove_asset(connection, target.asset)
        except duckdb.Error as error:
            raise IOManagerError(
                f"{self.location(target)} can't be removed: {first_line(error)}"
            ) from error
        finally:
            self._seen = (None, None)

    def adopt(self, target: Target) -> bool:
        """Make a table of the asset's name that others made ours; see `AdoptsTables`."""
        if not self._file.exists():
            return False
        import duckdb  # noqa: PLC0415 - heavy

        from io_managers.duckdb_adoption import adopt_table  # noqa: PLC0415 - see the module's first lines

        try:
            with self._file.writing((target.asset,)) as connection:
                return adopt_table(connection, target, self.path)
        except duckdb.Error as error:
            raise IOManagerError(
                f"{self.location(target)} can't be taken over: {first_line(error)}"
            ) from error
        finally:
            self._seen = (None, None)

    def lost(self, target: Target, recorded: Recorded) -> frozenset[int]:
        """Compare tokens, unless file and state are as they were compared last; then one stat answers, and DuckDB is not even imported.

        Rows that somebody deleted from a table by hand are not noticed; a table that somebody dropped is.
        """
        if not recorded.count:
            return frozenset()
        if not self._file.exists():
            return frozenset(recorded.ids())
        if self._file.is_as_noted(target.asset, recorded.basis):
            return frozenset()
        return self._compared(target, recorded)

    def holdings(self, target: Target) -> list[tuple[int, str]]:
        """By the commits in the file; none if somebody dropped the table, unless there were no rows."""
        if not self._file.exists():
            return []
        with reading_from(self.location(target)), self._file.reading() as connection:
            return _visible(connection, self._catalog(connection), target.asset)

    def leftovers(self) -> list[Leftover]:
        """What is in `<db>.stage/`."""
        from io_managers.leftovers import leftovers_in  # noqa: PLC0415 - only `state gc` asks

        return leftovers_in(self._stage)

    def remove_leftover(self, leftover: Leftover) -> None:
        """Remove it."""
        from io_managers.leftovers import remove  # noqa: PLC0415 - only `state gc` asks

        remove(leftover)

    def _compared(self, target: Target, recorded: Recorded) -> frozenset[int]:
        checking = self._file.checking(target.asset, recorded.basis, recorded.patience)
        with reading_from(self.location(target)), checking as (connection, confirm):
            catalog = self._catalog(connection)
            here = set(_visible(connection, catalog, target.asset))
            tokens = recorded.tokens()
            lost = frozenset(id_ for id_ in recorded.ids() if (id_, tokens.get(id_)) not in here)
            if not lost:
                confirm()
        return lost

    def _catalog(self, connection: DuckDBPyConnection) -> Catalog:
        """What tables there are, remembered while the file stays as it is. Called while the file is open."""
        from io_managers.duckdb_commits import Catalog  # noqa: PLC0415 - see the module's first lines

        identity = self._file.identity()
        known, catalog = self._seen
        if catalog is None or identity is None or identity != known:
            catalog = Catalog(connection)
            self._seen = (identity, catalog)
        return catalog

    def _publish_as_one(self, members: Sequence[Member]) -> list[Published | PublishFailed]:
        from io_managers.duckdb_writes import write_group  # noqa: PLC0415 - see the module's first lines

        with self._file.writing({one.request.target.asset for one in members}) as connection:
            return write_group(self._bench, connection, members, self.path)

    def _publish_alone(self, member: Member) -> Published | PublishFailed:
        import duckdb  # noqa: PLC0415 - heavy
        import pyarrow as pa  # noqa: PLC0415 - heavy

        try:
            return self._publish_as_one([member])[0]
        except PartitaError as error:
            return PublishFailed(error.message, error.hint, code=error.code)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            return self._failed(member, error)

    def _failed(self, member: Member, error: Exception) -> PublishFailed:
        return PublishFailed(
            f"{self.location(member.request.target)} can't be written: {first_line(error)}"
        )


def _visible(
    connection: DuckDBPyConnection, catalog: Catalog, asset: str
) -> list[tuple[int, str]]:
    from io_managers.duckdb_commits import tokens_of  # noqa: PLC0415 - see the module's first lines

    stored = tokens_of(connection, asset) if catalog.is_ours else []
    is_there = catalog.has_table(asset)
    return [(id_, token) for id_, token, rows in stored if is_there or rows == 0]


def _not_storable(asset: str, schema: TableSchema) -> str | None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    from io_managers.row_shape import declared_schema  # noqa: PLC0415 - see the module's first lines

    declared = declared_schema(schema)
    try:
        stored = _storable(asset, pa.RecordBatch.from_pylist([], schema=declared)).schema
    except DataError as error:
        return error.message.removeprefix(f"{asset}: ")
    for field in declared:
        if stored.field(field.name).type != field.type:
            return f"column {field.name!r} is {field.type}, and DuckDB keeps microseconds"
    return None


def _storable(asset: str, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch in types that DuckDB stores without a loss. Raises DataError naming the column."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    from assets_core.authoring.arrow_types import types_within  # noqa: PLC0415 - see the module's first lines

    for i, field in enumerate(batch.schema):
        kind, coarser = field.type, _in_microseconds(field.type)
        if coarser != kind:
            try:
                column = batch.column(i).cast(coarser)
            except pa.ArrowInvalid as error:
                what = (
                    "a timestamp with time zone" if pa.types.is_timestamp(kind) else "a duration"
                )
                raise DataError(
                    f"{asset}: column {field.name!r} has nanoseconds, and DuckDB keeps microseconds in {what}",
                    hint=f"round it, for instance to {coarser}",
                ) from error
            batch = batch.set_column(i, field.name, column)
        elif not all(map(_is_storable, types_within(kind))) or _has_durations_within(kind):
            raise DataError(
                f"{asset}: column {field.name!r} is {kind}, which DuckDB does not store",
                hint="cast it in the function that returns the rows, or store the asset as Parquet",
            )
    return batch


def _in_microseconds(kind: pa.DataType) -> pa.DataType:
    """The type that DuckDB has for instants and durations in nanoseconds; any other type as it is."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if pa.types.is_timestamp(kind) and kind.unit == "ns" and kind.tz is not None:
        return pa.timestamp("us", tz=kind.tz)
    return pa.duration("us") if pa.types.is_duration(kind) and kind.unit == "ns" else kind


def _is_storable(kind: pa.DataType) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    has_type = not (pa.types.is_float16(kind) or pa.types.is_decimal256(kind))
    return has_type and _in_microseconds(kind) == kind


def _has_durations_within(kind: pa.DataType) -> bool:
    """Whether there are durations inside of lists, structs or maps: they would come back as DuckDB's intervals."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    from assets_core.authoring.arrow_types import types_within  # noqa: PLC0415 - see the module's first lines

    return bool(kind.num_fields) and any(map(pa.types.is_duration, types_within(kind)))
