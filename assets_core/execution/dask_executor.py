"""Steps on the workers of a Dask cluster: this side of `dask_worker`.

Theory of operation
-------------------
Each order is one Dask task with a key of its own, carried out in a child process of a worker. Dask only finds a free worker: retries,
pools and fences stay with the runner. A worker says under the session's topic what it starts, so that it is known here where a step runs,
and that it runs again: Dask starts tasks of a lost worker anew without a word, as often as the scheduler's `allowed-failures` says.

A step whose worker was lost runs once more under the same claim, whether Dask starts it anew or gives up and it is submitted again here;
staging is idempotent by token. A second loss is its end: it may be the step that kills them. A third start is cancelled.

Everything that happens is put into one queue, by the client's event loop or a signal handler, and taken out by `ended` alone.
"""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol, assert_never

from distributed import CancelledError, Client, Future, KilledWorker
from distributed.comm.core import CommClosedError

from assets_core.execution.dask_worker import (
    Answer,
    OtherCode,
    OtherPartita,
    Refused,
    Session,
    cancel,
    carry_out,
    digest,
    forget,
)
from assets_core.execution.executors import Failed, StepEnd, failed
from assets_core.execution.worker import Produced, Skipped
from assets_core.model.errors import ExecutorError, UserCodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from distributed import LocalCluster

    from assets_core.execution.process_executor import Loading
    from assets_core.execution.step_order import StepOrder
    from assets_core.model.io_manager import Staged
    from assets_core.telemetry.run_log import RunLog

CONNECT_SECONDS: Final = 10.0
"""How long a scheduler has to answer."""

WORKER_SECONDS: Final = 120.0
"""How long a cluster without workers is waited for: a batch system or an autoscaler needs time to start some."""

_NOTE_SECONDS: Final = 3.0
_NAMED: Final = 5
_STARTS: Final = 2
"""How often a step may be started under one claim."""


class Stages(Protocol):
    """What has to be done here about rows that are staged elsewhere."""

    def discard(self, order: StepOrder) -> None:
        """Throw away what a dead attempt left."""
        ...

    def missing(self, staged: Staged) -> str | None:
        """Why the rows can't be read here; None if they can."""
        ...


@dataclass(frozen=True, slots=True)
class _Started:
    key: str
    worker: str


@dataclass(frozen=True, slots=True)
class _Finished:
    key: str
    outcome: Answer | Refused | OtherCode | OtherPartita | BaseException


@dataclass(slots=True)
class _Going:
    order: StepOrder
    name: str
    log: RunLog | None
    future: Future[Any] | None = None
    workers: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Connection:
    """A client, the address of its scheduler, and the cluster if it is one of our own."""

    client: Client
    address: str
    cluster: LocalCluster | None

    def close(self) -> None:
        """Leave the cluster, or end it if it is ours."""
        with suppress(OSError, TimeoutError):
            self.client.close()
        if self.cluster is not None:
            self.cluster.close()


def connect(address: str | None, workers: int) -> Connection:
    """A connection to the scheduler at `address`, or of a new local cluster of so many workers. Raises ExecutorError if nothing answers."""
    if address is None:
        return _local(workers)
    try:
        client: Client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ExecutorError(
            f"no Dask scheduler answers at {address}: {str(error) or type(error).__name__}",
            hint=f"start one with: dask scheduler\nor correct `scheduler` in [tool.partita.dask]; {_how_to_check(address)}",
        ) from error
    return Connection(client, address, None)


def _local(workers: int) -> Connection:
    import dask  # noqa: PLC0415 - with the cluster that it configures
    from distributed import LocalCluster  # noqa: PLC0415 - same

    # A step whose worker was lost is for us to start anew.
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )
    return Connection(Client(cluster, set_as_default=False), cluster.scheduler_address, cluster)


