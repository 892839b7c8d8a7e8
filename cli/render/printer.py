"""The printer: the one place that writes to standard output and standard error, in the chosen format.

Theory of operation
-------------------
With a format for machines, standard output carries the answer and nothing else. User code may print, log, or start programs that
write to file descriptor 1, so `open_printer` moves the real standard output to a descriptor that only the printer knows and lets
descriptor 1 point to standard error before any user module is imported.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from cli.render.report import Output
from cli.render.text import Span, Style, Table, Tree, Verbatim, as_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cli.render.report import ErrorText, Report
    from cli.render.text import Block, Content, Line


class Printer:
    """Writes reports to `out` and everything else to `err`.

    `width` cuts tables to the terminal; None leaves them whole. `unicode` allows box characters and blocks.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        output: Output,
        *,
        color_out: bool = False,
        color_err: bool = False,
        unicode: bool = True,
        width: int | None = None,
    ) -> None:
        self._out = out
        self.err = err
        self.output = output
        self._color_out = color_out
        self._color_err = color_err
        self.unicode = unicode
        self._width = width

    def report(self, report: Report) -> None:
        """Write a command's answer to standard output."""
        match self.output:
            case Output.JSON:
                self._out.write(to_json(report.envelope(), indent=2) + "\n")
            case Output.JSONL:
                for record in report.records:
                    self.record(record)
            case Output.CSV:
                columns = tuple(report.records[0]) if report.records else report.columns
                self._csv(report.records, columns)
            case Output.TABLE:
                for one in self._laid_out(report.blocks):
                    self._out.write(_painted(one, color=self._color_out) + "\n")
        self._out.flush()

    def records(self, columns: tuple[str, ...], records: Iterable[Mapping[str, object]]) -> None:
        """Write many rows as they come, as JSON lines or CSV; none of them is kept."""
        if self.output is Output.CSV:
            self._csv(records, columns)
        else:
            self._out.writelines(to_json(record) + "\n" for record in records)
        self._out.flush()

    def record(self, record: Mapping[str, object]) -> None:
        """Write one JSON line at once; for answers that come bit by bit."""
        self._out.write(to_json(record) + "\n")
        self._out.flush()

    def text(self, text: str) -> None:
        """Write text of our own making, such as a completion script or a diagram, to standard output unchanged."""
        self._out.write(text if text.endswith("\n") else text + "\n")
        self._out.flush()

    def note(self, content: Content) -> None:
        """Write one line to standard error: progress, what was found, what comes next."""
        self.err.write(_painted(as_line(content), color=self._color_err) + "\n")
        self.err.flush()

    def can_ask(self) -> bool:
        """Whether somebody is there to answer: standard input and standard error are a terminal."""
        return sys.stdin.isatty() and self.err.isatty()

    def asks(self, question: str) -> bool:
        """Put a question on standard error; anything but yes is no."""
        self.err.write(_painted(as_line(f"{question} [y/N] "), color=False))
        self.err.flush()
        return sys.stdin.readline().strip().casefold() in {"y", "yes"}

    def blocks_to_err(self, blocks: Iterable[Block]) -> None:
        """Write blocks to standard error."""
        for one in self._laid_out(blocks):
            self.err.write(_painted(one, color=self._color_err) + "\n")
        self.err.flush()

    def error(self, error: ErrorText) -> None:
        """Write an error: for people to standard error, and with a JSON format its envelope to standard output as well."""
        if self.output in {Output.JSON, Output.JSONL}:
            indent = 2 if self.output is Output.JSON else None
            self._out.write(to_json(error.envelope(), indent=indent) + "\n")
            self._out.flush()
        if error.details:
            self.blocks_to_err([Verbatim(error.details)])
        for position, one in enumerate(error.message.splitlines() or [""]):
            head = Span("error: ", Style.RED) if position == 0 else Span("       ")
            self.note((head, Span(one)))
        if error.hint:
            for position, one in enumerate(error.hint.splitlines()):
                self.note((Span("hint: " if position == 0 else "      ", Style.CYAN), Span(one)))

    def _laid_out(self, blocks: Iterable[Block]) -> Iterator[Line]:
        for block in blocks:
            match block:
                case Table():
                    yield from block.lines(
                        width=self._width, ellipsis="…" if self.unicode else "..."
                    )
                case Tree():
                    yield from block.lines(unicode=self.unicode)
                case Verbatim():
                    yield from block.lines()
                case _:
                    yield as_line(block)

    def _csv(self, records: Iterable[Mapping[str, object]], names: tuple[str, ...]) -> None:
        import csv  # noqa: PLC0415 - only this format needs it

        writer = csv.writer(self._out, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_csv_cell(record[name]) for name in names] for record in records)


def to_json(value: object, *, indent: int | None = None) -> str:
    r"""JSON in ASCII, so that no name can steer a terminal and no encoding can break it.

    >>> to_json({"key": "é\x1b\x7f"})
    '{"key": "\\u00e9\\u001b\\u007f"}'
    """
    import json  # noqa: PLC0415 - text answers don't need it

    return json.dumps(value, indent=indent, default=_plain).replace("\x7f", "\\u007f")


def open_printer(output: Output) -> Printer:
    """The printer of this process. With a format for machines it takes standard output away from everybody else."""
    out: TextIO = sys.stdout
    if output.is_for_machines:
        out = _taken_stdout()
    for stream in (out, sys.stderr):
        # A key that the terminal's encoding lacks must not end the command.
        _tolerate_any_text(stream)
    width = None
    if output is Output.TABLE and out.isatty():
        width = os.get_terminal_size(out.fileno()).columns or None
    return Printer(
        out,
        sys.stderr,
        output,
        color_out=_shows_color(out) and not output.is_for_machines,
        color_err=_shows_color(sys.stderr),
        unicode=_shows_unicode(out if output is Output.TABLE else sys.stderr),
        width=width,
    )


def close_quietly() -> None:
    """Let standard output lead nowhere, so that the exit does not complain about a reader that went away."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_interactive(stream: TextIO) -> bool:
    """Whether a progress bar may be drawn there."""
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


def _taken_stdout() -> TextIO:
    sys.stdout.flush()
    private = os.dup(1)
    os.dup2(2, 1)
    return open(private, "w", encoding="utf-8", newline="\n")  # noqa: PTH123 - lives as long as the process


def _tolerate_any_text(stream: TextIO) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _shows_color(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _shows_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "").startswith("utf")


def _painted(content: Line, *, color: bool) -> str:
    if not color:
        return "".join(span.text for span in content)
    return "".join(
        span.text if span.style is Style.PLAIN else f"\x1b[{span.style.value}m{span.text}\x1b[0m"
        for span in content
    )


def _plain(value: object) -> object:
    """Values that JSON does not know: sets and tuples as lists, everything else as text."""
    if isinstance(value, frozenset | set):
        return sorted(value)
    return str(value)


def _csv_cell(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        # Line ends inside quotes are good CSV; other control characters would steer a terminal.
        return "\n".join(as_line(one)[0].text for one in value.split("\n"))
    return to_json(value)
