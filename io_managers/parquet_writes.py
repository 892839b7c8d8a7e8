"""Writing Parquet files: staging each partition's complete file, putting it in place, merging into the one that is there.

Theory of operation
-------------------
`stage` writes each partition's complete file, token and epoch in its footer, to `<stage>/<token>/`, and syncs it. `publish` asks the
place to replace the partition's file: it is shown the footer that is there, refuses if that has the same or a higher epoch, and else
the staged file takes its place in one act, which can't happen if what was shown is no longer there. So at any instant the path holds
the old file or the new one, whole, with the token of who wrote it. Killed before that act, the old file stands and the staged one is
found by its token; killed after, `published` finds the token.

Reads open the paths of the asked partitions, never a glob.

A merge is a new file: what was there without the replaced rows, then the rows that are written. It can't be staged, because what is
there may change until it is published; so it is written when the place shows what is there, and again if that changes meanwhile. Merging
into one of many files is offered only with `scope="partition"`: else a key may lie in another partition's file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from assets_core.authoring.arrow_types import types_within
from assets_core.failpoints import failpoint
from assets_core.model.errors import DataError, InternalError, IOManagerError
from assets_core.model.io_manager import Published, PublishFailed, Staged, WriteReceipt
from assets_core.model.specs import Merge
from io_managers.merging import merged_receipt, plan_merge
from io_managers.parquet_layout import (
    check_owner,
    footer_fields,
    partition_file,
)
from io_managers.parquet_rows import chained, numbered, schema_of, without, write_file
from io_managers.refusals import fenced
from io_managers.schemas import joined_schema
from io_managers.staging import StagedRows, own_name, stage_folder
from io_managers.workbench import BATCH_ROWS

if TYPE_CHECKING:
    import pyarrow as pa

    from assets_core.model.io_manager import PartitionSlice, StageRequest
    from io_managers.parquet_layout import Footer
    from io_managers.parquet_places import Place
    from io_managers.workbench import Workbench


@dataclass(frozen=True, slots=True)
class StagedFiles:
    """Staged content: one complete file per slice, in order. A merge has none: its `rows` wait to be merged."""

    rows: StagedRows | None
    schema: pa.Schema
    paths: tuple[str, ...]
    receipts: tuple[WriteReceipt, ...]


class ParquetWriter:
    """Stages below `place.stage` and publishes to `place`."""

    def __init__(self, place: Place, bench: Workbench) -> None:
        self._place = place
        self._bench = bench

    def write_staged(self, request: StageRequest, rows: StagedRows) -> StagedFiles:
        """Write each partition's file to the stage. Raises IOManagerError, DataError for a column that Parquet can't hold."""
        _check_types(request.target.asset, rows.schema)
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
        self._place.prepare()
        folder = stage_folder(self._place.stage, request.token)
        try:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - once per step
        except OSError as error:
            # A stage inside of the place is nobody's business: it is the place that can't be written.
            root, stage = self._place.root, self._place.stage
            where = root if stage.startswith(f"{root}{os.sep}") else stage
            raise IOManagerError(f"{where} can't be written: {error.strerror or error}") from error
        return folder

    def publish(self, staged: Staged, grown: set[str]) -> Published | PublishFailed:
        """Put one step's files in place; what has to be settled afterwards is added to `grown`."""
        request, files = staged.request, staged_files(staged)
        paths = [partition_file(self._place.root, request.target, one) for one in request.slices]
        receipts = []
        try:
            # All fences are read before the first file is replaced, so that a step that comes late changes none of its partitions.
            # Each is read again when it is: a newer attempt may publish in between, and then owns what this one began.
            there = self._place.intact_footers(paths)
            for one, path, footer in zip(request.slices, paths, there, strict=True):
                _check_fence(request, one, footer, path)
            for position, path in enumerate(paths):
                receipts.append(self._replaced(staged, position, path, grown))
        except _Overtaken as overtaken:
            return overtaken.refusal
        if files.rows is None and len(receipts) != len(files.paths):
            raise InternalError(f"{request.target.asset}: a partition was left out of a publish")
        return Published(tuple(receipts))

    def _replaced(self, staged: Staged, position: int, path: str, grown: set[str]) -> WriteReceipt:
        """The receipt of one partition, which is in its place when this returns."""
        request, one = staged.request, staged.request.slices[position]
        receipt: WriteReceipt | None = None

        def ready(there: Footer | None) -> str | None:
            nonlocal receipt
            _check_fence(request, one, there, path)
            if there is not None and there.token == request.token:
                receipt = there.receipt
                return None
            source, receipt = self._ready(staged, position, there, path)
            return source

        size = self._place.replace(path, ready, grown)
        if receipt is None:
            raise InternalError(f"{path} was replaced without a receipt")
        return receipt if size is None else replace(receipt, bytes=size)

    def _ready(
        self, staged: Staged, position: int, there: Footer | None, path: str
    ) -> tuple[str, WriteReceipt]:
        """The complete file to put in place, and its receipt."""
        files = staged_files(staged)
        if files.rows is None:
            cleared = None if files.schema.names else self._cleared(staged, position, there, path)
            return cleared or files.paths[position], files.receipts[position]
        return self._merged(staged.request, files.rows, position, there, path)

    def _cleared(
        self, staged: Staged, position: int, there: Footer | None, path: str
    ) -> str | None:
        """A file without rows that keeps the columns of the one that is there; None if there is none, or columns go with rows."""
        request, one = staged.request, staged.request.slices[position]
        if there is None or not request.target.partitioned:
            return None
        schema = schema_of(self._place, path, request.target, one)
        cleared = f"{self._staging(request)}{os.sep}cleared-{position}.tmp"
        fields = footer_fields(request, one, staged_files(staged).receipts[position])
        write_file(cleared, schema, iter(()), fields)
        return cleared

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
            old_schema = schema_of(self._place, path, request.target, one)
            schema = joined_schema(old_schema, rows.schema, request.target)
            old = numbered(self._place, path, schema) if staged.num_rows else None
        plan = plan_merge(self._bench, write, staged, old, schema.names)
        receipt = merged_receipt(
            one.id,
            rows,
            position,
            request.token,
            there.receipt if there is not None else None,
            changed=bool(plan.changed.any()),
        )
        old_batches = without(self._place, path, schema, plan.gone) if there else iter(())
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


def _check_types(asset: str, schema: pa.Schema) -> None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    for field in schema:
        if any(pa.types.is_struct(one) and not one.num_fields for one in types_within(field.type)):
            raise DataError(
                f"{asset}: column {field.name!r} is {field.type}, and Parquet does not store a struct without fields",
                hint="leave it out of the returned rows, or store the asset in DuckDB",
            )


class _Overtaken(Exception):  # noqa: N818 - no error: the answer of a fence, on its way to `publish`
    def __init__(self, refusal: PublishFailed) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def _check_fence(
    request: StageRequest, one: PartitionSlice, there: Footer | None, path: str
) -> None:
    refusal = _refusal(request, one, there, path)
    if refusal is not None:
        raise _Overtaken(refusal)


def _refusal(
    request: StageRequest, one: PartitionSlice, there: Footer | None, path: str
) -> PublishFailed | None:
    if there is None:
        return None
    check_owner(path, there, request.target, one)
    if there.token == request.token or there.epoch < request.epoch:
        return None
    return fenced(request.target.asset, one.key, there.token)
