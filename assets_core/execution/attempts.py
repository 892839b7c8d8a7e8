"""An attempt of a step as the runner knows it, and the order for it: which partitions it makes and which it reads, found out from the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from assets_core.authoring.binding import InputParameter
from assets_core.execution.slices import slices_of
from assets_core.execution.step_order import InputOrder, ReferenceOrder, StepOrder
from assets_core.model.contract_rules import ForeignKey
from assets_core.model.errors import DataError
from partitions.keyed_mappings import All

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from assets_core.authoring.binding import Parameter
    from assets_core.model.contracts import Contract
    from assets_core.model.io_manager import PartitionSlice
    from assets_core.planning.staleness import BoundDependency, Facts


@dataclass(frozen=True, slots=True)
class Attempt:
    """The slots that one call of an asset's function covers, and the claim it runs under."""

    asset: str
    slots: tuple[int, ...]
    step_id: int
    epoch: int
    token: str
    number: int


class Readable(NamedTuple):
    """What an attempt may read: the edges into its asset, and per upstream asset a mask of the slots that have rows."""

    facts: Facts
    edges: Sequence[BoundDependency]
    readable: Callable[[str], NDArray[np.bool_]]


def order_for(
    attempt: Attempt,
    parameters: Sequence[Parameter],
    contract: Contract | None,
    source: Readable,
    *,
    run_id: str,
    now: datetime,
) -> StepOrder:
    """The order for an attempt. Raises DataError if something that it must load has no rows."""
    facts = source.facts
    spec = facts.graph.spec(attempt.asset)
    edges = {edge.dependency.parameter: edge for edge in source.edges}
    return StepOrder(
        run_id=run_id,
        asset=attempt.asset,
        step_id=attempt.step_id,
        epoch=attempt.epoch,
        token=attempt.token,
        number=attempt.number,
        slices=slices_of(facts.indexes[attempt.asset], attempt.slots),
        inputs=tuple(
            _input(attempt.asset, attempt.slots, one.name, edges[one.name], source)
            for one in parameters
            if isinstance(one, InputParameter)
        ),
        now=now,
        timeout=None if spec.timeout is None else spec.timeout.total_seconds(),
        memory=spec.memory,
        references=_references(attempt, contract, source),
    )


def _references(
    attempt: Attempt, contract: Contract | None, source: Readable
) -> tuple[ReferenceOrder, ...]:
    """What foreign keys look at: of each asset that one refers to, the partitions of all edges to it.

    Each partition for itself: what it is held against must not depend on which others are made along with it.
    """
    rules = () if contract is None else contract.rules
    found = []
    for asset in dict.fromkeys(rule.asset for rule in rules if isinstance(rule, ForeignKey)):
        alike: dict[tuple[PartitionSlice, ...], list[int]] = {}
        for position, own in enumerate(attempt.slots):
            slices = {
                one.id: one
                for edge in source.edges
                if edge.dependency.upstream == asset
                for one in _input(attempt.asset, (own,), "", edge, source).slices
            }
            alike.setdefault(tuple(slices.values()), []).append(position)
        found += [ReferenceOrder(asset, tuple(own), slices) for slices, own in alike.items()]
    return tuple(found)


def _input(
    asset: str, slots: Sequence[int], parameter: str, edge: BoundDependency, source: Readable
) -> InputOrder:
    upstream = edge.dependency.upstream
    wanted = sorted({int(slot) for own in slots for slot in edge.mapped.upstream_slots(own)})
    index = source.facts.indexes[upstream]
    readable = source.readable(upstream)
    absent = [slot for slot in wanted if not readable[slot]]
    if absent:
        # `All` reads what there is; the planner let only partitions be missing that aren't due yet.
        if not edge.dependency.allow_missing and not isinstance(edge.dependency.mapping, All):
            raise _no_rows(asset, upstream, index.key(absent[0]))
        wanted = [slot for slot in wanted if readable[slot]]
    return InputOrder(parameter, upstream, slices_of(index, wanted), edge.dependency.columns)


def _no_rows(asset: str, upstream: str, key: str) -> DataError:
    name = f"{upstream}@{key}" if key else upstream
    return DataError(
        f"{asset} reads {name}, whose function returned None: there are no rows to load",
        hint=f"to run after it without loading it, write deps=[{upstream}]; to do without, Input({upstream}, allow_missing=True)",
    )
