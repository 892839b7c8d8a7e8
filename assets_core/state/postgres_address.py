"""Where a state in PostgreSQL is: the address as a user writes it, taken apart into what libpq connects to and the schema of the project.

    postgresql://user@host:5432/database?schema=shop&sslmode=require

Everything but `schema` is libpq's own, and so is what the address leaves out: PGHOST, PGPASSWORD, ~/.pgpass and the like. Nothing
connects here, and no text made here has the password in it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from assets_core.model.errors import ProjectError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_SCHEMA: Final = "partita"
_SCHEMES: Final = ("postgresql://", "postgres://")
_LONGEST_SCHEMA: Final = 63
"""PostgreSQL cuts longer names off without a word, so that two projects could meet in one schema."""

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET: Final = re.compile(r"(//[^:/@]*:)[^@]*@|(\bpassword=)[^&]*")


@dataclass(frozen=True, slots=True)
class Address:
    """`conninfo` is what libpq is given, `schema` the schema that the project's tables are in."""

    conninfo: str = field(repr=False)
    schema: str


def is_address(text: str) -> bool:
    """Whether the text is meant as an address of PostgreSQL, not as a path.

    >>> is_address("postgresql:///shop"), is_address(".partita/state.db")
    (True, False)
    """
    return text.startswith(_SCHEMES)


def without_password(text: str, instead: str = "***") -> str:
    """The address as it may be shown, with `instead` for the password.

    >>> without_password("postgresql://ann:secret@db/shop?password=x&schema=s")
    'postgresql://ann:***@db/shop?password=***&schema=s'
    """
    return _SECRET.sub(
        lambda found: f"{found[1]}{instead}@" if found[1] else f"{found[2]}{instead}", text
    )


def parse_address(text: str) -> Address:
    """The address taken apart. Raises ProjectError for a schema that PostgreSQL would not take as it stands.

    >>> parse_address("postgresql://db/shop?sslmode=require&schema=night").schema
    'night'
    """
    base, _, query = text.partition("?")
    kept, schema = [], DEFAULT_SCHEMA
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name == "schema":
            schema = unquote(value)
        else:
            kept.append(part)
    reserved = schema.startswith("pg_") or schema == "information_schema"
    if not schema or "\0" in schema or reserved or len(schema.encode()) > _LONGEST_SCHEMA:
        raise ProjectError(
            f"{without_password(text)}: a state can't be kept in a schema named {schema!r}",
            hint=f"a name of at most {_LONGEST_SCHEMA} bytes that does not begin with pg_, such as ?schema={DEFAULT_SCHEMA}",
        )
    return Address(base + (f"?{'&'.join(kept)}" if kept else ""), schema)


def expand_variables(text: str, environment: Mapping[str, str] = os.environ) -> str:
    r"""Put the environment's values where the text says ${NAME}; in the part with user and password they are made safe for an address.

    Raises ProjectError for a variable that is not set.

    >>> expand_variables("postgresql://ann:${SECRET}@db/${NAME}", {"SECRET": "p@ss/word", "NAME": "shop"})
    'postgresql://ann:p%40ss%2Fword@db/shop'
    >>> expand_variables("${DATABASE_URL}", {"DATABASE_URL": "postgresql://db/shop"})
    'postgresql://db/shop'
    """
    authority = text.find("://")
    at = text.rfind("@", authority) if authority >= 0 else -1

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in environment:
            raise ProjectError(
                f"the place of the state names the environment variable {name}, which is not set",
                hint=f"export {name}=…",
            )
        return quote(environment[name], safe="") if found.start() < at else environment[name]

    return _VARIABLE.sub(value, text)
