"""What becomes of steps that other runs stand in the way of: one works on their partitions, has made them, or has the slots of their pool.

The state says so when a step is claimed. Decided here: whether to wait, to leave it to the other run, or to end; that is what the run was
told (`OnConflict`). Whether what another run made will do is decided by `run_state`. A run that is in the way may be dead: then
what it left is settled at once, and the next claim finds the way free. If a destination does not say what it did, its partitions are left
alone, whatever this run was told: to wait for the dead would be to wait for ever.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, assert_never

from assets_core.execution.run_request import OnConflict
from assets_core.execution.run_state import Settle
from assets_core.execution.slices import ids_of, keys_of
from assets_core.model.records import StepStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from assets_core.execution.reporting import RunReport
    from assets_core.execution.run_request import Effects, RunRequest
    from assets_core.execution.run_state import RunState, Slots
    from assets_core.model.records import NotClaimed
    from assets_core.planning.staleness import Facts

PAUSE: Final = timedelta(milliseconds=200)
"""How long until something that another run is in the way of is tried again."""


class OtherRuns:
    """Refusals of one run's claims. `settle` records slots that end without running."""

    def __init__(
        self,
        *,
        state: RunState,
        facts: Facts,
        request: RunRequest,
        effects: Effects,
        report: RunReport,
        settle: Callable[[Settle], None],
    ) -> None:
        self._state = state
        self._facts = facts
        self._request = request
        self._effects = effects
        self._report = report
        self._settle = settle
        self._told: set[tuple[str, str, int]] = set()
        self._unsettled: dict[str, str] = {}

    def leave(self) -> None:
        """Settle what the run was told to leave to others."""
        for one in self._request.left:
            self._leave(one.asset, tuple(one.partitions.slots().tolist()), one.why)

    def refused(self, asset: str, slots: Slots, refusal: NotClaimed) -> None:
        """A first attempt of these slots could not start."""
        slot_of = dict(zip(ids_of(self._facts.indexes[asset], slots), slots, strict=True))
        if refusal.made:
            self._take_as_made(asset, slot_of, refusal)
        if refusal.held:
            by_run: dict[str, list[int]] = {}
            for partition_id, run_id in refusal.held.items():
                by_run.setdefault(run_id, []).append(slot_of[partition_id])
            for run_id, some in by_run.items():
                self._held(asset, tuple(some), run_id)
        if refusal.full:
            why = self._pool_is_full(asset, slots, refusal)
            if why is not None:
                self._leave(asset, slots, why)

    def retry_refused(self, asset: str, slots: Slots, refusal: NotClaimed) -> None:
        """The next attempt of these slots could not start: their pool is full."""
        self._pool_is_full(asset, slots, refusal)
        self._state.put_off(asset, slots, self._again_at())

    def _take_as_made(self, asset: str, slot_of: dict[int, int], refusal: NotClaimed) -> None:
        made = {slot_of[one.partition_id]: one for one in refusal.made}
        by_run: dict[str, list[int]] = {}
        for slot in self._state.made_elsewhere(asset, made):
            by_run.setdefault(made[slot].run_id, []).append(slot)
        for run_id, some in by_run.items():
            why = f"run {run_id} made it meanwhile"
            self._settle(Settle(asset, tuple(some), StepStatus.CUT_OFF, why))

    def _held(self, asset: str, slots: Slots, run_id: str) -> None:
        match self._request.on_conflict:
            case OnConflict.WAIT:
                self._tell(asset, slots, run_id)
                why = self._look_at(run_id)
                if why is None:
                    self._state.held(asset, slots, self._again_at())
                else:
                    self._leave(asset, slots, why)
            case OnConflict.SKIP:
                self._leave(asset, slots, f"it is left to run {run_id} (--on-conflict skip)")
                self._look_at(run_id)
            case OnConflict.FAIL:
                keys = keys_of(self._facts.indexes[asset], slots[:1])
                name = f"{asset}@{keys[0]}" if keys else asset
                self._state.stop(
                    f"run {run_id} works on {name} (--on-conflict fail)", conflict=True
                )
                self._look_at(run_id)
            case _:
                assert_never(self._request.on_conflict)

    def _leave(self, asset: str, slots: Slots, why: str) -> None:
        self._state.leave(asset, slots)
        self._settle(Settle(asset, slots, StepStatus.SKIPPED, why))

    def _pool_is_full(self, asset: str, slots: Slots, refusal: NotClaimed) -> str | None:
        """Offer nothing of the pool for a while; why it stays full, if all who have its slots are dead and can't be settled."""
        pool = self._facts.graph.spec(asset).pool
        assert pool is not None
        for run_id in refusal.full:
            self._tell(asset, slots, run_id, pool)
        whys = [self._look_at(run_id) for run_id in refusal.full]
        self._state.pool_full(pool, self._again_at())
        return whys[0] if all(whys) else None

    def _tell(self, asset: str, slots: Slots, run_id: str, pool: str | None = None) -> None:
        """Tell once of each partition whom it waits for, and once of each pool."""
        if run_id == self._request.run_id:
            return
        place = f"asset {asset}" if pool is None else f"pool {pool}"
        new = tuple(
            slot
            for slot in slots
            if (place, run_id, slot if pool is None else 0) not in self._told
        )
        if new:
            self._told.update((place, run_id, slot if pool is None else 0) for slot in new)
            self._report.waits(asset, new, run_id, pool)

    def _look_at(self, run_id: str) -> str | None:
        """Settle a run if it is dead; why that can't be done. A destination that does not answer is asked once."""
        if run_id == self._request.run_id:
            return None
        if run_id not in self._unsettled:
            why = self._effects.settle_dead(run_id)
            if why is None:
                return None
            self._unsettled[run_id] = f"run {run_id}, which is dead, can't be settled: {why}"
        return self._unsettled[run_id]

    def _again_at(self) -> datetime:
        return self._effects.clock() + PAUSE
