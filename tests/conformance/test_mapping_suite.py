"""The suite for mappings finds each way in which one can break its contract: otherwise a mapping that passes says nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import signature
from typing import TYPE_CHECKING

import numpy as np
import pytest

from partitions import (
    DailyPartitions,
    Last,
    LastN,
    MappedSet,
    MappingError,
    StaticPartitions,
)
from tests.conformance.mapping_suite import MappingSuite, Reads, overlapping

if TYPE_CHECKING:
    from collections.abc import Iterable

    from partitions import PartitionIndex, PartitionMapping, Partitions


class SuiteOfDays(MappingSuite):
    """Each day reads itself, or should; not collected, because its name does not begin with Test."""

    def __init__(self, mapping: type[PartitionMapping]) -> None:
        self.mapping = mapping

    def make(self) -> PartitionMapping:
        return self.mapping()

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        days = DailyPartitions("2024-09-30", timezone=zone)
        return [(days, days)]

    def refused(self) -> Iterable[tuple[Partitions, Partitions]]:
        return [(StaticPartitions(["eu"]), DailyPartitions("2024-09-30"))]

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        return Reads.of(key for _, key in overlapping(upstream, downstream, slot))


@dataclass(frozen=True)
class Sound:
    """What the others spoil."""

    triggers = True

    def text(self) -> str:
        return "mine"

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        return self.same(upstream, downstream)

    def same(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        if upstream.space != downstream.space:
            names = [index.definition.describe() for index in (upstream, downstream)]
            raise MappingError(f"mine can't map {names[0]} to {names[1]}", hint="don't")
        slots = upstream.slots_of_ids(downstream.ids)
        found = slots >= 0
        lo = np.where(found, slots, 0)
        return MappedSet.from_intervals(
            "mine", upstream, downstream, lo=lo, hi=lo + found, missing=~found
        )


class Unhashable(Sound):
    __hash__ = None  # type: ignore[assignment]


class WithoutEquality(Sound):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


class TriggersByWord(Sound):
    triggers = "yes"  # type: ignore[assignment]


class OnTwoLines(Sound):
    def text(self) -> str:
        return "mi\nne"


@dataclass(frozen=True)
class TextOfASet(Sound):
    names: frozenset[str] = frozenset("abcdefgh")

    def text(self) -> str:
        return f"mine({','.join(self.names)})"


class NotOverTheIndexes(Sound):
    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        return self.same(downstream, downstream) if upstream is not downstream else None  # type: ignore[return-value]


class NamedOtherwise(Sound):
    def text(self) -> str:
        return "yours"


@dataclass(frozen=True)
class Forgetful(Sound):
    bound: list[int] = field(default_factory=list, hash=False)

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        self.bound.append(len(upstream))
        return self.same(upstream, downstream)


class WithoutNames(Sound):
    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        nothing = np.zeros(len(downstream), dtype=np.int64)
        every = np.ones(len(downstream), dtype=np.bool_)
        return MappedSet.from_intervals(
            "mine",
            upstream,
            downstream,
            lo=nothing,
            hi=nothing,
            missing=every,
            name_missing=lambda _: (),
        )


class FirstOfAll(Sound):
    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        lo = np.zeros(len(downstream), dtype=np.int64)
        return MappedSet.from_intervals("mine", upstream, downstream, lo=lo, hi=lo + 1)


class CountedFromTheEnd(Sound):
    """As many days back from the newest as the partition is from the first."""

    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        lo = np.arange(len(downstream), dtype=np.int64)[::-1]
        return MappedSet.from_intervals("mine", upstream, downstream, lo=lo, hi=lo + 1)


class RefusesInSilence(Sound):
    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        if upstream.space != downstream.space:
            raise MappingError("no", hint="don't")
        return self.same(upstream, downstream)


class RefusesOnlyWhatThereIs(Sound):
    def bind(self, upstream: PartitionIndex, downstream: PartitionIndex) -> MappedSet:
        if len(downstream):
            return self.same(upstream, downstream)
        nothing = np.zeros(0, dtype=np.int64)
        return MappedSet.from_intervals("mine", upstream, downstream, lo=nothing, hi=nothing)


def is_broken(suite: MappingSuite, name: str) -> bool:
    """Whether this law does not hold, in the zone of Berlin if it asks for one."""
    law = getattr(suite, name)
    arguments = {"zone": "Europe/Berlin"} if "zone" in signature(law).parameters else {}
    try:
        law(**arguments)
    except pytest.skip.Exception:
        return False
    except (AssertionError, pytest.fail.Exception, MappingError, TypeError):
        return True
    return False


def test_a_sound_mapping_keeps_every_law() -> None:
    suite = SuiteOfDays(Sound)
    laws = [name for name in dir(suite) if name.startswith("test_")]
    assert len(laws) > 10
    assert [name for name in laws if is_broken(suite, name)] == []


@pytest.mark.parametrize(
    ("mapping", "law"),
    [
        (Unhashable, "test_two_made_alike_are_one_value"),
        (WithoutEquality, "test_two_made_alike_are_one_value"),
        (TriggersByWord, "test_it_has_what_the_port_asks_for"),
        (OnTwoLines, "test_it_has_what_the_port_asks_for"),
        (TextOfASet, "test_its_text_is_the_same_in_every_process"),
        (NotOverTheIndexes, "test_it_is_bound_over_exactly_the_given_indexes"),
        (NamedOtherwise, "test_it_is_bound_over_exactly_the_given_indexes"),
        (Forgetful, "test_binding_again_gives_the_same_and_changes_nothing"),
        (WithoutNames, "test_what_is_missing_has_a_name_and_nothing_else_has"),
        (FirstOfAll, "test_each_partition_reads_what_a_plain_loop_says"),
        (FirstOfAll, "test_empty_indexes_are_bound_as_well"),
        (
            CountedFromTheEnd,
            "test_growth_does_not_change_what_a_partition_that_lacks_nothing_reads",
        ),
        (RefusesInSilence, "test_what_can_never_be_mapped_is_refused_with_both_names"),
        (RefusesOnlyWhatThereIs, "test_what_can_never_be_mapped_is_refused_with_both_names"),
    ],
)
def test_a_broken_mapping_is_found_by_the_law_that_it_breaks(
    mapping: type[PartitionMapping], law: str
) -> None:
    assert is_broken(SuiteOfDays(mapping), law)


def test_parameters_that_the_text_leaves_out_are_found() -> None:
    class Suite(SuiteOfDays):
        def others(self) -> Iterable[PartitionMapping]:
            return [LastN(2), LastN(2)]

    law = "test_other_parameters_are_another_mapping_with_another_text"
    assert is_broken(Suite(Sound), law)


def test_an_exemption_that_is_not_needed_is_found() -> None:
    class Suite(SuiteOfDays):
        reads_whatever_there_is = True

    law = "test_what_reads_whatever_there_is_says_so"
    assert is_broken(Suite(Sound), law)
    assert not is_broken(Suite(Last), law)


def test_definitions_that_meet_no_change_of_clocks_are_found() -> None:
    class Suite(SuiteOfDays):
        def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
            days = DailyPartitions("2024-11-06", timezone=zone)
            return [(days, days)]

    assert is_broken(Suite(Sound), "test_the_pairs_cross_a_change_of_clocks")
