"""Queries over assets in one process: what is refused, what is read, what is left behind."""

from __future__ import annotations

import gc
from datetime import UTC
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from assets_core.model.errors import IOManagerError, QueryError
from assets_core.model.io_manager import ReadRequest
from assets_core.model.specs import SCD2, Merge
from io_managers import (
    DeltaIOManager,
    DuckDBIOManager,
    FunctionIOManager,
    MemoryIOManager,
    ParquetIOManager,
)
from io_managers.queries import Source, query_rows
from io_managers.workbench import Workbench, quoted
from tests.conformance.io_manager_suite import Steps, days, keys, multi, table, target, whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow.dataset as ds

    from assets_core.model.io_manager import IOManager, PartitionSlice, Target

DAYS = days("2025-01-30", 3)


def source(manager: IOManager, where: Target, slices: tuple[PartitionSlice, ...]) -> Source:
    return Source(where, manager, lambda: slices)


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Source]:
    """Three days of `orders` in files, of `gold` in a Delta table, of `silver` in a database, of `bronze` in memory; `never` was never written."""
    database = DuckDBIOManager(tmp_path / "shop.duckdb")
    found: dict[str, Source] = {}
    for name, manager in {
        "orders": ParquetIOManager(tmp_path / "lake"),
        "gold": DeltaIOManager(tmp_path / "tables"),
        "silver": database,
        "bronze": MemoryIOManager(),
    }.items():
        where = target(asset=name)
        for number, day in enumerate(DAYS):
            Steps(manager).write(where, (day,), table(id=[number, number + 10]))
        found[name] = source(manager, where, DAYS)
    Steps(database).write(whole(asset="prices"), (DAYS[0],), table(price=[3]))
    found["prices"] = source(database, whole(asset="prices"), (DAYS[0],))
    found["never"] = source(database, whole(asset="never"), ())
    found["soon"] = source(ParquetIOManager(tmp_path / "lake"), whole(asset="soon"), ())
    return found


def asked(
    sql: str, sources: dict[str, Source], tmp_path: Path, limit: int | None = None
) -> list[dict[str, object]]:
    found: list[dict[str, object]] = (
        query_rows(sql, sources, str(tmp_path / "scratch"), limit=limit).read_all().to_pylist()
    )
    return found


@pytest.mark.parametrize("name", ["orders", "gold", "silver", "bronze"])
def test_an_asset_is_a_table_wherever_it_is_stored(
    sources: dict[str, Source], tmp_path: Path, name: str
) -> None:
    assert asked(f"select sum(id) as total from {name}", sources, tmp_path) == [{"total": 36}]


@pytest.mark.parametrize("name", ["orders", "silver"])
def test_the_partition_is_a_column(sources: dict[str, Source], tmp_path: Path, name: str) -> None:
    sql = f"select id from {name} where _partition = '2025-01-31' order by id"
    assert asked(sql, sources, tmp_path) == [{"id": 1}, {"id": 11}]


def test_a_partition_column_of_ones_own_stands_alone(tmp_path: Path) -> None:
    manager = ParquetIOManager(tmp_path / "lake")
    where = target(by="day")
    Steps(manager).write(where, DAYS[:1], table(day=[DAYS[0].window.start.date()]))  # type: ignore[union-attr] - days have windows
    found = asked("describe orders", {"orders": source(manager, where, DAYS[:1])}, tmp_path)
    assert [row["column_name"] for row in found] == ["day"]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("delete from orders", "DELETE is not a query"),
        ("create table t as from orders", "CREATE is not a query"),
        ("copy orders to 'x.csv'", "COPY is not a query"),
        ("attach 'x.duckdb'", "ATTACH is not a query"),
        ("set threads = 1", "SET is not a query"),
        ("explain from orders", "EXPLAIN is not a query"),
        ("from orders; from prices", "2 statements"),
        ("", "the query is empty"),
        ("pivot orders on id using sum(id)", "a PIVOT without its values"),
        ("from ordres", "there is no asset 'ordres'"),
        ("from orders, lateral (from zzz)", "there is no asset 'zzz'"),
        ("select 1 where exists (from zzz)", "there is no asset 'zzz'"),
        ("from never", "never was never materialized"),
        ("from soon", "soon was never materialized"),
        ("select idd from orders", 'Referenced column "idd" not found'),
        ("select * fro orders", "LINE 1: select * fro orders"),
        ("select id::date from orders", "Unimplemented type for cast"),
        ("select error('no such day') from orders", "no such day"),
        ("from read_csv('assets.py')", "read_csv(…) can't be read from"),
        ("select * from 'assets.py'", "there is no asset 'assets.py'"),
        ("from shop.main.orders", "shop.main.orders is no asset: assets are named alone"),
        ("from silver, database_1.main.silver", "database_1.main.silver is no asset"),
        ("from silver, database_1._partita_commits", "is no asset"),
        ("from _partita_commits", "there is no asset '_partita_commits'"),
        ("from silver, query('from database_1.main.prices')", "query(…) can't be read from"),
        ("from query_table('silver')", "query_table(…) can't be read from"),
        ("from information_schema.tables", "information_schema.tables is no asset"),
        ("from duckdb_tables()", "duckdb_tables(…) can't be read from"),
        ("from (with sqlite_master as (select 1) from sqlite_master), sqlite_master", "no asset"),
        ("with prices as (from silver) from prices, main.prices", "main.prices is no asset"),
        ("from (show all tables), orders", "SHOW is not a query over assets"),
        ("with later as (from zzz), zzz as (select 1) from later", "there is no asset 'zzz'"),
    ],
)
def test_what_is_no_query_is_refused(
    sources: dict[str, Source], tmp_path: Path, sql: str, told: str
) -> None:
    with pytest.raises(QueryError) as caught:
        asked(sql, sources, tmp_path)
    assert told in caught.value.message


