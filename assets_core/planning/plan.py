"""The plan: what a run would do, per asset and reason, as frozen data. Making one is `planner`'s; printing it is `cli.render`'s."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets_core.planning.reasons import PASSED_OVER, WAITING, Blocked, Reason, being_made, not_due

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from partitions.sets import PartitionSet

    Json = dict[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class PlanRow:
    """Partitions of one asset that would run for one reason; `cause` is the upstream asset behind INPUT and UPSTREAM."""

    partitions: PartitionSet
    reason: Reason
    cause: str | None

    @property
    def conditional(self) -> bool:
        """True if they are tested again when their upstream is done, and cut off if nothing that they read changed."""
        return self.reason is Reason.UPSTREAM

    def sentence(self) -> str:
        """Why, in the words that `explain` and the web page use too."""
        return self.reason.sentence(self.cause)

    def as_json(self) -> Json:
        """A JSON object."""
        return {
            "reason": self.reason.word,
            "because": self.sentence(),
            "cause": self.cause,
            "conditional": self.conditional,
            "partitions": set_as_json(self.partitions),
        }


@dataclass(frozen=True, slots=True, eq=False)
class BlockedRow:
    """Partitions of one asset that are stale but can't run, and the upstream asset that stands in the way.

    `waits_for` are its partitions that are in the way; None if it is what the upstream definition does not have. `until` says when the
    first of `partitions` has them due (UPSTREAM_NOT_DUE), `runs` which runs make them (UPSTREAM_IN_FLIGHT).
    """

    partitions: PartitionSet
    kind: Blocked
    upstream: str
    waits_for: PartitionSet | None = None
    until: datetime | None = None
    runs: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Why they can't run."""
        return self.kind.sentence(self.upstream, self.until, self.runs)

    def evidence(self) -> Json:
        """What stands in the way, without the partitions."""
        told: Json = {"blocked": self.kind.name.lower(), "upstream": self.upstream}
        if self.until is not None:
            told["until"] = self.until.isoformat()
        if self.runs:
            told["runs"] = self.runs
        return told

    def as_json(self) -> Json:
        """A JSON object."""
        told = {
            **self.evidence(),
            "because": self.sentence(),
            "partitions": set_as_json(self.partitions),
        }
        if self.waits_for is not None:
            told["waits_for"] = set_as_json(self.waits_for)
        return told


_LEFT_OUT = ("not_due", "in_flight", "waiting", "passed_over")


@dataclass(frozen=True, slots=True, eq=False)
class AssetPlan:
    """One asset's part of a plan.

    `partitions` is the union of the rows: what would run. `fresh` counts the partitions in scope that need nothing. `not_due` and
    `in_flight` are stale partitions left out because their window closed too short a time ago, or because live runs work on them: not
    before `due_at`, and `runs`. `waiting` are those that are stale only because of what they read, which this plan does not run;
    `passed_over` those that are stale, but not missing, in a plan of what is missing. All of these sets are disjoint, and none of their
    partitions counts as fresh.
    """

    asset: str
    partitions: PartitionSet
    rows: tuple[PlanRow, ...]
    blocked: tuple[BlockedRow, ...]
    not_due: PartitionSet
    in_flight: PartitionSet
    waiting: PartitionSet
    passed_over: PartitionSet
    fresh: int
    due_at: datetime | None = None
    runs: tuple[str, ...] = ()

    def left_out(self) -> Iterator[tuple[str, PartitionSet, str]]:
        """What is stale, neither planned nor blocked: the name of the set, its partitions, and why; empty ones are skipped."""
        if self.not_due:
            yield "not_due", self.not_due, not_due(self.due_at)
        if self.in_flight:
            yield "in_flight", self.in_flight, being_made(self.runs)
        if self.waiting:
            yield "waiting", self.waiting, WAITING
        if self.passed_over:
            yield "passed_over", self.passed_over, PASSED_OVER

    @property
    def conditional(self) -> PartitionSet:
        """The planned partitions that run only if their upstream changes."""
        result = self.partitions & ~self.partitions
        for row in self.rows:
            if row.conditional:
                result |= row.partitions
        return result

    def as_json(self) -> Json:
        """A JSON object."""
        return {
            "asset": self.asset,
            "partitions": set_as_json(self.partitions),
            "rows": [row.as_json() for row in self.rows],
            "blocked": [row.as_json() for row in self.blocked],
            **{name: set_as_json(getattr(self, name)) for name in _LEFT_OUT},
            **{
                name: {**set_as_json(partitions), "because": because}
                for name, partitions, because in self.left_out()
            },
            "fresh": self.fresh,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a run would do, made at `made_at` from the state as of `seq`; assets in topological order, only those in scope."""

    seq: int
    made_at: datetime
    assets: tuple[AssetPlan, ...]

    @property
    def size(self) -> int:
        """How many partitions would run, conditional ones included."""
        return sum(len(asset.partitions) for asset in self.assets)

    @property
    def blocked(self) -> int:
        """How many stale partitions can't run."""
        return sum(len(row.partitions) for asset in self.assets for row in asset.blocked)

    @property
    def fresh(self) -> int:
        """How many partitions in scope need nothing."""
        return sum(asset.fresh for asset in self.assets)

    def of(self, asset: str) -> AssetPlan | None:
        """The asset's part, or None if it is not in scope."""
        return self.by_asset().get(asset)

    def by_asset(self) -> Mapping[str, AssetPlan]:
        """The parts by asset key, in topological order."""
        return {part.asset: part for part in self.assets}

    def as_json(self) -> Json:
        """A JSON object: the machine-readable plan."""
        return {
            "seq": self.seq,
            "made_at": self.made_at.isoformat(),
            "to_run": self.size,
            "blocked": self.blocked,
            "fresh": self.fresh,
            "assets": [asset.as_json() for asset in self.assets],
        }


def set_as_json(partitions: PartitionSet) -> Json:
    """A JSON object; partitions whose ids are only provisional are told by the complete expression of their keys as well."""
    ids = partitions.to_ids()
    told: Json = {
        "count": len(partitions),
        "text": partitions.describe() if partitions else "",
        "ids": ids,
    }
    # Ids of time may well be negative: before 1970.
    if not partitions.index.kind.is_time and any(first < 0 for first, _ in ids):
        told["expression"] = partitions.expression()
    return told
