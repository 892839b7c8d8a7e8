"""What identifies the code of an asset: its function, what that uses of the project, and the options that change data.

Theory of operation
-------------------
From the asset's function a walk follows references by the text of the source files, module by module, as Python's scopes would: to
functions, classes and constants of the project. Each statement found is a *part* with a digest of its normalised syntax. Names that
lead out of the project (the standard library, installed packages) are parts that say only where the name comes from: which
version of pandas is installed counts only if `code_depends` names it. Values that only exist at run time (closures, `functools.partial`) are followed as
objects; code without source (a REPL) is compared by its bytecode.

The version covers every part's digest and every edge "this part calls that one so", and no file or module name: moving a helper to
another module, or running the project under another name, changes nothing.

Reading text instead of values makes the answer the same in every process: `TODAY = date.today()` is one expression, not a new
version every day. What can't be seen this way is listed in DESIGN.md; `code_version="2"` is the answer to it.
"""

from __future__ import annotations

import ast
import functools
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from assets_core.authoring.code_places import Module, Places
from assets_core.authoring.code_values import ValueText, bytecode_text, outer_names
from assets_core.authoring.decorators import Asset, AssetCheck
from assets_core.authoring.packages import Packages
from assets_core.authoring.sources import (
    Definition,
    Imported,
    Piece,
    SourceFile,
    SourceFiles,
    digest_of,
    dotted,
)
from assets_core.model.records import VersionPart

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from assets_core.authoring.packages import Package

_VERSION_LENGTH: Final = 16
_DECORATORS: Final = "assets_core"
"""Whence `@asset` comes."""


@dataclass(frozen=True, slots=True)
class CodeFingerprint:
    """The code version of an asset, and its parts: the function first, the others by name."""

    version: str
    parts: tuple[VersionPart, ...]


def code_fingerprint(
    asset: Asset,
    config: Mapping[str, object] | None = None,
    *,
    follow: Iterable[object] = (),
    files: SourceFiles | None = None,
    packages: Packages | None = None,
) -> CodeFingerprint:
    """Compute the code version of `asset`; two equal versions mean the same code, whatever it looks like.

    Args:
        asset: what to look at. Its `code_version` replaces everything but `code_depends`, if there is one.
        config: the validated values that its `config` parameter gets.
        follow: further classes or functions whose code counts, such as the class of `config`.
        files: give one for all assets of a project, so that each file is read once.
        packages: likewise, so that each package is looked up once.

    Raises:
        DefinitionError: a package of `code_depends` is not installed.

    >>> from assets_core.authoring.decorators import asset
    >>> @asset(code_version="2")
    ... def orders(): ...
    >>> code_fingerprint(orders).version
    'declared:2'
    """
    found = packages or Packages()
    depends = sorted({found.find(name) for name in asset.code_depends})
    if asset.code_version is not None:
        return _declared(str(asset.code_version), depends)
    walk = _Walk(Places(files or SourceFiles(), home=asset.function))
    root = walk.value(asset.function, asset.key)
    for value in follow:
        walk.link(root, "config", walk.value(value, "config"))
    options = {"write": asset.write.text(), "partition_by": asset.partition_by}
    if asset.schema is not None:
        options["schema"] = f"{asset.schema.text()} ({asset.schema_policy})"
    for name, option in options.items():
        if option is not None:
            walk.link(root, name, [walk.text(name, "option", str(option))])
    if asset.contract is not None and asset.contract.rejects:
        # Only then does it decide which rows the asset has.
        walk.link(root, "contract", [walk.text("contract", "option", asset.contract.text())])
        for called in asset.contract.code:
            walk.link(root, "contract", walk.value(called, "contract"))
    for package in depends:
        walk.link(root, "package", [walk.text(package.name, "package", package.text())])
    if config:
        values = ValueText(lambda _: False).of(dict(sorted(config.items())))
        walk.link(root, "config", [walk.text("config", "config", values)])
    return walk.fingerprint(root)


