"""Why one partition is stale or fresh, as a tree of causes down to the first ones. Pure: recorded history is passed in as a function."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, assert_never

import numpy as np

from assets_core.planning.changes import Side
from assets_core.planning.obstacles import first_due_at, row_of, runs_on
from assets_core.planning.planner import PlanRequest, plan_run
from assets_core.planning.reasons import Blocked, Reason, being_made, not_due
from assets_core.planning.staleness import judge, keys_changed, would_run
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from assets_core.model.records import PartitionHistory
    from assets_core.planning.changes import Difference, PartChange
    from assets_core.planning.plan import BlockedRow
    from assets_core.planning.staleness import BoundDependency, Facts, Staleness

    History = Callable[[str, int], PartitionHistory]
    """(asset, slot) → what is recorded of that partition."""

    Differences = Callable[[str, int], Difference]
    """(asset, slot) → how what made that partition differs from now; asked only where that is the reason."""

MOST_CAUSES = 5
"""How many upstream partitions one level of the tree names."""

MOST_PARTS = 3
"""How many changed functions, constants or edges one line names."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One partition's verdict: `because` in the words of the plan, `evidence` as figures, `causes` the upstream partitions behind it.

    `more` counts causes beyond those listed.
    """

    asset: str
    key: str
    reason: Reason
    because: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    causes: tuple[Explanation, ...] = ()
    more: int = 0

    @property
    def name(self) -> str:
        """`asset@key`, or just the asset's key if it is unpartitioned."""
        return f"{self.asset}@{self.key}" if self.key else self.asset

    def as_json(self) -> dict[str, object]:
        """A JSON object."""
        return {
            "asset": self.asset,
            "partition": self.key,
            "stale": self.reason is not Reason.FRESH,
            "reason": self.reason.word,
            "because": self.because,
            "evidence": dict(self.evidence),
            "causes": [cause.as_json() for cause in self.causes],
            "more_causes": self.more,
        }


def explain_partition(
    facts: Facts, asset: str, slot: int, history: History, differences: Differences
) -> Explanation:
    """The tree of causes for one partition, at most `MOST_CAUSES` upstream partitions per level."""
    judged = {verdict.asset: (verdict, bound) for verdict, bound, _ in judge(facts, (asset,))}
    # What can't run, in a plan of this partition and all that it reads; one that was redefined is told as such, and not refused.
    wanted = {asset: PartitionSet.from_slots(facts.indexes[asset], [slot])}
    anyhow = replace(facts, state=replace(facts.state, other_spaces={}))
    plan = plan_run(anyhow, PlanRequest((asset,), wanted, upstream=True))
    blocked = {part.asset: part.blocked for part in plan.assets}
    return _explain(_Context(facts, judged, blocked, history, differences), asset, slot)


@dataclass(frozen=True, slots=True, eq=False)
class _Context:
    facts: Facts
    judged: Mapping[str, tuple[Staleness, tuple[BoundDependency, ...]]]
    blocked: Mapping[str, tuple[BlockedRow, ...]]
    history: History
    differences: Differences
    told: set[tuple[str, int]] = field(default_factory=set)
    """Partitions whose causes were told already: a second time would double the tree, and so at every level."""

    def name(self, asset: str, slot: int) -> str:
        key = self.facts.indexes[asset].key(slot)
        return f"{asset}@{key}" if key else asset


