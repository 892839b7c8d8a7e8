"""A project folder and the real command, in a process of its own; shared by every acceptance test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[2]
FLIGHTS = ROOT / "examples" / "flights"
PARTITA = Path(sys.executable).with_name("partita")
PATIENCE = 600
"""Seconds after which a command is taken to hang; far above what any of them needs."""


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams, for questions that don't care which."""
        return f"{self.out}\n{self.err}"

    @property
    def data(self) -> Any:
        """The payload of a `--json` answer, out of its envelope."""
        return json.loads(self.out)["data"]


@dataclass(frozen=True)
class Project:
    """A folder that holds a Partita project."""

    folder: Path

    def write(self, name: str, text: str) -> Path:
        """Write a source file, its common indentation removed."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text that is there."""
        path = self.folder / name
        text = path.read_text()
        assert old in text, f"{name} does not contain {old!r}"
        path.write_text(text.replace(old, new))

    def command(self, *arguments: str) -> list[str]:
        """The command line that `run` runs."""
        if "MUTANT" in os.environ:  # see tests.crash.mutants
            return [sys.executable, "-m", "tests.crash.mutants", *arguments]
        return [str(PARTITA), *arguments]

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """A plain environment: no colours, wide lines, and no byte code, whose time stamps are too coarse for quick edits."""
        base = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PARTITA_", "PYTEST_", "COV_"))
        }
        if "MUTANT" in base:
            base["PYTHONPATH"] = str(Path(__file__).parents[2])
        plain = {"NO_COLOR": "1", "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
        return {**base, **plain, **(more or {})}

    def run(
        self, *arguments: str, code: int | None = 0, env: Mapping[str, str] | None = None
    ) -> Answer:
        """Run `partita` here; `code` is the exit code it must have, None for any."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(env),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        answer = Answer(done.returncode, done.stdout, done.stderr)
        if code is not None:
            assert answer.code == code, (
                f"partita {' '.join(arguments)}: {answer.code}\n{answer.text}"
            )
        return answer

    def json(self, *arguments: str, code: int | None = 0) -> Any:
        """The payload of the command's `--json` answer."""
        return self.run(*arguments, "--json", code=code).data

    def query(self, sql: str, database: str) -> list[tuple[Any, ...]]:
        """Rows of a DuckDB file, read without Partita. Tables need no qualification."""
        with duckdb.connect() as connection:
            path = str(self.folder / database).replace("'", "''")
            connection.execute(f"attach '{path}' as it (type duckdb, read_only)")
            connection.execute("use it")
            # Through Arrow, because DuckDB's own fetch needs pytz for instants.
            rows = connection.sql(sql).to_arrow_table().to_pylist()
        return [tuple(row.values()) for row in rows]


def shop_project(folder: Path) -> Project:
    """A folder with a `[tool.partita]` table that names the module `shop`, still to be written."""
    project = Project(folder)
    project.write("pyproject.toml", '[tool.partita]\ndefinitions = "shop"\n')
    return project


@pytest.fixture(scope="session")
def new_project() -> Callable[[Path], Project]:
    """`shop_project`, for fixtures that outlive a test."""
    return shop_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A `shop_project` in a folder with a space in its name, because users have them."""
    return shop_project(tmp_path / "shop project")


def copy_of_flights(
    folder: Path, *, start: str = "2013-01-01", end: str = "2014-01-01"
) -> Project:
    """The flights example in a folder of its own, from `start` to before `end`.

    If that is no whole number of months, the monthly asset becomes a daily one.
    """
    ignored = shutil.ignore_patterns(".partita", "lake", "*.duckdb*", "__pycache__")
    shutil.copytree(FLIGHTS, folder, ignore=ignored)
    project = Project(folder)
    project.edit("flights_assets.py", '"2013-01-01", "2014-01-01"', f'"{start}", "{end}"')
    if not (start.endswith("-01") and end.endswith("-01")):
        monthly = "months = MonthlyPartitions(START, end=END, timezone=NEW_YORK)"
        project.edit("flights_assets.py", monthly, "months = days")
    return project


@pytest.fixture(scope="session")
def copy_flights() -> Callable[..., Project]:
    """`copy_of_flights`, for fixtures that outlive a test."""
    return copy_of_flights
