"""The IO manager port: how rows leave a step and come back. Adapters live in the `io_managers` package.

Theory of operation
-------------------
Writing has two acts. `stage` puts a step's rows where only this attempt can see them, and judges them by the write contract:
null or duplicate keys, rows outside the step's partitions, reserved columns. Staging may happen anywhere, in parallel, and
costs nothing when it is thrown away. `publish` makes staged rows visible **together with the commit token, in one atomic act**
per partition at least; a reader sees each partition whole-old or whole-new. After a crash `published` answers from the
destination alone which of a step's partitions carry its token, so that the state can be rolled forward instead of guessing.

`epoch` grows with every claim. A destination that already carries a higher epoch for a partition refuses a lower one: a
forgotten process that wakes up late changes nothing.

What can never be: rows visible without their token; a token visible without its rows; a partition half-replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from assets_core.model.errors import IOManagerError
from assets_core.model.table_schemas import SchemaPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    import pyarrow as pa
    import pyarrow.dataset as ds

    from assets_core.model.specs import PartitionBy, WriteMode
    from assets_core.model.table_schemas import TableSchema
    from partitions.time_windows import TimeWindow

PARTITION_COLUMN = "_partition"
"""Holds the partition key where no `partition_by` column tells the partitions apart; reserved, and left out of reads."""


@dataclass(frozen=True, slots=True)
class PartitionSlice:
    """One partition as an IO manager sees it.

    `key` is data, never a path or SQL; it is empty for an unpartitioned asset. `window` is in the definition's time zone and
    half-open; it is None without a time dimension. `dimensions` holds (name, key) pairs of a multi-partition, else nothing.
    """

    id: int
    key: str
    window: TimeWindow | None = None
    dimensions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """An asset as a destination for rows.

    `partition_by` names the column that tells the partitions apart (for several dimensions: (dimension, column) pairs).
    `time_kind` is the grain of the time windows (`hour`, `day`, …), None without a time dimension. `schema` has the declared columns,
    None if none are; `schema_policy` says what happens to rows that have others. `since` is where the first partition of an asset that
    keeps a history begins: what was written before belongs to partitions that are defined no more. `beside` is the asset whose
    contract keeps the rows out that go here, None for an asset's own.
    """

    asset: str
    write: WriteMode
    partitioned: bool
    partition_by: PartitionBy | None = None
    time_kind: str | None = None
    schema: TableSchema | None = None
    schema_policy: SchemaPolicy = SchemaPolicy.ADD_NULLABLE
    since: datetime | None = None
    beside: str | None = None

    @property
    def owner(self) -> str:
        """The asset that a user knows, and names to have the rows made again."""
        return self.beside or self.asset


@dataclass(frozen=True, slots=True)
class StageRequest:
    """One attempt's write: the partitions it covers (consecutive; several only with `partition_by`), its epoch and token.

    With `in_files` another process will publish: the staged rows must wait in files, and `Staged` must not hold any.
    """

    target: Target
    slices: tuple[PartitionSlice, ...]
    epoch: int
    token: str
    in_files: bool = False


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Rows of some partitions of an asset, in partition order; `columns` None means all."""

    target: Target
    slices: tuple[PartitionSlice, ...]
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Staged:
    """What `stage` leaves behind: where the rows wait. It pickles; `content` means something to its own IO manager only.

    `rows` counts them; `dropped` counts rows left out by `out_of_range="drop"`, and `dropped_columns` names columns left out by the
    schema policy `discard`.
    """

    request: StageRequest
    rows: int
    dropped: int
    content: object
    dropped_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteReceipt:
    """What became visible for one partition.

    `data_version` tells whether the partition's visible rows are others than at its last publish, so that an unchanged recomputation
    can stop the cascade. It is equal for equal rows, whatever their order. A merge is no recomputation: one that changes nothing has
    the version that the destination recorded last for that partition, one that changes something has a version of its own.
    `bytes` is the stored size where the destination knows it per partition, else the Arrow size.
    """

    partition_id: int
    rows: int
    bytes: int
    data_version: str
    schema_hash: str


@dataclass(frozen=True, slots=True)
class Published:
    """One staged step is visible: one receipt per slice, in the order of its request."""

    receipts: tuple[WriteReceipt, ...]


@dataclass(frozen=True, slots=True)
class PublishFailed:
    """One staged step was refused or could not be written; nothing of it that matters is visible.

    `fenced`: a newer epoch was there; `overtaken_by` is the commit token of that attempt then, None where it isn't known. `code` is that of the error behind it: the destination's fault, or the rows' (`data`). `frames` is
    the traceback of a user's own IO manager, if that raised.
    """

    message: str
    hint: str | None = None
    fenced: bool = False
    overtaken_by: str | None = None
    code: str = IOManagerError.code
    frames: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the state believes to be visible for one asset; the callables cost time and are called only when needed.

    `count` partitions; `slices` answers in the order of `ids`; `tokens` maps a partition id to the commit token of its last success.
    `basis` is any text that changes whenever the state's belief about this asset changes; a destination may skip comparing while it
    and the destination are as at the last comparison. Two state stores never have one `basis`.

    `patience` is how long somebody may be waited for who has the destination to himself; None: as long as for a write. Who asks can do
    without the answer, and goes on after an IOManagerError.
    """

    count: int
    ids: Callable[[], Sequence[int]]
    slices: Callable[[], Sequence[PartitionSlice]]
    tokens: Callable[[], Mapping[int, str]]
    basis: str
    patience: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that waits in a stage: of the attempt with `token`, or, if that is None, of a process that is dead.

    `changed_at` is when something was last put there, aware UTC.
    """

    path: str
    token: str | None
    bytes: int
    changed_at: datetime


