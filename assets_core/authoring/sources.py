"""What a Python source file says, apart from how it is written down: normalised syntax, module-level names, references.

Decided here: which differences of text are no difference (comments, docstrings, layout, type hints), what binds a name of a module, and
which outer names a piece of code refers to. Not decided here: where a reference leads, and what of it counts (`code_version`).

Everything is read from text; nothing is imported or run. `SourceFiles` keeps what it read, so give one to all questions of one load.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import linecache
import symtable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_ARGUMENTS_OF_CAST: Final = 2
_CHANGING: Final = frozenset({"pop", "popitem", "popleft", "setdefault"})
"""Methods that change what they are called on and whose answer is often assigned."""

_SAYING: Final = frozenset({"print", "repr", "len", "isinstance"})
"""Functions that change nothing that they are given."""

# Positions are no fields. These are, and say nothing: `ctx` follows from the place, the others are hints or the way of quoting.
_SILENT_FIELDS: Final = frozenset({"ctx", "kind", "type_comment", "type_params", "type_ignores"})


@dataclass(frozen=True, slots=True)
class Imported:
    """A name bound by an import: `module` as written, `level` dots before it; `name` is None if it is the module itself."""

    module: str
    level: int
    name: str | None


Binding = Imported | ast.stmt
_Block = TypeVar("_Block", ast.stmt, ast.excepthandler, ast.match_case)


@dataclass(frozen=True, slots=True)
class Piece:
    """One statement, understood: its normalised text, a digest of its meaning, and the outer names it refers to.

    `references` are dotted names as tuples, `("helpers", "clean")`; of their first parts `outer` are taken from outside, and `imports`
    are bound by imports inside of it, in order.
    """

    source: str
    digest: str
    references: frozenset[tuple[str, ...]]
    outer: frozenset[str]
    imports: Mapping[str, tuple[Imported, ...]]


@dataclass(slots=True)
class SourceFile:
    """A parsed and normalised file.

    `bindings` maps each module-level name to what binds or changes it, in order; `stars` are the `from x import *`. `functions` maps
    (first line, name) of a function to its nodes: several lambdas may stand on one line. `imports` maps every name that an absolute
    import binds anywhere, also under `if TYPE_CHECKING`, to its dotted origin. `frames` are those bindings that only say under
    which conditions another one takes place.
    """

    tree: ast.Module
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[Imported] = field(default_factory=list)
    functions: dict[tuple[int, str], list[FunctionNode]] = field(default_factory=dict)
    classes: dict[str, list[ast.ClassDef]] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    frames: list[ast.stmt] = field(default_factory=list)
    _pieces: dict[tuple[int, ...], Piece] = field(default_factory=dict)

    def piece(self, node: ast.AST, decorators: Sequence[ast.expr] = ()) -> Piece:
        """Understand one node of this file; of a definition with only these of its decorators."""
        # The ids stay valid: the tree, and with it every node, lives as long as this object.
        key = (id(node), *map(id, decorators))
        known = self._pieces.get(key)
        if known is None:
            known = self._pieces[key] = _understand(node, decorators)
        return known


class SourceFiles:
    """Reads source files, each once."""

    def __init__(self) -> None:
        self._files: dict[str, SourceFile | None] = {}

    def file(
        self, filename: str, namespace: Mapping[str, object] | None = None
    ) -> SourceFile | None:
        """The file as `linecache` finds it (notebook cells and zipped modules too); None if there is no source to read.

        `namespace` holds the globals of the module, whose loader may know the source where no file does.
        """
        if filename not in self._files:
            linecache.checkcache(filename)
            text = "".join(linecache.getlines(filename, dict(namespace or {})))
            self._files[filename] = _parse(text) if text else None
        return self._files[filename]


def _parse(text: str) -> SourceFile | None:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        # Edited since it was imported, or a notebook cell with magic lines: the caller falls back to what runs.
        return None
    file = SourceFile(tree)
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                file.functions.setdefault((first, node.name), []).append(node)
            case ast.Lambda():
                file.functions.setdefault((node.lineno, "<lambda>"), []).append(node)
            case ast.ClassDef():
                file.classes.setdefault(node.name, []).append(node)
            case ast.Import() | ast.ImportFrom():
                for name, bound in _imported_names(node):
                    if bound.level == 0:
                        file.imports[name] = ".".join(filter(None, (bound.module, bound.name)))
    file.tree = _Normaliser(file.imports).visit(tree)
    _bind(file, file.tree.body)
    for name, bindings in file.bindings.items():
        # `logging.basicConfig()` does not make `logging` another module; `LIMITS.update(…)` does change LIMITS.
        imported = [each for each in bindings if isinstance(each, Imported)]
        is_value = all(each.name is not None for each in imported)
        if imported:
            bindings[:] = [
                each
                for each in bindings
                if isinstance(each, Imported)
                or (isinstance(each, Definition) and each.name == name)
                or any(each is frame for frame in file.frames)
                or name in _assigned(each, calls=is_value)
            ]
    return file


class _Normaliser(ast.NodeTransformer):
    """Takes out, in place, what does not change what code does. `imports` are the names of the file that absolute imports bind."""

    def __init__(self, imports: Mapping[str, str]) -> None:
        self._imports = imports

    def visit_Call(self, node: ast.Call) -> ast.AST:
        # A hint for type checkers that is written as a call.
        path = dotted(node.func)
        if path is not None and len(node.args) == _ARGUMENTS_OF_CAST and not node.keywords:
            origin = ".".join([self._imports.get(path[0], ""), *path[1:]])
            if origin in {"typing.cast", "typing_extensions.cast"}:
                visited: ast.AST = self.visit(node.args[1])
                return visited
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        # Annotated names in a class body stay whole: dataclasses, pydantic and NamedTuple make fields of them.
        kept = {id(each): each for each in node.body if isinstance(each, ast.AnnAssign)}
        body: list[ast.stmt] = []
        for each in node.body:
            if id(each) in kept:
                body.append(each)
                continue
            visited = self.visit(each)
            if visited is not None:
                body.append(visited)
        node.body = body or [ast.Pass()]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        assign = ast.Assign(targets=[node.target], value=node.value)
        return self.generic_visit(ast.copy_location(assign, node))

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        # A docstring, a comment in quotes, or the `...` of a stub.
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]  # type: ignore[attr-defined] # every node with a list of that name has it
        return node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        self.generic_visit(node)
        used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        # What it binds for others is theirs to use.
        shared = (each for each in ast.walk(node) if isinstance(each, ast.Global | ast.Nonlocal))
        used.update(name for each in shared for name in each.names)
        _UnusedImports(used).visit(node)
        return node


class _UnusedImports(ast.NodeTransformer):
    """Takes out imports of names that the function around them never mentions."""

    def __init__(self, used: set[str]) -> None:
        self._used = used

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        return self._without(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return self._without(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[attr-defined] # every node with a list of that name has it
        return node

    def _without(self, node: ast.Import | ast.ImportFrom) -> ast.AST | None:
        kept = [
            alias
            for alias in node.names
            if (alias.asname or alias.name.partition(".")[0]) in self._used
        ]
        if not kept:
            return None
        node.names = kept
        return node


def _bind(file: SourceFile, statements: Iterable[ast.stmt]) -> None:
    """Enter into `file.bindings` what these module-level statements bind or change."""
    for statement in statements:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                changed = dict.fromkeys(
                    [statement.name, *_registers(statement), *_globals(statement)]
                )
                for name in changed:
                    file.bindings.setdefault(name, []).append(statement)
            case ast.Import() | ast.ImportFrom():
                for name, bound in _imported_names(statement):
                    if name == "*":
                        file.stars.append(bound)
                    else:
                        file.bindings.setdefault(name, []).append(bound)
            case _:
                # An `if` or `try` counts whole for what it assigns, so that its condition does too.
                assigned = _assigned(statement, calls=True)
                for name in sorted(assigned):
                    file.bindings.setdefault(name, []).append(statement)
                inside = list(_definitions_inside(statement))
                # For what it defines or imports, which counts by itself, there is left under which conditions it does.
                for name in dict.fromkeys(name for each in inside for name in _bound_by(each)):
                    frame = None if name in assigned else _frame(statement, name)
                    if frame is not None:
                        file.bindings.setdefault(name, []).append(frame)
                        file.frames.append(frame)
                _bind(file, inside)


def _registers(node: Definition) -> Iterator[str]:
    """Names that a definition is handed to by a decorator that is an attribute of theirs: `@convert.register`, `@rules.add("x")`."""
    for each in node.decorator_list:
        called = each.func if isinstance(each, ast.Call) else each
        if isinstance(called, ast.Attribute):
            yield from _root(called)


def _globals(node: Definition) -> Iterator[str]:
    """Names of the module that a function assigns when it is called."""
    if isinstance(node, ast.ClassDef):
        return
    named = {
        name for each in ast.walk(node) if isinstance(each, ast.Global) for name in each.names
    }
    yield from sorted(named)


def _bound_by(node: ast.stmt) -> Iterator[str]:
    """The names that a definition or an import binds."""
    if isinstance(node, Definition):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (name for name, _ in _imported_names(node) if name != "*")


def _frame(statement: ast.stmt, name: str) -> ast.stmt | None:
    """What decides in a compound statement whether `name` is bound: in the name's place a mark, and nothing beside it. None if it isn't."""
    if name in _bound_by(statement):
        return ast.copy_location(ast.Expr(ast.Constant(name)), statement)
    if isinstance(statement, Definition):
        return None
    reduced, is_there = _reduced(statement, name)
    return reduced if is_there else None


def _reduced(node: _Block, name: str) -> tuple[_Block, bool]:
    """A copy of a node with blocks, reduced to what `_frame` leaves, and whether there is a mark in it. Expressions are shared."""
    reduced, is_there = copy.copy(node), False
    for block in ("body", "orelse", "finalbody"):
        if isinstance(statements := getattr(node, block, None), list):
            kept = [one for each in statements if (one := _frame(each, name)) is not None]
            is_there = is_there or bool(kept)
            setattr(reduced, block, kept or ([ast.Pass()] if block == "body" else []))
    for part in ("handlers", "cases"):
        if hasattr(node, part):
            inner = [_reduced(each, name) for each in getattr(node, part)]
            is_there = is_there or any(found for _, found in inner)
            setattr(reduced, part, [each for each, _ in inner])
    return reduced, is_there


def _definitions_inside(statement: ast.stmt) -> Iterator[ast.stmt]:
    """The definitions and imports in the blocks of a compound statement."""
    for child in ast.iter_child_nodes(statement):
        match child:
            case (
                ast.FunctionDef()
                | ast.AsyncFunctionDef()
                | ast.ClassDef()
                | ast.Import()
                | ast.ImportFrom()
            ):
                yield child
            case ast.stmt() | ast.excepthandler() | ast.match_case():
                yield from _definitions_inside(child)  # type: ignore[arg-type] # only its children matter


def _assigned(statement: ast.stmt, *, calls: bool) -> set[str]:
    """Names that a statement assigns, changes through `x[…] = ` or `x.y = `, or with `calls` may change by `x.y(…)`."""
    names = set()
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
                continue
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case (
                ast.Attribute(ctx=ast.Store() | ast.Del())
                | ast.Subscript(ctx=ast.Store() | ast.Del())
            ):
                names |= _root(node)
            case ast.Expr(value=ast.Call() as call) if calls:
                names |= _may_change(call)
            case ast.Assign(value=ast.Call(func=ast.Attribute(attr=method) as function)) if (
                calls and method in _CHANGING
            ):
                names |= _root(function)
        pending.extend(ast.iter_child_nodes(node))
    return names


def _may_change(call: ast.Call) -> set[str]:
    """Names that a call which nothing is done with may change: `x.y(…)`, `x.y(…).z(…)`, `f(x)`. It is there for something."""
    if isinstance(call.func, ast.Name):
        if call.func.id in _SAYING:
            return set()
        given = [*call.args, *(each.value for each in call.keywords)]
        return {name for each in given for name in _root(each)}
    return _root(call.func)


def _root(node: ast.expr) -> set[str]:
    """The name that `x.y[1].z`, or `x.y(…).z`, starts from, if it starts from a name."""
    while True:
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func
        else:
            return {node.id} if isinstance(node, ast.Name) else set()


def _imported_names(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Imported]]:
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, Imported(node.module or "", node.level, alias.name)
        return
    for alias in node.names:
        root = alias.name.partition(".")[0]
        yield alias.asname or root, Imported(alias.name if alias.asname else root, 0, None)


def dotted(node: ast.expr) -> tuple[str, ...] | None:
    """`("a", "b")` for the expression `a.b`; None if it is no dotted name.

    >>> dotted(ast.parse("helpers.clean", mode="eval").body)
    ('helpers', 'clean')
    """
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return (node.id, *reversed(path))


def _understand(node: ast.AST, decorators: Sequence[ast.expr]) -> Piece:
    if isinstance(node, Definition):
        shape = {name: getattr(node, name) for name in node._fields if hasattr(node, name)}
        node = type(node)(**{**shape, "decorator_list": list(decorators)})
        ast.fix_missing_locations(node)
    statements = node.body if isinstance(node, ast.Module) else [node]
    lines = [ast.unparse(each) for each in statements]
    source = "\n".join(lines)
    outer = _outer_names(node, source)
    imports: dict[str, tuple[Imported, ...]] = {}
    for each in ast.walk(node):
        if isinstance(each, ast.Import | ast.ImportFrom):
            for name, bound in _imported_names(each):
                imports[name] = (*imports.get(name, ()), bound)
    paths = _Paths()
    paths.visit(node)
    references = {path for path in paths.found if path[0] in outer or path[0] in imports}
    # The name of a definition is what others call it by; renaming it changes them, not what it does.
    renamed = {"name"} if isinstance(node, Definition) else set()
    digest = digest_of(canonical(node, leave_out=renamed))
    return Piece(source, digest, frozenset(references), frozenset(outer), imports)


def canonical(node: object, *, leave_out: Iterable[str] = ()) -> str:
    """The meaning of normalised syntax as text, the same in every version of Python; `leave_out` names fields of the node itself.

    `ast.dump` is not used: its text changes whenever a Python version adds a field, which would make every asset stale.

    >>> canonical(ast.parse("x  =  1 # one").body[0])
    'Assign(targets=[Name(id=str:x)],value=Constant(value=int:1))'
    """
    if isinstance(node, ast.AST):
        fields = (
            f"{name}={canonical(value)}"
            for name, value in ast.iter_fields(node)
            if name not in _SILENT_FIELDS
            and name not in leave_out
            and (isinstance(node, ast.Constant) or value not in (None, []))
        )
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(map(canonical, node))}]"
    text = node if isinstance(node, str) and node.isidentifier() else repr(node)
    return f"{type(node).__name__}:{text}"


def digest_of(text: str) -> str:
    """A digest of text, safe against collisions."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class _Paths(ast.NodeVisitor):
    """Collects the dotted names that code reads."""

    def __init__(self) -> None:
        self.found: set[tuple[str, ...]] = set()

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path = dotted(node)
        if path is None:
            self.generic_visit(node)
        else:
            self.found.add(path)

    def visit_Name(self, node: ast.Name) -> None:
        self.found.add((node.id,))


class _WithoutNonlocal(ast.NodeTransformer):
    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        del node
        return ast.Pass()


def _outer_names(node: ast.AST, source: str) -> set[str]:
    """Names that the code takes from outside of itself, by Python's own rules of scope."""
    if any(isinstance(each, ast.Nonlocal) for each in ast.walk(node)):
        # The compiler refuses it outside of the enclosing function; what it names is in the closure.
        source = ast.unparse(_WithoutNonlocal().visit(ast.parse(source)))
    table = symtable.symtable(source, "<piece>", "exec")
    names = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    pending = list(table.get_children())
    while pending:
        scope = pending.pop()
        # In a class body `limit = limit` reads the outer name although it binds an inner one.
        whole = scope.get_type() == "class"
        names |= {
            symbol.get_name()
            for symbol in scope.get_symbols()
            if symbol.is_referenced() and (whole or symbol.is_global())
        }
        pending.extend(scope.get_children())
    return names
