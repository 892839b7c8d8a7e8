"""How a function becomes an asset or a check.

Decided here: what `@asset` and `@asset_check` keep, and what of it is wrong on its own (`deps="orders"`). Not decided here: what only the
whole project can tell (`definitions`), what a parameter means (`binding`), what counts as a change (`code_version`).

Decorators return values and register nowhere; `load_assets` (`collecting`) finds the values in their modules.
"""

from __future__ import annotations

import functools
import inspect
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, overload

from assets_core.authoring.amounts import as_bytes
from assets_core.authoring.option_values import (
    as_contract,
    as_mapping,
    as_partition_by,
    as_sequence,
    as_texts,
    as_write_mode,
)
from assets_core.authoring.row_schemas import as_schema_policy, as_table_schema
from assets_core.model.errors import DefinitionError, shown
from assets_core.model.specs import HasKey, Input, Replace, RetryPolicy
from assets_core.model.table_schemas import SchemaPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    # The defaults let `Asset` stand for `Asset[..., Any]`; at run time typing's own, which has none before 3.13, is enough.
    import pyarrow as pa
    from pydantic import BaseModel
    from typing_extensions import ParamSpec, TypeVar

    from assets_core.model.contracts import Contract
    from assets_core.model.specs import PartitionBy, WriteMode
    from assets_core.model.table_schemas import TableSchema
    from partitions.definitions import Partitions

    P = ParamSpec("P", default=...)
    R_co = TypeVar("R_co", default=Any, covariant=True)
else:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R_co = TypeVar("R_co", covariant=True)

# The decorators' own: a default would be taken for an answer there.
Q = ParamSpec("Q")
T = TypeVar("T")

_NO_TAGS: Final[Mapping[str, str]] = MappingProxyType({})
_ONE_ATTEMPT: Final = RetryPolicy()
_REPLACE: Final = Replace()
_AT_ONCE: Final = timedelta(0)


@dataclass(frozen=True, slots=True)
class Skip:
    """What an asset's function returns to leave its partition not materialized; `reason` is shown to people.

    To materialize an empty partition return zero rows instead.

    >>> Skip("the shop was closed").reason
    'the shop was closed'
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Output:
    """What an asset's function returns to name the version of its rows itself, instead of having it computed from their content.

    `value` is anything that a function may return as rows. Readers are re-run only if `data_version` differs from the last one: use
    it for rows that differ in ways that don't matter, such as the instant at which they were fetched.

    >>> Output([], data_version="etag-1").data_version
    'etag-1'
    """

    value: object
    data_version: str


# Not slotted: a class attribute `__doc__` would hide the function's own, and `functools` writes into `__dict__`.
@dataclass(frozen=True, eq=False, kw_only=True)
class Asset(Generic[P, R_co]):
    """A function and what was said about it with `@asset`. Calling it calls the plain function, so unit tests need no framework.

    Two assets are equal if they are the same object. It pickles as an import reference, because under spawn the name of a decorated
    function leads to this object and not to the function.
    """

    key: str
    function: Callable[P, R_co]
    kind: str = "python"
    description: str = ""
    group: str = "default"
    tags: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[str, ...] = ()
    partitions: Partitions | None = None
    inputs: Mapping[str, Input] = field(default_factory=dict)
    deps: tuple[Input, ...] = ()
    write: WriteMode = _REPLACE
    contract: Contract | None = None
    partition_by: PartitionBy | None = None
    schema: TableSchema | None = None
    schema_policy: SchemaPolicy = SchemaPolicy.ADD_NULLABLE
    io_manager: str = "default"
    retry: RetryPolicy = _ONE_ATTEMPT
    batch_size: int = 1
    lookback: int = 0
    closed_after: timedelta = _AT_ONCE
    compare_input_versions: bool = False
    pool: str | None = None
    priority: int = 0
    timeout: timedelta | None = None
    memory: int | None = None
    code_version: str | None = None
    code_depends: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _look_like(self, self.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the plain function."""
        return self.function(*args, **kwargs)

    def __reduce__(self) -> tuple[object, ...]:
        return _import_reference(self, self.key)

    def __repr__(self) -> str:
        return f"<Asset {self.key}>"


