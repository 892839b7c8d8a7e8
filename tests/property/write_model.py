"""What the write modes say, in the simplest code that says it; random histories of writes, and destinations to hold against it.

A step is what one attempt returns for some partitions. Its rows may have a column more or less than others, narrower or wider types, and
other spellings of names; where a case is unruly, also null keys, keys that come twice, and rows of other partitions.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from hypothesis import strategies as st

from assets_core.model.specs import Append, Merge, OnDuplicate, OutOfRange, Replace
from assets_core.model.table_schemas import SchemaPolicy
from io_managers import DeltaIOManager, DuckDBIOManager, MemoryIOManager, ParquetIOManager
from tests.conformance.io_manager_suite import (
    UNPARTITIONED,
    Steps,
    days,
    declared,
    keys,
    multi,
    target,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from assets_core.model.io_manager import IOManager, PartitionSlice, Target

Row = dict[str, Any]

MEMORY_FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - these laws are not about disks, and syncing takes most of the time
FIRST = date(2025, 10, 24)


@dataclass(frozen=True)
class Case:
    """A write mode with a layout; `parts` are the partitions that histories play on, `ids` how many keys there are.

    `batches`: steps may have several partitions.
    """

    where: Target
    parts: tuple[PartitionSlice, ...]
    batches: bool = False
    unruly: bool = False
    ids: int = 6


def _days(count: int) -> tuple[PartitionSlice, ...]:
    return days(FIRST.isoformat(), count)


LATEST = Merge(keys=["id"], order_by="v", on_duplicate="latest")
CASES = {
    "replace": Case(target(), _days(4)),
    "replace by day": Case(target(by="day"), _days(4), batches=True),
    "replace by region": Case(
        target(by="region", kind=None), keys("r0", "r1", "r2"), batches=True
    ),
    "replace by day and region": Case(
        target(by=(("day", "day"), ("region", "region"))),
        multi(FIRST.isoformat(), 2, ["r0", "r1"]),
        batches=True,
    ),
    "replace whole": Case(whole(), UNPARTITIONED),
    "append": Case(target(Append()), _days(4)),
    "merge": Case(target(Merge(keys=["id"])), _days(3)),
    "merge in order": Case(target(Merge(keys=["id"], order_by="v")), _days(3)),
    "merge by day": Case(
        target(Merge(keys=["id"], order_by="v"), by="day"), _days(3), batches=True
    ),
    "merge within partitions": Case(target(Merge(keys=["id"], scope="partition")), _days(3)),
    "merge within days, with deletions": Case(
        target(
            Merge(keys=["id"], order_by="v", scope="partition", delete_when="region = 'r2'"),
            by="day",
        ),
        _days(3),
        batches=True,
    ),
    "merge with deletions": Case(
        target(Merge(keys=["id"], order_by="v", delete_when="region = 'r2'")), _days(3)
    ),
    "merge whole with deletions": Case(
        whole(Merge(keys=["id"], delete_when="region = 'r2'")), UNPARTITIONED
    ),
    "merge whole": Case(whole(Merge(keys=["id"], order_by="v")), UNPARTITIONED),
}
UNRULY = {
    "rows of other days dropped": Case(
        target(Replace(out_of_range="drop"), by="day"), _days(3), batches=True, unruly=True
    ),
    "rows of other days refused": Case(target(by="day"), _days(3), batches=True, unruly=True),
    "keys that come twice": Case(target(Merge(keys=["id"])), _days(3), unruly=True),
    "the latest of keys that come twice": Case(target(LATEST), _days(3), unruly=True),
    "the latest by day": Case(target(LATEST, by="day"), _days(3), batches=True, unruly=True),
    "the latest within days": Case(
        target(
            Merge(keys=["id"], order_by="v", on_duplicate="latest", scope="partition"), by="day"
        ),
        _days(3),
        batches=True,
        unruly=True,
    ),
    "the latest whole": Case(whole(LATEST), UNPARTITIONED, unruly=True),
}


@dataclass(frozen=True)
class Step:
    """What one attempt returns: `table` has the same rows, under names and types of its own."""

    where: Target
    slices: tuple[PartitionSlice, ...]
    rows: list[Row] = field(repr=False)
    table: pa.Table = field(repr=False)


class Model:
    """The rows of one asset, each with the partition that it belongs to. A value that is null is not in its row."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rows: list[tuple[str, Row]] = []
        self.written: set[str] = set()

    def copy(self) -> Model:
        found = Model(self.case)
        found.rows, found.written = [*self.rows], {*self.written}
        return found

    def write(self, step: Step) -> list[bool] | None:
        """Apply a step; answers for each slice whether its partition's visible rows were changed by rows of this step, None if it is refused."""
        accepted = self.accepted(step)
        if accepted is None:
            return None
        self.written |= {one.key for one in step.slices}
        write = self.case.where.write
        if not isinstance(write, Merge):
            mine = {one.key for one in step.slices}
            self.rows = [(owner, row) for owner, row in self.rows if owner not in mine]
            self.rows += accepted
            return [True] * len(step.slices)
        changed = set()
        for owner, row in accepted:
            inside = {owner} if write.scope == "partition" else {o for o, _ in self.rows}
            met = [(o, r) for o, r in self.rows if r["id"] == row["id"] and o in inside]
            deletes = write.delete_when is not None and row.get("region") == "r2"
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
        return [one.key in changed for one in step.slices]

    def of(self, one: PartitionSlice) -> Counter[str]:
        return Counter(text_of(row) for owner, row in self.rows if owner == one.key)

    def accepted(self, step: Step) -> list[tuple[str, Row]] | None:
        """The rows that are taken, each with its partition; None if all are refused."""
        write, found = self.case.where.write, []
        for row in step.rows:
            told = {name: value for name, value in row.items() if value is not None}
            owner = self._owner(step.slices, row)
            if owner is None and not (
                isinstance(write, Replace) and write.out_of_range is OutOfRange.DROP
            ):
                return None
            if isinstance(write, Merge) and "id" not in told:
                return None
            if owner is not None:
                found.append((owner, told))
        return self._each_key_once(write, found) if isinstance(write, Merge) else found

    def _each_key_once(
        self, write: Merge, rows: list[tuple[str, Row]]
    ) -> list[tuple[str, Row]] | None:
        groups: dict[object, list[tuple[str, Row]]] = {}
        for owner, row in rows:
            within = owner if write.scope == "partition" else None
            groups.setdefault((row["id"], within), []).append((owner, row))
        found = []
        for group in groups.values():
            order = [row.get("v", -1000) for _, row in group]
            if len(group) > 1 and write.on_duplicate is OnDuplicate.ERROR:
                return None
            if order.count(max(order)) > 1:
                return None
            found.append(group[order.index(max(order))])
        return found

    def _is_older(self, write: Merge, new: Row, old: Row) -> bool:
        if write.order_by is None or "v" not in old:
            return False
        return "v" not in new or new["v"] < old["v"]

    def _owner(self, slices: Sequence[PartitionSlice], row: Row) -> str | None:
        if self.case.where.partition_by is None:
            return slices[0].key
        return next((one.key for one in slices if self._matches(one, row)), None)

    def _matches(self, one: PartitionSlice, row: Row) -> bool:
        parts = dict(one.dimensions) or {"day" if one.window else "region": one.key}
        return all(str(row[name]) == key for name, key in parts.items())


