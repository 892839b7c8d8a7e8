"""Assets as Delta tables below one folder or in S3: `DeltaIOManager`, on the package `deltalake` (`pip install 'partita[delta]'`).

An asset is one table, whose partitions are Partita's: a `_partition` column holds the key. Each partition is one file. Who may write when
is decided in `delta_writes`, what the log says in `delta_log`, which types there are in `delta_types`, where tables lie in `delta_places`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from assets_core.model.errors import IOManagerError, PartitaError
from assets_core.model.io_manager import Published, PublishFailed, Staged
from assets_core.model.specs import Merge
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
    from io_managers.delta_files import DeltaFiles
    from io_managers.delta_log import TableVersion
    from io_managers.delta_writes import DeltaWriter


class DeltaIOManager:
    """Stores assets as Delta tables below a folder of this machine or in S3, one file per partition.

    A folder `root` is made when first written; the folder that it is in must exist. The bucket of a URL (`s3://bucket/prefix`) must
    exist; credentials come from the usual environment variables, `storage_options` go to the store's client. Needs the package `deltalake`,
    and for a URL `obstore` as well.

    Raises:
        DefinitionError: `root` is empty, or a URL of anything but S3; or there are `storage_options` though it is a folder.

    >>> from assets_core.model.io_manager import Target
    >>> from assets_core.model.specs import Replace
    >>> DeltaIOManager("lake/").location(Target("orders", Replace(), partitioned=True))
    'lake/orders'
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        from io_managers.delta_files import files_below  # noqa: PLC0415 - a manager that is never made loads none of it

        self._files: DeltaFiles = files_below(root, storage_options)

    @cached_property
    def _bench(self) -> Workbench:
        return Workbench(self._files.stage)

    @property
    def root(self) -> str:
        """The folder or URL, without a slash at its end."""
        return self._files.root

    def destination(self) -> str:
        """The folder as it was given."""
        return self.root

    def location(self, target: Target) -> str:
        """The asset's table."""
        return self._files.table(target.asset)

    def supports(self, target: Target) -> str | None:
        """All but Append without partitions."""
        return append_needs_partitions(target)

    def read(self, request: ReadRequest) -> pa.RecordBatchReader:
        """A stream of one version of the table, whatever is published meanwhile."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.moments import is_history  # noqa: PLC0415 - see above
        from io_managers.no_rows import no_rows  # noqa: PLC0415 - same
        from io_managers.parquet_rows import batches_of  # noqa: PLC0415 - same
        from io_managers.schemas import wanted_schema  # noqa: PLC0415 - same

        if not request.slices:
            return no_rows(request)
        paths = self._found(request)
        if is_history(request.target):
            return self._history(request)
        wanted = wanted_schema(request, self._readable(request.target, paths))
        batches = batches_of(self._files.place, paths, wanted)
        return pa.RecordBatchReader.from_batches(wanted, batches)

    def dataset(self, request: ReadRequest, *, with_partition: bool = False) -> ds.Dataset | None:
        """The files of one version as a dataset; None in S3, for a history, and for columns that Delta holds under another type."""
        from io_managers.moments import is_history  # noqa: PLC0415 - see above
        from io_managers.parquet_rows import schema_at  # noqa: PLC0415 - same
        from io_managers.parquet_scans import dataset_of, may_keep_open  # noqa: PLC0415 - same
        from io_managers.schemas import wanted_schema  # noqa: PLC0415 - same

        readable = self._files.place.in_folders and bool(request.slices)
        if is_history(request.target) or not readable:
            return None
        paths = self._found(request)
        if not may_keep_open(len(paths)):
            return None
        files: list[pa.NativeFile] = []
        schemas = [schema_at(self._files.place, path, files.append) for path in paths]
        wanted = wanted_schema(request, self._readable(request.target, paths))
        return dataset_of(request, files, schemas, wanted, with_partition=with_partition)

    def stage(self, request: StageRequest, stream: pa.RecordBatchReader) -> Staged:
        """Take the rows in and write each partition's file to the stage. Raises DataError, IOManagerError."""
        from io_managers.delta_log import deltalake_package  # noqa: PLC0415 - see above
        from io_managers.delta_types import check_values  # noqa: PLC0415 - same
        from io_managers.staging import remove_stage, take_in  # noqa: PLC0415 - same

        deltalake_package()

        def convert(batch: pa.RecordBatch) -> pa.RecordBatch:
            check_values(request.target.asset, batch)
            return batch

        stage = self._files.stage
        in_files = request.in_files and isinstance(request.target.write, Merge)
        rows = take_in(self._bench, request, stream, stage, convert, in_files=in_files)
        try:
            content = self._writer().write_staged(request, rows)
        except BaseException:
            remove_stage(stage, request.token)
            raise
        return Staged(request, rows.rows, rows.dropped, content, rows.dropped_columns)

    def read_staged(self, staged: Staged) -> pa.RecordBatchReader:
        """The staged rows, any number of times."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.delta_writes import staged_delta  # noqa: PLC0415 - see above
        from io_managers.parquet_rows import batches_of  # noqa: PLC0415 - same

        content = staged_delta(staged)
        if content.rows is not None:
            with reading_from(self._files.stage):
                return stream_from(self._files.stage, content.rows.visible().to_reader())
        batches = batches_of(self._files.place, content.paths, content.schema)
        return pa.RecordBatchReader.from_batches(content.schema, batches)

    def read_staged_slices(self, staged: Staged) -> Iterator[pa.RecordBatchReader]:
        """The staged rows of each partition, any number of times."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.delta_writes import staged_delta  # noqa: PLC0415 - see above
        from io_managers.parquet_rows import batches_of  # noqa: PLC0415 - same

        content = staged_delta(staged)
        if content.rows is not None:
            with reading_from(self._files.stage):
                for stream in content.rows.readers():
                    yield stream_from(self._files.stage, stream)
        for path in content.paths:
            batches = batches_of(self._files.place, (path,), content.schema)
            yield pa.RecordBatchReader.from_batches(content.schema, batches)

    def publish(self, staged: Sequence[Staged]) -> list[Published | PublishFailed]:
        """All steps of one asset in one commit of its table."""
        import duckdb  # noqa: PLC0415 - heavy
        import pyarrow as pa  # noqa: PLC0415 - heavy

        writer = self._writer()
        answers: dict[int, Published | PublishFailed] = {}
        groups: dict[tuple[str, bool], list[int]] = {}
        for number, one in enumerate(staged):
            where = one.request.target
            groups.setdefault((where.asset, where.partitioned), []).append(number)
        for (asset, _), numbers in groups.items():
            try:
                told = writer.publish(asset, [staged[number] for number in numbers])
            except PartitaError as error:
                told = [PublishFailed(error.message, error.hint, code=error.code)] * len(numbers)
            except (OSError, pa.ArrowException, duckdb.Error) as error:
                folder = self._files.table(asset)
                failed = PublishFailed(f"{folder} can't be written: {first_line(error)}")
                told = [failed] * len(numbers)
            answers |= dict(zip(numbers, told, strict=True))
        for one in staged:
            self.discard(one)
        return [answers[number] for number in range(len(staged))]

    def published(self, request: StageRequest) -> tuple[WriteReceipt, ...]:
        """Receipts of the partitions whose file carries the token."""
        from io_managers.delta_log import carries  # noqa: PLC0415 - see above

        there = self._open(request.target)
        if there is None:
            return ()
        found = [name for one in request.slices for name in there.files.get(one.key, ())]
        mine = [there.path(name) for name in found if carries(name, request.token)]
        return tuple(self._files.receipt(path) for path in mine)

    def discard(self, staged: Staged) -> None:
        """Remove the staged files."""
        from io_managers.staging import remove_stage  # noqa: PLC0415 - see above

        remove_stage(self._files.stage, staged.request.token)

    def discard_leftovers(self, token: str, target: Target) -> None:
        """Remove what an attempt left in the stage and in the table's folder, and the scratch files of dead processes."""
        self._files.discard_leftovers(token, target.asset)

    def remove(self, target: Target) -> None:
        """Remove the table with all its versions; in a folder in one act."""
        self._files.remove(target.asset)

    def lost(self, target: Target, recorded: Recorded) -> frozenset[int]:
        """Partitions that the newest version does not have, or has from another attempt; in a folder also those whose file is gone: one `stat` each."""
        if not recorded.count:
            return frozenset()
        there = self._open(target)
        if there is None:
            return frozenset(recorded.ids())
        tokens = recorded.tokens()
        asked = zip(recorded.ids(), recorded.slices(), strict=True)
        return frozenset(
            id_ for id_, one in asked if not _holds(there, one.key, tokens.get(id_, ""))
        )

    def holdings(self, target: Target) -> list[tuple[int, str]]:
        """By the footer of every live file. Raises IOManagerError for one that can't be read."""
        there = self._open(target)
        if there is None:
            return []
        paths = [there.path(name) for names in there.files.values() for name in names]
        footers = self._files.footers(paths)
        return [(one.receipt.partition_id, one.token) for one in footers]

    def leftovers(self) -> list[Leftover]:
        """What is in `<root>/.partita/`, or for S3 in this machine's spool."""
        from io_managers.leftovers import leftovers_in  # noqa: PLC0415 - only `state gc` asks
        from io_managers.parquet_notes import NOTES  # noqa: PLC0415 - same

        # Notes are of Parquet files, which may be kept below the same root.
        return leftovers_in(self._files.stage, frozenset({NOTES}))

    def remove_leftover(self, leftover: Leftover) -> None:
        """Remove it."""
        from io_managers.leftovers import remove  # noqa: PLC0415 - only `state gc` asks

        remove(leftover)

    def _open(self, target: Target) -> TableVersion | None:
        return self._files.open_table(target.asset)

    def _found(self, request: ReadRequest) -> list[str]:
        """The files of the asked partitions. Raises IOManagerError if one is missing."""
        target, there = request.target, self._open(request.target)
        paths: list[str] = []
        for one in request.slices:
            names = there.files.get(one.key, ()) if there is not None else ()
            if there is None or not names:
                shown = f" partition {one.key}" if one.key else ""
                raise IOManagerError(
                    f"{target.asset}{shown} is not there: the table {self.location(target)} does not have it",
                    hint="materialize it first",
                )
            paths += map(there.path, names)
        return paths

    def _readable(self, target: Target, paths: Sequence[str]) -> pa.Schema:
        """What readers get of some files; of files without columns those of the table."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.delta_types import noted_schema  # noqa: PLC0415 - see above
        from io_managers.schemas import joined_schema, readable_schema  # noqa: PLC0415 - same

        whole = pa.schema([])
        for path in paths:
            whole = joined_schema(whole, self._files.schema(path), target, reading=True)
        if paths and not whole.names and target.partitioned:
            there = self._open(target)
            whole = noted_schema(there.table.schema()) if there is not None else whole
        return readable_schema(target, whole)

    def _history(self, request: ReadRequest) -> pa.RecordBatchReader:
        """The history up to the last of the asked partitions: a fold over the files of all before it."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.history import history_schema, history_table  # noqa: PLC0415 - see above
        from io_managers.moments import Moment, is_asked, last_end, last_moment, no_moment  # noqa: PLC0415 - same
        from io_managers.parquet_rows import batches_of  # noqa: PLC0415 - same
        from io_managers.schemas import conformed_table, wanted_schema  # noqa: PLC0415 - same

        target, there = request.target, self._open(request.target)
        last = last_moment(target, request.slices)
        found: list[tuple[Moment, str]] = []
        names = [name for names in there.files.values() for name in names] if there else []
        paths = [there.path(name) for name in names] if there else []
        for path, footer in zip(paths, self._files.footers(paths), strict=True):
            if footer.moment is None:
                raise no_moment(target.asset, footer.key)
            if is_asked(target, footer.moment, last):
                found.append((Moment(footer.key, footer.moment), path))
        found.sort(key=lambda one: one[0].at)
        schema = self._readable(target, [path for _, path in found])
        wanted = wanted_schema(request, history_schema(target, schema))
        if not found:
            return wanted.empty_table().to_reader()
        events = [
            pa.Table.from_batches(batches_of(self._files.place, [path], schema), schema=schema)
            for _, path in found
        ]
        moments, end = [moment for moment, _ in found], last_end(request.slices)
        told = history_table(self._bench, target, events, moments, end)
        return conformed_table(told, wanted).to_reader()

    def _writer(self) -> DeltaWriter:
        from io_managers.delta_writes import DeltaWriter  # noqa: PLC0415 - see above

        return DeltaWriter(self._files, self._bench)


def _holds(there: TableVersion, key: str, token: str) -> bool:
    """Whether a partition is one file of the attempt with this token, and the file is there, as far as that is easily told."""
    from io_managers.delta_log import carries  # noqa: PLC0415 - see above

    names = there.files.get(key, ())
    return (
        len(names) == 1
        and carries(names[0], token)
        and there.place.may_be_there(there.path(names[0]))
    )
