"""A server of the S3 API on loopback: one per test process, in a process of its own that ends with it, on a port that was free."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from http import HTTPStatus
from http.client import HTTPConnection

BUCKET = "lake"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
}
_SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").disabled = True
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@cache
def address() -> str:
    """The server's URL; its only bucket is `lake`. Started at the first call."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _SERVER],
        stdin=subprocess.PIPE,  # closed when this process ends, however it does
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    found = f"http://127.0.0.1:{int(process.stdout.readline())}"
    _SERVERS.append(process)
    made = HTTPConnection("127.0.0.1", int(found.rpartition(":")[2]))
    made.request("PUT", f"/{BUCKET}")
    assert made.getresponse().status == HTTPStatus.OK
    made.close()
    return found


_SERVERS: list[subprocess.Popen[str]] = []
"""Kept, so that their standard input stays open."""


def environment(endpoint: str | None = None) -> dict[str, str]:
    """The variables that lead a client to the server, or to `endpoint`."""
    return {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint or address()}
