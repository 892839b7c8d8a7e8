"""One run as people want to see it: its steps grouped, with partitions named as they name them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from assets_core.model.records import StepStatus
from assets_core.planning.ever import index_ever
from cli.render.runs import StepGroup, run_details
from partitions.errors import PartitaError
from partitions.sets import PartitionSet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from assets_core.model.records import RunRecord, StepRecord
    from cli.project import Project
    from cli.render.printer import Printer
    from partitions.definitions import PartitionIndex

    PartitionNames = Callable[[str, Sequence[int]], str]
    """(asset, partition ids) → the partitions as a range expression; empty for an unpartitioned asset."""


def show_details(project: Project, printer: Printer, record: RunRecord, *, alive: bool) -> None:
    """Print how the run went so far; `alive` says whether a run that is recorded as running has a living process."""
    name_of = partition_names(project, printer)
    steps = project.store.steps(record.id)
    names = {step.id: _step_name(step, name_of) for step in steps}
    for_good = {(step.id, step.attempt) for step in steps if step.status is StepStatus.FAILED}
    retried = [
        (names[attempt.step_id], attempt)
        for attempt in project.store.attempts(record.id)
        if (attempt.step_id, attempt.attempt) not in for_good
    ]
    checks = [check for _, check in project.store.checks(record.id)]
    printer.report(run_details(record, _grouped(steps, name_of), retried, checks, alive=alive))


def partition_names(project: Project, printer: Printer) -> PartitionNames:
    """How to name the partitions of steps. Without a project that loads, the stored numbers must do."""

    def by_number(ids: Sequence[int]) -> str:
        return ", ".join(f"#{one}" for one in ids)

    try:
        specs = project.resolved.graph.specs
    except PartitaError as error:
        first = error.message.partition("\n")[0]
        printer.note(
            f"partitions are shown by number, because the project can't be loaded: {first}"
        )
        return lambda _asset, ids: by_number(ids)
    key_ids = project.store.key_ids()
    now = datetime.now(UTC)
    indexes = {key: spec.partitions.index(now, key_ids) for key, spec in specs.items()}

    def names(asset: str, ids: Sequence[int]) -> str:
        index = indexes.get(asset)
        if index is None:
            return by_number(ids)
        known, gone = _named(index, ids)
        ever = (
            index_ever(index.definition, now, key_ids, project.store.removed_keys())
            if gone
            else None
        )
        former, unknown = ("", gone) if ever is None else _named(ever, gone)
        # A number where nobody knows any more what it was called.
        return ", ".join(part for part in (known, former, by_number(unknown)) if part)

    return names


def _named(index: PartitionIndex, ids: Sequence[int]) -> tuple[str, list[int]]:
    """The partitions of these ids by name, and the ids that the index does not have."""
    slots = index.slots_of_ids(np.asarray(ids, dtype=np.int64))
    known = PartitionSet.from_slots(index, slots[slots >= 0]).expression()
    return known, [one for one, slot in zip(ids, slots.tolist(), strict=True) if slot < 0]


def _grouped(steps: Sequence[StepRecord], name_of: PartitionNames) -> list[StepGroup]:
    """Steps by asset, status and reason, in the order of the first of each."""
    groups: dict[tuple[str, str, str], list[StepRecord]] = {}
    for step in steps:
        # Failures in one line of code differ in their last line at most: the frames tell them apart.
        reason = step.traceback.rpartition("\n")[0] or step.message
        groups.setdefault((step.asset, step.status.value, reason), []).append(step)
    found = []
    for (asset, status, _), members in groups.items():
        ids = sorted({one for step in members for one in step.partition_ids})
        found.append(
            StepGroup(
                asset=asset,
                status=status,
                steps=len(members),
                count=len(ids),
                partitions=name_of(asset, ids),
                rows=sum(step.rows or 0 for step in members),
                message=members[0].message,
                traceback=members[0].traceback,
            )
        )
    return found


def _step_name(step: StepRecord, name_of: PartitionNames) -> str:
    keys = name_of(step.asset, step.partition_ids)
    return f"{step.asset}@{keys}" if keys else step.asset


def parsed_line(text: str) -> dict[str, str]:
    """One line of a log: `<instant> <step> <message>`."""
    at, _, rest = text.partition(" ")
    step, _, message = rest.partition(" ")
    return {"at": at, "step": step, "message": message}
