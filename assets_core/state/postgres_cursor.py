"""The cursor of a state in PostgreSQL: psycopg's, with the words of `dialects.Cursor`."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, LiteralString, Self

import psycopg
from psycopg.pq import Format

from assets_core.state.dialects import Dialects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from assets_core.state.dialects import Row

_PLACEHOLDER = re.compile(r"\?(\d*)")


@cache
def numbered(statement: str) -> LiteralString:
    """The statement with PostgreSQL's placeholders. Statements are constants, and none has a question mark of its own.

    >>> numbered("select ?, ?"), numbered("select ?2, ?1")
    ('select $1, $2', 'select $2, $1')
    """
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return f"${found[1] or count}"

    return _PLACEHOLDER.sub(number, statement)


def in_postgres(statement: str) -> LiteralString:
    """The statement as this database is to get it."""
    return numbered(statement.postgres if isinstance(statement, Dialects) else statement)


class PostgresCursor:
    """The cursor of one transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._cursor = psycopg.RawCursor(connection)
        self._cursor.format = Format.BINARY

    @property
    def connection(self) -> Self:
        """What tells of changes; here the cursor itself does."""
        return self

    def changes(self) -> int:
        """How many rows the last INSERT, UPDATE or DELETE touched."""
        return self._cursor.rowcount

    def execute(self, statements: str, bindings: Sequence[Any] = (), /) -> Self:
        """Run a statement. Its rows are gone with the next one."""
        self._cursor.execute(in_postgres(statements), _storable(bindings))
        return self

    def executemany(self, statements: str, bindings: Iterable[Sequence[Any]], /) -> None:
        """Run a statement once for each of the bindings; they are sent together."""
        self._cursor.executemany(in_postgres(statements), map(_storable, bindings))

    def each(self, statement: str, bindings: Sequence[Sequence[Any]], /) -> list[Row | None]:
        """Run a statement once for each of the bindings, all sent together, and answer the first row of each (None for none)."""
        if not bindings:
            return []
        self._cursor.executemany(in_postgres(statement), map(_storable, bindings), returning=True)
        answers = [self._cursor.fetchone()]
        while self._cursor.nextset():
            answers.append(self._cursor.fetchone())
        return answers

    @property
    def get(self) -> Any:  # noqa: ANN401 - as the statement says
        """The only value of the only row, the only row if it has more, None without a row."""
        row = self._cursor.fetchone()
        return row[0] if row is not None and len(row) == 1 else row

    def fetchone(self) -> Any:  # noqa: ANN401 - as the statement says
        """The next row, or None."""
        return self._cursor.fetchone()

    def fetchall(self) -> list[Row]:
        """All rows that are left."""
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)


def _storable(bindings: Sequence[Any]) -> Sequence[Any]:
    r"""Texts of PostgreSQL can't hold the character NUL, which SQLite's can: its escape is stored.

    >>> _storable((1, "a\0b"))
    (1, 'a\\x00b')
    """
    if any(isinstance(one, str) and "\0" in one for one in bindings):
        return tuple(
            one.replace("\0", "\\x00") if isinstance(one, str) else one for one in bindings
        )
    return bindings
