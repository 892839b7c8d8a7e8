"""Parquet files below a folder of this machine, as a place: locked folders, renames, `stat`.

A file is put in place under an `flock` on the partition's folder itself (no lock file litters): what is there is read, the complete
file is renamed over it, the folder is synced. A reader that has the old file open keeps it.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from assets_core.failpoints import failpoint
from assets_core.model.errors import IOManagerError
from io_managers.parquet_layout import (
    DAMAGED,
    FILE,
    STAGE,
    DamagedFileError,
    asset_folder,
    read_footer,
)
from io_managers.parquet_notes import NOTES, file_mark

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from assets_core.model.io_manager import Leftover
    from io_managers.parquet_layout import Footer
    from io_managers.parquet_places import Ready


class FolderPlace:
    """The tree below a folder. `root` is made when first written; the folder that it is in must exist."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.stage = str(Path(root, STAGE))

    def prepare(self) -> None:
        """Make the root, but nothing above it: a mistyped or unmounted path is not filled silently."""
        try:
            if not os.path.isdir(self.root):  # noqa: PTH112 - once per step
                os.mkdir(self.root)  # noqa: PTH102 - as above
        except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
            if os.path.isdir(self.root):  # noqa: PTH112 - another process made it at this moment
                return
            parent = Path(self.root).parent
            if Path(self.root).is_file():
                raise IOManagerError(
                    f"{self.root} can't be written: it is a file, and should be a folder",
                    hint="move it away, or correct the path of its IO manager",
                ) from error
            raise IOManagerError(
                f"{self.root} can't be written: there is no folder {parent}",
                hint=f"make it with: mkdir -p {shlex.quote(str(parent))}, or correct the path of its IO manager",
            ) from error
        except OSError as error:
            raise IOManagerError(
                f"{self.root} can't be written: {error.strerror or error}"
            ) from error

    def open(self, path: str) -> pa.NativeFile:
        """The open file, which stays what it is when another takes its place."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        return pa.OSFile(path)

    def footers(self, paths: Sequence[str]) -> list[Footer | None]:
        """One after the other."""
        return [read_footer(path) for path in paths]

    def intact_footers(self, paths: Sequence[str]) -> list[Footer | None]:
        """One after the other."""
        return [_intact_footer(path) for path in paths]

    def marks(self, asset: str, paths: Sequence[str]) -> list[int | None]:
        """One `stat` each; none at all without the asset's folder."""
        if not os.path.isdir(asset_folder(self.root, asset)):  # noqa: PTH112 - on the path of every no-op run
            return [None] * len(paths)
        return [file_mark(path) for path in paths]

    def files(self, asset: str) -> list[str]:
        """By walking the asset's folder."""
        return [str(path) for path in sorted(Path(asset_folder(self.root, asset)).rglob(FILE))]

    def replace(self, path: str, ready: Ready, grown: set[str]) -> int | None:
        """Rename the file over the one that is there, with the partition's folder locked."""
        folder = os.path.dirname(path)  # noqa: PTH120 - text in, text out
        with _locked_folder(folder, grown) as descriptor:
            there = _intact_footer(path)
            source = ready(there)
            if source is None:
                return None
            if there is None and os.path.exists(path):  # noqa: PTH110 - once per partition
                # Somebody may still want to look at it; and it is not sure that it was ours.
                os.replace(path, str(Path(folder, DAMAGED)))  # noqa: PTH105 - as below
            size = os.stat(source).st_size  # noqa: PTH116 - once per partition
            failpoint("publish.parquet.rename")
            os.replace(source, path)  # noqa: PTH105 - the atomic act, by its POSIX name
            failpoint("publish.parquet.renamed")
            os.fsync(descriptor)
        return size

    def settle(self, grown: set[str]) -> None:
        """Sync the parents of folders that are new."""
        from io_managers.parquet_rows import sync  # noqa: PLC0415 - a no-op run loads none of it

        for folder in grown:
            sync(folder)

    def remove(self, asset: str) -> None:
        """All in one act: see `parquet_removal`."""
        from io_managers.parquet_removal import remove_asset  # noqa: PLC0415 - a no-op run loads none of it

        remove_asset(self.root, self.stage, asset)

    def leftovers(self) -> list[Leftover]:
        """What is in the stage, but the notes."""
        from io_managers.leftovers import leftovers_in  # noqa: PLC0415 - only `state gc` asks

        return leftovers_in(self.stage, frozenset({NOTES}))

    def remove_leftover(self, leftover: Leftover) -> None:
        """Remove it."""
        from io_managers.leftovers import remove  # noqa: PLC0415 - only `state gc` asks

        remove(leftover)


def _intact_footer(path: str) -> Footer | None:
    try:
        return read_footer(path)
    except DamagedFileError:
        return None


@contextmanager
def _locked_folder(folder: str, grown: set[str]) -> Iterator[int]:
    """The folder's descriptor, locked; the folder is made if it isn't there, and then its parents are added to `grown`."""
    descriptor = _lock_folder(folder, grown)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock_folder(folder: str, grown: set[str]) -> int:
    while True:
        _make_folder(folder, grown)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # somebody removed it at this moment
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A folder that was removed and made again while we waited is another one, with a lock of its own.
            if os.stat(folder).st_ino == os.fstat(descriptor).st_ino:  # noqa: PTH116 - descriptor and path alike
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _make_folder(folder: str, grown: set[str]) -> None:
    parent = os.path.dirname(folder)  # noqa: PTH120 - text in, text out
    try:
        os.mkdir(folder)  # noqa: PTH102 - one level at a time, to know which parents to sync
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_folder(parent, grown)
        _make_folder(folder, grown)
        return
    grown.add(parent)
