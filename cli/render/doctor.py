"""What `partita doctor` found, as a report. The examinations themselves are `commands.doctor`'s."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, assert_never

from cli.render.report import Report
from cli.render.text import Span, Style, counted, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.render.text import Block


class Health(Enum):
    """How a finding is to be taken; only a PROBLEM makes the command fail."""

    FINE = "ok"
    NOTICE = "notice"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was examined: what, how it is, in words, and what to type about it."""

    subject: str
    health: Health
    message: str
    hint: str | None = None


def doctor_report(findings: Sequence[Finding]) -> Report:
    """The report of `partita doctor`."""
    records = [
        {
            "subject": one.subject,
            "health": one.health.value,
            "message": one.message,
            "hint": one.hint,
        }
        for one in findings
    ]
    problems = sum(one.health is Health.PROBLEM for one in findings)
    blocks: list[Block] = []
    for one in findings:
        blocks.append(
            line(
                _mark(one.health),
                Span(f" {one.subject}", Style.BOLD),
                f": {one.message.partition(chr(10))[0]}",
            )
        )
        blocks += [line(f"         {more}") for more in one.message.splitlines()[1:]]
        if one.hint:
            blocks += [
                line(Span("         hint: ", Style.CYAN), more) for more in one.hint.splitlines()
            ]
    blocks.append(
        line(Span(counted(problems, "problem"), Style.RED))
        if problems
        else line(Span("everything is in working order", Style.GREEN))
    )
    return Report(
        command="doctor",
        data={"healthy": not problems, "findings": records},
        records=records,
        blocks=blocks,
    )


def _mark(health: Health) -> Span:
    match health:
        case Health.FINE:
            return Span("ok      ", Style.GREEN)
        case Health.NOTICE:
            return Span("notice  ", Style.YELLOW)
        case Health.PROBLEM:
            return Span("PROBLEM ", Style.RED)
        case _:
            assert_never(health)
