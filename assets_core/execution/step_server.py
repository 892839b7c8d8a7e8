"""The process that starts steps: it loads the project once, and forks a process for each step that it is sent.

Theory of operation
-------------------
`process_executor` starts it and talks to it over a socket, one JSON object a line. It answers `ready` or `failed` when it has loaded the
project, `output` as steps print, and `ended` for each step: with the worker's answer, or with the exact cause of its process's
death. A step's process is a session of its own, so that a timeout or a cancel ends it with everything that it started; first by SIGTERM,
which a function sees as KeyboardInterrupt, and after a grace period by SIGKILL. When the socket closes, because the run ended or its process
was killed, everything ends, also what steps started.

A fork copies the threads of nobody: if importing the project started threads (a client library, an open database), a forked step might
wait for one of them for ever. So this process itself never opens a database or starts a thread, and where the project's import did, each
step gets a fresh interpreter instead, which loads the project again.

Whatever goes wrong here can't harm data: steps only stage.
"""

from __future__ import annotations

import base64
import codecs
import gc
import importlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from assets_core.execution.step_order import StepOrder
from assets_core.execution.step_process import carry_out, load, owned_by_parent
from assets_core.model.errors import PartitaError, UserCodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets_core.authoring.definitions import Resolved

OUTPUT_LIMIT: Final = 2**20
"""Bytes of output that are kept of one attempt."""

GRACE_SECONDS: Final = 5.0
"""How long a step that is asked to end has time for its own `finally`."""

_CHUNK: Final = 65_536
_MARK: Final = "PARTITA_STEP"
"""In the environment of everything that a step starts, so that it is found even if it left the step's session."""


@dataclass(eq=False)
class _Child:
    """One step's process."""

    order: StepOrder
    pid: int
    result_pipe: int
    output_pipe: int
    began: float
    result: bytearray = field(default_factory=bytearray)
    output_bytes: int = 0
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("backslashreplace")
    )
    why_ended: str | None = None
    kill_at: float | None = None

    @property
    def deadline(self) -> float | None:
        """When it is time for the next, harder act against it."""
        if self.why_ended is not None:
            return self.kill_at
        return None if self.order.timeout is None else self.began + self.order.timeout


