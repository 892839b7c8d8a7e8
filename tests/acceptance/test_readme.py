"""The README is true: its Python runs, its commands exist, and what it says they print is what they print.

A fenced block is one of three. `sh`: make targets, which must exist. `python`: written to the file that the commands name.
`console`: commands after `$ `, each followed by its exact output, or by nothing if that differs from run to run.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def sessions() -> list[tuple[str, str]]:
    """(command, output) of every console block, in order."""
    parts = [
        part
        for block in blocks("console")
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)
    ]
    return [
        (command, output)
        for command, _, output in (part.partition("\n") for part in parts if part)
    ]


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", "console"}
    assert len(blocks("python")) == 1


@pytest.mark.parametrize("command", [line for block in blocks("sh") for line in lines(block)])
def test_a_make_target_exists(command: str) -> None:
    make, *targets = shlex.split(command)
    assert make == "make"
    done = subprocess.run(
        ["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_asset_file_is_about_twenty_lines() -> None:
    (text,) = blocks("python")
    assert len(text.splitlines()) <= 24


def test_the_commands_print_what_the_readme_says(project: Project) -> None:
    (text,) = blocks("python")
    project.write("assets.py", text)
    (project.folder / "pyproject.toml").unlink()
    for command, output in sessions():
        program, *arguments = shlex.split(command)
        if program == "sed":
            subprocess.run([program, *arguments], cwd=project.folder, check=True)
            assert (project.folder / "assets.py").read_text() != text, "the edit found its line"
            continue
        assert program == "partita"
        answer = project.run(*arguments, env={"COLUMNS": "100"})
        if output:  # what a run prints holds times, so it is left out
            assert lines(answer.out) == lines(output), f"$ {command}"
    rows = project.query(
        "select _partition, revenue from revenue order by all", ".partita/data.duckdb"
    )
    assert len(rows) == 31
    assert rows[0] == ("2025-01-01", 33)


def test_every_file_that_the_readme_names_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
