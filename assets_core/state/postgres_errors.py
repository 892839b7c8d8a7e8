"""What failures of a PostgreSQL server mean for the user: what answers where, the cause in the server's words, what to type. No password."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assets_core.model.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from assets_core.state.postgres_address import Address


@contextmanager
def in_users_words(address: Address) -> Iterator[None]:
    """Let errors of psycopg leave the block as StoreError, and the lack of psycopg as well."""
    try:
        import psycopg  # noqa: PLC0415 - heavy, and an extra
    except ImportError as error:
        raise StoreError(
            f"The state is in PostgreSQL, and the library for that can't be loaded: {error}",
            hint="pip install 'partita[postgres]'",
        ) from error
    try:
        yield
    except psycopg.Error as error:
        raise store_error(address, error) from error


def quoted(identifier: str) -> str:
    """An identifier as SQL. The only one that isn't a constant is the schema.

    >>> print(quoted('say "shop" twice'))
    "say ""shop"" twice"
    """
    return '"' + identifier.replace('"', '""') + '"'


def grant_for(address: Address, user: str, *, there: bool) -> str:
    """What the owner of the database, or of a schema that is there, would have to run so that `user` may record."""
    schema, role = quoted(address.schema), quoted(user)
    if there:
        return (
            f"Ask its owner for: grant usage, create on schema {schema} to {role}; "
            f"grant select, insert, update, delete on all tables in schema {schema} to {role}"
        )
    return f"Ask the database's owner for: create schema {schema} authorization {role}"


def place_of(address: Address) -> str:
    """Database, server and schema, for a text: what the address says, and what libpq takes from the environment where it says nothing.

    >>> from assets_core.state.postgres_address import parse_address
    >>> place_of(parse_address("postgresql://ann:secret@db.example.org/shop"))
    'database shop at db.example.org:5432, schema partita'
    """
    host, port, database, _ = _parts(address)
    where = f"in {host}, port {port}" if host.startswith("/") else f"at {host}:{port}"
    return f"database {database} {where}, schema {address.schema}"


def _parts(address: Address) -> tuple[str, str, str, str]:
    """Host, port, database, user."""
    import psycopg  # noqa: PLC0415 - heavy, and an extra
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        given = conninfo_to_dict(address.conninfo)
    except psycopg.Error:
        given = {}  # the address can't be read, which is what the error will say
    named = {
        name: str(given.get(name) or os.environ.get(variable) or default)
        for name, variable, default in (
            ("host", "PGHOST", "localhost"),
            ("port", "PGPORT", "5432"),
            ("user", "PGUSER", os.environ.get("USER", "")),
            ("dbname", "PGDATABASE", ""),
        )
    }
    database = named["dbname"] or named["user"]
    return named["host"], named["port"], database, named["user"]


def store_error(address: Address, error: psycopg.Error) -> StoreError:
    """The error as the user is told it."""
    from psycopg import errors  # noqa: PLC0415 - heavy, and an extra

    place = place_of(address)
    told = " ".join(str(error).split())
    _, _, database, user = _parts(address)
    match error:
        case errors.InsufficientPrivilege():
            return StoreError(
                f"The {place} does not let {user} do that: {told}",
                hint=f"{grant_for(address, user, there='for database' not in told)}",
            )
        case errors.ReadOnlySqlTransaction():
            return StoreError(
                f"The {place} can't be written: {told}",
                hint="A standby can only be read: name the primary server, or add target_session_attrs=read-write to the address.",
            )
        case errors.UndefinedTable() | errors.InvalidSchemaName():
            return StoreError(
                f"The state in the {place} was removed or damaged: {told}",
                hint="Run the command again; if that does not help, restore the schema from a dump.",
            )
        case errors.DiskFull():
            return StoreError(
                f"The {place} can't grow: {told}",
                hint="Free some space and run the command again; what was recorded before is safe.",
            )
        case errors.ProgrammingError() if error.sqlstate is None:
            # Its text may quote the address, and so the password.
            return StoreError(
                "The address of the state can't be read.",
                hint="Write postgresql://USER@HOST:5432/DATABASE; special characters in a password are percent-encoded.",
            )
        case errors.OperationalError():
            return StoreError(
                f"The {place} can't be used: {told}",
                hint=_hint_about(told, address, database, user),
            )
        case _:
            return StoreError(f"The {place} can't be used: {told}", hint="partita doctor")


def _hint_about(told: str, address: Address, database: str, user: str) -> str:
    """What to type. A failure to connect has no code, only the server's text."""
    host, port, _, _ = _parts(address)
    lower = told.lower()
    if "password" in lower or "authentication" in lower:
        return f"Give {user}'s password: export PGPASSWORD=…, or a line in ~/.pgpass"
    if f'database "{database.lower()}" does not exist' in lower:
        return f"Make it: createdb --host={host} --port={port} --username={user} {database}"
    if "role" in lower and "does not exist" in lower:
        return f"Name a user that the server knows, or make this one: createuser --host={host} --port={port} {user}"
    if "ssl" in lower or "pg_hba" in lower:
        return "Say how to encrypt in the address: ?sslmode=require, or what else the server asks for."
    return f"See whether it answers: pg_isready --host={host} --port={port}"
