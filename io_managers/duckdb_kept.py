"""Rows taken out of a DuckDB file before it is closed, so that a stream that is handed out depends on no lock and no connection."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets_core.model.errors import IOManagerError
from io_managers.refusals import first_line, stream_from
from io_managers.workbench import SPILL_BYTES, scratch_prefix

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import pyarrow as pa


def kept(
    readers: Generator[pa.RecordBatchReader, None, None], folder: str
) -> pa.RecordBatchReader:
    """All rows, independent of the connection: in memory, or above 64 MB in a file in `folder` that has no name any more."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    with closing(_batches(readers)) as found:
        schema = next(found)
        batches: list[pa.RecordBatch] = []
        size = 0
        for batch in found:
            batches.append(batch)
            size += batch.nbytes
            if size > SPILL_BYTES:
                return _spilled(schema, batches, found, folder)
    return pa.RecordBatchReader.from_batches(schema, batches)


def _batches(readers: Generator[pa.RecordBatchReader, None, None]) -> Generator[Any, None, None]:
    """The schema first, then all batches; closing this closes the reader that is open, which closes DuckDB's result."""
    with closing(readers) as all_readers:
        first = True
        for reader in all_readers:
            if first:
                yield reader.schema
                first = False
            yield from reader


def _spilled(
    schema: pa.Schema,
    batches: list[pa.RecordBatch],
    rest: Iterator[pa.RecordBatch],
    folder: str,
) -> pa.RecordBatchReader:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    descriptor, path = _scratch_file(folder)
    os.close(descriptor)
    try:
        with pa.ipc.new_stream(path, schema) as writer:
            while batches:
                writer.write_batch(batches.pop(0))
            for batch in rest:
                writer.write_batch(batch)
        return stream_from(path, pa.ipc.open_stream(pa.OSFile(path)))
    except OSError as error:
        raise IOManagerError(f"rows can't be kept in {path}: {first_line(error)}") from error
    finally:
        # The open file stays readable without its name, and is gone with its last reader, however this process ends.
        Path(path).unlink()


def _scratch_file(folder: str) -> tuple[int, str]:
    """A new file in `folder`, or where the system puts such files if that can't be written (the database may be read-only)."""
    try:
        Path(folder).mkdir(exist_ok=True)
        return tempfile.mkstemp(suffix=".arrow", prefix=scratch_prefix(), dir=folder)
    except OSError:
        return tempfile.mkstemp(suffix=".arrow", prefix=scratch_prefix())
