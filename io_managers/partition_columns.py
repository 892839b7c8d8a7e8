"""Which partition a row belongs to, told by `partition_by` columns; vectorised for Arrow batches, as bounds for SQL.

Decided here: which column types can tell time or key partitions apart, how a window reads in each of them, and what is refused
because it is ambiguous. What happens to a row outside the step's partitions is `staging`'s business.

How a window `[start, end)` of the definition's zone reads in a column:

- DATE: the local dates from `start.date()` up to, not including, `end.date()`. Only day, week and month partitions.
- timestamp with a zone: the instants themselves.
- timestamp without a zone: the wall clock of the definition's zone. For hour and cron partitions only if that zone is UTC: where
  the clock is set back one wall-clock hour belongs to two partitions.
- text: the key of a static or dynamic partition, or of a dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from assets_core.model.errors import DataError, InternalError
from assets_core.model.io_manager import PARTITION_COLUMN
from assets_core.model.specs import Append
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from assets_core.model.io_manager import PartitionSlice, Target
    from partitions.time_windows import TimeWindow

Bound = date | datetime | str

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the zero of wall-clock columns
_UNIX_EPOCH_ORDINAL = 719_163  # date(1970, 1, 1).toordinal()
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_UTC_NAMES = frozenset({"UTC", "Etc/UTC", "Etc/UCT", "UCT", "Zulu", "Etc/Zulu", "GMT", "Etc/GMT"})
_NARROW_KINDS = frozenset({"hour", "cron"})


class ColumnKind(Enum):
    """How a column tells partitions apart."""

    DATE = "date"
    INSTANT = "timestamp with a time zone"
    WALL_CLOCK = "timestamp without a time zone"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class PartitionColumn:
    """One `partition_by` column; `dimension` is None unless the asset is multi-partitioned."""

    dimension: str | None
    column: str


@dataclass(frozen=True, slots=True)
class Lane:
    """Partitions that share all text keys: `texts` has one key per text column, `spans` are windows joined where they touch."""

    texts: tuple[str, ...]
    spans: tuple[tuple[datetime, datetime], ...]


def partition_columns(target: Target) -> tuple[PartitionColumn, ...]:
    """The columns that tell this asset's partitions apart; none if the `_partition` column does, or nothing has to.

    Append ignores `partition_by`: its rows may lie anywhere, and belong to the partition that loaded them.
    """
    if not target.partitioned or target.partition_by is None or isinstance(target.write, Append):
        return ()
    if isinstance(target.partition_by, str):
        return (PartitionColumn(None, target.partition_by),)
    return tuple(PartitionColumn(dimension, column) for dimension, column in target.partition_by)


def has_key_column(target: Target) -> bool:
    """True if a `_partition` column holds the partition key of each row."""
    return target.partitioned and not partition_columns(target)


def column_kind(kind: pa.DataType) -> ColumnKind | None:
    """How a column of this type can tell partitions apart; None if it can't."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if pa.types.is_date(kind):
        return ColumnKind.DATE
    if pa.types.is_timestamp(kind):
        return ColumnKind.WALL_CLOCK if kind.tz is None else ColumnKind.INSTANT
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return ColumnKind.TEXT
    return None


def check_columns(
    target: Target, schema: pa.Schema, slices: Sequence[PartitionSlice]
) -> tuple[ColumnKind, ...]:
    """The kind of each partition column. Raises DataError if one is missing, of a useless type, or ambiguous."""
    kinds: list[ColumnKind] = []
    for part in partition_columns(target):
        if part.column not in schema.names:
            raise missing_column(target.asset, "partition_by", part.column, schema.names)
        kind = _checked_kind(target, part, schema.field(part.column).type, slices)
        if kind is not ColumnKind.TEXT and any(k is not ColumnKind.TEXT for k in kinds):
            raise DataError(
                f"{target.asset}: partition_by names two time columns, the second is {part.column!r}",
                hint="a multi-partition has at most one time dimension; its other columns must be text",
            )
        kinds.append(kind)
    return tuple(kinds)


def missing_column(asset: str, role: str, column: str, have: Sequence[str]) -> DataError:
    """The error for a column that the contract names and the rows don't have."""
    listed = ", ".join(repr(name) for name in have[:20]) + (" …" if len(have) > 20 else "")  # noqa: PLR2004 - fits a line
    near = nearest(column, have)
    return DataError(
        f"{asset}: {role} names column {column!r}, and the returned rows have {listed or 'no columns'}",
        hint=f"did you mean {near[0]!r}?"
        if near
        else f"return a column {column!r}, or change {role}",
    )


def window_bounds(window: TimeWindow, kind: ColumnKind) -> tuple[Bound, Bound]:
    """The half-open span of a window as values of a column of this kind."""
    return bounds_of(window.start, window.end, kind)


