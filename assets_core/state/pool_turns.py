"""Who may take a slot of a pool, when several runs want one. Pure; what is on record of it is read and written in `sql_pools`.

A run that is refused has a turn from then on, and keeps it until it gets a slot. A free slot is given to a run only if more slots are
free than runs have an earlier turn; so runs that go on asking get slots one after the other, whatever their sizes. A run that has a turn
and does not come is passed over: after it was waited for MOST_PASSED times without asking in between, its turn is gone. That needs no
clock, and a halted run holds up nobody for long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

MOST_PASSED: Final = 20
"""How often others are refused for the sake of a run that does not ask."""


@dataclass(frozen=True, slots=True)
class Turn:
    """That `run` waits for a slot; `passed` counts refusals of others for its sake since it last asked."""

    run: int
    passed: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What becomes of a request: whether a slot is given, the turns from then on, and the runs with an earlier one."""

    given: bool
    turns: tuple[Turn, ...]
    ahead: tuple[int, ...]


def ask_for_slot(free: int, turns: tuple[Turn, ...], run: int) -> Asked:
    """Let `run` ask for one slot where `free` are not in use and `turns` wait, the earliest first.

    >>> ask_for_slot(1, (), run=1).given, ask_for_slot(0, (), run=1).turns
    (True, (Turn(run=1, passed=0),))
    >>> ask_for_slot(1, (Turn(2),), run=1).ahead
    (2,)
    """
    place = next((at for at, turn in enumerate(turns) if turn.run == run), len(turns))
    ahead, behind = turns[:place], turns[place + 1 :]
    if free > len(ahead):
        return Asked(given=True, turns=(*ahead, *behind), ahead=())
    if free > 0:
        ahead = tuple(replace(turn, passed=turn.passed + 1) for turn in ahead)
        ahead = tuple(turn for turn in ahead if turn.passed <= MOST_PASSED)
    return Asked(
        given=False,
        turns=(*ahead, Turn(run), *behind),
        ahead=tuple(turn.run for turn in ahead),
    )
