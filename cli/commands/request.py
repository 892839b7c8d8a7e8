"""What the user asked a plan to be about: assets and, in each asset's own definition, partitions.

Positional words are assets or ranges; which of them decides by trying. A word that can be read as a selection of this project's assets
is one. Otherwise it is a range if the selected assets can read it as one, or if it looks like nothing else (`2025-01`, `latest:7`).
`--partitions` says range without guessing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from cli.commands.options import TOKEN, HintedUsageError, complete_assets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from assets_core.authoring.graph import AssetGraph
    from assets_core.model.errors import PartitaError
    from assets_core.planning.planner import Mode, PlanRequest
    from assets_core.planning.staleness import Facts
    from partitions.sets import PartitionSet

_SURELY_A_RANGE: Final = re.compile(
    r"""^[-"\d]|\.\.\.|\.\.<|^(latest|first|last):|^(today|yesterday|tomorrow)$|\|"""
)
_OPERATORS: Final = frozenset({"and", "or", "not"})


@dataclass(frozen=True, slots=True)
class Words:
    """What was typed: words in order, and the options that mean a range. `needs_both`: neither assets nor range may be left out."""

    words: tuple[str, ...]
    partitions: str | None = None
    from_: str | None = None
    to: str | None = None
    needs_both: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Selected assets in topological order; of those that a range narrows, the partitions.

    `selection` and `range_text` are what was typed, empty for everything. `unread` maps selected assets that the range means nothing
    to, to the reason; they take no part.
    """

    assets: tuple[str, ...]
    partitions: Mapping[str, PartitionSet]
    selection: str
    range_text: str
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_explicit(self) -> bool:
        """Whether the user named assets or partitions at all."""
        return bool(self.selection or self.range_text)

    def plan_request(self, mode: Mode, *, upstream: bool, downstream: bool) -> PlanRequest:
        """The request for the planner."""
        from assets_core.planning.planner import PlanRequest  # noqa: PLC0415 - loads numpy

        return PlanRequest(self.assets, self.partitions, mode, upstream, downstream)


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The words and options of all commands that plan something."""
    decorators = [
        click.argument(
            "words",
            metavar="[SELECT]... [RANGE]",
            nargs=-1,
            type=TOKEN,
            shell_complete=complete_assets,
        ),
        click.option("--partitions", metavar="RANGE", type=TOKEN, help="Only these partitions."),
        click.option("--from", "from_", metavar="KEY", type=TOKEN, help="From this partition on."),
        click.option("--to", metavar="KEY", type=TOKEN, help="Up to and with this partition."),
        click.option("--force", is_flag=True, help="All of it, fresh or not."),
        click.option(
            "--missing", is_flag=True, help="Only what was never materialized, or is lost."
        ),
        click.option("--upstream", is_flag=True, help="Also what the selected partitions read."),
        click.option(
            "--downstream", is_flag=True, help="Also what reads the selected partitions."
        ),
    ]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def mode_of(*, force: bool, missing: bool) -> Mode:
    """The planner's mode. Raises a usage error if both were asked for."""
    from assets_core.planning.planner import Mode  # noqa: PLC0415 - loads numpy

    if force and missing:
        raise HintedUsageError(
            "--force and --missing contradict each other", "--force takes all of it; leave one out"
        )
    return Mode.FORCE if force else Mode.MISSING if missing else Mode.STALE


def read_request(facts: Facts, words: Words) -> Request:
    """What was asked for. Raises SelectionError, RangeSyntaxError or UnknownPartitionError, or a usage error."""
    given = [name for name in ("partitions", "from_", "to") if getattr(words, name) is not None]
    if "partitions" in given and len(given) > 1:
        raise HintedUsageError(
            "--partitions says all that --from and --to can say", "leave one out"
        )
    statuses = _Statuses(facts)
    selects, ranges, doubt = _sorted_out(facts.graph, words.words, statuses)
    if ranges and given:
        raise HintedUsageError(
            f"partitions are given twice: {ranges[0]} and --{given[0].rstrip('_')}",
            "leave one out",
        )
    if words.needs_both and not (selects and (ranges or given)):
        missing = "a range of partitions" if selects else "assets"
        raise doubt or HintedUsageError(
            f"{missing} must be named",
            "for example: orders 2025-01-01...2025-01-31; `*` names all assets",
        )
    assets = _union(facts.graph, selects, statuses)
    if given or ranges:
        text = words.partitions or ", ".join(ranges)
        ends = (words.from_, words.to) if given and words.partitions is None else None
        chosen, unread = _narrowed(facts, assets, text, ends, doubt)
        if ends is not None:
            text = f"{words.from_ or ''}...{words.to or ''}"
        return Request(assets, chosen, " ".join(selects), text, unread)
    return Request(assets, {}, " ".join(selects), "")


def select(graph: AssetGraph, words: Sequence[str], facts: Facts | None = None) -> tuple[str, ...]:
    """The assets of a selection without ranges; all of them for no words."""
    statuses = None if facts is None else _Statuses(facts)
    if _OPERATORS & set(words):
        words = [" ".join(words)]
    return _union(graph, words, statuses)


