"""Running a plan: the run's lock, recovery of crashed runs, progress, signals and the exit code. For `materialize` and `backfill`.

Theory of operation
-------------------
Any number of runs work on a project at once; they share the work, as `execution.other_runs` describes. If a first look finds nothing to
do and no run that a crash left behind, nothing is written at all, not even a lock. Otherwise the run takes its lock, crashed runs are
settled, and the plan is made again from the state as it is then. What another run works on is part of the plan: the run waits for it,
unless it was told to leave such partitions to the other run, or to fail. A saved plan that moved is refused at either look.

The first SIGINT or SIGTERM stops the run clean: running commits are finished, the rest is cancelled. The second ends the process at
once, which is as safe as a kill -9: the next run recovers.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from assets_core.execution.facts import intern_partition_keys
from assets_core.execution.run_request import Effects, RunRequest
from assets_core.execution.runner import Runner
from assets_core.model.errors import DataError
from assets_core.model.io_manager import AdoptsTables
from assets_core.model.records import RunStatus
from cli.commands.conflicts import partitions_of_others, partitions_of_the_dead
from cli.commands.looking import PATIENCE, Unlooked
from cli.commands.planning import echo_range
from cli.commands.taking_part import settle_crashed
from cli.project.execution import make_executor
from cli.project.location import make_state_folder
from cli.render.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from cli.render.plans import plan_summary, span_records
from cli.render.progress import RunProgress, nothing_report, run_report
from cli.render.report import Output
from cli.render.runs import left_lines, unknown_line, waiting_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from assets_core.execution.events import RunSummary
    from assets_core.execution.run_request import LeftToRun
    from assets_core.model.errors import IOManagerError
    from assets_core.model.records import RunKind
    from cli.commands.planning import Planned, Source
    from cli.commands.run_options import RunOptions
    from cli.project import Project
    from cli.render.printer import Printer


@dataclass(frozen=True, slots=True)
class Order:
    """What to run, and what kind of run it is recorded as."""

    command: str
    kind: RunKind
    source: Source
    options: RunOptions


def run_order(project: Project, printer: Printer, order: Order) -> int:
    """Plan and run, and answer the exit code."""
    with _signals() as signals:
        return _Job(project, printer, order, signals, Unlooked(printer)).carry_out()


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """One order in one project."""

    project: Project
    printer: Printer
    order: Order
    signals: _Signals
    unlooked: Unlooked
    left_out: set[str] = field(default_factory=set)
    """Dead runs that can't be settled and have what this run wants."""

    def carry_out(self) -> int:
        project = self.project
        project.go_on_without(self._go_on, None)
        planned = self._plan()
        if self._is_idle(planned):
            return self._nothing_to_do(planned)
        make_state_folder(project.location.folder)
        run_id = self.order.options.run_id or secrets.token_hex(5)
        with project.locks.join(
            run_id, on_wait=lambda holder: self.printer.note(waiting_line(holder))
        ):
            unsettled = settle_crashed(project, self.printer)
            intern_partition_keys(project.resolved.outline, project.store)
            planned = self._plan()
            if not planned.plan.size:
                return self._nothing_to_do(planned)
            dead = partitions_of_the_dead(planned, unsettled)
            self.left_out.update(one.run_id for one in dead)
            left = dead + partitions_of_others(project, planned, self.order.options.on_conflict)
            if sum(len(one.partitions) for one in left) >= planned.plan.size:
                for told in left_lines(left):
                    self.printer.note(told)
                return self._code(planned, EXIT_DONE)
            if self.order.options.adopt:
                self._adopt(planned)
            return self._run(planned, run_id, left)

    def _go_on(self, asset: str, error: IOManagerError) -> None:
        """A place that can't be looked at was waited for as long as for a write. Once is enough."""
        self.unlooked.tell(asset, error)
        self.project.go_on_without(self._go_on, PATIENCE)

    def _plan(self) -> Planned:
        self.unlooked.assets.clear()
        return self.order.source.plan(self.project, datetime.now(UTC), to_run=True)

    def _is_idle(self, planned: Planned) -> bool:
        project = self.project
        return not planned.plan.size and all(
            project.is_alive(run.id) for run in project.store.unfinished_runs()
        )

    def _nothing_to_do(self, planned: Planned) -> int:
        echo_range(planned, self.printer)
        plan = planned.plan
        spans = span_records(planned.request.partitions)
        self.printer.report(nothing_report(self.order.command, plan, spans=spans))
        # Whoever asked for something by name and got nothing because it is blocked must not take that for success.
        failed = planned.request.is_explicit and plan.blocked > 0 and not plan.fresh
        return self._code(planned, EXIT_FAILED if failed else EXIT_DONE)

    def _code(self, planned: Planned, code: int) -> int:
        """The exit code; what was asked for and could not even be looked at is no success."""
        unknown = self.unlooked.assets.intersection(planned.request.assets)
        if code != EXIT_DONE or not (unknown or self.left_out):
            return code
        if unknown:
            self.printer.note(unknown_line(sorted(unknown)))
        return EXIT_FAILED

    def _settle_dead(self, run_id: str) -> str | None:
        for one in settle_crashed(self.project, self.printer, only=run_id):
            self.left_out.add(run_id)
            return one.why.message
        return None

    def _adopt(self, planned: Planned) -> None:
        """Take over the tables of others that the plan would write to."""
        outline = self.project.outline
        for part in planned.plan.assets:
            manager = outline.manager(part.asset)
            if not len(part.partitions) or not isinstance(manager, AdoptsTables):
                continue
            for target in (outline.target(part.asset), outline.rejected.get(part.asset)):
                if target is not None and manager.adopt(target):
                    self.printer.note(f"adopted {manager.location(target)}")

    def _run(self, planned: Planned, run_id: str, left: tuple[LeftToRun, ...]) -> int:
        echo_range(planned, self.printer)
        self.printer.note(plan_summary(planned.plan))
        progress = RunProgress(self.printer, planned.plan.size)
        effects = Effects(
            clock=lambda: datetime.now(UTC),
            pause=self.signals.pause,
            new_token=lambda: secrets.token_hex(16),
            spread=random.random,
            on_event=progress,
            logs=self.project.logs,
            settle_dead=self._settle_dead,
        )
        runner = Runner(
            self.project.resolved,
            self.project.store,
            effects,
            lambda: make_executor(self.project, self.order.options.jobs, self.printer.note),
        )
        request = RunRequest(
            run_id=run_id,
            kind=self.order.kind,
            selection=planned.request.selection,
            partitions=planned.request.range_text,
            fail_fast=self.order.options.fail_fast,
            process_id=os.getpid(),
            on_conflict=self.order.options.on_conflict,
            left=left,
        )
        self.signals.runner = runner
        try:
            summary = runner.run(planned.plan, planned.facts, request)
        finally:
            self.signals.runner = None
            progress.close()
        if self.printer.output is not Output.JSONL:  # there the events were the answer
            self._report(planned, summary, progress)
        return self._code(planned, _exit_code(summary))

    def _report(self, planned: Planned, summary: RunSummary, progress: RunProgress) -> None:
        locations = {asset: self.project.location_of(asset) for asset in progress.tallies}
        spans = span_records(planned.request.partitions)
        self.printer.report(
            run_report(self.order.command, summary, progress.tallies, locations, spans=spans)
        )


