"""Every Python block in docs/ runs: those of assets.md as one project through the command line, those of the others as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import PARTITA

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project

DOCS = Path(__file__).parents[2] / "docs"
CONFORMANCE = Path(__file__).parents[1] / "conformance"
SUITES = (CONFORMANCE / "mapping_suite.py", CONFORMANCE / "io_manager_suite.py")


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


def test_the_shell_of_the_page_about_plans_runs_a_plan_once_and_then_refuses_it(
    project: Project,
) -> None:
    project.write("shop.py", python_of("assets.md"))
    review, merge, again = re.findall(
        r"^```sh\n(.*?)^```$", (DOCS / "plans.md").read_text(), re.MULTILINE | re.DOTALL
    )

    def shell(text: str) -> tuple[int, str]:
        done = subprocess.run(
            ["sh", "-ec", text],
            cwd=project.folder,
            env=project.environment({"PATH": f"{PARTITA.parent}:{os.environ['PATH']}"}),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    assert shell(review)[0] == 0
    assert "page_views" in (project.folder / "plan.txt").read_text()
    assert shell(merge)[0] == 0
    assert "plan-moved" in shell(again)[1]


def test_the_notebook_of_the_page_about_reading_runs(project: Project) -> None:
    """In a project with the assets of the page."""
    text = (DOCS / "reading.md").read_text()
    (lines,) = re.findall(r"^```python notebook\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    page = python_of("reading.md").partition("Path(")[0]
    project.write("shop.py", page)
    project.run("materialize", "orders")
    shown = "print(january.num_rows, len(week), list(week.columns), lazy.collect().height, top['id'].to_list())"
    done = subprocess.run(
        [sys.executable, "-c", f"{lines}\n{shown}"],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "10 7 ['id', 'amount'] 10 [10, 9, 8]\n", done.stderr


@pytest.mark.parametrize("page", [page for page in with_python() if page != "assets.md"])
def test_the_python_of_a_page_runs_as_it_stands(page: str, tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text(python_of(page))
    for suite in SUITES:  # as the pages say
        shutil.copy(suite, tmp_path)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["assets.md", "partitions.md", "io-managers.md"])
def test_the_tests_of_a_page_pass(page: str, tmp_path: Path) -> None:
    (tmp_path / "test_page.py").write_text(python_of(page))
    for suite in SUITES:
        shutil.copy(suite, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= {"assets.md": 1, "partitions.md": 30, "io-managers.md": 180}[page]
