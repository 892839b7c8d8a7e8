"""`partita query`: SQL over the project's assets, read-only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from cli.commands.options import HintedUsageError, PartitaCommand, Settings, open_project

if TYPE_CHECKING:
    from pathlib import Path


@click.command("query", cls=PartitaCommand)
@click.argument("sql", required=False)
@click.option(
    "--sql-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Read the query from this file.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help="At most so many rows; 0 for all. Without it a table shows 100, other formats all.",
)
@click.option(
    "--to", metavar="FILE", type=click.Path(), help="Write the rows to this Parquet file."
)
@click.pass_obj
def command(
    settings: Settings, sql: str | None, sql_file: str | None, limit: int | None, to: str | None
) -> int:
    """Ask the project's assets in SQL.

    SQL is one SELECT of DuckDB's dialect, or - for standard input. Each asset is a table of its name; only those that the query names are
    opened, and nothing can be written. Runs may go on meanwhile: a query sees each partition as it was before or after.
    """
    from datetime import UTC, datetime  # noqa: PLC0415 - `--help` needs none of it

    from cli.project.reading import query_project  # noqa: PLC0415
    from cli.render.report import Output  # noqa: PLC0415
    from cli.render.rows import SHOWN_ROWS, print_rows, write_parquet, written_report  # noqa: PLC0415

    text = _text_of(sql, sql_file)
    target = None if to is None else _absolute(to)
    printer = settings.printer()
    most = limit or None
    shown = None
    if limit is None and to is None and settings.output is Output.TABLE:
        shown, most = SHOWN_ROWS, SHOWN_ROWS + 1
    rows = query_project(open_project(settings), text, datetime.now(UTC), limit=most)
    if to is None or target is None:
        print_rows(printer, rows, shown)
    else:
        printer.report(written_report(to, write_parquet(str(target), rows)))
    return 0


def _absolute(path: str) -> Path:
    """From where the command was typed: loading the project changes the current folder. A mistyped one is noticed before the work."""
    from pathlib import Path  # noqa: PLC0415 - `--help` needs none of it

    found = Path.cwd() / path
    if not found.parent.is_dir():
        raise HintedUsageError(
            f"{path} can't be written: there is no folder {Path(path).parent}",
            "make it, or correct the path",
        )
    return found


def _text_of(sql: str | None, sql_file: str | None) -> str:
    if sql is not None and sql_file is not None:
        raise HintedUsageError(
            "a query and a file with one were given", "leave one of them out, or quote the query"
        )
    if sql_file is not None:
        from pathlib import Path  # noqa: PLC0415 - `--help` needs none of it

        return Path(sql_file).read_text(encoding="utf-8")
    if sql == "-":
        return sys.stdin.read()
    if sql is None:
        raise HintedUsageError(
            "there is no query", "type, for example: partita query 'select * from ASSET'"
        )
    return sql
