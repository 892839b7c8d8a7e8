"""Histories that SCD2 keeps equal a plain Python model, on every destination.

A play is a list of steps on days: first runs, re-runs, out of order, late, empty, with a column more or less than others and with types
that widen. After all steps the history up to every day that was written is what the model says: a walk over all events of a key in the
order of time, made anew each time.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core.model.specs import SCD2
from assets_core.model.table_schemas import SchemaPolicy
from tests.conformance.io_manager_suite import Steps, days, target
from tests.property.write_model import MEMORY_FOLDER, SMALL, managers, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets_core.model.io_manager import PartitionSlice

Row = dict[str, Any]

FIRST = date(2025, 10, 24)
DAYS = days(FIRST.isoformat(), 4)
COLUMNS = {
    "id": pa.int64(),
    "v": pa.int64(),
    "note": pa.string(),
    "since": pa.date32(),
    "more": pa.int64(),
}
WRITES = {
    "changes": SCD2(keys=["id"]),
    "changes of one column": SCD2(keys=["id"], track=["v"]),
    "snapshots": SCD2(keys=["id"], track=["v"], on_absent="close"),
    "snapshots of all columns": SCD2(keys=["id"], on_absent="close"),
    "effective": SCD2(keys=["id"], track=["v"], effective="since"),
    "effective of all columns": SCD2(keys=["id"], effective="since"),
}


@dataclass
class Model:
    """What SCD2 says, in the simplest code that says it."""

    write: SCD2
    written: dict[str, list[Row]] = field(default_factory=dict)

    def history(self, last: PartitionSlice) -> list[Row]:
        parts = [one for one in DAYS if one.key in self.written and one.id <= last.id]
        found = []
        for key in sorted({row["id"] for one in parts for row in self.written[one.key]}):
            found += self._versions(self._events(key, parts, last))
        return found

    def _events(
        self, key: int, parts: Sequence[PartitionSlice], last: PartitionSlice
    ) -> list[tuple[date | datetime, Row | None]]:
        """Of one key, by time: rows, and None for an absence."""
        told: dict[date | datetime, Row | None] = {}
        assert last.window is not None
        for one in parts:
            assert one.window is not None
            start = one.window.start.astimezone(UTC)
            mine = [row for row in self.written[one.key] if row["id"] == key]
            for row in mine:
                if self.write.effective and row["since"] >= last.window.end.date():
                    continue  # told in advance
                told[row["since"] if self.write.effective else start] = row
            if not mine and self.write.on_absent == "close":
                told[start] = None
        return sorted(told.items())

    def _versions(self, events: Sequence[tuple[date | datetime, Row | None]]) -> list[Row]:
        tracked = self.write.track or [
            name for name in COLUMNS if name not in {"id", self.write.effective}
        ]
        versions: list[Row] = []
        for at, row in events:
            if versions and versions[-1]["is_current"]:
                if row is not None and all(row.get(c) == versions[-1].get(c) for c in tracked):
                    versions[-1].update(dict.fromkeys(COLUMNS), **row)
                    continue
                versions[-1].update(valid_to=at, is_current=False)
            if row is not None:
                versions.append({**row, "valid_from": at, "valid_to": None, "is_current": True})
        return versions


@dataclass(frozen=True)
class Told:
    """What a day returns."""

    day: int
    rows: list[Row] = field(repr=False)
    table: pa.Table = field(repr=False)


@st.composite
def plays(draw: st.DrawFn, write: SCD2, policy: SchemaPolicy) -> list[Told]:
    """Steps on days, each with columns of its own as far as the policy takes them."""
    unique = (lambda r: (r["id"], r["since"])) if write.effective else (lambda r: r["id"])
    play = []
    for _ in range(draw(st.integers(0, 7))):
        kinds = dict(COLUMNS)
        if policy is SchemaPolicy.WIDEN:
            kinds |= {name: draw(st.sampled_from(SMALL)) for name in ("v", "more")}
        if draw(st.booleans()):
            del kinds["more"]
        values: dict[str, st.SearchStrategy[Any]] = {
            "id": st.integers(0, 2),
            "v": st.none() | st.integers(0, 2),
            "note": st.sampled_from(["a", "b"]),
            "since": st.dates(FIRST - timedelta(days=1), FIRST + timedelta(days=4)),
            "more": st.none() | st.integers(0, 1),
        }
        row = st.fixed_dictionaries({name: values[name] for name in kinds})
        rows = draw(st.lists(row, max_size=5, unique_by=unique))
        table = pa.Table.from_pylist(rows, pa.schema(kinds))
        play.append(Told(draw(st.integers(0, 3)), rows, table))
    return play


@pytest.mark.parametrize("policy", [SchemaPolicy.ADD_NULLABLE, SchemaPolicy.WIDEN])
@pytest.mark.parametrize("name", WRITES)
def test_histories_equal_the_model_on_every_destination(name: str, policy: SchemaPolicy) -> None:
    write = WRITES[name]
    where = replace(target(write), schema_policy=policy)

    @settings(max_examples=max(settings().max_examples // 30, 1))
    @given(plays(write, policy))
    def play(told: list[Told]) -> None:
        with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as folder:
            model = Model(write)
            places = [Steps(one) for one in managers(Path(folder))]
            for one in told:
                model.written[DAYS[one.day].key] = one.rows
                for steps in places:
                    steps.write(where, DAYS[one.day : one.day + 1], one.table)
            for part in DAYS:
                for steps in places if part.key in model.written else ():
                    found = sorted(map(text_of, steps.rows(where, [part])))
                    wanted = sorted(map(text_of, model.history(part)))
                    assert found == wanted, type(steps.manager).__name__

    play()
