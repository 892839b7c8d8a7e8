"""What can be wrong with one asset by itself: its name, its texts, and options that contradict each other.

Decided here: the rules, each named in its message. Not decided here: what takes two assets to see (`definitions`), and what an IO manager
can store (`IOManager.supports`).
"""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from assets_core.model.errors import DefinitionError, shown
from assets_core.model.io_manager import PARTITION_COLUMN
from assets_core.model.specs import HISTORY_COLUMNS, SCD2, Append, Merge, Replace, RetryPolicy
from partitions.definitions import SINGLE, PartitionKind
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets_core.authoring.decorators import Asset
    from partitions.definitions import Partitions

MAX_NAME_LENGTH: Final = 200
LEAST_MEMORY: Final = 64 * 2**20
"""Bytes; an interpreter that has loaded pyarrow and DuckDB is already larger."""
_RESERVED_CHARACTERS: Final = "@+*,:|()\"'`\\"
_RESERVED_NAMES: Final = frozenset({"and", "or", "not", ".", ".."})
# Control, format (invisible), unassigned half characters, line and paragraph separators.
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_ZERO_WIDTH_JOINER: Final = "\u200d"
"""Invisible, and part of many emoji."""


def name_problem(name: object) -> str | None:
    """Which rule for names of assets and checks `name` breaks, in words; None if it is a good name.

    A name can be typed into a selection (`+orders`) and into `ASSET@KEY` without quotes. Apart from that names are data: `a/b`, `$x`,
    `<script>` and emoji are names like any other.

    >>> name_problem("shop/orders"), name_problem("my orders")
    (None, 'it has white space in it')
    """
    if not isinstance(name, str):
        return f"it is of type {type(name).__name__}, not text"
    if not name:
        return "it is empty"
    if len(name) > MAX_NAME_LENGTH:
        return f"it has {len(name)} characters; at most {MAX_NAME_LENGTH} are allowed"
    if not _is_printable_line(name):
        return "it has a character that can't be printed on one line"
    if any(char.isspace() for char in name):
        return "it has white space in it"
    reserved = [char for char in name if char in _RESERVED_CHARACTERS]
    if reserved:
        return f"it has a {reserved[0]} in it, which selections and partition keys use"
    if name.startswith("-"):
        return "it starts with a hyphen, like an option of the command line"
    if name.lower() in _RESERVED_NAMES:
        return "it is a word of the selection language, or a folder's own name"
    return None


def definition_problems(asset: Asset) -> Iterator[DefinitionError]:
    """Everything that is wrong with an asset, seen by itself.

    >>> from assets_core.authoring.decorators import asset
    >>> @asset(name="my orders")
    ... def orders(): ...
    >>> [problem.message for problem in definition_problems(orders)]
    ["'my orders' can't be the name of an asset: it has white space in it"]
    """
    problem = name_problem(asset.key)
    if problem is not None:
        yield DefinitionError(f"{asset.key!r} can't be the name of an asset: {problem}")
    yield from _text_problems(asset)
    yield from _type_problems(asset)
    yield from _limit_problems(asset)
    yield from _schema_problems(asset)
    if asset.partitions is None or is_partitions(asset.partitions):
        yield from _history_problems(asset)
    if asset.partitions is not None and not is_partitions(asset.partitions):
        yield DefinitionError(
            f"asset {asset.key!r} has partitions={shown(asset.partitions)}",
            hint="give it a definition such as DailyPartitions(…) or StaticPartitions([…])",
        )
        return
    yield from _partition_problems(asset, asset.partitions or SINGLE)


def is_partitions(value: object) -> bool:
    """Whether `value` is a partition definition: one of ours or a user's own; a class is none."""
    return not isinstance(value, type) and all(
        hasattr(value, name) for name in ("kind", "space", "index", "describe")
    )


def time_kind(partitions: Partitions) -> PartitionKind | None:
    """The kind of the time windows, alone or as a dimension; None without any.

    >>> from partitions.time_windows import DailyPartitions
    >>> time_kind(DailyPartitions("2025-01-01")), time_kind(SINGLE)
    (<PartitionKind.DAY: 'day'>, None)
    """
    kinds = [definition.kind for _, definition in dimensions(partitions)] or [partitions.kind]
    return next((kind for kind in kinds if kind.is_time), None)


