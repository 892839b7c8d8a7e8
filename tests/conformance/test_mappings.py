"""The mappings of `partitions`, and one as a user would write it, keep the contract of the mapping port."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from partitions import (
    SINGLE,
    All,
    CronPartitions,
    DailyPartitions,
    DynamicPartitions,
    HourlyPartitions,
    Identity,
    Last,
    LastN,
    MappedSet,
    MappingError,
    MonthlyPartitions,
    MultiPartitions,
    Offset,
    PartitionKind,
    PerDimension,
    StaticMap,
    StaticPartitions,
    TimeOverlap,
    WeeklyPartitions,
)
from tests.conformance.mapping_suite import MappingSuite, Reads, overlapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from partitions import PartitionIndex, PartitionMapping, Partitions

START = "2024-09-30"
REGIONS = StaticPartitions(["eu", "us"])
FILES = DynamicPartitions("files")


def days(zone: str, start: str = START) -> DailyPartitions:
    return DailyPartitions(start, timezone=zone)


def cells(zone: str) -> MultiPartitions:
    return MultiPartitions({"region": REGIONS, "day": days(zone)})


def files_at(instant: datetime) -> Mapping[str, Mapping[str, int]]:
    """A file more each month, and static keys that have their ids already."""
    files = ["b.csv", "a.csv", "c.csv", "d.csv"][: 1 + instant.month - 9]
    return {
        "dynamic|files": {key: place for place, key in enumerate(files, 1)},
        "static": {"us": 1, "eu": 2},
    }


class TestIdentity(MappingSuite):
    def make(self) -> PartitionMapping:
        return Identity()

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        hours = HourlyPartitions("2024-10-24", timezone=zone)
        return [
            (days(zone), days(zone, "2024-10-08")),
            (days(zone, "2024-10-08"), days(zone)),
            (hours, hours),
            (cells(zone), cells(zone)),
            (REGIONS, StaticPartitions(["us", "asia", "eu"])),
            (FILES, FILES),
            (SINGLE, SINGLE),
        ]

    def refused(self) -> Iterable[tuple[Partitions, Partitions]]:
        return [
            (days("UTC"), days("Europe/Berlin")),
            (days("UTC"), WeeklyPartitions(START)),
            (FILES, DynamicPartitions("customers")),
            (days("UTC"), SINGLE),
        ]

    def key_ids(self, instant: datetime) -> Mapping[str, Mapping[str, int]]:
        return files_at(instant)

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        key = downstream.key(slot)
        found = {key} & set(upstream.keys())
        return Reads.of(found, missing=not found)


class TestIdentityOfKeysWithoutIds(TestIdentity):
    """As when a project is planned that never ran."""

    def key_ids(self, instant: datetime) -> Mapping[str, Mapping[str, int]]:
        return {"dynamic|files": files_at(instant)["dynamic|files"]}


class TestAll(MappingSuite):
    reads_whatever_there_is = True

    def make(self) -> PartitionMapping:
        return All()

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        return [
            (days(zone), SINGLE),
            (days(zone), days(zone)),
            (SINGLE, cells(zone)),
            (cells(zone), REGIONS),
            (FILES, days(zone)),
        ]

    def key_ids(self, instant: datetime) -> Mapping[str, Mapping[str, int]]:
        return files_at(instant)

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        return Reads.of(upstream.keys())


class TestStaticMap(MappingSuite):
    crosses_clock_changes = False
    named: ClassVar = {"de": ["eu"], "fr": ["eu", "west"], "us": "west"}

    def make(self) -> PartitionMapping:
        return StaticMap(self.named)

    def others(self) -> Iterable[PartitionMapping]:
        return [StaticMap({}), StaticMap({"de": ["eu"]}), StaticMap({"de": ["west"]})]

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        countries = StaticPartitions(["us", "jp", "fr", "de"])
        return [
            (countries, StaticPartitions(["eu", "west", "rest"])),
            (DynamicPartitions("countries"), StaticPartitions(["eu", "west"])),
            (countries, DynamicPartitions("areas")),
        ]

    def refused(self) -> Iterable[tuple[Partitions, Partitions]]:
        return [
            (StaticPartitions(["de", "fr"]), StaticPartitions(["eu", "west"])),
            (StaticPartitions(["de", "fr", "us"]), StaticPartitions(["eu"])),
        ]

    def key_ids(self, instant: datetime) -> Mapping[str, Mapping[str, int]]:
        later = instant != self.instants[0]
        return {
            "dynamic|countries": {"us": 1, "de": 2, **({"fr": 3} if later else {})},
            "dynamic|areas": {"eu": 1, **({"west": 2} if later else {})},
        }

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        key = downstream.key(slot)
        wanted = {up for up, downs in self.named.items() if key == downs or key in list(downs)}
        there = set(upstream.keys())
        return Reads.of(wanted & there, missing=bool(wanted - there))


class TestTimeOverlap(MappingSuite):
    def make(self) -> PartitionMapping:
        return TimeOverlap()

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        hours = HourlyPartitions("2024-10-20", timezone=zone)
        weeks = WeeklyPartitions(START, timezone=zone)
        months = MonthlyPartitions("2024-08-01", timezone=zone)
        return [
            (hours, days(zone, "2024-10-20")),
            (days(zone), hours),
            (days(zone), weeks),
            (months, days(zone)),
            (weeks, months),
            (days("America/New_York"), days(zone)),
            (CronPartitions("30 1,13 * * 1-5", START, timezone=zone), days(zone)),
        ]

    def refused(self) -> Iterable[tuple[Partitions, Partitions]]:
        return [
            (days("UTC"), REGIONS),
            (FILES, days("UTC")),
            (days("UTC"), SINGLE),
            (cells("UTC"), REGIONS),
            (REGIONS, cells("UTC")),
        ]

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        found = list(overlapping(upstream, downstream, slot))
        window = downstream.window(slot)
        assert window is not None
        begin, end = window.start.timestamp(), window.end.timestamp()
        covered = 0.0
        for place, _ in found:
            other = upstream.window(place)
            assert other is not None
            covered += min(other.end.timestamp(), end) - max(other.start.timestamp(), begin)
        return Reads.of((key for _, key in found), missing=covered < end - begin)


class TestOffset(MappingSuite):
    by: ClassVar = -1

    def make(self) -> PartitionMapping:
        return Offset(self.by)

    def others(self) -> Iterable[PartitionMapping]:
        return [Offset(-2), Offset(2), Offset(0)]

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        hours = HourlyPartitions("2024-10-24", timezone=zone)
        return [
            (days(zone), days(zone)),
            (days(zone), days(zone, "2024-10-08")),
            (days(zone, "2024-10-08"), days(zone)),
            (hours, hours),
        ]

    def refused(self) -> Iterable[tuple[Partitions, Partitions]]:
        return [
            (HourlyPartitions(START), days("UTC")),
            (days("UTC"), days("Europe/Berlin")),
            (REGIONS, REGIONS),
            (FILES, FILES),
        ]

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        # Keys sort as their windows do, the repeated hour with its offset between the first one and the next.
        every = sorted({*upstream.keys(), *downstream.keys()})
        place = every.index(downstream.key(slot)) + self.by
        found = [every[place]] if 0 <= place < len(every) else []
        there = set(upstream.keys()) & set(found)
        return Reads.of(there, missing=not there)


class TestOffsetForward(TestOffset):
    """The partition after, which is missing until its time has come."""

    by: ClassVar = 1


class TestLastN(MappingSuite):
    n: ClassVar = 5

    def make(self) -> PartitionMapping:
        return LastN(self.n)

    def others(self) -> Iterable[PartitionMapping]:
        return [LastN(1), LastN(6)]

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        return [
            (days(zone), days(zone, "2024-10-08")),
            (days(zone, "2024-10-08"), days(zone)),
            (HourlyPartitions("2024-10-24", timezone=zone), days(zone)),
            (MonthlyPartitions("2024-05-01", timezone=zone), days(zone)),
            (days("America/New_York"), WeeklyPartitions(START, timezone=zone)),
        ]

    def refused(self) -> Iterable[tuple[Partitions, Partitions]]:
        return [(days("UTC"), REGIONS), (FILES, days("UTC")), (REGIONS, cells("UTC"))]

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        window = downstream.window(slot)
        assert window is not None
        found = []
        reaches = False
        for place in range(len(upstream)):
            other = upstream.window(place)
            assert other is not None
            if other.start.timestamp() < window.end.timestamp():
                found.append(upstream.key(place))
            reaches |= other.end.timestamp() >= window.end.timestamp()
        return Reads.of(found[-self.n :], missing=not found or not reaches)


class TestLast(MappingSuite):
    reads_whatever_there_is = True

    def make(self) -> PartitionMapping:
        return Last()

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        return [(days(zone), days(zone)), (days(zone), REGIONS), (FILES, days(zone))]

    def refused(self) -> Iterable[tuple[Partitions, Partitions]]:
        return [(MultiPartitions({"region": REGIONS, "file": FILES}), days("UTC"))]

    def key_ids(self, instant: datetime) -> Mapping[str, Mapping[str, int]]:
        return files_at(instant)

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        keys = upstream.keys()
        return Reads.of(keys[-1:], missing=not keys)


class TestPerDimension(MappingSuite):
    """Each region and day reads two days of all regions."""

    def make(self) -> PartitionMapping:
        return PerDimension({"region": All(), "day": LastN(2)})

    def others(self) -> Iterable[PartitionMapping]:
        return [
            PerDimension({}),
            PerDimension({"day": LastN(2)}),
            PerDimension({"region": All(), "day": LastN(3)}),
            PerDimension({"region": ("area", All()), "day": LastN(2)}),
        ]

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        turned = MultiPartitions({"day": days(zone, "2024-10-08"), "region": REGIONS})
        return [(cells(zone), cells(zone)), (cells(zone), turned), (turned, days(zone))]

    def refused(self) -> Iterable[tuple[Partitions, Partitions]]:
        return [
            (days("UTC"), cells("UTC")),
            (MultiPartitions({"day": REGIONS, "region": FILES}), cells("UTC")),
            (cells("UTC"), REGIONS),
        ]

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        day = dict(downstream.dimensions(slot)).get("day", downstream.key(slot))
        found: dict[str, set[str]] = {}
        for place in range(len(upstream)):
            other = dict(upstream.dimensions(place))["day"]
            if other <= day:
                found.setdefault(other, set()).add(upstream.key(place))
        last_two = sorted(found)[-2:]
        return Reads.of(
            (key for other in last_two for key in found[other]), missing=day not in found
        )


class TestRegionDaysIntoDays(MappingSuite):
    """What is inferred between region x day and day, in one direction."""

    def make(self) -> PartitionMapping:
        return PerDimension({})

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        return [(cells(zone), days(zone)), (cells(zone), days(zone, "2024-09-20"))]

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        day = downstream.key(slot)
        keys = upstream.keys()
        found = [key for key in keys if key.split("|")[1] == day]
        return Reads.of(found, missing=not found)


class TestDaysIntoRegionDays(MappingSuite):
    """What is inferred between day and region x day, in the other."""

    def make(self) -> PartitionMapping:
        return PerDimension({})

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        return [(days(zone), cells(zone)), (days(zone, "2024-10-08"), cells(zone))]

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        day = downstream.key(slot).split("|")[1]
        found = {day} & set(upstream.keys())
        return Reads.of(found, missing=not found)


class TestNewestOfEachRegion(MappingSuite):
    reads_whatever_there_is = True

    def make(self) -> PartitionMapping:
        return PerDimension({"day": Last()})

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        return [(cells(zone), cells(zone))]

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        region = dict(downstream.dimensions(slot))["region"]
        keys = upstream.keys()
        lane = [key for key in keys if key.startswith(f"{region}|")]
        return Reads.of([max(lane)] if lane else [], missing=not lane)


@dataclass(frozen=True, slots=True)
class BusinessDays:
    """Each day reads itself; a Monday also reads the `back` days before it: a user's mapping, that of docs/partitions.md."""

    back: int = 2
    triggers: ClassVar[bool] = True

    def text(self) -> str:
        return f"business-days({self.back})"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        if (
            not upstream.kind is downstream.kind is PartitionKind.DAY
            or upstream.space != downstream.space
        ):
            raise MappingError(
                f"{self.text()} can't map {upstream.definition.describe()} to {downstream.definition.describe()}",
                hint="give both assets the same days",
            )
        # Days are numbered from 1970-01-01, which was a Thursday; a Monday has the number 4 modulo 7.
        first = downstream.ids - np.where(downstream.ids % 7 == 4, self.back, 0)
        lo = np.searchsorted(upstream.ids, first)
        hi = np.searchsorted(upstream.ids, downstream.ids, side="right")
        missing = (upstream.slots_of_ids(first) < 0) | (upstream.slots_of_ids(downstream.ids) < 0)
        return MappedSet.from_intervals(
            self.text(), upstream, downstream, lo=lo, hi=np.maximum(lo, hi), missing=missing
        )


