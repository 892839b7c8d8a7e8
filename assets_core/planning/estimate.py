"""How long a plan would take, judged by what its assets' past steps took, and what that judgement rests on.

Decided here: the median over an asset's latest steps of seconds per partition, times the partitions planned; assets add up, as if one
step ran at a time. What runs only if its upstream changes is told apart, an asset without a past is named and not counted.
Not decided here: which steps are the latest (the state store's answer) and the words (`cli.render`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from assets_core.model.records import StepDuration
    from assets_core.planning.plan import AssetPlan, Plan

    Json = dict[str, object]
    PastSteps = Callable[[str], Sequence[StepDuration]]
    """Asset → its latest measured steps."""

LATEST_STEPS: Final = 100
"""How many past steps of an asset are looked at: enough for a median, few enough to follow a change of pace."""


@dataclass(frozen=True, slots=True)
class AssetEstimate:
    """One asset's part: `partitions` will run, `conditional` may; `steps` past steps say how long one partition takes."""

    asset: str
    seconds_per_partition: float
    steps: int
    partitions: int
    conditional: int

    @property
    def seconds(self) -> float:
        """What the partitions that will run take."""
        return self.seconds_per_partition * self.partitions

    @property
    def conditional_seconds(self) -> float:
        """What those take that run only if what they read changes."""
        return self.seconds_per_partition * self.conditional

    def as_json(self) -> Json:
        """A JSON object."""
        return {
            "asset": self.asset,
            "seconds": round(self.seconds, 3),
            "conditional_seconds": round(self.conditional_seconds, 3),
            "seconds_per_partition": round(self.seconds_per_partition, 6),
            "steps": self.steps,
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan would take: assets with a past, in the plan's order, and the names of those without."""

    assets: tuple[AssetEstimate, ...]
    not_counted: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """What will run takes, of the assets that are counted."""
        return sum(asset.seconds for asset in self.assets)

    @property
    def conditional_seconds(self) -> float:
        """What may run takes on top of that, of the assets that are counted."""
        return sum(asset.conditional_seconds for asset in self.assets)

    @property
    def steps(self) -> int:
        """How many past steps it rests on."""
        return sum(asset.steps for asset in self.assets)

    def as_json(self) -> Json:
        """A JSON object; the sums are null if nothing is known, which is not the same as nothing to do."""
        known = bool(self.assets)
        return {
            "seconds": round(self.seconds, 3) if known else None,
            "conditional_seconds": round(self.conditional_seconds, 3) if known else None,
            "steps": self.steps,
            "assets": [asset.as_json() for asset in self.assets],
            "not_counted": list(self.not_counted),
        }


def estimate_plan(plan: Plan, past_steps: PastSteps) -> Estimate:
    """The estimate for what the plan runs; `past_steps` is asked once for each asset that runs, never for another."""
    counted: list[AssetEstimate] = []
    not_counted: list[str] = []
    for part in plan.assets:
        if part.partitions:
            past = past_steps(part.asset)
            if past:
                counted.append(_of_asset(part, past))
            else:
                not_counted.append(part.asset)
    return Estimate(tuple(counted), tuple(not_counted))


def _of_asset(part: AssetPlan, past: Sequence[StepDuration]) -> AssetEstimate:
    # The median, because one step that waited for a lock or a slow source must not stand for all.
    each = float(np.median([step.seconds / step.partitions for step in past]))
    conditional = len(part.conditional)
    return AssetEstimate(
        part.asset, each, len(past), len(part.partitions) - conditional, conditional
    )
