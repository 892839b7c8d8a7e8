"""Selections and ancestry against brute force: random graphs, random expressions, sets of names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from assets_core import Replace, RetryPolicy, SelectionError
from assets_core.authoring.graph import AssetGraph
from assets_core.authoring.selection import select_assets
from assets_core.model.specs import AssetSpec, Dependency
from partitions import SINGLE, All

GROUPS = ("bronze", "silver", "my group")


@dataclass(frozen=True)
class World:
    """A graph and, beside it, its edges as plain sets: reader -> what it reads."""

    graph: AssetGraph
    reads: dict[str, frozenset[str]]


def spec(key: str, upstream: frozenset[str], group: str) -> AssetSpec:
    return AssetSpec(
        key=key,
        kind="python",
        description="",
        group=group,
        tags=(),
        owners=(),
        partitions=SINGLE,
        dependencies=tuple(Dependency(each, each, All()) for each in sorted(upstream)),
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


@st.composite
def worlds(draw: st.DrawFn) -> World:
    size = draw(st.integers(1, 9))
    ranks = [f"a{number}" for number in range(size)]
    reads = {
        key: frozenset(draw(st.sets(st.sampled_from(ranks[:place]), max_size=3)))
        if place
        else frozenset()
        for place, key in enumerate(ranks)
    }
    order = draw(st.permutations(ranks))
    groups = {key: draw(st.sampled_from(GROUPS)) for key in ranks}
    return World(AssetGraph({key: spec(key, reads[key], groups[key]) for key in order}), reads)


def reached(world: World, start: frozenset[str], depth: int | None, *, up: bool) -> frozenset[str]:
    """Everything at most `depth` edges away, `start` included: one relaxation per edge of the longest path."""
    found = start
    for _ in range(len(world.reads) if depth is None else min(depth, len(world.reads))):
        if up:
            found |= {upstream for key in found for upstream in world.reads[key]}
        else:
            found |= {key for key, upstreams in world.reads.items() if upstreams & found}
    return found


@st.composite
def expressions(draw: st.DrawFn, world: World, depth: int = 3) -> tuple[str, frozenset[str]]:
    """A selection's text, and by brute force what it selects."""
    every = frozenset(world.reads)
    kind = draw(
        st.sampled_from(
            ["name", "glob", "group", "roots", "leaves"]
            if not depth
            else ["name", "reach", "and", "or", ",", "not", "group", "all"]
        )
    )
    below = expressions(world, depth - 1) if depth else None
    if kind in {"and", "or", ","}:
        assert below is not None
        (left, lefts), (right, rights) = draw(below), draw(below)
        space = draw(st.sampled_from([" ", "  "]))
        return (
            f"({left}){space}{kind}{space}({right})",
            lefts & rights if kind == "and" else lefts | rights,
        )
    if kind == "not":
        assert below is not None
        text, found = draw(below)
        return f"not ({text})", every - found
    if kind == "reach":
        assert below is not None
        text, found = draw(below)
        up, down = (
            draw(st.sampled_from([("", 0), ("+", None), ("0+", 0), ("1+", 1), ("2+", 2)])),
            draw(st.sampled_from([("", 0), ("+", None), ("+0", 0), ("+1", 1), ("+3", 3)])),
        )
        return f"{up[0]}({text}){down[0]}", reached(world, found, up[1], up=True) | reached(
            world, found, down[1], up=False
        )
    if kind == "group":
        specs = world.graph.specs
        group = draw(st.sampled_from(sorted({each.group for each in specs.values()})))
        text = f'group:"{group}"' if " " in group else f"group:{group}"
        return text, frozenset(key for key in specs if specs[key].group == group)
    if kind == "roots":
        return "roots()", frozenset(key for key in every if not world.reads[key])
    if kind == "leaves":
        read = frozenset().union(*world.reads.values())
        return "leaves()", every - read
    if kind == "glob":
        digit = draw(st.integers(0, 9))
        return f"*{digit}", frozenset(key for key in every if key.endswith(str(digit)))
    if kind == "all":
        return "*", every
    name = draw(st.sampled_from(sorted(every)))
    return draw(st.sampled_from([name, f'"{name}"'])), frozenset([name])


@given(data=st.data(), world=worlds())
def test_a_selection_equals_brute_force_and_is_in_topological_order(
    data: st.DataObject, world: World
) -> None:
    text, wanted = data.draw(expressions(world))
    try:
        found = select_assets(text, world.graph)
    except SelectionError:
        assert not wanted
        return
    assert frozenset(found) == wanted
    assert len(found) == len(wanted)
    assert list(found) == [key for key in world.graph.order if key in wanted]


@given(world=worlds(), depth=st.none() | st.integers(0, 4))
def test_ancestors_and_descendants_equal_brute_force(world: World, depth: int | None) -> None:
    for key in world.reads:
        start = frozenset([key])
        assert (
            frozenset(world.graph.ancestors(key, depth))
            == reached(world, start, depth, up=True) - start
        )
        assert (
            frozenset(world.graph.descendants(key, depth))
            == reached(world, start, depth, up=False) - start
        )


@given(world=worlds())
def test_order_is_topological_and_the_first_ready_in_definition_order(world: World) -> None:
    done: set[str] = set()
    for key in world.graph.order:
        ready = [
            each for each in world.graph.specs if each not in done and world.reads[each] <= done
        ]
        assert ready[0] == key
        done.add(key)
    assert done == set(world.reads)


@given(world=worlds(), data=st.data())
def test_no_chain_is_heavier_than_the_critical_path(world: World, data: st.DataObject) -> None:
    weights = {key: data.draw(st.integers(0, 5)) for key in world.reads}
    path = world.graph.critical_path(weights)
    heaviest: dict[str, int] = {}
    for key in world.graph.order:
        heaviest[key] = weights[key] + max(
            (heaviest[each] for each in world.reads[key]), default=0
        )
    assert sum(weights[key] for key in path) == max(heaviest.values())
    assert all(up in world.reads[down] for up, down in pairwise(path))


@given(world=worlds(), text=st.text(st.sampled_from("a01*+():,\"' ndotr\\|=💥"), max_size=25))
def test_any_text_is_selected_or_refused_with_a_mark(world: World, text: str) -> None:
    try:
        found = select_assets(text, world.graph)
    except SelectionError as error:
        assert "\n" not in error.message or set(error.message.splitlines()[-1].strip()) == {"^"}  # noqa: PT017 -- both ways are good
    else:
        assert found
        assert set(found) <= set(world.reads)
