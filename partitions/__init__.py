"""Partitions of data assets: time windows in any zone, listed keys and products; sets, mappings and ranges of them.

This package knows nothing of assets, files or clocks: `now` is always a parameter. Names are loaded when first used, because
`from partitions.errors import PartitaError` (which `partita --help` needs) must load neither numpy nor the zone database.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partitions.definitions import (
        SINGLE,
        DynamicPartitions,
        KeyIds,
        PartitionIndex,
        PartitionKind,
        Partitions,
        SinglePartition,
        StaticPartitions,
    )
    from partitions.errors import (
        DefinitionError,
        MappingError,
        PartitaError,
        PartitionDefinitionError,
        RangeSyntaxError,
        UnknownPartitionError,
    )
    from partitions.mapped_set import MappedSet
    from partitions.mappings import (
        All,
        Identity,
        Last,
        LastN,
        Offset,
        PartitionMapping,
        PerDimension,
        StaticMap,
        TimeOverlap,
        choose_mapping,
    )
    from partitions.multi import MultiPartitions
    from partitions.ranges import parse_from_to, parse_range
    from partitions.sets import PartitionSet
    from partitions.time_windows import (
        CronPartitions,
        DailyPartitions,
        HourlyPartitions,
        MonthlyPartitions,
        TimeWindow,
        WeeklyPartitions,
    )

__all__ = [
    "SINGLE",
    "All",
    "CronPartitions",
    "DailyPartitions",
    "DefinitionError",
    "DynamicPartitions",
    "HourlyPartitions",
    "Identity",
    "KeyIds",
    "Last",
    "LastN",
    "MappedSet",
    "MappingError",
    "MonthlyPartitions",
    "MultiPartitions",
    "Offset",
    "PartitaError",
    "PartitionDefinitionError",
    "PartitionIndex",
    "PartitionKind",
    "PartitionMapping",
    "PartitionSet",
    "Partitions",
    "PerDimension",
    "RangeSyntaxError",
    "SinglePartition",
    "StaticMap",
    "StaticPartitions",
    "TimeOverlap",
    "TimeWindow",
    "UnknownPartitionError",
    "WeeklyPartitions",
    "choose_mapping",
    "parse_from_to",
    "parse_range",
]

_HOMES = {
    "definitions": (
        "SINGLE",
        "DynamicPartitions",
        "KeyIds",
        "PartitionIndex",
        "PartitionKind",
        "Partitions",
        "SinglePartition",
        "StaticPartitions",
    ),
    "errors": (
        "DefinitionError",
        "MappingError",
        "PartitaError",
        "PartitionDefinitionError",
        "RangeSyntaxError",
        "UnknownPartitionError",
    ),
    "mapped_set": ("MappedSet",),
    "mappings": (
        "All",
        "Identity",
        "Last",
        "LastN",
        "Offset",
        "PartitionMapping",
        "PerDimension",
        "StaticMap",
        "TimeOverlap",
        "choose_mapping",
    ),
    "multi": ("MultiPartitions",),
    "ranges": ("parse_from_to", "parse_range"),
    "sets": ("PartitionSet",),
    "time_windows": (
        "CronPartitions",
        "DailyPartitions",
        "HourlyPartitions",
        "MonthlyPartitions",
        "TimeWindow",
        "WeeklyPartitions",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
