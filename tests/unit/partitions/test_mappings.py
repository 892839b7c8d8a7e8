"""Which partitions each mapping reads, what it says is missing, and which mapping follows from two definitions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from partitions.definitions import SINGLE, DynamicPartitions, StaticPartitions
from partitions.errors import MappingError
from partitions.mapped_set import NOTHING, MappedSet, bind_mapping
from partitions.mappings import (
    All,
    Identity,
    Last,
    LastN,
    Offset,
    PartitionMapping,
    PerDimension,
    StaticMap,
    TimeOverlap,
    choose_mapping,
    dynamic_spaces_across,
)
from partitions.multi import MultiPartitions
from partitions.time_windows import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    WeeklyPartitions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from partitions.definitions import PartitionIndex, Partitions

NOW = datetime(2025, 12, 1, tzinfo=UTC)
KEY_IDS = {"static": {"eu": 1, "us": 2}, "dynamic|files": {"a.csv": 1, "b.csv": 2}}
BERLIN = "Europe/Berlin"
DAYS = DailyPartitions("2025-01-01", timezone=BERLIN)
HOURS = HourlyPartitions("2025-01-01", timezone=BERLIN)
REGIONS = StaticPartitions(["eu", "us"])
REGION_DAYS = MultiPartitions({"day": DAYS, "region": REGIONS})


def bound(mapping: PartitionMapping, upstream: Partitions, downstream: Partitions) -> MappedSet:
    return mapping.bind(upstream.index(NOW, KEY_IDS), downstream.index(NOW, KEY_IDS))


def reads(mapped: MappedSet, key: str) -> list[str]:
    return mapped.upstream.keys(mapped.upstream_slots(mapped.downstream.slot(key)))


def missing(mapped: MappedSet, key: str) -> tuple[str, ...]:
    return mapped.missing_keys(mapped.downstream.slot(key))


def missing_downstream(mapped: MappedSet) -> list[str]:
    return mapped.downstream.keys(np.flatnonzero(mapped.missing))


@pytest.mark.parametrize(
    ("day", "hours"), [("2025-03-29", 24), ("2025-03-30", 23), ("2025-10-26", 25)]
)
def test_a_day_in_berlin_reads_its_23_24_or_25_hours(day: str, hours: int) -> None:
    mapped = bound(TimeOverlap(), HOURS, DAYS)
    keys = reads(mapped, day)
    assert len(keys) == hours
    assert all(key.startswith(day) for key in keys)


def test_the_repeated_hour_is_read_twice_by_its_day() -> None:
    keys = reads(bound(TimeOverlap(), HOURS, DAYS), "2025-10-26")
    assert keys[2:4] == ["2025-10-26T02:00", "2025-10-26T02:00+01:00"]


def test_each_hour_reads_its_day_and_waits_for_its_end() -> None:
    mapped = bound(TimeOverlap(), DAYS, HOURS)
    assert reads(mapped, "2025-10-26T23:00") == ["2025-10-26"]
    assert missing_downstream(mapped) == ["2025-12-01T00:00"]


def test_a_day_reads_its_month_and_waits_for_its_end() -> None:
    mapped = bound(TimeOverlap(), MonthlyPartitions("2025-01-01", timezone=BERLIN), DAYS)
    assert reads(mapped, "2025-02-28") == ["2025-02"]
    assert missing_downstream(mapped) == []
    days = DAYS.index(datetime(2025, 12, 5, tzinfo=UTC))
    mapped = TimeOverlap().bind(MonthlyPartitions("2025-01-01", timezone=BERLIN).index(NOW), days)
    assert missing_downstream(mapped) == ["2025-12-01", "2025-12-02", "2025-12-03", "2025-12-04"]
    assert missing(mapped, "2025-12-01") == ("after 2025-11",)


def test_a_week_over_new_year_reads_two_months() -> None:
    months = MonthlyPartitions("2024-01-01")
    mapped = bound(TimeOverlap(), months, WeeklyPartitions("2024-12-30"))
    assert reads(mapped, "2025-W01") == ["2024-12", "2025-01"]


def test_a_utc_day_reads_two_days_of_new_york() -> None:
    mapped = bound(
        TimeOverlap(),
        DailyPartitions("2025-01-01", timezone="America/New_York"),
        DailyPartitions("2025-01-01"),
    )
    assert reads(mapped, "2025-06-10") == ["2025-06-09", "2025-06-10"]
    assert missing(mapped, "2025-01-01") == ("before 2025-01-01",)
    assert reads(mapped, "2025-01-01") == ["2025-01-01"]


def test_identity_goes_by_id_over_different_starts_and_ends() -> None:
    mapped = bound(
        Identity(),
        DailyPartitions("2025-01-02", end="2025-01-05"),
        DailyPartitions("2025-01-01", end="2025-01-07"),
    )
    assert reads(mapped, "2025-01-04") == ["2025-01-04"]
    assert missing_downstream(mapped) == ["2025-01-01", "2025-01-05", "2025-01-06"]
    assert missing(mapped, "2025-01-05") == ("2025-01-05",)
    assert missing(mapped, "2025-01-04") == ()


def test_identity_of_keys_without_an_id_goes_by_key() -> None:
    upstream, downstream = StaticPartitions(["eu", "us"]), StaticPartitions(["us", "asia"])
    mapped = Identity().bind(upstream.index(NOW), downstream.index(NOW))
    assert reads(mapped, "us") == ["us"]
    assert missing_downstream(mapped) == ["asia"]


def test_identity_of_products_without_ids_goes_by_key() -> None:
    upstream = MultiPartitions({"day": DAYS, "region": StaticPartitions(["eu", "us"])})
    downstream = MultiPartitions({"day": DAYS, "region": StaticPartitions(["us", "asia"])})
    mapped = Identity().bind(upstream.index(NOW), downstream.index(NOW))
    assert reads(mapped, "2025-01-31|us") == ["2025-01-31|us"]
    assert missing(mapped, "2025-01-31|asia") == ("region=asia",)


def test_identity_needs_one_id_space() -> None:
    with pytest.raises(MappingError, match="same kind of partitions"):
        bound(Identity(), DAYS, HOURS)


def test_the_day_before_is_missing_on_the_first_day() -> None:
    mapped = bound(Offset(-1), DAYS, DAYS)
    assert reads(mapped, "2025-01-02") == ["2025-01-01"]
    assert missing_downstream(mapped) == ["2025-01-01"]
    assert missing(mapped, "2025-01-01") == ("before 2025-01-01",)


def test_the_day_after_is_missing_on_the_last_day() -> None:
    mapped = bound(Offset(1), DAYS, DAYS)
    assert reads(mapped, "2025-01-01") == ["2025-01-02"]
    assert missing(mapped, "2025-11-30") == ("after 2025-11-30",)


def test_the_day_before_a_skipped_day_is_two_dates_back() -> None:
    apia = DailyPartitions("2011-12-01", end="2012-02-01", timezone="Pacific/Apia")
    assert reads(bound(Offset(-1), apia, apia), "2011-12-31") == ["2011-12-29"]


def test_an_offset_reaches_into_a_definition_that_ended() -> None:
    old = DailyPartitions("2024-01-01", end="2025-01-01")
    new = DailyPartitions("2025-01-01")
    assert reads(bound(Offset(-1), old, new), "2025-01-01") == ["2024-12-31"]
    assert missing(bound(Offset(-1), old, new), "2025-01-02") == ("after 2024-12-31",)
    assert reads(bound(Offset(1), new, old), "2024-12-31") == ["2025-01-01"]


def test_an_offset_over_unknown_partitions_is_refused() -> None:
    with pytest.raises(MappingError, match="neither of the two has") as caught:
        bound(
            Offset(-365),
            DailyPartitions("2023-01-01", end="2024-01-01"),
            DailyPartitions("2025-01-01"),
        )
    assert caught.value.hint is not None


def test_an_offset_to_another_grain_is_refused() -> None:
    with pytest.raises(MappingError, match="same kind of partitions"):
        bound(Offset(-1), HOURS, DAYS)
    with pytest.raises(MappingError, match="compares time windows"):
        bound(Offset(-1), REGIONS, REGIONS)


def test_the_last_seven_days_are_fewer_at_the_start_and_nothing_is_missing() -> None:
    mapped = bound(LastN(7), DAYS, DAYS)
    assert reads(mapped, "2025-01-03") == ["2025-01-01", "2025-01-02", "2025-01-03"]
    assert len(reads(mapped, "2025-06-10")) == 7
    assert reads(mapped, "2025-06-10")[-1] == "2025-06-10"
    assert not mapped.missing.any()


def test_the_last_hours_of_a_day_end_with_the_day() -> None:
    assert reads(bound(LastN(2), HOURS, DAYS), "2025-06-10") == [
        "2025-06-10T22:00",
        "2025-06-10T23:00",
    ]


def test_the_last_months_of_a_day_end_with_its_own() -> None:
    mapped = bound(LastN(3), MonthlyPartitions("2025-01-01", timezone=BERLIN), DAYS)
    assert reads(mapped, "2025-06-10") == ["2025-04", "2025-05", "2025-06"]


def test_last_n_misses_its_own_partition_outside_of_the_definition() -> None:
    mapped = bound(
        LastN(7),
        DailyPartitions("2025-01-03", end="2025-01-05"),
        DailyPartitions("2025-01-01", end="2025-01-07"),
    )
    assert missing_downstream(mapped) == ["2025-01-01", "2025-01-02", "2025-01-05", "2025-01-06"]
    assert missing(mapped, "2025-01-01") == ("before 2025-01-03",)
    assert missing(mapped, "2025-01-06") == ("after 2025-01-04",)


@pytest.mark.parametrize("n", [0, -1])
def test_last_n_of_nothing_is_refused(n: int) -> None:
    with pytest.raises(MappingError, match="reads nothing"):
        LastN(n)


@pytest.mark.parametrize("value", ["7", 1.5, True, None])
def test_counts_that_are_no_whole_number_are_refused(value: object) -> None:
    with pytest.raises(MappingError, match="whole number"):
        LastN(value)  # type: ignore[arg-type]
    with pytest.raises(MappingError, match="whole number"):
        Offset(value)  # type: ignore[arg-type]


def test_all_reads_everything_and_misses_only_where_there_is_nothing() -> None:
    mapped = bound(All(), DAYS, SINGLE)
    assert len(mapped.upstream_slots(0)) == len(DAYS.index(NOW)) == 334
    empty = bound(All(), DynamicPartitions("none"), SINGLE)
    assert empty.upstream_slots(0).size == 0
    assert not mapped.missing.any()
    assert empty.missing.all()
    assert empty.missing_keys(0) == ("any partition of dynamic: none",)
    assert empty.max_upstream(np.empty(0, dtype=np.int64)).tolist() == [NOTHING]


def test_what_reads_several_dynamic_keys_is_known() -> None:
    shops = DynamicPartitions("shops")
    both = MultiPartitions({"day": DAYS, "shop": shops})
    across = frozenset({shops.space})
    assert dynamic_spaces_across(All(), shops, SINGLE) == across
    assert dynamic_spaces_across(All(), both, SINGLE) == across
    assert dynamic_spaces_across(choose_mapping(both, DAYS), both, DAYS) == across
    assert dynamic_spaces_across(choose_mapping(both, shops), both, shops) == frozenset()
    assert dynamic_spaces_across(Identity(), shops, shops) == frozenset()
    assert dynamic_spaces_across(All(), REGIONS, SINGLE) == frozenset()


def test_last_reads_the_newest_and_does_not_trigger() -> None:
    mapped = bound(Last(), DAYS, REGIONS)
    assert reads(mapped, "eu") == ["2025-11-30"]
    assert not Last().triggers
    assert not PerDimension({"day": Last()}).triggers
    assert PerDimension({"day": LastN(2)}).triggers


def test_last_of_nothing_is_missing() -> None:
    mapped = bound(Last(), DynamicPartitions("none"), DAYS)
    assert mapped.missing.all()
    assert missing(mapped, "2025-01-01") == ("any partition of dynamic: none",)


def test_last_of_a_product_is_the_newest_of_each_lane() -> None:
    assert reads(bound(Last(), REGION_DAYS, REGION_DAYS), "2025-02-02|us") == ["2025-11-30|us"]
    assert reads(bound(Last(), REGION_DAYS, SINGLE), "") == ["2025-11-30|eu", "2025-11-30|us"]


def test_mappings_along_time_work_inside_the_lanes_of_a_product() -> None:
    assert reads(bound(LastN(2), REGION_DAYS, REGION_DAYS), "2025-02-02|us") == [
        "2025-02-01|us",
        "2025-02-02|us",
    ]
    mapped = bound(Offset(-1), REGION_DAYS, REGION_DAYS)
    assert reads(mapped, "2025-02-02|us") == ["2025-02-01|us"]
    assert missing(mapped, "2025-01-01|us") == ("day=before 2025-01-01",)
    assert reads(bound(LastN(2), REGION_DAYS, DAYS), "2025-02-02") == [
        "2025-02-01|eu",
        "2025-02-02|eu",
        "2025-02-01|us",
        "2025-02-02|us",
    ]


def test_a_product_without_time_has_nothing_to_look_back_along() -> None:
    timeless = MultiPartitions({"region": REGIONS, "file": DynamicPartitions("files")})
    with pytest.raises(MappingError, match="has no time windows"):
        bound(LastN(2), timeless, timeless)


def test_a_static_map_reads_by_name() -> None:
    mapped = bound(
        StaticMap({"de": ["eu"], "fr": ["eu"], "ca": "us"}),
        StaticPartitions(["fr", "de", "ca"]),
        REGIONS,
    )
    assert reads(mapped, "eu") == ["fr", "de"]
    assert reads(mapped, "us") == ["ca"]


def test_a_static_map_with_a_mistyped_key_is_refused() -> None:
    with pytest.raises(MappingError, match="upstream key 'eux'") as caught:
        bound(StaticMap({"eux": ["eu"]}), REGIONS, REGIONS)
    assert "eu" in (caught.value.hint or "")
    with pytest.raises(MappingError, match="downstream key 'asia'"):
        bound(StaticMap({"eu": ["asia"]}), REGIONS, REGIONS)


def test_a_dynamic_key_that_has_not_come_yet_is_missing() -> None:
    mapped = bound(
        StaticMap({"a.csv": ["eu"], "z.csv": ["eu", "us"]}), DynamicPartitions("files"), REGIONS
    )
    assert reads(mapped, "eu") == ["a.csv"]
    assert missing(mapped, "eu") == ("z.csv",)
    assert missing(mapped, "us") == ("z.csv",)
    ignored = bound(StaticMap({"eu": ["z.csv"]}), REGIONS, DynamicPartitions("files"))
    assert not ignored.missing.any()


@pytest.mark.parametrize(
    ("upstream", "downstream", "expected"),
    [
        (DAYS, DailyPartitions("2020-01-01", timezone=BERLIN), Identity()),
        (SINGLE, SINGLE, Identity()),
        (REGION_DAYS, REGION_DAYS, Identity()),
        (DAYS, SINGLE, All()),
        (SINGLE, DAYS, All()),
        (REGION_DAYS, SINGLE, All()),
        (SINGLE, REGION_DAYS, All()),
        (HOURS, DAYS, TimeOverlap()),
        (DAYS, DailyPartitions("2025-01-01"), TimeOverlap()),
        (CronPartitions("0 6 * * *", "2025-01-01"), DAYS, TimeOverlap()),
        (DynamicPartitions("files"), DynamicPartitions("files"), Identity()),
    ],
)
def test_the_mapping_follows_from_the_kinds(
    upstream: Partitions, downstream: Partitions, expected: PartitionMapping
) -> None:
    assert choose_mapping(upstream, downstream) == expected


def test_all_regions_of_a_day_are_read_by_the_day() -> None:
    mapping = choose_mapping(REGION_DAYS, DAYS)
    assert mapping.text() == "per-dimension(day->*: identity, region: all)"
    assert reads(bound(mapping, REGION_DAYS, DAYS), "2025-01-31") == [
        "2025-01-31|eu",
        "2025-01-31|us",
    ]


def test_a_day_is_read_by_all_its_regions() -> None:
    mapping = choose_mapping(DAYS, REGION_DAYS)
    assert mapping.text() == "per-dimension(*->day: identity)"
    assert reads(bound(mapping, DAYS, REGION_DAYS), "2025-01-31|us") == ["2025-01-31"]


def test_hours_of_regions_roll_up_to_days_of_regions_in_any_order() -> None:
    hourly = MultiPartitions({"region": REGIONS, "hour": HOURS})
    mapped = bound(choose_mapping(hourly, REGION_DAYS), hourly, REGION_DAYS)
    keys = reads(mapped, "2025-03-30|us")
    assert len(keys) == 23
    assert keys[0] == "us|2025-03-30T00:00"


def test_a_region_reads_all_its_days() -> None:
    mapped = bound(choose_mapping(REGION_DAYS, REGIONS), REGION_DAYS, REGIONS)
    assert mapped.indptr is None
    assert len(reads(mapped, "us")) == 334
    assert all(key.endswith("|us") for key in reads(mapped, "us"))


def test_a_region_that_upstream_lacks_is_missing() -> None:
    upstream = MultiPartitions({"day": DAYS, "region": StaticPartitions(["eu"])})
    mapped = bound(choose_mapping(upstream, REGION_DAYS), upstream, REGION_DAYS)
    assert missing(mapped, "2025-01-31|us") == ("2025-01-31|us",)
    assert missing(mapped, "2025-01-31|eu") == ()


def test_a_dimension_is_mapped_as_told_and_the_rest_inferred() -> None:
    mapped = bound(PerDimension({"day": LastN(2)}), REGION_DAYS, REGION_DAYS)
    assert reads(mapped, "2025-02-02|us") == ["2025-02-01|us", "2025-02-02|us"]
    mapped = bound(PerDimension({"region": All()}), REGION_DAYS, REGION_DAYS)
    assert reads(mapped, "2025-02-02|us") == ["2025-02-02|eu", "2025-02-02|us"]


def test_a_dimension_can_meet_one_of_another_name() -> None:
    countries = MultiPartitions({"day": DAYS, "country": StaticPartitions(["de", "fr", "ca"])})
    mapping = PerDimension(
        {"country": ("region", StaticMap({"de": "eu", "fr": "eu", "ca": "us"}))}
    )
    mapped = bound(mapping, countries, REGION_DAYS)
    assert reads(mapped, "2025-01-31|eu") == ["2025-01-31|de", "2025-01-31|fr"]


@pytest.mark.parametrize(
    ("upstream", "downstream", "says"),
    [
        (REGIONS, DAYS, "static: eu, us to daily"),
        (DAYS, REGIONS, "to static: eu, us"),
        (DynamicPartitions("files"), HOURS, "dynamic: files"),
        (DynamicPartitions("files"), DynamicPartitions("customers"), "dynamic: customers"),
        (StaticPartitions(["eu"]), StaticPartitions(["us"]), "no key in common"),
        (REGIONS, MultiPartitions({"day": DAYS, "file": DynamicPartitions("files")}), "to day"),
        (
            MultiPartitions({"day": DAYS, "country": StaticPartitions(["de"])}),
            REGION_DAYS,
            "dimension 'country' and downstream dimension 'region'",
        ),
    ],
)
def test_an_undecidable_pair_names_both_and_says_what_to_write(
    upstream: Partitions, downstream: Partitions, says: str
) -> None:
    with pytest.raises(MappingError, match=says) as caught:
        choose_mapping(upstream, downstream)
    assert 'inputs={"x": Input(x, mapping=' in (caught.value.hint or "")


def test_a_mistyped_dimension_names_the_nearest() -> None:
    with pytest.raises(MappingError, match="'regoin'") as caught:
        bound(PerDimension({"regoin": All()}), REGION_DAYS, DAYS)
    assert caught.value.hint == "did you mean 'region'?"
    with pytest.raises(MappingError) as caught:
        bound(PerDimension({"x": All()}), REGION_DAYS, DAYS)
    assert caught.value.hint == "its dimensions are 'day', 'region'"
    with pytest.raises(MappingError) as caught:
        bound(PerDimension({"x": All()}), DAYS, REGION_DAYS)
    assert "leave PerDimension out" in (caught.value.hint or "")
    with pytest.raises(MappingError, match="downstream definition"):
        bound(PerDimension({"day": ("month", TimeOverlap())}), REGION_DAYS, REGION_DAYS)


@dataclass(frozen=True, slots=True)
class Broken:
    """A user's mapping that returns what it is told to."""

    lo: tuple[int, ...]
    hi: tuple[int, ...]
    indptr: tuple[int, ...] = ()
    triggers: ClassVar[bool] = True

    def text(self) -> str:
        return "broken"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        lo, hi, indptr = (_array(values) for values in (self.lo, self.hi, self.indptr))
        if self.indptr:
            return MappedSet.from_lists(
                "broken", upstream, downstream, indptr=indptr, lo=lo, hi=hi
            )
        return MappedSet.from_intervals("broken", upstream, downstream, lo=lo, hi=hi)


