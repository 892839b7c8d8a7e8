"""When a partition is in the history of an asset that keeps one (`SCD2`): light, because whoever looks at a destination loads it.

What is made of moments is decided in `history`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets_core.model.errors import InternalError, IOManagerError
from assets_core.model.specs import SCD2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from assets_core.model.io_manager import PartitionSlice, StageRequest, Target


@dataclass(frozen=True, slots=True)
class Moment:
    """A partition that has events, or none but was written; `at` is its start."""

    key: str
    at: datetime


def is_history(target: Target) -> bool:
    """True if readers of the asset get a fold instead of what is stored."""
    return isinstance(target.write, SCD2)


def moment_of(request: StageRequest) -> Moment:
    """The moment of the partition that an attempt writes, for an asset that keeps a history."""
    (one,) = request.slices
    return Moment(one.key, _start(request.target, one))


def last_moment(target: Target, slices: Sequence[PartitionSlice]) -> datetime | None:
    """The moment up to which these partitions ask for the history; None if none is asked for."""
    return max((_start(target, one) for one in slices), default=None)


def is_asked(target: Target, at: datetime, last: datetime | None) -> bool:
    """Whether the partition at a moment is in the history up to `last`. One before the first that is defined is in none."""
    return last is not None and at <= last and (target.since is None or at >= target.since)


def last_end(slices: Sequence[PartitionSlice]) -> datetime | None:
    """The end of the last of these partitions, in their time zone: nothing that begins then or later is part of the history as of them."""
    from datetime import UTC  # noqa: PLC0415 - only where histories are kept

    ends = [one.window.end for one in slices if one.window is not None]
    return max(ends, key=lambda end: end.astimezone(UTC), default=None)


def no_moment(asset: str, key: str) -> IOManagerError:
    """The error for a partition whose rows were written before the asset kept a history."""
    return IOManagerError(
        f"{asset} partition {key} was written under another write mode, and has no place in the history",
        hint=f"materialize {asset} again, all partitions",
    )


def _start(target: Target, one: PartitionSlice) -> datetime:
    from datetime import UTC  # noqa: PLC0415 - only where histories are kept

    if one.window is None:
        raise InternalError(f"{target.asset} keeps a history without time partitions")
    return one.window.start.astimezone(UTC)
