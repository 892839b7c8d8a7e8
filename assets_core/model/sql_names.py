"""Names and texts inside of SQL for DuckDB: the only way that either comes into a statement. Values are bound as parameters."""

from __future__ import annotations


def quoted(name: str) -> str:
    """A name as an SQL identifier: the only way that names come into SQL here. Every name is quoted: any may be a keyword.

    >>> quoted('at'), quoted('a"b')
    ('"at"', '"a""b"')
    """
    return '"' + name.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    """Text as an SQL literal, for the statements that take no bound parameter (ATTACH, SET).

    >>> quoted_text("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"
