"""A run while it goes, and how it ended: a bar on a terminal, one line per event elsewhere, one record per event as JSON lines.

What happens in a run is told by `execution.events`; nothing here decides anything about it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cli.render.checks import check_record, failed_lines
from cli.render.plans import COLUMNS as PLAN_COLUMNS
from cli.render.plans import plan_blocks, to_do_records
from cli.render.printer import is_interactive
from cli.render.report import Output, Report
from cli.render.statuses import instant_text
from cli.render.text import (
    Span,
    Style,
    Table,
    Verbatim,
    clean,
    counted,
    join_some,
    line,
    seconds_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from assets_core.execution.events import RunEvent, RunSummary, StepFailed
    from assets_core.planning.plan import Plan
    from cli.render.printer import Printer
    from cli.render.text import Block, Content, Line

MOST_KEYS = 5
MOST_FAILURES = 10


@dataclass(slots=True)
class Tally:
    """What a run did to one asset so far: partitions by status, and published rows."""

    counts: Counter[str] = field(default_factory=Counter)
    rows: int = 0


class RunProgress:
    """Shows events as they come; call it with each of them, and `close` it before anything else is printed.

    `tallies` sums up per asset, for the report at the end.
    """

    def __init__(self, printer: Printer, total: int) -> None:
        self._printer = printer
        self.tallies: dict[str, Tally] = {}
        self._bar = _Bar(printer, total) if is_interactive(printer.err) else None

    def __call__(self, event: RunEvent) -> None:
        """Take in one event."""
        from assets_core.execution import events  # noqa: PLC0415 - loaded by whoever runs something

        if self._printer.output is Output.JSONL:
            self._printer.record(event_record(event))
        match event:
            case events.StepSucceeded(asset=asset, keys=keys, rows=rows):
                self._count(asset, keys, "succeeded", rows or 0)
            case events.StepFailed(asset=asset, keys=keys, retry_at=None):
                self._count(asset, keys, "failed", 0)
            case events.StepsSettled(asset=asset, keys=keys, status=status):
                self._count(asset, keys, status.value, 0)
            case _:
                pass
        if self._bar is not None:
            self._bar.show(event, self._told(event))
        elif (told := self._told(event)) is not None:
            self._printer.note(told)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _count(self, asset: str, keys: tuple[str, ...], status: str, rows: int) -> None:
        tally = self.tallies.setdefault(asset, Tally())
        # An unpartitioned asset has one partition and no keys.
        tally.counts[status] += max(1, len(keys))
        tally.rows += rows

    def _told(self, event: RunEvent) -> Line | None:
        """One line for an event that people want to see, or None."""
        from assets_core.execution import events  # noqa: PLC0415 - loaded by whoever runs something

        match event:
            case events.StepSucceeded(
                asset=asset, keys=keys, rows=rows, seconds=seconds, checks=checks, dropped=dropped
            ):
                told = "nothing to store" if rows is None else counted(rows, "row")
                if dropped:
                    told += f" ({dropped:,} outside of the partition dropped)"
                bad = [check.check for check in checks if not check.passed]
                warned = f"; check failed: {', '.join(bad)}" if bad else ""
                return line(
                    Span("done       ", Style.GREEN),
                    step_name(asset, keys),
                    Span(f"  {told}, {seconds_text(seconds)}", Style.DIM),
                    Span(warned, Style.YELLOW),
                )
            case events.StepFailed(
                asset=asset, keys=keys, attempt=attempt, message=message, retry_at=retry_at
            ):
                if retry_at is not None:
                    again = (
                        f"attempt {attempt} failed, next at {instant_text(retry_at)}: {message}"
                    )
                    return line(
                        Span("retry      ", Style.YELLOW), step_name(asset, keys), f"  {again}"
                    )
                return line(Span("failed     ", Style.RED), step_name(asset, keys), f"  {message}")
            case events.StepsSettled(asset=asset, keys=keys, status=status, message=message):
                word = status.value.replace("_", " ")
                return line(
                    Span(f"{word:<11}", Style.DIM),
                    step_name(asset, keys),
                    Span(f"  {message}", Style.DIM),
                )
            case events.StepsWait(asset=asset, keys=keys, run_id=run_id, pool=pool):
                why = "works on it" if pool is None else f"has the slots of pool {pool}"
                return line(
                    Span("waits      ", Style.YELLOW),
                    step_name(asset, keys),
                    Span(f"  run {run_id} {why}", Style.DIM),
                )
            case _:
                return None


class _Bar:
    """A bar over all partitions of the plan; failures are written above it."""

    def __init__(self, printer: Printer, total: int) -> None:
        from rich import progress as bars  # noqa: PLC0415
        from rich.console import Console  # noqa: PLC0415 - only on a terminal

        self._printer = printer
        self._progress = bars.Progress(
            bars.TextColumn("{task.fields[asset]}", markup=False),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeRemainingColumn(),
            console=Console(file=printer.err, highlight=False, markup=False),
            transient=True,
        )
        self._progress.start()
        self._task = self._progress.add_task("", total=total, asset="")

    def show(self, event: RunEvent, told: Line | None) -> None:
        from assets_core.execution import events  # noqa: PLC0415 - loaded by whoever runs something

        match event:
            case events.StepStarted(asset=asset):
                self._progress.update(self._task, asset=clean(asset))
            case events.StepSucceeded(keys=keys) | events.StepsSettled(keys=keys):
                self._progress.advance(self._task, max(1, len(keys)))
            case events.StepFailed(keys=keys, retry_at=retry_at):
                if retry_at is None:
                    self._progress.advance(self._task, max(1, len(keys)))
                self._print(told)
            case events.StepsWait():
                self._print(told)
            case _:
                pass

    def _print(self, told: Line | None) -> None:
        """Write a line above the bar."""
        if told is not None:
            self._progress.console.print(clean("".join(span.text for span in told)))

    def close(self) -> None:
        self._progress.stop()


def step_name(asset: str, keys: Sequence[str]) -> str:
    """A step for people: `orders@2025-01-31`, or with how many more.

    >>> step_name("orders", ("2025-01-01", "2025-01-02")), step_name("regions", ())
    ('orders@2025-01-01 and 1 more', 'regions')
    """
    if not keys or keys == ("",):
        return asset
    more = f" and {len(keys) - 1:,} more" if len(keys) > 1 else ""
    return f"{asset}@{keys[0]}{more}"


def event_record(event: RunEvent) -> dict[str, object]:
    """An event as one JSON line."""
    from assets_core.execution import events  # noqa: PLC0415 - loaded by whoever runs something

    match event:
        case events.RunStarted(run_id=run_id, plan=plan):
            return {"event": "run_started", "run": run_id, "partitions": plan.size}
        case events.StepStarted(asset=asset, keys=keys, attempt=attempt):
            return {
                "event": "step_started",
                "asset": asset,
                "partitions": keys,
                "attempt": attempt,
            }
        case events.StepSucceeded(
            asset=asset, keys=keys, rows=rows, seconds=seconds, checks=checks, dropped=dropped
        ):
            return {
                "event": "step_succeeded",
                "asset": asset,
                "partitions": keys,
                "rows": rows,
                "dropped": dropped,
                "seconds": round(seconds, 6),
                "checks": [check_record(check) for check in checks],
            }
        case events.StepFailed():
            return {"event": "step_failed", **_failure_record(event)}
        case events.StepsSettled(asset=asset, keys=keys, status=status, message=message):
            return {
                "event": "steps_settled",
                "asset": asset,
                "partitions": keys,
                "status": status.value,
                "message": message,
            }
        case events.StepsWait(asset=asset, keys=keys, run_id=run_id, pool=pool):
            return {
                "event": "steps_wait",
                "asset": asset,
                "partitions": keys,
                "waits_for": run_id,
                "pool": pool,
            }
        case events.RunFinished(summary=summary):
            return {"event": "run_finished", **_summary_data(summary)}


def run_report(
    command: str,
    summary: RunSummary,
    tallies: Mapping[str, Tally],
    locations: Mapping[str, str],
    *,
    spans: Sequence[Mapping[str, object]],
) -> Report:
    """How a run ended. `locations` says where each asset's rows are."""
    assets = [
        {
            "asset": asset,
            **dict(sorted(tally.counts.items())),
            "rows": tally.rows,
            "location": locations[asset],
        }
        for asset, tally in tallies.items()
    ]
    return Report(
        command=command,
        data={**_summary_data(summary), "range": list(spans), "assets": assets},
        records=asset_records(tallies, locations),
        blocks=[*_failure_blocks(summary), *_outcome_blocks(summary, tallies, locations)],
    )


