"""IO managers of users' own: what their methods raise, or return by mistake, is told with their names and lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest

from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import PublishFailed, ReadRequest
from io_managers import Commit, CustomIOManager, FunctionIOManager
from tests.conformance.io_manager_suite import Steps, days, recorded, target

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from assets_core.model.io_manager import PartitionSlice, Target

(DAY,) = days("2025-01-31")
ROWS = pa.table({"n": [1]})


class Shelf(CustomIOManager):
    """Keeps partitions in a dictionary. The method named by `broken` raises, or returns what `wrong` is."""

    broken = ""
    wrong: object = None

    def __init__(self, staging: Path) -> None:
        super().__init__(staging)
        self.kept: dict[str, tuple[pa.Table, Commit]] = {}

    def _break(self, method: str, value: Any) -> Any:
        if self.broken != method:
            return value
        if self.wrong is not None:
            return self.wrong
        raise ConnectionResetError("the shelf fell over")

    def destination(self) -> str:
        return "the shelf"

    def save(self, target: Target, one: PartitionSlice, rows: pa.Table, commit: Commit) -> None:
        self._break("save", None)
        self.kept[one.key] = rows, commit

    def load(self, target: Target, one: PartitionSlice) -> pa.Table | None:
        return self._break("load", self.kept[one.key][0])

    def commit(self, target: Target, one: PartitionSlice) -> Commit | None:
        return self._break("commit", self.kept[one.key][1] if one.key in self.kept else None)

    def commits(self, target: Target) -> Iterable[Commit]:
        for _, commit in self.kept.values():
            yield self._break("commits", commit)

    def remove(self, target: Target) -> None:
        self.kept.clear()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    found = Shelf(tmp_path / "stage")
    Steps(found).write(target(), (DAY,), ROWS)
    return found


def ask(shelf: Shelf, method: str) -> None:
    request = Steps(shelf).request(target(), (DAY,))
    match method:
        case "load":
            shelf.read(ReadRequest(target(), (DAY,)))
        case "commit":
            shelf.published(request)
        case _:
            shelf.holdings(target())


@pytest.mark.parametrize("method", ["load", "commit", "commits"])
def test_what_a_method_raises_is_told_with_its_name_and_line(shelf: Shelf, method: str) -> None:
    shelf.broken = method
    with pytest.raises(
        IOManagerError, match=rf"Shelf\.{method} raised ConnectionResetError: the shelf fell over"
    ) as found:
        ask(shelf, method)
    assert found.value.code == "io-manager"
    assert 'raise ConnectionResetError("the shelf fell over")' in found.value.frames
    assert "io_managers/custom.py" not in found.value.frames


def test_what_save_raises_fails_its_step_with_its_line(shelf: Shelf) -> None:
    steps = Steps(shelf)
    steps.epoch = 5
    shelf.broken = "save"
    (answer,) = shelf.publish([steps.stage(target(), (DAY,), ROWS)])
    assert isinstance(answer, PublishFailed)
    assert answer.message == (
        "the shelf: orders can't be written: Shelf.save raised ConnectionResetError: the shelf fell over"
    )
    assert 'raise ConnectionResetError("the shelf fell over")' in answer.frames


@pytest.mark.parametrize("method", ["load", "commit", "commits"])
def test_what_a_method_must_not_return_is_named(shelf: Shelf, method: str) -> None:
    shelf.broken, shelf.wrong = method, "text"
    with pytest.raises(IOManagerError, match=rf"Shelf\.{method} returned str") as found:
        ask(shelf, method)
    assert "it must return" in str(found.value.hint)


def test_what_is_lost_is_asked_of_the_same_method(shelf: Shelf) -> None:
    assert shelf.lost(target(), recorded((DAY,), {DAY.id: "token-1"})) == frozenset()
    shelf.broken = "commits"
    with pytest.raises(IOManagerError, match="what there is of orders can't be known"):
        shelf.lost(target(), recorded((DAY,), {DAY.id: "token-1"}))


def test_the_index_of_a_pandas_frame_is_no_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": [1, 2, 3]})
    manager = FunctionIOManager(
        read=lambda *_: frame[frame["n"] > 1], write=lambda *_: None, staging=tmp_path
    )
    rows = manager.read(ReadRequest(target(), (DAY,))).read_all()
    assert rows.to_pylist() == [{"n": 2}, {"n": 3}]


def test_the_line_of_a_function_is_told(tmp_path: Path) -> None:
    def load(asset: str, partition: str) -> pa.Table:
        raise LookupError(f"no shelf for {asset} {partition}")

    manager = FunctionIOManager(read=load, write=lambda *_: None, staging=tmp_path, name="shelves")
    with pytest.raises(IOManagerError, match="by shelves: load raised LookupError: no") as found:
        manager.read(ReadRequest(target(), (DAY,)))
    assert 'raise LookupError(f"no shelf for' in found.value.frames
