"""The runner: gives each plan its log, its executor and its span, and throws away what is staged if a run breaks off.

What a run does in between is in `flight`. `stop` may be called from a signal handler: it interrupts a user's function, never a publish
or a record.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from assets_core.execution.executors import InProcessExecutor
from assets_core.execution.flight import Flight, taken_over
from assets_core.execution.reporting import RunReport
from assets_core.execution.worker import Worker
from assets_core.model.errors import StoreError
from assets_core.model.records import RunStatus
from assets_core.telemetry.observability import run_span
from assets_core.telemetry.run_log import ASSET_LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from assets_core.authoring.definitions import Resolved
    from assets_core.execution.events import RunSummary
    from assets_core.execution.executors import Executor
    from assets_core.execution.run_request import Effects, RunRequest
    from assets_core.planning.plan import Plan
    from assets_core.planning.staleness import Facts
    from assets_core.state.store import StateStore


class Runner:
    """Runs plans, one after the other. Steps run in this process unless `make_executor` says otherwise."""

    def __init__(
        self,
        resolved: Resolved,
        store: StateStore,
        effects: Effects,
        make_executor: Callable[[], Executor] | None = None,
    ) -> None:
        self._resolved = resolved
        self._store = store
        self._effects = effects
        self._make_executor = make_executor or self._in_process
        self._flight: Flight | None = None
        self._stopped = False

    def stop(self) -> None:
        """Finish the running commit, cancel the rest. Raises KeyboardInterrupt into a user's function if one is running here."""
        self._stopped = True
        if self._flight is not None:
            self._flight.stop()

    def run(self, plan: Plan, facts: Facts, request: RunRequest) -> RunSummary:
        """Carry out the plan and answer how it went. `facts` are those that the plan was made from.

        A failing step fails the run's status, not this call. Raises StoreError if the state can't be written, RunTakenOverError if
        another process settled this run meanwhile.
        """
        started_at = self._effects.clock()
        with ExitStack() as stack:
            stack.enter_context(run_span(request.run_id, request.kind, plan.size))
            log = None
            if self._effects.logs is not None:
                log = stack.enter_context(
                    self._effects.logs.open(request.run_id, started_at, self._effects.clock)
                )
            executor = self._make_executor()
            flight = self._flight = Flight(
                resolved=self._resolved,
                store=self._store,
                effects=self._effects,
                plan=plan,
                facts=facts,
                request=request,
                executor=executor,
                report=RunReport(request.run_id, facts, log, self._effects.on_event),
            )
            try:
                with closing(executor):
                    if self._stopped:
                        flight.stop()
                    return flight.carry_out(started_at)
            except BaseException as error:
                # Nobody will publish what is staged. Not before the executor is closed: a step that still works would stage again.
                flight.discard_stages()
                if isinstance(error, StoreError) and self._is_settled(request.run_id):
                    raise taken_over(request.run_id) from error
                raise

    def _is_settled(self, run_id: str) -> bool:
        """True if another process ended this run: what the state refused then is no fault of the state."""
        try:
            found = self._store.run(run_id)
        except StoreError:
            return False  # the first error tells more
        return found is not None and found.status is not RunStatus.RUNNING

    def _in_process(self) -> Executor:
        return InProcessExecutor(Worker(self._resolved, _logger), self._effects.clock)


def _logger(asset: str) -> logging.Logger:
    return logging.getLogger(ASSET_LOGGER).getChild(asset)
