"""`partita explain`: why a partition is stale, or what an error code means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.commands.options import TOKEN, PartitaCommand, Settings, complete_assets, open_project
from cli.render.error_codes import ERROR_ENTRIES, entry_of

if TYPE_CHECKING:
    from assets_core.model.records import PartitionHistory
    from assets_core.planning.changes import Difference
    from assets_core.planning.explain import Explanation
    from assets_core.planning.staleness import Facts
    from cli.project import Project


@click.command("explain", cls=PartitaCommand)
@click.argument("name", metavar="ASSET@KEY|CODE", type=TOKEN, shell_complete=complete_assets)
@click.option(
    "--diff",
    is_flag=True,
    help="Show what changed in the code and dependencies since. ASSET alone means its latest partition of other code.",
)
@click.pass_obj
def command(settings: Settings, name: str, *, diff: bool) -> int:
    """Explain why a partition is stale, or what an error code means.

    For a partition, the tree of causes down to the first ones. An unpartitioned asset is named without @KEY. A word that is
    both an asset and an error code is the asset.
    """
    from cli.render.changes import difference_report  # noqa: PLC0415
    from cli.render.explanations import error_code_report, explanation_report  # noqa: PLC0415

    printer = settings.printer()
    entry = entry_of(name)
    if diff:
        printer.report(difference_report(_difference(open_project(settings), name)))
    elif entry is not None and not _is_asset(settings, name):
        printer.report(error_code_report(entry))
    else:
        from cli.commands.looking import look_only  # noqa: PLC0415 - an error code needs no project

        project = _project_for(settings, name)
        look_only(project, printer)
        printer.report(explanation_report(_explain(project, name)))
    return 0


def _project_for(settings: Settings, name: str) -> Project:
    """The project. Without one, a word that looks like an error code is taken for a mistyped one."""
    from assets_core.model.errors import ProjectError, SelectionError  # noqa: PLC0415
    from partitions.errors import nearest  # noqa: PLC0415

    try:
        return open_project(settings)
    except ProjectError as error:
        near = nearest(name, [entry.code for entry in ERROR_ENTRIES])
        if not near:
            raise
        raise SelectionError(
            f"there is no error code {name!r}, and no project here",
            hint=f"did you mean {' or '.join(near)}?",
        ) from error


def _is_asset(settings: Settings, name: str) -> bool:
    """Whether the project has such an asset, as far as the last manifest knows: a broken project must not hide what its error means."""
    from assets_core.state.manifest import read_stale_manifest  # noqa: PLC0415
    from partitions.errors import PartitaError  # noqa: PLC0415

    try:
        manifest = read_stale_manifest(open_project(settings).manifest_path)
    except PartitaError:
        return False
    return manifest is not None and any(asset.key == name for asset in manifest.assets)


def _difference(project: Project, name: str) -> Difference:
    from datetime import UTC, datetime  # noqa: PLC0415 - `explain CODE` needs none of it

    from cli.commands.names import slot_of, split_name  # noqa: PLC0415

    # The code of now is in the functions: load them before anything else is looked at.
    _ = project.resolved
    facts = project.facts(datetime.now(UTC), verify=False)
    asset, key = split_name(name)
    if key is None:
        return _difference_of(project, facts, facts.graph.spec(asset).key, None)
    return _difference_of(project, facts, *slot_of(facts, name))


def _difference_of(project: Project, facts: Facts, asset: str, slot: int | None) -> Difference:
    from assets_core.execution.facts import version_parts  # noqa: PLC0415
    from assets_core.planning.changes import difference  # noqa: PLC0415

    now = version_parts(project.resolved, [facts.graph.spec(asset)]).get(asset)
    return difference(facts, asset, slot, project.store.versions, now)


def _explain(project: Project, name: str) -> Explanation:
    from datetime import UTC, datetime  # noqa: PLC0415 - `explain CODE` needs none of it

    from assets_core.planning.explain import explain_partition  # noqa: PLC0415
    from cli.commands.names import slot_of  # noqa: PLC0415

    facts = project.facts(datetime.now(UTC))
    asset, slot = slot_of(facts, name)

    def history(asset: str, slot: int) -> PartitionHistory:
        space = facts.graph.spec(asset).partitions.space
        return project.store.history(asset, space, int(facts.indexes[asset].ids[slot]))

    def differences(asset: str, slot: int) -> Difference:
        return _difference_of(project, facts, asset, slot)

    return explain_partition(facts, asset, slot, history, differences)
