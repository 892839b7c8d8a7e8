"""Where the partitions of an asset lie in a folder of Parquet files, and what the footer of each file says about who wrote it.

`<root>/<asset>/<dimension>=<key>/data.parquet`, one level per dimension: `day=2025-01-31`, `hour=…`, `partition=eu` for keys that
are not times; unpartitioned assets lie in `<root>/<asset>/data.parquet`. Names become path segments by `paths`, so nothing that a
name contains leaves its place. `<root>/.partita/<token>/` holds what is staged: hidden from readers of folders, and on the same file
system, so that publishing is a rename.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import WriteReceipt
from io_managers.parquet_seal import checked_metadata
from io_managers.paths import dimension_prefix, path_segment

if TYPE_CHECKING:
    import pyarrow as pa

    from assets_core.model.io_manager import PartitionSlice, StageRequest, Target

FILE = "data.parquet"
DAMAGED = f"{FILE}.damaged"
"""What a damaged file is called when another has taken its place."""
STAGE = ".partita"

_FIELD = "partita."
_TIME_KINDS = frozenset({"hour", "day", "week", "month", "cron"})


@dataclass(frozen=True, slots=True)
class Footer:
    """Who wrote a file: asset, partition key, epoch, token; the receipt of that write; and its moment, where a history is kept."""

    asset: str
    key: str
    epoch: int
    token: str
    receipt: WriteReceipt
    moment: datetime | None = None


def asset_folder(root: str, asset: str) -> str:
    """The folder of an asset."""
    return f"{root}{os.sep}{path_segment(asset)}"


def partition_folder(root: str, target: Target, one: PartitionSlice) -> str:
    """The folder of one partition; of an unpartitioned asset that of the asset itself."""
    folder = asset_folder(root, target.asset)
    if not target.partitioned:
        return folder
    if one.dimensions:
        levels = [path_segment(key, dimension_prefix(name)) for name, key in one.dimensions]
        return f"{folder}{os.sep}{os.sep.join(levels)}"  # noqa: PTH118 - text for many partitions at once
    kind = (target.time_kind or "").lower()
    return f"{folder}{os.sep}{path_segment(one.key, f'{kind}=' if kind in _TIME_KINDS else 'partition=')}"


def partition_file(root: str, target: Target, one: PartitionSlice) -> str:
    """The file of one partition."""
    return f"{partition_folder(root, target, one)}{os.sep}{FILE}"


def footer_fields(
    request: StageRequest, one: PartitionSlice, receipt: WriteReceipt
) -> dict[str, str]:
    """What goes into the footer, as text. The stored size is not in it: a file can't know its own."""
    from io_managers.moments import is_history, moment_of  # noqa: PLC0415 - a look at a file doesn't need it

    told = {}
    if is_history(request.target):
        told[f"{_FIELD}moment"] = moment_of(request).at.isoformat()
    return {
        **told,
        f"{_FIELD}asset": request.target.asset,
        f"{_FIELD}partition": one.key,
        f"{_FIELD}epoch": str(request.epoch),
        f"{_FIELD}token": request.token,
        f"{_FIELD}id": str(receipt.partition_id),
        f"{_FIELD}rows": str(receipt.rows),
        f"{_FIELD}data_version": receipt.data_version,
        f"{_FIELD}schema_hash": receipt.schema_hash,
    }


def read_footer(path: str) -> Footer | None:
    """The footer of a file that Partita wrote; None if there is no file. Raises IOManagerError for any other file."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    try:
        with pa.OSFile(path) as source:
            return footer_in(source, path, source.size())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(path, error) from error


def footer_in(source: pa.NativeFile, path: str, size: int) -> Footer:
    """The footer in an open file, or in its last bytes. Raises FileNotFoundError, IOManagerError."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    try:
        found = checked_metadata(source).metadata or {}
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error
    try:
        fields = {
            name.decode().removeprefix(_FIELD): value.decode("utf-8", "surrogatepass")
            for name, value in found.items()
            if name.startswith(_FIELD.encode())
        }
        receipt = WriteReceipt(
            partition_id=int(fields["id"]),
            rows=int(fields["rows"]),
            bytes=size,
            data_version=fields["data_version"],
            schema_hash=fields["schema_hash"],
        )
        moment = fields.get("moment")
        return Footer(
            fields["asset"],
            fields["partition"],
            int(fields["epoch"]),
            fields["token"],
            receipt,
            None if moment is None else datetime.fromisoformat(moment),
        )
    except (KeyError, ValueError):
        raise IOManagerError(
            f"{path} was not written by Partita",
            hint="move it away, or give the asset another name or IO manager",
        ) from None


def check_owner(path: str, footer: Footer, target: Target, one: PartitionSlice) -> None:
    """Raise IOManagerError if the file is another asset's or partition's: on a file system that takes two names for one."""
    if (footer.asset, footer.key) != (target.asset, one.key):
        other = f"{footer.asset} {footer.key}".rstrip()
        raise IOManagerError(
            f"{path} holds {other!r}, and this file system takes {target.asset!r} for the same name",
            hint="rename one of the two, or give it another IO manager",
        )


class DamagedFileError(IOManagerError):
    """A file that is there, may be read, and is no Parquet file, or not the one that was written."""


def unreadable(path: str, error: Exception) -> IOManagerError:
    """The error for a file that can't be read: it is damaged unless a system call, or a lack of memory or threads, says why."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    text = str(error).strip().split("\n", 1)[0]
    if isinstance(error, MemoryError) or type(error) is pa.ArrowException:
        return IOManagerError(f"{path} can't be read: {text}")
    kind = IOManagerError if getattr(error, "errno", None) is not None else DamagedFileError
    return kind(
        f"{path} can't be read: {text}",
        hint="if the file is damaged, remove it and materialize the partition again",
    )
