"""One Delta table as Partita uses it: which file holds which partition at a version, and one commit on top of exactly that version.

A live file of ours is `_partition=<key>/e<epoch>-<mark>-<own>.parquet`, since some readers take the key from the folder; the mark tells the attempt's token, the footer tells all else. The newest epoch
of each partition is also a transaction identifier of the table, which survives what other programs do to the files.

`commit` is compare-and-swap: with no retries `deltalake` refuses as soon as the table has any newer version, whatever it changed. Its own
rules for what conflicts and what doesn't are never asked.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import unquote

from assets_core.failpoints import failpoint
from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import PARTITION_COLUMN
from io_managers.paths import path_segment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deltalake import DeltaTable, Schema

    from io_managers.delta_places import TablePlace

_OURS = "Written by Partita"
_NTZ = "timestampNtz"


class ConflictError(Exception):
    """The table has a newer version than the one that was read."""


class DamagedLogError(IOManagerError):
    """A table is there, and its versions can't be read."""


@dataclass(frozen=True, slots=True)
class AddedFile:
    """A file that was put into a table's folder: its path there, its bytes and its rows."""

    name: str
    size: int
    rows: int


@dataclass(frozen=True, slots=True)
class TableVersion:
    """A table at one version. `files` has the live files by partition key ("" if unpartitioned), by their paths in the table's folder."""

    place: TablePlace
    folder: str
    table: DeltaTable
    files: Mapping[str, tuple[str, ...]]

    @property
    def partitioned(self) -> bool:
        """Whether the table knows partitions."""
        return bool(self.table.metadata().partition_columns)

    def path(self, name: str) -> str:
        """Where a live file is."""
        return f"{self.folder}{os.sep}{name}"

    def fence(self, key: str) -> int | None:
        """The newest epoch that a partition was written with; None if it never was."""
        return self.table.transaction_version(_application(key))


def table_folder(root: str, asset: str) -> str:
    """The folder of an asset's table. A `%` would be decoded by `deltalake`, so `=` stands for it: no plain character either."""
    return f"{root}{os.sep}{path_segment(asset).replace('%', '=')}"


