from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from io_managers.paths import dimension_prefix, path_segment

NAMES = st.text(max_size=400) | st.text("%~./=aA\0\n", max_size=12)


@given(NAMES, st.sampled_from(["", "day="]))
@example("", "")
@example("..", "")
@example(".", "")
@example("x" * 1000, "day=")
@example("\ud800", "")
def test_any_name_is_one_harmless_segment(name: str, prefix: str) -> None:
    segment = path_segment(name, prefix)
    assert segment.startswith(prefix)
    assert 1 <= len(segment.encode()) <= 255
    assert segment.isascii()
    assert segment.isprintable()
    assert "/" not in segment
    assert segment not in {".", ".."}
    if not prefix:
        assert segment[0] not in "._"


@given(NAMES, NAMES)
@example("x" * 300 + "a", "x" * 300 + "b")
@example("", "%")
@example("a~" + "0" * 32, "a")
@example(".a", "%2Ea")
def test_two_names_are_two_segments(one: str, other: str) -> None:
    assert (path_segment(one) == path_segment(other)) == (one == other)
    assert (dimension_prefix(one) == dimension_prefix(other)) == (one == other)


def test_plain_keys_stay_readable() -> None:
    assert path_segment("2025-01-31", "day=") == "day=2025-01-31"
    assert path_segment("2025-10-26T02:00+01:00", "hour=") == "hour=2025-10-26T02%3A00+01%3A00"


def test_a_long_dimension_leaves_room_for_its_key() -> None:
    prefix = dimension_prefix("d" * 300)
    assert len(path_segment("k" * 300, prefix)) <= 255
    assert path_segment("k" * 300, prefix) != path_segment("k" * 299, prefix)
