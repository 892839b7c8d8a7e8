"""Parquet files of an asset as one dataset: a view of them that is read when it is asked, and only as far as it is asked.

What a dataset can't say without a cast or a renaming is not made into one; the caller then reads a stream.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from assets_core.model.io_manager import PARTITION_COLUMN
from io_managers.partition_columns import has_key_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    import pyarrow.dataset as ds

    from assets_core.model.io_manager import ReadRequest


def dataset_of(
    request: ReadRequest,
    paths: Sequence[str],
    schemas: Sequence[pa.Schema],
    wanted: pa.Schema,
    *,
    with_partition: bool,
) -> ds.Dataset | None:
    """A dataset over the files of the request's partitions, which have these schemas. None if one writes a column in other case or type.

    Each file is known by its partition, so a condition on `_partition` leaves the other files closed. Checksums are verified.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.dataset as ds  # noqa: PLC0415 - heavy
    from pyarrow import fs  # noqa: PLC0415 - heavy

    by_folded = {field.name.casefold(): field for field in wanted}
    if any(
        field.name.casefold() in by_folded
        and not _is_same(field, by_folded[field.name.casefold()])
        for schema in schemas
        for field in schema
    ):
        return None
    shows_key = with_partition and has_key_column(request.target)
    whole = wanted.append(pa.field(PARTITION_COLUMN, pa.string())) if shows_key else wanted
    if not whole.names:
        return None
    local = fs.LocalFileSystem()
    # As for streams: without pre_buffer=False whole files are held in memory.
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True, pre_buffer=False)
    kind = ds.ParquetFileFormat(default_fragment_scan_options=options)
    fragments = [
        kind.make_fragment(
            # A lazy frame may be collected after the current folder has changed.
            os.path.abspath(path),  # noqa: PTH100 - many thousands of them
            local,
            partition_expression=ds.field(PARTITION_COLUMN) == one.key if shows_key else None,
        )
        for path, one, schema in zip(paths, request.slices, schemas, strict=True)
        if schema.names  # a file of rows without columns holds a placeholder, and no row
    ]
    return ds.FileSystemDataset(fragments, whole, kind, local)


def _is_same(field: pa.Field, wanted: pa.Field) -> bool:
    """Whether a column can be read as the wanted one without a cast; nulls without a type can."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return field.name == wanted.name and (
        field.type == wanted.type or bool(pa.types.is_null(field.type))
    )
