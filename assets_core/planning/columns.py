"""Recorded columns laid over the slots of an index: what one asset's part of the state says about each partition.

Theory of operation. A column of a big project is hundreds of kilobytes, and nearly all that a plan asks of it is answered by its least
or greatest entry: nothing failed if the greatest failure is 0, no input changed if the newest is not newer than the oldest that was read.
So columns stay as they were recorded, one entry per partition ever tried, and are laid over the slots only for whoever needs them partition
by partition. Where the recorded partitions stand among the slots is a `Layout`, which assets with equal ids share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import numpy as np

from assets_core.planning.lateness import settled_or

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray

    from assets_core.model.records import PartitionColumns
    from partitions.definitions import PartitionIndex

    Mask = NDArray[np.bool_]
    Ints = NDArray[np.int64]

Entry = TypeVar("Entry", np.int64, np.bool_)
T = TypeVar("T")

_MOST_KEPT = 16


def least(column: Ints) -> int:
    """The least entry; 0 of an empty column. A constant column is a view of one value, and looking at that is enough."""
    return int(_told(column).min()) if column.size else 0


def most(column: Ints) -> int:
    """The greatest entry; 0 of an empty column."""
    return int(_told(column).max()) if column.size else 0


def _told(column: Ints) -> Ints:
    return column[:1] if column.strides == (0,) else column


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where recorded partitions stand among the slots of an index; recorded ones that the index no longer has are left out.

    `slots` is None if every slot is recorded, in order. Otherwise it has the slots of those recorded partitions that `known` tells the
    index has (None: all of them).
    """

    index: PartitionIndex
    ids: Ints
    """What was laid over the index."""
    slots: Ints | None
    known: Mask | None
    absent: Mask
    """Slots of which nothing is recorded."""

    @classmethod
    def of(cls, index: PartitionIndex, ids: Ints) -> Self:
        """Lay recorded `ids` over the index."""
        if len(ids) == len(index) and np.array_equal(ids, index.ids):
            return cls(index, ids, None, None, np.zeros(len(index), dtype=np.bool_))
        slots = index.slots_of_ids(ids)
        known = slots >= 0
        absent = np.ones(len(index), dtype=np.bool_)
        absent[slots[known]] = False
        if known.all():
            return cls(index, ids, slots, None, absent)
        return cls(index, ids, slots[known], known, absent)

    def __post_init__(self) -> None:
        self.absent.flags.writeable = False  # assets share it

    def spread(self, column: NDArray[Entry]) -> NDArray[Entry]:
        """One entry per slot, 0 or false where nothing is recorded. May be the column itself."""
        if self.slots is None:
            return column
        result = np.zeros(len(self.absent), dtype=column.dtype)
        result[self.slots] = column if self.known is None else column[self.known]
        return result


@dataclass(frozen=True, slots=True, eq=False)
class PartitionFacts:
    """The recorded state of one asset. Properties lay a column over the slots, anew each time: one entry per slot, 0 where nothing is recorded.

    What they return may be the recorded column itself: read it, don't write it.
    """

    recorded: PartitionColumns
    layout: Layout
    lost: Mask
    in_flight: Mask
    due: Mask

    @property
    def seq(self) -> Ints:
        """When each partition last succeeded; 0: never."""
        return self.layout.spread(self.recorded.seq)

    @property
    def read_seq(self) -> Ints:
        """What was committed before that success read anything."""
        return self.layout.spread(self.recorded.read_seq)

    @property
    def code_id(self) -> Ints:
        """The code version of that success."""
        return self.layout.spread(self.recorded.code_id)

    @property
    def deps_id(self) -> Ints:
        """The dependency version of that success."""
        return self.layout.spread(self.recorded.deps_id)

    @property
    def data_seq(self) -> Ints:
        """When the rows last changed."""
        return self.layout.spread(self.recorded.data_seq)

    @property
    def failed_seq(self) -> Ints:
        """When the last attempt failed; 0: it did not."""
        return self.layout.spread(self.recorded.failed_seq)

    @property
    def has_data(self) -> Ints:
        """Whether there are rows, 0 or 1."""
        return self.layout.spread(self.recorded.has_data)

    @property
    def horizon(self) -> Ints | None:
        """How late each success was, see `lateness`; None if every recorded one is SETTLED."""
        horizon = settled_or(self.recorded.horizon)
        return None if horizon is None else self.layout.spread(horizon)

    @property
    def never_tried(self) -> Mask:
        """Slots of which no success and no failure is known."""
        if least(self.recorded.seq) > 0:
            return self.layout.absent
        return np.asarray((self.seq == 0) & (self.failed_seq == 0))

    @property
    def materialized(self) -> Mask:
        """Slots that ever succeeded."""
        if least(self.recorded.seq) > 0:
            return ~self.layout.absent
        return np.asarray(self.seq > 0)

    @property
    def exists(self) -> Mask:
        """Slots that were materialized and not lost since."""
        return np.asarray(self.materialized & ~self.lost)

    @property
    def readable(self) -> Mask:
        """Slots that have rows: not those whose function returned None."""
        return np.asarray(self.exists & (self.has_data > 0))

    def differs(self, column: Ints, current: int) -> Mask | None:
        """Recorded slots where a recorded column is not `current`; None if there are none."""
        if column.strides != (0,):
            return self.layout.spread(column != current)
        return ~self.layout.absent if (_told(column) != current).any() else None

    def per_slot(self, **columns: Ints) -> PartitionFacts:
        """The same with an entry recorded for every slot, 0 throughout where there was none, and these columns in place of the recorded."""
        spread = self.layout.spread
        recorded = {
            name: columns[name] if name in columns else spread(getattr(self.recorded, name))
            for name in self.recorded.__slots__
            if name != "ids"
        }
        index = self.layout.index
        return replace(
            self,
            recorded=replace(self.recorded, ids=index.ids, **recorded),
            layout=Layout.of(index, index.ids),
        )


class Recent(Generic[T]):
    """The last few answers of a pure function: many assets of a project share an index, and ask the same about it.

    Few are kept, so that memory does not follow the size of a project in which no two assets are alike.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, T] = {}

    def answer(self, question: Hashable, make: Callable[[], T]) -> T:
        """The answer to this question, made if it is not among those kept. Equal questions have equal answers: indexes are equal if they are one."""
        if question not in self._kept:
            if len(self._kept) >= _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[question] = make()
        return self._kept[question]


def put(target: NDArray[np.uint8], where: Mask, value: int) -> None:
    """`target[where] = value`, by arithmetic: without branches it takes a third of the time or less."""
    change = target ^ np.uint8(value)
    change &= -where.view(np.uint8)
    target ^= change
