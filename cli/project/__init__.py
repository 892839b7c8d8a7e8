"""The composition root: finds the project, imports the user's modules, and puts definitions, state, locks and logs together.

Decided here: where a project is looked for, what its folder holds, and what is assumed when nothing is said. Not decided here: what a
definition may say (`authoring`), what is printed (`render`).

A project's state lives in one folder, `.partita/` unless `state` in `[tool.partita]` says otherwise: `state.db`, `run.lock`, `running/`,
`runs/`, `manifest.json`, and `data.duckdb` for assets whose project names no IO manager. If `state` is an address of PostgreSQL, state and lock are
there, and the rest stays in `.partita/`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from assets_core.model.errors import ProjectError
from assets_core.model.table_schemas import SchemaPolicy
from cli import __version__
from cli.project.location import make_state_folder, search_path
from cli.project.user_modules import ignored_folders, import_user_module, module_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime, timedelta
    from pathlib import Path
    from types import ModuleType

    from assets_core.authoring.definitions import Definitions, Resolved
    from assets_core.authoring.outline import Outline
    from assets_core.model.contracts import Contract
    from assets_core.model.errors import IOManagerError
    from assets_core.model.io_manager import IOManager
    from assets_core.model.specs import AssetSpec, PartitionBy, RetryPolicy
    from assets_core.planning.staleness import Facts
    from assets_core.state.locks import RunLocks
    from assets_core.state.manifest import Manifest, ManifestCheck, Watch
    from assets_core.state.sql_store import SqlStore
    from assets_core.telemetry.run_log import RunLogs
    from cli.project.location import Location
    from cli.project.settings import Settings


class Project:
    """A project and everything that belongs to it, each made when it is first asked for.

    The user's modules are imported by `resolved`, and by `manifest` only if the cached one does not hold any more.
    """

    def __init__(self, location: Location, *, keeps_manifest: bool = True) -> None:
        """Without `keeps_manifest` loading leaves no trace: for processes that load what another one has loaded."""
        self.location = location
        self._keeps_manifest = keeps_manifest
        self._unreachable: Callable[[str, IOManagerError], None] | None = None
        self._patience: timedelta | None = None

    @cached_property
    def settings(self) -> Settings:
        """`[tool.partita]`. Raises ProjectError if the table is not as it should be."""
        from cli.project.settings import checked_settings  # noqa: PLC0415 - pydantic, only when a project is loaded

        return checked_settings(self.location)

    @property
    def config(self) -> Mapping[str, Mapping[str, Any]]:
        """Config values per asset from `[tool.partita.config.<asset>]`. Raises ProjectError as `settings` does."""
        return self.settings.config

    @cached_property
    def resolved(self) -> Resolved:
        """The definitions, imported and checked. Raises ProjectError, UserCodeError or DefinitionError."""
        from assets_core.state.manifest import watch_reads  # noqa: PLC0415 - with the rest of loading

        config = self.config
        # Relative paths in definitions mean the same wherever in the project the command is typed.
        os.chdir(self.location.root)
        with watch_reads(_now_ns()) as watch:
            module = import_user_module(self.location)
            definitions = _definitions_of(module, config)
            resolved = definitions.resolve(default_io_manager=self._default_io_manager())
        if self._keeps_manifest:
            self._keep_manifest(resolved, watch)
        return resolved

    @cached_property
    def manifest(self) -> Manifest:
        """What there is, without importing anything of the user's if nothing changed since the last time."""
        found = self._kept_manifest
        return manifest_of(self.resolved, self.location) if found is None else found

    @cached_property
    def _kept_manifest(self) -> Manifest | None:
        from assets_core.state.manifest import read_manifest  # noqa: PLC0415

        return read_manifest(self.manifest_path, self.location.source, _versions())

    @cached_property
    def outline(self) -> Outline:
        """What planning needs, without importing anything of the user's if nothing changed since the last time."""
        if "resolved" not in self.__dict__ and self._kept_manifest is not None:
            from assets_core.state.manifest import read_outline  # noqa: PLC0415
            from cli.project.kept_outline import unpacked  # noqa: PLC0415

            content = read_outline(self.manifest_path)
            found = None if content is None else unpacked(content)
            if found is not None:
                os.chdir(
                    self.location.root
                )  # as loading does: paths of IO managers may be relative
                return found
        return self.resolved.outline

    def facts(self, now: datetime, *, verify: bool = True, in_flight: bool = True) -> Facts:
        """Everything that planning looks at, as of `now`. Without `in_flight` as if no other run worked on anything."""
        from assets_core.execution.facts import gather_facts  # noqa: PLC0415 - loads numpy

        return gather_facts(
            self.outline,
            self.store,
            now,
            verify=verify,
            run_lives=self.is_alive if in_flight else lambda _: False,
            patience=self._patience,
            unreachable=self._unreachable,
        )

    def go_on_without(
        self, unreachable: Callable[[str, IOManagerError], None], patience: timedelta | None
    ) -> None:
        """From now on facts are gathered also where a destination does not answer: `unreachable` and `patience` as `gather_facts` takes them."""
        self._unreachable = unreachable
        self._patience = patience

    def is_alive(self, run_id: str) -> bool:
        """True while the process of a run lives."""
        return self.locks.holder(run_id) is not None

    @property
    def manifest_path(self) -> Path:
        """Where the manifest is."""
        return self.location.folder / "manifest.json"

    @cached_property
    def store(self) -> SqlStore:
        """The state store; it opens nothing before it is used."""
        # A `state` that is no text must be an error, not the default. A manifest that holds was made of settings that were checked.
        if self._kept_manifest is None:
            _ = self.settings
        return open_store(self.location.state)

    def state_damage(self, path: Path) -> list[str]:
        """What SQLite's own check finds wrong with the state file, worst first; empty for a sound one. Reads the whole file."""
        import apsw  # noqa: PLC0415 - only `doctor` asks

        connection = apsw.Connection(
            f"file:{quote(str(path))}?mode=ro",
            flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
        )
        try:
            answers = [str(row[0]) for row in connection.execute("pragma integrity_check(5)")]
        except apsw.Error as error:
            return [str(error)]
        finally:
            connection.close()
        return [] if answers == ["ok"] else answers

    @cached_property
    def locks(self) -> RunLocks:
        """The locks of the runs on this state."""
        return self.store.run_locks()

    @cached_property
    def logs(self) -> RunLogs:
        """The logs of all runs."""
        from assets_core.telemetry.run_log import RunLogs  # noqa: PLC0415

        return RunLogs(self.location.folder / "runs")

    def location_of(self, asset: str) -> str:
        """Where the rows of an asset are, relative to the project's root if they are below it."""
        return _place(self.outline, self.location, asset)

    def _default_io_manager(self) -> IOManager:
        from io_managers.duckdb_tables import DuckDBIOManager  # noqa: PLC0415 - with the rest of loading

        return DuckDBIOManager(self.location.folder / "data.duckdb")

    def _keep_manifest(self, resolved: Resolved, watch: Watch) -> None:
        from assets_core.state import manifest as manifests  # noqa: PLC0415 - with the rest of loading
        from cli.project.kept_outline import packed  # noqa: PLC0415

        location = self.location
        fingerprint = manifests.take_fingerprint(
            watch,
            modules=module_files(),
            extra=[str(path) for path in (location.pyproject, location.file) if path is not None],
            roots=[str(path) for path in search_path(location)],
            ignored=ignored_folders(location),
            packages=resolved.packages,
        )
        if fingerprint is not None and make_state_folder(location.folder, quietly=True):
            made = manifest_of(resolved, location)
            manifests.write_manifest(
                self.manifest_path, made, fingerprint, _versions(), packed(resolved.outline)
            )


