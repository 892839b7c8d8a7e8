"""The port behind `DeltaIOManager`: where tables lie, and how files get into them.

Two adapters: `delta_folders` for folders of this machine (links, renames, syncs), `delta_objects` for S3 (conditional PUTs). What is in a
file, what a table's log says and when a commit is refused is decided above the port, once for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from assets_core.model.errors import IOManagerError
from io_managers.parquet_places import Opens

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from io_managers.parquet_layout import Footer


class UnsettledError(IOManagerError):
    """A request that was given up may still be carried out: whatever it was about must stay as it is."""


class TablePlace(Opens, Protocol):
    """Tables below `root`, each in a folder of its own. Opens nothing when made, and pickles.

    `stage` is a folder on this machine in which rows wait until they are published. Paths are those of staged files, or of files in a
    table. Every error is an IOManagerError or OSError that names path and cause.
    """

    root: str

    @property
    def stage(self) -> str:
        """That folder, which need not be there yet. Raises IOManagerError if it can't be trusted with rows."""
        ...

    @property
    def in_folders(self) -> bool:
        """True if files can be kept open and read any number of times."""
        ...

    @property
    def properties(self) -> Mapping[str, str | None] | None:
        """Properties of new tables."""
        ...

    def prepare(self) -> None:
        """Make what is ours to make before rows are staged. Raises IOManagerError if the place can't be written."""
        ...

    def footers(self, paths: Sequence[str]) -> list[Footer | None]:
        """Who wrote each file; None where there is none. Raises IOManagerError for a file that is not ours."""
        ...

    def source(self, table: str) -> tuple[str, dict[str, str] | None]:
        """A table as `deltalake` takes it: its address, and options for the store. Raises IOManagerError if it would take it for another."""
        ...

    def has_log(self, table: str) -> bool:
        """Whether there are versions of a table, as far as one look tells."""
        ...

    def fault(self, table: str, verb: str, error: Exception) -> IOManagerError:
        """What an error of `deltalake` means; `verb` says what can't be done with the table."""
        ...

    def unsettled(self, fault: IOManagerError) -> IOManagerError:
        """The fault of a commit of which nothing is to be seen: an UnsettledError if it may still come to show."""
        ...

    def was_made(self, table: str) -> None:
        """Make a new table durable. Raises IOManagerError if the place can't keep two commits from being one version."""
        ...

    def put(self, source: str, table: str, name: str) -> None:
        """Put a staged file into a table, under a name that nothing has; nobody looks for it before the commit."""
        ...

    def before_commit(self, table: str) -> None:
        """Make what was put into a table durable."""
        ...

    def committed(self, table: str, version: int) -> None:
        """Make a version durable."""
        ...

    def names(self, table: str) -> list[str]:
        """The paths in a table's folder of all its Parquet files, of whatever version or none."""
        ...

    def may_be_there(self, path: str) -> bool:
        """False if a look that costs next to nothing tells that a live file is gone."""
        ...

    def drop(self, table: str, names: Collection[str]) -> None:
        """Remove files by their paths in the table's folder; fine if some are gone."""
        ...

    def exists(self, table: str) -> bool:
        """Whether there is anything of a table, or in its place."""
        ...

    def strangers(self, table: str) -> list[str]:
        """Files in a table's folder that no writer of Delta puts there. Raises IOManagerError if it is no such folder at all."""
        ...

    def remove(self, table: str) -> None:
        """Remove all of a table, and what an earlier removal left. What is gone midway is lost, and calling it again removes the rest."""
        ...
