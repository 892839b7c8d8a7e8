"""An immutable set of partitions of one index, kept as runs of slots.

Decided here: set algebra, the two ways a set leaves the process (runs of stored ids for machines, a range expression for people)
and how it is cut into pieces. Not decided here: which partitions exist (`definitions`), which partitions another asset reads
(`mappings`), and what an expression typed by a person means (`ranges`; it reads back what `describe` and `expression` write).

Why runs: most sets are "everything", "nothing" or a few stretches, so they cost a handful of numbers at any size. One million
partitions as a set of key strings took 12 s and 98 MB. Every operation is vectorised over the runs and builds no mask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from partitions.definitions import PartitionKind
from partitions.errors import UnknownPartitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from partitions.definitions import PartitionIndex

_KEYS_AT_ONCE = 4096
# What `ranges` would read as grammar; a key that contains any of it is written in quotes.
_GRAMMAR = re.compile(r"""[,"|*?\[\]\\]|\.\.\.|\.\.<|\(\d+\)$| … and \d""")


def quote_key(key: str) -> str:
    r"""Return `key` as it is written in a range expression: itself, or in double quotes if it contains grammar.

    Inside quotes `"` and the backslash are escaped by a backslash.

    >>> quote_key("eu"), quote_key("a, b")
    ('eu', '"a, b"')
    """
    if _GRAMMAR.search(key) is None:
        return key
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(frozen=True, slots=True, eq=False)
class PartitionSet:
    """Some of the partitions of one index, in the order of the index.

    `runs` has shape (k, 2): half-open slot runs, ascending, disjoint and not touching each other. It is read-only. Two sets
    are equal if their indexes hold the same partitions of the same definition and their runs are equal. Binary operators take
    O(runs) and need two sets over the same index.

    Raises:
        ValueError: the runs are not in that form or leave the index; use `from_runs` for runs in any form.

    >>> from datetime import datetime, timezone
    >>> from partitions.time_windows import DailyPartitions
    >>> days = DailyPartitions("2025-01-01", end="2025-02-01").index(datetime(2025, 3, 1, tzinfo=timezone.utc))
    >>> week = PartitionSet.from_slots(days, range(7))
    >>> (PartitionSet.all(days) - week).describe()
    '2025-01-08...2025-01-31 (24)'
    >>> "2025-01-03" in week, len(~week)
    (True, 24)
    """

    index: PartitionIndex
    runs: NDArray[np.int64]

    def __post_init__(self) -> None:
        # A copy, because the caller's array may be a view into something that changes.
        runs = np.array(self.runs, dtype=np.int64).reshape(-1, 2)
        edges = runs.ravel()
        if edges.size and (
            edges[0] < 0 or edges[-1] > len(self.index) or not bool(np.all(edges[1:] > edges[:-1]))
        ):
            raise ValueError(
                f"runs must be ascending, disjoint, not touching and inside 0..{len(self.index)}; "
                f"got {runs.tolist()[:5]}"
            )
        runs.setflags(write=False)
        object.__setattr__(self, "runs", runs)

    @classmethod
    def all(cls, index: PartitionIndex) -> PartitionSet:
        """Every partition of `index`."""
        return cls(index, np.array([[0, len(index)]] if len(index) else [], dtype=np.int64))

    @classmethod
    def none(cls, index: PartitionIndex) -> PartitionSet:
        """No partition of `index`."""
        return cls(index, np.empty((0, 2), dtype=np.int64))

    @classmethod
    def from_mask(cls, index: PartitionIndex, mask: NDArray[np.bool_]) -> PartitionSet:
        """Return the set of the slots where `mask`, one bool per slot, is true.

        Raises:
            ValueError: the mask is not as long as the index.
        """
        if mask.shape != (len(index),):
            raise ValueError(f"a mask of {mask.shape} for an index of {len(index)} partitions")
        # Most masks are one of these two, and the two are known sooner than where a mask changes.
        if not mask.any():
            return cls.none(index)
        if mask.all():
            return cls.all(index)
        changes = np.flatnonzero(mask[1:] != mask[:-1]) + 1
        edges = [changes[:0], changes, changes[:0]]
        if mask[0]:
            edges[0] = np.zeros(1, dtype=np.int64)
        if mask[-1]:
            edges[2] = np.full(1, len(index), dtype=np.int64)
        return cls(index, np.concatenate(edges).reshape(-1, 2))

    @classmethod
    def from_slots(cls, index: PartitionIndex, slots: Iterable[int]) -> PartitionSet:
        """Return the set of `slots`, in any order, repeats allowed.

        Raises:
            ValueError: a slot is outside the index.
        """
        array = (
            slots.astype(np.int64, copy=False)
            if isinstance(slots, np.ndarray)
            else np.fromiter(slots, dtype=np.int64)
        )
        return cls.from_runs(index, np.stack([array, array + 1], axis=1))

    @classmethod
    def from_runs(
        cls, index: PartitionIndex, runs: NDArray[np.int64] | Sequence[Sequence[int]]
    ) -> PartitionSet:
        """Return the set of half-open slot `runs` in any order, overlapping and empty ones allowed.

        Raises:
            ValueError: a run leaves the index.
        """
        return cls(index, _merged(np.asarray(runs, dtype=np.int64).reshape(-1, 2)))

    @classmethod
    def from_keys(cls, index: PartitionIndex, keys: Iterable[str]) -> PartitionSet:
        """Return the set of the partitions with these `keys`, in any order, repeats allowed.

        Raises:
            UnknownPartitionError: the index has no such key.
        """
        return cls.from_slots(index, [index.slot(key) for key in keys])

    @classmethod
    def from_ids(cls, index: PartitionIndex, runs: Sequence[Sequence[int]]) -> PartitionSet:
        """Return the partitions whose stored id lies in one of the half-open id `runs`.

        Ids that the index does not have (the definition was narrowed, a key removed) are left out.
        """
        id_runs = np.asarray(runs, dtype=np.int64).reshape(-1, 2)
        ids = index.ids
        order = None if bool(np.all(ids[1:] > ids[:-1])) else np.argsort(ids, kind="stable")
        ascending = ids if order is None else ids[order]
        positions = np.stack([np.searchsorted(ascending, id_runs[:, side]) for side in (0, 1)], 1)
        if order is None:
            return cls.from_runs(index, positions)
        return cls.from_slots(index, order[_slots_in(_merged(positions))])

    def to_ids(self) -> list[list[int]]:
        """Half-open runs of stored ids that `from_ids` reads back, also after the definition's start or end moved.

        Between two neighbouring windows of a time definition its id space has no id, so a run of cron ticks stays one run
        although the ids are minutes apart. Dictionary ids do have gaps (removed keys): they run only where they are consecutive.
        """
        ids = self.index.ids
        if self.index.starts is None:
            chosen = np.sort(ids[self.slots()])
            begins = np.append(np.True_, np.diff(chosen) != 1)[: chosen.size]
            firsts, lasts = chosen[begins], chosen[np.roll(begins, -1)]
        else:
            runs = self._runs_in_lanes()
            firsts, lasts = ids[runs[:, 0]], ids[runs[:, 1] - 1]
        id_runs: list[list[int]] = np.stack([firsts, lasts + 1], axis=1).tolist()
        return id_runs

    def __and__(self, other: PartitionSet) -> PartitionSet:
        return self._combine(other, np.logical_and)

    def __or__(self, other: PartitionSet) -> PartitionSet:
        return self._combine(other, np.logical_or)

    def __sub__(self, other: PartitionSet) -> PartitionSet:
        return self._combine(other, np.greater)

    def __invert__(self) -> PartitionSet:
        return PartitionSet.all(self.index) - self

    def __len__(self) -> int:
        return int((self.runs[:, 1] - self.runs[:, 0]).sum())

    def __bool__(self) -> bool:
        return self.runs.size > 0

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        try:
            slot = self.index.slot(key)
        except UnknownPartitionError:
            return False
        return bool(_inside(self.runs, np.array([slot]))[0])

    def __iter__(self) -> Iterator[str]:
        slots = self.slots()
        for start in range(0, slots.size, _KEYS_AT_ONCE):
            yield from self.index.keys(slots[start : start + _KEYS_AT_ONCE])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PartitionSet):
            return NotImplemented
        return _same_index(self.index, other.index) and np.array_equal(self.runs, other.runs)

    def __hash__(self) -> int:
        return hash((self.index.definition, len(self.index), self.runs.tobytes()))

    def __repr__(self) -> str:
        return f"<PartitionSet {self.describe()}>"

    def mask(self) -> NDArray[np.bool_]:
        """One bool per slot of the index: a new array, O(slots)."""
        edges = np.concatenate([[0], self.runs.ravel(), [len(self.index)]])
        flags = np.zeros(edges.size - 1, dtype=np.bool_)
        flags[1::2] = True
        return np.repeat(flags, np.diff(edges))

    def slots(self) -> NDArray[np.int64]:
        """The slots in the set, ascending."""
        return _slots_in(self.runs)

    def first(self) -> str:
        """The key of the first partition in the set, in the order of the index.

        Raises:
            ValueError: the set is empty.
        """
        return self._edge_key(first=True)

    def last(self) -> str:
        """The key of the last partition in the set, in the order of the index.

        Raises:
            ValueError: the set is empty.
        """
        return self._edge_key(first=False)

    def describe(self, *, max_runs: int = 4) -> str:
        """The set for people: at most `max_runs` runs, and the count; "nothing" if it is empty.

        Unless runs were left out, `parse_range` reads the text back to the same set. Runs of windows are written
        `first...last`; keys of static and dynamic definitions have no meaning in between and are listed.

        >>> from datetime import datetime, timezone
        >>> from partitions.time_windows import DailyPartitions
        >>> days = DailyPartitions("2025-01-01", end="2025-02-01").index(datetime(2025, 3, 1, tzinfo=timezone.utc))
        >>> PartitionSet.from_slots(days, [0, 4, 5, 6]).describe()
        '2025-01-01, 2025-01-05...2025-01-07 (4)'
        >>> PartitionSet.from_slots(days, range(0, 14, 2)).describe()
        '2025-01-01, 2025-01-03, 2025-01-05, 2025-01-07 … and 3 more runs (7)'
        """
        if not self:
            return "nothing"
        terms, left_out = self._terms(max_runs)
        word = "run" if self.index.starts is not None else "key"
        more = f" … and {left_out} more {word}{'s' if left_out > 1 else ''}" if left_out else ""
        return f"{', '.join(terms)}{more} ({len(self)})"

    def expression(self) -> str:
        """Return the complete set as text that `parse_range` reads back to the same set; "" if it is empty."""
        return ", ".join(self._terms(None)[0])

    def split(self, size: int) -> Iterator[PartitionSet]:
        """Yield consecutive pieces of at most `size` partitions, none across a gap between runs or lanes of a multi index.

        Raises:
            ValueError: `size` is less than 1.
        """
        if size < 1:
            raise ValueError(f"pieces of {size} partitions: the size must be at least 1")
        return (
            PartitionSet(self.index, np.array([[piece, min(piece + size, end)]]))
            for start, end in self._runs_in_lanes().tolist()
            for piece in range(start, end, size)
        )

    def _combine(
        self, other: PartitionSet, operator: Callable[..., NDArray[np.bool_]]
    ) -> PartitionSet:
        if not _same_index(self.index, other.index):
            raise ValueError(
                f"sets over two indexes can't be combined: {self.index.definition.describe()} "
                f"and {other.index.definition.describe()}"
            )
        # Both sets are constant between neighbouring edges, so the answer is too: evaluate there and keep the changes.
        # The stable sort merges the two ascending halves in one pass; an edge that both have may well stand there twice.
        edges = np.sort(np.concatenate([self.runs.ravel(), other.runs.ravel()]), kind="stable")
        inside = operator(_inside(self.runs, edges), _inside(other.runs, edges))
        changes = np.diff(inside.astype(np.int8), prepend=np.int8(0)) != 0
        return PartitionSet(self.index, edges[changes].reshape(-1, 2))

    def _edge_key(self, *, first: bool) -> str:
        if not self:
            raise ValueError("an empty set has no first and no last partition")
        return self.index.key(int(self.runs[0, 0] if first else self.runs[-1, 1] - 1))

    def _runs_in_lanes(self) -> NDArray[np.int64]:
        """Return the runs, cut where one lane of a multi index ends and the next begins."""
        length = self.index.lane_length
        if self.index.starts is None or length == len(self.index):
            return self.runs
        lanes = np.arange(length, len(self.index), length)
        cuts = lanes[_inside(self.runs, lanes) & _inside(self.runs, lanes - 1)]
        return np.sort(np.concatenate([self.runs.ravel(), cuts, cuts])).reshape(-1, 2)

    def _terms(self, limit: int | None) -> tuple[list[str], int]:
        """Return at most `limit` terms of the range language, and how many more there are."""
        index = self.index
        if index.kind is PartitionKind.SINGLE:
            return (["unpartitioned"] if self else []), 0
        if index.starts is None:
            slots = self.slots()
            shown = slots[:limit].tolist()
            return [_term(index, slot, slot, whole=False) for slot in shown], slots.size - len(
                shown
            )
        runs, whole = self._runs_of_every_lane()
        shown_runs = runs[:limit].tolist()
        terms = [_term(index, start, end - 1, whole=whole) for start, end in shown_runs]
        return terms, len(runs) - len(shown_runs)

    def _runs_of_every_lane(self) -> tuple[NDArray[np.int64], bool]:
        """Return the runs of the first lane and True if all lanes, more than one, have the same; else all runs and False."""
        runs = self._runs_in_lanes()
        length = max(self.index.lane_length, 1)
        lanes = len(self.index) // length
        if lanes > 1 and runs.size and len(runs) % lanes == 0:
            shifts = np.arange(lanes)[:, None, None] * length
            by_lane = runs.reshape(lanes, -1, 2) - shifts
            inside = by_lane[-1, -1, 1] <= length and by_lane.min() >= 0
            if inside and bool(np.all(by_lane == by_lane[0])) and not _has_star(self.index):
                return by_lane[0], True
        return runs, False


