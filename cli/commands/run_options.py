"""How something is run, once it is known what: the options of all commands that run steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`jobs` None: where `[tool.partita]` says."""

    fail_fast: bool
    jobs: int | None


def run_options(function: F) -> F:
    """Add `--fail-fast` and `-j`; the command takes them as `fail_fast` and `jobs`."""
    for option in (
        click.option(
            "-j",
            "--jobs",
            type=click.IntRange(min=1),
            metavar="N",
            help="Run N steps at once, each in a process of its own.",
        ),
        click.option("--fail-fast", is_flag=True, help="Stop at the first failure."),
    ):
        function = option(function)
    return function
