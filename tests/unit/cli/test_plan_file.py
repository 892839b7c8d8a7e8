"""Reading a plan that somebody hands us: what is a plan, and what is told of everything else. No text gives a traceback."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets_core.model.errors import PlanError
from assets_core.planning.planner import Mode
from assets_core.planning.reasons import Reason
from assets_core.planning.saved_plan import (
    SavedPlan,
    SavedRequest,
    SavedRow,
    SavedSet,
    SavedVersions,
)
from cli.commands.plan_file import plan_of, read_plan

if TYPE_CHECKING:
    from pathlib import Path

ROW = {
    "reason": "input",
    "because": "…",
    "cause": "orders",
    "partitions": {"count": 2, "text": "…", "ids": [[20089, 20091]]},
}
REQUEST = {
    "selection": "revenue",
    "range": "latest",
    "assets": ["revenue"],
    "partitions": {"revenue": {"count": 1, "text": "…", "ids": [[-1, 0]], "expression": "eu"}},
    "mode": "stale",
    "upstream": False,
    "downstream": True,
}
DATA = {
    "format": 1,
    "state_id": "abc",
    "seq": 7,
    "made_at": "2025-01-08T13:00:00+01:00",
    "assets": [{"asset": "revenue", "rows": [ROW]}, {"asset": "idle", "rows": []}],
    "request": REQUEST,
    "versions": {"revenue": {"space": "day", "code": "c", "deps": "d"}},
}
ENVELOPE = {"partita": 1, "command": "plan", "data": DATA}


def with_value(path: str, value: object) -> str:
    """The plan with another value at a place such as `data.assets.0.rows`."""
    envelope: Any = copy.deepcopy(ENVELOPE)
    *places, last = (int(one) if one.isdigit() else one for one in path.split("."))
    inner = envelope
    for place in places:
        inner = inner[place]
    inner[last] = value
    return json.dumps(envelope)


def refusal(text: str) -> str:
    with pytest.raises(PlanError) as caught:
        plan_of(text, "'p.json'")
    assert caught.value.hint == "make a new one: partita plan … -o json > plan.json"
    return caught.value.message.removeprefix("'p.json' holds no plan that can be run: ")


def test_a_plan_is_read_as_it_was_written() -> None:
    assert plan_of(json.dumps(ENVELOPE), "it") == SavedPlan(
        seq=7,
        made_at=datetime(2025, 1, 8, 12, tzinfo=UTC),
        state_id="abc",
        request=SavedRequest(
            selection="revenue",
            range_text="latest",
            assets=("revenue",),
            partitions={"revenue": SavedSet(1, ((-1, 0),), "eu", "…")},
            mode=Mode.STALE,
            upstream=False,
            downstream=True,
        ),
        versions={"revenue": SavedVersions("day", "c", "d")},
        rows={
            "revenue": (
                SavedRow(Reason.INPUT, "orders", SavedSet(2, ((20089, 20091),), text="…")),
            ),
        },
    )


@pytest.mark.parametrize("command", ["plan", "materialize", "backfill"])
def test_the_answer_of_a_dry_run_is_a_plan_too(command: str) -> None:
    assert plan_of(with_value("command", command), "it").seq == 7


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("{", "it is not JSON, or was cut short"),
        (json.dumps(ENVELOPE)[:-40], "it is not JSON, or was cut short"),
        ("[" * 100_000, "it is not JSON, or was cut short"),
        ('{"partita": ' + "9" * 5000 + "}", "it is not JSON, or was cut short"),
        ("[1]", "it is JSON, and no answer of partita"),
        ("null", "it is JSON, and no answer of partita"),
        ('{"a": 1}', "it is JSON, and no answer of partita"),
        (with_value("partita", 2), "it is an answer of form 2, and this Partita reads 1"),
        (with_value("command", "status"), "it is the answer of `partita status`"),
        (with_value("data", []), "it is the answer of `partita plan`"),
        (with_value("data.format", 2), "it is a plan of format 2, and this Partita reads 1"),
        (with_value("data.format", None), "it is a plan without a format number"),
        (
            '{"partita": 1, "error": {"code": "selection", "message": "no asset x"}}',
            "it is the error that the plan ended with: no asset x",
        ),
    ],
)
def test_what_is_no_plan_of_this_format_is_told_as_what_it_is(text: str, told: str) -> None:
    assert refusal(text).startswith(told)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("data.seq", -1, "`data.seq`: input should be greater than or equal to 0"),
        ("data.seq", "7", "`data.seq`: input should be a valid integer"),
        ("data.seq", 1.5, "`data.seq`: "),
        ("data.made_at", "yesterday", "`data.made_at`: "),
        ("data.made_at", "2025-01-08T12:00:00", "`data.made_at`: input should have timezone info"),
        ("data.made_at", "9999-12-31T23:59:59-23:59", "`data.made_at`: input should be less"),
        ("data.made_at", "0001-01-01T00:00:00+00:00", "`data.made_at`: input should be greater"),
        ("data.made_at", 1736337600, "`data.made_at`: "),
        ("data.request.mode", "all", "`data.request.mode`: "),
        ("data.request.upstream", "no", "`data.request.upstream`: "),
        ("data.assets.0.rows.0.reason", "whim", "`data.assets.0.rows.0.reason`: "),
        ("data.assets.0.rows.0.reason", "fresh", "`data.assets.0.rows.0.reason`: "),
        ("data.assets.0.rows.0.partitions.ids", [[5, 5]], "`data.assets.0.rows.0.partitions.ids"),
        ("data.assets.0.rows.0.partitions.ids", [[9, 5]], "`data.assets.0.rows.0.partitions.ids"),
        ("data.assets.0.rows.0.partitions.ids", [[0, 2**63]], "`data.assets.0.rows.0.partitions"),
        ("data.assets.0.rows.0.partitions.ids", [[0]], "`data.assets.0.rows.0.partitions.ids"),
        ("data.assets.1.asset", "revenue", "it names 'revenue' twice"),
        ("data.versions", {}, "it does not say which versions of 'revenue' it is about"),
        ("data.state_id", "\ud800", "invalid json: "),
    ],
)
def test_a_value_that_can_not_be_is_told_with_its_place(
    path: str, value: object, told: str
) -> None:
    assert refusal(with_value(path, value)).startswith(told)


def test_what_only_people_need_may_be_missing_or_more() -> None:
    assert plan_of(with_value("data.later_version_says", {"a": [1]}), "it").seq == 7


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    pairs: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    for key, inner in pairs:
        found += places(inner, (*path, key))
    return found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(places(ENVELOPE)), JSON)
def test_any_value_anywhere_gives_a_plan_or_a_clear_error(
    place: tuple[str | int, ...], value: object
) -> None:
    envelope: Any = copy.deepcopy(ENVELOPE)
    inner = envelope
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    # Anything but a PlanError would come through.
    with suppress(PlanError):
        assert isinstance(plan_of(json.dumps(envelope), "it"), SavedPlan)


@given(st.binary())
def test_any_bytes_give_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(raw)
    with pytest.raises(PlanError):
        read_plan(str(path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_shell_that_redirects_into_another_encoding_does_no_harm(
    tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(json.dumps(ENVELOPE).encode(encoding))
    assert read_plan(str(path)).seq == 7


def test_a_file_that_can_not_be_read_says_why(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none.json", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(PlanError, match=f"the plan '{path}' can't be read: {why}"):
            read_plan(str(path))
