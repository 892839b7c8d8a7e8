"""What a partition definition is, and the index of its partitions at one instant; static and dynamic definitions.

Three words carry the package:

- a *definition* (`Partitions`) is what the user writes. It is frozen, hashable, picklable and knows no clock.
- an *index* (`PartitionIndex`) is the definition at one instant: its partitions in order. Partition number `i` in that order is
  *slot* `i`. Slots are positions in numpy arrays and mean nothing outside one process.
- an *id* is the stored identity of a partition, an int64 that never changes when a definition's start, end or key order does.
  `space` names the id space: ids of two definitions are comparable exactly if their spaces are equal.

Keys are text for people and paths; they are made at the edge. Time windows live in `time_windows`, products in `multi`.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from partitions.errors import PartitionDefinitionError, UnknownPartitionError, nearest

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from partitions.time_index import TimeWindow

KeyIds = Mapping[str, Mapping[str, int]]
"""Dictionary space -> {key: id}. Ids are append-only and allocated by the state store."""

NO_KEY_IDS: Final[KeyIds] = MappingProxyType({})
"""No dictionary at all: static keys get provisional ids, dynamic definitions are empty."""

MAX_PARTITIONS: Final = 10_000_000
"""More in one definition is refused: every array of the planner would hold that many elements per asset."""

MAX_KEY_LENGTH: Final = 200


class PartitionKind(Enum):
    """What sort of partitions a definition has; mappings are chosen by it."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    CRON = "cron"
    STATIC = "static"
    DYNAMIC = "dynamic"
    MULTI = "multi"
    SINGLE = "single"

    @property
    def is_time(self) -> bool:
        """Whether partitions of this kind are time windows and nothing else.

        >>> PartitionKind.DAY.is_time, PartitionKind.MULTI.is_time
        (True, False)
        """
        return self in _TIME_KINDS


_TIME_KINDS = frozenset(
    {
        PartitionKind.HOUR,
        PartitionKind.DAY,
        PartitionKind.WEEK,
        PartitionKind.MONTH,
        PartitionKind.CRON,
    }
)


class Partitions(Protocol):
    """A partition definition: frozen, hashable and picklable, equal to another that says the same."""

    def __hash__(self) -> int:
        """Equal definitions have equal hashes: they are keys of caches."""

    @property
    def kind(self) -> PartitionKind:
        """What sort of partitions these are."""

    @property
    def space(self) -> str:
        """Canonical text of the id space, such as `day|Europe/Berlin|+00:00`; independent of start and end."""

    def index(self, now: datetime, key_ids: KeyIds = NO_KEY_IDS) -> PartitionIndex:
        """The partitions that exist at `now` (timezone-aware).

        Raises:
            PartitionDefinitionError: more than `MAX_PARTITIONS` partitions.
            ValueError: `now` is naive.
        """

    def dictionary_keys(self, key_ids: KeyIds = NO_KEY_IDS) -> Mapping[str, tuple[str, ...]]:
        """Dictionary space -> keys that need an id before partitions can be stored; empty for time windows.

        `key_ids` matters only for products with a dynamic dimension next to another one that is not time: their
        combinations can be listed only when the dynamic keys are known.
        """

    def describe(self) -> str:
        """One line for people: `daily from 2013-01-01 to 2014-01-01 (America/New_York)`."""


