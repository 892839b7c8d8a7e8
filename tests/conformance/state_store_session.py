"""A run on a state store, with short words for what a runner does; used by the suites of the store's contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING

from assets_core.model.io_manager import WriteReceipt
from assets_core.model.records import (
    AssetVersions,
    AttemptFailed,
    ClaimedStep,
    NotClaimed,
    RecordedSuccess,
    RunKind,
    RunRecord,
    RunStatus,
    StepClaim,
    StepSucceeded,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assets_core.state.store import StateStore

NOW = datetime(2025, 3, 1, 6, 30, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
DAY = "day|Europe/Berlin|+00:00"
ORDERS = AssetVersions("orders", DAY, "code-1", "deps-1")
TRENDS = AssetVersions("trends", DAY, "code-9", "deps-9")


def run_record(run_id: str = "run-1") -> RunRecord:
    return RunRecord(
        id=run_id,
        kind=RunKind.MATERIALIZE,
        selection="orders+",
        partitions="2025-01",
        plan='{"parts": []}',
        status=RunStatus.RUNNING,
        started_at=NOW,
        process_id=4711,
    )


def receipt(partition_id: int, version: str = "v1") -> WriteReceipt:
    return WriteReceipt(partition_id, 10, 999, version, "schema-1")


class Session:
    """A run on a store, with short words for what a runner does."""

    def __init__(self, store: StateStore, run_id: str = "run-1") -> None:
        self.store = store
        self.run_id = run_id
        self._tokens = (f"{run_id}-token-{number}" for number in count(1))
        store.start_run(run_record(run_id))

    def claim(
        self, *ids: int, asset: AssetVersions = ORDERS, published_as: str | None = None
    ) -> ClaimedStep:
        answer = self.ask(*ids, asset=asset, published_as=published_as)
        assert isinstance(answer, ClaimedStep)
        return answer

    def ask(
        self,
        *ids: int,
        asset: AssetVersions = ORDERS,
        published_as: str | None = None,
        knows: int | None = None,
        horizons: tuple[int, ...] = (),
        slots: int = 0,
    ) -> ClaimedStep | NotClaimed:
        """Claim, and answer what the store says; `knows` is the seq known of each partition, `slots` those of a pool."""
        versions = self.store.register([asset])[asset.asset]
        claim = StepClaim(
            asset.asset,
            ids,
            published_as or next(self._tokens),
            versions.code_id,
            versions.deps_id,
            horizons,
            known_seqs=() if knows is None else (knows,) * len(ids),
            pool="api" if slots else None,
            pool_slots=slots,
        )
        return self.store.claim(self.run_id, [claim], NOW)[0]

    def try_again(self, step: ClaimedStep, *, slots: int = 0) -> ClaimedStep | NotClaimed:
        return self.store.reclaim(step.step_id, next(self._tokens), NOW, pool_slots=slots)

    def succeed(
        self,
        step: ClaimedStep,
        *receipts: WriteReceipt,
        consumed: Mapping[int, str] = MappingProxyType({}),
    ) -> RecordedSuccess:
        outcome = StepSucceeded(step.step_id, step.epoch, receipts, consumed=consumed)
        answer = self.store.record([outcome], LATER)[0]
        assert isinstance(answer, RecordedSuccess)
        return answer

    def materialize(
        self, *ids: int, version: str = "v1", asset: AssetVersions = ORDERS
    ) -> RecordedSuccess:
        receipts = [receipt(partition_id, version) for partition_id in ids]
        return self.succeed(self.claim(*ids, asset=asset), *receipts)

    def fail(self, step: ClaimedStep, *, final: bool, message: str = "no such host") -> None:
        failed = AttemptFailed(step.step_id, step.epoch, message, "line 3, in orders", final)
        assert self.store.record([failed], LATER) == [None]

    def fail_partitions(self, *ids: int, asset: AssetVersions = ORDERS) -> None:
        self.fail(self.claim(*ids, asset=asset), final=True)
