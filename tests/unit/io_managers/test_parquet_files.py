from __future__ import annotations

import os
import pickle
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from assets_core.model.errors import DefinitionError, IOManagerError
from assets_core.model.io_manager import Published, PublishFailed, ReadRequest
from assets_core.model.specs import Append, Merge
from io_managers import ParquetIOManager, parquet_layout, parquet_local
from io_managers.parquet_layout import read_footer
from tests.conformance.io_manager_suite import (
    UNPARTITIONED,
    Steps,
    days,
    hours,
    keys,
    multi,
    recorded,
    table,
    target,
    whole,
)

if TYPE_CHECKING:
    from io_managers.parquet_layout import Footer

FIRST, SECOND = days("2025-01-31", 2)
MERGE = whole(Merge(keys=["id"]))


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def steps(lake: Path) -> Steps:
    return Steps(ParquetIOManager(lake))


def _files(lake: Path) -> list[str]:
    return sorted(str(p.relative_to(lake)) for p in lake.rglob("*") if p.is_file())


def test_a_partition_is_one_file_in_a_folder_named_by_its_grain(steps: Steps, lake: Path) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    hour = hours(datetime(2025, 1, 1, 5, tzinfo=UTC), 1, "UTC")
    steps.write(target(asset="views", kind="hour"), hour, table(n=[1]))
    steps.write(target(asset="a/b", kind=None), keys("eu"), table(n=[1]))
    steps.write(target(asset="both"), multi("2025-01-01", 1, ["eu"]), table(n=[1]))
    steps.write(whole(asset="airports"), UNPARTITIONED, table(n=[1]))
    assert _files(lake) == [
        "a%2Fb/partition=eu/data.parquet",
        "airports/data.parquet",
        "both/day=2025-01-01/region=eu/data.parquet",
        "orders/day=2025-01-31/data.parquet",
        "views/hour=2025-01-01T05%3A00%3A00+00%3A00/data.parquet",
    ]


def test_other_programs_read_the_folder(steps: Steps, lake: Path) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    steps.write(target(), [SECOND], table(n=[2]))
    waiting = steps.stage(target(), [SECOND], table(n=[3]))
    found = duckdb.sql(
        f"select n, day from read_parquet('{lake}/**/*.parquet') order by n"
    ).fetchall()
    assert found == [(1, date(2025, 1, 31)), (2, date(2025, 2, 1))]
    folder = ds.dataset(lake / "orders", partitioning="hive").to_table().to_pylist()
    assert folder == [{"n": 1, "day": "2025-01-31"}, {"n": 2, "day": "2025-02-01"}]
    steps.manager.discard(waiting)


def test_files_are_compressed_checked_and_say_who_wrote_them(steps: Steps, lake: Path) -> None:
    answer = steps.write(target(), [FIRST], table(n=range(300_000)))
    path = lake / "orders/day=2025-01-31/data.parquet"
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(3)] == [122_880, 122_880, 54_240]
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert metadata.metadata[b"partita.asset"] == b"orders"
    assert metadata.metadata[b"partita.partition"] == b"2025-01-31"
    assert metadata.metadata[b"partita.epoch"] == b"1"
    assert metadata.metadata[b"partita.token"] == b"token-1"
    assert answer.receipts[0].bytes == path.stat().st_size
    damaged = bytearray(path.read_bytes())
    damaged[2000] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(IOManagerError, match=r"data\.parquet can't be read: .*"):
        steps.rows(target(), [FIRST])


def test_nothing_but_data_stays(steps: Steps, lake: Path) -> None:
    for i in range(3):
        steps.write(target(), [FIRST], table(n=[i]))
        steps.write(MERGE, UNPARTITIONED, table(id=[i]))
    assert _files(lake) == ["orders/data.parquet", "orders/day=2025-01-31/data.parquet"]
    assert list((lake / ".partita").iterdir()) == []


def test_a_file_that_is_not_ours_is_not_overwritten(steps: Steps, lake: Path) -> None:
    path = lake / "orders/day=2025-01-31/data.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(table(mine=[1]), path)
    before = path.read_bytes()
    answer = steps.fail(target(), [FIRST], table(n=[1]))
    assert "was not written by Partita" in str(answer)
    assert path.read_bytes() == before
    # What nobody can read may have been ours; it is put beside.
    path.write_bytes(b"no parquet")
    steps.write(target(), [FIRST], table(n=[1]))
    assert path.with_name("data.parquet.damaged").read_bytes() == b"no parquet"


