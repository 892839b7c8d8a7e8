"""What each parameter of an asset's or check's function is, decided from its name and annotation before anything runs.

Decided here: the order in which a name is looked up (`context`, `inputs=`, asset, resource, `config`), and how an input is loaded.
Not decided here: which partitions are read (`partitions.mappings`) and how they become a frame (`execution.worker`).

Annotations are read, not evaluated: they may be text, their imports may stand under `if TYPE_CHECKING`, and pandas, polars or
duckdb must not be loaded (half a second each) to learn that a parameter is a frame of theirs.
"""

from __future__ import annotations

import ast
import functools
import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from assets_core.authoring.sources import SourceFiles
from assets_core.model.errors import DefinitionError
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pydantic import BaseModel

    from assets_core.model.specs import Input


class LoadAs(Enum):
    """What an input becomes before the function gets it."""

    TABLE = "pyarrow.Table"
    READER = "pyarrow.RecordBatchReader"
    PANDAS = "pandas.DataFrame"
    POLARS = "polars.DataFrame"
    POLARS_LAZY = "polars.LazyFrame"
    DUCKDB = "duckdb.DuckDBPyRelation"


@dataclass(frozen=True, slots=True)
class ContextParameter:
    """Gets the `AssetContext`."""

    name: str


@dataclass(frozen=True, slots=True)
class InputParameter:
    """Gets rows of `upstream`; with `per_partition` a dictionary from upstream partition key to that partition's rows.

    In a check whose asset is `upstream` the rows are those just made.
    """

    name: str
    upstream: str
    load_as: LoadAs
    per_partition: bool


@dataclass(frozen=True, slots=True)
class ResourceParameter:
    """Gets the object of that name from `Definitions(resources=…)`."""

    name: str
    resource: str


@dataclass(frozen=True, slots=True)
class ConfigParameter:
    """Gets an instance of `model`, validated from `Definitions(config=…)`."""

    name: str
    model: type[BaseModel]


Parameter = ContextParameter | InputParameter | ResourceParameter | ConfigParameter


@dataclass(frozen=True, slots=True)
class Bound:
    """The parameters that could be bound, in order, and what is wrong with the others."""

    parameters: tuple[Parameter, ...]
    problems: tuple[DefinitionError, ...]


def bind_parameters(
    function: Callable[..., object],
    *,
    subject: str,
    inputs: Mapping[str, Input],
    assets: Mapping[str, str],
    resources: Collection[str],
    files: SourceFiles | None = None,
    with_config: bool = True,
) -> Bound:
    """Bind every parameter of `function` by its name.

    A name is, in this order: `context`; one of `inputs`; one of `assets`; one of `resources`; `config`. A default value is no way
    out: it would turn a mistyped upstream name into a silent constant.

    Args:
        function: the user's function; it is not called.
        subject: how messages name it, such as `asset 'orders'`.
        inputs: the declared inputs by parameter name.
        assets: parameter name -> key of the asset that it gets.
        resources: names that a parameter may have.
        files: where source files are read, each once.
        with_config: whether a `config` parameter means anything.

    >>> def silver(context, bronze): ...
    >>> bound = bind_parameters(silver, subject="asset 'silver'", inputs={}, assets={"bronze": "bronze"}, resources=[])
    >>> [type(parameter).__name__ for parameter in bound.parameters]
    ['ContextParameter', 'InputParameter']
    """
    problems: list[DefinitionError] = []
    parameters: list[Parameter] = []
    signature = _signature(function, subject, problems)
    binder = _Binder(
        subject,
        inputs,
        assets,
        resources,
        with_config,
        _Annotations(function, files or SourceFiles()),
    )
    for parameter in signature:
        try:
            parameters.append(binder.bind(parameter))
        except DefinitionError as error:
            problems.append(error)
    names = [parameter.name for parameter in signature]
    problems.extend(
        DefinitionError(
            f"{subject} declares an input {name!r}, but its function has no parameter of that name",
            hint=did_you_mean(name, names) or "use deps=[…] for an upstream that is not loaded",
        )
        for name in inputs
        if name not in names
    )
    return Bound(tuple(parameters), tuple(problems))


