"""Why a partition is stale, blocked or left alone: the codes, and the one wording that every reader of a plan shares."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class Reason(IntEnum):
    """The first reason that applies, in this order; FRESH is none. Stored in uint8 arrays, so the numbers are part of the plan format."""

    FRESH = 0
    MISSING = 1
    LOST = 2
    FAILED = 3
    CODE = 4
    DEPS = 5
    PROVISIONAL = 6
    INPUT = 7
    LOOKBACK = 8
    UPSTREAM = 9
    FORCED = 10

    @property
    def word(self) -> str:
        """The name in plans, JSON and `status:` selections."""
        return self.name.lower()

    def sentence(self, upstream: str | None = None) -> str:
        """What it means for a group of partitions; `upstream` names the asset that caused INPUT and UPSTREAM.

        >>> Reason.INPUT.sentence("bronze_orders")
        'bronze_orders changed after they were computed'
        """
        match self:
            case Reason.FRESH:
                return "up to date"
            case Reason.MISSING:
                return "never materialized"
            case Reason.LOST:
                return "recorded as materialized, but the data is gone"
            case Reason.FAILED:
                return "the last attempt failed"
            case Reason.CODE:
                return "the code changed"
            case Reason.DEPS:
                return "the dependencies or their mappings changed"
            case Reason.PROVISIONAL:
                return "computed before their window had closed"
            case Reason.INPUT:
                return f"{upstream} changed after they were computed"
            case Reason.LOOKBACK:
                return "re-done because a newer partition became due after they were computed (lookback)"
            case Reason.UPSTREAM:
                return f"{upstream} is being re-run; they run only if it changes"
            case Reason.FORCED:
                return "asked for with --force"
            case _:
                assert_never(self)


ROOT_REASONS = (
    Reason.MISSING,
    Reason.LOST,
    Reason.FAILED,
    Reason.CODE,
    Reason.DEPS,
    Reason.PROVISIONAL,
    Reason.INPUT,
    Reason.LOOKBACK,
)
"""Reasons that make a partition stale by itself; UPSTREAM only follows from them."""


class Blocked(IntEnum):
    """Why a stale partition can't run; NOT_BLOCKED is none."""

    NOT_BLOCKED = 0
    UPSTREAM_MISSING = 1
    OUTSIDE_UPSTREAM = 2
    UPSTREAM_BLOCKED = 3
    UPSTREAM_NOT_DUE = 4
    UPSTREAM_IN_FLIGHT = 5

    def sentence(
        self, upstream: str, until: datetime | None = None, runs: Sequence[str] = ()
    ) -> str:
        """What it means for a group of partitions that read `upstream`, which is not due `until` then, or which `runs` work on.

        >>> Blocked.UPSTREAM_IN_FLIGHT.sentence("orders", runs=["4711"])
        'orders has no data there yet: being made by run 4711'
        """
        match self:
            case Blocked.NOT_BLOCKED:
                return "not blocked"
            case Blocked.UPSTREAM_MISSING:
                return f"{upstream} has no data there and is not part of this plan"
            case Blocked.OUTSIDE_UPSTREAM:
                return f"they read partitions that {upstream} does not have"
            case Blocked.UPSTREAM_BLOCKED:
                return f"{upstream} has no data there and is blocked itself"
            case Blocked.UPSTREAM_NOT_DUE:
                return f"{upstream} has no data there and is {not_due(until)}"
            case Blocked.UPSTREAM_IN_FLIGHT:
                return f"{upstream} has no data there yet: {being_made(runs)}"
            case _:
                assert_never(self)


WAITING = "stale because of what they read, which is not part of this plan"
PASSED_OVER = "stale, but not missing"


def not_due(until: datetime | None) -> str:
    """What is told of partitions whose windows closed too short a time ago; `until` is when the first of them becomes due."""
    assert until is not None
    return f"not due before {until.isoformat()}"


def being_made(runs: Sequence[str]) -> str:
    """What is told of partitions that these live runs work on.

    >>> being_made(["4711", "4712"])
    'being made by runs 4711, 4712'
    """
    return f"being made by run{'s' if len(runs) > 1 else ''} {', '.join(runs)}"
