"""`partita lineage`: what reads what, between assets or between partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.commands.options import TOKEN, PartitaCommand, Settings, complete_assets, open_project
from cli.render.lineage import Drawing, Edge, Node, lineage_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from cli.project import Project


@click.command("lineage", cls=PartitaCommand)
@click.argument(
    "words", metavar="[SELECT]...|ASSET@KEY", nargs=-1, type=TOKEN, shell_complete=complete_assets
)
@click.option(
    "--format",
    "drawing",
    type=click.Choice([drawing.value for drawing in Drawing]),
    default=Drawing.TREE.value,
    show_default=True,
    help="How to draw it; json is the same as --json.",
)
@click.pass_obj
def command(settings: Settings, words: tuple[str, ...], drawing: str) -> int:
    """Draw what reads what.

    For assets, the edges between the selected ones: +orders for all that orders is made from, orders+ for all that is made from
    it. For ASSET@KEY, the partitions that it reads and those that read it.
    """
    from cli.render.report import Output  # noqa: PLC0415

    how = Drawing(drawing)
    if how is Drawing.JSON:
        settings.output = Output.JSON
    printer = settings.printer()
    project = open_project(settings)
    if len(words) == 1 and "@" in words[0]:
        nodes, edges = _of_partition(project, words[0])
    else:
        nodes, edges = _of_assets(project, words)
    printer.report(lineage_report(nodes, edges, how, selection=" ".join(words)))
    return 0


def _of_assets(project: Project, words: Sequence[str]) -> tuple[list[Node], list[Edge]]:
    from cli.commands.manifest_graph import select_from_manifest  # noqa: PLC0415

    assets = select_from_manifest(project, words)
    chosen = {asset.key for asset in assets}
    edges = [
        Edge(edge.upstream, asset.key, edge.mapping, loads=edge.parameter is not None)
        for asset in assets
        for edge in asset.dependencies
        if edge.upstream in chosen
    ]
    return [Node(asset.key, asset.partitions) for asset in assets], edges


def _of_partition(project: Project, name: str) -> tuple[list[Node], list[Edge]]:
    """One partition, what it reads and what reads it: each neighbour is one node with its partitions as a note."""
    from datetime import UTC, datetime  # noqa: PLC0415 - only partitions need it

    from assets_core.planning.staleness import bind_dependencies  # noqa: PLC0415
    from cli.commands.names import slot_of  # noqa: PLC0415
    from partitions.sets import PartitionSet  # noqa: PLC0415

    facts = project.facts(datetime.now(UTC), verify=False)
    asset, slot = slot_of(facts, name)
    middle = Node(name)
    above: list[Node] = []
    below: list[Node] = []
    edges: list[Edge] = []

    def neighbour(key: str, slots: NDArray[np.int64]) -> Node:
        chosen = PartitionSet.from_slots(facts.indexes[key], slots)
        return Node(key, chosen.describe() if len(chosen) and chosen.first() else "")

    for edge in bind_dependencies(facts, facts.graph.spec(asset)):
        slots = edge.mapped.upstream_slots(slot)
        dependency = edge.dependency
        if len(slots):
            above.append(neighbour(dependency.upstream, slots))
            edges.append(
                Edge(
                    dependency.upstream,
                    middle.name,
                    dependency.mapping.text(),
                    loads=dependency.parameter is not None,
                )
            )
    for reader in facts.graph.downstream(asset):
        for edge in bind_dependencies(facts, facts.graph.spec(reader)):
            if edge.dependency.upstream != asset:
                continue
            slots = edge.mapped.downstream_slots(slot)
            if len(slots):
                below.append(neighbour(reader, slots))
                loads = edge.dependency.parameter is not None
                edges.append(
                    Edge(middle.name, reader, edge.dependency.mapping.text(), loads=loads)
                )
    distinct = {node.name: node for node in (*above, middle, *below)}
    return list(distinct.values()), edges
