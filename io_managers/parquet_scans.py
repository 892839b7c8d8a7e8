"""Parquet files of an asset as one dataset: a view of them that is read when it is asked, and only as far as it is asked.

A dataset may be scanned more than once, and long after it was made; files are replaced meanwhile. So the files whose footers were read
are the files that are scanned: they stay open. Where the system does not let a process have so many files open, there is no dataset. Nothing of them is Python:
Arrow's threads hold locks while they open files, and who scans may hold the interpreter's.

What a dataset can't say without a cast or a renaming is not made into one; the caller then reads a stream.
"""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from assets_core.model.io_manager import PARTITION_COLUMN
from io_managers.partition_columns import has_key_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    import pyarrow.dataset as ds

    from assets_core.model.io_manager import ReadRequest


_SPARE = 256
"""How many files a process may still open when those of a dataset are."""


def may_keep_open(count: int) -> bool:
    """Whether so many more files may be open in this process, whose limit is raised for that if the system lets it."""
    needed = len(os.listdir("/dev/fd")) + count + _SPARE  # noqa: PTH208 - names enough
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return True
    if hard != resource.RLIM_INFINITY and needed > hard:
        return False
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (OSError, ValueError):
        return False
    return True


def dataset_of(
    request: ReadRequest,
    files: Sequence[pa.NativeFile],
    schemas: Sequence[pa.Schema],
    wanted: pa.Schema,
    *,
    with_partition: bool,
) -> ds.Dataset | None:
    """A dataset over the files of the request's partitions, which have these schemas and are open until it is gone. None if one writes a column in other case or type.

    Each file is known by its partition, so a condition on `_partition` leaves the other files unread. Checksums are verified.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.dataset as ds  # noqa: PLC0415 - heavy

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
    # As for streams: without pre_buffer=False whole files are held in memory.
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True, pre_buffer=False)
    kind = ds.ParquetFileFormat(default_fragment_scan_options=options)
    fragments = [
        kind.make_fragment(
            file,
            partition_expression=ds.field(PARTITION_COLUMN) == one.key if shows_key else None,
        )
        for file, one, schema in zip(files, request.slices, schemas, strict=True)
        if schema.names  # a file of rows without columns holds a placeholder, and no row
    ]
    return ds.FileSystemDataset(fragments, whole, kind)


def _is_same(field: pa.Field, wanted: pa.Field) -> bool:
    """Whether a column can be read as the wanted one without a cast; nulls without a type can."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return field.name == wanted.name and (
        field.type == wanted.type or bool(pa.types.is_null(field.type))
    )
