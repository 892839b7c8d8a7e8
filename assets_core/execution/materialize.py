"""`materialize`: run assets from a test or a notebook, without a project, a state file or a command line."""

from __future__ import annotations

import random
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from assets_core.authoring.decorators import Asset
from assets_core.authoring.definitions import Definitions
from assets_core.execution.facts import gather_facts, intern_partition_keys
from assets_core.execution.run_request import Effects, RunRequest
from assets_core.execution.runner import Runner
from assets_core.model.errors import UserCodeError
from assets_core.model.records import RunKind
from assets_core.planning.planner import PlanRequest, plan_run
from partitions.definitions import PartitionKind
from partitions.ranges import parse_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from assets_core.authoring.decorators import AssetCheck
    from assets_core.execution.events import RunSummary
    from assets_core.model.io_manager import IOManager


def materialize(
    assets: Iterable[Asset[..., object] | AssetCheck[..., object]],
    *,
    io_manager: IOManager,
    partitions: str | None = None,
    resources: Mapping[str, object] | None = None,
    config: Mapping[str, Mapping[str, object]] | None = None,
    now: datetime | None = None,
    raise_on_error: bool = True,
) -> RunSummary:
    """Run the given assets in lineage order with a state that lives only as long as this call, and answer how it went.

    `partitions` is a key or range (`2025-01-31`, `2025-01-01...2025-01-07`), read in each partitioned asset's own definition; without
    it everything runs. All assets use `io_manager`, so their rows can be read from it afterwards. `now` (aware; default: the clock)
    decides which partitions exist.

    Raises:
        DefinitionError: the assets contradict themselves.
        UserCodeError: a step failed and `raise_on_error` is true; the message is the first failure's.
    """
    from assets_core.state.sqlite import SqliteStore  # noqa: PLC0415 - importing assets must not load SQLite

    given = list(assets)
    names = {one.io_manager for one in given if hasattr(one, "io_manager")}
    resolved = Definitions(
        assets=given,
        io_managers=dict.fromkeys(names, io_manager),
        resources=resources or {},
        config=config or {},
        # Steps run one by one here, so no pool is ever full.
        pools={one.pool: 1 for one in given if isinstance(one, Asset) and one.pool is not None},
    ).resolve()
    instant = now or datetime.now(UTC)
    store = SqliteStore(":memory:")
    try:
        intern_partition_keys(resolved.outline, store)
        facts = gather_facts(resolved.outline, store, instant)
        chosen = {
            key: parse_range(partitions, facts.indexes[key], instant)
            for key in resolved.graph.order
            if partitions is not None
            and resolved.graph.spec(key).partitions.kind is not PartitionKind.SINGLE
        }
        plan = plan_run(facts, PlanRequest(resolved.graph.order, chosen))
        effects = Effects(
            clock=lambda: datetime.now(UTC),
            pause=time.sleep,
            new_token=lambda: secrets.token_hex(16),
            spread=random.random,
        )
        summary = Runner(resolved, store, effects).run(
            plan, facts, RunRequest("test", RunKind.MATERIALIZE, "", partitions or "")
        )
    finally:
        store.close()
    if raise_on_error and summary.failures:
        first = summary.failures[0]
        raise UserCodeError(first.message, frames=first.traceback)
    return summary
