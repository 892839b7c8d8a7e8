"""A proxy before an HTTP server that does to single requests what networks and busy stores do. Speaks HTTP/1.1, one request a connection."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class Fault(Enum):
    """What happens to a request."""

    RESET_BEFORE = auto()
    """The connection is reset; the server never sees the request."""
    RESET_AFTER = auto()
    """The server has answered; the connection is reset before the answer is passed on."""
    SLOW_DOWN = auto()
    """The answer is 503 Slow Down; the server never sees the request."""
    SLOW_DOWN_AFTER = auto()
    """The server has done it, and the answer is 503 all the same."""
    DENIED = auto()
    """The answer is S3's to a wrong secret."""
    SILENCE = auto()
    """No answer comes until the proxy ends; the server never sees the request."""
    TRUNCATED = auto()
    """Half of the body, then the connection ends."""


@dataclass
class Plan:
    """Faults for the requests to come of some method, in order (None: it passes); `seen` are all requests as (method, path).

    `before` is called with method and path before a request is passed on, and headers whose names are in `without` are not.
    """

    method: str = ""
    faults: list[Fault | None] = field(default_factory=list)
    before: Callable[[str, str], object] = lambda _method, _path: None
    without: frozenset[str] = frozenset()
    seen: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, method: str, path: str) -> Fault | None:
        with self.lock:
            self.seen.append((method, path))
            return self.faults.pop(0) if method == self.method and self.faults else None

    def count(self, method: str) -> int:
        """How many requests of a method came."""
        return sum(seen == method for seen, _ in self.seen)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plan, self.ends, self.there = Plan(), threading.Event(), urlsplit(server)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_any(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # of a client that has read enough
            self._answer()

    def _answer(self) -> None:
        fault = self.server.plan.next(self.command, self.path)
        self.server.plan.before(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.close_connection = True
        match fault:
            case Fault.RESET_BEFORE:
                self._reset()
            case Fault.SLOW_DOWN:
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "SlowDown", "Reduce your rate.")
            case Fault.DENIED:
                self._refuse(HTTPStatus.FORBIDDEN, "SignatureDoesNotMatch", "No such secret.")
            case Fault.SILENCE:
                self.server.ends.wait()
            case _:
                self._forward(body, fault)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = do_any  # noqa: N815 - the base class's names

    def _forward(self, body: bytes, fault: Fault | None) -> None:
        # Signatures cover the host that the client wrote to, and the server doesn't check them.
        forward = HTTPConnection(self.server.there.hostname or "", self.server.there.port)
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in self.server.plan.without
        }
        forward.request(self.command, self.path, body, headers)
        answer = forward.getresponse()
        content = answer.read()
        forward.close()
        if fault is Fault.RESET_AFTER:
            self._reset()
            return
        if fault is Fault.SLOW_DOWN_AFTER:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "SlowDown", "Reduce your rate.")
            return
        passed = [one for one in answer.getheaders() if one[0].lower() not in HOP_BY_HOP]
        length = answer.getheader("content-length") if self.command == "HEAD" else None
        self._head(answer.status, int(length or len(content)), passed)
        cut = len(content) // 2 if fault is Fault.TRUNCATED else len(content)
        self.wfile.write(content[:cut])

    def _head(self, status: int, length: int, headers: Sequence[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("content-length", str(length)), ("connection", "close")):
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: HTTPStatus, code: str, message: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self._head(status, len(body), [])
        self.wfile.write(body)

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def finish(self) -> None:
        """The connection may have been reset on purpose."""
        if self.connection.fileno() >= 0:
            super().finish()


@contextmanager
def proxy(server: str) -> Iterator[tuple[str, Plan]]:
    """The address of a proxy before `server`, and what it is to do. It lets everything pass until told otherwise."""
    with _Server(server) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_address[1]}", httpd.plan
        finally:
            httpd.ends.set()
            httpd.shutdown()
            thread.join()
