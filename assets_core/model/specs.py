"""What an asset is, as values: how it writes, what it reads, how it retries. The user's function lives in `authoring.decorators`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from assets_core.model.errors import DefinitionError
from assets_core.model.table_schemas import SchemaPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets_core.model.table_schemas import TableSchema
    from partitions.definitions import Partitions
    from partitions.mappings import PartitionMapping


_E = TypeVar("_E", bound=StrEnum)


class HasKey(Protocol):
    """Anything that stands for an asset, such as a decorated function."""

    @property
    def key(self) -> str:
        """The asset's key."""
        ...


class OutOfRange(StrEnum):
    """What `Replace` does with a row that lies outside the step's partitions."""

    ERROR = "error"
    DROP = "drop"


class OnDuplicate(StrEnum):
    """What `Merge` does when the returned rows hold a key twice."""

    ERROR = "error"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Replace:
    """Afterwards the rows of exactly the step's partitions are exactly the returned rows; zero rows clear them.

    `out_of_range` says what happens, with `partition_by`, to a row outside the step's partitions: an error, or dropped and counted.
    `sort_by` names columns in whose order the rows of a partition are stored (ascending, nulls last), so that readers skip more of them.

    >>> Replace(out_of_range="drop").text()
    'replace(out_of_range=drop)'
    >>> Replace(sort_by=["customer"]).text()
    "replace(out_of_range=error, sort_by=['customer'])"
    """

    out_of_range: OutOfRange | Literal["error", "drop"] = OutOfRange.ERROR
    sort_by: tuple[str, ...] = ()

    def __init__(
        self,
        out_of_range: OutOfRange | Literal["error", "drop"] = OutOfRange.ERROR,
        sort_by: Sequence[str] = (),
    ) -> None:
        object.__setattr__(self, "out_of_range", _choice(OutOfRange, out_of_range, "out_of_range"))
        object.__setattr__(self, "sort_by", _sort_by("Replace", sort_by))

    def text(self) -> str:
        """Canonical text, part of the asset's code version."""
        more = f", sort_by={list(self.sort_by)}" if self.sort_by else ""
        return f"replace(out_of_range={self.out_of_range}{more})"


@dataclass(frozen=True, slots=True)
class Append:
    """Adds the returned rows under the partition that loaded them; a re-run first removes what that same partition loaded.

    Rows may lie anywhere in time, so a late delivery keeps its own place: exactly once per partition, not per attempt. `sort_by` is
    as with `Replace`, within each load.
    """

    sort_by: tuple[str, ...] = ()

    def __init__(self, sort_by: Sequence[str] = ()) -> None:
        object.__setattr__(self, "sort_by", _sort_by("Append", sort_by))

    def text(self) -> str:
        """Canonical text, part of the asset's code version."""
        return f"append(sort_by={list(self.sort_by)})" if self.sort_by else "append()"


class MergeScope(StrEnum):
    """Where a `Merge` looks for the keys of the returned rows."""

    TABLE = "table"
    PARTITION = "partition"


