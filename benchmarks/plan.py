"""What a plan costs, from a state file to the plan, over project sizes and kinds of change; and how it grows.

Each case runs in a process of its own: CPU (user and system), wall and peak memory are of loading state and planning, with imports and
definitions made before. The graph is a ladder: every asset reads the one before it and the one at half its number.

    python benchmarks/plan.py                 200 x 8,760 and 1,000 x 8,760
    python benchmarks/plan.py --large         and 1,000 x 87,600
    python benchmarks/plan.py ASSETS HOURS CASE STATE-FILE     one case, as JSON
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np

from assets_core.authoring.graph import AssetGraph
from assets_core.authoring.outline import Outline
from assets_core.execution.facts import gather_facts, versions_of
from assets_core.model.io_manager import WriteReceipt
from assets_core.model.records import RunKind, RunRecord, RunStatus, StepClaim, StepSucceeded
from assets_core.model.specs import AssetSpec, Dependency, Replace, RetryPolicy
from assets_core.planning.planner import PlanRequest, plan_run
from assets_core.state.sqlite import SqliteStore
from partitions import HourlyPartitions, Identity

sys.path.insert(0, str(Path(__file__).parent))
from seed_state import Seed, seed_state

NOW = datetime(2025, 1, 1, tzinfo=UTC)
CASES = (
    "no-op",
    "one source partition newer",
    "code change at the root",
    "every tenth hour missing",
    "all missing",
)
SIZES = ((200, 8_760), (1_000, 8_760))
LARGE = (1_000, 87_600)


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


def seed(path: Path, assets: int, hours: int, case: str) -> None:
    """Make the state that the case starts from."""
    specs = project(assets, hours)
    ids = next(iter(specs.values())).partitions.index(NOW).ids
    if case == "every tenth hour missing":
        ids = ids[np.arange(len(ids)) % 10 != 9]
    if case == "all missing":
        ids = ids[:0]
    with_log = assets * hours < 10_000_000
    seed_state(
        path,
        [Seed(versions_of(spec), ids) for spec in specs.values() if len(ids)],
        with_log=with_log,
    )
    if case == "one source partition newer":
        touch(path, specs["asset_0000"], int(ids[len(ids) // 2]))


def touch(path: Path, spec: AssetSpec, partition_id: int) -> None:
    """Record that one partition came out differently."""
    with SqliteStore(path) as store:
        versions = store.register([versions_of(spec)])[spec.key]
        store.start_run(
            RunRecord("touch", RunKind.MATERIALIZE, "", "", "", RunStatus.RUNNING, NOW)
        )
        claim = StepClaim(spec.key, (partition_id,), "touched", versions.code_id, versions.deps_id)
        (claimed,) = store.claim("touch", [claim], NOW)
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
    specs = project(assets, hours, changed=case == "code change at the root")
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
    """All cases of a size, each in a fresh process."""
    figures = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state.db"
            seed(path, assets, hours, case)
            command = [sys.executable, __file__, str(assets), str(hours), case, str(path)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
            figures[case] = json.loads(answer.stdout)
    return figures


def main() -> None:
    """Print the table."""
    sizes = [*SIZES, *([LARGE] if "--large" in sys.argv else [])]
    print(
        f"{'assets x hours':>16}  {'case':<28} {'CPU s':>7} {'wall s':>7} {'peak MB':>8} {'to run':>11}  x no-op"
    )
    no_ops = {}
    for assets, hours in sizes:
        figures = one_size(assets, hours)
        no_ops[assets, hours] = figures["no-op"]["cpu"]
        for case, one in figures.items():
            ratio = one["cpu"] / no_ops[assets, hours]
            size = f"{assets:,} x {hours:,}"
            print(
                f"{size:>16}  {case:<28} {one['cpu']:7.3f} {one['wall']:7.3f} {one['peak_mb']:8.0f} {int(one['to_run']):11,}  {ratio:.1f}"
            )
    for small, large in pairwise(sizes):
        factor = (large[0] * large[1]) / (small[0] * small[1])
        print(
            f"{factor:.0f} times the partitions: {no_ops[large] / no_ops[small]:.1f} times the CPU (no-op)"
        )


if __name__ == "__main__":
    if len(sys.argv) == 5:
        _, n_assets, n_hours, the_case, state_file = sys.argv
        print(json.dumps(measure(int(n_assets), int(n_hours), the_case, Path(state_file))))
    else:
        main()
