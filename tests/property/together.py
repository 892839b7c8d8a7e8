"""Several runs of a simulator that take turns, one stretch after the other, with kills, lost locks and cancels in between.

Each run has a thread of its own, and only one thread goes on at a time: until the run looks at the clock, waits, or is inside of a
function. Then `random` says who is next. So every history is that of one seed, and a run that waits for another one shows as turns
that never end. A killed run never goes on; its thread is ended when the others are done.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from assets_core.execution.run_request import OnConflict
from assets_core.model.errors import RunTakenOverError
from assets_core.planning.planner import plan_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from assets_core.execution.runner import Runner
    from assets_core.planning.planner import PlanRequest
    from assets_core.planning.staleness import Facts
    from tests.property.simulator import ShuffledExecutor, Simulator

MOST_TURNS: Final = 20_000
"""Far above what any history takes."""


class KilledError(BaseException):
    """Ends the thread of a run that was killed."""


class Together:
    """Runs that take turns."""

    def __init__(self, simulator: Simulator, random: Random, *, trouble: bool = True) -> None:
        self._simulator = simulator
        self._random = random
        self._trouble = trouble
        self._runs: list[_Run] = []

    def add(
        self, wanted: Callable[[Facts], PlanRequest], on_conflict: OnConflict = OnConflict.WAIT
    ) -> None:
        """A run of what `wanted` says when its first turn comes."""
        self._runs.append(_Run(self._simulator, self._random, wanted, on_conflict))

    def go(self) -> None:
        """Let them take turns until each has ended or was killed."""
        simulator, random = self._simulator, self._random
        going, killed = list(self._runs), []
        simulator.world.inside = self._stand
        for _ in range(MOST_TURNS):
            if not going:
                break
            self._current = run = random.choice(going)
            dice = random.random() if self._trouble and run.id is not None else 1.0
            if dice < 0.01:
                run.lose_lock()
                killed.append(run)
                going.remove(run)
                continue
            if dice < 0.02:
                # Others take it for dead, and it lives: what a lost session to the server does.
                run.lose_lock()
            elif dice < 0.03:
                run.cancel()
            run.take_turn()
            if run.has_ended:
                going.remove(run)
        else:
            raise AssertionError(f"{[run.id for run in going]} never end")
        simulator.world.inside = lambda: None
        for run in killed:
            run.end()
        for run in self._runs:
            if run.error is not None:
                raise run.error

    def _stand(self) -> None:
        self._current.stand()


class _Run:
    """One run in a thread that goes on only in its turn."""

    def __init__(
        self,
        simulator: Simulator,
        random: Random,
        wanted: Callable[[Facts], PlanRequest],
        on_conflict: OnConflict,
    ) -> None:
        self._simulator = simulator
        self._random = random
        self._wanted = wanted
        self._on_conflict = on_conflict
        self._turn = threading.Semaphore(0)
        self._over = threading.Semaphore(0)
        self._killed = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.id: str | None = None
        self._runner: Runner | None = None
        self._executor: ShuffledExecutor | None = None
        self.error: BaseException | None = None
        self.has_ended = False

    def take_turn(self) -> None:
        """Go on until the next place to stand, or the end."""
        if not self._thread.ident:
            self._thread.start()
        self._turn.release()
        self._over.acquire()

    def stand(self) -> None:
        """Called in the run's own thread: wait for the next turn, now and then."""
        if self._random.random() < 0.4:
            self._over.release()
            self._turn.acquire()
        if self._killed:
            raise KilledError

    def end(self) -> None:
        """End the thread of a killed run: what it does on its way out must not matter any more."""
        self._killed = True
        while not self.has_ended:
            self.take_turn()
        self._thread.join()

    def lose_lock(self) -> None:
        """Be taken for dead by others from now on; what it runs may overlap with theirs, and is counted no more."""
        assert self.id is not None
        assert self._executor is not None
        self._simulator.locks.living.discard(self.id)
        self._executor.forget()

    def cancel(self) -> None:
        """What Ctrl-C does."""
        assert self._runner is not None
        self._runner.stop()

    def _work(self) -> None:
        self._turn.acquire()
        try:
            self._run()
        except (KilledError, RunTakenOverError):
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by the scheduler
            self.error = error
        finally:
            self.has_ended = True
            self._over.release()

    def _run(self) -> None:
        simulator = self._simulator
        simulator.recover()
        facts = simulator.facts(to_run=True)
        plan = plan_run(facts, self._wanted(facts))
        if plan.size:
            simulator.run(
                facts,
                plan,
                between=self.stand,
                on_conflict=self._on_conflict,
                made=self._made,
            )

    def _made(self, run_id: str, runner: Runner, executor: ShuffledExecutor) -> None:
        self.id, self._runner, self._executor = run_id, runner, executor