class TestAMappingOfAUser(MappingSuite):
    def make(self) -> PartitionMapping:
        return BusinessDays()

    def others(self) -> Iterable[PartitionMapping]:
        return [BusinessDays(3)]

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        return [
            (days(zone), days(zone)),
            (days(zone), days(zone, "2024-10-08")),
            (days(zone, "2024-10-06"), days(zone)),
        ]

    def refused(self) -> Iterable[tuple[Partitions, Partitions]]:
        return [
            (HourlyPartitions(START), days("UTC")),
            (days("UTC"), days("Europe/Berlin")),
            (REGIONS, days("UTC")),
        ]

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        day = date.fromisoformat(downstream.key(slot))
        monday = day.strftime("%A") == "Monday"
        wanted = {
            date.fromordinal(day.toordinal() - back).isoformat()
            for back in range(3 if monday else 1)
        }
        there = set(upstream.keys())
        return Reads.of(wanted & there, missing=bool(wanted - there))


class TestAMappingOfAUserInsideAProduct(TestAMappingOfAUser):
    """Between the days of region x day, and with the rest of the dimensions inferred."""

    def make(self) -> PartitionMapping:
        return PerDimension({"day": BusinessDays()})

    def others(self) -> Iterable[PartitionMapping]:
        return [PerDimension({"day": BusinessDays(3)})]

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        return [(cells(zone), cells(zone))]

    def refused(self) -> Iterable[tuple[Partitions, Partitions]]:
        return [(cells("UTC"), cells("Europe/Berlin")), (days("UTC"), cells("UTC"))]

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        region, day = downstream.key(slot).split("|")
        sides = [dict(index.dimension_indexes)["day"] for index in (upstream, downstream)]
        alone = super().reads(sides[0], sides[1], sides[1].slot(day))
        return Reads.of((f"{region}|{key}" for key in alone.keys), missing=alone.missing)
