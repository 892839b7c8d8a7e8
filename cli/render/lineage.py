"""What reads what, drawn as a tree, Mermaid, DOT or JSON. Names from outside are escaped by each format's own rules here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from cli.render.report import Report
from cli.render.text import Span, Style, Tree, Verbatim, clean, line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cli.render.text import Block

PLAIN_MAPPINGS = frozenset({"identity", "time-overlap"})
"""Mappings that follow from the definitions and would only clutter a picture."""

_SAFE_IN_MERMAID = frozenset(" ._-:/@+")


class Drawing(StrEnum):
    """How lineage is drawn for people and other tools."""

    TREE = "tree"
    MERMAID = "mermaid"
    DOT = "dot"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Node:
    """A box: an asset, or some partitions of one. `note` is shown beside the name."""

    name: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow in the direction of the data. `loads` is False for `deps=`."""

    upstream: str
    downstream: str
    mapping: str
    loads: bool


def lineage_report(
    nodes: Sequence[Node], edges: Sequence[Edge], drawing: Drawing, *, selection: str
) -> Report:
    """The report of `partita lineage`; nodes in topological order."""
    return Report(
        command="lineage",
        data={
            "selection": selection,
            "nodes": [{"name": node.name, "note": node.note} for node in nodes],
            "edges": [_edge_record(edge) for edge in edges],
        },
        records=[_edge_record(edge) for edge in edges],
        blocks=_drawn(nodes, edges, drawing),
        columns=("upstream", "downstream", "mapping", "loads"),
    )


def mermaid(nodes: Sequence[Node], edges: Sequence[Edge]) -> str:
    """A Mermaid flowchart.

    >>> print(mermaid([Node('a"]')], []))
    flowchart LR
        n0["a#34;#93;"]
    """
    ids = {node.name: f"n{position}" for position, node in enumerate(nodes)}
    lines = ["flowchart LR"]
    lines += [f'    {ids[node.name]}["{_in_mermaid(_label(node))}"]' for node in nodes]
    for edge in edges:
        arrow = "-->" if edge.loads else "-.->"
        label = "" if edge.mapping in PLAIN_MAPPINGS else f'|"{_in_mermaid(edge.mapping)}"|'
        lines.append(f"    {ids[edge.upstream]} {arrow}{label} {ids[edge.downstream]}")
    return "\n".join(lines)


def dot(nodes: Sequence[Node], edges: Sequence[Edge]) -> str:
    r"""A Graphviz digraph.

    >>> print(dot([Node('a"\\')], []))
    digraph lineage {
      rankdir=LR;
      node [shape=box];
      n0 [label="a\"\\"];
    }
    """
    ids = {node.name: f"n{position}" for position, node in enumerate(nodes)}
    lines = ["digraph lineage {", "  rankdir=LR;", "  node [shape=box];"]
    lines += [f'  {ids[node.name]} [label="{_in_dot(_label(node))}"];' for node in nodes]
    for edge in edges:
        attributes = [] if edge.mapping in PLAIN_MAPPINGS else [f'label="{_in_dot(edge.mapping)}"']
        attributes += [] if edge.loads else ["style=dashed"]
        shown = f" [{', '.join(attributes)}]" if attributes else ""
        lines.append(f"  {ids[edge.upstream]} -> {ids[edge.downstream]}{shown};")
    return "\n".join([*lines, "}"])


def _drawn(nodes: Sequence[Node], edges: Sequence[Edge], drawing: Drawing) -> list[Block]:
    match drawing:
        case Drawing.TREE | Drawing.JSON:
            return [*_trees(nodes, edges)]
        case Drawing.MERMAID:
            return [Verbatim(mermaid(nodes, edges))]
        case Drawing.DOT:
            return [Verbatim(dot(nodes, edges))]
        case _:
            assert_never(drawing)


def _trees(nodes: Sequence[Node], edges: Sequence[Edge]) -> Iterable[Tree]:
    """One tree per node without an upstream here; what was drawn in full before is only named again."""
    by_name = {node.name: node for node in nodes}
    below: dict[str, list[Edge]] = {node.name: [] for node in nodes}
    for edge in edges:
        below[edge.upstream].append(edge)
    drawn: set[str] = set()

    def branch(node: Node, via: Edge | None) -> Tree:
        how = "" if via is None or via.mapping in PLAIN_MAPPINGS else f"  {via.mapping}"
        how += "  order only" if via is not None and not via.loads else ""
        if node.name in drawn and below[node.name]:
            return Tree(
                line(Span(node.name, Style.BOLD), Span(f"{how}  (drawn above)", Style.DIM))
            )
        drawn.add(node.name)
        note = f"  {node.note}" if node.note else ""
        return Tree(
            line(Span(node.name, Style.BOLD), Span(note + how, Style.DIM)),
            tuple(branch(by_name[edge.downstream], edge) for edge in below[node.name]),
        )

    has_upstream = {edge.downstream for edge in edges}
    return [branch(node, None) for node in nodes if node.name not in has_upstream]


def _edge_record(edge: Edge) -> dict[str, object]:
    return {
        "upstream": edge.upstream,
        "downstream": edge.downstream,
        "mapping": edge.mapping,
        "loads": edge.loads,
    }


def _label(node: Node) -> str:
    return f"{node.name} {node.note}" if node.note else node.name


def _in_mermaid(text: str) -> str:
    """Everything but letters, digits and a few harmless signs as a numbered entity: quotes end labels, brackets and # have a meaning."""
    return "".join(
        char if char.isalnum() or char in _SAFE_IN_MERMAID else f"#{ord(char)};"
        for char in clean(text)
    )


def _in_dot(text: str) -> str:
    return clean(text).replace("\\", "\\\\").replace('"', '\\"')
