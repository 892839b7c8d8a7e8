from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from assets_core.model.errors import ProjectError
from cli.project.location import OUR_FOLDER, OUR_PACKAGES, find_location, hidden_packages

if TYPE_CHECKING:
    from pathlib import Path


def configure(folder: Path, text: str = '[tool.partita]\ndefinitions = "shop.assets"\n') -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(text)


def test_the_nearest_configured_folder_upwards_is_the_root(tmp_path: Path) -> None:
    configure(tmp_path / "outer")
    configure(tmp_path / "outer" / "inner", '[tool.partita]\ndefinitions = "other"\n')
    below = tmp_path / "outer" / "inner" / "a" / "b"
    below.mkdir(parents=True)
    location = find_location(below)
    assert location.root == tmp_path / "outer" / "inner"
    assert location.module == "other"


def test_a_pyproject_without_our_table_is_passed_over(tmp_path: Path) -> None:
    configure(tmp_path)
    configure(tmp_path / "library", "[project]\nname = 'x'\n")
    assert find_location(tmp_path / "library").root == tmp_path


def test_a_named_module_or_file_comes_before_what_is_configured(tmp_path: Path) -> None:
    configure(tmp_path)
    (tmp_path / "shop.py").touch()
    assert find_location(tmp_path, module="other.assets").module == "other.assets"
    assert find_location(tmp_path, file="shop.py").file == tmp_path / "shop.py"


def test_state_lies_in_the_root_whichever_file_below_it_is_named(tmp_path: Path) -> None:
    configure(tmp_path, '[tool.partita]\nstate = "var/partita.db"\n')
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "shop.py").touch()
    location = find_location(tmp_path / "jobs", file="shop.py")
    assert location.state == tmp_path / "var" / "partita.db"
    assert location.folder == tmp_path / "var"


@pytest.mark.parametrize("name", ["definitions.py", "assets.py"])
def test_without_configuration_the_obvious_file_is_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert find_location(tmp_path).file == tmp_path / name


def test_definitions_come_before_the_assets_that_they_collect(tmp_path: Path) -> None:
    (tmp_path / "definitions.py").touch()
    (tmp_path / "assets.py").touch()
    assert find_location(tmp_path).file == tmp_path / "definitions.py"


def test_no_project_names_all_ways_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        find_location(tmp_path)
    hint = str(caught.value.hint)
    for way in ("partita -m", "partita -f", "[tool.partita]", "partita init"):
        assert way in hint


@pytest.mark.parametrize("name", OUR_PACKAGES)
def test_a_module_with_a_name_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").touch()
    with pytest.raises(ProjectError, match=rf"{name}\.py.*one would hide the other"):
        find_location(tmp_path, module=name)
    assert hidden_packages(tmp_path) == [tmp_path / f"{name}.py"]


def test_our_own_folder_hides_nothing() -> None:
    assert hidden_packages(OUR_FOLDER) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"module": "a", "file": "b.py"}, "both a module"),
        ({"module": "shop/assets.py"}, "is no module name"),
        ({"file": "missing.py"}, "there is no file"),
        ({"file": "notes.txt"}, "is no Python file"),
    ],
)
def test_what_can_not_be_a_project_is_refused_in_words(
    tmp_path: Path, arguments: dict[str, str], words: str
) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ProjectError, match=words) as caught:
        find_location(tmp_path, **arguments)
    assert caught.value.hint


def test_a_broken_pyproject_is_named(tmp_path: Path) -> None:
    configure(tmp_path, "[tool.partita\n")
    with pytest.raises(ProjectError, match=r"pyproject\.toml can't be read"):
        find_location(tmp_path)
