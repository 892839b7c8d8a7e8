"""A contract's rules as one SQL statement for DuckDB, and the values to bind. Running it lives in `contract_pass`.

Theory of operation
-------------------
The rows come as a relation `staged` that can be read once, each with `_partita_slot` (which of the step's partitions it belongs to) and
`_partita_row` (its place in the stream). Each rule about rows becomes a column that is true where the row breaks it and never NULL; each
foreign key a left join with the distinct keys it may have, so that no row is doubled. The answer has one row per partition: how many rows
there are, for each rule how many break it and the first few of them as text, for each `FreshColumn` the newest value. A second statement, run only where
rows go elsewhere, lists the rows that break a rule and which ones.
"""

# ruff: noqa: S608 - names come into SQL through `quoted`, values are bound; a RowRule is its author's own SQL

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, assert_never

from assets_core.model.contract_rules import (
    AcceptedValues,
    ForeignKey,
    FrameSchema,
    FreshColumn,
    InRange,
    Matches,
    NotNull,
    RowCount,
    RowModel,
    RowRule,
    Unique,
)
from assets_core.model.sql_names import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets_core.model.contract_rules import Rule, Value

SLOT: Final = "_partita_slot"
KEY_SLOT: Final = "_partita_key_slot"
ROW: Final = "_partita_row"
STAGED: Final = "_partita_staged"
EXAMPLES: Final = 3
"""How many rows that break a rule are shown."""
SHOWN_CHARACTERS: Final = 60

SqlRule = NotNull | Unique | AcceptedValues | InRange | Matches | ForeignKey | RowRule


@dataclass(frozen=True, slots=True)
class Compiled:
    """Statements over `_partita_staged`, each with the values to bind.

    `summary` answers per partition its slot, its rows, and then for every rule of `row_rules` a count and examples (lists of texts in the
    order of `shown`), and for every one of `fresh` the newest value in microseconds since 1970. `offenders` answers row and, as
    a list of positions in `row_rules`, what it breaks.
    """

    row_rules: tuple[SqlRule, ...]
    shown: tuple[tuple[str, ...], ...]
    fresh: tuple[FreshColumn, ...]
    summary: str
    offenders: str
    values: tuple[Value, ...]


@dataclass(slots=True)
class _Statement:
    """What is said so far; positions of values follow their places in the text."""

    conditions: list[str] = field(default_factory=list)
    joins: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)


def key_table(position: int) -> str:
    """The table of the distinct keys that rows may have under the foreign key at this position of the row rules.

    Its columns are `key_column` and, since each partition has keys of its own, `KEY_SLOT`.
    """
    return f"_partita_keys_{position}"


def key_column(position: int, part: int) -> str:
    """One column of `key_table`."""
    return f"_partita_key_{position}_{part}"


