"""The same small project in Partita, Dagster and SQLMesh: what each costs on this machine, in one run, as ratios to Partita.

Two daily assets, 100 raw rows a day and their totals by shop, stored in a DuckDB file; state on disk, as each tool keeps it when it is
used for real. Dagster and SQLMesh are installed by pip, each into a virtual environment of its own below the cache folder (about
800 MB together), in the versions that pip finds; delete the folder to get newer ones. Their telemetry is off. Partita is the
one that this Python has.

What is compared:
- start: `--help` of each command line.
- list: `partita list`; `dagster asset list`; `sqlmesh info`, which loads the models and counts them, for want of a list.
- plan with nothing to do: `partita plan`; `sqlmesh plan`; Dagster has none, so a script that loads the definitions and asks the instance
  which partitions were never materialized, which is less than a plan: it knows of no changed code or data.
- backfill day by day, a call of each function or a statement of each model per day: `partita backfill`, which groups what it commits;
  `sqlmesh plan --auto-apply` from nothing with `batch_size 1`; Dagster's `materialize` once per day in one process, on an instance on
  disk and on one in memory; and the same work by hand, two transactions a day.
- backfill at once, where a call takes all days: `batch_size` in Partita; none in SQLMesh; one run over the range in Dagster.

Every backfill is checked: its rows must be there, with the right sum. CPU is that of the command and of what it started. Short commands
run several times and the least counts, because the noise of a shared machine only adds; backfills run once.

    python benchmarks/peers.py [--days 365] [--only dagster] [--cache DIR] [--limit SECONDS]
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from peer_projects import (
    CHECK,
    DAGSTER_ASSETS,
    DAGSTER_BACKFILL,
    DAGSTER_MISSING,
    DAGSTER_SETTINGS,
    HAND,
    PARTITA_ASSETS,
    SQLMESH_SETTINGS,
    SQLMESH_TABLES,
    WORK,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

FIRST = date(2023, 1, 1)
ROWS_A_DAY, SHOPS = 100, 10
REPEATS = 3
START, LIST, PLAN = "start", "list", "plan with nothing to do"
DAILY, AT_ONCE = "backfill day by day", "backfill at once"
MEASURES = (START, LIST, PLAN, DAILY, AT_ONCE)
PACKAGES = {"dagster": ("dagster", "duckdb", "pyarrow"), "sqlmesh": ("sqlmesh",)}
SILENCE = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "SQLMESH__DISABLE_ANONYMIZED_ANALYTICS": "true",
    "DO_NOT_TRACK": "1",
    "NO_COLOR": "1",
}


class PeerError(Exception):
    """A tool could not be installed or run; the text is one line."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command cost, in seconds."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to measure; later ones of the same tool may build on what it leaves."""

    measure: str
    tool: str
    work: Callable[[], Cost]


@dataclass(frozen=True, slots=True)
class Row:
    """One tool's figure of one measure, or the line that says why there is none."""

    measure: str
    tool: str
    cost: Cost | str


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the projects of this run are, and how much they have to do."""

    root: Path
    days: int
    limit: float

    @property
    def last(self) -> date:
        """The last day."""
        return FIRST + timedelta(days=self.days - 1)

    def folder(self, name: str, files: Mapping[str, str]) -> Path:
        """A new folder with these files, this run's values filled in."""
        path = self.root / name
        for place, text in files.items():
            file = path / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.filled(text))
        return path

    def filled(self, text: str) -> str:
        """The text with this run's dates and counts in the place of their names."""
        values = {
            "FIRST_DAY": FIRST.isoformat(),
            "LAST_DAY": self.last.isoformat(),
            "END_DAY": (self.last + timedelta(days=1)).isoformat(),
            "ROWS_A_DAY": str(ROWS_A_DAY),
            "SHOP_COUNT": str(SHOPS),
            "DAY_COUNT": str(self.days),
        }
        for name, value in values.items():
            text = text.replace(name, value)
        return text

    def run(
        self, command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None
    ) -> Cost:
        """Run a command to its end and answer what it and its children cost. Raises PeerError: it failed or took too long."""
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        # A home of its own: these tools keep caches and identities there, and nothing is to be left behind.
        full = {**os.environ, **SILENCE, "HOME": str(home), **(env or {})}
        with tempfile.TemporaryFile() as said:
            began = time.perf_counter()
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=full,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            late = threading.Event()
            timer = threading.Timer(self.limit, _stop, (process.pid, late))
            timer.start()
            try:
                # Not `wait`: this one also says what the process and its children used.
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                _kill(process.pid)
                raise
            finally:
                timer.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            if late.is_set():
                raise PeerError(f"{Path(command[0]).name} was stopped after {self.limit:.0f} s")
            if process.returncode:
                said.seek(0)
                raise PeerError(
                    f"exit code {process.returncode}: {_last_line(said.read().decode())}"
                )
            return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - began)

    def least(
        self, command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None
    ) -> Cost:
        """The least of several runs of a short command."""
        costs = [self.run(command, folder, env) for _ in range(REPEATS)]
        return Cost(min(cost.cpu for cost in costs), min(cost.wall for cost in costs))

    def check(self, python: Path, database: Path, raw: str, totals: str) -> None:
        """Raise PeerError unless both tables hold what they should."""
        day_numbers = [(FIRST - date(1970, 1, 1)).days + n for n in range(self.days)]
        amount = sum(
            (day * 31 + number * 7) % 1000 for day in day_numbers for number in range(ROWS_A_DAY)
        )
        for table, rows in ((raw, ROWS_A_DAY), (totals, SHOPS)):
            wanted = f"{self.days * rows},{amount}"
            self.run([str(python), "-c", CHECK, str(database), table, wanted], self.root)