class PartitionIndex(ABC):
    """A definition's partitions at one instant, in order; immutable. Slots run from 0 to `len(index) - 1`.

    Attributes:
        definition: what this is the index of.
        space: the definition's id space.
        ids: one int64 id per slot; strictly increasing for time windows.
        starts: UTC epoch seconds, inclusive, per slot; None when there is no time dimension.
        ends: UTC epoch seconds, exclusive, per slot; None when there is no time dimension.
        timezone: IANA name of the time dimension's zone; None when there is none.
    """

    definition: Partitions
    space: str
    ids: NDArray[np.int64]
    starts: NDArray[np.int64] | None
    ends: NDArray[np.int64] | None
    timezone: str | None

    def __init__(
        self,
        definition: Partitions,
        ids: NDArray[np.int64],
        *,
        starts: NDArray[np.int64] | None = None,
        ends: NDArray[np.int64] | None = None,
        timezone: str | None = None,
    ) -> None:
        for array in (ids, starts, ends):
            if array is not None:
                array.flags.writeable = False
        self.definition = definition
        self.space = definition.space
        self.ids = ids
        self.starts = starts
        self.ends = ends
        self.timezone = timezone
        self._sorted_ids: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<index of {self.definition.describe()}: {len(self)} partitions>"

    @property
    def kind(self) -> PartitionKind:
        """The definition's kind."""
        return self.definition.kind

    @abstractmethod
    def keys(self, slots: Iterable[int] | NDArray[np.int64] | None = None) -> list[str]:
        """The keys of `slots`, in their order; of all slots if None. Raises IndexError outside of the index."""

    @abstractmethod
    def slot(self, key: str) -> int:
        """The slot of `key`.

        Raises:
            UnknownPartitionError: no such partition, or not yet; names the nearest, or when it becomes available.
        """

    def key(self, slot: int) -> str:
        """The key of one slot."""
        return self.keys((slot,))[0]

    def slots_of_ids(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slot of each id; -1 where the index has no such id. O((n + m) log n) once, then O(m log n)."""
        if self._sorted_ids is None:
            order = np.argsort(self.ids, kind="stable").astype(np.int64)
            self._sorted_ids = (order, self.ids[order])
        order, known = self._sorted_ids
        wanted = np.asarray(ids, dtype=np.int64)
        if not len(known):
            return np.full(wanted.shape, -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.where(known[at] == wanted, order[at], -1)

    def window(self, slot: int) -> TimeWindow | None:
        """The time window of one slot, in the definition's zone; None when there is no time dimension."""
        self._checked((slot,))
        return None

    def dimensions(self, slot: int) -> tuple[tuple[str, str], ...]:
        """`((name, key), …)` in declared order for a product of dimensions; else empty."""
        self._checked((slot,))
        return ()

    @property
    def dimension_indexes(self) -> tuple[tuple[str, PartitionIndex], ...]:
        """`((name, index), …)` in declared order for a product of dimensions; else empty."""
        return ()

    def dimension_slots(self, name: str) -> NDArray[np.int64]:
        """For each slot of this index, its slot in the index of dimension `name`. Raises KeyError for no such one."""
        raise KeyError(name)

    @property
    def lane_length(self) -> int:
        """Slots per lane: within a lane neighbours are neighbours in time. All of them unless this is a product.

        A product without a time dimension has lanes of length 1.
        """
        return len(self)

    def _checked(self, slots: Iterable[int] | NDArray[np.int64] | None) -> NDArray[np.int64]:
        """`slots` as an array, all inside of the index: a negative slot is a mistake here, not "from the end"."""
        if slots is None:
            return np.arange(len(self), dtype=np.int64)
        if isinstance(slots, np.ndarray):
            array = slots.astype(np.int64, copy=False)
        else:
            array = np.fromiter(slots, dtype=np.int64)
        if len(array) and (int(array.min()) < 0 or int(array.max()) >= len(self)):
            raise IndexError(f"slots are 0 to {len(self) - 1}, got {array.min()} to {array.max()}")
        return array


class KeyedIndex(PartitionIndex):
    """An index of listed keys: static, dynamic and single."""

    def __init__(
        self, definition: Partitions, keys: Sequence[str], ids: NDArray[np.int64]
    ) -> None:
        super().__init__(definition, ids)
        self._keys = tuple(keys)
        self._slots: dict[str, int] | None = None

    def keys(self, slots: Iterable[int] | NDArray[np.int64] | None = None) -> list[str]:
        """The keys of `slots`; of all slots if None."""
        if slots is None:
            return list(self._keys)
        return [self._keys[slot] for slot in self._checked(slots).tolist()]

    def slot(self, key: str) -> int:
        """The slot of `key`."""
        if self._slots is None:
            self._slots = {known: slot for slot, known in enumerate(self._keys)}
        found = self._slots.get(key)
        if found is None:
            raise self._unknown(key)
        return found

    def _unknown(self, key: str) -> UnknownPartitionError:
        if self.kind is PartitionKind.SINGLE:
            return UnknownPartitionError(
                f"there is no partition {key!r}: this asset is not partitioned",
                hint="leave the partition out",
            )
        if not self._keys:
            return UnknownPartitionError(
                f"there is no partition {key!r}: {self.definition.describe()} has no keys yet",
                hint="add the key first",
            )
        near = nearest(key, self._keys)
        if near:
            hint = "did you mean " + " or ".join(near) + "?"
        else:
            hint = f"the keys are {_some(self._keys)}"
        return UnknownPartitionError(
            f"there is no partition {key!r} in {self.definition.describe()}", hint=hint
        )


def key_problem(key: object) -> str | None:
    """Which rule for static and dynamic keys `key` breaks, in words; None if it is a good key.

    Keys are data: quotes, `;`, `../x` and emoji are fine. What is refused can't be typed or seen by a person.

    >>> key_problem("eu"), key_problem("  eu")
    (None, 'it has white space at an end')
    """
    if not isinstance(key, str):
        return f"it is of type {type(key).__name__}, not text"
    if not key:
        return "it is empty"
    if len(key) > MAX_KEY_LENGTH:
        return f"it has {len(key)} characters; at most {MAX_KEY_LENGTH} are allowed"
    if key != key.strip():
        return "it has white space at an end"
    # Cc/Cf: control and invisible; Cs: half a surrogate pair can't be encoded; Zl/Zp: line and paragraph separators.
    # U+200D joins emoji and is seen as what it joins.
    if any(
        unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and char != "\u200d"
        for char in key
    ):
        return "it has a character that can't be printed on one line"
    if key in {".", ".."}:
        return "it is a name of a folder itself"
    return None


@dataclass(frozen=True, slots=True)
class StaticPartitions:
    """Partitions listed in the code. Order is the order of slots; ids stay when keys are added, removed or moved.

    Raises:
        PartitionDefinitionError: a key is empty, longer than 200 characters, not printable on one line, has white
            space at an end, is `.` or `..`, is there twice, or differs from another only by case.

    >>> StaticPartitions(["eu", "us"]).describe()
    'static: eu, us'
    """

    keys: tuple[str, ...]

    def __init__(self, keys: Iterable[str]) -> None:
        if isinstance(keys, str):
            raise PartitionDefinitionError(
                f"static partitions are a list of keys, not the text {keys!r}",
                hint=f"write StaticPartitions([{keys!r}])",
            )
        listed = tuple(keys)
        if not listed:
            raise PartitionDefinitionError(
                "static partitions need at least one key",
                hint="for keys that come later use DynamicPartitions",
            )
        if len(listed) > MAX_PARTITIONS:
            raise too_many(f"{len(listed)} static keys", len(listed))
        seen: dict[str, str] = {}
        for key in listed:
            problem = key_problem(key)
            if problem is not None:
                raise PartitionDefinitionError(f"{key!r} can't be a partition key: {problem}")
            folded = key.casefold()
            if folded in seen:
                raise _clash(key, seen[folded])
            seen[folded] = key
        object.__setattr__(self, "keys", listed)

    @property
    def kind(self) -> PartitionKind:
        """STATIC."""
        return PartitionKind.STATIC

    @property
    def space(self) -> str:
        """All static definitions share one dictionary, so that moving a key between definitions keeps its id."""
        return "static"

    def index(self, now: datetime, key_ids: KeyIds = NO_KEY_IDS) -> PartitionIndex:
        """The keys in order. A key without an id yet gets a provisional negative one, under which nothing is stored.

        >>> from datetime import datetime, timezone
        >>> now = datetime(2025, 1, 1, tzinfo=timezone.utc)
        >>> StaticPartitions(["eu", "us"]).index(now, {"static": {"us": 7}}).ids.tolist()
        [-1, 7]
        """
        check_now(now)
        return KeyedIndex(self, self.keys, dictionary_ids(self.keys, key_ids.get(self.space, {})))

    def dictionary_keys(self, key_ids: KeyIds = NO_KEY_IDS) -> Mapping[str, tuple[str, ...]]:
        """All keys need an id."""
        del key_ids
        return {self.space: self.keys}

    def describe(self) -> str:
        """`static: eu, us`."""
        return f"static: {_some(self.keys)}"


@dataclass(frozen=True, slots=True)
class DynamicPartitions:
    """Partitions whose keys are added while the project runs (customers, files); the state store holds them.

    The keys are exactly those of `key_ids[space]`, in the order of their ids, which is the order of arrival.

    Raises:
        PartitionDefinitionError: the name breaks a rule for keys, or has `|` in it.

    >>> DynamicPartitions("customers").space
    'dynamic|customers'
    """

    name: str

    def __post_init__(self) -> None:
        problem = key_problem(self.name) or ("it has a | in it" if "|" in self.name else None)
        if problem is not None:
            raise PartitionDefinitionError(
                f"{self.name!r} can't name dynamic partitions: {problem}"
            )

    @property
    def kind(self) -> PartitionKind:
        """DYNAMIC."""
        return PartitionKind.DYNAMIC

    @property
    def space(self) -> str:
        """One dictionary per name."""
        return f"dynamic|{self.name}"

    def index(self, now: datetime, key_ids: KeyIds = NO_KEY_IDS) -> PartitionIndex:
        """The keys that have been added, oldest first.

        >>> from datetime import datetime, timezone
        >>> now = datetime(2025, 1, 1, tzinfo=timezone.utc)
        >>> DynamicPartitions("customers").index(now, {"dynamic|customers": {"acme": 4, "initech": 2}}).keys()
        ['initech', 'acme']
        """
        check_now(now)
        known = sorted(key_ids.get(self.space, {}).items(), key=lambda item: item[1])
        if len(known) > MAX_PARTITIONS:
            raise too_many(self.describe(), len(known))
        ids = np.array([id_ for _, id_ in known], dtype=np.int64)
        return KeyedIndex(self, [key for key, _ in known], ids)

    def dictionary_keys(self, key_ids: KeyIds = NO_KEY_IDS) -> Mapping[str, tuple[str, ...]]:
        """Nothing: dynamic keys get their id when they are added."""
        del key_ids
        return {}

    def describe(self) -> str:
        """`dynamic: customers`."""
        return f"dynamic: {self.name}"


@dataclass(frozen=True, slots=True)
class SinglePartition:
    """The one partition of an asset that is not partitioned: id 0, key ""."""

    @property
    def kind(self) -> PartitionKind:
        """SINGLE."""
        return PartitionKind.SINGLE

    @property
    def space(self) -> str:
        """`single`."""
        return "single"

    def index(self, now: datetime, key_ids: KeyIds = NO_KEY_IDS) -> PartitionIndex:
        """One slot."""
        del key_ids
        check_now(now)
        return KeyedIndex(self, ("",), np.zeros(1, dtype=np.int64))

    def dictionary_keys(self, key_ids: KeyIds = NO_KEY_IDS) -> Mapping[str, tuple[str, ...]]:
        """Nothing."""
        del key_ids
        return {}

    def describe(self) -> str:
        """`unpartitioned`."""
        return "unpartitioned"


SINGLE: Final = SinglePartition()
"""The definition of every asset without partitions."""


def dictionary_ids(keys: Sequence[str], known: Mapping[str, int]) -> NDArray[np.int64]:
    """The id of each key; -1 - position where it has none yet, so that provisional ids never meet stored ones."""
    return np.fromiter(
        (known.get(key, -1 - position) for position, key in enumerate(keys)),
        dtype=np.int64,
        count=len(keys),
    )


def check_now(now: datetime) -> None:
    """Refuse a naive `now`: which partitions exist would depend on the machine's zone. Raises ValueError."""
    if now.utcoffset() is None:
        raise ValueError(f"now must be timezone-aware, got {now!r}")


def too_many(what: str, count: int) -> PartitionDefinitionError:
    """The error for a definition with more than `MAX_PARTITIONS` partitions."""
    return PartitionDefinitionError(
        f"{what}: about {count:,} partitions; at most {MAX_PARTITIONS:,} are allowed in one definition, "
        "because planning holds all of them in memory for each asset",
        hint="use larger windows, a later start or fewer keys",
    )


def _clash(key: str, other: str) -> PartitionDefinitionError:
    if key == other:
        return PartitionDefinitionError(f"{key!r} can't be a partition key: it is there twice")
    return PartitionDefinitionError(
        f"{key!r} can't be a partition key: it differs from {other!r} only by case",
        hint="some file systems would write both to the same place",
    )


def _some(keys: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(keys[:limit])
    return shown if len(keys) <= limit else f"{shown}, … ({len(keys)} keys)"
