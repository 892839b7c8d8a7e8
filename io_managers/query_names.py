"""Which assets a query names, and how DuckDB's refusals read: all that can be said about its text before anything is opened.

Decided here: that a query is one statement that only reads; that its tables are assets, expressions of its own, and functions that make
rows out of nothing but their arguments. Functions that look at the database, open files, or read a table whose name is a text
(`query_table`) are refused: they would get around what may be seen of an asset.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from assets_core.model.errors import QueryError
from io_managers.workbench import quoted
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duckdb import DuckDBPyConnection

_WRITING = "_QUERY_NODE"
"""How the parser's names for statements end that write inside a query."""
_FUNCTIONS = frozenset(
    {"generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest"}
)
"""Table functions that know nothing but their arguments."""


def named_assets(sql: str, assets: Mapping[str, object]) -> tuple[str, ...]:
    """The assets that a query names, by DuckDB's own parser. Raises QueryError as `query_rows` does.

    >>> named_assets('with day as (select 1) select * from Orders, day', {"orders": None, "prices": None})
    ('orders',)
    >>> named_assets("delete from orders", {"orders": None})
    Traceback (most recent call last):
    assets_core.model.errors.QueryError: DELETE is not a query: assets are only read here
    """
    import duckdb  # noqa: PLC0415 - heavy

    connection = duckdb.connect()
    try:
        _require_reading(connection, sql)
        found = connection.execute("select json_serialize_sql($1::varchar)", [sql]).fetchone()
    except duckdb.Error as error:
        raise plain(error) from error
    finally:
        connection.close()
    tree = json.loads(found[0]) if found is not None else {}
    if tree.get("error"):
        raise QueryError(str(tree.get("error_message")))
    named: dict[str, None] = {}
    _collect(tree, frozenset(), named, assets)
    return tuple(named)


def _require_reading(connection: DuckDBPyConnection, sql: str) -> None:
    import duckdb  # noqa: PLC0415 - heavy

    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError(
            f"this is {len(statements)} statements, and a query is one"
            if statements
            else "the query is empty",
            hint="write, for example: select * from ASSET",
        )
    kind = statements[0].type
    if kind == duckdb.StatementType.MULTI:
        raise QueryError(
            "a PIVOT without its values is several statements",
            hint="say the values: PIVOT … ON column IN (…)",
        )
    if kind != duckdb.StatementType.SELECT:
        raise _writes(kind.name)


def _writes(kind: str) -> QueryError:
    return QueryError(
        f"{kind} is not a query: assets are only read here",
        hint="write a SELECT; rows are changed by the function of an asset",
    )


def _collect(
    node: object, hidden: frozenset[str], found: dict[str, None], assets: Mapping[str, object]
) -> None:
    """The assets that are named anywhere in a parsed statement, where no common table expression of the name hides them.

    Raises QueryError for what is no asset, and for a part that writes.
    """
    if isinstance(node, list):
        for one in node:
            _collect(one, hidden, found, assets)
    if not isinstance(node, dict):
        return
    kind = str(node.get("type"))
    if kind.endswith(_WRITING):
        # DuckDB 2.0 takes INSERT, UPDATE, DELETE and COPY as common table expressions, and calls the whole a SELECT.
        raise _writes(kind.removesuffix(_WRITING))
    if kind == "BASE_TABLE" and not _is_hidden(node, hidden):
        found[_asset(node, assets)] = None
    if kind == "TABLE_FUNCTION":
        _require_known(str(node["function"]["function_name"]))
    if kind == "SHOW_REF" and node.get("show_type") == "SHOW_SPECIAL":
        raise QueryError("SHOW is not a query over assets", hint="partita list shows them")
    for one in node.get("cte_map", {}).get("map", []):
        # One after the other: an expression sees those before it, and not itself.
        _collect(one["value"], hidden, found, assets)
        hidden |= {str(one["key"]).casefold()}
    within = hidden
    if kind == "RECURSIVE_CTE_NODE":
        within = hidden | {str(node["cte_name"]).casefold()}
    for name, one in node.items():
        if name != "cte_map":
            _collect(one, within if name == "right" else hidden, found, assets)


def _is_hidden(table: Mapping[str, str], hidden: frozenset[str]) -> bool:
    # An expression has no schema, but that a recursive one names all of its rows so far `recurring.…`.
    schema = (table.get("catalog_name") or "", (table.get("schema_name") or "").casefold())
    return table["table_name"].casefold() in hidden and schema in {("", ""), ("", "recurring")}


def _asset(table: Mapping[str, str], assets: Mapping[str, object]) -> str:
    """The asset that a table of the query is, in any case."""
    name = table["table_name"]
    parts = [part for part in (table.get("catalog_name"), table.get("schema_name")) if part]
    whole = ".".join([*parts, name])
    by_folded = {asset.casefold(): asset for asset in assets}
    if not parts and name in assets:
        return name
    if not parts and name.casefold() in by_folded:
        return by_folded[name.casefold()]
    if not parts:
        near = nearest(name, assets)
        raise QueryError(
            f"there is no asset {name!r}",
            hint=f"did you mean {' or '.join(near)}?" if near else "partita list shows them",
        )
    hint = "partita list shows what there is"
    if whole.casefold() in by_folded:
        hint = f"write {quoted(by_folded[whole.casefold()])}"
    elif name.casefold() in by_folded:
        hint = f"write {quoted(by_folded[name.casefold()])}"
    raise QueryError(
        f"{whole} is no asset: assets are named alone, without a database or schema", hint=hint
    )


def _require_known(function: str) -> None:
    if function.casefold() not in _FUNCTIONS:
        raise QueryError(
            f"{function}(…) can't be read from: a query is over assets",
            hint=f"besides assets there are {', '.join(sorted(_FUNCTIONS))}",
        )


def plain(error: Exception) -> QueryError:
    """What DuckDB says, without the name of its class and its guesses among its own tables."""
    head, _, rest = str(error).strip().partition("\n")
    kind, colon, told = head.partition(" Error: ")
    message = told if colon and kind.replace(" ", "").isalpha() else head
    lines = rest.strip().split("\n")
    bindings = next((line for line in lines if line.startswith("Candidate bindings: ")), None)
    hint = None
    if bindings is not None:
        hint = f"did you mean {bindings.removeprefix('Candidate bindings: ')}?"
    at = next((i for i, line in enumerate(lines) if line.startswith("LINE ")), None)
    shown = "" if at is None else "\n" + "\n".join(lines[at : at + 2])
    return QueryError(message + shown, hint=hint)
