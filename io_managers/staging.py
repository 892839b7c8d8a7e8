"""Taking a step's rows in: judging them against schema and write contract, sorting them to partitions, keeping big streams on disk.

The same judgement for every destination lives here; where staged rows wait is passed in. What is not decided here: whether a type
fits a table that exists (only the destination knows), and what a merge changes (`merging`).

Theory of operation. A stream is read once, batch by batch. Each batch is brought to one form of each type (no dictionaries, no "large"
or "view" twins) and to the declared columns, every row is given its slice, rows outside are dropped or counted, null keys are counted. What remains is collected;
beyond 64 MB it goes to an Arrow IPC file, which is mapped into memory when it is read: it can be read any number of times, costs no
memory that the system could not take back, and is never held whole. Duplicate keys need all rows and are looked for at the end. If
anything is wrong, or the stream breaks, nothing stays behind.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from assets_core.authoring.arrow_types import plain_type, types_within
from assets_core.model.column_names import column_name_problem
from assets_core.model.errors import DataError, InternalError, IOManagerError
from assets_core.model.specs import Merge, OutOfRange, Replace
from io_managers.fingerprint import SLOT, SliceFacts, schema_hash, slice_facts
from io_managers.partition_columns import (
    SliceMatcher,
    partition_columns,
    partitions_text,
)
from io_managers.paths import path_segment
from io_managers.row_keys import check_columns, never_null, rows_to_keep
from io_managers.row_order import sorted_batches
from io_managers.row_shape import cast_column, row_shape
from io_managers.slicing import by_slot
from io_managers.workbench import BATCH_ROWS, SPILL_BYTES, Workbench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    import pyarrow as pa

    from assets_core.model.io_manager import Staged, StageRequest

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StagedRows:
    """Rows that were taken in and judged. `schema` is what the user returned, in one form of each type, or what was declared.

    `held` is a table, or the path of an Arrow IPC file; they have a `_partita_slot` column there if the request has several slices.
    `facts` has one entry per slice, in order.
    """

    schema: pa.Schema
    schema_hash: str
    facts: tuple[SliceFacts, ...]
    dropped: int
    dropped_columns: tuple[str, ...]
    held: pa.Table | str

    @property
    def rows(self) -> int:
        """All rows of all slices."""
        return sum(facts.rows for facts in self.facts)

    def open(self) -> pa.Table:
        """The rows with their `_partita_slot`; from a file, mapped and not read."""
        return _mapped(self.held) if isinstance(self.held, str) else self.held

    def visible(self) -> pa.Table:
        """The rows as the user returned them."""
        table = self.open()
        return table.drop_columns([SLOT]) if SLOT in table.column_names else table

    def of_slice(self, position: int) -> pa.Table:
        """The visible rows of one slice."""
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        table = self.open()
        if SLOT not in table.column_names:
            return table
        return table.filter(pc.equal(table.column(SLOT), position)).drop_columns([SLOT])

    def by_slice(self) -> Iterator[Iterator[pa.RecordBatch]]:
        """The rows of each slice, in the request's order, batch by batch; within a slice in the order they came.

        Row numbers are sorted once for all slices; rows themselves are copied only as they are handed out.
        """
        batches = self.open().to_batches(max_chunksize=BATCH_ROWS)
        yield from by_slot(batches, len(self.facts))

    def readers(self) -> Iterator[pa.RecordBatchReader]:
        """The rows of each slice, in the request's order, as streams."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        for batches in self.by_slice():
            yield pa.RecordBatchReader.from_batches(self.schema, batches)


def take_in(
    bench: Workbench,
    request: StageRequest,
    stream: pa.RecordBatchReader,
    folder: str | None,
    convert: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None,
    *,
    in_files: bool = False,
) -> StagedRows:
    """Judge and keep the rows of `stream`. Big ones go to `folder`/<token>, with `in_files` all; without a folder all stay in memory.

    `convert` brings a batch to the types of the destination; it may raise DataError.

    Raises:
        DataError: the rows break the contract; nothing is left behind.
        IOManagerError: `folder` can't be written.
    """
    convert = convert or _unchanged
    asset = request.target.asset
    # Names come first: Arrow itself stumbles over a name that is there twice.
    _check_names(asset, stream.schema.names)
    _check_types(asset, stream.schema)
    returned = _in_one_form(asset, _no_rows(stream.schema)).schema
    shape = row_shape(request.target, returned)
    shaped = shape.schema if shape is not None else returned
    schema = convert(_no_rows(shaped)).schema
    judge = _Judge(request, schema)
    limit = 0 if in_files else SPILL_BYTES
    with _Spool(
        judge.schema, None if folder is None else stage_folder(folder, request.token), limit
    ) as spool:
        for batch in stream:
            for piece in _pieces(batch):
                plain = _in_one_form(asset, piece)
                kept = judge.batch(convert(plain if shape is None else shape.batch(plain)))
                if kept.num_rows:
                    spool.add(kept)
        judge.finish(spool.rows)
        table = spool.close()
        kept_rows = rows_to_keep(bench, request.target, table)
        if kept_rows is not None:
            table = spool.filtered(table, kept_rows)
        in_order = sorted_batches(bench, request.target, table)
        if in_order is not None:
            table = spool.rewritten("sorted", in_order)
        merges = isinstance(request.target.write, Merge)
        facts = slice_facts(bench, table, len(request.slices), by_content=not merges)
        spool.keep = True
    return StagedRows(
        schema=schema,
        schema_hash=schema_hash(shaped),
        facts=facts,
        dropped=judge.dropped,
        dropped_columns=shape.left_out if shape is not None else (),
        held=spool.path or table,
    )


