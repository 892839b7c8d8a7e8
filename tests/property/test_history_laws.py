"""Histories that SCD2 keeps equal a plain Python model, on all three destinations.

A play is a list of steps on days: first runs, re-runs, out of order, late, empty. After every step the history up to every day that was
written is what the model says: a walk over all events of a key in the order of time, made anew each time.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core.model.specs import SCD2
from io_managers import DuckDBIOManager, MemoryIOManager, ParquetIOManager
from tests.conformance.io_manager_suite import Steps, days, target
from tests.property.test_write_laws import MEMORY_FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets_core.model.io_manager import PartitionSlice

Row = dict[str, Any]

FIRST = date(2025, 10, 24)
DAYS = days(FIRST.isoformat(), 4)
SCHEMA = pa.schema({"id": pa.int64(), "v": pa.int64(), "note": pa.string(), "since": pa.date32()})
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
            name for name in SCHEMA.names if name not in {"id", self.write.effective}
        ]
        versions: list[Row] = []
        for at, row in events:
            if versions and versions[-1]["is_current"]:
                if row is not None and all(row[c] == versions[-1][c] for c in tracked):
                    versions[-1].update(row)
                    continue
                versions[-1].update(valid_to=at, is_current=False)
            if row is not None:
                versions.append({**row, "valid_from": at, "valid_to": None, "is_current": True})
        return versions


Play = list[tuple[int, list[Row]]]


def plays(write: SCD2) -> st.SearchStrategy[Play]:
    row = st.fixed_dictionaries(
        {
            "id": st.integers(0, 2),
            "v": st.none() | st.integers(0, 2),
            "note": st.sampled_from(["a", "b"]),
            "since": st.dates(FIRST - timedelta(days=1), FIRST + timedelta(days=4)),
        }
    )
    unique = (lambda r: (r["id"], r["since"])) if write.effective else (lambda r: r["id"])
    return st.lists(
        st.tuples(st.integers(0, 3), st.lists(row, max_size=5, unique_by=unique)), max_size=7
    )


def _by_value(rows: Sequence[Row]) -> list[str]:
    return sorted(str(sorted((name, str(value)) for name, value in row.items())) for row in rows)


@pytest.mark.parametrize("name", WRITES)
def test_histories_equal_the_model_on_every_destination(name: str) -> None:
    write = WRITES[name]
    where = target(write)

    @settings(max_examples=max(settings().max_examples // 20, 1))
    @given(plays(write))
    def play(steps_taken: Play) -> None:
        with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as folder:
            model = Model(write)
            managers = [
                Steps(DuckDBIOManager(Path(folder, "x.duckdb"))),
                Steps(ParquetIOManager(Path(folder, "lake"))),
                Steps(MemoryIOManager()),
            ]
            for day, rows in steps_taken:
                model.written[DAYS[day].key] = rows
                for steps in managers:
                    steps.write(where, DAYS[day : day + 1], pa.Table.from_pylist(rows, SCHEMA))
            for one in DAYS:
                for steps in managers if one.key in model.written else ():
                    found = steps.rows(where, [one])
                    assert _by_value(found) == _by_value(model.history(one)), type(
                        steps.manager
                    ).__name__

    play()