class StepServer:
    """Serves one run over `channel`. `loader` is `module:function`; called with `argument` it answers the project's definitions."""

    def __init__(self, channel: socket.socket, loader: str, argument: str) -> None:
        self._channel = channel
        self._loader = loader
        self._argument = argument
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._project: Resolved | None = None

    def serve(self) -> None:
        """Until the other side closes the channel."""
        owned_by_parent()
        self._channel.setblocking(False)  # noqa: FBT003 - the only way to say it
        waker, woken = socket.socketpair()
        for end in (waker, woken):
            end.setblocking(False)  # noqa: FBT003 - the only way to say it
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._selector.register(woken, selectors.EVENT_READ, "child")
        self._selector.register(self._channel, selectors.EVENT_READ, "channel")
        self._load()
        # From here on a closed channel tells that the parent died, and there is something to do then: ending what steps started.
        owned_by_parent(yes=False)
        # What the project consists of is not written to again: without this, counting references would copy it for every step.
        gc.freeze()
        while self._step(woken):
            pass
        for child in self._children.values():
            child.why_ended = "the run ended"
            _kill_tree(child)

    def _load(self) -> None:
        _warm_up()
        importlib.import_module(self._loader.partition(":")[0])
        before = _threads()
        try:
            self._project = load(self._loader, self._argument)
        except PartitaError as error:
            frames = error.frames if isinstance(error, UserCodeError) else ""
            self._say(
                "failed", message=error.message, hint=error.hint, code=error.code, frames=frames
            )
            return
        specs = self._project.graph.specs
        if _threads() > before or not hasattr(os, "fork"):
            self._project = None
        self._say(
            "ready",
            versions={key: spec.code_version for key, spec in specs.items()},
            forks=self._project is not None,
        )

    def _step(self, woken: socket.socket) -> bool:
        """Handle what there is; False when the channel was closed."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outgoing else 0)
        self._selector.modify(self._channel, events, "channel")
        for key, ready in self._selector.select(self._patience()):
            if key.data == "child":
                woken.recv(_CHUNK)
            elif key.data == "channel":
                if ready & selectors.EVENT_WRITE:
                    del self._outgoing[: self._channel.send(self._outgoing)]
                if ready & selectors.EVENT_READ and not self._hear():
                    return False
            else:
                self._read_pipe(key.fd, key.data)
        self._end_the_late()
        self._reap()
        return True

    def _patience(self) -> float | None:
        deadlines = [
            child.deadline for child in self._children.values() if child.deadline is not None
        ]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _hear(self) -> bool:
        try:
            heard = self._channel.recv(_CHUNK)
        except (BlockingIOError, ConnectionResetError) as error:
            return isinstance(error, BlockingIOError)
        if not heard:
            return False
        self._incoming += heard
        *lines, rest = self._incoming.split(b"\n")
        self._incoming = bytearray(rest)
        for line in lines:
            message = json.loads(line)
            if message["do"] == "start":
                self._start(StepOrder.from_json(message["order"]))
            else:
                for child in self._children.values():
                    _ask_to_end(child, "it was cancelled")
        return True

    def _start(self, order: StepOrder) -> None:
        # Python's pipes are closed by exec, and a forked child closes what it inherits itself.
        result_read, result_write = os.pipe()
        output_read, output_write = os.pipe()
        for pipe in (result_read, output_read):
            os.set_blocking(pipe, False)
        if self._project is None:
            pid = self._spawn(order, result_write, output_write)
        else:
            pid = os.fork()
            if pid == 0:
                self._become(order, result_write, output_write)
        os.close(result_write)
        os.close(output_write)
        child = _Child(order, pid, result_read, output_read, time.monotonic())
        self._children[pid] = child
        self._selector.register(result_read, selectors.EVENT_READ, child)
        self._selector.register(output_read, selectors.EVENT_READ, child)

    def _become(self, order: StepOrder, result_pipe: int, output_pipe: int) -> NoReturn:
        """In the forked child: leave the server behind, and carry the order out."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        inherited = [key.fd for key in self._selector.get_map().values()]
        self._selector.close()
        for descriptor in inherited:
            os.close(descriptor)
        os.setsid()
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a descriptor is wanted
            os.dup2(nothing.fileno(), 0)
        os.dup2(output_pipe, 1)
        os.dup2(output_pipe, 2)
        os.environ[_MARK] = order.token
        assert self._project is not None
        carry_out(order, self._project, result_pipe)

    def _spawn(self, order: StepOrder, result_pipe: int, output_pipe: int) -> int:
        """A fresh interpreter, which gets its order by its standard input."""
        command = [sys.executable, "-P", "-m", "assets_core.execution.step_process"]
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [*command, str(result_pipe), self._loader, self._argument],
            stdin=subprocess.PIPE,
            stdout=output_pipe,
            stderr=output_pipe,
            pass_fds=[result_pipe],
            start_new_session=True,
            env={**os.environ, _MARK: order.token},
        )
        assert process.stdin is not None
        with process.stdin as stdin:
            stdin.write(order.to_json().encode())
        process.returncode = 0  # it is waited for here, by its pid, and not by this object
        return process.pid

    def _read_pipe(self, pipe: int, child: _Child) -> None:
        try:
            content = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return
        if not content:
            self._selector.unregister(pipe)
        elif pipe == child.result_pipe:
            child.result += content
        else:
            self._relay(child, content)

    def _relay(self, child: _Child, content: bytes) -> None:
        kept = content[: max(0, OUTPUT_LIMIT - child.output_bytes)]
        child.output_bytes += len(content)
        if kept:
            self._say("output", step=child.order.step_id, text=child.decoder.decode(kept))

    def _end_the_late(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if child.deadline is None or child.deadline > now:
                continue
            if child.why_ended is None:
                _ask_to_end(child, f"it took longer than its timeout of {child.order.timeout:g} s")
            else:
                child.kill_at = None
                _kill_tree(child)

    def _reap(self) -> None:
        for child in list(self._children.values()):
            if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            # As long as it is not waited for, its number is nobody else's.
            _kill_tree(child)
            _, status, usage = os.wait4(child.pid, 0)
            del self._children[child.pid]
            self._finish(child, status, usage.ru_maxrss)

    def _finish(self, child: _Child, status: int, peak: int) -> None:
        for pipe in (child.result_pipe, child.output_pipe):
            for content in _rest_of(pipe):
                if pipe == child.result_pipe:
                    child.result += content
                else:
                    self._relay(child, content)
            if pipe in self._selector.get_map():
                self._selector.unregister(pipe)
            os.close(pipe)
        left_out = child.output_bytes - OUTPUT_LIMIT
        if left_out > 0:
            text = f"\n{left_out} further bytes of output were left out\n"
            self._say("output", step=child.order.step_id, text=text)
        # What was asked to end may return all the same, if a bare `except:` swallowed that: half of what it should, for all we know.
        answered = (
            os.waitstatus_to_exitcode(status) == 0 and child.result and child.why_ended is None
        )
        self._say(
            "ended",
            step=child.order.step_id,
            result=base64.b64encode(child.result).decode() if answered else None,
            cause=None if answered else _cause(child, status, peak),
            seconds=time.monotonic() - child.began,
        )

    def _say(self, what: str, **content: object) -> None:
        self._outgoing += json.dumps({"is": what, **content}).encode() + b"\n"


def _warm_up() -> None:
    """Import what every step needs, with the threads that this starts: those are used to forks. No connection is opened."""
    import duckdb  # noqa: F401, PLC0415 - heavy, and only here
    import pyarrow as pa  # noqa: PLC0415 - same
    import pyarrow.compute  # noqa: PLC0415 - same
    import pyarrow.parquet  # noqa: PLC0415 - same

    # The first table from Python values makes pyarrow look for pandas.
    pa.table({"x": [1]})


def _threads() -> int:
    """How many threads this process has, those of libraries included; where that can't be told, one more each time: never fork."""
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names are counted, not used
    except OSError:
        return time.monotonic_ns()


def _ask_to_end(child: _Child, why: str) -> None:
    if child.why_ended is not None:
        return
    child.why_ended = why
    child.kill_at = time.monotonic() + GRACE_SECONDS
    _signal_group(child, signal.SIGTERM)


def _kill_tree(child: _Child) -> None:
    """End what is left of a step's session, and what left the session but was started by it."""
    _signal_group(child, signal.SIGKILL)
    if child.why_ended is not None:
        for pid in _marked(child.order.token):
            _signal(pid, signal.SIGKILL)


def _signal_group(child: _Child, number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        # Gone, or not yet a session of its own.
        if number == signal.SIGTERM or child.why_ended is not None:
            _signal(child.pid, number)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _marked(token: str) -> Iterator[int]:
    """Processes whose environment says that they belong to the step."""
    wanted = f"{_MARK}={token}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            yield int(folder.name)


def _rest_of(pipe: int) -> Iterator[bytes]:
    """What is in a pipe now; a process that outlived its step may hold it open, so its end is not waited for."""
    while select.select([pipe], [], [], 0)[0]:
        content = os.read(pipe, _CHUNK)
        if not content:
            return
        yield content


def _cause(child: _Child, status: int, peak: int) -> str:
    """Why the process ended without an answer, in words that fit behind the asset's name. `peak` is in KiB."""
    if child.why_ended is not None:
        return child.why_ended
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"its process ended with exit code {code} before the function returned"
    number = -code
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    told = f"its process was ended by {name} ({signal.strsignal(number) or 'unknown'})"
    if number == signal.SIGKILL:
        told += f"; it had used {peak / 1024:.0f} MiB: the system may have been out of memory"
    return told


def main() -> None:
    """`python -m assets_core.execution.step_server DESCRIPTOR LOADER ARGUMENT`."""
    descriptor, loader, argument = sys.argv[1:]
    # Arrow's allocator would take a gigabyte at once for later, which counts against a step's memory limit.
    os.environ.setdefault("MIMALLOC_ARENA_EAGER_COMMIT", "0")
    with socket.socket(fileno=int(descriptor)) as channel:
        StepServer(channel, loader, argument).serve()


if __name__ == "__main__":
    main()
