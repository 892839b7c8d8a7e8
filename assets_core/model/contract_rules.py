"""The rules of contracts, as values.

Decided here: which rules there are, what each means (NULL and NaN included), and what is wrong with one by itself. Not decided here: how
a rule becomes SQL (`execution.contract_sql`), what a violation leads to (`contracts`).

Where a value is NULL a rule about values says nothing, as in SQL and dbt: `NotNull` is a rule of its own. NaN is a value: it is not NULL, it
lies in no range, and it equals itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import FunctionType
from typing import TYPE_CHECKING, Final

from assets_core.model.errors import DefinitionError, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from assets_core.model.specs import HasKey

Value = str | int | float | bool | Decimal | date | datetime
"""What rules compare with."""


@dataclass(frozen=True, slots=True, init=False)
class NotNull:
    """No row has NULL in any of these columns. NaN is not NULL.

    >>> NotNull(["order_id", "day"]).name
    'not_null(order_id, day)'
    """

    columns: tuple[str, ...]

    def __init__(self, columns: str | Sequence[str]) -> None:
        object.__setattr__(self, "columns", _columns("NotNull", columns))

    @property
    def name(self) -> str:
        """What its outcomes are recorded under."""
        return f"not_null({', '.join(self.columns)})"

    def text(self) -> str:
        """All that it says, on one line."""
        return self.name


@dataclass(frozen=True, slots=True, init=False)
class Unique:
    """No two rows of one partition are equal in all of these columns. Rows with NULL in one of them are equal to no other.

    All rows of a key that is there more than once break the rule, not all but one.

    >>> Unique("order_id").name
    'unique(order_id)'
    """

    columns: tuple[str, ...]

    def __init__(self, columns: str | Sequence[str]) -> None:
        object.__setattr__(self, "columns", _columns("Unique", columns))

    @property
    def name(self) -> str:
        """What its outcomes are recorded under."""
        return f"unique({', '.join(self.columns)})"

    def text(self) -> str:
        """All that it says, on one line."""
        return self.name


@dataclass(frozen=True, slots=True, init=False)
class AcceptedValues:
    """Each value of the column is one of `values`, or NULL.

    >>> AcceptedValues("status", ["open", "paid"]).text()
    "accepted_values(status): 'open', 'paid'"
    """

    column: str
    values: tuple[Value, ...]

    def __init__(self, column: str, values: Iterable[Value]) -> None:
        object.__setattr__(self, "column", _column("AcceptedValues", column))
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise DefinitionError(
                f"AcceptedValues({column!r}, {values!r}) needs a list of values",
                hint=f"write AcceptedValues({column!r}, [{values!r}])",
            )
        object.__setattr__(self, "values", tuple(values))
        if not self.values:
            raise DefinitionError(
                f"AcceptedValues({column!r}, []) accepts nothing", hint="list at least one value"
            )
        for value in self.values:
            _require_value(f"AcceptedValues({column!r})", value)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        return (self.column,)

    @property
    def name(self) -> str:
        """What its outcomes are recorded under."""
        return f"accepted_values({self.column})"

    def text(self) -> str:
        """All that it says, on one line."""
        return f"{self.name}: {', '.join(map(repr, self.values))}"


@dataclass(frozen=True, slots=True)
class InRange:
    """Each value of the column lies between `min` and `max`, or is NULL. NaN lies in no range.

    Bounds belong to the range unless `strict_min` or `strict_max` says otherwise; None is no bound. A value with a time zone is compared
    as an instant; one without, in a column that has one, counts as UTC, and the other way round.

    >>> InRange("amount", min=0, strict_min=True).text()
    'in_range(amount): > 0'
    """

    column: str
    min: Value | None = None
    max: Value | None = None
    strict_min: bool = False
    strict_max: bool = False

    def __post_init__(self) -> None:
        _column("InRange", self.column)
        what = f"InRange({self.column!r})"
        if self.min is None and self.max is None:
            raise DefinitionError(f"{what} has no bound", hint="give it min=, max= or both")
        for bound in (self.min, self.max):
            if bound is not None:
                _require_value(what, bound)
                if isinstance(bound, float | Decimal) and math.isnan(bound):
                    raise DefinitionError(f"{what} has NaN for a bound, and nothing is beside it")
        if self.min is None or self.max is None:
            return
        try:
            is_empty = self.min > self.max or (  # type: ignore[operator] # values that don't compare raise
                self.min == self.max and (self.strict_min or self.strict_max)
            )
        except TypeError:
            raise DefinitionError(
                f"{what} has bounds that don't compare: {self.min!r} and {self.max!r}",
                hint="give both the same type, and dates with times both or neither a time zone",
            ) from None
        if is_empty:
            raise DefinitionError(
                f"{what} is empty: no value lies between min={self.min!r} and max={self.max!r}",
                hint="min must be the smaller one",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        return (self.column,)

    @property
    def name(self) -> str:
        """What its outcomes are recorded under."""
        return f"in_range({self.column})"

    def text(self) -> str:
        """All that it says, on one line."""
        told = []
        if self.min is not None:
            told.append(f"{'>' if self.strict_min else '>='} {self.min!r}")
        if self.max is not None:
            told.append(f"{'<' if self.strict_max else '<='} {self.max!r}")
        return f"{self.name}: {' and '.join(told)}"


@dataclass(frozen=True, slots=True)
class Matches:
    """Each value of the text column matches the regular expression from its first to its last character, or is NULL.

    Regular expressions are RE2's, as DuckDB has them: no look-ahead, no look-behind, no back-references.

    >>> Matches("country", "[A-Z]{2}").text()
    "matches(country): '[A-Z]{2}'"
    """

    column: str
    regex: str

    def __post_init__(self) -> None:
        _column("Matches", self.column)
        if not isinstance(self.regex, str):
            raise DefinitionError(
                f"Matches({self.column!r}, {self.regex!r}) needs a regular expression as text"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        return (self.column,)

    @property
    def name(self) -> str:
        """What its outcomes are recorded under."""
        return f"matches({self.column})"

    def text(self) -> str:
        """All that it says, on one line."""
        return f"{self.name}: {self.regex!r}"


@dataclass(frozen=True, slots=True)
class RowCount:
    """Each partition has at least `min` and at most `max` rows. It is about no single row, so it can't be quarantined: it fails.

    >>> RowCount(min=1).text()
    'row_count: >= 1'
    """

    min: int | None = None
    max: int | None = None

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            raise DefinitionError("RowCount has no bound", hint="write RowCount(min=1)")
        for bound in (self.min, self.max):
            if bound is not None and (type(bound) is not int or bound < 0):
                raise DefinitionError(
                    f"RowCount has {bound!r} for a bound; it counts rows, from 0 up"
                )
        if self.min is not None and self.max is not None and self.min > self.max:
            raise DefinitionError(
                f"RowCount(min={self.min}, max={self.max}) is empty",
                hint="min must be the smaller one",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at: none."""
        return ()

    @property
    def name(self) -> str:
        """What its outcomes are recorded under."""
        return "row_count"

    def bounds(self) -> str:
        """Between what and what, in words."""
        told = [f">= {self.min}"] if self.min is not None else []
        told += [f"<= {self.max}"] if self.max is not None else []
        return " and ".join(told)

    def text(self) -> str:
        """All that it says, on one line."""
        return f"{self.name}: {self.bounds()}"