def test_two_names_that_the_file_system_takes_for_one_are_noticed(
    steps: Steps, lake: Path
) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    (lake / "ORDERS").symlink_to(lake / "orders")
    answer = steps.fail(target(asset="ORDERS"), [FIRST], table(n=[2]))
    assert "holds 'orders 2025-01-31'" in str(answer)
    assert steps.rows(target(), [FIRST]) == [{"n": 1}]


def test_lost_partitions_are_those_without_a_file(steps: Steps, lake: Path) -> None:
    for one in (FIRST, SECOND):
        steps.write(target(), [one], table(n=[1]))
    state = recorded([FIRST, SECOND], {FIRST.id: "token-1", SECOND.id: "token-2"})
    (lake / "orders/day=2025-02-01/data.parquet").unlink()
    assert steps.manager.lost(target(), state) == {SECOND.id}
    with pytest.raises(IOManagerError, match="2025-02-01 is not there: no file"):
        steps.rows(target(), [FIRST, SECOND])


def test_a_file_put_there_by_hand_is_a_loss(steps: Steps, lake: Path) -> None:
    for i, one in enumerate((FIRST, SECOND)):
        steps.write(target(), [one], table(n=[i]))
    state = recorded([FIRST, SECOND], {FIRST.id: "token-1", SECOND.id: "token-2"})
    assert steps.manager.lost(target(), state) == frozenset()
    older = (lake / "orders/day=2025-01-31/data.parquet").read_bytes()
    steps.write(target(), [FIRST], table(n=[3]))
    now = recorded([FIRST, SECOND], {FIRST.id: "token-3", SECOND.id: "token-2"})
    assert steps.manager.lost(target(), now) == frozenset()
    (lake / "orders/day=2025-01-31/data.parquet").write_bytes(older)
    assert steps.manager.lost(target(), now) == {FIRST.id}


def _footers_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []

    def footer(path: str) -> Footer | None:
        read.append(Path(path).parent.name)
        return read_footer(path)

    monkeypatch.setattr(parquet_local, "read_footer", footer)
    return read