def parameter_name(key: str) -> str:
    """The parameter by which a check gets the rows of asset `key`: the key, with `_` for what a Python name can't have.

    >>> parameter_name("shop/orders")
    'shop_orders'
    """
    name = "".join(char if char.isalnum() else "_" for char in key)
    return name if name.isidentifier() else f"_{name}"


def plain_function(function: object) -> object:
    """The function that the user wrote, below decorators, `functools.partial`, methods and objects with `__call__`."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__code__") or isinstance(function, type):
            return function
        else:
            method = inspect.getattr_static(type(function), "__call__", None)
            return method if hasattr(method, "__code__") else function


def did_you_mean(name: str, known: Collection[str]) -> str | None:
    """A hint with the nearest of `known`; None if nothing is near."""
    near = nearest(name, known)
    return f"did you mean {' or '.join(near)}?" if near else None


def _signature(
    function: Callable[..., object], subject: str, problems: list[DefinitionError]
) -> list[inspect.Parameter]:
    plain = plain_function(function)
    if inspect.isclass(plain):
        problems.append(
            DefinitionError(
                f"{subject} is a class; Partita calls functions, and stores what they return",
                hint="decorate a function that returns rows",
            )
        )
        return []
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        problems.append(
            DefinitionError(
                f"{subject} is an async function; Partita calls plain functions",
                hint="call asyncio.run(…) inside of a plain function",
            )
        )
    try:
        parameters = [
            each
            for each in inspect.signature(function).parameters.values()
            # What a partial has filled in already is no parameter any more.
            if each.name not in getattr(function, "keywords", ())
        ]
    except (TypeError, ValueError) as error:
        problems.append(
            DefinitionError(
                f"{subject} is a function whose parameters can't be read: {error}",
                hint="wrap it in a function of your own",
            )
        )
        return []
    good = []
    for parameter in parameters:
        match parameter.kind:
            case inspect.Parameter.VAR_POSITIONAL | inspect.Parameter.VAR_KEYWORD:
                problems.append(
                    DefinitionError(
                        f"{subject} has a parameter {parameter!s}, which names no single upstream",
                        hint="name each upstream asset as a parameter of its own",
                    )
                )
            case inspect.Parameter.POSITIONAL_ONLY:
                problems.append(
                    DefinitionError(
                        f"{subject} has a positional-only parameter {parameter.name!r}; parameters are passed by name",
                        hint="remove the `/` from the function's parameters",
                    )
                )
            case _:
                good.append(parameter)
    return good


@dataclass(frozen=True, slots=True)
class _Binder:
    """Binds single parameters of one function."""

    subject: str
    inputs: Mapping[str, Input]
    assets: Mapping[str, str]
    resources: Collection[str]
    with_config: bool
    annotations: _Annotations

    def bind(self, parameter: inspect.Parameter) -> Parameter:
        """Raises DefinitionError if the name means nothing, or the annotation does not go with it."""
        name, annotation = parameter.name, parameter.annotation
        if name == "context":
            return ContextParameter(name)
        if name in self.inputs or name in self.assets:
            upstream = self.inputs[name].key if name in self.inputs else self.assets[name]
            load_as, per_partition = self.annotations.load_as(annotation, self.subject, name)
            return InputParameter(name, upstream, load_as, per_partition)
        if name in self.resources:
            return ResourceParameter(name, name)
        if name == "config" and self.with_config:
            return ConfigParameter(name, self.annotations.config_model(annotation, self.subject))
        known = [*self.inputs, *self.assets, *self.resources, "context"]
        known += ["config"] if self.with_config else []
        words = "no input, no asset, no resource, nor `context` or `config`"
        declare = (
            f"declare it: inputs={{{name!r}: Input(…)}}, or Definitions(resources={{{name!r}: …}})"
        )
        if not self.with_config:
            words = f"neither {' nor '.join(self.assets)}, nor a resource, nor `context`"
            declare = f"declare it: Definitions(resources={{{name!r}: …}})"
        raise DefinitionError(
            f"{self.subject} has a parameter {name!r}, which is {words}",
            hint=did_you_mean(name, known) or declare,
        )


_FRAMES: Final = {
    ("pyarrow", "Table"): LoadAs.TABLE,
    ("pyarrow", "RecordBatchReader"): LoadAs.READER,
    ("pandas", "DataFrame"): LoadAs.PANDAS,
    ("polars", "DataFrame"): LoadAs.POLARS,
    ("polars", "LazyFrame"): LoadAs.POLARS_LAZY,
    ("duckdb", "DuckDBPyRelation"): LoadAs.DUCKDB,
    ("_duckdb", "DuckDBPyRelation"): LoadAs.DUCKDB,
}
_ALIASES: Final = {
    "pa": "pyarrow",
    "pd": "pandas",
    "pl": "polars",
    **{name: name for name in ("pyarrow", "pandas", "polars", "duckdb")},
}
"""Read for what they always mean where the file that would tell can't be read."""

