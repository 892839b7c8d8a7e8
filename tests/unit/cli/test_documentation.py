"""The pages about the command line and its errors are complete."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import TYPE_CHECKING

import click
import pytest

from cli.commands.options import common_options
from cli.main import COMMANDS, partita
from cli.render.error_codes import ERROR_ENTRIES, errors_page
from partitions.errors import PartitaError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "cli.md").read_text()


def every_command(
    group: click.Group = partita, name: str = "partita"
) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command(command, f"{name} {each}")
        else:
            yield f"{name} {each}", command


COMMANDS_BY_NAME = dict(every_command())


def section(name: str) -> str:
    found = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/cli.md has no section about {name}"
    return found.group(1)


def examples(text: str) -> str:
    return "\n".join(re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


def options_of(command: click.Command) -> list[str]:
    common = {option.name for option in common_options()}
    return [
        name
        for parameter in command.params
        if isinstance(parameter, click.Option)
        and parameter.name not in common
        and not parameter.hidden
        for name in parameter.opts
    ]


@pytest.mark.parametrize("name", COMMANDS_BY_NAME)
def test_every_command_is_documented_with_an_example(name: str) -> None:
    assert f"$ {name}" in examples(section(name))


@pytest.mark.parametrize("name", COMMANDS_BY_NAME)
def test_every_option_is_documented_with_an_example(name: str) -> None:
    text = section(name)
    for option in options_of(COMMANDS_BY_NAME[name]):
        assert option in examples(text), f"{name} {option}"


def test_the_common_options_are_documented_with_examples() -> None:
    text = section("Common options")
    for parameter in common_options():
        for option in parameter.opts:
            assert re.search(rf"(?<![\w-]){option}\b", examples(text)), option


def test_the_page_documents_no_command_that_does_not_exist() -> None:
    documented = re.findall(r"^## (partita .+)$", PAGE, re.MULTILINE)
    assert sorted(documented) == sorted(COMMANDS_BY_NAME)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_one_line_help_on_the_front_page_is_that_of_the_command(name: str) -> None:
    command = partita.get_command(click.Context(partita), name)
    assert command is not None
    assert command.get_short_help_str(200) == COMMANDS[name][1]


def every_error() -> set[type[PartitaError]]:
    for package in ("partitions", "assets_core", "io_managers", "cli"):
        for module in walk_packages([str(ROOT / package)], f"{package}."):
            import_module(module.name)
    found: set[type[PartitaError]] = set()
    waiting = [PartitaError]
    while waiting:
        kind = waiting.pop()
        found.add(kind)
        waiting += kind.__subclasses__()
    return {kind for kind in found if kind.__module__.partition(".")[0] != "tests"}


def test_every_error_code_is_documented_and_no_other() -> None:
    ours = ("partitions", "assets_core", "io_managers", "cli")
    codes = {kind.code for kind in every_error() if kind.__module__.startswith(ours)}
    # `usage` is click's; it has no class of ours.
    assert {entry.code for entry in ERROR_ENTRIES} == codes | {"usage"}


def test_the_errors_page_is_what_explain_says() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    assert page == errors_page(), "write cli.render.error_codes.errors_page() to docs/errors.md"


def test_every_error_entry_says_what_to_do() -> None:
    for entry in ERROR_ENTRIES:
        assert entry.meaning.endswith(".")
        assert entry.remedy.endswith(".")
        assert entry.title