class IOManager(Protocol):
    """Stores and loads the rows of assets. The conformance suite in `tests/conformance` is the executable form of this contract.

    An instance opens nothing when it is made, pickles, and is used from one thread at a time. All errors are `DataError` (the
    rows break the contract) or `IOManagerError` (the destination is to blame; the message names path or table, and the cause).
    """

    def destination(self) -> str:
        """Names the place, for messages: a database file, a folder."""
        ...

    def location(self, target: Target) -> str:
        """Names where one asset's rows are: a path, or `file: table`."""
        ...

    def supports(self, target: Target) -> str | None:
        """None if this asset can be stored here, else the reason; asked once, when the project is loaded."""
        ...

    def read(self, request: ReadRequest) -> pa.RecordBatchReader:
        """A stream of the rows of the asked partitions, without `_partition`; a partition that isn't there is an IOManagerError.

        Of no partitions there are no rows, whatever was written before; the stream has the columns that are known.
        """
        ...

    def stage(self, request: StageRequest, stream: pa.RecordBatchReader) -> Staged:
        """Take the rows in, batch by batch, and judge them. Raises DataError; leaves nothing behind if it raises."""
        ...

    def read_staged(self, staged: Staged) -> pa.RecordBatchReader:
        """The staged rows, for checks; may be called any number of times before `publish`."""
        ...

    def read_staged_slices(self, staged: Staged) -> Iterator[pa.RecordBatchReader]:
        """The staged rows of each partition of the request, in order; as often as `read_staged`. Each is read before the next is asked for."""
        ...

    def publish(self, staged: Sequence[Staged]) -> list[Published | PublishFailed]:
        """Make staged steps visible, grouped as the destination likes; one answer each, in order.

        If the group can't be published as one, its members are tried alone, so that one bad step fails alone. What was published
        is durable when this returns. Staged content is used up, whatever the answer.
        """
        ...

    def published(self, request: StageRequest) -> tuple[WriteReceipt, ...] | None:
        """Receipts of those partitions of the request that carry its token at the destination (none, some or all).

        None if the destination keeps no tokens: then nobody knows, and the partitions count as failed.
        """
        ...

    def discard(self, staged: Staged) -> None:
        """Throw staged rows away."""
        ...

    def discard_leftovers(self, token: str, target: Target) -> None:
        """Remove whatever an attempt with this token left staged; a crashed process can't do it itself."""
        ...

    def remove(self, target: Target) -> None:
        """Remove every row, file and commit of the asset for good; nothing happens if there is nothing, and nothing is made.

        The asset is then as if it had never been written, whatever its partitions were. Each partition goes whole: killed in between,
        what is not there any more is `lost`, and what is there carries its token; calling it again removes the rest. Raises
        IOManagerError if something is in the way that is not the asset's.
        """
        ...

    def lost(self, target: Target, recorded: Recorded) -> frozenset[int]:
        """Ids that the state believes visible and that the destination no longer has, or has under another token."""
        ...

    def holdings(self, target: Target) -> list[tuple[int, str]] | None:
        """Id and token of every partition of the asset that is visible, whatever a state says. Looks at all of it: not quick.

        None if the destination keeps no tokens.
        """
        ...

    def leftovers(self) -> list[Leftover]:
        """What waits in the stage for whatever reason; living processes' scratch is left out. Looks only."""
        ...

    def remove_leftover(self, leftover: Leftover) -> None:
        """Remove one of `leftovers`; fine if it is gone. Raises IOManagerError."""
        ...


@runtime_checkable
class ScansInPlace(Protocol):
    """What an IO manager has besides, if rows can be read where they lie: lazy inputs and queries then read only what they use."""

    def dataset(self, request: ReadRequest, *, with_partition: bool = False) -> ds.Dataset | None:
        """The rows that `read` would stream, as a dataset that may be scanned any number of times and reads nothing before.

        `with_partition` adds a `_partition` column if that is what tells the partitions apart. None if these rows can only be streamed.
        """
        ...


@runtime_checkable
class AdoptsTables(Protocol):
    """What an IO manager has besides, if it can be told to write to a table of the asset's name that others made."""

    def adopt(self, target: Target) -> bool:
        """Take such a table over, without touching its rows: publishing a partition then replaces those that belong to it.

        False if there is none, or if it is the asset's already. Raises IOManagerError if the asset can't be written to it.
        """
        ...
