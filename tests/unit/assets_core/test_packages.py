"""What a name in `code_depends` stands for."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from assets_core.authoring.packages import Package, Packages
from assets_core.model.errors import DefinitionError
from assets_core.state.packages import installed_version

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, on the search path in place of what is really installed."""
    others = [folder for folder in sys.path if "site-packages" not in folder]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *others])
    return tmp_path


def install(path: Path, name: str, version: str, *modules: str) -> Path:
    folder = path / f"{re.sub('[-.]', '_', name)}-{version}.dist-info"
    folder.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (folder / "METADATA").write_text(metadata)
    (folder / "top_level.txt").write_text("\n".join(modules))
    return folder


@pytest.mark.parametrize("name", ["ruamel.yaml", "Ruamel-YAML", "ruamel_yaml", "ruamel._-yaml"])
def test_all_spellings_of_a_name_are_the_same_package(path: Path, name: str) -> None:
    install(path, "ruamel.yaml", "0.18", "ruamel")
    packages = Packages()
    assert packages.find(name) == Package("ruamel-yaml", "0.18")
    assert packages.asked == {"ruamel-yaml": "0.18"}


def test_an_import_name_stands_for_the_package_that_provides_it(path: Path) -> None:
    install(path, "scikit-learn", "1.5.0", "sklearn")
    packages = Packages()
    assert packages.find("sklearn").text() == "scikit-learn 1.5.0"
    # A distribution of that very name would come first, so that there is none counts as well.
    assert packages.asked == {"sklearn": "", "scikit-learn": "1.5.0"}
    install(path / "more", "sklearn", "0.0", "nothing")
    sys.path.append(str(path / "more"))
    assert Packages().find("sklearn").text() == "sklearn 0.0"


def test_the_first_folder_of_the_search_path_wins(path: Path) -> None:
    install(path / "a", "money", "2")
    install(path / "b", "money", "1")
    search = [str(path / "b"), str(path / "a")]
    assert installed_version("money", search) == "1"
    assert installed_version("money", search[::-1]) == "2"
    assert installed_version("money", [str(path)]) == ""
    assert installed_version("", search) == ""


def test_what_an_interrupted_uninstallation_left_is_no_package(path: Path) -> None:
    (install(path, "money", "1") / "METADATA").unlink()
    assert installed_version("money", [str(path)]) == ""


def refusal(name: str) -> tuple[str, str]:
    with pytest.raises(DefinitionError) as caught:
        Packages().find(name)
    return caught.value.message, caught.value.hint or ""


def test_what_is_not_installed_is_refused_with_the_nearest(path: Path) -> None:
    install(path, "Pandas", "2.2.3", "pandas")
    message, hint = refusal("pandsa")
    assert message == "no package 'pandsa' is installed"
    assert hint == f"write 'pandas', or install it into this environment ({sys.prefix})"
    assert refusal("pandas>=2")[1].startswith("write 'pandas', or ")
    assert refusal("qqq")[1].endswith(", or leave it out")


def test_an_import_name_of_several_packages_is_refused(path: Path) -> None:
    install(path, "google-auth", "2", "google")
    install(path, "google-storage", "3", "google")
    assert refusal("google") == (
        "'google' is imported from several packages: google-auth, google-storage",
        "name the one that counts, such as 'google-auth'",
    )


def test_a_module_of_pythons_own_is_refused(path: Path) -> None:
    assert refusal("json") == (
        "'json' is part of Python, whose version does not count",
        "leave it out",
    )
