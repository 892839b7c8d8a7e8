"""Laws of saved plans, on random projects and pasts: nothing is lost on the way through JSON, and exactly what matters moves a plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets_core.authoring.graph import AssetGraph
from assets_core.model.errors import PlanMovedError
from assets_core.model.records import StateSnapshot
from assets_core.planning.movement import replan
from assets_core.planning.plan import set_as_json
from assets_core.planning.planner import plan_run
from assets_core.planning.saved_plan import SavedSet
from assets_core.planning.staleness import Facts, bind_dependencies
from partitions import SINGLE, DailyPartitions, MultiPartitions, StaticPartitions
from partitions.sets import PartitionSet
from tests.property.planner_strategies import KEY_IDS, NOW, facts, requests
from tests.property.saved_plans import saved_plan

if TYPE_CHECKING:
    from datetime import datetime

    from assets_core.model.records import PartitionColumns
    from assets_core.planning.plan import Plan

Rows = dict[tuple[str, str], tuple[str, str | None]]


def rows_of(plan: Plan) -> Rows:
    return {
        (part.asset, key): (row.reason.word, row.cause)
        for part in plan.assets
        for row in part.rows
        for key in row.partitions
    }


@given(st.data())
def test_a_plan_that_went_through_json_comes_out_equal(data: st.DataObject) -> None:
    about = data.draw(facts())
    request = data.draw(requests(about))
    plan, saved = plan_run(about, request), saved_plan(about, request)
    assert {
        asset: [(row.reason, row.cause, row.partitions.over(asset, about)) for row in rows]
        for asset, rows in saved.rows.items()
    } == {
        part.asset: [(row.reason, row.cause, row.partitions) for row in part.rows]
        for part in plan.assets
        if part.rows
    }
    made = replan(saved, lambda _: about, NOW)
    assert made.plan.as_json() == plan.as_json()
    assert made.request.partitions == request.partitions
    assert replace(made.request, partitions=request.partitions).mode is request.mode
    assert (made.request.assets, made.request.upstream, made.request.downstream) == (
        request.assets,
        request.upstream,
        request.downstream,
    )


def without_versions(about: Facts) -> Facts:
    """The same without what the strategy keeps by id: a past of partitions whose ids are provisional."""
    specs = {
        key: replace(spec, compare_input_versions=False) for key, spec in about.graph.specs.items()
    }
    state = replace(about.state, in_flight={})
    return replace(about, graph=AssetGraph(specs), state=state)


def interned(about: Facts) -> Facts:
    """The same after every key was given its id."""
    specs = about.graph.specs
    indexes = {key: specs[key].partitions.index(about.now, KEY_IDS) for key in about.indexes}
    return replace(about, indexes=indexes)


@given(st.data())
def test_a_plan_of_keys_without_ids_is_the_same_once_they_have_some(data: st.DataObject) -> None:
    about = without_versions(data.draw(facts(interned=False)))
    request = data.draw(requests(about))
    made = replan(saved_plan(about, request), lambda _: interned(about), NOW)
    assert rows_of(made.plan) == rows_of(plan_run(about, request))
    assert {asset: list(chosen) for asset, chosen in made.request.partitions.items()} == {
        asset: list(chosen) for asset, chosen in request.partitions.items()
    }


def at(about: Facts, instant: datetime) -> Facts:
    specs = about.graph.specs
    indexes = {key: specs[key].partitions.index(instant, KEY_IDS) for key in about.indexes}
    return replace(about, indexes=indexes, now=instant)


@given(st.data())
def test_time_alone_moves_no_plan(data: st.DataObject) -> None:
    about = data.draw(facts())
    request = data.draw(requests(about))
    later = NOW + timedelta(days=data.draw(st.integers(0, 40)))
    made = replan(saved_plan(about, request), lambda instant: at(about, instant), later)
    assert made.plan.as_json() == plan_run(about, request).as_json()


@dataclass(frozen=True)
class Event:
    """Something that happened to one partition after the plan was made."""

    asset: str
    slot: int
    kind: str

    def on(self, about: Facts) -> Facts:
        seq = about.state.seq + 1
        columns = about.state.partitions[self.asset]
        one = int(about.indexes[self.asset].ids[self.slot])
        table = {name: getattr(columns, name).copy() for name in COLUMNS}
        if one not in columns.ids:
            place = int(np.searchsorted(columns.ids, one))
            table = {name: np.insert(values, place, 0) for name, values in table.items()}
            table["ids"][place] = one
        row = table["ids"] == one
        if self.kind == "failure":
            table["failed_seq"][row] = seq
        else:
            news = {"seq": seq, "read_seq": seq, "code_id": 1, "deps_id": 1, "has_data": 1}
            if self.kind == "new rows" or not table["data_seq"][row][0]:
                news["data_seq"] = seq
            for name, value in news.items():
                table[name][row] = value
        partitions = {**about.state.partitions, self.asset: with_values(columns, table)}
        return replace(about, state=replace(about.state, seq=seq, partitions=partitions))


COLUMNS = (
    "ids",
    "seq",
    "read_seq",
    "code_id",
    "deps_id",
    "data_seq",
    "has_data",
    "failed_seq",
    "horizon",
)


def with_values(columns: PartitionColumns, table: dict[str, np.ndarray]) -> PartitionColumns:
    return replace(columns, **table)


def matters(event: Event, before: Rows, after: Rows, about: Facts) -> bool:
    """The rule, partition by partition: it runs, or it is planned otherwise now, or something that runs reads its new rows."""
    own = (event.asset, about.indexes[event.asset].key(event.slot))
    if before != after or own in before:
        return True
    columns = about.state.partitions[event.asset]
    row = columns.ids == int(about.indexes[event.asset].ids[event.slot])
    if not (columns.data_seq[row] == about.state.seq).any():
        return False
    return any(
        event.slot in edge.mapped.upstream_slots(about.indexes[reader].slot(key))
        for reader, key in before
        for edge in bind_dependencies(about, about.graph.spec(reader))
        if edge.dependency.upstream == event.asset and edge.dependency.mapping.triggers
    )


@given(st.data())
def test_an_event_moves_exactly_the_plans_that_it_matters_to(data: st.DataObject) -> None:
    about = data.draw(facts())
    request = data.draw(requests(about))
    asset = data.draw(st.sampled_from(about.graph.order))
    slots = len(about.indexes[asset])
    kinds = ["new rows", "same rows", "failure"]
    event = Event(asset, data.draw(st.integers(0, slots - 1)), data.draw(st.sampled_from(kinds)))
    saved, changed = saved_plan(about, request), event.on(about)
    before, after = (rows_of(plan_run(one, request)) for one in (about, changed))
    if matters(event, before, after, changed):
        with pytest.raises(PlanMovedError):
            replan(saved, lambda _: changed, NOW)
    else:
        assert rows_of(replan(saved, lambda _: changed, NOW).plan) == before


@given(st.data())
def test_other_code_or_dependencies_move_exactly_the_plans_that_run_the_asset_or_would_now(
    data: st.DataObject,
) -> None:
    about = data.draw(facts())
    request = data.draw(requests(about))
    asset = data.draw(st.sampled_from(about.graph.order))
    field = data.draw(st.sampled_from(["code", "deps"]))
    spec = replace(about.graph.spec(asset), **{f"{field}_version": "2"})
    ids = replace(about.state.version_ids[asset], **{f"{field}_id": 3})
    state = replace(about.state, version_ids={**about.state.version_ids, asset: ids})
    graph = AssetGraph({**about.graph.specs, asset: spec})
    changed = replace(about, graph=graph, state=state)
    saved = saved_plan(about, request)
    before, after = (rows_of(plan_run(one, request)) for one in (about, changed))
    told = asset in request.partitions or any(name == asset for name, _ in before)
    if told or before != after:
        with pytest.raises(PlanMovedError, match=asset):
            replan(saved, lambda _: changed, NOW)
    else:
        assert rows_of(replan(saved, lambda _: changed, NOW).plan) == before


NASTY = (
    "a", "b", "a, b", "a (1)", "b (2)", "nothing", "*", "?", "[a]", '"', '"a"', "\\", "a\\", "x...y",
    "..<", "latest", "latest:2", "today", "2025-01-01", "unpartitioned", "é", "a … and 1 more key",
)  # fmt: skip


@given(st.data())
def test_keys_that_look_like_the_range_language_stay_what_they_are(data: st.DataObject) -> None:
    static = StaticPartitions(data.draw(st.permutations(NASTY)))
    days = DailyPartitions("2025-03-30")
    for definition in (static, MultiPartitions({"day": days, "key": static}), SINGLE):
        index = definition.index(NOW)
        slots = data.draw(st.lists(st.integers(0, len(index) - 1), min_size=1, max_size=30))
        if data.draw(
            st.booleans()
        ):  # the same days of every lane, for which there is a short form
            length = max(index.lane_length, 1)
            slots = [
                lane + slot % length for lane in range(0, len(index), length) for slot in slots
            ]
        chosen = PartitionSet.from_slots(index, slots)
        assert through_json(chosen) == chosen


def through_json(chosen: PartitionSet) -> PartitionSet:
    told = set_as_json(chosen)
    count, ids, expression = told["count"], told["ids"], told.get("expression")
    assert isinstance(count, int)
    assert isinstance(ids, list)
    assert expression is None or isinstance(expression, str)
    saved = SavedSet(count, tuple((a, b) for a, b in ids), expression)
    state = StateSnapshot(0, "test", {}, {}, {}, {})
    return saved.over("a", Facts(AssetGraph({}), {"a": chosen.index}, state, {}, NOW))
