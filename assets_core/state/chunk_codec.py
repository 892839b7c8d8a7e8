"""Columns of partition state as bytes: how the chunks of the SQLite state file are written and read. No statement runs here.

Theory of operation
-------------------
Within a chunk, most columns are a straight line or nearly one: ids and seqs count up, versions stay the same, what was claimed
together read at one seq. So a column is stored as `base + slope · i + residual[i]`. Base, slope and the residual's width in bytes
(0: all residuals are 0) of all columns are the chunk's *frame*, of a fixed size, so that the frames of many assets are taken apart
by one array operation. The residuals follow each other in the order of the columns, and are compressed if that leaves a quarter of
them or less, for unpacking costs more than reading: compressed ones are recognised by being shorter than the widths say.

`data_seq` is stored as its difference from `seq`, which is 0 wherever the last run changed the data.

All arithmetic is modulo 2⁶⁴, and therefore exact for any int64 whatever the slope.

When a whole asset is read, a column whose chunks all lie on one line costs no more than that line; a column that is one value
everywhere is a view of that value and costs nothing.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from assets_core.model.records import PartitionColumns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_COLUMNS: Final = (
    9  # in the order of the fields of PartitionColumns; that order is part of the file's format
)
_FRAME_BYTES: Final = _COLUMNS * 3 * 8
_WIDTHS: Final = (1, 2, 4, 8)
_BASE, _SLOPE, _WIDTH = 0, 1, 2
_IDS, _SEQ, _DATA_SEQ = 0, 1, 5
_FAST: Final = 1
"""Level of compression. What compresses well here are long repetitions; a higher level takes thrice the time for a few bytes."""


def column_arrays(columns: PartitionColumns) -> tuple[Ints, ...]:
    """The arrays in the order of the fields, which is also that of the constructor."""
    return (
        columns.ids,
        columns.seq,
        columns.read_seq,
        columns.code_id,
        columns.deps_id,
        columns.data_seq,
        columns.has_data,
        columns.failed_seq,
        columns.horizon,
    )


def encode_chunk(columns: PartitionColumns) -> tuple[bytes, bytes]:
    """Frame and residuals of a chunk of at least one partition.

    >>> hours = np.arange(4096)
    >>> one = np.ones(4096, dtype=np.int64)
    >>> frame, residuals = encode_chunk(PartitionColumns(hours, hours + 9, one, one, one, hours + 9, one, 0 * one, -one))
    >>> len(frame), residuals
    (216, b'')
    """
    frame = np.empty((_COLUMNS, 3), dtype="<i8")
    residuals = []
    for place, column in enumerate(column_arrays(columns)):
        values = column - columns.seq if place == _DATA_SEQ else column
        base, slope, residual = _straighten(values)
        frame[place] = base, slope, 0 if residual is None else residual.itemsize
        if residual is not None:
            residuals.append(residual.tobytes())
    plain = b"".join(residuals)
    packed = zlib.compress(plain, _FAST)
    return frame.tobytes(), packed if 4 * len(packed) <= len(plain) else plain


def _straighten(values: Ints) -> tuple[int, int, NDArray[np.signedinteger] | None]:
    """Base, slope, and what remains (None if nothing), in the narrowest type that holds it."""
    first = int(values[0])
    if len(values) == 1:
        return first, 0, None
    differences = np.diff(values)
    if (differences == differences[0]).all():
        return first, int(differences[0]), None
    # The usual step leaves few residuals that aren't 0 (a hole, a partition that was done again); the way from end to end leaves
    # small ones (stairs). Neither is always better.
    middle = len(differences) // 2
    usual = int(np.partition(differences, middle)[middle])
    across = (int(values[-1]) - first) // (len(values) - 1)
    steps = np.arange(len(values), dtype=np.int64)
    best: tuple[int, int, int, Ints] | None = None
    for slope in (usual, across):
        residual = values - (steps * np.int64(slope) + np.int64(first))
        low, high = int(residual.min()), int(residual.max())
        if best is None or high - low < best[0]:
            best = (high - low, slope, (low + high + 1) // 2, residual)
    assert best is not None
    spread, slope, centre, residual = best
    width = next(width for width in _WIDTHS if spread < 1 << (8 * width))
    base = (first + centre + 2**63) % 2**64 - 2**63
    return base, slope, (residual - np.int64(centre)).astype(f"<i{width}")


class Chunks:
    """The chunks of one asset after another as they were read; `columns` decodes those of one asset.

    `counts` are the partitions of each chunk. Raises ValueError if a frame is not one.
    """

    def __init__(
        self, counts: Sequence[int], frames: Sequence[bytes], residuals: Sequence[bytes]
    ) -> None:
        joined = b"".join(frames)
        if any(len(frame) != _FRAME_BYTES for frame in frames):
            raise ValueError(f"a frame is not of {_FRAME_BYTES} bytes")
        parts = np.frombuffer(joined, dtype="<i8").reshape(-1, _COLUMNS, 3)
        self._frames = parts.astype(np.int64, copy=False)
        self._counts = np.array(counts, dtype=np.int64)
        self._residuals = residuals
        if not np.isin(self._frames[:, :, _WIDTH], (0, *_WIDTHS)).all():
            raise ValueError("a frame names a width that does not exist")
        self._straight = self._frames[:, :, _WIDTH] == 0
        self._follows = self._lines_that_go_on()
        self._latest_ids: tuple[object, Ints] | None = None

    @classmethod
    def of_rows(cls, rows: Sequence[tuple[Any, ...]]) -> Self:
        """From rows of asset id, first id, count, frame, residuals. Raises ValueError."""
        return cls([row[2] for row in rows], [row[3] for row in rows], [row[4] for row in rows])

    def _lines_that_go_on(self) -> NDArray[np.bool_]:
        """Per chunk and column: it is the straight continuation of the chunk before."""
        bases, slopes = self._frames[:, :, _BASE], self._frames[:, :, _SLOPE]
        follows = np.zeros(bases.shape, dtype=np.bool_)
        ends = bases[:-1] + slopes[:-1] * self._counts[:-1, np.newaxis]
        alone = (self._counts[1:] == 1)[:, np.newaxis]  # a single point lies on any slope
        follows[1:] = (bases[1:] == ends) & (alone | (slopes[1:] == slopes[:-1]))
        follows[1:] &= self._straight[1:] & self._straight[:-1]
        return follows

    def columns(self, begin: int, end: int) -> PartitionColumns:
        """The columns of chunks `begin` to `end` (exclusive), which belong to one asset.

        Arrays may be read-only views, and one may be two columns.

        Raises ValueError if the residuals are not what the frames say.
        """
        total = int(self._counts[begin:end].sum())
        if begin == end:
            return PartitionColumns(*[np.zeros(0, dtype=np.int64)] * _COLUMNS)
        one_line = self._straight[begin] & self._follows[begin + 1 : end].all(axis=0)
        lines = self._frames[begin].tolist()
        # Assets of one definition have equal ids more often than not: they get one array, and its reader may know it by that.
        ids_are_told_by = self._told_by(begin, end, _IDS)
        ready: dict[int, Ints] = {}
        if self._latest_ids is not None and self._latest_ids[0] == ids_are_told_by:
            ready[_IDS] = self._latest_ids[1]
        bent = [place for place in np.flatnonzero(~one_line).tolist() if place not in ready]
        if bent:
            ready |= self._bent_columns(begin, end, bent)
        columns = [
            ready[place] if place in ready else _line(base, slope, total)
            for place, (base, slope, _) in enumerate(lines)
        ]
        columns[_IDS].flags.writeable = False
        self._latest_ids = (ids_are_told_by, columns[_IDS])
        same = one_line[_DATA_SEQ] and lines[_DATA_SEQ][:2] == [0, 0]
        columns[_DATA_SEQ] = columns[_SEQ] if same else columns[_SEQ] + columns[_DATA_SEQ]
        return PartitionColumns(*columns)

    def _told_by(self, begin: int, end: int, place: int) -> object:
        """All that a column is decoded from: columns of which this is equal are equal."""
        frames = self._frames[begin:end]
        line = self._counts[begin:end].tobytes(), frames[:, place].tobytes()
        if self._straight[begin:end, place].all():
            return line
        # Where its residuals lie among the others follows from the widths.
        return line, frames[:, :, _WIDTH].tobytes(), tuple(self._residuals[begin:end])

    def _bent_columns(self, begin: int, end: int, places: Sequence[int]) -> dict[int, Ints]:
        """Columns whose chunks are not all on one line, by their place."""
        counts = self._counts[begin:end].tolist()
        total, longest = sum(counts), max(counts)
        steps = np.arange(longest, dtype=np.int64)
        columns = {place: np.empty(total, dtype=np.int64) for place in places}
        at = 0
        for number, count in enumerate(counts, start=begin):
            frame = self._frames[number].tolist()
            residuals = _residuals(self._residuals[number], frame, count)
            for place, column in columns.items():
                here = column[at : at + count]
                base, slope, _ = frame[place]
                if slope:
                    np.multiply(steps[:count], slope, out=here)
                    here += base
                else:
                    here.fill(base)
                if place in residuals:
                    here += residuals[place]
            at += count
        return columns


def _line(base: int, slope: int, count: int) -> Ints:
    if slope == 0:
        return np.broadcast_to(np.int64(base), (count,))
    line = np.arange(count, dtype=np.int64)
    if slope != 1:
        line *= slope
    line += base
    return line


def _residuals(
    stored: bytes, frame: Sequence[Sequence[int]], count: int
) -> dict[int, NDArray[np.signedinteger]]:
    """Views of a chunk's residuals by their column's place. Raises ValueError if they aren't what the frame says."""
    widths = [width for _, _, width in frame]
    size = sum(widths) * count
    try:
        plain = zlib.decompress(stored) if len(stored) < size else stored
    except zlib.error as error:
        raise ValueError(f"residuals can't be unpacked: {error}") from error
    if len(plain) != size:
        raise ValueError(f"residuals have {len(plain)} bytes instead of {size}")
    views: dict[int, NDArray[np.signedinteger]] = {}
    offset = 0
    for place, width in enumerate(widths):
        if width:
            views[place] = np.frombuffer(plain, dtype=f"<i{width}", count=count, offset=offset)
            offset += width * count
    return views
