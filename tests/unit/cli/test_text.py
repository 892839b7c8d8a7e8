from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from cli.render.text import (
    Fitting,
    Span,
    Style,
    Table,
    Tree,
    as_line,
    clean,
    clean_lines,
    shorten,
    width_of,
)


def plain(lines: object) -> list[str]:
    return ["".join(span.text for span in line) for line in lines]  # type: ignore[attr-defined]


@given(st.text())
@example("\x1b]0;title\x07")
@example("\u202eright to left")
@example("\ud800")
@example("\x9b31m")
def test_clean_text_can_neither_steer_a_terminal_nor_start_a_line(text: str) -> None:
    cleaned = clean(text)
    assert all(char.isprintable() or char == "\u200d" for char in cleaned)
    assert len(cleaned.splitlines()) <= 1
    assert clean(cleaned) == cleaned


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"])))
def test_printable_text_stays_as_it_is(text: str) -> None:
    if text.isprintable():
        assert clean(text) == text


def test_emoji_that_are_joined_stay_joined() -> None:
    assert clean("👩\u200d🔬") == "👩\u200d🔬"


def test_the_lines_of_a_traceback_stay_lines() -> None:
    assert clean_lines("a\n\tb\x1b[2J") == ["a", "    b\\x1b[2J"]


def test_wide_and_combining_characters_take_the_columns_that_a_terminal_gives_them() -> None:
    assert width_of("日本語") == 6
    assert width_of("e\u0301") == 1


def test_columns_of_a_table_line_up_whatever_is_in_them() -> None:
    table = Table(("NAME", "N"), (("日本", "1"), ("x\x1b[1m", "22")), right=frozenset({1}))
    lines = plain(table.lines(width=None, ellipsis="…"))
    assert {width_of(line) for line in lines} == {width_of(lines[0])}
    assert not any("\x1b" in line for line in lines)


def test_a_table_ends_no_line_with_blanks() -> None:
    table = Table(("A", "B"), (("x", ""), ("yy", "long")))
    assert plain(table.lines(width=None, ellipsis="…")) == ["A   B", "x", "yy  long"]


@given(st.integers(13, 60), st.text(max_size=80))
def test_a_table_is_no_wider_than_the_terminal(width: int, text: str) -> None:
    table = Table(("A", "B"), (("x", text),))
    assert all(width_of(line) <= width for line in plain(table.lines(width=width, ellipsis="…")))


def test_a_cut_cell_says_so() -> None:
    assert plain([shorten(as_line("abcdef"), 4, "…")]) == ["abc…"]
    assert plain([shorten(as_line("abcd"), 4, "…")]) == ["abcd"]


def test_a_tree_is_drawn_with_box_characters_or_ascii() -> None:
    tree = Tree("a", (Tree("b", (Tree("c"),)), Tree("d", notes=("2 more",))))
    assert plain(tree.lines(unicode=True)) == ["a", "├─ b", "│  └─ c", "└─ d", "      2 more"]
    assert plain(tree.lines(unicode=False)) == ["a", "|- b", "|  `- c", "`- d", "      2 more"]


def test_a_style_survives_cleaning() -> None:
    assert as_line(Span("a\n", Style.RED)) == (Span("a\\n", Style.RED),)


def test_a_cell_that_can_say_itself_in_less_is_not_cut() -> None:
    cell = Fitting((Span("0123456789" * 2),), lambda room: (Span("x" * room),))
    table = Table(("ASSET", "STRIP"), (("orders", cell),))
    wide, narrow = (
        ["".join(span.text for span in one) for one in table.lines(width=width, ellipsis="…")]
        for width in (None, 20)
    )
    assert wide[1] == "orders  " + "0123456789" * 2
    assert narrow[1] == "orders  " + "x" * 12
