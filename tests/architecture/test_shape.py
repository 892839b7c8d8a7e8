"""What every source file has in common: a docstring, a bearable length, no printing, no loose ends."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGES = ("partitions", "assets_core", "io_managers", "cli")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# The habits are 500 and 50; past these figures nobody can call it "about".
LONGEST_FILE = 560
LONGEST_FUNCTION = 60
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "tools"}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imported_names(path: Path) -> set[str]:
    """Top-level packages that the file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name.partition(".")[0] for alias in aliases}
            case ast.ImportFrom(module=str(module), level=0):
                names.add(module.partition(".")[0])
            case _:
                pass
    return names


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def statement_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code; a long docstring or a signature with one option a line is a virtue."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_source_file_is_short_and_says_what_it_decides(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    assert path.stem not in VAGUE_NAMES
    if text.strip():
        assert ast.get_docstring(parsed(path)), "a module starts with a docstring"
    long = {
        function.name: length
        for function in functions(path)
        if (length := statement_lines(function)) > LONGEST_FUNCTION
    }
    assert long == {}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_source_file_has_no_loose_ends(path: Path) -> None:
    assert re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", path.read_text()) == []
    for node in ast.walk(parsed(path)):
        match node:
            case ast.Name(id="NotImplementedError"):
                pytest.fail(f"line {node.lineno}: NotImplementedError")
            case ast.ExceptHandler(
                type=None | ast.Name(id="Exception" | "BaseException"),
                body=[ast.Pass() | ast.Continue()],
            ):
                pytest.fail(f"line {node.lineno}: whatever was raised is swallowed")
            case ast.Global():
                pytest.fail(f"line {node.lineno}: a module global is changed")
            case _:
                pass


def test_only_the_renderer_prints() -> None:
    printers = {
        name_of(path)
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Name) and node.id == "print"
    }
    assert all(name.startswith("cli/render") for name in printers), printers


def test_only_the_calendar_modules_know_pendulum_and_the_zone_database() -> None:
    users = {name_of(path) for path in SOURCES if imported_names(path) & {"pendulum", "zoneinfo"}}
    assert users <= {"partitions/cadence.py", "partitions/zones.py"}


def test_there_are_exactly_four_packages_and_each_is_typed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packaged = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(packaged) == sorted(PACKAGES)
    assert [p for p in PACKAGES if not (ROOT / p / "py.typed").exists()] == []


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert version("partita") == project["version"] == cli.__version__
    headings = re.findall(
        r"^## \[?([^\]\s]+)\]?", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert project["version"] in headings[:2], "the changelog tells of this version"


def test_the_command_is_called_partita() -> None:
    (command,) = entry_points(group="console_scripts", name="partita")
    assert command.value == "cli.main:run"


def test_the_license_is_there_in_full() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_a_test_file_neither_sleeps_nor_reads_the_wall_clock(path: Path) -> None:
    # Random pauses before a kill are an exception, there the pause is the thing under test; and what waits for other processes.
    if (
        path.name in {"test_kill.py", "waiting.py"}
        or "crash" in path.parts
        or "time" not in imported_names(path)
    ):
        return
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {
                ("time", "sleep"),
                ("time", "time"),
                ("time", "perf_counter"),
                ("time", "monotonic"),
            }, f"line {node.lineno}"