def _array(values: Iterable[int]) -> np.ndarray:
    return np.array(list(values), dtype=np.int64)


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        (Broken((0,), (1,)), "1 intervals for 2 downstream partitions"),
        (Broken((0, 0), (1,)), "lo has 2 entries and hi has 1"),
        (Broken((0, 0), (1, 3)), "intervals must be lo <= hi inside 0..2"),
        (Broken((-1, 0), (1, 2)), "intervals must be lo <= hi inside 0..2"),
        (Broken((1, 0), (0, 2)), "intervals must be lo <= hi inside 0..2"),
        (Broken((0, 0), (1, 2), (0, 1)), "indptr must ascend from 0 to 2 in 3 entries"),
        (Broken((0, 0), (1, 2), (0, 3, 2)), "indptr must ascend from 0 to 2 in 3 entries"),
    ],
)
def test_a_users_malformed_mapping_is_named(mapping: Broken, problem: str) -> None:
    index = REGIONS.index(NOW)
    with pytest.raises(MappingError, match="mapping broken from static") as caught:
        mapping.bind(index, index)
    assert problem in caught.value.message


def test_a_users_mapping_may_leave_what_is_missing_unnamed() -> None:
    index = REGIONS.index(NOW)
    nothing = np.zeros(2, dtype=np.int64)
    mapped = MappedSet.from_intervals(
        "mine", index, index, lo=nothing, hi=nothing, missing=np.array([True, False])
    )
    assert "definition does not have" in mapped.missing_keys(0)[0]
    assert mapped.missing_keys(1) == ()


