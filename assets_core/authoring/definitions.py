"""A whole project: what its author lists, checked once and turned into values that everything else works with.

Decided here: what takes the whole project to see. Unknown upstreams, circles, keys used twice, mappings that don't fit, IO managers and
resources that aren't there, config that doesn't validate. All problems are reported together, because a person who mends ten mistakes
one run at a time runs ten times. Not decided here: rules for one asset (`rules`), parameters (`binding`), what is stale (`planning`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from assets_core.authoring.binding import (
    ConfigParameter,
    InputParameter,
    LoadAs,
    Parameter,
    bind_parameters,
    parameter_name,
)
from assets_core.authoring.code_version import CodeFingerprint, code_fingerprint
from assets_core.authoring.contract_problems import check_names, contract_problems
from assets_core.authoring.decorators import Asset, AssetCheck
from assets_core.authoring.edges import (
    edge_mapping,
    ordered_partition_by,
    partitions_of,
    rejected_target,
    target_of,
)
from assets_core.authoring.extents import deps_version
from assets_core.authoring.graph import (
    AssetGraph,
    cycle_error,
    find_cycles,
    hint_for,
    unknown_upstream,
)
from assets_core.authoring.outline import Outline
from assets_core.authoring.packages import Packages
from assets_core.authoring.problems import DefinitionsError, Problems, defined_in, kind_of
from assets_core.authoring.rules import definition_problems, is_partitions, name_problem
from assets_core.authoring.sources import SourceFiles
from assets_core.authoring.sql_checks import FailingRows
from assets_core.model.errors import DefinitionError
from assets_core.model.specs import AssetSpec, Dependency, Input
from partitions.definitions import SINGLE
from partitions.mappings import choose_mapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic import BaseModel

    from assets_core.model.io_manager import IOManager
    from partitions.definitions import Partitions

__all__ = ["Definitions", "DefinitionsError", "Resolved", "ResolvedCheck"]

DEFAULT_IO_MANAGER: Final = "default"


@dataclass(frozen=True, slots=True)
class ResolvedCheck:
    """A check, and what its parameters are."""

    check: AssetCheck
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A project without contradictions.

    `assets`, `parameters`, `checks` and `fingerprints` have an entry for every asset; `config` for those with a `config` parameter.
    `packages` are those that `code_depends` made it look for: distribution → version, "" if there is none of that name.
    """

    outline: Outline
    assets: Mapping[str, Asset]
    parameters: Mapping[str, tuple[Parameter, ...]]
    checks: Mapping[str, tuple[ResolvedCheck, ...]]
    resources: Mapping[str, object]
    config: Mapping[str, BaseModel]
    fingerprints: Mapping[str, CodeFingerprint]
    packages: Mapping[str, str]

    @property
    def graph(self) -> AssetGraph:
        """All assets and the edges between them."""
        return self.outline.graph


@dataclass
class Definitions:
    """Everything that makes up a project.

    Assets and checks may be mixed. `io_managers` are named as assets name them (`io_manager="lake"`), `resources` as parameters do;
    `config` maps an asset's key to the values of its `config` parameter. `pools` maps a name to how many steps of the assets that name
    it (`pool="shop_api"`) may run at once.

    >>> from assets_core.authoring.decorators import asset
    >>> @asset
    ... def silver(bronz): ...
    >>> @asset
    ... def bronze(): ...
    >>> Definitions(assets=[bronze, silver]).resolve()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    assets_core.authoring.problems.DefinitionsError: the project's definitions have 3 problems:
    ...
    """

    assets: Iterable[Asset | AssetCheck] = ()
    checks: Iterable[AssetCheck] = ()
    io_managers: Mapping[str, IOManager] = field(default_factory=dict)
    resources: Mapping[str, object] = field(default_factory=dict)
    config: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    pools: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A generator would be used up by the first look at it.
        self.assets = tuple(self.assets)
        self.checks = tuple(self.checks)

    def resolve(self, *, default_io_manager: IOManager | None = None) -> Resolved:
        """Check the project and return it as values.

        Args:
            default_io_manager: stands in for `io_managers["default"]` where the author named none.

        Raises:
            DefinitionsError: with all problems.
        """
        return _Resolver(self, default_io_manager).resolve()


