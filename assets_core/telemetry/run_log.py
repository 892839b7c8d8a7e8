"""Run logs as files: `runs/<date>/<run id>/run.log`, one line per message, readable while the run goes on.

Rows of a log table would cost a transaction each and make the state grow without bound; a file is appended to and thrown away.
"""

from __future__ import annotations

import io
import logging
import shutil
from contextlib import contextmanager, redirect_stdout, suppress
from datetime import date
from typing import TYPE_CHECKING

from assets_core.model.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path
    from typing import TextIO

ASSET_LOGGER = "partita.asset"
"""Parent of the loggers that `AssetContext.log` hands out; they pass INFO and above."""


class RunLogs:
    """The folder that holds the logs of all runs of a project."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, run_id: str, started_at: datetime) -> Path:
        """Where one run's log is, whether or not it exists."""
        return self._folder / started_at.strftime("%Y-%m-%d") / run_id / "run.log"

    @contextmanager
    def open(
        self, run_id: str, started_at: datetime, clock: Callable[[], datetime]
    ) -> Iterator[RunLog]:
        """A log to write to. Raises StoreError if the folder can't be written."""
        path = self.path(run_id, started_at)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        except OSError as error:
            raise StoreError(
                f"the run log {path} can't be written: {error.strerror}",
                hint="make the folder writable, or point `state` in [tool.partita] to another place",
            ) from error
        with stream:
            yield RunLog(stream, clock)

    def read(self, run_id: str, started_at: datetime) -> list[str]:
        """The lines of a run's log so far; empty if it wrote none."""
        return self.read_on(run_id, started_at, 0)[0]

    def read_on(self, run_id: str, started_at: datetime, position: int) -> tuple[list[str], int]:
        """The complete lines from a position on, and the position to go on from; the first is 0."""
        try:
            with self.path(run_id, started_at).open("rb") as file:
                file.seek(position)
                content = file.read()
        except FileNotFoundError:
            return [], position
        complete = content[: content.rfind(b"\n") + 1]
        return complete.decode().splitlines(), position + len(complete)

    def older_than(self, day: date) -> list[Path]:
        """Folders of runs that started before `day` (UTC), oldest first."""
        found = []
        for folder in sorted(self._folder.glob("????-??-??")):
            with suppress(ValueError):  # not a folder of ours
                if date.fromisoformat(folder.name) < day:
                    found += sorted(one for one in folder.iterdir() if one.is_dir())
        return found

    def remove(self, folder: Path) -> None:
        """Remove one of `older_than`, and the day's folder with the last of them. Raises StoreError."""
        try:
            shutil.rmtree(folder)
            if not any(folder.parent.iterdir()):
                folder.parent.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(
                f"the log {folder} can't be removed: {error.strerror or error}",
                hint="make sure that you may write to the folder that it is in",
            ) from error


class RunLog:
    """One run's log; also catches what user code prints and logs while a step runs.

    A line reads `<UTC instant> <step> <message>`; newlines inside a message are continued on lines of the same head.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], datetime]) -> None:
        self._stream = stream
        self._clock = clock

    def write(self, step: str, message: str) -> None:
        """Append a message about a step (`asset@key`, or `run`)."""
        head = f"{self._clock().isoformat(timespec='milliseconds')} {step_word(step)} "
        self._stream.write(
            "".join(f"{head}{_one_line(line)}\n" for line in message.splitlines() or [""])
        )

    def stream(self, step: str) -> StepStream:
        """A standard output whose lines go to the log under that step."""
        return StepStream(self, step)

    @contextmanager
    def capture(self, step: str) -> Iterator[None]:
        """While open, `print` and `logging` of this process go to the log under that step."""
        handler = _StepHandler(self, step)
        root = logging.getLogger()
        assets = logging.getLogger(ASSET_LOGGER)
        before = assets.level
        assets.setLevel(logging.INFO)
        root.addHandler(handler)
        try:
            with redirect_stdout(self.stream(step)) as stream:
                yield
                stream.flush()
        finally:
            root.removeHandler(handler)
            assets.setLevel(before)


class _StepHandler(logging.Handler):
    def __init__(self, log: RunLog, step: str) -> None:
        super().__init__()
        self._log = log
        self._step = step

    def emit(self, record: logging.LogRecord) -> None:
        # The default formatter adds the traceback of `log.exception`.
        self._log.write(self._step, f"{record.levelname} {self.format(record)}")


class StepStream(io.TextIOBase):
    """A standard output that hands over whole lines; `flush` also what is left without an end."""

    def __init__(self, log: RunLog, step: str) -> None:
        self._log = log
        self._step = step
        self._rest = ""

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Hand over the lines that are complete by now."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._log.write(self._step, line)
        return len(text)

    def flush(self) -> None:
        """Hand over what was written since the last end of a line."""
        if self._rest:
            self._log.write(self._step, self._rest)
            self._rest = ""


def step_word(step: str) -> str:
    r"""A step's name as it stands in a log line: one word, so that the message begins after it.

    >>> print(step_word("sales@new york"))
    sales@new\x20york
    """
    return _one_line(step).replace(" ", "\\x20")


def _one_line(text: str) -> str:
    """Control characters escaped: a key or message can't forge a line or steer a terminal."""
    return "".join(
        char if char.isprintable() or char == "\t" else ascii(char)[1:-1] for char in text
    )