@dataclass(frozen=True, eq=False, kw_only=True)
class AssetCheck(Generic[P, R_co]):
    """A function that judges an asset's rows, and what was said about it with `@asset_check`. Calling it calls the plain function.

    `asset` is the key of the asset. A `blocking` check that does not pass keeps the rows from being published.
    """

    asset: str
    name: str
    function: Callable[P, R_co]
    blocking: bool = False
    description: str = ""

    def __post_init__(self) -> None:
        _look_like(self, self.function)

    @property
    def key(self) -> str:
        """`asset:name`, unique in a project."""
        return f"{self.asset}:{self.name}"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the plain function."""
        return self.function(*args, **kwargs)

    def __reduce__(self) -> tuple[object, ...]:
        return _import_reference(self, self.key)

    def __repr__(self) -> str:
        return f"<AssetCheck {self.key}>"


@overload
def asset(
    function: Callable[Q, T],
    /,
    *,
    name: str | None = None,
    partitions: Partitions | None = None,
    inputs: Mapping[str, HasKey | str] | None = None,
    deps: Iterable[HasKey | str] = (),
    group: str = "default",
    tags: Mapping[str, str] | None = None,
    owners: Iterable[str] = (),
    description: str | None = None,
    write: WriteMode = _REPLACE,
    contract: object = None,
    partition_by: str | Mapping[str, str] | None = None,
    schema: pa.Schema | type[BaseModel] | None = None,
    schema_policy: SchemaPolicy
    | Literal["freeze", "add_nullable", "widen", "discard"]
    | None = None,
    io_manager: str = "default",
    retry: RetryPolicy = _ONE_ATTEMPT,
    batch_size: int = 1,
    lookback: int = 0,
    closed_after: timedelta = _AT_ONCE,
    compare_input_versions: bool = False,
    pool: str | None = None,
    priority: int = 0,
    timeout: timedelta | None = None,
    memory: int | str | None = None,
    code_version: str | None = None,
    code_depends: Iterable[str] = (),
) -> Asset[Q, T]: ...


@overload
def asset(
    function: None = None,
    /,
    *,
    name: str | None = None,
    partitions: Partitions | None = None,
    inputs: Mapping[str, HasKey | str] | None = None,
    deps: Iterable[HasKey | str] = (),
    group: str = "default",
    tags: Mapping[str, str] | None = None,
    owners: Iterable[str] = (),
    description: str | None = None,
    write: WriteMode = _REPLACE,
    contract: object = None,
    partition_by: str | Mapping[str, str] | None = None,
    schema: pa.Schema | type[BaseModel] | None = None,
    schema_policy: SchemaPolicy
    | Literal["freeze", "add_nullable", "widen", "discard"]
    | None = None,
    io_manager: str = "default",
    retry: RetryPolicy = _ONE_ATTEMPT,
    batch_size: int = 1,
    lookback: int = 0,
    closed_after: timedelta = _AT_ONCE,
    compare_input_versions: bool = False,
    pool: str | None = None,
    priority: int = 0,
    timeout: timedelta | None = None,
    memory: int | str | None = None,
    code_version: str | None = None,
    code_depends: Iterable[str] = (),
) -> Callable[[Callable[Q, T]], Asset[Q, T]]: ...


def asset(
    function: Callable[..., object] | None = None,
    /,
    *,
    name: str | None = None,
    partitions: Partitions | None = None,
    inputs: Mapping[str, HasKey | str] | None = None,
    deps: Iterable[HasKey | str] = (),
    group: str = "default",
    tags: Mapping[str, str] | None = None,
    owners: Iterable[str] = (),
    description: str | None = None,
    write: WriteMode = _REPLACE,
    contract: object = None,
    partition_by: str | Mapping[str, str] | None = None,
    schema: pa.Schema | type[BaseModel] | None = None,
    schema_policy: SchemaPolicy
    | Literal["freeze", "add_nullable", "widen", "discard"]
    | None = None,
    io_manager: str = "default",
    retry: RetryPolicy = _ONE_ATTEMPT,
    batch_size: int = 1,
    lookback: int = 0,
    closed_after: timedelta = _AT_ONCE,
    compare_input_versions: bool = False,
    pool: str | None = None,
    priority: int = 0,
    timeout: timedelta | None = None,
    memory: int | str | None = None,
    code_version: str | None = None,
    code_depends: Iterable[str] = (),
) -> Asset | Callable[[Callable[..., object]], Asset]:
    """Turn a function into an asset; with or without parentheses.

    Args:
        function: takes its inputs by parameter name and returns the rows of its partitions: anything with `__arrow_c_stream__`, an
            iterator of record batches, None ("nothing to store") or `Skip`.
        name: the asset's key; the function's name if None.
        partitions: a partition definition; None for one table without partitions.
        inputs: parameter name -> upstream asset, key or `Input(asset, mapping=…)`; for parameters that aren't named like their asset.
        deps: upstream assets that must be done first and are not loaded.
        group: free text to select by; so are `tags` and `owners`.
        tags: see `group`.
        owners: see `group`.
        description: the function's docstring if None.
        write: `Replace()`, `Append()`, `Merge(keys=…)` or `SCD2(keys=…)`.
        contract: rules that its rows must keep before anybody sees them: a list of rules such as `NotNull("id")`, or `Contract(rules,
            on_violation="fail" | "quarantine" | "warn")`. A pydantic model or a pandera schema is a rule too.
        partition_by: the column that tells the partitions apart; for several dimensions {dimension: column}.
        schema: the columns of the rows, a pyarrow schema or a pydantic model; None: whatever is returned.
        schema_policy: what happens to rows with other columns: "freeze" (refused; the default with a schema), "add_nullable" (taken
            in; the default without), "widen" (taken in, and types may grow without a loss), "discard" (undeclared ones left out).
        io_manager: the name of one of `Definitions(io_managers=…)`.
        retry: how often a failing call is tried.
        batch_size: how many consecutive partitions one call may cover; more than 1 needs `partition_by`.
        lookback: how many earlier partitions are done again whenever a new one is due.
        closed_after: how long after its end a partition becomes due.
        compare_input_versions: leave partitions alone whose inputs were written again with the data versions that they were made
            from (from A to B and back to A). Costs a look at the versions of all that a partition reads.
        pool: one of `Definitions(pools=…)`: no more steps of its assets run at once than it has slots.
        priority: among assets with work that could start, a higher one goes first.
        timeout: how long one attempt may take, reading and staging included; then its process is ended, and the attempt has failed.
        memory: how much memory the process of one attempt may use, in bytes or as a text such as "2GiB".
        code_version: replaces the version that is computed from the code; change it to make everything stale.
        code_depends: installed packages, such as "pandas", whose versions count into the code version.

    Raises:
        DefinitionError: the function can't be called or has no name, or an option is of the wrong type. What depends on other
            assets is found later, by `Definitions.resolve`.

    >>> @asset(group="bronze", owners=["shop team"])
    ... def orders() -> list[int]:
    ...     "All orders."
    ...     return [1, 2]
    >>> orders.key, orders.description, orders()
    ('orders', 'All orders.', [1, 2])
    """

    def decorate(function: Callable[..., object]) -> Asset:
        key = _name_of(function, name, "asset")
        return Asset(
            key=key,
            function=function,
            description=_first_words(function) if description is None else description,
            group=group,
            tags=as_mapping(key, "tags", tags),
            owners=as_texts(key, "owners", owners),
            partitions=partitions,
            inputs={
                parameter: _as_input(key, upstream)
                for parameter, upstream in as_mapping(key, "inputs", inputs).items()
            },
            deps=tuple(_as_input(key, upstream) for upstream in as_sequence(key, "deps", deps)),
            write=as_write_mode(key, write),
            contract=as_contract(key, contract),
            partition_by=as_partition_by(key, partition_by),
            schema=as_table_schema(key, schema),
            schema_policy=as_schema_policy(key, schema_policy, schema),
            io_manager=io_manager,
            retry=retry,
            batch_size=batch_size,
            lookback=lookback,
            closed_after=closed_after,
            compare_input_versions=compare_input_versions,
            pool=pool,
            priority=priority,
            timeout=timeout,
            memory=as_bytes(key, memory),
            code_version=code_version,
            code_depends=as_texts(key, "code_depends", code_depends),
        )

    return decorate if function is None else decorate(function)


def asset_check(
    asset: HasKey | str, *, name: str | None = None, blocking: bool = False
) -> Callable[[Callable[Q, T]], AssetCheck[Q, T]]:
    """Turn a function into a check of `asset`. Its parameters are the asset's own name (the rows just made), `context` and resources.

    It returns a `CheckResult`. With `blocking` rows that don't pass are not published.

    Raises:
        DefinitionError: the function can't be called or has no name, or `asset` is the function itself (`@asset_check` without
            the asset).

    >>> from assets_core.model.checks import CheckResult
    >>> @asset_check("orders", blocking=True)
    ... def has_rows(orders) -> CheckResult:
    ...     return CheckResult(passed=len(orders) > 0)
    >>> has_rows.key, has_rows([]).passed
    ('orders:has_rows', False)
    """
    if not isinstance(asset, str) and not hasattr(asset, "key"):
        raise DefinitionError(
            f"asset_check was given {shown(asset)} where it needs the asset to check",
            hint="write @asset_check(orders) above the function",
        )
    key = asset if isinstance(asset, str) else asset.key

    def decorate(function: Callable[Q, T]) -> AssetCheck[Q, T]:
        return AssetCheck(
            asset=key,
            name=_name_of(function, name, "check"),
            function=function,
            blocking=blocking,
            description=_first_words(function),
        )

    return decorate


def top_level(module: ModuleType) -> Iterable[Asset | AssetCheck]:
    """The assets and checks that a module holds at its top level, also within lists and tuples."""
    for value in list(vars(module).values()):
        for item in value if isinstance(value, list | tuple) else (value,):
            if isinstance(item, Asset | AssetCheck):
                yield item


def _look_like(value: object, function: Callable[..., object]) -> None:
    """What `functools.update_wrapper` does, for a frozen value and without copying the function's own attributes over fields."""
    for name in functools.WRAPPER_ASSIGNMENTS:
        if hasattr(function, name):
            vars(value)[name] = getattr(function, name)
    vars(value)["__wrapped__"] = function