def test_missing_must_be_as_long_as_the_downstream_index() -> None:
    index = REGIONS.index(NOW)
    nothing = np.zeros(2, dtype=np.int64)
    with pytest.raises(MappingError, match="missing has 3 entries"):
        MappedSet.from_intervals(
            "mine", index, index, lo=nothing, hi=nothing, missing=np.ones(3, dtype=np.bool_)
        )


@pytest.mark.parametrize("name", ["lo", "hi", "missing"])
def test_arrays_of_another_type_are_refused(name: str) -> None:
    index = REGIONS.index(NOW)
    nothing = np.zeros(2, dtype=np.int64)
    arrays = {"lo": nothing, "hi": nothing, "missing": np.zeros(2, dtype=np.bool_)}
    with pytest.raises(MappingError, match=f"{name} must be a numpy array of"):
        MappedSet.from_intervals(
            "mine", index, index, **{**arrays, name: arrays[name].astype(np.float64)}
        )
    with pytest.raises(MappingError, match=f"{name} must be a numpy array of .*, got list"):
        MappedSet.from_intervals("mine", index, index, **{**arrays, name: [0, 0]})


class Told(Broken):
    """A user's mapping that returns or raises what it is told to."""

    answer: ClassVar[object] = None

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


def told(mapped: object) -> PartitionMapping:
    return type("Told", (Told,), {"answer": mapped, "__slots__": ()})((), ())  # type: ignore[no-any-return]


