"""What each partition of an asset is like, for `status`, `show` and `doctor`: verdicts of the planner in the words of people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assets_core.planning.planner import space_changed
from assets_core.planning.reasons import Reason
from assets_core.planning.staleness import judge
from cli.render.statuses import CONDITIONS, AssetStatus, Condition
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from assets_core.planning.staleness import Facts, Staleness
    from assets_core.state.store import StateStore

_BY_REASON = {
    Reason.FRESH: Condition.FRESH,
    Reason.MISSING: Condition.MISSING,
    Reason.LOST: Condition.LOST,
    Reason.FAILED: Condition.FAILED,
}


def statuses_of(facts: Facts, store: StateStore, assets: Collection[str]) -> list[AssetStatus]:
    """The state of these assets, in topological order."""
    wanted = set(assets)
    return [
        _status(facts, store, verdict) for verdict, _, _ in judge(facts) if verdict.asset in wanted
    ]


def conditions_of(verdict: Staleness) -> NDArray[np.uint8]:
    """Per slot a position in `CONDITIONS`."""
    by_reason = np.array(
        [CONDITIONS.index(_BY_REASON.get(reason, Condition.STALE)) for reason in Reason],
        dtype=np.uint8,
    )
    found: NDArray[np.uint8] = by_reason[verdict.reasons]
    found[~verdict.facts.due & (verdict.reasons != Reason.FRESH)] = CONDITIONS.index(
        Condition.NOT_DUE
    )
    return found


def _status(facts: Facts, store: StateStore, verdict: Staleness) -> AssetStatus:
    index = facts.indexes[verdict.asset]
    spec = facts.graph.spec(verdict.asset)
    seq = verdict.facts.seq
    last_at = last_run = None
    if len(seq) and int(seq.max()) > 0:
        newest = int(index.ids[int(seq.argmax())])
        past = store.history(verdict.asset, spec.partitions.space, newest)
        last_at, last_run = past.succeeded_at, past.run_id
    lost = PartitionSet.from_mask(index, verdict.reasons == Reason.LOST)
    counts = zip(*np.unique(verdict.reasons, return_counts=True), strict=True)
    return AssetStatus(
        asset=verdict.asset,
        partitions=spec.partitions.describe(),
        conditions=conditions_of(verdict),
        reasons={Reason(int(code)).word: int(count) for code, count in counts},
        in_flight=int(np.count_nonzero(verdict.facts.in_flight)),
        last_at=last_at,
        last_run=last_run,
        lost=(lost.describe() if lost.first() else "its rows") if lost else "",
        reads=bool(spec.dependencies),
        redefined=_redefined(facts, verdict.asset),
        checks=tuple(store.check_tallies(verdict.asset, spec.partitions.space)),
    )


def _redefined(facts: Facts, asset: str) -> tuple[str, str] | None:
    if asset not in facts.state.other_spaces:
        return None
    error = space_changed(facts, asset)
    return error.message, error.hint or ""