def _import_reference(value: Asset | AssetCheck, key: str) -> tuple[object, ...]:
    own = str(getattr(value, "__module__", "__main__"))
    path = str(getattr(value, "__qualname__", ""))
    # A factory's function says where the factory is; the asset that it made may be held by any other module.
    for module in (own, *list(sys.modules)):
        if _find(module, path, key) is value:
            return (_from_import_reference, (module, path, key))
    raise DefinitionError(
        f"{value!r} can't be sent to another process: no top-level name of a module leads to it",
        hint="assign it to a name at the top level of its module, or put it into a list there",
    )


def _from_import_reference(module: str, path: str, key: str) -> Asset | AssetCheck:
    import_module(module)
    found = _find(module, path, key)
    if found is None:
        raise DefinitionError(f"module {module!r} has no asset or check {key!r} any more")
    return found


def _find(module: str, path: str, key: str) -> Asset | AssetCheck | None:
    owner = sys.modules.get(module)
    value: object = owner
    for part in path.split("."):
        # Not getattr: a lazy module would load something for any name that it is asked for.
        value = getattr(value, "__dict__", {}).get(part)
    if isinstance(value, Asset | AssetCheck) and value.key == key:
        return value
    # Made by a call, under another name than the function's own.
    candidates = top_level(owner) if isinstance(owner, ModuleType) else ()
    return next((item for item in candidates if item.key == key), None)


