"""How fresh each asset is: counts, the last success, and a strip over its partitions. Staleness is judged in `planning.staleness`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, assert_never

from cli.render.checks import failing_line, tally_records
from cli.render.report import Report
from cli.render.text import Fitting, Span, Style, Table, counted, line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from assets_core.model.records import CheckTally
    from cli.render.text import Block, Content, Line
    from partitions.sets import PartitionSet


class Condition(Enum):
    """What one partition is like, the worst last: a cell of a strip shows the worst of the partitions it stands for."""

    FRESH = "fresh"
    NOT_DUE = "not_due"
    STALE = "stale"
    MISSING = "missing"
    FAILED = "failed"
    LOST = "lost"

    @property
    def title(self) -> str:
        """The head of its column."""
        return self.value.replace("_", " ").upper()


CONDITIONS = tuple(Condition)
STRIP_CELLS = 40


@dataclass(frozen=True, slots=True, eq=False)
class AssetStatus:
    """One asset's state. `conditions` holds a position in `CONDITIONS` per partition, in partition order.

    `partitions` describes the definition; `lost` names lost partitions as text, empty if there are none. `reads`: it reads other assets.
    `redefined` says, with what to do, that its state is of other partitions than the definition's; None if it is not. `checks` tells of how
    many partitions each check said last that they pass. `older_schema` counts partitions whose rows have other columns than the declared
    or newest ones, and `older_partitions` names them; None if that was not looked for.
    """

    asset: str
    partitions: str
    conditions: NDArray[np.uint8]
    reasons: Mapping[str, int]
    in_flight: int
    last_at: datetime | None
    last_run: str | None
    lost: str
    reads: bool
    redefined: tuple[str, str] | None
    checks: tuple[CheckTally, ...] = ()
    older_schema: int | None = None
    older_partitions: str = ""

    def count(self, condition: Condition) -> int:
        """How many partitions are like that."""
        return int((self.conditions == CONDITIONS.index(condition)).sum())


def status_report(statuses: Sequence[AssetStatus], *, unicode: bool) -> Report:
    """The report of `partita status`."""
    return Report(
        command="status",
        data={"assets": [_as_json(status) for status in statuses]},
        records=[_record(status) for status in statuses],
        blocks=_blocks(statuses, unicode=unicode),
        columns=(
            "asset",
            "partitions",
            *(c.value for c in CONDITIONS),
            "in_flight",
            "last_at",
            "last_run",
        ),
    )


def status_as_json(status: AssetStatus) -> dict[str, object]:
    """One asset's state as a JSON object."""
    return _as_json(status)


def state_blocks(status: AssetStatus, *, unicode: bool) -> list[Block]:
    """One asset's state below its definition."""
    counts = [
        Span(f"{status.count(c):,} {c.value.replace('_', ' ')}", _glyph(c, unicode=False)[1])
        for c in CONDITIONS
        if status.count(c)
    ]
    told: list[str | Span] = []
    for count in counts:
        told += [", ", count] if told else [count]
    rows: list[tuple[Content, ...]] = [
        (Span("state", Style.DIM), line(*told) if told else "no partitions yet"),
        (Span("last", Style.DIM), _last_text(status)),
    ]
    if len(status.conditions) > 1:
        rows.append((Span("strip", Style.DIM), strip(status.conditions, unicode=unicode)))
    return [line(), Table(("", ""), tuple(rows)), *_trouble_blocks(status)]


