"""The port of mappings, and the mappings that need no time windows: by id, by key, everything.

Decided here: what a mapping is (`PartitionMapping`), and what `Identity`, `All` and `StaticMap` mean between two definitions. Not
decided here: mappings along time, per dimension, and which mapping is chosen (`mappings`, which offers these three as well);
how a bound mapping answers questions (`mapped_set`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np

from partitions.axes import Pair, bind_pairs
from partitions.definitions import PartitionKind
from partitions.errors import UnknownPartitionError
from partitions.mapped_set import MappedSet, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from partitions.definitions import PartitionIndex


@runtime_checkable
class PartitionMapping(Protocol):
    """Port: which upstream partitions each downstream partition reads.

    The mappings of this module implement it, and so may a user's own. The contract, which `tests/conformance/mapping_suite.py` tests
    on any mapping:

    - It is an immutable, hashable, picklable value (a frozen dataclass) and depends on nothing but its fields.
    - `text()` is canonical: equal mappings have equal text, different ones different text, in every process and for ever. It is part
      of a dependency's identity: a changed text makes everything downstream stale.
    - `bind(upstream, downstream)` returns a `MappedSet` made by `MappedSet.from_intervals` or `.from_lists`, over exactly these two
      indexes, whatever their length, zero included. The same indexes give the same answer. It sets `missing` for a downstream
      partition that can't be computed because the upstream definition lacks something it requires.
    - Both indexes grow with time. Once a partition lacks nothing, it never lacks anything again and reads the same partitions for
      ever; only a mapping that means "whatever there is", such as `All` and `Last`, may read more or others.
    - It raises MappingError, with both definitions in the message, if the two can never be mapped, over empty indexes too: that is
      how a project is checked. Anything else that it raises, or an answer that does not fit, is told as a mistake in the mapping.
    - `triggers` is false if newer upstream data does not make older downstream partitions stale.

    >>> from datetime import UTC, datetime
    >>> @dataclass(frozen=True, slots=True)
    ... class SameMonthLastYear:
    ...     "Each month reads the same month a year earlier; months are numbered without gaps."
    ...     triggers = True
    ...     def text(self):
    ...         return "same-month-last-year"
    ...     def bind(self, upstream, downstream):
    ...         slots = upstream.slots_of_ids(downstream.ids - 12)
    ...         found = slots >= 0
    ...         lo = np.where(found, slots, 0)
    ...         return MappedSet.from_intervals(self.text(), upstream, downstream, lo=lo, hi=lo + found, missing=~found)
    >>> from partitions.time_windows import MonthlyPartitions
    >>> months = MonthlyPartitions("2023-01", end="2025-01-01").index(datetime(2025, 1, 1, tzinfo=UTC))
    >>> SameMonthLastYear().bind(months, months).upstream_slots(months.slot("2024-05")).tolist()
    [4]
    """

    @property
    def triggers(self) -> bool:
        """Whether newer upstream data makes the downstream partitions that read it stale."""

    def text(self) -> str:
        """Return the canonical text of this mapping."""

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        """Return the mapping over these two indexes."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Each partition reads the upstream partition with the same id; the two definitions may start and end differently.

    A partition whose id the upstream definition does not have is `missing`. Chosen between equal id spaces.

    >>> Identity().text()
    'identity'
    """

    triggers: ClassVar[bool] = True

    def text(self) -> str:
        """Return "identity"."""
        return "identity"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        """Return the mapping over these two indexes.

        Raises:
            MappingError: the id spaces differ.
        """
        require_same_space(self.text(), upstream, downstream)
        if upstream.kind is PartitionKind.MULTI and bool(np.any(downstream.ids < 0)):
            # Lanes without an id yet: only their keys say which are the same, and those are few in each dimension.
            names = [name for name, _ in upstream.dimension_indexes]
            pairs = [Pair(name, name, self) for name in names]
            return bind_pairs(self.text(), upstream, downstream, pairs)
        slots = _slots_with_the_same_id(upstream, downstream)
        found = slots >= 0
        lo = np.where(found, slots, 0)
        return MappedSet.from_intervals(
            self.text(),
            upstream,
            downstream,
            lo=lo,
            hi=lo + found,
            missing=~found,
            name_missing=lambda slot: (downstream.key(slot),),
        )


@dataclass(frozen=True, slots=True)
class All:
    """Each partition reads every upstream partition there is; only where there is none yet, that is `missing`.

    Chosen where the downstream asset is unpartitioned, and where the upstream one is (then "every" is the one).

    >>> All().text()
    'all'
    """

    triggers: ClassVar[bool] = True

    def text(self) -> str:
        """Return "all"."""
        return "all"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        """Return the mapping over these two indexes of any kind."""
        lo = np.zeros(len(downstream), dtype=np.int64)
        hi = np.full(len(downstream), len(upstream), dtype=np.int64)
        missing = np.full(len(downstream), not len(upstream))
        any_of_it = (f"any partition of {upstream.definition.describe()}",)
        return MappedSet.from_intervals(
            self.text(),
            upstream,
            downstream,
            lo=lo,
            hi=hi,
            missing=missing,
            name_missing=lambda _: any_of_it,
        )


@dataclass(frozen=True, slots=True, init=False)
class StaticMap:
    """Partitions of listed keys by name: `StaticMap({"germany": ["eu"], "france": ["eu"]})`, upstream key to downstream keys.

    A downstream key that is not named reads nothing. A key that a static definition does not have is an error; one that another
    definition does not have yet makes the downstream partitions that read it `missing`.

    >>> StaticMap({"fr": ["eu"], "de": "eu"}).text()
    'static-map({"de":["eu"],"fr":["eu"]})'
    """

    pairs: tuple[tuple[str, tuple[str, ...]], ...]
    triggers: ClassVar[bool] = True

    def __init__(self, downstream_of: Mapping[str, str | Sequence[str]]) -> None:
        # One key may be written without a list around it, and is not to be taken for a list of letters.
        listed = {
            upstream: (keys,) if isinstance(keys, str) else tuple(sorted(set(keys)))
            for upstream, keys in downstream_of.items()
        }
        object.__setattr__(self, "pairs", tuple(sorted(listed.items())))

    def text(self) -> str:
        """Return "static-map(…)" with the map as JSON in canonical order."""
        pairs = json.dumps(dict(self.pairs), ensure_ascii=False, separators=(",", ":"))
        return f"static-map({pairs})"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        """Return the mapping over these two indexes.

        Raises:
            MappingError: a static definition does not have a key that the map names.
        """
        edges: list[tuple[int, int]] = []
        absent: dict[int, list[str]] = {}
        for up_key, down_keys in self.pairs:
            source = self._slot(up_key, "upstream", upstream, downstream)
            for down_key in down_keys:
                target = self._slot(down_key, "downstream", upstream, downstream)
                if target is None:
                    continue
                if source is None:
                    absent.setdefault(target, []).append(up_key)
                else:
                    edges.append((target, source))
        table = np.array(sorted(edges), dtype=np.int64).reshape(-1, 2)
        missing = np.zeros(len(downstream), dtype=np.bool_)
        missing[list(absent)] = True
        return MappedSet.from_lists(
            self.text(),
            upstream,
            downstream,
            indptr=np.searchsorted(table[:, 0], np.arange(len(downstream) + 1)),
            lo=table[:, 1],
            hi=table[:, 1] + 1,
            missing=missing,
            name_missing=lambda slot: tuple(absent[slot]),
        )

    def _slot(
        self, key: str, side: str, upstream: PartitionIndex, downstream: PartitionIndex
    ) -> int | None:
        index = upstream if side == "upstream" else downstream
        try:
            return index.slot(key)
        except UnknownPartitionError as unknown:
            if index.kind is not PartitionKind.STATIC:
                return None
            raise refusal(
                "StaticMap",
                upstream.definition,
                downstream.definition,
                f"it names the {side} key {key!r}, and there is no such one",
                hint=unknown.hint,
            ) from unknown


def require_same_space(text: str, upstream: PartitionIndex, downstream: PartitionIndex) -> None:
    """Raise MappingError unless ids of the two indexes mean the same."""
    if upstream.space != downstream.space:
        raise refusal(
            text,
            upstream.definition,
            downstream.definition,
            "it needs the same kind of partitions on both sides",
            hint="leave the mapping out to have one chosen, or use TimeOverlap(), LastN(n) or All()",
        )


def _slots_with_the_same_id(
    upstream: PartitionIndex, downstream: PartitionIndex
) -> NDArray[np.int64]:
    slots = upstream.slots_of_ids(downstream.ids)
    if downstream.kind.is_time:
        return slots
    # Provisional ids are positions in their own definition: between two definitions only the keys say what is the same.
    provisional = np.flatnonzero(downstream.ids < 0)
    if provisional.size:
        by_key = {key: slot for slot, key in enumerate(upstream.keys())}
        keys = downstream.keys(provisional)
        slots[provisional] = [by_key.get(key, -1) for key in keys]
    return slots
