"""A loopback server that answers as Azure Blob Storage or Google Cloud Storage do to the few requests that are made of them.

It is what their documentation says of ranges, generations and conditions, not the real thing: it shows that requests are complete and
that their conditions are meant, for these stores can't be tried here.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

Dialect = Literal["azure", "gcs"]
_MODIFIED = "Fri, 31 Jan 2025 12:00:00 GMT"


@contextmanager
def blob_server(dialect: Dialect) -> Iterator[str]:
    """The URL of a server that speaks `dialect`, whose bucket or container is `lake`."""
    own = {
        "dialect": dialect,
        "objects": {},
        "generations": count(1),
        "lock": threading.Lock(),
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Blobs", (_Blobs,), own))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Blobs(BaseHTTPRequestHandler):
    dialect: Dialect
    objects: dict[str, tuple[bytes, int]]
    generations: Iterator[int]
    lock: threading.Lock

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.lock:
            refused = self._refused(self.objects.get(self._key))
            if not refused:
                self.objects[self._key] = (content, next(self.generations))
            found = self.objects.get(self._key)
        self._answer(refused or (201 if self.dialect == "azure" else 200), b"", found)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        if "prefix" in asked:
            self._answer(200, _listing(self.dialect, self.objects, asked["prefix"][0]))
            return
        found = self.objects.get(self._key)
        if found is None:
            self._answer(404, b"")
            return
        expected = self.headers.get("If-Match")
        if expected is not None and expected != _e_tag(*found):
            self._answer(412, b"")
            return
        content, span = found[0], self.headers.get("Range")
        if span is None:
            self._answer(200, content, found)
            return
        first, _, last = span.removeprefix("bytes=").partition("-")
        assert first or self.dialect == "gcs", "Azure takes no range without a beginning"
        start = int(first) if first else max(0, len(content) - int(last))
        end = min(int(last) + 1 if first and last else len(content), len(content))
        where = f"bytes {start}-{end - 1}/{len(content)}"
        self._answer(206, content[start:end], found, where)

    def do_DELETE(self) -> None:
        self._answer(204 if self.objects.pop(self._key, None) else 404, b"")

    def do_POST(self) -> None:
        """Azure's batch of deletions."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        keys = [unquote(one) for one in re.findall(r"DELETE /lake/(\S+) HTTP", body)]
        parts = "".join(
            f"--answers\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
            + (
                "HTTP/1.1 202 Accepted\r\n\r\n"
                if self.objects.pop(key, None)
                else "HTTP/1.1 404 Not Found\r\nx-ms-error-code: BlobNotFound\r\n\r\n"
            )
            for number, key in enumerate(keys)
        )
        content = f"{parts}--answers--\r\n".encode()
        self.send_response(202)
        self.send_header("Content-Type", "multipart/mixed; boundary=answers")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix("/lake/")

    def _refused(self, there: tuple[bytes, int] | None) -> int | None:
        if self.dialect == "gcs":
            wanted = self.headers.get("x-goog-if-generation-match")
            assert wanted is not None, "a PUT without a condition"
            return None if int(wanted) == (there[1] if there else 0) else 412
        if self.headers.get("If-None-Match") == "*":
            return 409 if there else None
        wanted = self.headers["If-Match"]
        return None if there and wanted == _e_tag(*there) else 412

    def _answer(
        self,
        status: int,
        content: bytes,
        found: tuple[bytes, int] | None = None,
        where: str | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", _MODIFIED)
        if found is not None:
            self.send_header("ETag", _e_tag(*found))
            if self.dialect == "gcs":
                self.send_header("x-goog-generation", str(found[1]))
        if where is not None:
            self.send_header("Content-Range", where)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _e_tag(content: bytes, generation: int) -> str:
    return f'"{md5(content + str(generation).encode(), usedforsecurity=False).hexdigest()}"'


def _listing(dialect: Dialect, objects: dict[str, tuple[bytes, int]], prefix: str) -> bytes:
    told = []
    for key, (content, generation) in sorted(objects.items()):
        if not key.startswith(prefix):
            continue
        name, e_tag, size = escape(key), _e_tag(content, generation), len(content)
        told.append(
            f"<Blob><Name>{name}</Name><Properties><Last-Modified>{_MODIFIED}</Last-Modified>"
            f"<Content-Length>{size}</Content-Length><Content-Type>x/y</Content-Type><Etag>{e_tag}</Etag></Properties></Blob>"
            if dialect == "azure"
            else f"<Contents><Key>{name}</Key><LastModified>2025-01-31T12:00:00.000Z</LastModified>"
            f"<ETag>{escape(e_tag)}</ETag><Size>{size}</Size></Contents>"
        )
    listed = "".join(told)
    if dialect == "azure":
        return f"<EnumerationResults><Blobs>{listed}</Blobs></EnumerationResults>".encode()
    return f"<ListBucketResult>{listed}</ListBucketResult>".encode()
