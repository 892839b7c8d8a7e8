"""What the state does about an IO manager of two functions, which can't say who wrote what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from assets_core import Merge, asset, materialize
from assets_core.model.errors import DefinitionError, UserCodeError
from io_managers import FunctionIOManager
from partitions import DailyPartitions
from tests.integration.conftest import Shop

if TYPE_CHECKING:
    from pathlib import Path

ASSETS = """
    import os
    import signal
    from pathlib import Path

    import pyarrow as pa

    from assets_core import Definitions, asset, load_assets
    from io_managers import FunctionIOManager
    from partitions import DailyPartitions

    days = DailyPartitions("2025-01-01", end="2025-01-04")


    def save(rows: pa.Table, asset: str, partition: str) -> None:
        path = Path(f"{asset}-{partition}.txt")
        path.write_text("half")
        if Path("die").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if Path("raise").exists():
            raise OSError("the shelf is full")
        path.write_text(" ".join(map(str, rows["n"].to_pylist())))


    def load(asset: str, partition: str) -> pa.Table | None:
        path = Path(f"{asset}-{partition}.txt")
        return pa.table({"n": [int(one) for one in path.read_text().split()]}) if path.exists() else None


    @asset(partitions=days)
    def orders() -> pa.Table:
        return pa.table({"n": [1, 2]})


    @asset(partitions=days)
    def total(orders: pa.Table) -> pa.Table:
        return pa.table({"n": [sum(orders["n"].to_pylist())]})


    defs = Definitions(
        assets=load_assets(__name__), io_managers={"default": FunctionIOManager(read=load, write=save, name="the shelf")}
    )
"""


@pytest.fixture
def shelf(tmp_path: Path) -> Shop:
    """Three days, made."""
    shop = Shop(tmp_path / "shop")
    shop.write("assets.py", ASSETS)
    shop.run("materialize")
    return shop


def test_rows_are_stored_read_queried_and_believed(shelf: Shop) -> None:
    assert (shelf.folder / "total-2025-01-03.txt").read_text() == "3"
    assert shelf.run("query", "select sum(n) as n from total", "-o", "csv").out == "n\n9\n"
    assert "the state is sound" in shelf.run("state", "verify").out
    (shelf.folder / "total-2025-01-03.txt").unlink()
    assert "all up to date" in shelf.run("plan").out


@pytest.mark.parametrize("jobs", [(), ("-j", "2")])
def test_a_partition_that_may_be_half_written_is_made_again_with_its_readers(
    shelf: Shop, jobs: tuple[str, ...]
) -> None:
    (shelf.folder / "die").touch()
    shelf.run("materialize", "orders", "2025-01-02", "--force", *jobs, code=None)
    assert (shelf.folder / "orders-2025-01-02.txt").read_text() == "half"
    (shelf.folder / "die").unlink()
    assert "2 succeeded" in shelf.run("materialize").out
    assert (shelf.folder / "orders-2025-01-02.txt").read_text() == "1 2"
    assert "all up to date" in shelf.run("plan").out


def test_a_write_that_raises_fails_the_step_in_its_words(shelf: Shop) -> None:
    (shelf.folder / "raise").touch()
    answer = shelf.run("materialize", "orders", "2025-01-02", "--force", code=1)
    told = answer.out + answer.err
    assert "the shelf: orders can't be written: save raised OSError: the shelf is full" in told
    assert 'raise OSError("the shelf is full")' in told, "the line of their code"
    assert "io_managers/custom.py" not in told
    (shelf.folder / "raise").unlink()
    assert "2025-01-02" in shelf.run("plan").out
    shelf.run("materialize")
    assert (shelf.folder / "orders-2025-01-02.txt").read_text() == "1 2"


def test_taking_an_asset_away_needs_a_function_for_that(shelf: Shop) -> None:
    answer = shelf.run("state", "restart", "orders", "--yes", code=2)
    assert "can't be removed: no function for that was given" in answer.err


def test_what_it_can_not_do_is_told() -> None:
    with pytest.raises(DefinitionError, match="is not a function"):
        FunctionIOManager(read=3, write=print)  # type: ignore[arg-type] - the mistake
    manager = FunctionIOManager(read=lambda *_: "no table", write=lambda *_: None)
    days = DailyPartitions("2025-01-01", end="2025-01-02")

    @asset(partitions=days, write=Merge(keys=["n"]))
    def merged() -> pa.Table:
        return pa.table({"n": [1]})

    with pytest.raises(DefinitionError, match="replaces whole partitions"):
        materialize([merged], io_manager=manager)

    @asset
    def first() -> pa.Table:
        return pa.table({"n": [1]})

    @asset
    def second(first: pa.Table) -> pa.Table:
        return first

    with pytest.raises(UserCodeError, match="first can't be read by the functions given to"):
        materialize([first, second], io_manager=manager)
