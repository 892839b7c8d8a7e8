"""Reading every partition again, and comparing what comes with what the state has on record. Looks only.

Theory of operation
-------------------
Each partition that the state believes visible and the destination has is read to its end, all stored columns of it, so that whatever
checksums a destination keeps are verified. Reads are grouped, because opening a destination once per partition costs more than reading. A
group that can't be read, or whose rows don't add up, is halved until single partitions are to blame.

Rows are compared where a receipt counts what a partition holds. A merge's receipt counts what was delivered, so its partitions are read and
not counted; a history is read as the rows that it is made from, not as the fold that readers get.

A run may go on meanwhile: a finding counts only if its partition still carries the token that it had before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from shlex import quote
from typing import TYPE_CHECKING

import numpy as np

from assets_core.execution.holdings import compare_holdings
from assets_core.execution.rejects import step_token
from assets_core.execution.slices import slices_of
from assets_core.model.errors import IOManagerError, PartitaError
from assets_core.model.io_manager import ReadRequest
from assets_core.model.specs import SCD2, Merge, Replace
from assets_core.state.store import ProblemKind, StateProblem
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from assets_core.authoring.outline import Outline
    from assets_core.model.io_manager import IOManager, Target
    from assets_core.state.store import StateStore
    from partitions.definitions import PartitionIndex

_GROUP = 500
_GROUP_ROWS = 1_000_000
"""A destination may set the rows of a group aside before it hands them out."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """One partition that can't be read (`cause`), or holds another number of rows than was written (`rows`, of `expected`)."""

    slot: int
    cause: PartitaError | None = None
    rows: int = 0
    expected: int = 0


def reread(outline: Outline, store: StateStore, now: datetime) -> list[StateProblem]:
    """What `compare_holdings` says, and what reading every partition again brings to light besides.

    Only partitions that definitions have at `now` can be read. Linear in all rows of the project. Raises StoreError.
    """
    compared = compare_holdings(outline, store)
    key_ids = store.key_ids()
    read: list[StateProblem] = []
    for asset, spec in outline.graph.specs.items():
        read += _problems_of(outline, store, asset, spec.partitions.index(now, key_ids))
    # What a destination said of an asset as a whole is said better by the names of the partitions that are to blame.
    named = {one.asset for one in read if one.kind is ProblemKind.UNREADABLE}
    return [
        one for one in compared if one.kind is not ProblemKind.UNREADABLE or one.asset not in named
    ] + read


def _problems_of(
    outline: Outline, store: StateStore, asset: str, index: PartitionIndex
) -> Iterator[StateProblem]:
    space = outline.graph.spec(asset).partitions.space
    manager, target = outline.manager(asset), outline.target(asset)

    def believed() -> Mapping[int, str]:
        return store.tokens(asset, space)

    yield from _problems_in(_Table(manager, target, index, asset), believed, store, space)
    rejected = outline.rejected.get(asset)
    if rejected is not None:
        table = _Table(manager, rejected, index, asset)

        def published() -> Mapping[int, str]:
            held, _ = table.held()
            return {id_: one for id_, one in held or () if store.step_of_token(step_token(one))}

        yield from _problems_in(table, published, None, space)


def _problems_in(
    table: _Table,
    tokens_now: Callable[[], Mapping[int, str]],
    store: StateStore | None,
    space: str,
) -> Iterator[StateProblem]:
    """What is wrong in one table; without a store its rows are read and not counted.

    The state is asked before the destination: what is published in between has another token there, and is left out.
    """
    tokens = tokens_now()
    is_counted = store is not None and not isinstance(table.target.write, Merge)
    counts = store.row_counts(table.asset, space) if store is not None and is_counted else {}
    held, broken = table.held()
    ids = [id_ for id_, token in tokens.items() if held is None or (id_, token) in held]
    slots = table.index.slots_of_ids(np.array(ids, dtype=np.int64)).tolist()
    expected = {
        slot: counts.get(id_) for slot, id_ in sorted(zip(slots, ids, strict=True)) if slot >= 0
    }
    if broken is not None and len(expected) > 1 and table.is_broken(expected, broken):
        return  # told of the asset as a whole; asking for each partition would take as many waits for a file that is locked
    findings = table.findings(expected)
    if not findings:
        return
    tokens_after, (held_after, _) = tokens_now(), table.held()
    current = []
    for one in findings:
        id_ = int(table.index.ids[one.slot])
        place = (id_, tokens[id_])
        if tokens_after.get(id_) == place[1] and (held_after is None or place in held_after):
            current.append(one)
    yield from _unreadable(table, current)
    yield from _miscounted(table, [one for one in current if one.cause is None])