_BUILTINS: Final = {"dict": dict, "str": str, "object": object}
_UNTYPED: Final = (inspect.Parameter.empty, Any, object)


@dataclass(frozen=True, slots=True)
class _External:
    """A name of another package that was not imported to look at: its package, and the rest of the dotted name."""

    package: str
    path: str


class _UnreadableError(Exception):
    """An annotation, or a part of it, leads nowhere. Never leaves this module."""


@dataclass(frozen=True, slots=True)
class _Annotations:
    """Reads the annotations of one function."""

    function: Callable[..., object]
    files: SourceFiles

    def load_as(self, annotation: object, subject: str, name: str) -> tuple[LoadAs, bool]:
        """How an input is loaded, and whether per partition; without an annotation, as one pyarrow table."""
        try:
            return self._shape(self._without_none(self._read(annotation)))
        except _UnreadableError:
            shown = (
                annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
            )
            known = ", ".join(str(kind.value) for kind in LoadAs)
            raise DefinitionError(
                f"{subject} reads {name!r} as {shown}, which rows can't be loaded as",
                hint=f"annotate it as one of {known}, or dict[str, …] of one of them for one value per partition",
            ) from None

    def _shape(self, value: object) -> tuple[LoadAs, bool]:
        arguments = typing.get_args(value)
        if not _is_dictionary(typing.get_origin(value)) or len(arguments) != 2:  # noqa: PLR2004 -- key and value
            return self._frame(value), False
        if self._read(arguments[0]) is not str:
            raise _UnreadableError
        return self._frame(self._without_none(self._read(arguments[1]))), True

    def config_model(self, annotation: object, subject: str) -> type[BaseModel]:
        """The pydantic model that `config` is annotated with."""
        try:
            model = self._without_none(self._read(annotation))
        except _UnreadableError:
            model = None
        if isinstance(model, type):
            # Whoever defined a model has loaded pydantic already; for any other class this is an error path.
            from pydantic import BaseModel  # noqa: PLC0415 -- heavy, and most projects have no config parameter

            if issubclass(model, BaseModel):
                return model
        raise DefinitionError(
            f"{subject} has a parameter 'config' that is not annotated with a pydantic model at the top level of its module",
            hint="write class Settings(pydantic.BaseModel): … and config: Settings",
        )

    def _frame(self, value: object) -> LoadAs:
        if any(value is untyped for untyped in _UNTYPED):
            return LoadAs.TABLE
        if isinstance(value, _External):
            found = _FRAMES.get((value.package, value.path))
        elif isinstance(value, type):
            found = _FRAMES.get((value.__module__.partition(".")[0], value.__qualname__))
        else:
            found = None
        if found is None:
            raise _UnreadableError
        return found

    def _without_none(self, value: object) -> object:
        """`T` for `T | None` and `Optional[T]`: an input that may be missing is loaded like one that is there."""
        if typing.get_origin(value) in {typing.Union, types.UnionType}:
            rest = [part for part in typing.get_args(value) if part not in {None, types.NoneType}]
            if len(rest) == 1:
                return self._read(rest[0])
        return value

    def _read(self, annotation: object) -> object:
        if isinstance(annotation, typing.ForwardRef):
            annotation = annotation.__forward_arg__
        if isinstance(annotation, str):
            try:
                tree = ast.parse(annotation, mode="eval").body
            except SyntaxError:
                raise _UnreadableError from None
            return self._value(tree)
        if typing.get_origin(annotation) is typing.Annotated:
            return self._read(typing.get_args(annotation)[0])
        return annotation

    def _value(self, node: ast.expr) -> object:
        match node:
            case ast.Constant(value=None):
                return None
            case ast.Constant(value=str() as text):
                return self._read(text)
            case ast.Name(id=name):
                return self._name(name)
            case ast.Attribute(value=owner, attr=attribute):
                return _attribute(self._value(owner), attribute)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return _union(self._value(left), self._value(right))
            case ast.Subscript(value=owner, slice=arguments):
                return self._subscript(self._value(owner), arguments)
            case _:
                raise _UnreadableError

    def _subscript(self, owner: object, arguments: ast.expr) -> object:
        parts = arguments.elts if isinstance(arguments, ast.Tuple) else [arguments]
        if owner is typing.Annotated:
            return self._value(parts[0])
        if owner is typing.Optional:
            return _union(self._value(parts[0]), None)
        if _is_dictionary(typing.get_origin(owner) or owner) and len(parts) == 2:  # noqa: PLR2004 -- key and value
            return types.GenericAlias(dict, tuple(self._value(part) for part in parts))
        raise _UnreadableError

    def _name(self, name: str) -> object:
        plain = plain_function(self.function)
        scopes: list[Mapping[str, object]] = [getattr(plain, "__globals__", {})]
        if inspect.isfunction(plain):
            scopes.insert(0, inspect.getclosurevars(plain).nonlocals)
        for scope in scopes:
            if name in scope:
                return _named(scope[name])
        if name in _BUILTINS:
            return _BUILTINS[name]
        imported = self._import_in_source(plain, name) or _ALIASES.get(name)
        if imported is None:
            raise _UnreadableError
        package, _, path = imported.partition(".")
        if package in {"typing", "collections"}:
            return _typing_name(path)
        return _External(package, path)

    def _import_in_source(self, plain: object, name: str) -> str | None:
        """The dotted origin of a name that the function's file imports, be it for the type checker only."""
        code = getattr(plain, "__code__", None)
        if code is None:
            return None
        file = self.files.file(code.co_filename, getattr(plain, "__globals__", None))
        return None if file is None else file.imports.get(name)