def _exit_code(summary: RunSummary) -> int:
    match summary.status:
        case RunStatus.CANCELLED:
            return EXIT_INTERRUPTED
        case RunStatus.SUCCEEDED:
            return EXIT_FAILED if summary.failed_checks else EXIT_DONE
        case _:
            # Rows that break the asset's own definition are the author's mistake, like any other definition error.
            broken = {failure.code for failure in summary.failures}
            return EXIT_USAGE if broken == {DataError.code} else EXIT_FAILED


class _Signals:
    """What a signal does at this moment: without a runner it interrupts, with one it stops the run."""

    def __init__(self) -> None:
        self.runner: Runner | None = None
        self._asked = False
        self._woken = threading.Event()

    def pause(self, seconds: float) -> None:
        """Wait, but not past a signal: `time.sleep` would go on after the handler returned."""
        self._woken.wait(seconds)

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """The signal handler. It writes past all buffers, because it may have interrupted a write to them."""
        if self._asked:
            os.write(2, b"\nended; the next run recovers\n")
            os._exit(EXIT_INTERRUPTED)
        self._asked = True
        self._woken.set()
        if self.runner is None:
            raise KeyboardInterrupt
        os.write(
            2,
            b"\nstopping: running commits are finished, the rest is cancelled; once more ends at once\n",
        )
        self.runner.stop()


@contextmanager
def _signals() -> Iterator[_Signals]:
    signals = _Signals()
    before = {
        number: signal.signal(number, signals.handle) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
