"""The state store port: what was materialized, from what, by which run. Adapters: `state.sqlite`.

Theory of operation
-------------------
The append-only `materialization` log is the truth: one row per partition and success or final failure, each with a `seq` from one
global counter that is advanced inside the committing transaction, so that its order is the commit order. Everything else
(partition columns, run summaries) can be rebuilt from it.

A step moves RUNNING → SUCCEEDED | FAILED | SKIPPED | CANCELLED | ABANDONED. Only `claim` makes a RUNNING step and gives it an
epoch greater than all before it; claiming again for the next attempt gives it a new one. Every later write names the epoch and is
refused (`Fenced`) if it isn't the step's current one or the step is no longer RUNNING: a process that lost its claim changes
nothing. What can never be: a success without its log row, two RUNNING steps of one run over the same partition, a seq that
becomes visible after a greater one.

Data is always published before `record` is called; after a crash the runner asks the destination by the step's token and either
records what is there or abandons the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from assets_core.model.checks import CheckOutcome
    from assets_core.model.records import (
        AssetVersions,
        AttemptRecord,
        ClaimedStep,
        PartitionHistory,
        RecordAnswer,
        RunRecord,
        RunStatus,
        Settled,
        StateSnapshot,
        StepClaim,
        StepOutcome,
        StepRecord,
        VersionIds,
    )
    from partitions.definitions import KeyIds


class StateStore(Protocol):
    """All reads and writes of durable state. `tests/conformance/state_store_suite.py` is the executable form of this contract.

    Every method is one transaction. Writers wait for each other; a database that can't be opened, is corrupt, or was written by a
    newer Partita raises StoreError with what to do. `now` is recorded, never compared.
    """

    def close(self) -> None:
        """Release everything; further calls raise StoreError."""
        ...

    def key_ids(self) -> KeyIds:
        """Ids of all partition keys that are in use, per dictionary space; removed dynamic keys are left out."""
        ...

    def intern_keys(self, keys: Mapping[str, Sequence[str]]) -> KeyIds:
        """Make sure that these keys (dictionary space → keys) have ids, then answer like `key_ids`. An id is for ever."""
        ...

    def remove_keys(self, space: str, keys: Sequence[str]) -> None:
        """Take keys of a dynamic definition out of use; interning one again revives its old id. Unknown keys raise StoreError."""
        ...

    def register(self, assets: Iterable[AssetVersions]) -> Mapping[str, VersionIds]:
        """Make sure that the versions are known, and answer their ids by asset key."""
        ...

    def snapshot(self, assets: Iterable[AssetVersions]) -> StateSnapshot:
        """One consistent view of these assets; reads only."""
        ...

    def tokens(self, asset: str, space: str) -> Mapping[int, str]:
        """Commit token of the last success of each partition that published data."""
        ...

    def history(self, asset: str, space: str, partition_id: int) -> PartitionHistory:
        """What is recorded of one partition."""
        ...

    def mark_current(
        self, asset: AssetVersions, partition_ids: Sequence[int], now: datetime
    ) -> None:
        """Record existing successes as made by the asset's current versions, from inputs as they are now; data is untouched.

        Raises StoreError for a partition without a success.
        """
        ...

    def start_run(self, run: RunRecord) -> None:
        """Insert a run with status RUNNING."""
        ...

    def finish_run(self, run_id: str, status: RunStatus, now: datetime) -> None:
        """Set a run's final status. A step of it that is still RUNNING raises StoreError."""
        ...

    def claim(self, run_id: str, claims: Sequence[StepClaim], now: datetime) -> list[ClaimedStep]:
        """Start steps: each becomes RUNNING with attempt 1, a fresh epoch and the counter committed before this transaction."""
        ...

    def reclaim(self, step_id: int, token: str, now: datetime) -> ClaimedStep:
        """Start the next attempt of a step whose last one failed without being final; `started_at` becomes `now`."""
        ...

    def record(self, outcomes: Sequence[StepOutcome], now: datetime) -> list[RecordAnswer]:
        """Write outcomes in one transaction, one answer each, in order; a fenced one does not stop the others.

        A success appends one log row per partition: with receipts, its figures; without, none. Its `data_seq` stays the previous
        one if the data version did not change or the receipt says `unchanged`, else it is the row's own seq. If only some of the
        partitions have a receipt (what a crash left published), the others get no row: they stay as they were. A receipt for a
        partition that the step did not claim raises StoreError. A final failure appends one failure row per partition.
        """
        ...

    def settle(self, run_id: str, settled: Sequence[Settled], now: datetime) -> None:
        """Write steps that ended without being claimed."""
        ...

    def run(self, run_id: str) -> RunRecord | None:
        """One run, or None."""
        ...

    def runs(self, limit: int = 50) -> list[RunRecord]:
        """The latest runs, newest first. Their `plan` is left empty; `run` has it."""
        ...

    def steps(self, run_id: str, *, asset: str | None = None) -> list[StepRecord]:
        """All steps of a run in the order they were written."""
        ...

    def attempts(self, run_id: str) -> list[AttemptRecord]:
        """All failed attempts of a run, in order."""
        ...

    def checks(self, run_id: str) -> list[tuple[int, CheckOutcome]]:
        """All check outcomes of a run with their step ids, in order."""
        ...

    def unfinished_runs(self) -> list[RunRecord]:
        """Runs with status RUNNING; the caller knows whether their processes live."""
        ...
