"""What was written as an option of a decorator, as the value that is kept; what is of the wrong type is a mistake of the definition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from assets_core.model.contracts import Contract
from assets_core.model.errors import DefinitionError, shown
from assets_core.model.specs import SCD2, Append, Merge, Replace

if TYPE_CHECKING:
    from assets_core.model.specs import PartitionBy, WriteMode


def as_write_mode(key: str, write: object) -> WriteMode:
    """`write=` as it is, if it is a write mode."""
    if isinstance(write, Replace | Append | Merge | SCD2):
        return write
    raise DefinitionError(
        f"asset {key!r} has write={shown(write)}",
        hint='write Replace(), Append(), Merge(keys=["id"]) or SCD2(keys=["id"])',
    )


def as_contract(key: str, contract: object) -> Contract | None:
    """`contract=` as a contract; a list of rules is one."""
    if contract is None or isinstance(contract, Contract):
        return contract
    try:
        return Contract(contract)
    except DefinitionError as error:
        raise DefinitionError(f"asset {key!r}: {error.message}", hint=error.hint) from None


def as_partition_by(key: str, partition_by: object) -> PartitionBy | None:
    """A column, or (dimension, column) pairs."""
    if partition_by is None or isinstance(partition_by, str):
        return partition_by
    if isinstance(partition_by, Mapping):
        return tuple((str(name), str(column)) for name, column in partition_by.items())
    raise DefinitionError(
        f"asset {key!r} has partition_by={shown(partition_by)}",
        hint="name a column, or {dimension: column} for several dimensions",
    )


def as_sequence(key: str, option: str, values: Any) -> tuple[Any, ...]:  # noqa: ANN401 -- whatever a user wrote
    """A list as a tuple; a text is none."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise DefinitionError(
            f"asset {key!r} has {option}={shown(values)}, which is no list",
            hint=f"write {option}=[…]",
        )
    return tuple(values)


def as_texts(key: str, option: str, values: Iterable[str]) -> tuple[str, ...]:
    """A list of texts as a tuple."""
    return tuple(as_sequence(key, option, values))


def as_mapping(key: str, option: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """A dictionary, which may be None."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise DefinitionError(
            f"asset {key!r} has {option}={shown(values)}, which is no dictionary",
            hint=f'write {option}={{"name": …}}',
        )
    return dict(values)
