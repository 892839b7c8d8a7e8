"""Texts that identify values and bytecode: for what code holds at run time only, where there is no source text to read.

Equal texts mean values that code can't tell apart, as far as that can be known: of an object of an unknown class, or a large one of a
library, only the class is named, since its state may hold anything (a connection, a cache). Texts are the same in every process.
"""

from __future__ import annotations

import dis
import enum
import functools
import re
import types
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PLAIN: Final = frozenset(
    {bool, int, float, complex, str, bytes, bytearray, range, types.NoneType, types.EllipsisType}
)
_PLAIN_MODULES: Final = frozenset(
    {"datetime", "decimal", "fractions", "pathlib", "uuid", "zoneinfo"}
)
"""Their values have a complete `repr`. Told by name, so that the modules need not be imported."""

_SMALL: Final = 1000
"""Of arrays and tables with more values or rows than this only the type counts: they are data, and not what code is."""

_CODE: Final = (
    types.FunctionType,
    types.MethodType,
    types.ModuleType,
    functools.partial,
    type,
)


class ValueText:
    """Writes values as text. What is code, or an object of a class of the project, is set aside in `parts` to be followed.

    >>> ValueText(lambda cls: False).of({"limit": [1, 2.5]})
    "dict{str 'limit': list[int 1, float 2.5]}"
    """

    def __init__(self, is_project_class: Callable[[type], bool]) -> None:
        self._is_project_class = is_project_class
        self._open: set[int] = set()
        self.parts: list[object] = []

    def of(self, value: object) -> str:
        """The text of one value."""
        if id(value) in self._open:
            return "…"
        self._open.add(id(value))
        try:
            return self._text(value)
        finally:
            self._open.discard(id(value))

    def _text(self, value: object) -> str:
        name = type(value).__qualname__
        if isinstance(value, enum.Enum):
            return f"{name}.{value.name}"
        if type(value) in _PLAIN or type(value).__module__.partition(".")[0] in _PLAIN_MODULES:
            return f"{name} {value!r}"
        match value:
            case list() | tuple():
                return f"{name}[{', '.join(map(self.of, value))}]"
            case set() | frozenset():
                return f"{name}{{{', '.join(sorted(map(self.of, value)))}}}"
            case dict() | types.MappingProxyType():
                return f"{name}{{{self._items(value.items())}}}"
            case re.Pattern():
                # Its repr is cut off after 200 characters.
                return f"{name} {value.pattern!r} {value.flags}"
        if isinstance(value, _CODE) or hasattr(value, "__wrapped__"):
            self.parts.append(value)
            return "code"
        if self._is_project_class(type(value)):
            self.parts.append(type(value))
            return f"{name}({self._items(_state(value))})"
        content = self._of_library(value, type(value).__module__.partition(".")[0])
        return f"<{type(value).__module__}.{name}{content}>"

    def _of_library(self, value: Any, package: str) -> str:  # noqa: ANN401 - told apart by what it has
        """What can be said of a small value of a few libraries, which are not imported for it; nothing of any other."""
        match package:
            case "operator" | "itertools":
                text = repr(value)
                return "" if " at 0x" in text else f" {text}"
            case "collections" if isinstance(value, deque):
                return f" {self.of(list(value))} {value.maxlen}"
            case "numpy" if hasattr(value, "dtype") and value.size <= _SMALL:
                told = f" {value.dtype} {value.shape}"
                return told if value.dtype.hasobject else f"{told} {self.of(value.tolist())}"
            case "pyarrow" if hasattr(value, "as_py"):
                return f" {value.type} {self.of(value.as_py())}"
            case "pyarrow" if hasattr(value, "to_pylist") and len(value) <= _SMALL:
                told = getattr(value, "schema", None) or value.type
                return f" {told} {self.of(value.to_pylist())}"
            case "pyarrow" if type(value).__name__.endswith(("Type", "Field", "Schema")):
                return f" {value}"
            case _:
                return ""

    def _items(self, items: Iterable[tuple[object, object]]) -> str:
        return ", ".join(f"{self.of(key)}: {self.of(value)}" for key, value in items)


def _state(value: object) -> list[tuple[object, object]]:
    """The attributes of an object, in the order of their names: the order of assignment says nothing."""
    names = set(getattr(value, "__dict__", ()))
    for owner in type(value).__mro__:
        slots = owner.__dict__.get("__slots__", ())
        names.update([slots] if isinstance(slots, str) else slots)
    return [(name, getattr(value, name)) for name in sorted(names) if hasattr(value, name)]


def bytecode_text(code: types.CodeType, doc: str | None) -> str:
    """What a function does, from its bytecode: for code without source. It differs between versions of Python."""
    constants = []
    for position, constant in enumerate(code.co_consts):
        if isinstance(constant, types.CodeType):
            constants.append(bytecode_text(constant, None))
        elif not (position == 0 and doc is not None and constant == doc):
            constants.append(
                repr(sorted(constant, key=repr) if isinstance(constant, frozenset) else constant)
            )
    return "\n".join(
        [
            f"code {code.co_code.hex()}",
            f"names {' '.join(code.co_names)}",
            f"parameters {' '.join(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])}",
            *constants,
        ]
    )


def outer_names(code: types.CodeType) -> list[tuple[str, ...]]:
    """Dotted global names that bytecode reads, nested functions included, sorted.

    >>> outer_names(compile("helpers.clean(x)", "", "exec"))
    [('helpers', 'clean'), ('x',)]
    """
    found: set[tuple[str, ...]] = set()
    path: tuple[str, ...] = ()
    for instruction in dis.get_instructions(code):
        if path and instruction.opname in {"LOAD_ATTR", "LOAD_METHOD"}:
            path = (*path, str(instruction.argval))
            continue
        if path:
            found.add(path)
        loads = instruction.opname in {"LOAD_GLOBAL", "LOAD_NAME"}
        path = (str(instruction.argval),) if loads else ()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.update(outer_names(constant))
    return sorted(found)
