"""Processes that take turns with one DuckDB file lose no commit: the regression test of our lock and ATTACH.

DuckDB 2.0 reads a file's headers before it locks it. Processes that simply connect, write and close in turns lose commits that were
acknowledged. To see that happen, run this file by hand: `python -m tests.crash.test_duckdb_locking plain` prints how many of how many
acknowledged rows are there; `python -m tests.crash.test_duckdb_locking ours` does the same with `DuckDBIOManager`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import duckdb
import pyarrow as pa

from assets_core.model.io_manager import (
    PartitionSlice,
    Published,
    ReadRequest,
    StageRequest,
    Target,
)
from assets_core.model.specs import Replace
from io_managers import DuckDBIOManager

ROOT = Path(__file__).resolve().parents[2]
WORKER = "tests.crash.test_duckdb_locking"

TARGET = Target("orders", Replace(), partitioned=True)


def test_processes_that_take_turns_lose_nothing(tmp_path: Path) -> None:
    workers, turns = 3, 15
    acknowledged = _race("ours", tmp_path / "shop.duckdb", workers, turns)
    assert len(acknowledged) == workers * turns
    manager = DuckDBIOManager(tmp_path / "shop.duckdb")
    slices = tuple(PartitionSlice(i, key) for i, key in enumerate(sorted(acknowledged)))
    rows = manager.read(ReadRequest(TARGET, slices)).read_all()
    assert rows.column("key").to_pylist() == sorted(acknowledged)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop.duckdb", "shop.duckdb.lock"]


def test_readers_see_every_partition_whole_while_others_write(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    _publish(DuckDBIOManager(path), "shared", 1, rows=1000)
    with _worker("rewrite", path, "0", 10) as writer:
        seen = set()
        manager = DuckDBIOManager(path)
        while writer.poll() is None:
            found = manager.read(ReadRequest(TARGET, (PartitionSlice(0, "shared"),))).read_all()
            assert found.num_rows == 1000
            versions = set(found.column("version").to_pylist())
            assert len(versions) == 1
            seen |= versions
        assert writer.returncode == 0
    found = manager.read(ReadRequest(TARGET, (PartitionSlice(0, "shared"),))).read_all()
    assert set(found.column("version").to_pylist()) == {11}


def _race(how: str, path: Path, workers: int, turns: int) -> set[str]:
    """Run workers at once; answers the keys that they were told are stored."""
    running = [_worker(how, path, str(number), turns) for number in range(workers)]
    acknowledged: set[str] = set()
    for worker in running:
        out, _ = worker.communicate()
        acknowledged |= set(out.split())
        if how == "ours":
            assert worker.returncode == 0
    return acknowledged


def _worker(how: str, path: Path, name: str, turns: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", WORKER, how, str(path), name, str(turns)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def _publish(manager: DuckDBIOManager, key: str, epoch: int, rows: int = 1) -> None:
    table = pa.table({"key": [key] * rows, "version": [epoch] * rows})
    request = StageRequest(TARGET, (PartitionSlice(0, key),), epoch, f"{key}-{epoch}")
    (answer,) = manager.publish([manager.stage(request, table.to_reader())])
    assert isinstance(answer, Published), answer


def _take_turns(how: str, path: Path, name: str, turns: int) -> None:
    manager = DuckDBIOManager(path)
    for turn in range(turns):
        key = f"{name}-{turn}"
        if how == "ours":
            _publish(manager, key, 1)
        elif how == "rewrite":
            _publish(manager, "shared", turn + 2, rows=1000)
        else:
            while True:
                with suppress(duckdb.Error):
                    with duckdb.connect(str(path)) as connection:
                        connection.execute("create table if not exists orders (key varchar)")
                        connection.execute("insert into orders values ($1)", [key])
                    break
        sys.stdout.write(f"{key}\n")
        sys.stdout.flush()


def _show(how: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shop.duckdb")
        acknowledged = _race(how, path, workers=4, turns=100)
        try:
            with duckdb.connect(str(path)) as connection:
                stored = {
                    key for (key,) in connection.execute("select key from orders").fetchall()
                }
            found = f"{len(acknowledged & stored)} are there"
        except duckdb.Error as error:
            found = f"the file can't be read: {error}"
        sys.stdout.write(f"{how}: of {len(acknowledged)} acknowledged rows {found}\n")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _take_turns(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        _show(sys.argv[1])
