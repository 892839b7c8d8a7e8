"""Every other URL that fsspec knows. Such stores have no conditional writes in common, so this keeps a weaker promise.

A file is uploaded under a name of its own and then moved: nothing half-written has the object's name. That what is there is still what
was expected is looked at right before, not in the same act: of two processes that write to one partition at one moment the later wins.
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from assets_core.model.errors import IOManagerError
from io_managers.object_store import Entry, StoreChangedError, StoreUnreachableError, Tail
from io_managers.parquet_layout import STAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class FsspecStore:
    """The files below a URL. Opens its file system at the first use; pickles as a fresh one."""

    def __init__(self, root: str, options: Mapping[str, Any]) -> None:
        self._root = root
        self._options = dict(options)
        self._opened: tuple[Any, str] | None = None
        self._process = 0

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self._root, self._options))

    def tail(self, key: str, count: int) -> Tail | None:
        """What it is, and then its last bytes."""
        with self._doing("read", key) as (system, root):
            try:
                info = system.info(f"{root}/{key}")
                size = int(info["size"])
                content = system.cat_file(f"{root}/{key}", max(0, size - count), size)
            except (FileNotFoundError, NotADirectoryError):
                return None
        return Tail(content, size, _version(info))

    def piece(self, key: str, start: int, end: int, version: str) -> bytes:
        """A range, if the version before it is the expected one."""
        with self._doing("read", key) as (system, root):
            self._expect(system, f"{root}/{key}", version)
            return bytes(system.cat_file(f"{root}/{key}", start, end))

    def put(self, key: str, source: str, expected: str | None) -> None:
        """Upload under a name in the stage, look whether what was expected is there, move."""
        with self._doing("written", key) as (system, root):
            path, waiting = f"{root}/{key}", f"{root}/{STAGE}/{secrets.token_hex(8)}"
            system.makedirs(f"{root}/{STAGE}", exist_ok=True)
            try:
                system.put_file(source, waiting)
                self._expect(system, path, expected)
                system.makedirs(path.rpartition("/")[0], exist_ok=True)
                system.mv(waiting, path)
            except BaseException:
                if system.exists(waiting):
                    system.rm_file(waiting)
                raise

    def entries(self, prefix: str) -> Iterator[Entry]:
        """By walking."""
        with self._doing("listed", prefix) as (system, root):
            folder = f"{root}/{prefix}".rstrip("/")
            system.invalidate_cache()
            found = system.find(folder, detail=True)
            for path, info in sorted(found.items()):
                yield Entry(path[len(root) + 1 :], int(info["size"]), _version(info))

    def delete(self, keys: Sequence[str]) -> None:
        """One after the other."""
        with self._doing("removed", "") as (system, root):
            for key in keys:
                if system.exists(f"{root}/{key}"):
                    system.rm_file(f"{root}/{key}")

    def _expect(self, system: Any, path: str, version: str | None) -> None:  # noqa: ANN401 - fsspec has no types
        try:
            there = _version(system.info(path))
        except (FileNotFoundError, NotADirectoryError):
            there = None
        if there != version:
            raise StoreChangedError(path)

    @contextmanager
    def _doing(self, verb: str, key: str) -> Iterator[tuple[Any, str]]:
        where = f"{self._root}/{key}".rstrip("/")
        if self._opened is None or self._process != os.getpid():
            try:
                from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra

                system, root = url_to_fs(self._root, use_listings_cache=False, **self._options)
            except ImportError as error:
                raise IOManagerError(
                    f"{self._root} needs a package: {error}",
                    hint="pip install 'partita[fsspec]', and the package that fsspec names for this URL",
                ) from error
            except ValueError as error:
                raise IOManagerError(
                    f"{self._root} can't be opened: {error}",
                    hint="s3://, gs://, az:// and the URLs that fsspec knows can be opened",
                ) from error
            self._opened, self._process = (system, root.rstrip("/")), os.getpid()
        try:
            yield self._opened
        except (StoreChangedError, IOManagerError):
            raise
        except (TimeoutError, ConnectionError) as error:
            raise StoreUnreachableError(
                f"{where} can't be {verb}: {error}", hint="try again"
            ) from error
        except Exception as error:  # each file system has errors of its own
            raise IOManagerError(f"{where} can't be {verb}: {error}") from error


def _version(info: Mapping[str, Any]) -> str:
    """What tells one version of a file from another, by what the file system knows of it."""
    for name in ("ETag", "etag", "md5", "mtime", "created", "modified"):
        if info.get(name):
            return f"{info[name]} {info['size']}"
    return str(info["size"])
