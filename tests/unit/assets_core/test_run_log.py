"""The log of a run, read while it is being written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from assets_core.telemetry.run_log import RunLogs

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2025, 1, 31, 6, tzinfo=UTC)


def test_reading_on_gives_each_line_once_and_none_by_halves(tmp_path: Path) -> None:
    logs = RunLogs(tmp_path)
    assert logs.read_on("r1", NOW, 0) == ([], 0)
    with logs.open("r1", NOW, lambda: NOW) as log:
        log.write("orders@2025-01-30", "one")
        first, position = logs.read_on("r1", NOW, 0)
        assert logs.read_on("r1", NOW, position) == ([], position)
        with logs.path("r1", NOW).open("a") as file:
            file.write("half a li")
            file.flush()
            assert logs.read_on("r1", NOW, position) == ([], position)
            file.write("ne\n")
        log.write("orders@2025-01-30", "two ü\nthree")
    rest, _ = logs.read_on("r1", NOW, position)
    assert [line.rpartition(" ")[2] for line in first + rest] == ["one", "line", "ü", "three"]
    assert logs.read("r1", NOW) == first + rest


def test_what_a_step_prints_is_kept_by_lines_and_can_not_forge_another(tmp_path: Path) -> None:
    logs = RunLogs(tmp_path)
    with logs.open("r1", NOW, lambda: NOW) as log:
        stream = log.stream("sales@new york")
        stream.write("a\x1b[31m")
        stream.write("b\nlast")
        stream.flush()
    head = r"2025-01-31T06:00:00.000+00:00 sales@new\x20york "
    assert logs.read("r1", NOW) == [f"{head}a\\x1b[31mb", f"{head}last"]
