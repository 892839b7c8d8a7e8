"""What `explain` says for each reason, word for word, from the real engine."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from assets_core import AssetContext, Input, asset
from assets_core.execution.facts import version_parts
from assets_core.planning.changes import difference
from assets_core.planning.explain import Explanation, explain_partition
from assets_core.planning.planner import Mode, PlanRequest, plan_run
from assets_core.planning.reasons import Reason
from partitions import DailyPartitions, LastN, Offset
from tests.integration.bench import WEEK, Bench, day_of

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = "2025-01-03"


class Project:
    """bronze → silver → trend (three days), with knobs."""

    def __init__(self) -> None:
        self.rows = 1
        self.broken = False
        self.code = {"bronze": "1", "silver": "1"}
        self.lookback = 0
        self.last_days = 3
        self.days = WEEK
        self.closed_after = timedelta(0)
        self.bench = Bench(self.assets())

    def assets(self) -> list[object]:
        @asset(
            partitions=self.days,
            code_version=self.code["bronze"],
            lookback=self.lookback,
            closed_after=self.closed_after,
        )
        def bronze(context: AssetContext) -> pa.Table:
            if self.broken:
                raise ValueError("the shop is closed")
            return pa.table({"n": [day_of(context)] * self.rows})

        @asset(partitions=self.days, code_version=self.code["silver"])
        def silver(bronze: pa.Table) -> pa.Table:
            return bronze

        @asset(partitions=self.days, inputs={"days": Input(silver, mapping=LastN(self.last_days))})
        def trend(days: pa.Table) -> pa.Table:
            return days

        return [bronze, silver, trend]

    def reload(self) -> None:
        self.bench.assets = self.assets()
        self.bench.resolve()

    def explain(self, asset_key: str, key: str = DAY) -> Explanation:
        facts = self.bench.facts()
        indexes, specs = facts.indexes, facts.graph.specs
        return explain_partition(
            facts,
            asset_key,
            indexes[asset_key].slot(key),
            lambda name, slot: self.bench.store.history(
                name, specs[name].partitions.space, int(indexes[name].ids[slot])
            ),
            lambda name, slot: difference(
                facts,
                name,
                slot,
                self.bench.store.versions,
                version_parts(self.bench.resolved, specs.values())[name],
            ),
        )


def test_a_partition_that_was_never_there() -> None:
    told = Project().explain("bronze")
    assert (told.name, told.because) == ("bronze@2025-01-03", "never materialized")


def test_what_can_not_run_says_what_it_waits_for() -> None:
    @asset(partitions=WEEK)
    def source(context: AssetContext) -> pa.Table:
        return pa.table({"day": [context.partition_key]})

    @asset(partitions=WEEK, inputs={"source": Input(source, mapping=Offset(1))})
    def ahead(source: pa.Table) -> pa.Table:
        return source

    project = Project()
    project.bench.assets = [source, ahead]
    project.bench.resolve()
    told = project.explain("ahead", "2025-01-07")
    assert told.because == (
        "never materialized; blocked: they read partitions that source does not have: after 2025-01-07"
    )
    assert told.evidence["blocked_by"] == {
        "blocked": "outside_upstream",
        "upstream": "source",
        "lacking": ("after 2025-01-07",),
    }
    assert "blocked" not in project.explain("ahead", "2025-01-06").because


def test_a_partition_of_redefined_ones_says_that_its_state_is_elsewhere() -> None:
    def defined(days: DailyPartitions) -> object:
        @asset(partitions=days)
        def source(context: AssetContext) -> pa.Table:
            return pa.table({"day": [context.partition_key]})

        return source

    project = Project()
    for zone in ("UTC", "Europe/Berlin"):
        days = DailyPartitions("2025-01-01", end="2025-01-08", timezone=zone)
        project.bench.assets = [defined(days)]
        project.bench.resolve()
        if zone == "UTC":
            project.bench.run()
    told = project.explain("source").because
    assert told.startswith("never materialized; what was made before is of other partitions")
    assert "partita state restart source" in told


def test_a_fresh_partition_names_the_run_that_made_it() -> None:
    project = Project()
    project.bench.run()
    told = project.explain("bronze")
    seq = told.evidence["seq"]
    assert told.because == (
        f"up to date: materialized by run {project.bench.run_id} (seq {seq}); nothing that it reads changed since"
    )


def test_a_failure_repeats_what_the_function_raised() -> None:
    project = Project()
    project.broken = True
    project.bench.run()
    assert project.explain("bronze").because == (
        "the last attempt failed: bronze raised ValueError: the shop is closed"
    )


def test_a_code_change_names_both_versions() -> None:
    project = Project()
    project.bench.run()
    project.code["silver"] = "2"
    project.reload()
    told = project.explain("silver")
    assert told.because == (
        "the code changed: code_version; made by version declared:1, now declared:2"
    )
    assert (told.evidence["made_by"], told.evidence["now"]) == ("declared:1", "declared:2")
    assert told.evidence["changed"] == ["code_version"]


def test_a_changed_upstream_is_named_with_its_seq() -> None:
    project = Project()
    project.bench.run()
    project.rows = 2
    project.bench.run("bronze", mode=Mode.FORCE)
    told = project.explain("silver")
    changed, read = told.evidence["upstream_seq"], told.evidence["read_seq"]
    assert told.because == (
        f"bronze@2025-01-03 changed (seq {changed}) after this was computed (it read up to seq {read})"
    )
    assert [cause.name for cause in told.causes] == ["bronze@2025-01-03"]


def test_the_tree_of_a_transitive_partition_ends_at_the_first_cause() -> None:
    project = Project()
    project.bench.run()
    project.code["bronze"] = "2"
    project.reload()
    told = project.explain("trend")
    assert told.because == "silver@2025-01-01 is stale; this runs only if that changes"
    assert [cause.name for cause in told.causes] == [f"silver@2025-01-0{day}" for day in (1, 2, 3)]
    first = told.causes[0].causes[0]
    assert first.name == "bronze@2025-01-01"
    assert first.because.startswith("the code changed")
    assert first.causes == ()


def test_what_was_told_once_is_not_told_again_however_many_ways_lead_there() -> None:
    @asset(partitions=WEEK, code_version="1")
    def level_0(context: AssetContext) -> pa.Table:
        return pa.table({"n": [day_of(context)]})

    @asset(name="level_0", partitions=WEEK, code_version="2")
    def other_code(context: AssetContext) -> pa.Table:
        return pa.table({"n": [day_of(context)]})

    def level(number: int) -> object:
        @asset(
            name=f"level_{number}",
            partitions=WEEK,
            inputs={"days": Input(f"level_{number - 1}", mapping=LastN(7))},
        )
        def reads(days: pa.Table) -> pa.Table:
            return days.slice(0, 1)

        return reads

    above = [level(number) for number in range(1, 10)]
    project = Project()
    for first in (level_0, other_code):
        project.bench.assets = [first, *above]
        project.bench.resolve()
        if first is level_0:
            project.bench.run()
    told = project.explain("level_9", "2025-01-07")
    names: list[str] = []
    pending = [told]
    while pending:
        one = pending.pop()
        names.append(one.name)
        if one.because.endswith("(see above)"):
            assert not one.causes
        pending += one.causes
    assert len(names) <= 5 * len(set(names))
    assert {name.partition("@")[0] for name in names} == {f"level_{n}" for n in range(10)}


def test_lost_data_names_the_run_that_had_made_it() -> None:
    project = Project()
    project.bench.run()
    run = project.bench.run_id
    project.bench.memory = type(project.bench.memory)()
    project.reload()
    assert project.explain("bronze").because == f"run {run} materialized it, but the data is gone"


def test_changed_dependencies_are_told_apart_from_changed_code() -> None:
    project = Project()
    project.bench.run()

    @asset(name="trend", partitions=WEEK, inputs={"days": Input("silver", mapping=LastN(2))})
    def wider(days: pa.Table) -> pa.Table:
        return days

    @asset(name="trend", partitions=WEEK, inputs={"days": Input("silver", mapping=LastN(3))})
    def same(days: pa.Table) -> pa.Table:
        return days

    for replacement, reason in ((wider, "deps"), (same, "fresh")):
        project.bench.assets = [*project.assets()[:2], replacement]
        project.bench.resolve()
        told = project.explain("trend")
        assert told.reason.word == reason
        assert told.evidence.get("changed", []) == (["input days"] if reason == "deps" else [])


def test_lookback_says_how_far() -> None:
    project = Project()
    project.days = DailyPartitions("2025-01-01")
    project.lookback = 2
    project.reload()
    project.bench.run()
    project.bench.now += timedelta(days=1)
    told = project.explain("bronze", "2025-01-07")
    assert told.because == (
        "re-done because a newer partition became due after they were computed (lookback): "
        "2025-01-08 was not due yet when it was computed; lookback is 2"
    )
    assert project.explain("bronze", "2025-01-05").reason.word == "fresh"


def test_a_partition_whose_window_closed_just_now_is_not_due_yet() -> None:
    project = Project()
    project.days = DailyPartitions("2025-01-01")
    project.closed_after = timedelta(hours=13)
    project.reload()
    told = project.explain("bronze", "2025-01-07")
    assert told.because.endswith("; not due before 2025-01-08T13:00:00+00:00")
    assert (told.evidence["due"], told.evidence["due_at"]) == (False, "2025-01-08T13:00:00+00:00")
    assert project.bench.plan().of("bronze").not_due.describe() == "2025-01-07 (1)"


def test_a_partition_made_while_its_window_was_open_says_when_that_closed() -> None:
    project = Project()
    project.days = DailyPartitions("2025-01-01", end_offset=1)
    project.reload()
    project.bench.run()
    project.bench.now += timedelta(days=1)
    told = project.explain("bronze", "2025-01-08")
    assert told.because == (
        "computed before their window had closed: it closed at 2025-01-09T00:00:00+00:00"
    )
    assert told.as_json()["reason"] == "provisional"


def test_a_partition_whose_inputs_changed_back_says_that_they_were_written_again() -> None:
    project = Project()

    @asset(partitions=WEEK, compare_input_versions=True)
    def silver(bronze: pa.Table) -> pa.Table:
        return bronze

    bench = project.bench
    bench.assets = [project.assets()[0], silver]
    bench.resolve()
    bench.run()
    for rows in (2, 1):
        project.rows = rows
        bench.run("bronze", mode=Mode.FORCE)
    told = project.explain("silver")
    assert told.reason.word == "fresh"
    assert told.because.endswith(
        "; what it reads was written again, with the data versions that it was made from"
    )
    assert told.evidence["inputs_unchanged"] is True


def fresh(project: Project) -> None:
    project.bench.run()


def missing(_: Project) -> None:
    pass


def lost(project: Project) -> None:
    project.bench.run()
    project.bench.memory = type(project.bench.memory)()


def failed(project: Project) -> None:
    project.broken = True
    project.bench.run()


def code(project: Project) -> None:
    project.bench.run()
    project.code["bronze"] = "2"


def deps(project: Project) -> None:
    project.last_days = 2
    project.reload()
    project.bench.run()
    project.last_days = 3


def provisional(project: Project) -> None:
    project.days = DailyPartitions("2025-01-01", end_offset=1)
    project.reload()
    project.bench.run()
    project.bench.now += timedelta(days=1)


def input_changed(project: Project) -> None:
    project.bench.run()
    project.rows = 2
    project.bench.run("bronze", mode=Mode.FORCE)


def lookback(project: Project) -> None:
    project.days = DailyPartitions("2025-01-01")
    project.lookback = 1
    project.reload()
    project.bench.run()
    project.bench.now += timedelta(days=1)


LAST_DAY = "2025-01-07"
GOLDEN: dict[Reason, tuple[Callable[[Project], None], str, str, str]] = {
    Reason.FRESH: (fresh, "bronze", "fresh", "up to date"),
    Reason.MISSING: (missing, "bronze", "missing", "never materialized"),
    Reason.LOST: (lost, "bronze", "lost", "recorded as materialized, but the data is gone"),
    Reason.FAILED: (failed, "bronze", "failed", "the last attempt failed"),
    Reason.CODE: (code, "bronze", "code", "the code changed"),
    Reason.DEPS: (deps, "trend", "deps", "the dependencies or their mappings changed"),
    Reason.PROVISIONAL: (
        provisional,
        "bronze",
        "provisional",
        "computed before their window had closed",
    ),
    Reason.INPUT: (input_changed, "silver", "input", "bronze changed after they were computed"),
    Reason.LOOKBACK: (
        lookback,
        "bronze",
        "lookback",
        "re-done because a newer partition became due after they were computed (lookback)",
    ),
    Reason.UPSTREAM: (
        code,
        "silver",
        "upstream",
        "bronze is being re-run; they run only if it changes",
    ),
    Reason.FORCED: (fresh, "bronze", "forced", "asked for with --force"),
}
"""Reason → what brings it about, the asset that has it, and its words."""


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.word)
def test_a_plan_in_json_and_explain_use_the_same_word_for_every_reason(reason: Reason) -> None:
    happens, name, word, because = GOLDEN[reason]
    project = Project()
    happens(project)
    project.reload()
    key = "2025-01-08" if reason is Reason.PROVISIONAL else LAST_DAY
    facts = project.bench.facts()
    mode = Mode.FORCE if reason is Reason.FORCED else Mode.STALE
    plan = json.loads(
        json.dumps(plan_run(facts, PlanRequest(facts.graph.order, {}, mode)).as_json())
    )
    one = int(facts.indexes[name].ids[facts.indexes[name].slot(key)])
    found = [
        (row["reason"], row["because"])
        for part in plan["assets"]
        if part["asset"] == name
        for row in part["rows"]
        if any(first <= one < stop for first, stop in row["partitions"]["ids"])
    ]
    told = project.explain(name, key).as_json()["reason"]
    if reason is Reason.FRESH:
        assert (found, told) == ([], word)
    elif reason is Reason.FORCED:  # a wish, and nothing that a partition is
        assert (found, told) == ([(word, because)], "fresh")
    else:
        assert (found, told) == ([(word, because)], word)
    assert (reason.word, reason.sentence("bronze")) == (word, because)


def test_the_words_of_every_reason_are_held() -> None:
    assert set(GOLDEN) == set(Reason)
