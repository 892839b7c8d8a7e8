"""A mapping bound to two indexes: which upstream partitions each downstream partition reads, as arrays.

Decided here: how to answer "what reads a changed upstream partition", "what is the newest thing each downstream partition reads"
and "what must exist before this runs" over a whole index at once. Not decided here: which partitions are mapped (`mappings`).

Theory of operation
-------------------
A downstream slot reads half-open intervals of upstream slots. Two forms:

- *interval form*, `indptr is None`: exactly one interval per downstream slot, `lo[d]..hi[d]`, empty where it reads nothing. All
  mappings between windows have it.
- *list form*: the intervals of slot `d` are `lo[k]..hi[k]` for `k` in `indptr[d]..indptr[d + 1]` (the layout of a compressed
  sparse row matrix). Dictionaries and lanes of multi indexes have it.

Everything is numpy over intervals, never a Python loop over partitions: "any" is a difference of prefix sums, "max" is `reduceat`
where intervals follow each other and a doubling table where they overlap, the reverse direction is a difference array.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from partitions.errors import MappingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from partitions.definitions import PartitionIndex, Partitions
    from partitions.keyed_mappings import PartitionMapping

NOTHING = int(np.iinfo(np.int64).min)
"""What `max_upstream` answers for a downstream partition that maps to nothing."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MappedSet:
    """The upstream partitions that each partition of `downstream` reads.

    `missing[d]` is true where slot `d` requires a partition that the upstream definition does not have at this instant (before its
    start, after its end, not yet due, a key it lacks); what it does have is still in the intervals. `name_missing(d)` names what is
    missing for people. Arrays are not copied: don't change them afterwards.

    Raises:
        MappingError: the arrays contradict each other or leave the upstream index; `mapping` is named in the message.

    >>> from datetime import datetime, timezone
    >>> from partitions.time_windows import DailyPartitions, MonthlyPartitions
    >>> from partitions.mappings import TimeOverlap
    >>> now = datetime(2025, 4, 1, tzinfo=timezone.utc)
    >>> days = DailyPartitions("2025-01-01").index(now)
    >>> months = MonthlyPartitions("2025-01-01").index(now)
    >>> mapped = TimeOverlap().bind(days, months)
    >>> [len(mapped.upstream_slots(slot)) for slot in range(3)]
    [31, 28, 31]
    >>> mapped.downstream_slots(days.slot("2025-02-10")).tolist()
    [1]
    """

    mapping: str
    upstream: PartitionIndex
    downstream: PartitionIndex
    lo: NDArray[np.int64]
    hi: NDArray[np.int64]
    indptr: NDArray[np.int64] | None
    missing: NDArray[np.bool_]
    name_missing: Callable[[int], tuple[str, ...]]
    one_to_one: bool = field(init=False)

    def __post_init__(self) -> None:
        problem = self._contradiction()
        if problem is not None:
            raise MappingError(
                f"mapping {self.mapping} from {self.upstream.definition.describe()} "
                f"to {self.downstream.definition.describe()} is malformed: {problem}",
                hint="bind() must return intervals that fit both indexes; see PartitionMapping",
            )
        object.__setattr__(self, "one_to_one", self._is_one_to_one())

    def __repr__(self) -> str:
        return f"<MappedSet {self.mapping}: {self.upstream!r} to {self.downstream!r}>"

    @classmethod
    def from_intervals(
        cls,
        mapping: str,
        upstream: PartitionIndex,
        downstream: PartitionIndex,
        *,
        lo: NDArray[np.int64],
        hi: NDArray[np.int64],
        missing: NDArray[np.bool_] | None = None,
        name_missing: Callable[[int], tuple[str, ...]] | None = None,
    ) -> MappedSet:
        """Return the mapping in interval form: downstream slot `d` reads `lo[d]..hi[d]`, half-open."""
        return cls(
            mapping,
            upstream,
            downstream,
            lo,
            hi,
            None,
            _no_slots(downstream) if missing is None else missing,
            _unnamed if name_missing is None else name_missing,
        )

    @classmethod
    def from_lists(
        cls,
        mapping: str,
        upstream: PartitionIndex,
        downstream: PartitionIndex,
        *,
        indptr: NDArray[np.int64],
        lo: NDArray[np.int64],
        hi: NDArray[np.int64],
        missing: NDArray[np.bool_] | None = None,
        name_missing: Callable[[int], tuple[str, ...]] | None = None,
    ) -> MappedSet:
        """Return the mapping in list form, brought to interval form where neighbouring intervals join to one each."""
        missing = _no_slots(downstream) if missing is None else missing
        name_missing = _unnamed if name_missing is None else name_missing
        # Built as given first: joining relies on the form that this checks.
        given = cls(mapping, upstream, downstream, lo, hi, indptr, missing, name_missing)
        indptr, lo, hi = _joined(indptr, lo, hi)
        if bool(np.all(np.diff(indptr) == 1)):
            return cls(mapping, upstream, downstream, lo, hi, None, missing, name_missing)
        if lo.size == given.lo.size:
            return given
        return cls(mapping, upstream, downstream, lo, hi, indptr, missing, name_missing)

    def any_upstream(self, upstream_mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return, per downstream slot, whether any upstream slot it reads is set. May be the argument itself."""
        if self.one_to_one:
            return upstream_mask
        before = np.zeros(upstream_mask.size + 1, dtype=np.int64)
        np.cumsum(upstream_mask, out=before[1:])
        hits = before[self.hi] > before[self.lo]
        if self.indptr is None:
            return hits
        hits_before = np.zeros(hits.size + 1, dtype=np.int64)
        np.cumsum(hits, out=hits_before[1:])
        return hits_before[self.indptr[1:]] > hits_before[self.indptr[:-1]]

    def downstream_of(self, upstream_mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the downstream slots that read at least one of these upstream slots; the same as `any_upstream`."""
        return self.any_upstream(upstream_mask)

    def max_upstream(self, upstream_values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return, per downstream slot, the greatest value among the upstream slots it reads; `NOTHING` if there are none.

        May be the argument itself.
        """
        if self.one_to_one:
            return upstream_values
        each = _interval_max(upstream_values, self.lo, self.hi)
        if self.indptr is None:
            return each
        return _interval_max(each, self.indptr[:-1], self.indptr[1:])

    def upstream_of(self, downstream_mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the upstream slots that at least one of these downstream slots reads. May be the argument itself."""
        if self.one_to_one:
            return downstream_mask
        lo, hi = self.lo, self.hi
        if self.indptr is None:
            lo, hi = lo[downstream_mask], hi[downstream_mask]
        else:
            chosen = np.repeat(downstream_mask, np.diff(self.indptr))
            lo, hi = lo[chosen], hi[chosen]
        size = len(self.upstream) + 1
        # An empty interval adds and subtracts at the same place, so it needs no case of its own.
        depth = np.cumsum(np.bincount(lo, minlength=size) - np.bincount(hi, minlength=size))
        return depth[:-1] > 0

    def upstream_slots(self, slot: int) -> NDArray[np.int64]:
        """Return the upstream slots that downstream `slot` reads, ascending, each once."""
        first, last = (slot, slot + 1) if self.indptr is None else self.indptr[slot : slot + 2]
        slots, _ = expand(self.lo[first:last], self.hi[first:last])
        return slots if last - first <= 1 else np.unique(slots)

    def downstream_slots(self, upstream_slot: int) -> NDArray[np.int64]:
        """Return the downstream slots that read `upstream_slot`, ascending, each once."""
        touching = np.flatnonzero((self.lo <= upstream_slot) & (upstream_slot < self.hi))
        if self.indptr is None:
            return touching
        return np.unique(np.searchsorted(self.indptr, touching, side="right") - 1)

    def missing_keys(self, slot: int) -> tuple[str, ...]:
        """Return what downstream `slot` requires and the upstream definition lacks; () if it lacks nothing.

        Keys where the mapping knows them, otherwise where they would be: "before 2025-01-01", "after 2025-01-31".
        """
        return self.name_missing(slot) if self.missing[slot] else ()

    def _is_one_to_one(self) -> bool:
        if self.indptr is not None or len(self.upstream) != self.lo.size:
            return False
        every = np.arange(self.lo.size + 1)
        return np.array_equal(self.lo, every[:-1]) and np.array_equal(self.hi, every[1:])

    def _contradiction(self) -> str | None:
        """Return what is wrong with the arrays, or None."""
        count = len(self.downstream)
        # A mask of 0 and 1 would be taken for slots 0 and 1 wherever it selects.
        for name, kind in (("lo", "i"), ("hi", "i"), ("indptr", "i"), ("missing", "b")):
            array = getattr(self, name)
            if array is not None and getattr(array, "dtype", np.dtype(object)).kind != kind:
                wanted = "booleans" if kind == "b" else "whole numbers"
                given = getattr(array, "dtype", type(array).__name__)
                return f"{name} must be a numpy array of {wanted}, got {given}"
        if self.missing.shape != (count,):
            return f"missing has {self.missing.size} entries for {count} downstream partitions"
        if self.lo.shape != self.hi.shape:
            return f"lo has {self.lo.size} entries and hi has {self.hi.size}"
        if self.indptr is None:
            if self.lo.shape != (count,):
                return f"{self.lo.size} intervals for {count} downstream partitions"
        elif (
            self.indptr.shape != (count + 1,)
            or self.indptr[0] != 0
            or self.indptr[-1] != self.lo.size
            or bool(np.any(self.indptr[1:] < self.indptr[:-1]))
        ):
            return f"indptr must ascend from 0 to {self.lo.size} in {count + 1} entries"
        if self.lo.size and (
            self.lo.min() < 0
            or self.hi.max() > len(self.upstream)
            or bool(np.any(self.lo > self.hi))
        ):
            return f"intervals must be lo <= hi inside 0..{len(self.upstream)}"
        return None


def bind_mapping(
    mapping: PartitionMapping, upstream: PartitionIndex, downstream: PartitionIndex
) -> MappedSet:
    """Return the mapping over these two indexes: how everything binds one, because anybody may have written it.

    Raises:
        MappingError: the mapping refuses the two definitions, its `bind` raised, or what it returned is not over these two indexes.
    """
    try:
        mapped = mapping.bind(upstream, downstream)
    except MappingError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's code raises is the user's to see
        raise MappingError(
            f"bind() of {_title(mapping)} raised {type(error).__name__} in {_place(error)}: {error}",
            hint="correct it; bind() must take indexes of any length, zero included",
        ) from error
    if not isinstance(mapped, MappedSet):
        raise MappingError(
            f"bind() of {_title(mapping)} returned {type(mapped).__name__}, not a MappedSet",
            hint="return MappedSet.from_intervals(…) or MappedSet.from_lists(…)",
        )
    if mapped.upstream is not upstream or mapped.downstream is not downstream:
        raise MappingError(
            f"bind() of {_title(mapping)} returned a mapping over other indexes than it was given",
            hint="hand the two indexes on to MappedSet as they are",
        )
    return mapped


def refusal(
    mapping: str, upstream: Partitions, downstream: Partitions, why: str, *, hint: str | None
) -> MappingError:
    """Return the error of a mapping that can't be between these two definitions; both are in the message."""
    return MappingError(
        f"{mapping} can't map {upstream.describe()} to {downstream.describe()}: {why}", hint=hint
    )


def expand(
    lo: NDArray[np.int64], hi: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every slot of the half-open intervals in their order, and the number of its interval.

    >>> slots, owners = expand(np.array([3, 9, 9]), np.array([5, 9, 10]))
    >>> slots.tolist(), owners.tolist()
    ([3, 4, 9], [0, 0, 2])
    """
    lengths = hi - lo
    owners = np.repeat(np.arange(lo.size), lengths)
    before = np.cumsum(lengths) - lengths
    return np.arange(owners.size) + (lo - before)[owners], owners


def _title(mapping: PartitionMapping) -> str:
    return f"the mapping {type(mapping).__name__}"


def _place(error: BaseException) -> str:
    """Where it was raised, as file and line."""
    at = error.__traceback__
    assert at is not None
    while at.tb_next is not None:
        at = at.tb_next
    return f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}"


def _no_slots(index: PartitionIndex) -> NDArray[np.bool_]:
    return np.zeros(len(index), dtype=np.bool_)


def _unnamed(_slot: int) -> tuple[str, ...]:
    return ("an upstream partition that its definition does not have",)


def _joined(
    indptr: NDArray[np.int64], lo: NDArray[np.int64], hi: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the lists with each interval that continues the one before it, for the same downstream slot, joined to it."""
    if lo.size <= 1:
        return indptr, lo, hi
    begins = np.ones(lo.size, dtype=np.bool_)
    begins[1:] = lo[1:] != hi[:-1]
    begins[indptr[:-1][np.diff(indptr) > 0]] = True
    if bool(begins.all()):
        return indptr, lo, hi
    ends = np.append(begins[1:], np.True_)
    before = np.concatenate([[0], np.cumsum(begins)])
    return before[indptr], lo[begins], hi[ends]


def _interval_max(
    values: NDArray[np.int64], lo: NDArray[np.int64], hi: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the greatest of `values[lo[i]:hi[i]]` for each i, `NOTHING` for an empty interval."""
    some = hi > lo
    if bool(some.all()):
        return _filled_max(values, lo, hi)
    answer = np.full(lo.size, NOTHING, dtype=np.int64)
    answer[some] = _filled_max(values, lo[some], hi[some])
    return answer


def _filled_max(
    values: NDArray[np.int64], lo: NDArray[np.int64], hi: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Greatest value of non-empty intervals, by the cheapest way that their shape allows."""
    if bool(np.all(hi - lo == 1)):
        return values[lo]
    if bool(np.all(lo == lo[0])) and bool(np.all(hi == hi[0])):
        return np.full(lo.size, values[lo[0] : hi[0]].max(), dtype=np.int64)
    if bool(np.all(lo[1:] >= hi[:-1])):
        return _disjoint_max(values, lo, hi)
    return _overlapping_max(values, lo, hi)


def _disjoint_max(
    values: NDArray[np.int64], lo: NDArray[np.int64], hi: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Greatest value of non-empty intervals that follow each other."""
    if bool(np.all(lo[1:] == hi[:-1])):
        return np.maximum.reduceat(values[: hi[-1]], lo)
    # reduceat reads from each edge to the next: every second stretch is a gap. Its edges must lie inside the array,
    # and the end of the last interval does not need to be said.
    edges = np.stack([lo, hi], axis=1).ravel()[:-1]
    return np.maximum.reduceat(values[: hi[-1]], edges)[::2]


def _overlapping_max(
    values: NDArray[np.int64], lo: NDArray[np.int64], hi: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Greatest value of non-empty intervals in any order, by doubling: two stretches of 2^k cover an interval shorter than 2^(k+1).

    O((values + intervals) · log(longest interval)); only one level of the table is kept.
    """
    answer = np.empty(lo.size, dtype=np.int64)
    lengths = hi - lo
    longest = int(lengths.max())
    table = values
    width = 1
    while True:
        at = np.flatnonzero((lengths >= width) & (lengths < width * 2))
        if at.size:
            # Nearly always all but the first few intervals have one length: a slice copies nothing.
            together = bool(at[-1] - at[0] == at.size - 1)
            where = slice(int(at[0]), int(at[-1]) + 1) if together else at
            answer[where] = np.maximum(table[lo[where]], table[hi[where] - width])
        if width * 2 > longest:
            return answer
        table = np.maximum(table[:-width], table[width:])
        width *= 2
