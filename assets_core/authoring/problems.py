"""Problems of a project's definitions: gathered one by one, told together, each with the place where it is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from assets_core.authoring.binding import plain_function
from assets_core.model.errors import DefinitionError, PartitaError

if TYPE_CHECKING:
    from collections.abc import Iterable


class DefinitionsError(DefinitionError):
    """What is wrong with a project; `problems` holds every problem as an error of its own."""

    def __init__(self, problems: Iterable[PartitaError]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = [f"the project's definitions have {count} problem{'s' if count > 1 else ''}:"]
        for number, problem in enumerate(self.problems, 1):
            lines.append(f"  {number}. {problem.message}")
            if problem.hint is not None:
                lines.append(f"     → {problem.hint}")
        super().__init__("\n".join(lines))


class Problems:
    """Gathers problems in the order in which they are found."""

    def __init__(self) -> None:
        self._found: list[PartitaError] = []

    def note(self, problem: PartitaError, function: object | None = None) -> None:
        """Add one; `function` is the one that it is about, whose place is added to the message."""
        place = "" if function is None else defined_in(function)
        if place:
            problem = type(problem)(f"{problem.message} ({place})", hint=problem.hint)
        self._found.append(problem)

    def raise_any(self) -> None:
        """Raise DefinitionsError if there are any."""
        if self._found:
            raise DefinitionsError(self._found)


def defined_in(function: object) -> str:
    """Where a function is written: `shop/assets.py:12`, relative if below the working folder; "" if it can't be told."""
    code = getattr(plain_function(function), "__code__", None)
    if code is None:
        return ""
    path = Path(code.co_filename)
    here = Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{shown}:{code.co_firstlineno}"


def kind_of(value: object) -> str:
    """What something is, for a message about a value of the wrong kind.

    >>> kind_of(3), kind_of(int), kind_of(kind_of)
    ('a int', 'the class int', 'the function kind_of')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = getattr(value, "__name__", None)
    return f"a {type(value).__name__}" if name is None else f"the {type(value).__name__} {name}"
