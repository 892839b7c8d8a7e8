"""`partita query`: assets in SQL, through the real command."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from tests.integration.conftest import PATIENCE, Shop

if TYPE_CHECKING:
    from pathlib import Path

ASSETS = """
    import pyarrow as pa

    from assets_core import AssetContext, Definitions, asset, load_assets
    from io_managers import DuckDBIOManager, ParquetIOManager
    from partitions import DailyPartitions

    days = DailyPartitions("2025-01-01", end="2025-01-05")


    @asset(partitions=days, io_manager="lake")
    def orders(context: AssetContext) -> pa.Table:
        day = context.window.start.day
        return pa.table({"id": [10 * day, 10 * day + 1], "amount": [1.5, 0.5 * day]})


    @asset(partitions=days)
    def silver_orders(orders: pa.Table) -> pa.Table:
        return orders


    @asset(io_manager="other")
    def prices() -> pa.Table:
        return pa.table({"price": [3], "note": ["\\x1b[31mred"]})


    @asset(io_manager="lake")
    def never() -> pa.Table:
        return pa.table({"n": [1]})


    defs = Definitions(
        assets=load_assets(__name__),
        io_managers={
            "lake": ParquetIOManager("lake"),
            "default": DuckDBIOManager("shop.duckdb"),
            "other": DuckDBIOManager("other.duckdb"),
        },
    )
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Four days in Parquet files and in a database, and a table in another one; for tests that only read."""
    shop = Shop(tmp_path_factory.mktemp("query") / "shop")
    shop.write("assets.py", ASSETS)
    shop.run("materialize", "orders", "silver_orders", "prices")
    return shop


@pytest.fixture
def mine(made: Shop, tmp_path: Path) -> Shop:
    """The same for a test that changes it."""
    shutil.copytree(made.folder, tmp_path / "shop")
    return Shop(tmp_path / "shop")


def rows(shop: Shop, sql: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = shop.run("query", sql, "--json").data["rows"]
    return found


def test_files_and_tables_of_several_databases_are_joined(made: Shop) -> None:
    sql = """
        select _partition, sum(o.amount * price) as total from orders o join silver_orders s using (_partition, id), prices
        where id % 10 = 1 group by all order by all
    """
    assert rows(made, sql) == [
        {"_partition": f"2025-01-0{day}", "total": 1.5 * day} for day in range(1, 5)
    ]


def test_every_format_has_the_same_rows(made: Shop) -> None:
    sql = "select id, amount, '2025-01-31'::date as day, 1.50 as price from Orders where id < 20 order by id"
    first = {"id": 10, "amount": 1.5, "day": "2025-01-31", "price": "1.50"}
    assert rows(made, sql) == [first, {**first, "id": 11, "amount": 0.5}]
    lines = made.run("query", sql, "-o", "jsonl").out.splitlines()
    assert json.loads(lines[0]) == first
    assert made.run("query", sql, "-o", "csv").out.splitlines() == [
        "id,amount,day,price",
        "10,1.5,2025-01-31,1.50",
        "11,0.5,2025-01-31,1.50",
    ]
    assert made.run("query", sql).out.splitlines() == [
        "id  amount  day         price",
        "10     1.5  2025-01-31   1.50",
        "11     0.5  2025-01-31   1.50",
        "2 rows",
    ]


def test_columns_are_told_of_an_answer_without_rows(made: Shop) -> None:
    sql = "select id from orders where false"
    assert made.run("query", sql, "--json").data == {
        "columns": [{"name": "id", "type": "int64"}],
        "rows": [],
    }
    assert made.run("query", sql, "-o", "csv").out == "id\n"
    assert made.run("query", sql, "-o", "jsonl").out == ""


def test_a_table_ends_after_a_hundred_rows_and_says_so(made: Shop) -> None:
    sql = "select unnest(range(150)) as n"
    assert (
        made.run("query", sql).out.splitlines()[-1] == "the first 100 rows; --limit says how many"
    )
    assert len(rows(made, sql)) == 150
    assert made.run("query", sql, "--limit", "0").out.splitlines()[-1] == "150 rows"
    assert made.run("query", sql, "--limit", "2", "-o", "csv").out == "n\n0\n1\n"


def test_a_query_comes_from_a_file_or_from_standard_input(made: Shop, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("-- ids\nselect max(id) as id from silver_orders;\n")
    read = made.run("query", "--sql-file", str(tmp_path / "q.sql"), "-o", "csv")
    piped = subprocess.run(
        made.command("query", "-", "-o", "csv"),
        cwd=made.folder,
        env=made.environment(),
        input="select max(id) as id from silver_orders",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert read.out == piped.stdout == "id\n41\n"


def test_rows_go_to_a_parquet_file_where_the_command_was_typed(made: Shop, tmp_path: Path) -> None:
    typed_at = tmp_path / "here"
    typed_at.mkdir()
    told = made.run(
        "query",
        "from orders",
        "-f",
        str(made.folder / "assets.py"),
        "--to",
        "o.parquet",
        cwd=typed_at,
    )
    assert told.out == "8 rows written to o.parquet\n"
    assert pq.read_table(typed_at / "o.parquet").num_rows == 8
    assert [path.name for path in typed_at.iterdir()] == ["o.parquet"]
    missing = made.run("query", "from orders", "--to", "no/such/o.parquet", code=2)
    assert "no/such/o.parquet can't be written: there is no folder no/such" in missing.err


@pytest.mark.parametrize(
    "value",
    [
        "interval 1 day",
        "union_value(k := 1)",
        "[interval 1 day]",
        "{'a': union_value(k := 1)}",
        "'1'::bignum",
    ],
)
def test_a_type_that_parquet_does_not_have_is_refused_by_column(made: Shop, value: str) -> None:
    sql = f"select 1 as id, {value} as odd from prices"
    refused = made.run("query", sql, "--to", "odd.parquet", "--json", code=2).error
    assert refused["message"].startswith("column 'odd' is ")
    assert refused["message"].endswith(", which Parquet does not store")
    assert refused["hint"] == 'cast it in the query: "odd"::varchar'
    assert list(made.folder.glob("odd*")) == []
    assert made.run("query", f"select odd::varchar as odd from ({sql})", "-o", "csv").out


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("delete from orders", "DELETE is not a query"),
        ("from ordres", "there is no asset 'ordres'"),
        ("select * fro orders", "LINE 1: select * fro orders"),
    ],
)
def test_what_is_no_query_is_refused_in_plain_words(made: Shop, sql: str, told: str) -> None:
    made.run("list")  # whatever is kept to load faster is there
    before = made.contents()
    answer = made.run("query", sql, "--json", code=2)
    assert told in answer.err
    assert "Traceback" not in answer.err
    assert answer.error["code"] == "query"
    assert made.contents() == before


def test_a_query_without_text_says_what_to_type(made: Shop) -> None:
    assert "partita query 'select * from ASSET'" in made.run("query", code=2).err
    assert "leave one of them out" in made.run("query", "x", "--sql-file", "assets.py", code=2).err


def test_text_of_rows_can_not_steer_a_terminal(made: Shop) -> None:
    assert "\\x1b[31mred" in made.run("query", "from prices").out


def test_only_what_is_named_is_opened(mine: Shop) -> None:
    (mine.folder / "other.duckdb").write_bytes(b"damaged" * 1000)
    for path in (mine.folder / "lake").rglob("*.parquet"):
        path.write_bytes(b"damaged")
    assert rows(mine, "select count(*) as n from silver_orders") == [{"n": 8}]
    assert "is not a DuckDB database file" in mine.run("query", "from prices", code=2).err
    assert "can't be read" in mine.run("query", "from orders", code=2).err


def test_files_are_listed_by_the_state_and_not_by_looking_around(mine: Shop) -> None:
    day = mine.folder / "lake" / "orders" / "day=2025-01-01"
    shutil.copytree(day, day.parent / "day=2024-12-31")
    (day / "stray.parquet").write_bytes(b"damaged")
    assert rows(mine, "select count(distinct _partition) as n, count(*) as c from orders") == [
        {"n": 4, "c": 8}
    ]


def test_partitions_of_which_the_record_was_lost_are_not_seen_wherever_they_are(
    tmp_path: Path,
) -> None:
    shop = Shop(tmp_path / "shop")
    shop.write("assets.py", ASSETS)
    shop.run("materialize", "orders", "silver_orders", "2025-01-01...2025-01-02")
    shutil.copytree(shop.folder / ".partita", tmp_path / "backup")
    shop.run("materialize", "orders", "silver_orders")
    shutil.rmtree(shop.folder / ".partita")
    shutil.copytree(tmp_path / "backup", shop.folder / ".partita")
    for asset in ("orders", "silver_orders"):
        seen = rows(shop, f"select distinct _partition as day from {asset} order by all")
        assert seen == [{"day": "2025-01-01"}, {"day": "2025-01-02"}]


def test_a_file_that_is_gone_is_named(mine: Shop) -> None:
    shutil.rmtree(mine.folder / "lake" / "orders" / "day=2025-01-03")
    answer = mine.run("query", "from orders", code=2)
    assert "orders partition 2025-01-03 is not there" in answer.err


def test_a_query_beside_a_run_waits_for_its_writing_and_holds_nothing_afterwards(
    mine: Shop,
) -> None:
    """Another reader's lock is no obstacle, and when the answer is there a writer gets the file at once."""
    with (mine.folder / "shop.duckdb.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert rows(mine, "select count(*) as n from silver_orders") == [{"n": 8}]
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = mine.start("query", "select count(*) as n from silver_orders", "-o", "csv")
        assert rows(mine, "select count(*) as n from orders") == [{"n": 8}]
        assert waiting.poll() is None
    out, _ = waiting.communicate(timeout=PATIENCE)
    assert out == "n\n8\n"
    assert "4 succeeded" in mine.run("materialize", "silver_orders", "--force").out


def test_a_query_imports_nothing_of_a_project_that_has_not_changed(mine: Shop) -> None:
    text = (mine.folder / "assets.py").read_text()
    (mine.folder / "assets.py").write_text(text + "\nprint('imported')\n")
    assert "imported" in mine.run("query", "from prices").out
    assert "imported" not in mine.run("query", "from prices").out
