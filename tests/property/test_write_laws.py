"""Random histories of writes equal a plain Python model, on all three destinations.

A history is a list of groups of steps: first runs, re-runs, out of order, empty outputs, several partitions in one step, the same
partition twice in one group. After every group the rows of every partition that was written, alone and all together, are those of
the model, whatever the destination; and the receipts say truly what changed.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core.model.errors import PartitaError
from assets_core.model.io_manager import IOManager, PartitionSlice, Published, Target, WriteReceipt
from assets_core.model.specs import Append, Merge
from io_managers import DeltaIOManager, DuckDBIOManager, MemoryIOManager, ParquetIOManager
from tests.conformance.io_manager_suite import (
    UNPARTITIONED,
    Steps,
    days,
    keys,
    multi,
    target,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = dict[str, Any]

MEMORY_FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - these laws are not about disks, and syncing takes most of the time
FIRST = date(2025, 10, 24)
SCHEMA = pa.schema({"id": pa.int64(), "v": pa.int64(), "day": pa.date32(), "region": pa.string()})


@dataclass(frozen=True)
class Case:
    """A write mode with a layout; `parts` are the partitions that histories play on."""

    where: Target
    parts: tuple[PartitionSlice, ...]
    batches: bool = False


CASES = {
    "replace": Case(target(), days(FIRST.isoformat(), 4)),
    "replace by day": Case(target(by="day"), days(FIRST.isoformat(), 4), batches=True),
    "replace by region": Case(
        target(by="region", kind=None), keys("r0", "r1", "r2"), batches=True
    ),
    "replace by day and region": Case(
        target(by=(("day", "day"), ("region", "region"))),
        multi(FIRST.isoformat(), 2, ["r0", "r1"]),
        batches=True,
    ),
    "replace whole": Case(whole(), UNPARTITIONED),
    "append": Case(target(Append()), days(FIRST.isoformat(), 4)),
    "merge": Case(target(Merge(keys=["id"])), days(FIRST.isoformat(), 3)),
    "merge in order": Case(target(Merge(keys=["id"], order_by="v")), days(FIRST.isoformat(), 3)),
    "merge by day": Case(
        target(Merge(keys=["id"], order_by="v"), by="day"),
        days(FIRST.isoformat(), 3),
        batches=True,
    ),
    "merge within partitions": Case(
        target(Merge(keys=["id"], scope="partition")), days(FIRST.isoformat(), 3)
    ),
    "merge within days, with deletions": Case(
        target(
            Merge(keys=["id"], order_by="v", scope="partition", delete_when="region = 'r2'"),
            by="day",
        ),
        days(FIRST.isoformat(), 3),
        batches=True,
    ),
    "merge with deletions": Case(
        target(Merge(keys=["id"], order_by="v", delete_when="region = 'r2'")),
        days(FIRST.isoformat(), 3),
    ),
    "merge whole with deletions": Case(
        whole(Merge(keys=["id"], delete_when="region = 'r2'")), UNPARTITIONED
    ),
    "merge whole": Case(whole(Merge(keys=["id"], order_by="v")), UNPARTITIONED),
}


@dataclass
class Model:
    """What the contract says, in the simplest code that says it."""

    case: Case
    rows: list[tuple[str, Row]] = field(default_factory=list)
    written: set[str] = field(default_factory=set)

    def write(self, slices: Sequence[PartitionSlice], rows: list[Row]) -> list[bool]:
        """Apply a step; answers for each slice whether its partition's visible rows were changed by rows of this step."""
        owners = [self._owner(slices, row) for row in rows]
        self.written |= {one.key for one in slices}
        write = self.case.where.write
        if not isinstance(write, Merge):
            mine = {one.key for one in slices}
            self.rows = [(owner, row) for owner, row in self.rows if owner not in mine]
            self.rows += list(zip(owners, rows, strict=True))
            return [True] * len(slices)
        changed = set()
        for owner, row in zip(owners, rows, strict=True):
            inside = {owner} if write.scope == "partition" else {o for o, _ in self.rows}
            met = [(o, r) for o, r in self.rows if r["id"] == row["id"] and o in inside]
            deletes = write.delete_when is not None and row["region"] == "r2"
            if met:
                ((_, old),) = met
                if self._is_older(write, row, old) or (row == old and not deletes):
                    continue
                self.rows.remove(met[0])
            elif deletes:
                continue
            if not deletes:
                self.rows.append((owner, row))
            changed.add(owner)
        return [one.key in changed for one in slices]

    def of(self, one: PartitionSlice) -> Counter[str]:
        return Counter(_text(row) for owner, row in self.rows if owner == one.key)

    def _is_older(self, write: Merge, new: Row, old: Row) -> bool:
        if write.order_by is None or old["v"] is None:
            return False
        return new["v"] is None or new["v"] < old["v"]

    def _owner(self, slices: Sequence[PartitionSlice], row: Row) -> str:
        if len(slices) == 1:
            return slices[0].key
        return next(one.key for one in slices if self.case_matches(one, row))

    def case_matches(self, one: PartitionSlice, row: Row) -> bool:
        parts = dict(one.dimensions) or {"day" if one.window else "region": one.key}
        return all(str(row[name]) == key for name, key in parts.items())


