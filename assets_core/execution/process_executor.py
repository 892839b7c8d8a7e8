"""Each step in a process of its own, several at once: this side of `step_server`.

A server process loads the project once and forks steps off; here orders are sent to it, and its answers taken in. It is started anew if it
dies: its steps are reported as failed by that, like any step whose process dies.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import select
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from assets_core.execution.executors import Failed, StepEnd
from assets_core.model.errors import InternalError, ProjectError, UserCodeError
from assets_core.telemetry.observability import begin_step_span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from io import TextIOBase

    from assets_core.execution.executors import InProcessExecutor
    from assets_core.execution.step_order import StepOrder
    from assets_core.telemetry.run_log import RunLog

_SERVER: Final = "assets_core.execution.step_server"
"""What a server process runs."""

_CHUNK: Final = 2**20
_PATIENCE_SECONDS: Final = 10.0
"""How long the server has to end its steps and itself when it is closed."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How another process gets the same definitions: `loader` is `module:function`, called with `argument`.

    `versions` are the code versions by asset that it must find: a file that was edited meanwhile must not run under an older version.
    With None whatever it finds first is right, and must be found again whenever it loads the project anew.
    """

    loader: str
    argument: str
    versions: Mapping[str, str] | None


class StepOutput(Protocol):
    """Where the output of steps goes; a `RunLog` is one."""

    def stream(self, step: str) -> TextIOBase:
        """What takes in the text of one step."""
        ...


@dataclass(slots=True)
class _Going:
    order: StepOrder
    stream: TextIOBase | None
    began: float
    end_span: Callable[[], None]


class ProcessExecutor:
    """Starts its server when it is made, and waits until that has loaded the project.

    Raises ProjectError or UserCodeError if it can't be loaded there.
    """

    def __init__(self, capacity: int, loading: Loading) -> None:
        self._capacity = capacity
        self._going: dict[int, _Going] = {}
        self._ended: list[StepEnd] = []
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        self._server: _Server | None = _Server(loading)
        self._versions = self._server.versions
        self._loading = replace(loading, versions=self._versions)

    @property
    def versions(self) -> Mapping[str, str]:
        """The code versions by asset that were found there."""
        return self._versions

    @property
    def server_process(self) -> int | None:
        """The server's process id; None while there is none."""
        return None if self._server is None else self._server.process_id

    @property
    def capacity(self) -> int:
        """The number of processes."""
        return self._capacity

    def start(self, order: StepOrder, name: str, log: StepOutput | None) -> None:
        """Send the order."""
        if self._server is None:
            self._server = _Server(self._loading)
        stream = None if log is None else log.stream(name)
        end_span = begin_step_span(order.asset, name, order.number)
        self._going[order.step_id] = _Going(order, stream, time.monotonic(), end_span)
        try:
            self._server.say(do="start", order=replace(order, elsewhere=True).to_json())
        except OSError:
            self._lose_server()

    def ended(self, seconds: float | None) -> list[StepEnd]:
        """Take in what the server says, until something ended, the time is over, or somebody interrupts."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self._ended and self._server is not None:
            patience = None if until is None else max(0.0, until - time.monotonic())
            channel = self._server.channel.fileno()
            ready, _, _ = select.select([channel, self._woken], [], [], patience)
            if channel in ready:
                messages = self._server.hear()
                if messages is None:
                    self._lose_server()
                for message in messages or ():
                    self._handle(message)
            if self._woken in ready:
                os.read(self._woken, _CHUNK)
                break
            if not ready or patience == 0.0:
                break
        ended, self._ended = self._ended, []
        return ended

    def cancel(self) -> None:
        """Ask every step to end, with some seconds for its own `finally`."""
        if self._server is not None:
            try:
                self._server.say(do="cancel")
            except OSError:
                self._lose_server()

    def interrupt(self) -> None:
        """Let `ended` return; a signal handler may do no more."""
        os.write(self._waker, b"!")

    def close(self) -> None:
        """End the server, and with it every step."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for end in (self._woken, self._waker):
            os.close(end)

    def _handle(self, message: Mapping[str, Any]) -> None:
        going = self._going.get(message["step"])
        if going is None:
            raise InternalError(
                f"a step process answered for step {message['step']}, which isn't going on"
            )
        if message["is"] == "output":
            if going.stream is not None:
                going.stream.write(message["text"])
            return
        if message["result"] is None:
            result = self._died(going.order, message["cause"])
        else:
            # Written by our own process a moment ago, over a channel that nobody else holds.
            result = pickle.loads(base64.b64decode(message["result"]))  # noqa: S301
        self._end(message["step"], StepEnd(message["step"], result, message["seconds"]))

    def _end(self, step: int, end: StepEnd) -> None:
        going = self._going.pop(step)
        if going.stream is not None:
            going.stream.flush()
        going.end_span()
        self._ended.append(end)

    def _died(self, order: StepOrder, cause: str) -> Failed:
        return Failed(f"{order.asset}: {cause}", UserCodeError.code, died=True)

    def _lose_server(self) -> None:
        server, self._server = self._server, None
        why = "the process that starts steps ended" if server is None else server.close()
        for step, going in list(self._going.items()):
            seconds = time.monotonic() - going.began
            self._end(step, StepEnd(step, self._died(going.order, why), seconds))