@dataclass(frozen=True, slots=True)
class FreshColumn:
    """The newest value of the column is at most `within` older than the end of the partition's window, or than now without a window.

    A date counts as its midnight, a timestamp without a time zone as the wall clock of the partitions (UTC without partitions). No
    value at all is not fresh. About no single row, so it can't be quarantined: it fails.

    >>> FreshColumn("updated_at", within=timedelta(hours=6)).text()
    'fresh(updated_at): within 6:00:00'
    """

    column: str
    within: timedelta

    def __post_init__(self) -> None:
        _column("FreshColumn", self.column)
        if not isinstance(self.within, timedelta) or self.within < timedelta(0):
            raise DefinitionError(
                f"FreshColumn({self.column!r}, within={self.within!r}) needs a span of time",
                hint=f"write FreshColumn({self.column!r}, within=timedelta(hours=6))",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        return (self.column,)

    @property
    def name(self) -> str:
        """What its outcomes are recorded under."""
        return f"fresh({self.column})"

    def text(self) -> str:
        """All that it says, on one line."""
        return f"{self.name}: within {self.within}"


@dataclass(frozen=True, slots=True, init=False)
class ForeignKey:
    """Each row's values in `columns` are those of some row of another asset, in `to` (by default the same names), or one is NULL.

    The other asset must be one that this one reads, or that its `deps=` name: of that the partitions that belong to a row's are looked at.

    >>> ForeignKey("customer_id", "customers", "id").text()
    'foreign_key(customer_id): customers(id)'
    """

    columns: tuple[str, ...]
    asset: str
    to: tuple[str, ...]

    def __init__(
        self,
        columns: str | Sequence[str],
        asset: HasKey | str,
        to: str | Sequence[str] | None = None,
    ) -> None:
        object.__setattr__(self, "columns", _columns("ForeignKey", columns))
        key = asset if isinstance(asset, str) else getattr(asset, "key", None)
        if not isinstance(key, str) or not key:
            raise DefinitionError(
                f"ForeignKey({columns!r}) refers to {asset!r}, which is no asset and no key",
                hint=f'write ForeignKey({columns!r}, customers, "id")',
            )
        object.__setattr__(self, "asset", key)
        object.__setattr__(self, "to", self.columns if to is None else _columns("ForeignKey", to))
        if len(self.to) != len(self.columns):
            raise DefinitionError(
                f"{self.name} has {len(self.columns)} columns, and refers to {len(self.to)} of {key}",
                hint="name as many columns there as here",
            )

    @property
    def name(self) -> str:
        """What its outcomes are recorded under."""
        return f"foreign_key({', '.join(self.columns)})"

    def text(self) -> str:
        """All that it says, on one line."""
        return f"{self.name}: {self.asset}({', '.join(self.to)})"


@dataclass(frozen=True, slots=True)
class RowRule:
    """An SQL expression over the columns of a row that is not false: NULL passes, as in a CHECK constraint.

    >>> RowRule("ends_after_start", "ends_at > starts_at").text()
    'ends_after_start: ends_at > starts_at'
    """

    name: str
    sql: str

    def __post_init__(self) -> None:
        for what, text in (("name", self.name), ("expression", self.sql)):
            if not isinstance(text, str) or not text.strip():
                raise DefinitionError(
                    f"RowRule({self.name!r}, {self.sql!r}) has an empty {what}",
                    hint='write RowRule("amount_is_positive", "amount > 0")',
                )
        if not all(char.isprintable() for char in self.name):
            raise DefinitionError(
                f"RowRule({self.name!r}) has a name that can't be printed on one line"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names; which it looks at, only SQL knows."""
        return ()

    def text(self) -> str:
        """All that it says, on one line."""
        lines = (line.strip() for line in self.sql.strip().splitlines())
        return f"{self.name}: {' ⏎ '.join(lines)}"


@dataclass(frozen=True, slots=True)
class RowModel:
    """Each row can be validated by a pydantic model: its columns are the fields, its values are not changed by what the model makes of them.

    A model class in `contract=` stands for it. Costs Python for every row.
    """

    model: type

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names; which there must be, the model says."""
        return ()

    @property
    def name(self) -> str:
        """What its outcomes are recorded under."""
        return f"model({self.model.__name__})"

    def text(self) -> str:
        """All that it says, on one line."""
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class FrameSchema:
    """Each partition's rows, as a pandas frame, are valid by a pandera schema or model; what it coerces is not kept.

    Such a schema in `contract=` stands for it.
    """

    schema: object

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names; which there must be, the schema says."""
        return ()

    @property
    def name(self) -> str:
        """What its outcomes are recorded under."""
        found = getattr(self.schema, "name", None) or getattr(self.schema, "__name__", None)
        return f"schema({found})" if isinstance(found, str) else "schema"

    def text(self) -> str:
        """All that it says, on one line. What functions of a user's do is not said: those are in `functions`."""
        if isinstance(self.schema, type):
            return self.name
        told = [repr(self.schema)]
        for part in self._parts():
            # The schema as a whole says its own settings.
            settings = {} if part is self.schema else getattr(part, "properties", {})
            told.append(repr({name: settings[name] for name in settings if name != "checks"}))
            told += [
                f"{check!r} {getattr(check, 'statistics', None)!r}"
                for check in getattr(part, "checks", ())
            ]
        return " ".join(" ".join(told).split())

    @property
    def functions(self) -> tuple[Callable[..., object], ...]:
        """The functions of a user's own that checks of a schema call; those of a model are in its class."""
        if isinstance(self.schema, type):
            return ()
        called = (
            getattr(check, "_check_fn", None)
            for part in self._parts()
            for check in getattr(part, "checks", ())
        )
        return tuple(
            one
            for one in called
            if isinstance(one, FunctionType) and not one.__module__.startswith("pandera")
        )

    def _parts(self) -> list[object]:
        """The schema and those of its columns and index."""
        columns = getattr(self.schema, "columns", {}).values()
        index = getattr(self.schema, "index", None)
        return [self.schema, *columns, *([] if index is None else [index])]


RowLevel = (
    NotNull
    | Unique
    | AcceptedValues
    | InRange
    | Matches
    | ForeignKey
    | RowRule
    | RowModel
    | FrameSchema
)
"""Rules that single rows break."""

PartitionLevel = RowCount | FreshColumn
"""Rules that only a partition as a whole can break."""

Rule = RowLevel | PartitionLevel

RULES: Final = (
    NotNull,
    Unique,
    AcceptedValues,
    InRange,
    Matches,
    ForeignKey,
    RowRule,
    RowModel,
    FrameSchema,
    RowCount,
    FreshColumn,
)


def _columns(rule: str, columns: object) -> tuple[str, ...]:
    found = (columns,) if isinstance(columns, str) else columns
    if not isinstance(found, Sequence) or not found:
        raise DefinitionError(
            f"{rule}({columns!r}) names no column",
            hint=f'write {rule}("id") or {rule}(["a", "b"])',
        )
    names = tuple(_column(rule, name) for name in found)
    if len(set(names)) < len(names):
        raise DefinitionError(f"{rule}({list(names)}) names a column twice")
    return names


def _column(rule: str, column: object) -> str:
    if not isinstance(column, str) or not column or "\0" in column:
        raise DefinitionError(f"{rule}({shown(column)}) names no column")
    return column


def _require_value(what: str, value: object) -> None:
    if value is None:
        raise DefinitionError(
            f"{what} has None for a value; NULL always passes",
            hint=f"leave it out, and add NotNull to forbid NULL: {what} is about values",
        )
    if not isinstance(value, Value):
        raise DefinitionError(
            f"{what} has {shown(value)} for a value",
            hint="a text, number, truth value, date or datetime",
        )
