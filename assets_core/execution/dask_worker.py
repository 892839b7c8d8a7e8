"""The worker's side of `dask_executor`: one entry point that carries out an order in a child process, and what a worker keeps for it.

Theory of operation
-------------------
A Dask worker never runs the user's code in its own interpreter: each of its threads has a `ProcessExecutor` with one place, whose server
process has loaded the project and forks a process per step. Output, limits and exact causes of death are therefore those of `-j`.
A `Bench` keeps these for one run. It hangs at the worker as a plugin, made by the first task of the run and never registered with
the scheduler, where it would outlive the run and break the workers of other people who have no Partita.

Bench and steps end when the run says so (`forget`), when the worker ends (the channel to the server closes, and with it everything ends),
or, step by step, when Dask no longer wants a task because its client is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from distributed import get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from assets_core.execution.process_executor import Loading, ProcessExecutor
from assets_core.execution.step_order import StepOrder
from assets_core.model.errors import PartitaError, UserCodeError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from distributed import Worker

    from assets_core.execution.executors import StepEnd
    from assets_core.execution.process_executor import StepOutput

_PREFIX: Final = "partita-"


@dataclass(frozen=True, slots=True)
class Session:
    """One run, as its workers know it. `partita` is our version there, `versions` the digest of the project's code versions."""

    id: str
    loader: str
    argument: str
    versions: str
    partita: str

    @property
    def name(self) -> str:
        """Of its plugin on each worker, and of the topic under which workers say what they start."""
        return f"{_PREFIX}{self.id}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A step ended, somehow. `end` is None where there was no order and the project was only loaded."""

    worker: str
    end: StepEnd | None
    output: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The project can't be loaded on this worker."""

    worker: str
    message: str
    hint: str | None
    frames: str = ""


@dataclass(frozen=True, slots=True)
class OtherCode:
    """The worker has other code: its code versions by asset."""

    worker: str
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OtherPartita:
    """The worker has another Partita."""

    worker: str
    version: str


def digest(versions: Mapping[str, str]) -> str:
    """A short text that stands for all code versions: a step's message must not grow with the project."""
    return hashlib.sha256(json.dumps(sorted(versions.items())).encode()).hexdigest()


def carry_out(session: Session, order: str | None) -> Answer | Refused | OtherCode | OtherPartita:
    """Dask's task: carry out the order in a child process, or with None only load the project."""
    worker = get_worker()
    key = str(worker.get_current_task())
    # Said before anything can go wrong: who counts these knows how often a step ran, and where, even if Dask says nothing.
    worker.log_event(session.name, {"key": key, "worker": worker.address})
    found = version("partita")
    if found != session.partita:
        return OtherPartita(worker.address, found)
    bench = _on_loop(worker, _bench_of(worker, session))
    try:
        executor = bench.executor()
    except PartitaError as error:
        frames = error.frames if isinstance(error, UserCodeError) else ""
        return Refused(worker.address, error.message, error.hint, frames)
    if digest(executor.versions) != session.versions:
        return OtherCode(worker.address, executor.versions)
    if order is None:
        return Answer(worker.address, None)
    output = _Output()
    end = bench.carry_out(key, executor, StepOrder.from_json(order), output)
    return Answer(worker.address, end, output.text.getvalue())


async def forget(session: Session, dask_worker: Worker) -> None:
    """Close a run's bench on this worker. For `Client.run`."""
    if session.name in dask_worker.plugins:
        await dask_worker.plugin_remove(session.name)


async def cancel(session: Session, dask_worker: Worker) -> None:
    """End what goes on for a run on this worker. For `Client.run`."""
    bench = dask_worker.plugins.get(session.name)
    if isinstance(bench, Bench):
        bench.cancel()


class Bench(WorkerPlugin):
    """What one worker keeps for one run: for each of its threads an executor that has the project loaded."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._lock = threading.Lock()
        self._executors: dict[int, ProcessExecutor] = {}
        self._going: dict[str, ProcessExecutor] = {}
        self._unwanted: set[str] = set()
        self._closed = False

    @property
    def is_idle(self) -> bool:
        """Whether no step goes on."""
        return not self._going

    def executor(self) -> ProcessExecutor:
        """This thread's, made if it has none. Raises PartitaError if the project can't be loaded."""
        thread = threading.get_ident()
        if thread not in self._executors:
            loading = Loading(self.session.loader, self.session.argument, None)
            self._executors[thread] = ProcessExecutor(1, loading)
        return self._executors[thread]

    def carry_out(
        self, key: str, executor: ProcessExecutor, order: StepOrder, output: StepOutput
    ) -> StepEnd:
        """Run the order to its end, or end it when it is not wanted any more."""
        with self._lock:
            self._going[key] = executor
        executor.start(order, order.asset, output)
        ends: list[StepEnd] = []
        while not ends:
            if key in self._unwanted or self._closed:
                executor.cancel()
            ends = executor.ended(None)
        with self._lock:
            del self._going[key]
            self._unwanted.discard(key)
            if self._closed:
                executor.close()
        return ends[0]

    def cancel(self) -> None:
        """End what goes on; each step still answers."""
        for key in list(self._going):
            self._stop(key)

    def transition(self, key: object, start: object, finish: object, **_: object) -> None:
        """Dask's hook: a task in execution that Dask cancels is one whose client is gone or asked for that."""
        if start == "executing" and finish == "cancelled":
            self._stop(str(key))

    def teardown(self, worker: Worker) -> None:
        """Dask's hook: end everything. What is busy is closed by its own thread."""
        del worker
        with self._lock:
            self._closed = True
            busy = list(self._going.values())
            idle = [one for one in self._executors.values() if one not in busy]
        for executor in busy:
            executor.interrupt()
        for executor in idle:
            executor.close()

    def _stop(self, key: str) -> None:
        # Only marked here: an executor belongs to its thread, and `interrupt` is what may be called from another one.
        with self._lock:
            if key in self._going:
                self._unwanted.add(key)
                self._going[key].interrupt()


class _Output:
    """Keeps what a step prints, for the answer."""

    def __init__(self) -> None:
        self.text = io.StringIO()

    def stream(self, step: str) -> io.StringIO:
        """The one stream: there is one step."""
        del step
        return self.text


async def _bench_of(worker: Worker, session: Session) -> Bench:
    """The run's bench on this worker, made if it has none. One that a dead run of the same project left is closed."""
    for name, plugin in list(worker.plugins.items()):
        if (
            isinstance(plugin, Bench)
            and plugin.session.argument == session.argument
            and name != session.name
            and plugin.is_idle
        ):
            await worker.plugin_remove(name)
    if session.name not in worker.plugins:
        await worker.plugin_add(Bench(session), name=session.name)
    bench = worker.plugins[session.name]
    assert isinstance(bench, Bench)
    return bench


def _on_loop(worker: Worker, work: Coroutine[Any, Any, Bench]) -> Bench:
    """Plugins belong to the thread of the worker's event loop."""
    loop = worker.loop.asyncio_loop  # type: ignore[attr-defined]
    return asyncio.run_coroutine_threadsafe(work, loop).result()
