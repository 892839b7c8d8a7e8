"""What a root and its options may be: what can't be right is told when it is written, or at the first use, and no secret with it."""

from __future__ import annotations

import os
import pickle
import stat
import tempfile
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from assets_core.model.errors import DefinitionError, IOManagerError
from assets_core.model.io_manager import ReadRequest
from io_managers import ParquetIOManager
from tests.conformance.io_manager_suite import Steps, days, recorded, target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

(DAY,) = days("2025-01-31")
PASSWORD = "p4ss:w@rd"  # noqa: S105 - no real one


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize(
    ("root", "told"),
    [
        ("s3:///silver", "names no bucket"),
        ("s3://", "names no bucket"),
        ("s3://lake/a//b", "an empty name in its path"),
        ("s3://lake/../b", "'..' in its path"),
        ("gs://lake/./b", "'.' in its path"),
        ("memory://lake/../b", "'..' in its path"),
        ("memory://lake//b", "an empty name in its path"),
        ("s3://my lake/b", "'my lake' can't be the name of a bucket"),
        ("s3://lake?versions/b", "can't be the name of a bucket"),
        ("s3://ann:secret@lake/b", "has credentials in its URL"),
        ("s3:/lake/b", "neither a folder nor a URL"),
        (PurePosixPath("s3://lake/b"), "neither a folder nor a URL"),
    ],
)
def test_a_root_that_can_t_be_right_is_told_when_it_is_written(root: str, told: str) -> None:
    with pytest.raises(DefinitionError) as found:
        ParquetIOManager(root)
    assert told in found.value.message
    assert found.value.hint
    assert "secret" not in f"{found.value} {found.value.hint}"


def test_a_scheme_may_be_written_in_capitals() -> None:
    assert ParquetIOManager("S3://Lake/silver").destination() == "s3://Lake/silver"
    assert ParquetIOManager("FILE:///data/lake").destination() == "/data/lake"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"region": 5}, "'region' is int, not text, True or False"),
        ({"secret_access_key": ["hush"]}, "'secret_access_key' is list"),
        ({"timeout": 15}, "'timeout' is int, not a duration"),
        ({"max_retries": "hush"}, "'max_retries' is no count"),
        ({"max_retries": True}, "'max_retries' is no count"),
        ({"client_options": {"timeout": "1s"}}, "'client_options' is not understood"),
        (["region"], "storage_options is list"),
    ],
)
def test_an_option_that_can_t_be_right_is_told_when_it_is_written(
    options: dict[str, object], told: str
) -> None:
    with pytest.raises(DefinitionError) as found:
        ParquetIOManager("s3://lake", storage_options=options)
    assert told in found.value.message
    assert "hush" not in found.value.message
    ParquetIOManager("s3://lake", storage_options={"timeout": timedelta(seconds=1)})


@pytest.mark.parametrize(
    ("root", "options", "told", "hint"),
    [
        ("s3://lake", {"regionn": "x"}, "no storage option 'regionn'", "did you mean region"),
        ("gs://lake", {"bearer_tokn": "x"}, "no storage option 'bearer_tokn'", "bearer_token"),
        ("s3://lake", {"timeout": "15x"}, '"15x"', "correct storage_options"),
        ("s3://lake", {"skip_signature": "maybe"}, '"maybe"', "correct storage_options"),
        ("az://lake", {"account_key": "hush"}, "Account must be specified", "environment"),
        ("az://lake", {"account_name": "a", "account_key": "hush!"}, "can't be opened", "correct"),
        ("memry://lake", {}, "Protocol not known: memry", "did you mean memory://?"),
        ("sftp://host/lake", {}, "needs a package: SFTPFileSystem requires", "pip install"),
    ],
)
def test_what_a_client_refuses_is_told_at_the_first_use(
    root: str, options: dict[str, object], told: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"):
        monkeypatch.delenv(name, raising=False)
    manager = ParquetIOManager(root, storage_options=options)
    with pytest.raises(IOManagerError) as found:
        manager.holdings(target())
    assert told in found.value.message
    assert hint in str(found.value.hint)
    assert "hush" not in f"{found.value.message} {found.value.hint}"


class Talkative(MemoryFileSystem):
    """A file system that repeats in its errors all that it was told, as some do."""

    protocol = "talkative"

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.told = options

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol("memory://" + path.rpartition("@")[2])

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, object]:
        return {"url": path}

    def find(self, path: str, **_: object) -> object:
        raise RuntimeError(f"login failed at {self.told} for {path}")


def test_passwords_and_keys_are_never_shown() -> None:
    fsspec.register_implementation("talkative", Talkative, clobber=True)
    manager = ParquetIOManager(
        f"talkative://ann:{PASSWORD}@host/lake",
        storage_options={"client_kwargs": {"api_token": "t0ken"}, "speed": "fast"},
    )
    again = pickle.loads(pickle.dumps(manager))  # noqa: S301 - our own
    assert again.destination() == "talkative://ann@host/lake"
    assert again.location(target()) == "talkative://ann@host/lake/orders"
    with pytest.raises(IOManagerError, match="login failed") as found:
        again.holdings(target())
    assert "fast" in found.value.message
    for secret in (PASSWORD, "t0ken"):
        assert secret not in f"{found.value.message} {found.value.hint}"
    assert found.value.__cause__ is None
    assert found.value.__suppress_context__, "a traceback would repeat it"
    with pytest.raises(DefinitionError) as refused:
        ParquetIOManager(f"talkative://ann:{PASSWORD}@host/../lake")
    assert PASSWORD not in refused.value.message


