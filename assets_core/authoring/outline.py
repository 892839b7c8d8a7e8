"""A project without its functions: all that looking and planning need. What makes one is `definitions`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assets_core.authoring.graph import AssetGraph
    from assets_core.model.io_manager import IOManager, Target


@dataclass(frozen=True, slots=True)
class Outline:
    """What it takes to look at a project and plan, without any of its functions: it pickles if its IO managers and mappings do.

    `targets` says per asset key where its rows go; `io_managers` and `pools` (name to slots) always hold those that assets name. `rejected`
    says for assets whose contract quarantines where rows go that break it, by the asset's own IO manager.
    """

    graph: AssetGraph
    targets: Mapping[str, Target]
    io_managers: Mapping[str, IOManager]
    pools: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, Target] = field(default_factory=dict)

    def target(self, key: str) -> Target:
        """Asset `key` as a destination for rows. Raises SelectionError if there is no such asset."""
        self.graph.spec(key)
        return self.targets[key]

    def manager(self, key: str) -> IOManager:
        """The IO manager that stores asset `key`. Raises SelectionError if there is no such asset."""
        return self.io_managers[self.graph.spec(key).io_manager]
