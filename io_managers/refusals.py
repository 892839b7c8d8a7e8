"""What all destinations say alike: what they don't offer, an attempt that came too late, a fault of the place itself.

Loaded with every manager, so nothing heavy is imported here before it is needed.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from assets_core.model.errors import IOManagerError, PartitaError
from assets_core.model.io_manager import PublishFailed
from assets_core.model.specs import Append

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from assets_core.model.io_manager import Target


def append_needs_partitions(target: Target) -> str | None:
    """The reason why an unpartitioned asset can't append, whatever the destination; None if that's not what it does."""
    if isinstance(target.write, Append) and not target.partitioned:
        return (
            "Append needs partitions: without them nothing tells one load from another, and a re-run would add its rows again;"
            " use Replace, or Merge with keys"
        )
    return None


def fenced(asset: str, key: str, newer: str | None) -> PublishFailed:
    """The refusal of an attempt that a newer one has overtaken in a partition; `newer` is the commit token of that, if it is known."""
    what = f"{asset} {key}".rstrip()
    return PublishFailed(
        f"{what} was published by a newer attempt, so this one came too late and changed nothing",
        hint="nothing to do: partita status",
        fenced=True,
        overtaken_by=newer,
    )


@contextmanager
def reading_from(place: str) -> Iterator[None]:
    """Whatever DuckDB, Arrow or the system raise in the block becomes an IOManagerError that names `place` and the cause.

    >>> with reading_from("lake/orders"):
    ...     raise OSError(5, "Input/output error")
    Traceback (most recent call last):
    assets_core.model.errors.IOManagerError: lake/orders can't be read: Input/output error
    """
    try:
        yield
    except Exception as error:
        if not _is_a_fault(error):
            raise
        raise IOManagerError(
            f"{place} can't be read: {first_line(error)}",
            hint="if it is damaged, remove it and materialize what it held again",
        ) from error


@contextmanager
def users_own(who: str, what: str) -> Iterator[None]:
    """Whatever a user's part of an IO manager raises in the block becomes an IOManagerError that names it, with the frames that are theirs.

    >>> with users_own("Shelf.load", "orders can't be read"):
    ...     raise KeyError("orders")
    Traceback (most recent call last):
    assets_core.model.errors.IOManagerError: orders can't be read: Shelf.load raised KeyError: 'orders'
    """
    try:
        yield
    except PartitaError:
        raise
    except Exception as error:
        from assets_core.execution.outputs import user_frames  # noqa: PLC0415 - errors are rare

        told = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise IOManagerError(f"{what}: {who} raised {told}", frames=user_frames(error)) from error


def stream_from(place: str, stream: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """The same stream; what goes wrong while it is read becomes an IOManagerError that names `place`."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.RecordBatchReader.from_batches(stream.schema, _guarded(place, stream))


def first_line(error: Exception) -> str:
    """The first line of an error's text: DuckDB adds stacks, the system its number."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().split("\n", 1)[0]


def _guarded(place: str, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with reading_from(place):
        yield from batches


def _is_a_fault(error: Exception) -> bool:
    import duckdb  # noqa: PLC0415 - heavy
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return isinstance(error, (OSError, duckdb.Error, pa.ArrowException))