def bounds_of(start: datetime, end: datetime, kind: ColumnKind) -> tuple[Bound, Bound]:
    """The half-open span between two aware local instants as values of a column of this kind."""
    match kind:
        case ColumnKind.DATE:
            return start.date(), end.date()
        case ColumnKind.INSTANT:
            return start.astimezone(UTC), end.astimezone(UTC)
        case ColumnKind.WALL_CLOCK:
            return start.replace(tzinfo=None, fold=0), end.replace(tzinfo=None, fold=0)
        case ColumnKind.TEXT:
            raise InternalError("a text column has no time bounds")


def lanes(
    target: Target, slices: Iterable[PartitionSlice], kinds: Sequence[ColumnKind]
) -> list[Lane]:
    """The slices by their text keys, in order of first appearance, with windows joined where one ends as the next starts. O(n)."""
    columns = partition_columns(target)
    timed = any(kind is not ColumnKind.TEXT for kind in kinds)
    spans: dict[tuple[str, ...], list[tuple[datetime, datetime]]] = {}
    for one in slices:
        found = spans.setdefault(_texts(one, columns, kinds), [])
        if not timed:
            continue
        window = _window(target, one)
        # Instants, not wall clocks: Python takes the two 02:00 of an autumn night for equal.
        if found and found[-1][1].timestamp() == window.start.timestamp():
            found[-1] = (found[-1][0], window.end)
        else:
            found.append((window.start, window.end))
    return [Lane(texts, tuple(joined)) for texts, joined in spans.items()]


class SliceMatcher:
    """Tells for each row of a batch which of some slices it belongs to.

    Building it is O(slices · log); a batch costs a vectorised search per partition column.
    """

    def __init__(
        self, target: Target, slices: Sequence[PartitionSlice], schema: pa.Schema
    ) -> None:
        self._columns = partition_columns(target)
        self._kinds = check_columns(target, schema, slices)
        self._texts: list[pa.Array | None] = []
        self._lows: list[NDArray[np.int64]] = []
        self._highs: list[NDArray[np.int64]] = []
        codes = np.zeros(len(slices), dtype=np.int64)
        for part, kind in zip(self._columns, self._kinds, strict=True):
            size, ranks = self._rank(target, slices, part, kind, schema.field(part.column).type)
            codes = codes * size + ranks
        self._order = np.argsort(codes, kind="stable")
        self._codes = codes[self._order]

    def ordinals(self, batch: pa.RecordBatch) -> NDArray[np.int64]:
        """The position of each row's slice, -1 for a row of none of them (a null is of none)."""
        codes = np.zeros(batch.num_rows, dtype=np.int64)
        inside = np.ones(batch.num_rows, dtype=bool)
        for i, part in enumerate(self._columns):
            column = batch.column(batch.schema.get_field_index(part.column))
            ranks, size = self._row_ranks(i, column)
            inside &= ranks >= 0
            codes = codes * size + ranks
        found = np.searchsorted(self._codes, codes)
        found[found == len(self._codes)] = 0
        inside &= self._codes[found] == codes
        return np.where(inside, self._order[found], -1)

    def holds_all(self, batch: pa.RecordBatch) -> bool:
        """True if all rows are of the only slice, which the least and the greatest value tell; False: `ordinals` must."""
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        if len(self._codes) != 1 or not batch.num_rows:
            return False
        for i, part in enumerate(self._columns):
            column = batch.column(batch.schema.get_field_index(part.column))
            texts = self._texts[i]
            if column.null_count:
                return False
            if texts is not None:
                if not pc.all(pc.equal(column.cast(texts.type), texts[0])).as_py():
                    return False
                continue
            ends = pc.min_max(column.cast(_storage(column.type)))
            if ends["min"].as_py() < self._lows[i][0] or ends["max"].as_py() >= self._highs[i][0]:
                return False
        return True

    def describe(self, batch: pa.RecordBatch, row: int) -> str:
        """The partition columns of one row, for a message."""
        parts = []
        for part in self._columns:
            value = batch.column(batch.schema.get_field_index(part.column))[row].as_py()
            shown = "NULL" if value is None else repr(value) if isinstance(value, str) else value
            parts.append(f"{part.column} = {shown}")
        return ", ".join(parts)

    @property
    def column_names(self) -> str:
        """The partition columns, for a message."""
        return ", ".join(repr(part.column) for part in self._columns)

    def _rank(
        self,
        target: Target,
        slices: Sequence[PartitionSlice],
        part: PartitionColumn,
        kind: ColumnKind,
        type_: pa.DataType,
    ) -> tuple[int, NDArray[np.int64]]:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        none = np.zeros(0, dtype=np.int64)
        if kind is ColumnKind.TEXT:
            keys = [_text(one, part) for one in slices]
            unique = {key: rank for rank, key in enumerate(dict.fromkeys(keys))}
            self._texts.append(pa.array(unique, pa.string()))
            self._lows.append(none)
            self._highs.append(none)
            return len(unique), np.array([unique[key] for key in keys], dtype=np.int64)
        bounds = [window_bounds(_window(target, one), kind) for one in slices]
        lows = np.array([_number(low, type_) for low, _ in bounds], dtype=np.int64)
        highs = np.array([_number(high, type_) for _, high in bounds], dtype=np.int64)
        starts, first, ranks = np.unique(lows, return_index=True, return_inverse=True)
        self._texts.append(None)
        self._lows.append(starts)
        self._highs.append(highs[first])
        return len(starts), ranks.astype(np.int64)

    def _row_ranks(self, i: int, column: pa.Array) -> tuple[NDArray[np.int64], int]:
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        texts = self._texts[i]
        if texts is not None:
            known = pc.index_in(column.cast(pa.string()), value_set=texts)
            ranks = pc.fill_null(known, -1).to_numpy(zero_copy_only=False).astype(np.int64)
            return ranks, len(texts)
        lows, highs = self._lows[i], self._highs[i]
        numbers = column.cast(_storage(column.type))
        values = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False).astype(np.int64)
        ranks = np.searchsorted(lows, values, side="right") - 1
        ranks[values >= highs[ranks]] = -1  # rank -1 is compared with the last end, and stays -1
        if numbers.null_count:
            ranks[pc.is_null(numbers).to_numpy(zero_copy_only=False)] = -1
        return ranks, len(lows)


