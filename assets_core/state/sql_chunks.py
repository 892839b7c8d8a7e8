"""Partition state in SQLite: chunks of columns up to a watermark, and the log's tail on top. Reading it, and folding the tail in.

Functions run inside a transaction of the caller and take its cursor. Chunks are a cache: everything in them is in the log.

Theory of operation
-------------------
`compaction.seq` is the watermark: the chunks of all assets hold the state of the log up to and including it, and the rest of the log
is the *tail*. A snapshot is the chunks with the tail laid over them. *Folding* moves the watermark up: it lays the tail's rows over
the chunks they touch and writes those anew. Assets without a row in the tail are as they should be, so one watermark serves all,
and the tail is one range of the log's primary key.

A chunk holds what exists between its first id and that of the asset's next chunk, at most `Folding.partitions` partitions: dense
ids, sparse ones (cron) and lanes of products are alike to it. New ids go where they belong. A chunk that gets too many is split: into
full ones if all that is new comes after what it held (time goes on), else into even ones, so that each keeps room.

Folding is prepared in a read transaction, for the log up to a seq never changes, and written in another one if `compaction.version`
is still the one that was read: the writers' lock is held for the writing of a few blobs only. A crash before the commit leaves the
old chunks and the old watermark. What can never be: chunks and a watermark that do not fit each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from assets_core.model.errors import StoreError
from assets_core.state.chunk_codec import Chunks, encode_chunk
from assets_core.state.columns import (
    ASSET,
    PARTITION,
    SEQ,
    by_asset,
    last_of_log,
    log_array,
    overlay,
    part,
)
from assets_core.state.dialects import per_dialect
from assets_core.state.sql_rows import LOG_COLUMNS
from assets_core.state.store import Compaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from assets_core.model.records import PartitionColumns
    from assets_core.state.dialects import Cursor
    from assets_core.state.sql_store import Folding

    Ints = NDArray[np.int64]
    Write = tuple[int, int, int, bytes, bytes]

WATERMARK = "select seq, version from compaction"
# By the primary key: the tail is read once for all assets. LOG_COLUMNS is a constant of `sql_rows`.
_TAIL = per_dialect(
    sqlite=f"select {LOG_COLUMNS} from materialization where seq > ? order by seq limit ?",  # noqa: S608
    postgres=f"select {LOG_COLUMNS} from materialization where seq > ? order by seq limit nullif(?::bigint, -1)",  # noqa: S608
)
CHUNKS = per_dialect(
    sqlite="""
select asset_id, first_id, count, frame, residual from state_chunk
where asset_id in (select value from json_each(?)) order by asset_id, first_id""",
    postgres="""
