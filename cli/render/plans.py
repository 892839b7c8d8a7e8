"""A plan as a report: what would run and why, what is blocked, what is left for later. The words are `planning.reasons`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.render.report import Report
from cli.render.text import Span, Style, Table, counted, line, seconds_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from assets_core.planning.estimate import Estimate
    from assets_core.planning.plan import AssetPlan, Plan
    from cli.render.text import Block, Content, Line
    from partitions.sets import PartitionSet

COLUMNS = ("asset", "action", "reason", "because", "cause", "count", "partitions")


def plan_report(
    command: str,
    plan: Plan,
    *,
    saved: Mapping[str, object],
    estimate: Estimate,
    selection: str,
    spans: Sequence[Mapping[str, object]],
) -> Report:
    """The report of a plan; `saved` is all that is needed to run it later, `selection` and `spans` repeat what was asked for."""
    return Report(
        command=command,
        data={
            "selection": selection,
            "range": list(spans),
            **saved,
            "estimate": estimate.as_json(),
        },
        records=to_do_records(plan),
        blocks=plan_blocks(plan),
        columns=COLUMNS,
    )


def plan_blocks(plan: Plan) -> list[Block]:
    """The plan for people: a table of everything that is not up to date, and a line that sums up."""
    rows = [row for part in plan.assets for row in _rows(part)]
    blocks: list[Block] = []
    if rows:
        blocks.append(
            Table(("ASSET", "COUNT", "WHY", "PARTITIONS"), tuple(rows), right=frozenset({1}))
        )
    blocks.append(plan_summary(plan))
    if any(row.kind.name == "UPSTREAM_MISSING" for part in plan.assets for row in part.blocked):
        blocks.append(
            line(
                Span("hint: ", Style.CYAN),
                "blocked partitions read what has no data; --upstream plans that as well",
            )
        )
    elif any(part.waiting for part in plan.assets):
        blocks.append(
            line(
                Span("hint: ", Style.CYAN),
                "--upstream plans what makes waiting partitions stale as well",
            )
        )
    return blocks


def plan_summary(plan: Plan) -> Line:
    """One line: how much would run, and how much of it only if something changes."""
    if not plan.size:
        blocked = f"; {counted(plan.blocked, 'partition')} blocked" if plan.blocked else ""
        later = _later(plan)
        if not plan.assets:  # what an earlier run left, and that is nothing
            return line("nothing to run: nothing is left of it")
        if not (plan.fresh or blocked or later):
            return line("nothing to run: there are no partitions yet")
        done = "all up to date" if not (blocked or later) else "nothing to run now"
        return line(Span(done, Style.GREEN), f" ({plan.fresh:,} fresh){blocked}{later}")
    assets = sum(1 for part in plan.assets if part.partitions)
    conditional = sum(len(part.conditional) for part in plan.assets)
    parts = [f" to run in {counted(assets, 'asset')}"]
    if conditional:
        parts.append(f", {conditional:,} of them only if what they read changes")
    parts.append(f"; {plan.fresh:,} fresh")
    if plan.blocked:
        parts.append(f", {plan.blocked:,} blocked")
    parts.append(_later(plan))
    return line(Span(counted(plan.size, "partition"), Style.BOLD), *parts)


def estimate_line(estimate: Estimate) -> Line:
    """One line: how long it would take, what that rests on, and what it leaves out; for an estimate that rests on something."""
    sure, maybe = estimate.seconds, estimate.conditional_seconds
    steps = f"judged by {counted(estimate.steps, 'past step')}"
    left_out = len(estimate.not_counted)
    parts = [f"about {seconds_text(sure)}, {steps}"] if sure else []
    if maybe:
        more = f"up to {seconds_text(maybe)}{' more' if sure else ''} if what is read changes"
        parts.append(more if sure else f"{more}, {steps}")
    if left_out:
        has, is_ = ("has", "is") if left_out == 1 else ("have", "are")
        parts.append(
            f"{counted(left_out, 'asset')} {has} no measured step yet and {is_} not counted"
        )
    return line(Span("estimate: ", Style.DIM), "; ".join(parts))


def span_records(spans: Mapping[str, PartitionSet]) -> list[dict[str, object]]:
    """What a range turned out to be in each asset's own definition."""
    return [
        {
            "asset": asset,
            "count": len(chosen),
            "partitions": chosen.describe() if chosen else "",
            "first": chosen.first() if chosen else None,
            "last": chosen.last() if chosen else None,
            "timezone": chosen.index.timezone,
        }
        for asset, chosen in spans.items()
    ]


def span_lines(spans: Mapping[str, PartitionSet]) -> list[Line]:
    """The same for people: one line per distinct span, so that 50 daily assets don't say 50 times the same."""
    told: dict[str, list[str]] = {}
    for asset, chosen in spans.items():
        zone = f" {chosen.index.timezone}" if chosen.index.timezone else ""
        told.setdefault(f"{chosen.describe()}{zone}" if chosen else "no partition", []).append(
            asset
        )
    lines = []
    for text, assets in told.items():
        who = assets[0] if len(assets) == 1 else f"{assets[0]} and {len(assets) - 1} more"
        lines.append(line(Span("range: ", Style.DIM), text, Span(f"  ({who})", Style.DIM)))
    return lines


def to_do_records(plan: Plan) -> list[dict[str, object]]:
    """One flat row per asset and reason."""
    return list(_records(plan))


def _later(plan: Plan) -> str:
    not_due = sum(len(part.not_due) for part in plan.assets)
    in_flight = sum(len(part.in_flight) for part in plan.assets)
    waiting = sum(len(part.waiting) for part in plan.assets)
    passed_over = sum(len(part.passed_over) for part in plan.assets)
    told = f", {not_due:,} not due yet" if not_due else ""
    told += f", {in_flight:,} in a run that is going on" if in_flight else ""
    told += f", {waiting:,} waiting for what they read" if waiting else ""
    return told + (f", {passed_over:,} stale but not missing" if passed_over else "")


def _rows(part: AssetPlan) -> Iterator[tuple[Content, ...]]:
    name: Content = Span(part.asset, Style.BOLD)
    for row in part.rows:
        style = Style.DIM if row.conditional else Style.PLAIN
        yield name, f"{len(row.partitions):,}", Span(row.sentence(), style), _which(row.partitions)
        name = ""
    for blocked in part.blocked:
        yield (
            name,
            f"{len(blocked.partitions):,}",
            Span(f"blocked: {blocked.sentence()}", Style.YELLOW),
            _which(blocked.partitions),
        )
        name = ""
    for _, partitions, why in part.left_out():
        yield name, f"{len(partitions):,}", Span(why, Style.DIM), _which(partitions)
        name = ""


def _which(partitions: PartitionSet) -> str:
    """The partitions without their count, which has its own column; nothing for an unpartitioned asset."""
    return partitions.describe().rpartition(" (")[0]


def _records(plan: Plan) -> Iterator[dict[str, object]]:
    for part in plan.assets:
        told: list[tuple[str, str | None, str, str | None, PartitionSet]] = [
            ("run", row.reason.word, row.sentence(), row.cause, row.partitions)
            for row in part.rows
        ]
        told += [
            ("blocked", row.kind.name.lower(), row.sentence(), row.upstream, row.partitions)
            for row in part.blocked
        ]
        told += [
            (action, None, why, None, partitions) for action, partitions, why in part.left_out()
        ]
        for *values, partitions in told:
            row_values = (part.asset, *values, len(partitions), partitions.expression())
            yield dict(zip(COLUMNS, row_values, strict=True))
