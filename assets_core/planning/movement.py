"""Whether a saved plan may still run: what moved since it was made, in words. Pure; the facts are passed in.

Theory of operation
-------------------
The request is planned again from the state as it is, at the plan's own instant: a day that became due since is not part of the plan
and no movement. Then three things must hold, and each that does not is told:

    definitions   every asset that runs has the partition space, code and dependencies of then, and the state is the same one
    rows          each partition is planned for the same reason as then, and no other is planned
    counter       nothing that runs was tried since, and nothing that it reads got other rows: no seq beyond the plan's own

The third is needed although the second compares every row: a forced partition that was run meanwhile is planned as it was, and so is one
whose input changed a second time. The log's counter is global, so the one number that the plan carries is an exact watermark
for every partition of every asset; nothing has to be kept per asset.

What a planned partition reads is looked up at the present, not at the plan's instant: a step records that it has seen everything up
to the counter at its start, so rows of an upstream partition that is younger than the plan would count as read, and were not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from assets_core.model.errors import PlanError, PlanMovedError
from assets_core.planning.planner import plan_run
from assets_core.planning.reasons import being_made
from assets_core.planning.saved_plan import NEW_PLAN
from assets_core.planning.staleness import bind_dependencies, partition_facts
from partitions.definitions import PartitionKind
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from assets_core.planning.plan import AssetPlan, Plan
    from assets_core.planning.planner import PlanRequest
    from assets_core.planning.reasons import Reason
    from assets_core.planning.saved_plan import SavedPlan
    from assets_core.planning.staleness import Facts

    Mask = NDArray[np.bool_]
    Row = tuple[Reason, str | None, PartitionSet]
    """Partitions that run, why, and the upstream asset behind that."""


@dataclass(frozen=True, slots=True, eq=False)
class Replanned:
    """A saved plan that did not move: the plan, its request over the project, and the facts that both were made from."""

    plan: Plan
    request: PlanRequest
    facts: Facts


MOST_TOLD: Final = 5
"""How many movements a refusal names; the rest is counted."""


def replan(saved: SavedPlan, facts_at: Callable[[datetime], Facts], now: datetime) -> Replanned:
    """The saved plan, made anew. `facts_at` answers the facts of the state as it is, at any instant that is not to come.

    Raises:
        PlanError: it does not fit the project at all: assets of another project, an instant to come.
        PlanMovedError: it does, and would not come out the same; the message names what moved.
        SpaceChangedError: as `plan_run`.
    """
    if saved.made_at > now:
        raise PlanError(
            f"the plan says that it was made at {saved.made_at.isoformat()}, which is still to come",
            hint=NEW_PLAN,
        )
    present = facts_at(now)
    saved.require_known_assets(present.graph, same_state=_is_same_state(saved, present))
    _refuse(saved, moved_definitions(saved, present))
    then = facts_at(saved.made_at)
    request = saved.request.over(then)
    before = {asset: _saved_rows(saved, asset, then) for asset in saved.rows}
    plan = plan_run(then, request)
    moved = [
        *moved_partitions(saved.seq, before, plan, then),
        *moved_inputs(saved.seq, before, then, present),
    ]
    _refuse(saved, moved)
    return Replanned(plan, request, then)


def _refuse(saved: SavedPlan, movements: Iterable[str]) -> None:
    """Raise PlanMovedError if there are any."""
    moved = list(movements)
    if not moved:
        return
    made_at = saved.made_at.isoformat(" ", "seconds")
    lines = [f"the plan of {made_at} would not come out the same now, so nothing was run:"]
    lines += moved[:MOST_TOLD]
    if len(moved) > MOST_TOLD:
        lines.append(f"and {len(moved) - MOST_TOLD} more")
    raise PlanMovedError("\n".join(lines), hint=NEW_PLAN)


def _is_same_state(saved: SavedPlan, facts: Facts) -> bool:
    # Before anything was recorded there may be no state file, and then every look at it makes up an id.
    return saved.seq > 0 and saved.state_id == facts.state.state_id


def moved_definitions(saved: SavedPlan, facts: Facts) -> Iterator[str]:
    """What moved under the plan as a whole: the state, or what the assets are that it runs."""
    state = facts.state
    if saved.seq and not _is_same_state(saved, facts):
        yield f"the state is another one: the plan was made from {saved.state_id}, this is {state.state_id}"
    elif saved.seq > state.seq:
        yield f"the state went back: the plan was made at seq {saved.seq}, and this is seq {state.seq}"
    for asset, was in saved.versions.items():
        spec = facts.graph.spec(asset)
        for what, old, new in (
            ("the partitions", was.space, spec.partitions.space),
            ("the code", was.code, spec.code_version),
            ("the dependencies", was.deps, spec.deps_version),
        ):
            if old != new:
                yield f"{what} of {asset} changed: {old} → {new}"


def moved_partitions(
    seq: int, before: Mapping[str, list[Row]], plan: Plan, facts: Facts
) -> Iterator[str]:
    """Partitions that were tried since `seq`, or are planned otherwise than `before`; assets in topological order."""
    parts = plan.by_asset()
    for asset in facts.graph.order:
        part = parts.get(asset)
        if asset in before or (part is not None and part.rows):
            yield from _moved_in(seq, asset, before.get(asset, []), part, facts)


def moved_inputs(
    seq: int, before: Mapping[str, list[Row]], then: Facts, present: Facts
) -> Iterator[str]:
    """Upstream partitions that `before` reads and does not run, and whose rows changed since `seq`."""
    running = {
        asset: _over(present, asset, [partitions for _, _, partitions in rows])
        for asset, rows in before.items()
    }
    for asset in then.graph.order:
        if asset not in running:
            continue
        for edge in bind_dependencies(present, present.graph.spec(asset)):
            upstream = edge.dependency.upstream
            if not edge.dependency.mapping.triggers:
                continue
            data_seq = partition_facts(present, present.graph.spec(upstream)).data_seq
            changed = edge.mapped.upstream_of(running[asset]) & (data_seq > seq)
            if upstream in running:
                changed &= ~running[upstream]
            if changed.any():
                name = _named(present, upstream, changed)
                yield f"{name}, which {asset} reads, changed since (seq {int(data_seq[changed].max())})"


def _saved_rows(saved: SavedPlan, asset: str, facts: Facts) -> list[Row]:
    index = facts.indexes[asset]
    rows = [
        (row.reason, row.cause, row.partitions.over(asset, facts)) for row in saved.rows[asset]
    ]
    union = PartitionSet.none(index)
    for _, _, partitions in rows:
        if union & partitions:
            twice = (union & partitions).describe()
            raise PlanError(f"the plan names {asset} {twice} in two rows", hint=NEW_PLAN)
        union |= partitions
    return rows


def _moved_in(
    seq: int,
    asset: str,
    before: list[Row],
    part: AssetPlan | None,
    facts: Facts,
) -> Iterator[str]:
    after = [] if part is None else [(row.reason, row.cause, row.partitions) for row in part.rows]
    own = partition_facts(facts, facts.graph.spec(asset))
    sentences = ["not planned"]
    old, new = (_numbered(facts, asset, rows, sentences) for rows in (before, after))
    done = (old > 0) & (own.seq > seq)
    failed = (old > 0) & ~done & (own.failed_seq > seq)
    if done.any():
        newest = int(own.seq[done].max())
        yield f"{_were(facts, asset, done)} materialized or marked current since (seq {newest})"
    if failed.any():
        newest = int(own.failed_seq[failed].max())
        yield f"{_were(facts, asset, failed)} tried since, and failed (seq {newest})"
    differs = (old != new) & ~done & ~failed
    stands_in_the_way = list(_obstacles(part))
    for why, mask in stands_in_the_way:
        hit = differs & (old > 0) & mask
        if hit.any():
            yield f"{_were(facts, asset, hit)} to run, and can't now: {why}"
        differs &= ~hit
    for was, now in sorted(set(zip(old[differs].tolist(), new[differs].tolist(), strict=True))):
        alike = differs & (old == was) & (new == now)
        yield f"{_were(facts, asset, alike)} {sentences[was]} then, and now: {sentences[now]}"


def _numbered(
    facts: Facts, asset: str, rows: list[Row], sentences: list[str]
) -> NDArray[np.int64]:
    """Per slot the place of its row's sentence in `sentences`, which grows; 0 where nothing runs."""
    numbers = np.zeros(len(facts.indexes[asset]), dtype=np.int64)
    for reason, cause, partitions in rows:
        told = f"planned ({reason.sentence(cause)})"
        if told not in sentences:
            sentences.append(told)
        numbers[partitions.mask()] = sentences.index(told)
    return numbers


def _obstacles(part: AssetPlan | None) -> Iterator[tuple[str, Mask]]:
    """Why partitions that are stale are not planned, and which."""
    if part is not None:
        for row in part.blocked:
            yield row.sentence(), row.partitions.mask()
        if part.in_flight:
            yield being_made(part.runs), part.in_flight.mask()


def _over(facts: Facts, asset: str, sets: list[PartitionSet]) -> Mask:
    """The union of partitions of another instant, in the index of these facts."""
    runs = [run for partitions in sets for run in partitions.to_ids()]
    return PartitionSet.from_ids(facts.indexes[asset], runs).mask()


def _named(facts: Facts, asset: str, mask: Mask) -> str:
    """The partitions of an asset as people name them; the asset alone if it is unpartitioned."""
    index = facts.indexes[asset]
    if index.kind is PartitionKind.SINGLE:
        return asset
    found = PartitionSet.from_mask(index, mask)
    return f"{asset}@{found.first()}" if len(found) == 1 else f"{asset} {found.describe()}"


def _were(facts: Facts, asset: str, mask: Mask) -> str:
    return f"{_named(facts, asset, mask)} {'was' if np.count_nonzero(mask) == 1 else 'were'}"