def token_mark(token: str) -> str:
    """What stands for a token in the names of files: plain letters, whatever the token is."""
    return blake2b(token.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def file_stem(epoch: int, token: str) -> str:
    """How the names of an attempt's files begin."""
    return f"e{epoch}-{token_mark(token)}"


def partition_folder(key: str) -> str:
    """The folder of a partition within the table's, as other writers of Delta name it."""
    return path_segment(key, f"{PARTITION_COLUMN}=")


def carries(name: str, token: str) -> bool:
    """Whether a file was written by the attempt with this token."""
    return name.rpartition("/")[2].split("-")[1:2] == [token_mark(token)]


def open_table(place: TablePlace, folder: str) -> TableVersion | None:
    """The newest version of the table in a folder; None if there is no table. Raises IOManagerError for one that Partita can't write."""
    if not place.has_log(folder):
        return None
    delta = deltalake_package()
    address, options = place.source(folder)
    try:
        table = delta.DeltaTable(address, storage_options=options)
    except delta.exceptions.TableNotFoundError:
        return None  # killed before its first version
    except (delta.exceptions.DeltaError, OSError) as error:
        told = place.fault(folder, "read as a Delta table", error)
        if told.hint is not None:
            raise told from error
        raise DamagedLogError(
            told.message, hint="if its log is damaged, begin anew with: partita state restart"
        ) from error
    if table.metadata().description != _OURS:
        raise IOManagerError(
            f"{folder} is a Delta table that Partita did not make",
            hint="give the asset another name, or its IO manager another folder",
        )
    features = set(table.protocol().reader_features or ()) - {_NTZ}
    if features:
        raise IOManagerError(
            f"{folder} uses {', '.join(sorted(features))}, which Partita does not write",
            hint="turn such features off in the program that turned them on, or begin anew with: partita state restart",
        )
    return TableVersion(place, folder, table, _live_files(table))


def make_table(
    place: TablePlace, folder: str, asset: str, schema: Schema, *, partitioned: bool
) -> None:
    """Make an empty table; fine if another process does so at this moment."""
    delta = deltalake_package()
    address, options = place.source(folder)
    try:
        delta.DeltaTable.create(
            address,
            schema,
            mode="ignore",
            partition_by=[PARTITION_COLUMN] if partitioned else None,
            name=asset,
            description=_OURS,
            configuration=place.properties,
            storage_options=options,
        )
    except (delta.exceptions.DeltaError, OSError) as error:
        if open_table(place, folder) is None:
            raise place.fault(folder, "made", error) from error
    place.was_made(folder)


def commit(
    at: TableVersion,
    schema: Schema,
    replaced: Mapping[str, Sequence[AddedFile]],
    epochs: Mapping[str, tuple[int, str]],
) -> None:
    """Make these files all that there is of these partitions, on top of exactly the version that was read.

    The files are in the table's folder already. `epochs` has epoch and token of the partitions that were written, and they
    become visible in the same act. Raises ConflictError if there is a newer version, and then nothing happened; UnsettledError if nobody
    knows.
    """
    delta = deltalake_package()
    _require_feature(at, schema)
    adds = [
        delta.transaction.AddAction(
            path=one.name,
            size=one.size,
            partition_values={PARTITION_COLUMN: key} if at.partitioned else {},
            modification_time=time.time_ns() // 1_000_000,
            data_change=True,
            stats=json.dumps({"numRecords": one.rows}),
        )
        for key, files in replaced.items()
        for one in files
    ]
    properties = delta.CommitProperties(
        custom_metadata={"partita": {key: token for key, (_, token) in epochs.items()}},
        max_commit_retries=0,
        app_transactions=[
            delta.Transaction(_application(key), epoch) for key, (epoch, _) in epochs.items()
        ],
    )
    at.place.before_commit(at.folder)
    failpoint("publish.delta.commit")
    try:
        at.table.create_write_transaction(
            adds,
            "overwrite",
            schema,
            [PARTITION_COLUMN] if at.partitioned else None,
            [(PARTITION_COLUMN, "in", list(replaced))] if at.partitioned else None,
            commit_properties=properties,
        )
    except (delta.exceptions.DeltaError, OSError) as error:
        # Also where the commit arrived and its answer did not: the token is then found by whoever judges again.
        raise _failed(at, error) from error
    failpoint("publish.delta.committed")
    at.place.committed(at.folder, at.table.version() + 1)


def deltalake_package() -> Delta:
    """The `deltalake` package. Raises IOManagerError if it isn't installed."""
    return Delta()


class Delta:
    """The names that are used of `deltalake`, imported when they are."""

    def __init__(self) -> None:
        try:
            import deltalake  # noqa: PLC0415 - an extra
            from deltalake import exceptions, transaction  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise IOManagerError(
                "DeltaIOManager needs the package deltalake", hint="pip install 'partita[delta]'"
            ) from error
        self.DeltaTable = deltalake.DeltaTable
        self.CommitProperties = deltalake.CommitProperties
        self.Transaction = deltalake.Transaction
        self.TableFeatures = deltalake.TableFeatures
        self.exceptions = exceptions
        self.transaction = transaction


def _live_files(table: DeltaTable) -> dict[str, tuple[str, ...]]:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    found = pa.table(table.get_add_actions(flatten=True))
    names = [unquote(path) for path in found.column("path").to_pylist()]
    column = f"partition.{PARTITION_COLUMN}"
    keys = found.column(column).to_pylist() if column in found.column_names else [""] * len(names)
    files: dict[str, tuple[str, ...]] = {}
    for key, name in zip(keys, names, strict=True):
        files[key] = (*files.get(key, ()), name)
    return files


def _require_feature(at: TableVersion, schema: Schema) -> None:
    """Timestamps without a zone are a feature of a table, which is turned on in a version of its own."""
    if '"timestamp_ntz"' not in schema.to_json():
        return
    if _NTZ in (at.table.protocol().reader_features or ()):
        return
    delta = deltalake_package()
    try:
        at.table.alter.add_feature(
            delta.TableFeatures.TimestampWithoutTimezone, allow_protocol_versions_increase=True
        )
    except (delta.exceptions.DeltaError, OSError) as error:
        raise _failed(at, error) from error
    at.place.committed(at.folder, at.table.version())
    raise ConflictError("the table has a version more, with the feature")


def _failed(at: TableVersion, error: Exception) -> ConflictError | IOManagerError:
    """What an error of a commit means: the table has a newer version, or else it can't be written."""
    told = at.place.unsettled(at.place.fault(at.folder, "written", error))
    try:
        now = open_table(at.place, at.folder)
    except IOManagerError:
        return told
    if now is not None and now.table.version() > at.table.version():
        return ConflictError(str(error))
    return told


def _application(key: str) -> str:
    return f"partita:{key}"
