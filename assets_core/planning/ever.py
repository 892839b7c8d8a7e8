"""The partitions that a definition has, or had: for naming those that are gone. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from partitions.definitions import KeyedIndex, StaticPartitions
from partitions.errors import PartitionDefinitionError
from partitions.time_windows import TimePartitions

if TYPE_CHECKING:
    from datetime import datetime

    from partitions.definitions import KeyIds, PartitionIndex, Partitions


def index_ever(
    definition: Partitions, now: datetime, key_ids: KeyIds, removed: KeyIds
) -> PartitionIndex | None:
    """The index with keys that are out of use (`removed`) and without the end of a definition; None if that is too large.

    What lay before a start that moved is not in it, nor a listed key that left a product.
    """
    if isinstance(definition, StaticPartitions):
        known = key_ids.get(definition.space, {})
        return KeyedIndex(definition, tuple(known), np.array(list(known.values()), dtype=np.int64))
    every = {
        space: {**key_ids.get(space, {}), **removed.get(space, {})}
        for space in key_ids.keys() | removed.keys()
    }
    if isinstance(definition, TimePartitions):
        definition = replace(definition, end=None)  # type: ignore[type-var] # each kind of them is a dataclass
    try:
        return definition.index(now, every)
    except PartitionDefinitionError:
        return None
