"""Runs `partita` again and again without paying for its imports each time: a process that has loaded all of it, and forks for each command.

Run as `python -m tests.crash.launcher`; `Launcher` is the other side. The forked process is a session of its own, carries out the command
line by the same function as the installed script, and is killed after a number of seconds if that is asked for.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
LOADED = (
    "apsw", "duckdb", "opentelemetry.trace", "pandas", "psycopg", "pyarrow.compute", "pyarrow.pandas_compat", "pyarrow.parquet",
    "assets_core.authoring.definitions", "assets_core.authoring.sql_checks", "assets_core.execution.flight", "assets_core.execution.recovery",
    "assets_core.state.chunk_codec", "assets_core.state.manifest", "assets_core.state.postgres", "assets_core.state.sqlite",
    "cli.commands.backfill", "cli.commands.materialize", "cli.commands.planning", "cli.commands.running", "cli.project.kept_outline",
    "cli.project.settings", "io_managers.duckdb_writes", "io_managers.memory", "io_managers.parquet_files", "io_managers.parquet_writes",
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, or minus the signal; seconds; and what it said."""

    code: int
    seconds: float
    said: str


class Launcher:
    """Starts commands in a folder; use it with `with`."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._output = folder.parent / f"{folder.name}.output"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.launcher", str(folder), str(self._output)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    @property
    def process_id(self) -> int:
        """Its own."""
        return self._process.pid

    def run(self, *arguments: str, kill_after: float | None = None, failpoints: str = "") -> Ended:
        """Carry out one command line; `failpoints` as in PARTITA_FAILPOINTS, but for processes that it starts itself."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([arguments, kill_after, failpoints]) + "\n")
        self._process.stdin.flush()
        code, seconds = json.loads(self._process.stdout.readline())
        return Ended(code, seconds, self._output.read_text(errors="replace"))


def _serve(folder: str, output: str) -> None:
    if "MUTANT" in os.environ:
        import_module("tests.crash.mutants")
    for name in LOADED:
        import_module(name)
    for request in sys.stdin:
        arguments, kill_after, armed = json.loads(request)
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _become(folder, output, arguments, armed)
        if kill_after is not None:
            handle = os.pidfd_open(pid)
            select.select([handle], [], [], kill_after)
            os.close(handle)
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        answer = [os.waitstatus_to_exitcode(status), time.monotonic() - began]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _become(folder: str, output: str, arguments: list[str], armed: str) -> NoReturn:
    from assets_core import failpoints
    from cli.main import main

    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        nothing = os.open(os.devnull, os.O_RDONLY)
        said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for source, target in ((nothing, 0), (said, 1), (said, 2)):
            os.dup2(source, target)
        if armed:
            found = failpoints.parse_failpoints(armed)
            failpoints._ARMED = failpoints._Failpoints(found)  # type: ignore[misc]
        code = main(arguments)
        sys.stdout.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2])
