"""Assets as they are defined: the list, and one asset in full. Everything here comes from the manifest and needs no user code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.render.report import Report
from cli.render.text import Span, Style, Table, counted, line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from assets_core.state.manifest import ManifestAsset
    from cli.render.text import Block, Content

COLUMNS = (
    "asset",
    "kind",
    "group",
    "partitions",
    "reads",
    "tags",
    "owners",
    "io_manager",
    "description",
)


def list_report(assets: Sequence[ManifestAsset]) -> Report:
    """The report of `partita list`."""
    rows: tuple[tuple[Content, ...], ...] = tuple(
        (
            Span(asset.key, Style.BOLD),
            asset.group,
            asset.partitions,
            Span(", ".join(_upstream(asset)), Style.DIM),
            first_line(asset.description),
        )
        for asset in assets
    )
    return Report(
        command="list",
        data={"assets": [_record(asset) for asset in assets]},
        records=[_record(asset) for asset in assets],
        blocks=[
            Table(("ASSET", "GROUP", "PARTITIONS", "READS", "DESCRIPTION"), rows),
            line(Span(counted(len(assets), "asset"), Style.DIM)),
        ],
        columns=COLUMNS,
    )


def show_report(
    asset: ManifestAsset,
    downstream: Sequence[str],
    state: Mapping[str, object],
    state_blocks: Sequence[Block],
) -> Report:
    """The report of `partita show`: the definition, then `state` as it was found."""
    definition = definition_of(asset, downstream)
    return Report(
        command="show",
        data={**definition, "state": state},
        records=[{**definition, "state": state}],
        blocks=[*_definition_blocks(asset, downstream), *state_blocks],
    )


def definition_of(asset: ManifestAsset, downstream: Sequence[str]) -> dict[str, object]:
    """All static facts of an asset as a JSON object."""
    return {
        **_record(asset),
        "reads": [
            {
                "asset": edge.upstream,
                "parameter": edge.parameter,
                "mapping": edge.mapping,
                "allow_missing": edge.allow_missing,
                "columns": None if edge.columns is None else list(edge.columns),
            }
            for edge in asset.dependencies
        ],
        "read_by": list(downstream),
        "checks": [
            {"name": check.name, "blocking": check.blocking, "description": check.description}
            for check in asset.checks
        ],
        "partition_kind": asset.partition_kind,
        "partition_by": asset.partition_by,
        "write": asset.write,
        "schema": asset.schema or None,
        "retry": asset.retry,
        "batch_size": asset.batch_size,
        "pool": asset.pool,
        "priority": asset.priority,
        "timeout_seconds": asset.timeout,
        "memory_bytes": asset.memory,
        "lookback": asset.lookback,
        "closed_after_seconds": asset.closed_after,
        "compare_input_versions": asset.compare_input_versions,
        "location": asset.location,
        "rejected_location": asset.rejected or None,
        "code_version": asset.code_version,
        "defined_in": asset.defined_in,
    }


def facts_table(facts: Sequence[tuple[str, Content]]) -> Table:
    """Names and values below each other."""
    return Table(("", ""), tuple((Span(name, Style.DIM), value) for name, value in facts))


def first_line(text: str) -> str:
    r"""The first line of a description; empty if there is none.

    >>> first_line("Orders.\n\nFrom the shop.")
    'Orders.'
    """
    return text.strip().partition("\n")[0]


def _definition_blocks(asset: ManifestAsset, downstream: Sequence[str]) -> Iterator[Block]:
    yield line(Span(asset.key, Style.BOLD), Span(f"  {asset.kind}", Style.DIM))
    for one in asset.description.splitlines():
        yield line(f"  {one}")
    yield line()
    yield facts_table([(name, value) for name, value in _facts(asset, downstream) if value])


def _facts(asset: ManifestAsset, downstream: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield "partitions", asset.partitions
    yield "group", asset.group
    yield "tags", ", ".join(f"{name}={value}" for name, value in asset.tags)
    yield "owners", ", ".join(asset.owners)
    for position, edge in enumerate(asset.dependencies):
        how = f"as {edge.parameter}" if edge.parameter not in {None, edge.upstream} else ""
        how = "order only" if edge.parameter is None else how
        columns = "" if edge.columns is None else f"columns {' '.join(edge.columns)}"
        details = ", ".join(part for part in (how, edge.mapping, columns) if part)
        yield "reads" if position == 0 else " ", f"{edge.upstream} ({details})"
    yield "read by", ", ".join(downstream)
    for position, check in enumerate(asset.checks):
        blocking = " (blocking)" if check.blocking else ""
        told = f": {first_line(check.description)}" if check.description else ""
        yield "checks" if position == 0 else " ", f"{check.name}{blocking}{told}"
    yield (
        "writes",
        asset.write + (f", partitioned by {asset.partition_by}" if asset.partition_by else ""),
    )
    yield "schema", asset.schema
    yield "data", f"{asset.location} (io_manager {asset.io_manager})"
    yield "rejected rows", asset.rejected
    yield "retry", asset.retry
    yield "batch size", str(asset.batch_size) if asset.batch_size > 1 else ""
    yield "pool", asset.pool
    yield "priority", str(asset.priority) if asset.priority else ""
    yield "timeout", "" if asset.timeout is None else f"{asset.timeout:g} s"
    yield "memory", "" if asset.memory is None else f"{asset.memory / 2**20:g} MiB"
    yield "lookback", counted(asset.lookback, "partition") if asset.lookback else ""
    yield "due", f"{asset.closed_after:g} s after its end" if asset.closed_after else ""
    yield "inputs", "compared by their data versions" if asset.compare_input_versions else ""
    yield "code", asset.code_version
    yield "defined in", asset.defined_in


def _record(asset: ManifestAsset) -> dict[str, object]:
    return {
        "asset": asset.key,
        "kind": asset.kind,
        "group": asset.group,
        "partitions": asset.partitions,
        "reads": _upstream(asset),
        "tags": dict(asset.tags),
        "owners": list(asset.owners),
        "io_manager": asset.io_manager,
        "description": asset.description,
    }


def _upstream(asset: ManifestAsset) -> list[str]:
    return list(dict.fromkeys(edge.upstream for edge in asset.dependencies))
