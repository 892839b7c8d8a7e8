"""Assets in memory, for tests and notebooks: the same answers as on disk, gone with the process.

Rows are kept as one Arrow table per partition. Nothing here survives a crash, so nothing has to be atomic against one; epochs and
tokens are kept all the same, because runners are tested against this destination.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from assets_core.model.errors import InternalError, IOManagerError, PartitaError
from assets_core.model.io_manager import Published, PublishFailed, Staged, WriteReceipt
from assets_core.model.specs import Merge, MergeScope
from io_managers.fingerprint import SLOT
from io_managers.history import history_schema, history_table
from io_managers.merging import ROW, merged_receipt, plan_merge
from io_managers.moments import (
    Moment,
    is_asked,
    is_history,
    last_end,
    last_moment,
    moment_of,
    no_moment,
)
from io_managers.no_rows import no_rows
from io_managers.refusals import append_needs_partitions, fenced
from io_managers.schemas import conformed_table, joined_schema, readable_schema, wanted_schema
from io_managers.staging import StagedRows, staged_rows, take_in
from io_managers.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from assets_core.model.io_manager import Leftover, ReadRequest, Recorded, StageRequest, Target
    from io_managers.merging import MergePlan


@dataclass(frozen=True, slots=True)
class _Commit:
    epoch: int
    token: str
    receipt: WriteReceipt
    moment: Moment | None = None


@dataclass(slots=True)
class _Asset:
    """`schema` has every column ever written; `rows` and `commits` are by partition key ("" if unpartitioned)."""

    schema: pa.Schema
    rows: dict[str, pa.Table] = field(default_factory=dict)
    commits: dict[str, _Commit] = field(default_factory=dict)


class MemoryIOManager:
    """Keeps the rows of assets in this process.

    >>> MemoryIOManager().destination()
    'memory'
    """

    def __init__(self) -> None:
        self._assets: dict[str, _Asset] = {}
        self._bench = Workbench()

    def destination(self) -> str:
        """`memory`."""
        return "memory"

    def location(self, target: Target) -> str:
        """`memory: asset`."""
        return f"memory: {target.asset}"

    def supports(self, target: Target) -> str | None:
        """All but Append without partitions."""
        return append_needs_partitions(target)

    def read(self, request: ReadRequest) -> pa.RecordBatchReader:
        """The rows as of now; later writes don't change a stream that was handed out."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        asset = self._assets.get(request.target.asset)
        if not request.slices:
            return no_rows(request, None if asset is None else asset.schema)
        missing = [
            one.key for one in request.slices if asset is None or one.key not in asset.commits
        ]
        if asset is None or missing:
            shown = f" partition {missing[0]}" if missing and missing[0] else ""
            raise IOManagerError(
                f"{request.target.asset}{shown} is not in memory",
                hint="materialize it first, with the same MemoryIOManager",
            )
        if is_history(request.target):
            return self._history(asset, request).to_reader()
        schema = wanted_schema(request, readable_schema(request.target, asset.schema))
        tables = [conformed_table(asset.rows[one.key], schema) for one in request.slices]
        return pa.concat_tables([schema.empty_table(), *tables]).to_reader()

    def stage(self, request: StageRequest, stream: pa.RecordBatchReader) -> Staged:
        """Take the rows in. Raises DataError, and IOManagerError for a step that runs in another process."""
        if request.in_files:
            raise IOManagerError(
                f"{request.target.asset} is kept in the memory of one process, and its step runs in another",
                hint="leave -j and limits (timeout, memory) out, or store it with a DuckDBIOManager or ParquetIOManager",
            )
        rows = take_in(self._bench, request, stream, None)
        return Staged(request, rows.rows, rows.dropped, rows, rows.dropped_columns)

    def read_staged(self, staged: Staged) -> pa.RecordBatchReader:
        """The staged rows, any number of times."""
        return staged_rows(staged).visible().to_reader()

    def read_staged_slices(self, staged: Staged) -> Iterator[pa.RecordBatchReader]:
        """The staged rows of each partition, any number of times."""
        return staged_rows(staged).readers()

    def publish(self, staged: Sequence[Staged]) -> list[Published | PublishFailed]:
        """Publish each alone: there is nothing to win by a group."""
        return [self._publish_one(one) for one in staged]

    def published(self, request: StageRequest) -> tuple[WriteReceipt, ...]:
        """Receipts of the partitions that carry the token."""
        asset = self._assets.get(request.target.asset)
        commits = asset.commits if asset is not None else {}
        found = (commits.get(one.key) for one in request.slices)
        return tuple(
            commit.receipt
            for commit in found
            if commit is not None and commit.token == request.token
        )

    def discard(self, staged: Staged) -> None:
        """Nothing to do: what nobody refers to is gone."""

    def discard_leftovers(self, token: str, target: Target) -> None:
        """Nothing to do: what was staged died with its process."""

    def remove(self, target: Target) -> None:
        """Forget the asset."""
        self._assets.pop(target.asset, None)

    def lost(self, target: Target, recorded: Recorded) -> frozenset[int]:
        """Everything that this process has not written itself."""
        asset = self._assets.get(target.asset)
        if asset is None:
            return frozenset(recorded.ids())
        here = set(self.holdings(target))
        tokens = recorded.tokens()
        return frozenset(id_ for id_ in recorded.ids() if (id_, tokens.get(id_)) not in here)

    def holdings(self, target: Target) -> list[tuple[int, str]]:
        """What this process has."""
        asset = self._assets.get(target.asset)
        commits = asset.commits.values() if asset is not None else ()
        return [(commit.receipt.partition_id, commit.token) for commit in commits]

    def leftovers(self) -> list[Leftover]:
        """None."""
        return []

    def remove_leftover(self, leftover: Leftover) -> None:
        """Nothing to do."""

    def _history(self, asset: _Asset, request: ReadRequest) -> pa.Table:
        target = request.target
        schema = readable_schema(target, asset.schema)
        wanted = wanted_schema(request, history_schema(target, schema))
        events, moments = [], []
        last = last_moment(target, request.slices)
        for key, commit in asset.commits.items():
            if commit.moment is None:
                raise no_moment(target.asset, key)
            if is_asked(target, commit.moment.at, last):
                moments.append(commit.moment)
                events.append(conformed_table(asset.rows[key], schema))
        if not moments:
            return wanted.empty_table()
        return conformed_table(
            history_table(self._bench, target, events, moments, last_end(request.slices)), wanted
        )

    def _publish_one(self, staged: Staged) -> Published | PublishFailed:
        request, rows = staged.request, staged_rows(staged)
        asset = self._assets.get(request.target.asset) or _Asset(rows.schema)
        commits = [asset.commits.get(one.key) for one in request.slices]
        if all(commit is not None and commit.token == request.token for commit in commits):
            return Published(tuple(commit.receipt for commit in commits if commit is not None))
        for one, commit in zip(request.slices, commits, strict=True):
            if commit is not None and commit.epoch >= request.epoch:
                return fenced(request.target.asset, one.key, commit.token)
        try:
            receipts = self._write(asset, request, rows)
        except PartitaError as error:
            return PublishFailed(error.message, error.hint, code=error.code)
        self._assets[request.target.asset] = asset
        for one, receipt in zip(request.slices, receipts, strict=True):
            asset.commits[one.key] = _Commit(
                request.epoch,
                request.token,
                receipt,
                moment_of(request) if is_history(request.target) else None,
            )
        return Published(receipts)

    def _write(
        self, asset: _Asset, request: StageRequest, rows: StagedRows
    ) -> tuple[WriteReceipt, ...]:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        target = request.target
        merges = isinstance(target.write, Merge)
        swaps = not target.partitioned and not merges
        schema = rows.schema if swaps else joined_schema(asset.schema, rows.schema, target)
        written = self._merge(asset, request, rows, schema) if merges else None
        receipts = []
        for position, (one, batches) in enumerate(
            zip(request.slices, rows.by_slice(), strict=True)
        ):
            facts, previous = rows.facts[position], asset.commits.get(one.key)
            if written is None:
                asset.rows[one.key] = pa.Table.from_batches(batches, schema=rows.schema)
            receipts.append(
                WriteReceipt(one.id, facts.rows, facts.bytes, facts.data_version, rows.schema_hash)
                if written is None
                else merged_receipt(
                    one.id,
                    rows,
                    position,
                    request.token,
                    previous.receipt if previous is not None else None,
                    changed=position in written,
                )
            )
        asset.schema = schema
        return tuple(receipts)

    def _merge(
        self, asset: _Asset, request: StageRequest, rows: StagedRows, schema: pa.Schema
    ) -> frozenset[int]:
        """Merge into all partitions, or each into its own; answers the positions of the slices that brought a change."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        write = request.target.write
        if not isinstance(write, Merge):
            raise InternalError(f"{request.target.asset} does not merge")
        for one in request.slices:
            asset.rows.setdefault(one.key, schema.empty_table())
        staged = rows.open()
        if staged.num_rows == 0:
            return frozenset()
        slots = staged.column(SLOT).to_numpy() if SLOT in staged.column_names else None
        positions = np.zeros(staged.num_rows, dtype=np.int32) if slots is None else slots
        if write.scope is MergeScope.TABLE:
            parts = [(list(asset.rows), np.ones(staged.num_rows, dtype=bool))]
        else:
            parts = [([one.key], positions == i) for i, one in enumerate(request.slices)]
        changed: set[int] = set()
        for owners, mine in parts:
            plan = self._merge_into(
                asset, write, owners, rows.visible().filter(pa.array(mine)), schema
            )
            here = positions[mine]
            changed |= set(here[plan.changed].tolist())
            new = rows.visible().filter(pa.array(mine)).filter(pa.array(plan.written))
            for position in np.unique(here[plan.written]).tolist():
                key = request.slices[position].key
                arriving = new.filter(pa.array(here[plan.written] == position))
                kept = conformed_table(asset.rows[key], schema)
                asset.rows[key] = pa.concat_tables([kept, conformed_table(arriving, schema)])
        return frozenset(changed)

    def _merge_into(
        self,
        asset: _Asset,
        write: Merge,
        owners: Sequence[str],
        staged: pa.Table,
        schema: pa.Schema,
    ) -> MergePlan:
        """Take what is replaced away from the rows of these partitions."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        old = pa.concat_tables([conformed_table(asset.rows[key], schema) for key in owners])
        numbered = old.append_column(ROW, pa.array(np.arange(old.num_rows)))
        plan = plan_merge(self._bench, write, staged, numbered.to_reader(), schema.names)
        stays = np.ones(old.num_rows, dtype=bool)
        stays[plan.gone] = False
        start = 0
        for key in owners:
            here = asset.rows[key]
            asset.rows[key] = here.filter(pa.array(stays[start : start + here.num_rows]))
            start += here.num_rows
        return plan
