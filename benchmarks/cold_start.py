"""What a command costs before it does anything: CPU of a fresh process, and which heavy modules it loaded.

`--help` and `list` must load none of them; `list` answers from the manifest that the last import of the project left. `plan` has
nothing to do: every partition of the project is fresh. Two projects: three assets, and 50 assets of 8,760 hourly partitions.
CPU is user and system time of the process, the least of several runs: the noise of a shared machine only ever adds.

    python benchmarks/cold_start.py [RUNS]
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

HEAVY = (
    "apsw",
    "duckdb",
    "networkx",
    "numpy",
    "opentelemetry",
    "pandas",
    "pendulum",
    "polars",
    "pyarrow",
    "pydantic",
    "rich",
)
PROJECT = '''
from assets_core import asset
from partitions import HourlyPartitions

hours = HourlyPartitions("2024-01-01", end="{end}")


def chain(number):
    """Reads the one before; stores nothing, so that the state is all there is to load."""
    before = [f"step_{{number - 1}}"] if number else []

    @asset(name=f"step_{{number}}", partitions=hours, deps=before)
    def step():
        return None

    return step


steps = [chain(number) for number in range({assets})]
'''


def cpu_of(arguments: list[str], folder: Path) -> float:
    """CPU seconds of one command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        arguments,
        cwd=folder,
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        # An installed package has its bytecode; this check-out's would else be compiled anew each time where writing it is forbidden.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def heavy_modules(arguments: list[str], folder: Path) -> list[str]:
    """Heavy modules that the command imported, by Python's own account."""
    done = subprocess.run(
        arguments,
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
    )
    loaded = set(re.findall(r"^import time:.*\|\s+(\w+)", done.stderr, re.MULTILINE))
    return [name for name in HEAVY if name in loaded]


def main() -> None:
    """Print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    partita = str(Path(sys.executable).with_name("partita"))
    print(f"{'':44}{'CPU ms':>8}  heavy modules")
    bare = min(cpu_of([sys.executable, "-c", "pass"], Path.cwd()) for _ in range(runs))
    print(f"{'python -c pass':44}{bare * 1e3:8.0f}  -")
    with tempfile.TemporaryDirectory(prefix="partita-cold-start-") as name:
        for assets, end in ((3, "2024-01-31"), (50, "2024-12-31")):
            folder = Path(name) / str(assets)
            folder.mkdir()
            (folder / "assets.py").write_text(PROJECT.format(assets=assets, end=end))
            subprocess.run([partita, "materialize"], cwd=folder, check=True, capture_output=True)
            for words in ("--help", "list", "plan", "status"):
                command = [partita, words]
                least = min(cpu_of(command, folder) for _ in range(runs))
                heavy = ", ".join(heavy_modules(command, folder)) or "none"
                label = f"partita {words}, {assets} assets"
                print(f"{label:44}{least * 1e3:8.0f}  {heavy}")


if __name__ == "__main__":
    main()
