"""Two writers on one destination: whatever they do when, the rows are those of one after the other.

The writers are IO managers that know nothing of each other, as two processes have them. Each attempt has an epoch and a token of its own,
as one state gives them out; attempts may be published long after they were staged, by whoever staged them, late, or never. What the
model says: a step whose partitions were all written by older attempts is published, in the order of the publishing; any other is refused
and leaves nothing.

The first law lets them take turns in every order; the second lets one publish in the middle of the other's publish, as far as no lock
keeps it out; the third lets both publish at once.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core.model.io_manager import IOManager, Published, PublishFailed, StageRequest
from assets_core.model.table_schemas import SchemaPolicy
from io_managers import (
    DeltaIOManager,
    DuckDBIOManager,
    ParquetIOManager,
    delta_log,
    parquet_local,
)
from tests.conformance.io_manager_suite import Steps, recorded
from tests.property.write_model import CASES, MEMORY_FOLDER, Case, Model, Shapes, Step, check_rows
from tests.property.write_model import managers as one_of_each
from tests.property.write_model import steps as steps_of
from tests.strays import strays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from assets_core.model.io_manager import Staged

RACED = {
    name: replace(CASES[name], parts=CASES[name].parts[:2], ids=2)  # so that writers meet
    for name in (
        "replace",
        "replace by day and region",
        "replace whole",
        "merge",
        "merge by day",
        "merge within days, with deletions",
        "merge whole",
    )
}
SHAPES = st.sampled_from([SchemaPolicy.ADD_NULLABLE, SchemaPolicy.WIDEN]).map(Shapes)


@dataclass
class Truth:
    """What is there: the rows, and who wrote each partition last. Epochs are those of attempts; each has its own token."""

    model: Model
    newest: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Truth:
        return Truth(self.model.copy(), dict(self.newest))

    def publish(self, epoch: int, step: Step) -> bool:
        """False if the attempt is fenced off."""
        keys = [one.key for one in step.slices]
        if any(self.newest.get(key, 0) >= epoch for key in keys):
            return False
        self.model.write(step)
        self.newest |= dict.fromkeys(keys, epoch)
        return True

    def publish_one_by_one(self, epoch: int, step: Step) -> bool:
        """The same partition by partition, up to the first that a newer attempt has."""
        rows = self.model.accepted(step) or []
        return all(
            self.publish(
                epoch,
                replace(
                    step, slices=(one,), rows=[row for owner, row in rows if owner == one.key]
                ),
            )
            for one in step.slices
        )

    def tokens(self) -> dict[int, str]:
        ids = {one.key: one.id for one in self.model.case.parts}
        return {ids[key]: token_of(epoch) for key, epoch in self.newest.items()}


@dataclass(frozen=True)
class Stage:
    """A writer takes rows in; its epoch is the number of stagings before it, and 1."""

    writer: int
    step: Step


@dataclass(frozen=True)
class Publish:
    """A writer publishes attempts that it has staged, as one group."""

    writer: int
    epochs: tuple[int, ...]


@dataclass(frozen=True)
class Abandon:
    """A writer is gone; whoever comes next clears up after an attempt of its."""

    epoch: int


class Race(list[Stage | Publish | Abandon]):
    """What two writers do, in order."""

    def __repr__(self) -> str:
        return f"<race of {', '.join(str(one) for one in self)}>"


@st.composite
def races(draw: st.DrawFn, case: Case) -> Race:
    shapes, race, epochs = draw(SHAPES), Race(), 0
    waiting: dict[int, list[int]] = {0: [], 1: []}
    for _ in range(draw(st.integers(2, 10))):
        writer = draw(st.integers(0, 1))
        mine = waiting[writer]
        if not mine or draw(st.booleans()):
            race.append(Stage(writer, draw(steps_of(case, shapes))))
            mine.append(epochs := epochs + 1)
        elif draw(st.integers(0, 5)):
            group = draw(st.permutations(mine))[: draw(st.integers(1, 3))]
            race.append(Publish(writer, tuple(group)))
            waiting[writer] = [one for one in mine if one not in group]
        else:
            race.append(Abandon(mine.pop(0)))
    # What still waits is published late, or never.
    late = draw(st.permutations([(w, one) for w, rest in waiting.items() for one in rest]))
    race += [
        Publish(writer, (one,)) if draw(st.integers(0, 3)) else Abandon(one)
        for writer, one in late
    ]
    return race


def token_of(epoch: int) -> str:
    return f"token-{epoch}"


def request_of(epoch: int, step: Step) -> StageRequest:
    return StageRequest(step.where, step.slices, epoch, token_of(epoch))


def pairs(folder: Path, case: Case) -> list[tuple[IOManager, IOManager]]:
    """Two of each destination that more than one process can write to."""
    found = zip(one_of_each(folder), one_of_each(folder), strict=True)
    return [pair for pair in [*found][:-1] if pair[0].supports(case.where) is None]


@pytest.mark.parametrize("name", RACED)
def test_writers_that_take_turns_in_any_order_equal_one_after_the_other(name: str) -> None:
    case = RACED[name]

    @settings(max_examples=max(settings().max_examples // 15, 1))
    @given(races(case))
    def play(race: Race) -> None:
        with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as folder:
            for pair in pairs(Path(folder), case):
                _play(pair, case, race)
            assert strays(Path(folder), "x.duckdb") == []

    play()


def _play(pair: tuple[IOManager, IOManager], case: Case, race: Race) -> None:
    truth = Truth(Model(case))
    staged: dict[int, tuple[Step, Staged]] = {}
    for act in race:
        match act:
            case Stage(writer=writer, step=step):
                epoch = len(staged) + 1
                request = request_of(epoch, step)
                staged[epoch] = step, pair[writer].stage(request, step.table.to_reader())
            case Publish(writer=writer, epochs=epochs):
                answers = pair[writer].publish([staged[one][1] for one in epochs])
                allowed = [truth.publish(one, staged[one][0]) for one in epochs]
                assert [_is_published(one) for one in answers] == allowed
                _check(pair, truth, staged[epochs[-1]][0])
            case Abandon(epoch=epoch):
                other = pair[epoch % 2]
                assert other.published(request_of(epoch, staged[epoch][0])) == ()
                other.discard_leftovers(token_of(epoch), case.where)
    for manager in pair:
        assert manager.leftovers() == []
        assert sorted(manager.holdings(case.where) or ()) == sorted(truth.tokens().items())


def _is_published(answer: Published | PublishFailed) -> bool:
    """Whether it is; else it is fenced off, and nothing else."""
    assert isinstance(answer, Published) or answer.fenced, answer
    return isinstance(answer, Published)


def _check(pair: Sequence[IOManager], truth: Truth, step: Step) -> None:
    """Both writers see the same rows, and who wrote them."""
    there = [one for one in truth.model.case.parts if one.key in truth.newest]
    if not there:
        return
    for manager in pair:
        check_rows(Steps(manager), step.where, truth.model)
        tokens = truth.tokens()
        assert manager.lost(step.where, recorded(there, tokens)) == frozenset()
        first = there[0]
        before = {**tokens, first.id: "another"}
        assert manager.lost(step.where, recorded(there, before)) == {first.id}


@dataclass(frozen=True)
class Clash:
    """Some steps one after the other, and then two attempts that are published at once."""

    before: tuple[Step, ...]
    first: Step
    second: Step
    newer_first: bool

    def epochs(self) -> tuple[int, int]:
        """Those of `first` and `second`."""
        last = len(self.before)
        return (last + 2, last + 1) if self.newer_first else (last + 1, last + 2)


@st.composite
def clashes(draw: st.DrawFn, case: Case) -> Clash:
    shapes = draw(SHAPES)
    one = steps_of(case, shapes)
    return Clash(tuple(draw(st.lists(one, max_size=2))), draw(one), draw(one), draw(st.booleans()))


@contextmanager
def in_between(kind: type[IOManager], act: Callable[[], object]) -> Iterator[None]:
    """`act` happens once in the middle of a publish: when all that it goes by was read, and before it holds a lock or has committed."""
    acts = [act]

    def once() -> None:
        if acts:
            acts.pop()()

    if kind is DeltaIOManager:

        def at(place: str) -> None:
            if place == "publish.delta.commit":
                once()

        with patch.object(delta_log, "failpoint", at):
            yield
    else:
        read = parquet_local.FolderPlace.intact_footers

        def then(place: parquet_local.FolderPlace, paths: Sequence[str]) -> object:
            found = read(place, paths)
            once()
            return found

        with patch.object(parquet_local.FolderPlace, "intact_footers", then):
            yield


def _begun(pair: Sequence[IOManager], case: Case, clash: Clash) -> tuple[Truth, list[Staged]]:
    truth = Truth(Model(case))
    for number, step in enumerate(clash.before):
        request = request_of(number + 1, step)
        (answer,) = pair[number % 2].publish(
            [pair[number % 2].stage(request, step.table.to_reader())]
        )
        assert isinstance(answer, Published), answer
        assert truth.publish(number + 1, step)
    both = zip(pair, clash.epochs(), (clash.first, clash.second), strict=True)
    staged = [
        manager.stage(request_of(epoch, step), step.table.to_reader())
        for manager, epoch, step in both
    ]
    return truth, staged


@pytest.mark.parametrize("name", RACED)
def test_a_publish_in_the_middle_of_another_equals_one_before_the_other(name: str) -> None:
    case = RACED[name]

    @settings(max_examples=max(settings().max_examples // 8, 1))
    @given(clashes(case))
    def play(clash: Clash) -> None:
        with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as folder:
            for pair in pairs(Path(folder), case):
                if not isinstance(
                    pair[0], DuckDBIOManager
                ):  # it has the lock from the first look on
                    _meet(pair, case, clash)
            assert strays(Path(folder), "x.duckdb") == []

    play()


def _meet(pair: tuple[IOManager, IOManager], case: Case, clash: Clash) -> None:
    truth, (outer, inner) = _begun(pair, case, clash)
    answers: list[Published | PublishFailed] = []
    with in_between(type(pair[0]), lambda: answers.extend(pair[1].publish([inner]))):
        answers += pair[0].publish([outer])
    first, second = clash.epochs()
    during, after = answers
    assert _is_published(during) == truth.publish(second, clash.second)
    # Files are put in place one by one: an attempt that is overtaken in between stays where nobody was, and its token tells.
    by_file = isinstance(pair[0], ParquetIOManager)
    publish = truth.publish_one_by_one if by_file else truth.publish
    assert _is_published(after) == publish(first, clash.first)
    _check(pair, truth, clash.first)


@pytest.mark.parametrize("name", RACED)
def test_two_publishes_at_once_equal_one_after_the_other(name: str) -> None:
    case = replace(RACED[name], batches=False)

    @settings(max_examples=max(settings().max_examples // 15, 1))
    @given(clashes(case))
    def play(clash: Clash) -> None:
        with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as folder:
            for pair in pairs(Path(folder), case):
                _collide(pair, case, clash)
            assert strays(Path(folder), "x.duckdb") == []

    play()


def _collide(pair: tuple[IOManager, IOManager], case: Case, clash: Clash) -> None:
    begun, staged = _begun(pair, case, clash)
    both = Barrier(2)

    def publish(number: int) -> bool:
        both.wait()
        (answer,) = pair[number].publish([staged[number]])
        return _is_published(answer)

    with ThreadPoolExecutor(2) as pool:
        answers = [*pool.map(publish, (0, 1))]
    attempts = [*zip(clash.epochs(), (clash.first, clash.second), strict=True)]
    wrong = []
    for order in ((0, 1), (1, 0)):
        truth = begun.copy()
        allowed = {number: truth.publish(*attempts[number]) for number in order}
        if answers != [allowed[0], allowed[1]]:
            continue
        try:
            _check(pair, truth, clash.first)
        except AssertionError as error:
            wrong.append(error)
        else:
            return
    raise AssertionError(f"neither order gives {answers}: {wrong}")
