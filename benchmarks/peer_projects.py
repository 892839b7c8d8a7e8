"""The project of the benchmark `peers` in each tool's own words, as texts; names in capitals are filled in by it.

The work is the same: `WORK` is imported by the assets of Partita and Dagster and by the loop by hand, and SQLMesh has the same rows
as SQL. Run by itself it prints nothing.
"""

from __future__ import annotations

WORK = '''
"""Rows of a day, their totals, and how they are written by hand."""

from datetime import date

import pyarrow as pa

EPOCH = date(1970, 1, 1)


def raw_rows(day: date) -> pa.Table:
    at = (day - EPOCH).days
    numbers = range(ROWS_A_DAY)
    return pa.table(
        {
            "day": pa.array([day] * len(numbers)),
            "number": pa.array(numbers, pa.int64()),
            "shop": pa.array([n % SHOP_COUNT for n in numbers], pa.int64()),
            "amount": pa.array([(at * 31 + n * 7) % 1000 for n in numbers], pa.int64()),
        }
    )


def totals(rows: pa.Table) -> pa.Table:
    summed = rows.group_by(["day", "shop"]).aggregate([("amount", "sum")])
    return summed.rename_columns(["day", "shop", "amount"])


def write(database, table: str, days: list[date], rows: pa.Table) -> None:
    """Replace the rows of these days."""
    database.execute("begin")
    database.register("new_rows", rows)
    database.execute(f"create table if not exists {table} as select * from new_rows limit 0")
    database.execute(f"delete from {table} where day between ? and ?", [days[0], days[-1]])
    database.execute(f"insert into {table} by name select * from new_rows")
    database.unregister("new_rows")
    database.execute("commit")


def read(database, table: str, days: list[date]) -> pa.Table:
    found = database.execute(f"select * from {table} where day between ? and ?", [days[0], days[-1]])
    return found.to_arrow_table()
'''

HAND = """
from datetime import date, timedelta

import duckdb
from work import raw_rows, read, totals, write

first = date.fromisoformat("FIRST_DAY")
with duckdb.connect("shop.duckdb") as database:
    for n in range(DAY_COUNT):
        days = [first + timedelta(days=n)]
        write(database, "raw_orders", days, raw_rows(days[0]))
        write(database, "daily_totals", days, totals(read(database, "raw_orders", days)))
"""

PARTITA_ASSETS = '''
"""Two daily assets."""

from datetime import date

import pyarrow as pa
import work

from assets_core import AssetContext, asset
from partitions import DailyPartitions

days = DailyPartitions("FIRST_DAY", end="END_DAY")


@asset(partitions=days, partition_by="day", batch_size=BATCH_SIZE)
def raw_orders(context: AssetContext) -> pa.Table:
    return pa.concat_tables(work.raw_rows(date.fromisoformat(key)) for key in context.partition_keys)


@asset(partitions=days, partition_by="day", batch_size=BATCH_SIZE)
def daily_totals(raw_orders: pa.Table) -> pa.Table:
    return work.totals(raw_orders)
'''

DAGSTER_ASSETS = '''
"""Two daily assets; each opens the file for itself, as Dagster's own resource for DuckDB does."""

import warnings
from datetime import date

import duckdb
import pyarrow as pa
import work

import dagster as dg

warnings.simplefilter("ignore")
days = dg.DailyPartitionsDefinition("FIRST_DAY", end_date="END_DAY")


@dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
def raw_orders(context: dg.AssetExecutionContext) -> None:
    some = [date.fromisoformat(key) for key in context.partition_keys]
    with duckdb.connect("shop.duckdb") as database:
        work.write(database, "raw_orders", some, pa.concat_tables(map(work.raw_rows, some)))


@dg.asset(partitions_def=days, deps=[raw_orders], backfill_policy=dg.BackfillPolicy.single_run())
def daily_totals(context: dg.AssetExecutionContext) -> None:
    some = [date.fromisoformat(key) for key in context.partition_keys]
    with duckdb.connect("shop.duckdb") as database:
        work.write(database, "daily_totals", some, work.totals(work.read(database, "raw_orders", some)))


defs = dg.Definitions(assets=[raw_orders, daily_totals])
'''

DAGSTER_BACKFILL = """
import sys

from assets import daily_totals, days, raw_orders

import dagster as dg

kind = sys.argv[1]
keys = days.get_partition_keys()
instance = dg.DagsterInstance.ephemeral() if kind == "memory" else dg.DagsterInstance.get()
with instance:
    if kind == "range":
        tags = {
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[-1],
        }
        assert dg.materialize([raw_orders, daily_totals], instance=instance, tags=tags).success
    else:
        for key in keys:
            done = dg.materialize([raw_orders, daily_totals], instance=instance, partition_key=key)
            assert done.success
"""

DAGSTER_MISSING = """
from assets import defs

import dagster as dg

with dg.DagsterInstance.get() as instance:
    for spec in defs.resolve_all_asset_specs():
        done = set(instance.get_materialized_partitions(spec.key))
        missing = [key for key in spec.partitions_def.get_partition_keys() if key not in done]
        assert done
        assert not missing
"""

DAGSTER_SETTINGS = """
telemetry:
  enabled: false
"""

SQLMESH_SETTINGS = """
gateways:
  local:
    connection:
      type: duckdb
      database: warehouse.duckdb
    state_connection:
      type: duckdb
      database: state.duckdb
default_gateway: local
disable_anonymized_analytics: true
model_defaults:
  dialect: duckdb
"""

_SQLMESH_MODEL = """
MODEL (
  name shop.TABLE_NAME,
  kind INCREMENTAL_BY_TIME_RANGE (time_column dayBATCH_SIZE),
  start 'FIRST_DAY',
  end 'LAST_DAY',
  cron '@daily'
);
"""

SQLMESH_TABLES = (
    _SQLMESH_MODEL.replace("TABLE_NAME", "raw_orders")
    + """
SELECT
  d::DATE AS day,
  n::BIGINT AS number,
  (n % SHOP_COUNT)::BIGINT AS shop,
  ((EPOCH(d) // 86400 * 31 + n * 7) % 1000)::BIGINT AS amount
FROM GENERATE_SERIES(@start_ts::TIMESTAMP, @end_ts::TIMESTAMP, INTERVAL 1 DAY) AS days(d)
CROSS JOIN RANGE(ROWS_A_DAY) AS numbers(n)
""",
    _SQLMESH_MODEL.replace("TABLE_NAME", "daily_totals")
    + """
SELECT day, shop, SUM(amount)::BIGINT AS amount
FROM shop.raw_orders
WHERE day BETWEEN @start_ds AND @end_ds
GROUP BY day, shop
""",
)

CHECK = """
import sys

import duckdb

database, table, wanted = sys.argv[1:]
with duckdb.connect(database, read_only=True) as connection:
    rows, amount = connection.execute(f"select count(*), sum(amount) from {table}").fetchone()
found = f"{rows},{amount}"
if found != wanted:
    sys.exit(f"{table} has rows,amount {found} instead of {wanted}")
"""
