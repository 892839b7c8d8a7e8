"""Which place a root asks for: a folder, an object store with conditional writes, or whatever fsspec makes of a URL."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from assets_core.model.errors import DefinitionError
from io_managers.parquet_local import FolderPlace
from io_managers.url_secrets import shown_url

if TYPE_CHECKING:
    from io_managers.parquet_places import Place


_BUCKET = re.compile(r"[\w.$-]+", re.ASCII)
_WITHOUT_URL = re.compile(r"(s3a?|gs|az):/*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Root:
    """A root that may be right: the path of a folder, or the URL of a store without a slash at its end."""

    path: str
    is_folder: bool

    @property
    def scheme(self) -> str:
        """Of a URL; in small letters."""
        return self.path.partition("://")[0]


def place_of(root: str | os.PathLike[str], options: Mapping[str, Any] | None) -> Place:
    """The place that the root of a `ParquetIOManager` names. Raises DefinitionError."""
    found = root_of(root, options, "ParquetIOManager")
    if found.is_folder:
        return FolderPlace(found.path)
    from io_managers.conditional_store import SCHEMES, ConditionalStore  # noqa: PLC0415 - folders need none of it
    from io_managers.fsspec_store import FsspecStore  # noqa: PLC0415 - same
    from io_managers.parquet_objects import ObjectPlace  # noqa: PLC0415 - same

    told = dict(options or {})
    conditional = found.scheme in SCHEMES
    store = ConditionalStore(found.path, told) if conditional else FsspecStore(found.path, told)
    return ObjectPlace(shown_url(found.path), store)


def root_of(root: str | os.PathLike[str], options: Mapping[str, Any] | None, owner: str) -> Root:
    """What the root of an IO manager of the class `owner` names. Raises DefinitionError if it can't be right."""
    given = os.fspath(root)
    call = f"{owner}({shown_url(given)!r})"
    scheme, mark, rest = given.partition("://")
    scheme = scheme.lower()
    if options is not None and not isinstance(options, Mapping):
        raise DefinitionError(
            f"{call}: storage_options is {type(options).__name__}, not a mapping of names to values",
            hint="write storage_options={'region': 'eu-central-1'}",
        )
    if not mark and (bad := _WITHOUT_URL.match(given)):
        path = given[bad.end() :]
        raise DefinitionError(
            f"{call} is neither a folder nor a URL",
            hint=f"write it as text, with two slashes: '{bad[1].lower()}://{path}'; pathlib keeps one of them",
        )
    if not mark or scheme == "file":
        if not given or (mark and not rest.startswith("/")):
            raise DefinitionError(
                f"{call} names no folder",
                hint=f"write {owner}('lake/') or {owner}('file:///data/lake')",
            )
        if options:
            raise DefinitionError(
                f"{call} takes no storage_options: it is a folder",
                hint="leave them out, or give the URL of an object store",
            )
        return Root((unquote(rest) if mark else given).rstrip("/") or "/", is_folder=True)
    if not scheme or not rest.strip("/"):
        raise _no_bucket(call, owner)
    found = Root(f"{scheme}://{rest.rstrip('/')}", is_folder=False)
    _check_url(found, owner)
    return found


def _check_url(root: Root, owner: str) -> None:
    from io_managers.conditional_store import SCHEMES  # noqa: PLC0415 - folders need none of it

    call, rest = f"{owner}({shown_url(root.path)!r})", root.path.partition("://")[2]
    _check_path(call, rest if root.scheme in SCHEMES else rest.lstrip("/"))
    if root.scheme in SCHEMES:
        _check_bucket(call, owner, rest.partition("/")[0])


def _check_bucket(call: str, owner: str, bucket: str) -> None:
    if not bucket:
        raise _no_bucket(call, owner)
    if "@" in bucket:
        raise DefinitionError(
            f"{call} has credentials in its URL, where its client does not look for them",
            hint="leave them out of the URL, and set the usual environment variables (docs/object-stores.md)",
        )
    if not _BUCKET.fullmatch(bucket):
        raise DefinitionError(
            f"{call}: {bucket!r} can't be the name of a bucket",
            hint=f"write {owner}('s3://bucket/prefix')",
        )


def _check_path(call: str, path: str) -> None:
    parts = path.split("/")
    # In a chain of file systems, `zip://a.zip::s3://bucket`, two slashes are no empty name.
    wrong = [part for part in parts if part in {".", ".."} or (not part and "::" not in path)]
    if wrong and path and not path.startswith("/"):
        raise DefinitionError(
            f"{call} has {repr(wrong[0]) if wrong[0] else 'an empty name'} in its path, and an object store has no such folder",
            hint="write the path as it is: 's3://bucket/prefix'",
        )


def _no_bucket(call: str, owner: str) -> DefinitionError:
    return DefinitionError(f"{call} names no bucket", hint=f"write {owner}('s3://bucket/prefix')")
