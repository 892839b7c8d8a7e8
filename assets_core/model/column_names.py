"""Which names the columns of an asset's rows may have: the same ones whether they are declared or returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from assets_core.model.io_manager import PARTITION_COLUMN

if TYPE_CHECKING:
    from collections.abc import Iterable

RESERVED_PREFIX: Final = "_partita"
"""Names of columns and tables that start with it are Partita's own."""


def column_name_problem(names: Iterable[str]) -> tuple[str, str | None] | None:
    """The first column that can't be, in words that follow "have", and what to do about it; None if all can.

    >>> column_name_problem(["id", "ID"])
    ("column 'ID' and 'id', which differ only by case", None)
    """
    seen: dict[str, str] = {}
    for name in names:
        folded = name.casefold()
        if folded == PARTITION_COLUMN or folded.startswith(RESERVED_PREFIX):
            hint = f"rename it: {PARTITION_COLUMN!r} and names that start with {RESERVED_PREFIX!r} are Partita's own"
            return f"column {name!r}, a reserved name", hint
        if not name or "\0" in name:
            return f"a column without a usable name ({name!r})", None
        if folded in seen:
            other = seen[folded]
            what = "twice" if other == name else f"and {other!r}, which differ only by case"
            return f"column {name!r} {what}", None
        seen[folded] = name
    return None