def _term(index: PartitionIndex, first: int, last: int, *, whole: bool) -> str:
    """Write the slots `first` to `last` of one lane, or of every lane if `whole`, as one term of the range language."""
    if not index.dimension_indexes:
        keys = index.keys([first, last]) if first != last else index.keys([first])
        return "...".join(quote_key(key) for key in keys)
    parts = []
    for (_, dimension), (_, start), (_, end) in zip(
        index.dimension_indexes, index.dimensions(first), index.dimensions(last), strict=True
    ):
        if dimension.kind.is_time:
            parts.append(start if start == end else f"{start}...{end}")
        else:
            parts.append("*" if whole else quote_key(start))
    return "|".join(parts)


def _has_star(index: PartitionIndex) -> bool:
    """Whether `*` in a term of a multi index would mean the one key of that name, and not every key."""
    return any("*" in PartitionSet.all(dimension) for _, dimension in index.dimension_indexes)


def _inside(runs: NDArray[np.int64], slots: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each slot is in the runs: it is if an odd number of edges lies at or before it."""
    inside: NDArray[np.bool_] = np.searchsorted(runs.ravel(), slots, side="right") % 2 == 1
    return inside


def _merged(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return half-open runs in any order as ascending runs that don't touch."""
    runs = runs[runs[:, 0] < runs[:, 1]]
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    if len(runs) <= 1:
        return runs
    reach = np.maximum.accumulate(runs[:, 1])
    begins = np.append(np.True_, runs[1:, 0] > reach[:-1])
    ends = np.append(begins[1:], np.True_)
    return np.stack([runs[begins, 0], reach[ends]], axis=1)


def _slots_in(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    lengths = runs[:, 1] - runs[:, 0]
    before = np.cumsum(lengths) - lengths
    slots: NDArray[np.int64] = np.repeat(runs[:, 0] - before, lengths)
    return slots + np.arange(slots.size)


def _same_index(left: PartitionIndex, right: PartitionIndex) -> bool:
    """Whether slots of the two mean the same; an index is often built twice for one instant."""
    return left is right or (
        left.definition == right.definition and np.array_equal(left.ids, right.ids)
    )
