"""A kill in the middle of DuckDB's own checkpoint: what it half-wrote is put back by whoever opens the file next.

Such a kill is rare, so it is made here: out of the file as it was when a transaction had been committed, and as it was when the checkpoint
was complete, come files of which any block is the old one, the new one, or torn between the two, under the old headers.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import date
from random import Random
from typing import TYPE_CHECKING

import duckdb
import pytest

from assets_core.model.io_manager import ReadRequest
from assets_core.model.specs import Replace
from io_managers import DuckDBIOManager, duckdb_writes
from tests.conformance.io_manager_suite import Steps, days, table, target

if TYPE_CHECKING:
    from pathlib import Path

PAGE, FIRST_BLOCK, BLOCK = 4096, 12288, 262144
DAYS = days("2025-01-01", 6)
DAILY = target(Replace(), by="day")
NAMES = ("shop.duckdb", "shop.duckdb.wal", "shop.duckdb.lock")


def copy(source: Path, folder: Path) -> Path:
    """The database with its log and side file, where there are such."""
    folder.mkdir()
    for name in NAMES:
        with suppress(FileNotFoundError):
            shutil.copy(source / name, folder / name)
    return folder


def tear(folder: Path, complete: Path, dice: Random) -> None:
    """Mix the file in `folder` with that after the checkpoint, block by block; the headers stay."""
    path = folder / "shop.duckdb"
    old, new = path.read_bytes(), (complete / "shop.duckdb").read_bytes()
    parts = [old[:FIRST_BLOCK]]
    for start in range(FIRST_BLOCK, max(len(old), len(new)), BLOCK):
        before, after = old[start : start + BLOCK], new[start : start + BLOCK]
        cut = dice.choice([0, BLOCK, PAGE * dice.randrange(BLOCK // PAGE)])
        parts.append(after[:cut] + before[len(after[:cut]) :])
    path.write_bytes(b"".join(parts))


def rows(folder: Path) -> list[dict[str, object]]:
    """Everything, as the next process of ours finds it."""
    manager = DuckDBIOManager(folder / "shop.duckdb")
    return manager.read(ReadRequest(DAILY, DAYS)).read_all().to_pylist()


def opens(folder: Path) -> bool:
    """Whether DuckDB itself can still read all of it."""
    try:
        with duckdb.connect() as connection:
            connection.execute(f"attach '{folder / 'shop.duckdb'}' as it (read_only)")
            connection.execute("select count(*), sum(id), max(note) from it.orders").fetchall()
    except duckdb.Error:
        return False
    return True


@pytest.mark.parametrize("seed", range(3))
def test_a_checkpoint_that_was_cut_off_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    dice = Random(seed)  # noqa: S311 - blocks, not secrets
    home = tmp_path / "home"
    home.mkdir()
    steps = Steps(DuckDBIOManager(home / "shop.duckdb"))
    committed: list[Path] = []

    def at(place: str) -> None:
        if place == "publish.duckdb.committed":
            committed.append(copy(home, tmp_path / f"committed-{len(committed)}"))

    monkeypatch.setattr(duckdb_writes, "failpoint", at)
    unreadable = 0
    for number in range(12):
        for _ in range(1 if number else len(DAYS)):
            day = len(committed) if number == 0 else dice.randrange(len(DAYS))
            size = dice.choice([1, 40, 3_000])
            note = [f"{number} {dice.random()}" for _ in range(size)]
            when = [date.fromisoformat(DAYS[day].key)] * size
            steps.write(DAILY, [DAYS[day]], table(id=range(size), note=note, day=when))
        expected = rows(home)
        for trial in range(6):
            torn = copy(committed[-1], tmp_path / f"torn-{number}-{trial}")
            tear(torn, home, dice)
            unreadable += not opens(torn)
            assert rows(torn) == expected
            assert opens(torn), "it was put right for others, too"
            shutil.rmtree(torn)
    assert unreadable, "nothing that was torn mattered"


def test_what_a_full_disk_left_half_written_is_undone_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    steps = Steps(DuckDBIOManager(home / "shop.duckdb"))
    steps.write(DAILY, DAYS[:1], table(id=[1], note=["a"], day=[date(2025, 1, 1)]))
    before = copy(home, tmp_path / "before")
    side = home / "shop.duckdb.lock"
    written = steps.stage(DAILY, DAYS[:1], table(id=[2], note=["b"], day=[date(2025, 1, 1)]))
    detach = DuckDBIOManager(home / "shop.duckdb")._file._detach

    def torn(connection: duckdb.DuckDBPyConnection) -> None:
        detach(connection)
        complete = copy(home, tmp_path / "complete")
        shutil.copy(before / "shop.duckdb", home / "shop.duckdb")
        tear(home, complete, Random(1))  # noqa: S311 - blocks, not secrets
        shutil.rmtree(complete)

    assert isinstance(steps.manager, DuckDBIOManager)
    monkeypatch.setattr(steps.manager._file, "_detach", torn)
    steps.manager.publish([written])
    assert opens(home)
    assert side.read_bytes()[:1] in {b"", b"{"}, "no copies are left"
