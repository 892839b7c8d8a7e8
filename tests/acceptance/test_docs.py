"""Every Python block in docs/ runs: those of assets.md as one project through the command line, those of the others as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project

DOCS = Path(__file__).parents[2] / "docs"


def python_of(name: str) -> str:
    text = (DOCS / name).read_text()
    return "\n\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def with_python() -> list[str]:
    return sorted(path.name for path in DOCS.glob("*.md") if python_of(path.name))


def test_the_project_of_the_assets_page_materializes(project: Project) -> None:
    project.write("shop.py", python_of("assets.md"))
    done = project.run("materialize")
    assert "page_views" in done.text
    rows = {row["asset"]: row for row in project.run("status", "--json").data["assets"]}
    assert rows["daily_views"]["fresh"] == 5
    assert rows["page_views"]["fresh"] == 5 * 24 - 1


@pytest.mark.parametrize("page", [page for page in with_python() if page != "assets.md"])
def test_the_python_of_a_page_runs_as_it_stands(page: str, tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text(python_of(page))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_test_of_the_assets_page_passes(tmp_path: Path) -> None:
    (tmp_path / "test_page.py").write_text(python_of("assets.md"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
