"""Publishing staged steps into one Delta table: all steps of an asset in one commit, judged one after the other.

Theory of operation
-------------------
`stage` writes each partition's complete file, token and epoch in its footer, and syncs it. `publish` reads the table's newest version and
makes a draft: which file holds which partition. Each step in turn is judged against the draft (its epoch, its types) and either changes it
or is refused; a refused one leaves the draft as it was. What the draft has anew is put into the table's folder, where nobody sees it
yet, and one commit on top of exactly the version that was read makes it visible, tokens and epochs with it. If the table has a newer
version by then nothing happened, and all is read and judged again. So an attempt that comes late finds the newer epoch, however the two
met. Killed before the commit, the old version stands and the new files are found by their token; killed after it, `published` finds it.

A merge is written when it is published: what it leaves of the old files depends on the version. A file whose types or spelling of names
differ from what the table has afterwards is written anew in the same commit, so that other programs read one type per column.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from assets_core.failpoints import failpoint
from assets_core.model.errors import InternalError, IOManagerError, PartitaError
from assets_core.model.io_manager import Published, PublishFailed, WriteReceipt
from assets_core.model.specs import Merge, MergeScope
from io_managers.delta_files import SCHEMA
from io_managers.delta_log import (
    AddedFile,
    ConflictError,
    TableVersion,
    carries,
    commit,
    file_stem,
    make_table,
    open_table,
    partition_folder,
    token_mark,
)
from io_managers.delta_places import UnsettledError
from io_managers.delta_types import (
    check_storable,
    delta_schema,
    encoded,
    noted_schema,
    stored_schema,
    typed_part,
)
from io_managers.fingerprint import SLOT
from io_managers.merging import ROW, merged_receipt, plan_merge
from io_managers.parquet_layout import footer_fields
from io_managers.parquet_rows import batches_of, write_file
from io_managers.refusals import fenced
from io_managers.schemas import conformed, conformed_table, joined_schema
from io_managers.staging import StagedRows, own_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from assets_core.model.io_manager import Staged, StageRequest, Target
    from io_managers.delta_files import DeltaFiles
    from io_managers.merging import MergePlan
    from io_managers.workbench import Workbench

    Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

_ATTEMPTS = 100
"""Each time another process commits in between, a publish begins anew; this often is no accident any more."""


@dataclass(frozen=True, slots=True)
class StagedDelta:
    """Staged content: one complete file per slice, in order. A merge has none: its `rows` wait to be merged."""

    rows: StagedRows | None
    schema: pa.Schema
    paths: tuple[str, ...]
    receipts: tuple[WriteReceipt, ...]


@dataclass(frozen=True, slots=True)
class _Draft:
    """What the table will be: `schema` of its rows, the path of each partition's file, and who wrote what anew."""

    schema: pa.Schema
    files: Mapping[str, tuple[str, ...]]
    changed: frozenset[str] = frozenset()
    epochs: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def with_file(self, key: str, path: str) -> _Draft:
        return replace(self, files={**self.files, key: (path,)}, changed=self.changed | {key})


def staged_delta(staged: Staged) -> StagedDelta:
    """The content of a Staged of ours. Raises InternalError if another IO manager staged it."""
    if not isinstance(staged.content, StagedDelta):
        raise InternalError(f"rows of {staged.request.target.asset} were staged elsewhere")
    return staged.content


