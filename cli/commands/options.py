"""What all commands have in common: the options that find the project and choose the format, and how arguments are read.

`-m`, `-f`, `-C`, `-o` and `--json` may stand before or after the command's name. What they mean is decided in `cli.project` and
`cli.render`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from cli.render.report import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem

    from cli.project import Project
    from cli.render.printer import Printer

if TYPE_CHECKING:
    TextParam = click.ParamType[str]
else:
    TextParam = click.ParamType  # not generic before click 8.3

_LOOKS_LIKE_RANGE: Final = re.compile(r"-\d")
_SHIELD: Final = "\x00"
_OUTPUTS: Final = frozenset(output.value for output in Output)


@dataclass(slots=True)
class Settings:
    """What the common options said; made once per process, filled while the command line is read.

    `module` and `file` are None if the project is to be looked for. Once `printer` was asked for, the format is settled.
    """

    module: str | None = None
    file: str | None = None
    output: Output = Output.TABLE
    _printer: Printer | None = None

    def printer(self) -> Printer:
        """The printer of this process; call it before any user code is imported."""
        if self._printer is None:
            from cli.render.printer import open_printer  # noqa: PLC0415 - `--help` prints nothing of ours

            self._printer = open_printer(self.output)
        return self._printer


class ReaderGoneError(Exception):
    """Whoever read our standard output stopped reading, as `head` does: no error, and nothing to say."""


class HintedUsageError(click.UsageError):
    """A usage error that knows what to type next."""

    def __init__(self, message: str, hint: str, ctx: click.Context | None = None) -> None:
        super().__init__(message, ctx)
        self.hint = hint


class Token(TextParam):
    """Text that may begin with a minus sign and a digit, such as the range `-7d...today`."""

    name = "text"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Take the shield off."""
        del param, ctx
        return str(value).removeprefix(_SHIELD)


TOKEN: Final = Token()


class PartitaCommand(click.Command):
    """A command with the common options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - click's own signature
        super().__init__(*args, **kwargs)
        self.params += common_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep `-7d` and the like from being taken for an option; an argument of ours never begins with a NUL otherwise."""
        return super().parse_args(ctx, [_shielded(arg) for arg in args])


class PartitaGroup(click.Group):
    """A group of commands that names the nearest one for a mistyped one, and prints its help if none is given."""

    command_class = PartitaCommand

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - click's own signature
        super().__init__(*args, **{"invoke_without_command": True, **kwargs})
        self.params += common_options()

    def invoke(self, ctx: click.Context) -> object:
        """Without a command, the help."""
        if ctx.invoked_subcommand is None and not ctx._protected_args and not ctx.args:  # noqa: SLF001
            click.echo(ctx.get_help())
            return 0
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # click would take it for a failure and exit with 1.
            raise ReaderGoneError from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command, or a usage error with the nearest names."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            raise unknown_command(ctx, name, self.list_commands(ctx))
        return super().resolve_command(ctx, args)


def unknown_command(ctx: click.Context, name: str, known: Sequence[str]) -> HintedUsageError:
    """The error for a command that does not exist."""
    from partitions.errors import nearest  # noqa: PLC0415 - errors are rare

    near = nearest(name, known)
    if near:
        hint = "did you mean " + " or ".join(f"{ctx.command_path} {each}" for each in near) + "?"
    else:
        hint = f"{ctx.command_path} --help lists the commands"
    return HintedUsageError(f"there is no command {name!r}", hint, ctx)


def common_options() -> list[click.Parameter]:
    """New copies of the options that every command has."""
    return [
        click.Option(
            ["-m", "--module", "common_module"],
            metavar="MODULE",
            help="Load this module, such as shop.assets.",
            expose_value=False,
            callback=_remember_module,
        ),
        click.Option(
            ["-f", "--file", "common_file"],
            metavar="FILE",
            help="Load this Python file.",
            expose_value=False,
            callback=_remember_file,
            type=click.Path(),
        ),
        click.Option(
            ["-C", "--directory", "common_directory"],
            metavar="DIR",
            help="Change to this folder first.",
            expose_value=False,
            callback=_change_directory,
            is_eager=True,
            type=click.Path(file_okay=False),
        ),
        click.Option(
            ["-o", "--output", "common_output"],
            type=click.Choice([output.value for output in Output]),
            help="Form of the answer.",
            expose_value=False,
            callback=_remember_output,
        ),
        click.Option(
            ["--json", "common_json"],
            is_flag=True,
            help="Short for -o json.",
            expose_value=False,
            callback=_remember_json,
        ),
    ]


def settings_of(ctx: click.Context) -> Settings:
    """The settings of this process."""
    settings: Settings = ctx.find_root().ensure_object(Settings)
    return settings


def output_asked_for(arguments: Sequence[str]) -> Output:
    """The format that a command line asks for although it can't be read.

    >>> output_asked_for(["plan", "--bogus", "-o", "jsonl"]), output_asked_for(["plan"])
    (<Output.JSONL: 'jsonl'>, <Output.TABLE: 'table'>)
    """
    found = Output.TABLE
    for position, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == "--json":
            found = Output.JSON
        value = None
        if argument in {"-o", "--output"}:
            value = arguments[position + 1] if position + 1 < len(arguments) else None
        elif argument.startswith("--output="):
            value = argument.removeprefix("--output=")
        elif argument.startswith("-o"):
            value = argument.removeprefix("-o").removeprefix("=")
        if value in _OUTPUTS:
            found = Output(value)
    return found


def _remember_module(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        settings_of(ctx).module = value


def _remember_file(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        settings_of(ctx).file = value


def _change_directory(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    try:
        os.chdir(value)
    except OSError as error:
        if not ctx.resilient_parsing:  # completing a line: the folder may not be typed out yet
            raise click.UsageError(
                f"can't change to the folder {value!r}: {error.strerror}", ctx
            ) from error


def _remember_output(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        settings_of(ctx).output = Output(value)


def _remember_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        settings_of(ctx).output = Output.JSON


def _shielded(argument: str) -> str:
    return _SHIELD + argument if _LOOKS_LIKE_RANGE.match(argument) else argument


def open_project(settings: Settings) -> Project:
    """The project that the options and the current folder lead to; nothing of it is imported yet. Raises ProjectError."""
    from pathlib import Path  # noqa: PLC0415 - `--help` needs no project

    from cli.project import Project  # noqa: PLC0415
    from cli.project.location import find_location  # noqa: PLC0415

    return Project(find_location(Path.cwd(), module=settings.module, file=settings.file))


def complete_assets(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Assets whose name begins with the word, from the last manifest: a tab key must not run anybody's code."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only while completing

    from assets_core.state.manifest import read_stale_manifest  # noqa: PLC0415
    from cli.render.text import clean  # noqa: PLC0415
    from partitions.errors import PartitaError  # noqa: PLC0415

    del param
    try:
        manifest = read_stale_manifest(open_project(settings_of(ctx)).manifest_path)
    except PartitaError:
        return []  # a shell has no place for an error message
    if manifest is None:
        return []
    head = re.match(r"(?:\d*\+)?", incomplete)
    prefix = head.group() if head is not None else ""
    return [
        CompletionItem(prefix + asset.key, help=clean(asset.description.partition("\n")[0]))
        for asset in manifest.assets
        if asset.key.startswith(incomplete.removeprefix(prefix))
    ]
