"""A whole project: what resolves, and how all of its problems are told at once."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pydantic import BaseModel, Field

from assets_core import (
    Asset,
    AssetContext,
    CheckResult,
    Definitions,
    DefinitionsError,
    Input,
    Merge,
    Replace,
    asset,
    asset_check,
)
from assets_core.authoring.binding import ConfigParameter, InputParameter, LoadAs
from assets_core.authoring.edges import partitions_of
from assets_core.authoring.extents import deps_parts
from assets_core.model.io_manager import Target
from io_managers import MemoryIOManager
from partitions import (
    SINGLE,
    All,
    DailyPartitions,
    HourlyPartitions,
    Identity,
    Last,
    LastN,
    MappingError,
    MultiPartitions,
    Offset,
    PerDimension,
    StaticPartitions,
    TimeOverlap,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from assets_core.authoring.definitions import Resolved
    from partitions.definitions import PartitionIndex, Partitions
    from partitions.mapped_set import MappedSet
    from partitions.mappings import PartitionMapping

DAYS = DailyPartitions("2025-01-01", timezone="Europe/Berlin")
HOURS = HourlyPartitions("2025-01-01", timezone="Europe/Berlin")
REGIONS = StaticPartitions(["eu", "us"])
BOTH = MultiPartitions({"day": DAYS, "region": REGIONS})


def resolve(*assets: Any, **options: Any) -> Resolved:
    return Definitions(assets=assets, **options).resolve(default_io_manager=MemoryIOManager())


def problems(*assets: Any, **options: Any) -> list[str]:
    with pytest.raises(DefinitionsError) as caught:
        resolve(*assets, **options)
    return [each.message for each in caught.value.problems]


def named(name: str, *parameters: str, **options: Any) -> Asset:
    """An asset whose function has these parameters."""
    namespace: dict[str, Any] = {}
    exec(f"def f({', '.join(parameters)}): ...", namespace)  # noqa: S102 -- the parameters are the test's own
    return asset(namespace["f"], name=name, **options)


class Settings(BaseModel):
    limit: int = Field(default=3, gt=0)
    name: str = "x"


@asset(partitions=HOURS, group="bronze")
def views() -> pa.Table: ...


@asset(partitions=DAYS, write=Merge(keys=["id"]), closed_after=timedelta(hours=2), lookback=1)
def daily_views(views: pa.RecordBatchReader, config: Settings) -> pa.Table: ...


@asset(
    partitions=DAYS,
    inputs={"week": Input(daily_views, mapping=LastN(7))},
    deps=[views, "calendar"],
)
def trend(context: AssetContext, week: dict[str, pa.Table], api: object) -> pa.Table: ...


@asset
def calendar() -> pa.Table:
    """All days."""


@asset_check(daily_views, blocking=True)
def has_rows(daily_views: pa.Table) -> CheckResult:
    return CheckResult(passed=len(daily_views) > 0)


def project() -> Resolved:
    return resolve(trend, has_rows, calendar, views, daily_views, resources={"api": 1})


def test_a_project_resolves_to_specifications() -> None:
    resolved = project()
    assert resolved.graph.order == ("calendar", "views", "daily_views", "trend")
    spec = resolved.graph.spec("trend")
    edges = [(edge.upstream, edge.parameter, edge.mapping) for edge in spec.dependencies]
    assert edges == [
        ("daily_views", "week", LastN(7)),
        ("views", None, TimeOverlap()),
        ("calendar", None, All()),
    ]
    assert resolved.graph.spec("calendar").partitions is SINGLE
    assert resolved.graph.spec("calendar").description == "All days."
    assert spec.defined_in.endswith(
        f"test_definitions.py:{trend.function.__code__.co_firstlineno}"
    )
    assert spec.code_version == resolved.fingerprints["trend"].version


def test_parameters_checks_and_config_are_ready_to_use() -> None:
    resolved = project()
    assert resolved.parameters["daily_views"] == (
        InputParameter("views", "views", LoadAs.READER, per_partition=False),
        ConfigParameter("config", Settings),
    )
    (check,) = resolved.checks["daily_views"]
    assert check.check is has_rows
    assert check.parameters == (
        InputParameter("daily_views", "daily_views", LoadAs.TABLE, per_partition=False),
    )
    assert resolved.checks["trend"] == ()
    assert resolved.config == {"daily_views": Settings()}


def test_config_is_validated_and_counts_as_code() -> None:
    plain = project().graph.spec("daily_views").code_version
    options: dict[str, Any] = {"resources": {"api": 1}}
    other = resolve(
        trend, calendar, views, daily_views, config={"daily_views": {"limit": "7"}}, **options
    )
    assert other.config["daily_views"] == Settings(limit=7)
    assert other.graph.spec("daily_views").code_version != plain
    assert other.graph.spec("views").code_version == project().graph.spec("views").code_version


def test_targets_say_where_rows_belong() -> None:
    resolved = resolve(
        asset(lambda: 1, name="cells", partitions=BOTH, partition_by={"region": "r", "day": "d"}),
        asset(lambda: 1, name="regions", partitions=REGIONS),
        asset(lambda: 1, name="one"),
    )
    assert resolved.outline.target("cells") == Target(
        "cells",
        Replace(),
        partitioned=True,
        partition_by=(("day", "d"), ("region", "r")),
        time_kind="day",
    )
    assert resolved.outline.target("regions") == Target("regions", Replace(), partitioned=True)
    assert resolved.outline.target("one") == Target("one", Replace(), partitioned=False)


def test_the_dependency_version_covers_edges_mappings_and_partition_space() -> None:
    def version(**options: Any) -> str:
        given: dict[str, Any] = {"partitions": DAYS, "inputs": {"up": "up"}, **options}
        up = asset(lambda: 1, name="up", partitions=DAYS)
        return resolve(up, named("down", "up", **given)).graph.spec("down").deps_version

    plain = version()
    assert plain == version(partitions=DailyPartitions("2020-01-01", timezone="Europe/Berlin"))
    assert plain == version(inputs={"up": Input("up", mapping=Identity())})
    different = [
        version(partitions=DailyPartitions("2025-01-01")),
        version(inputs={"up": Input("up", mapping=Offset(-1))}),
        version(inputs={"up": Input("up", allow_missing=True)}),
        version(partition_by="day"),
    ]
    assert len({plain, *different}) == 5


def test_the_parts_of_dependency_versions_tell_the_same_versions_apart() -> None:
    later = DailyPartitions("2025-01-05", end="2025-03-01", timezone="Europe/Berlin")
    fewer = MultiPartitions({"day": later, "region": StaticPartitions(["eu"])})
    found = []
    for above in (DAYS, later, HOURS, REGIONS, StaticPartitions(["us"]), BOTH, fewer, None):
        up = asset(lambda: 1, name="up", partitions=above)
        for partitions in (DAYS, later, None):
            for mapping in (None, LastN(7), LastN(8), All(), Last(), Offset(-1)):
                for options in (
                    {"inputs": {"x": Input("up", mapping=mapping)}},
                    {"inputs": {"x": Input("up", mapping=mapping, allow_missing=True)}},
                    {"deps": [Input("up", mapping=mapping)]},
                ):
                    names = ("x",) if "inputs" in options else ()
                    down = named("down", *names, partitions=partitions, **options)
                    try:
                        spec = resolve(up, down).graph.spec("down")
                    except DefinitionsError:
                        continue
                    parts = deps_parts(spec, {"up": partitions_of(up)})
                    found.append((spec.deps_version, tuple(part.digest for part in parts)))
    versions, digests = ({pair[side] for pair in found} for side in (0, 1))
    assert len(versions) == len(digests) == len(set(found)) > 60


def test_the_order_of_parameters_is_no_difference() -> None:
    sources = [named("a"), named("b")]
    one = resolve(*sources, named("c", "a", "b")).graph.spec("c").deps_version
    assert one == resolve(*sources, named("c", "b", "a")).graph.spec("c").deps_version


def test_an_asset_listed_twice_counts_once() -> None:
    assert resolve(calendar, calendar).graph.order == ("calendar",)


def test_a_generator_of_assets_can_be_resolved_twice() -> None:
    definitions = Definitions(each for each in [calendar])
    for _ in range(2):
        assert definitions.resolve(default_io_manager=MemoryIOManager()).graph.order == (
            "calendar",
        )


def test_an_empty_project_resolves() -> None:
    assert resolve().graph.order == ()


def test_all_problems_are_reported_together_with_hint_and_place() -> None:
    with pytest.raises(DefinitionsError) as caught:
        resolve(
            named("orders", "custmers"),
            named("customers", "revenue"),
            named("revenue", "customers"),
            named("late", lookback=2, io_manager="lke"),
            io_managers={"lake": MemoryIOManager()},
        )
    assert str(caught.value) == (
        "the project's definitions have 4 problems:\n"
        "  1. asset 'late' has lookback, but no time partitions (<string>:1)\n"
        "     → leave lookback out, or give it time partitions such as DailyPartitions(…)\n"
        "  2. asset 'orders' has a parameter 'custmers', which is no input, no asset, no resource, nor `context` or `config` (<string>:1)\n"
        "     → did you mean customers?\n"
        "  3. assets read each other in a circle: customers → revenue → customers (<string>:1)\n"
        "     → an asset that needs its own earlier rows can read them from its table; otherwise split one of these in two\n"
        "  4. asset 'late' is stored by the IO manager 'lke', and there is no such one (<string>:1)\n"
        "     → did you mean lake? Or add Definitions(io_managers={'lke': …})"
    )
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 -- our own bytes
    assert str(again) == str(caught.value)
    assert [each.message for each in again.problems] == [
        each.message for each in caught.value.problems
    ]


@pytest.mark.parametrize(
    ("assets", "message"),
    [
        ([named("a"), named("a")], "two assets are called 'a': <string>:1 and <string>:1"),
        ([named("orders"), named("Orders")], "'orders' and 'Orders' differ only by case"),
        ([named("a", deps=["b"])], "asset 'a' reads 'b', and there is no such asset"),
        ([named("a", "x", inputs={"x": "b"})], "asset 'a' reads 'b', and there is no such asset"),
        ([named("a", "a")], "circle: a → a"),
        (
            [named("r", partitions=REGIONS), named("d", "r", partitions=DAYS)],
            "asset 'd' can't read 'r': no mapping follows",
        ),
        (
            [
                named("r", partitions=REGIONS),
                named("d", "r", partitions=DAYS, inputs={"r": Input("r", mapping=LastN(3))}),
            ],
            "asset 'd' can't read 'r'",
        ),
        (
            [named("d", "x", inputs={"x": Input("e", mapping=LastN)}), named("e")],
            "mapping= is the class LastN",
        ),
        ([named("a", batch_size=2)], "batch_size=2, but it is not partitioned"),
        (
            [named("a", batch_size=2, partitions=DAYS)],
            "nothing tells the partitions of a batch apart",
        ),
        ([named("a", batch_size=0)], "batch_size=0"),
        ([named("a", batch_size="7")], "batch_size='7'"),
        ([named("a", lookback=-1, partitions=DAYS)], "lookback=-1"),
        ([named("a", lookback=1, partitions=REGIONS)], "lookback, but no time partitions"),
        ([named("a", closed_after=timedelta(hours=1))], "closed_after, but no time partitions"),
        ([named("a", closed_after=timedelta(hours=-1), partitions=DAYS)], "negative closed_after"),
        ([named("a", closed_after=3, partitions=DAYS)], "closed_after=3"),
        ([named("a", partition_by="day")], "partition_by='day', but it is not partitioned"),
        ([named("a", partition_by="day", partitions=BOTH)], "its dimensions are day, region"),
        (
            [named("a", partition_by={"day": "d"}, partitions=BOTH)],
            "its dimensions are day, region",
        ),
        (
            [named("a", partition_by={"day": "d", "region": "d"}, partitions=BOTH)],
            "names a column twice",
        ),
        ([named("a", partition_by={"day": "d"}, partitions=DAYS)], "no named dimensions"),
        ([named("a", partition_by="_partition", partitions=DAYS)], "can't be a column of yours"),
        ([named("a", partition_by="", partitions=DAYS)], "can't be a column of yours"),
        ([named("a", partitions="daily")], "partitions='daily'"),
        ([named("a", partitions=DailyPartitions)], "partitions=the class DailyPartitions"),
        ([named("a", code_version=2)], "code_version=2"),
        ([named("a", retry=3)], "retry=3"),
        ([named("a", io_manager=MemoryIOManager)], "io_manager=the class MemoryIOManager"),
        ([named("a", group="")], "a group that is ''"),
        ([named("a", group="a\nb")], "a group 'a\\nb', which can't be printed on one line"),
        ([named("a", tags={"k": 3})], "a tag that is 3"),
        ([named("a", owners=["\x1b[31m"])], "a owner"),
        ([named("a", "*args")], "a parameter *args"),
        ([lambda: 1], "the function <lambda>, which is no asset"),
        ([[named("a")]], "a list, which is no asset"),
        (
            [asset_check("nothing")(has_rows.function)],
            "check 'has_rows' of 'nothing': there is no such asset",
        ),
        (
            [named("a"), asset_check("a")(has_rows.function)],
            "parameter 'daily_views', which is neither a",
        ),
    ],
)
def test_a_bad_definition_is_one_clear_problem(assets: list[object], message: str) -> None:
    (found,) = problems(*assets)
    assert message in found


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "it is empty"),
        ("x" * 201, "201 characters"),
        ("my orders", "white space"),
        ("a@b", "a @ in it"),
        ("a|b", "a | in it"),
        ("+orders", "a + in it"),
        ('a"b', 'a " in it'),
        ("a\nb", "can't be printed on one line"),
        ("a\u202eb", "can't be printed on one line"),
        ("--force", "starts with a hyphen"),
        ("and", "a word of the selection language"),
        ("..", "a folder's own name"),
    ],
)
def test_a_bad_name_is_refused_by_a_named_rule(name: str, rule: str) -> None:
    (found,) = problems(named(name))
    assert rule in found
    assert "\n" not in found


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "$rm", ";drop", "<script>", "💥", "x" * 200, "2025", "é"]
)
def test_an_odd_name_is_only_a_name(name: str) -> None:
    assert resolve(named(name, group="<b> $(x); 'quoted'", tags={"💥": ""})).graph.order == (name,)


def test_a_missing_object_that_was_named_by_itself_is_to_be_added() -> None:
    with pytest.raises(DefinitionsError) as caught:
        resolve(named("late", deps=[calendar]))
    assert caught.value.problems[0].hint == "add calendar to Definitions(assets=[…])"


def test_a_mapping_problem_stays_a_mapping_error() -> None:
    with pytest.raises(DefinitionsError) as caught:
        resolve(named("r", partitions=REGIONS), named("d", "r", partitions=DAYS))
    (found,) = caught.value.problems
    assert isinstance(found, MappingError)
    assert found.hint is not None


def test_io_managers_are_asked_and_looked_up() -> None:
    class Picky(MemoryIOManager):
        def supports(self, target: Target) -> str | None:
            return f"no {target.asset} here"

    assert (
        "can't be stored by the IO manager 'default': no a here"
        in problems(named("a"), io_managers={"default": Picky()})[0]
    )
    assert (
        "which is no IO manager"
        in problems(named("a"), io_managers={"default": MemoryIOManager})[0]
    )
    with pytest.raises(DefinitionsError, match="add Definitions") as caught:
        Definitions([named("a")]).resolve()
    assert len(caught.value.problems) == 1


def test_resources_can_not_have_the_name_of_something_else() -> None:
    assert "has the name of an asset" in problems(named("a"), resources={"a": 1})[0]
    assert "means something else" in problems(named("a"), resources={"context": 1})[0]


def test_config_problems_name_field_and_reason() -> None:
    @asset
    def load(config: Settings) -> None: ...

    found = problems(load, config={"load": {"limit": 0, "name": 3}})
    assert [each.partition(" (")[0] for each in found] == [
        "config of asset 'load': limit: Input should be greater than 0",
        "config of asset 'load': name: Input should be a valid string",
    ]
    assert "no such asset" in problems(load, config={"lod": {}})[0]
    assert "no parameter 'config'" in problems(named("a"), config={"a": {}})[0]


def test_a_check_can_be_there_once() -> None:
    other = asset_check("calendar", name="has_rows")(lambda calendar: CheckResult(passed=True))
    again = asset_check("calendar", name="has_rows")(lambda calendar: CheckResult(passed=False))
    assert "check 'has_rows' of 'calendar' is there twice" in problems(calendar, other, again)[0]
    assert len(resolve(calendar, checks=[other]).checks["calendar"]) == 1


def test_a_check_gets_its_rows_together() -> None:
    @asset_check(calendar)
    def check(calendar: dict[str, pa.Table]) -> CheckResult: ...

    assert "a check gets those of one step together" in problems(calendar, check)[0]


def test_many_problems_of_many_assets_are_all_listed() -> None:
    assets: Iterable[Asset] = [named(f"a{n}", f"zz{n}") for n in range(20)]
    assert len(problems(*assets)) == 20


class OwnMapping:
    """As a user might write it: cut at the start without saying so."""

    triggers = True

    def text(self) -> str:
        return "own"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        return LastN(2).bind(upstream, downstream)


def deps_of_total(upstream: Partitions, mapping: PartitionMapping | None = None) -> str:
    @asset(name="up", partitions=upstream)
    def source() -> None: ...

    downstream = None if mapping is None else DailyPartitions("2025-01-05")

    @asset(partitions=downstream, inputs={"up": Input("up", mapping=mapping)})
    def total(up: object) -> None: ...

    managers = {"default": MemoryIOManager()}
    resolved = Definitions(assets=[source, total], io_managers=managers).resolve()
    return resolved.graph.spec("total").deps_version


def test_bounds_and_keys_that_decide_what_is_read_are_part_of_the_dependencies() -> None:
    """What a definition no longer has is no longer asked for, so nothing else would notice that it was read."""
    assert deps_of_total(DailyPartitions("2025-01-01")) != deps_of_total(
        DailyPartitions("2025-01-02")
    )
    assert deps_of_total(StaticPartitions(["eu", "us"])) != deps_of_total(StaticPartitions(["eu"]))
    week = LastN(7)
    longer = DailyPartitions("2025-01-02", end="2025-03-01")
    assert deps_of_total(DailyPartitions("2025-01-01"), week) != deps_of_total(longer, week)
    assert deps_of_total(DailyPartitions("2025-01-02"), week) == deps_of_total(longer, week)


def test_bounds_count_inside_of_a_mapping_per_dimension_and_for_a_users_own() -> None:
    regions = StaticPartitions(["eu", "us"])

    def cells(start: str, end: str | None = None) -> MultiPartitions:
        return MultiPartitions({"day": DailyPartitions(start, end=end), "region": regions})

    week, whole = PerDimension({"day": LastN(7)}), PerDimension({"day": All()})
    windows = PerDimension({"day": TimeOverlap()})
    early, late, closed = (
        cells("2025-01-01"),
        cells("2025-01-02"),
        cells("2025-01-02", "2025-03-01"),
    )
    assert deps_of_total(early, week) != deps_of_total(late, week)
    assert deps_of_total(late, week) == deps_of_total(closed, week)
    assert deps_of_total(late, whole) != deps_of_total(closed, whole)
    assert deps_of_total(early, windows) == deps_of_total(closed, windows)
    fewer = MultiPartitions(
        {"day": DailyPartitions("2025-01-01"), "region": StaticPartitions(["eu"])}
    )
    assert deps_of_total(early, windows) != deps_of_total(fewer, windows), "all regions are read"

    own = OwnMapping()
    first, second = DailyPartitions("2025-01-01"), DailyPartitions("2025-01-02")
    assert deps_of_total(first, own) != deps_of_total(second, own), "who knows what it reads there"
    assert deps_of_total(second, own) == deps_of_total(
        DailyPartitions("2025-01-02", end="2025-03-01"), own
    )


def test_bounds_are_no_matter_where_windows_decide_what_is_read() -> None:
    overlap = TimeOverlap()
    hours = HourlyPartitions("2025-01-01")
    assert deps_of_total(hours, overlap) == deps_of_total(
        HourlyPartitions("2025-01-02", end="2025-02-01"), overlap
    )
