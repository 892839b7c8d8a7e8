"""What a worker is told: one attempt of one step, complete, so that it can be carried out in this process, another one, or on another machine.

An order holds names and partitions, never code or rows: the worker has the project's definitions, by importing them if it is elsewhere.
Its JSON form is what crosses processes. What has to be read was found out by whoever made the order; a worker knows no run and no state.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from assets_core.model.io_manager import PartitionSlice
from partitions.time_windows import TimeWindow
from partitions.zones import instant_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class InputOrder:
    """What to load for one parameter: these partitions of `upstream`, in this order; of them `columns`, None for all."""

    parameter: str
    upstream: str
    slices: tuple[PartitionSlice, ...]
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ReferenceOrder:
    """The partitions of `asset` that foreign keys of some of the step's own partitions look at; `own` are positions in the order's `slices`."""

    asset: str
    own: tuple[int, ...]
    slices: tuple[PartitionSlice, ...]


@dataclass(frozen=True, slots=True)
class StepOrder:
    """One attempt. `slices` are the partitions to make; `epoch` and `token` are those of its claim.

    `elsewhere`: another process will publish, so what is staged must be where that one can reach it.
    `timeout` is in seconds, `memory` in bytes; None means no limit. `now`, aware, is what the contract takes for the present; `references`
    says which partitions its foreign keys look at: for each asset, own partitions that look at the same ones together.
    """

    run_id: str
    asset: str
    step_id: int
    epoch: int
    token: str
    number: int
    slices: tuple[PartitionSlice, ...]
    inputs: tuple[InputOrder, ...]
    now: datetime
    elsewhere: bool = False
    timeout: float | None = None
    memory: int | None = None
    references: tuple[ReferenceOrder, ...] = ()

    def to_json(self) -> str:
        """The order as one line of text."""
        return json.dumps(
            {
                "run": self.run_id,
                "asset": self.asset,
                "step": self.step_id,
                "epoch": self.epoch,
                "token": self.token,
                "attempt": self.number,
                "partitions": _packed(self.slices),
                "inputs": [_input_as_json(one) for one in self.inputs],
                "references": [
                    [one.asset, one.own, _packed(one.slices)] for one in self.references
                ],
                "now": self.now.isoformat(),
                "elsewhere": self.elsewhere,
                "timeout": self.timeout,
                "memory": self.memory,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> StepOrder:
        """The order that `to_json` was asked of."""
        found = json.loads(text)
        return cls(
            run_id=found["run"],
            asset=found["asset"],
            step_id=found["step"],
            epoch=found["epoch"],
            token=found["token"],
            number=found["attempt"],
            slices=_unpacked(found["partitions"]),
            inputs=tuple(map(_input_from_json, found["inputs"])),
            references=tuple(
                ReferenceOrder(asset, tuple(own), _unpacked(slices))
                for asset, own, slices in found["references"]
            ),
            now=datetime.fromisoformat(found["now"]),
            elsewhere=found["elsewhere"],
            timeout=found["timeout"],
            memory=found["memory"],
        )


def _input_as_json(one: InputOrder) -> dict[str, Any]:
    return {
        "parameter": one.parameter,
        "asset": one.upstream,
        "partitions": _packed(one.slices),
        "columns": one.columns,
    }


def _input_from_json(found: dict[str, Any]) -> InputOrder:
    columns = found["columns"]
    return InputOrder(
        found["parameter"],
        found["asset"],
        _unpacked(found["partitions"]),
        None if columns is None else tuple(columns),
    )


def _packed(slices: Sequence[PartitionSlice]) -> dict[str, Any]:
    """The zone once and windows in seconds: a step may read a decade of hours."""
    zones = {one.window.start.tzinfo for one in slices if one.window is not None}
    return {
        "zone": next((str(zone) for zone in zones), None),
        "slices": [
            [
                one.id,
                one.key,
                None if one.window is None else seconds_of(one.window.start),
                None if one.window is None else seconds_of(one.window.end),
                dict(one.dimensions),
            ]
            for one in slices
        ],
    }


def _unpacked(packed: dict[str, Any]) -> tuple[PartitionSlice, ...]:
    zone = packed["zone"]
    return tuple(
        PartitionSlice(
            id=id_,
            key=key,
            window=None
            if zone is None
            else TimeWindow(instant_of(start, zone), instant_of(end, zone)),
            dimensions=tuple(dimensions.items()),
        )
        for id_, key, start, end, dimensions in packed["slices"]
    )