def staged_rows(staged: Staged) -> StagedRows:
    """The content of a Staged that keeps its rows. Raises InternalError if another IO manager staged it."""
    if not isinstance(staged.content, StagedRows):
        raise InternalError(f"rows of {staged.request.target.asset} were staged elsewhere")
    return staged.content


def stage_folder(folder: str, token: str) -> str:
    """Where an attempt with this token keeps what it stages on disk."""
    return str(Path(folder, path_segment(token)))


def own_name(name: str, suffix: str) -> str:
    """A file name that nobody else has.

    A worker that was given up for lost may still write for the same attempt, and must not write into a file that is being read.
    """
    return f"{name}-{secrets.token_hex(4)}.{suffix}"


def remove_stage(folder: str, token: str) -> None:
    """Remove what an attempt with this token staged on disk; fine if there is nothing. What can't be removed is logged.

    It is no error: this may follow a publish, whose answer must not be lost, and what stays is nobody's rows.
    """
    try:
        shutil.rmtree(stage_folder(folder, token))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        _log.warning("staged rows can't be removed: %s", error)


class _Judge:
    """Holds each batch against the contract; what breaks it is counted, so that the error can say how many rows."""

    def __init__(self, request: StageRequest, schema: pa.Schema) -> None:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        self._request = request
        self._asset = request.target.asset
        write = request.target.write
        empty = len(schema) == 0
        if not empty:
            check_columns(self._asset, write, schema)
        self._keys = never_null(write) if not empty else ()
        self._drops = isinstance(write, Replace) and write.out_of_range is OutOfRange.DROP
        self._matcher = None
        if partition_columns(request.target) and not empty:
            self._matcher = SliceMatcher(request.target, request.slices, schema)
        self._many = len(request.slices) > 1
        if self._many and not partition_columns(request.target):
            raise DataError(
                f"{self._asset}: {len(request.slices)} partitions in one step, and nothing tells their rows apart",
                hint='set partition_by="column", or batch_size=1',
            )
        self.schema = schema.append(pa.field(SLOT, pa.int32())) if self._many else schema
        self.dropped = 0
        self._outside = 0
        self._example = ""
        self._nulls = dict.fromkeys(self._keys, 0)

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows to keep, with their slot if there are several slices."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        for key in self._keys:
            self._nulls[key] += batch.column(batch.schema.get_field_index(key)).null_count
        if self._matcher is None:
            if self._many:  # no columns at all, so no rows
                batch = batch.append_column(SLOT, pa.nulls(batch.num_rows, pa.int32()))
            return batch
        if self._matcher.holds_all(batch):
            return batch
        ordinals = self._matcher.ordinals(batch)
        inside = ordinals >= 0
        outside = int(batch.num_rows - np.count_nonzero(inside))
        if outside and not self._outside:
            self._example = self._matcher.describe(batch, int(np.argmin(inside)))
        self._outside += outside
        if self._many:
            batch = batch.append_column(SLOT, pa.array(ordinals.astype(np.int32)))
        return batch.filter(pa.array(inside)) if outside else batch

    def finish(self, rows: int) -> None:
        """Raise DataError for what was counted."""
        if len(self.schema) == 0 and rows:
            raise DataError(f"{self._asset} returned {rows} rows without columns")
        for key, nulls in self._nulls.items():
            if nulls:
                write = self._request.target.write
                mode = type(write).__name__
                what = "effective" if key == getattr(write, "effective", None) else "key"
                raise DataError(
                    f"{self._asset}: {_rows(nulls)} no value in {what} column {key!r}",
                    hint=f"a key of {mode} can't be null: leave such rows out, or choose other keys"
                    if what == "key"
                    else "leave such rows out, or leave effective out",
                )
        if self._outside and not self._drops:
            where = partitions_text(self._request.slices)
            names = self._matcher.column_names if self._matcher else ""
            hint = f"return only rows of {where}"
            if isinstance(self._request.target.write, Replace):
                hint += ', or drop the others with write=Replace(out_of_range="drop")'
            raise DataError(
                f"{self._asset}: {self._outside} row{'s' if self._outside > 1 else ''} outside {where} by {names}, for instance {self._example}",
                hint=hint,
            )
        self.dropped = self._outside


