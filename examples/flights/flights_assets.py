"""New York's flights and weather in 2013: from the source files to a rolling delay trend.

    weather_hourly ──► weather_daily ──┐
                                       ├──► delays_by_carrier ──► delay_trend
    flights_daily ──► flights_clean ───┤
                                       └──► destinations_monthly
    airports ──────────────────────────────────┘

What the source files hold, found by querying them, and the rule that follows:

- Weather is identified by `time_hour` (UTC) and `origin`. The wall-clock columns say 01:00 twice on 2013-11-03 and never 02:00 on
  2013-03-10, so they identify nothing. 46 of the year's 8,760 hours have no row at all: those partitions are materialized, and empty.
  The file ends on 2013-12-30 at 18:00, so the last day has flights but no weather.
- A wind speed of 1,048 mph (Newark, 2013-02-12) is a broken sensor; the roll-up leaves out speeds above `FASTEST_CREDIBLE_WIND`.
- A flight belongs to the local day on which it was scheduled to leave, even if it left after midnight. Within a day carrier and flight
  number are not unique (24 pairs of rows); with the origin they are.
- `dep_time` is null for 8,255 cancelled flights. 1,175 others left but have no arrival delay: they were diverted, or it was not recorded.
- Four destinations (BQN, PSE, SJU, STT) are not among the airports: they keep a null name.
"""

from __future__ import annotations

import duckdb
import flights_source as source
import pyarrow as pa

from assets_core import (
    AssetContext,
    CheckResult,
    Definitions,
    Input,
    Merge,
    asset,
    asset_check,
    load_assets,
)
from io_managers import DuckDBIOManager, ParquetIOManager
from partitions import DailyPartitions, HourlyPartitions, LastN, MonthlyPartitions

START, END = "2013-01-01", "2014-01-01"  # the end is exclusive
NEW_YORK = "America/New_York"
FASTEST_CREDIBLE_WIND = 200  # mph

hours = HourlyPartitions(START, end=END, timezone=NEW_YORK)
days = DailyPartitions(START, end=END, timezone=NEW_YORK)
months = MonthlyPartitions(START, end=END, timezone=NEW_YORK)


@asset(
    partitions=hours,
    group="bronze",
    io_manager="lake",
    partition_by="time_hour",
    batch_size=24 * 7,
)
def weather_hourly(context: AssetContext) -> pa.Table:
    """Weather as observed at each airport, by the hour in which it was observed."""
    return source.weather_between(context.window.start, context.window.end)


@asset(partitions=days, group="bronze", partition_by="scheduled_on", batch_size=31)
def flights_daily(context: AssetContext) -> pa.Table:
    """Flights as the source has them, by the local day on which they were scheduled to leave."""
    return source.flights_between(context.window.start.date(), context.window.end.date())


@asset(group="bronze")
def airports() -> pa.Table:
    """Airports by their FAA code."""
    return source.all_airports()


@asset(partitions=days, group="silver", partition_by="observed_on", batch_size=31)
def weather_daily(weather_hourly: pa.Table) -> pa.Table:
    """One row per airport and local day, over its 23, 24 or 25 hours."""
    # Decimals, because the sum of floats depends on their order, and DuckDB adds in parallel: the same hours must make the same day.
    return _query(
        """
        select make_date(year, month, day) as observed_on, origin,
               count(*)::integer as hours,
               round(avg(temp::decimal(6, 2)), 2) as mean_temp, min(temp) as min_temp, max(temp) as max_temp,
               sum(precip::decimal(6, 2))::double as precip, min(visib) as min_visib,
               max(wind_speed) filter (wind_speed < $fastest) as max_wind
        from weather_hourly group by observed_on, origin order by observed_on, origin
        """,
        {"fastest": FASTEST_CREDIBLE_WIND},
        weather_hourly=weather_hourly,
    )