Group = list[Step]


class History(list[Group]):
    """Groups of steps. Told in few words, so that a report of a failure has room for what failed; the printed blob replays it."""

    def __repr__(self) -> str:
        return f"<history of {' + '.join(str(len(group)) for group in self)} steps>"


SMALL = (pa.int8(), pa.int16(), pa.uint8(), pa.int32(), pa.int64())
DECLARED = [
    (pa.int8(), None),
    (pa.int32(), None),
    (pa.int32(), pa.int8()),
    (pa.int64(), pa.int64()),
]
"""The types of `v` and `more` in declarations that follow each other; None: there is no such column yet."""


@dataclass(frozen=True)
class Shapes:
    """Which columns steps may have. Undeclared ones come and go under `policy`; declared ones follow each other."""

    policy: SchemaPolicy
    declared: bool = False

    def where(self, case: Case, level: int) -> Target:
        """The asset as it is defined at a time."""
        if not self.declared:
            return replace(case.where, schema_policy=self.policy)
        v, more = DECLARED[level]
        schema = pa.schema(
            [("id", pa.int64()), ("v", v), ("day", pa.date32()), ("region", pa.string())]
            + ([("more", more)] if more is not None else [])
        )
        told = declared(schema, self.policy.value)
        return replace(case.where, schema=told.schema, schema_policy=told.schema_policy)


def shapes() -> st.SearchStrategy[Shapes]:
    return st.one_of(
        st.sampled_from([SchemaPolicy.ADD_NULLABLE, SchemaPolicy.WIDEN]).map(Shapes),
        st.sampled_from(list(SchemaPolicy)).map(lambda policy: Shapes(policy, declared=True)),
    )


@st.composite
def histories(draw: st.DrawFn, case: Case) -> History:
    """Groups of steps: which partitions, which rows, which columns."""
    kind = draw(shapes())
    groups, level = History(), 0
    for _ in range(draw(st.integers(1, 5))):
        group: Group = []
        level = draw(st.integers(level, len(DECLARED) - 1)) if kind.declared else 0
        for _ in range(draw(st.integers(1, 3))):
            group.append(draw(steps(case, kind, level)))
        groups.append(group)
    return groups


