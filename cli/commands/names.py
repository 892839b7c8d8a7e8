"""Reading `ASSET@KEY`: an asset, and one of its partitions. Nothing else is decided here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.commands.options import HintedUsageError
from partitions.definitions import PartitionKind

if TYPE_CHECKING:
    from assets_core.planning.staleness import Facts


def split_name(name: str) -> tuple[str, str | None]:
    """The asset and the partition key of a name; the key is None if there is no `@`. Asset names hold no `@`, keys may.

    >>> split_name("orders@2025-01-31"), split_name("regions")
    (('orders', '2025-01-31'), ('regions', None))
    """
    asset, at, key = name.partition("@")
    return asset, key if at else None


def slot_of(facts: Facts, name: str) -> tuple[str, int]:
    """The asset and the slot that `ASSET@KEY` names; for an unpartitioned asset its name alone.

    Raises:
        SelectionError: there is no such asset.
        UnknownPartitionError: the asset has no such partition.
    """
    asset, key = split_name(name)
    facts.graph.spec(asset)
    index = facts.indexes[asset]
    if key is None and index.kind is PartitionKind.SINGLE:
        return asset, 0
    if key is None:
        example = index.key(len(index) - 1) if len(index) else "KEY"
        raise HintedUsageError(
            f"{asset} is partitioned, so a partition must be named",
            f"for example {asset}@{example}",
        )
    return asset, index.slot(key)
