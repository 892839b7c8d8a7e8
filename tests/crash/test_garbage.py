"""Random histories of runs, kills and `state gc`: it removes all that nothing refers to, and never anything else.

Kills are real ones, at failpoints of a forked process. What a kill left is put back now and then after it was settled, as if removing
it had failed: that is what `gc` is for.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from assets_core.failpoints import PLACES
from tests.crash.drill import (
    ELSEWHERE,
    PLACES_OF_ROWS,
    Drill,
    leftovers,
    make_drill,
    successes,
    visible,
)
from tests.crash.launcher import Launcher

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

SEEDS = range(int(os.environ.get("PARTITA_GC_SEEDS", "3")))
ACTS = 14
KILLED = -9
STAGES = ("lake/.partita", "shop.duckdb.stage")


def staged(folder: Path) -> Iterator[Path]:
    """What waits in the stages."""
    for stage in STAGES:
        for one in (folder / stage).glob("*"):
            if one.name != "checked" and not one.name.startswith("process-"):
                yield one


def running_tokens(drill: Drill) -> set[str]:
    """Tokens that may be published yet."""
    return {token for (token,) in drill.ask("select token from step where status = 'running'")}


class History:
    """One project, and what is done to it."""

    def __init__(self, drill: Drill, launcher: Launcher, dice: random.Random, aside: Path) -> None:
        self.drill = drill
        self.launcher = launcher
        self.dice = dice
        self.aside = aside
        self.version = 1
        self.left: list[tuple[Path, Path]] = []

    def run(self) -> None:
        """All of it, to its end."""
        self.version += 1
        self.drill.new_version(self.version)
        ended = self.launcher.run("materialize")
        assert ended.code == 0, ended.said
        assert visible(self.drill.project) == dict.fromkeys(PLACES_OF_ROWS, self.version)

    def crash(self) -> None:
        """A run that is killed somewhere, and the next one settles."""
        self.version += 1
        self.drill.new_version(self.version)
        places = [one for one in PLACES if one not in ELSEWHERE and not one.startswith("recover.")]
        place = self.dice.choice(places)
        armed = f"{place}=kill@{self.dice.randint(1, 3)}"
        ended = self.launcher.run("materialize", failpoints=armed)
        assert ended.code in {0, KILLED}, (armed, ended.said)
        for path in staged(self.drill.project.folder):
            kept = self.aside / f"{len(self.left)}"
            shutil.copytree(path, kept)
            self.left.append((kept, path))

    def put_back(self) -> None:
        """What a kill left, after it was settled."""
        if self.left and not running_tokens(self.drill):
            kept, path = self.dice.choice(self.left)
            if not path.exists():
                shutil.copytree(kept, path)

    def look(self) -> None:
        """A dry run changes nothing and spares what may be published."""
        before = sorted(self.drill.project.folder.rglob("*"))
        ended = self.launcher.run("state", "gc", "--dry-run", "--json")
        named = {Path(one["path"]).name for one in json.loads(ended.said)["data"]["removed"]}
        assert not named & running_tokens(self.drill)
        assert sorted(self.drill.project.folder.rglob("*")) == before

    def collect(self) -> None:
        """Nothing is left over, and rows are as they were."""
        before = visible(self.drill.project)
        ended = self.launcher.run("state", "gc")
        assert ended.code == 0, ended.said
        assert visible(self.drill.project) == before
        assert leftovers(self.drill.project) == []
        assert running_tokens(self.drill) == set()

    def verify(self) -> None:
        """State and destinations agree at any time."""
        ended = self.launcher.run("state", "verify")
        assert ended.code == 0, ended.said


@pytest.mark.parametrize("seed", SEEDS)
def test_gc_removes_what_nothing_refers_to_and_never_anything_else(
    tmp_path: Path, seed: int
) -> None:
    drill = make_drill(tmp_path / "shop")
    dice = random.Random(seed)  # noqa: S311 - a test's dice
    with Launcher(drill.project.folder, drill.project.environment()) as launcher:
        history = History(drill, launcher, dice, tmp_path)
        assert launcher.run("materialize").code == 0
        acts = (
            history.run,
            history.crash,
            history.crash,
            history.put_back,
            history.look,
            history.collect,
        )
        for number in range(ACTS):
            act = dice.choice(acts)
            act()
            history.verify()
            for place, times in successes(drill).items():
                assert times <= history.version, (seed, number, place)
        history.run()
        history.collect()
