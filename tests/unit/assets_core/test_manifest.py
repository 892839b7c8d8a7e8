from __future__ import annotations

import json
import os
import stat
import sys
import sysconfig
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets_core.state.manifest import (
    Fingerprint,
    Manifest,
    ManifestAsset,
    ManifestCheck,
    ManifestEdge,
    Watch,
    read_manifest,
    read_outline,
    read_stale_manifest,
    take_fingerprint,
    watch_reads,
    write_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VERSIONS = {"partita": "1", "python": "3"}
LONG_AFTER = 2**62
LONG_BEFORE = 0


def asset(key: str = "orders", description: str = "") -> ManifestAsset:
    return ManifestAsset(
        key=key,
        kind="python",
        description=description,
        group="bronze",
        tags=(("team", "shop"),),
        owners=("ann",),
        partitions="daily from 2025-01-01 (UTC)",
        partition_kind="day",
        dependencies=(ManifestEdge("raw", "raw", "identity", allow_missing=False),),
        checks=(ManifestCheck("positive", blocking=True, description="No debts."),),
        write="replace()",
        partition_by=None,
        io_manager="default",
        location="data.duckdb: orders",
        retry="",
        batch_size=1,
        lookback=0,
        closed_after=0.0,
        compare_input_versions=False,
        code_version="abc",
        defined_in="assets.py:3",
    )


MANIFEST = Manifest("module shop", (asset(),))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    (root / "queries").mkdir(parents=True)
    (root / "assets.py").write_text("x = 1\n")
    (root / "queries" / "a.sql").write_text("select 1\n")
    return root


def fingerprint(project: Path) -> Fingerprint:
    watch = Watch(LONG_AFTER)
    watch.files.add(str(project / "queries" / "a.sql"))
    watch.files.add(str(project / "options.json"))
    watch.folders.add(str(project / "queries"))
    found = take_fingerprint(
        watch,
        modules=[str(project / "assets.py")],
        extra=[],
        roots=[str(project)],
        ignored=[str(project / ".partita")],
    )
    assert found is not None
    return found


def kept(project: Path) -> Path:
    path = project.parent / "manifest.json"
    assert write_manifest(path, MANIFEST, fingerprint(project), VERSIONS)
    return path


def test_a_manifest_comes_back_as_it_was_written(project: Path) -> None:
    assert read_manifest(kept(project), "module shop", VERSIONS) == MANIFEST


@given(st.text(), st.text())
def test_any_text_survives(key: str, description: str) -> None:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    manifest = Manifest("module shop", (asset(key, description),))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.json"
        assert write_manifest(path, manifest, Fingerprint({}, {}, {}, {}, (), {}), VERSIONS)
        assert read_manifest(path, "module shop", VERSIONS) == manifest


def edit(project: Path) -> None:
    (project / "assets.py").write_text("x = 2\n")


def edit_and_set_the_clock_back(project: Path) -> None:
    path = project / "assets.py"
    before = path.stat()
    path.write_text("x = 2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def remove(project: Path) -> None:
    (project / "assets.py").unlink()


def add_a_module(project: Path) -> None:
    (project / "more.py").touch()


def add_a_module_without_source(project: Path) -> None:
    (project / "more.pyc").touch()


def add_a_file_that_was_missed(project: Path) -> None:
    (project / "options.json").touch()


def add_a_package(project: Path) -> None:
    (project / "more").mkdir()


def edit_a_file_that_was_read(project: Path) -> None:
    (project / "queries" / "a.sql").write_text("select 2\n")


def add_a_file_to_a_folder_that_was_listed(project: Path) -> None:
    (project / "queries" / "b.sql").touch()


@pytest.mark.parametrize(
    "change",
    [
        edit,
        edit_and_set_the_clock_back,
        remove,
        add_a_module,
        add_a_module_without_source,
        add_a_file_that_was_missed,
        add_a_package,
        edit_a_file_that_was_read,
        add_a_file_to_a_folder_that_was_listed,
    ],
)
def test_a_change_is_never_missed(project: Path, change: Callable[[Path], None]) -> None:
    path = kept(project)
    change(project)
    assert read_manifest(path, "module shop", VERSIONS) is None


def install(folder: Path, version: str) -> None:
    info = folder / f"money-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: money\nVersion: {version}\n")


@pytest.mark.parametrize("asked", [{"money": "1.0", "no-such": ""}, {"money": "1.0"}])
def test_another_version_of_a_package_that_was_asked_for_is_never_missed(
    project: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str]
) -> None:
    first, second = project / "first", project / "second"
    first.mkdir()
    install(second, "1.0")
    monkeypatch.syspath_prepend(str(second))
    monkeypatch.syspath_prepend(str(first))
    watch = Watch(LONG_AFTER)
    found = take_fingerprint(watch, modules=[], extra=[], roots=[], ignored=[], packages=asked)
    assert found is not None
    monkeypatch.undo()
    path = project.parent / "manifest.json"
    assert write_manifest(path, MANIFEST, found, VERSIONS)
    assert read_manifest(path, "module shop", VERSIONS) == MANIFEST
    install(first, "1.1")
    os.utime(first, (1, 1))  # importlib remembers a folder for as long as its time is the same
    assert read_manifest(path, "module shop", VERSIONS) is None


