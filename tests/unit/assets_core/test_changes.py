"""Which parts of two versions are matched, and what is said of those that differ."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from assets_core.model.records import VersionPart
from assets_core.planning.changes import Change, changed_parts


def part(name: str, text: str, kind: str = "function") -> VersionPart:
    return VersionPart(name, kind, f"{kind}: {text}", text)


PARTS = st.builds(
    part,
    st.sampled_from(["shop.a", "shop.b", "other.a", "a"]),
    st.sampled_from(["1", "2", "3"]),
    st.sampled_from(["function", "constant", "import", "bytecode"]),
)
SIDES = st.lists(PARTS, min_size=1, max_size=8)


def meaning(parts: list[VersionPart | None]) -> Counter[tuple[str, str]]:
    return Counter((one.kind, one.digest) for one in parts if one is not None)


@given(SIDES, SIDES)
def test_the_changes_lead_from_the_old_parts_to_the_new(
    old: list[VersionPart], new: list[VersionPart]
) -> None:
    changes = changed_parts(old, new)
    left, right = meaning([one.old for one in changes]), meaning([one.new for one in changes])
    assert left <= meaning([*old])
    assert meaning([*old]) - left + right == meaning([*new])
    for one in changes:
        assert one.old is None or one.new is None or one.old.digest != one.new.digest
        assert one.old is not None or one.new is not None


@given(SIDES, st.randoms(use_true_random=False))
def test_the_same_parts_in_any_order_and_module_are_no_change(
    parts: list[VersionPart], random: object
) -> None:
    shuffled = list(parts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert changed_parts(parts, shuffled) == ()
    moved = [part(f"new_home.{number}", one.source, one.kind) for number, one in enumerate(parts)]
    assert changed_parts(parts, moved) == ()


def told(old: list[VersionPart], new: list[VersionPart]) -> list[tuple[str, str]]:
    return [(one.change.value, one.title) for one in changed_parts(old, new)]


def test_two_helpers_that_swap_their_bodies_both_changed() -> None:
    one, two = part("one.read", "1"), part("two.read", "2")
    swapped = [part("one.read", "2"), part("two.read", "1")]
    assert told([one, two], swapped) == [
        ("changed", "function one.read"),
        ("changed", "function two.read"),
    ]


def test_a_helper_that_moved_and_changed_is_one_change_with_both_names() -> None:
    (change,) = changed_parts([part("shop.clean", "1")], [part("shop.text.clean", "2")])
    assert change.change is Change.CHANGED
    assert change.as_json() == {
        "name": "shop.text.clean",
        "kind": "function",
        "change": "changed",
        "was": "shop.clean",
        "diff": "@@ -1 +1 @@\n-1\n+2",
    }


def test_the_assets_own_function_is_itself_whatever_it_is_called() -> None:
    old = [part("shop.orders", "1"), part("shop.clean", "3")]
    new = [part("shop.bronze", "2"), part("shop.strip", "4")]
    assert told(old, new) == [
        ("changed", "function shop.bronze"),
        ("added", "function shop.strip"),
        ("removed", "function shop.clean"),
    ]


def test_statements_of_one_name_are_told_apart() -> None:
    old = [part("s.LIMIT", "LIMIT = 3", "constant"), part("s.LIMIT", "LIMIT += 1", "constant")]
    new = [part("s.LIMIT", "LIMIT = 3", "constant"), part("s.LIMIT", "LIMIT += 2", "constant")]
    (change,) = changed_parts(old, new)
    assert change.diff == ("@@ -1 +1 @@", "-LIMIT += 1", "+LIMIT += 2")


def test_between_a_computed_and_a_declared_version_only_the_declaration_is_told() -> None:
    computed = [part("shop.orders", "1"), part("pandas", "pandas 2", "package")]
    declared = [part("code_version", "7", "declared"), part("pandas", "pandas 3", "package")]
    assert told(computed, declared) == [("added", "code_version"), ("changed", "package pandas")]
    assert told(declared, computed) == [("changed", "package pandas"), ("removed", "code_version")]


def test_bytecode_has_no_diff() -> None:
    (change,) = changed_parts([part("o", "64", "bytecode")], [part("o", "65", "bytecode")])
    assert (change.change, change.diff) == (Change.CHANGED, ())
    (change,) = changed_parts([part("o", "return 1")], [part("o", "65", "bytecode")])
    assert (change.change, change.diff) == (Change.CHANGED, ())
