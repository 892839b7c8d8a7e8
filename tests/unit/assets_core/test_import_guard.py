"""A user's module with the name of one of ours is noticed, and named."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import assets_core

ROOT = Path(assets_core.__file__).parent.parent


def run(program: str, folder: Path, *first_on_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a program as `python -c` in `folder`, which Python then searches first."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(map(str, [*first_on_path, ROOT, *sys.path]))},
    )


@pytest.mark.parametrize("path", ["partitions.py", "partitions/__init__.py"])
def test_a_module_that_hides_partitions_is_named_with_what_to_do(
    tmp_path: Path, path: str
) -> None:
    file = tmp_path / path
    file.parent.mkdir(exist_ok=True)
    file.write_text("daily = 1\n", encoding="utf-8")
    answer = run("import assets_core", tmp_path)
    assert answer.returncode == 1
    last = answer.stderr.strip().splitlines()[-1]
    assert last.startswith(
        f"assets_core.HiddenPackageError: {file} hides the package `partitions`"
    )
    assert "Rename it" in last


def test_a_module_that_was_imported_before_is_noticed_too(tmp_path: Path) -> None:
    (tmp_path / "partitions.py").write_text("daily = 1\n", encoding="utf-8")
    answer = run("import partitions\nimport assets_core", tmp_path)
    assert f"{tmp_path / 'partitions.py'} hides" in answer.stderr


def test_the_error_is_an_import_error(tmp_path: Path) -> None:
    (tmp_path / "partitions.py").write_text("", encoding="utf-8")
    program = "try:\n    import assets_core\nexcept ImportError as error:\n    print(type(error).__name__)"
    assert run(program, tmp_path).stdout == "HiddenPackageError\n"


def test_a_folder_of_data_called_partitions_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "partitions").mkdir()
    (tmp_path / "partitions" / "day.csv").write_text("a\n", encoding="utf-8")
    answer = run("import assets_core; print(assets_core.asset.__name__)", tmp_path)
    assert answer.stdout == "asset\n"


def test_an_incomplete_installation_says_so(tmp_path: Path) -> None:
    copy = tmp_path / "lib"
    shutil.copytree(ROOT / "assets_core", copy / "assets_core")
    program = (
        "import os, sys\n"
        "sys.path = [path for path in sys.path if not os.path.exists(os.path.join(path, 'partitions'))]\n"
        f"sys.path.insert(0, {str(copy)!r})\n"
        "import assets_core"
    )
    answer = run(program, tmp_path)
    assert "Partita is not completely installed" in answer.stderr
    assert str(copy / "partitions") in answer.stderr


def test_every_public_name_can_be_had() -> None:
    assert set(assets_core.__all__) <= set(dir(assets_core))
    for name in assets_core.__all__:
        assert getattr(assets_core, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        assets_core.nothing  # noqa: B018 -- the look-up is what fails


def test_importing_the_package_alone_loads_no_module_of_it() -> None:
    program = (
        "import sys, assets_core\n"
        "print(sorted(name for name in sys.modules if name.startswith(('assets_core.', 'partitions'))))"
    )
    assert run(program, ROOT).stdout.strip() == "[]"