def open_store(state: Path | str) -> SqlStore:
    """The store of a state file, or of an address of PostgreSQL; it opens nothing before it is used."""
    if isinstance(state, str):
        from assets_core.state.postgres import PostgresStore  # noqa: PLC0415

        return PostgresStore(state)
    from assets_core.state.sqlite import SqliteStore  # noqa: PLC0415 - loads apsw

    return SqliteStore(state)


def _versions() -> dict[str, str]:
    """What else a manifest depends on."""
    return {
        "partita": __version__,
        "python": f"{sys.executable} {sys.version}",
        "path": os.environ.get("PYTHONPATH", ""),
    }


def _now_ns() -> int:
    import time  # noqa: PLC0415 - with the rest of loading

    return time.time_ns()


def _definitions_of(module: ModuleType, config: Mapping[str, Mapping[str, Any]]) -> Definitions:
    """The module's one `Definitions`, or else what its top level holds; with the config of `pyproject.toml` over the author's own."""
    from assets_core.authoring.collecting import load_assets  # noqa: PLC0415 - with the rest of loading
    from assets_core.authoring.definitions import Definitions  # noqa: PLC0415

    found = {name: value for name, value in vars(module).items() if isinstance(value, Definitions)}
    distinct = list({id(value): value for value in found.values()}.values())
    if len(distinct) > 1:
        raise ProjectError(
            f"{module.__name__} has {len(distinct)} Definitions: {', '.join(found)}",
            hint="keep one; it may hold the assets of all of them",
        )
    definitions = distinct[0] if distinct else Definitions(assets=load_assets(module))
    if not distinct and not definitions.assets:
        raise ProjectError(
            f"{module.__name__} has no assets and no Definitions",
            hint="decorate a function with @asset, or name the module that has the assets",
        )
    if not config:
        return definitions
    merged = {key: {**definitions.config.get(key, {}), **values} for key, values in config.items()}
    return replace(definitions, config={**definitions.config, **merged})