@st.composite
def steps(draw: st.DrawFn, case: Case, kind: Shapes, level: int = 0) -> Step:
    """One step on consecutive partitions."""
    start = draw(st.integers(0, len(case.parts) - 1))
    most = len(case.parts) - start if case.batches else 1
    slices = case.parts[start : start + draw(st.integers(1, most))]
    if kind.declared:
        v, more = DECLARED[level]
    elif kind.policy is SchemaPolicy.WIDEN:
        v, more = draw(st.sampled_from(SMALL)), draw(st.none() | st.sampled_from(SMALL))
    else:
        v, more = pa.int64(), draw(st.none() | st.just(pa.int64()))
    rows = draw(_rows(case, slices, more))
    where = kind.where(case, level)
    spelling = "more" if kind.declared else draw(st.sampled_from(["more", "MORE"]))
    untyped = not kind.declared and draw(st.booleans())
    return Step(where, slices, rows, _table(rows, v, more, spelling=spelling, untyped=untyped))


def _table(
    rows: Sequence[Row], v: pa.DataType, more: pa.DataType | None, *, spelling: str, untyped: bool
) -> pa.Table:
    """With `untyped`, columns that hold nothing but nulls have no type."""
    kinds = {"id": pa.int64(), "v": v, "day": pa.date32(), "region": pa.string()}
    if more is not None:
        kinds["more"] = more
    columns = {}
    for name, kind in kinds.items():
        values = [row.get(name) for row in rows]
        bare = untyped and name in {"v", "more"} and all(one is None for one in values)
        columns[spelling if name == "more" else name] = pa.array(
            values, pa.null() if bare else kind
        )
    return pa.table(columns)


def _rows(
    case: Case, slices: Sequence[PartitionSlice], more: pa.DataType | None
) -> st.SearchStrategy[list[Row]]:
    by = case.where.partition_by is not None and not case.unruly
    day = st.dates(FIRST, FIRST + timedelta(days=3))
    region = st.sampled_from(["r0", "r1", "r2"])

    def row(one: PartitionSlice) -> st.SearchStrategy[Row]:
        told = dict(one.dimensions) or ({"day": one.key} if one.window else {"region": one.key})
        columns: dict[str, st.SearchStrategy[Any]] = {
            "id": st.sampled_from([*range(case.ids), *range(case.ids), None])
            if case.unruly
            else st.integers(0, case.ids - 1),
            "v": st.none() | st.integers(0, 3),
            "day": st.just(date.fromisoformat(told["day"])) if by and "day" in told else day,
            "region": st.just(told["region"]) if by and "region" in told else region,
        }
        if more is not None:
            bits = more.bit_width - pa.types.is_signed_integer(more)
            columns["more"] = st.none() | st.sampled_from([0, 2**bits - 1])
        return st.fixed_dictionaries(columns)

    write, unique = case.where.write, None
    if isinstance(write, Merge) and not case.unruly:
        within = by and write.scope == "partition"
        unique = lambda r: (r["id"], r["day"] if within else None)  # noqa: E731 - one line, used once
    return st.lists(st.sampled_from(list(slices)).flatmap(row), max_size=6, unique_by=unique)


def text_of(row: Row) -> str:
    """A row for comparing: names in one spelling, without what is null."""
    told = {name.casefold(): value for name, value in row.items() if value is not None}
    # There are several ways to be in UTC, which are told differently.
    told |= {k: str(value) for k, value in told.items() if isinstance(value, datetime)}
    return repr(sorted(told.items()))


def managers(folder: Path) -> list[IOManager]:
    """One of each destination, in a folder."""
    return [
        DuckDBIOManager(folder / "x.duckdb"),
        ParquetIOManager(folder / "lake"),
        DeltaIOManager(folder / "tables"),
        MemoryIOManager(),
    ]


def check_rows(steps: Steps, where: Target, model: Model) -> None:
    """Every partition that was written, alone and all together in order, has the rows of the model."""
    name = type(steps.manager).__name__
    there = [one for one in model.case.parts if one.key in model.written]
    if not there:
        return
    for one in there:
        found = steps.rows(where, [one])
        assert Counter(map(text_of, found)) == model.of(one), (name, one.key)
    together = steps.rows(where, there)
    position = 0
    for one in there:
        length = model.of(one).total()
        part = together[position : position + length]
        assert Counter(map(text_of, part)) == model.of(one), (name, "partitions come in order")
        position += length
    assert position == len(together), name
