"""The selection language for assets: `+orders`, `group:bronze and not tag:pii`, `2+orders+1`.

Theory of operation
-------------------
    selection := conjunction (("or" | ",") conjunction)*
    conjunction := negation ("and" negation)*
    negation := "not" negation | reach
    reach := [[digits] "+"] atom ["+" [digits]]        no white space inside
    atom := name | attribute ":" value | "roots()" | "leaves()" | "(" selection ")"

`+x` is x and all it is made from, `2+x` at most two steps up; `x+` and `x+1` look the other way. A name or value is a bare word, in which
`*` stands for anything, or text in quotes, in which nothing is special but the backslash before a quote or a backslash. Attributes
are `group`, `tag` (`tag:k` or `tag:k=v`), `kind`, `owner` and `status`.

A name that does not exist is always an error, since it is a mistype; so is a group, tag, kind or owner that no asset has. A pattern
that matches nothing is one only if the whole selection ends up empty. Statuses come and go: if a selection that asks for one is
empty, that is an answer and no error.

What a status means is not known here; the caller answers that. Sets are computed while reading: there is nothing to keep a tree for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from assets_core.authoring.graph import hint_for
from assets_core.model.errors import SelectionError
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from assets_core.authoring.graph import AssetGraph
    from assets_core.model.specs import AssetSpec

_MAX_DEPTH: Final = 100
"""Parentheses inside of each other; more would exhaust Python's stack, and nobody types them."""

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
      | (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<symbol>[():,+])
      | (?P<word>[^\s():,+"']+)""",
    re.VERBOSE,
)


def select_assets(
    text: str,
    graph: AssetGraph,
    *,
    with_status: Callable[[str], Collection[str]] | None = None,
) -> tuple[str, ...]:
    """The keys of the assets that `text` selects, in topological order.

    Args:
        text: one selection; join several by `,`.
        graph: the project.
        with_status: answers which assets have a status (`stale`); without it `status:` is refused. It may raise SelectionError for
            a status that there isn't.

    Raises:
        SelectionError: the text can't be read, names something that isn't there, or selects nothing (a selection with `status:` may
            select nothing). The message marks the place.

    >>> from assets_core.authoring.definitions import Definitions
    >>> from assets_core.authoring.decorators import asset
    >>> class Anywhere:
    ...     def supports(self, target): return None
    >>> @asset(group="bronze")
    ... def orders(): ...
    >>> @asset
    ... def revenue(orders): ...
    >>> graph = Definitions([orders, revenue]).resolve(default_io_manager=Anywhere()).graph
    >>> select_assets("+revenue and not group:bronze", graph)
    ('revenue',)
    >>> select_assets("revenu", graph)
    Traceback (most recent call last):
    ...
    assets_core.model.errors.SelectionError: there is no asset 'revenu'
      revenu
      ^^^^^^
    """
    parser = _Parser(text, graph, with_status)
    found = parser.parse()
    if not found and not parser.asked_for_status:
        raise SelectionError(
            f"the selection {text.strip()!r} selects no asset", hint=parser.hint_for_nothing()
        )
    return graph.topological(found)


class _Kind(Enum):
    WORD = "word"
    QUOTED = "quoted"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class _Token:
    """`text` without quotes; `start` and `end` are positions in the selection; `spaced` tells of white space before it."""

    kind: _Kind
    text: str
    start: int
    end: int
    spaced: bool

    def is_symbol(self, symbol: str) -> bool:
        return self.kind is _Kind.SYMBOL and self.text == symbol

    def is_word(self, word: str) -> bool:
        return self.kind is _Kind.WORD and self.text == word


class _Parser:
    """Reads one selection by recursive descent and computes the set on the way."""

    def __init__(
        self, text: str, graph: AssetGraph, with_status: Callable[[str], Collection[str]] | None
    ) -> None:
        # One printable character for each: the marks below must stand under what they mean.
        self._line = "".join(char if char.isprintable() else " " for char in text)
        self._graph = graph
        self._with_status = with_status
        self._patterns: list[tuple[str, frozenset[str]]] = []
        self._depth = 0
        self._next = 0
        self._tokens = self._tokenize(text)
        self.asked_for_status = False

    def parse(self) -> frozenset[str]:
        if self._at_end():
            raise SelectionError("the selection is empty", hint="`*` selects all assets")
        found = self._selection()
        if not self._at_end():
            raise self._error(
                f"{self._token.text!r} can't stand here",
                hint="put `and`, `or` or `,` between two selections; names with odd characters go in quotes",
            )
        return found

    def hint_for_nothing(self) -> str:
        """What was perhaps meant by the patterns that matched nothing."""
        for pattern, known in self._patterns:
            near = nearest(pattern.replace("*", ""), known)
            if near:
                return f"did you mean {' or '.join(near)}?"
        return hint_for("", self._graph.order)

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _at_end(self) -> bool:
        return self._token.kind is _Kind.END

    def _advance(self) -> _Token:
        token = self._token
        self._next += 1
        return token

    def _tokenize(self, text: str) -> list[_Token]:
        tokens = []
        at, spaced = 0, False
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._error("a quote is not closed", mark=(at, len(text)))
            at = match.end()
            if match.lastgroup == "space":
                spaced = True
                continue
            kind = _Kind(match.lastgroup)
            word = match.group()
            if kind is _Kind.QUOTED:
                word = re.sub(r"\\(.)", r"\1", word[1:-1])
            tokens.append(_Token(kind, word, match.start(), at, spaced))
            spaced = False
        tokens.append(_Token(_Kind.END, "", len(text), len(text) + 1, spaced))
        return tokens

    def _selection(self) -> frozenset[str]:
        found = self._conjunction()
        while self._token.is_word("or") or self._token.is_symbol(","):
            self._advance()
            found |= self._conjunction()
        return found

    def _conjunction(self) -> frozenset[str]:
        found = self._negation()
        while self._token.is_word("and"):
            self._advance()
            found &= self._negation()
        return found

    def _negation(self) -> frozenset[str]:
        negated = False
        while self._token.is_word("not"):
            self._advance()
            negated = not negated
        found = self._reach()
        return frozenset(self._graph.specs) - found if negated else found

    def _reach(self) -> frozenset[str]:
        first = self._token
        above: int | None = 0
        if first.is_symbol("+"):
            self._advance()
            above = None
        elif first.kind is _Kind.WORD and first.text.isdecimal() and self._leads_up():
            above = int(first.text)
            self._next += 2
        if above != 0 and self._token.spaced:
            raise self._error(
                "white space can't stand after this `+`", mark=(first.start, first.end)
            )
        found = self._atom()
        below: int | None = 0
        if self._token.is_symbol("+") and not self._token.spaced:
            self._advance()
            below = None
            token = self._token
            if token.kind is _Kind.WORD and token.text.isdecimal() and not token.spaced:
                below = int(self._advance().text)
        return _spread(found, self._graph.upstream, above) | _spread(
            found, self._graph.downstream, below
        )

    def _leads_up(self) -> bool:
        """Whether the number here belongs to what follows, as in `2+orders`; in `2+` it is the name of an asset."""
        plus = self._tokens[self._next + 1]
        if not plus.is_symbol("+") or plus.spaced:
            return False
        # A symbol is never the last token: the end comes after it.
        after = self._tokens[self._next + 2]
        starts = after.kind in {_Kind.WORD, _Kind.QUOTED} or after.is_symbol("(")
        return starts and not after.spaced

    def _atom(self) -> frozenset[str]:
        token = self._token
        if token.is_symbol("("):
            return self._parentheses()
        if (
            token.kind not in {_Kind.WORD, _Kind.QUOTED}
            or token.is_word("and")
            or token.is_word("or")
        ):
            raise self._error("an asset's name is missing here")
        self._advance()
        if token.kind is _Kind.WORD:
            if self._token.is_symbol(":") and not self._token.spaced:
                return self._attribute(token)
            if self._token.is_symbol("(") and not self._token.spaced:
                return self._function(token)
        return self._named(token)

    def _parentheses(self) -> frozenset[str]:
        opening = self._advance()
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(
                "too many parentheses inside of each other", mark=(opening.start, opening.end)
            )
        found = self._selection()
        if not self._token.is_symbol(")"):
            raise self._error("this parenthesis is not closed", mark=(opening.start, opening.end))
        self._advance()
        self._depth -= 1
        return found

    def _function(self, name: _Token) -> frozenset[str]:
        known = {"roots": self._graph.roots, "leaves": self._graph.leaves}
        self._advance()
        if name.text not in known or not self._token.is_symbol(")"):
            raise self._error(
                f"{name.text}(…) is not known",
                hint="there are roots() and leaves(), without anything in their parentheses",
                mark=(name.start, name.end),
            )
        self._advance()
        return frozenset(known[name.text]())

    def _named(self, token: _Token) -> frozenset[str]:
        keys = frozenset(self._graph.specs)
        if _is_pattern(token):
            return self._matching(token.text, {key: [key] for key in keys})
        if token.text not in keys:
            raise self._error(
                f"there is no asset {token.text!r}",
                hint=hint_for(token.text, self._graph.order),
                mark=(token.start, token.end),
            )
        return frozenset([token.text])

    def _attribute(self, name: _Token) -> frozenset[str]:
        self._advance()
        value = self._token
        if value.kind not in {_Kind.WORD, _Kind.QUOTED} or value.spaced:
            raise self._error(f"the value of {name.text}: is missing")
        self._advance()
        mark = (name.start, value.end)
        if name.text == "status":
            return self._status(value, mark)
        values_of = _ATTRIBUTES.get(name.text)
        if values_of is None:
            known = [*_ATTRIBUTES, "status"]
            raise self._error(
                f"assets have no attribute {name.text!r} to select by",
                hint=f"there are {', '.join(known)}; a name with `:` goes in quotes",
                mark=(name.start, name.end),
            )
        values = {key: values_of(spec) for key, spec in self._graph.specs.items()}
        if _is_pattern(value):
            return self._matching(value.text, values)
        found = frozenset(key for key, known in values.items() if value.text in known)
        if not found:
            every = sorted({each for known in values.values() for each in known})
            near = nearest(value.text, every) or every[:5]
            hint = f"there are {', '.join(near)}" if every else f"no asset has a {name.text}"
            raise self._error(f"no asset has {name.text} {value.text!r}", hint=hint, mark=mark)
        return found

    def _status(self, value: _Token, mark: tuple[int, int]) -> frozenset[str]:
        if self._with_status is None:
            raise self._error("status: can't be asked for here", mark=mark)
        self.asked_for_status = True
        return frozenset(self._with_status(value.text)) & frozenset(self._graph.specs)

    def _matching(self, pattern: str, values: dict[str, list[str]]) -> frozenset[str]:
        expression = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
        found = frozenset(
            key for key, known in values.items() if any(map(expression.fullmatch, known))
        )
        if not found:
            self._patterns.append(
                (pattern, frozenset(each for known in values.values() for each in known))
            )
        return found

    def _error(
        self, message: str, *, hint: str | None = None, mark: tuple[int, int] | None = None
    ) -> SelectionError:
        """An error that shows the selection with a mark below the place; without `mark`, below the next token."""
        start, end = mark or (self._token.start, self._token.end)
        caret = " " * start + "^" * max(end - start, 1)
        return SelectionError(f"{message}\n  {self._line}\n  {caret}", hint=hint)


def _spread(
    keys: frozenset[str], neighbours: Callable[[str], Iterable[str]], depth: int | None
) -> frozenset[str]:
    """`keys` and what is at most `depth` steps away from one of them.

    Not asked of `AssetGraph.ancestors`: that would load networkx, and walk the graph once for each key.
    """
    reached, border = keys, keys
    while border and (depth is None or depth > 0):
        border = frozenset(each for key in border for each in neighbours(key)) - reached
        reached |= border
        depth = None if depth is None else depth - 1
    return reached


def _is_pattern(token: _Token) -> bool:
    return token.kind is _Kind.WORD and "*" in token.text


def _tag_values(spec: AssetSpec) -> list[str]:
    return [text for name, value in spec.tags for text in (name, f"{name}={value}")]


_ATTRIBUTES: Final[dict[str, Callable[[AssetSpec], list[str]]]] = {
    "group": lambda spec: [spec.group],
    "tag": _tag_values,
    "kind": lambda spec: [spec.kind],
    "owner": lambda spec: list(spec.owners),
}
