"""Where a run's steps are carried out: in this process, in processes of their own, or on a Dask cluster, as the command line and `[tool.partita]` say.

`definitions_at` is what those processes call to have the same definitions.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import io_managers
from assets_core.execution.executors import InProcessExecutor
from assets_core.execution.process_executor import LimitingExecutor, Loading, ProcessExecutor
from assets_core.execution.rejects import discard_attempt
from assets_core.execution.worker import Worker
from assets_core.model.errors import DefinitionError, ExecutorError, PartitaError, ProjectError
from assets_core.state.postgres_address import without_password
from assets_core.telemetry.run_log import ASSET_LOGGER
from cli.project import Project
from cli.project.location import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from assets_core.authoring.definitions import Resolved
    from assets_core.execution.executors import Executor
    from assets_core.execution.step_order import StepOrder
    from assets_core.model.io_manager import Staged


def make_executor(project: Project, jobs: int | None, note: Callable[[str], None]) -> Executor:
    """The executor for a run with `-j jobs`, None if that was not said. `note` is told what has to be waited for.

    Raises DefinitionError for an asset in the memory of one process where several are asked for, ExecutorError if Dask can't be used.
    """
    settings = project.settings
    loading = loading_of(project)
    if settings.executor == "dask":
        _require_shared(project.resolved, limited_only=False)
        return _dask_executor(project, loading, jobs or settings.jobs, note)
    if jobs is None and settings.executor == "in_process":
        _require_shared(project.resolved, limited_only=True)
        worker = Worker(project.resolved, logger_of)
        return LimitingExecutor(InProcessExecutor(worker, lambda: datetime.now(UTC)), loading)
    _require_shared(project.resolved, limited_only=False)
    return ProcessExecutor(jobs or settings.jobs or _cores(), loading)


def _dask_executor(
    project: Project, loading: Loading, jobs: int | None, note: Callable[[str], None]
) -> Executor:
    try:
        from assets_core.execution.dask_executor import DaskExecutor, connect  # noqa: PLC0415 - heavy, and optional
    except ModuleNotFoundError as error:
        if error.name not in {"dask", "distributed"}:
            raise
        raise ExecutorError(
            f'executor = "dask" needs the library {error.name}, which is not installed',
            hint="type: pip install 'partita[dask]'",
        ) from error
    scheduler = project.settings.dask.scheduler
    connection = connect(scheduler, jobs or _cores())
    return DaskExecutor(connection, loading, _Stages(project.resolved), capacity=jobs, note=note)


class _Stages:
    """The port of the same name for the project's IO managers."""

    def __init__(self, resolved: Resolved) -> None:
        self._outline = resolved.outline

    def discard(self, order: StepOrder) -> None:
        """Throw away what a dead attempt left."""
        discard_attempt(self._outline, order.asset, order.token)

    def missing(self, staged: Staged) -> str | None:
        """Why the rows can't be read here; None if they can."""
        try:
            self._outline.manager(staged.request.target.asset).read_staged(staged).close()
        except (PartitaError, OSError) as error:
            return str(error)
        return None


def definitions_at(argument: str) -> Resolved:
    """The definitions of the project that another process runs; `argument` is what `loading_of` wrote."""
    # What steps will need is imported here, once for all of them.
    for module in iter_modules(io_managers.__path__):
        import_module(f"io_managers.{module.name}")
    found = json.loads(argument)
    root = Path(found["root"])
    if not root.is_dir():
        raise ProjectError(
            f"there is no folder {root}",
            hint="the project must be at the same path wherever its steps run",
        )
    location = Location(
        root=root,
        module=found["module"],
        file=None if found["file"] is None else Path(found["file"]),
        pyproject=None if found["pyproject"] is None else Path(found["pyproject"]),
        table=found["table"],
    )
    return Project(location, keeps_manifest=False).resolved


def loading_of(project: Project) -> Loading:
    """How another process loads the same project, and what it must find."""
    location = project.location
    argument = json.dumps(
        {
            "root": str(location.root),
            "module": location.module,
            "file": None if location.file is None else str(location.file),
            "pyproject": None if location.pyproject is None else str(location.pyproject),
            "table": _without_password(location.table),
        },
        default=str,
    )
    specs = project.resolved.graph.specs
    versions = {key: spec.code_version for key, spec in specs.items()}
    return Loading("cli.project.execution:definitions_at", argument, versions)


def _without_password(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table as it may stand in a command line, which everybody on the machine can read. Steps don't look at the state."""
    state = table.get("state")
    shown = {"state": without_password(state)} if isinstance(state, str) else {}
    return {**table, **shown}


def _cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux only
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _require_shared(resolved: Resolved, *, limited_only: bool) -> None:
    """Raise if a step that runs in another process writes or reads what is kept in the memory of this one."""
    from io_managers.memory import MemoryIOManager  # noqa: PLC0415 - only when something is run

    specs = resolved.graph.specs
    for key, spec in specs.items():
        limits = [name for name in ("timeout", "memory") if getattr(spec, name) is not None]
        if limited_only and not limits:
            continue
        for used in (key, *(edge.upstream for edge in spec.dependencies)):
            if isinstance(resolved.outline.manager(used), MemoryIOManager):
                why = f" because {key!r} has a {limits[0]}" if limited_only else ""
                how = (
                    f"leave its {limits[0]} out"
                    if limited_only
                    else 'leave -j out and set executor = "in_process"'
                )
                raise DefinitionError(
                    f"asset {used!r} is kept in the memory of one process (io_manager {specs[used].io_manager!r}), and steps run in others{why}",
                    hint=f"{how}, or store it with a DuckDBIOManager or ParquetIOManager",
                )


def logger_of(asset: str) -> logging.Logger:
    """What an asset's function logs with."""
    return logging.getLogger(ASSET_LOGGER).getChild(asset)