select asset_id, first_id, count, frame, residual from state_chunk
where asset_id in (select value::bigint from json_array_elements_text(?::json)) order by asset_id, first_id""",
)
_FIRST_IDS = "select first_id from state_chunk where asset_id = ? order by first_id"
_CHUNK = "select asset_id, first_id, count, frame, residual from state_chunk where asset_id = ? and first_id = ?"
_REMOVE_CHUNK = "delete from state_chunk where asset_id = ? and first_id = ?"
_ADD_CHUNK = (
    "insert into state_chunk (asset_id, first_id, count, frame, residual) values (?, ?, ?, ?, ?)"
)
_MOVE_WATERMARK = (
    "update compaction set seq = ?, version = version + 1, at = ? where seq = ? and version = ?"
)
_FORGET = "update compaction set seq = 0, version = version + 1, at = null"
_FORGET_CHUNKS = "delete from state_chunk"

_NO_LIMIT: Final = -1


@dataclass(frozen=True, slots=True)
class Fold:
    """A prepared move of the watermark from `begin` to `end`, valid for the version that it was prepared from."""

    begin: int
    end: int
    version: int
    rows: int
    removed: list[tuple[int, int]]
    added: list[Write]


class StoredState(Mapping[str, "PartitionColumns"]):
    """Partition columns by asset as one transaction read them: still encoded, decoded each time they are asked for.

    So a snapshot of many assets takes little memory if its reader looks at one after the other. The arrays may be read-only views.
    Looking raises StoreError if the asset's chunks are damaged.
    """

    def __init__(
        self,
        chunks: Chunks,
        places: Mapping[str, tuple[int, int]],
        tails: Mapping[str, PartitionColumns],
    ) -> None:
        self._chunks = chunks
        self._places = places
        self._tails = tails

    def __getitem__(self, asset: str) -> PartitionColumns:
        begin, end = self._places[asset]
        try:
            columns = self._chunks.columns(begin, end)
        except ValueError as error:
            raise damaged(asset, error) from error
        tail = self._tails.get(asset)
        return columns if tail is None else overlay(columns, tail)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def is_empty(self, asset: str) -> bool:
        """No partition of the asset was ever tried; nothing is decoded to know it."""
        begin, end = self._places[asset]
        return begin == end and asset not in self._tails


def damaged(asset: str, error: ValueError) -> StoreError:
    """What a chunk that can't be decoded means: the log is the truth, so nothing is lost."""
    return StoreError(
        f"A chunk of the state of {asset} is damaged: {error}. The log that it was made from is not affected.",
        hint="Make the chunks anew: partita state compact --rebuild",
    )


def read_state(cursor: Cursor, asset_ids: Mapping[str, int]) -> StoredState:
    """The columns of these assets (0 for an id the store has not seen); linear in their chunks and the whole tail."""
    watermark, _ = cursor.execute(WATERMARK).get
    rows: list[tuple[Any, ...]] = cursor.execute(
        CHUNKS, (json.dumps(list(asset_ids.values())),)
    ).fetchall()
    begins: dict[int, int] = {}
    ends: dict[int, int] = {}
    for number, row in enumerate(rows):
        begins.setdefault(row[0], number)
        ends[row[0]] = number + 1
    try:
        chunks = Chunks.of_rows(rows)
    except ValueError as error:
        raise damaged("some asset", error) from error
    tails = by_asset(*last_of_log(log_array(cursor.execute(_TAIL, (watermark, _NO_LIMIT)))))
    return StoredState(
        chunks,
        {key: (begins.get(number, 0), ends.get(number, 0)) for key, number in asset_ids.items()},
        {key: tails[number] for key, number in asset_ids.items() if number in tails},
    )


def prepare_fold(cursor: Cursor, folding: Folding) -> Fold | None:
    """The next stretch of the tail laid over the chunks it touches; None if there is no tail. Reads only.

    Raises StoreError if a chunk that it touches is damaged.
    """
    watermark, version = cursor.execute(WATERMARK).get
    log = log_array(cursor.execute(_TAIL, (watermark, folding.rows)))
    if not len(log):
        return None
    homes = _Homes(cursor)
    log = log[: homes.rows_within(log, folding.chunks)]
    removed: list[tuple[int, int]] = []
    added: list[Write] = []
    for asset_id, newer in by_asset(*last_of_log(log)).items():
        _fold_asset(cursor, homes, asset_id, newer, folding.partitions, removed, added)
    return Fold(watermark, int(log[-1, SEQ]), version, len(log), removed, added)