@asset(
    partitions=days,
    group="silver",
    partition_by="scheduled_on",
    batch_size=31,
    write=Merge(keys=["scheduled_on", "carrier", "flight", "origin"]),
)
def flights_clean(flights_daily: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """One row per flight: the scheduled instant of departure, the delays, and what became of it."""
    return flights_daily.project(
        """
        scheduled_on, carrier, flight, origin, dest, tailnum,
        time_hour + to_minutes(minute) as scheduled_at,
        dep_delay, arr_delay, air_time, distance,
        case when dep_time is null then 'cancelled'
             when arr_delay is null then 'diverted' else 'flown' end as outcome
        """
    ).order("scheduled_at, carrier, flight, origin")


@asset_check(flights_clean, blocking=True)
def flights_are_plausible(flights_clean: pa.Table) -> CheckResult:
    """No flight ends where it began, leaves more than two hours early or a day late, or is flown without a departure delay."""
    bad = _query(
        """
        select count(*) as flights from flights_clean
        where origin = dest or dep_delay not between -120 and 1440
           or (outcome = 'cancelled') <> (dep_delay is null)
        """,
        flights_clean=flights_clean,
    )["flights"][0].as_py()
    return CheckResult(
        passed=bad == 0, message=f"{bad} implausible flights", metadata={"flights": bad}
    )


@asset(partitions=days, group="gold", partition_by="scheduled_on", batch_size=31)
def delays_by_carrier(flights_clean: pa.Table, weather_daily: pa.Table) -> pa.Table:
    """One row per carrier and day: flights, cancellations and delays, beside the day's weather over the three airports."""
    return _query(
        """
        with weather as (
            select observed_on, round(avg(mean_temp::decimal(6, 2)), 1) as mean_temp, max(precip) as precip,
                   max(max_wind) as max_wind, min(min_visib) as min_visib
            from weather_daily group by observed_on)
        select scheduled_on, carrier, count(*)::integer as flights,
               (count(*) filter (outcome = 'cancelled'))::integer as cancelled,
               coalesce(sum(dep_delay), 0)::integer as delay_minutes,
               (count(*) filter (dep_delay > 15))::integer as late,
               any_value(mean_temp) as mean_temp, any_value(precip) as precip,
               any_value(max_wind) as max_wind, any_value(min_visib) as min_visib
        from flights_clean left join weather on observed_on = scheduled_on
        group by scheduled_on, carrier order by scheduled_on, carrier
        """,
        flights_clean=flights_clean,
        weather_daily=weather_daily,
    )


@asset(partitions=days, group="gold", inputs={"week": Input(delays_by_carrier, mapping=LastN(7))})
def delay_trend(context: AssetContext, week: pa.Table) -> pa.Table:
    """One row per carrier: its mean departure delay over the seven days that end with this one."""
    return _query(
        """
        select $day::date as day, carrier, count(*)::integer as days,
               sum(flights)::integer as flights, sum(cancelled)::integer as cancelled,
               round(sum(delay_minutes) / nullif(sum(flights - cancelled), 0), 2) as mean_delay
        from week group by carrier order by carrier
        """,
        {"day": context.partition_key},
        week=week,
    )


@asset(partitions=months, group="gold")
def destinations_monthly(flights_clean: pa.Table, airports: pa.Table) -> pa.Table:
    """One row per month and destination: how many flights went there, and how late they arrived."""
    return _query(
        """
        select date_trunc('month', scheduled_on)::date as month, dest, any_value(name) as name,
               count(*)::integer as flights, round(avg(arr_delay), 2) as mean_arr_delay
        from flights_clean left join airports on faa = dest
        group by all order by month, flights desc, dest
        """,
        flights_clean=flights_clean,
        airports=airports,
    )


def _query(
    sql: str, parameters: dict[str, object] | None = None, /, **tables: pa.Table
) -> pa.Table:
    """The answer of an in-memory DuckDB that sees nothing but the given tables."""
    with duckdb.connect() as database:
        for name, table in tables.items():
            database.register(name, table)
        return database.sql(sql, params=parameters).to_arrow_table()


definitions = Definitions(
    assets=load_assets(__name__),
    io_managers={"default": DuckDBIOManager("flights.duckdb"), "lake": ParquetIOManager("lake/")},
)
