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
from typing import TYPE_CHECKING

import io_managers
from assets_core.execution.executors import InProcessExecutor
from assets_core.execution.process_executor import LimitingExecutor, Loading, ProcessExecutor
from assets_core.execution.worker import Worker
from assets_core.model.errors import DefinitionError, ExecutorError, PartitaError, ProjectError
from assets_core.telemetry.run_log import ASSET_LOGGER
from cli.project import Project
from cli.project.location import Location

if TYPE_CHECKING:
    from collections.abc import Callable

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
        _require_shared(project.resolved)
        return _dask_executor(project, loading, jobs or settings.jobs, note)
    if jobs is None and settings.executor == "in_process":
        worker = Worker(project.resolved, logger_of)
        return LimitingExecutor(InProcessExecutor(worker, lambda: datetime.now(UTC)), loading)
    _require_shared(project.resolved)
    return ProcessExecutor(jobs or settings.jobs or len(os.sched_getaffinity(0)), loading)


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
    connection = connect(scheduler, jobs or len(os.sched_getaffinity(0)))
    return DaskExecutor(connection, loading, _Stages(project.resolved), capacity=jobs, note=note)


class _Stages:
    """The port of the same name for the project's IO managers."""

    def __init__(self, resolved: Resolved) -> None:
        self._outline = resolved.outline

    def discard(self, order: StepOrder) -> None:
        """Throw away what a dead attempt left."""
        manager = self._outline.manager(order.asset)
        manager.discard_leftovers(order.token, self._outline.target(order.asset))

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
            "table": location.table,
        },
        default=str,
    )
    specs = project.resolved.graph.specs
    versions = {key: spec.code_version for key, spec in specs.items()}
    return Loading("cli.project.execution:definitions_at", argument, versions)


def _require_shared(resolved: Resolved) -> None:
    from io_managers.memory import MemoryIOManager  # noqa: PLC0415 - only when processes are asked for

    for key, spec in resolved.graph.specs.items():
        if isinstance(resolved.outline.manager(key), MemoryIOManager):
            raise DefinitionError(
                f"asset {key!r} is kept in the memory of one process (io_manager {spec.io_manager!r}), and -j runs steps in others",
                hint="leave -j out, or store it with a DuckDBIOManager or ParquetIOManager",
            )


def logger_of(asset: str) -> logging.Logger:
    """What an asset's function logs with."""
    return logging.getLogger(ASSET_LOGGER).getChild(asset)
