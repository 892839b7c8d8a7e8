"""A plan as an artefact: what is written down of one, and how that is laid over a project again. Pure; files are read in `cli`.

Theory of operation
-------------------
A saved plan is the rows of a plan, the request that they answer, and its *basis*: the instant, the state's id and counter, and the
versions of everything that it runs. Whether it may still run is decided in `movement`.

Partitions are written as runs of stored ids. Keys of static definitions and lanes may not have an id yet; theirs are provisional and
mean nothing once the state gives real ones, so such a set is written as the range expression of its keys as well, and read from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from assets_core.model.errors import PlanError, PlanMovedError
from assets_core.planning.ever import index_ever
from assets_core.planning.plan import set_as_json
from assets_core.planning.planner import PlanRequest
from partitions.errors import PartitaError, nearest
from partitions.ranges import parse_range
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from assets_core.authoring.graph import AssetGraph
    from assets_core.planning.plan import Json, Plan
    from assets_core.planning.planner import Mode
    from assets_core.planning.reasons import Reason
    from assets_core.planning.staleness import Facts
    from partitions.definitions import PartitionIndex

PLAN_FORMAT: Final = 1
"""The number under "format" in a saved plan; it grows when what was written before would be read wrongly."""

MOST_SHOWN: Final = 100
"""How many characters of an expression a message repeats."""


@dataclass(frozen=True, slots=True)
class SavedSet:
    """Partitions of one asset as they were written: half-open runs of ids, or, if that is not None, the `expression` of their keys.

    `text` names them for people, where it was written.
    """

    count: int
    ids: tuple[tuple[int, int], ...]
    expression: str | None = None
    text: str = ""

    def over(self, asset: str, facts: Facts) -> PartitionSet:
        """The partitions in the asset's index. Raises PlanMovedError unless it has exactly all of them."""
        index = facts.indexes[asset]
        if not self.count:
            return PartitionSet.none(index)
        if self.expression is not None:
            found = self._read(self.expression, asset, index, facts.now)
        else:
            found = PartitionSet.from_ids(index, self.ids)
        if len(found) != self.count:
            gone = None if self.expression is not None else _gone(self.ids, index, facts)
            missing = self.count - len(found)
            if gone is None or len(gone) != missing:
                why = f"of these there are {len(found):,}"
            else:
                why = f"{gone.describe()} {'is' if missing == 1 else 'are'} gone"
            raise self._misfit(asset, index, why)
        return found

    def _read(
        self, expression: str, asset: str, index: PartitionIndex, now: datetime
    ) -> PartitionSet:
        # "a, b" alone might be the one key of that name, and "a (1)" as well: what was meant is what is written like that.
        for text in (f"{expression} ({self.count})", expression):
            try:
                found = parse_range(text, index, now)
            except PartitaError as error:
                why = error.message.partition("\n")[0]
                raise self._misfit(asset, index, why) from error
            if _terms(found.expression()) == _terms(expression):
                return found
        raise self._misfit(asset, index, f"they are read as {found.describe()}")

    def _misfit(self, asset: str, index: PartitionIndex, why: str) -> PlanMovedError:
        ids = ", ".join(f"{first}...{stop - 1}" for first, stop in self.ids[:3])
        named = self.text.removesuffix(f" ({self.count})") or self.expression
        named = f"with the ids {ids}" if named is None else _shortened(named)
        return PlanMovedError(
            f"the plan is about {self.count:,} partitions of {asset} ({named}) that its definition "
            f"({index.definition.describe()}) does not have now: {why}; nothing was run",
            hint=NEW_PLAN,
        )


def _gone(
    ids: Sequence[tuple[int, int]], index: PartitionIndex, facts: Facts
) -> PartitionSet | None:
    """Those of these ids that the index does not have, in an index that has all that ever were; None if there is no such."""
    ever = index_ever(index.definition, facts.now, facts.key_ids, facts.removed_keys())
    if ever is None:
        return None
    return PartitionSet.from_ids(ever, ids) & PartitionSet.from_mask(
        ever, index.slots_of_ids(ever.ids) < 0
    )


