"""Delta tables below a folder of this machine: links into place, a rename to remove, and a sync after each act, since `deltalake` syncs nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from assets_core.failpoints import failpoint
from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import PARTITION_COLUMN
from io_managers.parquet_local import FolderPlace
from io_managers.refusals import first_line

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pyarrow as pa

    from io_managers.parquet_layout import Footer

LOG = "_delta_log"
"""The folder of a table's versions, in the table's own."""


class FolderTables:
    """The tables below a folder. `root` is made when first written; the folder that it is in must exist."""

    in_folders = True
    properties: Mapping[str, str | None] | None = None

    def __init__(self, root: str) -> None:
        self.root = root
        self._files = FolderPlace(root)

    @property
    def stage(self) -> str:
        """Below the root."""
        return self._files.stage

    def prepare(self) -> None:
        """Make the root, but nothing above it."""
        self._files.prepare()

    def open(self, path: str) -> pa.NativeFile:
        """The open file."""
        return self._files.open(path)

    def footers(self, paths: Sequence[str]) -> list[Footer | None]:
        """One after the other."""
        return self._files.footers(paths)

    def source(self, table: str) -> tuple[str, dict[str, str] | None]:
        """Its absolute path."""
        path = str(Path(table).absolute())
        if "%" in path or "\\" in path:
            raise IOManagerError(
                f"{path} can't hold a Delta table: the package deltalake takes % and \\ in a path for something else",
                hint="give the DeltaIOManager a folder without them",
            )
        return path, None

    def has_log(self, table: str) -> bool:
        """By the folder of versions."""
        return os.path.isdir(f"{table}{os.sep}{LOG}")  # noqa: PTH112 - on the path of every no-op run

    def fault(self, table: str, verb: str, error: Exception) -> IOManagerError:
        """In its own words."""
        return IOManagerError(f"{table} can't be {verb}: {first_line(error)}")

    def unsettled(self, fault: IOManagerError) -> IOManagerError:
        """The fault: a file system does what it does at once."""
        return fault

    def was_made(self, table: str) -> None:
        """Sync its first version, and the folder that the table's is in."""
        from io_managers.parquet_rows import sync  # noqa: PLC0415 - a look at a table needs none of it

        self.committed(table, 0)
        sync(str(Path(table).parent))

    def put(self, source: str, table: str, name: str) -> None:
        """By a link, as `deltalake` itself puts a commit in place; another attempt finds the staged file where it was."""
        from io_managers.parquet_rows import sync  # noqa: PLC0415 - as above

        there = Path(table, name)
        there.parent.mkdir(exist_ok=True)
        os.link(source, there)
        sync(str(there.parent))

    def before_commit(self, table: str) -> None:
        """Sync the table's folder: folders of partitions may be new in it."""
        from io_managers.parquet_rows import sync  # noqa: PLC0415 - as above

        sync(table)

    def committed(self, table: str, version: int) -> None:
        """Sync the version's file and the folder that it is in."""
        from io_managers.parquet_rows import sync  # noqa: PLC0415 - as above

        log = Path(table, LOG)
        sync(str(log / f"{version:020d}.json"))
        sync(str(log))

    def names(self, table: str) -> list[str]:
        """By walking its folder; checkpoints of the log are no files of the table."""
        found = (path.relative_to(table) for path in Path(table).rglob("*.parquet"))
        return [path.as_posix() for path in found if path.parts[0] != LOG]

    def may_be_there(self, path: str) -> bool:
        """One `stat`."""
        return os.path.exists(path)  # noqa: PTH110 - once per partition

    def drop(self, table: str, names: Collection[str]) -> None:
        """One by one."""
        for name in names:
            Path(table, name).unlink(missing_ok=True)

    def exists(self, table: str) -> bool:
        """Whether anything has its name."""
        return os.path.lexists(table)

    def strangers(self, table: str) -> list[str]:
        """By looking into its folder, and no deeper. Raises IOManagerError if it is none of ours."""
        if Path(table).is_symlink() or not Path(table).is_dir():
            raise IOManagerError(
                f"{table} is not a folder that Partita made, and stays",
                hint="remove it, and what it leads to if it is a link, yourself",
            )
        return [
            str(entry)
            for entry in Path(table).iterdir()
            if not (
                entry.name == LOG
                or entry.name.startswith(f"{PARTITION_COLUMN}=")
                or entry.suffix == ".parquet"
            )
        ]

    def remove(self, table: str) -> None:
        """In one act: a rename into the stage, where the files are then deleted."""
        from io_managers.workbench import scratch_prefix, sweep_scratch  # noqa: PLC0415 - heavy

        sweep_scratch(self.stage)
        if not self.exists(table):
            return
        try:
            Path(self.stage).mkdir(exist_ok=True)
            aside = tempfile.mkdtemp(prefix=f"{scratch_prefix()}removed-", dir=self.stage)
            os.rename(table, f"{aside}{os.sep}table")  # noqa: PTH104 - the atomic act, by its POSIX name
            failpoint("remove.delta.aside")
            shutil.rmtree(aside)
        except OSError as error:
            raise IOManagerError(
                f"{table} can't be removed: {error.strerror or error}",
                hint=f"make sure that you may write to {self.root} and to all that is in {table}",
            ) from error