def test_a_footer_is_read_once_whatever_else_happens_to_the_asset(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (FIRST, SECOND):
        steps.write(target(), [one], table(n=[1]))
    tokens = {FIRST.id: "token-1", SECOND.id: "token-2"}
    read = _footers_read(monkeypatch)
    for _ in range(2):
        assert not steps.manager.lost(target(), recorded([FIRST, SECOND], tokens))
    assert read == ["day=2025-01-31", "day=2025-02-01"]
    steps.write(target(), [SECOND], table(n=[2]))
    read.clear()
    tokens[SECOND.id] = "token-3"
    for _ in range(2):
        assert not steps.manager.lost(target(), recorded([FIRST, SECOND], tokens))
    assert read == ["day=2025-02-01"]


@pytest.mark.parametrize(
    "note", [b"", b"{}", b"[]", b'{"basis": 1, "count": 9}\nabc', b"\x00" * 99]
)
def test_a_note_that_was_cut_short_costs_a_comparison(
    steps: Steps, lake: Path, monkeypatch: pytest.MonkeyPatch, note: bytes
) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    state = recorded([FIRST], {FIRST.id: "token-1"})
    assert steps.manager.lost(target(), state) == frozenset()
    (path,) = (lake / ".partita/checked").iterdir()
    path.write_bytes(note)
    read = _footers_read(monkeypatch)
    assert steps.manager.lost(target(), state) == frozenset()
    assert read == ["day=2025-01-31"]


def test_a_note_that_cant_be_written_costs_comparisons_only(steps: Steps, lake: Path) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    (lake / ".partita/checked").write_text("in the way")
    for _ in range(2):
        assert not steps.manager.lost(target(), recorded([FIRST], {FIRST.id: "token-1"}))


def test_what_a_look_left_that_was_killed_goes_with_the_next(steps: Steps, lake: Path) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    with subprocess.Popen(["true"]) as ended:
        pass
    left = lake / f".partita/process-{ended.pid}-7"
    left.write_text("half a note")
    assert not steps.manager.lost(target(), recorded([FIRST], {FIRST.id: "token-1"}))
    assert not left.exists()


def test_a_damaged_file_is_lost_and_made_again_and_kept_beside(steps: Steps, lake: Path) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    steps.write(target(), [SECOND], table(n=[2]))
    path = lake / "orders/day=2025-01-31/data.parquet"
    damaged = path.read_bytes()[:30]
    path.write_bytes(damaged)
    state = recorded([FIRST, SECOND], {FIRST.id: "token-1", SECOND.id: "token-2"})
    assert steps.manager.lost(target(), state) == {FIRST.id}
    with pytest.raises(IOManagerError, match="can't be read"):
        steps.rows(target(), [FIRST])
    steps.write(target(), [FIRST], table(n=[3]))
    assert steps.rows(target(), [FIRST, SECOND]) == [{"n": 3}, {"n": 2}]
    assert path.with_name("data.parquet.damaged").read_bytes() == damaged
    steps.manager.remove(target())
    assert not (lake / "orders").exists()


def test_a_look_loads_nothing_that_reads_or_writes(steps: Steps) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    tokens = {FIRST.id: "token-1"}
    assert steps.manager.lost(target(), recorded([FIRST], tokens, "state 1")) == frozenset()
    code = f"""
import pickle, sys
manager = pickle.loads({pickle.dumps(steps.manager)!r})
target = Target("orders", Replace(), True, None, "day")
part = PartitionSlice({FIRST.id}, "2025-01-31")
state = Recorded(1, lambda: [part.id], lambda: [part], dict, "state 1")
assert manager.lost(target, state) == frozenset()
assert manager.supports(target) is None
assert manager.location(target).startswith(manager.destination())
ours = {{name for name in sys.modules if name.split(".")[0] == "io_managers"}}
heavy = {{"duckdb", "numpy", "pyarrow", "pandas", "polars", "shutil", "tempfile"}} & set(sys.modules)
print(*sorted(ours), *heavy)
"""
    imports = (
        "from assets_core.model.io_manager import PartitionSlice, Recorded, Target\n"
        "from assets_core.model.specs import Replace"
    )
    found = subprocess.run(
        [sys.executable, "-c", imports + code], capture_output=True, text=True, check=False
    )
    assert found.stderr == ""
    assert found.stdout.split() == [
        "io_managers",
        "io_managers.parquet_files",
        "io_managers.parquet_layout",
        "io_managers.parquet_local",
        "io_managers.parquet_notes",
        "io_managers.parquet_roots",
        "io_managers.parquet_seal",
        "io_managers.paths",
        "io_managers.refusals",
        "io_managers.url_secrets",
        "io_managers.workbench",
    ]


def test_a_file_that_vanishes_while_it_is_read_is_named(steps: Steps, lake: Path) -> None:
    for one in (FIRST, SECOND):
        steps.write(target(), [one], table(n=[1]))
    stream = steps.manager.read(ReadRequest(target(), (FIRST, SECOND)))
    stream.read_next_batch()
    (lake / "orders/day=2025-02-01/data.parquet").unlink()
    with pytest.raises(IOManagerError, match=r"day=2025-02-01/data\.parquet can't be read"):
        stream.read_next_batch()


@pytest.mark.parametrize(
    "error",
    [pa.ArrowMemoryError("malloc failed"), pa.ArrowException("no thread"), OSError(5, "I/O")],
)
def test_a_file_that_could_not_be_read_for_another_cause_is_not_taken_for_damaged(
    steps: Steps, lake: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    steps.write(target(), [FIRST], table(id=[1]))

    def failing(_source: object) -> pq.FileMetaData:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(parquet_layout, "checked_metadata", failing)
        failed = steps.fail(target(), [FIRST], table(id=[2]))
    assert "data.parquet can't be read" in str(failed)
    assert not list(lake.rglob("*.damaged"))
    assert steps.rows(target(), [FIRST]) == [{"id": 1}]


def test_a_damaged_footer_is_named_by_whatever_reads_it(steps: Steps, lake: Path) -> None:
    request = steps.request(target(), [FIRST])
    steps.manager.publish([steps.manager.stage(request, table(n=[1]).to_reader())])
    path = lake / "orders/day=2025-01-31/data.parquet"
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[-8:-4], "little")
    content[-8 - length : -8] = b"\xff" * length
    path.write_bytes(content)
    state = recorded([FIRST], {FIRST.id: request.token})
    for act in (
        lambda: steps.rows(target(), [FIRST]),
        lambda: steps.manager.published(request),
        lambda: steps.manager.holdings(target()),
    ):
        with pytest.raises(IOManagerError) as caught:
            act()
        assert str(path) in caught.value.message
    assert steps.manager.lost(target(), state) == {FIRST.id}


def test_a_folder_removed_by_hand_is_made_again(steps: Steps, lake: Path) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    (lake / "orders/day=2025-01-31/data.parquet").unlink()
    (lake / "orders/day=2025-01-31").rmdir()
    steps.write(target(), [FIRST], table(n=[2]))
    assert steps.rows(target(), [FIRST]) == [{"n": 2}]


def test_a_stream_reads_the_old_file_or_the_new_one(steps: Steps) -> None:
    for one, n in ((FIRST, 1), (SECOND, 2)):
        steps.write(target(), [one], table(n=[n]))
    stream = steps.manager.read(ReadRequest(target(), (FIRST, SECOND)))
    assert stream.read_next_batch().to_pylist() == [{"n": 1}]
    steps.write(target(), [FIRST], table(n=[10]))
    steps.write(target(), [SECOND], table(n=[20]))
    assert stream.read_all().to_pylist() in ([{"n": 2}], [{"n": 20}])


def test_a_big_partition_is_never_held_whole(steps: Steps) -> None:
    rows = pa.table({"v": [float(i * 7919 % 1_000_003) for i in range(2_000_000)]})
    steps.write(target(), [FIRST], rows)
    size, before, peak, read = rows.nbytes, pa.total_allocated_bytes(), 0, 0
    for batch in steps.manager.read(ReadRequest(target(), (FIRST,))):
        read += batch.num_rows
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert read == 2_000_000
    assert peak < size / 3


def test_a_root_that_another_process_makes_at_this_moment_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, mkdir = tmp_path / "lake", os.mkdir

    def late(path: str, *mode: int) -> None:
        if Path(path) == root:
            mkdir(root)
        mkdir(path, *mode)

    monkeypatch.setattr(os, "mkdir", late)
    steps = Steps(ParquetIOManager(root))
    steps.write(target(), days("2025-01-31"), table(id=[1]))
    assert steps.rows(target(), days("2025-01-31")) == [{"id": 1}]


def test_a_missing_folder_is_named_and_only_the_root_is_made(tmp_path: Path) -> None:
    steps = Steps(ParquetIOManager(tmp_path / "data" / "lake"))
    with pytest.raises(IOManagerError) as caught:
        steps.stage(target(), [FIRST], table(n=[1]))
    assert f"there is no folder {tmp_path / 'data'}" in caught.value.message
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(IOManagerError, match="no file"):
        steps.rows(target(), [FIRST])


def test_a_file_in_place_of_the_root_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("x")
    with pytest.raises(IOManagerError, match="is a file"):
        Steps(ParquetIOManager(tmp_path / "lake")).stage(target(), [FIRST], table(n=[1]))


@pytest.mark.parametrize("root", ["", "file://lake", "s3://", "://bucket"])
def test_what_names_no_place_is_refused(root: str) -> None:
    with pytest.raises(DefinitionError, match=r"names no (folder|bucket)"):
        ParquetIOManager(root)


def test_a_folder_takes_no_options_of_a_store() -> None:
    with pytest.raises(DefinitionError, match="it is a folder"):
        ParquetIOManager("lake", storage_options={"region": "eu-central-1"})


def test_the_url_of_a_folder_is_that_folder(tmp_path: Path) -> None:
    assert ParquetIOManager(f"{tmp_path.as_uri()}/my%20lake/").root == f"{tmp_path}/my lake"


def test_what_files_cant_keep_is_refused_with_a_way_out(steps: Steps) -> None:
    reason = steps.manager.supports(target(Merge(keys=["id"])))
    assert reason is not None
    assert "DuckDBIOManager" in reason
    assert steps.manager.supports(MERGE) is None
    assert steps.manager.supports(target(Append())) is None
    assert steps.manager.supports(whole(Append())) is not None


def test_a_merge_keeps_types_that_duckdb_does_not_have(steps: Steps) -> None:
    kind = pa.timestamp("ns", "Europe/Berlin")
    first = pa.table({"id": [1, 2], "at": pa.array([1, 2], pa.int64()).cast(kind)})
    second = pa.table({"id": [2], "at": pa.array([3], pa.int64()).cast(kind)})
    answers = [steps.write(MERGE, UNPARTITIONED, rows) for rows in (first, second)]
    assert answers[0].receipts[0].data_version != answers[1].receipts[0].data_version
    found = steps.manager.read(ReadRequest(MERGE, UNPARTITIONED)).read_all()
    assert found.schema.field("at").type == kind
    assert found.column("at").cast(pa.int64()).to_pylist() == [1, 3]


def test_a_merge_of_many_rows_reads_the_old_file_in_pieces(steps: Steps) -> None:
    steps.write(MERGE, UNPARTITIONED, table(id=range(300_000), v=[0] * 300_000))
    steps.write(MERGE, UNPARTITIONED, table(id=range(250_000, 310_000), v=[1] * 60_000))
    found = steps.manager.read(ReadRequest(MERGE, UNPARTITIONED)).read_all()
    assert found.num_rows == 310_000
    assert sum(found.column("v").to_pylist()) == 60_000


def test_a_step_with_one_fenced_partition_publishes_none(steps: Steps) -> None:
    where = target(by="day")
    late = steps.stage(where, [FIRST, SECOND], table(day=[date(2025, 1, 31)], n=[1]))
    steps.write(where, [SECOND], table(day=[date(2025, 2, 1)], n=[2]))
    (answer,) = steps.manager.publish([late])
    assert isinstance(answer, PublishFailed)
    assert answer.fenced
    assert steps.manager.lost(where, recorded([FIRST], {FIRST.id: "x"})) == {FIRST.id}


def test_a_lost_stage_fails_only_its_own_step(steps: Steps, lake: Path) -> None:
    staged = [steps.stage(target(), [one], table(n=[1])) for one in (FIRST, SECOND)]
    for path in (lake / ".partita" / "token-1").iterdir():
        path.unlink()
    answers = steps.manager.publish(staged)
    assert isinstance(answers[0], PublishFailed)
    assert "can't be written" in answers[0].message
    assert isinstance(answers[1], Published)


def test_a_read_only_root_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        root = "/proc/lake"  # a place where nobody can make a folder
    else:
        (tmp_path / "closed").mkdir(mode=0o555)
        root = str(tmp_path / "closed" / "lake")
    with pytest.raises(IOManagerError, match=f"{root} can't be written"):
        Steps(ParquetIOManager(root)).stage(target(), [FIRST], table(n=[1]))


def test_removing_an_asset_leaves_nothing_of_it(steps: Steps, lake: Path) -> None:
    for one in (FIRST, SECOND):
        steps.write(target(), [one], table(n=[1]))
    state = recorded((FIRST, SECOND), {FIRST.id: "token-1", SECOND.id: "token-2"})
    assert steps.manager.lost(target(), state) == frozenset()
    assert (lake / ".partita" / "checked" / "orders").exists()
    steps.manager.remove(target())
    assert _files(lake) == []
    assert not (lake / "orders").exists()


def test_an_asset_in_whose_folder_somebody_keeps_a_file_is_not_removed(
    steps: Steps, lake: Path
) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    note = lake / "orders" / "day=2025-01-31" / "notes.txt"
    note.write_text("mine")
    with pytest.raises(IOManagerError, match=r"notes\.txt is not a file of orders"):
        steps.manager.remove(target())
    note.unlink()
    foreign = lake / "orders" / "data.parquet"
    pq.write_table(table(n=[1]), foreign)
    with pytest.raises(IOManagerError, match="was not written by Partita"):
        steps.manager.remove(target())
    assert steps.rows(target(), [FIRST]) == [{"n": 1}]
    foreign.unlink()
    steps.manager.remove(target())
    assert _files(lake) == []


def test_an_asset_whose_folder_is_another_asset_s_or_a_link_is_not_removed(
    steps: Steps, lake: Path
) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    # What a file system that takes two names for one would show.
    (lake / "Orders").symlink_to(lake / "orders")
    with pytest.raises(IOManagerError, match="not a folder that Partita made"):
        steps.manager.remove(target(asset="Orders"))
    (lake / "Orders").unlink()
    (lake / "orders").rename(lake / "Orders")
    with pytest.raises(IOManagerError, match="is not a file of Orders"):
        steps.manager.remove(target(asset="Orders"))
    assert _files(lake) == ["Orders/day=2025-01-31/data.parquet"]


def test_what_a_killed_removal_left_is_swept_away(steps: Steps, lake: Path) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    aside = lake / ".partita" / "process-999999999-removed-x"
    aside.mkdir(parents=True)
    (lake / "orders").rename(aside / "rows")
    with pytest.raises(IOManagerError, match="is not there"):
        steps.rows(target(), [FIRST])
    steps.manager.remove(target())
    assert _files(lake) == []


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("s3://b/p", "obstore.store", "s3"),
        ("gs://b/p", "obstore.store", "gcs"),
        ("az://b/p", "obstore.store", "azure"),
        ("memory://b/p", "fsspec.core", "fsspec"),
    ],
)
def test_a_missing_package_is_told_with_what_to_type(
    monkeypatch: pytest.MonkeyPatch, url: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(IOManagerError, match=f"{url} needs") as error:
        ParquetIOManager(url).holdings(target())
    assert f"pip install 'partita[{extra}]'" in (error.value.hint or "")


def test_a_url_that_nobody_knows_is_refused() -> None:
    with pytest.raises(IOManagerError, match="Protocol not known: nowhere"):
        ParquetIOManager("nowhere://b/p").holdings(target())