@pytest.mark.parametrize("backport", [False, True])
def test_looking_for_a_package_lists_no_folder_that_counts(
    project: Path, monkeypatch: pytest.MonkeyPatch, backport: bool
) -> None:
    from assets_core.state.packages import installed_version, packages_by_import

    finders = list(sys.meta_path)
    if backport:
        finders.append(pytest.importorskip("importlib_metadata").MetadataPathFinder())
    monkeypatch.setattr(sys, "meta_path", finders)
    install(project, "1.0")
    monkeypatch.syspath_prepend(str(project))
    with watch_reads(LONG_AFTER) as watch:
        assert installed_version("money", [str(project)]) == "1.0"
        packages_by_import()
    assert str(project) not in watch.folders
    assert str(project / "money-1.0.dist-info" / "METADATA") in watch.files


def test_what_can_not_be_imported_and_was_not_read_does_not_count(project: Path) -> None:
    path = kept(project)
    (project / "README.md").touch()
    (project / ".hidden.py").touch()
    (project / "__pycache__").mkdir()
    assert read_manifest(path, "module shop", VERSIONS) == MANIFEST


def test_another_source_or_version_does_not_hold(project: Path) -> None:
    path = kept(project)
    assert read_manifest(path, "module other", VERSIONS) is None
    assert read_manifest(path, "module shop", {**VERSIONS, "partita": "2"}) is None
    assert read_manifest(path, "module shop", {**VERSIONS, "python": "4"}) is None


def test_a_file_that_changed_during_loading_can_not_be_trusted(project: Path) -> None:
    watch = Watch(LONG_BEFORE)
    files = [str(project / "assets.py")]
    assert take_fingerprint(watch, modules=files, extra=[], roots=[], ignored=[]) is None


def test_ignored_folders_do_not_count(project: Path) -> None:
    watch = Watch(LONG_AFTER)
    watch.files.add(str(project / "assets.py"))
    found = take_fingerprint(watch, modules=[], extra=[], roots=[], ignored=[str(project)])
    assert found == Fingerprint({}, {}, {}, {}, (), {})


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("bronze", "silver"),
        lambda text: "[]",
        lambda text: "null",
        lambda text: json.dumps({**json.loads(text), "format": 0}),
        lambda text: text + "é",
    ],
)
def test_a_damaged_manifest_is_none(project: Path, damage: Callable[[str], str]) -> None:
    path = kept(project)
    path.write_text(damage(path.read_text()))
    assert read_manifest(path, "module shop", VERSIONS) is None
    assert read_stale_manifest(path) is None


def test_no_manifest_is_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path / "manifest.json", "module shop", VERSIONS) is None


def test_a_stale_manifest_still_completes_words(project: Path) -> None:
    path = kept(project)
    edit(project)
    assert read_stale_manifest(path) == MANIFEST


def test_a_place_that_can_not_be_written_is_no_error(project: Path) -> None:
    path = project / "assets.py" / "manifest.json"
    assert not write_manifest(path, MANIFEST, fingerprint(project), VERSIONS)


def test_an_unchanged_manifest_is_not_written_again(project: Path) -> None:
    path = kept(project)
    before = path.stat()
    assert write_manifest(path, MANIFEST, fingerprint(project), VERSIONS)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_writing_leaves_no_other_file(project: Path) -> None:
    path = kept(project)
    names = sorted(each.name for each in path.parent.iterdir())
    assert names == ["manifest.json", "outline.pickle", "shop"]


def test_an_outline_is_read_back_only_with_the_manifest_that_it_was_written_with(
    project: Path,
) -> None:
    path = kept(project)
    assert read_outline(path) is None, "this manifest came without one"
    path.with_name("outline.pickle").write_bytes(b"another")
    assert read_outline(path) is None


