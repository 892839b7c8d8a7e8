"""What a process may take, in processes of their own: a limit can't be taken back."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is in use")


def told(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"from assets_core.process_memory import *\n{code}"],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_without_a_limit_duckdb_decides_for_itself() -> None:
    assert told("print(duckdb_memory())") == "{}"


def test_duckdb_gets_a_part_of_what_is_left_and_no_more_threads_than_that_serves() -> None:
    code = "limit_memory(400 * 2**20); print(duckdb_memory())"
    settings = eval(told(code))  # noqa: S307 - what the line above printed
    assert 64 <= int(settings["memory_limit"].removesuffix("MiB")) < 400
    assert settings["threads"] in {1, 2}


def test_what_is_more_than_the_limit_and_its_reserve_is_refused() -> None:
    code = "limit_memory(100 * 2**20)\ntry: bytearray(2**30)\nexcept MemoryError: print('refused')"
    assert told(code) == "refused"


def test_a_tighter_limit_of_whoever_started_the_process_stays() -> None:
    code = """
import resource
resource.setrlimit(resource.RLIMIT_DATA, (200 * 2**20, 200 * 2**20))
limit_memory(10 * 2**30)
print(resource.getrlimit(resource.RLIMIT_DATA)[0] // 2**20)
"""
    assert told(code) == "200"
