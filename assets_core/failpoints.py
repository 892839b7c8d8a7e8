"""Named places around every durable act at which a test, or somebody's own drill, can stop this process. Off, one costs a comparison.

    PARTITA_FAILPOINTS="publish.duckdb.commit=kill@3" partita materialize

An entry is `place=action` or `place=action@n`, for the n-th time that the place is passed (default: the first); entries are separated by
commas. The actions: `kill` ends the process as kill -9 does, `stop` halts it until somebody sends SIGCONT, `error` raises an input/output
error there. The places and what has happened by then are in `PLACES`; any other name is refused, so that a drill can't silently test nothing.

Nothing of Partita behaves otherwise because of this module: what is killed here could have been killed there anyway.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from partitions.errors import PartitaError, nearest

VARIABLE: Final = "PARTITA_FAILPOINTS"

PLACES: Final = {
    "state.commit": "a transaction of the state was written, but not committed",
    "state.committed": "a transaction of the state is durable",
    "stage.written": "a step's staged rows are on disk",
    "publish.duckdb.created": "a new database file is in its place, still empty",
    "publish.duckdb.commit": "rows and commit tokens of a group were written, but not committed",
    "publish.duckdb.committed": "rows and commit tokens of a group are visible; the file is still open",
    "publish.duckdb.closed": "the database file was closed; the note about it was not written",
    "publish.parquet.rename": "a partition's complete file waits beside its place",
    "publish.parquet.renamed": "the file is in its place; the folder was not synced",
    "publish.delta.commit": "the files of a group are in a table's folder, and in no version of it",
    "publish.delta.committed": "a version with rows and commit tokens of a group is visible; in a folder it was not synced",
    "publish.rejected": "rows that contracts keep out are visible, the others are not",
    "run.claimed": "steps were claimed",
    "run.staged": "a step's function returned and its rows were judged",
    "run.published": "a group of steps is visible at its destination, and not recorded",
    "run.recorded": "a group of steps was recorded",
    "recover.judged": "it is known what a crashed run had published, and not recorded",
    "recover.recorded": "what a crashed run had published is recorded; the run still counts as running",
}
"""Place → what is true when it is passed."""


class Action(StrEnum):
    """What happens at an armed place."""

    KILL = "kill"
    STOP = "stop"
    ERROR = "error"


class FailpointError(PartitaError):
    """PARTITA_FAILPOINTS is not as it should be."""

    code = "failpoint"


@dataclass(frozen=True, slots=True)
class Armed:
    """What happens the `hit`-th time that a place is passed, counted from 1."""

    action: Action
    hit: int


def parse_failpoints(text: str) -> dict[str, Armed]:
    """The armed places of a PARTITA_FAILPOINTS. Raises FailpointError for an unknown place or action, or a hit that is no number.

    >>> parse_failpoints("run.staged=stop@2")
    {'run.staged': Armed(action=<Action.STOP: 'stop'>, hit=2)}
    """
    armed = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        place, _, what = entry.partition("=")
        action, _, hit = what.partition("@")
        if place not in PLACES:
            near = nearest(place, PLACES)
            raise FailpointError(
                f"{VARIABLE} names a place {place!r}, which does not exist",
                hint=f"did you mean {' or '.join(near)}?"
                if near
                else f"there are {', '.join(PLACES)}",
            )
        if action not in tuple(Action) or (hit and not (hit.isdigit() and int(hit) > 0)):
            raise FailpointError(
                f"{VARIABLE}: {entry!r} does not say what is to happen when",
                hint=f"write {place}=kill or {place}=kill@3; the actions are {', '.join(Action)}",
            )
        armed[place] = Armed(Action(action), int(hit or 1))
    return armed


class _Failpoints:
    """The armed places of this process, and how often each was passed. Mutable, because the n-th time is what is asked for."""

    def __init__(self, armed: dict[str, Armed]) -> None:
        self._armed = armed
        self._passed: Counter[str] = Counter()

    def pass_by(self, place: str) -> None:
        armed = self._armed.get(place)
        if armed is None:
            return
        self._passed[place] += 1
        if self._passed[place] != armed.hit:
            return
        import signal  # noqa: PLC0415 - an armed process only

        match armed.action:
            case Action.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Action.STOP:
                os.kill(os.getpid(), signal.SIGSTOP)
            case Action.ERROR:
                raise OSError(errno.EIO, f"{os.strerror(errno.EIO)} (failpoint {place})")
            case _:
                assert_never(armed.action)


# Read once, when the process starts: that is what makes an unarmed place cost nothing.
_ARMED: Final = (
    _Failpoints(parse_failpoints(os.environ[VARIABLE])) if os.environ.get(VARIABLE) else None
)


def failpoint(place: str) -> None:
    """Do here what PARTITA_FAILPOINTS says; nothing if it says nothing. `place` is one of `PLACES`."""
    if _ARMED is not None:
        _ARMED.pass_by(place)