def _shortened(expression: str) -> str:
    return expression if len(expression) <= MOST_SHOWN else f"{expression[:MOST_SHOWN]}…"


def _terms(expression: str) -> list[str]:
    # Sorted, because keys may be listed in another order by now.
    return sorted(expression.split(", "))


@dataclass(frozen=True, slots=True)
class SavedRow:
    """Partitions that run for one reason; `cause` as in `PlanRow`."""

    reason: Reason
    cause: str | None
    partitions: SavedSet


@dataclass(frozen=True, slots=True)
class SavedVersions:
    """What an asset was when the plan was made: its partition space, and the versions of its code and its dependencies."""

    space: str
    code: str
    deps: str


@dataclass(frozen=True, slots=True)
class SavedRequest:
    """What a plan was asked to be about, as in `PlanRequest`; `selection` and `range_text` are what was typed."""

    selection: str
    range_text: str
    assets: tuple[str, ...]
    partitions: Mapping[str, SavedSet]
    mode: Mode
    upstream: bool
    downstream: bool

    def over(self, facts: Facts) -> PlanRequest:
        """The request in this project. Raises PlanMovedError if it names partitions that are not defined."""
        chosen = {
            asset: partitions.over(asset, facts) for asset, partitions in self.partitions.items()
        }
        return PlanRequest(self.assets, chosen, self.mode, self.upstream, self.downstream)


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan as it was written. `rows` has an entry for every asset that runs; `versions` one for each of these and of those narrowed."""

    seq: int
    made_at: datetime
    state_id: str
    request: SavedRequest
    versions: Mapping[str, SavedVersions]
    rows: Mapping[str, tuple[SavedRow, ...]]

    def require_known_assets(self, graph: AssetGraph, *, same_state: bool) -> None:
        """Raise if the plan names an asset that the project does not have.

        Over the `same_state` that it was made from, the asset was there then: PlanMovedError. Otherwise PlanError: it may
        well be the plan of another project.
        """
        named = (*self.request.assets, *self.request.partitions, *self.versions, *self.rows)
        for asset in dict.fromkeys(named):
            if asset in graph.specs:
                continue
            if same_state:
                raise PlanMovedError(
                    f"the plan is about the asset {asset!r}, which this project no longer has; nothing was run",
                    hint=NEW_PLAN,
                )
            near = nearest(asset, graph.order)
            raise PlanError(
                f"the plan is about the asset {asset!r}, which this project does not have",
                hint=f"nearest: {', '.join(near)}; {NEW_PLAN}" if near else NEW_PLAN,
            )


NEW_PLAN: Final = "make a new one: partita plan … -o json > plan.json"
"""The hint of every refusal."""


def saved_plan_as_json(
    plan: Plan, facts: Facts, request: PlanRequest, *, selection: str, range_text: str
) -> Json:
    """The plan with everything that is needed to run it later, as a JSON object; `facts` are those that it was made from."""
    running = [part.asset for part in plan.assets if part.partitions]
    specs = facts.graph.specs
    return {
        "format": PLAN_FORMAT,
        "state_id": facts.state.state_id,
        **plan.as_json(),
        "request": {
            "selection": selection,
            "range": range_text,
            "assets": list(request.assets),
            "partitions": {
                asset: set_as_json(chosen) for asset, chosen in request.partitions.items()
            },
            "mode": request.mode.value,
            "upstream": request.upstream,
            "downstream": request.downstream,
        },
        "versions": {
            asset: {
                "space": specs[asset].partitions.space,
                "code": specs[asset].code_version,
                "deps": specs[asset].deps_version,
            }
            for asset in dict.fromkeys([*running, *request.partitions])
        },
    }