@pytest.mark.parametrize(
    "part",
    [
        "delete from silver returning *",
        "insert into prices values (4) returning *",
        "update silver set id = 0 returning *",
        "copy silver to 'stolen.csv'",
    ],
)
def test_a_part_of_a_query_that_writes_is_refused(
    sources: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QueryError):
        asked(f"with changed as ({part}) select * from changed", sources, tmp_path)
    assert asked("select count(*) as n from silver", sources, tmp_path) == [{"n": 6}]
    assert not (tmp_path / "stolen.csv").exists()


def test_hints_say_what_was_meant(sources: dict[str, Source], tmp_path: Path) -> None:
    hints = {}
    for sql in ("from ordres", "select idd from orders", "from never", "from qqq"):
        with pytest.raises(QueryError) as caught:
            asked(sql, sources, tmp_path)
        hints[sql] = caught.value.hint
    assert hints == {
        "from ordres": "did you mean orders?",
        "select idd from orders": 'did you mean "id"?',
        "from never": "type: partita materialize never",
        "from qqq": "partita list shows them",
    }


def test_names_are_found_in_any_case_and_hidden_by_expressions_of_the_query(
    sources: dict[str, Source], tmp_path: Path
) -> None:
    sql = 'with silver as (select max(id) as id from "SILVER"), x as (from Prices) from silver, x'
    assert asked(sql, sources, tmp_path) == [{"id": 12, "price": 3}]


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("with never as (select 1 as a) from never", [{"a": 1}]),
        ("with Never as (select 1 as a), x as (from NEVER) from x", [{"a": 1}]),
        ("with prices as (select price + 1 as price from prices) from prices", [{"price": 4}]),
        ("from (with never as (select 1 as a) from never), prices", [{"a": 1, "price": 3}]),
        ("from (with prices as (select 1 as a) from prices) a, prices", [{"a": 1, "price": 3}]),
        (
            "with recursive never as (select 1 as a union all select a + 1 from never where a < 2) from never",
            [{"a": 1}, {"a": 2}],
        ),
        (
            "with recursive t(a) using key (a) as (select 1 union select a + 1 from recurring.t where a < 2) from t order by a",
            [{"a": 1}, {"a": 2}],
        ),
        ("with x as (select 1 as a) from x union all from x", [{"a": 1}, {"a": 1}]),
        (
            "from prices, range(2) order by range",
            [{"price": 3, "range": 0}, {"price": 3, "range": 1}],
        ),
    ],
)
def test_an_expression_hides_the_asset_of_its_name_where_it_can_be_seen(
    sources: dict[str, Source], tmp_path: Path, sql: str, rows: list[dict[str, object]]
) -> None:
    assert asked(sql, sources, tmp_path) == rows


@pytest.mark.parametrize("name", ["a.b.c", "select", "Straße", 'say "x"', "range"])
@pytest.mark.parametrize("kind", ["duckdb", "parquet", "memory"])
def test_any_name_of_an_asset_can_be_quoted(tmp_path: Path, kind: str, name: str) -> None:
    manager, where = manager_of(kind, tmp_path), target(asset=name)
    for day in DAYS:
        Steps(manager).write(where, (day,), table(id=[1]))
    for seen in (DAYS, DAYS[:2]):
        some = {name: source(manager, where, seen)}
        sql = f"select count(*) as n from {quoted(name)}"
        assert asked(sql, some, tmp_path) == [{"n": len(seen)}]
    if name == "a.b.c":
        with pytest.raises(QueryError, match=r"A\.b\.c is no asset") as caught:
            asked("from A.b.c", {name: source(manager, where, DAYS)}, tmp_path)
        assert caught.value.hint == 'write "a.b.c"'


