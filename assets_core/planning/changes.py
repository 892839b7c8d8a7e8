"""What changed between the versions that made an asset's partitions and those of now: which part, old against new. Pure.

Theory of operation
-------------------
A version's parts are matched in rounds, and what a round matches the next does not see: equal in kind, name and digest; in kind and
name; in kind and digest (a helper that moved to another module); the asset's own function, which comes first in both; equal in kind
and the last word of the name. A pair of equal digests changed nothing. What is left over was removed or added.

Two versions can have equal parts and differ all the same, if a name leads to another part than before (`a` and `b` swapped in an
import). Then no part is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import unified_diff
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from assets_core.planning.staleness import partition_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from assets_core.model.records import RecordedVersion, VersionPart, VersionParts
    from assets_core.planning.columns import PartitionFacts
    from assets_core.planning.staleness import Facts

    Versions = Callable[[Iterable[int]], Mapping[int, RecordedVersion]]
    """Ids of versions → what the store knows of them."""

_DECLARED: Final = "declared"
_ONLY_ONE: Final = frozenset({_DECLARED, "partitions"})
"""Kinds with one part, whose name says all."""
_FUNCTIONS: Final = frozenset({"function", "bytecode"})


class Change(StrEnum):
    """What happened to a part."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Side(StrEnum):
    """Which of an asset's two versions something belongs to."""

    CODE = "code"
    DEPS = "deps"


@dataclass(frozen=True, slots=True)
class PartChange:
    """One part that differs; `old` is None if it was added, `new` if it was removed."""

    old: VersionPart | None
    new: VersionPart | None

    @property
    def change(self) -> Change:
        """What happened to it."""
        if self.old is None:
            return Change.ADDED
        return Change.REMOVED if self.new is None else Change.CHANGED

    @property
    def part(self) -> VersionPart:
        """The part as it is now, or was."""
        part = self.old if self.new is None else self.new
        assert part is not None
        return part

    @property
    def title(self) -> str:
        """What it is called: `function shop.clean`."""
        name = self.part.name
        kind = self.part.kind
        return name if kind in _ONLY_ONE or kind == name else f"{kind} {name}"

    @property
    def diff(self) -> tuple[str, ...]:
        """Its normalised source, old against new, as a unified diff without file names; empty for code without source."""
        before, after = ([] if part is None else part.source.splitlines() for part in self._sides)
        if any(part is not None and part.kind == "bytecode" for part in self._sides):
            return ()
        # The first two lines name files.
        return tuple(unified_diff(before, after, lineterm=""))[2:]

    @property
    def _sides(self) -> tuple[VersionPart | None, VersionPart | None]:
        return self.old, self.new

    def as_json(self) -> dict[str, object]:
        """A JSON object."""
        return {
            "name": self.part.name,
            "kind": self.part.kind,
            "change": self.change.value,
            "was": None if self.old is None else self.old.name,
            "diff": "\n".join(self.diff),
        }


def changed_parts(
    old: Sequence[VersionPart], new: Sequence[VersionPart]
) -> tuple[PartChange, ...]:
    """The parts that differ, in the order of `new`, then what was removed.

    If one side's code version is declared and the other's computed, only that is a change: the parts of a version that was not
    computed are not known.
    """
    if any(part.kind == _DECLARED for part in old) != any(part.kind == _DECLARED for part in new):
        old, new = _without_code(old), _without_code(new)
    matched: list[tuple[VersionPart, VersionPart]] = []
    first = {id(side[0]) for side in (old, new) if side}
    left, right = list(old), list(new)
    for key in (
        lambda part: (part.kind, part.name, part.digest),
        lambda part: (part.kind, part.name),
        lambda part: (part.kind, part.digest),
        lambda part: (part.kind in _FUNCTIONS and id(part) in first) or None,
        lambda part: (part.kind, part.name.rpartition(".")[2]),
    ):
        matched += _match(left, right, key)
    pairs = {id(after): before for before, after in matched}
    changes = [
        PartChange(pairs.get(id(part)), part)
        for part in new
        if id(part) not in pairs or pairs[id(part)].digest != part.digest
    ]
    return (*changes, *(PartChange(part, None) for part in left))


def _match(
    left: list[VersionPart], right: list[VersionPart], key: Callable[[VersionPart], object]
) -> Iterator[tuple[VersionPart, VersionPart]]:
    """Pairs of equal keys, taken out of both lists; a part whose key is None has no partner."""
    waiting: dict[object, list[VersionPart]] = {}
    for part in left:
        waiting.setdefault(key(part), []).append(part)
    waiting.pop(None, None)
    for part in list(right):
        partners = waiting.get(key(part))
        if partners:
            partner = partners.pop(0)
            left[:] = [each for each in left if each is not partner]
            right[:] = [each for each in right if each is not part]
            yield partner, part


