"""The port behind Parquet files in an object store: the few requests that are made, and what their failures mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from assets_core.model.errors import IOManagerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class StoreChangedError(Exception):
    """What a conditional request expected to be there is not."""


class StoreUnreachableError(IOManagerError):
    """No answer, or one that says to try again: whether the request did anything is not known."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as listed: its key below the root, its size, and a name for its version."""

    key: str
    size: int
    version: str


@dataclass(frozen=True, slots=True)
class Tail:
    """The last bytes of an object of `size`, and the name of the version that they are of."""

    content: bytes
    size: int
    version: str


class ObjectStore(Protocol):
    """What is asked of a store; keys are below its root. All faults are IOManagerErrors that name URL and cause. Threads may share one."""

    def tail(self, key: str, count: int) -> Tail | None:
        """The last `count` bytes; None if there is no such object."""
        ...

    def piece(self, key: str, start: int, end: int, version: str) -> bytes:
        """Bytes [start, end) of that version. Raises StoreChangedError if it is not there any more."""
        ...

    def put(self, key: str, source: str, expected: str | None) -> None:
        """Store the file `source` whole, if the version there is `expected` (None: nothing). Raises StoreChangedError if it is not."""
        ...

    def entries(self, prefix: str) -> Iterator[Entry]:
        """All objects whose keys begin with `prefix`, which ends in a slash."""
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; fine if some are gone."""
        ...