def nothing_report(command: str, plan: Plan, *, spans: Sequence[Mapping[str, object]]) -> Report:
    """The answer of a command that found nothing to run."""
    return Report(
        command=command,
        data={
            "run": None,
            "status": "nothing_to_do",
            "range": list(spans),
            "plan": plan.as_json(),
        },
        records=to_do_records(plan),
        blocks=plan_blocks(plan),
        columns=PLAN_COLUMNS,
    )


def asset_records(
    tallies: Mapping[str, Tally], locations: Mapping[str, str]
) -> list[dict[str, object]]:
    """One flat row per asset, for CSV."""
    names = ("succeeded", "failed", "skipped", "cut_off", "cancelled")
    return [
        {
            "asset": asset,
            **{name: tally.counts[name] for name in names},
            "rows": tally.rows,
            "location": locations[asset],
        }
        for asset, tally in tallies.items()
    ]


def _outcome_blocks(
    summary: RunSummary, tallies: Mapping[str, Tally], locations: Mapping[str, str]
) -> list[Block]:
    rows: list[tuple[Content, ...]] = []
    for asset, tally in tallies.items():
        counts = ", ".join(
            f"{count:,} {name.replace('_', ' ')}" for name, count in tally.counts.items()
        )
        done = tally.counts["succeeded"]
        where = Span(locations[asset] if done else "", Style.DIM)
        rows.append((Span(asset, Style.BOLD), counts, f"{tally.rows:,}" if done else "", where))
    blocks: list[Block] = []
    if rows:
        blocks.append(
            Table(("ASSET", "PARTITIONS", "ROWS", "DATA"), tuple(rows), right=frozenset({2}))
        )
    blocks += failed_lines(summary.failed_checks)
    style = Style.GREEN if summary.status.value == "succeeded" else Style.RED
    total = ", ".join(
        f"{count:,} {status.value.replace('_', ' ')}" for status, count in summary.counts.items()
    )
    blocks.append(
        line(
            f"run {summary.run_id} ",
            Span(summary.status.value, style),
            f" in {seconds_text(summary.seconds)}: {total or 'nothing to do'}; {counted(summary.rows, 'row')} written",
        )
    )
    if summary.failures:
        blocks.append(
            line(
                Span("hint: ", Style.CYAN),
                f"partita runs logs {summary.run_id} shows what the failed steps printed",
            )
        )
    return blocks