def test_what_a_users_mapping_raises_is_said_with_its_line() -> None:
    index = REGIONS.index(NOW)
    with pytest.raises(
        MappingError, match=r"Told raised KeyError in .*test_mappings\.py:"
    ) as caught:
        bind_mapping(told(KeyError("x")), index, index)
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(MappingError, match=r"^mine$"):
        bind_mapping(told(MappingError("mine")), index, index)


def test_what_a_users_mapping_returns_must_be_over_the_indexes_that_it_got() -> None:
    index, other = REGIONS.index(NOW), StaticPartitions(["de", "fr"]).index(NOW)
    with pytest.raises(MappingError, match="returned NoneType, not a MappedSet"):
        bind_mapping(told(None), index, index)
    mapped = All().bind(index, index)
    assert bind_mapping(told(mapped), index, index) is mapped
    for sides in ((other, index), (index, other)):
        with pytest.raises(MappingError, match="over other indexes"):
            bind_mapping(told(mapped), *sides)


def test_a_dimension_that_a_mapping_does_not_fit_is_named_with_both_definitions() -> None:
    with pytest.raises(MappingError) as caught:
        bound(PerDimension({"region": LastN(2)}), REGION_DAYS, REGION_DAYS)
    assert caught.value.message.count(REGION_DAYS.describe()) == 2
    assert "dimension 'region': last-n(2) can't map static: eu, us" in caught.value.message