class Plain(MemoryFileSystem):
    """Knows nothing of a file but its size, and can lose the end of what it is given or asked for."""

    protocol = "plain"
    loses = ""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol("memory://" + path.rpartition("://")[2])

    def info(self, path: str, **options: object) -> dict[str, object]:
        found = super().info(path, **options)
        return {name: found[name] for name in ("name", "size", "type")}

    def find(self, path: str, **options: object) -> dict[str, dict[str, object]]:
        return {name: self.info(name) for name in super().find(path, **options)}

    def put_file(self, lpath: str, rpath: str, **options: object) -> None:
        super().put_file(lpath, rpath, **options)
        if type(self).loses == "put":
            self.pipe_file(rpath, self.cat_file(rpath)[:-1])

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        found = super().cat_file(path, start, end)
        return found[:-1] if type(self).loses == "cat" else found


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[ParquetIOManager]:
    fsspec.register_implementation("plain", Plain, clobber=True)
    yield ParquetIOManager(f"plain://{tmp_path.name}")
    Plain.loses = ""
    Plain.store.clear()
    Plain.pseudo_dirs[:] = [""]


def file_of(manager: ParquetIOManager) -> str:
    return f"{manager.root.removeprefix('plain:/')}/orders/day=2025-01-31/data.parquet"


def test_files_of_one_size_are_told_apart(plain: ParquetIOManager) -> None:
    store = plain._place._store  # type: ignore[attr-defined]
    steps = Steps(plain)
    steps.write(target(), (DAY,), pa.table({"n": [1]}))
    key = "orders/day=2025-01-31/data.parquet"
    first = store.tail(key, 64)
    steps.write(target(), (DAY,), pa.table({"n": [2]}))
    second = store.tail(key, 64)
    assert first.size == second.size
    assert first.version != second.version
    assert store.piece(key, 0, 4, second.version) == b"PAR1"
    one, other = ([entry.version for entry in store.entries("orders/")] for _ in range(2))
    assert one != other, "what can't be told apart is looked at again"


@pytest.mark.parametrize("loses", ["put", "cat"])
def test_what_arrives_in_part_is_noticed(
    plain: ParquetIOManager, loses: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("io_managers.parquet_objects._FIRST_PAUSE_SECONDS", 0)
    steps = Steps(plain)
    if loses == "cat":
        steps.write(target(), (DAY,), pa.table({"n": [1]}))
    Plain.loses = loses
    if loses == "put":
        (answer,) = plain.publish([steps.stage(target(), (DAY,), pa.table({"n": [1]}))])
        assert "bytes arrived" in getattr(answer, "message", "")
        assert not plain._place.files("orders")
    else:
        with pytest.raises(IOManagerError, match="bytes came instead of"):
            plain.read(ReadRequest(target(), (DAY,)))


def test_an_empty_object_is_named(plain: ParquetIOManager) -> None:
    Steps(plain).write(target(), (DAY,), pa.table({"n": [1]}))
    Plain.store[file_of(plain)].truncate(0)
    for ask in (
        lambda: plain.read(ReadRequest(target(), (DAY,))),
        lambda: plain.holdings(target()),
    ):
        with pytest.raises(
            IOManagerError, match=r"data\.parquet can't be read: .*0 bytes"
        ) as found:
            ask()
        assert "remove it and materialize" in str(found.value.hint)


def test_uploads_that_were_never_moved_are_leftovers(plain: ParquetIOManager) -> None:
    Steps(plain).write(target(), (DAY,), pa.table({"n": [1]}))
    assert plain.leftovers() == []
    folder = f"{plain.root.removeprefix('plain:/')}/.partita"
    fsspec.filesystem("plain").pipe_file(f"{folder}/1738324800-0f1e", b"half")
    (found,) = plain.leftovers()
    assert found.path == f"{plain.root}/.partita/1738324800-0f1e"
    assert (found.bytes, found.changed_at.isoformat()) == (4, "2025-01-31T12:00:00+00:00")
    plain.remove_leftover(found)
    assert plain.leftovers() == []


def spool() -> Path:
    return Path(tempfile.gettempdir(), f"partita-{os.getuid()}")


def owned_by_another(lstat: Callable[[str], os.stat_result]) -> Callable[[str], os.stat_result]:
    """What `lstat` would say of a folder of somebody else: only root can make one."""

    def told(path: str) -> os.stat_result:
        found = list(lstat(path))
        found[stat.ST_UID] += 1
        return os.stat_result(found)

    return told


@pytest.mark.parametrize("kind", ["link", "file", "other"])
def test_rows_never_wait_where_another_user_can_read_or_change_them(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    if kind == "other":
        spool().mkdir()
        monkeypatch.setattr(os, "lstat", owned_by_another(os.lstat))
    elif kind == "link":
        spool().symlink_to(tmp_path / "theirs")
    else:
        spool().touch()
    manager = ParquetIOManager("memory://spooled")
    steps = Steps(manager)
    told = "belongs to another user" if kind == "other" else "is no folder"
    for ask in (
        lambda: steps.stage(target(), (DAY,), pa.table({"n": [1]})),
        lambda: manager.lost(target(), recorded((DAY,), {DAY.id: "token"})),
        manager.leftovers,
    ):
        with pytest.raises(IOManagerError, match=f"can't wait in {spool()}: it {told}"):
            ask()
    assert list((tmp_path / "theirs").iterdir()) == []


def test_the_folder_where_rows_wait_is_closed_to_others() -> None:
    spool().mkdir(mode=0o755)
    manager = ParquetIOManager("memory://spooled")
    Steps(manager).stage(target(), (DAY,), pa.table({"n": [1]}))
    assert stat.S_IMODE(spool().stat().st_mode) == 0o700