def _explain(context: _Context, asset: str, slot: int) -> Explanation:
    verdict, bound = context.judged[asset]
    reason = Reason(int(verdict.reasons[slot]))
    past = context.history(asset, slot)
    because, evidence = _evidence(context, asset, reason, past)
    found: list[tuple[str, int]] = []
    if reason in {Reason.CODE, Reason.DEPS}:
        side = Side.CODE if reason is Reason.CODE else Side.DEPS
        changed = context.differences(asset, slot).changes.get(side) or ()
        evidence["changed"] = [change.title for change in changed]
        because = f"{reason.sentence()}: {_titles(changed)}{because}"
    elif reason in {Reason.INPUT, Reason.UPSTREAM}:
        found = list(_guilty(context, verdict, bound, slot, reason))
        told = _because_of(context, reason, found[0], past) if found else None
        because, more = told or _keys_changed(context, verdict, bound, slot, past)
        evidence |= more
    because += _lateness(context, verdict, slot, reason, evidence)
    stuck = _blocked(context, asset, slot)
    if stuck is not None:
        because += _waits(bound, slot, stuck, evidence)
        if stuck.waits_for is not None:
            found += [(stuck.upstream, one) for one in stuck.waits_for.slots().tolist()]
    if past.read_seq is not None and int(verdict.facts.read_seq[slot]) > past.read_seq:
        evidence["inputs_unchanged"] = True
        because += (
            "; what it reads was written again, with the data versions that it was made from"
        )
    because += _left_for_later(context, verdict, slot, evidence)
    key = context.facts.indexes[asset].key(slot)
    if found and (asset, slot) in context.told:
        return Explanation(asset, key, reason, f"{because} (see above)", evidence)
    context.told.add((asset, slot))
    found = list(dict.fromkeys(found))
    causes = tuple(_explain(context, name, above) for name, above in found[:MOST_CAUSES])
    return Explanation(
        asset, key, reason, because, evidence, causes, more=max(0, len(found) - MOST_CAUSES)
    )


def _left_for_later(
    context: _Context, verdict: Staleness, slot: int, evidence: dict[str, object]
) -> str:
    """Why a plan leaves it out for now, if it does: not due, or in the hands of live runs."""
    asset, words = verdict.asset, ""
    if not bool(verdict.facts.due[slot]):
        due_at = first_due_at(context.facts, asset, _only(context, asset, slot))
        assert due_at is not None  # what has no window is due
        evidence |= {"due": False, "due_at": due_at.isoformat()}
        words += f"; {not_due(due_at)}"
    if bool(verdict.facts.in_flight[slot]):
        runs = runs_on(context.facts, asset, _only(context, asset, slot))
        evidence |= {"in_flight": True, "runs": runs}
        words += f"; {being_made(runs)}"
    return words


def _only(context: _Context, asset: str, slot: int) -> NDArray[np.bool_]:
    mask = np.zeros(len(context.facts.indexes[asset]), dtype=np.bool_)
    mask[slot] = True
    return mask


def _blocked(context: _Context, asset: str, slot: int) -> BlockedRow | None:
    """What keeps this one partition from running, of the row of all that are kept alike; None if nothing does."""
    only = _only(context, asset, slot)
    for row in context.blocked.get(asset, ()):
        if row.partitions.mask()[slot]:
            _, bound = context.judged[asset]
            return row_of(context.facts, asset, only, row, bound)
    return None


def _waits(
    bound: Sequence[BoundDependency], slot: int, stuck: BlockedRow, evidence: dict[str, object]
) -> str:
    """What stands in the way, in the words of the plan; of what the upstream definition does not have, also the names."""
    words, told = f"; blocked: {stuck.sentence()}", stuck.evidence()
    if stuck.kind is Blocked.OUTSIDE_UPSTREAM:
        lacking = next(
            edge.mapped.missing_keys(slot)
            for edge in bound
            if edge.dependency.upstream == stuck.upstream
            and edge.mapped.missing[slot]
            and not edge.dependency.allow_missing
        )
        words += f": {', '.join(lacking)}"
        told["lacking"] = lacking
    evidence["blocked_by"] = told
    return words


def _evidence(
    context: _Context, asset: str, reason: Reason, past: PartitionHistory
) -> tuple[str, dict[str, object]]:
    """The sentence and figures of one partition, without its upstream."""
    spec = context.facts.graph.spec(asset)
    evidence: dict[str, object] = {}
    if past.seq is not None:
        evidence |= {
            "seq": past.seq,
            "read_seq": past.read_seq,
            "data_seq": past.data_seq,
            "run": past.run_id,
        }
    match reason:
        case Reason.FRESH:
            because = f"{reason.sentence()}: materialized by run {past.run_id} (seq {past.seq}); nothing that it reads changed since"
        case Reason.MISSING:
            because = reason.sentence()
            space = context.facts.state.other_spaces.get(asset)
            if space is not None:
                evidence["other_partitions"] = space
                because += f"; what was made before is of other partitions: partita state restart {asset}, or define them as before"
        case Reason.LOST:
            because = f"run {past.run_id} materialized it, but the data is gone"
        case Reason.FAILED:
            because = f"{reason.sentence()}: {past.failure}"
            evidence["failure"] = past.failure
        case Reason.CODE:
            because = f"made by version {past.code_version}, now {spec.code_version}"
            evidence |= {"made_by": past.code_version, "now": spec.code_version}
        case Reason.DEPS:
            because = f"made with {past.deps_version}, now {spec.deps_version}"
            evidence |= {"made_with": past.deps_version, "now": spec.deps_version}
        case Reason.PROVISIONAL | Reason.LOOKBACK:
            because = reason.sentence()
        case Reason.INPUT | Reason.UPSTREAM | Reason.FORCED:
            because = reason.sentence("an upstream partition")
        case _:
            assert_never(reason)
    return because, evidence


