"""What the state store keeps and hands back: runs, steps, attempts, and the state of partitions as columns.

Partitions appear here as ids only; keys are made at the edge by a partition index. Instants are timezone-aware UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from assets_core.model.checks import CheckOutcome
    from assets_core.model.io_manager import WriteReceipt

SETTLED = -1
"""As a partition's horizon: all windows that its asset waits for had closed."""

IdRuns = tuple[tuple[int, int], ...]
"""Half-open runs of partition ids, as `PartitionSet.to_ids` gives them."""


class RunKind(StrEnum):
    """What asked for the run; otherwise all runs are alike."""

    MATERIALIZE = "materialize"
    BACKFILL = "backfill"


class RunStatus(StrEnum):
    """Where a run stands. RUNNING without a live process is what a crash leaves; the next command turns it into CRASHED."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CRASHED = "crashed"


class StepStatus(StrEnum):
    """Where a step stands; all but RUNNING are final.

    SKIPPED: something that it reads failed, or the function said Skip. CUT_OFF: nothing that it reads changed. CANCELLED: the run
    stopped first. ABANDONED: its process died before anything was published.
    """

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CUT_OFF = "cut_off"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. `selection` and `partitions` are what the user asked for, as text; `plan` is the plan as JSON text."""

    id: str
    kind: RunKind
    selection: str
    partitions: str
    plan: str
    status: RunStatus
    started_at: datetime
    ended_at: datetime | None = None
    process_id: int = 0


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One execution unit of a run: an asset and the partitions that one call covers (or that were settled together).

    `message` says why it failed, was skipped or cut off; `traceback` holds the user's frames. `rows` counts published rows, None
    if the step published none. `seconds` is what a succeeded step took by itself, None if that was not measured: `started_at` and
    `ended_at` are those of the group that it was claimed and recorded with.
    """

    id: int
    run_id: str
    asset: str
    partition_ids: tuple[int, ...]
    status: StepStatus
    attempt: int
    epoch: int
    token: str
    read_seq: int
    code_id: int
    deps_id: int
    started_at: datetime
    ended_at: datetime | None = None
    rows: int | None = None
    message: str = ""
    traceback: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """A failed attempt of a step; the step's own record tells of the last one."""

    step_id: int
    attempt: int
    started_at: datetime
    ended_at: datetime
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class StepClaim:
    """What the runner wants to start: it gets an epoch, and the counter that was committed before it reads anything.

    `horizons` has the horizon of each partition at this moment, see `PartitionColumns`; empty stands for SETTLED throughout.
    `known_seqs` has the seq of each partition's last success that the runner knows of, 0 if it knows of none: what others made after
    that is not made again. Empty: it is made whatever others did. `pool` is the name of the asset's pool, which has `pool_slots`.
    """

    asset: str
    partition_ids: tuple[int, ...]
    token: str
    code_id: int
    deps_id: int
    horizons: tuple[int, ...] = ()
    known_seqs: tuple[int, ...] = ()
    pool: str | None = None
    pool_slots: int = 0


@dataclass(frozen=True, slots=True)
class ClaimedStep:
    """The store's answer to a claim; every later write about the step names `step_id` and `epoch`."""

    step_id: int
    epoch: int
    read_seq: int


@dataclass(frozen=True, slots=True)
class MadeElsewhere:
    """A partition that another run made, with the code and the dependencies of the claim, after the success that the claim knows of.

    `seq`, `read_seq` and `data_seq` are of that success; `has_data` is True if it published rows.
    """

    partition_id: int
    seq: int
    read_seq: int
    data_seq: int
    has_data: bool
    run_id: str


@dataclass(frozen=True, slots=True)
class NotClaimed:
    """The store's answer to a claim that it refuses, because of other runs; nothing of it is started.

    `made` are partitions that need not be made any more, if nothing that they read is newer. `held` tells of partitions, by id, which
    run is working on them. `full` names the runs that have the pool's slots, or whose turn it is to take one.
    """

    made: tuple[MadeElsewhere, ...] = ()
    held: Mapping[int, str] = field(default_factory=dict)
    full: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepSucceeded:
    """Published (or published nothing: `receipts` is empty for a function that returned None); ready to be recorded.

    `consumed` has for some of the partitions, by id, a fingerprint of the data versions that they were made from, as they were on
    record when the step was claimed. The store forgets it if another run was at work meanwhile: that may have replaced what the step read.
    `seconds` is what the step took by itself, None if nobody measured it.
    """

    step_id: int
    epoch: int
    receipts: tuple[WriteReceipt, ...]
    checks: tuple[CheckOutcome, ...] = ()
    consumed: Mapping[int, str] = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StepDuration:
    """What one succeeded step took by itself, for the partitions that it covered."""

    seconds: float
    partitions: int


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """One attempt failed. With `final` the step is failed; otherwise it will be tried again and gets a new epoch then.

    `code` is that of the error, for whoever reports the run; it is not stored. With `unknown` rows of this attempt may be visible: the
    next success then counts as changed, whatever its data version.
    """

    step_id: int
    epoch: int
    message: str
    traceback: str
    final: bool
    checks: tuple[CheckOutcome, ...] = ()
    code: str = ""
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class StepSkipped:
    """A claimed step that ends without data: the function said Skip, or the run stopped before it began."""

    step_id: int
    epoch: int
    status: StepStatus
    message: str


