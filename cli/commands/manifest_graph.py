"""Selections over a manifest, so that looking at a project imports none of its modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from assets_core.authoring.graph import AssetGraph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from assets_core.model.specs import AssetSpec
    from assets_core.state.manifest import Manifest, ManifestAsset
    from cli.project import Project


def graph_of(manifest: Manifest) -> AssetGraph:
    """The lineage graph of a manifest.

    Its entries stand in for specifications: the graph and the selection language look at `dependencies`, `group`, `tags`, `kind` and
    `owners` only, which both have. A specification itself needs partition definitions, and those need numpy.
    """
    assets = {asset.key: asset for asset in manifest.assets}
    return AssetGraph(cast("Mapping[str, AssetSpec]", assets))


def select_from_manifest(project: Project, words: Sequence[str]) -> list[ManifestAsset]:
    """The selected assets in topological order. Loads the project only if a status is asked for. Raises SelectionError."""
    from cli.commands.request import select  # noqa: PLC0415 - a cycle of convenience is none

    manifest = project.manifest
    facts = None
    if any("status:" in word for word in words):
        from datetime import UTC, datetime  # noqa: PLC0415

        facts = project.facts(datetime.now(UTC))
    assets = {asset.key: asset for asset in manifest.assets}
    return [assets[key] for key in select(graph_of(manifest), words, facts)]
