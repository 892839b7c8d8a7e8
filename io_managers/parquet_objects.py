"""Parquet files in an object store, as a place: whole objects, conditional requests, few of them.

Theory of operation
-------------------
An object appears whole, by one PUT of a file that was complete on this machine before, or not at all. A PUT carries the condition that
what was there when its footer was judged is there still (that version, or nothing): so nobody overwrites what they have not seen, and an
attempt whose fence has been passed since changes nothing. If the condition fails, or no answer came, the footer is read again and judged
anew: the attempt's own token there means that it arrived, a higher epoch that it came too late, anything else that it may try again.

A read takes all bytes from one version: the last bytes first, with the version's name, then every other piece on the condition that the
version is still there. Small objects come in one piece, big ones as the column chunks that are asked for.
"""

from __future__ import annotations

import os
import stat
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from assets_core.failpoints import failpoint
from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import Leftover
from io_managers.object_store import StoreChangedError, StoreUnreachableError
from io_managers.parquet_layout import FILE, STAGE, DamagedFileError, asset_folder, footer_in
from io_managers.parquet_notes import NOTES, forget_note, token_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from io_managers.object_store import ObjectStore, Tail
    from io_managers.parquet_layout import Footer
    from io_managers.parquet_places import Ready

_T = TypeVar("_T")

TAIL_BYTES = 64 * 2**10
"""The first request for an object takes this much of its end: the footer, as a rule, and all of a small object."""
WHOLE_BYTES = 8 * 2**20
"""An object of at most this size is read in one piece."""
_AT_ONCE = 16
_ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 0.1
_LAST_WORDS = 8  # a Parquet file ends with the length of its footer, and `PAR1`


class ObjectPlace:
    """The objects below a URL. Rows wait, and notes are kept, in a folder of this machine's temporary folder."""

    def __init__(self, root: str, store: ObjectStore) -> None:
        self.root = root
        self._spool = _spool_folder(root)
        self._store = store

    @property
    def stage(self) -> str:
        """The spool, below a folder that is this user's alone: anybody may make one of that name first. Raises IOManagerError."""
        parent = os.path.dirname(self._spool)  # noqa: PTH120 - text in, text out
        with suppress(OSError):  # where rows are to be written, `prepare` says why it can't be
            os.mkdir(parent, 0o700)  # noqa: PTH102 - the mode is the point
        try:
            found = os.lstat(parent)
        except OSError:
            return self._spool
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            what = "belongs to another user" if found.st_uid != os.getuid() else "is no folder"
            raise IOManagerError(
                f"rows for {self.root} can't wait in {parent}: it {what}",
                hint="set TMPDIR to a folder of your own, or remove what is there",
            )
        if found.st_mode & 0o077:
            os.chmod(parent, 0o700)  # noqa: PTH101 - as above
        return self._spool

    def prepare(self) -> None:
        """Make the spool. Whether the bucket takes rows shows when they are put."""
        try:
            Path(self.stage).mkdir(exist_ok=True)
        except OSError as error:
            raise IOManagerError(
                f"{self.stage} can't be written: {error.strerror or error}",
                hint="set TMPDIR to a folder with room for the rows of a step",
            ) from error

    def open(self, path: str) -> pa.NativeFile:
        """All of one version, from memory if it is small, else piece by piece."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        key = self._key(path)
        while True:
            tail = self._store.tail(key, TAIL_BYTES)
            if tail is None:
                raise FileNotFoundError(path)
            if tail.size == len(tail.content):
                return pa.BufferReader(tail.content)
            if tail.size > WHOLE_BYTES:
                return pa.PythonFile(_Pieces(self._store, path, key, tail), mode="r")
            try:
                return pa.BufferReader(self._store.piece(key, 0, tail.size, tail.version))
            except StoreChangedError:
                continue  # nothing was handed out yet, so another version will do

    def footers(self, paths: Sequence[str]) -> list[Footer | None]:
        """One request each, many at once."""
        return [found[0] if found else None for found in _at_once(self._found, paths)]

    def intact_footers(self, paths: Sequence[str]) -> list[Footer | None]:
        """One request each, many at once."""

        def found(path: str) -> Footer | None:
            try:
                seen = self._found(path)
            except DamagedFileError:
                return None
            return seen[0] if seen else None

        return list(_at_once(found, paths))

    def marks(self, asset: str, paths: Sequence[str]) -> list[int | None]:
        """By listing: a request per thousand objects."""
        versions = {one.key: one.version for one in self._store.entries(self._prefix(asset))}
        found = (versions.get(self._key(path)) for path in paths)
        return [None if version is None else token_mark(version) for version in found]

    def files(self, asset: str) -> list[str]:
        """By listing."""
        entries = self._store.entries(self._prefix(asset))
        return sorted(f"{self.root}/{one.key}" for one in entries if _is_file(one.key))

    def replace(self, path: str, ready: Ready, grown: set[str]) -> int | None:  # noqa: ARG002 - a PUT leaves nothing to settle
        """Put the file on the condition that what `ready` was shown is there, until it is known what became of it."""
        key = self._key(path)
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(_ATTEMPTS):
            found = self._found(path)
            source = ready(found[0] if found else None)
            if source is None:
                return None
            size = Path(source).stat().st_size
            failpoint("publish.parquet.rename")
            try:
                self._store.put(key, source, found[1] if found else None)
            except StoreChangedError:
                continue
            except StoreUnreachableError:
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(pause)
                pause *= 4
                continue
            failpoint("publish.parquet.renamed")
            return size
        raise IOManagerError(
            f"{path} can't be written: others wrote to it {_ATTEMPTS} times meanwhile",
            hint="let one process at a time write to a partition",
        )

    def settle(self, grown: set[str]) -> None:
        """Nothing to do: a PUT that was answered is durable."""

    def remove(self, asset: str) -> None:
        """Look at the footers of all objects first, then delete them."""
        entries = list(self._store.entries(self._prefix(asset)))
        folder = asset_folder(self.root, asset)
        paths = [f"{self.root}/{one.key}" for one in entries]
        for path in paths:
            if not _is_file(path):
                raise _not_of(asset, path, folder)
        for path, footer in zip(paths, self.footers(paths), strict=True):
            if footer is not None and footer.asset != asset:
                raise _not_of(asset, path, folder)
        forget_note(self.stage, asset)
        self._store.delete([one.key for one in entries])

    def leftovers(self) -> list[Leftover]:
        """What is in the spool, but the notes; and what was uploaded to the store and never moved to its place."""
        from io_managers.leftovers import leftovers_in  # noqa: PLC0415 - only `state gc` asks

        found = leftovers_in(self.stage, frozenset({NOTES}))
        for one in self._store.entries(f"{STAGE}/"):
            name = one.key.rpartition("/")[2]
            path = f"{self.root}/{one.key}"
            found.append(Leftover(path, name, one.size, _uploaded_at(name)))
        return found

    def remove_leftover(self, leftover: Leftover) -> None:
        """Remove it, wherever it is."""
        from io_managers.leftovers import remove  # noqa: PLC0415 - only `state gc` asks

        if leftover.path.startswith(f"{self.root}/{STAGE}/"):
            self._store.delete([self._key(leftover.path)])
        else:
            remove(leftover)

    def _found(self, path: str) -> tuple[Footer, str] | None:
        """The footer of an object, and the version it is of."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        key, count = self._key(path), TAIL_BYTES
        while True:
            tail = self._store.tail(key, count)
            if tail is None:
                return None
            length = int.from_bytes(tail.content[-_LAST_WORDS:-4], "little") + _LAST_WORDS
            if length > len(tail.content) < tail.size and tail.content.endswith(b"PAR1"):
                count = length  # a file of very many columns
                continue
            return footer_in(pa.BufferReader(tail.content), path, tail.size), tail.version

    def _key(self, path: str) -> str:
        return path[len(self.root) + 1 :]

    def _prefix(self, asset: str) -> str:
        return f"{self._key(asset_folder(self.root, asset))}/"


