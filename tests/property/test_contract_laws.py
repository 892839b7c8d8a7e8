"""Every rule of a contract means what it says: DuckDB's one pass against a plain-Python reading of the same rows."""

from __future__ import annotations

import math
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core import (
    AcceptedValues,
    Contract,
    ForeignKey,
    FreshColumn,
    InRange,
    Matches,
    NotNull,
    RowCount,
    RowRule,
    Unique,
)
from assets_core.execution.contract_pass import ContractJudge, JudgedRows
from assets_core.model.io_manager import PartitionSlice
from partitions import DailyPartitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from assets_core.execution.contract_pass import OwnKeys
    from assets_core.model.contract_rules import Rule

NOW = datetime(2025, 1, 10, tzinfo=UTC)
DAYS = DailyPartitions("2025-01-01", end="2025-01-10", timezone="Europe/Berlin").index(NOW)
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("amount", pa.float64()),
        ("word", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("wall", pa.timestamp("us")),
        ("select", pa.bool_()),
    ]
)
KNOWN = [(1, "a"), (2, "ab"), (3, None), (None, "b")]
"""What foreign keys may be."""

ROW = st.fixed_dictionaries(
    {
        "id": st.none() | st.integers(0, 4),
        "amount": st.none()
        | st.sampled_from([math.nan, math.inf, -math.inf, -0.5, 0.0, 1.0, 2.5]),
        "word": st.none() | st.sampled_from(["", "a", "ab", "AB", "a\n", "b%", "ä", "🦆"]),
        "at": st.none()
        | st.datetimes(datetime(2024, 12, 30), datetime(2025, 1, 6)).map(  # noqa: DTZ001 - given its zone below
            lambda found: found.replace(tzinfo=UTC)
        ),
        "wall": st.none() | st.datetimes(datetime(2024, 12, 30), datetime(2025, 1, 6)),  # noqa: DTZ001 - a wall clock
        "select": st.none() | st.booleans(),
    }
)
PARTITIONS = st.lists(st.lists(ROW, max_size=6), min_size=1, max_size=3)
Row = dict[str, Any]


def same(value: object) -> object:
    """NaN equals itself."""
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def in_range(low: Any, high: Any, *, strict: bool = False) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        if isinstance(value, float) and math.isnan(value):
            return False
        above = low is None or (value > low if strict else value >= low)
        return bool(above and (high is None or value <= high))

    return holds


def on(column: str, holds: Callable[[Any], bool]) -> Callable[[Row], bool]:
    return lambda row: row[column] is not None and not holds(row[column])


WORD = re.compile("[a-z]+")
INSTANT = datetime(2025, 1, 2, 5, tzinfo=UTC)
BY_ROW: list[tuple[Rule, Callable[[Row], bool]]] = [
    (NotNull(["id", "select"]), lambda row: row["id"] is None or row["select"] is None),
    (NotNull("amount"), lambda row: row["amount"] is None),
    (AcceptedValues("word", ["a", "🦆", "it's"]), on("word", lambda v: v in {"a", "🦆"})),
    (AcceptedValues("id", [1, 2]), on("id", lambda v: v in {1, 2})),
    (InRange("amount", min=0), on("amount", in_range(0, None))),
    (InRange("id", 1, 3, strict_min=True), on("id", in_range(1, 3, strict=True))),
    (InRange("at", max=INSTANT), on("at", in_range(None, INSTANT))),
    (
        InRange("wall", min=datetime(2025, 1, 2, 5)),  # noqa: DTZ001 - a wall clock
        on("wall", in_range(datetime(2025, 1, 2, 5), None)),  # noqa: DTZ001
    ),
    (Matches("word", "[a-z]+"), on("word", lambda v: WORD.fullmatch(v) is not None)),
    (
        ForeignKey("id", "known"),
        on("id", lambda v: v in {one for one, _ in KNOWN}),
    ),
    (
        ForeignKey(["id", "word"], "known", ["id", "name"]),
        lambda row: None not in (row["id"], row["word"]) and (row["id"], row["word"]) not in KNOWN,
    ),
    (
        RowRule("late", '"select" or "at" > \'2025-01-03\' -- said so'),
        lambda row: (
            row["select"] is False
            and row["at"] is not None
            and row["at"] <= datetime(2025, 1, 3, tzinfo=UTC)
        ),
    ),
]


@pytest.fixture(scope="module")
def judge() -> ContractJudge:
    return ContractJudge()