def dimensions(partitions: Partitions) -> tuple[tuple[str, Partitions], ...]:
    """The named dimensions of a multi definition; none of any other."""
    if partitions.kind is not PartitionKind.MULTI:
        return ()
    found: tuple[tuple[str, Partitions], ...] = getattr(partitions, "dimensions", ())
    return found


def _is_printable_line(text: str) -> bool:
    return not any(
        unicodedata.category(char) in _UNPRINTABLE and char != _ZERO_WIDTH_JOINER for char in text
    )


def _text_problems(asset: Asset) -> Iterator[DefinitionError]:
    texts = [("group", asset.group), *(("owner", owner) for owner in asset.owners)]
    texts += [("package in code_depends", package) for package in asset.code_depends]
    for name, value in asset.tags.items():
        texts += [("tag", name), *([("tag", value)] if value != "" else [])]
    for what, text in texts:
        if not isinstance(text, str) or not text:
            yield DefinitionError(
                f"asset {asset.key!r} has a {what} that is {shown(text)}, not a text"
            )
        elif not _is_printable_line(text):
            yield DefinitionError(
                f"asset {asset.key!r} has a {what} {text!r}, which can't be printed on one line"
            )


def _type_problems(asset: Asset) -> Iterator[DefinitionError]:
    wanted: tuple[tuple[str, object, object, str], ...] = (
        (
            "io_manager",
            asset.io_manager,
            str,
            'the name of one of Definitions(io_managers={"name": …})',
        ),
        ("retry", asset.retry, RetryPolicy, "RetryPolicy(max_attempts=3)"),
        ("batch_size", asset.batch_size, int, "a number of partitions, 1 or more"),
        ("compare_input_versions", asset.compare_input_versions, bool, "True or False"),
        ("lookback", asset.lookback, int, "a number of partitions, 0 or more"),
        ("pool", asset.pool, str | None, 'the name of one of Definitions(pools={"name": 2})'),
        ("priority", asset.priority, int, "a whole number, such as 10"),
        ("timeout", asset.timeout, timedelta | None, "timedelta(minutes=10)"),
        ("closed_after", asset.closed_after, timedelta, "timedelta(hours=2)"),
        ("code_version", asset.code_version, str | None, 'a text such as "2"'),
        ("description", asset.description, str, "a text"),
    )
    for name, value, kind, example in wanted:
        is_number_by_accident = isinstance(value, bool) and kind is not bool
        if not isinstance(value, kind) or is_number_by_accident:  # type: ignore[arg-type] # a type, or a union of them
            yield DefinitionError(
                f"asset {asset.key!r} has {name}={shown(value)}", hint=f"write {example}"
            )


def _limit_problems(asset: Asset) -> Iterator[DefinitionError]:
    if isinstance(asset.timeout, timedelta) and asset.timeout <= timedelta(0):
        yield DefinitionError(
            f"asset {asset.key!r} has timeout={asset.timeout!r}, which no attempt could keep",
            hint="write timeout=timedelta(minutes=10), or leave it out for no limit",
        )
    if asset.memory is not None and asset.memory < LEAST_MEMORY:
        yield DefinitionError(
            f"asset {asset.key!r} has memory={asset.memory}, less than Python itself needs",
            hint='write memory="2GiB", or leave it out for no limit',
        )


def _partition_problems(asset: Asset, partitions: Partitions) -> Iterator[DefinitionError]:
    name = f"asset {asset.key!r}"
    if isinstance(asset.batch_size, int):
        if asset.batch_size < 1:
            yield DefinitionError(
                f"{name} has batch_size={asset.batch_size}", hint="1 is the least"
            )
        elif asset.batch_size > 1 and asset.partitions is None:
            yield DefinitionError(
                f"{name} has batch_size={asset.batch_size}, but it is not partitioned",
                hint="leave batch_size out, or give it partitions=…",
            )
        elif asset.batch_size > 1 and asset.partition_by is None:
            yield DefinitionError(
                f"{name} has batch_size={asset.batch_size}, but nothing tells the partitions of a batch apart",
                hint='add partition_by="column": a column with the time or key of each row',
            )
    if isinstance(asset.lookback, int) and asset.lookback < 0:
        yield DefinitionError(f"{name} has lookback={asset.lookback}", hint="0 means none")
    if isinstance(asset.closed_after, timedelta) and asset.closed_after < timedelta(0):
        yield DefinitionError(
            f"{name} has a negative closed_after",
            hint="a partition is due after its end; for earlier ones use end_offset of the partition definition",
        )
    if time_kind(partitions) is None:
        for option, is_set in (("lookback", asset.lookback), ("closed_after", asset.closed_after)):
            if is_set:
                yield DefinitionError(
                    f"{name} has {option}, but no time partitions",
                    hint=f"leave {option} out, or give it time partitions such as DailyPartitions(…)",
                )
    yield from _partition_by_problems(asset, partitions)


