from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.render.printer import Printer, to_json
from cli.render.report import ErrorText, Output, Report
from cli.render.text import Span, Style, Table, line


def printed(report: Report | ErrorText, output: Output, *, color: bool = False) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    printer = Printer(out, err, output, color_out=color, color_err=color)
    if isinstance(report, ErrorText):
        printer.error(report)
    else:
        printer.report(report)
    return out.getvalue(), err.getvalue()


def report(*records: dict[str, object], columns: tuple[str, ...] = ()) -> Report:
    return Report("try", {"rows": list(records)}, records, [line("for ", Span("people"))], columns)


def test_json_is_one_object_in_a_versioned_envelope() -> None:
    out, _ = printed(report({"a": 1}), Output.JSON)
    assert json.loads(out) == {"partita": 1, "command": "try", "data": {"rows": [{"a": 1}]}}


def test_json_lines_are_one_object_per_record() -> None:
    out, _ = printed(report({"a": 1}, {"a": 2}), Output.JSONL)
    assert [json.loads(one) for one in out.splitlines()] == [{"a": 1}, {"a": 2}]


def test_csv_has_its_header_even_without_a_row() -> None:
    assert printed(report(columns=("a", "b")), Output.CSV)[0] == "a,b\n"


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_any_text_comes_back_from_csv_but_for_control_characters(text: str) -> None:
    out, _ = printed(report({"name": text, "n": 1}), Output.CSV)
    rows = list(csv.reader(io.StringIO(out, newline="")))
    assert rows[0] == ["name", "n"]
    assert rows[1][1] == "1"
    if text.replace("\n", "").isprintable():
        assert rows[1][0] == text
    assert "\x1b" not in out


@given(st.text())
def test_any_text_comes_back_from_json_and_is_ascii_on_the_way(text: str) -> None:
    encoded = to_json({"name": text})
    assert all(" " <= char <= "~" for char in encoded)
    assert json.loads(encoded) == {"name": text}


def test_nested_values_of_csv_cells_are_json() -> None:
    out, _ = printed(report({"tags": {"a": "b"}, "none": None}), Output.CSV)
    assert out == 'tags,none\n"{""a"": ""b""}",\n'


def test_an_error_for_people_goes_to_standard_error() -> None:
    out, err = printed(ErrorText("store", "it is full\nreally", "empty it"), Output.TABLE)
    assert out == ""
    assert err == "error: it is full\n       really\nhint: empty it\n"


def test_an_error_in_json_goes_to_both() -> None:
    out, err = printed(ErrorText("store", "it is full", "empty it"), Output.JSON)
    assert json.loads(out) == {
        "partita": 1,
        "error": {"code": "store", "message": "it is full", "hint": "empty it"},
    }
    assert err.startswith("error: it is full")


def test_an_error_in_csv_leaves_standard_output_empty() -> None:
    assert printed(ErrorText("store", "it is full"), Output.CSV)[0] == ""


@pytest.mark.parametrize("color", [True, False])
def test_colours_are_shown_only_where_they_are_wanted(color: bool) -> None:
    made = Report("try", {}, [], [Table(("A",), ((Span("x", Style.RED),),))])
    out, _ = printed(made, Output.TABLE, color=color)
    assert ("\x1b[31mx\x1b[0m" in out) is color


def test_hostile_text_in_a_message_can_not_steer_the_terminal() -> None:
    _, err = printed(ErrorText("data", "\x1b[2Jgone", "\x07ring"), Output.TABLE)
    assert "\x1b" not in err
    assert "\x07" not in err