def test_all_mappings_fit_the_port() -> None:
    mappings: list[PartitionMapping] = [
        Identity(),
        TimeOverlap(),
        Offset(-1),
        LastN(7),
        All(),
        Last(),
        StaticMap({}),
        PerDimension({}),
    ]
    assert all(isinstance(mapping, PartitionMapping) for mapping in mappings)
    assert [mapping.text() for mapping in mappings] == [
        "identity",
        "time-overlap",
        "offset(-1)",
        "last-n(7)",
        "all",
        "last",
        "static-map({})",
        "per-dimension()",
    ]


@pytest.mark.parametrize("mapping", [Identity(), LastN(3), Offset(-1), TimeOverlap(), All()])
def test_empty_definitions_are_mapped_to_nothing(mapping: PartitionMapping) -> None:
    future = DailyPartitions("2026-01-01", timezone=BERLIN)
    mapped = bound(mapping, future, DAYS)
    nothing = np.empty(0, dtype=np.int64)
    assert (mapped.max_upstream(nothing) == NOTHING).all()
    assert mapped.missing.all()
    assert mapped.missing_keys(0) != ()
    mapped = bound(mapping, DAYS, future)
    assert mapped.any_upstream(np.ones(334, dtype=np.bool_)).size == 0
    assert not mapped.upstream_of(np.empty(0, dtype=np.bool_)).any()
