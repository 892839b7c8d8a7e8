"""Every IO manager gives the answers of `write_cases`, and `docs/writing.md` has the table made from them.

`python -m tests.conformance.test_write_table` writes the table anew.
"""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from assets_core.authoring.row_schemas import as_schema_policy, as_table_schema
from assets_core.model.errors import DataError
from assets_core.model.io_manager import PublishFailed, ReadRequest
from assets_core.model.specs import SCD2, Append, Merge, Replace
from assets_core.model.table_schemas import SchemaPolicy
from io_managers import DeltaIOManager, DuckDBIOManager, MemoryIOManager, ParquetIOManager
from tests.conformance.column_cases import COLUMN_CASES
from tests.conformance.io_manager_suite import UNPARTITIONED, Steps, target
from tests.conformance.io_manager_suite import days as day_slices
from tests.conformance.write_cases import APPEND, MERGE, REPLACE, SCD2_CASES, Case, Write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assets_core.model.io_manager import IOManager, PartitionSlice, Target

PAGE = Path(__file__).parents[2] / "docs" / "writing.md"
HEADING = "## The table\n"
CASES = (*REPLACE, *APPEND, *MERGE, *SCD2_CASES, *COLUMN_CASES)
MONTH = day_slices("2025-01-01", 31, "UTC")
AGAIN = "docs/writing.md is not what follows from the cases; write its table anew with: python -m tests.conformance.test_write_table"


def managers(folder: Path) -> dict[str, IOManager]:
    """One of each kind; nothing is opened yet."""
    return {
        "DuckDB": DuckDBIOManager(folder / "shop.duckdb"),
        "Parquet": ParquetIOManager(folder / "lake"),
        "Delta": DeltaIOManager(folder / "tables"),
        "memory": MemoryIOManager(),
    }


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Steps]:
    folder = tmp_path_factory.mktemp("writes")
    return {name: Steps(manager) for name, manager in managers(folder).items()}


def destination(case: Case, asset: str = "orders") -> Target:
    where = target(case.mode, asset=asset, by=case.by, partitioned=bool(case.returned.days))
    if case.schema is None:
        return replace(where, schema_policy=SchemaPolicy(case.policy or "add_nullable"))
    return replace(
        where,
        schema=as_table_schema(asset, case.schema),
        schema_policy=as_schema_policy(asset, case.policy, case.schema),
    )


def slices(days: tuple[int, ...]) -> tuple[PartitionSlice, ...]:
    return tuple(MONTH[number - 1] for number in days) or UNPARTITIONED


def written_days(writes: tuple[Write, ...]) -> tuple[int, ...]:
    return tuple(sorted({number for write in writes for number in write.days}))


def in_utc(value: object) -> object:
    """Instants that are equal read equal."""
    match value:
        case datetime(tzinfo=zone) if zone is not None:
            return value.astimezone(UTC)
        case list():
            return [in_utc(one) for one in value]
        case dict():
            return {name: in_utc(one) for name, one in value.items()}
    return value


def comparable(rows: pa.Table, *, exact: bool) -> tuple[list[tuple[str, pa.DataType]], list[str]]:
    """Columns with types, and rows without their order; if not `exact`, time zones are all the same."""
    zoned = [
        pa.timestamp(one.type.unit, "UTC")
        if not exact and pa.types.is_timestamp(one.type) and one.type.tz is not None
        else one.type
        for one in rows.schema
    ]
    columns = list(zip(rows.column_names, zoned, strict=True))
    return columns, sorted(repr(in_utc(row)) for row in rows.to_pylist())


def stored(one: Steps, where: Target, days: tuple[int, ...]) -> pa.Table:
    return one.manager.read(ReadRequest(where, slices(days))).read_all()


