"""Judging rows that are published already: contract and checks once more, partition by partition. Reads them, and writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.execution.attempts import Attempt, Readable, order_for
from assets_core.planning.staleness import bind_dependencies, partition_facts
from assets_core.telemetry.run_log import ASSET_LOGGER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from assets_core.authoring.definitions import Resolved
    from assets_core.model.checks import CheckOutcome
    from assets_core.planning.staleness import Facts


def has_checks(resolved: Resolved, asset: str) -> bool:
    """Whether there is anything that could say something about the asset's rows."""
    return resolved.assets[asset].contract is not None or bool(resolved.checks[asset])


def recheck(
    resolved: Resolved, facts: Facts, asset: str, slots: Iterable[int], now: datetime
) -> Iterator[tuple[int, tuple[CheckOutcome, ...]]]:
    """The id of each partition of `asset` in `slots`, and what contract and checks say of its rows as they are.

    Raises DataError, UserCodeError, IOManagerError or DefinitionError where something can't be judged.
    """
    import logging  # noqa: PLC0415 - only where checks run

    from assets_core.execution.worker import Worker  # noqa: PLC0415 - with all that runs user code

    def readable(upstream: str) -> NDArray[np.bool_]:
        return partition_facts(facts, facts.graph.spec(upstream)).readable

    worker = Worker(resolved, logging.getLogger(ASSET_LOGGER).getChild)
    source = Readable(facts, bind_dependencies(facts, facts.graph.spec(asset)), readable)
    contract = resolved.assets[asset].contract
    for slot in slots:
        attempt = Attempt(asset, (slot,), 0, 0, "", 1)
        # Without parameters: only what foreign keys refer to is looked up, for nothing is made.
        order = order_for(attempt, (), contract, source, run_id="", now=now)
        yield order.slices[0].id, worker.recheck(order)
