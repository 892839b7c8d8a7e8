"""Assets as Parquet files below one folder, one file per partition: `ParquetIOManager`. Where they lie is `parquet_layout`'s business.

Theory of operation
-------------------
`stage` writes each partition's complete file, token and epoch in its footer, to `<root>/.partita/<token>/`, and syncs it. `publish`
locks the partition's folder (an `flock` on the folder itself: no lock file litters), reads the footer that is there, refuses if that
has the same or a higher epoch, renames the staged file over it, and syncs the folder. So at any instant the path holds the old file
or the new one, whole, with the token of who wrote it; a reader that has the old file open keeps it. Killed before the rename, the old
file stands and the staged one is found by its token; killed after, `published` finds the token.

Reads open the paths of the asked partitions, never a glob.

A merge is a new file: what was there without the replaced rows, then the rows that are written. It can't be staged, because what is
there may change until it is published; so it is written under the lock. Merging into one of many files is not offered: a key may lie
in another partition's file.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from assets_core.model.errors import DefinitionError, InternalError, IOManagerError, PartitaError
from assets_core.model.io_manager import Published, PublishFailed, Staged, WriteReceipt
from assets_core.model.specs import Merge
from io_managers.merging import merged_receipt, plan_merge
from io_managers.parquet_layout import (
    STAGE,
    asset_folder,
    check_owner,
    footer_fields,
    partition_file,
    partition_folder,
    read_footer,
)
from io_managers.parquet_rows import (
    batches_of,
    chained,
    numbered,
    schema_of,
    sync,
    without,
    write_file,
)
from io_managers.schemas import joined_schema, wanted_schema
from io_managers.staging import (
    StagedRows,
    append_needs_partitions,
    fenced,
    remove_stage,
    stage_folder,
    take_in,
)
from io_managers.workbench import BATCH_ROWS, Workbench, sweep_scratch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from assets_core.model.io_manager import (
        PartitionSlice,
        ReadRequest,
        Recorded,
        StageRequest,
        Target,
    )
    from io_managers.parquet_layout import Footer


@dataclass(frozen=True, slots=True)
class _Files:
    """Staged content: one complete file per slice, in order. A merge has none: its `rows` wait to be merged."""

    rows: StagedRows | None
    schema: pa.Schema
    paths: tuple[str, ...]
    receipts: tuple[WriteReceipt, ...]


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

        asset = request.target.asset
        paths = [partition_file(self.root, request.target, one) for one in request.slices]
        whole = pa.schema([])
        for path, one in zip(paths, request.slices, strict=True):
            schema = schema_of(path, request.target, one)
            try:
                whole = joined_schema(whole, schema, asset)
            except PartitaError as error:
                raise IOManagerError(
                    f"{path} does not fit the partitions before it: {error.message}",
                    hint=f"materialize all partitions of {asset} again",
                ) from error
        wanted = wanted_schema(request, whole)
        return pa.RecordBatchReader.from_batches(wanted, batches_of(paths, wanted))

    def stage(self, request: StageRequest, stream: pa.RecordBatchReader) -> Staged:
        """Take the rows in and write each partition's file to the stage. Raises DataError, IOManagerError."""
        rows = take_in(self._bench, request, stream, self._stage)
        try:
            content = self._write_staged(request, rows)
        except BaseException:
            remove_stage(self._stage, request.token)
            raise
        return Staged(request, rows.rows, rows.dropped, content)

    def read_staged(self, staged: Staged) -> pa.RecordBatchReader:
        """The staged rows, any number of times."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        files = _files(staged)
        if files.rows is not None:
            return files.rows.visible().to_reader()
        batches = batches_of(files.paths, files.schema)
        return pa.RecordBatchReader.from_batches(files.schema, batches)

    def publish(self, staged: Sequence[Staged]) -> list[Published | PublishFailed]:
        """Each by itself, as renames are; folders that are new are synced once for all."""
        import duckdb  # noqa: PLC0415 - heavy
        import pyarrow as pa  # noqa: PLC0415 - heavy

        grown: set[str] = set()
        answers: list[Published | PublishFailed] = []
        for one in staged:
            try:
                answers.append(self._publish_one(one, grown))
            except PartitaError as error:
                answers.append(PublishFailed(error.message, error.hint, code=error.code))
            except (OSError, pa.ArrowException, duckdb.Error) as error:
                text = str(error).strip().split("\n", 1)[0]
                answers.append(
                    PublishFailed(f"{self.location(one.request.target)} can't be written: {text}")
                )
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
        remove_stage(self._stage, staged.request.token)

    def discard_leftovers(self, token: str, target: Target) -> None:  # noqa: ARG002 - the port's; one stage serves all assets
        """Remove what an attempt left in the stage, and the scratch files of dead processes."""
        remove_stage(self._stage, token)
        sweep_scratch(self._stage)

    def lost(self, target: Target, recorded: Recorded) -> frozenset[int]:
        """Partitions without a file: one stat each, no file is opened. A file that was replaced by hand is not noticed."""
        if not recorded.count:
            return frozenset()
        if not os.path.isdir(asset_folder(self.root, target.asset)):  # noqa: PTH112 - as below
            return frozenset(recorded.ids())
        exists = os.path.exists
        return frozenset(
            id_
            for id_, one in zip(recorded.ids(), recorded.slices(), strict=True)
            if not exists(partition_file(self.root, target, one))
        )

    def _write_staged(self, request: StageRequest, rows: StagedRows) -> _Files:
        receipts = tuple(
            WriteReceipt(one.id, facts.rows, facts.bytes, facts.data_version, rows.schema_hash)
            for one, facts in zip(request.slices, rows.facts, strict=True)
        )
        if isinstance(request.target.write, Merge):
            return _Files(rows, rows.schema, (), receipts)
        folder = self._staging(request)
        paths = []
        for position, (one, receipt) in enumerate(zip(request.slices, receipts, strict=True)):
            path = f"{folder}{os.sep}{position}.tmp"
            fields = footer_fields(request, one, receipt)
            write_file(path, rows.schema, rows.of_slice(position), fields)
            paths.append(path)
        return _Files(None, rows.schema, tuple(paths), receipts)

    def _staging(self, request: StageRequest) -> str:
        """This attempt's folder in the stage, made if it isn't there."""
        folder = stage_folder(self._stage, request.token)
        try:
            if not os.path.isdir(self.root):  # noqa: PTH112 - once per step
                os.mkdir(self.root)  # noqa: PTH102 - only this level: a mistyped or unmounted path is not filled silently
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - as above
        except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
            parent = Path(self.root).parent
            what = (
                f"{self.root} is a file"
                if Path(self.root).is_file()
                else f"there is no folder {parent}"
            )
            raise IOManagerError(
                f"{self.root} can't be written: {what}",
                hint=f"make it with: mkdir -p '{parent}', or correct the path of the ParquetIOManager",
            ) from error
        except OSError as error:
            raise IOManagerError(
                f"{self.root} can't be written: {error.strerror or error}"
            ) from error
        return folder

    def _publish_one(self, staged: Staged, grown: set[str]) -> Published | PublishFailed:
        request, files = staged.request, _files(staged)
        pairs = [(one, partition_file(self.root, request.target, one)) for one in request.slices]
        # All fences are read before the first rename, so that a step that comes late changes none of its partitions. Each is
        # read again under its lock: a newer attempt may publish in between, and then owns what this one began.
        for one, path in pairs:
            refusal = _refusal(request, one, read_footer(path), path)
            if refusal is not None:
                return refusal
        receipts = []
        for position, (one, path) in enumerate(pairs):
            folder = partition_folder(self.root, request.target, one)
            with _locked_folder(folder, grown) as descriptor:
                there = read_footer(path)
                refusal = _refusal(request, one, there, path)
                if refusal is not None:
                    return refusal
                if there is not None and there.token == request.token:
                    receipts.append(there.receipt)
                    continue
                source, receipt = self._ready(staged, position, there, path)
                size = os.stat(source).st_size  # noqa: PTH116 - once per partition
                os.replace(source, path)  # noqa: PTH105 - the atomic act, by its POSIX name
                os.fsync(descriptor)
            receipts.append(_sized(receipt, size))
        if files.rows is None and len(receipts) != len(files.paths):
            raise InternalError(f"{request.target.asset}: a partition was left out of a publish")
        return Published(tuple(receipts))

    def _ready(
        self, staged: Staged, position: int, there: Footer | None, path: str
    ) -> tuple[str, WriteReceipt]:
        """The complete file to put in place, and its receipt."""
        files = _files(staged)
        if files.rows is None:
            return files.paths[position], files.receipts[position]
        return self._merged(staged.request, files.rows, there, path)

    def _merged(
        self, request: StageRequest, rows: StagedRows, there: Footer | None, path: str
    ) -> tuple[str, WriteReceipt]:
        """Write the file of a merge. Called with the partition's lock."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        write, (one,) = request.target.write, request.slices
        if not isinstance(write, Merge):
            raise InternalError(f"{request.target.asset} does not merge")
        schema, gone = rows.schema, np.zeros(0, dtype=np.int64)
        staged = rows.visible()
        written = np.ones(staged.num_rows, dtype=bool)
        if there is not None:
            old_schema = schema_of(path, request.target, one)
            schema = joined_schema(old_schema, rows.schema, request.target.asset)
            if staged.num_rows:
                old = numbered(path, schema)
                plan = plan_merge(self._bench, write, staged, old, schema.names)
                gone, written = plan.gone, plan.written
        receipt = merged_receipt(
            one.id,
            rows,
            0,
            request.token,
            there.receipt if there is not None else None,
            changed=bool(written.any()),
        )
        old_batches = without(path, schema, gone) if there else iter(())
        new_batches = staged.filter(pa.array(written)).to_batches(max_chunksize=BATCH_ROWS)
        merged = f"{self._staging(request)}{os.sep}merged.tmp"
        fields = footer_fields(request, one, receipt)
        write_file(merged, schema, chained(old_batches, new_batches, schema), fields)
        return merged, receipt


