"""How something is run, once it is known what: the options of all commands that run steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar, cast

import click

from assets_core.execution.run_request import OnConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`jobs` None: as `[tool.partita]` says. `run_id` None: a new one."""

    fail_fast: bool
    adopt: bool
    jobs: int | None
    on_conflict: OnConflict
    run_id: str | None

    @classmethod
    def of(cls, options: Mapping[str, object]) -> Self:
        """What click found for `run_options`."""
        return cls(
            fail_fast=cast("bool", options["fail_fast"]),
            adopt=cast("bool", options["adopt"]),
            jobs=cast("int | None", options["jobs"]),
            on_conflict=OnConflict(cast("str", options["on_conflict"])),
            run_id=cast("str | None", options["run_id"]),
        )

    def as_arguments(self) -> list[str]:
        """The same options as words of a command line."""
        words = ["--on-conflict", self.on_conflict.value]
        if self.fail_fast:
            words.append("--fail-fast")
        if self.adopt:
            words.append("--adopt")
        if self.jobs is not None:
            words += ["-j", str(self.jobs)]
        return words


def run_options(function: F) -> F:
    """Add the options; the command takes them as `**options`, for `RunOptions.of`."""
    for option in (
        # Whoever starts a run in another process has to know how to find it.
        click.option("--run-id", hidden=True),
        click.option(
            "--on-conflict",
            type=click.Choice([one.value for one in OnConflict]),
            default=OnConflict.WAIT.value,
            show_default=True,
            help="Of partitions that another run works on: wait for it, skip them, or fail.",
        ),
        click.option(
            "-j",
            "--jobs",
            type=click.IntRange(min=1),
            metavar="N",
            help="Run N steps at once, each in a process of its own.",
        ),
        click.option(
            "--adopt",
            is_flag=True,
            help="Write to tables of these assets' names that others made, instead of refusing.",
        ),
        click.option("--fail-fast", is_flag=True, help="Stop at the first failure."),
    ):
        function = option(function)
    return function
