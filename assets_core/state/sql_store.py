"""The state store in an SQL database, whichever it is: the contract is `store.StateStore`, the adapters are `sqlite` and `postgres`.

This module holds the class, partition keys, and when the log is folded into chunks; the log, chunks, runs, steps, outcomes of checks
and what versions are made of are in `sql_log`, `sql_chunks`, `sql_runs`, `sql_steps`, `sql_checks` and `sql_versions`, and what each database is asked for
in `dialects`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from assets_core.model.errors import StoreError
from assets_core.state import sql_checks, sql_log, sql_runs, sql_steps, sql_versions
from assets_core.state.sql_rows import instant_to_int
from assets_core.state.store import NO_PARTS, Compaction
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

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
    from assets_core.state.dialects import Cursor, Transactions
    from assets_core.state.locks import RunLocks
    from assets_core.state.sql_chunks import Fold
    from assets_core.state.store import StateProblem
    from partitions.definitions import KeyIds

_KEY_IDS = "select space, key, id from partition_key where removed = ? order by space, id"
_ADD_KEY = """
insert into partition_key (space, id, key)
values (?1, (select coalesce(max(id), 0) + 1 from partition_key where space = ?1), ?2)
on conflict (space, key) do nothing"""
_REMOVED_KEYS = "select space, key from partition_key where removed = 1"
_REMOVE_KEY = "update partition_key set removed = 1, changed_seq = ?3 where space = ?1 and key = ?2 and removed = 0"
_BRING_BACK_KEY = "update partition_key set removed = 0, changed_seq = ?3 where space = ?1 and key = ?2 and removed = 1"


@dataclass(frozen=True, slots=True)
class Folding:
    """When the log is folded into chunks, of how many partitions, and how much at once.

    `due`: log rows without a chunk after which the store folds by itself. `rows` and `chunks`: the most that one transaction folds
    and touches, which bound its time whatever the log looks like.
    """

    partitions: int = 4_096
    due: int = 20_000
    rows: int = 100_000
    chunks: int = 2_000


DEFAULT_FOLDING: Final = Folding()


class SqlStore(ABC):
    """A state store on `database`, whose tables are there or are made when somebody writes. Threads may share an instance and take turns."""

    def __init__(self, database: Transactions, folding: Folding) -> None:
        self._folding = folding
        self._database = database

    @abstractmethod
    def run_locks(self) -> RunLocks:
        """The locks of runs on this state; they open nothing before they are used."""

    @property
    def is_read_only(self) -> bool:
        """Whether it is known, without opening anything, that nothing can be written."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release everything; further calls raise StoreError."""
        self._database.close()

    def key_ids(self) -> KeyIds:
        """Ids of all partition keys that are in use, per dictionary space, in the order of their ids."""
        with self._database.read() as cursor:
            return _read_keys(cursor)

    def removed_keys(self) -> KeyIds:
        """Ids of the dynamic keys that were taken out of use, as `key_ids`."""
        with self._database.read() as cursor:
            return _read_keys(cursor, removed=1)

    def intern_keys(self, keys: Mapping[str, Sequence[str]]) -> KeyIds:
        """Make sure that these keys have ids, then answer like `key_ids`; writes only if one has none. Ids start at 1."""
        known = self.key_ids()
        missing = [
            (space, key)
            for space, wanted in keys.items()
            for key in wanted
            if key not in known.get(space, {})
        ]
        if not missing:
            return known
        with self._database.write() as cursor:
            cursor.executemany(_ADD_KEY, missing)
            removed = {tuple(row) for row in cursor.execute(_REMOVED_KEYS)}
            if back := [one for one in missing if one in removed]:
                seq = sql_log.committed_seq(cursor) + 1
                cursor.executemany(_BRING_BACK_KEY, [(*one, seq) for one in back])
                sql_log.set_seq(cursor, seq)
            return _read_keys(cursor)

    def remove_keys(self, space: str, keys: Sequence[str]) -> None:
        """Take keys of a dynamic definition out of use. Raises StoreError for an unknown one; then none is removed.

        That costs a seq: what was read across the keys before is not what would be read now.
        """
        with self._database.write() as cursor:
            known = _read_keys(cursor).get(space, {})
            seq = sql_log.committed_seq(cursor) + 1
            sql_log.set_seq(cursor, seq)
            for key in keys:
                cursor.execute(_REMOVE_KEY, (space, key, seq))
                if not cursor.connection.changes():
                    near = nearest(key, known)
                    raise StoreError(
                        f"{space} has no partition key {key!r}; nothing was removed.",
                        hint=f"Nearest: {', '.join(near)}" if near else None,
                    )

    def register(
        self, assets: Iterable[AssetVersions], parts: Mapping[str, VersionParts] = NO_PARTS
    ) -> Mapping[str, VersionIds]:
        """Make sure that the versions are known, and answer their ids by asset key; writes only if something is new."""
        wanted = list(assets)
        with self._database.read() as cursor:
            found = _version_ids(sql_log.known_versions(cursor, wanted))
            is_known = all(versions.code_id and versions.deps_id for versions in found.values())
            if is_known and not sql_versions.undescribed(cursor, found, parts):
                return found
        with self._database.write() as cursor:
            found = _version_ids(sql_log.intern_versions(cursor, wanted))
            sql_versions.describe(cursor, found, parts)
        return found

    def versions(self, ids: Iterable[int]) -> Mapping[int, RecordedVersion]:
        """The versions of these ids with their parts; an unknown id is left out."""
        with self._database.read() as cursor:
            return sql_versions.read_versions(cursor, ids)

    def snapshot(self, assets: Iterable[AssetVersions]) -> StateSnapshot:
        """One consistent view of these assets; linear in their chunks and in the log since the last folding.

        Columns are decoded each time they are looked at, and may be read-only views.
        """
        with self._database.read() as cursor:
            return sql_log.read_snapshot(cursor, assets)

    def tokens(self, asset: str, space: str) -> Mapping[int, str]:
        """Commit token of the last success of each partition that published data."""
        with self._database.read() as cursor:
            return sql_log.read_tokens(cursor, asset, space)

    def schema_hashes(self, asset: str, space: str) -> Mapping[int, str]:
        """Schema hash of the rows that each partition published last, in the order in which they were published."""
        with self._database.read() as cursor:
            return sql_log.read_schema_hashes(cursor, asset, space)

    def row_counts(self, asset: str, space: str) -> Mapping[int, int]:
        """How many rows each partition's last success published, where that is known."""
        with self._database.read() as cursor:
            return sql_log.read_row_counts(cursor, asset, space)

    def data_versions(
        self, asset: str, space: str, partition_ids: Iterable[int]
    ) -> Mapping[int, DataVersions]:
        """Versions of the rows of these partitions, and of what they were made from."""
        with self._database.read() as cursor:
            return sql_log.read_data_versions(cursor, asset, space, partition_ids)

    def history(self, asset: str, space: str, partition_id: int) -> PartitionHistory:
        """What is recorded of one partition."""
        with self._database.read() as cursor:
            return sql_log.read_history(cursor, asset, space, partition_id)

    def mark_current(
        self, asset: AssetVersions, partition_ids: Sequence[int], now: datetime
    ) -> None:
        """Record existing successes as current. Raises StoreError for a partition without one; then none is marked."""
        with self._database.write() as cursor:
            sql_log.mark_partitions(cursor, asset, partition_ids, instant_to_int(now))
        self._fold_if_due(now)

    def spaces(self, asset: str) -> Mapping[str, int]:
        """How many partitions are on record of an asset, by partition space; linear in the asset's log."""
        with self._database.read() as cursor:
            return sql_log.read_spaces(cursor, asset)

    def restart(self, asset: str, now: datetime) -> int:
        """Let the state of an asset begin anew. Raises StoreError while a step of a running run works on it."""
        with self._database.write() as cursor:
            return sql_log.restart_asset(cursor, asset, instant_to_int(now))

    def start_run(self, run: RunRecord) -> None:
        """Insert a run with status RUNNING, whatever its record says. Raises StoreError if the id is taken."""
        with self._database.write() as cursor:
            sql_runs.insert_run(cursor, run)

    def finish_run(self, run_id: str, status: RunStatus, now: datetime) -> None:
        """Set a run's final status. Raises StoreError if it has ended, StepsRunningError if a step of it is still RUNNING."""
        with self._database.write() as cursor:
            sql_runs.end_run(cursor, run_id, status, instant_to_int(now))
        self._fold_if_due(now)

    def claim(
        self, run_id: str, claims: Sequence[StepClaim], now: datetime
    ) -> list[ClaimedStep | NotClaimed]:
        """Start steps of a run, but for those that other runs stand in the way of; one answer each.

        Raises StoreError for an ended run, a used token, unregistered versions, or a partition that another RUNNING step of the
        same run has; then none starts.
        """
        # Before anything is begun, so that a failure to fold (a full disk) is not mistaken for a failure of a step.
        self._fold_if_due(now)
        with self._database.write() as cursor:
            return sql_steps.claim_steps(cursor, run_id, claims, instant_to_int(now))

    def reclaim(
        self, step_id: int, token: str, now: datetime, *, pool_slots: int = 0
    ) -> ClaimedStep | NotClaimed:
        """Start the next attempt of a step whose last one failed. Raises StoreError for any other step, or a used token."""
        with self._database.write() as cursor:
            return sql_steps.claim_again(cursor, step_id, token, instant_to_int(now), pool_slots)

    def record(self, outcomes: Sequence[StepOutcome], now: datetime) -> list[RecordAnswer]:
        """Write outcomes in one transaction, one answer each; durable when this returns.

        Raises StoreError, and writes nothing at all, for a receipt of a partition that its step did not claim.
        """
        with self._database.write() as cursor:
            return sql_steps.record_outcomes(cursor, outcomes, instant_to_int(now))

    def settle(self, run_id: str, settled: Sequence[Settled], now: datetime) -> None:
        """Write steps that ended without being claimed."""
        with self._database.write() as cursor:
            sql_steps.settle_steps(cursor, run_id, settled, instant_to_int(now))

    def run(self, run_id: str) -> RunRecord | None:
        """One run, or None."""
        with self._database.read() as cursor:
            return sql_runs.read_run(cursor, run_id)

    def runs(self, limit: int = 50) -> list[RunRecord]:
        """The latest runs, newest first, without their plans."""
        with self._database.read() as cursor:
            return sql_runs.read_runs(cursor, limit)

    def steps(self, run_id: str, *, asset: str | None = None) -> list[StepRecord]:
        """All steps of a run in the order they were written; none for an unknown run."""
        with self._database.read() as cursor:
            return sql_runs.read_steps(cursor, run_id, asset)

    def step_of_token(self, token: str) -> StepStatus | None:
        """The status of the step that has this commit token; None if no step has it now."""
        with self._database.read() as cursor:
            return sql_runs.read_status_of_token(cursor, token)

    def attempts(self, run_id: str) -> list[AttemptRecord]:
        """All failed attempts of a run, final ones included, in order."""
        with self._database.read() as cursor:
            return sql_runs.read_attempts(cursor, run_id)

    def checks(self, run_id: str) -> list[tuple[int, CheckOutcome]]:
        """All check outcomes of a run with their step ids, in order."""
        with self._database.read() as cursor:
            return sql_checks.read_checks(cursor, run_id)

    def record_checks(
        self,
        asset: str,
        space: str,
        partition_ids: Sequence[int],
        checks: Sequence[CheckOutcome],
        now: datetime,
    ) -> None:
        """Write what checks said of rows that are published already, as the last word about these partitions."""
        with self._database.write() as cursor:
            asset_id = sql_checks.asset_id_of(cursor, asset, space)
            sql_checks.set_latest(
                cursor, asset_id, partition_ids, checks, step_id=None, at=instant_to_int(now)
            )

    def check_tallies(self, asset: str, space: str) -> list[CheckTally]:
        """Of how many partitions each check said last that they pass, by name."""
        with self._database.read() as cursor:
            return sql_checks.read_tallies(cursor, asset, space)

    def failed_checks(self, asset: str, space: str, limit: int = 100) -> list[PartitionCheck]:
        """Partitions of which a check said last that they don't pass, in order of their ids."""
        with self._database.read() as cursor:
            return sql_checks.read_failed(cursor, asset, space, limit)

    def durations(self, asset: str, space: str, limit: int = 100) -> list[StepDuration]:
        """What the latest succeeded steps of an asset took, newest first; none for an asset that the store has not seen."""
        with self._database.read() as cursor:
            return sql_runs.read_durations(cursor, asset, space, limit)

    def unfinished_runs(self) -> list[RunRecord]:
        """Runs with status RUNNING, oldest first, with their plans."""
        with self._database.read() as cursor:
            return sql_runs.read_unfinished(cursor)

    def compact(self, now: datetime, *, rebuild: bool = False) -> Compaction:
        """Fold all that is in the log now into chunks; with `rebuild`, after dropping those that are there."""
        from assets_core.state import sql_chunks  # noqa: PLC0415 - loads numpy

        with self._database.read() as cursor:
            goal = sql_log.committed_seq(cursor)
        if rebuild and goal:
            with self._database.write() as cursor:
                sql_chunks.forget_chunks(cursor)
        rows = chunks = 0
        while True:
            with self._database.read() as cursor:
                fold = sql_chunks.prepare_fold(cursor, self._folding)
            # What others record meanwhile is left for the next time: they could go on for ever.
            if fold is None or fold.begin >= goal:
                return Compaction(rows, chunks)
            done = self._write_fold(fold, now)
            if done is not None:
                rows, chunks = rows + done.rows, chunks + done.chunks

    def _fold_if_due(self, now: datetime) -> None:
        """Fold one stretch of the log if there is much of it; a longer one is folded a stretch at a time."""
        with self._database.read() as cursor:
            if sql_log.backlog(cursor) < self._folding.due:
                return
            from assets_core.state import sql_chunks  # noqa: PLC0415 - loads numpy

            fold = sql_chunks.prepare_fold(cursor, self._folding)
        if fold is not None:
            # If another process folded meanwhile, that is just as good.
            self._write_fold(fold, now)

    def _write_fold(self, fold: Fold, now: datetime) -> Compaction | None:
        from assets_core.state import sql_chunks  # noqa: PLC0415 - loads numpy

        with self._database.write() as cursor:
            return sql_chunks.write_fold(cursor, fold, instant_to_int(now))

    def copy_to(self, target: SqlStore) -> Mapping[str, int]:
        """Copy all of this state into another store that is empty, in one transaction there; answers how many rows each table has.

        The copy is verified before it is committed. Raises StoreError, and then the target is as it was. No run may work on either.
        """
        with self._database.read() as cursor:
            return target.take_over(cursor)

    def take_over(self, source: Cursor) -> Mapping[str, int]:
        """Copy the state that `source` reads into this empty one: the other half of `copy_to`."""
        from assets_core.state import sql_copy  # noqa: PLC0415 - loads numpy

        with self._database.write() as cursor:
            return sql_copy.copy_state(source, cursor)

    def verify(self) -> list[StateProblem]:
        """Everything that is wrong with the state; reads the whole log."""
        from assets_core.state import sql_verify  # noqa: PLC0415 - loads numpy

        with self._database.read() as cursor:
            return sql_verify.find_problems(cursor)


def _version_ids(known: Mapping[str, tuple[int, VersionIds]]) -> dict[str, VersionIds]:
    return {asset: versions for asset, (_, versions) in known.items()}


def _read_keys(cursor: Cursor, *, removed: int = 0) -> dict[str, dict[str, int]]:
    spaces: dict[str, dict[str, int]] = {}
    for space, key, key_id in cursor.execute(_KEY_IDS, (removed,)):
        spaces.setdefault(space, {})[key] = key_id
    return spaces
