"""Assets as Parquet files below one folder, one file per partition: `ParquetIOManager`.

Where they lie is `parquet_layout`'s business, how they are written and replaced `parquet_writes`'s. Reads open the paths of the asked
partitions, never a glob. What reads or writes rows is imported when rows are read or written: a manager that is made, asked for its
place, or asked what is lost while nothing happened, loads none of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from assets_core.model.errors import DefinitionError, IOManagerError, PartitaError
from assets_core.model.io_manager import Published, PublishFailed, Staged
from assets_core.model.specs import Merge
from io_managers.parquet_layout import FILE, STAGE, asset_folder, partition_file, read_footer
from io_managers.parquet_notes import NOTES, Note, file_mark, read_note, token_mark, write_note
from io_managers.refusals import append_needs_partitions, first_line, reading_from, stream_from
from io_managers.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    from io_managers.parquet_writes import ParquetWriter


class ParquetIOManager:
    """Stores assets as Parquet files below a folder, one file per partition.

    `root` is made when first written; the folder that it is in must exist.

    Raises:
        DefinitionError: `root` is empty or a URL.

    >>> from assets_core.model.io_manager import Target
    >>> from assets_core.model.specs import Replace
    >>> ParquetIOManager("lake/").location(Target("orders", Replace(), partitioned=True))
    'lake/orders'
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        given = os.fspath(root)
        if not given or "://" in given:
            raise DefinitionError(
                f"ParquetIOManager({given!r}) takes a folder on this machine",
                hint="write ParquetIOManager('lake/')",
            )
        self.root = given.rstrip("/") or "/"
        self._stage = str(Path(self.root, STAGE))
        self._bench = Workbench(self._stage)

    def destination(self) -> str:
        """The folder as it was given."""
        return self.root

    def location(self, target: Target) -> str:
        """The asset's folder."""
        return asset_folder(self.root, target.asset)

    def supports(self, target: Target) -> str | None:
        """All but Append without partitions and Merge with partitions."""
        if isinstance(target.write, Merge) and target.partitioned:
            return (
                "Merge into partitioned Parquet files is not offered: a key may lie in another partition's file;"
                " store the asset with a DuckDBIOManager, or without partitions"
            )
        return append_needs_partitions(target)

    def read(self, request: ReadRequest) -> pa.RecordBatchReader:
        """A stream that opens one file after the other. A file that is replaced meanwhile is read whole-old or whole-new."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.parquet_rows import batches_of  # noqa: PLC0415 - see the module's first lines

        paths, _, wanted = self._found(request)
        return pa.RecordBatchReader.from_batches(wanted, batches_of(paths, wanted))

    def dataset(self, request: ReadRequest, *, with_partition: bool = False) -> ds.Dataset | None:
        """The files as a dataset; None if partitions write the name of a column in different case."""
        from io_managers.parquet_scans import dataset_of  # noqa: PLC0415 - see the module's first lines

        paths, schemas, wanted = self._found(request)
        return dataset_of(request, paths, schemas, wanted, with_partition=with_partition)

    def _found(self, request: ReadRequest) -> tuple[list[str], list[pa.Schema], pa.Schema]:
        """The files of the asked partitions, what each holds, and the columns to be read of all of them."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.parquet_rows import schema_of  # noqa: PLC0415 - see the module's first lines
        from io_managers.schemas import joined_schema, wanted_schema  # noqa: PLC0415 - same

        asset = request.target.asset
        paths = [partition_file(self.root, request.target, one) for one in request.slices]
        schemas = [
            schema_of(path, request.target, one)
            for path, one in zip(paths, request.slices, strict=True)
        ]
        whole = pa.schema([])
        for path, schema in zip(paths, schemas, strict=True):
            try:
                whole = joined_schema(whole, schema, asset)
            except PartitaError as error:
                raise IOManagerError(
                    f"{path} does not fit the partitions before it: {error.message}",
                    hint=f"materialize all partitions of {asset} again",
                ) from error
        return paths, schemas, wanted_schema(request, whole)

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
        return Staged(request, rows.rows, rows.dropped, content)

    def read_staged(self, staged: Staged) -> pa.RecordBatchReader:
        """The staged rows, any number of times."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.parquet_rows import batches_of  # noqa: PLC0415 - see the module's first lines
        from io_managers.parquet_writes import staged_files  # noqa: PLC0415 - same

        files = staged_files(staged)
        if files.rows is not None:
            with reading_from(self._stage):
                return stream_from(self._stage, files.rows.visible().to_reader())
        batches = batches_of(files.paths, files.schema)
        return pa.RecordBatchReader.from_batches(files.schema, batches)

    def publish(self, staged: Sequence[Staged]) -> list[Published | PublishFailed]:
        """Each by itself, as renames are; folders that are new are synced once for all."""
        import duckdb  # noqa: PLC0415 - heavy
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.parquet_rows import sync  # noqa: PLC0415 - see the module's first lines

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
        for folder in grown:
            sync(folder)
        return answers

    def published(self, request: StageRequest) -> tuple[WriteReceipt, ...]:
        """Receipts of the partitions whose file carries the token."""
        found = (
            read_footer(partition_file(self.root, request.target, one)) for one in request.slices
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
        from io_managers.parquet_removal import remove_asset  # noqa: PLC0415 - see the module's first lines

        remove_asset(self.root, self._stage, target.asset)

    def lost(self, target: Target, recorded: Recorded) -> frozenset[int]:
        """Partitions without a file, or whose footer has another token: one stat each while files and state are as compared last.

        Else the footers of what changed since are read.
        """
        if not recorded.count:
            return frozenset()
        if not os.path.isdir(asset_folder(self.root, target.asset)):  # noqa: PTH112 - on the path of every no-op run
            return frozenset(recorded.ids())
        ids = recorded.ids()
        paths = [partition_file(self.root, target, one) for one in recorded.slices()]
        marks = [file_mark(path) for path in paths]
        note = read_note(self.root, target.asset) or Note("", {}, {})
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
        folder = Path(asset_folder(self.root, target.asset))
        footers = (read_footer(str(path)) for path in sorted(folder.rglob(FILE)))
        return [(one.receipt.partition_id, one.token) for one in footers if one is not None]

    def leftovers(self) -> list[Leftover]:
        """What is in `<root>/.partita/`, but the notes of what was compared."""
        from io_managers.leftovers import leftovers_in  # noqa: PLC0415 - only `state gc` asks

        return leftovers_in(self._stage, frozenset({NOTES}))

    def remove_leftover(self, leftover: Leftover) -> None:
        """Remove it."""
        from io_managers.leftovers import remove  # noqa: PLC0415 - only `state gc` asks

        remove(leftover)

    def _compared(
        self, target: Target, recorded: Recorded, note: Note, marks: dict[str, int | None]
    ) -> frozenset[int]:
        """Ids whose file has another token than the recorded one; what has the right one is noted."""
        tokens, other = recorded.tokens(), set()
        files: dict[int, int] = {}
        token_marks: dict[int, int] = {}
        for id_, (path, mark) in zip(recorded.ids(), marks.items(), strict=True):
            if mark is None:
                continue
            token = token_mark(tokens.get(id_))
            if (note.files.get(id_), note.tokens.get(id_)) != (mark, token):
                footer = read_footer(path)
                if footer is None or footer.token != tokens.get(id_):
                    other.add(id_)
                    continue
            files[id_], token_marks[id_] = mark, token
        write_note(self.root, target.asset, Note(recorded.basis, files, token_marks))
        return frozenset(other)

    def _writer(self) -> ParquetWriter:
        from io_managers.parquet_writes import ParquetWriter  # noqa: PLC0415 - see the module's first lines

        return ParquetWriter(self.root, self._stage, self._bench)
