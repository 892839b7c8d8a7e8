"""Making and showing a plan, for every command that does so: `plan`, and `materialize` and `backfill` before they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets_core.planning.planner import plan_run
from cli.commands.request import read_request
from cli.render.errors import EXIT_DONE, EXIT_WORK_TO_DO
from cli.render.plans import plan_report, span_lines, span_records
from cli.render.text import Span, Style, line

if TYPE_CHECKING:
    from datetime import datetime

    from assets_core.planning.plan import Plan
    from assets_core.planning.planner import Mode
    from assets_core.planning.staleness import Facts
    from cli.commands.request import Request, Words
    from cli.project import Project
    from cli.render.printer import Printer


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """A plan, the facts it was made from, and what was asked for."""

    plan: Plan
    facts: Facts
    request: Request


def make_plan(
    project: Project, words: Words, mode: Mode, *, now: datetime, upstream: bool, downstream: bool
) -> Planned:
    """The plan for what was typed, from the state as it is. Raises as `read_request`."""
    facts = project.facts(now)
    request = read_request(facts, words)
    plan = plan_run(facts, request.plan_request(mode, upstream=upstream, downstream=downstream))
    return Planned(plan, facts, request)


def echo_range(planned: Planned, printer: Printer) -> None:
    """Say what the range turned out to be."""
    for told in span_lines(planned.request.partitions):
        printer.note(told)
    for asset, why in planned.request.unread.items():
        printer.note(line(Span("range: ", Style.DIM), f"nothing of {asset}: {why}"))


def show_plan(
    project: Project,
    printer: Printer,
    command: str,
    words: Words,
    mode: Mode,
    *,
    now: datetime,
    upstream: bool,
    downstream: bool,
    detailed_exitcode: bool = False,
) -> int:
    """Print the plan and answer the exit code."""
    planned = make_plan(project, words, mode, now=now, upstream=upstream, downstream=downstream)
    echo_range(planned, printer)
    printer.report(
        plan_report(
            command,
            planned.plan,
            selection=planned.request.selection,
            spans=span_records(planned.request.partitions),
        )
    )
    return EXIT_WORK_TO_DO if detailed_exitcode and planned.plan.size else EXIT_DONE
