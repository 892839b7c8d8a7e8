"""The root of every error that Partita raises, and the errors of partition definitions and keys.

An error carries a `message` (what happened, with its values and the nearest match), a `hint` (what to type next) and a stable
`code` that `partita explain CODE` looks up. The class says who is to blame. Formatting for a terminal does not live here.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class PartitaError(Exception):
    """Base of all errors of Partita: `message`, `hint` and `code` are plain text and survive pickling."""

    code = "partita-error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Exception.__reduce__ replays only positional arguments, so keyword-only state goes into __dict__.
        return (_rebuild, (type(self), self.message, self.__dict__))


def _rebuild(kind: type[PartitaError], message: str, state: dict[str, object]) -> PartitaError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class DefinitionError(PartitaError):
    """What the author of a project wrote can't be right, and it can be known before anything runs."""

    code = "definition"


class PartitionDefinitionError(DefinitionError):
    """A partition definition contradicts itself: unknown zone, start after end, malformed cron, bad static key."""

    code = "partition-definition"


class MappingError(DefinitionError):
    """No mapping can be chosen, or the chosen one does not fit its two definitions."""

    code = "mapping"


class UnknownPartitionError(PartitaError):
    """A partition key that the definition does not have, or has not yet."""

    code = "unknown-partition"


class RangeSyntaxError(PartitaError):
    """A partition range that can't be read, or runs backwards."""

    code = "range-syntax"


def nearest(name: str, known: Iterable[str], *, limit: int = 3) -> tuple[str, ...]:
    """Up to `limit` of `known` that look most like `name`, best first; empty if nothing is near.

    >>> nearest("silver_order", ["bronze_orders", "silver_orders"])
    ('silver_orders',)
    """
    return tuple(get_close_matches(name, list(known), n=limit, cutoff=0.6))
