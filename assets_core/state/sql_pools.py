"""Slots of pools in an SQL database: how many running steps have one, and which runs wait for a turn.

Functions run inside a write transaction of the caller and take its cursor. A slot is no row of its own: a RUNNING step of a pool has one,
but for the time between a failed attempt and the next. So a slot ends with its step, and is never left behind. Whose turn it is
is decided in `pool_turns`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.state.pool_turns import Turn, ask_for_slot

if TYPE_CHECKING:
    from assets_core.state.dialects import Cursor

_IN_USE = """
select step.run, run.id, count(*) from step join run on run.number = step.run
where step.pool = ? and step.status = 'running'
  and not exists (select 1 from attempt where step_id = step.id and attempt = step.attempt)
group by step.run, run.id order by step.run"""
_TURNS = """
select pool_turn.run, run.id, pool_turn.passed from pool_turn join run on run.number = pool_turn.run
where pool_turn.pool = ? order by pool_turn.number"""
_FORGET_TURN = "delete from pool_turn where pool = ? and run = ?"
_ADD_TURN = """
insert into pool_turn (number, pool, run, passed)
values ((select coalesce(max(number), 0) + 1 from pool_turn), ?, ?, ?)"""
_SET_PASSED = "update pool_turn set passed = ?3 where pool = ?1 and run = ?2"
_FORGET_RUN = "delete from pool_turn where run = ?"


class PoolSlots:
    """The slots of pools within one write transaction, as one run (row number and id) asks for them; `finish` writes turns."""

    def __init__(self, cursor: Cursor, run: int, run_id: str) -> None:
        self._cursor = cursor
        self._run = run
        self._run_id = run_id
        self._pools: dict[str, _Pool] = {}

    def take(self, pool: str, slots: int) -> tuple[str, ...]:
        """Take one slot of a pool that has `slots`; answers (), or if there is none for this run now the ids of the runs in its way."""
        if pool not in self._pools:
            self._pools[pool] = _Pool(self._cursor, pool, {self._run: self._run_id})
        found = self._pools[pool]
        asked = ask_for_slot(slots - sum(found.in_use.values()), found.turns, self._run)
        # One transaction is one asking, however many slots are asked for in it.
        if not asked.given and found.asked:
            return found.ids_of(asked.ahead)
        found.asked = not asked.given
        found.turns = asked.turns
        if asked.given:
            found.in_use[self._run] = found.in_use.get(self._run, 0) + 1
            return ()
        return found.ids_of(asked.ahead)

    def finish(self) -> None:
        """Write which runs wait, where that changed."""
        for pool, found in self._pools.items():
            found.write(self._cursor, pool)


class _Pool:
    """What is on record of one pool, and what becomes of it."""

    def __init__(self, cursor: Cursor, pool: str, ids: dict[int, str]) -> None:
        in_use = cursor.execute(_IN_USE, (pool,)).fetchall()
        turns = cursor.execute(_TURNS, (pool,)).fetchall()
        self.in_use: dict[int, int] = {run: count for run, _, count in in_use}
        self.turns = self._before = tuple(Turn(run, passed) for run, _, passed in turns)
        self.asked = False
        self._ids = ids | {run: run_id for run, run_id, _ in (*in_use, *turns)}

    def ids_of(self, ahead: tuple[int, ...]) -> tuple[str, ...]:
        """The ids of the runs that have slots, and of those whose turn is earlier."""
        return tuple(self._ids[run] for run in dict.fromkeys((*self.in_use, *ahead)))

    def write(self, cursor: Cursor, pool: str) -> None:
        """Make the turns on record those that are held here."""
        before = {turn.run: turn.passed for turn in self._before}
        after = {turn.run: turn.passed for turn in self.turns}
        for run in before.keys() - after.keys():
            cursor.execute(_FORGET_TURN, (pool, run))
        for run, passed in after.items():
            if run not in before:
                cursor.execute(_ADD_TURN, (pool, run, passed))
            elif before[run] != passed:
                cursor.execute(_SET_PASSED, (pool, run, passed))


def forget_turns(cursor: Cursor, run: int) -> None:
    """A run that has ended waits for nothing."""
    cursor.execute(_FORGET_RUN, (run,))
