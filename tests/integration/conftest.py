"""The real command in a process of its own, in a small project in a temporary folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import object_store
from tests.faulty_proxy import Plan, proxy
from tests.integration.busy_project import PROJECT as BUSY
from tests.permissions import without_override

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
PATIENCE = 300
"""Seconds after which a command is taken to hang."""

ASSETS = '''
    """A shop."""

    import pyarrow as pa

    from assets_core import AssetContext, Input, asset
    from partitions import DailyPartitions, LastN

    days = DailyPartitions("2025-01-01", end="2025-01-11", timezone="Europe/Berlin")


    @asset(partitions=days, group="bronze", tags={"team": "shop"}, owners=["ann"])
    def orders(context: AssetContext) -> pa.Table:
        """Orders of a day.

        Made up.
        """
        print("looking at", context.partition_key)
        return pa.table({"amount": [1, 2]})


    @asset(partitions=days, group="silver")
    def revenue(orders: pa.Table) -> pa.Table:
        """What they add up to."""
        return pa.table({"total": [sum(orders["amount"].to_pylist())]})


    @asset(partitions=days, group="gold", inputs={"week": Input(revenue, mapping=LastN(7))})
    def trend(week: pa.Table) -> pa.Table:
        """Seven days."""
        return pa.table({"total": [sum(week["total"].to_pylist())]})


    @asset
    def prices() -> pa.Table:
        """Not partitioned."""
        return pa.table({"price": [3]})
'''


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The payload of a `--json` answer."""
        envelope = json.loads(self.out)
        assert envelope["partita"] == 1
        return envelope["data"]

    @property
    def error(self) -> Any:
        """The error of a `--json` answer."""
        return json.loads(self.out)["error"]


@dataclass(frozen=True)
class Shop:
    """A project folder."""

    folder: Path

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def command(self, *arguments: str) -> list[str]:
        if "MUTANT" in os.environ:  # see tests.crash.mutants
            return [sys.executable, "-P", "-m", "tests.crash.mutants", *arguments]
        # -P: like the installed command, and unlike -c, nothing of the current folder is on the search path.
        return [sys.executable, "-P", "-c", "from cli.main import run; run()", *arguments]

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PARTITA_", "PYTEST_"))
        }
        fixed = {
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self.folder.parent),
        }
        return {**kept, **fixed, **(env or {})}

    def run(
        self,
        *arguments: str,
        code: int | None = 0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        overrides: bool = True,
    ) -> Answer:
        """Run a command; without `overrides` modes of files count even for root."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=cwd or self.folder,
            env=self.environment(env),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
            preexec_fn=None if overrides else without_override,
        )
        answer = Answer(done.returncode, done.stdout, done.stderr)
        if not (env and "PARTITA_DEBUG" in env):
            assert "site-packages/click" not in answer.err, answer.err
        if code is not None:
            assert answer.code == code, f"{arguments}: {answer.code}\n{answer.out}\n{answer.err}"
        return answer

    def run_python(self, code: str, *arguments: str) -> Answer:
        """Run code instead of the command."""
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment({"PYTHONUNBUFFERED": "1"}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def contents(self) -> dict[str, tuple[int, int]]:
        """Inode and time of the last write of every file."""
        return {
            str(path.relative_to(self.folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in self.folder.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A project that was never run: ten days of three daily assets, and one without partitions."""
    project = Shop(tmp_path / "shop")
    project.write("assets.py", ASSETS)
    return project


@pytest.fixture
def empty(tmp_path: Path) -> Shop:
    """An empty folder."""
    project = Shop(tmp_path / "empty")
    project.folder.mkdir()
    return project


@pytest.fixture
def busy(shop: Shop) -> Shop:
    """Eight days of three assets; `fetched` waits while there is a file `hold`."""
    shop.write("assets.py", BUSY)
    return shop


@pytest.fixture(scope="module")
def behind() -> Iterator[tuple[str, Plan]]:
    """The address of a proxy before the S3 server, and what it does to requests."""
    with proxy(object_store.address()) as found:
        yield found


@pytest.fixture
def plan(behind: tuple[str, Plan], monkeypatch: pytest.MonkeyPatch) -> Iterator[Plan]:
    """What the proxy does to requests, which clients of this test send there; nothing yet."""
    address, plan = behind
    for name, value in object_store.environment(address).items():
        monkeypatch.setenv(name, value)
    plan.seen.clear()
    yield plan
    plan.faults.clear()
    plan.before, plan.without = Plan.before, frozenset()
