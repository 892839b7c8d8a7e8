"""When partitions are due, and which were made too early: rules about windows that close. Pure; what else makes stale is `staleness`'s.

Theory of operation
-------------------
A partition is made from what the world knows at one moment. Two kinds of window may still have been open then: its own (`end_offset`
lets a partition exist before its window ends), and those of the next `lookback` partitions, while which late data may come in. When a
step is claimed, each partition's *horizon* says how far that had gone:

    0        its own window was open
    1 + n    that had closed, and n < lookback later partitions of its lane were due
    SETTLED  that had closed, and `lookback` later partitions were due

A partition is stale if its horizon says less than what is true now: `provisional` for 0 once its window has closed, `lookback` once more
than n of the next `lookback` partitions are due. What counts is which partitions were due, not which were there, so a filled hole
is no new delivery, and a run that was late by a week re-does what it must. A greater `lookback` in the definition leaves settled
partitions alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assets_core.model.records import SETTLED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from assets_core.model.specs import AssetSpec
    from partitions.definitions import PartitionIndex

    Mask = NDArray[np.bool_]
    Ints = NDArray[np.int64]


def due_partitions(index: PartitionIndex, spec: AssetSpec, now: datetime) -> Mask:
    """Slots whose window ended at least `closed_after` ago; without a time dimension, all of them. Read-only: assets share it."""
    if index.ends is None or not spec.closed_after:
        due = np.ones(len(index), dtype=np.bool_)
    else:
        due = np.asarray(index.ends + spec.closed_after.total_seconds() <= now.timestamp())
    due.flags.writeable = False
    return due


def horizons_of(
    index: PartitionIndex, spec: AssetSpec, slots: Sequence[int], now: datetime
) -> tuple[int, ...]:
    """The horizons of these slots for a step that is claimed at `now`; empty if all are SETTLED, as nearly always."""
    if index.ends is None:
        return ()
    chosen = np.asarray(slots, dtype=np.int64)
    is_open = index.ends[chosen] > now.timestamp()
    if not spec.lookback and not is_open.any():
        return ()
    later = _later_due(due_partitions(index, spec, now), index.lane_length)[chosen]
    found = np.where(later < spec.lookback, 1 + later, SETTLED)
    found[is_open] = 0
    return () if (found == SETTLED).all() else tuple(found.tolist())


def made_while_open(index: PartitionIndex, horizon: Ints, seq: Ints, now: datetime) -> Mask:
    """Slots that were made while their window was open, and whose window has closed."""
    if index.ends is None:
        return np.zeros(len(index), dtype=np.bool_)
    return np.asarray((horizon == 0) & (seq > 0) & (index.ends <= now.timestamp()))


def made_before_later_ones(horizon: Ints, due: Mask, lookback: int, lane: int) -> Mask:
    """Slots of which more of the next `lookback` partitions are due than when they were made; lanes have `lane` slots each."""
    if not lookback:
        return np.zeros(len(due), dtype=np.bool_)
    return np.asarray((horizon > 0) & (horizon - 1 < np.minimum(_later_due(due, lane), lookback)))


def settled_or(horizon: Ints) -> Ints | None:
    """The column, or None if it says SETTLED throughout; a constant column is a view of one value, and looking at that is enough."""
    told = horizon[:1] if horizon.strides == (0,) else horizon
    return None if (told == SETTLED).all() else horizon


def _later_due(due: Mask, lane: int) -> Ints:
    """Per slot, how many later slots of its lane are due."""
    if not len(due):
        return np.zeros(0, dtype=np.int64)
    lanes = due.reshape(-1, lane).astype(np.int64)
    return np.asarray((lanes.sum(axis=1, keepdims=True) - np.cumsum(lanes, axis=1)).ravel())