class DaskExecutor:
    """Waits, when it is made, until one worker has loaded the project. It closes client and cluster when it is closed.

    `capacity` None means as many as the workers have threads. `note` is told what is waited for. Raises ExecutorError if no worker comes
    or one that does has other code, UserCodeError if the project can't be imported there.
    """

    def __init__(
        self,
        connection: Connection,
        loading: Loading,
        stages: Stages,
        *,
        capacity: int | None,
        note: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._client = connection.client
        self._address = connection.address
        self._stages = stages
        self._versions: Mapping[str, str] = loading.versions or {}
        self._session = Session(
            id=secrets.token_hex(6),
            loader=loading.loader,
            argument=loading.argument,
            versions=digest(self._versions),
            partita=version("partita"),
        )
        self._news: SimpleQueue[_Started | _Finished | None] = SimpleQueue()
        self._going: dict[str, _Going] = {}
        self._ended: list[StepEnd] = []
        self._client.subscribe_topic(self._session.name, self._hear)
        try:
            self._await_project(note)
        except BaseException:
            self.close()
            raise
        self._capacity = capacity or max(1, sum(self._client.nthreads().values()))

    @property
    def capacity(self) -> int:
        """How many steps are in flight at most."""
        return self._capacity

    def start(self, order: StepOrder, name: str, log: RunLog | None) -> None:
        """Submit the order."""
        self._submit(_Going(replace(order, elsewhere=True), name, log))

    def ended(self, seconds: float | None) -> list[StepEnd]:
        """Take in what happened, until something ended, the time is over, or somebody interrupts."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self._ended and self._going:
            patience = None if until is None else max(0.0, until - time.monotonic())
            try:
                news = self._news.get(timeout=patience)
            except Empty:
                break
            if news is None:
                break
            self._handle(news)
        ended, self._ended = self._ended, []
        return ended

    def cancel(self) -> None:
        """Ask every step to end; what no worker has begun ends here."""
        for key, going in list(self._going.items()):
            if not going.workers:
                told = f"{going.order.asset}: it was cancelled"
                self._end(key, Failed(told, UserCodeError.code, died=True))
        self._tell_workers(cancel)

    def interrupt(self) -> None:
        """Let `ended` return; this may be called from a signal handler, and this queue bears it."""
        self._news.put(None)

    def close(self) -> None:
        """End every step, free what the workers hold for the run, and leave the cluster, or end it if it is ours."""
        for going in self._going.values():
            _drop(going)
        self._going.clear()
        if self._connection.cluster is None:
            self._tell_workers(forget)
        self._connection.close()

    def _submit(self, going: _Going) -> None:
        key = self._new_key()
        self._going[key] = going
        if self._client.status == "running":
            going.future = self._send(key, going.order.to_json())
        else:
            self._lose_scheduler()

    def _new_key(self) -> str:
        return f"{self._session.name}-{secrets.token_hex(8)}"

    def _send(self, key: str, order: str | None) -> Future[Any]:
        future = self._client.submit(
            carry_out, self._session, order, key=key, pure=False, retries=0
        )
        loop = self._client.loop
        assert loop is not None
        loop.add_callback(self._watch, key, future)
        return future

    async def _watch(self, key: str, future: Future[Any]) -> None:
        """On the client's event loop: hand over how a task ended."""
        try:
            outcome = await future
        except BaseException as error:  # noqa: BLE001 - handed over; CancelledError is one of the things that happen to a task
            outcome = error
        self._news.put(_Finished(key, outcome))

    def _hear(self, event: tuple[float, Mapping[str, str]]) -> None:
        """On the client's event loop: a worker says that it starts a task."""
        self._news.put(_Started(event[1]["key"], event[1]["worker"]))

    def _handle(self, news: _Started | _Finished) -> None:
        going = self._going.get(news.key)
        if going is None:
            return  # given up before
        match news:
            case _Started(worker=worker):
                going.workers.append(worker)
                if len(going.workers) > _STARTS:
                    self._give_up(news.key, going)
            case _Finished(outcome=outcome):
                self._finish(news.key, going, outcome)
            case _:
                assert_never(news)

    def _finish(
        self,
        key: str,
        going: _Going,
        outcome: Answer | Refused | OtherCode | OtherPartita | BaseException,
    ) -> None:
        match outcome:
            case Answer(worker=worker, end=StepEnd() as end, output=output):
                if going.log is not None:
                    stream = going.log.stream(going.name)
                    stream.write(output)
                    stream.flush()
                self._end(key, self._seen_here(end, worker), end.seconds)
            case Refused() | OtherCode() | OtherPartita():
                self._end(key, failed(self._refusal(outcome)))
            case KilledWorker():
                self._start_again(key, going)
            case CancelledError() | CommClosedError():
                # Nobody here cancelled it: that is how Dask tells that it lost the scheduler.
                self._lose_scheduler()
            case _:
                self._end(key, failed(_unexpected(outcome)))

    def _start_again(self, key: str, going: _Going) -> None:
        """Its worker is gone, and Dask gave up."""
        if len(going.workers) >= _STARTS:
            self._give_up(key, going)
            return
        del self._going[key]
        _drop(going)
        self._stages.discard(going.order)
        self._submit(going)

    def _give_up(self, key: str, going: _Going) -> None:
        told = " and ".join(going.workers[:_STARTS])
        message = (
            f"{going.order.asset}: the workers that ran it were lost, one after the other ({told}): "
            "either it takes its worker down, or their machines went away; the workers' own logs may tell"
        )
        self._end(key, Failed(message, ExecutorError.code, died=True))

    def _lose_scheduler(self) -> None:
        """Everything that goes on is lost with it, and nothing can start."""
        message = (
            f"the Dask scheduler at {self._address} went away; {_how_to_check(self._address)}"
        )
        for key in list(self._going):
            self._end(key, Failed(message, ExecutorError.code, died=True))

    def _seen_here(self, end: StepEnd, worker: str) -> Produced | Skipped | Failed:
        """The result, or if its rows are staged where nobody can read them here, that."""
        if not isinstance(end.result, Produced) or end.result.staged is None:
            return end.result
        missing = self._stages.missing(end.result.staged)
        if missing is None:
            return end.result
        return Failed(
            f"the worker {worker} staged its rows where they can't be read here: {missing} "
            "(workers and this machine must see the data at the same paths: put it on a file system that they share)",
            ExecutorError.code,
        )

    def _end(
        self, key: str, result: Produced | Skipped | Failed, seconds: float | None = None
    ) -> None:
        going = self._going.pop(key)
        _drop(going)
        took = time.monotonic() - going.began if seconds is None else seconds
        self._ended.append(StepEnd(going.order.step_id, result, took))

    def _tell_workers(self, what: Callable[..., Any]) -> None:
        """Have each worker do it. One that is gone needs not be told."""
        if self._client.status == "running":
            with suppress(OSError, TimeoutError):
                self._client.run(what, self._session, on_error="ignore")

    def _await_project(self, note: Callable[[str], None]) -> None:
        """Have one worker load the project. Submitted as a task, so that a cluster that grows on demand does."""
        key = self._new_key()
        future = self._send(key, None)
        began, noted, taken = time.monotonic(), False, False
        while True:
            try:
                news = self._news.get(timeout=_NOTE_SECONDS)
            except Empty:
                waited = time.monotonic() - began
                if taken:
                    continue
                workers = len(self._client.nthreads())
                if not workers and waited > WORKER_SECONDS:
                    raise self._no_workers() from None
                if not noted:
                    what = "a free worker" if workers else "its first worker"
                    note(f"waiting for {what} of the Dask scheduler at {self._address}")
                    noted = True
                continue
            if isinstance(news, _Started):
                taken = True
            elif isinstance(news, _Finished):
                break
        future.release()
        match news.outcome:
            case Answer():
                return
            case Refused(frames=frames) as refused if frames:
                raise UserCodeError(refused.message, frames=frames, hint=refused.hint)
            case Refused() | OtherCode() | OtherPartita():
                raise self._refusal(news.outcome)
            case _:
                raise _unexpected(news.outcome)

    def _no_workers(self) -> ExecutorError:
        return ExecutorError(
            f"the Dask scheduler at {self._address} has no workers, and none came within {WORKER_SECONDS:g} s",
            hint=f"start some with: dask worker {self._address} --nthreads 1",
        )

    def _refusal(self, answer: Refused | OtherCode | OtherPartita) -> ExecutorError:
        match answer:
            case Refused(worker=worker, message=message):
                return ExecutorError(
                    f"the Dask worker {worker} can't load the project: {message}",
                    hint="the project and what it imports must be there at the same path as here",
                )
            case OtherCode(worker=worker, versions=versions):
                return ExecutorError(
                    f"the Dask worker {worker} has other code of {_differing(self._versions, versions)}",
                    hint="bring the same files to the same path there, then run the command again",
                )
            case OtherPartita(worker=worker, version=found):
                return ExecutorError(
                    f"the Dask worker {worker} has Partita {found}, and this is {self._session.partita}",
                    hint=f"install the same there: pip install 'partita[dask]=={self._session.partita}'",
                )
            case _:
                assert_never(answer)


def _drop(going: _Going) -> None:
    """Tell Dask that the task is not wanted any more; what a worker still does for it ends."""
    if going.future is not None:
        going.future.release()


def _differing(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    names = sorted(
        name for name in here.keys() | there.keys() if here.get(name) != there.get(name)
    )
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def _unexpected(outcome: object) -> ExecutorError:
    """Dask could not carry the task out at all: mostly that is an environment without Partita."""
    return ExecutorError(
        f"Dask can't carry out steps: {type(outcome).__name__}: {outcome}",
        hint="scheduler and workers need the same environment as this machine, with Partita in it: pip install 'partita[dask]'",
    )


def _how_to_check(address: str) -> str:
    code = f"from distributed import Client; print(Client('{address}', timeout=5))"
    return f'to check: python -c "{code}"'
