"""What a plan costs, from a state file to the plan, over project sizes and kinds of change; how it grows; and the bars it is held to.

Each case runs in processes of its own: CPU (user and system), wall and peak memory are of loading state and planning, with imports and
definitions made before; of several runs the one with the least CPU counts, for the noise of a shared machine only ever adds. The
graph is a ladder: every asset reads the one before it and the one at half its number. The last figure is a whole command.

    python benchmarks/plan.py                 200 x 8,760, 1,000 x 8,760 and 1,000 x 87,600, and the command
    python benchmarks/plan.py --small         without the largest, whose state takes a minute to make
    python benchmarks/plan.py ASSETS HOURS CASE STATE-FILE     one case once, as JSON
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from operator import itemgetter
from pathlib import Path

import numpy as np

from assets_core.authoring.graph import AssetGraph
from assets_core.authoring.outline import Outline
from assets_core.execution.facts import gather_facts, versions_of
from assets_core.model.io_manager import WriteReceipt
from assets_core.model.records import (
    ClaimedStep,
    RunKind,
    RunRecord,
    RunStatus,
    StepClaim,
    StepSucceeded,
)
from assets_core.model.specs import AssetSpec, Dependency, Replace, RetryPolicy
from assets_core.planning.planner import PlanRequest, plan_run
from assets_core.state.sqlite import SqliteStore
from cli.project import Project
from cli.project.location import find_location
from partitions import HourlyPartitions, Identity

sys.path.insert(0, str(Path(__file__).parent))
from cold_start import PROJECT, cpu_of
from seed_state import Seed, rewrite, seed_state

NOW = datetime(2025, 1, 1, tzinfo=UTC)
NO_OP, NEWER, CODE, TENTH, MISSING = CASES = (
    "no-op",
    "one source partition newer",
    "code change at the root",
    "every tenth hour missing",
    "all missing",
)
SIZES = ((200, 8_760), (1_000, 8_760), (1_000, 87_600))
RUNS = 3

# Bars: for the largest size, but the command's.
MOST_CPU, MOST_MB = 3.0, 1_024
MOST_WITH_HOLES = 3.0
"""Every tenth hour missing, in no-ops."""
MOST_COMMAND_CPU = 0.3
COMMAND_SIZE = (50, "2024-12-31")
"""Assets, and the end of a year of hours."""


def project(assets: int, hours: int, *, changed: bool = False) -> dict[str, AssetSpec]:
    """The ladder; with `changed` the first asset has other code than what was materialized."""
    start = (NOW - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M")
    definition = HourlyPartitions(start, end="2025-01-01")
    specs = {}
    for number in range(assets):
        above = sorted({number // 2, number - 1} - {number, -1})
        specs[f"asset_{number:04}"] = AssetSpec(
            key=f"asset_{number:04}",
            kind="python",
            description="",
            group="default",
            tags=(),
            owners=(),
            partitions=definition,
            dependencies=tuple(Dependency(f"asset_{one:04}", None, Identity()) for one in above),
            write=Replace(),
            partition_by=None,
            io_manager="default",
            retry=RetryPolicy(),
            batch_size=1,
            lookback=0,
            closed_after=timedelta(0),
            code_version="code2" if changed and number == 0 else "code",
            deps_version="deps",
        )
    return specs


def seed(folder: Path, assets: int, hours: int) -> dict[str, Path]:
    """Make the states that the cases start from."""
    specs = project(assets, hours)
    ids = next(iter(specs.values())).partitions.index(NOW).ids
    states = {case: folder / f"{number}.db" for number, case in enumerate(CASES)}
    with_holes = ids[np.arange(len(ids)) % 10 != 9]
    for case, there in ((NO_OP, ids), (TENTH, with_holes), (MISSING, ids[:0])):
        seeds = [Seed(versions_of(spec), there) for spec in specs.values() if len(there)]
        seed_state(states[case], seeds, with_log=assets * hours < 10_000_000)
    for case in (NEWER, CODE):
        shutil.copy(states[NO_OP], states[case])
    touch(states[NEWER], specs["asset_0000"], int(ids[len(ids) // 2]))
    return states


def touch(path: Path, spec: AssetSpec, partition_id: int) -> None:
    """Record that one partition came out differently."""
    with SqliteStore(path) as store:
        versions = store.register([versions_of(spec)])[spec.key]
        store.start_run(
            RunRecord("touch", RunKind.MATERIALIZE, "", "", "", RunStatus.RUNNING, NOW)
        )
        claim = StepClaim(spec.key, (partition_id,), "touched", versions.code_id, versions.deps_id)
        (claimed,) = store.claim("touch", [claim], NOW)
        assert isinstance(claimed, ClaimedStep)
        receipt = WriteReceipt(partition_id, 1, 1, "other", "schema")
        store.record([StepSucceeded(claimed.step_id, claimed.epoch, (receipt,))], NOW)
        store.finish_run("touch", RunStatus.SUCCEEDED, NOW)


def peak_memory() -> float:
    """MB that this process has held at most. `ru_maxrss` won't do: a child starts with its parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(assets: int, hours: int, case: str, path: Path) -> dict[str, float]:
    """Load and plan once; figures of this process."""
    specs = project(assets, hours, changed=case == CODE)
    outline = Outline(AssetGraph(specs), {}, {})
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    with SqliteStore(path) as store:
        facts = gather_facts(outline, store, NOW, verify=False)
        plan = plan_run(facts, PlanRequest(outline.graph.order, {}))
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall": time.perf_counter() - began,
        "peak_mb": peak_memory(),
        "to_run": plan.size,
    }