@dataclass(frozen=True, slots=True)
class Merge:
    """Inserts rows with new keys and replaces rows with known ones; other rows of the table stay.

    `keys` must not be null. A key that the returned rows hold twice is an error, or with `on_duplicate="latest"` the row with the
    greatest `order_by` wins (a tie is an error). With `order_by` an older row never overwrites a newer one, so that out-of-order
    backfills converge. With `scope="partition"` a key is one of its partition: rows of other partitions are never touched.
    `delete_when` is a condition in SQL over the returned columns, such as "is_deleted": a row for which it is true removes the row
    of its key (unless that is newer, by `order_by`) and is not stored. It leaves no trace: what comes later is new again.

    >>> Merge(keys=["order_id"], order_by="updated_at").text()
    "merge(keys=['order_id'], order_by=updated_at, on_duplicate=error)"
    """

    keys: tuple[str, ...]
    order_by: str | None = None
    on_duplicate: OnDuplicate | Literal["error", "latest"] = OnDuplicate.ERROR
    scope: MergeScope | Literal["table", "partition"] = MergeScope.TABLE
    delete_when: str | None = None

    def __init__(
        self,
        keys: Sequence[str],
        order_by: str | None = None,
        on_duplicate: OnDuplicate | Literal["error", "latest"] = OnDuplicate.ERROR,
        scope: MergeScope | Literal["table", "partition"] = MergeScope.TABLE,
        delete_when: str | None = None,
    ) -> None:
        object.__setattr__(self, "keys", _columns("Merge", "keys", keys))
        object.__setattr__(self, "order_by", _column("Merge", "order_by", order_by))
        object.__setattr__(
            self, "on_duplicate", _choice(OnDuplicate, on_duplicate, "on_duplicate")
        )
        object.__setattr__(self, "scope", _choice(MergeScope, scope, "scope"))
        object.__setattr__(self, "delete_when", delete_when)
        if delete_when is not None and (
            not isinstance(delete_when, str) or not delete_when.strip()
        ):
            raise DefinitionError(
                f"Merge(delete_when={delete_when!r}) is no condition in SQL",
                hint='write delete_when="is_deleted" or the like',
            )
        if self.on_duplicate is OnDuplicate.LATEST and order_by is None:
            raise DefinitionError(
                'Merge(on_duplicate="latest") has no order to tell which row is the latest',
                hint='add order_by="updated_at" or the like',
            )

    def text(self) -> str:
        """Canonical text, part of the asset's code version."""
        more = "" if self.scope is MergeScope.TABLE else f", scope={self.scope}"
        more += "" if self.delete_when is None else f", delete_when={self.delete_when!r}"
        return f"merge(keys={list(self.keys)}, order_by={self.order_by}, on_duplicate={self.on_duplicate}{more})"


class OnAbsent(StrEnum):
    """What `SCD2` makes of a key that a later partition does not have."""

    KEEP = "keep"
    CLOSE = "close"


HISTORY_COLUMNS = ("valid_from", "valid_to", "is_current")
"""What `SCD2` adds to the returned columns."""


@dataclass(frozen=True, slots=True)
class SCD2:
    """Keeps the history of each key: what readers get are its versions, with `valid_from`, `valid_to` (exclusive) and `is_current`.

    Each time partition is what was known then. A key begins a new version when one of the `track` columns (None: all others)
    differs from its version before; other columns show their last values. A version is valid from the start of the partition that
    brought it, or from the instant or date in its column `effective`, up to the next one. A key that a later partition does not
    have stays as it was (`on_absent="keep"`, for changes), or its version ends there ("close", for full snapshots).

    The history is a fold over the partitions in the order of time, whatever the order in which they ran: a partition that is run
    again, or later than its successors, takes its place. Reading partitions gives the history as of the last of them.

    >>> SCD2(keys=["customer_id"], on_absent="close").text()
    "scd2(keys=['customer_id'], track=None, effective=None, on_absent=close)"
    """

    keys: tuple[str, ...]
    track: tuple[str, ...] | None = None
    effective: str | None = None
    on_absent: OnAbsent | Literal["keep", "close"] = OnAbsent.KEEP

    def __init__(
        self,
        keys: Sequence[str],
        track: Sequence[str] | None = None,
        effective: str | None = None,
        on_absent: OnAbsent | Literal["keep", "close"] = OnAbsent.KEEP,
    ) -> None:
        object.__setattr__(self, "keys", _columns("SCD2", "keys", keys))
        tracked = None if track is None else _columns("SCD2", "track", track)
        object.__setattr__(self, "track", tracked)
        object.__setattr__(self, "effective", _column("SCD2", "effective", effective))
        object.__setattr__(self, "on_absent", _choice(OnAbsent, on_absent, "on_absent"))
        if effective is not None and self.on_absent is OnAbsent.CLOSE:
            raise DefinitionError(
                f'SCD2(effective={effective!r}, on_absent="close"): a row that is absent has no {effective}',
                hint='leave effective out (versions then begin with their partitions), or write on_absent="keep"',
            )
        twice = [name for name in (*(tracked or ()), effective) if name in self.keys]
        if twice:
            raise DefinitionError(f"SCD2 names {twice[0]!r} as a key and as something else")
        if effective is not None and effective in (tracked or ()):
            raise DefinitionError(
                f"SCD2 names {effective!r} as effective and in track: it says when a version begins, not whether",
                hint=f"leave {effective!r} out of track",
            )

    def text(self) -> str:
        """Canonical text, part of the asset's code version."""
        tracked = None if self.track is None else list(self.track)
        return f"scd2(keys={list(self.keys)}, track={tracked}, effective={self.effective}, on_absent={self.on_absent})"


