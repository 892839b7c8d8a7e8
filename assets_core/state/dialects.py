"""What the modules `sql_*` ask of a database: a cursor, and statements that both SQLite and PostgreSQL understand.

Most statements are the same text for both. One that can't be is written down twice, side by side, as `per_dialect`; to SQLite it is its
own text, and a PostgreSQL cursor takes the other one. Placeholders are SQLite's in both: `?`, or `?1` where one is used twice. Nothing
translates anything but these. What differs beyond statements (locks, transactions, errors) is in `sqlite_connection` and `postgres_connection`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

Row = tuple[Any, ...]


class Dialects(str):
    """A statement in SQLite's words that carries PostgreSQL's as well."""

    __slots__ = ("postgres",)
    postgres: str


def per_dialect(*, sqlite: str, postgres: str) -> Dialects:
    """One statement in the words of each database.

    >>> per_dialect(sqlite="select hex(?)", postgres="select encode(?, 'hex')").postgres
    "select encode(?, 'hex')"
    """
    both = Dialects(sqlite)
    both.postgres = postgres
    return both


class Changes(Protocol):
    """Whatever can tell what the last statement did."""

    def changes(self) -> int:
        """How many rows the last INSERT, UPDATE or DELETE touched."""
        ...


class Rows(Protocol):
    """What a statement answered."""

    @property
    def get(self) -> Any:  # noqa: ANN401 - a value or a row, as the statement says
        """The only value of the only row, the only row if it has more, None without a row."""
        ...

    def fetchone(self) -> Any:  # noqa: ANN401 - as the statement says
        """The next row, or None."""
        ...

    def fetchall(self) -> list[Row]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Cursor(Rows, Protocol):
    """A transaction's cursor: the part of apsw's that is used, and `each`. It answers for the last statement as well."""

    @property
    def connection(self) -> Changes:
        """Tells what the last statement did."""
        ...

    def execute(self, statements: str, bindings: Sequence[Any] = ..., /) -> Rows:
        """Run a statement. Its rows are gone with the next one."""
        ...

    def executemany(self, statements: str, bindings: Iterable[Sequence[Any]], /) -> object:
        """Run a statement that answers nothing, once for each of the bindings."""
        ...

    def each(self, statement: str, bindings: Sequence[Sequence[Any]], /) -> list[Row | None]:
        """Run a statement once for each of the bindings, and answer the first row of each (None for none). Costs one round trip."""
        ...


class Transactions(Protocol):
    """A database as the store uses it. Both blocks raise StoreError; leaving one by an error undoes what it did."""

    def read(self) -> AbstractContextManager[Cursor]:
        """A transaction that sees one commit and writes nothing."""
        ...

    def write(self) -> AbstractContextManager[Cursor]:
        """A transaction that waits for other writers, and is durable when the block ends."""
        ...

    def close(self) -> None:
        """Release everything; any later transaction raises StoreError."""
        ...
