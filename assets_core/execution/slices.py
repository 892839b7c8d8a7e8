"""From slots of a partition index to the partitions as IO managers and the state store see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.model.io_manager import PartitionSlice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from partitions.definitions import PartitionIndex


def slices_of(index: PartitionIndex, slots: Iterable[int]) -> tuple[PartitionSlice, ...]:
    """One slice per slot, in the given order."""
    chosen = tuple(slots)
    return tuple(
        PartitionSlice(
            id=int(index.ids[slot]),
            key=key,
            window=index.window(slot),
            dimensions=index.dimensions(slot),
        )
        for slot, key in zip(chosen, index.keys(chosen), strict=True)
    )


def keys_of(index: PartitionIndex, slots: Iterable[int]) -> tuple[str, ...]:
    """The keys to show for some slots: none for an unpartitioned asset."""
    return tuple(key for key in index.keys(slots) if key)


def ids_of(index: PartitionIndex, slots: Iterable[int]) -> tuple[int, ...]:
    """The stored ids of some slots."""
    return tuple(int(index.ids[slot]) for slot in slots)