def _storage(kind: pa.DataType) -> pa.DataType:
    """The integers that a date or a timestamp is stored as."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return pa.int32() if pa.types.is_date32(kind) else pa.int64()


def partitions_text(slices: Sequence[PartitionSlice]) -> str:
    """`partition 2025-01-31`, or first and last of several, for a message."""
    if len(slices) == 1:
        return f"partition {slices[0].key}"
    return f"partitions {slices[0].key}...{slices[-1].key}"


def _checked_kind(
    target: Target, part: PartitionColumn, type_: pa.DataType, slices: Sequence[PartitionSlice]
) -> ColumnKind:
    kind = column_kind(type_)
    timed = any(one.window is not None for one in slices)
    asset = target.asset
    if kind is None:
        wanted = "DATE or timestamp" if timed and part.dimension is None else "text"
        if timed and part.dimension is not None:
            wanted = "DATE, timestamp or text"
        raise DataError(
            f"{asset}: partition_by column {part.column!r} is {type_}; it takes a {wanted} column to tell the partitions apart",
            hint="cast it in the function that returns the rows",
        )
    if kind is ColumnKind.TEXT:
        if timed and part.dimension is None:
            raise DataError(
                f"{asset}: partition_by column {part.column!r} is text, and the partitions are windows of time",
                hint="return it as a DATE or a timestamp",
            )
        return kind
    if not timed:
        raise DataError(
            f"{asset}: partition_by column {part.column!r} is {type_}, and the partitions have no time windows",
            hint="return the partition key as text",
        )
    grain = (target.time_kind or "").lower()
    if kind is ColumnKind.DATE and grain in _NARROW_KINDS:
        raise DataError(
            f"{asset}: partition_by column {part.column!r} is a DATE, too coarse for {grain} partitions",
            hint="name a timestamp column, or leave partition_by out",
        )
    if kind is ColumnKind.WALL_CLOCK and grain in _NARROW_KINDS:
        zone = next((str(one.window.start.tzinfo) for one in slices if one.window), "UTC")
        if zone not in _UTC_NAMES:
            raise DataError(
                f"{asset}: partition_by column {part.column!r} is a timestamp without a time zone, which can't tell {grain} partitions"
                f" in {zone} apart: when the clock is set back, one wall-clock hour belongs to two of them",
                hint="return it with a time zone (instants), or leave partition_by out",
            )
    return kind


def _number(bound: Bound, type_: pa.DataType) -> int:
    """A bound in the column's own unit, counted from 1970."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if isinstance(bound, datetime):
        span = bound.replace(tzinfo=None) - _EPOCH  # aware bounds are in UTC here
        micros = (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
        return micros * _PER_SECOND[type_.unit] // 1_000_000
    if isinstance(bound, date):
        days = bound.toordinal() - _UNIX_EPOCH_ORDINAL
        return days if pa.types.is_date32(type_) else days * 86_400_000
    raise InternalError(f"{bound!r} is no time bound")


def _texts(
    one: PartitionSlice, columns: Sequence[PartitionColumn], kinds: Sequence[ColumnKind]
) -> tuple[str, ...]:
    return tuple(
        _text(one, part)
        for part, kind in zip(columns, kinds, strict=True)
        if kind is ColumnKind.TEXT
    )


def _text(one: PartitionSlice, part: PartitionColumn) -> str:
    if part.dimension is None:
        return one.key
    for name, key in one.dimensions:
        if name == part.dimension:
            return key
    raise InternalError(f"partition {one.key!r} has no dimension {part.dimension!r}")


def _window(target: Target, one: PartitionSlice) -> TimeWindow:
    if one.window is None:
        raise InternalError(f"{target.asset}: partition {one.key!r} has no time window")
    return one.window


__all__ = [
    "PARTITION_COLUMN",
    "Bound",
    "ColumnKind",
    "Lane",
    "PartitionColumn",
    "SliceMatcher",
    "bounds_of",
    "check_columns",
    "column_kind",
    "has_key_column",
    "lanes",
    "missing_column",
    "partition_columns",
    "partitions_text",
    "window_bounds",
]
