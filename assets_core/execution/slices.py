"""From slots of a partition index to the partitions as IO managers and the state store see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.model.io_manager import PartitionSlice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from partitions.definitions import PartitionIndex


def slices_of(index: PartitionIndex, slots: Iterable[int]) -> tuple[PartitionSlice, ...]:
    """One slice per slot, in the given order."""
    return tuple(
        PartitionSlice(
            id=int(index.ids[slot]),
            key=index.key(slot),
            window=index.window(slot),
            dimensions=index.dimensions(slot),
        )
        for slot in slots
    )


def keys_of(index: PartitionIndex, slots: Iterable[int]) -> tuple[str, ...]:
    """The keys to show for some slots: none for an unpartitioned asset."""
    return tuple(key for key in (index.key(slot) for slot in slots) if key)


def ids_of(index: PartitionIndex, slots: Iterable[int]) -> tuple[int, ...]:
    """The stored ids of some slots."""
    return tuple(int(index.ids[slot]) for slot in slots)
