"""Reading what a project has made: which partitions of an asset are visible, queries over assets, rows of one asset.

What is visible is the state's to say: a partition counts if its last success published rows. Nothing is written, nothing is run, and
of the user's modules nothing is imported while the manifest holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assets_core.execution.slices import slices_of
from assets_core.model.errors import IOManagerError
from io_managers.queries import Source, query_rows
from partitions.ranges import parse_range
from partitions.sets import PartitionSet

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


def chosen_slices(
    project: Project, asset: str, partitions: str | None, now: datetime, *, allow_missing: bool
) -> tuple[PartitionSlice, ...]:
    """The partitions of a range of which there are rows, in order; without a range all that have some.

    Raises:
        SelectionError: there is no such asset.
        RangeSyntaxError, UnknownPartitionError: the range can't be read, or is none of this asset.
        IOManagerError: some of the range have no rows, unless `allow_missing`; or none has.
    """
    index = project.outline.graph.spec(asset).partitions.index(now, project.store.key_ids())
    visible = PartitionSet.from_slots(index, visible_slots(project, asset, index).tolist())
    chosen = visible if partitions is None else parse_range(partitions, index, now)
    missing, found = chosen - visible, chosen & visible
    again = f"partita materialize {asset}" + (f" '{partitions}'" if partitions else "")
    if not found:
        raise IOManagerError(
            f"{asset} has no rows" + (f" of {partitions}" if partitions else ""),
            hint=f"type: {again}",
        )
    if missing and not allow_missing:
        raise IOManagerError(
            f"{asset} has no rows of {missing.describe()}: never materialized",
            hint=f"type: {again}; or leave them out with allow_missing=True",
        )
    return slices_of(index, found.slots().tolist())
