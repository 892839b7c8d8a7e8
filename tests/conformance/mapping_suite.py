"""The contract of a partition mapping as tests. Subclass `MappingSuite`, say how to make one and between what, and pytest runs every law.

```python
class TestWeekendOnMonday(MappingSuite):
    def make(self) -> PartitionMapping:
        return WeekendOnMonday()

    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        days = DailyPartitions("2024-09-30", timezone=zone)
        return [(days, days), (days, DailyPartitions("2024-10-20", timezone=zone))]

    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        ...  # what this one partition reads, in plain Python
```

A mapping is asked over indexes of several instants (`instants`, October and November of 2024) in several zones (`ZONES`), which change
their clocks in between: back by an hour, or forward by half of one. Definitions that start a few days before the first instant and have
no end make the most of it and stay small; every answer is compared with a loop. The suite needs nothing else of this folder.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from partitions import MappedSet, MappingError, PartitionMapping
from partitions.definitions import NO_KEY_IDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from partitions import PartitionIndex, Partitions

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe")
"""No change of clocks, a change of an hour at 02:00, one in a zone of half hours, and one by half an hour."""

BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)
"""An instant at which definitions of time have no partitions. A project is checked with the indexes of such an instant."""

SAID_ELSEWHERE = """
import json, pickle, sys
print(json.dumps([mapping.text() for mapping in pickle.load(sys.stdin.buffer)]))
"""


@dataclass(frozen=True)
class Reads:
    """What one downstream partition reads: upstream keys, and whether it lacks something that the upstream definition does not have."""

    keys: frozenset[str]
    missing: bool = False

    @classmethod
    def of(cls, keys: Iterable[str], *, missing: bool = False) -> Reads:
        """The same from any keys."""
        return cls(frozenset(keys), missing)


class MappingSuite(ABC):
    """Every law of `PartitionMapping`. What a subclass must say is abstract; what it may say has a default."""

    instants: ClassVar[Sequence[datetime]] = (
        datetime(2024, 10, 3, 12, tzinfo=UTC),
        datetime(2024, 10, 28, tzinfo=UTC),
        datetime(2024, 11, 12, 5, 30, tzinfo=UTC),
    )
    """Ascending. The laws about single partitions look at the last, those about growth at all of them."""

    reads_whatever_there_is: ClassVar[bool] = False
    """True for a mapping whose answers about old partitions change when the upstream definition grows, as those of `All` and `Last`
    do. Then only what is missing must not come back."""

    crosses_clock_changes: ClassVar[bool] = True
    """False for a mapping between listed keys, where nothing has a clock."""

    @abstractmethod
    def make(self) -> PartitionMapping:
        """A new mapping, always the same."""

    @abstractmethod
    def pairs(self, zone: str) -> Iterable[tuple[Partitions, Partitions]]:
        """(upstream, downstream) definitions that it fits, those of time in `zone`."""

    @abstractmethod
    def reads(self, upstream: PartitionIndex, downstream: PartitionIndex, slot: int) -> Reads:
        """What downstream `slot` reads, found in the plainest way there is: a loop over all upstream partitions, and no array."""

    def others(self) -> Iterable[PartitionMapping]:
        """Mappings of the same class with other parameters, each of which reads something else; none if it has no parameters."""
        return ()

    def refused(self) -> Iterable[tuple[Partitions, Partitions]]:
        """(upstream, downstream) definitions that it can never map, at any instant."""
        return ()

    def key_ids(self, instant: datetime) -> Mapping[str, Mapping[str, int]]:
        """The ids of listed keys at an instant, by id space; keys may be added from one instant to the next."""
        return NO_KEY_IDS

    @pytest.fixture(params=ZONES)
    def zone(self, request: pytest.FixtureRequest) -> str:
        """Each law about partitions runs once for each zone."""
        found: str = request.param
        return found

    # --- a value ---

    def test_it_has_what_the_port_asks_for(self) -> None:
        mapping = self.make()
        assert isinstance(mapping, PartitionMapping)
        assert isinstance(mapping.triggers, bool)
        text = mapping.text()
        assert isinstance(text, str)
        assert text
        assert text.isprintable(), "it is shown on one line"

    def test_two_made_alike_are_one_value(self) -> None:
        first, second = self.make(), self.make()
        assert first == second
        assert hash(first) == hash(second)
        assert first.text() == second.text()
        assert first.triggers == second.triggers

    def test_other_parameters_are_another_mapping_with_another_text(self) -> None:
        mappings = [self.make(), *self.others()]
        texts = [mapping.text() for mapping in mappings]
        assert len(set(texts)) == len(texts), "the text must say every parameter"
        assert len(set(mappings)) == len(mappings)

    def test_it_pickles(self) -> None:
        for mapping in (self.make(), *self.others()):
            again = pickle.loads(pickle.dumps(mapping))  # noqa: S301 - our own bytes
            assert again == mapping
            assert hash(again) == hash(mapping)
            assert again.text() == mapping.text()

    def test_its_text_is_the_same_in_every_process(self) -> None:
        mappings = [self.make(), *self.others()]
        for seed in ("1", "2"):  # of the hashes of text, and so of the order of sets
            done = subprocess.run(
                [sys.executable, "-c", SAID_ELSEWHERE],
                input=pickle.dumps(mappings),
                env={
                    **os.environ,
                    "PYTHONHASHSEED": seed,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                },
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr.decode()
            assert json.loads(done.stdout) == [mapping.text() for mapping in mappings]

    # --- what it returns ---

    def test_it_is_bound_over_exactly_the_given_indexes(self, zone: str) -> None:
        for upstream, downstream in self._indexes(zone):
            mapping = self.make()
            mapped = mapping.bind(upstream, downstream)
            assert isinstance(mapped, MappedSet)
            assert mapped.upstream is upstream
            assert mapped.downstream is downstream
            assert mapped.mapping == mapping.text()

    def test_binding_again_gives_the_same_and_changes_nothing(self, zone: str) -> None:
        for upstream, downstream in self._indexes(zone):
            mapping = self.make()
            before = [_content(upstream), _content(downstream), pickle.dumps(mapping)]
            mapped = mapping.bind(upstream, downstream)
            answers = _answers(mapped)
            assert _answers(mapping.bind(upstream, downstream)) == answers
            copied = pickle.loads(pickle.dumps(mapping))  # noqa: S301 - our own bytes
            assert _answers(copied.bind(upstream, downstream)) == answers
            assert [_content(upstream), _content(downstream), pickle.dumps(mapping)] == before
            assert mapping == self.make()

    def test_what_is_missing_has_a_name_and_nothing_else_has(self, zone: str) -> None:
        for upstream, downstream in self._indexes(zone):
            mapped = self.make().bind(upstream, downstream)
            for slot in range(len(downstream)):
                names = mapped.missing_keys(slot)
                assert bool(names) == bool(mapped.missing[slot])
                assert all(isinstance(name, str) and name for name in names)

    def test_each_partition_reads_what_a_plain_loop_says(self, zone: str) -> None:
        for upstream, downstream in self._indexes(zone):
            mapped = self.make().bind(upstream, downstream)
            for slot, answer in enumerate(_answers(mapped)):
                assert answer == self.reads(upstream, downstream, slot), (
                    f"{downstream.key(slot)!r} of {downstream!r} from {upstream!r}"
                )

    def test_the_pairs_cross_a_change_of_clocks(self) -> None:
        if not self.crosses_clock_changes:
            pytest.skip("the subclass says that nothing here has a clock")
        for zone in ZONES[1:]:
            offsets = {
                window.start.utcoffset()
                for _, downstream in self._indexes(zone)
                for slot in range(len(downstream))
                if (window := downstream.window(slot)) is not None
            }
            assert len(offsets) > 1, (
                f"pairs({zone!r}) has no time partitions on both sides of a change"
            )

    def test_a_partition_is_upstream_of_exactly_what_is_downstream_of_it(self, zone: str) -> None:
        for upstream, downstream in self._indexes(zone):
            mapped = self.make().bind(upstream, downstream)
            read_by: dict[int, list[int]] = {slot: [] for slot in range(len(upstream))}
            for slot in range(len(downstream)):
                for read in mapped.upstream_slots(slot).tolist():
                    read_by[read].append(slot)
            for slot, expected in read_by.items():
                assert mapped.downstream_slots(slot).tolist() == expected
                alone = np.zeros(len(upstream), dtype=np.bool_)
                alone[slot] = True
                assert np.flatnonzero(mapped.downstream_of(alone)).tolist() == expected

    # --- other instants ---

    def test_empty_indexes_are_bound_as_well(self, zone: str) -> None:
        now = self.instants[-1]
        for up, down in self.pairs(zone):
            for up_at, down_at in (
                (BEFORE_ALL, BEFORE_ALL),
                (BEFORE_ALL, now),
                (now, BEFORE_ALL),
            ):
                upstream, downstream = self._index(up, up_at), self._index(down, down_at)
                mapped = self.make().bind(upstream, downstream)
                assert mapped.missing.shape == (len(downstream),)
                for slot in range(len(downstream)):
                    assert self._allowed(mapped.upstream_slots(slot), upstream)
                for slot in range(len(upstream)):
                    assert self._allowed(mapped.downstream_slots(slot), downstream)

    def test_growth_does_not_change_what_a_partition_that_lacks_nothing_reads(
        self, zone: str
    ) -> None:
        """The exact law: once a partition lacks nothing, it never lacks anything again, and reads the same partitions for ever."""
        for up, down in self.pairs(zone):
            for earlier, later in self._growth():
                old = self.make().bind(self._index(up, earlier), self._index(down, earlier))
                new = self.make().bind(self._index(up, later), self._index(down, later))
                places = {key: slot for slot, key in enumerate(new.downstream.keys())}
                answers = _answers(new)
                for key, before in zip(old.downstream.keys(), _answers(old), strict=True):
                    after = answers[places[key]]
                    if before.missing:
                        continue
                    where = f"{key!r} of {down.describe()} between {earlier} and {later}"
                    assert not after.missing, where
                    if not self.reads_whatever_there_is:
                        assert after == before, where

    def test_what_reads_whatever_there_is_says_so(self) -> None:
        """The exemption from the law of growth is for those that need it."""
        if not self.reads_whatever_there_is:
            pytest.skip("the law of growth holds")
        changed = False
        for up, down in self.pairs(ZONES[0]):
            for earlier, later in self._growth():
                old = self.make().bind(self._index(up, earlier), self._index(down, earlier))
                new = self.make().bind(self._index(up, later), self._index(down, later))
                after = dict(zip(new.downstream.keys(), _answers(new), strict=True))
                changed |= any(
                    after[key] != before
                    for key, before in zip(old.downstream.keys(), _answers(old), strict=True)
                    if not before.missing
                )
        assert changed, "nothing changed: leave reads_whatever_there_is as it is"

    # --- what it refuses ---

    def test_what_can_never_be_mapped_is_refused_with_both_names(self) -> None:
        for up, down in self.refused():
            for instant in (BEFORE_ALL, self.instants[-1]):
                upstream, downstream = self._index(up, instant), self._index(down, instant)
                with pytest.raises(MappingError) as caught:
                    self.make().bind(upstream, downstream)
                assert up.describe() in caught.value.message
                assert down.describe() in caught.value.message
                assert caught.value.hint, "it says what to write instead"

    # --- how they are asked ---

    def _index(self, definition: Partitions, instant: datetime) -> PartitionIndex:
        return definition.index(instant, self.key_ids(instant))

    def _indexes(self, zone: str) -> Iterator[tuple[PartitionIndex, PartitionIndex]]:
        now = self.instants[-1]
        for upstream, downstream in self.pairs(zone):
            yield self._index(upstream, now), self._index(downstream, now)

    def _growth(self) -> Iterator[tuple[datetime, datetime]]:
        return zip(self.instants, self.instants[1:], strict=False)

    @staticmethod
    def _allowed(slots: NDArray[np.int64], index: PartitionIndex) -> bool:
        return bool(np.all((slots >= 0) & (slots < len(index))))


def overlapping(
    upstream: PartitionIndex, downstream: PartitionIndex, slot: int
) -> Iterator[tuple[int, str]]:
    """The upstream partitions whose window overlaps that of downstream `slot`, as (slot, key): a word for writing `reads`."""
    window = downstream.window(slot)
    assert window is not None
    for place in range(len(upstream)):
        other = upstream.window(place)
        assert other is not None
        if _before(other.start, window.end) and _before(window.start, other.end):
            yield place, upstream.key(place)


def _before(first: datetime, second: datetime) -> bool:
    # As instants: datetimes that share a zone compare by their clocks, which are wrong in a repeated hour.
    return first.timestamp() < second.timestamp()


def _answers(mapped: MappedSet) -> list[Reads]:
    """What each downstream partition reads."""
    keys = mapped.upstream.keys()
    return [
        Reads.of(
            (keys[read] for read in mapped.upstream_slots(slot).tolist()),
            missing=bool(mapped.missing[slot]),
        )
        for slot in range(len(mapped.downstream))
    ]


def _content(index: PartitionIndex) -> list[bytes | None]:
    arrays: Iterable[NDArray[np.int64] | None] = (index.ids, index.starts, index.ends)
    as_bytes: Callable[[NDArray[np.int64]], bytes] = np.ndarray.tobytes
    return [None if array is None else as_bytes(array) for array in arrays]
