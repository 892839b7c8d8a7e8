"""Files in a destination's folder that nobody knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def strays(folder: Path, database: str, *, besides: Collection[str] = ()) -> list[str]:
    """All but a DuckDB database and its lock, files of partitions, notes of what was compared, and files and versions of Delta tables."""
    known = {database, f"{database}.lock", "data.parquet", *besides}
    for version in folder.rglob("_delta_log/*.json"):
        actions = map(json.loads, version.read_text().splitlines())
        known |= {
            version.name,
            *(Path(one["add"]["path"]).name for one in actions if "add" in one),
        }
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name not in known and path.parent.name != "checked"
    ]
