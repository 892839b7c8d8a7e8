"""Runs as they were recorded: the list, one run with its steps, and its log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.render.checks import check_record, failed_lines
from cli.render.report import Report
from cli.render.statuses import instant_text
from cli.render.text import Span, Style, Table, Verbatim, counted, join_some, line, seconds_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from assets_core.execution.recovery import Unsettled
    from assets_core.execution.run_request import LeftToRun
    from assets_core.model.checks import CheckOutcome
    from assets_core.model.records import AttemptRecord, RunRecord
    from assets_core.state.locks import LockHolder
    from cli.render.text import Block, Content, Line

RUN_COLUMNS = (
    "run",
    "kind",
    "status",
    "started_at",
    "ended_at",
    "seconds",
    "selection",
    "partitions",
)
STEP_COLUMNS = ("asset", "status", "steps", "count", "partitions", "rows", "message", "traceback")
LOG_COLUMNS = ("at", "step", "message")
MOST_TERMS = 4
MOST_NAMES = 3

_STYLES = {
    "succeeded": Style.GREEN,
    "failed": Style.RED,
    "crashed": Style.RED,
    "cancelled": Style.YELLOW,
    "running": Style.CYAN,
    "interrupted": Style.RED,
}


@dataclass(frozen=True, slots=True)
class StepGroup:
    """Steps of one asset that ended the same way and for the same reason; `partitions` is a range expression, complete."""

    asset: str
    status: str
    steps: int
    count: int
    partitions: str
    rows: int
    message: str
    traceback: str


def runs_report(runs: Sequence[RunRecord], *, alive: Collection[str]) -> Report:
    """The report of `partita runs list`; `alive` are ids of runs that have a living process."""
    rows: tuple[tuple[Content, ...], ...] = tuple(
        (
            Span(run.id, Style.BOLD),
            run.kind.value,
            _status_span(run, alive=run.id in alive),
            instant_text(run.started_at),
            _took(run),
            run.selection or "*",
            run.partitions,
        )
        for run in runs
    )
    records = [run_record(run, alive=run.id in alive) for run in runs]
    headers = ("RUN", "KIND", "STATUS", "STARTED", "TOOK", "SELECTION", "PARTITIONS")
    return Report(
        command="runs list",
        data={"runs": records},
        records=records,
        blocks=[Table(headers, rows)] if runs else [line("no runs yet")],
        columns=RUN_COLUMNS,
    )


def run_details(
    run: RunRecord,
    groups: Sequence[StepGroup],
    attempts: Sequence[tuple[str, AttemptRecord]],
    checks: Sequence[CheckOutcome],
    *,
    alive: bool,
) -> Report:
    """The report of `partita runs show`. `attempts` are failed ones that were tried again, with the name of their step."""
    record = run_record(run, alive=alive)
    records = [_group_record(group) for group in groups]
    return Report(
        command="runs show",
        data={
            **record,
            "steps": records,
            "retried": [_attempt_record(name, attempt) for name, attempt in attempts],
            "checks": [check_record(check) for check in checks],
        },
        records=records,
        blocks=_details_blocks(run, groups, attempts, checks, alive=alive),
        columns=STEP_COLUMNS,
    )


def log_report(run_id: str, lines: Sequence[Mapping[str, str]]) -> Report:
    """The report of `partita runs logs`."""
    text = "\n".join(f"{one['at']} {one['step']} {one['message']}" for one in lines)
    return Report(
        command="runs logs",
        data={"run": run_id, "lines": list(lines)},
        records=list(lines),
        blocks=[Verbatim(text)] if lines else [line("nothing was logged")],
        columns=LOG_COLUMNS,
    )


def run_record(run: RunRecord, *, alive: bool) -> dict[str, object]:
    """One run as a flat record."""
    seconds = None if run.ended_at is None else (run.ended_at - run.started_at).total_seconds()
    ended = None if run.ended_at is None else instant_text(run.ended_at)
    status = _status_word(run, alive=alive)
    values = (run.id, run.kind.value, status, instant_text(run.started_at), ended, seconds)
    return dict(zip(RUN_COLUMNS, (*values, run.selection, run.partitions), strict=True))


def _details_blocks(
    run: RunRecord,
    groups: Sequence[StepGroup],
    attempts: Sequence[tuple[str, AttemptRecord]],
    checks: Sequence[CheckOutcome],
    *,
    alive: bool,
) -> list[Block]:
    asked = " ".join(part for part in (run.selection, run.partitions) if part) or "everything"
    blocks: list[Block] = [
        line("run ", Span(run.id, Style.BOLD), f"  {run.kind.value} of {asked}"),
        line(
            _status_span(run, alive=alive),
            f", started {instant_text(run.started_at)}, took {_took(run)}",
        ),
    ]
    if groups:
        rows: tuple[tuple[Content, ...], ...] = tuple(
            (
                Span(group.asset, Style.BOLD),
                Span(group.status.replace("_", " "), _STYLES.get(group.status, Style.PLAIN)),
                f"{group.count:,}",
                f"{group.rows:,}" if group.status == "succeeded" else "",
                _shortened(group.partitions),
                group.message.partition("\n")[0],
            )
            for group in groups
        )
        headers = ("ASSET", "STATUS", "COUNT", "ROWS", "PARTITIONS", "WHY")
        blocks += [line(), Table(headers, rows, right=frozenset({2, 3}))]
    for name, attempt in attempts:
        blocks.append(
            line(
                Span("retried: ", Style.YELLOW),
                f"{name} attempt {attempt.attempt}: {attempt.message}",
            )
        )
    blocks += _check_blocks(checks)
    blocks += [Verbatim(group.traceback) for group in groups if group.traceback]
    if _status_word(run, alive=alive) == "interrupted":
        blocks.append(
            line(Span("hint: ", Style.CYAN), "the next partita materialize settles it first")
        )
    return blocks


def _shortened(expression: str) -> str:
    """The first few terms of a range expression."""
    return join_some(expression.split(", "), MOST_TERMS)


def _check_blocks(checks: Sequence[CheckOutcome]) -> Iterator[Block]:
    """Failed checks, the first few one by one, passed ones as a number: 365 good days are no news."""
    yield from failed_lines(check for check in checks if not check.passed)
    passed = sum(check.passed for check in checks)
    if passed:
        yield line(Span(f"{counted(passed, 'check')} passed", Style.GREEN))


def _status_word(run: RunRecord, *, alive: bool) -> str:
    return "interrupted" if run.status.value == "running" and not alive else run.status.value


def _status_span(run: RunRecord, *, alive: bool) -> Span:
    word = _status_word(run, alive=alive)
    return Span(word, _STYLES[word])


def _took(run: RunRecord) -> str:
    return (
        "-"
        if run.ended_at is None
        else seconds_text((run.ended_at - run.started_at).total_seconds())
    )


def _group_record(group: StepGroup) -> dict[str, object]:
    values = (
        group.asset,
        group.status,
        group.steps,
        group.count,
        group.partitions,
        group.rows,
        group.message,
        group.traceback,
    )
    return dict(zip(STEP_COLUMNS, values, strict=True))


def _attempt_record(name: str, attempt: AttemptRecord) -> dict[str, object]:
    return {
        "step": name,
        "attempt": attempt.attempt,
        "started_at": instant_text(attempt.started_at),
        "ended_at": instant_text(attempt.ended_at),
        "message": attempt.message,
    }


def recovered_line(run_id: str) -> Line:
    """What is said of a run that a crash cut off, once it is settled."""
    told = f"run {run_id}, which was cut off; what it had published is kept"
    return line(Span("recovered: ", Style.YELLOW), told)


def unsettled_line(unsettled: Unsettled, names: Sequence[str]) -> Line:
    """What is said of a run that a crash cut off, if a destination does not say what it had published; `names` is what it worked on."""
    told = (
        f"run {unsettled.run.id}, which was cut off: {unsettled.why.message};"
        f" {join_some(names, MOST_NAMES)} can't be run until that is known"
    )
    return line(Span("not settled: ", Style.YELLOW), told)


def read_only_line(state: Path | str) -> Line:
    """What is said where the state may be looked at, and not written."""
    told = f"you may not write {state}; this is what it says, and nothing is settled or recorded from here"
    return line(Span("read-only: ", Style.YELLOW), told)


def unlooked_line(why: str) -> Line:
    """What is said of a destination that does not tell what it has."""
    told = f"{why}; whether rows there were lost is not known"
    return line(Span("not looked at: ", Style.YELLOW), told)


def unknown_line(assets: Sequence[str]) -> Line:
    """Why a run that has nothing left to do has not succeeded: of these assets nobody knows whether their rows are there."""
    told = f"{join_some(assets, MOST_NAMES)}; up to date as far as the state knows"
    return line(Span("not known to be there: ", Style.YELLOW), told)


def cancelled_report(run: RunRecord) -> Report:
    """The report of `partita runs cancel`."""
    record = run_record(run, alive=False)
    told = line(f"run {run.id} ended: it ", Span(run.status.value, _STYLES[run.status.value]))
    return Report(command="runs cancel", data=record, records=[record], blocks=[told])


def detached_report(run_id: str, process: int) -> Report:
    """The report of a run that was started in the background."""
    record = {"run": run_id, "process": process}
    return Report(
        command="backfill",
        data=record,
        records=[record],
        blocks=[
            line(f"run {run_id} is going on, in process {process}"),
            line(Span("follow it with: ", Style.DIM), f"partita runs watch {run_id}"),
        ],
    )


def waiting_line(holder: LockHolder | None) -> str:
    """What is said while somebody else works on the project, where only one can, or only runs can."""
    who = "another process" if holder is None else f"{holder.run_id} ({holder.place})"
    return f"waiting for {who}, which works on this project, to finish"


def left_lines(left: Sequence[LeftToRun]) -> Iterator[str]:
    """What is said if all that is stale is left to other runs; what dead ones hold was told before."""
    for run_id in dict.fromkeys(one.run_id for one in left if not one.is_dead):
        count = sum(len(one.partitions) for one in left if one.run_id == run_id)
        yield f"skipped: {counted(count, 'partition')} left to run {run_id}, which is going on"
