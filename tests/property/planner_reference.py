"""The planner's oracle: the rules of staleness and planning, one partition at a time, with sets and loops only.

Slow on purpose, and independent of `assets_core.planning`: it shares the values (specs, facts, mappings), none of the decisions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assets_core.model.records import DataVersions
from assets_core.planning.planner import Mode
from partitions.keyed_mappings import All

if TYPE_CHECKING:
    from collections.abc import Iterable

    from assets_core.model.specs import AssetSpec
    from assets_core.planning.planner import PlanRequest
    from assets_core.planning.staleness import Facts

Node = tuple[str, int]
FIGURES = ("seq", "read_seq", "code_id", "deps_id", "data_seq", "failed_seq", "horizon")


@dataclass(frozen=True)
class RecordedVersions:
    """What versions rows have now, and had when everything of `consumers` was made; None: not known. By asset and partition id."""

    now: dict[Node, str | None]
    then: dict[Node, str | None]
    consumers: frozenset[str] = frozenset()
    consumed: dict[Node, str | None] = field(default_factory=dict)

    def __call__(self, asset: str, partition_ids: Iterable[int]) -> dict[int, DataVersions]:
        return {
            one: DataVersions(self.now[asset, one], self.consumed.get((asset, one)))
            for one in partition_ids
            if (asset, one) in self.now
        }


@dataclass
class Reference:
    facts: Facts
    state: dict[Node, dict[str, int]] = field(default_factory=dict)
    reads: dict[Node, list[tuple[int, Node]]] = field(default_factory=dict)
    outside: dict[Node, set[int]] = field(default_factory=dict)
    reason: dict[Node, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in self.facts.graph.order:
            spec = self.facts.graph.spec(key)
            self._load_state(key)
            self._load_edges(spec)
            for slot in range(len(self.facts.indexes[key])):
                self.reason[key, slot] = self._judge(spec, slot)

    def _load_state(self, key: str) -> None:
        columns = self.facts.state.partitions[key]
        by_id = {
            int(columns.ids[i]): {name: int(getattr(columns, name)[i]) for name in FIGURES}
            for i in range(len(columns.ids))
        }
        nothing = dict.fromkeys(FIGURES, 0)
        index = self.facts.indexes[key]
        for slot in range(len(index)):
            self.state[key, slot] = by_id.get(int(index.ids[slot]), nothing)

    def _load_edges(self, spec: AssetSpec) -> None:
        down = self.facts.indexes[spec.key]
        for slot in range(len(down)):
            self.reads[spec.key, slot] = []
            self.outside[spec.key, slot] = set()
        for number, edge in enumerate(spec.dependencies):
            mapped = edge.mapping.bind(self.facts.indexes[edge.upstream], down)
            for slot in range(len(down)):
                for above in mapped.upstream_slots(slot):
                    self.reads[spec.key, slot].append((number, (edge.upstream, int(above))))
                if mapped.missing[slot]:
                    self.outside[spec.key, slot].add(number)

    def due(self, node: Node) -> bool:
        window = self.facts.indexes[node[0]].window(node[1])
        closed_after = self.facts.graph.spec(node[0]).closed_after
        # What `end_offset` lets exist before its window ends is there to be made at once.
        return not closed_after or window is None or window.end + closed_after <= self.facts.now

    def not_yet(self, node: Node) -> bool:
        """Nothing is there, and it, or something that it must read, is still to become due."""
        if self.exists(node):
            return False
        edges = self.facts.graph.spec(node[0]).dependencies
        return not self.due(node) or any(
            self.not_yet(above)
            for number, above in self.reads[node]
            if not edges[number].allow_missing and not isinstance(edges[number].mapping, All)
        )

    def lost(self, node: Node) -> bool:
        return int(self.facts.indexes[node[0]].ids[node[1]]) in self.facts.lost.get(
            node[0], frozenset()
        )

    def in_flight(self, node: Node) -> bool:
        return int(self.facts.indexes[node[0]].ids[node[1]]) in self.facts.state.in_flight.get(
            "run-1", {}
        ).get(node[0], ())

    def exists(self, node: Node) -> bool:
        return self.state[node]["seq"] > 0 and not self.lost(node)

    def triggers(self, key: str, number: int) -> bool:
        return self.facts.graph.spec(key).dependencies[number].mapping.triggers

    def _judge(self, spec: AssetSpec, slot: int) -> str:
        node = (spec.key, slot)
        own = self.state[node]
        versions = self.facts.state.version_ids[spec.key]
        triggering = [
            above for number, above in self.reads[node] if self.triggers(spec.key, number)
        ]
        if own["seq"] == 0 and own["failed_seq"] == 0:
            return "missing"
        if self.lost(node):
            return "lost"
        if own["failed_seq"] > own["seq"]:
            return "failed"
        if own["code_id"] != versions.code_id:
            return "code"
        if own["deps_id"] != versions.deps_id:
            return "deps"
        window = self.facts.indexes[spec.key].window(slot)
        if own["horizon"] == 0 and window is not None and window.end <= self.facts.now:
            return "provisional"
        changed = any(self.state[above]["data_seq"] > own["read_seq"] for above in triggering)
        if changed and not self._consumed_the_same(spec, node, triggering):
            return "input"
        if self._looked_back(spec, slot):
            return "lookback"
        if any(
            self.reason[above] != "fresh" and self.due(above) and not self.not_yet(above)
            for above in triggering
        ):
            return "upstream"
        return "fresh"

    def _looked_back(self, spec: AssetSpec, slot: int) -> bool:
        index = self.facts.indexes[spec.key]
        begin = slot - slot % index.lane_length if index.lane_length else 0
        later = [s for s in range(slot + 1, begin + index.lane_length) if self.due((spec.key, s))]
        were_due = self.state[spec.key, slot]["horizon"] - 1
        return 0 <= were_due < min(len(later), spec.lookback)

    def _consumed_the_same(self, spec: AssetSpec, node: Node, read: list[Node]) -> bool:
        past = self.facts.data_versions
        if not spec.compare_input_versions or not isinstance(past, RecordedVersions):
            return False
        ids = {(key, slot): int(self.facts.indexes[key].ids[slot]) for key, slot in [node, *read]}
        if node[0] not in past.consumers or (node[0], ids[node]) not in past.now:
            return False
        return all(
            past.now.get((above[0], ids[above]), "absent")
            == past.then.get((above[0], ids[above]), "absent")
            is not None
            for above in read
        )

    def plan(self, request: PlanRequest) -> tuple[dict[Node, str], set[Node]]:
        """Planned partitions with their reasons, and blocked ones."""
        scope = self.scope(request)
        planned: dict[Node, str] = {}
        blocked: set[Node] = set()
        for key in self.facts.graph.order:
            edges = self.facts.graph.spec(key).dependencies
            for slot in range(len(self.facts.indexes[key])):
                node = (key, slot)
                if node not in scope:
                    continue
                reason = self._reason_in_plan(node, request, planned)
                if reason == "fresh" or not self.due(node) or self.in_flight(node):
                    continue
                needs = [
                    above
                    for number, above in self.reads[node]
                    if not edges[number].allow_missing
                    and not (isinstance(edges[number].mapping, All) and self.not_yet(above))
                ]
                outside = {
                    number for number in self.outside[node] if not edges[number].allow_missing
                }
                if outside or any(
                    not self.exists(above) and above not in planned for above in needs
                ):
                    blocked.add(node)
                else:
                    planned[node] = reason
        return planned, blocked

    def _reason_in_plan(self, node: Node, request: PlanRequest, planned: dict[Node, str]) -> str:
        reason = self.reason[node]
        if reason == "upstream":
            reason = "fresh"
        if reason == "fresh" and any(
            above in planned
            for number, above in self.reads[node]
            if self.triggers(node[0], number)
        ):
            reason = "upstream"
        if not self._is_selected(node, request):
            return reason
        if request.mode is Mode.FORCE:
            return "forced"
        if request.mode is Mode.MISSING and self.state[node]["seq"] > 0 and not self.lost(node):
            return "fresh"
        return reason

    @staticmethod
    def _is_selected(node: Node, request: PlanRequest) -> bool:
        chosen = request.partitions.get(node[0])
        return node[0] in request.assets and (chosen is None or bool(chosen.mask()[node[1]]))

    def scope(self, request: PlanRequest) -> set[Node]:
        """All partitions that the request is about."""
        selected = {
            (key, slot)
            for key in request.assets
            for slot in range(len(self.facts.indexes[key]))
            if self._is_selected((key, slot), request)
        }
        scope = set(selected)
        if request.upstream:
            frontier = set(selected)
            while frontier:
                frontier = {above for node in frontier for _, above in self.reads[node]} - scope
                scope |= frontier
        if request.downstream:
            reached = set(selected)
            for key in self.facts.graph.order:
                for slot in range(len(self.facts.indexes[key])):
                    if any(above in reached for _, above in self.reads[key, slot]):
                        reached.add((key, slot))
            scope |= reached
        return scope
