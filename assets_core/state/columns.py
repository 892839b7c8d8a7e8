"""Log rows as partition columns, and newer columns laid over older ones: array operations only, no statement runs here.

Reading a snapshot and writing chunks both go through these two functions, so that the state is the same with and without chunks.
"""

from __future__ import annotations

from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from assets_core.model.records import PartitionColumns
from assets_core.state.chunk_codec import column_arrays

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_FIELDS: Final = 10
ASSET, PARTITION, SEQ, KIND, READ_SEQ, CODE, DEPS, DATA_SEQ, HAS_DATA, HORIZON = range(_FIELDS)
FAILURE: Final = 0
"""The kind of a failure; 1 is a success and 2 a mark, which counts as one."""


def log_array(rows: Iterable[tuple[int, ...]]) -> Ints:
    """Log rows of `sql_rows.LOG_COLUMNS` as one array of shape (rows, 10)."""
    return np.fromiter(chain.from_iterable(rows), dtype=np.int64).reshape(-1, _FIELDS)


def last_of_log(log: Ints) -> tuple[Ints, PartitionColumns]:
    """The last success and failure of every partition among log rows, which may come in any order.

    Answers the asset ids and the columns of one entry per asset and partition, ascending by both.
    """
    log = log[np.lexsort((log[:, SEQ], log[:, PARTITION], log[:, ASSET]))]
    ids, seq, kind = log[:, PARTITION], log[:, SEQ], log[:, KIND]
    # Sorted so, a group ends where asset or partition changes.
    is_last = np.ones(len(log), dtype=np.bool_)
    is_last[:-1] = (ids[1:] != ids[:-1]) | (log[1:, ASSET] != log[:-1, ASSET])
    ends = np.flatnonzero(is_last)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1] + 1])[: len(ends)]
    # Row number of the latest success so far, carried forward; it belongs to the group only if it is not before its start.
    successes = np.where(kind != FAILURE, np.arange(len(log)), -1)
    success = np.maximum.accumulate(successes)[ends]
    has_success = success >= starts
    chosen = np.where(has_success[:, np.newaxis], log[success], 0)
    # Rows stay where they are when a later success publishes none, so it is any success so far that counts.
    has_data = (
        np.maximum.reduceat(log[:, HAS_DATA], starts) if len(starts) else chosen[:, HAS_DATA]
    )
    columns = PartitionColumns(
        ids=ids[ends].copy(),
        seq=chosen[:, SEQ].copy(),
        read_seq=chosen[:, READ_SEQ].copy(),
        code_id=chosen[:, CODE].copy(),
        deps_id=chosen[:, DEPS].copy(),
        data_seq=chosen[:, DATA_SEQ].copy(),
        has_data=has_data.copy(),
        failed_seq=np.where(kind[ends] == FAILURE, seq[ends], 0),
        horizon=chosen[:, HORIZON].copy(),
    )
    return log[ends, ASSET], columns


def by_asset(asset_ids: Ints, columns: PartitionColumns) -> dict[int, PartitionColumns]:
    """The two results of `last_of_log` taken apart; the arrays are views."""
    assets, starts = np.unique(asset_ids, return_index=True)
    bounds = [*starts.tolist(), len(asset_ids)]
    return {
        asset_id: part(columns, begin, end)
        for asset_id, (begin, end) in zip(assets.tolist(), pairwise(bounds), strict=True)
    }


def part(columns: PartitionColumns, begin: int, end: int) -> PartitionColumns:
    """Entries `begin` to `end` (exclusive) as views.

    >>> some = np.arange(5)
    >>> part(PartitionColumns(*[some] * 9), 1, 3).ids
    array([1, 2])
    """
    return PartitionColumns(*(array[begin:end] for array in column_arrays(columns)))


def overlay(older: PartitionColumns, newer: PartitionColumns) -> PartitionColumns:
    """The columns after both: every row behind `newer` is of a later seq than all behind `older`.

    A failure leaves the success before it; a success forgets the failure before it.

    >>> def state(ids, seq, failed_seq):
    ...     rest = [np.array(seq)] * 5
    ...     return PartitionColumns(np.array(ids), np.array(seq), *rest, np.array(failed_seq), np.array(seq))
    >>> both = overlay(state([1, 2, 3], [11, 0, 13], [0, 12, 0]), state([2, 3, 4], [21, 0, 22], [0, 23, 0]))
    >>> both.ids, both.seq, both.failed_seq
    (array([1, 2, 3, 4]), array([11, 21, 13, 22]), array([ 0,  0, 23,  0]))
    """
    if not len(older.ids) or not len(newer.ids):
        return newer if len(newer.ids) else older
    at = np.searchsorted(older.ids, newer.ids)
    known = older.ids[np.minimum(at, len(older.ids) - 1)] == newer.ids
    # A success replaces all that is said of the last success. What the newest row says about failure always counts.
    succeeded = known & (newer.seq > 0)
    merged = []
    for name in PartitionColumns.__slots__:
        before, after = getattr(older, name), getattr(newer, name)
        replaced = known if name in {"ids", "failed_seq"} else succeeded
        values = np.array(before)
        if name == "has_data":
            values[at[known]] |= after[known]
        else:
            values[at[replaced]] = after[replaced]
        merged.append(values if known.all() else np.insert(values, at[~known], after[~known]))
    return PartitionColumns(*merged)
