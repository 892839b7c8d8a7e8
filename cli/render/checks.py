"""What checks said: the report of `partita check`, and what `status` and `show` tell of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.render.report import Report
from cli.render.text import Span, Style, Table, counted, line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from assets_core.model.checks import CheckOutcome
    from assets_core.model.records import CheckTally
    from cli.render.text import Block, Content

_TOLD = 10
"""How many failures are told one by one."""

COLUMNS = ("asset", "check", "blocking", "passed", "failed")


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What was said about the published rows of some partitions of an asset."""

    asset: str
    partitions: int
    outcomes: tuple[CheckOutcome, ...]

    @property
    def is_broken(self) -> bool:
        """Whether something failed that would have kept the rows from being published."""
        return any(one.blocking and not one.passed for one in self.outcomes)


def check_record(check: CheckOutcome) -> dict[str, object]:
    """One outcome as a JSON object."""
    return {
        "asset": check.asset,
        "check": check.check,
        "blocking": check.blocking,
        "passed": check.passed,
        "message": check.message,
        "metadata": dict(check.metadata),
    }


def checked_report(found: Sequence[Rechecked]) -> Report:
    """The report of `partita check`."""
    records = [record for one in found for record in _tallies(one)]
    failed = [check for one in found for check in one.outcomes if not check.passed]
    data = {
        "assets": [
            {"asset": one.asset, "partitions": one.partitions, "checks": list(_tallies(one))}
            for one in found
        ],
        "failed": [check_record(check) for check in failed],
    }
    rows: list[tuple[Content, ...]] = [
        (
            Span(str(one["asset"]), Style.BOLD),
            str(one["check"]),
            f"{one['passed']:,}",
            Span(f"{one['failed']:,}", Style.RED if one["failed"] else Style.DIM),
        )
        for one in records
    ]
    blocks: list[Block] = []
    if rows:
        headers = ("ASSET", "CHECK", "PASSED", "FAILED")
        blocks.append(Table(headers, tuple(rows), right=frozenset({2, 3})))
    blocks += failed_lines(failed)
    total = sum(one.partitions for one in found)
    told = f"{counted(total, 'partition')} of {counted(len(found), 'asset')} looked at"
    blocks.append(line(told if found else "no asset here has a contract or a check"))
    return Report("check", data, records, blocks, columns=COLUMNS)


def failed_lines(checks: Iterable[CheckOutcome]) -> Iterator[Block]:
    """Failed checks, the first few one by one."""
    listed = list(checks)
    for check in listed[:_TOLD]:
        found = f": {check.message}" if check.message else ""
        yield line(Span("check failed: ", Style.RED), f"{check.asset}:{check.check}{found}")
    if len(listed) > _TOLD:
        yield line(Span(f"and {len(listed) - _TOLD:,} more; all of them with --json", Style.DIM))


def failing_line(asset: str, tallies: Sequence[CheckTally]) -> Iterator[Block]:
    """What `status` says of an asset whose rows don't all pass."""
    failing = [one for one in tallies if one.failed]
    if failing:
        told = ", ".join(f"{one.check} of {counted(one.failed, 'partition')}" for one in failing)
        yield line(Span("checks failed: ", Style.RED), Span(asset, Style.BOLD), f": {told}")


def tally_records(tallies: Sequence[CheckTally]) -> Mapping[str, object]:
    """How many partitions pass each check, as a JSON object."""
    return {one.check: {"passed": one.passed, "failed": one.failed} for one in tallies}


def _tallies(found: Rechecked) -> list[dict[str, object]]:
    by_name: dict[str, list[CheckOutcome]] = {}
    for check in found.outcomes:
        by_name.setdefault(check.check, []).append(check)
    return [
        {
            "asset": found.asset,
            "check": name,
            "blocking": any(one.blocking for one in said),
            "passed": sum(one.passed for one in said),
            "failed": sum(not one.passed for one in said),
        }
        for name, said in by_name.items()
    ]
