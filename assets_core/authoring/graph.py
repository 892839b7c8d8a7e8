"""The lineage graph of a project: which asset reads which, in which order, and questions about ancestry.

Decided here: the topological order (ties by order of definition, so that it never jumps about), and how a cycle is shown. Not decided
here: what an edge means for single partitions (`partitions.mappings`), and what must run (`planning`).

Order and direct neighbours are plain dictionaries, because the planner asks for them all the time. networkx answers the lineage
questions and is loaded by the first one: it costs more than a whole no-op plan.
"""

from __future__ import annotations

import heapq
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from assets_core.model.errors import DefinitionError, SelectionError
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from assets_core.model.specs import AssetSpec


class AssetGraph:
    """All assets of a project by key, and the edges between them. Immutable; it pickles.

    Attributes:
        specs: asset key -> specification, in order of definition.
        order: all keys, each after everything that it reads; ties by order of definition.

    Raises:
        DefinitionError: an asset reads one that isn't there, or assets read each other in a circle, which the message draws.
    """

    specs: Mapping[str, AssetSpec]
    order: tuple[str, ...]

    def __init__(self, specs: Mapping[str, AssetSpec]) -> None:
        self.specs = dict(specs)
        self._upstream = {
            key: tuple(dict.fromkeys(edge.upstream for edge in spec.dependencies))
            for key, spec in self.specs.items()
        }
        for key, upstreams in self._upstream.items():
            for upstream in upstreams:
                if upstream not in self.specs:
                    raise unknown_upstream(f"asset {key!r}", upstream, self.specs)
        self._downstream: dict[str, tuple[str, ...]] = _reversed(self._upstream)
        self.order = _topological(self._upstream, self._downstream)
        if len(self.order) < len(self.specs):
            raise cycle_error(find_cycles(self._upstream)[0])
        self._position = {key: position for position, key in enumerate(self.order)}

    def __contains__(self, key: object) -> bool:
        return key in self.specs

    def __len__(self) -> int:
        return len(self.specs)

    def spec(self, key: str) -> AssetSpec:
        """One asset.

        Raises:
            SelectionError: there is no such asset; the hint names the nearest.
        """
        try:
            return self.specs[key]
        except KeyError:
            raise self._unknown(key) from None

    def upstream(self, key: str) -> tuple[str, ...]:
        """The assets that `key` reads, in the order of its parameters; `deps=` last. Raises SelectionError as `spec`."""
        self.spec(key)
        return self._upstream[key]

    def downstream(self, key: str) -> tuple[str, ...]:
        """The assets that read `key`, in order of definition. Raises SelectionError as `spec`."""
        self.spec(key)
        return self._downstream[key]

    def ancestors(self, key: str, depth: int | None = None) -> tuple[str, ...]:
        """Everything that `key` is made from, in topological order, without `key`; at most `depth` edges away if given.

        Raises SelectionError as `spec`.
        """
        return self._reachable(key, depth, backwards=True)

    def descendants(self, key: str, depth: int | None = None) -> tuple[str, ...]:
        """Everything that is made from `key`, in topological order, without `key`; at most `depth` edges away if given.

        Raises SelectionError as `spec`.
        """
        return self._reachable(key, depth, backwards=False)

    def roots(self) -> tuple[str, ...]:
        """Assets that read no other, in topological order."""
        return tuple(key for key in self.order if not self._upstream[key])

    def leaves(self) -> tuple[str, ...]:
        """Assets that no other reads, in topological order."""
        return tuple(key for key in self.order if not self._downstream[key])

    def critical_path(self, weights: Mapping[str, float] | None = None) -> tuple[str, ...]:
        """The chain of assets with the greatest sum of `weights` (seconds, say), which no parallelism can shorten.

        Without weights every asset weighs 1: the longest chain. An asset that `weights` leaves out weighs 0. Negative weights count
        as 0. Empty for an empty graph.
        """
        nx = _networkx()

        if not self.order:
            return ()

        def weight(key: str) -> float:
            return 1.0 if weights is None else max(weights.get(key, 0.0), 0.0)

        # networkx weighs edges: each carries its head, and edges from a common start carry the heads that have no other.
        start = object()
        graph = nx.DiGraph()
        for key in self.order:
            for tail in (start, *self._upstream[key]):
                graph.add_edge(tail, key, weight=weight(key))
        return tuple(nx.dag_longest_path(graph, weight="weight"))[1:]

    def topological(self, keys: Iterable[str]) -> tuple[str, ...]:
        """`keys` in topological order, each once."""
        return tuple(sorted(set(keys), key=self._position.__getitem__))

    def _reachable(self, key: str, depth: int | None, *, backwards: bool) -> tuple[str, ...]:
        nx = _networkx()

        self.spec(key)
        graph = self._lineage.reverse(copy=False) if backwards else self._lineage
        lengths = nx.single_source_shortest_path_length(graph, key, cutoff=depth)
        return self.topological(found for found in lengths if found != key)

    @cached_property
    def _lineage(self) -> _Networkx:
        nx = _networkx()

        graph = nx.DiGraph()
        graph.add_nodes_from(self.order)
        graph.add_edges_from(
            (upstream, key) for key, upstreams in self._upstream.items() for upstream in upstreams
        )
        return graph

    def _unknown(self, key: str) -> SelectionError:
        return SelectionError(f"there is no asset {key!r}", hint=hint_for(key, self.specs))

    def __getstate__(self) -> Mapping[str, object]:
        # The networkx view is made again where it is asked for.
        return {name: value for name, value in vars(self).items() if name != "_lineage"}


