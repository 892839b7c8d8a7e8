"""The pure machine of one run: told what happened, it says what to do next. It reads no clock and touches nothing.

Theory of operation
-------------------
Every planned partition of every asset is a slot with one status:

    HELD (another run works on it)
      ▲ │ after a pause
      │ ▼
    QUEUED ──offer──► RUNNING ──► SUCCEEDED | FAILED | SKIPPED | UNCHANGED
       │                 │  ▲
       │                 ▼  │ retry
       │              WAITING
       └──► SKIPPED (something it reads failed) | CUT_OFF (nothing it reads changed, or another run made it) | CANCELLED

Only the caller's reports move a slot out of RUNNING; only `decide` moves one out of QUEUED without running it. A slot may start when
none of the planned partitions that it reads is still QUEUED, HELD, RUNNING or WAITING; lineage order is kept per partition, so a failed day
holds up only what reads that day. A conditional slot is tested at that moment with the rule of `planning.staleness`
(data_seq(u) > read_seq(p)) and cut off if nothing changed.

A step of an asset that names a pool takes one of its slots from its offer being taken until its report; a full pool holds up its own
assets only. Among assets with ready steps a higher `priority` goes first, then lineage order.

Other runs may work on the same partitions, and use the same pools. Whoever starts an offered step learns of that and reports it: a
partition that another run works on is HELD for a while and then offered again; one that another run made is CUT_OFF, if nothing
that this run knows of is newer than what it was made from; a pool whose slots others have offers nothing for a while.

UNCHANGED is a function's own Skip. Readers go on with older rows where there are some; without, they are SKIPPED too, unless their edge
allows missing partitions.

What can never be: a slot that runs before what it reads is final; more running steps of a pool than it has slots; a slot that leaves a final status; a decision that depends on
anything but the reports and `now`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from assets_core.model.records import RunStatus, StepStatus
from assets_core.planning.consumption import with_unchanged_inputs
from assets_core.planning.reasons import Reason
from assets_core.planning.staleness import bind_dependencies, partition_facts
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from assets_core.model.records import MadeElsewhere
    from assets_core.planning.columns import PartitionFacts
    from assets_core.planning.plan import AssetPlan, Plan
    from assets_core.planning.staleness import BoundDependency, Facts
    from partitions.definitions import PartitionIndex

    Mask = NDArray[np.bool_]

Slots = tuple[int, ...]

NO_POOLS: Final[Mapping[str, int]] = MappingProxyType({})

MOST_OFFERED = 100
"""How many steps one offer holds at most: the size of a commit group."""


class SlotStatus(IntEnum):
    """Where one partition of the plan stands."""

    NOT_PLANNED = 0
    QUEUED = 1
    RUNNING = 2
    WAITING = 3
    SUCCEEDED = 4
    FAILED = 5
    SKIPPED = 6
    CUT_OFF = 7
    CANCELLED = 8
    UNCHANGED = 9
    HELD = 10


OPEN = (SlotStatus.QUEUED, SlotStatus.HELD, SlotStatus.RUNNING, SlotStatus.WAITING)
BAD = (SlotStatus.FAILED, SlotStatus.SKIPPED, SlotStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class Offer:
    """These steps may start, each a tuple of consecutive slots; the caller starts as many as it likes and reports `started`.

    Where other runs stand in the way it reports `held`, `made_elsewhere` or `pool_full` instead.
    """

    asset: str
    steps: tuple[Slots, ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """This step's pause is over; the caller starts its next attempt."""

    asset: str
    slots: Slots


@dataclass(frozen=True, slots=True)
class Settle:
    """These slots are final without running; the caller records it."""

    asset: str
    slots: Slots
    status: StepStatus
    message: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before this instant, or with None before a running step is reported."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Finish:
    """Every slot is final."""

    status: RunStatus


Instruction = Offer | Retry | Settle | Wait | Finish


@dataclass(slots=True, eq=False)
class _AssetRun:
    """The mutable part of one planned asset."""

    index: PartitionIndex
    status: NDArray[np.uint8]
    conditional: Mask
    forced: Mask
    facts: PartitionFacts
    edges: tuple[BoundDependency, ...]
    batch_size: int
    pool: str | None
    changed: bool = True
    """True if something that it reads moved since `ready` was computed."""
    ready: Mask = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    def having(self, *statuses: SlotStatus) -> Mask:
        return np.isin(self.status, statuses)