def manifest_of(resolved: Resolved, location: Location) -> Manifest:
    """The manifest of loaded definitions."""
    from assets_core.state.manifest import Manifest, ManifestAsset, ManifestCheck, ManifestEdge  # noqa: PLC0415

    assets = []
    for key in resolved.graph.order:
        spec = resolved.graph.spec(key)
        edges = (
            ManifestEdge(
                edge.upstream,
                edge.parameter,
                edge.mapping.text(),
                edge.allow_missing,
                edge.columns,
            )
            for edge in spec.dependencies
        )
        checks = (
            ManifestCheck(one.check.name, one.check.blocking, one.check.description)
            for one in resolved.checks[key]
        )
        assets.append(
            ManifestAsset(
                key=key,
                kind=spec.kind,
                description=spec.description,
                group=spec.group,
                tags=spec.tags,
                owners=spec.owners,
                partitions=spec.partitions.describe(),
                partition_kind=spec.partitions.kind.value,
                dependencies=tuple(edges),
                checks=(*_rules(resolved.assets[key].contract), *checks),
                write=spec.write.text(),
                partition_by=_partition_by_text(spec.partition_by),
                schema=_schema_text(spec),
                io_manager=spec.io_manager,
                location=_place(resolved.outline, location, key),
                rejected=_rejected_place(resolved.outline, location, key),
                retry=_retry_text(spec.retry),
                batch_size=spec.batch_size,
                pool=_pool_text(spec.pool, resolved.outline.pools),
                priority=spec.priority,
                timeout=None if spec.timeout is None else spec.timeout.total_seconds(),
                memory=spec.memory,
                lookback=spec.lookback,
                closed_after=spec.closed_after.total_seconds(),
                compare_input_versions=spec.compare_input_versions,
                code_version=spec.code_version,
                defined_in=spec.defined_in,
            )
        )
    return Manifest(location.source, tuple(assets))


def _rules(contract: Contract | None) -> Iterator[ManifestCheck]:
    from assets_core.state.manifest import ManifestCheck  # noqa: PLC0415

    if contract is None:
        return
    for rule in contract.rules:
        told = [rule.text().removeprefix(rule.name).removeprefix(": ")]
        if not contract.stops(rule):
            told.append(f"on violation: {contract.on_violation}")
        yield ManifestCheck(rule.name, contract.stops(rule), "; ".join(filter(None, told)))


def _rejected_place(outline: Outline, location: Location, asset: str) -> str:
    target = outline.rejected.get(asset)
    if target is None:
        return ""
    return outline.manager(asset).location(target).removeprefix(f"{location.root}{os.sep}")


def _place(outline: Outline, location: Location, asset: str) -> str:
    place = outline.manager(asset).location(outline.target(asset))
    return place.removeprefix(f"{location.root}{os.sep}")


def _partition_by_text(partition_by: PartitionBy | None) -> str | None:
    if partition_by is None or isinstance(partition_by, str):
        return partition_by
    return ", ".join(f"{dimension}={column}" for dimension, column in partition_by)


def _schema_text(spec: AssetSpec) -> str:
    if spec.schema is None:
        return "" if spec.schema_policy is SchemaPolicy.ADD_NULLABLE else str(spec.schema_policy)
    return f"{spec.schema.text()} ({spec.schema_policy})"


def _pool_text(pool: str | None, pools: Mapping[str, int]) -> str:
    return "" if pool is None else f"{pool} ({pools[pool]} at once)"


def _retry_text(retry: RetryPolicy) -> str:
    if retry.max_attempts == 1:
        return ""
    return f"up to {retry.max_attempts} attempts, {retry.delay.total_seconds():g} s apart ({retry.backoff})"
