"""The tests of the commit protocol can fail: each of the planted bugs is caught by the tests that are there to catch it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.mutants import MUTANTS

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_caught(name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "tests.crash.mutants"]
    done = subprocess.run(
        [*command, *MUTANTS[name].tests],
        cwd=ROOT,
        env={
            **os.environ,
            "MUTANT": name,
            "HYPOTHESIS_PROFILE": "mutants",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    # 1 is "tests ran, and some failed"; a broken test run would be another number, and prove nothing.
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed" in done.stdout, done.stdout
