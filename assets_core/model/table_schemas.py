"""The columns that an asset's rows are to have, as plain values: nothing here needs pyarrow.

What makes them from a pyarrow schema or a pydantic model is `authoring.row_schemas`; what is done about rows that differ is decided in
`io_managers.row_shape` (returned rows) and `io_managers.schemas` (stored ones).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class SchemaPolicy(StrEnum):
    """What happens to rows whose columns are not those declared, or not those stored.

    FREEZE: refused. ADD_NULLABLE: new columns are added, missing ones are null. WIDEN: as that, and a type may grow without a loss.
    DISCARD: columns that are not declared are left out, missing ones are null.
    """

    FREEZE = "freeze"
    ADD_NULLABLE = "add_nullable"
    WIDEN = "widen"
    DISCARD = "discard"

    @property
    def is_closed(self) -> bool:
        """True if the stored columns are the declared ones and no others."""
        return self in {SchemaPolicy.FREEZE, SchemaPolicy.DISCARD}


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column; `type` is the Arrow type as text. `nullable` rows may have no value in it."""

    name: str
    type: str
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class TableSchema:
    """Declared columns, in their order. `arrow` is the same as a serialized Arrow schema.

    >>> TableSchema((Column("id", "int64", nullable=False), Column("name", "string")), b"").text()
    'id int64 not null, name string'
    """

    columns: tuple[Column, ...]
    arrow: bytes = field(repr=False)

    def text(self) -> str:
        """Canonical text, part of the asset's code version."""
        return ", ".join(
            f"{one.name} {one.type}{'' if one.nullable else ' not null'}" for one in self.columns
        )

    def schema_hash(self) -> str:
        """The hash that receipts of rows with exactly these columns have."""
        return columns_hash((one.name, one.type) for one in self.columns)


def columns_hash(columns: Iterable[tuple[str, str]]) -> str:
    """One text for equal (name, type) pairs, whatever their order.

    >>> columns_hash([("a", "int64"), ("b", "string")]) == columns_hash([("b", "string"), ("a", "int64")])
    True
    """
    pairs = sorted(columns)
    return blake2b(repr(pairs).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
