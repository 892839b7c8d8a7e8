"""The state store port: what was materialized, from what, by which run. Adapters: `state.sqlite`.

Theory of operation
-------------------
The append-only `materialization` log is the truth: one row per partition and success or final failure, each with a `seq` from one
global counter that is advanced inside the committing transaction, so that its order is the commit order. Everything else
(partition columns, run summaries) can be rebuilt from it; what a store keeps of columns is a cache.

A step moves RUNNING → SUCCEEDED | FAILED | SKIPPED | CANCELLED | ABANDONED. Only `claim` makes a RUNNING step and gives it an
epoch greater than all before it; claiming again for the next attempt gives it a new one. Every later write names the epoch and is
refused (`Fenced`) if it isn't the step's current one or the step is no longer RUNNING: a process that lost its claim changes
nothing. What can never be: a success without its log row, two RUNNING steps over the same partition, whatever their runs, more RUNNING
steps of a pool than it has slots, a seq that becomes visible after a greater one.

Several runs share the work: a claim is refused (`NotClaimed`) while another run works on one of its partitions, and where another run
made one since. A pool's slots are taken in turns: a run that was refused has a turn before those that have had one since, unless it
stays away (see `pool_turns`).

Data is always published before `record` is called; after a crash the runner asks the destination by the step's token and either
records what is there or abandons the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from assets_core.model.checks import CheckOutcome
    from assets_core.model.records import (
        AssetVersions,
        AttemptRecord,
        CheckTally,
        ClaimedStep,
        DataVersions,
        NotClaimed,
        PartitionCheck,
        PartitionHistory,
        RecordAnswer,
        RecordedVersion,
        RunRecord,
        RunStatus,
        Settled,
        StateSnapshot,
        StepClaim,
        StepDuration,
        StepOutcome,
        StepRecord,
        StepStatus,
        VersionIds,
        VersionParts,
    )
    from partitions.definitions import KeyIds


NO_PARTS: Final[Mapping[str, VersionParts]] = MappingProxyType({})
"""What the versions that are registered are made of, when nobody says."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did: log rows that chunks hold from now on, and chunks written."""

    rows: int
    chunks: int


class ProblemKind(StrEnum):
    """What a problem of the state is about. A CHUNK is put right by `compact(now, rebuild=True)`; the others are the truth itself.

    DAMAGE: the database is not sound. REFERENCE: a row points to one that is not there. LOG: the log breaks a law. STEP: steps and
    log contradict each other. CHUNK: chunks are not what the log says. LOST and UNKNOWN are told by `execution.holdings`: a destination
    does not have what the state believes visible, or has what the state does not know. UNREADABLE: a destination, or rows in it, can't be
    read. ROWS, told by `execution.rereading`: a partition holds another number of rows than was written.
    """

    DAMAGE = "damage"
    REFERENCE = "reference"
    LOG = "log"
    STEP = "step"
    CHUNK = "chunk"
    LOST = "lost"
    UNKNOWN = "unknown"
    UNREADABLE = "unreadable"
    ROWS = "rows"