def _name_of(function: object, name: str | None, what: str) -> str:
    if not callable(function):
        raise DefinitionError(
            f"{what} was given {shown(function)} where it needs a function",
            hint=f"write @{'asset' if what == 'asset' else 'asset_check(orders)'} above a function",
        )
    found = name if name is not None else getattr(function, "__name__", None)
    if not isinstance(found, str) or found == "<lambda>":
        raise DefinitionError(
            f"{shown(function)} has no name to call the {what} by", hint='add name="…"'
        )
    return found


def _first_words(function: object) -> str:
    # The class docstring of a callable object (functools.partial, say) describes the class.
    doc = getattr(function, "__doc__", None) if hasattr(function, "__name__") else None
    return inspect.cleandoc(doc) if isinstance(doc, str) else ""


def _as_input(key: str, upstream: object) -> Input:
    if isinstance(upstream, Input):
        return upstream
    if isinstance(upstream, str):
        return Input(upstream)
    if isinstance(upstream, Asset) or isinstance(getattr(upstream, "key", None), str):
        return Input(upstream)  # type: ignore[arg-type] # it has a key, which is all that HasKey asks
    raise DefinitionError(
        f"asset {key!r} is said to read {shown(upstream)}, which is no asset and no key",
        hint="name an asset, its key, or Input(asset, mapping=…)",
    )
