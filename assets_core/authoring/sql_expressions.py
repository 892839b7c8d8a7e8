"""What is wrong with SQL and regular expressions that stand in definitions. DuckDB reads them, as it will when there are rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from assets_core.model.contract_rules import Matches, RowRule
from assets_core.model.errors import DefinitionError
from assets_core.model.specs import Merge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets_core.authoring.decorators import Asset


def sql_problems(asset: Asset) -> Iterator[DefinitionError]:
    """Every expression of an asset's definition that DuckDB can't read; whether its columns are there, only rows tell."""
    subject = f"asset {asset.key!r}"
    if isinstance(asset.write, Merge) and asset.write.delete_when is not None:
        told = _expression_problem(asset.write.delete_when)
        if told is not None:
            yield DefinitionError(
                f"{subject}: Merge(delete_when={asset.write.delete_when!r}) {told}",
                hint='write one condition over the returned columns, such as "is_deleted"',
            )
    for rule in () if asset.contract is None else asset.contract.rules:
        if isinstance(rule, RowRule):
            told = _expression_problem(rule.sql)
            if told is not None:
                yield DefinitionError(
                    f"{subject}: RowRule({rule.name!r}, {rule.sql!r}) {told}",
                    hint='write one condition over the columns of a row, such as "ends_at > starts_at"',
                )
        elif isinstance(rule, Matches):
            told = _regex_problem(rule.regex)
            if told is not None:
                yield DefinitionError(
                    f"{subject}: Matches({rule.column!r}, {rule.regex!r}) is no regular expression of RE2: {told}",
                    hint="RE2 has no look-around, back-references or possessive repetition; an @asset_check in Python has",
                )


def _expression_problem(text: str) -> str | None:
    """Why a text is not one SQL expression; None if it is."""
    import duckdb  # noqa: PLC0415 - heavy, and few projects have such expressions

    with duckdb.connect() as connection:
        # Alone, for "a) or (b" is something only in parentheses; and in them, as it is used. On lines of its own: it may end in a comment.
        for statement in (f"select (\n{text}\n)", f"select\n{text}\n"):
            row = connection.execute("select json_serialize_sql($1)", [statement]).fetchone()
            found = json.loads(row[0]) if row else {}
            if found.get("error"):
                return f"is no SQL: {' '.join(str(found.get('error_message')).split())}"
    statements = found["statements"]
    node = statements[0]["node"]
    if len(statements) > 1:
        return "is more than one statement"
    is_plain = node["type"] == "SELECT_NODE" and node["from_table"]["type"] == "EMPTY"
    rest = ("where_clause", "having", "qualify", "sample")
    if not is_plain or any(node.get(part) for part in (*rest, "group_expressions", "modifiers")):
        return "is more than an expression"
    if len(node["select_list"]) > 1:
        return "is more than one expression"
    return None


def _regex_problem(regex: str) -> str | None:
    import duckdb  # noqa: PLC0415 - as above

    with duckdb.connect() as connection:
        try:
            connection.execute("select regexp_full_match('', $1)", [regex]).fetchall()
        except duckdb.Error as error:
            return str(error).partition("\n")[0].partition(": ")[2] or str(error)
    return None