def one_size(assets: int, hours: int) -> dict[str, dict[str, float]]:
    """All cases of a size, each in fresh processes."""
    figures = {}
    with tempfile.TemporaryDirectory(prefix="partita-plan-") as folder:
        for case, path in seed(Path(folder), assets, hours).items():
            command = [sys.executable, __file__, str(assets), str(hours), case, str(path)]
            answers = [
                subprocess.run(command, capture_output=True, text=True, check=True).stdout
                for _ in range(RUNS)
            ]
            figures[case] = min(map(json.loads, answers), key=itemgetter("cpu"))
    return figures


def command_cpu(assets: int, end: str) -> float:
    """CPU seconds of `partita plan` in a fresh process, from the manifest to "nothing to do", in a project of chained hourly assets."""
    with tempfile.TemporaryDirectory(prefix="partita-plan-") as name:
        folder = Path(name)
        (folder / "assets.py").write_text(PROJECT.format(assets=assets, end=end))
        partita = [str(Path(sys.executable).with_name("partita")), "plan"]
        subprocess.run(partita, cwd=folder, check=True, capture_output=True)
        opened = Project(find_location(folder))
        graph = opened.outline.graph
        seeds = [
            Seed(versions_of(spec), spec.partitions.index(NOW).ids)
            for spec in map(graph.spec, graph.order)
        ]
        state = opened.location.folder / "state.db"
        state.parent.mkdir(exist_ok=True)
        seed_state(state, seeds)
        # Functions of the project return None: there is no data that could be lost.
        rewrite(
            state,
            seeds,
            lambda columns: replace(columns, has_data=np.zeros_like(columns.has_data)),
        )
        subprocess.run(
            [*partita, "--detailed-exitcode"], cwd=folder, check=True, capture_output=True
        )
        return min(cpu_of(partita, folder) for _ in range(RUNS))


def held(value: float, bar: float, unit: str) -> str:
    """A figure beside its bar."""
    return f"{value:.2f} of {bar:g}{unit}{'' if value <= bar else '  TOO MUCH'}"


def report_size(assets: int, hours: int, figures: dict[str, dict[str, float]]) -> None:
    """The lines of one size."""
    for case, one in figures.items():
        size = f"{assets:,} x {hours:,}"
        ratio = one["cpu"] / figures[NO_OP]["cpu"]
        line = f"{size:>16}  {case:<28} {one['cpu']:7.3f} {one['wall']:7.3f} {one['peak_mb']:8.0f} {int(one['to_run']):11,} {ratio:7.1f}"
        if (assets, hours) == SIZES[-1]:
            line += (
                f"   {held(one['cpu'], MOST_CPU, ' s')}, {held(one['peak_mb'], MOST_MB, ' MB')}"
            )
        print(line)


def main() -> None:
    """Print the table."""
    sizes = SIZES[:-1] if "--small" in sys.argv else SIZES
    print(
        f"{'assets x hours':>16}  {'case':<28} {'CPU s':>7} {'wall s':>7} {'peak MB':>8} {'to run':>11} {'x no-op':>7}   of the bars"
    )
    measured = {}
    for size in sizes:
        measured[size] = one_size(*size)
        report_size(*size, measured[size])
    for small, large in pairwise(sizes):
        factor = (large[0] * large[1]) / (small[0] * small[1])
        print(f"{factor:.0f} times the partitions, times the CPU:")
        for case in CASES:
            growth = measured[large][case]["cpu"] / measured[small][case]["cpu"]
            text = held(growth, factor, "") if large == SIZES[-1] else f"{growth:.2f}"
            print(f"    {case:<28} {text}")
    cpu = {case: one["cpu"] for case, one in measured[sizes[-1]].items()}
    print(f"{TENTH}, in no-ops: {held(cpu[TENTH] / cpu[NO_OP], MOST_WITH_HOLES, '')}")
    assets, _ = COMMAND_SIZE
    print(
        f"partita plan, no-op, {assets} x 8,760, cold: {held(command_cpu(*COMMAND_SIZE), MOST_COMMAND_CPU, ' s CPU')}"
    )


if __name__ == "__main__":
    if len(sys.argv) == 5:
        _, n_assets, n_hours, the_case, state_file = sys.argv
        print(json.dumps(measure(int(n_assets), int(n_hours), the_case, Path(state_file))))
    else:
        main()