def _lateness(
    context: _Context,
    verdict: Staleness,
    slot: int,
    reason: Reason,
    evidence: dict[str, object],
) -> str:
    """Which window had not closed when it was made, for PROVISIONAL and LOOKBACK; else nothing."""
    index = context.facts.indexes[verdict.asset]
    if reason is Reason.PROVISIONAL:
        window = index.window(slot)
        assert window is not None
        evidence["closed_at"] = window.end.isoformat()
        return f": it closed at {window.end.isoformat()}"
    if reason is Reason.LOOKBACK:
        assert verdict.facts.horizon is not None
        newer = index.key(slot + int(verdict.facts.horizon[slot]))
        evidence |= {"lookback": context.facts.graph.spec(verdict.asset).lookback, "newer": newer}
        return (
            f": {newer} was not due yet when it was computed; lookback is {evidence['lookback']}"
        )
    return ""


def _titles(changed: Sequence[PartChange]) -> str:
    """The changed parts before the rest of a sentence; empty if none is known."""
    if not changed:
        return ""
    more = len(changed) - MOST_PARTS
    named = ", ".join(change.title for change in changed[:MOST_PARTS])
    return f"{named} and {more} more; " if more > 0 else f"{named}; "


def _because_of(
    context: _Context, reason: Reason, guilty: tuple[str, int], past: PartitionHistory
) -> tuple[str, dict[str, object]]:
    """The sentence and figures of a partition that is stale because of another."""
    name = context.name(*guilty)
    changed = int(context.judged[guilty[0]][0].facts.data_seq[guilty[1]])
    figures: dict[str, object] = {"upstream": name, "upstream_seq": changed}
    if reason is Reason.UPSTREAM:
        return f"{name} is stale; this runs only if that changes", figures
    return (
        f"{name} changed (seq {changed}) after this was computed (it read up to seq {past.read_seq})",
        figures,
    )


def _keys_changed(
    context: _Context,
    verdict: Staleness,
    bound: Sequence[BoundDependency],
    slot: int,
    past: PartitionHistory,
) -> tuple[str, dict[str, object]]:
    """The sentence and figures of a partition that reads across keys, of which one went or came back."""
    edge = bound[int(verdict.causes[slot])].dependency
    seq = keys_changed(context.facts, context.facts.graph.spec(verdict.asset), edge)
    told = (
        f"a partition of {edge.upstream} was removed or came back (seq {seq})"
        f" after this was computed (it read up to seq {past.read_seq})"
    )
    return told, {"upstream": edge.upstream, "upstream_seq": seq}


def _guilty(
    context: _Context,
    verdict: Staleness,
    bound: tuple[BoundDependency, ...],
    slot: int,
    reason: Reason,
) -> Iterator[tuple[str, int]]:
    """The upstream partitions behind INPUT (changed since) or UPSTREAM (stale themselves)."""
    for edge in bound:
        if not edge.dependency.mapping.triggers:
            continue
        above = context.judged[edge.dependency.upstream][0]
        slots = edge.mapped.upstream_slots(slot)
        if reason is Reason.INPUT:
            hit = above.facts.data_seq[slots] > verdict.facts.read_seq[slot]
        else:
            hit = would_run(above)[slots]
        for found in slots[np.flatnonzero(hit)]:
            yield edge.dependency.upstream, int(found)
