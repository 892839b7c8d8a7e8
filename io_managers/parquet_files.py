"""Assets as Parquet files below one folder or in an object store, one file per partition: `ParquetIOManager`.

Where they lie is `parquet_layout`'s business, how they are written `parquet_writes`'s, how one takes another's place `parquet_places`'s. Reads open the paths of the asked
partitions, never a glob. What reads or writes rows is imported when rows are read or written: a manager that is made, asked for its
place, or asked what is lost while nothing happened, loads none of it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from assets_core.model.errors import IOManagerError, PartitaError
from assets_core.model.io_manager import Published, PublishFailed, Staged
from assets_core.model.specs import Merge, MergeScope
from io_managers.parquet_layout import asset_folder, partition_file
from io_managers.parquet_local import FolderPlace
from io_managers.parquet_notes import Note, read_note, token_mark, write_note
from io_managers.parquet_roots import place_of
from io_managers.refusals import append_needs_partitions, first_line, reading_from, stream_from
from io_managers.workbench import Workbench

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    import pyarrow.dataset as ds

    from assets_core.model.io_manager import (
        Leftover,
        ReadRequest,
        Recorded,
        StageRequest,
        Target,
        WriteReceipt,
    )
    from io_managers.parquet_rows import Keep
    from io_managers.parquet_writes import ParquetWriter


class ParquetIOManager:
    """Stores assets as Parquet files below a folder or in an object store, one file per partition.

    A folder `root` is made when first written; the folder that it is in must exist. A URL (`s3://bucket/prefix`, `gs://…`, `az://…`,
    or any other that fsspec knows) needs an extra package; its bucket must exist. Credentials come from the usual environment variables;
    `storage_options` go to the store's client.

    Raises:
        DefinitionError: `root` is empty or names no bucket, or has `storage_options` though it is a folder.

    >>> from assets_core.model.io_manager import Target
    >>> from assets_core.model.specs import Replace
    >>> ParquetIOManager("lake/").location(Target("orders", Replace(), partitioned=True))
    'lake/orders'
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._place = place_of(root, storage_options)

    @property
    def _stage(self) -> str:
        return self._place.stage

    @cached_property
    def _bench(self) -> Workbench:
        return Workbench(self._stage)

    @property
    def root(self) -> str:
        """The folder or URL, without a slash at its end."""
        return self._place.root

    def destination(self) -> str:
        """The folder as it was given."""
        return self.root

    def location(self, target: Target) -> str:
        """The asset's folder."""
        return asset_folder(self.root, target.asset)

    def supports(self, target: Target) -> str | None:
        """All but Append without partitions, and Merge over all partitions."""
        write = target.write
        if isinstance(write, Merge) and target.partitioned and write.scope is MergeScope.TABLE:
            return (
                "Merge into partitioned Parquet files is not offered: a key may lie in another partition's file;"
                ' store the asset with a DuckDBIOManager, or without partitions, or write Merge(…, scope="partition")'
            )
        return append_needs_partitions(target)

    def read(self, request: ReadRequest) -> pa.RecordBatchReader:
        """A stream that opens one file after the other. A file that is replaced meanwhile is read whole-old or whole-new."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.moments import is_history  # noqa: PLC0415 - see the module's first lines
        from io_managers.no_rows import no_rows  # noqa: PLC0415 - same
        from io_managers.parquet_rows import batches_of  # noqa: PLC0415 - same
        from io_managers.schemas import wanted_schema  # noqa: PLC0415 - same

        if not request.slices:
            return no_rows(request)
        paths, _, whole = self._found(request)
        if is_history(request.target):
            return self._history(request)
        wanted = wanted_schema(request, whole)
        return pa.RecordBatchReader.from_batches(wanted, batches_of(self._place, paths, wanted))

    def dataset(self, request: ReadRequest, *, with_partition: bool = False) -> ds.Dataset | None:
        """The files of a folder, as they are now, as a dataset; None in a store, for a history, if partitions differ in how they write a column, and if they are too many to be open."""
        from io_managers.moments import is_history  # noqa: PLC0415 - see the module's first lines
        from io_managers.parquet_scans import dataset_of, may_keep_open  # noqa: PLC0415 - same
        from io_managers.schemas import wanted_schema  # noqa: PLC0415 - same

        if is_history(request.target) or not isinstance(self._place, FolderPlace):
            return None
        if not request.slices or not may_keep_open(len(request.slices)):
            return None
        files: list[pa.NativeFile] = []
        _, schemas, whole = self._found(request, files.append)
        wanted = wanted_schema(request, whole)
        return dataset_of(request, files, schemas, wanted, with_partition=with_partition)

    def _found(
        self, request: ReadRequest, keep: Keep | None = None
    ) -> tuple[list[str], list[pa.Schema], pa.Schema]:
        """The files of the asked partitions, what each holds, and the columns of all of them; each was open once, and may be kept."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.parquet_rows import schema_of  # noqa: PLC0415 - see the module's first lines
        from io_managers.schemas import readable_schema  # noqa: PLC0415 - same

        paths = [partition_file(self.root, request.target, one) for one in request.slices]
        schemas = [
            schema_of(self._place, path, request.target, one, keep)
            for path, one in zip(paths, request.slices, strict=True)
        ]
        whole = pa.schema([])
        for path, schema in zip(paths, schemas, strict=True):
            whole = _joined(whole, schema, path, request.target)
        if paths and not whole.names and request.target.partitioned:
            whole = self._columns_of_others(request.target)
        return paths, schemas, readable_schema(request.target, whole)

    def _columns_of_others(self, target: Target) -> pa.Schema:
        """What a reader of partitions without columns gets: those of the last partition that has some. Rare, so it may walk."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.parquet_rows import schema_at  # noqa: PLC0415 - see the module's first lines

        for path in reversed(self._place.files(target.asset)):
            with suppress(FileNotFoundError):  # removed at this moment
                if (schema := schema_at(self._place, path)).names:
                    return schema
        return pa.schema([])

    def stage(self, request: StageRequest, stream: pa.RecordBatchReader) -> Staged:
        """Take the rows in and write each partition's file to the stage. Raises DataError, IOManagerError."""
        from io_managers.staging import remove_stage, take_in  # noqa: PLC0415 - see the module's first lines

        # All but a merge are written to their own files here, so only its rows would be handed over.
        merges = isinstance(request.target.write, Merge)
        in_files = request.in_files and merges
        rows = take_in(self._bench, request, stream, self._stage, in_files=in_files)
        try:
            content = self._writer().write_staged(request, rows)
        except BaseException:
            remove_stage(self._stage, request.token)
            raise
        return Staged(request, rows.rows, rows.dropped, content, rows.dropped_columns)

    def read_staged(self, staged: Staged) -> pa.RecordBatchReader:
        """The staged rows, any number of times."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.parquet_rows import batches_of  # noqa: PLC0415 - see the module's first lines
        from io_managers.parquet_writes import staged_files  # noqa: PLC0415 - same

        files = staged_files(staged)
        if files.rows is not None:
            with reading_from(self._stage):
                return stream_from(self._stage, files.rows.visible().to_reader())
        batches = batches_of(FolderPlace(self._stage), files.paths, files.schema)
        return pa.RecordBatchReader.from_batches(files.schema, batches)

    def read_staged_slices(self, staged: Staged) -> Iterator[pa.RecordBatchReader]:
        """The staged rows of each partition, any number of times."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.parquet_rows import batches_of  # noqa: PLC0415 - see the module's first lines
        from io_managers.parquet_writes import staged_files  # noqa: PLC0415 - same

        files = staged_files(staged)
        if files.rows is not None:
            with reading_from(self._stage):
                for stream in files.rows.readers():
                    yield stream_from(self._stage, stream)
        for path in files.paths:
            batches = batches_of(FolderPlace(self._stage), (path,), files.schema)
            yield pa.RecordBatchReader.from_batches(files.schema, batches)

    def publish(self, staged: Sequence[Staged]) -> list[Published | PublishFailed]:
        """Each by itself, as renames are; folders that are new are synced once for all."""
        import duckdb  # noqa: PLC0415 - heavy
        import pyarrow as pa  # noqa: PLC0415 - heavy

        writer = self._writer()
        grown: set[str] = set()
        answers: list[Published | PublishFailed] = []
        for one in staged:
            try:
                answers.append(writer.publish(one, grown))
            except PartitaError as error:
                answers.append(PublishFailed(error.message, error.hint, code=error.code))
            except (OSError, pa.ArrowException, duckdb.Error) as error:
                where = self.location(one.request.target)
                answers.append(PublishFailed(f"{where} can't be written: {first_line(error)}"))
            finally:
                self.discard(one)
        self._place.settle(grown)
        return answers

    def published(self, request: StageRequest) -> tuple[WriteReceipt, ...]:
        """Receipts of the partitions whose file carries the token."""
        found = self._place.footers(
            [partition_file(self.root, request.target, one) for one in request.slices]
        )
        return tuple(
            footer.receipt
            for footer in found
            if footer is not None and footer.token == request.token
        )

    def discard(self, staged: Staged) -> None:
        """Remove the staged files."""
        from io_managers.staging import remove_stage  # noqa: PLC0415 - see the module's first lines

        remove_stage(self._stage, staged.request.token)

    def discard_leftovers(self, token: str, target: Target) -> None:  # noqa: ARG002 - the port's; one stage serves all assets
        """Remove what an attempt left in the stage, and the scratch files of dead processes."""
        from io_managers.staging import remove_stage  # noqa: PLC0415 - see the module's first lines
        from io_managers.workbench import sweep_scratch  # noqa: PLC0415 - same

        remove_stage(self._stage, token)
        sweep_scratch(self._stage)

    def remove(self, target: Target) -> None:
        """Remove the asset's folder: all partitions in one act. Refused if a file in it is not the asset's."""
        self._place.remove(target.asset)

    def lost(self, target: Target, recorded: Recorded) -> frozenset[int]:
        """Partitions without a file, or whose footer has another token: one stat each while files and state are as compared last.

        Else the footers of what changed since are read.
        """
        if not recorded.count:
            return frozenset()
        ids = recorded.ids()
        paths = [partition_file(self.root, target, one) for one in recorded.slices()]
        marks = self._place.marks(target.asset, paths)
        note = read_note(self._stage, target.asset) or Note("", {}, {})
        missing = frozenset(id_ for id_, mark in zip(ids, marks, strict=True) if mark is None)
        if note.basis == recorded.basis and all(
            mark is None or note.files.get(id_) == mark
            for id_, mark in zip(ids, marks, strict=True)
        ):
            return missing
        return missing | self._compared(
            target, recorded, note, dict(zip(paths, marks, strict=True))
        )

    def holdings(self, target: Target) -> list[tuple[int, str]]:
        """By the footer of every file of the asset. Raises IOManagerError for one that can't be read."""
        footers = self._place.footers(self._place.files(target.asset))
        return [(one.receipt.partition_id, one.token) for one in footers if one is not None]

    def leftovers(self) -> list[Leftover]:
        """What is in `<root>/.partita/`, but the notes of what was compared; for a store also what is in this machine's spool."""
        return self._place.leftovers()

    def remove_leftover(self, leftover: Leftover) -> None:
        """Remove it."""
        self._place.remove_leftover(leftover)

    def _history(self, request: ReadRequest) -> pa.RecordBatchReader:
        """The history up to the last of the asked partitions: a fold over the files of all before it."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.history import history_schema, history_table  # noqa: PLC0415 - see the module's first lines
        from io_managers.moments import Moment, is_asked, last_end, last_moment, no_moment  # noqa: PLC0415 - same
        from io_managers.parquet_rows import batches_of, schema_at  # noqa: PLC0415 - same
        from io_managers.schemas import conformed_table, readable_schema, wanted_schema  # noqa: PLC0415 - same

        target = request.target
        last = last_moment(target, request.slices)
        found: list[tuple[Moment, str]] = []
        paths = self._place.files(target.asset)
        for path, footer in zip(paths, self._place.footers(paths), strict=True):
            if footer is None:
                continue
            if footer.moment is None:
                raise no_moment(target.asset, footer.key)
            if is_asked(target, footer.moment, last):
                found.append((Moment(footer.key, footer.moment), path))
        found.sort(key=lambda one: one[0].at)
        whole = pa.schema([])
        for _, path in found:
            whole = _joined(whole, schema_at(self._place, path), path, target)
        schema = readable_schema(target, whole)
        wanted = wanted_schema(request, history_schema(target, schema))
        if not found:
            return wanted.empty_table().to_reader()
        events = [
            pa.Table.from_batches(batches_of(self._place, [path], schema), schema=schema)
            for _, path in found
        ]
        moments = [moment for moment, _ in found]
        return conformed_table(
            history_table(self._bench, target, events, moments, last_end(request.slices)), wanted
        ).to_reader()

    def _compared(
        self, target: Target, recorded: Recorded, note: Note, marks: dict[str, int | None]
    ) -> frozenset[int]:
        """Ids whose file has another token than the recorded one; what has the right one is noted."""
        tokens, other = recorded.tokens(), set()
        files: dict[int, int] = {}
        token_marks: dict[int, int] = {}
        changed: dict[str, int] = {}
        for id_, (path, mark) in zip(recorded.ids(), marks.items(), strict=True):
            if mark is None:
                continue
            files[id_], token_marks[id_] = mark, token_mark(tokens.get(id_))
            if (note.files.get(id_), note.tokens.get(id_)) != (mark, token_marks[id_]):
                changed[path] = id_
        for id_, footer in zip(
            changed.values(), self._place.intact_footers(list(changed)), strict=True
        ):
            if footer is None or footer.token != tokens.get(id_):
                other.add(id_)
                del files[id_], token_marks[id_]
        write_note(self._stage, target.asset, Note(recorded.basis, files, token_marks))
        return frozenset(other)

    def _writer(self) -> ParquetWriter:
        from io_managers.parquet_writes import ParquetWriter  # noqa: PLC0415 - see the module's first lines

        return ParquetWriter(self._place, self._bench)


def _joined(before: pa.Schema, here: pa.Schema, path: str, target: Target) -> pa.Schema:
    from io_managers.schemas import joined_schema  # noqa: PLC0415 - see the module's first lines

    try:
        return joined_schema(before, here, target, reading=True)
    except PartitaError as error:
        raise IOManagerError(
            f"{path} does not fit the partitions before it: {error.message}",
            hint=error.hint,
        ) from error