_Networkx = Any
"""networkx publishes no types."""


def _networkx() -> _Networkx:
    """networkx, loaded by the first lineage question; see the module docstring."""
    return import_module("networkx")


def hint_for(name: str, known: Iterable[str]) -> str:
    """What to say to someone who asked for an unknown asset: the nearest names, else some that there are."""
    listed = list(known)
    asset, at, key = name.partition("@")
    if at and asset in listed:
        return f"the asset is {asset}; its partition is a word of its own where several may be named ({asset} {key}), and explained by: partita explain {name}"
    near = nearest(name, listed)
    if near:
        return f"did you mean {' or '.join(near)}?"
    if not listed:
        return "the project has no assets"
    shown = 5
    more = ", …" if len(listed) > shown else ""
    return f"there are {', '.join(listed[:shown])}{more}"


def unknown_upstream(who: str, upstream: str, known: Iterable[str]) -> DefinitionError:
    """The error for an asset that reads one which isn't there; `who` names the reader."""
    return DefinitionError(
        f"{who} reads {upstream!r}, and there is no such asset", hint=hint_for(upstream, known)
    )


def find_cycles(upstream: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """Circles of assets that read each other, no asset in two of them: keys in the direction of the data, first = last.

    Names that are no keys of `upstream` are passed over.

    >>> find_cycles({"a": ["b"], "b": ["a"], "c": ["a"]})
    [('a', 'b', 'a')]
    """
    found: list[tuple[str, ...]] = []
    left = {key: tuple(dict.fromkeys(upstreams)) for key, upstreams in upstream.items()}
    while True:
        left = {key: tuple(filter(left.__contains__, each)) for key, each in left.items()}
        sorted_out = set(_topological(left, _reversed(left)))
        left = {key: upstreams for key, upstreams in left.items() if key not in sorted_out}
        if not left:
            return found
        cycle = _walk_back(left)
        found.append(cycle)
        left = {key: upstreams for key, upstreams in left.items() if key not in cycle}


def cycle_error(cycle: tuple[str, ...]) -> DefinitionError:
    """The error that draws a circle.

    >>> cycle_error(("a", "b", "a")).message
    'assets read each other in a circle: a → b → a'
    """
    return DefinitionError(
        f"assets read each other in a circle: {' → '.join(cycle)}",
        hint="an asset that needs its own earlier rows can read them from its table; otherwise split one of these in two",
    )


def _walk_back(upstream: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """A circle, found by walking from upstream to upstream. All assets in `upstream` must be on a circle or behind one."""
    path: list[str] = []
    key = next(iter(upstream))
    while key not in path:
        path.append(key)
        key = next(each for each in upstream[key] if each in upstream)
    circle = path[path.index(key) :][::-1]
    # Start with the first-defined one, so that the same project always shows the same circle.
    first = next(each for each in upstream if each in circle)
    at = circle.index(first)
    return (*circle[at:], *circle[:at], first)


def _reversed(upstream: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    downstream: dict[str, list[str]] = {key: [] for key in upstream}
    for key, upstreams in upstream.items():
        for each in upstreams:
            downstream.setdefault(each, []).append(key)
    return {key: tuple(readers) for key, readers in downstream.items()}


def _topological(
    upstream: Mapping[str, tuple[str, ...]], downstream: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Kahn's order, always taking the first-defined asset that is ready; assets on or behind a circle are left out."""
    position = {key: number for number, key in enumerate(upstream)}
    waiting = {key: len(upstreams) for key, upstreams in upstream.items()}
    keys = list(upstream)
    ready = [position[key] for key, count in waiting.items() if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        key = keys[heapq.heappop(ready)]
        order.append(key)
        for reader in downstream[key]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, position[reader])
    return tuple(order)
