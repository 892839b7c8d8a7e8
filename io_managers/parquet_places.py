"""The port behind `ParquetIOManager`: where complete Parquet files lie, and how one takes another's place.

Two adapters: `parquet_local` for folders (locks and renames), `parquet_objects` for object stores (conditional requests). What is in a
file, when a write is refused and what a merge writes is decided above the port, once for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from assets_core.model.io_manager import Leftover
    from io_managers.parquet_layout import Footer

    Ready = Callable[[Footer | None], str | None]
    """Takes the footer of the file that is there; returns the complete file to put in its place, None to leave it. May be called again."""


class Opens(Protocol):
    """What files are read from."""

    def open(self, path: str) -> pa.NativeFile:
        """The open file: all of one version of it. Raises FileNotFoundError if there is none."""
        ...


class Place(Opens, Protocol):
    """A tree of complete Parquet files below `root`. Paths are those of `parquet_layout`. Opens nothing when made, and pickles.

    `stage` is a folder on this machine in which rows wait until they are published, and in which notes are kept. Every error is an
    IOManagerError or OSError that names path and cause.
    """

    root: str

    @property
    def stage(self) -> str:
        """That folder, which need not be there yet. Raises IOManagerError if it can't be trusted with rows."""
        ...

    def prepare(self) -> None:
        """Make what is ours to make before rows are staged. Raises IOManagerError if the place can't be written."""
        ...

    def footers(self, paths: Sequence[str]) -> list[Footer | None]:
        """Who wrote each file; None where there is none. Raises IOManagerError for a file that is not ours."""
        ...

    def intact_footers(self, paths: Sequence[str]) -> list[Footer | None]:
        """The same; None also where the file is damaged: whatever was in it is lost."""
        ...

    def marks(self, asset: str, paths: Sequence[str]) -> list[int | None]:
        """A number for each file of an asset that changes when the file does; None where there is none."""
        ...

    def files(self, asset: str) -> list[str]:
        """The paths of all files of an asset, sorted."""
        ...

    def replace(self, path: str, ready: Ready, grown: set[str]) -> int | None:
        """Put the file that `ready` names in place, all of it in one act, and only if what `ready` was shown is still there.

        Returns its size; None if `ready` named none. `grown` collects what `settle` has to make durable.
        """
        ...

    def settle(self, grown: set[str]) -> None:
        """Make durable what several `replace` left to be."""
        ...

    def remove(self, asset: str) -> None:
        """Remove all files of an asset, each of them whole. Raises IOManagerError if one is not the asset's; then all stay."""
        ...

    def leftovers(self) -> list[Leftover]:
        """What waits in the stage, and what killed writers left in the place itself."""
        ...

    def remove_leftover(self, leftover: Leftover) -> None:
        """Remove one of them; fine if it is gone."""
        ...
