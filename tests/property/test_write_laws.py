"""Random histories of writes equal a plain Python model, on every destination.

A history is a list of groups of steps: first runs, re-runs, out of order, empty outputs, several partitions in one step, the same
partition twice in one group, columns that come and go or widen, declarations that change, keys that move to another partition, late
rows and keys that come twice. After every group the rows of every partition that was written, alone and all together, are those of
the model, whatever the destination; the receipts say truly what changed; and what is refused is refused everywhere in the same words.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core.model.errors import DataError, PartitaError
from assets_core.model.io_manager import Published, WriteReceipt
from assets_core.model.specs import Merge
from io_managers import MemoryIOManager
from tests.conformance.io_manager_suite import UNPARTITIONED, Steps, whole
from tests.property.write_model import (
    CASES,
    MEMORY_FOLDER,
    UNRULY,
    Group,
    History,
    Model,
    check_rows,
    histories,
    managers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets_core.model.io_manager import Staged

ALL = {**CASES, **UNRULY}


@pytest.mark.parametrize("name", ALL)
def test_histories_equal_the_model_on_every_destination(name: str) -> None:
    case = ALL[name]

    @settings(max_examples=max(settings().max_examples // 20, 1))
    @given(histories(case))
    def play(history: History) -> None:
        with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as folder:
            model = Model(case)
            places = [
                Steps(one) for one in managers(Path(folder)) if one.supports(case.where) is None
            ]
            last: list[dict[int, str]] = [{} for _ in places]
            for group in history:
                changes = [model.write(step) for step in group]
                answers = [_publish(steps, group) for steps in places]
                assert [_told(one) for one in answers[1:]] == [_told(answers[0])] * (
                    len(answers) - 1
                )
                for receipts, versions in zip(answers, last, strict=True):
                    _check_receipts(model, group, receipts, changes, versions)
                for steps in places:
                    try:
                        check_rows(steps, group[-1].where, model)
                    except PartitaError as error:
                        # One line that says it all: a failure that does not come again has nothing else.
                        pytest.fail(
                            f"{type(steps.manager).__name__}: {error!r} {error.__cause__!r}"
                        )

    play()


Answer = tuple[WriteReceipt, ...] | str
"""The receipts of a step, or the words in which it was refused."""


def _publish(steps: Steps, group: Group) -> list[Answer]:
    answers: list[Answer | None] = []
    staged: list[Staged] = []
    for step in group:
        try:
            staged.append(steps.stage(step.where, step.slices, step.table))
            answers.append(None)
        except DataError as error:
            answers.append(f"{error.message} ({error.hint})")
    published = iter(steps.manager.publish(staged))
    return [_receipts(next(published)) if one is None else one for one in answers]


def _receipts(answer: object) -> tuple[WriteReceipt, ...]:
    assert isinstance(answer, Published), answer
    return answer.receipts


def _told(answers: Sequence[Answer]) -> list[object]:
    return [
        one if isinstance(one, str) else [(r.partition_id, r.rows, r.data_version) for r in one]
        for one in answers
    ]


def _check_receipts(
    model: Model,
    group: Group,
    answers: Sequence[Answer],
    changes: Sequence[Sequence[bool] | None],
    versions: dict[int, str],
) -> None:
    """`versions` are the last ones of each partition; they are brought up to date."""
    for step, found, changed in zip(group, answers, changes, strict=True):
        if changed is None:
            assert isinstance(found, str), f"{found} of what is to be refused"
            continue
        assert not isinstance(found, str), found
        assert [r.partition_id for r in found] == [one.id for one in step.slices]
        assert sum(r.rows for r in found) == len(model.accepted(step) or ())
        if isinstance(step.where.write, Merge):
            for receipt, is_other in zip(found, changed, strict=True):
                last = versions.get(receipt.partition_id)
                assert last is None or (receipt.data_version != last) == is_other
        versions |= {r.partition_id: r.data_version for r in found}


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.none() | st.text("ab", max_size=1)), max_size=40),
    st.lists(st.tuples(st.integers(0, 3), st.none() | st.text("ab", max_size=1)), max_size=40),
)
def test_versions_are_equal_exactly_for_equal_rows(
    some: list[tuple[int, str | None]], others: list[tuple[int, str | None]]
) -> None:
    steps = Steps(MemoryIOManager())
    schema = pa.schema({"a": pa.int64(), "b": pa.string()})

    def version(rows: Sequence[tuple[int, str | None]]) -> str:
        rows_ = pa.Table.from_pylist([{"a": a, "b": b} for a, b in rows], schema)
        return steps.write(whole(), UNPARTITIONED, rows_).receipts[0].data_version

    assert (version(some) == version(others)) == (Counter(some) == Counter(others))
    assert version(some) == version(sorted(some, key=repr))
