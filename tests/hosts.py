"""Two "machines" on this one: network namespaces with a cable between them, made without root's rights by a user namespace of their own.

They share the file system and see nobody else's network. Pulling the cable is what a switch that fails does: nothing is closed, answers stay away.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_STAY = ("sh", "-c", "echo ready && exec sleep infinity")


@dataclass(frozen=True)
class Host:
    """A machine; `process` keeps its namespaces, `cable` is its end of the cable."""

    process: int
    address: str
    cable: str

    @property
    def within(self) -> list[str]:
        """What to write before a command that is to run there."""
        return ["nsenter", f"--target={self.process}", "--user", "--net", "--preserve-credentials"]

    def run(self, *command: str) -> None:
        """Run a command there. Raises CalledProcessError."""
        subprocess.run([*self.within, *command], check=True, capture_output=True, text=True)

    def pull_cable(self) -> None:
        """Nothing gets through any more."""
        self.run("ip", "link", "set", self.cable, "down")

    def plug_cable(self) -> None:
        """As before."""
        self.run("ip", "link", "set", self.cable, "up")


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two machines; the test is skipped, with the reason, where they can't be had."""
    processes: list[subprocess.Popen[str]] = []
    try:
        try:
            hosts = _made(processes)
        except FileNotFoundError as error:
            pytest.skip(f"{error.filename} is not installed")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces without root here: {error.stderr.strip()}")
        yield hosts
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _made(processes: list[subprocess.Popen[str]]) -> tuple[Host, Host]:
    near = Host(_stay(processes, "unshare", "--map-root-user", "--net"), "10.77.0.1", "near")
    user = ("nsenter", f"--target={near.process}", "--user", "--preserve-credentials")
    far = Host(_stay(processes, *user, "unshare", "--net"), "10.77.0.2", "far")
    near.run("ip", "link", "add", near.cable, "type", "veth", "peer", "name", far.cable)
    near.run("ip", "link", "set", far.cable, "netns", str(far.process))
    for host in (near, far):
        host.run("ip", "address", "add", f"{host.address}/24", "dev", host.cable)
        host.run("ip", "link", "set", "lo", "up")
        host.plug_cable()
    return near, far


def _stay(processes: list[subprocess.Popen[str]], *command: str) -> int:
    process = subprocess.Popen(
        [*command, *_STAY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    processes.append(process)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        _, told = process.communicate()
        raise subprocess.CalledProcessError(process.returncode, command, stderr=told)
    return process.pid
