"""Whether rows have what a contract's rules are about: the columns, and types that compare without a cast.

Decided here: what compares with what. What a rule says of values is `contract_sql`'s.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from assets_core.model.contract_rules import AcceptedValues, InRange, Matches
from assets_core.model.errors import DataError
from partitions.errors import nearest

if TYPE_CHECKING:
    import pyarrow as pa

    from assets_core.model.contract_rules import ForeignKey, Rule, Value


def require_columns(asset: str, rule: Rule, schema: pa.Schema) -> None:
    """Raise DataError, with the nearest, for a column that a rule names and the rows don't have."""
    for column in rule.columns:
        if column not in schema.names:
            near = nearest(column, schema.names)
            listed = ", ".join(repr(name) for name in schema.names[:20])
            raise DataError(
                f"{asset}: the contract's {rule.name} names column {column!r}, and the rows have {listed or 'no columns'}",
                hint=f"did you mean {near[0]!r}?"
                if near
                else f"return a column {column!r}, or change the rule",
            )


def require_types(asset: str, rule: Rule, schema: pa.Schema) -> None:
    """Raise DataError if DuckDB could only compare by a cast: text with numbers, for instance, which calls '10' smaller than '9'."""
    match rule:
        case AcceptedValues(values=values):
            given = values
        case InRange():
            given = tuple(one for one in (rule.min, rule.max) if one is not None)
        case Matches(regex=regex):
            given = (regex,)
        case _:
            return
    (column,) = rule.columns
    kind = schema.field(column).type
    sort = _sort_of(kind)
    for value in given:
        if sort is not None and _sort_of_value(value) != sort:
            raise DataError(
                f"{asset}: the contract's {rule.name} compares column {column!r}, which is {kind}, with {value!r}",
                hint="write values of the column's own type, or cast the column in the function that returns the rows",
            )


def require_same_sorts(asset: str, rule: ForeignKey, schema: pa.Schema, keys: pa.Schema) -> None:
    """Raise DataError if columns of rows and the keys that they refer to don't compare without a cast."""
    for column, key in zip(rule.columns, rule.to, strict=True):
        kind, other = schema.field(column).type, keys.field(key).type
        if None not in {_sort_of(kind), _sort_of(other)} and _sort_of(kind) != _sort_of(other):
            raise DataError(
                f"{asset}: the contract's {rule.name} compares column {column!r}, which is {kind},"
                f" with {rule.asset}'s {key!r}, which is {other}",
                hint="cast one of them in the function that returns the rows",
            )


def _sort_of(kind: pa.DataType) -> str | None:
    """What values of a type compare with; None for a column that has held nulls only, where there is nothing to compare."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    types = pa.types
    if types.is_null(kind):
        return None
    if types.is_boolean(kind):
        return "truth"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_date(kind) or types.is_timestamp(kind):
        return "time"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    return str(kind)


def _sort_of_value(value: Value) -> str:
    match value:
        case bool():
            return "truth"
        case int() | float() | Decimal():
            return "number"
        case date():
            return "time"
        case _:
            return "text"