def test_columns_of_one_name_are_told_apart(sources: dict[str, Source], tmp_path: Path) -> None:
    assert asked("select 1 as a, 2 as a, 3 as a_2", sources, tmp_path) == [
        {"a": 1, "a_2": 2, "a_2_2": 3}
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_a_limit_is_exact(sources: dict[str, Source], tmp_path: Path, limit: int) -> None:
    assert len(asked("from orders", sources, tmp_path, limit)) == min(limit, 6)


def test_rows_outlive_what_they_were_read_from(sources: dict[str, Source], tmp_path: Path) -> None:
    """Also those that wait on disk: no lock, no connection and no file is left."""
    sql = "select range as n, hash(range) as h, repeat('x', 20) as x from range(2_500_000), prices"
    stream = query_rows(sql, sources, str(tmp_path / "scratch"))
    Steps(sources["silver"].manager).write(target(asset="silver"), DAYS[:1], table(id=[7]))
    (tmp_path / "shop.duckdb").unlink()
    assert sum(batch.num_rows for batch in stream) == 2_500_000
    del stream
    gc.collect()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_asset_of_empty_rows_says_so(tmp_path: Path) -> None:
    manager = MemoryIOManager()
    Steps(manager).write(whole(), (DAYS[0],), pa.table({}))
    with pytest.raises(QueryError, match="orders has no columns"):
        asked("from orders", {"orders": source(manager, whole(), (DAYS[0],))}, tmp_path)


class Racing(ParquetIOManager):
    """Another process replaces a partition when its files have been looked at, and are not read yet."""

    epoch = 0

    def dataset(self, request: ReadRequest, *, with_partition: bool = False) -> ds.Dataset | None:
        found = super().dataset(request, with_partition=with_partition)
        other = Steps(ParquetIOManager(self.root))
        other.epoch = self.epoch = self.epoch + 10
        other.write(request.target, DAYS[:1], table(id=[7]))
        return found


def test_a_query_sees_the_files_it_looked_at(tmp_path: Path) -> None:
    manager = Racing(tmp_path / "lake")
    Steps(manager).write(target(), DAYS[:1], table(id=[1]))
    racing = {"orders": source(manager, target(), DAYS[:1])}
    assert asked("select id from orders", racing, tmp_path) == [{"id": 1}]


EVERYWHERE = ("duckdb", "parquet", "memory", "functions")


def manager_of(kind: str, tmp_path: Path) -> IOManager:
    shelf: dict[tuple[str, str], pa.Table] = {}
    match kind:
        case "duckdb":
            return DuckDBIOManager(tmp_path / "some.duckdb")
        case "parquet":
            return ParquetIOManager(tmp_path / "some")
        case "memory":
            return MemoryIOManager()
        case _:
            return FunctionIOManager(
                read=lambda asset, partition: shelf.get((asset, partition)),
                write=lambda rows, asset, partition: shelf.update({(asset, partition): rows}),
                staging=tmp_path / "stage",
            )


MORNING = tuple(one.window.start for one in DAYS if one.window is not None)
LAYOUTS: dict[str, tuple[Target, Sequence[PartitionSlice], list[pa.Table]]] = {
    "key": (target(), DAYS, [table(id=[i]) for i in range(3)]),
    "merged": (target(Merge(["id"])), DAYS, [table(id=[i]) for i in range(3)]),
    "dates": (
        target(by="day"),
        DAYS,
        [table(id=[i], day=[at.date()]) for i, at in enumerate(MORNING)],
    ),
    "instants": (
        target(by="at"),
        DAYS,
        [table(id=[i], at=[at.astimezone(UTC)]) for i, at in enumerate(MORNING)],
    ),
    "wall clock": (
        target(by="at"),
        DAYS,
        [table(id=[i], at=[at.replace(tzinfo=None)]) for i, at in enumerate(MORNING)],
    ),
    "texts": (
        target(by="shop", kind=None),
        keys("o'hara", "x;--", "$1"),
        [table(id=[i], shop=[key]) for i, key in enumerate(["o'hara", "x;--", "$1"])],
    ),
    "dimensions": (
        target(by=(("day", "day"), ("region", "region"))),
        multi("2025-01-30", 1, ["de", "fr", "it"]),
        [
            table(id=[i], day=[MORNING[0].date()], region=[region])
            for i, region in enumerate(["de", "fr", "it"])
        ],
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", EVERYWHERE)
def test_only_partitions_that_count_are_seen(tmp_path: Path, kind: str, layout: str) -> None:
    manager, (where, slices, parts) = manager_of(kind, tmp_path), LAYOUTS[layout]
    steps = Steps(manager)
    for one, rows in zip(slices, parts, strict=True):
        steps.write(where, (one,), rows)
    for seen in ([0, 1, 2], [0, 2], [1], [2]):
        some = {"orders": source(manager, where, tuple(slices[i] for i in seen))}
        found = asked("select id from orders order by id", some, tmp_path)
        assert [row["id"] for row in found] == seen


def test_a_condition_of_very_many_pieces_sees_each_row_once(tmp_path: Path) -> None:
    manager, where = DuckDBIOManager(tmp_path / "some.duckdb"), target(by="day")
    many = days("2020-01-01", 1001)
    Steps(manager).write(
        where, many, table(day=[one.window.start.date() for one in many if one.window])
    )
    some = {"orders": source(manager, where, many[::2])}
    sql = "select count(*) as n, count(distinct day) as d, max(day)::varchar as last from orders"
    assert asked(sql, some, tmp_path) == [{"n": 501, "d": 501, "last": many[-1].key}]


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_a_partition_that_is_not_where_it_should_be_is_named(tmp_path: Path, kind: str) -> None:
    manager = manager_of(kind, tmp_path)
    Steps(manager).write(target(), DAYS[:1], table(id=[1]))
    with pytest.raises(IOManagerError, match=f"orders partition {DAYS[1].key} is not"):
        asked("from orders", {"orders": source(manager, target(), DAYS[:2])}, tmp_path)


def test_of_a_table_with_nothing_else_in_it_only_what_a_condition_needs_is_scanned(
    tmp_path: Path,
) -> None:
    manager, where = DuckDBIOManager(tmp_path / "some.duckdb"), target(by="day")
    Steps(manager).write(where, DAYS, table(day=[at.date() for at in MORNING]))
    bench = Workbench()
    with manager.attached(bench, "found"):
        request = ReadRequest(where, DAYS)
        assert manager.visible_rows(bench, "found", request) == 'from "found".main."orders"'
        assert manager.visible_rows(bench, "found", ReadRequest(where, DAYS[1:])) == (
            '(from "found".main."orders" where ("day" >= \'2025-01-31\'::date and "day" < \'2025-02-02\'::date))'
        )


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_the_key_is_a_column_wherever_rows_are_stored(tmp_path: Path, kind: str) -> None:
    """Also of partitions that have no rows, or other columns, or write one in other case: then files are read as a stream."""
    manager = manager_of(kind, tmp_path)
    steps = Steps(manager)
    parts = [table(id=[1], note=["a"]), table(id=[]).cast(pa.schema({"id": pa.int64()}))]
    if kind in {"parquet", "functions"}:
        parts.append(table(ID=[3]))
    for one, rows in zip(DAYS, parts, strict=False):
        steps.write(target(), (one,), rows)
    some = {"orders": source(manager, target(), DAYS[: len(parts)])}
    found = asked("select id, note, _partition from orders order by id", some, tmp_path)
    assert found[0] == {"id": 1, "note": "a", "_partition": DAYS[0].key}
    assert found[1:] == [{"id": 3, "note": None, "_partition": DAYS[2].key}] * (len(parts) - 2)


@pytest.mark.parametrize("on_absent", ["keep", "close"])
@pytest.mark.parametrize("kind", EVERYWHERE[:3])
def test_a_history_is_its_versions_and_not_what_it_is_made_of(
    tmp_path: Path, kind: str, on_absent: str
) -> None:
    manager = manager_of(kind, tmp_path)
    where = target(SCD2(["id"], on_absent=on_absent), asset="customers")  # type: ignore[arg-type] - one of the two
    for one, cities in zip(DAYS, (["Bonn", "Ulm"], ["Bonn"], ["Jena"]), strict=True):
        rows = table(id=list(range(len(cities))), city=cities)
        Steps(manager).write(where, (one,), rows)
    for seen in (DAYS, DAYS[:2]):
        found = asked(
            "from customers order by all", {"customers": source(manager, where, seen)}, tmp_path
        )
        read = Steps(manager).rows(where, seen)
        assert sorted(found, key=repr) == sorted(read, key=repr)
        assert list(found[0]) == ["id", "city", "valid_from", "valid_to", "is_current"]
