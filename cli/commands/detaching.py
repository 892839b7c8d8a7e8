"""Starting a run that outlives this command and its terminal: the same command again, in a session of its own."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cli.project.location import make_state_folder
from cli.render.runs import detached_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.project import Project
    from cli.render.printer import Printer

_POLL_SECONDS = 0.05


def run_detached(project: Project, printer: Printer, command: Sequence[str]) -> int:
    """Start `partita` with these words, and come back when its run is on record or has ended already.

    What it prints goes into a file beside the run's log. If it ends before it has a run, because there is nothing to do or the
    words are wrong, that is printed here and its exit code is the answer.
    """
    run_id = secrets.token_hex(5)
    make_state_folder(project.location.folder)
    output = project.logs.path(run_id, datetime.now(UTC)).with_name("output.log")
    output.parent.mkdir(parents=True)
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and command
            [
                sys.executable,
                "-P",
                "-c",
                "from cli.main import run; run()",
                *_project_words(project),
                *command,
                "--run-id",
                run_id,
            ],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=project.location.root,
            env={**os.environ, "NO_COLOR": "1"},
        )
    while project.store.run(run_id) is None:
        if process.poll() is not None:
            printer.note(output.read_text(encoding="utf-8", errors="backslashreplace").rstrip())
            return process.returncode
        time.sleep(_POLL_SECONDS)
    printer.report(detached_report(run_id, process.pid))
    return 0


def _project_words(project: Project) -> list[str]:
    location = project.location
    if location.file is not None:
        return ["-f", str(location.file.resolve())]
    return ["-m", str(location.module)]