class RunState:
    """One run in flight; see the module's theory of operation."""

    def __init__(
        self,
        plan: Plan,
        facts: Facts,
        *,
        fail_fast: bool = False,
        pools: Mapping[str, int] = NO_POOLS,
    ) -> None:
        """`pools` maps each pool that a planned asset names to its number of slots."""
        self._fail_fast = fail_fast
        self._free = dict(pools)
        self._running = 0
        self._stopping: str | None = None
        self._stopped_by_conflict = False
        self._held: list[tuple[datetime, str, Slots]] = []
        self._full_until: dict[str, datetime] = {}
        self._waiting: list[tuple[datetime, str, Slots]] = []
        self._facts: dict[str, PartitionFacts] = {}
        self._runs: dict[str, _AssetRun] = {}
        for part in plan.assets:
            if not part.partitions:
                continue
            spec = facts.graph.spec(part.asset)
            index = facts.indexes[part.asset]
            edges = bind_dependencies(facts, spec)
            for key in (part.asset, *(edge.dependency.upstream for edge in edges)):
                if key not in self._facts:
                    self._facts[key] = _own_copy(partition_facts(facts, facts.graph.spec(key)))
            own = self._facts[part.asset]
            if spec.compare_input_versions:
                own = with_unchanged_inputs(
                    facts, part.asset, own, edges, lambda key: self._facts[key].data_seq
                )
                self._facts[part.asset] = own
            status = np.where(part.partitions.mask(), SlotStatus.QUEUED, SlotStatus.NOT_PLANNED)
            self._runs[part.asset] = _AssetRun(
                index=index,
                status=status.astype(np.uint8),
                conditional=part.conditional.mask().copy(),
                forced=_forced(part),
                facts=own,
                edges=edges,
                batch_size=spec.batch_size,
                pool=spec.pool,
            )
        # Sorting is stable: assets of one priority stay in lineage order.
        self._order = sorted(self._runs, key=lambda key: -facts.graph.spec(key).priority)
        self._readers: dict[str, list[str]] = {key: [] for key in self._runs}
        for key, run in self._runs.items():
            for edge in run.edges:
                if edge.dependency.upstream in self._readers:
                    self._readers[edge.dependency.upstream].append(key)

    def counts(self) -> Mapping[SlotStatus, int]:
        """How many planned partitions have each status."""
        totals = np.zeros(len(SlotStatus), dtype=np.int64)
        for run in self._runs.values():
            totals += np.bincount(run.status, minlength=len(SlotStatus))
        return {
            status: int(totals[status])
            for status in SlotStatus
            if status is not SlotStatus.NOT_PLANNED
        }

    @property
    def stopping(self) -> str | None:
        """Why nothing more is started, or None."""
        return self._stopping

    def edges(self, asset: str) -> tuple[BoundDependency, ...]:
        """The asset's dependencies over the run's indexes."""
        return self._runs[asset].edges

    def readable(self, asset: str) -> Mask:
        """Per slot, whether it has rows by now; for planned assets and everything that they read."""
        return self._facts[asset].readable

    def known_seqs(self, asset: str, slots: Slots) -> Slots:
        """The seq of each slot's last success as far as this run knows, 0 without one; empty if they run whatever others make."""
        run = self._runs[asset]
        chosen = list(slots)
        if run.forced[chosen].any():
            return ()
        return tuple(run.facts.seq[chosen].tolist())

    # What the caller reports.

    def started(self, asset: str, steps: tuple[Slots, ...]) -> None:
        """These offered steps are running now."""
        for slots in steps:
            self._begin(asset, slots)

    def succeeded(
        self, asset: str, slots: Slots, data_seqs: Slots, *, has_data: bool = True
    ) -> None:
        """Recorded; `data_seqs` tells per slot when its rows last changed, `has_data` whether rows were published at all."""
        self._end(asset)
        facts = self._facts[asset]
        facts.data_seq[list(slots)] = data_seqs
        facts.seq[list(slots)] = data_seqs
        if has_data:
            facts.has_data[list(slots)] = 1
            facts.lost[list(slots)] = False
        self._move(asset, slots, SlotStatus.SUCCEEDED)

    def failed(self, asset: str, slots: Slots, *, retry_at: datetime | None) -> None:
        """An attempt failed; without `retry_at` it was the last. Waiting holds no slot of a pool."""
        self._end(asset)
        if retry_at is not None and self._stopping is None:
            self._move(asset, slots, SlotStatus.WAITING)
            self._waiting.append((retry_at, asset, slots))
            return
        self._move(asset, slots, SlotStatus.FAILED)
        if self._fail_fast and self._stopping is None:
            self._stopping = "the run stopped at its first failure (--fail-fast)"

    def skipped(self, asset: str, slots: Slots) -> None:
        """The function said Skip: readers go on with older rows where there are some."""
        self._end(asset)
        self._move(asset, slots, SlotStatus.UNCHANGED)

    def cancelled(self, asset: str, slots: Slots) -> None:
        """A running step was interrupted before it published anything."""
        self._end(asset)
        self._move(asset, slots, SlotStatus.CANCELLED)

    def held(self, asset: str, slots: Slots, until: datetime) -> None:
        """These offered slots can't start because another run works on them; they are offered again after `until`."""
        self._move(asset, slots, SlotStatus.HELD)
        self._held.append((until, asset, slots))

    def made_elsewhere(self, asset: str, made: Mapping[int, MadeElsewhere]) -> Slots:
        """Another run made these offered slots; answers those that are final by that.

        The others read something that this run knows to be newer: they stay queued.
        """
        run = self._runs[asset]
        facts = run.facts
        for slot, found in made.items():
            facts.seq[slot] = found.seq
            facts.read_seq[slot] = found.read_seq
            facts.data_seq[slot] = found.data_seq
            if found.has_data:
                facts.has_data[slot] = 1
                facts.lost[slot] = False
        newer = np.zeros(len(run.status), dtype=np.bool_)
        for edge in run.edges:
            if edge.dependency.mapping.triggers:
                read = self._facts[edge.dependency.upstream].data_seq
                newer |= edge.mapped.max_upstream(read) > facts.read_seq
        current = tuple(slot for slot in made if not newer[slot])
        self._move(asset, current, SlotStatus.CUT_OFF)
        return current

    def pool_full(self, pool: str, until: datetime) -> None:
        """Other runs have the pool's slots: nothing of its assets is offered before `until`."""
        self._full_until[pool] = until

    def put_off(self, asset: str, slots: Slots, until: datetime) -> None:
        """A retry can't start because other runs have the pool's slots; it is told again after `until`."""
        self._end(asset)
        self._move(asset, slots, SlotStatus.WAITING)
        self._waiting.append((until, asset, slots))

    def leave(self, asset: str, slots: Slots) -> None:
        """These queued slots are left to another run; they and what reads them don't run here."""
        self._move(asset, slots, SlotStatus.SKIPPED)

    def stop(self, why: str, *, conflict: bool = False) -> None:
        """Start nothing more; running steps finish, everything else is cancelled. With `conflict` the run has failed by that."""
        self._stopping = why
        self._stopped_by_conflict = conflict

    # What the caller does next.

    def decide(self, now: datetime, *, room: bool = True) -> Instruction:
        """The next instruction. Call it again after carrying it out and reporting what happened.

        Without `room` nothing is offered or tried again: the caller has as much to do as it can take.
        """
        if self._stopping is not None:
            cancelled = self._cancel_rest(self._stopping)
            if cancelled is not None:
                return cancelled
        self._let_go(now)
        if room:
            for entry in self._waiting:
                until, asset, slots = entry
                if until <= now and self._pool_room(asset):
                    self._waiting.remove(entry)
                    self._begin(asset, slots)
                    return Retry(asset, slots)
        for asset in self._order:
            instruction = self._next_of(asset, self._runs[asset], room=room)
            if instruction is not None:
                return instruction
        later = [until for until, _, _ in (*self._waiting, *self._held) if until > now]
        if self._waiting or self._held or self._running or self.counts()[SlotStatus.QUEUED]:
            return Wait(min((*later, *self._full_until.values()), default=None))
        return Finish(self._verdict())

    def _let_go(self, now: datetime) -> None:
        """What was held until now, and pools that were full until now, may be tried again."""
        self._full_until = {pool: until for pool, until in self._full_until.items() if until > now}
        over = [entry for entry in self._held if entry[0] <= now]
        self._held = [entry for entry in self._held if entry[0] > now]
        for _, asset, slots in over:
            self._move(asset, slots, SlotStatus.QUEUED)
            self._runs[asset].changed = True  # what is ready was found without them

    def _begin(self, asset: str, slots: Slots) -> None:
        self._running += 1
        pool = self._runs[asset].pool
        if pool is not None:
            self._free[pool] -= 1
        self._move(asset, slots, SlotStatus.RUNNING)

    def _end(self, asset: str) -> None:
        self._running -= 1
        pool = self._runs[asset].pool
        if pool is not None:
            self._free[pool] += 1

    def _pool_room(self, asset: str) -> int:
        pool = self._runs[asset].pool
        if pool is None:
            return MOST_OFFERED
        return 0 if pool in self._full_until else self._free[pool]

    def _next_of(self, asset: str, run: _AssetRun, *, room: bool) -> Instruction | None:
        if run.changed:
            settle = self._refresh(asset, run)
            if settle is not None:
                return settle
        most = min(MOST_OFFERED, self._pool_room(asset)) if room else 0
        if not most:
            return None
        ready = run.ready & (run.status == SlotStatus.QUEUED)
        if not ready.any():
            return None
        pieces = PartitionSet.from_mask(run.index, ready).split(run.batch_size)
        return Offer(asset, tuple(tuple(piece.slots().tolist()) for piece in islice(pieces, most)))

    def _refresh(self, asset: str, run: _AssetRun) -> Settle | None:
        """Recompute what may start; the first group that is final without running is settled, and asked for again."""
        queued = run.status == SlotStatus.QUEUED
        held = np.zeros(len(queued), dtype=np.bool_)
        changed = np.zeros(len(queued), dtype=np.bool_)
        for edge in run.edges:
            upstream = edge.dependency.upstream
            above = self._runs.get(upstream)
            if above is not None:
                skip = queued & edge.mapped.any_upstream(_bad(above, edge))
                if skip.any():
                    return self._skip(asset, edge, skip)
                held |= edge.mapped.any_upstream(above.having(*OPEN))
            if edge.dependency.mapping.triggers:
                changed |= (
                    edge.mapped.max_upstream(self._facts[upstream].data_seq) > run.facts.read_seq
                )
        free = queued & ~held
        unchanged = free & run.conditional & ~changed
        if unchanged.any():
            slots = tuple(np.flatnonzero(unchanged).tolist())
            self._move(asset, slots, SlotStatus.CUT_OFF)
            return Settle(asset, slots, StepStatus.CUT_OFF, "nothing that it reads changed")
        run.ready = free
        run.changed = False
        return None

    def _skip(self, asset: str, edge: BoundDependency, skip: Mask) -> Settle:
        """Settle the slots that share the first guilty upstream partition, so that each record names its own."""
        above = self._runs[edge.dependency.upstream]
        bad = _bad(above, edge)
        first = int(np.argmax(skip))
        read = edge.mapped.upstream_slots(first)
        guilty = int(read[np.argmax(bad[read])])
        only = np.zeros(len(bad), dtype=np.bool_)
        only[guilty] = True
        slots = tuple(np.flatnonzero(skip & edge.mapped.any_upstream(only)).tolist())
        self._move(asset, slots, SlotStatus.SKIPPED)
        key = above.index.key(guilty)
        name = f"{edge.dependency.upstream}@{key}" if key else edge.dependency.upstream
        status = SlotStatus(int(above.status[guilty]))
        return Settle(
            asset, slots, StepStatus.SKIPPED, f"it reads {name}, which {_BECAME[status]}"
        )

    def _cancel_rest(self, why: str) -> Settle | None:
        self._waiting.clear()
        self._held.clear()
        for asset, run in self._runs.items():
            unbegun = run.having(SlotStatus.QUEUED, SlotStatus.HELD, SlotStatus.WAITING)
            slots = tuple(np.flatnonzero(unbegun).tolist())
            if slots:
                self._move(asset, slots, SlotStatus.CANCELLED)
                return Settle(asset, slots, StepStatus.CANCELLED, why)
        return None

    def _move(self, asset: str, slots: Slots, status: SlotStatus) -> None:
        self._runs[asset].status[list(slots)] = status
        for reader in self._readers[asset]:
            self._runs[reader].changed = True

    def _verdict(self) -> RunStatus:
        counts = self.counts()
        if counts[SlotStatus.FAILED] or self._stopped_by_conflict:
            return RunStatus.FAILED
        if counts[SlotStatus.CANCELLED]:
            return RunStatus.CANCELLED
        return RunStatus.SUCCEEDED


_BECAME = {
    SlotStatus.FAILED: "failed",
    SlotStatus.SKIPPED: "was skipped",
    SlotStatus.CANCELLED: "was cancelled",
    SlotStatus.UNCHANGED: "was skipped by its function and has no older rows",
}


def _bad(above: _AssetRun, edge: BoundDependency) -> Mask:
    """Upstream slots that a reader through this edge can't go on from."""
    bad = above.having(*BAD)
    if not edge.dependency.allow_missing:
        bad |= (above.status == SlotStatus.UNCHANGED) & ~above.facts.exists
    return bad


def _forced(part: AssetPlan) -> Mask:
    mask = np.zeros(len(part.partitions.mask()), dtype=np.bool_)
    for row in part.rows:
        if row.reason is Reason.FORCED:
            mask |= row.partitions.mask()
    return mask


def _own_copy(facts: PartitionFacts) -> PartitionFacts:
    # These change as steps succeed, and may be the recorded columns themselves.
    own = facts.per_slot(
        seq=facts.seq.copy(),
        read_seq=facts.read_seq.copy(),
        data_seq=facts.data_seq.copy(),
        has_data=facts.has_data.copy(),
    )
    return replace(own, lost=facts.lost.copy())