def test_a_watch_sees_what_is_read_and_listed_inside_of_it(project: Path) -> None:
    with watch_reads(0) as watch:
        (project / "queries" / "a.sql").read_text()
        (project / "assets.py").write_text("x = 1\n")
        list((project / "queries").iterdir())
    (project / "assets.py").read_text()
    assert str(project / "queries" / "a.sql") in watch.files
    assert str(project / "assets.py") not in watch.files
    assert str(project / "queries") in watch.folders


def test_what_is_kept_is_for_its_owner_alone(project: Path) -> None:
    path = kept(project)
    outline = path.with_name("outline.pickle")
    for one in (path, outline):
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
    outline.chmod(0o644)  # as an older version wrote it
    kept(project)
    assert stat.S_IMODE(outline.stat().st_mode) == 0o600


def loaded(project: Path, text: str) -> Path:
    """The manifest of a project that consists of this code."""
    source = project / "assets.py"
    source.write_text(f"import os, pathlib\nfrom os import environ\n{text}\n")
    with watch_reads(LONG_AFTER) as watch:
        exec(compile(source.read_text(), str(source), "exec"), {"__name__": "assets"})  # noqa: S102 - as importing does it
    found = take_fingerprint(watch, modules=[], extra=[], roots=[], ignored=[sys.prefix, STDLIB])
    assert found is not None
    path = project.parent / "manifest.json"
    assert write_manifest(path, MANIFEST, found, VERSIONS)
    assert "s3cret" not in path.read_text()
    return path


STDLIB = sysconfig.get_path("stdlib")


@pytest.mark.parametrize(
    "read",
    [
        "os.environ['WAREHOUSE']",
        "environ.get('WAREHOUSE')",
        "os.getenv('WAREHOUSE', 'x')",
        "os.environb[b'WAREHOUSE']",
        "'WAREHOUSE' in os.environ",
        "os.path.expandvars('$WAREHOUSE/x')",
        "pathlib.Path(os.path.expandvars('${WAREHOUSE}'))",
        "environ.setdefault('WAREHOUSE', 'x')",
        "dict(os.environ)",
        "os.environ.copy()",
        "[name for name in environ]",
        "os.environ | {}",
        "str(environ)",
        "len(environ)",
    ],
)
def test_an_environment_variable_that_was_read_is_never_missed(
    project: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    monkeypatch.setenv("WAREHOUSE", "s3cret")
    path = loaded(project, read)
    assert type(os.environ) is type(os.environb)
    monkeypatch.setenv("WAREHOUSE", "s3cret")
    assert read_manifest(path, "module shop", VERSIONS) == MANIFEST
    assert "Watched" not in type(os.environ).__name__
    if read != "len(environ)":
        monkeypatch.setenv("WAREHOUSE", "other")
        assert read_manifest(path, "module shop", VERSIONS) is None
    monkeypatch.delenv("WAREHOUSE")
    assert read_manifest(path, "module shop", VERSIONS) is None


def test_that_a_variable_was_not_set_counts_and_one_that_nobody_read_does_not(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAREHOUSE", raising=False)
    path = loaded(project, "os.environ.get('WAREHOUSE')")
    monkeypatch.setenv("UNREAD", "1")
    assert read_manifest(path, "module shop", VERSIONS) == MANIFEST
    monkeypatch.setenv("WAREHOUSE", "")
    assert read_manifest(path, "module shop", VERSIONS) is None


def test_what_a_module_sets_itself_is_no_change(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE", "one")
    path = loaded(project, "os.environ['WAREHOUSE']\nos.environ['WAREHOUSE'] = 'two'")
    assert read_manifest(path, "module shop", VERSIONS) is None
    monkeypatch.setenv("WAREHOUSE", "one")
    assert read_manifest(path, "module shop", VERSIONS) == MANIFEST


def test_what_a_package_reads_while_it_is_imported_is_its_own_affair(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "site").mkdir()
    (project / "site" / "some_package.py").write_text(
        "import os\nos.getenv('THREADS')\n\ndef asked(name):\n    return os.getenv(name)\n"
    )
    monkeypatch.syspath_prepend(str(project / "site"))
    monkeypatch.setenv("THREADS", "1")
    monkeypatch.setattr(sys, "prefix", str(project / "site"))
    path = loaded(project, "import some_package\nsome_package.asked('WAREHOUSE')")
    monkeypatch.setenv("THREADS", "2")
    assert read_manifest(path, "module shop", VERSIONS) == MANIFEST
    monkeypatch.setenv("WAREHOUSE", "x")
    assert read_manifest(path, "module shop", VERSIONS) is None
    sys.modules.pop("some_package")
