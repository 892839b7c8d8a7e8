"""The layers hold, and the tool that says so would notice if they did not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("partitions", "assets_core", "io_managers", "cli")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},  # it wraps long lines
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copied_sources(tmp_path: Path) -> Path:
    """The packages and their contracts in a folder of their own, to be broken at will."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_import_points_down_the_layers() -> None:
    answer = lint_imports(ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "0 broken" in answer.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        pytest.param(
            "partitions/sets.py",
            "from assets_core.model import errors",
            "Packages point one way",
            id="a package that imports a higher one",
        ),
        pytest.param(
            "assets_core/model/specs.py",
            "def later() -> None:\n    from assets_core.planning import plan",
            "Inside assets_core",
            id="a layer that imports a higher one, hidden in a function",
        ),
        pytest.param(
            "assets_core/planning/planner.py",
            "import time",
            "Decision modules do no IO",
            id="a decision that could read the clock",
        ),
        pytest.param(
            "io_managers/memory.py",
            "import io_managers.parquet_files",
            "IO managers do not know each other",
            id="an IO manager that leans on another",
        ),
    ],
)
def test_a_planted_violation_is_caught(
    copied_sources: Path, module: str, line: str, contract: str
) -> None:
    with (copied_sources / module).open("a") as file:
        file.write(f"\n{line}\n")
    answer = lint_imports(copied_sources)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    broken = [text for text in answer.stdout.splitlines() if text.endswith("BROKEN")]
    assert any(contract in text for text in broken), answer.stdout


def test_no_contract_makes_an_exception() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert "ignore_imports" not in text
