"""Rows of data: the answer of a query as a table, JSON, JSON lines, CSV, or a Parquet file.

Values become JSON without a loss where JSON has none of their kind: decimals, dates and instants as text, bytes in hexadecimal.
"""

from __future__ import annotations

import math
import os
import secrets
from contextlib import suppress
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from assets_core.model.errors import QueryError
from assets_core.model.sql_names import quoted
from cli.render.report import Output, Report
from cli.render.text import Span, Style, Table, counted, line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from cli.render.printer import Printer
    from cli.render.text import Block

SHOWN_ROWS = 100
"""Rows of a table for people, if nothing else was said."""


def print_rows(printer: Printer, rows: pa.RecordBatchReader, shown: int | None) -> None:
    """Write rows to standard output; of a table at most `shown`, and a note if there are more."""
    names = tuple(rows.schema.names)
    match printer.output:
        case Output.JSONL | Output.CSV:
            printer.records(names, _records(rows))
        case Output.JSON:
            found = list(_records(rows))
            printer.report(
                Report("query", {"columns": _columns(rows.schema), "rows": found}, (), ())
            )
        case Output.TABLE:
            printer.report(Report("query", {}, (), _blocks(rows, shown)))


def written_report(path: str, rows: int) -> Report:
    """The report of a query whose rows went to a file."""
    record = {"path": path, "rows": rows}
    return Report(
        "query",
        record,
        [record],
        [line(f"{counted(rows, 'row')} written to {path}")],
        ("path", "rows"),
    )


def write_parquet(path: str, rows: pa.RecordBatchReader) -> int:
    """Write rows to a Parquet file, all or nothing, and answer how many. Raises QueryError."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    _require_storable(rows.schema)
    unfinished = Path(f"{path}.{secrets.token_hex(4)}.tmp")
    written = 0
    try:
        with pq.ParquetWriter(unfinished, rows.schema, compression="zstd") as writer:
            for batch in rows:
                writer.write_batch(batch)
                written += batch.num_rows
        os.replace(unfinished, path)  # noqa: PTH105 - the atomic act, by its POSIX name
    except (OSError, pa.ArrowException) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise QueryError(
            f"{path} can't be written: {told}", hint="its folder must exist and be writable"
        ) from error
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()
    return written


def _require_storable(schema: pa.Schema) -> None:
    """Raise QueryError for the first column whose type Parquet has no place for: Arrow says so, or would write DuckDB's own bytes."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    for field in schema:
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
        except pa.ArrowException as error:
            raise _not_storable(field) from error
        if "extension<arrow.opaque" in str(field.type):
            raise _not_storable(field)


def _not_storable(field: pa.Field) -> QueryError:
    return QueryError(
        f"column {field.name!r} is {field.type}, which Parquet does not store",
        hint=f"cast it in the query: {quoted(field.name)}::varchar",
    )


def plain_value(value: object) -> object:
    r"""A value of a row as JSON has it.

    >>> from decimal import Decimal
    >>> plain_value([Decimal("1.50"), b"\x00\xff", float("inf"), {"at": date(2025, 1, 31)}])
    ['1.50', '00ff', 'inf', {'at': '2025-01-31'}]
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case tuple() if hasattr(value, "months"):  # Arrow's interval, which is DuckDB's
            return _interval(*value)
        case list() | tuple():
            return [plain_value(one) for one in value]
        case dict():
            return {str(name): plain_value(one) for name, one in value.items()}
        case _:
            return str(value)


def _interval(months: int, days: int, nanoseconds: int) -> str:
    """An interval as DuckDB shows it.

    >>> _interval(1, 2, -3_456_005_000_007_000), _interval(0, 0, 0)
    ('1 month 2 days -960:00:05.000007', '00:00:00')
    """
    parts = [
        counted(number, name) for number, name in ((months, "month"), (days, "day")) if number
    ]
    if nanoseconds or not parts:
        seconds, nanos = divmod(abs(nanoseconds), 10**9)
        fraction = f".{nanos // 1000:06}" if nanos else ""
        minutes, seconds = divmod(seconds, 60)
        sign = "-" if nanoseconds < 0 else ""
        parts.append(f"{sign}{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{fraction}")
    return " ".join(parts)


def _records(rows: pa.RecordBatchReader) -> Iterator[dict[str, object]]:
    for batch in rows:
        for row in batch.to_pylist():
            yield {name: plain_value(value) for name, value in row.items()}


def _columns(schema: pa.Schema) -> list[dict[str, str]]:
    return [{"name": field.name, "type": str(field.type)} for field in schema]


def _blocks(rows: pa.RecordBatchReader, shown: int | None) -> list[Block]:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    found: list[tuple[str, ...]] = []
    for record in _records(rows):
        if shown is not None and len(found) == shown:
            told = f"the first {counted(shown, 'row')}; --limit says how many"
            break
        found.append(tuple(_cell(value) for value in record.values()))
    else:
        told = counted(len(found), "row")
    numbers = frozenset(
        i
        for i, field in enumerate(rows.schema)
        if pa.types.is_integer(field.type)
        or pa.types.is_floating(field.type)
        or pa.types.is_decimal(field.type)
    )
    table = Table(tuple(rows.schema.names), tuple(found), numbers)
    return [table, line(Span(told, Style.DIM))]


def _cell(value: object) -> str:
    from cli.render.printer import to_json  # noqa: PLC0415 - the printer is there when something is shown

    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value)