def _is_dictionary(value: object) -> bool:
    return value is dict or value is Mapping


def _named(value: object) -> object:
    """A module is looked at by name only: to fetch an attribute could load the package behind a lazy module."""
    if isinstance(value, types.ModuleType):
        package, _, path = value.__name__.partition(".")
        if any(package == known for known, _ in _FRAMES):
            return _External(package, path)
    return value


def _attribute(owner: object, attribute: str) -> object:
    if isinstance(owner, _External):
        return _External(owner.package, f"{owner.path}.{attribute}".lstrip("."))
    try:
        return _named(getattr(owner, attribute))
    except AttributeError:
        raise _UnreadableError from None


def _typing_name(path: str) -> object:
    """What a name means that is imported from typing or collections.abc only for the type checker."""
    known: dict[str, object] = {
        "Any": Any,
        "Optional": typing.Optional,
        "Annotated": typing.Annotated,
        "Mapping": Mapping,
        "abc.Mapping": Mapping,
        "Dict": dict,
        "": typing,
    }
    if path not in known:
        raise _UnreadableError
    return known[path]


def _union(left: object, right: object) -> object:
    # Built by hand of what `X | None` means, because `_External` is no type that Python could unite.
    if right is None:
        return left
    if left is None:
        return right
    raise _UnreadableError
