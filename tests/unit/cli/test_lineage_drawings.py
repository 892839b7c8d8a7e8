from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from cli.render.lineage import Drawing, Edge, Node, dot, lineage_report, mermaid
from cli.render.printer import Printer
from cli.render.report import Output

NODES = [Node("a"), Node("b"), Node("c"), Node("d")]
EDGES = [
    Edge("a", "b", "identity", loads=True),
    Edge("a", "c", "last-n(7)", loads=True),
    Edge("b", "d", "identity", loads=True),
    Edge("c", "d", "identity", loads=False),
]


def drawn(drawing: Drawing) -> str:
    import io

    out = io.StringIO()
    report = lineage_report(NODES, EDGES, drawing, selection="")
    Printer(out, io.StringIO(), Output.TABLE).report(report)
    return out.getvalue()


def test_a_diamond_as_a_tree_names_what_it_drew_already() -> None:
    assert drawn(Drawing.TREE).splitlines() == [
        "a",
        "├─ b",
        "│  └─ d",
        "└─ c  last-n(7)",
        "   └─ d  order only",
    ]


def test_mermaid_shows_mappings_and_edges_that_load_nothing() -> None:
    text = mermaid(NODES, EDGES)
    assert 'n0 -->|"last-n#40;7#41;"| n2' in text
    assert "n2 -.-> n3" in text


def test_dot_shows_mappings_and_edges_that_load_nothing() -> None:
    text = dot(NODES, EDGES)
    assert 'n0 -> n2 [label="last-n(7)"];' in text
    assert "n2 -> n3 [style=dashed];" in text


@given(st.text(min_size=1))
def test_no_name_breaks_out_of_a_mermaid_label(name: str) -> None:
    lines = mermaid([Node(name)], []).splitlines()
    assert len(lines) == 2
    inside = re.fullmatch(r'    n0\["(.*)"\]', lines[1])
    assert inside is not None
    assert not set(inside.group(1)) & set('"[](){}<>|`')


@given(st.text(min_size=1))
def test_no_name_breaks_out_of_a_dot_label(name: str) -> None:
    lines = dot([Node(name)], []).splitlines()
    assert len(lines) == 5
    assert re.fullmatch(r'  n0 \[label="(?:[^"\\]|\\.)*"\];', lines[3])
