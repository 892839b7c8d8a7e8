"""The staged steps of a group, before any of them is written: which belong together, in which order, and their rows side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assets_core.model.io_manager import PARTITION_COLUMN
from io_managers.fingerprint import SLOT
from io_managers.partition_columns import has_key_column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from assets_core.model.io_manager import PartitionSlice, StageRequest
    from io_managers.staging import StagedRows


@dataclass(frozen=True, slots=True)
class Member:
    """One staged step of a group."""

    request: StageRequest
    rows: StagedRows


def by_asset(members: Sequence[Member]) -> dict[str, list[tuple[int, Member]]]:
    """The members of each asset, numbered by their place in the group."""
    found: dict[str, list[tuple[int, Member]]] = {}
    for position, member in enumerate(members):
        found.setdefault(member.request.target.asset, []).append((position, member))
    return found


def rounds(todo: Sequence[tuple[int, Member]]) -> list[list[tuple[int, Member]]]:
    """The members in order, cut where one writes a partition that is in the current round already."""
    rounds: list[list[tuple[int, Member]]] = []
    seen: set[str] = set()
    for position, member in todo:
        keys = {one.key for one in member.request.slices}
        if not rounds or seen & keys:
            rounds.append([])
            seen = set()
        rounds[-1].append((position, member))
        seen |= keys
    return rounds


def rows_of_slices(
    members: Sequence[Member],
) -> Iterator[tuple[PartitionSlice, NDArray[np.int64]]]:
    """Each slice of each member, with the positions of its rows among those of all members."""
    start = 0
    for member in members:
        rows = member.rows.open()
        slots = rows.column(SLOT).to_numpy() if SLOT in rows.column_names else None
        for position, one in enumerate(member.request.slices):
            mine = np.arange(len(rows)) if slots is None else np.flatnonzero(slots == position)
            yield one, mine + start
        start += len(rows)


def incoming_of(members: Sequence[Member]) -> pa.Table:
    """The visible rows of all members in order, with `_partition` where the asset has that column."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    tables = _in_one_spelling([member.rows.visible() for member in members])
    table = tables[0]
    if len(tables) > 1:
        table = pa.concat_tables(tables, promote_options="default")
        if all(isinstance(member.rows.held, pa.Table) for member in members):
            table = (
                table.combine_chunks()
            )  # a scan of a hundred one-row chunks costs more than this copy
    if has_key_column(members[0].request.target):
        owners = np.repeat(np.arange(len(tables), dtype=np.int32), [len(one) for one in tables])
        keys = pa.array([member.request.slices[0].key for member in members], pa.string())
        column = pa.DictionaryArray.from_arrays(pa.array(owners), keys)
        table = table.append_column(PARTITION_COLUMN, column)
    return table


def _in_one_spelling(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """The same with names that differ by case under their first spelling: they are one column."""
    known: dict[str, str] = {}
    found = []
    for table in tables:
        names = [known.setdefault(name.casefold(), name) for name in table.column_names]
        found.append(table if names == table.column_names else table.rename_columns(names))
    return found
