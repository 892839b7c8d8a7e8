"""What `partita state` says."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.render.report import Report
from cli.render.text import Span, Style, Table, counted, join_some, line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from assets_core.state.store import StateProblem
    from cli.render.text import Block, Line

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Restart:
    """An asset that begins anew: where its rows are, its partition space, what is recorded by space, and which assets read it."""

    asset: str
    location: str
    space: str
    recorded: Mapping[str, int]
    readers: Sequence[str]
    is_dry: bool


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something that nothing refers to: `kind` is stage, scratch or log."""

    kind: str
    path: str
    bytes: int


def verified_report(
    problems: Sequence[StateProblem], *, state_only: bool, deep: bool = False
) -> Report:
    """The report of `partita state verify`."""
    records = [
        {"kind": one.kind.value, "asset": one.asset, "message": one.message, "hint": one.hint}
        for one in problems
    ]
    rows = tuple(
        (Span(str(one["kind"]), Style.RED), str(one["asset"] or ""), str(one["message"]))
        for one in records
    )
    blocks: list[Block] = [Table(("KIND", "ASSET", "PROBLEM"), rows)] if rows else []
    sound = "the state is sound" + ("" if state_only else ", and destinations have what it says")
    sound += "; every partition was read" if deep else ""
    told = counted(len(problems), "problem") if problems else sound
    hints = dict.fromkeys(one.hint for one in problems if one.hint)
    blocks += [line(Span(one, Style.DIM)) for hint in hints for one in hint.splitlines()]
    columns = ("kind", "asset", "message", "hint")
    return Report("state verify", {"problems": records}, records, [*blocks, line(told)], columns)


def collected_report(garbage: Sequence[Garbage], *, is_dry: bool) -> Report:
    """The report of `partita state gc`."""
    records = [{"kind": one.kind, "path": one.path, "bytes": one.bytes} for one in garbage]
    total = sum(one.bytes for one in garbage)
    rows = tuple((one.kind, f"{one.bytes:,}", one.path) for one in garbage)
    blocks: list[Block] = [Table(("KIND", "BYTES", "PATH"), rows)] if rows else []
    word = "would be removed" if is_dry else "removed"
    told = f"{counted(len(garbage), 'leftover')} of {counted(total, 'byte')} {word}"
    return Report(
        "state gc",
        {"removed": records, "bytes": total, "dry_run": is_dry},
        records,
        [*blocks, line(told if garbage else "nothing to remove")],
        ("kind", "path", "bytes"),
    )


def compacted_report(rows: int, chunks: int) -> Report:
    """The report of `partita state compact`."""
    record = {"rows": rows, "chunks": chunks}
    told = f"folded {counted(rows, 'log row')} into {counted(chunks, 'chunk')}"
    return Report(
        "state compact", record, [record], [line(told if rows or chunks else "nothing to fold")]
    )


def migrated_report(counts: Mapping[str, int], setting: str, old: str, new: str) -> Report:
    """The report of `partita state migrate`; `setting` is what `state` is to be from now on.

    `old` and `new` are the folders of what is kept beside a state.
    """
    record = {"state": setting, "rows": sum(counts.values()), "tables": dict(counts)}
    told = f"copied {counted(counts['run'], 'run')}, {counted(counts['step'], 'step')} and {counted(counts['materialization'], 'log row')}; all verified"
    return Report(
        "state migrate",
        record,
        [{"table": table, "rows": count} for table, count in counts.items()],
        [
            line(told),
            line("now put this into pyproject.toml, below [tool.partita]:"),
            line(Span(f"    state = {json.dumps(setting)}", Style.BOLD)),
            *(
                [
                    line(
                        f"and move what else is in {old} to {new}: logs, and rows of assets without an IO manager"
                    )
                ]
                if old != new
                else []
            ),
            line(Span("the old state was left as it is", Style.DIM)),
        ],
    )


def restart_lines(restart: Restart) -> Iterator[Line]:
    """What beginning anew means for this asset, before it is done."""
    yield line(Span("rows: ", Style.DIM), f"all of {restart.location}")
    for space, count in restart.recorded.items():
        now = "" if space == restart.space else f"; the definition now says {restart.space}"
        yield line(
            Span("state: ", Style.DIM), f"{counted(count, 'partition')} recorded as {space}{now}"
        )
    if not restart.recorded:
        yield line(Span("state: ", Style.DIM), "nothing is recorded")
    if restart.readers:
        read_by = join_some(restart.readers, _SHOWN)
        yield line(Span("read by: ", Style.DIM), f"{read_by}; stale until the asset is made again")


def restart_report(restart: Restart) -> Report:
    """The report of `partita state restart`."""
    count = sum(restart.recorded.values())
    record = {
        "asset": restart.asset,
        "location": restart.location,
        "partitions": count,
        "dry_run": restart.is_dry,
    }
    data = {**record, "recorded": dict(restart.recorded), "readers": list(restart.readers)}
    word = "would begin" if restart.is_dry else "begins"
    gone = "would be removed" if restart.is_dry else "were removed"
    blocks: list[Block] = [
        line(
            Span(restart.asset, Style.BOLD),
            f" {word} anew: its rows in {restart.location} {gone}, and {counted(count, 'partition')} on record",
        )
    ]
    if restart.is_dry:
        blocks = [*restart_lines(restart), *blocks]
    else:
        then = f"partita materialize {shlex.quote(restart.asset)}"
        blocks.append(line(Span(f"make it again: {then}", Style.DIM)))
    return Report("state restart", data, [record], blocks)