class _Resolver:
    """One pass over one project. Each step notes problems and leaves out what it can't use, so that the next can go on."""

    def __init__(self, definitions: Definitions, default: IOManager | None) -> None:
        self._given = definitions
        self._problems = Problems()
        self._assets: dict[str, Asset] = {}
        self._checks: list[AssetCheck] = []
        self._flawed: set[str] = set()
        self._files = SourceFiles()
        self._packages = Packages()
        self._partitions: dict[str, Partitions] = {}
        self._io_managers = dict(definitions.io_managers)
        if default is not None:
            self._io_managers.setdefault(DEFAULT_IO_MANAGER, default)

    def resolve(self) -> Resolved:
        self._collect()
        self._judge_names()
        for asset in self._assets.values():
            for problem in definition_problems(asset):
                self._flawed.add(asset.key)
                self._problems.note(problem, asset.function)
            self._judge_packages(asset)
        self._judge_resources()
        parameters = {key: self._bind(asset) for key, asset in self._assets.items()}
        dependencies = {
            key: self._dependencies(asset, parameters[key]) for key, asset in self._assets.items()
        }
        upstream = {key: [edge.upstream for edge in edges] for key, edges in dependencies.items()}
        for cycle in find_cycles(upstream):
            self._problems.note(cycle_error(cycle), self._assets[cycle[0]].function)
        self._judge_io_managers()
        self._judge_pools()
        self._judge_contracts(upstream)
        checks = self._resolve_checks()
        config = self._resolve_config(parameters)
        self._problems.raise_any()
        self._partitions = {key: partitions_of(asset) for key, asset in self._assets.items()}
        fingerprints = {
            key: self._fingerprint(asset, config.get(key)) for key, asset in self._assets.items()
        }
        specs = {
            key: self._spec(asset, dependencies[key], fingerprints[key])
            for key, asset in self._assets.items()
        }
        targets = {key: target_of(asset) for key, asset in self._assets.items()}
        rejected = {
            key: rejected_target(targets[key])
            for key, asset in self._assets.items()
            if asset.contract is not None and asset.contract.rejects
        }
        return Resolved(
            outline=Outline(
                AssetGraph(specs), targets, self._io_managers, dict(self._given.pools), rejected
            ),
            assets=self._assets,
            parameters=parameters,
            checks=checks,
            resources=dict(self._given.resources),
            config=config,
            fingerprints=fingerprints,
            packages=self._packages.asked,
        )

    def _collect(self) -> None:
        seen: set[int] = set()
        for item in (*self._given.assets, *self._given.checks):
            if id(item) in seen:
                continue
            seen.add(id(item))
            match item:
                case Asset():
                    self._add_asset(item)
                case AssetCheck():
                    self._checks.append(item)
                case _:
                    self._problems.note(_not_an_asset(item))

    def _add_asset(self, asset: Asset) -> None:
        other = self._assets.get(asset.key)
        if other is None:
            self._assets[asset.key] = asset
            return
        self._problems.note(
            DefinitionError(
                f"two assets are called {asset.key!r}: {defined_in(other.function)} and {defined_in(asset.function)}",
                hint='rename one of them: @asset(name="…")',
            )
        )

    def _judge_names(self) -> None:
        folded: dict[str, str] = {}
        for key in self._assets:
            other = folded.setdefault(key.casefold(), key) if isinstance(key, str) else key
            if other != key:
                self._problems.note(
                    DefinitionError(
                        f"the names of assets {other!r} and {key!r} differ only by case",
                        hint="some databases and file systems would write both to the same place; rename one",
                    ),
                    self._assets[key].function,
                )

    def _judge_packages(self, asset: Asset) -> None:
        for name in asset.code_depends:
            if not isinstance(name, str) or not name:
                continue  # the rules for one asset say so
            try:
                self._packages.find(name)
            except DefinitionError as error:
                problem = f"asset {asset.key!r} has {name!r} in code_depends: {error.message}"
                self._problems.note(DefinitionError(problem, hint=error.hint), asset.function)

    def _judge_resources(self) -> None:
        for name in self._given.resources:
            if name in self._assets:
                self._problems.note(
                    DefinitionError(
                        f"resource {name!r} has the name of an asset, so no parameter could ever get it",
                        hint="rename the resource",
                    ),
                    self._assets[name].function,
                )
            elif name in {"context", "config"}:
                self._problems.note(
                    DefinitionError(
                        f"resource {name!r} has the name of a parameter that means something else",
                        hint="rename the resource",
                    )
                )

    def _bind(self, asset: Asset) -> tuple[Parameter, ...]:
        bound = bind_parameters(
            asset.function,
            subject=f"asset {asset.key!r}",
            inputs=asset.inputs,
            assets={key: key for key in self._assets},
            resources=self._given.resources,
            files=self._files,
        )
        for problem in bound.problems:
            self._problems.note(problem, asset.function)
        return bound.parameters

    def _dependencies(
        self, asset: Asset, parameters: Iterable[Parameter]
    ) -> tuple[Dependency, ...]:
        reads: list[tuple[str | None, Input]] = [
            (each.name, asset.inputs.get(each.name) or Input(each.upstream))
            for each in parameters
            if isinstance(each, InputParameter)
        ]
        loaded = {read.key for _, read in reads}
        only_after = {dep.key: dep for dep in asset.deps if dep.key not in loaded}
        reads += [(None, dep) for dep in only_after.values()]
        edges = []
        for parameter, read in reads:
            edge = self._dependency(asset, parameter, read)
            if edge is not None:
                edges.append(edge)
        return tuple(edges)

    def _dependency(self, asset: Asset, parameter: str | None, read: Input) -> Dependency | None:
        upstream = self._assets.get(read.key)
        if upstream is None:
            problem = unknown_upstream(f"asset {asset.key!r}", read.key, self._assets)
            if isinstance(read.asset, Asset):
                problem.hint = f"add {read.key} to Definitions(assets=[…])"
            self._problems.note(problem, asset.function)
            return None
        sides = (partitions_of(upstream), partitions_of(asset))
        if read.key == asset.key or not all(map(is_partitions, sides)):
            # A circle or a bad definition, which is reported as such; any mapping will do to go on.
            mapping = choose_mapping(SINGLE, SINGLE)
        else:
            try:
                mapping = edge_mapping(read, *sides)
            except DefinitionError as error:
                message = f"asset {asset.key!r} can't read {read.key!r}: {error.message}"
                self._problems.note(type(error)(message, hint=error.hint), asset.function)
                mapping = choose_mapping(SINGLE, SINGLE)
        columns = None if read.columns is None else tuple(read.columns)
        return Dependency(read.key, parameter, mapping, read.allow_missing, columns)

    def _judge_io_managers(self) -> None:
        for name, given in self._io_managers.items():
            if isinstance(given, type) or not hasattr(given, "supports"):
                self._problems.note(
                    DefinitionError(
                        f"io_managers[{name!r}] is {kind_of(given)}, which is no IO manager",
                        hint="write, for example, DuckDBIOManager('warehouse.duckdb')",
                    )
                )
                self._flawed.update(self._assets)
        for key, asset in self._assets.items():
            manager = self._io_managers.get(asset.io_manager) if key not in self._flawed else None
            if manager is not None:
                reason = manager.supports(target_of(asset))
                if reason is not None:
                    self._problems.note(
                        DefinitionError(
                            f"asset {key!r} can't be stored by the IO manager {asset.io_manager!r}: {reason}"
                        ),
                        asset.function,
                    )
            elif isinstance(asset.io_manager, str) and asset.io_manager not in self._io_managers:
                self._problems.note(self._unknown_io_manager(asset), asset.function)

    def _judge_pools(self) -> None:
        pools = self._given.pools
        for name, slots in pools.items():
            if not isinstance(slots, int) or isinstance(slots, bool) or slots < 1:
                self._problems.note(
                    DefinitionError(
                        f"pools[{name!r}] is {slots!r}: nothing that names the pool could ever run",
                        hint=f'a pool has 1 slot or more, such as pools={{"{name}": 2}}',
                    )
                )
        for asset in self._assets.values():
            if isinstance(asset.pool, str) and asset.pool not in pools:
                add = f"Definitions(pools={{{asset.pool!r}: 1}})"
                near = hint_for(asset.pool, pools) if pools else None
                self._problems.note(
                    DefinitionError(
                        f"asset {asset.key!r} has pool={asset.pool!r}, and there is no pool of that name",
                        hint=f"{near}, or add {add}" if near else f"add {add}",
                    ),
                    asset.function,
                )

    def _judge_contracts(self, upstream: Mapping[str, Sequence[str]]) -> None:
        for asset in self._assets.values():
            checks = {one.name for one in self._checks if one.asset == asset.key}
            for problem in contract_problems(asset, upstream[asset.key], self._assets, checks):
                self._problems.note(problem, asset.function)
            manager = self._io_managers.get(asset.io_manager)
            if asset.contract is None or not asset.contract.rejects or asset.key in self._flawed:
                continue
            reason = (
                manager.supports(rejected_target(target_of(asset)))
                if manager is not None
                else None
            )
            if reason is not None:
                self._problems.note(
                    DefinitionError(
                        f"rows rejected by asset {asset.key!r} can't be stored by the IO manager {asset.io_manager!r}: {reason}"
                    ),
                    asset.function,
                )

    def _unknown_io_manager(self, asset: Asset) -> DefinitionError:
        name = asset.io_manager
        add = f"Definitions(io_managers={{{name!r}: …}})"
        near = hint_for(name, self._io_managers) if self._io_managers else None
        return DefinitionError(
            f"asset {asset.key!r} is stored by the IO manager {name!r}, and there is no such one",
            hint=f"{near} Or add {add}" if near else f"add {add}",
        )

    def _resolve_checks(self) -> dict[str, tuple[ResolvedCheck, ...]]:
        found: dict[str, dict[str, ResolvedCheck]] = {key: {} for key in self._assets}
        for check in self._checks:
            subject = f"check {check.name!r} of {check.asset!r}"
            problem = name_problem(check.name)
            if problem is not None:
                self._problems.note(
                    DefinitionError(f"{check.name!r} can't be the name of a check: {problem}"),
                    check.function,
                )
            if check.asset not in self._assets:
                self._problems.note(
                    DefinitionError(
                        f"{subject}: there is no such asset",
                        hint=hint_for(check.asset, self._assets),
                    ),
                    check.function,
                )
                continue
            same = found[check.asset]
            if check.name in same:
                other = defined_in(same[check.name].check.function)
                self._problems.note(
                    DefinitionError(
                        f"{subject} is there twice: {other} and {defined_in(check.function)}",
                        hint='rename one of them: @asset_check(…, name="…")',
                    )
                )
                continue
            same[check.name] = ResolvedCheck(check, self._bind_check(check, subject))
        return {key: tuple(checks.values()) for key, checks in found.items()}

    def _bind_check(self, check: AssetCheck, subject: str) -> tuple[Parameter, ...]:
        if isinstance(check.function, FailingRows):
            return (
                InputParameter(
                    FailingRows.PARAMETER, check.asset, LoadAs.TABLE, per_partition=False
                ),
            )
        bound = bind_parameters(
            check.function,
            subject=subject,
            inputs={},
            assets={parameter_name(check.asset): check.asset},
            resources=self._given.resources,
            files=self._files,
            with_config=False,
        )
        for problem in bound.problems:
            self._problems.note(problem, check.function)
        for each in bound.parameters:
            if isinstance(each, InputParameter) and each.per_partition:
                self._problems.note(
                    DefinitionError(
                        f"{subject} wants its rows per partition; a check gets those of one step together",
                        hint=f"annotate {each.name!r} without dict[str, …]",
                    ),
                    check.function,
                )
        return bound.parameters

    def _resolve_config(
        self, parameters: Mapping[str, tuple[Parameter, ...]]
    ) -> dict[str, BaseModel]:
        models = {
            key: each.model
            for key, bound in parameters.items()
            for each in bound
            if isinstance(each, ConfigParameter)
        }
        for key in self._given.config:
            if key not in self._assets:
                self._problems.note(
                    DefinitionError(
                        f"there is config for {key!r}, and there is no such asset",
                        hint=hint_for(str(key), self._assets),
                    )
                )
            elif key not in models:
                self._problems.note(
                    DefinitionError(
                        f"there is config for asset {key!r}, whose function has no parameter 'config'",
                        hint="add config: Settings, where Settings is a pydantic model, or leave the config out",
                    ),
                    self._assets[key].function,
                )
        validated = {}
        for key, model in models.items():
            instance = self._validated(key, model)
            if instance is not None:
                validated[key] = instance
        return validated

    def _validated(self, key: str, model: type[BaseModel]) -> BaseModel | None:
        # A config parameter exists, so pydantic is loaded already.
        from pydantic import ValidationError  # noqa: PLC0415 -- heavy, and most projects have no config parameter

        try:
            return model.model_validate(self._given.config.get(key, {}))
        except ValidationError as error:
            for each in error.errors(include_url=False, include_input=False):
                where = ".".join(map(str, each["loc"])) or "the whole"
                self._problems.note(
                    DefinitionError(
                        f"config of asset {key!r}: {where}: {each['msg']}",
                        hint=f"set it in Definitions(config={{{key!r}: …}})",
                    ),
                    self._assets[key].function,
                )
            return None

    def _fingerprint(self, asset: Asset, config: BaseModel | None) -> CodeFingerprint:
        if config is None:
            return code_fingerprint(asset, files=self._files, packages=self._packages)
        return code_fingerprint(
            asset,
            config.model_dump(),
            follow=[type(config)],
            files=self._files,
            packages=self._packages,
        )

    def _spec(
        self, asset: Asset, dependencies: tuple[Dependency, ...], fingerprint: CodeFingerprint
    ) -> AssetSpec:
        return AssetSpec(
            key=asset.key,
            kind=asset.kind,
            description=asset.description,
            group=asset.group,
            tags=tuple(sorted(asset.tags.items())),
            owners=asset.owners,
            partitions=partitions_of(asset),
            dependencies=dependencies,
            write=asset.write,
            partition_by=ordered_partition_by(asset),
            schema=asset.schema,
            schema_policy=asset.schema_policy,
            io_manager=asset.io_manager,
            retry=asset.retry,
            batch_size=asset.batch_size,
            lookback=asset.lookback,
            compare_input_versions=asset.compare_input_versions,
            closed_after=asset.closed_after,
            pool=asset.pool,
            priority=asset.priority,
            timeout=asset.timeout,
            memory=asset.memory,
            code_version=fingerprint.version,
            deps_version=deps_version(asset, dependencies, self._partitions),
            defined_in=defined_in(asset.function),
            checks=check_names(asset, self._checks),
        )


def _not_an_asset(item: object) -> DefinitionError:
    hint = "decorate the function with @asset"
    if isinstance(item, list | tuple):
        hint = "write a star before it: assets=[*load_assets(bronze), *load_assets(silver)]"
    return DefinitionError(
        f"Definitions(assets=…) holds {kind_of(item)}, which is no asset and no check", hint=hint
    )
