"""A Dask cluster of separate processes on this machine, for the tests that need one: a scheduler and workers as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

DASK = Path(sys.executable).with_name("dask")


HERE = "127.0.0.1"


class Cluster:
    """`dask scheduler` and `dask worker`s, ended with the block.

    The scheduler is at the address `host`, and begun by what is `within`, if not by this process itself; `settings` are variables of its environment.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = HERE,
        within: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._host = host
        self._within = within
        self._settings = settings or {}
        self._file = folder / "scheduler.json"
        self._scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._scheduler = self._begin(
            (*self._within, str(DASK)),
            "scheduler",
            "--host",
            self._host,
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(self._file),
            settings=self._settings,
        )
        wait_until(self._file.exists, self.output)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in (*self.workers, self._scheduler):
            if process is not None:
                process.kill()
                process.wait()

    @property
    def address(self) -> str:
        """Of the scheduler."""
        import json

        found: str = json.loads(self._file.read_text())["address"]
        return found

    def add_worker(
        self,
        *options: str,
        program: Path = DASK,
        host: str = HERE,
        within: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """One more, without the nanny that would start it again when it is killed."""
        worker = self._begin(
            (*within, str(program)),
            "worker",
            self.address,
            "--host",
            host,
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
            *options,
            settings=settings or {},
        )
        self.workers.append(worker)
        return worker

    def kill_scheduler(self) -> None:
        """As a machine that goes away does."""
        assert self._scheduler is not None
        self._scheduler.kill()
        self._scheduler.wait()

    def output(self) -> str:
        """What all of them printed."""
        return (self._folder / "output").read_text()

    def _begin(
        self, program: Sequence[str], *command: str, settings: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                [*program, *command],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": "", **settings},
            )
