"""The files below the root of a `DeltaIOManager`: one folder per asset, which is a Delta table, and a stage.

What a file tells about who wrote it, and which columns its rows had, is in its footer, as it is for `ParquetIOManager`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assets_core.failpoints import failpoint
from assets_core.model.errors import DefinitionError, InternalError, IOManagerError
from assets_core.model.io_manager import PARTITION_COLUMN
from io_managers.delta_log import open_table, table_folder, token_mark
from io_managers.parquet_layout import read_footer
from io_managers.parquet_local import FolderPlace
from io_managers.parquet_seal import checked_metadata

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow as pa

    from assets_core.model.io_manager import WriteReceipt
    from io_managers.parquet_layout import Footer

SCHEMA = "partita.schema"
"""The field of a footer with the columns that the rows had."""


@dataclass(frozen=True, slots=True)
class DeltaFiles:
    """Below `place.root`."""

    place: FolderPlace

    @property
    def root(self) -> str:
        """The folder that tables are in."""
        return self.place.root

    @property
    def stage(self) -> str:
        """Where rows wait to be published."""
        return self.place.stage

    def staging(self, token: str) -> str:
        """An attempt's folder in the stage, made if it isn't there. Raises IOManagerError."""
        from io_managers.staging import stage_folder  # noqa: PLC0415 - heavy

        self.place.prepare()
        folder = stage_folder(self.stage, token)
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise IOManagerError(
                f"{self.root} can't be written: {error.strerror or error}"
            ) from error
        return folder

    def footer(self, path: str) -> Footer:
        """Who wrote a file that a table has. Raises IOManagerError if it is gone, or another program's."""
        found = read_footer(path)
        if found is None:
            raise IOManagerError(
                f"{path} is not there, and the table says it is",
                hint="materialize the partition again",
            )
        return found

    def receipt(self, path: str) -> WriteReceipt:
        """The receipt of the write that made a file."""
        return self.footer(path).receipt

    def fields(self, path: str) -> dict[str, str]:
        """What the footer says, to be said again by the file that takes this one's place."""
        return {name: text for name, text in self._texts(path).items() if name != SCHEMA}

    def schema(self, path: str) -> pa.Schema:
        """The columns that the rows had."""
        from io_managers.delta_types import decoded  # noqa: PLC0415 - heavy

        return decoded(self._texts(path)[SCHEMA])

    def _texts(self, path: str) -> dict[str, str]:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        try:
            with pa.OSFile(path) as source:
                found = checked_metadata(source).metadata or {}
        except (OSError, pa.ArrowException):
            found = {}
        texts = {
            name.decode(): value.decode("utf-8", "surrogatepass")
            for name, value in found.items()
            if name.startswith(b"partita.")
        }
        if SCHEMA not in texts:
            told = self.footer(path)  # says what is wrong with the file
            raise InternalError(f"{path} of {told.asset} has no columns in its footer")
        return texts

    def discard_leftovers(self, token: str, asset: str) -> None:
        """Remove what an attempt left in the stage, and files in the table's folder that never came to show."""
        from io_managers.staging import remove_stage  # noqa: PLC0415 - heavy
        from io_managers.workbench import sweep_scratch  # noqa: PLC0415 - same

        remove_stage(self.stage, token)
        sweep_scratch(self.stage)
        folder = table_folder(self.root, asset)
        found = Path(folder).rglob(f"e*{token_mark(token)}*.parquet")
        self.drop(asset, {path.relative_to(folder).as_posix() for path in found})

    def drop(self, asset: str, names: Collection[str]) -> None:
        """Remove those of some files, by their paths in the table's folder, that the newest version does not have."""
        if not names:
            return
        folder = table_folder(self.root, asset)
        there = open_table(folder)
        live = {name for found in there.files.values() for name in found} if there else set()
        for name in {*names} - live:
            Path(folder, name).unlink(missing_ok=True)

    def remove(self, asset: str) -> None:
        """Remove a table with all its versions in one act. Raises IOManagerError if it is not ours, or holds strange files."""
        from io_managers.workbench import scratch_prefix, sweep_scratch  # noqa: PLC0415 - heavy

        sweep_scratch(self.stage)
        folder = table_folder(self.root, asset)
        if not os.path.lexists(folder):
            return
        _require_own(folder, asset)
        try:
            Path(self.stage).mkdir(exist_ok=True)
            aside = tempfile.mkdtemp(prefix=f"{scratch_prefix()}removed-", dir=self.stage)
            os.rename(folder, f"{aside}{os.sep}table")  # noqa: PTH104 - the atomic act, by its POSIX name
            failpoint("remove.delta.aside")
            shutil.rmtree(aside)
        except OSError as error:
            raise IOManagerError(
                f"{folder} can't be removed: {error.strerror or error}",
                hint=f"make sure that you may write to {self.root} and to all that is in {folder}",
            ) from error


def files_below(root: str | os.PathLike[str]) -> DeltaFiles:
    """The files below a folder. Raises DefinitionError if it is none, or a URL."""
    given = os.fspath(root)
    if "://" in given:
        raise DefinitionError(
            f"DeltaIOManager({given!r}) is a URL, and Delta tables are kept in folders of this machine only",
            hint="write DeltaIOManager('lake/'); a ParquetIOManager stores in object stores",
        )
    if not given:
        raise DefinitionError(
            "DeltaIOManager('') names no folder", hint="write DeltaIOManager('lake/')"
        )
    return DeltaFiles(FolderPlace(given.rstrip("/") or "/"))


def _require_own(folder: str, asset: str) -> None:
    if Path(folder).is_symlink() or not Path(folder).is_dir():
        raise IOManagerError(
            f"{folder} is not a folder that Partita made, and stays",
            hint="remove it, and what it leads to if it is a link, yourself",
        )
    open_table(folder)
    for entry in Path(folder).iterdir():
        ours = entry.name == "_delta_log" or entry.name.startswith(f"{PARTITION_COLUMN}=")
        if not ours and entry.suffix != ".parquet":
            raise IOManagerError(
                f"{entry} is not a file of {asset}, so {folder} is not removed",
                hint="move that file away first",
            )
