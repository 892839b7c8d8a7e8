"""Every other URL that fsspec knows. Such stores have no conditional writes in common, so this keeps a weaker promise.

A file is uploaded under a name of its own and then moved: nothing half-written has the object's name. That what is there is still what
was expected is looked at right before, not in the same act: of two processes that write to one partition at one moment the later wins.
What a killed process uploaded and did not move has the moment in its name, and is a leftover.

A version is told from another by all that a file system says of a file that changes with it. One that says no more than a size is asked
for the last bytes: a footer of ours has the attempt's token.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from assets_core.model.errors import IOManagerError
from io_managers.object_store import Entry, StoreChangedError, StoreUnreachableError, Tail
from io_managers.parquet_layout import STAGE
from io_managers.url_secrets import shown_text, shown_url
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TELLING: Final = (
    *("etag", "generation", "version_id", "versionid", "checksum", "hash", "md5", "md5hash", "content_md5"),
    *("mtime", "modified", "last_modified", "lastmodified", "modificationtime", "updated", "modify"),
    *("created", "ino", "unique"),
)  # fmt: skip
"""What file systems call the things that change with a file, in small letters."""
_LAST_BYTES: Final = 4096


class FsspecStore:
    """The files below a URL. Opens its file system at the first use; pickles as a fresh one."""

    def __init__(self, root: str, options: Mapping[str, Any]) -> None:
        self._url, self._root = root, shown_url(root)
        self._options = dict(options)
        self._opened: tuple[Any, str] | None = None
        self._process = 0

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self._url, self._options))

    def tail(self, key: str, count: int) -> Tail | None:
        """What it is, and then its last bytes."""
        with self._doing("read", key) as (system, root):
            path = f"{root}/{key}"
            try:
                info = system.info(path)
                size = int(info["size"])
                content = self._bytes(system, path, max(0, size - count), size)
                return Tail(content, size, _version(info) or self._by_content(system, path, size))
            except (FileNotFoundError, NotADirectoryError):
                return None

    def piece(self, key: str, start: int, end: int, version: str) -> bytes:
        """A range, if the version before it is the expected one."""
        with self._doing("read", key) as (system, root):
            self._expect(system, f"{root}/{key}", version)
            return self._bytes(system, f"{root}/{key}", start, end)

    def put(self, key: str, source: str, expected: str | None) -> None:
        """Upload under a name in the stage, look whether it arrived whole and what was expected is there, move."""
        with self._doing("written", key) as (system, root):
            path = f"{root}/{key}"
            waiting = f"{root}/{STAGE}/{int(time.time())}-{secrets.token_hex(8)}"
            system.makedirs(f"{root}/{STAGE}", exist_ok=True)
            try:
                system.put_file(source, waiting)
                self._require_whole(key, system.info(waiting), Path(source).stat().st_size)
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
            try:
                found = system.find(folder, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return
            for path, info in sorted(found.items()):
                # Where nothing tells versions apart, each listing shows another: then what is there is read.
                version = _version(info) or secrets.token_hex(8)
                yield Entry(path[len(root) + 1 :], int(info["size"]), version)

    def delete(self, keys: Sequence[str]) -> None:
        """One after the other."""
        with self._doing("removed", "") as (system, root):
            for key in keys:
                if system.exists(f"{root}/{key}"):
                    system.rm_file(f"{root}/{key}")

    def _require_whole(self, key: str, info: Mapping[str, Any], size: int) -> None:
        if int(info["size"]) != size:
            raise StoreUnreachableError(
                f"{self._root}/{key} can't be written: {info['size']} of {size} bytes arrived",
                hint="try again",
            )

    def _expect(self, system: Any, path: str, version: str | None) -> None:  # noqa: ANN401 - fsspec has no types
        try:
            info = system.info(path)
            there = _version(info) or self._by_content(system, path, int(info["size"]))
        except (FileNotFoundError, NotADirectoryError):
            there = None
        if there != version:
            raise StoreChangedError(path)

    def _by_content(self, system: Any, path: str, size: int) -> str:  # noqa: ANN401 - as above
        content = self._bytes(system, path, max(0, size - _LAST_BYTES), size)
        return f"{size} {blake2b(content, digest_size=16).hexdigest()}"

    def _bytes(self, system: Any, path: str, start: int, end: int) -> bytes:  # noqa: ANN401 - as above
        found = bytes(system.cat_file(path, start, end)) if end > start else b""
        if len(found) != end - start:
            raise StoreUnreachableError(
                f"{shown_url(path)} can't be read: {len(found)} bytes came instead of {end - start}",
                hint="try again",
            )
        return found

    def _open(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise IOManagerError(
                f"{self._root} needs the package fsspec", hint="pip install 'partita[fsspec]'"
            ) from error
        try:
            system, root = url_to_fs(self._url, use_listings_cache=False, **self._options)
        except ImportError as error:
            raise IOManagerError(
                f"{self._root} needs a package: {error}",
                hint="pip install 'partita[fsspec]', and the package that fsspec names for this URL",
            ) from error
        except (TimeoutError, ConnectionError) as error:
            raise self._told(StoreUnreachableError, "opened", "", error, "try again") from None
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            raise self._told(IOManagerError, "opened", "", error, self._nearest()) from None
        return system, root.rstrip("/")

    def _nearest(self) -> str:
        import fsspec  # noqa: PLC0415 - an extra

        scheme = self._url.partition("://")[0].rpartition("::")[2]
        known = fsspec.available_protocols()
        if scheme in known:
            return "correct the URL or storage_options"
        near = nearest(scheme, [*known, "s3", "gs", "az"])
        if near:
            return "did you mean " + " or ".join(f"{one}://" for one in near) + "?"
        return "s3://, gs://, az:// and the URLs that fsspec knows can be opened"

    def _told(
        self, kind: type[IOManagerError], verb: str, key: str, error: Exception, hint: str | None
    ) -> IOManagerError:
        """The file system's error as ours. It is not chained: its text may repeat a secret."""
        where = f"{self._root}/{key}".rstrip("/")
        text = shown_text(str(error), self._url, self._options) or type(error).__name__
        return kind(f"{where} can't be {verb}: {text}", hint=hint)

    @contextmanager
    def _doing(self, verb: str, key: str) -> Iterator[tuple[Any, str]]:
        if self._opened is None or self._process != os.getpid():
            self._opened, self._process = self._open(), os.getpid()
        try:
            yield self._opened
        except (StoreChangedError, IOManagerError):
            raise
        except (TimeoutError, ConnectionError) as error:
            raise self._told(StoreUnreachableError, verb, key, error, "try again") from None
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            raise self._told(IOManagerError, verb, key, error, None) from None


def _version(info: Mapping[str, Any]) -> str:
    """All that tells one version of a file from another; empty if the file system knows nothing but its size.

    >>> _version({"size": 2, "ETag": "0f1e", "LastModified": "noon"})
    'etag=0f1e lastmodified=noon size=2'
    """
    told = {str(name).casefold(): value for name, value in info.items()}
    found = {name: told[name] for name in _TELLING if told.get(name)}
    if not found:
        return ""
    return " ".join(f"{name}={value}" for name, value in {**found, "size": info["size"]}.items())
