"""`partita init`: a small project that runs at once."""

from __future__ import annotations

from pathlib import Path

import click

from assets_core.model.errors import ProjectError
from cli.commands.options import PartitaCommand, Settings
from cli.commands.starter import EXAMPLES, starter_files
from cli.render.report import Report
from cli.render.text import Span, Style, line


@click.command("init", cls=PartitaCommand)
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False))
@click.option(
    "--example",
    type=click.Choice(list(EXAMPLES)),
    default="daily",
    show_default=True,
    help="Which project to make.",
)
@click.pass_obj
def command(settings: Settings, directory: str, example: str) -> int:
    """Make a small project that works at once.

    DIR is created if it is not there. No file is ever overwritten.
    """
    folder = Path(directory)
    printer = settings.printer()
    files = starter_files(folder.resolve().name, example)
    taken = [name for name in files if (folder / name).exists() or (folder / name).is_symlink()]
    if taken:
        raise ProjectError(
            f"{folder} has {', '.join(taken)} already; nothing was written",
            hint="choose a new folder: partita init my-project",
        )
    _write(folder, files)
    paths = [str(folder / name) for name in files]
    printer.report(
        Report(
            command="init",
            data={"directory": str(folder), "example": example, "files": paths},
            records=[{"file": path} for path in paths],
            blocks=[
                *(line("wrote ", Span(path, Style.BOLD)) for path in paths),
                line(
                    "next: ", Span(f"cd {_quoted(str(folder))} && partita materialize", Style.CYAN)
                ),
            ],
        )
    )
    return 0


def _write(folder: Path, files: dict[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            # "x": a file that appeared in between is not overwritten either.
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(content)
    except OSError as error:
        raise ProjectError(
            f"{error.filename or folder} can't be written: {error.strerror}",
            hint="choose a folder that you may write to",
        ) from error


def _quoted(text: str) -> str:
    import shlex  # noqa: PLC0415 - only here

    return shlex.quote(text)
