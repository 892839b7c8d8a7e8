"""What an asset's function is told about the call it is in. Who makes contexts: `execution.worker`; here is only the value."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from assets_core.model.errors import DefinitionError

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping, Sequence

    from partitions.time_windows import TimeWindow

_NO_DIMENSIONS: Final[Mapping[str, str]] = MappingProxyType({})
_FEW_KEYS = 3


@dataclass(frozen=True, slots=True, init=False)
class AssetContext:
    """The asset, the attempt and the partitions of one call of an asset's function.

    `attempt` counts from 1. `partition_keys` are in partition order: one, several with `batch_size`, none if the asset is not
    partitioned. `dimensions` maps the dimensions of a multi-partitioned asset to the key of this call (those that a batch has in
    common). `log` writes into the run's log.

    >>> import logging
    >>> from datetime import datetime, timedelta, timezone
    >>> from partitions.time_windows import TimeWindow
    >>> midnight = datetime(2025, 1, 31, tzinfo=timezone.utc)
    >>> context = AssetContext(asset="orders", run_id="r1", attempt=1, partition_keys=["2025-01-31"],
    ...                        window=TimeWindow(midnight, midnight + timedelta(days=1)), log=logging.getLogger("test"))
    >>> context.partition_key, context.window.end.isoformat()
    ('2025-01-31', '2025-02-01T00:00:00+00:00')
    """

    asset: str
    run_id: str
    attempt: int
    partition_keys: tuple[str, ...]
    dimensions: Mapping[str, str]
    log: logging.Logger
    _window: TimeWindow | None

    def __init__(
        self,
        *,
        asset: str,
        run_id: str,
        attempt: int,
        log: logging.Logger,
        partition_keys: Sequence[str] = (),
        window: TimeWindow | None = None,
        dimensions: Mapping[str, str] = _NO_DIMENSIONS,
    ) -> None:
        values = {
            "asset": asset,
            "run_id": run_id,
            "attempt": attempt,
            # The one partition of an unpartitioned asset has the empty key, which no user ever wrote.
            "partition_keys": tuple(key for key in partition_keys if key),
            "dimensions": dict(dimensions),
            "log": log,
            "_window": window,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def partition_key(self) -> str:
        """The key of the one partition of this call.

        Raises:
            DefinitionError: the asset is not partitioned, or the call covers a batch of several partitions.
        """
        match self.partition_keys:
            case (key,):
                return key
            case ():
                raise DefinitionError(
                    f"asset {self.asset!r} reads context.partition_key, but it is not partitioned",
                    hint="give it partitions=…, or leave the partition key out",
                )
            case keys:
                shown = ", ".join(keys[:_FEW_KEYS]) + (", …" if len(keys) > _FEW_KEYS else "")
                raise DefinitionError(
                    f"asset {self.asset!r} reads context.partition_key, but this call covers a batch of "
                    f"{len(keys)} partitions ({shown})",
                    hint="use context.partition_keys and context.window, or batch_size=1",
                )

    @property
    def window(self) -> TimeWindow:
        """The time window of this call in the definition's zone, half-open; it spans all partitions of a batch.

        Raises:
            DefinitionError: the asset's partitions have no time dimension; `has_window` tells.
        """
        if self._window is None:
            reason = (
                "its partitions have no time dimension"
                if self.partition_keys
                else "it is not partitioned"
            )
            raise DefinitionError(
                f"asset {self.asset!r} reads context.window, but {reason}",
                hint="give it time partitions, such as partitions=DailyPartitions(…)",
            )
        return self._window

    @property
    def has_window(self) -> bool:
        """Whether the partitions of this call have a time window."""
        return self._window is not None
