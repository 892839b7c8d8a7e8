"""The files of a `DeltaIOManager`: what is in their footers, and which of them belong to what.

What a file tells about who wrote it, and which columns its rows had, is in its footer, as it is for `ParquetIOManager`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets_core.model.errors import DefinitionError, InternalError, IOManagerError
from io_managers.delta_folders import FolderTables
from io_managers.delta_log import DamagedLogError, open_table, table_folder, token_mark
from io_managers.parquet_roots import root_of
from io_managers.parquet_seal import checked_metadata
from io_managers.url_secrets import shown_url

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Mapping

    import pyarrow as pa

    from assets_core.model.io_manager import WriteReceipt
    from io_managers.delta_log import TableVersion
    from io_managers.delta_places import TablePlace
    from io_managers.parquet_layout import Footer

SCHEMA = "partita.schema"
"""The field of a footer with the columns that the rows had."""


@dataclass(frozen=True, slots=True)
class DeltaFiles:
    """Below `place.root`."""

    place: TablePlace

    @property
    def root(self) -> str:
        """What tables are in."""
        return self.place.root

    @property
    def stage(self) -> str:
        """Where rows wait to be published."""
        return self.place.stage

    def table(self, asset: str) -> str:
        """The folder of an asset's table."""
        return table_folder(self.root, asset)

    def open_table(self, asset: str) -> TableVersion | None:
        """The newest version of an asset's table; None if there is none. Raises IOManagerError for one that Partita can't write."""
        return open_table(self.place, self.table(asset))

    def staging(self, token: str) -> str:
        """An attempt's folder in the stage, made if it isn't there. Raises IOManagerError."""
        from io_managers.staging import stage_folder  # noqa: PLC0415 - heavy

        self.place.prepare()
        folder = stage_folder(self.stage, token)
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            where = self.root if self.place.in_folders else self.stage
            raise IOManagerError(f"{where} can't be written: {error.strerror or error}") from error
        return folder

    def footers(self, paths: list[str]) -> list[Footer]:
        """Who wrote files that a table has. Raises IOManagerError if one is gone, or another program's."""
        found = []
        for path, footer in zip(paths, self.place.footers(paths), strict=True):
            if footer is None:
                raise IOManagerError(
                    f"{path} is not there, and the table says it is",
                    hint="materialize the partition again",
                )
            found.append(footer)
        return found

    def footer(self, path: str) -> Footer:
        """The same for one file."""
        (found,) = self.footers([path])
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
            with self.place.open(path) as source:
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
        mark = token_mark(token)
        found = self.place.names(self.table(asset))
        self.drop(asset, [name for name in found if mark in name.rpartition("/")[2]])

    def drop(self, asset: str, names: Collection[str]) -> None:
        """Remove those of some files, by their paths in the table's folder, that the newest version does not have."""
        if not names:
            return
        there = self.open_table(asset)
        live = {name for found in there.files.values() for name in found} if there else set()
        self.place.drop(self.table(asset), {*names} - live)

    def remove(self, asset: str) -> None:
        """Remove a table with all its versions. Raises IOManagerError if it is not ours, or holds strange files."""
        table = self.table(asset)
        if self.place.exists(table):
            self._require_own(table, asset)
        self.place.remove(table)

    def _require_own(self, table: str, asset: str) -> None:
        for stranger in self.place.strangers(table):
            raise IOManagerError(
                f"{stranger} is not a file of {asset}, so {table} is not removed",
                hint="move that file away first",
            )
        try:
            open_table(self.place, table)
        except DamagedLogError:
            # Its files tell as well whose it is.
            files = self.footers([f"{table}/{name}" for name in self.place.names(table)])
            if not files or any(one.asset != asset for one in files):
                raise


def files_below(root: str | os.PathLike[str], options: Mapping[str, Any] | None) -> DeltaFiles:
    """The files below a folder, or a URL of S3. Raises DefinitionError."""
    found = root_of(root, options, "DeltaIOManager")
    if found.is_folder:
        return DeltaFiles(FolderTables(found.path))
    if found.scheme not in {"s3", "s3a"}:
        raise DefinitionError(
            f"DeltaIOManager({shown_url(found.path)!r}): Delta tables are kept in folders of this machine and in S3, not in {found.scheme}://",
            hint="write DeltaIOManager('lake/') or DeltaIOManager('s3://bucket/prefix'); a ParquetIOManager stores there, too",
        )
    for name, value in (options or {}).items():
        if callable(value):
            raise DefinitionError(
                f"DeltaIOManager({found.path!r}, storage_options=…): {name!r} is a function, and the package deltalake takes text only",
                hint="set the usual environment variables (docs/object-stores.md)",
            )
    from io_managers.conditional_store import ConditionalStore  # noqa: PLC0415 - folders need none of it
    from io_managers.delta_objects import ObjectTables  # noqa: PLC0415 - same

    store = ConditionalStore(found.path, dict(options or {}), owner="DeltaIOManager")
    return DeltaFiles(ObjectTables(shown_url(found.path), store))