class LimitingExecutor:
    """In process what has no limits, in a process of its own what has: a timeout or a memory limit can't be enforced otherwise.

    The other process is started when the first such step is.
    """

    capacity = 1

    def __init__(self, in_process: InProcessExecutor, loading: Loading) -> None:
        self._in_process = in_process
        self._loading = loading
        self._elsewhere: ProcessExecutor | None = None

    def start(self, order: StepOrder, name: str, log: RunLog | None) -> None:
        """Where its limits ask for."""
        if order.timeout is None and order.memory is None:
            self._in_process.start(order, name, log)
            return
        if self._elsewhere is None:
            self._elsewhere = ProcessExecutor(1, self._loading)
        self._elsewhere.start(order, name, log)

    def ended(self, seconds: float | None) -> list[StepEnd]:
        """What ended here, else there."""
        ended = self._in_process.ended(seconds)
        if ended or self._elsewhere is None:
            return ended
        return self._elsewhere.ended(seconds)

    def cancel(self) -> None:
        """Cancel what goes on elsewhere."""
        if self._elsewhere is not None:
            self._elsewhere.cancel()

    def interrupt(self) -> None:
        """Wake both."""
        if self._elsewhere is not None:
            self._elsewhere.interrupt()
        self._in_process.interrupt()

    def close(self) -> None:
        """End the other process."""
        if self._elsewhere is not None:
            self._elsewhere.close()


class _Server:
    """The server process and the channel to it."""

    def __init__(self, loading: Loading) -> None:
        self.channel, theirs = socket.socketpair()
        self._heard = bytearray()
        self.versions: Mapping[str, str] = {}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [
                    sys.executable,
                    "-P",
                    "-m",
                    _SERVER,
                    str(theirs.fileno()),
                    loading.loader,
                    loading.argument,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._wait_until_ready(loading)

    @property
    def process_id(self) -> int:
        """Of the server."""
        return self._process.pid

    def say(self, **message: str) -> None:
        """Send one message. The server always reads, so this never waits for long."""
        self.channel.sendall(json.dumps(message).encode() + b"\n")

    def hear(self) -> list[dict[str, Any]] | None:
        """The messages that have come; None if the server is gone. Waits for at least a part of one."""
        try:
            content = self.channel.recv(_CHUNK)
        except ConnectionResetError:
            content = b""
        if not content:
            return None
        self._heard += content
        *lines, rest = self._heard.split(b"\n")
        self._heard = bytearray(rest)
        return [json.loads(line) for line in lines]

    def close(self) -> str:
        """End it, and say how it ended."""
        self.channel.close()
        try:
            code = self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"the process that starts steps ended ({how})"

    def _wait_until_ready(self, loading: Loading) -> None:
        messages: list[dict[str, Any]] | None = []
        while messages == []:
            messages = self.hear()
        if messages is None:
            raise InternalError(f"{self.close()} before it had loaded the project")
        first = messages[0]
        if first["is"] == "failed":
            self.close()
            if first["frames"]:
                raise UserCodeError(first["message"], frames=first["frames"], hint=first["hint"])
            raise ProjectError(first["message"], hint=first["hint"])
        self.versions = first["versions"]
        if loading.versions is not None and self.versions != dict(loading.versions):
            self.close()
            raise ProjectError(
                "the project's files were edited while the run was starting",
                hint="run the command again",
            )
