"""Shows a few rows of the finished tables, straight from the files: nothing of Partita is needed to read them."""

from __future__ import annotations

import duckdb

QUERIES = {
    "Rows in each table": """
        select 'weather_hourly' as table, count(*) as rows, count(distinct time_hour) as partitions_with_rows
        from read_parquet('lake/weather_hourly/**/*.parquet', hive_partitioning = false)
        union all select 'weather_daily', count(*), count(distinct observed_on) from weather_daily
        union all select 'flights_daily', count(*), count(distinct scheduled_on) from flights_daily
        union all select 'flights_clean', count(*), count(distinct scheduled_on) from flights_clean
        union all select 'delays_by_carrier', count(*), count(distinct scheduled_on) from delays_by_carrier
        union all select 'delay_trend', count(*), count(distinct day) from delay_trend
        union all select 'destinations_monthly', count(*), count(distinct month) from destinations_monthly
        union all select 'airports', count(*), 1 from airports
        """,
    "The five worst weeks of the big carriers, by mean departure delay in minutes": """
        select day as week_ending, carrier, flights, cancelled, mean_delay
        from delay_trend where flights > 500 order by mean_delay desc limit 5
        """,
    "The days of the blizzard of February 2013: all carriers, beside the weather": """
        select scheduled_on, sum(flights)::integer as flights, sum(cancelled)::integer as cancelled,
               any_value(mean_temp) as mean_temp, any_value(precip) as precip, any_value(max_wind) as max_wind
        from delays_by_carrier where scheduled_on between '2013-02-07' and '2013-02-10' group by all order by all
        """,
}


def main() -> None:
    """Print the answers of the queries."""
    with duckdb.connect() as database:
        database.execute("attach 'flights.duckdb' (type duckdb, read_only); use flights")
        for title, query in QUERIES.items():
            print(f"{title}:")
            database.sql(query).show(max_width=120)


if __name__ == "__main__":
    main()
