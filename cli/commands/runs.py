"""`partita runs`: what was run, how it ended, and what it said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.commands.options import TOKEN, PartitaGroup, Settings, open_project

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from assets_core.model.records import RunRecord, StepRecord
    from cli.project import Project
    from cli.render.printer import Printer
    from cli.render.runs import StepGroup

    PartitionNames = Callable[[str, Sequence[int]], str]
    """(asset, partition ids) → the partitions as a range expression; empty for an unpartitioned asset."""


@click.group("runs", cls=PartitaGroup)
def command() -> None:
    """List and inspect runs."""


@command.command("list")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="The latest so many.",
)
@click.pass_obj
def list_runs(settings: Settings, limit: int) -> int:
    """List the latest runs, newest first."""
    from cli.render.runs import runs_report  # noqa: PLC0415

    printer = settings.printer()
    project = open_project(settings)
    printer.report(runs_report(project.store.runs(limit), alive=project.lock.is_held()))
    return 0


@command.command("show")
@click.argument("run", metavar="RUN", type=TOKEN)
@click.pass_obj
def show_run(settings: Settings, run: str) -> int:
    """Show how one run went.

    What was asked, how it went for each asset, failures, retries and checks.
    RUN may be shortened to as much as tells it from the others; `latest` is the latest.
    """
    from assets_core.model.records import StepStatus  # noqa: PLC0415
    from cli.render.runs import run_details  # noqa: PLC0415

    printer = settings.printer()
    project = open_project(settings)
    record = _find(project, run)
    name_of = _partition_names(project, printer)
    steps = project.store.steps(record.id)
    names = {step.id: _step_name(step, name_of) for step in steps}
    for_good = {(step.id, step.attempt) for step in steps if step.status is StepStatus.FAILED}
    retried = [
        (names[attempt.step_id], attempt)
        for attempt in project.store.attempts(record.id)
        if (attempt.step_id, attempt.attempt) not in for_good
    ]
    checks = [check for _, check in project.store.checks(record.id)]
    alive = project.lock.is_held()
    printer.report(run_details(record, _grouped(steps, name_of), retried, checks, alive=alive))
    return 0


@command.command("logs")
@click.argument("run", metavar="RUN", type=TOKEN)
@click.argument("step", metavar="[ASSET[@KEY]]", required=False, type=TOKEN)
@click.pass_obj
def show_logs(settings: Settings, run: str, step: str | None) -> int:
    """Print the log of a run.

    What Partita noted, and what the functions of assets printed and logged.
    With ASSET or ASSET@KEY only the lines of that asset or step.
    """
    from assets_core.telemetry.run_log import step_word  # noqa: PLC0415
    from cli.render.runs import log_report  # noqa: PLC0415

    printer = settings.printer()
    project = open_project(settings)
    record = _find(project, run)
    lines = [_parsed(one) for one in project.logs.read(record.id, record.started_at)]
    if step is not None:
        lines = [one for one in lines if _belongs(one["step"], step_word(step))]
        if not lines:
            _require_step(project, record, step)
    printer.report(log_report(record.id, lines))
    return 0


def _require_step(project: Project, record: RunRecord, name: str) -> None:
    """Raise SelectionError if the run had nothing to do with the asset that `name` begins with."""
    from assets_core.authoring.graph import hint_for  # noqa: PLC0415
    from assets_core.model.errors import SelectionError  # noqa: PLC0415

    asset = name.partition("@")[0]
    known = dict.fromkeys(step.asset for step in project.store.steps(record.id))
    if asset not in known:
        raise SelectionError(
            f"run {record.id} has no step of {asset!r}", hint=hint_for(asset, known)
        )


def _find(project: Project, given: str) -> RunRecord:
    """The run whose id begins with `given`. Raises SelectionError for none or several."""
    from assets_core.model.errors import SelectionError  # noqa: PLC0415

    if (exact := project.store.run(given)) is not None:
        return exact
    every = project.store.runs(1_000_000)
    if given == "latest" and every:
        return every[0]
    found = [run for run in every if run.id.startswith(given)] if given else []
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(run.id for run in found[:5])
        raise SelectionError(
            f"{given!r} begins the ids of {len(found)} runs: {ids}", hint="type more of it"
        )
    latest = f"the latest is {every[0].id}" if every else "nothing was run in this project yet"
    raise SelectionError(
        f"there is no run {given!r}", hint=f"{latest}; partita runs list shows them"
    )


def _partition_names(project: Project, printer: Printer) -> PartitionNames:
    """How to name the partitions of steps. Without a project that loads, the stored numbers must do."""
    from datetime import UTC, datetime  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415

    from partitions.errors import PartitaError  # noqa: PLC0415
    from partitions.sets import PartitionSet  # noqa: PLC0415

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
        slots = index.slots_of_ids(np.asarray(ids, dtype=np.int64))
        known = PartitionSet.from_slots(index, slots[slots >= 0]).expression()
        # A number where the definition no longer has the partition.
        gone = by_number([one for one, slot in zip(ids, slots.tolist(), strict=True) if slot < 0])
        return ", ".join(part for part in (known, gone) if part)

    return names


def _grouped(steps: Sequence[StepRecord], name_of: PartitionNames) -> list[StepGroup]:
    """Steps by asset, status and reason, in the order of the first of each."""
    from cli.render.runs import StepGroup  # noqa: PLC0415

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


def _parsed(text: str) -> dict[str, str]:
    """One line of a log: `<instant> <step> <message>`."""
    at, _, rest = text.partition(" ")
    step, _, message = rest.partition(" ")
    return {"at": at, "step": step, "message": message}


def _belongs(step: str, wanted: str) -> bool:
    return step == wanted or step.startswith(f"{wanted}@")