def strip(conditions: NDArray[np.uint8], *, unicode: bool, cells: int = STRIP_CELLS) -> Line:
    """The partitions from first to last in at most `cells` cells, each as bad as the worst partition in it."""
    count = len(conditions)
    size = min(cells, count)
    spans: list[Span] = []
    for cell in range(size):
        piece = conditions[cell * count // size : (cell + 1) * count // size]
        glyph, style = _glyph(CONDITIONS[int(piece.max())], unicode=unicode)
        if spans and spans[-1].style is style:
            spans[-1] = Span(spans[-1].text + glyph, style)
        else:
            spans.append(Span(glyph, style))
    return tuple(spans)


def _fitting_strip(conditions: NDArray[np.uint8], *, unicode: bool) -> Fitting:
    whole = strip(conditions, unicode=unicode)
    return Fitting(whole, lambda room: strip(conditions, unicode=unicode, cells=room))


def instant_text(instant: datetime | None) -> str:
    """An instant in UTC, to the second, with a Z; a dash for None."""
    if instant is None:
        return "-"
    from datetime import UTC  # noqa: PLC0415 - most commands show no instant

    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _blocks(statuses: Sequence[AssetStatus], *, unicode: bool) -> list[Block]:
    always = {Condition.FRESH, Condition.STALE, Condition.MISSING}
    shown = [c for c in CONDITIONS if c in always or any(status.count(c) for status in statuses)]
    rows: list[tuple[Content, ...]] = [
        (
            Span(status.asset, Style.BOLD),
            *(_figure(status.count(c), c) for c in shown),
            instant_text(status.last_at),
            _fitting_strip(status.conditions, unicode=unicode),
        )
        for status in statuses
    ]
    headers = (
        "ASSET",
        *(c.title for c in shown),
        "LAST MATERIALIZED",
        "PARTITIONS, FIRST TO LAST",
    )
    blocks: list[Block] = [Table(headers, tuple(rows), right=frozenset(range(1, len(shown) + 1)))]
    blocks.append(_legend(statuses, unicode=unicode))
    for status in statuses:
        blocks += _trouble_blocks(status)
    return blocks


def _trouble_blocks(status: AssetStatus) -> list[Block]:
    """What a count can't say: partitions that were redefined under their state, data that is gone, rows that don't pass."""
    failing = list(failing_line(status.asset, status.checks))
    if status.redefined is not None:
        message, hint = status.redefined
        return [
            line(Span("redefined: ", Style.RED), message),
            line(Span("hint: ", Style.CYAN), hint),
        ]
    if not status.lost:
        return [*failing, *_schema_blocks(status)]
    return [
        *failing,
        *_schema_blocks(status),
        line(
            Span("data gone: ", Style.RED),
            Span(status.asset, Style.BOLD),
            f" was materialized, but its destination no longer has {status.lost}",
        ),
        line(
            Span("hint: ", Style.CYAN),
            f"{again_command(status.asset, reads=status.reads)} makes it again",
        ),
    ]


def _schema_blocks(status: AssetStatus) -> list[Block]:
    if not status.older_schema:
        return []
    return [schema_line(status.asset, status.older_schema, status.older_partitions)]


def schema_line(asset: str, count: int, partitions: str) -> Line:
    """How many partitions have rows of older columns: readers get them with nulls or widened, so nothing is wrong with that."""
    return line(
        Span("schema: ", Style.YELLOW),
        f"{counted(count, 'partition')} of ",
        Span(asset, Style.BOLD),
        f" {'has' if count == 1 else 'have'} an older schema{f': {partitions}' if partitions else ''}",
    )


def again_command(asset: str, *, reads: bool) -> str:
    """What to type to have lost rows made again: what the asset reads may be lost too, and then comes first."""
    command = f"partita materialize {shlex.quote(asset)}"
    return f"{command} --upstream" if reads else command


def _last_text(status: AssetStatus) -> str:
    if status.last_at is None:
        return "never materialized"
    return f"{instant_text(status.last_at)} by run {status.last_run}"


def _legend(statuses: Sequence[AssetStatus], *, unicode: bool) -> Line:
    parts: list[str | Span] = []
    for condition in CONDITIONS:
        total = sum(status.count(condition) for status in statuses)
        if total:
            glyph, style = _glyph(condition, unicode=unicode)
            parts += [
                "  " if parts else "",
                Span(glyph, style),
                f" {total:,} {condition.value.replace('_', ' ')}",
            ]
    in_flight = sum(status.in_flight for status in statuses)
    if in_flight:
        parts.append(f"  ({counted(in_flight, 'partition')} in a run that is going on)")
    return line(*parts)


def _figure(count: int, condition: Condition) -> Content:
    if not count:
        return Span("-", Style.DIM)
    return Span(f"{count:,}", _glyph(condition, unicode=False)[1])


def _glyph(condition: Condition, *, unicode: bool) -> tuple[str, Style]:
    """Distinct shapes as well as colours: not everybody sees colours, and a log has none."""
    match condition:
        case Condition.FRESH:
            return ("█" if unicode else "#"), Style.GREEN
        case Condition.NOT_DUE:
            return ("░" if unicode else "-"), Style.DIM
        case Condition.STALE:
            return ("▄" if unicode else "~"), Style.YELLOW
        case Condition.MISSING:
            return ("▁" if unicode else "."), Style.DIM
        case Condition.FAILED:
            return ("✗" if unicode else "x"), Style.RED
        case Condition.LOST:
            return "?", Style.RED
        case _:
            assert_never(condition)


def _as_json(status: AssetStatus) -> dict[str, object]:
    return {
        **_record(status),
        "reasons": dict(status.reasons),
        "lost_partitions": status.lost or None,
        "checks": tally_records(status.checks),
        "older_schema": status.older_schema,
        "older_schema_partitions": status.older_partitions or None,
    }


def _record(status: AssetStatus) -> dict[str, object]:
    return {
        "asset": status.asset,
        "partitions": len(status.conditions),
        **{condition.value: status.count(condition) for condition in CONDITIONS},
        "in_flight": status.in_flight,
        "last_at": None if status.last_at is None else instant_text(status.last_at),
        "last_run": status.last_run,
    }


def accepted_report(accepted: Mapping[str, PartitionSet], *, dry_run: bool) -> Report:
    """The report of `partita mark-current`: what was accepted, or would be."""
    records = [
        {"asset": asset, "count": len(chosen), "partitions": chosen.describe()}
        for asset, chosen in accepted.items()
    ]
    rows = tuple(
        (Span(str(one["asset"]), Style.BOLD), str(one["count"]), str(one["partitions"]))
        for one in records
    )
    blocks: list[Block] = [Table(("ASSET", "COUNT", "PARTITIONS"), rows)] if rows else []
    total = sum(len(chosen) for chosen in accepted.values())
    did = "would be accepted" if dry_run else "accepted as current"
    told = (
        f"{counted(total, 'partition')} {did}"
        if total
        else "nothing here is stale because of a change"
    )
    data = {"accepted": records, "dry_run": dry_run}
    columns = ("asset", "count", "partitions")
    return Report("mark-current", data, records, [*blocks, line(told)], columns=columns)