def _without_code(parts: Sequence[VersionPart]) -> list[VersionPart]:
    return [part for part in parts if part.kind in {_DECLARED, "package"}]


@dataclass(frozen=True, slots=True)
class VersionTexts:
    """A code version and a dependency version, as `partita show` and the state call them."""

    code: str
    deps: str

    def as_json(self) -> dict[str, object]:
        """A JSON object."""
        return {"code_version": self.code, "deps_version": self.deps}


@dataclass(frozen=True, slots=True)
class Maker:
    """The versions that made some of an asset's partitions: how many, and the key of the one that was made last."""

    versions: VersionTexts
    partitions: int
    latest: str
    is_current: bool

    def as_json(self) -> dict[str, object]:
        """A JSON object."""
        return {
            **self.versions.as_json(),
            "partitions": self.partitions,
            "latest": self.latest,
            "current": self.is_current,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between the versions that made an asset's partitions, or one of them, and those of now.

    `key` is None if no partition was named. `makers` come latest first; `compared` is one of them, None if nothing was materialized,
    or no partition was named and the versions of now made all there are. Of a side, None as `changes` means that what its old version was
    made of is not known. `other_space` is the partition space that the asset's state is kept under if there is none under its own.
    """

    asset: str
    key: str | None
    other_space: str | None
    now: VersionTexts
    makers: tuple[Maker, ...]
    compared: Maker | None
    changes: Mapping[Side, tuple[PartChange, ...] | None]

    @property
    def name(self) -> str:
        """`asset@key`, or just the asset's key."""
        return f"{self.asset}@{self.key}" if self.key else self.asset

    @property
    def parts(self) -> tuple[PartChange, ...]:
        """All parts that differ, as far as is known; those of the code first."""
        return tuple(change for side in Side for change in self.changes.get(side) or ())

    def as_json(self) -> dict[str, object]:
        """A JSON object."""
        return {
            "asset": self.asset,
            "partition": self.key,
            "now": self.now.as_json(),
            "made_by": [maker.as_json() for maker in self.makers],
            "compared_with": None if self.compared is None else self.compared.as_json(),
            "changed": [side.value for side in self.changes],
            "unknown": [side.value for side, changes in self.changes.items() if changes is None],
            "parts": [change.as_json() for change in self.parts],
        }


def difference(
    facts: Facts, asset: str, slot: int | None, versions: Versions, now: VersionParts | None
) -> Difference:
    """Compare what made the partition in `slot`, or else the latest partition that is not of the versions of now, with `now`.

    Partitions that are materialized and in the asset's index count, whether or not they are stale for other reasons. `now` is None if
    what the versions of now are made of is not known.
    """
    spec = facts.graph.spec(asset)
    index = facts.indexes[asset]
    own = partition_facts(facts, spec)
    current = facts.state.version_ids[asset]
    groups = _makers(own)
    known = versions({each for group in groups for each in group.ids})
    told = {
        group.ids: Maker(
            VersionTexts(*(known[each].text for each in group.ids)),
            group.partitions,
            index.key(group.latest),
            is_current=group.ids == (current.code_id, current.deps_id),
        )
        for group in groups
    }
    if slot is None:
        chosen = next((ids for ids, maker in told.items() if not maker.is_current), None)
    else:
        ids = (int(own.code_id[slot]), int(own.deps_id[slot]))
        chosen = ids if int(own.seq[slot]) else None
    changes: dict[Side, tuple[PartChange, ...] | None] = {}
    if chosen is not None:
        new = (None, None) if now is None else (now.code, now.deps)
        for side, was, is_now, parts in zip(
            Side, chosen, (current.code_id, current.deps_id), new, strict=True
        ):
            if was != is_now:
                old = known[was].parts
                changes[side] = changed_parts(old, parts) if old and parts else None
    return Difference(
        asset=asset,
        key=None if slot is None else index.key(slot),
        other_space=facts.state.other_spaces.get(asset),
        now=VersionTexts(spec.code_version, spec.deps_version),
        makers=tuple(told.values()),
        compared=None if chosen is None else told[chosen],
        changes=changes,
    )


@dataclass(frozen=True, slots=True)
class _Group:
    ids: tuple[int, int]
    partitions: int
    latest: int
    """The slot that was materialized last."""


def _makers(own: PartitionFacts) -> list[_Group]:
    """The pairs of code and dependency ids that made the asset's partitions, latest first."""
    slots = np.flatnonzero(own.seq > 0)
    # By descending seq, so that the first of each pair is its latest.
    slots = slots[np.argsort(-own.seq[slots])]
    pairs = np.stack([own.code_id[slots], own.deps_id[slots]], axis=1)
    found, first, counts = np.unique(pairs, axis=0, return_index=True, return_counts=True)
    return [
        _Group((int(found[at, 0]), int(found[at, 1])), int(counts[at]), int(slots[first[at]]))
        for at in np.argsort(first)
    ]