WriteMode = Replace | Append | Merge | SCD2


class Backoff(StrEnum):
    """How the pause grows from one attempt to the next."""

    CONSTANT = "constant"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failing step is tried and how long it waits in between.

    `max_attempts` counts the first try. The pause before attempt n + 1 is `delay`, `delay · n` or `delay · 2ⁿ⁻¹` by `backoff`, at
    most `max_delay`, then spread evenly over ±`jitter` of itself so that many steps don't return to a sick service at once.

    >>> RetryPolicy(max_attempts=4, delay=timedelta(seconds=2)).pause_after(3, spread=0.5)
    datetime.timedelta(seconds=8)
    """

    max_attempts: int = 1
    delay: timedelta = timedelta(seconds=1)
    backoff: Backoff | Literal["constant", "linear", "exponential"] = Backoff.EXPONENTIAL
    max_delay: timedelta = timedelta(minutes=10)
    jitter: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "backoff", _choice(Backoff, self.backoff, "backoff"))
        if type(self.max_attempts) is not int:
            raise DefinitionError(
                f"RetryPolicy(max_attempts={self.max_attempts!r}) is not a whole number",
                hint="write RetryPolicy(max_attempts=3)",
            )
        for name in ("delay", "max_delay"):
            if not isinstance(getattr(self, name), timedelta):
                raise DefinitionError(
                    f"RetryPolicy({name}={getattr(self, name)!r}) is not a timedelta",
                    hint=f"write RetryPolicy({name}=timedelta(seconds=30))",
                )
        if self.max_attempts < 1:
            raise DefinitionError(
                f"RetryPolicy(max_attempts={self.max_attempts}): the first try counts",
                hint="use 1 for no retry",
            )
        if self.delay < timedelta(0) or self.max_delay < timedelta(0):
            raise DefinitionError("RetryPolicy delays can't be negative")
        if not isinstance(self.jitter, int | float) or not 0 <= self.jitter <= 1:
            raise DefinitionError(
                f"RetryPolicy(jitter={self.jitter!r}) is a share of the pause, between 0 and 1"
            )

    def pause_after(self, attempt: int, *, spread: float) -> timedelta:
        """The pause after failed attempt number `attempt` (from 1); `spread` in [0, 1) places it within the jitter."""
        backoff = Backoff(self.backoff)
        match backoff:
            case Backoff.CONSTANT:
                factor = 1.0
            case Backoff.LINEAR:
                factor = float(attempt)
            case Backoff.EXPONENTIAL:
                # 2**60 seconds is past any max_delay; the bound keeps the float finite.
                factor = 2.0 ** min(attempt - 1, 60)
        seconds = min(self.delay.total_seconds() * factor, self.max_delay.total_seconds())
        return timedelta(seconds=seconds * (1 + self.jitter * (2 * spread - 1)))


@dataclass(frozen=True, slots=True)
class Input:
    """How a parameter reads an upstream asset: which one, through which partition mapping.

    Without `mapping` it follows from the two partition definitions. With `allow_missing` a partition that the upstream definition
    does not have, or that was never materialized, is left out instead of blocking. `columns` are the only ones that are read, in this
    order; None reads all.

    Raises:
        DefinitionError: `columns` is one text, empty, or names a column twice.

    >>> Input("orders", columns=["order_id", "amount"]).columns
    ('order_id', 'amount')
    """

    asset: HasKey | str
    mapping: PartitionMapping | None = None
    allow_missing: bool = False
    columns: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.columns is None:
            return
        if isinstance(self.columns, str):
            raise DefinitionError(
                f"Input(columns={self.columns!r}) is one text, and a list of names is wanted",
                hint=f"write columns=[{self.columns!r}]",
            )
        names = tuple(self.columns)
        if not names or not all(isinstance(name, str) and name for name in names):
            raise DefinitionError(
                f"Input(columns={list(names)!r}) names no columns",
                hint="leave columns out to read all, or deps=[…] to run after an asset without loading it",
            )
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise DefinitionError(f"Input(columns=…) names {twice[0]!r} twice")
        object.__setattr__(self, "columns", names)

    @property
    def key(self) -> str:
        """The key of the upstream asset."""
        return self.asset if isinstance(self.asset, str) else self.asset.key


@dataclass(frozen=True, slots=True)
class Dependency:
    """One edge into an asset, resolved: `parameter` is None for `deps=` (order without loading), `columns` None for all of them."""

    upstream: str
    parameter: str | None
    mapping: PartitionMapping
    allow_missing: bool = False
    columns: tuple[str, ...] | None = None

    def text(self) -> str:
        """Canonical text, part of the dependency identity of the asset."""
        columns = "" if self.columns is None else repr(list(self.columns))
        return f"{self.parameter or '-'}<-{self.upstream}:{self.mapping.text()}{columns}"


PartitionBy = str | tuple[tuple[str, str], ...]
"""A column, or for a multi-partitioned asset (dimension, column) pairs in the dimensions' order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetSpec:
    """An asset after its definition was checked: plain data, the same for the planner, the runner, the CLI and the manifest.

    `dependencies` are in parameter order, `deps=` last. `code_version` identifies what the asset computes; `deps_version`
    identifies its edges, mappings and partition space. `timeout` and `memory` (bytes) limit one attempt.
    """

    key: str
    kind: str
    description: str
    group: str
    tags: tuple[tuple[str, str], ...]
    owners: tuple[str, ...]
    partitions: Partitions
    dependencies: tuple[Dependency, ...]
    write: WriteMode
    partition_by: PartitionBy | None
    schema: TableSchema | None = None
    schema_policy: SchemaPolicy = SchemaPolicy.ADD_NULLABLE
    io_manager: str
    retry: RetryPolicy
    batch_size: int
    lookback: int
    closed_after: timedelta
    compare_input_versions: bool = False
    pool: str | None = None
    priority: int = 0
    timeout: timedelta | None = None
    memory: int | None = None
    code_version: str
    deps_version: str
    defined_in: str = field(default="", compare=False)
    checks: frozenset[str] = field(default=frozenset(), compare=False)


def _columns(mode: str, option: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise DefinitionError(
            f"{mode}({option}={names!r}) is text, not a list", hint=f"write {option}=[{names!r}]"
        )
    found = tuple(names)
    if not found:
        what = "key column" if option == "keys" else f"column in {option}"
        raise DefinitionError(
            f"{mode} needs at least one {what}", hint=f'write {mode}(keys=["id"])'
        )
    for name in found:
        _column(mode, option, name)
    if len(set(found)) != len(found):
        raise DefinitionError(f"{mode}({option}={list(found)}) names a column twice")
    return found


def _column(mode: str, option: str, name: str | None) -> str | None:
    """The name, or None where there is none."""
    if name is not None and (not isinstance(name, str) or not name):
        raise DefinitionError(
            f"{mode}({option}=…) has {name!r}, which is no name of a column",
            hint="name columns as text",
        )
    return name


def _sort_by(mode: str, names: Sequence[str]) -> tuple[str, ...]:
    return _columns(mode, "sort_by", names) if names else ()


def _choice(kind: type[_E], value: _E | str, name: str) -> _E:
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(repr(str(member)) for member in kind)
        raise DefinitionError(f"{name}={value!r} is not one of {allowed}") from None
