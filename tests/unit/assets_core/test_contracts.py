"""What is wrong with a contract is said where it is written, and only what moves rows is part of a code version."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandera.pandas as pandera
import pyarrow as pa
import pytest
from pydantic import BaseModel

from assets_core import (
    AcceptedValues,
    Contract,
    DefinitionError,
    Definitions,
    DefinitionsError,
    ForeignKey,
    FreshColumn,
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
from assets_core.authoring.code_version import code_fingerprint
from io_managers import MemoryIOManager

if TYPE_CHECKING:
    from collections.abc import Callable

    from assets_core import Asset

NAIVE = datetime(2025, 1, 1)  # noqa: DTZ001 - without a zone, as a mistake

MISTAKES: list[tuple[Callable[[], object], str]] = [
    (lambda: NotNull([]), "names no column"),
    (lambda: NotNull(3), "names no column"),  # type: ignore[arg-type] # as a mistake
    (lambda: Unique(["a", "a"]), "names a column twice"),
    (lambda: AcceptedValues("a", []), "accepts nothing"),
    (lambda: AcceptedValues("a", "open"), "needs a list of values"),
    (lambda: AcceptedValues("a", [None]), "NULL always passes"),  # type: ignore[list-item]
    (lambda: AcceptedValues("a", [object()]), "<object object"),  # type: ignore[list-item]
    (lambda: InRange("a"), "has no bound"),
    (lambda: InRange("a", 3, 1), "is empty"),
    (lambda: InRange("a", 1, 1, strict_max=True), "is empty"),
    (lambda: InRange("a", 1, "x"), "don't compare"),
    (lambda: InRange("a", NAIVE, datetime(2025, 1, 1, tzinfo=UTC)), "don't compare"),
    (lambda: InRange("a", float("nan")), "NaN for a bound"),
    (lambda: InRange("a", Decimal("nan")), "NaN for a bound"),
    (lambda: Matches("a", 3), "as text"),  # type: ignore[arg-type] # as a mistake
    (RowCount, "has no bound"),
    (lambda: RowCount(min=-1), "from 0 up"),
    (lambda: RowCount(3, 2), "is empty"),
    (lambda: FreshColumn("a", within=timedelta(-1)), "needs a span of time"),
    (lambda: ForeignKey(["a", "b"], "other", "c"), "name as many|refers to 1"),
    (lambda: ForeignKey("a", 3), "no asset and no key"),  # type: ignore[arg-type] # as a mistake
    (lambda: RowRule("rule", "  "), "empty expression"),
    (lambda: RowRule("a\nb", "true"), "printed on one line"),
    (lambda: Contract([]), "without rules"),
    (lambda: Contract([NotNull("a")], on_violation="drop"), "not one of 'fail', 'quarantine'"),  # type: ignore[arg-type]
    (lambda: Contract([NotNull("a"), NotNull("a")]), r"has not_null\(a\) twice"),
    (lambda: Contract([NotNull]), "the class NotNull where it needs a rule"),
    (lambda: Contract(["id"]), "'id', which is no rule"),
    (lambda: asset(contract=["id"])(lambda: None), "'id', which is no rule|no name"),
    (lambda: sql_check("x", "orders", " ;"), "has no query"),
    (lambda: sql_check("x", 3, "select 1"), "needs the asset to check"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "told"), MISTAKES)
def test_a_mistake_is_told_where_it_is_made(make: Callable[[], object], told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        make()


def orders(contract: object) -> Asset[..., Any]:
    @asset(contract=contract)
    def orders() -> pa.Table:
        return pa.table({"id": [1]})

    return orders


@asset
def customers() -> pa.Table:
    return pa.table({"id": [1]})


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (ForeignKey("id", "customer"), "there is no such asset"),
        (ForeignKey("id", "customers"), "neither reads nor follows"),
    ],
)
def test_a_foreign_key_refers_to_an_asset_that_comes_first(rule: ForeignKey, told: str) -> None:
    with pytest.raises(DefinitionsError, match=told):
        Definitions(
            assets=[orders(rule), customers], io_managers={"default": MemoryIOManager()}
        ).resolve()


def resolve(made: Asset[..., Any]) -> None:
    Definitions(assets=[made], io_managers={"default": MemoryIOManager()}).resolve()


REGEXES = (r"\(\?=x", r"\\", "[?=]", "(?:a|b)", "(?i)a", r"\d{4}", r"\pL+", r"a\z")
EXPRESSIONS = ("a > 1", "a > 1 -- small", "a in (select 1)", "(a) or (b)", "note <> ';'", "a\n> 1")


def test_what_duckdb_reads_is_taken() -> None:
    rules = [RowRule(f"r{i}", sql) for i, sql in enumerate(EXPRESSIONS)]
    resolve(orders([*rules, *(Matches(f"c{i}", regex) for i, regex in enumerate(REGEXES))]))


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (Matches("a", "[a-"), "no regular expression of RE2"),
        (Matches("a", "(?=b)a"), "no regular expression of RE2"),
        (Matches("a", r"(a)\1"), "no regular expression of RE2"),
        (Matches("a", "a++"), "no regular expression of RE2"),
        (RowRule("r", "a > (1"), "is no SQL"),
        (RowRule("r", "a) or (b"), "is no SQL"),
        (RowRule("r", "a > 1; select 2"), "is no SQL"),
        (RowRule("r", "a, b"), "is more than one expression|is no SQL"),
        (RowRule("r", "a from other"), "is no SQL"),
        (RowRule("r", "a where b"), "is no SQL"),
        (RowRule("r", "a /* half"), "is no SQL"),
    ],
)
def test_what_duckdb_can_not_read_is_found_before_anything_runs(rule: object, told: str) -> None:
    with pytest.raises(DefinitionsError, match=told):
        resolve(orders([rule]))


@pytest.mark.parametrize("condition", ["gone) or (true", "gone;", "gone, other"])
def test_a_condition_of_deletion_is_one_expression(condition: str) -> None:
    @asset(write=Merge(keys=["id"], delete_when=condition))
    def merged() -> pa.Table:
        return pa.table({"id": [1]})

    with pytest.raises(DefinitionsError, match="delete_when"):
        resolve(merged)


def test_names_that_a_contract_needs_are_its_own() -> None:
    @asset(name="Orders__Rejected")
    def mine() -> pa.Table:
        return pa.table({"id": [1]})

    @asset_check("orders", name="row_count")
    def counted(orders: pa.Table) -> bool:
        return True

    manager = {"default": MemoryIOManager()}
    quarantining = orders(Contract(NotNull("id"), on_violation="quarantine"))
    with pytest.raises(DefinitionsError, match="has the name of the place where rows go"):
        Definitions(assets=[quarantining, mine], io_managers=manager).resolve()
    assert Definitions(assets=[orders(NotNull("id")), mine], io_managers=manager).resolve()
    with pytest.raises(DefinitionsError, match="are both called 'row_count'"):
        Definitions(assets=[orders(RowCount(1)), counted], io_managers=manager).resolve()


def test_schemas_of_pandera_are_rules_if_they_are_for_pandas() -> None:
    class Priced(pandera.DataFrameModel):
        price: float

    assert Contract(Priced).rules[0].name == "schema(Priced)"
    schema = pandera.DataFrameSchema({"price": pandera.Column(float)}, name="prices")
    assert Contract([schema]).rules[0].name == "schema(prices)"


class Strict(BaseModel):
    """A row."""

    id: int


class Loose(BaseModel):
    """A row."""

    id: int | None


def version(contract: object) -> str:
    return code_fingerprint(orders(contract)).version


def frame(check: pandera.Check, **options: Any) -> pandera.DataFrameSchema:
    return pandera.DataFrameSchema({"id": pandera.Column(int, check, **options)})


@pytest.mark.parametrize("where", ["schema", "model"])
def test_a_schema_that_drops_rows_itself_is_refused(where: str) -> None:
    class Orders(pandera.DataFrameModel):
        id: int

        class Config:
            drop_invalid_rows = True

    given = (
        Orders
        if where == "model"
        else pandera.DataFrameSchema({"id": pandera.Column(int)}, drop_invalid_rows=True)
    )
    with pytest.raises(DefinitionError, match="drop_invalid_rows"):
        Contract(given)


def test_only_a_contract_that_moves_rows_is_part_of_the_code_version() -> None:
    plain = version(None)
    for policy in ("fail", "warn"):
        assert version(Contract(NotNull("id"), on_violation=policy)) == plain  # type: ignore[arg-type]

    def quarantine(*rules: object) -> str:
        return version(Contract(list(rules), on_violation="quarantine"))

    versions = [
        quarantine(NotNull("id")),
        quarantine(NotNull("id"), RowCount(1)),
        quarantine(InRange("id", min=1)),
        quarantine(InRange("id", min=1, strict_min=True)),
        quarantine(Matches("id", "a")),
        quarantine(RowRule("r", "id > 0")),
        quarantine(RowRule("r", "id > 1")),
        quarantine(RowRule("r", "word = 'a b'")),
        quarantine(RowRule("r", "word = 'a  b'")),
        quarantine(RowRule("r", "id > 0 -- note\n and id < 9")),
        quarantine(RowRule("r", "id > 0 -- note and id < 9")),
        quarantine(frame(pandera.Check.ge(1))),
        quarantine(frame(pandera.Check.ge(2))),
        quarantine(frame(pandera.Check(lambda one: one > 1))),
        quarantine(frame(pandera.Check(lambda one: one > 2))),
        quarantine(frame(pandera.Check.ge(1), nullable=True)),
        quarantine(Strict),
        quarantine(Loose),
    ]
    assert len({plain, *versions}) == len(versions) + 1
    assert quarantine(InRange("id", min=1)) == versions[2]
    assert quarantine(frame(pandera.Check.ge(1))) == versions[11]
    parts = code_fingerprint(orders(Contract(NotNull("id"), on_violation="quarantine"))).parts
    assert "contract(on_violation=quarantine): not_null(id)" in {one.source for one in parts}


def test_a_check_in_sql_can_be_called_and_knows_the_rows_by_the_assets_name() -> None:
    check = sql_check(
        "odd", "my/orders", 'select id from "my/orders" where id % 2 = 1 -- odd ones'
    )
    assert check(pa.table({"id": [2]})).passed
    found = check(pa.table({"id": [1, 2, 3, 5, 7]}))
    assert found.message == "4 rows, for instance {'id': 1}; {'id': 3}; {'id': 5}"
    assert found.metadata == {"violations": 4}
