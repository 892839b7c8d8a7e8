r"""The range language: which partitions a text such as `2025-01-01...2025-01-31` selects. One grammar for all surfaces.

Decided here: the grammar below and every message about a text that can't be read. Not decided here: what a single period such as
`2025-W05` or `-7d` means (`periods`), and how a set is written as text (`sets`; it writes what this module reads).

Grammar, white space around terms ignored:

    range   = term ("," term)* ["(" count ")"]      union; the count that `PartitionSet.describe` writes is checked
            | "nothing"                             the empty set, where one is allowed
    term    = key                                   an exact key wins over everything below
            | "*"                                   all
            | "latest" [":" n]                      the last one, the last n
            | period                                2025, 2025-01, 2025-W05, 2025-01-31, 2025-01-31T05, today, -7d, …
            | [edge] "..." [edge]                   both inclusive; an end left out is open
            | [edge] "..<" edge                     without the second edge
            | glob                                  keys of static and dynamic definitions: `*`, `?`, `[…]`
            | part ("|" part)*                      multi: a term for each dimension, in declared order
    edge    = key | period | "latest"
    quoted  = '"' … '"'                             anywhere a key: exactly this one; \" and \\ escape

A period selects the windows that *start* in it, so that neighbouring periods share none, and keys that begin with the period's text
are exactly those selected. A period inside a single window (a day, for months) selects that window. On a multi definition with
a time dimension a term without "|" is about time, in all lanes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np

from partitions.definitions import PartitionKind
from partitions.errors import PartitaError, RangeSyntaxError, UnknownPartitionError, nearest
from partitions.periods import Period, read_period
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from datetime import datetime

    from partitions.definitions import PartitionIndex

# Python refuses to read numbers of thousands of digits.
_COUNT: Final = re.compile(r"\s*\((\d{1,18})\)$", re.ASCII)
_TWO_DOTS: Final = re.compile(r"(?<!\.)\.\.(?![.<])")
# At the very end, so in a quoted key it is none.
_SHORTENED: Final = re.compile(r" … and \d+ more (run|key)s?$", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
_LATEST: Final = re.compile(r"latest(?::(.*))?", re.DOTALL)
_OPERATOR: Final = re.compile(r"\.\.\.|\.\.<")
_EXAMPLES: Final = (
    "type a key, a period such as 2025-01, a range such as 2025-01-01...2025-01-31, or latest:7"
)


def parse_range(
    text: str, index: PartitionIndex, now: datetime, *, allow_empty: bool = False
) -> PartitionSet:
    """Return the partitions of `index` that `text` selects; see the module for the grammar.

    Times are on the clock of the index's zone; `now` is timezone-aware and should be the instant of the index. A range that
    reaches beyond the partitions there are is cut to them. Each term must select something unless `allow_empty`.

    Raises:
        RangeSyntaxError: the text can't be read, or runs backwards; the message marks where.
        UnknownPartitionError: a key that does not exist, or a range that selects nothing; names the first and the last key.

    >>> from datetime import UTC, datetime
    >>> from partitions.time_windows import DailyPartitions
    >>> now = datetime(2025, 3, 1, tzinfo=UTC)
    >>> days = DailyPartitions("2025-01-01").index(now)
    >>> parse_range("2025-02", days, now).describe()
    '2025-02-01...2025-02-28 (28)'
    >>> parse_range("2025-01-30..<2025-02-02, latest:2", days, now).describe()
    '2025-01-30...2025-02-01, 2025-02-27...2025-02-28 (5)'
    """
    return _Reader(text, index, now, allow_empty).read()


def parse_from_to(
    from_: str | None,
    to: str | None,
    index: PartitionIndex,
    now: datetime,
    *,
    allow_empty: bool = False,
) -> PartitionSet:
    """Return the partitions from `from_` to `to`, both inclusive keys or periods; None leaves that end open.

    Raises:
        RangeSyntaxError: one of them is no single key or period, or `from_` lies after `to`.
        UnknownPartitionError: nothing lies between them.

    >>> from datetime import UTC, datetime
    >>> from partitions.time_windows import DailyPartitions
    >>> now = datetime(2025, 3, 1, tzinfo=UTC)
    >>> parse_from_to("2025-02-20", None, DailyPartitions("2025-01-01").index(now), now).describe()
    '2025-02-20...2025-02-28 (9)'
    """
    for edge in (from_, to):
        if edge is not None and (not edge.strip() or re.search(r'[,|"*]|\.\.', edge)):
            raise RangeSyntaxError(
                f"{edge!r} is no single key or period, which both ends of a span must be",
                hint="type a date such as 2025-01-31; ranges and lists go without --from and --to",
            )
    if from_ is None and to is None:
        return parse_range("*", index, now, allow_empty=allow_empty)
    return parse_range(f"{from_ or ''}...{to or ''}", index, now, allow_empty=allow_empty)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the text without white space around it; `start` is where it begins in the whole."""

    text: str
    start: int

    @property
    def key(self) -> str | None:
        """The key, if the piece is quoted."""
        if not self.text.startswith('"'):
            return None
        return re.sub(r"\\(.)", r"\1", self.text[1:-1], flags=re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Edge:
    """One end of a range: the slots that it stands for, which may be none, and its time."""

    text: str
    first: int
    stop: int
    period: Period


@dataclass(frozen=True, slots=True)
class _Reader:
    """One text being read against one index."""

    text: str
    index: PartitionIndex
    now: datetime
    allow_empty: bool

    def read(self) -> PartitionSet:
        whole = _Piece(self.text.strip(), len(self.text) - len(self.text.lstrip()))
        if self.index.kind is PartitionKind.SINGLE:
            return self._unpartitioned(whole)
        exact = self._exact(whole.text)
        if isinstance(exact, PartitionSet):
            return exact
        if whole.text == "nothing":
            return self._selected(PartitionSet.none(self.index), whole, None)
        counted = _COUNT.search(whole.text)
        if counted is not None and counted.start() > 0:
            whole = _Piece(whole.text[: counted.start()], whole.start)
        if not whole.text:
            self._fail("the range is empty", whole, _EXAMPLES)
        if _SHORTENED.search(whole.text) is not None:
            self._fail("the range was shortened for display", whole, "type the complete range")
        answer = PartitionSet.none(self.index)
        for piece in self._split(whole, ","):
            if not piece.text:
                self._fail("nothing between commas", piece, "remove a comma, or type a key there")
            answer |= self._term(piece, self.index)
        if counted is not None and len(answer) != int(counted[1]):
            self._fail(
                f"the range says ({counted[1]}) and selects {len(answer)} partitions",
                whole,
                "leave the number out if that is what you want",
            )
        return answer

    def _unpartitioned(self, whole: _Piece) -> PartitionSet:
        if whole.text in {"", "*", "unpartitioned", "unpartitioned (1)"}:
            return PartitionSet.all(self.index)
        self.index.slot(
            whole.text
        )  # raises: only "" is a key, and the message says that it is not partitioned
        return PartitionSet.all(self.index)

    def _term(self, piece: _Piece, index: PartitionIndex) -> PartitionSet:
        """Read one term against the whole index or the index of one dimension."""
        exact = self._exact(piece.text if piece.key is None else piece.key, index)
        if isinstance(exact, PartitionSet):
            return exact
        if index.kind is PartitionKind.MULTI:
            return self._product(piece, index, exact)
        if piece.key is not None:
            raise exact
        latest = _LATEST.fullmatch(piece.text)
        if piece.text == "*":
            return self._selected(PartitionSet.all(index), piece, None)
        if latest is not None:
            return self._selected(self._latest(piece, latest[1], index), piece, None)
        if index.starts is None:
            return self._listed(piece, index, exact)
        if _OPERATOR.search(piece.text) is not None:
            return self._span(piece, index)
        edge = self._edge(piece, index)
        found = PartitionSet.from_runs(index, [[edge.first, edge.stop]])
        return self._selected(found, piece, _meant_as_key(edge.period, index, exact))

    def _exact(
        self, key: str, index: PartitionIndex | None = None
    ) -> PartitionSet | UnknownPartitionError:
        """Return the one partition with this key, or why there is none."""
        index = self.index if index is None else index
        try:
            return PartitionSet.from_slots(index, [index.slot(key)])
        except UnknownPartitionError as unknown:
            return unknown

    def _product(
        self, piece: _Piece, index: PartitionIndex, unknown: UnknownPartitionError
    ) -> PartitionSet:
        """Read a term of a multi index: the partitions that every dimension's term selects."""
        dimensions = index.dimension_indexes
        parts = self._split(piece, "|")
        if len(parts) == 1:
            if piece.key is not None:
                raise unknown
            if piece.text == "*":
                return self._selected(PartitionSet.all(index), piece, None)
            about_time = [name for name, dimension in dimensions if dimension.kind.is_time]
            parts = [piece if name in about_time else _Piece("*", 0) for name, _ in dimensions]
            if not about_time:
                parts = []
        if len(parts) != len(dimensions):
            names = "|".join(name for name, _ in dimensions)
            self._fail(
                f"{piece.text!r} does not have one part for each dimension of {names}",
                piece,
                f"type for example {'|'.join('*' for _ in dimensions)}",
            )
        mask = np.ones(len(index), dtype=np.bool_)
        for part, (name, dimension) in zip(parts, dimensions, strict=True):
            chosen = self._term(part, dimension).mask()
            mask &= chosen[index.dimension_slots(name)]
        return self._selected(PartitionSet.from_mask(index, mask), piece, None)

    def _latest(self, piece: _Piece, count: str | None, index: PartitionIndex) -> PartitionSet:
        if count is not None and not (_NUMBER.fullmatch(count) and int(count)):
            self._fail(f"{piece.text!r} needs a number from 1 on", piece, "type latest:7")
        first = max(0, len(index) - (1 if count is None else int(count)))
        return PartitionSet.from_runs(index, [[first, len(index)]])

    def _listed(
        self, piece: _Piece, index: PartitionIndex, unknown: UnknownPartitionError
    ) -> PartitionSet:
        """Read a glob over keys of a static or dynamic index."""
        if not any(character in piece.text for character in "*?["):
            if _OPERATOR.search(piece.text) is not None:
                self._fail(
                    f"{piece.text!r} is a range, and {index.definition.describe()} has no order",
                    piece,
                    "list the keys with commas, or use a glob such as e*",
                )
            raise unknown
        keys = index.keys()
        slots = [slot for slot, key in enumerate(keys) if fnmatchcase(key, piece.text)]
        near = nearest(piece.text, keys) or tuple(keys[:3])
        error = UnknownPartitionError(
            f"no key of {index.definition.describe()} matches {piece.text!r}",
            hint=f"there are {', '.join(near)}" if near else "add a key first",
        )
        return self._selected(PartitionSet.from_slots(index, slots), piece, error)

    def _span(self, piece: _Piece, index: PartitionIndex) -> PartitionSet:
        """Read `a...b` or `a..<b` over windows."""
        operator = _OPERATOR.findall(piece.text)
        cut = _OPERATOR.search(piece.text)
        assert cut is not None
        left, right = self._cut(piece, 0, cut.start()), self._cut(piece, cut.end(), None)
        if len(operator) > 1:
            self._fail(f"{piece.text!r} has more than one range sign", piece, _EXAMPLES)
        if not (left.text or right.text) or (operator[0] == "..<" and not right.text):
            self._fail(f"{piece.text!r} has no end", piece, "type * for all partitions")
        begin = self._edge(left, index) if left.text else None
        end = self._edge(right, index) if right.text else None
        inclusive = operator[0] == "..."
        first = 0 if begin is None else begin.first
        stop = len(index) if end is None else end.stop if inclusive else end.first
        if begin is not None and end is not None:
            self._require_forward(piece, begin, operator[0], end)
        return self._selected(PartitionSet.from_runs(index, [[first, stop]]), piece, None)

    def _require_forward(self, piece: _Piece, begin: _Edge, operator: str, end: _Edge) -> None:
        before = end.period.end if operator == "..." else end.period.start
        if operator == "..<" and begin.period.start == before:
            self._fail(
                f"{piece.text!r} ends where it begins, and its end is not part of it",
                piece,
                f"type {begin.text} for that one alone",
            )
        if begin.period.start >= max(before, end.period.start + 1):
            self._fail(
                f"{piece.text!r} runs backwards", piece, f"type {end.text}{operator}{begin.text}"
            )

    def _edge(self, piece: _Piece, index: PartitionIndex) -> _Edge:
        """Read a key or a period as an end of a range, or as a term of its own."""
        assert index.starts is not None
        assert index.ends is not None
        if piece.text == "latest" and len(index):
            slot = len(index) - 1
        else:
            exact = self._exact(piece.text, index)
            slot = -1 if isinstance(exact, UnknownPartitionError) else int(exact.runs[0, 0])
        if slot >= 0:
            window = Period(int(index.starts[slot]), int(index.ends[slot]))
            return _Edge(piece.text, slot, slot + 1, window)
        period = self._period(piece, index)
        first = int(np.searchsorted(index.starts, period.start))
        stop = int(np.searchsorted(index.starts, period.end))
        if first and period.start < period.end <= int(index.ends[first - 1]):
            # Shorter than the window that it lies in: it stands for that window, as a day does for its month.
            return _Edge(piece.text, first - 1, first, period)
        return _Edge(piece.text, first, stop, period)

    def _period(self, piece: _Piece, index: PartitionIndex) -> Period:
        try:
            period = read_period(piece.text, index.timezone or "UTC", self.now)
        except RangeSyntaxError as error:
            self._fail(error.message, piece, error.hint)
        if period is None:
            hint = _EXAMPLES
            dotted = self._with_dots(piece.text, index)
            if dotted is not None:
                hint = f"a range has three dots: type {dotted}"
            if piece.text.startswith("last:"):
                hint = f"type {piece.text.replace('last:', 'latest:')}"
            if self.index.kind is PartitionKind.MULTI:
                names = (name for name, _ in self.index.dimension_indexes)
                hint = f"parts are {'|'.join(names)}; {_EXAMPLES}"
            self._fail(f"can't read {piece.text!r}", piece, hint)
        return period

    def _with_dots(self, text: str, index: PartitionIndex) -> str | None:
        """A range that was written with two dots, or with a colon between its ends, as it should be; None if it is none."""
        if _TWO_DOTS.search(text):
            return _TWO_DOTS.sub("...", text)
        zone = index.timezone or "UTC"
        for colon in re.finditer(":", text):
            ends = text[: colon.start()].strip(), text[colon.end() :].strip()
            try:
                if any(ends) and all(not end or read_period(end, zone, self.now) for end in ends):
                    return "...".join(ends)
            except RangeSyntaxError:
                continue
        return None

    def _selected(
        self, found: PartitionSet, piece: _Piece, instead: PartitaError | None
    ) -> PartitionSet:
        """Return `found`, or raise `instead` (or that nothing is there) if it is empty and must not be."""
        if found or self.allow_empty:
            return found
        if instead is not None:
            raise instead
        definition = found.index.definition.describe()
        if len(found.index) == 0:
            raise UnknownPartitionError(
                f"{piece.text!r} selects nothing: {definition} has no partition yet at {self.now.isoformat()}",
                hint="wait for the first one, or move the start of the definition back",
            )
        everything = PartitionSet.all(found.index)
        raise UnknownPartitionError(
            f"{piece.text!r} selects nothing: {definition} has {len(everything)} partitions, "
            f"{everything.first()} to {everything.last()}",
            hint="type latest for the last one, or * for all",
        )

    def _cut(self, piece: _Piece, start: int, stop: int | None) -> _Piece:
        """Return a part of `piece` without the white space around it."""
        part = piece.text[start:stop]
        return _Piece(part.strip(), piece.start + start + len(part) - len(part.lstrip()))

    def _split(self, piece: _Piece, separator: str) -> list[_Piece]:
        """Cut `piece` at separators outside of quotes; a quote opens only where a key may begin."""
        pieces = []
        begin = position = 0
        may_open = True
        while position < len(piece.text):
            character = piece.text[position]
            if character == '"' and may_open:
                position = self._closing_quote(piece, position)
            elif character == separator:
                pieces.append(self._cut(piece, begin, position))
                begin = position + 1
            may_open = character in ",|" or (may_open and character.isspace())
            position += 1
        return [*pieces, self._cut(piece, begin, None)]

    def _closing_quote(self, piece: _Piece, opening: int) -> int:
        closing = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL).match(piece.text, opening)
        if closing is None:
            self._fail(
                "a quote is not closed",
                _Piece(piece.text[opening:], piece.start + opening),
                'end the key with "; inside it write \\" for a quote',
            )
        behind = piece.text[closing.end() :].lstrip()
        if behind and behind[0] not in ",|":
            self._fail(
                "something stands behind a quoted key",
                self._cut(piece, closing.end(), None),
                "separate keys by commas",
            )
        return closing.end() - 1

    def _fail(self, message: str, piece: _Piece, hint: str | None) -> NoReturn:
        """Raise with the text and carets under `piece`; a text of one piece needs none."""
        if piece.text and piece.text != self.text.strip() and self.text.isprintable():
            marks = " " * piece.start + "^" * len(piece.text)
            message = f"{message}\n  {self.text}\n  {marks}"
        raise RangeSyntaxError(message, hint=hint)


def _meant_as_key(
    period: Period, index: PartitionIndex, unknown: UnknownPartitionError
) -> UnknownPartitionError | None:
    """Return `unknown`, which says more about a key, if the period is written as the index's keys are."""
    alike = {period.looks_like}
    if period.looks_like is PartitionKind.HOUR:
        alike.add(PartitionKind.CRON)
    if period.looks_like is PartitionKind.DAY:
        alike.add(
            PartitionKind.WEEK
        )  # weeks that don't begin on Monday are named by their first day
    return unknown if index.kind in alike else None
