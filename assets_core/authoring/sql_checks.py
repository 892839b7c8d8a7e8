"""Checks written in SQL: a query that returns the rows that should not be there."""

# ruff: noqa: S608 - a check's query is its author's own SQL

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from assets_core.authoring.decorators import AssetCheck
from assets_core.model.checks import CheckResult
from assets_core.model.errors import DefinitionError, UserCodeError

if TYPE_CHECKING:
    import pyarrow as pa

    from assets_core.model.specs import HasKey

_EXAMPLES: Final = 3
_SHOWN_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class FailingRows:
    """A query as the function of a check: it passes if the query answers no rows. Called with the rows of `asset` as a table."""

    PARAMETER: ClassVar = "rows"

    asset: str
    query: str

    def __call__(self, rows: pa.Table) -> CheckResult:
        """Ask DuckDB, which knows the rows by the asset's name and nothing else.

        Raises UserCodeError if it does not understand the query.
        """
        import duckdb  # noqa: PLC0415 - heavy

        with duckdb.connect(config={"python_enable_replacements": False}) as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.register(self.asset, rows)
            try:
                # On lines of its own: a comment at its end must not swallow what follows.
                relation = f"(\n{self.query}\n)"
                (count,) = connection.execute(f"select count(*) from {relation}").fetchall()[0]
                if not count:
                    return CheckResult(passed=True)
                shown = connection.execute(
                    f"select _partita_found::varchar from {relation} as _partita_found limit {_EXAMPLES}"
                ).fetchall()
            except duckdb.Error as error:
                told = " ".join(str(error).partition("LINE ")[0].split())
                raise UserCodeError(
                    f"the query of a check of {self.asset} failed: {told}",
                    hint=f"it sees one table, {self.asset}: the rows that are about to be published",
                ) from error
        examples = "; ".join(_one_line(text) for (text,) in shown)
        what = "1 row" if count == 1 else f"{count:,} rows"
        return CheckResult(
            passed=False,
            message=f"{what}, for instance {examples}",
            metadata={"violations": count},
        )


def sql_check(
    name: str, asset: HasKey | str, query: str, *, blocking: bool = False, description: str = ""
) -> AssetCheck[[Any], CheckResult]:
    """A check of `asset` in SQL. It passes if the query answers no rows: it selects those that should not be there.

    The query sees one table, the rows that are about to be published, under the asset's own name. With `blocking` they are not
    published unless it passes. Calling it with a table runs it.

    Raises:
        DefinitionError: there is no query, or `asset` is no asset and no key.

    >>> import pyarrow as pa
    >>> check = sql_check("no_refunds", "orders", "select * from orders where amount < 0", blocking=True)
    >>> check(pa.table({"id": [1, 2], "amount": [10, -3]})).message
    "1 row, for instance {'id': 2, 'amount': -3}"
    """
    key = asset if isinstance(asset, str) else getattr(asset, "key", None)
    if not isinstance(key, str):
        raise DefinitionError(
            f"sql_check({name!r}) was given {asset!r} where it needs the asset to check",
            hint=f'write sql_check({name!r}, orders, "select … from orders where …")',
        )
    if not isinstance(query, str) or not query.strip().rstrip(";"):
        raise DefinitionError(
            f"sql_check({name!r}) has no query",
            hint=f'write sql_check({name!r}, {key}, "select … from {key} where …")',
        )
    return AssetCheck(
        asset=key,
        name=name,
        function=FailingRows(key, query.strip().rstrip(";")),
        blocking=blocking,
        description=description or " ".join(query.split()),
    )


def _one_line(text: str) -> str:
    shown = text if text.isprintable() else repr(text)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"
