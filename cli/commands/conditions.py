"""What each partition of an asset is like, for `status`, `show` and `doctor`: verdicts of the planner in the words of people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from assets_core.planning.planner import space_changed
from assets_core.planning.reasons import Reason
from assets_core.planning.staleness import judge
from cli.render.statuses import CONDITIONS, AssetStatus, Condition
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from assets_core.model.specs import AssetSpec
    from assets_core.planning.staleness import Facts, Staleness
    from assets_core.state.store import StateStore
    from partitions.definitions import PartitionIndex

_BY_REASON = {
    Reason.FRESH: Condition.FRESH,
    Reason.MISSING: Condition.MISSING,
    Reason.LOST: Condition.LOST,
    Reason.FAILED: Condition.FAILED,
}


MOST_SCHEMAS: Final = 100_000
"""Partitions; each costs a look at its log row, about 2 µs."""


def statuses_of(
    facts: Facts, store: StateStore, assets: Collection[str], *, schemas: bool = False
) -> list[AssetStatus]:
    """The state of these assets, in topological order; with `schemas` also whose rows have an older one."""
    wanted = set(assets)
    return [
        _status(facts, store, verdict, schemas=schemas)
        for verdict, _, _ in judge(facts)
        if verdict.asset in wanted
    ]


def are_few(facts: Facts, assets: Collection[str]) -> bool:
    """Whether these assets have few enough partitions to look for older schemas although nobody named them."""
    return sum(len(facts.indexes[key].ids) for key in assets) <= MOST_SCHEMAS


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


def _status(facts: Facts, store: StateStore, verdict: Staleness, *, schemas: bool) -> AssetStatus:
    index = facts.indexes[verdict.asset]
    spec = facts.graph.spec(verdict.asset)
    seq = verdict.facts.seq
    last_at = last_run = None
    if len(seq) and int(seq.max()) > 0:
        newest = int(index.ids[int(seq.argmax())])
        past = store.history(verdict.asset, spec.partitions.space, newest)
        last_at, last_run = past.succeeded_at, past.run_id
    lost = PartitionSet.from_mask(index, verdict.reasons == Reason.LOST)
    older = older_schema(spec, index, store) if schemas else None
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
        checks=tuple(
            tally
            for tally in store.check_tallies(verdict.asset, spec.partitions.space)
            # What a rule said that is no longer there is no news; the outcomes go when its partitions are judged next.
            if tally.check in spec.checks
        ),
        older_schema=None if older is None else len(older),
        older_partitions=older.describe() if older and older.first() else "",
    )


def older_schema(spec: AssetSpec, index: PartitionIndex, store: StateStore) -> PartitionSet:
    """The partitions whose rows have other columns than the newest: those declared, or else those that were published last.

    Not a reason to be stale: readers get such rows with the newest columns.
    """
    hashes = store.schema_hashes(spec.key, spec.partitions.space)
    newest = list(hashes.values())[-1] if hashes else ""
    if spec.schema is not None and spec.schema_policy.is_closed:
        newest = spec.schema.schema_hash()
    older = [id_ for id_, found in hashes.items() if found != newest]
    return PartitionSet.from_mask(index, np.isin(index.ids, older))


def _redefined(facts: Facts, asset: str) -> tuple[str, str] | None:
    if asset not in facts.state.other_spaces:
        return None
    error = space_changed(facts, asset)
    return error.message, error.hint or ""