@dataclass(frozen=True, slots=True)
class StateProblem:
    """One thing that `verify` found, told once with a number and an example. `asset` is None if it is about no single asset.

    `hint` is what to type; None if the next run puts it right, or nothing does.
    """

    kind: ProblemKind
    asset: str | None
    message: str
    hint: str | None = None


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

    def removed_keys(self) -> KeyIds:
        """The same of dynamic keys that were taken out of use and did not come back."""
        ...

    def intern_keys(self, keys: Mapping[str, Sequence[str]]) -> KeyIds:
        """Make sure that these keys (dictionary space → keys) have ids, then answer like `key_ids`. An id is for ever."""
        ...

    def remove_keys(self, space: str, keys: Sequence[str]) -> None:
        """Take keys of a dynamic definition out of use; interning one again revives its old id. Unknown keys raise StoreError."""
        ...

    def register(
        self, assets: Iterable[AssetVersions], parts: Mapping[str, VersionParts] = NO_PARTS
    ) -> Mapping[str, VersionIds]:
        """Make sure that the versions are known, and answer their ids by asset key.

        `parts` says by asset key what they are made of, for some or all. Of each version it is kept once, the first time that it is
        said, and never changes.
        """
        ...

    def versions(self, ids: Iterable[int]) -> Mapping[int, RecordedVersion]:
        """The versions of these ids with their parts, in the order in which those were registered; an unknown id is left out."""
        ...

    def snapshot(self, assets: Iterable[AssetVersions]) -> StateSnapshot:
        """One consistent view of these assets; reads only.

        Its columns may be made when they are looked at, each time anew, and may be read-only or share memory: keep what is used
        twice, copy what is to be changed. Looking may raise StoreError too.
        """
        ...

    def tokens(self, asset: str, space: str) -> Mapping[int, str]:
        """Commit token of the last success of each partition that published data."""
        ...

    def schema_hashes(self, asset: str, space: str) -> Mapping[int, str]:
        """Schema hash of the rows that each partition published last, in the order in which they were published.

        Looks at every partition of the asset (0.2 s for 87,600): for a look at one asset, not for planning.
        """
        ...

    def row_counts(self, asset: str, space: str) -> Mapping[int, int]:
        """How many rows each partition's last success published, by id in ascending order; marks change nothing.

        Left out is where nobody knows: no receipt, or a failure of unknown outcome since. Looks at every partition of the asset.
        """
        ...

    def data_versions(
        self, asset: str, space: str, partition_ids: Iterable[int]
    ) -> Mapping[int, DataVersions]:
        """Versions of the rows of these partitions, and of what they were made from, by id; none for one that never succeeded.

        A mark changes nothing here. After a failure of unknown outcome both are None until the next success.
        """
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

    def spaces(self, asset: str) -> Mapping[str, int]:
        """How many partitions are on record of an asset, by partition space, in the order in which these were first used."""
        ...

    def restart(self, asset: str, now: datetime) -> int:
        """Let the state of an asset begin anew: what is recorded of it, in any partition space, counts no more.

        Answers of how many partitions that was; 0 if there is nothing, and then nothing changes. Its partitions are as if they had
        never been tried, and their next success counts as changed data, whatever its data version: readers of the old rows become
        stale. The counter moves. Runs, steps, attempts and checks stay. Raises StoreError while a step of a running run works on it.
        """
        ...

    def start_run(self, run: RunRecord) -> None:
        """Insert a run with status RUNNING."""
        ...

    def finish_run(self, run_id: str, status: RunStatus, now: datetime) -> None:
        """Set a run's final status. A step of it that is still RUNNING raises StepsRunningError."""
        ...

    def claim(
        self, run_id: str, claims: Sequence[StepClaim], now: datetime
    ) -> list[ClaimedStep | NotClaimed]:
        """Start steps: each becomes RUNNING with attempt 1, a fresh epoch and the counter committed before this transaction.

        One answer each, in order. A claim that other runs stand in the way of is refused and does not stop the others.
        """
        ...

    def reclaim(
        self, step_id: int, token: str, now: datetime, *, pool_slots: int = 0
    ) -> ClaimedStep | NotClaimed:
        """Start the next attempt of a step whose last one failed without being final; `started_at` becomes `now`.

        Refused while the step's pool, which has `pool_slots`, is full.
        """
        ...

    def record(self, outcomes: Sequence[StepOutcome], now: datetime) -> list[RecordAnswer]:
        """Write outcomes in one transaction, one answer each, in order; a fenced one does not stop the others.

        A success appends one log row per partition: with receipts, its figures; without, none. Its `data_seq` stays the previous
        one if the data version is that of the last success and no failure of unknown outcome lies between, else it is the row's own
        seq. If only some of the partitions have a receipt, the others get no row: they stay as they were. A receipt for a partition
        that the step did not claim raises StoreError. A final failure appends one failure row per partition.
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

    def step_of_token(self, token: str) -> StepStatus | None:
        """The status of the step that has this commit token; None if no step has it now. Its cost does not grow with the history."""
        ...

    def attempts(self, run_id: str) -> list[AttemptRecord]:
        """All failed attempts of a run, in order."""
        ...

    def checks(self, run_id: str) -> list[tuple[int, CheckOutcome]]:
        """All check outcomes of a run with their step ids, in order."""
        ...

    def record_checks(
        self,
        asset: str,
        space: str,
        partition_ids: Sequence[int],
        checks: Sequence[CheckOutcome],
        now: datetime,
    ) -> None:
        """Write what checks said of rows that are published already; with it all that was said before of these partitions goes.

        No partition becomes fresh or stale by it. Raises StoreError for an asset of which nothing was ever recorded.
        """
        ...

    def check_tallies(self, asset: str, space: str) -> list[CheckTally]:
        """Of how many partitions each check said last that they pass, by name. A step's outcomes replace those of its partitions."""
        ...

    def failed_checks(self, asset: str, space: str, limit: int = 100) -> list[PartitionCheck]:
        """Partitions of which a check said last that they don't pass, at most `limit` outcomes in order of partition ids and names."""
        ...

    def durations(self, asset: str, space: str, limit: int = 100) -> list[StepDuration]:
        """What the latest succeeded steps of an asset took, at most `limit`, newest first; those that nobody measured are left out.

        Its cost does not grow with the history.
        """
        ...

    def unfinished_runs(self) -> list[RunRecord]:
        """Runs with status RUNNING; the caller knows whether their processes live."""
        ...

    def compact(self, now: datetime, *, rebuild: bool = False) -> Compaction:
        """Fold all that is in the log now into chunks, so that snapshots are quick; with `rebuild`, after dropping what chunks there are.

        No answer of the store changes by it. It is made of short transactions, between which others may read and write; the store
        also does it by itself, a bit at a time. `now` is recorded.
        """
        ...

    def verify(self) -> list[StateProblem]:
        """Everything that is wrong with the state: the database, the laws of the log, and chunks that differ from it. Reads only.

        Linear in the log, so not quick. After DAMAGE nothing further is looked at. Raises StoreError if the state can't be read.
        """
        ...