Group = list[tuple[tuple[PartitionSlice, ...], list[Row]]]


class History(list[Group]):
    """Groups of steps. Told in few words, so that a report of a failure has room for what failed; the printed blob replays it."""

    def __repr__(self) -> str:
        return f"<history of {' + '.join(str(len(group)) for group in self)} steps>"


@st.composite
def histories(draw: st.DrawFn, case: Case) -> History:
    """Groups of steps: which partitions, which rows."""
    groups = History()
    for _ in range(draw(st.integers(1, 5))):
        group: Group = []
        for _ in range(draw(st.integers(1, 3))):
            start = draw(st.integers(0, len(case.parts) - 1))
            most = len(case.parts) - start if case.batches else 1
            slices = case.parts[start : start + draw(st.integers(1, most))]
            group.append((slices, draw(_rows(case, slices))))
        groups.append(group)
    return groups


def _rows(case: Case, slices: Sequence[PartitionSlice]) -> st.SearchStrategy[list[Row]]:
    by = case.where.partition_by is not None
    day = st.dates(FIRST, FIRST + timedelta(days=3))
    region = st.sampled_from(["r0", "r1", "r2"])

    def row(one: PartitionSlice) -> st.SearchStrategy[Row]:
        told = dict(one.dimensions) or ({"day": one.key} if one.window else {"region": one.key})
        return st.fixed_dictionaries(
            {
                "id": st.integers(0, 5),
                "v": st.none() | st.integers(0, 3),
                "day": st.just(date.fromisoformat(told["day"])) if by and "day" in told else day,
                "region": st.just(told["region"]) if by and "region" in told else region,
            }
        )

    write, unique = case.where.write, None
    if isinstance(write, Merge):
        within = by and write.scope == "partition"
        unique = lambda r: (r["id"], r["day"] if within else None)  # noqa: E731 - one line, used once
    return st.lists(st.sampled_from(list(slices)).flatmap(row), max_size=6, unique_by=unique)


def _text(row: Row) -> str:
    return repr(sorted(row.items()))


def _managers(folder: Path, case: Case) -> list[Steps]:
    found: list[IOManager] = [
        DuckDBIOManager(folder / "x.duckdb"),
        ParquetIOManager(folder / "lake"),
        DeltaIOManager(folder / "tables"),
        MemoryIOManager(),
    ]
    return [Steps(one) for one in found if one.supports(case.where) is None]


