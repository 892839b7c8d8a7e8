"""What keeps a DuckDB file readable when the process is killed, or the machine loses power, while DuckDB folds its log into the file.

That checkpoint writes new blocks and then a header that refers to them, so that the old state stays whole until the new one is. With one
exception: blocks of metadata are shared by both and are rewritten in place, 256 KiB at a time. Cut off midway, such a block has neither
its old nor its new checksum, and the file can't be opened any more (DuckDB 1.5 and 2.0; about one of a thousand kills during small writes).

So before anything is written, copies of all metadata blocks go into the side file, together with the file's headers as they are then.
Whoever opens the file next puts the blocks back if the headers are still those: the file is then as it was before the checkpoint, and its
log, which stays until the checkpoint is complete, has what was committed since. If the headers are others, the checkpoint had got past
its last write.
"""

from __future__ import annotations

import os
import struct
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

_MAGIC = b"partita undo\n"
_HEADERS_AT, _BLOCKS_AT = 4096, 12288
"""Where a DuckDB file has its two headers, of which the one that was written last counts, and where its blocks begin."""
_HEADERS = _BLOCKS_AT - _HEADERS_AT
_DIGEST_SIZE = 16
_CONTENT_AT = len(_MAGIC) + _DIGEST_SIZE
_SIZES = struct.Struct("<qq")


def save_undo(side: int, path: str, connection: DuckDBPyConnection, name: str) -> None:
    """Have the side file hold copies of the metadata blocks of the database attached under `name`, as of now. Durable when it returns.

    Raises OSError, duckdb.Error.
    """
    before = os.pread(side, _CONTENT_AT + _HEADERS, 0) if has_undo(side) else b""
    reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        headers = os.pread(reader, _HEADERS, _HEADERS_AT)
        if before[_CONTENT_AT:] == headers:
            return
        parts = [headers]
        for place, size in _metadata(connection, name):
            parts += [_SIZES.pack(place, size), os.pread(reader, size, place)]
    finally:
        os.close(reader)
    content = b"".join(parts)
    os.ftruncate(side, 0)
    os.pwrite(side, _MAGIC + _digest(content) + content, 0)
    os.fdatasync(side)


def has_undo(side: int) -> bool:
    """Whether the side file holds copies: then whoever wrote last did not come to an end."""
    return os.pread(side, len(_MAGIC), 0) == _MAGIC


def put_back(side: int, path: str) -> None:
    """Put back the blocks that a checkpoint left half-written. Called with the exclusive lock. Raises OSError."""
    saved = os.pread(side, os.fstat(side).st_size, 0)
    content = saved[_CONTENT_AT:]
    if saved[len(_MAGIC) : _CONTENT_AT] != _digest(content):
        return  # cut off while the copies were made: the file was not touched yet
    headers = content[:_HEADERS]
    try:
        reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if os.pread(reader, len(headers), _HEADERS_AT) != headers:
            return
        torn = [
            (place, block)
            for place, block in _blocks(content[_HEADERS:])
            if os.pread(reader, len(block), place) != block
        ]
    finally:
        os.close(reader)
    if torn:
        _write(path, torn)


def _metadata(connection: DuckDBPyConnection, name: str) -> list[tuple[int, int]]:
    """Place and size of every block of metadata."""
    found = connection.execute(
        "select block_id, block_size from pragma_metadata_info($1), (select block_size from pragma_database_size() where database_name = $1)",
        [name],
    ).fetchall()
    return [(_BLOCKS_AT + block * size, size) for block, size in found]


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=_DIGEST_SIZE).digest()


def _blocks(content: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(content):
        place, size = _SIZES.unpack_from(content, position)
        position += _SIZES.size
        yield place, content[position : position + size]
        position += size


def _write(path: str, blocks: list[tuple[int, bytes]]) -> None:
    writer = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for place, block in blocks:
            os.pwrite(writer, block, place)
        os.fsync(writer)
    finally:
        os.close(writer)
