"""The command line's front door: which commands there are, and what an error or an interruption becomes. Imports click only.

A command's module is imported when it is called. The one-line helps are repeated here, so that `partita --help` imports none of
them; a test holds the two equal.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn

import click

from cli import __version__
from cli.commands.options import PartitaGroup, ReaderGoneError, Settings, output_asked_for

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = {
    "init": ("init", "Make a small project that works at once."),
    "list": ("list_assets", "List the assets of the project."),
    "show": ("show", "Show one asset: definition, state, where its data is."),
    "plan": ("plan", "Show what would run, and why."),
    "materialize": ("materialize", "Run what is stale."),
    "backfill": ("backfill", "Run what is stale in a range of partitions, as a durable run."),
    "mark-current": (
        "mark_current",
        "Accept existing partitions as made by the code and inputs of now.",
    ),
    "check": ("check", "Hold published rows against contracts and checks."),
    "status": ("status", "Show how fresh each asset is."),
    "explain": ("explain", "Explain why a partition is stale, or what an error code means."),
    "query": ("query", "Ask the project's assets in SQL."),
    "lineage": ("lineage", "Draw what reads what."),
    "runs": ("runs", "List, inspect, follow, stop and resume runs."),
    "partitions": ("partitions", "List, add and remove the keys of dynamic partitions."),
    "state": (
        "state",
        "Verify, compact, move or clean up the state, or let that of an asset begin anew.",
    ),
    "doctor": ("doctor", "Check that everything is in working order."),
    "completion": ("completion", "Print the completion script of a shell."),
}
"""Command → its module in `cli.commands`, and its one-line help; in the order of `--help`."""

RUNNING: Final = frozenset({"materialize", "backfill", "check"})
"""Commands in which user code runs."""


class LazyGroup(PartitaGroup):
    """The `partita` command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, the usual first ones first."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in RUNNING:
            # numpy's algebra starts threads when it is imported, which costs more than any plan; looking multiplies no matrices.
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        command: click.Command = import_module(f"cli.commands.{COMMANDS[cmd_name][0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])


@click.group(
    "partita",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done or nothing to do, 1 a step or check failed, 2 usage or definition error, "
    "5 there is work (--detailed-exitcode), 130 interrupted.",
)
@click.version_option(__version__, prog_name="partita", message="%(prog)s %(version)s")
def partita() -> None:
    """Partitioned data assets: what is stale, why, and running exactly that."""


def run() -> NoReturn:
    """The entry point: run the command of this process's arguments and exit with its code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 - for as long as the process lives
    code = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:
        from cli.render.printer import close_quietly  # noqa: PLC0415 - rare

        close_quietly()
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"error: the output can't be written: {error.strerror}\n")
            code = code or 1
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run one command line and answer its exit code; every error has been shown."""
    settings = Settings()
    try:
        result = partita.main(
            args=list(arguments), prog_name="partita", standalone_mode=False, obj=settings
        )
    except Exception as error:  # noqa: BLE001 - the last line: whatever it is, it is shown and becomes an exit code
        return _shown(error, settings, arguments)
    except KeyboardInterrupt:
        return _shown(click.Abort(), settings, arguments)
    return result if isinstance(result, int) else 0


def _is_somewhere() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - the question is whether it can be asked
    except FileNotFoundError:
        return False
    return True


def _nowhere() -> click.ClickException:
    return click.ClickException("the current folder is not there any more; change to another one")


def _shown(error: Exception, settings: Settings, arguments: Sequence[str]) -> int:
    from cli.render import errors  # noqa: PLC0415 - errors are rare
    from cli.render.printer import close_quietly  # noqa: PLC0415
    from cli.render.report import Output  # noqa: PLC0415
    from partitions.errors import PartitaError  # noqa: PLC0415

    if settings.output is Output.TABLE:
        settings.output = output_asked_for(arguments)
    code = errors.EXIT_FAILED
    match error:
        case ReaderGoneError():
            close_quietly()
            return errors.EXIT_BROKEN_PIPE
        case click.Abort():
            settings.printer().note("interrupted")
            return errors.EXIT_INTERRUPTED
        case click.ClickException():
            text = errors.text_of_usage(error)
            code = errors.EXIT_USAGE
        case PartitaError():
            text, code = errors.text_of_error(error)
        case FileNotFoundError() if not _is_somewhere():
            text, code = errors.text_of_usage(_nowhere()), errors.EXIT_USAGE
        case OSError(errno=errno.ENOSPC, filename=None):
            # Whatever else may be full says which file it is.
            close_quietly()
            text = errors.text_of_usage(
                click.ClickException(f"the output can't be written: {error.strerror}")
            )
        case _:
            text = errors.text_of_unexpected(error)
    settings.printer().error(text)
    return code