def _sorted_out(
    graph: AssetGraph, words: Sequence[str], statuses: _Statuses
) -> tuple[list[str], list[str], PartitaError | None]:
    """Selections, ranges, and the error of a word that may be a mistyped asset but is taken for a range for now."""
    from assets_core.model.errors import SelectionError  # noqa: PLC0415

    if _OPERATORS & set(words):
        return _expression(graph, words, statuses)
    selects: list[str] = []
    ranges: list[str] = []
    doubt: PartitaError | None = None
    for word in words:
        try:
            statuses.select(graph, word)
        except SelectionError as error:
            if not _SURELY_A_RANGE.search(word):
                doubt = doubt or error
            ranges.append(word)
        else:
            selects.append(word)
    return selects, ranges, doubt


def _expression(
    graph: AssetGraph, words: Sequence[str], statuses: _Statuses
) -> tuple[list[str], list[str], PartitaError | None]:
    """An expression with operators is one selection, the word after it a range."""
    from assets_core.model.errors import SelectionError  # noqa: PLC0415

    whole = " ".join(words)
    try:
        statuses.select(graph, whole)
    except SelectionError:
        if len(words) > 1 and _SURELY_A_RANGE.search(words[-1]):
            return [" ".join(words[:-1])], [words[-1]], None
        raise
    return [whole], [], None


def _union(
    graph: AssetGraph, selects: Sequence[str], statuses: _Statuses | None
) -> tuple[str, ...]:
    if not selects:
        return graph.order
    found: set[str] = set()
    for text in selects:
        if statuses is None:
            from assets_core.authoring.selection import select_assets  # noqa: PLC0415

            found.update(select_assets(text, graph))
        else:
            found.update(statuses.select(graph, text))
    return graph.topological(found)


def _narrowed(
    facts: Facts,
    assets: Sequence[str],
    text: str,
    ends: tuple[str | None, str | None] | None,
    doubt: PartitaError | None,
) -> tuple[dict[str, PartitionSet], dict[str, str]]:
    """The range in every selected asset's own definition. Unpartitioned assets have nothing to narrow."""
    from partitions.definitions import PartitionKind  # noqa: PLC0415
    from partitions.errors import PartitaError  # noqa: PLC0415
    from partitions.ranges import parse_from_to, parse_range  # noqa: PLC0415
    from partitions.sets import PartitionSet  # noqa: PLC0415

    chosen: dict[str, PartitionSet] = {}
    failed: dict[str, PartitaError] = {}
    partitioned = [a for a in assets if facts.indexes[a].kind is not PartitionKind.SINGLE]
    for asset in partitioned:
        index = facts.indexes[asset]
        try:
            if ends is not None:
                chosen[asset] = parse_from_to(*ends, index, facts.now)
            else:
                chosen[asset] = parse_range(text, index, facts.now)
        except PartitaError as error:
            failed[asset] = error
    if not chosen:
        if doubt is not None and not _names_keys(facts, partitioned):
            raise doubt
        if failed:
            # A mistyped asset, a mistyped key, or neither: then what was typed alone is more likely meant as an asset.
            told = [error for error in (doubt, *failed.values()) if error is not None]
            close = [error for error in told if "did you mean" in (error.hint or "")]
            likely = told if assets == facts.graph.order else list(failed.values())
            raise (close or likely)[0]
        raise doubt or HintedUsageError(
            f"{text!r} selects partitions, and none of the selected assets is partitioned",
            "leave the range out",
        )
    for asset in failed:
        chosen[asset] = PartitionSet.none(facts.indexes[asset])
    return chosen, {asset: error.message.partition("\n")[0] for asset, error in failed.items()}


def _names_keys(facts: Facts, assets: Sequence[str]) -> bool:
    """Whether any of these has keys that are free text, so that an unknown word may be one mistyped."""
    return any(not facts.indexes[asset].kind.is_time for asset in assets)


class _Statuses:
    """Answers `status:` in selections, by judging once when it is first asked."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._known: dict[str, set[str]] | None = None

    def select(self, graph: AssetGraph, text: str) -> tuple[str, ...]:
        from assets_core.authoring.selection import select_assets  # noqa: PLC0415

        return select_assets(text, graph, with_status=self)

    def __call__(self, status: str) -> Collection[str]:
        from assets_core.model.errors import SelectionError  # noqa: PLC0415

        if self._known is None:
            self._known = assets_by_status(self._facts)
        if status not in self._known:
            raise SelectionError(
                f"there is no status {status!r}", hint=f"there are {', '.join(self._known)}"
            )
        return self._known[status]


def assets_by_status(facts: Facts) -> dict[str, set[str]]:
    """Status → assets with at least one such partition; `fresh` means that all of them are."""
    from assets_core.planning.reasons import Reason  # noqa: PLC0415 - loads numpy
    from assets_core.planning.staleness import judge  # noqa: PLC0415

    found: dict[str, set[str]] = {"fresh": set(), "stale": set()}
    found |= {reason.word: set() for reason in Reason if reason is not Reason.FORCED}
    for verdict, _, _ in judge(facts):
        due = verdict.reasons[verdict.facts.due]
        for code in set(due.tolist()) - {int(Reason.FRESH)}:
            found[Reason(code).word].add(verdict.asset)
            found["stale"].add(verdict.asset)
        if verdict.asset not in found["stale"]:
            found["fresh"].add(verdict.asset)
    return found
