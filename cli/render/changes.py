"""What changed in the code and dependencies of an asset: who made what, and diffs. What differs is found in `planning.changes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from assets_core.planning.changes import Change, Side
from cli.render.report import Report
from cli.render.text import Span, Style, Table, counted, line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets_core.planning.changes import Difference, Maker, PartChange
    from cli.render.text import Block

_DIFF_STYLES: Final = {"+": Style.GREEN, "-": Style.RED, "@": Style.CYAN}
_COLUMNS: Final = ("asset", "partition", "name", "kind", "change", "was", "diff")


def difference_report(difference: Difference) -> Report:
    """The report of `partita explain ASSET --diff`."""
    named = {"asset": difference.asset, "partition": difference.key}
    return Report(
        command="explain",
        data=difference.as_json(),
        records=[{**named, **change.as_json()} for change in difference.parts],
        blocks=list(_blocks(difference)),
        columns=_COLUMNS,
    )


def _blocks(difference: Difference) -> Iterator[Block]:
    compared = difference.compared
    name = Span(difference.name, Style.BOLD)
    if compared is None or not difference.changes:
        yield line(name, f": {_nothing(difference)}")
        return
    others = sum(maker.partitions for maker in difference.makers if not maker.is_current)
    if difference.key is not None or not compared.latest:
        yield line(name, ": it was not made by the code and dependencies of now")
    else:
        told = f": {counted(others, 'partition')} not made by the code and dependencies of now; compared with the latest, "
        yield line(name, told, Span(compared.latest, Style.BOLD))
    if len(difference.makers) > 1:
        yield line()
        yield _makers(difference)
    for side, changes in difference.changes.items():
        yield line()
        if changes is None:
            yield line(Span(_unknown(side, compared), Style.YELLOW))
        elif not changes:
            yield line("nothing was edited, but a name now leads to another function or constant")
        for position, change in enumerate(changes or ()):
            if position:
                yield line()
            yield from _change(change)


def _nothing(difference: Difference) -> str:
    """Why there is nothing to show."""
    if difference.other_space is not None:
        return f"its partitions are others now (they were {difference.other_space}), and none of these was ever materialized"
    if not difference.makers or (difference.key is not None and difference.compared is None):
        return "never materialized, so there is nothing to compare with"
    if difference.key is not None or not difference.makers[0].latest:
        return "nothing changed; it was made by the code and dependencies of now"
    count = counted(sum(maker.partitions for maker in difference.makers), "partition")
    return f"nothing changed; {count} made by the code and dependencies of now"


def _unknown(side: Side, compared: Maker) -> str:
    match side:
        case Side.CODE:
            what = f"the code of version {compared.versions.code}"
        case Side.DEPS:
            what = f"the dependencies of version {compared.versions.deps}"
        case _:
            assert_never(side)
    return f"{what} is not known: nobody kept it when it was recorded"


def _makers(difference: Difference) -> Table:
    """Which versions made how many partitions."""

    def note(maker: Maker) -> str:
        if maker.is_current:
            return "now"
        return "compared with" if maker is difference.compared else ""

    return Table(
        ("code", "dependencies", "partitions", "latest", ""),
        tuple(
            (
                maker.versions.code,
                maker.versions.deps,
                f"{maker.partitions:,}",
                maker.latest,
                Span(note(maker), Style.DIM),
            )
            for maker in difference.makers
        ),
        right=frozenset({2}),
    )


def _change(change: PartChange) -> Iterator[Block]:
    match change.change:
        case Change.ADDED:
            style = Style.GREEN
        case Change.REMOVED:
            style = Style.RED
        case Change.CHANGED:
            style = Style.YELLOW
        case _:
            assert_never(change.change)
    head = (
        Span(change.change.value, style),
        Span(f" {change.title.removesuffix(change.part.name)}"),
    )
    short = _in_one_line(change)
    if short is not None:
        yield line(*head, short)
        return
    was = change.old.name if change.old is not None else change.part.name
    moved = f" (was {was})" if was != change.part.name else ""
    bare = "" if change.diff else ", which has no source to show"
    yield line(*head, Span(change.part.name, Style.BOLD), f"{moved}{bare}")
    for one in change.diff:
        yield line(Span(one, _DIFF_STYLES.get(one[:1], Style.PLAIN)))


def _in_one_line(change: PartChange) -> str | None:
    """`pandas 2.2.2 → 2.2.3`, for what has no source but a value; None for what is better shown as a diff."""
    name = change.part.name
    if change.part.kind == "package":
        sides = (change.old, change.new)
        old, new = ("" if side is None else side.source.removeprefix(f"{name} ") for side in sides)
    elif change.part.kind in {"option", "declared", "partitions"}:
        old, new = ("" if side is None else side.source for side in (change.old, change.new))
        name = f"{name}:"
    elif change.part.kind == "import":
        return name if change.old is None or change.new is None else f"{change.old.name} → {name}"
    else:
        return None
    return f"{name} {' → '.join(each for each in (old, new) if each)}"