def _failure_blocks(summary: RunSummary) -> list[Block]:
    """Each distinct failure once, with the partitions it hit: 365 days that fail in one line are one failure."""
    groups: dict[tuple[str, str], list[StepFailed]] = {}
    for failure in summary.failures:
        frames = failure.traceback.rstrip().rpartition("\n")[0] or failure.message
        groups.setdefault((failure.asset, frames), []).append(failure)
    blocks: list[Block] = []
    for (asset, _), failures in list(groups.items())[:MOST_FAILURES]:
        keys = [key for failure in failures for key in failure.keys]
        where = (
            f" in {counted(len(keys), 'partition')}: {join_some(keys, MOST_KEYS)}" if keys else ""
        )
        blocks.append(line(Span("failed: ", Style.RED), Span(asset, Style.BOLD), where))
        first = failures[0]
        blocks.append(Verbatim(_indented(first.traceback or first.message)))
        if first.traceback and first.message not in first.traceback:
            blocks.append(line(f"  {first.message}"))
    if len(groups) > MOST_FAILURES:
        blocks.append(line(f"… and {counted(len(groups) - MOST_FAILURES, 'other failure')}"))
    return blocks


def _summary_data(summary: RunSummary) -> dict[str, object]:
    return {
        "run": summary.run_id,
        "status": summary.status.value,
        "counts": {status.value: count for status, count in summary.counts.items()},
        "rows": summary.rows,
        "seconds": round(summary.seconds, 3),
        "failures": [_failure_record(failure) for failure in summary.failures],
        "failed_checks": [check_record(check) for check in summary.failed_checks],
    }


def _failure_record(failure: StepFailed) -> dict[str, object]:
    return {
        "asset": failure.asset,
        "partitions": failure.keys,
        "attempt": failure.attempt,
        "message": failure.message,
        "traceback": failure.traceback,
        "retry_at": None if failure.retry_at is None else instant_text(failure.retry_at),
    }


def _indented(text: str) -> str:
    return "\n".join(f"  {one}" for one in text.splitlines())
