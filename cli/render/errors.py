"""From an exception to what is shown of it, and the exit code. Who is to blame was decided by the class that was raised.

Exit codes: 2 if the command could not start on what was asked (usage, definition, environment), 1 if a saved plan moved, the run
was taken over, or Partita broke a law of its own. That a step or check failed is no exception; the commands themselves answer 1 then.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cli.render.report import ErrorText

if TYPE_CHECKING:
    import click

    from partitions.errors import PartitaError

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_WORK_TO_DO = 5
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""What a shell shows for a program that SIGPIPE ended: whoever read the answer stopped reading."""


def text_of_error(error: PartitaError) -> tuple[ErrorText, int]:
    """One of Partita's errors as it is shown, and its exit code."""
    from assets_core.model.errors import (  # noqa: PLC0415 - errors are rare
        ConflictError,
        InternalError,
        IOManagerError,
        PlanMovedError,
        RunTakenOverError,
        UserCodeError,
    )

    details = error.frames if isinstance(error, (IOManagerError, UserCodeError)) else ""
    if os.environ.get("PARTITA_DEBUG"):
        details = _story(error)
    if not isinstance(error, InternalError):
        # These were understood: it is the world that is not as they say. A run that was taken over had begun.
        understood = isinstance(error, (ConflictError, PlanMovedError, RunTakenOverError))
        code = EXIT_FAILED if understood else EXIT_USAGE
        return ErrorText(error.code, error.message, error.hint, details), code
    report = "please report it with " + (
        "the traceback above" if details else _written_down(_story(error))
    )
    hint = f"{error.hint}; {report}" if error.hint else report
    return ErrorText(error.code, error.message, hint, details), EXIT_FAILED


def text_of_usage(error: click.ClickException) -> ErrorText:
    """A command line that click refused."""
    import click  # noqa: PLC0415 - errors are rare

    # click quotes what it can't convert, with the NUL that keeps `-7d` from being read as an option; nobody can type one.
    message = error.format_message().replace("\\x00", "")
    hint = getattr(error, "hint", None)
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption):
        message = f"there is no option {error.option_name}"
        if error.possibilities:
            hint = "did you mean " + " or ".join(sorted(error.possibilities)) + "?"
    if hint is None and context is not None:
        hint = f"{context.command_path} --help shows what there is"
    return ErrorText("usage", message[:1].lower() + message[1:], hint)


def text_of_unexpected(error: BaseException) -> ErrorText:
    """An exception that nobody expected: its story goes to a file, or with PARTITA_DEBUG=1 is shown."""
    story = _story(error)
    message = f"Partita broke on {type(error).__name__}: {error}"
    if os.environ.get("PARTITA_DEBUG"):
        return ErrorText("internal", message, "please report it with the traceback above", story)
    return ErrorText("internal", message, f"please report it with {_written_down(story)}")


def _story(error: BaseException) -> str:
    import traceback  # noqa: PLC0415 - errors are rare

    return "".join(traceback.format_exception(error))


def _written_down(story: str) -> str:
    import tempfile  # noqa: PLC0415 - errors are rare

    # Not into the project: its folder may be what can't be written.
    with tempfile.NamedTemporaryFile(
        "w",
        prefix="partita-error-",
        suffix=".txt",
        delete=False,
        encoding="utf-8",
        errors="backslashreplace",
    ) as file:
        file.write(story)
    return file.name
