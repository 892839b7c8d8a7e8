"""What `partita state` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.render.report import Report
from cli.render.text import Span, Style, Table, counted, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets_core.state.store import StateProblem
    from cli.render.text import Block


def verified_report(problems: Sequence[StateProblem]) -> Report:
    """The report of `partita state verify`."""
    records = [
        {"kind": one.kind.value, "asset": one.asset, "message": one.message} for one in problems
    ]
    rows = tuple(
        (Span(str(one["kind"]), Style.RED), str(one["asset"] or ""), str(one["message"]))
        for one in records
    )
    blocks: list[Block] = [Table(("KIND", "ASSET", "PROBLEM"), rows)] if rows else []
    told = counted(len(problems), "problem") if problems else "the state is sound"
    columns = ("kind", "asset", "message")
    return Report("state verify", {"problems": records}, records, [*blocks, line(told)], columns)


def compacted_report(rows: int, chunks: int) -> Report:
    """The report of `partita state compact`."""
    record = {"rows": rows, "chunks": chunks}
    told = f"folded {counted(rows, 'log row')} into {counted(chunks, 'chunk')}"
    return Report(
        "state compact", record, [record], [line(told if rows or chunks else "nothing to fold")]
    )