def rows_of(partitions: list[list[Row]]) -> JudgedRows:
    slices = tuple(
        PartitionSlice(slot, DAYS.key(slot), DAYS.window(slot)) for slot in range(len(partitions))
    )

    def streams() -> Iterator[pa.RecordBatchReader]:
        for rows in partitions:
            # Batches of two, so that places are counted over all of them.
            yield pa.Table.from_pylist(rows, schema=SCHEMA).to_reader(2)

    return JudgedRows("orders", slices, streams)


def known(keys: tuple[str, tuple[str, ...]]) -> list[OwnKeys]:
    found = pa.table({"id": [one for one, _ in KNOWN], "name": [two for _, two in KNOWN]})
    return [(tuple(range(10)), found.select(list(keys[1])).to_reader())]


def not_unique(rows: list[Row], columns: tuple[str, ...]) -> list[bool]:
    keys = [tuple(same(row[one]) for one in columns) for row in rows]
    times = Counter(keys)
    return [None not in key and times[key] > 1 for key in keys]


@settings(deadline=None, max_examples=60)
@given(partitions=PARTITIONS, chosen=st.sets(st.integers(0, len(BY_ROW) - 1), min_size=1))
def test_a_row_breaks_the_rules_that_python_says_it_breaks(
    judge: ContractJudge, partitions: list[list[Row]], chosen: set[int]
) -> None:
    picked = [BY_ROW[one] for one in sorted(chosen)]
    names = {rule.name for rule, _ in picked}
    picked = [
        one for i, one in enumerate(picked) if one[0].name not in {r.name for r, _ in picked[:i]}
    ]
    verdict = judge.judge(
        Contract([rule for rule, _ in picked], on_violation="quarantine"),
        rows_of(partitions),
        known,
        NOW,
    )
    expected = [sum(breaks(row) for row in rows) for _, breaks in picked for rows in partitions]
    assert [one.metadata["violations"] for one in verdict.outcomes] == expected
    assert [one.passed for one in verdict.outcomes] == [count == 0 for count in expected]
    assert {one.check for one in verdict.outcomes} == names
    everything = [row for rows in partitions for row in rows]
    assert [(one.row, one.reason) for one in verdict.offenders()] == [
        (place, "; ".join(broken))
        for place, row in enumerate(everything)
        if (broken := [rule.name for rule, breaks in picked if breaks(row)])
    ]


@settings(deadline=None, max_examples=30)
@given(
    partitions=PARTITIONS,
    columns=st.sampled_from([("id",), ("amount",), ("word", "id"), ("at",), ("select",)]),
)
def test_a_key_is_unique_within_its_partition_and_all_its_rows_are_to_blame(
    judge: ContractJudge, partitions: list[list[Row]], columns: tuple[str, ...]
) -> None:
    verdict = judge.judge(
        Contract(Unique(columns), on_violation="quarantine"), rows_of(partitions), known, NOW
    )
    broken = [one for rows in partitions for one in not_unique(rows, columns)]
    assert [one.row for one in verdict.offenders()] == [i for i, bad in enumerate(broken) if bad]
    assert [one.metadata["violations"] for one in verdict.outcomes] == [
        sum(not_unique(rows, columns)) for rows in partitions
    ]


@settings(deadline=None, max_examples=30)
@given(
    partitions=PARTITIONS,
    low=st.integers(0, 4),
    more=st.integers(0, 3),
    hours=st.integers(0, 72),
)
def test_counts_and_ages_are_those_of_each_partition(
    judge: ContractJudge, partitions: list[list[Row]], low: int, more: int, hours: int
) -> None:
    within = timedelta(hours=hours)
    rules = [RowCount(low, low + more), FreshColumn("at", within), FreshColumn("wall", within)]
    verdict = judge.judge(Contract(rules), rows_of(partitions), known, NOW)
    expected = [low <= len(rows) <= low + more for rows in partitions]
    for column in ("at", "wall"):
        for slot, rows in enumerate(partitions):
            window = DAYS.window(slot)
            assert window is not None
            oldest = window.end.astimezone(UTC) - within
            if column == "wall":
                oldest = oldest.astimezone(window.end.tzinfo).replace(tzinfo=None)
            found = [row[column] for row in rows if row[column] is not None]
            expected.append(bool(found) and max(found) >= oldest)
    assert [one.passed for one in verdict.outcomes] == expected
    assert all(one.blocking for one in verdict.outcomes)
