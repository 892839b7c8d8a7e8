"""Which place a root asks for: a folder, an object store with conditional writes, or whatever fsspec makes of a URL."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from assets_core.model.errors import DefinitionError
from io_managers.parquet_local import FolderPlace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from io_managers.parquet_places import Place


def place_of(root: str | os.PathLike[str], options: Mapping[str, Any] | None) -> Place:
    """The place that a root names: a folder, `file://…`, or the URL of an object store. Raises DefinitionError."""
    given = os.fspath(root)
    scheme, mark, rest = given.partition("://")
    if not mark or scheme == "file":
        path = (unquote(rest) if mark else given).rstrip("/") or "/"
        if not given or (mark and not rest.startswith("/")):
            raise DefinitionError(
                f"ParquetIOManager({given!r}) names no folder",
                hint="write ParquetIOManager('lake/') or ParquetIOManager('file:///data/lake')",
            )
        if options:
            raise DefinitionError(
                f"ParquetIOManager({given!r}) takes no storage_options: it is a folder",
                hint="leave them out, or give the URL of an object store",
            )
        return FolderPlace(path)
    if not scheme or not rest.strip("/"):
        raise DefinitionError(
            f"ParquetIOManager({given!r}) names no bucket",
            hint="write ParquetIOManager('s3://bucket/prefix')",
        )
    return _objects_at(given.rstrip("/"), dict(options or {}))


def _objects_at(root: str, options: dict[str, Any]) -> Place:
    from io_managers.conditional_store import SCHEMES, ConditionalStore  # noqa: PLC0415 - folders need none of it
    from io_managers.fsspec_store import FsspecStore  # noqa: PLC0415 - same
    from io_managers.parquet_objects import ObjectPlace  # noqa: PLC0415 - same

    conditional = root.partition("://")[0] in SCHEMES
    store = ConditionalStore(root, options) if conditional else FsspecStore(root, options)
    return ObjectPlace(root, store)
