"""Why one partition is stale or fresh, as a tree of causes down to the first ones. Pure: recorded history is passed in as a function."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

import numpy as np

from assets_core.planning.changes import Side
from assets_core.planning.reasons import Reason
from assets_core.planning.staleness import judge, keys_changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from assets_core.model.records import PartitionHistory
    from assets_core.planning.changes import Difference, PartChange
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
    return _explain(_Context(facts, judged, history, differences), asset, slot)


@dataclass(frozen=True, slots=True, eq=False)
class _Context:
    facts: Facts
    judged: Mapping[str, tuple[Staleness, tuple[BoundDependency, ...]]]
    history: History
    differences: Differences

    def name(self, asset: str, slot: int) -> str:
        key = self.facts.indexes[asset].key(slot)
        return f"{asset}@{key}" if key else asset


def _explain(context: _Context, asset: str, slot: int) -> Explanation:
    verdict, bound = context.judged[asset]
    reason = Reason(int(verdict.reasons[slot]))
    past = context.history(asset, slot)
    causes: tuple[Explanation, ...] = ()
    more = 0
    because, evidence = _evidence(context, asset, reason, past)
    if reason in {Reason.CODE, Reason.DEPS}:
        side = Side.CODE if reason is Reason.CODE else Side.DEPS
        changed = context.differences(asset, slot).changes.get(side) or ()
        evidence["changed"] = [change.title for change in changed]
        because = f"{reason.sentence()}: {_titles(changed)}{because}"
    if reason in {Reason.INPUT, Reason.UPSTREAM}:
        found = list(_guilty(context, verdict, bound, slot, reason))
        causes = tuple(
            _explain(context, upstream, above) for upstream, above in found[:MOST_CAUSES]
        )
        more = max(0, len(found) - MOST_CAUSES)
        if found:
            because = _because_of(context, reason, found[0], past)
            evidence["upstream"] = context.name(*found[0])
            evidence["upstream_seq"] = int(
                context.judged[found[0][0]][0].facts.data_seq[found[0][1]]
            )
        elif reason is Reason.INPUT:
            edge = bound[int(verdict.causes[slot])].dependency
            evidence["upstream"] = edge.upstream
            evidence["upstream_seq"] = keys_changed(
                context.facts, context.facts.graph.spec(asset), edge
            )
            because = (
                f"a partition of {edge.upstream} was removed or came back (seq {evidence['upstream_seq']})"
                f" after this was computed (it read up to seq {past.read_seq})"
            )
    because += _lateness(context, verdict, slot, reason, evidence)
    if reason is not Reason.FRESH:
        because += _waits(bound, slot, evidence)
    if past.read_seq is not None and int(verdict.facts.read_seq[slot]) > past.read_seq:
        evidence["inputs_unchanged"] = True
        because += (
            "; what it reads was written again, with the data versions that it was made from"
        )
    if not bool(verdict.facts.due[slot]):
        evidence["due"] = False
        because += "; not due yet: its window closed less than `closed_after` ago"
    if bool(verdict.facts.in_flight[slot]):
        evidence["in_flight"] = True
        because += "; a live run is working on it"
    return Explanation(
        asset, context.facts.indexes[asset].key(slot), reason, because, evidence, causes, more
    )


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


def _waits(bound: Sequence[BoundDependency], slot: int, evidence: dict[str, object]) -> str:
    """What it reads that an upstream definition does not have, so that it can't run; nothing if it has all."""
    for edge in bound:
        lacking = edge.mapped.missing_keys(slot)
        if lacking and not edge.dependency.allow_missing:
            evidence["blocked_by"] = {"upstream": edge.dependency.upstream, "lacking": lacking}
            return f"; blocked: it reads {', '.join(lacking)}, which {edge.dependency.upstream} does not have"
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
) -> str:
    name = context.name(*guilty)
    if reason is Reason.UPSTREAM:
        return f"{name} is stale; this runs only if that changes"
    changed = int(context.judged[guilty[0]][0].facts.data_seq[guilty[1]])
    return f"{name} changed (seq {changed}) after this was computed (it read up to seq {past.read_seq})"


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
            hit = above.stale[slots] & above.facts.due[slots]
        for found in slots[np.flatnonzero(hit)]:
            yield edge.dependency.upstream, int(found)
