from __future__ import annotations

import click
import pytest

from cli.commands.options import output_asked_for
from cli.commands.starter import EXAMPLES, starter_files
from cli.render.errors import text_of_unexpected, text_of_usage
from cli.render.report import Output


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


def test_an_unexpected_error_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARTITA_DEBUG", raising=False)
    text = text_of_unexpected(RuntimeError("odd"))
    assert text.code == "internal"
    assert text.hint is not None
    with open(text.hint.removeprefix("please report it with ")) as file:  # noqa: PTH123
        assert "RuntimeError: odd" in file.read()


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