def _stop(group: int, late: threading.Event) -> None:
    late.set()
    _kill(group)


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has just ended


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else "it said nothing"


def installed(tool: str, cache: Path) -> Path:
    """The Python of the tool's own environment, made if it isn't there. Raises PeerError: it could not be installed."""
    home = cache / f"{tool}-{sys.version_info.major}.{sys.version_info.minor}"
    python, stamp, packages = home / "bin" / "python", home / "installed", PACKAGES[tool]
    if stamp.is_file() and stamp.read_text().split() == list(packages):
        return python
    print(f"installing {' '.join(packages)} below {home} (once) ...", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *packages]
    for command in ([sys.executable, "-m", "venv", str(home)], pip):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(home, ignore_errors=True)
            why = _last_line(f"{done.stdout}\n{done.stderr}")
            raise PeerError(f"could not be installed: {why}")
    stamp.write_text("\n".join(packages))
    return python


def version(python: Path, package: str) -> str:
    """The version of an installed package."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def partita_tasks(bench: Bench) -> Iterable[Task]:
    """The measures of Partita, and the work by hand in the same Python."""
    python = Path(sys.executable)
    command = str(python.with_name("partita"))
    folders = [
        bench.folder(
            f"partita-{batch}",
            {"assets.py": PARTITA_ASSETS.replace("BATCH_SIZE", str(batch)), "work.py": WORK},
        )
        for batch in (1, bench.days)
    ]
    by_hand = bench.folder("hand", {"hand.py": HAND, "work.py": WORK})
    backfill = [command, "backfill", "+daily_totals", f"{FIRST}...{bench.last}"]

    def filled(folder: Path, database: str, words: Sequence[str]) -> Cost:
        cost = bench.run(words, folder)
        bench.check(python, folder / database, "raw_orders", "daily_totals")
        return cost

    def short(word: str) -> Cost:
        return bench.least([command, word], folders[0])

    ours = ".partita/data.duckdb"
    yield Task(START, "partita", lambda: short("--help"))
    yield Task(LIST, "partita", lambda: short("list"))
    yield Task(DAILY, "partita", lambda: filled(folders[0], ours, backfill))
    yield Task(PLAN, "partita", lambda: short("plan"))
    yield Task(AT_ONCE, "partita", lambda: filled(folders[1], ours, backfill))
    hand = [str(python), "hand.py"]
    yield Task(DAILY, "by hand", lambda: filled(by_hand, "shop.duckdb", hand))


def dagster_tasks(bench: Bench, python: Path) -> Iterable[Task]:
    """The measures of Dagster."""
    command = str(python.with_name("dagster"))
    files = {
        "assets.py": DAGSTER_ASSETS,
        "work.py": WORK,
        "backfill.py": DAGSTER_BACKFILL,
        "missing.py": DAGSTER_MISSING,
        "instance/dagster.yaml": DAGSTER_SETTINGS,
    }
    kinds = ("disk", "range", "memory")
    folders = {kind: bench.folder(f"dagster-{kind}", files) for kind in kinds}
    homes = {kind: {"DAGSTER_HOME": str(folders[kind] / "instance")} for kind in kinds}

    def filled(kind: str) -> Cost:
        cost = bench.run([str(python), "backfill.py", kind], folders[kind], homes[kind])
        bench.check(python, folders[kind] / "shop.duckdb", "raw_orders", "daily_totals")
        return cost

    def short(*words: str) -> Cost:
        return bench.least(words, folders["disk"], homes["disk"])

    yield Task(START, "dagster", lambda: short(command, "--help"))
    yield Task(LIST, "dagster", lambda: short(command, "asset", "list", "-f", "assets.py"))
    yield Task(DAILY, "dagster", lambda: filled("disk"))
    yield Task(PLAN, "dagster", lambda: short(str(python), "missing.py"))
    yield Task(DAILY, "dagster in memory", lambda: filled("memory"))
    yield Task(AT_ONCE, "dagster", lambda: filled("range"))


def sqlmesh_tasks(bench: Bench, python: Path) -> Iterable[Task]:
    """The measures of SQLMesh."""
    command = str(python.with_name("sqlmesh"))
    plan = [command, "plan", "--no-prompts", "--skip-tests"]
    raw, totals = SQLMESH_TABLES
    folders = [
        bench.folder(
            f"sqlmesh-{name}",
            {
                "config.yaml": SQLMESH_SETTINGS,
                "models/raw_orders.sql": raw.replace("BATCH_SIZE", batch),
                "models/daily_totals.sql": totals.replace("BATCH_SIZE", batch),
            },
        )
        for name, batch in (("daily", ", batch_size 1"), ("at-once", ""))
    ]

    def filled(folder: Path) -> Cost:
        cost = bench.run([*plan, "--auto-apply"], folder)
        bench.check(python, folder / "warehouse.duckdb", "shop.raw_orders", "shop.daily_totals")
        return cost

    def short(*words: str) -> Cost:
        return bench.least(words, folders[0])

    yield Task(START, "sqlmesh", lambda: short(command, "--help"))
    yield Task(LIST, "sqlmesh", lambda: short(command, "info", "--skip-connection"))
    yield Task(DAILY, "sqlmesh", lambda: filled(folders[0]))
    yield Task(PLAN, "sqlmesh", lambda: short(*plan))
    yield Task(AT_ONCE, "sqlmesh", lambda: filled(folders[1]))


def measured(tasks: Iterable[Task]) -> list[Row]:
    """Do the tasks in order; one that fails is a row with the reason, and the next are done all the same."""
    rows: list[Row] = []
    for task in tasks:
        cost: Cost | str
        failed = {row.tool for row in rows if row.measure == DAILY and isinstance(row.cost, str)}
        if task.measure == PLAN and task.tool in failed:
            cost = "its backfill failed, so there would be something to do"
        else:
            try:
                cost = task.work()
            except PeerError as error:
                cost = str(error)
        rows.append(Row(task.measure, task.tool, cost))
        print(f"  {task.tool}: {task.measure}", file=sys.stderr)
    return rows


def print_table(rows: Sequence[Row], days: int) -> None:
    """Print the measures one after another, each with its ratios to Partita."""
    print(f"\n{'':44}{'CPU s':>9}{'wall s':>9}{'× CPU':>8}{'× wall':>8}{'ms CPU/partition':>18}")
    hand = next((r.cost for r in rows if r.tool == "by hand" and isinstance(r.cost, Cost)), None)
    for measure in MEASURES:
        here = [row for row in rows if row.measure == measure]
        ours = next((r.cost for r in here if r.tool == "partita"), None)
        for row in here:
            label = f"{measure}: {row.tool}"
            if isinstance(row.cost, str):
                print(f"{label:44}  {row.cost}")
                continue
            line = f"{label:44}{row.cost.cpu:9.2f}{row.cost.wall:9.2f}"
            if isinstance(ours, Cost):
                line += f"{row.cost.cpu / ours.cpu:8.1f}{row.cost.wall / ours.wall:8.1f}"
            if measure == DAILY and hand is not None and row.tool != "by hand":
                line += f"{(row.cost.cpu - hand.cpu) / (2 * days) * 1e3:18.2f}"
            print(line)
    print(
        f"\n{days} days of two assets. ms CPU/partition: what the tool adds to each of the {2 * days} partitions, "
        "(its CPU - that by hand) / partitions; start of the process included."
    )


def own_folder(path: Path) -> Path:
    """The cache folder, made if it isn't there. Code is run from it, so it must be nobody else's."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise SystemExit(f"{path} belongs to somebody else; name another with --cache")
    return path


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Partita against Dagster and SQLMesh.")
    parser.add_argument("--days", type=int, default=365, help="partitions of each asset")
    parser.add_argument("--only", choices=sorted(PACKAGES), help="only this peer")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / f"partita-peers-{os.getuid()}",
        help="where the peers are installed (default: %(default)s)",
    )
    parser.add_argument(
        "--limit", type=float, default=1800, help="seconds that a command may take"
    )
    given = parser.parse_args()
    cache = own_folder(given.cache.resolve())
    with tempfile.TemporaryDirectory(prefix="partita-peers-") as name:
        bench = Bench(Path(name), given.days, given.limit)
        versions = [f"partita {version(Path(sys.executable), 'partita')}"]
        rows = measured(partita_tasks(bench))
        for tool, tasks_of in (("dagster", dagster_tasks), ("sqlmesh", sqlmesh_tasks)):
            if given.only not in {None, tool}:
                continue
            try:
                python = installed(tool, cache)
            except PeerError as error:
                print(f"{tool} is left out: it {error}", file=sys.stderr)
                continue
            versions.append(f"{tool} {version(python, tool)}")
            rows += measured(tasks_of(bench, python))
    print(", ".join(versions))
    print_table(rows, given.days)


if __name__ == "__main__":
    main()