def _history_problems(asset: Asset) -> Iterator[DefinitionError]:
    """What a history can't be made of."""
    if not isinstance(asset.write, SCD2):
        return
    name = f"asset {asset.key!r}"
    if asset.partitions is None or not asset.partitions.kind.is_time:
        yield DefinitionError(
            f"{name} keeps a history (SCD2), but has no time partitions to order it by",
            hint="give it partitions=DailyPartitions(…) or the like, without further dimensions",
        )
    if asset.partition_by is not None:
        yield DefinitionError(
            f"{name} has partition_by={shown(asset.partition_by)}, but a history (SCD2) is kept of what each partition returned",
            hint="leave partition_by out; effective= names a column with the time of a change",
        )
    if asset.schema is not None:
        added = [
            one.name for one in asset.schema.columns if one.name.casefold() in HISTORY_COLUMNS
        ]
        for column in added:
            yield DefinitionError(
                f"{name} has a schema with column {column!r}, which SCD2 adds itself",
                hint="leave it out of schema=…",
            )


def _schema_problems(asset: Asset) -> Iterator[DefinitionError]:
    """Columns that other options name and the schema would not let in."""
    if asset.schema is None or not asset.schema_policy.is_closed:
        return
    declared = [one.name for one in asset.schema.columns]
    by = asset.partition_by
    wanted: list[tuple[str, str | None]] = []
    if by is not None:
        columns = [by] if isinstance(by, str) else [column for _, column in by]
        wanted += [("partition_by", column) for column in columns]
    write = asset.write
    if isinstance(write, Merge | SCD2):
        wanted += [(f"{type(write).__name__}(keys=…)", column) for column in write.keys]
    if isinstance(write, Append | Replace):
        wanted += [(f"{type(write).__name__}(sort_by=…)", column) for column in write.sort_by]
    if isinstance(write, Merge):
        wanted.append(("Merge(order_by=…)", write.order_by))
    if isinstance(write, SCD2):
        wanted += [("SCD2(track=…)", column) for column in write.track or ()]
        wanted.append(("SCD2(effective=…)", write.effective))
    for option, column in wanted:
        if column is not None and column not in declared:
            near = nearest(column, declared)
            yield DefinitionError(
                f"asset {asset.key!r}: {option} names column {column!r}, which its schema does not have",
                hint=f"did you mean {near[0]!r}?" if near else "add it to schema=…",
            )


def _partition_by_problems(asset: Asset, partitions: Partitions) -> Iterator[DefinitionError]:
    name = f"asset {asset.key!r}"
    by = asset.partition_by
    if by is None:
        return
    names = [dimension for dimension, _ in dimensions(partitions)]
    columns = [by] if isinstance(by, str) else [column for _, column in by]
    example = "{" + ", ".join(f'"{dimension}": "…"' for dimension in names) + "}"
    if asset.partitions is None:
        yield DefinitionError(
            f"{name} has partition_by={shown(by)}, but it is not partitioned",
            hint="leave partition_by out, or give it partitions=…",
        )
    elif names and (isinstance(by, str) or sorted(pair[0] for pair in by) != sorted(names)):
        yield DefinitionError(
            f"{name} has partition_by={shown(by)}, but its dimensions are {', '.join(names)}",
            hint=f"name one column for each: partition_by={example}",
        )
    elif not names and not isinstance(by, str):
        yield DefinitionError(
            f"{name} has partition_by={shown(dict(by))}, but its partitions have no named dimensions",
            hint='name the column alone: partition_by="column"',
        )
    elif len(set(columns)) < len(columns):
        yield DefinitionError(f"{name} has partition_by={shown(by)}, which names a column twice")
    for column in columns:
        if not column or column == PARTITION_COLUMN:
            yield DefinitionError(
                f"{name} has partition_by={column!r}, which can't be a column of yours",
                hint=f"{PARTITION_COLUMN} is kept for assets without partition_by"
                if column
                else None,
            )
