"""Reading what a project has made: which partitions of an asset are visible, queries over assets, rows of one asset.

What is visible is the state's to say: a partition counts if its last success published rows. Nothing is written, nothing is run, and
of the user's modules nothing is imported while the manifest holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assets_core.execution.slices import slices_of
from io_managers.queries import Source, query_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import pyarrow as pa

    from assets_core.model.io_manager import PartitionSlice
    from cli.project import Project
    from partitions.definitions import PartitionIndex


def query_project(
    project: Project, sql: str, now: datetime, *, limit: int | None = None
) -> pa.RecordBatchReader:
    """The rows of a query over the project's assets, at most `limit`. Raises QueryError, IOManagerError, ProjectError."""
    outline = project.outline

    def visible(asset: str) -> Callable[[], tuple[PartitionSlice, ...]]:
        return lambda: _visible(project, asset, now)

    sources = {
        asset: Source(outline.target(asset), outline.manager(asset), visible(asset))
        for asset in outline.graph.specs
    }
    return query_rows(sql, sources, str(project.location.folder / "query"), limit=limit)


def _visible(project: Project, asset: str, now: datetime) -> tuple[PartitionSlice, ...]:
    """Every partition of the asset that has rows, in order."""
    spec = project.outline.graph.spec(asset)
    index = spec.partitions.index(now, project.store.key_ids())
    return slices_of(index, visible_slots(project, asset, index).tolist())


def visible_slots(
    project: Project, asset: str, index: PartitionIndex
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The slots of the partitions that have rows, ascending."""
    space = project.outline.graph.spec(asset).partitions.space
    ids = np.fromiter(project.store.tokens(asset, space), dtype=np.int64)
    slots = index.slots_of_ids(ids)
    return np.sort(slots[slots >= 0])
