"""The lineage graph: order, neighbours, ancestry, circles."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from assets_core import DefinitionError, Replace, RetryPolicy, SelectionError
from assets_core.authoring.graph import AssetGraph, find_cycles
from assets_core.model.specs import AssetSpec, Dependency
from partitions import SINGLE, All

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def spec(key: str, upstream: Iterable[str] = ()) -> AssetSpec:
    return AssetSpec(
        key=key,
        kind="python",
        description="",
        group="default",
        tags=(),
        owners=(),
        partitions=SINGLE,
        dependencies=tuple(Dependency(each, each, All()) for each in upstream),
        write=Replace(),
        partition_by=None,
        io_manager="default",
        retry=RetryPolicy(),
        batch_size=1,
        lookback=0,
        closed_after=timedelta(0),
        code_version="1",
        deps_version="1",
    )


def graph(edges: Mapping[str, str]) -> AssetGraph:
    """`{"b": "a"}`: b reads a."""
    return AssetGraph({key: spec(key, upstream.split()) for key, upstream in edges.items()})


DIAMOND = {"report": "left right", "right": "raw", "left": "raw", "raw": "", "alone": ""}


def test_order_is_topological_and_ties_follow_the_definition() -> None:
    assert graph(DIAMOND).order == ("raw", "right", "left", "report", "alone")
    assert graph({"b": "", "a": "", "c": ""}).order == ("b", "a", "c")


def test_direct_neighbours() -> None:
    found = graph(DIAMOND)
    assert found.upstream("report") == ("left", "right")
    assert found.downstream("raw") == ("right", "left")
    assert found.upstream("raw") == found.downstream("alone") == ()
    assert (found.roots(), found.leaves()) == (("raw", "alone"), ("report", "alone"))


def test_an_upstream_read_twice_is_one_neighbour() -> None:
    found = AssetGraph({"a": spec("a"), "b": spec("b", ["a", "a"])})
    assert found.order == ("a", "b")
    assert found.upstream("b") == ("a",)


def test_ancestors_and_descendants_come_in_topological_order_and_within_depth() -> None:
    found = graph(DIAMOND)
    assert found.ancestors("report") == ("raw", "right", "left")
    assert found.ancestors("report", 1) == ("right", "left")
    assert found.ancestors("report", 0) == ()
    assert found.descendants("raw") == ("right", "left", "report")
    assert found.descendants("raw", 1) == ("right", "left")
    assert found.descendants("alone") == ()


def test_the_critical_path_is_the_heaviest_chain() -> None:
    found = graph(DIAMOND)
    assert found.critical_path({"raw": 1, "left": 5, "right": 2, "report": 1}) == (
        "raw",
        "left",
        "report",
    )
    assert found.critical_path({"raw": 1, "right": 2, "alone": 9}) == ("alone",)
    assert found.critical_path()[0::2] == ("raw", "report")
    assert graph({}).critical_path() == ()


def test_an_unknown_asset_names_the_nearest() -> None:
    found = graph({"silver_orders": "", "bronze_orders": ""})
    with pytest.raises(SelectionError, match="there is no asset 'silver_order'") as caught:
        found.spec("silver_order")
    assert (caught.value.hint or "").startswith("did you mean silver_orders")
    for question in (found.upstream, found.downstream, found.ancestors, found.descendants):
        with pytest.raises(SelectionError):
            question("nothing")


def test_an_unknown_upstream_is_refused() -> None:
    with pytest.raises(DefinitionError, match="asset 'b' reads 'aa', and there is no such asset"):
        graph({"a": "", "b": "aa"})


@pytest.mark.parametrize(
    ("edges", "drawn"),
    [
        ({"a": "b", "b": "a"}, "a → b → a"),
        ({"a": "a"}, "a → a"),
        ({"x": "", "b": "x a", "c": "b", "a": "c", "z": "a"}, "b → c → a → b"),
    ],
)
def test_a_circle_is_drawn_in_the_direction_of_the_data(edges: dict[str, str], drawn: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        graph(edges)
    assert caught.value.message == f"assets read each other in a circle: {drawn}"


def test_separate_circles_are_all_found() -> None:
    edges = {
        "a": ["b"],
        "b": ["a"],
        "c": ["c"],
        "d": ["a", "e"],
        "e": ["f"],
        "f": ["e", "missing"],
    }
    assert find_cycles(edges) == [("a", "b", "a"), ("c", "c"), ("e", "f", "e")]


def test_a_long_chain_does_not_exhaust_the_stack() -> None:
    edges = {str(n): str(n - 1) if n else "" for n in range(5000)}
    found = graph(edges)
    assert found.order[-1] == "4999"
    assert len(found.ancestors("4999")) == 4999
    with pytest.raises(DefinitionError, match="circle"):
        graph({**edges, "0": "4999"})


def test_a_graph_pickles_after_a_lineage_question() -> None:
    found = graph(DIAMOND)
    found.ancestors("report")
    again = pickle.loads(pickle.dumps(found))  # noqa: S301 -- our own bytes
    assert again.order == found.order
    assert again.ancestors("report") == found.ancestors("report")


def test_only_lineage_questions_load_networkx() -> None:
    program = (
        "import sys\n"
        "from assets_core.authoring.graph import AssetGraph\n"
        "graph = AssetGraph({})\n"
        "graph.order, graph.roots()\n"
        "print('networkx' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert answer.stdout.strip() == "False"
