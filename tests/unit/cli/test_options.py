from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from assets_core.model.errors import InternalError, StoreError
from cli.commands.options import output_asked_for
from cli.commands.starter import EXAMPLES, starter_files
from cli.render.errors import text_of_error, text_of_unexpected, text_of_usage
from cli.render.report import Output

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("plan --bogus --json", Output.JSON),
        ("--json plan", Output.JSON),
        ("plan -o csv", Output.CSV),
        ("plan -ojsonl", Output.JSONL),
        ("plan --output=json", Output.JSON),
        ("plan -o nonsense", Output.TABLE),
        ("plan -o", Output.TABLE),
        ("plan -- --json", Output.TABLE),
    ],
)
def test_a_line_that_can_not_be_read_still_says_in_which_form_to_complain(
    line: str, output: Output
) -> None:
    assert output_asked_for(line.split()) is output


def test_a_usage_error_begins_in_lower_case_like_all_our_messages() -> None:
    assert text_of_usage(click.UsageError("Missing argument 'DIR'.")).message.startswith("missing")


def test_an_unexpected_error_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARTITA_DEBUG", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    text = text_of_unexpected(RuntimeError("odd"))
    assert text.code == "internal"
    assert text.hint is not None
    (written,) = tmp_path.iterdir()
    assert str(written) in text.hint
    assert "RuntimeError: odd" in written.read_text()


def test_a_broken_law_of_ours_is_written_down_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARTITA_DEBUG", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    text, code = text_of_error(InternalError("two at once", hint="type: partita doctor"))
    (written,) = tmp_path.iterdir()
    assert text.hint == f"type: partita doctor; please report it with {written}"
    assert code == 1


def test_what_could_not_start_is_a_usage_error() -> None:
    assert text_of_error(StoreError("full"))[1] == 2


def test_an_unexpected_error_is_shown_when_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTITA_DEBUG", "1")
    assert "RuntimeError: odd" in text_of_unexpected(RuntimeError("odd")).details


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_files_of_an_example_are_good_python_and_toml(example: str) -> None:
    import tomllib

    files = starter_files("Mein Projekt!", example)
    compile(files["assets.py"], "assets.py", "exec")
    table = tomllib.loads(files["pyproject.toml"])
    assert table["project"]["name"] == "mein-projekt"
    assert table["tool"]["partita"] == {"definitions": "assets"}
