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

    `message` says what was found; `metadata` holds figures worth keeping. numpy and pyarrow scalars become Python's own.

    Raises:
        TypeError: `passed` is not a truth value, or a figure is not a text, number, truth value or None.

    >>> CheckResult(passed=False, message="3 orders have no customer", metadata={"orders": 3}).passed
    False
    """

    passed: bool
    message: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        passed = _scalar("passed", self.passed)
        if not isinstance(passed, bool):
            raise TypeError(f"CheckResult(passed={passed!r}) is no truth value")
        object.__setattr__(self, "passed", passed)
        figures = {
            str(name): _scalar(f"metadata[{name!r}]", value)
            for name, value in self.metadata.items()
        }
        object.__setattr__(self, "metadata", figures)


def _scalar(name: str, value: object) -> Scalar:
    # Here and not when it is recorded: by then the rows that were judged would already be published.
    for convert in ("as_py", "item"):
        if hasattr(value, convert):
            value = getattr(value, convert)()
    if isinstance(value, str | int | float | None):
        return value
    raise TypeError(
        f"CheckResult: {name} is of type {type(value).__name__}; it can be a text, number, truth value or None"
    )


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """A check's result as it is recorded: which check, over which asset, and whether it stops publishing.

    `partition_id` says which of the step's partitions it is about; None: about all of them together.
    """

    check: str
    asset: str
    blocking: bool
    passed: bool
    message: str
    metadata: Mapping[str, Scalar]
    partition_id: int | None = None
