"""Parquet files of an asset as one dataset: a view of them that is read when it is asked, and only as far as it is asked.

A dataset may be scanned more than once, and long after it was made; files are replaced meanwhile. So the files whose footers were read
are the files that are scanned: they stay open, as far as the system lets a process have files open; the others are opened when
scanned, and refused if they are no longer the ones that were seen. Nothing is ever a mixture of two versions of a file.

What a dataset can't say without a cast or a renaming is not made into one; the caller then reads a stream.
"""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, Any

from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import PARTITION_COLUMN
from io_managers.partition_columns import has_key_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    import pyarrow.dataset as ds

    from assets_core.model.io_manager import ReadRequest


_SHARE = 8
"""One dataset keeps at most this part of the files open that a process may have open: a step has several inputs, and needs files itself."""

_MANY = 2**16


class KeptFiles:
    """The files of a dataset as they were when their footers were read. They are closed with the dataset."""

    def __init__(self) -> None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = (_MANY if limit == resource.RLIM_INFINITY else limit) // _SHARE
        self._open: dict[str, pa.NativeFile] = {}
        self._marks: dict[str, tuple[int, ...]] = {}

    def keep(self, path: str, source: pa.NativeFile) -> None:
        """Keep it open, or know it again."""
        if len(self._open) < self._most:
            self._open[_absolute(path)] = source
        else:
            self._marks[_absolute(path)] = _mark(source)
            source.close()

    def open_input_file(self, path: str) -> pa.NativeFile:
        """The file that was kept. Raises IOManagerError if it was replaced and not kept open."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        if (kept := self._open.get(path)) is not None:
            return kept  # reads name their offsets, so threads share it
        try:
            found = pa.OSFile(path)
        except (FileNotFoundError, NotADirectoryError):
            raise _replaced(path) from None
        if _mark(found) != self._marks[path]:
            found.close()
            raise _replaced(path)
        return found


def dataset_of(
    request: ReadRequest,
    kept: KeptFiles,
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
    files = _file_system(kept)
    # As for streams: without pre_buffer=False whole files are held in memory.
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True, pre_buffer=False)
    kind = ds.ParquetFileFormat(default_fragment_scan_options=options)
    fragments = [
        kind.make_fragment(
            _absolute(path),
            files,
            partition_expression=ds.field(PARTITION_COLUMN) == one.key if shows_key else None,
        )
        for path, one, schema in zip(paths, request.slices, schemas, strict=True)
        if schema.names  # a file of rows without columns holds a placeholder, and no row
    ]
    return ds.FileSystemDataset(fragments, whole, kind, files)


def _file_system(kept: KeptFiles) -> Any:  # noqa: ANN401 - pyarrow has no types for it
    """A file system of which only `open_input_file` is ever asked: fragments name their files."""
    from pyarrow import fs  # noqa: PLC0415 - heavy

    class OpenOnly(fs.FileSystemHandler):  # type: ignore[misc]  # untyped
        def open_input_file(self, path: str) -> pa.NativeFile:
            return kept.open_input_file(path)

        def get_type_name(self) -> str:
            return "partita"

        def normalize_path(self, path: str) -> str:
            return path

    # pyarrow wants every method of a file system to be there; those that nobody asks stay without.
    OpenOnly.__abstractmethods__ = frozenset()
    return fs.PyFileSystem(OpenOnly())


def _absolute(path: str) -> str:
    """A lazy frame may be collected after the current folder has changed."""
    return os.path.abspath(path)  # noqa: PTH100 - many thousands of them


def _mark(source: pa.NativeFile) -> tuple[int, ...]:
    found = os.fstat(source.fileno())
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _replaced(path: str) -> IOManagerError:
    return IOManagerError(f"{path} was replaced since it was loaded", hint="load it again")


def _is_same(field: pa.Field, wanted: pa.Field) -> bool:
    """Whether a column can be read as the wanted one without a cast; nulls without a type can."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return field.name == wanted.name and (
        field.type == wanted.type or bool(pa.types.is_null(field.type))
    )
