"""Which place a root asks for: a folder, an object store with conditional writes, or whatever fsspec makes of a URL."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from assets_core.model.errors import DefinitionError
from io_managers.parquet_local import FolderPlace
from io_managers.url_secrets import shown_url

if TYPE_CHECKING:
    from io_managers.parquet_places import Place


_BUCKET = re.compile(r"[\w.$-]+", re.ASCII)
_WITHOUT_URL = re.compile(r"(s3a?|gs|az):/*", re.IGNORECASE)


def place_of(root: str | os.PathLike[str], options: Mapping[str, Any] | None) -> Place:
    """The place that a root names: a folder, `file://…`, or the URL of an object store. Raises DefinitionError."""
    given = os.fspath(root)
    shown = shown_url(given)
    scheme, mark, rest = given.partition("://")
    scheme = scheme.lower()
    if options is not None and not isinstance(options, Mapping):
        raise DefinitionError(
            f"ParquetIOManager({shown!r}): storage_options is {type(options).__name__}, not a mapping of names to values",
            hint="write storage_options={'region': 'eu-central-1'}",
        )
    if not mark and (bad := _WITHOUT_URL.match(given)):
        path = given[bad.end() :]
        raise DefinitionError(
            f"ParquetIOManager({shown!r}) is neither a folder nor a URL",
            hint=f"write it as text, with two slashes: '{bad[1].lower()}://{path}'; pathlib keeps one of them",
        )
    if not mark or scheme == "file":
        path = (unquote(rest) if mark else given).rstrip("/") or "/"
        if not given or (mark and not rest.startswith("/")):
            raise DefinitionError(
                f"ParquetIOManager({shown!r}) names no folder",
                hint="write ParquetIOManager('lake/') or ParquetIOManager('file:///data/lake')",
            )
        if options:
            raise DefinitionError(
                f"ParquetIOManager({shown!r}) takes no storage_options: it is a folder",
                hint="leave them out, or give the URL of an object store",
            )
        return FolderPlace(path)
    if not scheme or not rest.strip("/"):
        raise _no_bucket(shown)
    return _objects_at(f"{scheme}://{rest.rstrip('/')}", dict(options or {}))


def _objects_at(root: str, options: dict[str, Any]) -> Place:
    from io_managers.conditional_store import SCHEMES, ConditionalStore  # noqa: PLC0415 - folders need none of it
    from io_managers.fsspec_store import FsspecStore  # noqa: PLC0415 - same
    from io_managers.parquet_objects import ObjectPlace  # noqa: PLC0415 - same

    scheme, _, rest = root.partition("://")
    conditional = scheme in SCHEMES
    _check_path(root, rest if conditional else rest.lstrip("/"))
    if conditional:
        _check_bucket(root, rest.partition("/")[0])
    store = ConditionalStore(root, options) if conditional else FsspecStore(root, options)
    return ObjectPlace(shown_url(root), store)


def _check_bucket(root: str, bucket: str) -> None:
    if not bucket:
        raise _no_bucket(root)
    if "@" in bucket:
        raise DefinitionError(
            f"ParquetIOManager({shown_url(root)!r}) has credentials in its URL, where its client does not look for them",
            hint="leave them out of the URL, and set the usual environment variables (docs/object-stores.md)",
        )
    if not _BUCKET.fullmatch(bucket):
        raise DefinitionError(
            f"ParquetIOManager({root!r}): {bucket!r} can't be the name of a bucket",
            hint="write ParquetIOManager('s3://bucket/prefix')",
        )


def _check_path(root: str, path: str) -> None:
    parts = path.split("/")
    # In a chain of file systems, `zip://a.zip::s3://bucket`, two slashes are no empty name.
    wrong = [part for part in parts if part in {".", ".."} or (not part and "::" not in path)]
    if wrong and path and not path.startswith("/"):
        raise DefinitionError(
            f"ParquetIOManager({shown_url(root)!r}) has {repr(wrong[0]) if wrong[0] else 'an empty name'} in its path, and an object store has no such folder",
            hint="write the path as it is: 's3://bucket/prefix'",
        )


def _no_bucket(shown: str) -> DefinitionError:
    return DefinitionError(
        f"ParquetIOManager({shown!r}) names no bucket",
        hint="write ParquetIOManager('s3://bucket/prefix')",
    )
