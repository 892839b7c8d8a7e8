from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest

from assets_core.model.errors import DataError, DefinitionError, IOManagerError
from assets_core.model.io_manager import Published, PublishFailed, ReadRequest, Recorded
from assets_core.model.specs import Append, Merge, Replace
from io_managers import DuckDBIOManager, duckdb_kept, duckdb_writes
from tests.conformance.io_manager_suite import (
    UNPARTITIONED,
    Steps,
    days,
    recorded,
    table,
    target,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST, SECOND = days("2025-01-31", 2)


def _ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path)) as connection:
        return connection.execute(sql).fetchall()


class _Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.naps = 0

    def sleep(self, seconds: float) -> None:
        self.naps += 1
        self.seconds += seconds

    def now(self) -> float:
        return self.seconds


@pytest.fixture
def stranger(steps: Steps, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another program that has the file open."""
    steps.write(target(), [FIRST], table(id=[1]))
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        yield other
        other.kill()


def test_a_stranger_is_waited_for_and_then_named(
    path: Path, stranger: subprocess.Popen[str]
) -> None:
    clock = _Clock()
    manager = DuckDBIOManager(
        path, wait_limit=timedelta(seconds=5), sleep=clock.sleep, clock=clock.now
    )
    with pytest.raises(IOManagerError) as caught:
        manager.read(ReadRequest(target(), (FIRST,)))
    assert f"PID {stranger.pid}" in caught.value.message
    assert "python" in caught.value.message
    assert "5 s" in caught.value.message
    assert 5 <= clock.seconds <= 7
    assert clock.naps > 3
    staged = Steps(manager).stage(target(), [FIRST], table(id=[2]))
    (answer,) = manager.publish([staged])
    assert isinstance(answer, PublishFailed)
    assert f"PID {stranger.pid}" in answer.message


def test_a_stranger_who_closes_in_time_is_no_error(
    path: Path, stranger: subprocess.Popen[str]
) -> None:
    def leave(_: float) -> None:
        stranger.kill()
        stranger.wait()

    steps = Steps(DuckDBIOManager(path, sleep=leave))
    steps.epoch = 1
    steps.write(target(), [FIRST], table(id=[2]))
    assert steps.rows(target(), [FIRST]) == [{"id": 2}]


def test_a_connection_in_the_same_process_is_an_error_at_once(steps: Steps, path: Path) -> None:
    steps.write(target(), [FIRST], table(id=[1]))
    with (
        duckdb.connect(str(path)),
        pytest.raises(IOManagerError, match="open in this very process"),
    ):
        steps.rows(target(), [FIRST])
    assert steps.rows(target(), [FIRST]) == [{"id": 1}]


def test_the_file_is_closed_after_every_call(steps: Steps, path: Path) -> None:
    for i in range(3):
        steps.write(target(), [FIRST], table(id=range(1000 * i)))
        steps.rows(target(), [FIRST])
        assert not Path(f"{path}.wal").exists()
        descriptors = Path("/proc/self/fd")
        if descriptors.is_dir():
            open_files = [os.path.realpath(entry) for entry in descriptors.iterdir()]
            assert not [name for name in open_files if str(path) in name]


def test_a_failed_transaction_leaves_the_file_closed_and_unchanged(
    steps: Steps, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.write(target(), [FIRST], table(id=[1]))
    staged = steps.stage(target(), [FIRST], table(id=[2]))

    def break_down(*_: object) -> None:
        raise duckdb.InternalException("out of luck")

    with monkeypatch.context() as patch:
        patch.setattr("io_managers.duckdb_writes.save_commits", break_down)
        (answer,) = steps.manager.publish([staged])
    assert isinstance(answer, PublishFailed)
    assert "out of luck" in answer.message
    assert _ask(path, "select id from orders") == [(1,)]


def test_a_group_that_duckdb_refuses_is_tried_one_by_one(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = days("2025-01-01", 3)
    staged = [steps.stage(target(), [one], table(id=[i])) for i, one in enumerate(parts)]
    write_group = duckdb_writes.write_group

    def refuse_second(bench, connection, members, path):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        if any(member.request.slices[0] == parts[1] for member in members):
            raise duckdb.OutOfMemoryException("no room\nfor details")
        return write_group(bench, connection, members, path)

    monkeypatch.setattr(duckdb_writes, "write_group", refuse_second)
    answers = steps.manager.publish(staged)
    assert [isinstance(answer, Published) for answer in answers] == [True, False, True]
    refused = answers[1]
    assert isinstance(refused, PublishFailed)
    assert refused.message.endswith("orders can't be written: no room")


def test_a_foreign_table_is_not_overwritten(steps: Steps, path: Path) -> None:
    _ask(path, "create table Orders (id int)")
    answer = steps.fail(target(), [FIRST], table(id=[1]))
    assert "'Orders' that Partita did not make" in str(answer)
    _ask(path, "create view seen as select 1")
    answer = steps.fail(whole(asset="seen"), UNPARTITIONED, table(id=[1]))
    assert "'seen' that Partita did not make" in str(answer)
    assert _ask(path, "select * from orders") == []


def test_assets_that_differ_by_case_are_not_one_table(steps: Steps) -> None:
    steps.write(target(), [FIRST], table(id=[1]))
    answer = steps.fail(target(asset="ORDERS"), [FIRST], table(id=[2]))
    assert "asset 'orders'" in str(answer)
    assert steps.rows(target(), [FIRST]) == [{"id": 1}]


def test_other_assets_of_a_group_are_published_beside_a_refused_one(
    steps: Steps, path: Path
) -> None:
    _ask(path, "create table theirs (id int)")
    staged = [
        steps.stage(target(asset=name), [FIRST], table(id=[1])) for name in ("a", "theirs", "b")
    ]
    answers = steps.manager.publish(staged)
    assert [isinstance(answer, Published) for answer in answers] == [True, False, True]


def test_partition_by_set_later_still_replaces_what_was_loaded_before(steps: Steps) -> None:
    lost_day = date(2020, 1, 1)
    steps.write(target(), [FIRST], table(day=[lost_day, date(2025, 1, 31)], n=[1, 2]))
    steps.write(target(), [SECOND], table(day=[date(2025, 2, 1)], n=[3]))
    by = target(by="day")
    steps.write(by, [FIRST], table(day=[date(2025, 1, 31)], n=[4]))
    assert [r["n"] for r in steps.rows(by, [FIRST, SECOND])] == [4, 3]
    steps.write(by, [SECOND], table(day=[date(2025, 2, 1)], n=[5]))
    assert [r["n"] for r in steps.rows(by, [FIRST, SECOND])] == [4, 5]


def test_partition_by_taken_away_is_refused(steps: Steps) -> None:
    steps.write(target(by="day"), [FIRST], table(day=[date(2025, 1, 31)]))
    answer = steps.fail(target(), [FIRST], table(day=[date(2025, 1, 31)]))
    assert "without a _partition column" in str(answer)


def test_a_dropped_table_is_lost_and_its_other_partitions_stay_lost(
    steps: Steps, path: Path
) -> None:
    tokens = {}
    for one in (FIRST, SECOND):
        steps.write(target(), [one], table(id=[1]))
        tokens[one.id] = f"token-{steps.epoch}"
    state = recorded([FIRST, SECOND], tokens)
    assert steps.manager.lost(target(), state) == frozenset()
    _ask(path, "drop table orders")
    assert steps.manager.lost(target(), state) == {FIRST.id, SECOND.id}
    steps.write(target(), [FIRST], table(id=[1]))
    now = recorded([FIRST, SECOND], {**tokens, FIRST.id: f"token-{steps.epoch}"})
    assert steps.manager.lost(target(), now) == {SECOND.id}
    with pytest.raises(IOManagerError, match="2025-02-01"):
        steps.rows(target(), [SECOND])


def test_lost_is_one_look_at_the_file_once_it_was_compared(steps: Steps, path: Path) -> None:
    def never() -> dict[int, str]:
        raise AssertionError("the tokens were compared again")

    steps.write(target(), [FIRST], table(id=[1]))
    state = recorded([FIRST], {FIRST.id: f"token-{steps.epoch}"})
    assert steps.manager.lost(target(), state) == frozenset()
    noted = Recorded(state.count, state.ids, state.slices, never, state.basis)
    assert steps.manager.lost(target(), noted) == frozenset()
    steps.write(target(asset="other"), [FIRST], table(id=[1]))
    assert steps.manager.lost(target(), noted) == frozenset()
    with pytest.raises(AssertionError, match="compared again"):
        steps.manager.lost(target(asset="other"), noted)
    _ask(path, "create table theirs as select 1 as x")
    with pytest.raises(AssertionError, match="compared again"):
        steps.manager.lost(target(), noted)
    assert steps.manager.lost(target(), state) == frozenset()
    assert steps.manager.lost(target(), noted) == frozenset()


def test_lost_compares_again_when_the_state_believes_something_else(steps: Steps) -> None:
    steps.write(target(), [FIRST], table(id=[1]))
    tokens = {FIRST.id: f"token-{steps.epoch}"}
    looks: list[str] = []

    def look(basis: str) -> list[str]:
        def told() -> dict[int, str]:
            looks.append(basis)
            return tokens

        state = recorded([FIRST], tokens, basis)
        asked = Recorded(state.count, state.ids, state.slices, told, basis)
        assert steps.manager.lost(target(), asked) == frozenset()
        return looks

    assert look("a") == ["a"]
    assert look("a") == ["a"]
    assert look("b") == ["a", "b"]
    assert look("a") == ["a", "b", "a"]
    steps.write(target(), [SECOND], table(id=[2]))
    assert look("a") == ["a", "b", "a", "a"], (
        "a publish vouches for nothing, not even its own rows"
    )


def test_a_write_after_a_strangers_write_does_not_vouch_for_other_assets(
    steps: Steps, path: Path
) -> None:
    steps.write(target(), [FIRST], table(id=[1]))
    state = recorded([FIRST], {FIRST.id: f"token-{steps.epoch}"})
    assert steps.manager.lost(target(), state) == frozenset()
    _ask(path, "drop table orders")
    steps.write(target(asset="other"), [FIRST], table(id=[1]))
    assert steps.manager.lost(target(), state) == {FIRST.id}


def test_another_token_is_a_loss(steps: Steps) -> None:
    steps.write(target(), [FIRST], table(id=[1]))
    assert steps.manager.lost(target(), recorded([FIRST], {FIRST.id: "older"})) == {FIRST.id}


def test_a_look_loads_nothing_that_reads_or_writes(steps: Steps, path: Path) -> None:
    steps.write(target(), [FIRST], table(id=[1]))
    steps.rows(target(), [FIRST])  # so that the manager has seen the file when it is pickled
    tokens = {FIRST.id: f"token-{steps.epoch}"}
    assert steps.manager.lost(target(), recorded([FIRST], tokens, "state 1")) == frozenset()
    code = f"""
import pickle, sys
from assets_core.model.io_manager import Recorded, Target
from assets_core.model.specs import Replace
manager = pickle.loads({pickle.dumps(steps.manager)!r})
target = Target("orders", Replace(), True)
assert manager.lost(target, Recorded(1, tuple, tuple, dict, "state 1")) == frozenset()
assert manager.supports(target) is None
assert manager.destination() in manager.location(target)
ours = {{name for name in sys.modules if name.split(".")[0] == "io_managers"}}
heavy = {{"duckdb", "numpy", "pyarrow", "pandas", "polars", "shutil", "tempfile"}} & set(sys.modules)
print(*sorted(ours), *heavy)
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.stderr == ""
    assert found.stdout.split() == [
        "io_managers",
        "io_managers.duckdb_file",
        "io_managers.duckdb_tables",
        "io_managers.refusals",
        "io_managers.workbench",
    ]


def _damage(path: Path) -> None:
    """Turn bytes of every data block over; the headers at the start stay whole."""
    content = bytearray(path.read_bytes())
    for i in range(3 * 4096, len(content), 512):
        content[i] ^= 255
    path.write_bytes(content)


def test_a_damaged_file_is_named_by_whatever_reads_it(steps: Steps, path: Path) -> None:
    request = steps.request(target(), [FIRST])
    rows = table(id=range(200_000), text=[f"value {i * 7919 % 200_003}" for i in range(200_000)])
    steps.manager.publish([steps.manager.stage(request, rows.to_reader())])
    _damage(path)
    state = recorded([FIRST], {FIRST.id: request.token})
    fresh = DuckDBIOManager(path)
    for act in (
        lambda: fresh.read(ReadRequest(target(), (FIRST,))).read_all(),
        lambda: fresh.published(request),
        lambda: fresh.lost(target(), state),
    ):
        with pytest.raises(IOManagerError) as caught:
            act()
        assert str(path) in caught.value.message
        assert len(caught.value.message) > len(str(path)) + 20, "the cause is told as well"


@pytest.mark.parametrize(
    "fault",
    [
        duckdb.IOException("bad block\nstack"),
        OSError(5, "bad block"),
        pa.ArrowInvalid("bad block"),
    ],
)
def test_a_fault_in_the_middle_of_the_rows_is_told_with_the_table(
    steps: Steps, path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    steps.write(target(), [FIRST], table(id=[1]))

    def broken(*_: object) -> Iterator[pa.RecordBatchReader]:
        def batches() -> Iterator[pa.RecordBatch]:
            yield pa.record_batch({"id": [1]})
            raise fault

        yield pa.RecordBatchReader.from_batches(pa.schema({"id": pa.int64()}), batches())

    with monkeypatch.context() as patch:
        patch.setattr("io_managers.duckdb_rows.rows_of", broken)
        with pytest.raises(IOManagerError) as caught:
            steps.rows(target(), [FIRST])
    assert caught.value.message == f"{path}: orders can't be read: bad block"
    assert steps.rows(target(), [FIRST]) == [{"id": 1}]


def test_a_fault_in_rows_that_were_kept_is_told_late(
    steps: Steps, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duckdb_kept, "SPILL_BYTES", 1000)
    steps.write(target(), [FIRST], table(id=range(300_000)))
    original = Path.unlink

    def cut_short(self: Path, *args: bool) -> None:
        os.truncate(self, 1_500_000)
        original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", cut_short)
        stream = steps.manager.read(ReadRequest(target(), (FIRST,)))
    with pytest.raises(IOManagerError, match=r"\.stage.*can't be read: "):
        stream.read_all()


def test_a_big_read_leaves_nothing_when_its_process_ends(steps: Steps, path: Path) -> None:
    steps.write(target(), [FIRST], table(id=range(500_000)))
    code = f"""
import pickle
from io_managers import duckdb_kept
duckdb_kept.SPILL_BYTES = 1000
stream = pickle.loads({pickle.dumps(steps.manager)!r}).read(pickle.loads({pickle.dumps(ReadRequest(target(), (FIRST,)))!r}))
assert stream.read_all().num_rows == 500_000
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert list(Path(f"{path}.stage").iterdir()) == []


@pytest.mark.parametrize("path_text", [":memory:", ""])
def test_a_database_that_is_forgotten_is_refused(path_text: str) -> None:
    with pytest.raises(DefinitionError, match="outlive"):
        DuckDBIOManager(path_text)


def test_reading_what_was_never_written_says_so(steps: Steps, path: Path) -> None:
    with pytest.raises(IOManagerError, match="there is no database file"):
        steps.rows(target(), [FIRST])
    assert list(path.parent.iterdir()) == []
    _ask(path, "create table x (y int)")
    with pytest.raises(IOManagerError, match="orders partition 2025-01-31 is not in"):
        steps.rows(target(), [FIRST])
    assert steps.manager.published(steps.request(target(), [FIRST])) == ()
    assert steps.manager.lost(target(), recorded([FIRST], {FIRST.id: "t"})) == {FIRST.id}


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    steps = Steps(DuckDBIOManager(tmp_path / "data" / "shop.duckdb"))
    answer = steps.fail(target(), [FIRST], table(id=[1]))
    assert isinstance(answer, PublishFailed)
    assert f"there is no folder {tmp_path / 'data'}" in answer.message
    assert "mkdir -p" in (answer.hint or "")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    steps = Steps(DuckDBIOManager(tmp_path))
    answer = steps.fail(target(), [FIRST], table(id=[1]))
    assert "is a folder, not a DuckDB database file" in str(answer)
    with pytest.raises(IOManagerError, match="is a folder"):
        steps.rows(target(), [FIRST])


def test_a_file_that_is_no_database_stays_as_it_is(steps: Steps, path: Path) -> None:
    path.write_text("my notes\n" * 1000)
    answer = steps.fail(target(), [FIRST], table(id=[1]))
    assert "is not a DuckDB database file" in str(answer)
    assert path.read_text() == "my notes\n" * 1000


def test_a_damaged_header_is_told_with_what_to_do_about_it(steps: Steps, path: Path) -> None:
    steps.write(target(), [FIRST], table(id=[1]))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(IOManagerError, match="can't be opened: Corrupt database file") as found:
        steps.rows(target(), [FIRST])
    assert found.value.hint == (
        f"if it is damaged, move it away: mv {path} {path}.damaged; then partita materialize makes what it held again"
    )
    path.rename(f"{path}.damaged")
    steps.write(target(), [FIRST], table(id=[1]))
    assert steps.rows(target(), [FIRST]) == [{"id": 1}]


def test_an_empty_file_becomes_the_database(steps: Steps, path: Path) -> None:
    path.touch()
    steps.write(target(), [FIRST], table(id=[1]))
    assert steps.rows(target(), [FIRST]) == [{"id": 1}]


def test_the_log_of_a_deleted_database_is_not_replayed(steps: Steps, path: Path) -> None:
    Path(f"{path}.wal").write_bytes(b"of another database")
    steps.write(target(), [FIRST], table(id=[1]))
    assert steps.rows(target(), [FIRST]) == [{"id": 1}]


def test_a_read_only_folder_can_be_read_and_refuses_writes() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "place", "shop.duckdb")
        path.parent.mkdir()
        steps = Steps(DuckDBIOManager(path))
        steps.write(target(), [FIRST], table(id=[1]))
        Path(folder).chmod(0o755)
        path.parent.chmod(0o555)
        path.chmod(0o444)
        Path(f"{path}.lock").chmod(0o444)
        with _as_nobody():
            assert steps.rows(target(), [FIRST]) == [{"id": 1}]
            answer = steps.fail(target(), [FIRST], table(id=[2]))
            assert "Permission denied" in str(answer)
            unwritten = Steps(DuckDBIOManager(path.parent / "other.duckdb"))
            assert "Permission denied" in str(unwritten.fail(target(), [FIRST], table(id=[2])))
        path.parent.chmod(0o755)
        assert stat.S_IMODE(path.stat().st_mode) == 0o444


class _as_nobody:  # noqa: N801 - reads as a phrase
    """Without root's rights, which no permission stops."""

    def __enter__(self) -> None:
        self._root = os.geteuid() == 0
        if self._root:
            os.seteuid(65534)

    def __exit__(self, *_: object) -> None:
        if self._root:
            os.seteuid(0)


def test_a_big_read_waits_in_a_file_without_a_name(
    steps: Steps, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duckdb_kept, "SPILL_BYTES", 100_000)
    parts = days("2025-01-01", 3)
    for i, one in enumerate(parts):
        steps.write(target(), [one], table(id=range(100_000 * i, 100_000 * (i + 1))))
    stream = steps.manager.read(ReadRequest(target(), parts))
    assert list(Path(f"{path}.stage").iterdir()) == []
    steps.write(target(), parts[:1], table(id=[-1]))
    assert stream.read_all().column("id").to_pylist() == list(range(300_000))


def test_a_read_that_breaks_off_leaves_the_file_closed(
    steps: Steps, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.write(target(), [FIRST], table(id=range(500_000)))

    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(duckdb_kept, "SPILL_BYTES", 1000)
        patch.setattr(duckdb_kept, "_spilled", break_off)
        with pytest.raises(KeyboardInterrupt):
            steps.manager.read(ReadRequest(target(), (FIRST,)))
    steps.write(target(), [FIRST], table(id=[1]))
    assert steps.rows(target(), [FIRST]) == [{"id": 1}]
    assert _ask(path, "select count(*) from orders") == [(1,)]


def test_leftovers_of_dead_processes_are_swept(steps: Steps, path: Path) -> None:
    stage = Path(f"{path}.stage")
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    for name in (f"process-{dead.pid}", f"process-{os.getpid()}", "some-token"):
        (stage / name).mkdir(parents=True)
        (stage / name / "file").touch()
    (stage / f"process-{dead.pid}-x.arrow").touch()
    steps.manager.discard_leftovers("some-token", target())
    assert [entry.name for entry in stage.iterdir()] == [f"process-{os.getpid()}"]


@pytest.mark.parametrize(
    "column",
    [pa.array([1.5], pa.float16()), pa.array([1], pa.decimal256(50, 2))],
    ids=["float16", "decimal256"],
)
def test_types_that_duckdb_does_not_have_are_named(steps: Steps, column: pa.Array) -> None:
    with pytest.raises(DataError, match=r"column 'v' is .*, which DuckDB does not store"):
        steps.stage(target(), [FIRST], pa.table({"v": column}))


def test_nanoseconds_are_not_cut_off_silently(steps: Steps) -> None:
    kind = pa.timestamp("ns", "UTC")
    fine = pa.table({"at": pa.array([1_000_000_001], pa.int64()).cast(kind)})
    with pytest.raises(DataError, match="'at' has nanoseconds"):
        steps.stage(target(), [FIRST], fine)
    steps.write(
        target(), [FIRST], pa.table({"at": pa.array([2_000_000_000], pa.int64()).cast(kind)})
    )
    assert steps.rows(target(), [FIRST]) == [{"at": datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)}]


def test_a_thousand_windows_that_dont_touch_are_read_and_replaced(steps: Steps) -> None:
    where, parts = target(by="day"), days("2022-01-01", 1000)
    on = [date(2022, 1, 1) + timedelta(days=i) for i in range(1000)]
    steps.write(where, parts, table(day=on, n=range(1000)))
    assert [r["n"] for r in steps.rows(where, parts[::2])] == list(range(0, 1000, 2))
    steps.write(where, parts[::2], pa.table({"day": pa.array([], pa.date32())}))
    assert [r["n"] for r in steps.rows(where, parts)] == list(range(1, 1000, 2))


def test_tables_are_plain_to_anybody_else(steps: Steps, path: Path) -> None:
    steps.write(target(by="day"), [FIRST], table(day=[date(2025, 1, 31)], n=[1]))
    steps.write(target(asset="loads"), [FIRST], table(n=[2]))
    steps.write(target(Append(), asset="log"), [FIRST], table(n=[3]))
    assert _ask(path, "select * from orders") == [(date(2025, 1, 31), 1)]
    assert _ask(path, "select _partition, n from loads") == [("2025-01-31", 2)]
    assert _ask(path, "select count(*) from duckdb_indexes()") == [(0,)]
    commits = _ask(path, "select asset, key, epoch, token, rows from _partita_commits order by 1")
    assert commits == [
        ("loads", "2025-01-31", 2, "token-2", 1),
        ("log", "2025-01-31", 3, "token-3", 1),
        ("orders", "2025-01-31", 1, "token-1", 1),
    ]


def test_partita_names_are_not_asset_names(steps: Steps) -> None:
    for name in ("_partita_commits", "_PARTITA_x", "", "a\0b"):
        assert steps.manager.supports(target(asset=name)) is not None
    assert steps.manager.supports(target(Merge(keys=["id"]))) is None
    assert steps.manager.supports(target(Replace())) is None


def test_a_manager_pickles_and_forgets_its_connection(steps: Steps) -> None:
    steps.write(target(), [FIRST], table(id=[1]))
    copy = pickle.loads(pickle.dumps(steps.manager))  # noqa: S301 - our own bytes
    assert copy._bench._connection is None
    assert Steps(copy).rows(target(), [FIRST]) == [{"id": 1}]


def test_a_deleted_lock_file_is_made_again(steps: Steps, path: Path) -> None:
    steps.write(target(), [FIRST], table(id=[1]))
    Path(f"{path}.lock").unlink()
    assert steps.rows(target(), [FIRST]) == [{"id": 1}]
    steps.write(target(), [FIRST], table(id=[2]))
    assert steps.rows(target(), [FIRST]) == [{"id": 2}]


def test_removing_an_asset_drops_its_table_and_its_commits(steps: Steps, path: Path) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    steps.write(target(asset="other"), [FIRST], table(n=[1]))
    steps.manager.remove(target())
    assert _ask(path, "select distinct asset from _partita_commits") == [("other",)]
    assert _ask(path, "select asset from _partita_tables") == [("other",)]
    names = "select table_name from duckdb_tables() where table_name not like '\\_%' escape '\\'"
    assert _ask(path, names) == [("other",)]


@pytest.mark.parametrize(
    "made", ["create table orders (mine int)", "create view orders as select 1 as mine"]
)
def test_removing_leaves_what_we_did_not_make(steps: Steps, path: Path, made: str) -> None:
    _ask(path, made)
    steps.manager.remove(target())
    assert _ask(path, "select count(mine) from orders")
    steps.write(target(asset="other"), [FIRST], table(n=[1]))
    steps.manager.remove(target())
    assert _ask(path, "select count(mine) from orders")


def test_removing_forgets_a_table_that_somebody_dropped(steps: Steps, path: Path) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    _ask(path, "drop table orders")
    _ask(path, "create view orders as select 1 as mine")
    steps.manager.remove(target())
    assert _ask(path, "select mine from orders") == [(1,)]
    assert _ask(path, "select asset from _partita_commits") == []


def test_an_asset_that_differs_by_case_does_not_remove_the_other(steps: Steps) -> None:
    steps.write(target(), [FIRST], table(n=[1]))
    steps.manager.remove(target(asset="Orders"))
    assert steps.rows(target(), [FIRST]) == [{"n": 1}]


def _damage_rows(path: Path) -> None:
    """Turn a byte over in every block that holds rows of `orders`; what the file says of its tables stays whole."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{path}' as shop (read_only)")
        connection.execute("use shop")
        found = connection.execute(
            "select distinct block_id from pragma_storage_info('orders') where block_id >= 0"
        ).fetchall()
    content = bytearray(path.read_bytes())
    for (block,) in found:
        content[3 * 4096 + block * 2**18 + 5000] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize("write", [Replace(), Merge(keys=["id"])])
def test_writing_to_a_damaged_table_tells_of_the_damage_and_not_of_what_followed(
    steps: Steps, path: Path, write: Replace | Merge
) -> None:
    where = target(write)
    names = [f"n{one * 7919 % 100_003}" for one in range(100_000)]
    steps.write(where, [FIRST], table(id=range(100_000), name=names))
    _damage_rows(path)
    staged = steps.stage(where, [FIRST], table(id=range(100_000), name=names[::-1]))
    (answer,) = steps.manager.publish([staged])
    assert isinstance(answer, PublishFailed)
    assert "aborted" not in answer.message
    assert "checksum" in answer.message.lower()
    # The manager is as good as new for what is not damaged.
    other = target(write, asset="other")
    assert isinstance(steps.write(other, [FIRST], table(id=[1], name=["a"])), Published)
