"""Why a partition is stale, as a tree, and what an error code means. The causes are found in `planning.explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.render.report import Report
from cli.render.text import Span, Style, Tree, counted, line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets_core.planning.explain import Explanation
    from cli.render.error_codes import ErrorEntry


def explanation_report(explanation: Explanation) -> Report:
    """The report of `partita explain ASSET@KEY`."""
    return Report(
        command="explain",
        data=explanation.as_json(),
        records=list(_records(explanation, 0)),
        blocks=[_tree(explanation)],
    )


def error_code_report(entry: ErrorEntry) -> Report:
    """The report of `partita explain CODE`."""
    data = {
        "code": entry.code,
        "title": entry.title,
        "meaning": entry.meaning,
        "remedy": entry.remedy,
    }
    return Report(
        command="explain",
        data=data,
        records=[data],
        blocks=[
            line(Span(entry.code, Style.BOLD), f": {entry.title}"),
            line(),
            line(entry.meaning),
            line(),
            line(Span("What to do: ", Style.CYAN), entry.remedy),
        ],
    )


def _tree(explanation: Explanation) -> Tree:
    more = (Span(f"… and {counted(explanation.more, 'more cause')}", Style.DIM),)
    style = Style.GREEN if explanation.reason.word == "fresh" else Style.YELLOW
    return Tree(
        label=line(
            Span(explanation.name, Style.BOLD),
            "  ",
            Span(explanation.reason.word, style),
            f": {explanation.because}",
        ),
        branches=tuple(_tree(cause) for cause in explanation.causes),
        notes=more if explanation.more else (),
    )


def _records(explanation: Explanation, depth: int) -> Iterator[dict[str, object]]:
    yield {
        "depth": depth,
        "asset": explanation.asset,
        "partition": explanation.key,
        "reason": explanation.reason.word,
        "because": explanation.because,
    }
    for cause in explanation.causes:
        yield from _records(cause, depth + 1)