class _Pieces:
    """An object as a file that pyarrow reads: piece by piece, all of one version."""

    closed = False

    def __init__(self, store: ObjectStore, path: str, key: str, tail: Tail) -> None:
        self._store, self._path, self._key, self._tail = store, path, key, tail
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._tail.size)[whence]
        return self._at

    def read(self, count: int = -1) -> bytes:
        tail, start = self._tail, self._at
        end = tail.size if count < 0 else min(start + count, tail.size)
        self._at = max(start, end)
        if start >= end:
            return b""
        first = tail.size - len(tail.content)
        if start >= first:
            return tail.content[start - first : end - first]
        try:
            found = self._store.piece(self._key, start, end, tail.version)
        except StoreChangedError as error:
            raise IOManagerError(
                f"{self._path} was replaced while it was read", hint="read it again"
            ) from error
        if len(found) != end - start:
            raise IOManagerError(
                f"{self._path} can't be read: {len(found)} bytes came instead of {end - start}"
            )
        return found

    def close(self) -> None:
        self.closed = True


def _at_once(ask: Callable[[str], _T], ones: Sequence[str]) -> list[_T]:
    if len(ones) <= 1:
        return [ask(one) for one in ones]
    with ThreadPoolExecutor(min(_AT_ONCE, len(ones))) as pool:
        return list(pool.map(ask, ones))


def _uploaded_at(name: str) -> datetime:
    """The moment in the name of an upload; long ago if it has none."""
    seconds, dash, _ = name.partition("-")
    return datetime.fromtimestamp(int(seconds) if dash and seconds.isdecimal() else 0, UTC)


def _is_file(key: str) -> bool:
    return key.rpartition("/")[2] == FILE


def _not_of(asset: str, path: str, folder: str) -> IOManagerError:
    return IOManagerError(
        f"{path} is not a file of {asset}, so {folder} is not removed",
        hint="move that object away first",
    )


def _spool_folder(root: str) -> str:
    """Where rows for an object store wait on this machine: below the system's temporary folder, one folder per user and root."""
    digest = blake2b(root.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return str(Path(tempfile.gettempdir(), f"partita-{os.getuid()}", digest))
