"""Making and showing a plan, for every command that does so: `plan`, and `materialize` and `backfill` before they run.

What a plan is about was either typed (`Asked`) or written down earlier (`AskedBefore`); whatever is done with it is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from assets_core.planning.estimate import LATEST_STEPS, estimate_plan
from assets_core.planning.movement import replan
from assets_core.planning.planner import Mode, plan_run
from assets_core.planning.saved_plan import saved_plan_as_json
from cli.commands.looking import look_only
from cli.commands.request import Request, read_request
from cli.render.errors import EXIT_DONE, EXIT_WORK_TO_DO
from cli.render.plans import estimate_line, plan_report, span_lines, span_records
from cli.render.statuses import schema_line
from cli.render.text import Span, Style, line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from assets_core.model.records import StepDuration
    from assets_core.planning.plan import Plan
    from assets_core.planning.planner import PlanRequest
    from assets_core.planning.saved_plan import SavedPlan
    from assets_core.planning.staleness import Facts
    from cli.commands.request import Words
    from cli.project import Project
    from cli.render.printer import Printer
    from cli.render.text import Line


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """A plan, the facts it was made from, what was asked for, and that as the planner took it."""

    plan: Plan
    facts: Facts
    request: Request
    wanted: PlanRequest


@dataclass(frozen=True, slots=True)
class Asked:
    """What a plan is to be about, as it was typed."""

    words: Words
    mode: Mode
    upstream: bool
    downstream: bool

    def as_arguments(self) -> list[str]:
        """The same as words of a command line."""
        words = self.words
        options = {"--partitions": words.partitions, "--from": words.from_, "--to": words.to}
        flags = {
            "--force": self.mode is Mode.FORCE,
            "--missing": self.mode is Mode.MISSING,
            "--upstream": self.upstream,
            "--downstream": self.downstream,
        }
        return [
            *words.words,
            *(
                part
                for name, value in options.items()
                if value is not None
                for part in (name, value)
            ),
            *(name for name, is_set in flags.items() if is_set),
        ]

    def plan(self, project: Project, now: datetime, *, to_run: bool = False) -> Planned:
        """The plan from the state as it is. Raises as `read_request`."""
        facts = project.facts(now, in_flight=not to_run)
        request = read_request(facts, self.words)
        wanted = request.plan_request(
            self.mode, upstream=self.upstream, downstream=self.downstream
        )
        return Planned(plan_run(facts, wanted), facts, request, wanted)


@dataclass(frozen=True, slots=True)
class AskedBefore:
    """A plan that was made earlier and is to be carried out as it is."""

    saved: SavedPlan

    def plan(self, project: Project, now: datetime, *, to_run: bool = False) -> Planned:  # noqa: ARG002 - what another run works on has moved
        """That plan over the state as it is. Raises PlanMovedError if it would not come out the same, PlanError if it does not fit."""
        made = replan(self.saved, project.facts, now)
        typed = self.saved.request
        request = Request(
            made.request.assets, made.request.partitions, typed.selection, typed.range_text
        )
        return Planned(made.plan, made.facts, request, made.request)


class Source(Protocol):
    """Where a plan comes from: `Asked`, `AskedBefore`, or what an earlier run left (`planning_again.AskedAgain`)."""

    def plan(self, project: Project, now: datetime, *, to_run: bool = False) -> Planned:
        """The plan, from the state as it is. To be run it has what other runs work on as well: a run waits for them."""
        ...


def echo_range(planned: Planned, printer: Printer) -> None:
    """Say what the range turned out to be."""
    for told in span_lines(planned.request.partitions):
        printer.note(told)
    for asset, why in planned.request.unread.items():
        printer.note(line(Span("range: ", Style.DIM), f"nothing of {asset}: {why}"))


def _schema_notes(project: Project, planned: Planned) -> Iterator[Line]:
    """Which of the asked assets have rows of older columns, if it is quick to tell."""
    from cli.commands.conditions import are_few, older_schema  # noqa: PLC0415 - only `plan` shows it

    facts, assets = planned.facts, planned.request.assets
    for asset in assets if are_few(facts, assets) else ():
        older = older_schema(facts.graph.spec(asset), facts.indexes[asset], project.store)
        if older:
            yield schema_line(asset, len(older), older.describe() if older.first() else "")


def show_plan(
    project: Project,
    printer: Printer,
    command: str,
    source: Source,
    *,
    now: datetime,
    detailed_exitcode: bool = False,
) -> int:
    """Print the plan, and what it would take, and answer the exit code."""
    look_only(project, printer)
    planned = source.plan(project, now)
    plan, request = planned.plan, planned.request

    def past_steps(asset: str) -> Sequence[StepDuration]:
        space = planned.facts.graph.spec(asset).partitions.space
        return project.store.durations(asset, space, LATEST_STEPS)

    estimate = estimate_plan(plan, past_steps)
    echo_range(planned, printer)
    if estimate.assets:
        printer.note(estimate_line(estimate))
    for told in _schema_notes(project, planned):
        printer.note(told)
    saved = saved_plan_as_json(
        plan,
        planned.facts,
        planned.wanted,
        selection=request.selection,
        range_text=request.range_text,
    )
    printer.report(
        plan_report(
            command,
            plan,
            saved=saved,
            estimate=estimate,
            selection=request.selection,
            spans=span_records(request.partitions),
        )
    )
    return EXIT_WORK_TO_DO if detailed_exitcode and plan.size else EXIT_DONE
