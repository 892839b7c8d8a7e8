"""Contracts in runs, on every destination: what is published, what goes beside, what stays as it was."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import pandera.pandas as pandera
import pyarrow as pa
import pytest
from pydantic import BaseModel, Field, field_validator

from assets_core import (
    SCD2,
    AcceptedValues,
    AssetContext,
    CheckResult,
    Contract,
    ForeignKey,
    Input,
    InRange,
    Matches,
    Merge,
    NotNull,
    RowCount,
    RowRule,
    Unique,
    asset,
    asset_check,
    sql_check,
)
from assets_core.execution.contract_pass import ContractJudge, JudgedRows
from assets_core.execution.facts import versions_of
from assets_core.execution.recheck import recheck
from assets_core.execution.recovery import recover
from assets_core.execution.rejects import rejected_request
from assets_core.execution.slices import slices_of
from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import PartitionSlice, PublishFailed, ReadRequest, StageRequest
from assets_core.model.records import RunKind, RunRecord, RunStatus, StepClaim, StepStatus
from assets_core.planning.planner import Mode
from assets_core.state.locks import FileLocks
from io_managers import DuckDBIOManager, MemoryIOManager, ParquetIOManager
from partitions import LastN
from tests.integration.bench import NOW, WEEK, Bench, day_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from assets_core import Asset
    from assets_core.model.io_manager import IOManager, Published, Staged


@pytest.fixture(params=["memory", "duckdb", "parquet"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> IOManager:
    match request.param:
        case "memory":
            return MemoryIOManager()
        case "duckdb":
            return DuckDBIOManager(str(tmp_path / "shop.duckdb"))
        case _:
            return ParquetIOManager(str(tmp_path / "lake"))


def bench(manager: IOManager, *definitions: object) -> Bench:
    return Bench(list(definitions), memory=manager)  # type: ignore[arg-type] # reads and writes alike


def rejected(bench: Bench, name: str) -> list[dict[str, Any]]:
    index = bench.facts().indexes[name]
    request = ReadRequest(
        bench.resolved.outline.rejected[name], slices_of(index, range(len(index)))
    )
    return bench.memory.read(request).read_all().to_pylist()


def leftovers(bench: Bench) -> list[str]:
    return [one.path for one in bench.memory.leftovers()]


def test_a_broken_contract_publishes_nothing_and_the_old_rows_stay(manager: IOManager) -> None:
    amounts = [1, 2]

    @asset(partitions=WEEK, contract=[NotNull("amount"), InRange("amount", min=0)])
    def orders() -> pa.Table:
        return pa.table({"amount": list(amounts)})

    @asset
    def total(orders: pa.Table) -> pa.Table:
        return pa.table({"sum": [sum(orders["amount"].to_pylist())]})

    project = bench(manager, orders, total)
    assert project.run().status is RunStatus.SUCCEEDED
    amounts[:] = [None, -5]
    summary = project.run("orders", mode=Mode.FORCE)
    assert summary.status is RunStatus.FAILED
    assert "not_null(amount): 2025-01-01: 1 of 2 rows" in summary.failures[0].message
    assert "for instance amount = -5" in summary.failures[0].message
    assert summary.failures[0].code == "check-failed"
    assert project.column("orders", "amount") == [1, 2] * 7
    assert project.column("total", "sum") == [21]
    assert leftovers(project) == []
    space = WEEK.space
    tallies = project.store.check_tallies("orders", space)
    assert [(one.check, one.failed) for one in tallies] == [
        ("in_range(amount)", 7),
        ("not_null(amount)", 7),
    ]


def test_a_warning_publishes_everything_and_is_told(manager: IOManager) -> None:
    @asset(contract=Contract([Unique("id"), RowCount(min=5)], on_violation="warn"))
    def orders() -> pa.Table:
        return pa.table({"id": [1, 1, 2]})

    project = bench(manager, orders)
    summary = project.run()
    assert summary.status is RunStatus.SUCCEEDED
    assert [(one.check, one.blocking, one.message) for one in summary.failed_checks] == [
        ("unique(id)", False, "2 of 3 rows, for instance id = 1; id = 1"),
        ("row_count", False, "3 rows, and it takes >= 5"),
    ]
    assert project.column("orders", "id") == [1, 1, 2]


def test_rows_are_quarantined_per_partition_and_replaced_with_the_data(
    manager: IOManager,
) -> None:
    bad_day = [2]

    @asset(
        partitions=WEEK,
        partition_by="day",
        batch_size=3,
        contract=Contract([NotNull("id"), InRange("amount", min=0)], on_violation="quarantine"),
    )
    def orders(context: AssetContext) -> pa.Table:
        days = [date.fromisoformat(key) for key in context.partition_keys]
        low = [-1.5 if one.day == bad_day[0] else 1.5 for one in days]
        return pa.table(
            {"day": days * 2, "id": [1] * 2 * len(days), "amount": [*low, *[2.5] * len(days)]}
        )

    @asset_check(orders, blocking=True)
    def sees_good_rows_only(orders: pa.Table) -> CheckResult:
        return CheckResult(passed=min(orders["amount"].to_pylist()) >= 0)

    project = bench(manager, orders, sees_good_rows_only)
    assert project.run().status is RunStatus.SUCCEEDED
    assert rejected(project, "orders") == [
        {"day": date(2025, 1, 2), "id": 1, "amount": -1.5, "_reason": "in_range(amount)"}
    ]
    assert sorted(project.column("orders", "amount", "2025-01-02")) == [2.5]
    assert len(project.column("orders", "amount")) == 13
    space = WEEK.space
    (tally,) = [
        one
        for one in project.store.check_tallies("orders", space)
        if one.check == "in_range(amount)"
    ]
    assert (tally.passed, tally.failed) == (6, 1)
    # Another day is made anew: what was rejected of the second stays.
    bad_day[0] = 5
    project.run_slots("orders", [4])
    assert [one["day"].day for one in rejected(project, "orders")] == [2, 5]
    project.run_slots("orders", [0, 1, 2, 3])
    assert [one["day"].day for one in rejected(project, "orders")] == [5]
    assert len(project.column("orders", "amount")) == 13
    assert leftovers(project) == []


@pytest.mark.parametrize("policy", ["freeze", "discard", "widen", "add_nullable"])
def test_rows_of_declared_columns_are_quarantined_with_their_reason(
    manager: IOManager, policy: Literal["freeze", "discard", "widen", "add_nullable"]
) -> None:
    more = {} if policy == "freeze" else {"more": ["x", "y"]}

    @asset(
        schema=pa.schema([pa.field("id", pa.int64(), nullable=False), ("amount", pa.int64())]),
        schema_policy=policy,
        contract=Contract([InRange("amount", min=0)], on_violation="quarantine"),
    )
    def orders() -> pa.Table:
        return pa.table({"id": [1, 2], "amount": [5, -1], **more})

    project = bench(manager, orders)
    assert project.run().status is RunStatus.SUCCEEDED
    assert project.column("orders", "id") == [1]
    kept = {"more": "y"} if policy in {"widen", "add_nullable"} else {}
    assert rejected(project, "orders") == [
        {"id": 2, "amount": -1, **kept, "_reason": "in_range(amount)"}
    ]


class Refusing(MemoryIOManager):
    """Takes no more rows for `orders` while it is told to."""

    refusing = False

    def publish(self, staged: Sequence[Staged]) -> list[Published | PublishFailed]:
        if self.refusing and staged[0].request.target.asset == "orders":
            return [PublishFailed("the disk is full") for _ in staged]
        return super().publish(staged)


def two_orders(amounts: list[int]) -> Asset[..., Any]:
    @asset(contract=Contract(InRange("amount", min=0), on_violation="quarantine"))
    def orders() -> pa.Table:
        return pa.table({"amount": list(amounts)})

    return orders


def test_rows_refused_after_those_kept_out_were_published_are_made_again() -> None:
    manager, amounts = Refusing(), [1, -1]
    project = bench(manager, two_orders(amounts))
    project.run()
    manager.refusing, amounts[:] = True, [2, -2]
    assert project.run("orders", mode=Mode.FORCE).status is RunStatus.FAILED
    assert project.column("orders", "amount") == [1]
    manager.refusing = False
    assert project.run().counts == {StepStatus.SUCCEEDED: 1}
    assert project.column("orders", "amount") == [2]
    assert [row["amount"] for row in rejected(project, "orders")] == [-2]


def test_fresh_rows_are_made_again_if_a_crash_left_other_rows_beside_them(
    manager: IOManager, tmp_path: Path
) -> None:
    project = bench(manager, two_orders([1, -1]))
    project.run()
    facts, outline = project.facts(), project.resolved.outline
    index = facts.indexes["orders"]
    ids = project.store.register(map(versions_of, facts.graph.specs.values()))["orders"]
    project.store.start_run(
        RunRecord("dead", RunKind.MATERIALIZE, "", "", "", RunStatus.RUNNING, project.now)
    )
    claim = StepClaim("orders", (int(index.ids[0]),), "dead-token", ids.code_id, ids.deps_id)
    (claimed,) = project.store.claim("dead", [claim], project.now)
    request = StageRequest(
        outline.target("orders"), slices_of(index, [0]), claimed.epoch, "dead-token"
    )
    other = pa.table({"amount": [-9], "_reason": ["in_range(amount)"]})
    beside = rejected_request(request, outline.rejected["orders"])
    manager.publish([manager.stage(beside, other.to_reader())])
    assert [row["amount"] for row in rejected(project, "orders")] == [-9]
    recover(outline, project.store, FileLocks(tmp_path), project.now)
    (step,) = project.store.steps("dead")
    assert step.status is StepStatus.FAILED
    assert "after the rows that its contract keeps out were published" in step.message
    assert project.run().counts == {StepStatus.SUCCEEDED: 1}
    assert [row["amount"] for row in rejected(project, "orders")] == [-1]
    assert project.run().counts == {}


def test_hints_about_rows_kept_out_name_the_asset_that_one_can_make_again() -> None:
    manager = MemoryIOManager()
    made: list[object] = [1]

    @asset(partitions=WEEK, contract=Contract(NotNull("id"), on_violation="quarantine"))
    def orders() -> pa.Table:
        return pa.table({"id": pa.array([None], pa.int64()), "amount": list(made)})

    project = bench(manager, orders)
    project.run()
    made[:] = ["1"]
    failure = project.run("orders", mode=Mode.FORCE).failures[0]
    assert "orders__rejected: column 'amount' is string" in failure.message
    assert failure.message.endswith("partita state restart orders)")


def test_a_rule_about_the_whole_partition_can_not_be_quarantined(manager: IOManager) -> None:
    @asset(contract=Contract([InRange("n", max=2), RowCount(max=2)], on_violation="quarantine"))
    def numbers() -> pa.Table:
        return pa.table({"n": [1, 2, 3]})

    project = bench(manager, numbers)
    summary = project.run()
    assert summary.status is RunStatus.FAILED
    assert "row_count: 3 rows, and it takes <= 2" in summary.failures[0].message
    assert manager.holdings(project.resolved.outline.target("numbers")) == []
    assert manager.holdings(project.resolved.outline.rejected["numbers"]) == []


def test_a_merge_gets_its_good_rows_and_rejects_the_others(manager: IOManager) -> None:
    batch = [[1, 5], [2, -5]]

    @asset(
        write=Merge(keys=["id"]),
        contract=Contract(RowRule("is_paid", "amount > 0"), on_violation="quarantine"),
    )
    def orders() -> pa.Table:
        return pa.table({"id": [one for one, _ in batch], "amount": [two for _, two in batch]})

    project = bench(manager, orders)
    project.run()
    batch[:] = [[3, 7], [1, 6]]
    project.run(mode=Mode.FORCE)
    index = project.facts().indexes["orders"]
    target = project.resolved.outline.target("orders")
    found = manager.read(ReadRequest(target, slices_of(index, [0]))).read_all()
    assert sorted(zip(found["id"].to_pylist(), found["amount"].to_pylist(), strict=True)) == [
        (1, 6),
        (3, 7),
    ]
    assert rejected(project, "orders") == []


def test_a_foreign_key_looks_at_the_partitions_that_are_read(manager: IOManager) -> None:
    @asset(partitions=WEEK)
    def customers(context: AssetContext) -> pa.Table:
        return pa.table({"id": [day_of(context)]})

    @asset(
        partitions=WEEK,
        deps=[Input(customers, mapping=LastN(2))],
        contract=Contract(ForeignKey("customer", customers, "id"), on_violation="warn"),
    )
    def orders(context: AssetContext) -> pa.Table:
        return pa.table({"customer": [day_of(context), day_of(context) - 1, 9, None]})

    project = bench(manager, customers, orders)
    summary = project.run()
    messages = [one.message for one in summary.failed_checks]
    assert messages[0] == "2025-01-01: 2 of 4 rows, for instance customer = 0; customer = 9"
    assert messages[1:] == [
        f"2025-01-0{day}: 1 of 4 rows, for instance customer = 9" for day in range(2, 8)
    ]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_foreign_key_of_a_day_knows_nothing_of_the_days_made_along_with_it(
    manager: IOManager, batch_size: int
) -> None:
    @asset(partitions=WEEK)
    def customers(context: AssetContext) -> pa.Table:
        return pa.table({"id": [day_of(context)]})

    @asset(
        partitions=WEEK,
        partition_by="day",
        batch_size=batch_size,
        deps=[customers],
        contract=Contract(ForeignKey("customer", customers, "id"), on_violation="warn"),
    )
    def orders(context: AssetContext) -> pa.Table:
        days = [date.fromisoformat(key) for key in context.partition_keys]
        return pa.table({"day": days, "customer": [max(one.day, 2) for one in days]})

    project = bench(manager, customers, orders)
    assert [one.message for one in project.run().failed_checks] == [
        "2025-01-01: 1 of 1 row, for instance customer = 2"
    ]


class Order(BaseModel):
    """A row."""

    id: int
    amount: float = Field(ge=0)


class Touchy(BaseModel):
    """A row, and a validator that has a mistake of its own."""

    id: int

    @field_validator("id")
    @classmethod
    def check(cls, value: int) -> int:
        return {1: 1}[value]


def test_what_a_models_own_code_raises_fails_its_step_and_no_other(manager: IOManager) -> None:
    @asset(contract=Touchy)
    def orders() -> pa.Table:
        return pa.table({"id": [1, 2]})

    @asset
    def other() -> pa.Table:
        return pa.table({"id": [1]})

    project = bench(manager, orders, other)
    summary = project.run()
    (failure,) = summary.failures
    assert "model(Touchy) of orders's contract raised KeyError: 2" in failure.message
    assert "return {1: 1}[value]" in failure.traceback
    assert project.column("other", "id") == [1]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (AcceptedValues("word", [1, 2]), "'word', which is string, with 1"),
        (InRange("word", min=0, max=10), "'word', which is string, with 0"),
        (InRange("id", max="10"), "'id', which is int64, with '10'"),
        (InRange("day", min="2025-01-01"), "'day', which is date32[day], with '2025-01-01'"),
        (AcceptedValues("id", [True]), "'id', which is int64, with True"),
        (Matches("id", "[0-9]+"), "'id', which is int64, with '[0-9]+'"),
        (ForeignKey("word", "customers", "id"), "with customers's 'id', which is int64"),
        (ForeignKey("id", "customers", "idd"), "'idd'"),
    ],
)
def test_a_rule_that_only_a_cast_could_check_is_refused(rule: object, told: str) -> None:
    @asset
    def customers() -> pa.Table:
        return pa.table({"id": [1]})

    @asset(deps=[customers], contract=[rule])
    def orders() -> pa.Table:
        return pa.table({"id": [9, 10], "word": ["9", "10"], "day": [date(2025, 1, 1)] * 2})

    (failure,) = bench(MemoryIOManager(), customers, orders).run().failures
    assert told in failure.message


def test_no_rule_is_to_blame_for_rows_that_can_not_be_read() -> None:
    no_memory = IOManagerError("the staged rows can't be read: no memory")

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"id": [1]})
        raise no_memory

    def streams() -> Iterator[pa.RecordBatchReader]:
        yield pa.RecordBatchReader.from_batches(pa.schema({"id": pa.int64()}), batches())

    rows = JudgedRows("orders", (PartitionSlice(0, ""),), streams)
    with pytest.raises(IOManagerError) as caught:
        ContractJudge().judge(Contract([NotNull("id")]), rows, lambda _keys: (), NOW)
    assert caught.value is no_memory


def test_dates_and_times_compare_with_each_other_and_numbers_of_all_types_do() -> None:
    @asset(
        contract=[
            InRange("day", min=datetime(2025, 1, 1, tzinfo=UTC)),
            InRange("amount", min=0, max=Decimal("9.5")),
            AcceptedValues("nothing", ["text"]),
        ]
    )
    def orders() -> pa.Table:
        return pa.table({"day": [date(2025, 1, 1)], "amount": [9.5], "nothing": [None]})

    assert bench(MemoryIOManager(), orders).run().status is RunStatus.SUCCEEDED


def test_a_foreign_key_to_rows_without_columns_finds_none(manager: IOManager) -> None:
    @asset
    def customers() -> pa.Table:
        return pa.table({})

    @asset(deps=[customers], contract=[ForeignKey("id", customers)])
    def orders() -> pa.Table:
        return pa.table({"id": [1]})

    (failure,) = bench(manager, customers, orders).run().failures
    assert "foreign_key(id): 1 of 1 row, for instance id = 1" in failure.message


def test_published_events_of_a_history_are_judged_and_not_their_fold(manager: IOManager) -> None:
    @asset(partitions=WEEK, write=SCD2(keys=["id"]), contract=[InRange("price", max=3)])
    def prices(context: AssetContext) -> pa.Table:
        return pa.table({"id": [1], "price": [min(day_of(context), 3)]})

    @asset_check(prices)
    def one_row_a_day(prices: pa.Table) -> bool:
        return prices.column_names == ["id", "price"] and len(prices) == 1

    project = bench(manager, prices, one_row_a_day)
    project.run()
    judged = list(recheck(project.resolved, project.facts(), "prices", range(7), project.now))
    found = [outcome for _, outcomes in judged for outcome in outcomes]
    assert [one.check for one in found] == ["in_range(price)", "one_row_a_day"] * 7
    assert [one.message for one in found if not one.passed] == []


FRAME = pandera.DataFrameSchema(
    {"amount": pandera.Column(float, pandera.Check.ge(0), nullable=True)}, name="amounts"
)


@pytest.mark.parametrize(("rule", "name"), [(Order, "model(Order)"), (FRAME, "schema(amounts)")])
def test_rows_are_judged_by_models_of_other_libraries(
    manager: IOManager, rule: object, name: str
) -> None:
    @asset(contract=Contract([rule], on_violation="quarantine"))
    def orders() -> pa.Table:
        return pa.table({"id": [1, 2, 3], "amount": [1.0, -2.0, 3.0]})

    project = bench(manager, orders)
    summary = project.run()
    assert summary.status is RunStatus.SUCCEEDED
    assert [one.check for one in summary.failed_checks] == [name]
    (row,) = rejected(project, "orders")
    assert (row["id"], row["_reason"].partition(": ")[0]) == (2, name)
    assert project.column("orders", "id", "") == [1, 3]


def test_a_frame_that_is_wrong_as_a_whole_is_not_moved_aside_row_by_row() -> None:
    schema = pandera.DataFrameSchema({"price": pandera.Column(float)})

    @asset(contract=Contract(schema, on_violation="quarantine"))
    def orders() -> pa.Table:
        return pa.table({"amount": [1.0]})

    summary = bench(MemoryIOManager(), orders).run()
    assert "column_in_dataframe" in summary.failures[0].message


def test_a_query_that_answers_rows_keeps_them_from_being_published(manager: IOManager) -> None:
    amounts = [1, -1]

    @asset
    def orders() -> pa.Table:
        return pa.table({"amount": list(amounts)})

    negative = sql_check(
        "negative", orders, "select * from orders where amount < 0;", blocking=True
    )
    wrong = sql_check("wrong", orders, "select * from elsewhere")
    project = bench(manager, orders, negative)
    (failure,) = project.run().failures
    assert "negative: 1 row, for instance {'amount': -1}" in failure.message
    amounts[1] = 3
    assert project.run().status is RunStatus.SUCCEEDED
    (failure,) = bench(manager, orders, wrong).run(mode=Mode.FORCE).failures
    assert "elsewhere does not exist" in failure.message


def test_what_a_row_holds_can_not_become_a_control_sequence_or_flood_a_message() -> None:
    @asset(contract=[InRange("word", min="zzz")])
    def words() -> pa.Table:
        return pa.table({"word": ["\x1b[31mred", "x" * 1000, "b", "c"]})

    (failure,) = bench(MemoryIOManager(), words).run().failures
    assert failure.message.isprintable()
    assert len(failure.message) < 400
    assert "word = 'b'" in failure.message
    assert "'c'" not in failure.message
