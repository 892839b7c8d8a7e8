"""What is SQLite's own in the state store: the file, who may open it, and its failures in the user's words."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets_core.model.errors import StoreError
from assets_core.model.io_manager import WriteReceipt
from assets_core.model.records import (
    AssetVersions,
    RecordedVersion,
    RunKind,
    RunRecord,
    RunStatus,
    StepClaim,
    StepSucceeded,
    VersionPart,
    VersionParts,
)
from assets_core.state import (
    schema,
    sql_checks,
    sql_chunks,
    sql_log,
    sql_pools,
    sql_runs,
    sql_steps,
    sql_verify,
)
from assets_core.state.sql_rows import (
    count_ids,
    ids_from_text,
    ids_to_text,
    instant_to_int,
    int_to_instant,
)
from assets_core.state.sqlite import SqliteStore
from assets_core.state.sqlite_looking import Looking

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2025, 3, 1, tzinfo=UTC)
ORDERS = AssetVersions("orders", "day|UTC|+00:00", "code", "deps")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".partita" / "state.db"


def run_record(run_id: str = "run-1") -> RunRecord:
    return RunRecord(run_id, RunKind.MATERIALIZE, "*", "", "{}", RunStatus.RUNNING, NOW)


def materialize(store: SqliteStore, run_id: str, partition_id: int) -> None:
    store.start_run(run_record(run_id))
    ids = store.register([ORDERS])["orders"]
    claim = StepClaim("orders", (partition_id,), f"token-{run_id}", ids.code_id, ids.deps_id)
    step = store.claim(run_id, [claim], NOW)[0]
    receipt = WriteReceipt(partition_id, 1, 1, "v", "s")
    store.record([StepSucceeded(step.step_id, step.epoch, (receipt,))], NOW)


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


class TestTheFile:
    def test_it_is_created_with_its_folder_by_the_first_write(self, path: Path) -> None:
        with SqliteStore(path) as store:
            assert not path.parent.exists()
            store.intern_keys({"static": ["eu"]})
            assert path.exists()
        with SqliteStore(str(path)) as again:
            assert again.key_ids() == {"static": {"eu": 1}}

    def test_reading_a_store_that_is_not_there_creates_nothing(self, path: Path) -> None:
        with SqliteStore(path) as store:
            assert store.key_ids() == {}
            assert store.intern_keys({}) == {}
            assert store.snapshot([ORDERS]).seq == 0
            assert store.runs() == []
            assert not path.parent.exists()
            store.start_run(run_record())
            assert [run.id for run in store.runs()] == ["run-1"]

    def test_a_reader_that_came_first_sees_what_another_process_creates(self, path: Path) -> None:
        with SqliteStore(path) as reader, SqliteStore(path) as writer:
            assert reader.runs() == []
            writer.start_run(run_record())
            assert [run.id for run in reader.runs()] == ["run-1"]

    def test_an_empty_file_left_by_a_crash_becomes_a_store(self, path: Path) -> None:
        path.parent.mkdir()
        path.touch()
        with SqliteStore(path) as store:
            assert store.runs() == []
            store.start_run(run_record())

    def test_it_is_durable_and_checked(self, path: Path) -> None:
        with SqliteStore(path) as store:
            store.start_run(run_record())
            connection = store._database._connection
            assert connection is not None
            assert connection.pragma("journal_mode") == "wal"
            assert connection.pragma("synchronous") == 2
            assert connection.pragma("foreign_keys") == 1
            assert connection.pragma("application_id") == schema.APPLICATION_ID
            tables = connection.execute("select name, strict from pragma_table_list").fetchall()
            assert {strict for name, strict in tables if not str(name).startswith("sqlite_")} == {
                1
            }

    def test_a_file_in_another_journal_mode_is_put_back_into_wal(self, path: Path) -> None:
        with SqliteStore(path) as store:
            store.start_run(run_record())
        stranger = apsw.Connection(str(path))
        assert stranger.pragma("journal_mode", "delete") == "delete"
        stranger.close()
        with SqliteStore(path) as store:
            assert len(store.runs()) == 1
            assert store._database._connection is not None
            assert store._database._connection.pragma("journal_mode") == "wal"

    def test_closing_leaves_one_file_and_its_lock(self, path: Path) -> None:
        with SqliteStore(path) as store:
            materialize(store, "run-1", 1)
        assert sorted(contents(path.parent)) == ["state.db", "state.db.lock"]

    def test_the_order_of_migrations_is_their_numbering(self) -> None:
        versions = [migration.version for migration in schema.MIGRATIONS]
        assert versions == list(range(1, schema.SCHEMA_VERSION + 1))
        assert len({migration.intent for migration in schema.MIGRATIONS}) == len(versions)

    def test_parts_that_versions_share_are_stored_once(self, path: Path) -> None:
        shared = [VersionPart(f"helper {n}", "function", str(n), "x" * 1000) for n in range(50)]
        with SqliteStore(path) as store:
            for number in range(20):
                own = VersionPart("orders", "function", f"own {number}", "y")
                parts = {"orders": VersionParts((own, *shared), (shared[0],))}
                store.register([replace(ORDERS, code_version=str(number))], parts)
            cursor = store._database._connection.cursor()
            assert cursor.execute("select count(*) from part").get == 70
            assert cursor.execute("select count(*) from version_part").get == 20 * 51 + 1
        assert path.stat().st_size < 300_000

    def test_a_file_from_before_parts_were_kept_gets_them_with_the_next_run(
        self, path: Path
    ) -> None:
        with SqliteStore(path) as store:
            materialize(store, "run-1", 1)
        older = apsw.Connection(str(path))
        older.execute("drop table pool_turn; drop index step_in_pool; drop index step_measured")
        older.execute("alter table step drop column pool; alter table step drop column seconds")
        older.execute(
            "drop table partition_check; alter table check_result drop column partition_id"
        )
        older.execute("drop table version_part; drop table part")
        older.execute("alter table partition_key drop column changed_seq")
        older.execute("update meta set value = '4' where name = 'schema_version'")
        older.close()
        part = VersionPart("orders", "function", "1", "y")
        with SqliteStore(path) as store:
            ids = store.register([ORDERS])["orders"]
            assert store.versions([ids.code_id])[ids.code_id] == RecordedVersion("code", ())
            store.register([ORDERS], {"orders": VersionParts((part,), (part,))})
            assert store.versions([ids.code_id])[ids.code_id].parts == (part,)
            assert store.verify() == []

    def test_making_a_store_loads_no_library_that_it_may_not_need(self) -> None:
        probe = (
            "import sys; from assets_core.state.sqlite import SqliteStore; SqliteStore('x/y');"
            "from assets_core.state.locks import FileLocks;"
            "print(sorted({'apsw', 'numpy', 'sqlite3', 'pendulum'} & set(sys.modules)))"
        )
        answer = subprocess.run(
            [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert answer.stdout.strip() == "[]"

    def test_the_second_sqlite_library_is_never_loaded(self) -> None:
        # Two SQLite libraries on one file in one process: closing one drops the other's locks.
        probe = (
            "import sys; from assets_core.state.sqlite import SqliteStore;"
            "store = SqliteStore(':memory:'); store.snapshot([]); print('sqlite3' in sys.modules)"
        )
        answer = subprocess.run(
            [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert answer.stdout.strip() == "False"


class TestFilesThatAreNotOurs:
    def refuse(self, path: Path, told: str, hint: str) -> None:
        before = contents(path.parent)
        for action in (SqliteStore.runs, lambda store: store.start_run(run_record())):
            with SqliteStore(path) as store, pytest.raises(StoreError, match=told) as caught:
                action(store)
            assert str(path) in caught.value.message
            assert caught.value.hint is not None
            assert hint in caught.value.hint
            assert pickle.loads(pickle.dumps(caught.value)).hint == caught.value.hint  # noqa: S301
        assert contents(path.parent) == before

    @pytest.mark.parametrize("size", [17, 700, 9000])
    def test_a_file_that_is_no_database_is_left_untouched(self, path: Path, size: int) -> None:
        path.parent.mkdir()
        path.write_bytes(b"this is no database "[:17].ljust(size, b"x"))
        self.refuse(path, "file is not a database", "It was left untouched. Restore it")

    def test_the_hint_quotes_a_path_for_the_shell(self, tmp_path: Path) -> None:
        path = tmp_path / "it's $(here)" / "state.db"
        path.parent.mkdir()
        path.write_bytes(b"x" * 700)
        with SqliteStore(path) as store, pytest.raises(StoreError) as caught:
            store.runs()
        assert caught.value.hint is not None
        words = subprocess.run(
            ["sh", "-c", "printf '%s|' " + caught.value.hint.split(": mv ")[1]],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("|")
        assert words[:2] == [str(path), f"{path}.damaged"]

    def test_a_database_of_another_program_is_left_untouched(self, path: Path) -> None:
        path.parent.mkdir()
        other = apsw.Connection(str(path))
        other.execute("create table theirs (a); insert into theirs values (1)")
        other.close()
        self.refuse(path, "is a database of another program", "Move it away")

    def test_a_database_marked_by_another_program_is_left_untouched(self, path: Path) -> None:
        path.parent.mkdir()
        other = apsw.Connection(str(path))
        other.pragma("application_id", 1)
        other.close()
        self.refuse(path, "is a database of another program", "Move it away")

    def test_a_newer_state_file_names_both_versions_and_is_left_untouched(
        self, path: Path
    ) -> None:
        with SqliteStore(path) as store:
            store.start_run(run_record())
        newer = apsw.Connection(str(path))
        newer.execute("update meta set value = '99' where name = 'schema_version'")
        newer.close()
        told = f"newer Partita: its schema version is 99, .* up to version {schema.SCHEMA_VERSION}"
        self.refuse(path, told, "pip install --upgrade partita")

    def test_a_folder_in_place_of_the_file_is_named(self, path: Path) -> None:
        path.mkdir(parents=True)
        with (
            SqliteStore(path) as store,
            pytest.raises(StoreError, match="unable to open") as caught,
        ):
            store.runs()
        assert caught.value.hint is not None
        assert f"{path} is a folder" in caught.value.hint

    def test_a_file_in_place_of_the_folder_is_named(self, path: Path) -> None:
        path.parent.write_text("not a folder")
        with (
            SqliteStore(path) as store,
            pytest.raises(StoreError, match="can't be used") as caught,
        ):
            store.start_run(run_record())
        assert caught.value.hint == f"{path.parent} is not a folder; move it away."

    def test_damage_inside_is_told_and_not_made_worse(self, path: Path) -> None:
        with SqliteStore(path) as store:
            for number in range(40):
                materialize(store, f"run-{number}", number)
        healthy = path.read_bytes()
        # All pages but the first: the header still says that it is ours.
        path.write_bytes(healthy[:4096] + b"\xa5" * (len(healthy) - 4096))
        damaged = path.read_bytes()
        with SqliteStore(path) as store:
            with pytest.raises(StoreError, match="is damaged: database disk image is malformed"):
                store.snapshot([ORDERS])
            with pytest.raises(StoreError, match="is damaged"):
                store.start_run(run_record("another"))
        assert path.read_bytes() == damaged

    def test_a_truncated_file_is_told(self, path: Path) -> None:
        with SqliteStore(path) as store:
            for number in range(40):
                materialize(store, f"run-{number}", number)
        path.write_bytes(path.read_bytes()[: 4096 * 3])
        with SqliteStore(path) as store, pytest.raises(StoreError, match="damaged"):
            store.snapshot([ORDERS])

    def test_a_file_that_is_removed_in_use_takes_no_more_commits(self, path: Path) -> None:
        with SqliteStore(path) as store:
            store.start_run(run_record("run-1"))
            path.unlink()
            with pytest.raises(StoreError, match="removed or replaced while it was in use"):
                store.start_run(run_record("run-2"))
            path.touch()
            with pytest.raises(StoreError, match="removed or replaced"):
                store.start_run(run_record("run-2"))

    def test_a_lock_file_that_is_removed_in_use_stops_the_writer(self, path: Path) -> None:
        with SqliteStore(path) as store:
            store.start_run(run_record("run-1"))
            path.with_name("state.db.lock").unlink()
            with pytest.raises(StoreError, match="removed or replaced"):
                store.start_run(run_record("run-2"))


class TestPlacesThatCannotBeWritten:
    """The tests may run as root, whom permissions don't stop: then the process that is watched becomes another user."""

    PROBE = """
import os, sys
import apsw, numpy
from datetime import UTC, datetime
from assets_core.model.errors import StoreError
from assets_core.model.records import RunKind, RunRecord, RunStatus
from assets_core.state.locks import FileLocks
from assets_core.state.sqlite import SqliteStore
from assets_core.state.sqlite_looking import Looking
if os.getuid() == 0:  # only now, for that user may not read the interpreter's files
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
now = datetime(2025, 3, 1, tzinfo=UTC)
def write(store): store.start_run(RunRecord("r", RunKind.MATERIALIZE, "", "", "", RunStatus.RUNNING, now))
for action in (lambda s: print("empty", s.runs()), write, lambda s: FileLocks(sys.argv[1] + ".locks").join("r")):
    try:
        action(SqliteStore(sys.argv[1]))
        print("done")
    except StoreError as error:
        print("StoreError:", error.message, "| hint:", error.hint)
"""

    @pytest.fixture
    def shared(self) -> Iterator[Path]:
        with TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            yield Path(folder)

    def probe(self, path: Path) -> list[str]:
        answer = subprocess.run(
            [sys.executable, "-c", self.PROBE, str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.stderr == ""
        return answer.stdout.splitlines()

    def test_a_read_only_folder_reads_as_empty_and_names_itself_when_written(
        self, shared: Path
    ) -> None:
        shared.chmod(0o555)
        told = self.probe(shared / ".partita" / "state.db")
        assert told[:2] == ["empty []", "done"]
        assert "Permission denied" in told[2]
        assert f"{shared} is read-only for you; make it writable: chmod u+rwx" in told[2]
        assert "can't be used: Permission denied" in told[3]

    def test_a_state_file_in_a_read_only_folder_is_read_and_names_the_folder_when_written(
        self, shared: Path
    ) -> None:
        path = shared / "state.db"
        with SqliteStore(path) as store:
            store.start_run(run_record())
        path.chmod(0o666)
        shared.chmod(0o555)
        told = self.probe(path)
        assert told[0].startswith(f"empty [RunRecord(id='{run_record().id}'")
        assert told[2].startswith(f"StoreError: The state file {path} can't be used")
        assert f"{shared} is read-only for you; make it writable" in told[2]
        assert [one.name for one in shared.iterdir()] == ["state.db", "state.db.lock"]

    def test_a_read_only_state_file_is_named_when_written(self, shared: Path) -> None:
        path = shared / "state.db"
        with SqliteStore(path) as store:
            store.start_run(run_record())
        path.chmod(0o444)
        shared.chmod(0o777)
        told = self.probe(path)
        assert told[0].startswith("empty [RunRecord(")
        written = next(line for line in told if "StoreError" in line)
        assert str(path) in written
        assert "chmod" in written

    def test_a_log_that_can_not_be_read_without_writing_is_told(self, shared: Path) -> None:
        """As a copy has it of a state whose process was killed."""
        path = shared / "state.db"
        with SqliteStore(path) as store:
            store.start_run(run_record())
            log = (shared / "state.db-wal").read_bytes()
        (shared / "state.db-wal").write_bytes(log)
        shared.chmod(0o555)
        told = self.probe(path)
        assert told[0].startswith(f"StoreError: {path}-wal has changes that are not in the state")
        assert "partita runs list" in told[0]

    def test_a_state_of_an_older_partita_is_not_read_where_it_can_not_be_brought_up_to_date(
        self, shared: Path
    ) -> None:
        path = shared / "state.db"
        with SqliteStore(path) as store:
            store.start_run(run_record())
        connection = apsw.Connection(str(path))
        connection.execute("update meta set value = 1 where name = 'schema_version'")
        connection.close()
        shared.chmod(0o555)
        told = self.probe(path)
        assert "was written by an older Partita, and you may not write it" in told[0]

    def test_a_file_that_is_written_while_it_is_looked_at_is_no_answer(self, shared: Path) -> None:
        path = shared / "state.db"
        with SqliteStore(path) as store:
            store.start_run(run_record())
        looking = Looking(path)
        with (
            pytest.raises(StoreError, match="was written while it was read"),
            looking.reading(),
            SqliteStore(path) as store,
        ):
            store.intern_keys({"static": ["a"]})
        with looking.reading() as connection:
            assert connection.execute("select key from partition_key").get == "a"
        looking.close()

    def test_a_folder_that_may_not_be_entered_is_never_taken_for_no_state(
        self, shared: Path
    ) -> None:
        path = shared / "private" / "state.db"
        with SqliteStore(path) as store:
            store.start_run(run_record())
        path.parent.chmod(0o000)
        told = self.probe(path)
        assert told[0].startswith("StoreError:")
        assert "Permission denied" in told[0]


class TestTransactions:
    def test_a_full_disk_loses_nothing_and_the_next_write_works(self, path: Path) -> None:
        with SqliteStore(path) as store:
            materialize(store, "run-1", 1)
            connection = store._database._connection
            assert connection is not None
            connection.pragma("max_page_count", connection.pragma("page_count"))
            huge = RunRecord(
                "run-2", RunKind.MATERIALIZE, "", "", "x" * 500_000, RunStatus.RUNNING, NOW
            )
            with pytest.raises(StoreError, match="can't grow: database or disk is full") as caught:
                store.start_run(huge)
            assert caught.value.hint is not None
            assert "Free some space" in caught.value.hint
            assert [run.id for run in store.runs()] == ["run-1"]
            connection.pragma("max_page_count", 1_000_000)
            store.start_run(huge)
            assert [run.id for run in store.runs()] == ["run-2", "run-1"]

    def interrupted(self, store: SqliteStore) -> None:
        with store._database.write() as cursor:
            sql_runs.insert_run(cursor, run_record("run-2"))
            raise KeyboardInterrupt

    def broken_off(self, store: SqliteStore) -> None:
        with store._database.read() as cursor:
            next(cursor.execute("select id from run"))
            raise ZeroDivisionError

    def test_ctrl_c_inside_a_transaction_undoes_it_and_frees_the_lock(self, path: Path) -> None:
        with SqliteStore(path) as store, SqliteStore(path) as other:
            store.start_run(run_record("run-1"))
            with pytest.raises(KeyboardInterrupt):
                self.interrupted(store)
            other.start_run(run_record("run-3"))
            store.start_run(run_record("run-4"))
            assert [run.id for run in other.runs()] == ["run-4", "run-3", "run-1"]

    def test_an_error_in_the_middle_of_reading_leaves_the_store_usable(self, path: Path) -> None:
        with SqliteStore(path) as store:
            for number in range(3):
                store.start_run(run_record(f"run-{number}"))
            with pytest.raises(ZeroDivisionError):
                self.broken_off(store)
            store.start_run(run_record("run-9"))
            assert len(store.runs()) == 4

    def test_a_program_that_keeps_the_file_locked_is_blamed(self, path: Path) -> None:
        with SqliteStore(path, busy_timeout=timedelta(0)) as store:
            store.start_run(run_record("run-1"))
            stranger = apsw.Connection(str(path))
            stranger.execute("begin immediate")
            with pytest.raises(StoreError, match="locked by another program") as caught:
                store.start_run(run_record("run-2"))
            assert caught.value.hint is not None
            assert "Close the program" in caught.value.hint
            assert [run.id for run in store.runs()] == ["run-1"]
            stranger.execute("rollback")
            stranger.close()
            store.start_run(run_record("run-2"))

    def test_a_reader_sees_one_commit_while_others_write(self, path: Path) -> None:
        with SqliteStore(path) as reader, SqliteStore(path) as writer:
            writer.start_run(run_record("run-1"))
            with reader._database.read() as cursor:
                before = sql_runs.read_runs(cursor, 9)
                writer.start_run(run_record("run-2"))
                assert sql_runs.read_runs(cursor, 9) == before
            assert len(reader.runs()) == 2

    def test_threads_share_a_store(self, path: Path) -> None:
        failures: list[BaseException] = []
        with SqliteStore(path) as store:

            def work(name: str) -> None:
                try:
                    for number in range(10):
                        materialize(store, f"{name}-{number}", 10 * ord(name) + number)
                        store.snapshot([ORDERS])
                except BaseException as error:  # noqa: BLE001 -- shown by the assertion below
                    failures.append(error)

            threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert failures == []
            assert store.snapshot([ORDERS]).seq == 40

    def test_a_text_that_is_asked_for_often_is_searched_by_an_index(self, path: Path) -> None:
        with SqliteStore(path) as store:
            store.start_run(run_record())
            connection = store._database._connection
            assert connection is not None
            for statement, parameters, index in (
                (sql_chunks._TAIL, 2, "INTEGER PRIMARY KEY (rowid>?)"),
                (sql_chunks.CHUNKS, 1, "state_chunk USING PRIMARY KEY (asset_id=?)"),
                (sql_chunks._FIRST_IDS, 1, "state_chunk USING PRIMARY KEY (asset_id=?)"),
                (sql_verify._LOG_OF_ASSET, 1, "materialization_by_partition (asset_id=?)"),
                (sql_log._LAST_SUCCESS, 2, "materialization_by_partition (asset_id=? AND"),
                (sql_log._LAST_DATA, 2, "materialization_by_partition (asset_id=? AND"),
                (sql_log._IN_FLIGHT, 0, "step_running"),
                (sql_log._ASSET_AND_VERSIONS, 4, "asset_id=? AND kind=? AND text=?"),
                (sql_steps._RUNNING_PARTITIONS, 0, "step_running"),
                (sql_steps._LAST_MADE, 2, "materialization_by_partition (asset_id=? AND"),
                (sql_pools._IN_USE, 1, "step_in_pool (pool=?)"),
                (sql_steps._END_STEP, 8, "INTEGER PRIMARY KEY (rowid=?)"),
                (sql_runs._STEPS, 2, "step_by_run (run=?)"),
                (sql_checks._OF_RUN, 1, "check_result_by_step (step_id=?)"),
                (sql_checks._FAILED, 3, "PRIMARY KEY (asset_id=?)"),
                (sql_checks._FORGET, 2, "PRIMARY KEY (asset_id=? AND partition_id=?)"),
                (sql_runs._DURATIONS, 3, "step_measured (asset_id=?)"),
                (sql_runs._UNFINISHED, 0, "run_running"),
            ):
                plan = connection.execute(
                    f"explain query plan {statement}", (None,) * parameters
                ).fetchall()
                told = "\n".join(str(row[3]) for row in plan)
                assert index in told
                assert "TEMP B-TREE" not in told or statement not in {
                    sql_chunks._TAIL,
                    sql_chunks.CHUNKS,
                    sql_verify._LOG_OF_ASSET,
                    sql_runs._DURATIONS,
                }


class TestColumns:
    @given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
    def test_any_ids_come_back_from_text_in_their_order(self, ids: list[int]) -> None:
        assert ids_from_text(ids_to_text(ids)) == tuple(ids)
        assert count_ids(ids_to_text(ids)) == len(ids)

    @given(st.integers(-5000, 5000), st.integers(2, 3000))
    def test_a_run_of_ids_is_short(self, first: int, count: int) -> None:
        text = ids_to_text(range(first, first + count))
        assert text == f"{first}:{count}"
        assert ids_from_text(text) == tuple(range(first, first + count))

    def test_no_ids_are_no_text(self) -> None:
        assert ids_to_text([]) == ""
        assert ids_from_text("") == ()
        assert count_ids("") == 0

    @given(st.datetimes(timezones=st.timezones()))
    def test_an_instant_comes_back_to_the_microsecond(self, instant: datetime) -> None:
        assert int_to_instant(instant_to_int(instant)) == instant.astimezone(UTC)
