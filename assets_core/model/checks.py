"""What a check of an asset's rows answers. Running checks lives in `execution.worker`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The answer of one asset check for the step's rows.

    `message` says what was found; `metadata` holds figures worth keeping (JSON scalars).

    >>> CheckResult(passed=False, message="3 orders have no customer", metadata={"orders": 3}).passed
    False
    """

    passed: bool
    message: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """A check's result as it is recorded: which check, over which asset, and whether it stops publishing."""

    check: str
    asset: str
    blocking: bool
    passed: bool
    message: str
    metadata: Mapping[str, Scalar]