@pytest.mark.parametrize("name", CASES)
def test_histories_equal_the_model_on_every_destination(name: str) -> None:
    case = CASES[name]

    @settings(max_examples=max(settings().max_examples // 20, 1))
    @given(histories(case))
    def play(history: History) -> None:
        with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as folder:
            model = Model(case)
            managers = _managers(Path(folder), case)
            last: list[dict[int, str]] = [{} for _ in managers]
            for group in history:
                changes = [model.write(slices, rows) for slices, rows in group]
                answers = [_publish(steps, case, group) for steps in managers]
                for receipts, versions in zip(answers, last, strict=True):
                    _check_receipts(case, group, receipts, changes, versions)
                assert [_versions(one) for one in answers[1:]] == [_versions(answers[0])] * (
                    len(answers) - 1
                )
                for steps in managers:
                    try:
                        _check_rows(steps, case, model)
                    except PartitaError as error:
                        # One line that says it all: a failure that does not come again has nothing else.
                        pytest.fail(
                            f"{type(steps.manager).__name__}: {error!r} {error.__cause__!r}"
                        )

    play()


def _publish(
    steps: Steps, case: Case, group: Sequence[tuple[tuple[PartitionSlice, ...], list[Row]]]
) -> list[tuple[WriteReceipt, ...]]:
    staged = [
        steps.stage(case.where, slices, pa.Table.from_pylist(rows, SCHEMA))
        for slices, rows in group
    ]
    answers = steps.manager.publish(staged)
    assert all(isinstance(answer, Published) for answer in answers), answers
    return [answer.receipts for answer in answers if isinstance(answer, Published)]


def _versions(
    receipts: Sequence[Sequence[WriteReceipt]],
) -> list[list[tuple[int, int, str]]]:
    return [[(r.partition_id, r.rows, r.data_version) for r in one] for one in receipts]


def _check_receipts(
    case: Case,
    group: Sequence[tuple[tuple[PartitionSlice, ...], list[Row]]],
    receipts: Sequence[Sequence[WriteReceipt]],
    changes: Sequence[Sequence[bool]],
    versions: dict[int, str],
) -> None:
    """`versions` are the last ones of each partition; they are brought up to date."""
    for (slices, rows), found, changed in zip(group, receipts, changes, strict=True):
        assert [r.partition_id for r in found] == [one.id for one in slices]
        assert sum(r.rows for r in found) == len(rows)
        if isinstance(case.where.write, Merge):
            for receipt, is_other in zip(found, changed, strict=True):
                last = versions.get(receipt.partition_id)
                assert last is None or (receipt.data_version != last) == is_other
        versions |= {r.partition_id: r.data_version for r in found}


def _check_rows(steps: Steps, case: Case, model: Model) -> None:
    there = [one for one in case.parts if one.key in model.written]
    for one in there:
        found = steps.rows(case.where, [one])
        assert Counter(map(_text, found)) == model.of(one), type(steps.manager).__name__
    together = steps.rows(case.where, there)
    assert Counter(map(_text, together)) == sum((model.of(one) for one in there), Counter[str]())
    lengths = [model.of(one).total() for one in there]
    position = 0
    for one, length in zip(there, lengths, strict=True):
        part = together[position : position + length]
        assert Counter(map(_text, part)) == model.of(one), "partitions come in order"
        position += length


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.none() | st.text("ab", max_size=1)), max_size=40),
    st.lists(st.tuples(st.integers(0, 3), st.none() | st.text("ab", max_size=1)), max_size=40),
)
def test_versions_are_equal_exactly_for_equal_rows(
    some: list[tuple[int, str | None]], others: list[tuple[int, str | None]]
) -> None:
    steps = Steps(MemoryIOManager())
    schema = pa.schema({"a": pa.int64(), "b": pa.string()})

    def version(rows: Sequence[tuple[int, str | None]]) -> str:
        rows_ = pa.Table.from_pylist([{"a": a, "b": b} for a, b in rows], schema)
        return steps.write(whole(), UNPARTITIONED, rows_).receipts[0].data_version

    assert (version(some) == version(others)) == (Counter(some) == Counter(others))
    assert version(some) == version(sorted(some, key=repr))