def refusal(one: Steps, case: Case, where: Target) -> tuple[str, str | None]:
    """Message and hint of the refusal; what was stored stays."""
    reason = one.manager.supports(where)
    if reason is not None:
        return reason, None
    kept = written_days(case.before)
    before = stored(one, where, kept) if case.before else None
    told = one.fail(where, slices(case.returned.days), case.returned.rows)
    assert isinstance(told, PublishFailed | DataError)
    if before is not None:
        assert stored(one, where, kept).equals(before)
    return told.message.replace(where.asset, "orders"), told.hint and told.hint.replace(
        where.asset, "orders"
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_io_manager_gives_the_answer_of_the_table(
    steps: dict[str, Steps], case: Case
) -> None:
    where = destination(case, f"asset_{CASES.index(case)}_")
    hints = set()
    for name, one in steps.items():
        reason = one.manager.supports(where)
        if reason is not None and reason != case.then:
            assert unavailable(case)[name] == reason
            continue
        for write in case.before:
            one.write(where, slices(write.days), write.rows)
        if isinstance(case.then, str):
            message, hint = refusal(one, case, where)
            assert message == case.then, name
            hints.add(hint)
            continue
        one.write(where, slices(case.returned.days), case.returned.rows)
        found = stored(one, where, case.read or written_days((*case.before, case.returned)))
        exact = case.schema is not None
        assert comparable(found, exact=exact) == comparable(case.then, exact=exact), name
    assert len(hints) <= 1


def test_the_table_has_enough_cases_and_no_two_of_one_name() -> None:
    assert len(CASES) >= 60
    assert len({(case.name, shown_mode(case)) for case in CASES}) == len(CASES)
    assert {type(case.mode) for case in CASES} == {Replace, Append, Merge, SCD2}


def test_every_case_is_offered_by_at_least_two_io_managers() -> None:
    assert [case.name for case in CASES if len(unavailable(case)) > 1] == []


def test_the_page_has_the_table_that_follows_from_the_cases() -> None:
    head, _, _ = PAGE.read_text().partition(HEADING)
    assert PAGE.read_text() == head + HEADING + table_text(), AGAIN


def unavailable(case: Case) -> Mapping[str, str]:
    """Which IO managers don't offer what the case does, and why."""
    reasons = {
        name: one.supports(destination(case)) for name, one in managers(Path("place")).items()
    }
    return {name: why for name, why in reasons.items() if why is not None and why != case.then}


def table_text() -> str:
    names = tuple(managers(Path("place")))
    notes: list[str] = []
    lines = [
        f"| write mode | case | stored before | returned | readers get, or the refusal | {' | '.join(names)} |",
        "|" + "---|" * (5 + len(names)),
    ]
    for case in CASES:
        missing = unavailable(case)
        notes += [why for why in missing.values() if why not in notes]
        answers = [
            f"not offered ({notes.index(missing[name]) + 1})" if name in missing else "same"
            for name in names
        ]
        cells = (
            shown_mode(case),
            escaped(case.name),
            "; then ".join(map(shown_write, case.before)) or "nothing",
            shown_write(case.returned),
            shown_answer(case),
            *answers,
        )
        lines.append(f"| {' | '.join(cells)} |")
    told = [f"({number}) {why}" for number, why in enumerate(notes, 1)]
    return "\n".join(
        [
            "",
            f"{len(CASES)} cases. *same*: exactly these rows and types, or exactly this message, and after a refusal what was stored before is still there.",
            "",
            *lines,
            "",
            *told,
            "",
        ]
    )


def shown_mode(case: Case) -> str:
    """The mode as it is typed, without the options that have their defaults; partition column and schema after it."""
    options = []
    for field in fields(case.mode):
        value = getattr(case.mode, field.name)
        if field.name == "keys":
            options.append(f"keys={quoted_list(value)}")
        elif value and str(value) not in {"error", "table", "keep"}:
            text = quoted_list(value) if isinstance(value, tuple) else f'"{value}"'
            options.append(f"{field.name}={text}")
    shown = [f"{type(case.mode).__name__}({', '.join(options)})"]
    if case.by is not None:
        shown.append(f'partition_by="{case.by}"')
    if case.schema is not None:
        columns = ", ".join(
            f"{one.name} {one.type}{'' if one.nullable else ' not null'}" for one in case.schema
        )
        shown.append(f"schema: {columns}")
    if case.policy is not None:
        shown.append(f'schema_policy="{case.policy}"')
    return "<br>".join(code(one) for one in shown)


def quoted_list(names: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def shown_write(write: Write) -> str:
    first, last = (write.days[0], write.days[-1]) if write.days else (0, 0)
    when = f"day {first}: " if first == last else f"days {first} to {last}: "
    return (when if write.days else "") + shown_rows(write.rows)


def shown_answer(case: Case) -> str:
    if isinstance(case.then, str):
        return f"refused: {escaped(case.then)}"
    where = f"of day {', '.join(map(str, case.read))}: " if case.read else ""
    return where + shown_rows(case.then)


def shown_rows(rows: pa.Table) -> str:
    """A line per row below the names of the columns; with the types that Python's values don't tell."""
    if not rows.column_names:
        return "no rows, no columns"
    plain = (pa.int64(), pa.string(), pa.date32(), pa.bool_(), pa.float64())
    names = [
        one.name if one.type in plain or pa.types.is_nested(one.type) else f"{one.name} {one.type}"
        for one in rows.schema
    ]
    columns = [column.to_pylist() for column in rows.columns]
    lines = [", ".join(map(shown_value, row)) for row in zip(*columns, strict=True)]
    return "<br>".join(code(line) for line in (f"({', '.join(names)})", *(lines or ["no rows"])))


def shown_value(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}{'' if value.tzinfo is None else f'{value:%z}'}"
        case date():
            return value.isoformat()
        case list():
            return f"[{', '.join(map(shown_value, value))}]"
        case dict():
            return "{" + ", ".join(f"{n}: {shown_value(v)}" for n, v in value.items()) + "}"
    return str(value)


def code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def escaped(text: str) -> str:
    """Text that markdown shows as it is."""
    for mark in ("\\", "_", "*", "|", "<", "["):
        text = text.replace(mark, f"\\{mark}")
    return text


if __name__ == "__main__":
    page_head, _, _ = PAGE.read_text().partition(HEADING)
    PAGE.write_text(page_head + HEADING + table_text())
