"""An attempt of a step as the runner knows it, and the order for it: which partitions it makes and which it reads, found out from the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets_core.authoring.binding import InputParameter
from assets_core.execution.slices import slices_of
from assets_core.execution.step_order import InputOrder, StepOrder
from assets_core.model.errors import DataError
from partitions.keyed_mappings import All

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets_core.authoring.binding import Parameter
    from assets_core.execution.run_state import RunState
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


def order_for(
    attempt: Attempt,
    parameters: Sequence[Parameter],
    facts: Facts,
    state: RunState,
    run_id: str,
) -> StepOrder:
    """The order for an attempt. Raises DataError if something that it must load has no rows."""
    spec = facts.graph.spec(attempt.asset)
    edges = {edge.dependency.parameter: edge for edge in state.edges(attempt.asset)}
    return StepOrder(
        run_id=run_id,
        asset=attempt.asset,
        step_id=attempt.step_id,
        epoch=attempt.epoch,
        token=attempt.token,
        number=attempt.number,
        slices=slices_of(facts.indexes[attempt.asset], attempt.slots),
        inputs=tuple(
            _input(attempt, one.name, edges[one.name], facts, state)
            for one in parameters
            if isinstance(one, InputParameter)
        ),
        timeout=None if spec.timeout is None else spec.timeout.total_seconds(),
        memory=spec.memory,
    )


def _input(
    attempt: Attempt, parameter: str, edge: BoundDependency, facts: Facts, state: RunState
) -> InputOrder:
    upstream = edge.dependency.upstream
    wanted = sorted(
        {int(slot) for own in attempt.slots for slot in edge.mapped.upstream_slots(own)}
    )
    index = facts.indexes[upstream]
    readable = state.readable(upstream)
    absent = [slot for slot in wanted if not readable[slot]]
    if absent:
        # `All` reads what there is; the planner let only partitions be missing that aren't due yet.
        if not edge.dependency.allow_missing and not isinstance(edge.dependency.mapping, All):
            raise _no_rows(attempt.asset, upstream, index.key(absent[0]))
        wanted = [slot for slot in wanted if readable[slot]]
    return InputOrder(parameter, upstream, slices_of(index, wanted), edge.dependency.columns)


def _no_rows(asset: str, upstream: str, key: str) -> DataError:
    name = f"{upstream}@{key}" if key else upstream
    return DataError(
        f"{asset} reads {name}, whose function returned None: there are no rows to load",
        hint=f"to run after it without loading it, write deps=[{upstream}]; to do without, Input({upstream}, allow_missing=True)",
    )