def _files(staged: Staged) -> _Files:
    if not isinstance(staged.content, _Files):
        raise InternalError(f"rows of {staged.request.target.asset} were staged elsewhere")
    return staged.content


def _refusal(
    request: StageRequest, one: PartitionSlice, there: Footer | None, path: str
) -> PublishFailed | None:
    if there is None:
        return None
    check_owner(path, there, request.target, one)
    if there.token == request.token or there.epoch < request.epoch:
        return None
    shown = f" {one.key}" if one.key else ""
    return fenced(f"{request.target.asset}{shown}", request.epoch, there.epoch)


def _sized(receipt: WriteReceipt, size: int) -> WriteReceipt:
    return WriteReceipt(
        receipt.partition_id,
        receipt.rows,
        size,
        receipt.data_version,
        receipt.schema_hash,
        receipt.unchanged,
    )


@contextmanager
def _locked_folder(folder: str, grown: set[str]) -> Iterator[int]:
    """The folder's descriptor, locked; the folder is made if it isn't there, and then its parents are added to `grown`."""
    descriptor = _lock_folder(folder, grown)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock_folder(folder: str, grown: set[str]) -> int:
    while True:
        _make_folder(folder, grown)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # somebody removed it at this moment
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A folder that was removed and made again while we waited is another one, with a lock of its own.
            if os.stat(folder).st_ino == os.fstat(descriptor).st_ino:  # noqa: PTH116 - descriptor and path alike
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _make_folder(folder: str, grown: set[str]) -> None:
    parent = os.path.dirname(folder)  # noqa: PTH120 - text in, text out
    try:
        os.mkdir(folder)  # noqa: PTH102 - one level at a time, to know which parents to sync
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_folder(parent, grown)
        _make_folder(folder, grown)
        return
    grown.add(parent)