def _declared(text: str, depends: Sequence[Package]) -> CodeFingerprint:
    """The version that the author declared, in his own words; what he says it depends on still counts."""
    parts = [
        VersionPart("code_version", "declared", digest_of(text), text),
        *(
            VersionPart(each.name, "package", digest_of(each.text()), each.text())
            for each in depends
        ),
    ]
    told = ", ".join(each.text() for each in depends)
    return CodeFingerprint(f"declared:{text}{f' with {told}' if told else ''}", tuple(parts))


Parts = list[int]
"""Numbers of parts: one name may be bound by several statements, and lead nowhere."""


@dataclass(slots=True)
class _Found:
    part: VersionPart
    edges: set[tuple[str, int]] = field(default_factory=set)


class _Walk:
    """Collects parts, each once, and the edges between them."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._found: list[_Found] = []
        self._known: dict[object, Parts] = {}
        self._open: set[tuple[str, str]] = set()
        # Keys hold ids of objects; an id means something only as long as its object lives.
        self._alive: list[object] = []

    def fingerprint(self, root: Parts) -> CodeFingerprint:
        """What was found, as a value."""
        lines = sorted(
            f"{each.part.kind} {each.part.digest} "
            + " ".join(
                sorted(f"{label}={self._found[to].part.digest}" for label, to in each.edges)
            )
            for each in self._found
        )
        first = [self._found[number].part for number in root]
        rest = {each.part for each in self._found} - set(first)
        ordered = sorted(rest, key=lambda part: (part.name, part.kind, part.digest))
        text = "\n".join([*(part.digest for part in first), *lines])
        return CodeFingerprint(digest_of(text)[:_VERSION_LENGTH], (*first, *ordered))

    def link(self, source: Parts, label: str, targets: Iterable[int]) -> None:
        """Note that the parts `source` refer to `targets` as `label`. Where one name leads to several, their order is that of what binds it."""
        found = list(targets)
        for place, target in enumerate(found):
            for number in source:
                self._found[number].edges.add(
                    (label if len(found) == 1 else f"{label} {place}", target)
                )

    def text(self, name: str, kind: str, text: str) -> int:
        """A part that is its text."""
        return self._part((kind, name, text), VersionPart(name, kind, digest_of(text), text))

    def value(self, value: object, label: str) -> Parts:
        """The parts of something that exists: a function, a class, or whatever a closure holds."""
        if isinstance(value, Asset | AssetCheck):
            value = value.function
        key = ("object", id(value))
        if key in self._known:
            return self._known[key]
        self._alive.append(value)
        match value:
            case types.FunctionType():
                return self._function(value, key)
            case types.MethodType():
                parts = self.value(value.__func__, label)
                self.link(parts, "self", self.value(value.__self__, f"{label}.self"))
            case functools.partial():
                parts = self.value(value.func, label)
                for name, argument in [*enumerate(value.args), *value.keywords.items()]:
                    self.link(parts, f"partial {name}", self.value(argument, f"{label}.{name}"))
            case type():
                return self._class(value, key)
            case types.ModuleType():
                parts = self._in_module(value.__name__, ())
            case _ if hasattr(value, "__wrapped__"):
                # functools.lru_cache and the like: objects that stand before a function.
                parts = self.value(value.__wrapped__, label)
            case _:
                parts = self._data(value, label)
                if callable(value) and not self._is_project_class(type(value)):
                    # Some library's object around a function; it often says which one it stands for.
                    module = self._places.module(str(getattr(value, "__module__", "")))
                    name = str(getattr(value, "__qualname__", "")).partition(".")[0]
                    if name and self._places.is_project(module.name, module.filename):
                        self._known[key] = parts
                        self.link(parts, "around", self._named((name,), module))
        self._known[key] = parts
        return parts

    def _part(self, key: object, part: VersionPart) -> int:
        if key not in self._known:
            self._known[key] = [len(self._found)]
            self._found.append(_Found(part))
        return self._known[key][0]

    def _function(self, function: types.FunctionType, key: object) -> Parts:
        module = self._places.module_of(function)
        name = f"{module.name}.{function.__qualname__}"
        nodes = self._places.nodes_of(function, module)
        if not self._places.is_project(module.name, function.__code__.co_filename):
            parts = [self.text(name, "import", name)]
        elif nodes and module.file is not None:
            # No decorators: what they made of the function is followed as the objects that it became.
            parts = [
                self._node(node, name, "function", module, file=module.file) for node in nodes
            ]
        else:
            parts = [self._bytecode(function, name, key)]
        self._known[key] = parts
        captured = dict(_captured(function))
        if hasattr(function, "__wrapped__"):
            captured["wrapped"] = function.__wrapped__
        for inner, value in captured.items():
            self.link(parts, inner, self.value(value, f"{name}.{inner}"))
        return parts

    def _bytecode(self, function: types.FunctionType, name: str, key: object) -> int:
        text = bytecode_text(function.__code__, function.__doc__)
        number = self._part(
            ("code", id(function.__code__)), VersionPart(name, "bytecode", digest_of(text), text)
        )
        self._known[key] = [number]
        for path in outer_names(function.__code__):
            value = function.__globals__.get(path[0])
            for attribute in path[1:]:
                if not isinstance(value, types.ModuleType):
                    break
                value = getattr(value, attribute, None)
            if path[0] in function.__globals__:
                label = f"{function.__module__}.{'.'.join(path)}"
                self.link([number], ".".join(path), self.value(value, label))
        return number

    def _class(self, value: type, key: object) -> Parts:
        module = self._places.module(value.__module__)
        name = f"{value.__module__}.{value.__qualname__}"
        if not self._is_project_class(value):
            parts = [self.text(name, "import", name)]
        elif (file := module.file) is not None and (nodes := file.classes.get(value.__name__)):
            # Several, if two functions of one module define classes of one name: then all of them count.
            parts = [
                self._node(
                    node, name, "class", module, file=file, decorators=_decorators_of(node, file)
                )
                for node in nodes
            ]
        else:
            parts = [self._part(key, VersionPart(name, "bytecode", digest_of(name), name))]
            self._known[key] = parts
            for attribute, member in vars(value).items():
                if isinstance(member, types.FunctionType):
                    self.link(parts, attribute, self.value(member, f"{name}.{attribute}"))
        self._known[key] = parts
        return parts

    def _is_project_class(self, value: type) -> bool:
        return self._places.is_project(
            value.__module__, self._places.module(value.__module__).filename
        )

    def _data(self, value: object, label: str) -> Parts:
        writer = ValueText(self._is_project_class)
        text = writer.of(value)
        # The label is for people: one value that two names hold is one part under the first of them.
        parts = [
            self._part(("data", id(value)), VersionPart(label, "constant", digest_of(text), text))
        ]
        for position, inner in enumerate(writer.parts):
            self.link(parts, f"inner {position}", self.value(inner, f"{label}.{position}"))
        return parts

    def _node(
        self,
        node: ast.AST,
        name: str,
        kind: str,
        module: Module,
        *,
        file: SourceFile,
        decorators: Sequence[ast.expr] = (),
    ) -> int:
        """The part of one piece of source, and with it everything that it refers to."""
        key = ("node", id(node))
        if key in self._known:
            return self._known[key][0]
        piece = file.piece(node, decorators)
        number = self._part(key, VersionPart(name, kind, piece.digest, piece.source))
        for path in sorted(piece.references):
            self.link([number], ".".join(path), self._reference(path, piece, module))
        return number

    def _reference(self, path: tuple[str, ...], piece: Piece, module: Module) -> Parts:
        parts: Parts = []
        for bound in piece.imports.get(path[0], ()):
            parts += self._imported(bound, path[1:], module)
        # An import in one scope hides the name from that scope only.
        return parts + self._named(path, module) if path[0] in piece.outer else parts

    def _named(self, path: tuple[str, ...], module: Module) -> Parts:
        """The parts behind a dotted name, as code at the top level of `module` means it."""
        name = path[0]
        file = module.file
        if file is not None and name in file.bindings:
            parts: Parts = []
            for binding in file.bindings[name]:
                if isinstance(binding, Imported):
                    parts += self._imported(binding, path[1:], module)
                else:
                    label, kind = f"{module.name}.{name}", _kind_of(binding)
                    decorators = _decorators_of(binding, file)
                    parts.append(
                        self._node(binding, label, kind, module, file=file, decorators=decorators)
                    )
            return parts
        for star in file.stars if file is not None else ():
            origin = self._places.absolute(star, module)
            if self._places.module(origin).binds(name):
                return self._in_module(origin, path)
        if name in module.namespace:
            value = module.namespace[name]
            if isinstance(value, types.ModuleType):
                # A submodule that was imported, which Python makes an attribute of its package.
                return self._in_module(value.__name__, path[1:])
            return self.value(value, f"{module.name}.{name}")
        return []

    def _imported(self, bound: Imported, rest: tuple[str, ...], module: Module) -> Parts:
        origin = self._places.absolute(bound, module)
        return self._in_module(origin, rest if bound.name is None else (bound.name, *rest))

    def _in_module(self, name: str, path: tuple[str, ...]) -> Parts:
        """The parts behind `path` in the module called `name`."""
        module = self._places.module(name)
        submodule = f"{name}.{path[0]}" if path else ""
        if module.is_folder and path and self._places.exists(submodule):
            # Whose it is can't be told of a folder, which may hold parts of several: its modules have files.
            return self._in_module(submodule, path[1:])
        if not self._places.is_project(name, module.filename):
            # The code that uses it says which attribute; of a name that was imported alone only this says whence.
            origin = ".".join([name, *path[:1]])
            return [self.text(origin, "import", origin)]
        if not path:
            if module.file is None:
                return [self.text(name, "import", name)]
            # A module that is handed on as a whole: what will be taken from it can't be known.
            return [self._node(module.file.tree, name, "module", module, file=module.file)]
        step = (name, path[0])
        # `from . import helpers` in a package's own `__init__` binds the submodule: the name leads back to itself.
        if module.binds(path[0]) and step not in self._open:
            self._open.add(step)
            try:
                return self._named(path, module)
            finally:
                self._open.discard(step)
        return self._in_module(submodule, path[1:]) if self._places.exists(submodule) else []


def _kind_of(binding: ast.stmt) -> str:
    match binding:
        case ast.ClassDef():
            return "class"
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return "function"
        case _:
            return "constant"


def _decorators_of(node: ast.AST, file: SourceFile) -> list[ast.expr]:
    """The decorators of a definition that was reached by its name, without ours."""
    if not isinstance(node, Definition):
        return []
    return [each for each in node.decorator_list if not _is_ours(each, file)]


def _is_ours(decorator: ast.expr, file: SourceFile) -> bool:
    """Whether it is `@asset(…)` or the like: its options are read from the asset, as far as they count at all."""
    path = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
    return any(
        isinstance(each, Imported) and each.module.partition(".")[0] == _DECORATORS
        for each in (file.bindings.get(path[0], ()) if path else ())
    )


def _captured(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    """What a function took from the function around it: cells of its closure, and defaults, as in `def f(region=region)`."""
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            # The enclosing function has not assigned it (yet), so the function can't use it either.
            continue
    if "<locals>" in function.__qualname__ or code.co_name == "<lambda>":
        defaults = function.__defaults__ or ()
        yield from zip(
            code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount],
            defaults,
            strict=True,
        )
        yield from (function.__kwdefaults__ or {}).items()