class DeltaWriter:
    """Stages below the root's stage and publishes to the tables below the root."""

    def __init__(self, files: DeltaFiles, bench: Workbench) -> None:
        self._files = files
        self._bench = bench

    def write_staged(self, request: StageRequest, rows: StagedRows) -> StagedDelta:
        """Write each partition's file to the stage. Raises DataError, IOManagerError."""
        check_storable(request.target.asset, rows.schema)
        receipts = tuple(
            WriteReceipt(one.id, facts.rows, facts.bytes, facts.data_version, rows.schema_hash)
            for one, facts in zip(request.slices, rows.facts, strict=True)
        )
        if isinstance(request.target.write, Merge):
            return StagedDelta(rows, rows.schema, (), receipts)
        paths = []
        for one, receipt, batches in zip(request.slices, receipts, rows.by_slice(), strict=True):
            fields = footer_fields(request, one, receipt)
            paths.append(self._written(request, rows.schema, batches, fields))
            failpoint("stage.written")
        return StagedDelta(None, rows.schema, tuple(paths), receipts)

    def publish(self, asset: str, members: Sequence[Staged]) -> list[Published | PublishFailed]:
        """Publish steps of one asset in one commit; one answer per member."""
        target = members[0].request.target
        made: set[str] = (
            set()
        )  # names of files that were put into the table's folder, and no version has
        try:
            for _ in range(_ATTEMPTS):
                try:
                    return self._try(asset, target, members, made)
                except ConflictError:
                    continue
        except UnsettledError:
            made.clear()  # the commit that names them may still come to show
            raise
        finally:
            self._files.drop(asset, made)
        raise IOManagerError(
            f"{self._files.table(asset)} can't be written: other processes committed {_ATTEMPTS} times meanwhile",
            hint="run it again when fewer programs write to this table",
        )

    def _try(
        self, asset: str, target: Target, members: Sequence[Staged], made: set[str]
    ) -> list[Published | PublishFailed]:
        place, folder = self._files.place, self._files.table(asset)
        there = open_table(place, folder)
        if there is not None and there.partitioned != target.partitioned:
            raise IOManagerError(
                f"{folder} was written {'with' if there.partitioned else 'without'} partitions, and {asset} has {'them' if target.partitioned else 'none'} now",
                hint=f"begin anew with: partita state restart {asset}",
            )
        draft = _Draft(_schema_of(there), _paths_of(there))
        answers: list[Published | PublishFailed] = []
        for member in members:
            try:
                draft, answer = self._step(there, draft, member)
            except PartitaError as error:
                answer = PublishFailed(error.message, error.hint, code=error.code)
            answers.append(answer)
        if not draft.epochs:
            return answers
        if there is None:
            start = delta_schema(draft.schema, partitioned=target.partitioned)
            make_table(place, folder, asset, start, partitioned=target.partitioned)
            there = open_table(place, folder)
            if there is None or there.files:
                raise ConflictError(folder)
        draft = self._fitted(there, draft, members[0].request)
        added = {
            key: [self._put(path, folder, key, made) for path in draft.files[key]]
            for key in draft.changed
        }
        schema = delta_schema(draft.schema, partitioned=target.partitioned)
        commit(there, schema, added, draft.epochs)
        made.difference_update(one.name for files in added.values() for one in files)
        return answers

    def _put(self, path: str, folder: str, key: str, made: set[str]) -> AddedFile:
        """Put a staged file into the table's folder, where nobody looks for it before the commit."""
        import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

        name = f"{partition_folder(key)}/{Path(path).name}" if key else Path(path).name
        if name not in made:  # by an earlier try
            made.add(name)
            self._files.place.put(path, folder, name)
        rows = pq.read_metadata(path).num_rows
        return AddedFile(name, os.stat(path).st_size, rows)  # noqa: PTH116 - once per partition

    def _step(
        self, there: TableVersion | None, draft: _Draft, member: Staged
    ) -> tuple[_Draft, Published | PublishFailed]:
        request = member.request
        keys = [one.key for one in request.slices]
        live = [self._live(draft, key, request.token) for key in keys]
        if all(path is not None for path in live):
            return draft, Published(tuple(self._files.receipt(p) for p in live if p is not None))
        for key in keys:
            epoch, token = draft.epochs.get(key, (None, None))
            if epoch is None and there is not None:
                epoch = there.fence(key)
            if epoch is not None and epoch >= request.epoch:
                newer = token or self._writer_of(draft.files.get(key, ()))
                return draft, fenced(request.target.asset, key, newer)
        content = staged_delta(member)
        schema = self._joined(draft, content.schema, request.target)
        if content.rows is None:
            receipts = content.receipts
            after = draft
            for key, path in zip(keys, content.paths, strict=True):
                after = after.with_file(key, path)
        else:
            after, receipts = self._merged(draft, request, content.rows, schema)
        told = tuple(
            replace(receipt, bytes=os.stat(after.files[key][0]).st_size)  # noqa: PTH116 - once per partition
            for key, receipt in zip(keys, receipts, strict=True)
        )
        epochs = {**after.epochs, **dict.fromkeys(keys, (request.epoch, request.token))}
        return replace(after, schema=schema, epochs=epochs), Published(told)

    def _writer_of(self, paths: Sequence[str]) -> str | None:
        """The token of who wrote a partition; None if other programs have changed what it was."""
        try:
            (path,) = paths
            return self._files.footer(path).token
        except (ValueError, IOManagerError):
            return None

    def _live(self, draft: _Draft, key: str, token: str) -> str | None:
        paths = draft.files.get(key, ())
        return paths[0] if len(paths) == 1 and carries(Path(paths[0]).name, token) else None

    def _joined(self, draft: _Draft, new: pa.Schema, target: Target) -> pa.Schema:
        if not target.partitioned and not isinstance(target.write, Merge):
            return typed_part(new)
        joined = joined_schema(draft.schema, typed_part(new), target)
        check_storable(target.asset, joined)
        return joined

    def _fitted(self, there: TableVersion, draft: _Draft, request: StageRequest) -> _Draft:
        """The draft with every file anew that has a column under another type or spelling than the table."""
        before, after = stored_schema(_schema_of(there)), stored_schema(draft.schema)
        alters = any(one.name not in after.names or after.field(one.name) != one for one in before)
        for key in draft.files if alters else draft.changed:
            for path in draft.files[key]:
                schema = self._files.schema(path)
                fitting = _as_in(draft.schema, schema)
                if stored_schema(fitting) != stored_schema(schema):
                    fresh = self._again(request, path, fitting, self._rows(path, fitting))
                    draft = draft.with_file(key, fresh)
        return draft

    def _merged(
        self, draft: _Draft, request: StageRequest, rows: StagedRows, schema: pa.Schema
    ) -> tuple[_Draft, tuple[WriteReceipt, ...]]:
        """Merge into all partitions, or each into its own. Files of the request's partitions are written anew, others where rows leave them."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        write = request.target.write
        if not isinstance(write, Merge):
            raise InternalError(f"{request.target.asset} does not merge")
        columns = self._columns(draft, rows.schema, schema)
        staged, own = rows.open(), [one.key for one in request.slices]
        visible = rows.visible()
        slots = staged.column(SLOT).to_numpy() if SLOT in staged.column_names else None
        positions = np.zeros(staged.num_rows, dtype=np.int32) if slots is None else slots
        if write.scope is MergeScope.TABLE:
            parts = [(list(draft.files), np.ones(staged.num_rows, dtype=bool))]
        else:
            parts = [
                ([one] if one in draft.files else [], positions == i) for i, one in enumerate(own)
            ]
        gone: dict[str, Mask] = {}
        written, changed = (np.zeros(staged.num_rows, dtype=bool) for _ in range(2))
        for owners, mine in parts:
            if not mine.any():
                continue
            plan = self._plan(
                draft, write, owners, visible.filter(pa.array(mine)), columns, gone=gone
            )
            written[mine], changed[mine] = plan.written, plan.changed
        receipts, after = [], draft
        for key in sorted({*own, *(key for key, mask in gone.items() if mask.any())}):
            paths = draft.files.get(key, ())
            if key in own:
                position = own.index(key)
                receipt = merged_receipt(
                    request.slices[position].id,
                    rows,
                    position,
                    request.token,
                    self._files.receipt(paths[0]) if paths else None,
                    changed=bool(changed[positions == position].any()),
                )
                receipts.append((position, receipt))
                arriving = visible.filter(pa.array(written & (positions == position)))
                batches = self._remaining(paths, columns, gone.get(key), arriving)
                fields = footer_fields(request, request.slices[position], receipt)
                fresh = self._written(request, columns, batches, fields)
            else:
                batches = self._remaining(paths, columns, gone[key], visible.slice(0, 0))
                fresh = self._again(request, paths[0], columns, batches)
            after = after.with_file(key, fresh)
        return after, tuple(receipt for _, receipt in sorted(receipts, key=lambda one: one[0]))

    def _columns(self, draft: _Draft, new: pa.Schema, schema: pa.Schema) -> pa.Schema:
        """All columns of merged files: the table's, and those that have no type yet."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        known = {one.casefold() for one in schema.names}
        untyped = [one for one in new if one.name.casefold() not in known]
        known |= {one.name.casefold() for one in untyped}
        for paths in draft.files.values():
            for path in paths:
                for one in self._files.schema(path):
                    if one.name.casefold() not in known:
                        known.add(one.name.casefold())
                        untyped.append(one)
        return pa.schema([*schema, *untyped])

    def _plan(
        self,
        draft: _Draft,
        write: Merge,
        owners: Sequence[str],
        staged: pa.Table,
        columns: pa.Schema,
        *,
        gone: dict[str, Mask],
    ) -> MergePlan:
        """What the merge into these partitions changes; `gone` gets a mask over the old rows of each."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        counts: list[int] = []

        def numbered() -> Iterator[pa.RecordBatch]:
            start = 0
            for key in owners:
                first = start
                for path in draft.files[key]:
                    for batch in self._rows(path, columns):
                        numbers = np.arange(start, start + batch.num_rows, dtype=np.int64)
                        yield batch.append_column(ROW, pa.array(numbers))
                        start += batch.num_rows
                counts.append(start - first)

        old = None
        if owners:
            with_row = columns.append(pa.field(ROW, pa.int64()))
            old = pa.RecordBatchReader.from_batches(with_row, numbered())
        plan = plan_merge(self._bench, write, staged, old, columns.names)
        leaves = np.zeros(sum(counts), dtype=bool)
        leaves[plan.gone] = True
        start = 0
        for key, count in zip(owners, counts, strict=True):
            gone[key] = leaves[start : start + count]
            start += count
        return plan

    def _remaining(
        self,
        paths: Sequence[str],
        columns: pa.Schema,
        gone: Mask | None,
        arriving: pa.Table,
    ) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        start = 0
        for path in paths:
            for batch in self._rows(path, columns):
                here = None if gone is None else gone[start : start + batch.num_rows]
                start += batch.num_rows
                yield batch if here is None or not here.any() else batch.filter(pa.array(~here))
        yield from conformed_table(arriving, columns).to_batches()

    def _rows(self, path: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        return batches_of(self._files.place, [path], schema)

    def _written(
        self,
        request: StageRequest,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        fields: Mapping[str, str],
    ) -> str:
        """A new file of an attempt in its stage, under the types that Delta has."""
        stem = file_stem(request.epoch, request.token)
        folder = self._files.staging(request.token)
        return self._write(f"{folder}{os.sep}{own_name(stem, 'parquet')}", schema, batches, fields)

    def _again(
        self,
        request: StageRequest,
        old: str,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
    ) -> str:
        """A file in place of an old one, whose attempt it still tells; the name tells by whom it was written, too."""
        fields = self._files.fields(old)
        stem = file_stem(int(fields["partita.epoch"]), fields["partita.token"])
        name = own_name(f"{stem}-{token_mark(request.token)}", "parquet")
        folder = self._files.staging(request.token)
        return self._write(f"{folder}{os.sep}{name}", schema, batches, fields)

    def _write(
        self,
        path: str,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        fields: Mapping[str, str],
    ) -> str:
        stored = stored_schema(schema)
        told = {**fields, SCHEMA: encoded(schema)}
        write_file(path, stored, (conformed(one, stored) for one in batches), told)
        return path


def _schema_of(there: TableVersion | None) -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.schema([]) if there is None else noted_schema(there.table.schema())


def _paths_of(there: TableVersion | None) -> dict[str, tuple[str, ...]]:
    if there is None:
        return {}
    return {key: tuple(map(there.path, names)) for key, names in there.files.items()}


def _as_in(table: pa.Schema, schema: pa.Schema) -> pa.Schema:
    """The columns of a file with the names and types that the table has."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    known = {one.name.casefold(): one for one in table}
    return pa.schema([known.get(one.name.casefold(), one) for one in schema])