StepOutcome = StepSucceeded | AttemptFailed | StepSkipped


@dataclass(frozen=True, slots=True)
class Settled:
    """Partitions of a run's plan that end without ever being claimed: skipped, cut off or cancelled."""

    asset: str
    partition_ids: tuple[int, ...]
    status: StepStatus
    message: str


@dataclass(frozen=True, slots=True)
class RecordedSuccess:
    """What recording a success allocated, per partition in the order of the claim. `data_seqs` is the seq of the last change."""

    step_id: int
    seqs: tuple[int, ...]
    data_seqs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fenced:
    """The write was refused: the step is no longer running under that epoch. The store is as it was."""

    step_id: int


RecordAnswer = RecordedSuccess | Fenced | None
"""None for outcomes other than success that were recorded."""


@dataclass(frozen=True, slots=True, eq=False)
class PartitionColumns:
    """The state of an asset's partitions: int64 arrays of one length, `ids` ascending, one entry per partition ever tried.

    `seq` is 0 if there is no success yet; `failed_seq` is 0 if the last attempt did not fail (a failure before the last success is
    forgotten). `code_id` and `deps_id` point into the asset's versions. `has_data` is 1 if that success or one before it
    published rows, 0 if there are none.

    `horizon` tells how late the success was: 0 if its own window was still open when it was claimed, 1 + n if that had closed and n
    later partitions were due, SETTLED if n was as many as the asset's `lookback` then.
    """

    ids: NDArray[np.int64]
    seq: NDArray[np.int64]
    read_seq: NDArray[np.int64]
    code_id: NDArray[np.int64]
    deps_id: NDArray[np.int64]
    data_seq: NDArray[np.int64]
    has_data: NDArray[np.int64]
    failed_seq: NDArray[np.int64]
    horizon: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AssetVersions:
    """What identifies an asset's state: its key, its partition space, and the texts of its code and dependency versions."""

    asset: str
    space: str
    code_version: str
    deps_version: str


@dataclass(frozen=True, slots=True)
class VersionPart:
    """One thing that a code or dependency version depends on.

    `kind` is, of code, `function`, `class`, `constant`, `module`, `import`, `bytecode`, `option`, `config`, `package` or `declared`; of
    dependencies `input`, `order`, `partitions` or `option`. `source` is its normalised text (no comments, docstrings or type
    hints), for showing what changed; equal digests mean the same.
    """

    name: str
    kind: str
    digest: str
    source: str


@dataclass(frozen=True, slots=True)
class VersionParts:
    """What an asset's two versions are made of; never empty. Of code the asset's own function comes first."""

    code: tuple[VersionPart, ...]
    deps: tuple[VersionPart, ...]


@dataclass(frozen=True, slots=True)
class RecordedVersion:
    """A code or dependency version as the store knows it. `parts` is empty if nobody said what it is made of."""

    text: str
    parts: tuple[VersionPart, ...]


@dataclass(frozen=True, slots=True)
class VersionIds:
    """Ids of an asset's current versions; 0 if the store has never seen them, so that they equal no recorded one."""

    code_id: int
    deps_id: int


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """One consistent view of the store.

    `seq` is the committed counter, `state_id` what no other store has. `partitions` and `version_ids` have an entry for every asset asked for. `other_spaces` names, for
    an asset without any state under its current partition space, the space that its state is kept under.
    `in_flight` holds, per run that has not ended, the ids that its steps are working on, by asset. `key_changes` says, by the space of
    dynamic keys, at which seq one was last removed or came back; a space where none was is left out.
    """

    seq: int
    state_id: str
    partitions: Mapping[str, PartitionColumns]
    version_ids: Mapping[str, VersionIds]
    other_spaces: Mapping[str, str]
    in_flight: Mapping[str, Mapping[str, tuple[int, ...]]]
    key_changes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DataVersions:
    """Of one partition's last success: the version of its rows, and the fingerprint of the versions that they were made from.

    None where it is not known: nothing was published, rows of a failed attempt may be visible since, or no fingerprint was recorded.
    """

    own: str | None
    consumed: str | None


@dataclass(frozen=True, slots=True)
class CheckTally:
    """Of how many partitions of an asset a check said last that they pass, and of how many that they don't."""

    check: str
    passed: int
    failed: int


@dataclass(frozen=True, slots=True)
class PartitionCheck:
    """What a check said last of one partition, and when.

    `step_id` is the step whose rows it judged, which may have failed because of it; None: it looked at published rows again.
    """

    outcome: CheckOutcome
    at: datetime
    step_id: int | None


@dataclass(frozen=True, slots=True)
class PartitionHistory:
    """The last success and last failure of one partition, for explanations. Fields are None where there is none.

    `code_version`/`deps_version` are the texts recorded with the success.
    """

    seq: int | None
    read_seq: int | None
    data_seq: int | None
    code_version: str | None
    deps_version: str | None
    data_version: str | None
    rows: int | None
    run_id: str | None
    succeeded_at: datetime | None
    failed_at: datetime | None
    failure: str | None
