"""The files of the projects that `partita init` makes. Writing them is `init`'s."""

from __future__ import annotations

from typing import Final

_PYPROJECT: Final = """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["partita"]

[tool.partita]
definitions = "assets"
"""

_README: Final = """\
# {title}

{about}

    partita plan               # what would run, and why
    partita materialize        # run it; a second time says that all is up to date
    partita status             # how fresh each asset is
    partita lineage            # what reads what

{try_this}

The rows are in `.partita/data.duckdb`, one table per asset; the record of what was run is in `.partita/state.db`.
"""

_DAILY: Final = '''\
"""A small weather station: its readings, the summary of each day, and the trend over a week."""

from __future__ import annotations

import math
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
from assets_core import AssetContext, CheckResult, Input, asset, asset_check
from partitions import DailyPartitions, LastN

# Without `end`, each day becomes a partition as soon as it is over.
days = DailyPartitions("2025-03-01", end="2025-04-01", timezone="Europe/Berlin")


@asset(partitions=days, group="bronze")
def readings(context: AssetContext) -> pa.Table:
    """One temperature per hour of the day. A real project would fetch them from somewhere here."""
    start, end = context.window.start, context.window.end
    hours = int((end - start) / timedelta(hours=1))
    if start.utcoffset() != end.utcoffset():
        hours = int((end.timestamp() - start.timestamp()) / 3600)  # 23 hours on 30 March, when the clocks change
    first = int(start.timestamp())
    measured_at = [first + 3600 * hour for hour in range(hours)]
    celsius = [8 + 6 * math.sin((at % 86400) / 86400 * 2 * math.pi) + (at // 86400) % 5 for at in measured_at]
    return pa.table({"measured_at": pa.array(measured_at, pa.timestamp("s", tz="UTC")), "celsius": celsius})


@asset(partitions=days, group="silver")
def daily_summary(context: AssetContext, readings: pa.Table) -> pa.Table:
    """Number of readings, mean and highest temperature of the day."""
    celsius = readings["celsius"]
    return pa.table(
        {
            "day": [context.window.start.date()],
            "readings": [len(celsius)],
            "mean_celsius": [pc.mean(celsius).as_py()],
            "max_celsius": [pc.max(celsius).as_py()],
        }
    )


@asset(partitions=days, group="gold", inputs={"week": Input(daily_summary, mapping=LastN(7))})
def weekly_trend(context: AssetContext, week: pa.Table) -> pa.Table:
    """The mean over the day and the six days before it."""
    return pa.table(
        {
            "day": [context.window.start.date()],
            "days": [len(week)],
            "mean_celsius": [pc.mean(week["mean_celsius"]).as_py()],
        }
    )


@asset_check(readings, blocking=True)
def temperatures_are_plausible(readings: pa.Table) -> CheckResult:
    """No reading is outside of what the station can measure."""
    highest = pc.max(readings["celsius"]).as_py()
    return CheckResult(passed=-60 < highest < 60, message=f"the highest is {highest:.1f} °C")
'''

_ROLLUP: Final = '''\
"""Page views of a shop by the hour, rolled up by day and region, and a table without partitions beside them."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from assets_core import AssetContext, asset
from partitions import DailyPartitions, HourlyPartitions

hours = HourlyPartitions("2025-03-29", end="2025-04-01", timezone="Europe/Berlin")
days = DailyPartitions("2025-03-29", end="2025-04-01", timezone="Europe/Berlin")


@asset(group="reference")
def regions() -> pa.Table:
    """The regions of the shop; one table, not partitioned."""
    return pa.table({"region": ["eu", "us"], "name": ["Europe", "United States"]})


@asset(partitions=hours, group="bronze")
def page_views(context: AssetContext) -> pa.Table:
    """Views per region in one hour. A real project would read a log here."""
    seed = int(context.window.start.timestamp()) // 3600
    return pa.table({"hour": [context.partition_key] * 2, "region": ["eu", "us"], "views": [seed % 97, seed % 53]})


@asset(partitions=days, group="gold")
def daily_views(context: AssetContext, page_views: pa.Table, regions: pa.Table) -> pa.Table:
    """Views per day and region; a day reads its 24 hours, 23 on 30 March when the clocks change."""
    day: date = context.window.start.date()
    by_region = page_views.group_by("region").aggregate([("views", "sum"), ("views", "count")])
    named = by_region.join(regions, "region").sort_by("region")
    return pa.table(
        {
            "day": [day] * len(named),
            "region": named["name"],
            "views": named["views_sum"],
            "hours": pc.cast(named["views_count"], pa.int64()),
        }
    )
'''

EXAMPLES: Final = {
    "daily": (
        _DAILY,
        "A small weather station",
        "Three daily assets in March 2025: `readings`, `daily_summary` and `weekly_trend`, which reads the last seven days.",
        "Then change the formula in `readings` and run `partita plan` again. A changed comment makes nothing stale.",
    ),
    "rollup": (
        _ROLLUP,
        "Page views by hour and day",
        "Hourly `page_views` are rolled up into `daily_views` in the local time of Berlin, joined with `regions`, which has no partitions.",
        "Then run `partita materialize page_views 2025-03-30T04:00 --force` and see in `partita plan` which day that hour belongs to.",
    ),
}
"""Example → its assets module, title, what it is, and what to try."""


def starter_files(project: str, example: str) -> dict[str, str]:
    """File name → content of a new project.

    >>> sorted(starter_files("station", "daily"))
    ['README.md', 'assets.py', 'pyproject.toml']
    """
    assets, title, about, try_this = EXAMPLES[example]
    return {
        "pyproject.toml": _PYPROJECT.format(name=_distribution_name(project)),
        "assets.py": assets,
        "README.md": _README.format(title=title, about=about, try_this=try_this),
    }


def _distribution_name(folder: str) -> str:
    """The folder's name as a name that packaging tools accept."""
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in folder.lower())
    return "-".join(part for part in kept.split("-") if part) or "project"
