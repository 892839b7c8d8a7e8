"""Writing Parquet files: staging each partition's complete file, putting it in place, merging into the one that is there.

Theory of operation
-------------------
`stage` writes each partition's complete file, token and epoch in its footer, to `<root>/.partita/<token>/`, and syncs it. `publish`
locks the partition's folder (an `flock` on the folder itself: no lock file litters), reads the footer that is there, refuses if that
has the same or a higher epoch, renames the staged file over it, and syncs the folder. So at any instant the path holds the old file
or the new one, whole, with the token of who wrote it; a reader that has the old file open keeps it. Killed before the rename, the old
file stands and the staged one is found by its token; killed after, `published` finds the token.

Reads open the paths of the asked partitions, never a glob.

A merge is a new file: what was there without the replaced rows, then the rows that are written. It can't be staged, because what is
there may change until it is published; so it is written under the lock. Merging into one of many files is offered only with
`scope="partition"`: else a key may lie in another partition's file.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assets_core.failpoints import failpoint
from assets_core.model.errors import InternalError, IOManagerError
from assets_core.model.io_manager import Published, PublishFailed, Staged, WriteReceipt
from assets_core.model.specs import Merge
from io_managers.merging import merged_receipt, plan_merge
from io_managers.parquet_layout import (
    check_owner,
    footer_fields,
    partition_file,
    partition_folder,
    read_footer,
)
from io_managers.parquet_rows import chained, numbered, schema_of, without, write_file
from io_managers.refusals import fenced
from io_managers.schemas import joined_schema
from io_managers.staging import StagedRows, own_name, stage_folder
from io_managers.workbench import BATCH_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from assets_core.model.io_manager import PartitionSlice, StageRequest
    from io_managers.parquet_layout import Footer
    from io_managers.workbench import Workbench


@dataclass(frozen=True, slots=True)
class StagedFiles:
    """Staged content: one complete file per slice, in order. A merge has none: its `rows` wait to be merged."""

    rows: StagedRows | None
    schema: pa.Schema
    paths: tuple[str, ...]
    receipts: tuple[WriteReceipt, ...]


class ParquetWriter:
    """Stages and publishes below one root; `stage` is the folder that staged files wait in."""

    def __init__(self, root: str, stage: str, bench: Workbench) -> None:
        self._root = root
        self._stage = stage
        self._bench = bench

    def write_staged(self, request: StageRequest, rows: StagedRows) -> StagedFiles:
        """Write each partition's file to the stage. Raises IOManagerError."""
        receipts = tuple(
            WriteReceipt(one.id, facts.rows, facts.bytes, facts.data_version, rows.schema_hash)
            for one, facts in zip(request.slices, rows.facts, strict=True)
        )
        if isinstance(request.target.write, Merge):
            return StagedFiles(rows, rows.schema, (), receipts)
        folder = self._staging(request)
        paths = []
        written = zip(request.slices, receipts, rows.by_slice(), strict=True)
        for position, (one, receipt, batches) in enumerate(written):
            path = f"{folder}{os.sep}{own_name(str(position), 'tmp')}"
            fields = footer_fields(request, one, receipt)
            write_file(path, rows.schema, batches, fields)
            failpoint("stage.written")
            paths.append(path)
        return StagedFiles(None, rows.schema, tuple(paths), receipts)

    def _staging(self, request: StageRequest) -> str:
        """This attempt's folder in the stage, made if it isn't there."""
        folder = stage_folder(self._stage, request.token)
        try:
            if not os.path.isdir(self._root):  # noqa: PTH112 - once per step
                os.mkdir(self._root)  # noqa: PTH102 - only this level: a mistyped or unmounted path is not filled silently
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - as above
        except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
            parent = Path(self._root).parent
            what = (
                f"{self._root} is a file"
                if Path(self._root).is_file()
                else f"there is no folder {parent}"
            )
            raise IOManagerError(
                f"{self._root} can't be written: {what}",
                hint=f"make it with: mkdir -p {shlex.quote(str(parent))}, or correct the path of the ParquetIOManager",
            ) from error
        except OSError as error:
            raise IOManagerError(
                f"{self._root} can't be written: {error.strerror or error}"
            ) from error
        return folder

    def publish(self, staged: Staged, grown: set[str]) -> Published | PublishFailed:
        """Put one step's files in place; the parents of folders that are new are added to `grown`, to be synced."""
        request, files = staged.request, staged_files(staged)
        pairs = [(one, partition_file(self._root, request.target, one)) for one in request.slices]
        # All fences are read before the first rename, so that a step that comes late changes none of its partitions. Each is
        # read again under its lock: a newer attempt may publish in between, and then owns what this one began.
        for one, path in pairs:
            refusal = _refusal(request, one, read_footer(path), path)
            if refusal is not None:
                return refusal
        receipts = []
        for position, (one, path) in enumerate(pairs):
            folder = partition_folder(self._root, request.target, one)
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
                failpoint("publish.parquet.rename")
                os.replace(source, path)  # noqa: PTH105 - the atomic act, by its POSIX name
                failpoint("publish.parquet.renamed")
                os.fsync(descriptor)
            receipts.append(_sized(receipt, size))
        if files.rows is None and len(receipts) != len(files.paths):
            raise InternalError(f"{request.target.asset}: a partition was left out of a publish")
        return Published(tuple(receipts))

    def _ready(
        self, staged: Staged, position: int, there: Footer | None, path: str
    ) -> tuple[str, WriteReceipt]:
        """The complete file to put in place, and its receipt."""
        files = staged_files(staged)
        if files.rows is None:
            return files.paths[position], files.receipts[position]
        return self._merged(staged.request, files.rows, position, there, path)

    def _merged(
        self,
        request: StageRequest,
        rows: StagedRows,
        position: int,
        there: Footer | None,
        path: str,
    ) -> tuple[str, WriteReceipt]:
        """Write the file of a merge. Called with the partition's lock."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        write, one = request.target.write, request.slices[position]
        if not isinstance(write, Merge):
            raise InternalError(f"{request.target.asset} does not merge")
        schema, staged, old = rows.schema, rows.of_slice(position), None
        if there is not None:
            old_schema = schema_of(path, request.target, one)
            schema = joined_schema(old_schema, rows.schema, request.target)
            old = numbered(path, schema) if staged.num_rows else None
        plan = plan_merge(self._bench, write, staged, old, schema.names)
        receipt = merged_receipt(
            one.id,
            rows,
            position,
            request.token,
            there.receipt if there is not None else None,
            changed=bool(plan.changed.any()),
        )
        old_batches = without(path, schema, plan.gone) if there else iter(())
        new_batches = staged.filter(pa.array(plan.written)).to_batches(max_chunksize=BATCH_ROWS)
        merged = f"{self._staging(request)}{os.sep}merged-{position}.tmp"
        fields = footer_fields(request, one, receipt)
        write_file(merged, schema, chained(old_batches, new_batches, schema), fields)
        return merged, receipt


def staged_files(staged: Staged) -> StagedFiles:
    """The content of a Staged of ours. Raises InternalError if another IO manager staged it."""
    if not isinstance(staged.content, StagedFiles):
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
