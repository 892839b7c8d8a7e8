"""Text for terminals: what could steer one is escaped here, and tables and trees are laid out. Pure; `printer` does the printing.

Names, keys, messages and log lines come from outside. They become visible text in `clean`, and every layout function cleans what
it is given, so that nothing can reach a terminal another way.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_ZERO_WIDTH_JOINER: Final = "\u200d"
_GAP: Final = "  "


class Style(Enum):
    """How a span looks where colours are shown; the value is its SGR code."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of one line in one style."""

    text: str
    style: Style = Style.PLAIN


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Fitting:
    """The content of a table's last column that can say itself in fewer columns: `within` is asked when `whole` doesn't fit."""

    whole: Line
    within: Callable[[int], Line]


Content = str | Span | Line | Fitting
"""What the functions below take as one line or one table cell."""


def line(*parts: str | Span) -> Line:
    """One line out of pieces.

    >>> line("state: ", Span("fresh", Style.GREEN))[1].text
    'fresh'
    """
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


def as_line(content: Content) -> Line:
    """Any content as a line whose text is clean."""
    match content:
        case str():
            return (Span(clean(content)),)
        case Span():
            return (Span(clean(content.text), content.style),)
        case Fitting():
            return content.whole
        case _:
            return tuple(Span(clean(span.text), span.style) for span in content)


def clean(text: str) -> str:
    r"""Text on one line in which every character that could steer a terminal or forge a line is written as an escape.

    Control and invisible characters, surrogates and separators are escaped; the joiner inside emoji stays. Idempotent.

    >>> clean("a\x1b[2Jb\nc")
    'a\\x1b[2Jb\\nc'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == _ZERO_WIDTH_JOINER else _escaped(char)
        for char in text
    )


def clean_lines(text: str) -> list[str]:
    """Like `clean` for text of several lines, such as a traceback: line ends stay, tabs become spaces."""
    return [clean(one.expandtabs(4)) for one in text.splitlines()]


def width_of(text: str) -> int:
    """How many columns clean text takes on a terminal.

    >>> width_of("é"), width_of("日本")
    (1, 4)
    """
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def shorten(content: Line, width: int, ellipsis: str) -> Line:
    """A clean line cut to at most `width` columns, with `ellipsis` where something was cut off."""
    if sum(width_of(span.text) for span in content) <= width:
        return content
    room = max(0, width - width_of(ellipsis))
    result: list[Span] = []
    for span in content:
        kept: list[str] = []
        for char in span.text:
            room -= _columns(char)
            if room < 0:
                return (*result, Span("".join(kept) + ellipsis, span.style))
            kept.append(char)
        result.append(span)
    return tuple(result)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns under headers. `right` holds the positions of columns that are aligned to the right."""

    headers: tuple[str, ...]
    rows: tuple[tuple[Content, ...], ...]
    right: frozenset[int] = frozenset()

    def lines(self, *, width: int | None, ellipsis: str) -> Iterator[Line]:
        """The laid-out lines; with `width` the last column is cut so that no line is wider."""
        cells = [[as_line(cell) for cell in row] for row in self.rows]
        headers: list[Line] = [(Span(clean(header), Style.DIM),) for header in self.headers]
        sizes = [
            max(_line_width(row[column]) for row in [headers, *cells])
            for column in range(len(headers))
        ]
        room = (
            None
            if width is None
            else max(10, width - sum(sizes[:-1]) - len(_GAP) * (len(sizes) - 1))
        )
        fitting: list[Content] = [row[-1] for row in self.rows]
        if any(self.headers):
            cells, fitting = [headers, *cells], ["", *fitting]
        for row, given in zip(cells, fitting, strict=True):
            last = row[-1]
            if room is not None and isinstance(given, Fitting) and _line_width(last) > room:
                last = given.within(room)
            last = last if room is None else shorten(last, room, ellipsis)
            yield self._joined([*row[:-1], last], sizes)

    def _joined(self, row: Sequence[Line], sizes: Sequence[int]) -> Line:
        result: list[Span] = []
        for column, cell in enumerate(row):
            padding = " " * (sizes[column] - _line_width(cell))
            if column in self.right:
                result += [Span(padding), *cell]
            else:
                result += [*cell, Span(padding)]
            if column < len(row) - 1:
                result.append(Span(_GAP))
        # Trailing blanks would make copied text and golden files differ for nothing.
        while result and not result[-1].text.strip():
            result.pop()
        return tuple(span for span in result if span.text)


@dataclass(frozen=True, slots=True)
class Tree:
    """A label with branches below it; `note` lines are written under the label, before the branches."""

    label: Content
    branches: tuple[Tree, ...] = ()
    notes: tuple[Content, ...] = ()

    def lines(self, *, unicode: bool) -> Iterator[Line]:
        """The laid-out lines, drawn with box characters or with ASCII."""
        yield as_line(self.label)
        glyphs = ("├─ ", "└─ ", "│  ") if unicode else ("|- ", "`- ", "|  ")
        yield from self._below("", glyphs)

    def _below(self, indent: str, glyphs: tuple[str, str, str]) -> Iterator[Line]:
        middle, end, bar = glyphs
        for note in self.notes:
            yield (Span(indent + (bar if self.branches else "   "), Style.DIM), *as_line(note))
        for position, branch in enumerate(self.branches):
            is_last = position == len(self.branches) - 1
            yield (Span(indent + (end if is_last else middle), Style.DIM), *as_line(branch.label))
            yield from branch._below(indent + ("   " if is_last else bar), glyphs)  # noqa: SLF001 - itself


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Text of several lines, such as a traceback or a diagram, shown line by line as it is."""

    text: str
    style: Style = Style.PLAIN

    def lines(self) -> Iterator[Line]:
        """One line per line of the text."""
        return ((Span(one, self.style),) for one in clean_lines(self.text))


Block = Line | Table | Tree | Verbatim
"""What a report for people is made of; an empty line separates nothing else but what was put as an empty line."""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun.

    >>> counted(1, "partition"), counted(1200, "partition"), counted(2, "day of history", "days of history")
    ('1 partition', '1,200 partitions', '2 days of history')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def seconds_text(seconds: float) -> str:
    """A span of time for people.

    >>> [seconds_text(value) for value in (0.004, 2.34, 75, 7260)]
    ['4 ms', '2.3 s', '1 min 15 s', '2 h 1 min']
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004 - minutes in an hour
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def join_some(items: Iterable[str], limit: int) -> str:
    """The first `limit` items, and how many more there are.

    >>> join_some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    listed = list(items)
    shown = ", ".join(listed[:limit])
    return shown if len(listed) <= limit else f"{shown} and {len(listed) - limit} more"


def _line_width(content: Line) -> int:
    return sum(width_of(span.text) for span in content)


def _columns(char: str) -> int:
    if char == _ZERO_WIDTH_JOINER or unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