class _Homes:
    """Which chunk each partition belongs to, by the first ids of its asset's chunks."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._first_ids: dict[int, Ints] = {}

    def first_ids(self, asset_id: int) -> Ints:
        if asset_id not in self._first_ids:
            found = [row[0] for row in self._cursor.execute(_FIRST_IDS, (asset_id,))]
            self._first_ids[asset_id] = np.array(found, dtype=np.int64)
        return self._first_ids[asset_id]

    def of(self, asset_id: int, ids: Ints) -> Ints:
        """The number of the chunk of each id; what comes before the first chunk belongs to it, and 0 stands for none yet."""
        return np.maximum(np.searchsorted(self.first_ids(asset_id), ids, side="right") - 1, 0)

    def rows_within(self, log: Ints, limit: int) -> int:
        """How many of the rows, in their order, touch no more than `limit` chunks; at least 1 for a limit of at least 1."""
        order = np.argsort(log[:, ASSET], kind="stable")
        assets, starts = np.unique(log[order, ASSET], return_index=True)
        first_touches = []
        for asset_id, rows in zip(assets.tolist(), np.split(order, starts[1:]), strict=True):
            _, at = np.unique(self.of(asset_id, log[rows, PARTITION]), return_index=True)
            first_touches.append(rows[at])
        touches = np.sort(np.concatenate(first_touches))
        return int(touches[limit]) if len(touches) > limit else len(log)


def _fold_asset(  # noqa: PLR0917 - one caller, above
    cursor: Cursor,
    homes: _Homes,
    asset_id: int,
    newer: PartitionColumns,
    size: int,
    removed: list[tuple[int, int]],
    added: list[Write],
) -> None:
    """Lay an asset's newer columns over its chunks, one chunk at a time."""
    numbers = homes.of(asset_id, newer.ids)
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    first_ids = homes.first_ids(asset_id)
    for begin, end in pairwise(bounds):
        touching = part(newer, begin, end)
        columns = touching
        appending = True
        if len(first_ids):
            first_id = int(first_ids[numbers[begin]])
            older = _read_chunk(cursor, asset_id, first_id)
            removed.append((asset_id, first_id))
            columns = overlay(older, touching)
            known = np.searchsorted(touching.ids, older.ids[-1], side="right")
            appending = len(columns.ids) - len(older.ids) == len(touching.ids) - known
        added.extend(encode_pieces(asset_id, columns, size, even=not appending))


def encode_pieces(
    asset_id: int, columns: PartitionColumns, size: int, *, even: bool = False
) -> Iterator[Write]:
    """Columns of at least one partition as rows of `state_chunk`, of at most `size` partitions each."""
    for begin, end in pairwise(_cuts(len(columns.ids), size, even=even)):
        piece = part(columns, begin, end)
        yield (asset_id, int(piece.ids[0]), len(piece.ids), *encode_chunk(piece))


def _cuts(count: int, size: int, *, even: bool) -> list[int]:
    """Where to cut `count` partitions into pieces of at most `size`: full ones and a rest, or even ones.

    >>> _cuts(10, 4, even=False), _cuts(10, 4, even=True)
    ([0, 4, 8, 10], [0, 3, 6, 10])
    """
    pieces = -(-count // size)
    if even:
        return [number * count // pieces for number in range(pieces + 1)]
    return [*range(0, count, size), count]


def _read_chunk(cursor: Cursor, asset_id: int, first_id: int) -> PartitionColumns:
    row = cursor.execute(_CHUNK, (asset_id, first_id)).get
    try:
        return Chunks.of_rows([row]).columns(0, 1)
    except ValueError as error:
        key = cursor.execute("select key from asset where id = ?", (asset_id,)).get
        raise damaged(key, error) from error


def write_fold(cursor: Cursor, fold: Fold, at: int) -> Compaction | None:
    """Write a prepared fold; None, and nothing is written, if the chunks changed since it was prepared."""
    cursor.execute(_MOVE_WATERMARK, (fold.end, at, fold.begin, fold.version))
    if not cursor.connection.changes():
        return None
    cursor.executemany(_REMOVE_CHUNK, fold.removed)
    cursor.executemany(_ADD_CHUNK, fold.added)
    return Compaction(rows=fold.rows, chunks=len(fold.added))


def forget_chunks(cursor: Cursor) -> None:
    """Remove all chunks: the log is all tail again, until it is folded anew."""
    cursor.execute(_FORGET_CHUNKS)
    cursor.execute(_FORGET)
