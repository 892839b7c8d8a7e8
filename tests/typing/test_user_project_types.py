"""A user's project passes mypy --strict, and mypy finds the mistakes in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import assets_core

HERE = Path(__file__).parent
ROOT = Path(assets_core.__file__).parent.parent


@pytest.mark.slow
def test_a_project_of_a_user_type_checks_under_strict_mypy(tmp_path: Path) -> None:
    settings = tmp_path / "mypy.ini"
    # `strict` also warns of an ignore that is not needed, so every mistake marked in the file must be found.
    settings.write_text(
        "[mypy]\nstrict = True\n[mypy-pyarrow.*,cronsim.*]\nignore_missing_imports = True\n",
        encoding="utf-8",
    )
    answer = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--config-file",
            str(settings),
            "--cache-dir",
            str(tmp_path / "cache"),
            str(HERE / "shop_project.py"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