def compile_rules(
    rules: Sequence[Rule], columns: Sequence[str], instants: frozenset[str], floats: frozenset[str]
) -> Compiled:
    """The statements for those rules that SQL can judge.

    `columns` are those that `_partita_staged` has beside slot and row, `instants` those of them with a time zone, `floats` those that may hold NaN.
    """
    statement = _Statement()
    row_rules: list[SqlRule] = []
    shown: list[tuple[str, ...]] = []
    fresh: list[FreshColumn] = []
    for rule in rules:
        match rule:
            case RowModel() | FrameSchema() | RowCount():
                continue
            case FreshColumn():
                fresh.append(rule)
            case _:
                _add(statement, rule, len(row_rules), floats)
                row_rules.append(rule)
                shown.append(rule.columns or tuple(columns[:5]))
    broken = [
        f"coalesce({one}, false) as {_broken(i)}" for i, one in enumerate(statement.conditions)
    ]
    newest = [f"{quoted(rule.column)} as _partita_fresh_{i}" for i, rule in enumerate(fresh)]
    texts = [f"{_texts(names)} as _partita_shown_{i}" for i, names in enumerate(shown)]
    judged = (
        f"select {', '.join([SLOT, ROW, *broken, *texts, *newest])}"
        f" from {' '.join([STAGED, *statement.joins])}"
    )
    counts = [
        f"count(*) filter (where {_broken(i)}),"
        f" arg_min(_partita_shown_{i}, {ROW}, {EXAMPLES}) filter (where {_broken(i)})"
        for i in range(len(row_rules))
    ]
    ages = [
        f"epoch_us(max(_partita_fresh_{i}){'' if rule.column in instants else '::timestamp'})"
        for i, rule in enumerate(fresh)
    ]
    summary = (
        f"select {', '.join([SLOT, 'count(*)', *counts, *ages])} from ({judged}) group by {SLOT}"
    )
    which = ", ".join(f"case when {_broken(i)} then {i} end" for i in range(len(row_rules)))
    anything = " or ".join(_broken(i) for i in range(len(row_rules))) or "false"
    offenders = (
        f"select {ROW}, list_filter([{which}], lambda one: one is not null)"
        f" from ({judged}) where {anything} order by {ROW}"
    )
    return Compiled(
        tuple(row_rules), tuple(shown), tuple(fresh), summary, offenders, tuple(statement.values)
    )


def _broken(position: int) -> str:
    return f"_partita_broken_{position}"


def _texts(columns: Sequence[str]) -> str:
    cells = (f"left({quoted(one)}::varchar, {SHOWN_CHARACTERS + 1})" for one in columns)
    return f"[{', '.join(cells)}]::varchar[]"


def _add(statement: _Statement, rule: SqlRule, position: int, floats: frozenset[str]) -> None:
    """The condition under which a row breaks the rule; NULL counts as false."""
    names = [quoted(one) for one in rule.columns]
    match rule:
        case NotNull():
            condition = " or ".join(f"{name} is null" for name in names)
        case Unique():
            whole = " and ".join(f"{name} is not null" for name in names)
            # Without an order DuckDB 1.5 makes a join of the stream with itself of this, and finds it empty the second time.
            over = f"partition by {', '.join([SLOT, *names])} order by {ROW}"
            frame = "rows between unbounded preceding and unbounded following"
            condition = f"{whole} and count(*) over ({over} {frame}) > 1"
        case AcceptedValues(values=values):
            statement.values += values
            condition = f"{names[0]} not in ({', '.join('?' * len(values))})"
        case InRange():
            condition = _outside(statement, rule, names[0], floats)
        case Matches(regex=regex):
            statement.values.append(regex)
            condition = f"not regexp_full_match({names[0]}, ?)"
        case ForeignKey():
            table = key_table(position)
            keys = [key_column(position, part) for part in range(len(names))]
            same = " and ".join(f"{a} = {b}" for a, b in zip(names, keys, strict=True))
            own = f"{table}.{KEY_SLOT} = {STAGED}.{SLOT}"
            statement.joins.append(f"left join {table} on {own} and {same}")
            whole = " and ".join(f"{name} is not null" for name in names)
            condition = f"{whole} and {keys[0]} is null"
        case RowRule(sql=sql):
            # On lines of its own: a comment at its end must not swallow what follows.
            condition = f"not (\n{sql}\n)"
        case _:
            assert_never(rule)
    statement.conditions.append(f"({condition})")


def _outside(statement: _Statement, rule: InRange, name: str, floats: frozenset[str]) -> str:
    told = []
    if rule.min is not None:
        told.append(f"not ({name} {'>' if rule.strict_min else '>='} ?)")
        statement.values.append(rule.min)
    if rule.max is not None:
        told.append(f"not ({name} {'<' if rule.strict_max else '<='} ?)")
        statement.values.append(rule.max)
    if rule.column in floats:
        # To DuckDB NaN is the greatest number there is, so that a range without an upper bound would hold it.
        told.append(f"isnan({name})")
    return " or ".join(told)