@dataclass(frozen=True, slots=True)
class _Table:
    """Where rows of an asset are. `asset` is what to materialize if something is wrong with them."""

    manager: IOManager
    target: Target
    index: PartitionIndex
    asset: str

    def held(self) -> tuple[frozenset[tuple[int, str]] | None, str | None]:
        """Ids and tokens of what is there; None if nobody knows, and the words of the destination if it fails."""
        try:
            found = self.manager.holdings(self.target)
        except IOManagerError as error:
            return None, error.message
        return (None if found is None else frozenset(found)), None

    def is_broken(self, expected: Mapping[int, int | None], words: str) -> bool:
        """Whether first and last partition fail with the words of the whole: then the place is to blame, not its rows."""
        slots = list(expected)
        causes = [self._rows((slot,)) for slot in (slots[0], slots[-1])]
        return all(isinstance(one, PartitaError) and one.message == words for one in causes)

    def findings(self, expected: Mapping[int, int | None]) -> list[_Finding]:
        """All that is wrong with these slots, which should hold that many rows; None where that is not known."""
        counted = [slot for slot, rows in expected.items() if rows is not None]
        others = [slot for slot, rows in expected.items() if rows is None]
        return [
            finding
            for slots in (counted, others)
            for group in _groups(slots, expected)
            for finding in self._look(group, expected)
        ]

    def _look(
        self, slots: Sequence[int], expected: Mapping[int, int | None]
    ) -> Iterator[_Finding]:
        found = self._rows(slots)
        wanted = [rows for slot in slots if (rows := expected[slot]) is not None]
        if not isinstance(found, PartitaError) and (not wanted or found == sum(wanted)):
            return
        if len(slots) > 1:
            middle = len(slots) // 2
            yield from self._look(slots[:middle], expected)
            yield from self._look(slots[middle:], expected)
        elif isinstance(found, PartitaError):
            yield _Finding(slots[0], cause=found)
        else:
            yield _Finding(slots[0], rows=found, expected=sum(wanted))

    def _rows(self, slots: Sequence[int]) -> int | PartitaError:
        """How many rows come when all of them are read, or why they don't."""
        write = self.target.write
        # Not as readers get them: what a declaration leaves out is read too, and of a history the rows that it is made from.
        stored = replace(
            self.target, schema=None, write=Replace() if isinstance(write, SCD2) else write
        )
        try:
            with self.manager.read(ReadRequest(stored, slices_of(self.index, slots))) as reader:
                rows: int = sum(batch.num_rows for batch in reader)
        except PartitaError as error:
            return error
        return rows


def _groups(slots: Sequence[int], expected: Mapping[int, int | None]) -> Iterator[list[int]]:
    group: list[int] = []
    rows = 0
    for slot in slots:
        here = expected[slot] or 0
        if group and (len(group) == _GROUP or rows + here > _GROUP_ROWS):
            yield group
            group, rows = [], 0
        group.append(slot)
        rows += here
    if group:
        yield group


def _unreadable(table: _Table, findings: Sequence[_Finding]) -> Iterator[StateProblem]:
    """One problem per cause: a damaged block may hold rows of many partitions."""
    by_cause: dict[str, list[int]] = {}
    for one in findings:
        if one.cause is not None:
            by_cause.setdefault(one.cause.message, []).append(one.slot)
    for cause, slots in by_cause.items():
        names = _names(table, slots)
        shown = f"{names}: " if names else ""
        again = _again(table, slots)
        # A table whose blocks are damaged can't be written either: only all of it can be made anew.
        hint = f"{again}\nif that fails too: partita state restart {quote(table.asset)}, and then partita materialize {quote(table.asset)}"
        yield StateProblem(ProblemKind.UNREADABLE, table.asset, f"{shown}{cause}", hint)


def _miscounted(table: _Table, findings: Sequence[_Finding]) -> Iterator[StateProblem]:
    if not findings:
        return
    slots = [one.slot for one in findings]
    first, names = findings[0], _names(table, slots)
    where = table.manager.location(table.target)
    key = table.index.key(first.slot)
    instance = f", for instance {key}" if len(findings) > 1 else ""
    yield StateProblem(
        ProblemKind.ROWS,
        table.asset,
        f"{f'{names}: ' if names else ''}{where} holds other rows than were written{instance}: {first.rows:,} instead of {first.expected:,}",
        _again(table, slots),
    )


def _names(table: _Table, slots: Sequence[int]) -> str:
    """The partitions for people; "" for an asset without any."""
    chosen = PartitionSet.from_slots(table.index, slots)
    return chosen.describe() if chosen.first() else ""


def _again(table: _Table, slots: Sequence[int]) -> str:
    chosen = PartitionSet.from_slots(table.index, slots)
    keys = f" {quote(chosen.expression())}" if chosen.first() else ""
    return f"partita materialize {quote(table.asset)}{keys} --force"