class _Spool:
    """Collects batches; beyond `limit` bytes in a file, with 0 always; it goes away again unless `keep` is set."""

    def __init__(self, schema: pa.Schema, folder: str | None, limit: int) -> None:
        self._limit = limit
        self._schema = schema
        self._folder = folder
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self.rows = 0
        self.path: str | None = None
        self.keep = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.keep:
            return
        try:
            self._close_writer()
        finally:
            # Also where the disk is too full to end the file.
            if self._folder is not None and self.path is not None:
                shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        if self._writer is not None:
            self._write(batch)
            return
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if self._bytes > self._limit and self._folder is not None:
            self._spill()

    def _spill(self) -> None:
        self._open("rows")
        for waiting in self._batches:
            self._write(waiting)
        self._batches = []

    def close(self) -> pa.Table:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        if self._writer is None and self._limit == 0 and self._folder is not None:
            self._spill()  # no rows came
        self._close_writer()
        if self.path is not None:
            return _mapped(self.path)
        return pa.Table.from_batches(self._batches, schema=self._schema)

    def filtered(
        self, table: pa.Table, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> pa.Table:
        """The kept rows of what was spooled, where that was."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        def kept() -> Iterator[pa.RecordBatch]:
            done = 0
            for batch in table.to_batches():
                yield batch.filter(pa.array(keep[done : done + batch.num_rows]))
                done += batch.num_rows

        return self.rewritten("kept", kept())

    def rewritten(self, name: str, batches: Iterator[pa.RecordBatch]) -> pa.Table:
        """These rows instead of those that were spooled, where those were."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        if self.path is None:
            return pa.Table.from_batches(batches, schema=self._schema)
        self._open(name)
        for batch in batches:
            self._write(batch)
        return self.close()

    def _open(self, name: str) -> None:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        folder = Path(self._folder or ".")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path = str(folder / own_name(name, "arrow"))
            self._writer = pa.ipc.new_file(self.path, self._schema)
        except OSError as error:
            raise IOManagerError(
                f"rows can't be staged in {folder}: {error.strerror or error}"
            ) from error

    def _write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            raise IOManagerError("a staging file was closed before its last rows")
        try:
            self._writer.write_batch(batch)
        except OSError as error:
            raise self._full(error) from error

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except OSError as error:
                raise self._full(error) from error

    def _full(self, error: OSError) -> IOManagerError:
        return IOManagerError(f"rows can't be staged in {self._folder}: {error.strerror or error}")


def _check_names(asset: str, names: Sequence[str]) -> None:
    problem = column_name_problem(names)
    if problem is not None:
        told, hint = problem
        raise DataError(f"{asset}: the rows have {told}", hint=hint)


def _check_types(asset: str, schema: pa.Schema) -> None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    for field in schema:
        if any(map(pa.types.is_union, types_within(field.type))):
            raise DataError(
                f"{asset}: column {field.name!r} is {field.type}; values of several types in one column are stored nowhere",
                hint="return them as columns of their own, or as text",
            )


def _in_one_form(asset: str, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without dictionaries, views, "large" twins, field flags and metadata: one form of each type."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    columns, fields = [], []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        kind = plain_type(field.type)
        try:
            columns.append(column if kind == field.type else _converted(column, kind))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(
                f"{asset}: column {field.name!r} is {field.type}, which can't be read as {kind}: {error}"
            ) from error
        fields.append(pa.field(field.name, kind))
    if not fields:
        return batch.replace_schema_metadata(None)
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _converted(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The same values as another type of theirs."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    # pyarrow 26 casts lists by views to lists that are wrong, and runs not at all.
    if _has_views(column.type):
        return pa.array(column.to_pylist(), kind)
    return cast_column(column, kind)


def _has_views(kind: pa.DataType) -> bool:
    """True if values of the type are lists by views, or runs, at any depth."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    is_ = pa.types
    return any(
        is_.is_list_view(one) or is_.is_large_list_view(one) or is_.is_run_end_encoded(one)
        for one in types_within(kind)
    )


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, max(batch.num_rows, 1), BATCH_ROWS):
        yield batch.slice(start, BATCH_ROWS)


def _mapped(path: str) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.ipc.open_file(pa.memory_map(path)).read_all()


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.RecordBatch.from_pylist([], schema=schema)


def _unchanged(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


def _rows(count: int) -> str:
    return "1 row has" if count == 1 else f"{count} rows have"


__all__ = [
    "StagedRows",
    "own_name",
    "remove_stage",
    "stage_folder",
    "staged_rows",
    "take_in",
]
