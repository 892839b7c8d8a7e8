"""A checksum over a Parquet file's footer. Pages have checksums of their own; the footer, which says what they mean, has none in Parquet.

The footer's metadata hold a CRC-32 of the footer's own bytes, taken with zeros in its place and put in afterwards. Without it a bit that
turns over in the footer can rename a column or change a type, and a reader returns other rows without a word. Files without the field
are read as they are.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

FIELD = "partita.footer_crc32"
UNSEALED = "0" * 8

_NAME = FIELD.encode()
_TEXT_OF_8 = b"\x18\x08"  # how thrift begins the value: next field, text, of eight bytes
_END = 8  # the footer's length and `PAR1`
_FIRST_LOOK = 64 * 2**10


class DamagedFooterError(OSError):
    """A footer whose checksum is another."""


def seal(path: str) -> None:
    """Put the checksum in, where `UNSEALED` is the value of `FIELD`; the file is not synced."""
    with open(path, "r+b") as file:  # noqa: PTH123 - written in place
        size = file.seek(0, 2)
        file.seek(size - _END)
        length = int.from_bytes(file.read(4), "little") + _END
        file.seek(size - length)
        footer = file.read()
        at = _place_in(footer)
        if at is None or footer[at : at + len(UNSEALED)] != UNSEALED.encode():
            raise DamagedFooterError(f"the footer has no field {FIELD}")
        file.seek(size - length + at)
        file.write(_checksum(footer, at))


def checked_metadata(source: pa.NativeFile) -> pq.FileMetaData:
    """The metadata of an open file, or of its last bytes. Raises DamagedFooterError, or pyarrow's error if it is no Parquet file."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    size = source.size()
    source.seek(max(0, size - _FIRST_LOOK))
    tail = source.read()
    length = int.from_bytes(tail[-_END:-4], "little") + _END
    if len(tail) < length <= size:
        source.seek(size - length)
        tail = source.read()
    footer = tail[-length:]
    at = _place_in(footer)
    if at is not None and footer[at : at + len(UNSEALED)] != _checksum(footer, at):
        raise DamagedFooterError("the checksum of its footer is wrong")
    source.seek(0)
    return pq.read_metadata(pa.BufferReader(tail))


def _place_in(footer: bytes) -> int | None:
    """Where the checksum is. Names of columns, statistics and other fields may say the field's name too, but come before it."""
    found = footer.rfind(_NAME)
    at = found + len(_NAME) + len(_TEXT_OF_8)
    return None if found < 0 or footer[at - len(_TEXT_OF_8) : at] != _TEXT_OF_8 else at


def _checksum(footer: bytes, at: int) -> bytes:
    zeroed = footer[:at] + UNSEALED.encode() + footer[at + len(UNSEALED) :]
    return f"{zlib.crc32(zeroed):08x}".encode()
