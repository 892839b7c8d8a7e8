"""Reading and writing single Parquet files in batches; what they hold and where they lie is decided elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from assets_core.model.errors import IOManagerError
from io_managers.merging import ROW
from io_managers.parquet_layout import unreadable
from io_managers.parquet_seal import FIELD, UNSEALED, checked_metadata, seal
from io_managers.schemas import conformed
from io_managers.workbench import BATCH_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from assets_core.model.io_manager import PartitionSlice, Target
    from io_managers.parquet_places import Opens

    Keep = Callable[[pa.NativeFile], None]

_PLACEHOLDER = "_partition"
"""The column of a file whose rows have none: Parquet readers stumble over a file without columns."""


def write_file(
    path: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch], fields: dict[str, str]
) -> None:
    """Write one complete file and sync it: zstd, row groups of 122,880, a checksum on each page."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    if not schema.names:
        schema, batches = pa.schema({_PLACEHOLDER: pa.string()}), iter(())
    try:
        with pq.ParquetWriter(
            path, schema, compression="zstd", write_page_checksum=True
        ) as writer:
            for table in _row_groups(batches, schema):
                writer.write_table(table, row_group_size=BATCH_ROWS)
            writer.add_key_value_metadata(
                {
                    name: value.encode("utf-8", "surrogatepass")
                    for name, value in {**fields, FIELD: UNSEALED}.items()
                }
            )
        seal(path)
        sync(path)
    except OSError as error:
        raise IOManagerError(f"{path} can't be written: {error.strerror or error}") from error


def _row_groups(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows in tables of 122,880 but for the last: small batches are joined, so that row groups are full."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            piece = batch.slice(start, BATCH_ROWS - rows)
            waiting.append(piece)
            rows += piece.num_rows
            start += piece.num_rows
            if rows == BATCH_ROWS:
                yield pa.Table.from_batches(waiting, schema=schema)
                waiting, rows = [], 0
    if rows:
        yield pa.Table.from_batches(waiting, schema=schema)


def schema_of(
    place: Opens, path: str, target: Target, one: PartitionSlice, keep: Keep | None = None
) -> pa.Schema:
    """The columns of a partition's file. Raises IOManagerError if there is none, or it can't be read."""
    try:
        return schema_at(place, path, keep)
    except FileNotFoundError:
        shown = f" partition {one.key}" if one.key else ""
        raise IOManagerError(
            f"{target.asset}{shown} is not there: no file {path}", hint="materialize it first"
        ) from None


def schema_at(place: Opens, path: str, keep: Keep | None = None) -> pa.Schema:
    """The columns of a file, which is closed afterwards or handed to `keep`. Raises FileNotFoundError, IOManagerError if it can't be read."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    try:
        source = place.open(path)
        try:
            schema = checked_metadata(source).schema.to_arrow_schema().remove_metadata()
        except BaseException:
            source.close()
            raise
        if keep is None:
            source.close()
        else:
            keep(source)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error
    if schema.names == [_PLACEHOLDER]:
        return pa.schema([])
    return schema


def batches_of(place: Opens, paths: Sequence[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of some files, one after the other, with exactly the columns of `schema`."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    for path in paths:
        try:
            # Without pre_buffer=False pyarrow keeps every column chunk of the file until the last batch is read.
            with (
                place.open(path) as source,
                pq.ParquetFile(
                    source,
                    metadata=checked_metadata(source),
                    page_checksum_verification=True,
                    pre_buffer=False,
                ) as file,
            ):
                here = file.schema_arrow
                if here.names == [_PLACEHOLDER]:
                    continue
                # Names that differ by case from what other partitions call the column are the same column.
                wanted = {name.casefold() for name in schema.names}
                columns = [name for name in here.names if name.casefold() in wanted]
                for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                    yield conformed(batch.replace_schema_metadata(None), schema)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(path, error) from error


def numbered(place: Opens, path: str, schema: pa.Schema) -> pa.RecordBatchReader:
    """The rows of a file with their numbers in a `_partita_row` column."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in batches_of(place, [path], schema):
            numbers = pa.array(np.arange(start, start + batch.num_rows, dtype=np.int64))
            yield batch.append_column(ROW, numbers)
            start += batch.num_rows

    return pa.RecordBatchReader.from_batches(schema.append(pa.field(ROW, pa.int64())), batches())


def without(
    place: Opens, path: str, schema: pa.Schema, gone: NDArray[np.int64]
) -> Iterator[pa.RecordBatch]:
    """The rows of a file but those with the numbers in `gone`."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    start = 0
    for batch in batches_of(place, [path], schema):
        stays = ~np.isin(np.arange(start, start + batch.num_rows), gone)
        yield batch if stays.all() else batch.filter(pa.array(stays))
        start += batch.num_rows


def chained(
    old: Iterator[pa.RecordBatch], new: Sequence[pa.RecordBatch], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Old rows, which have the columns of `schema`, and then new ones, which are given them."""
    yield from old
    for batch in new:
        yield conformed(batch, schema)


def sync(path: str) -> None:
    """Wait until a file's bytes, or a folder's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
