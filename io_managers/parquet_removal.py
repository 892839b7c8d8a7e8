"""Removing an asset from a folder of Parquet files: whose files they are, and in which order they go.

Theory of operation
-------------------
First every file is looked at; one that Partita did not write for this asset stops all. Then the note of what was compared goes, and
the asset's folder is renamed into the stage: one act, after which no path of a partition leads anywhere. Only then files are deleted,
one by one. Killed before the rename, every partition is as it was; killed after it, none is there, and what is left to delete is a
dead process's scratch, which the next removal or recovery sweeps away. What can never be: a partition that is half there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from assets_core.model.errors import IOManagerError
from io_managers.parquet_layout import DAMAGED, FILE, asset_folder, read_footer
from io_managers.parquet_notes import forget_note
from io_managers.parquet_rows import sync
from io_managers.workbench import scratch_prefix, sweep_scratch


def remove_asset(root: str, stage: str, asset: str) -> None:
    """Remove all that Partita stored of an asset below `root`; nothing happens if there is nothing.

    Linear in its partitions: the footer of each file is read. Raises IOManagerError if something in its folder is not the asset's, or
    can't be removed; then nothing is.
    """
    sweep_scratch(stage)
    folder = asset_folder(root, asset)
    if not os.path.lexists(folder):
        return
    _require_own(folder, asset)
    try:
        Path(stage).mkdir(exist_ok=True)
        aside = tempfile.mkdtemp(prefix=f"{scratch_prefix()}removed-", dir=stage)
        forget_note(stage, asset)
        os.rename(folder, f"{aside}{os.sep}rows")  # noqa: PTH104 - the atomic act, by its POSIX name
        sync(root)
        shutil.rmtree(aside)
    except OSError as error:
        raise IOManagerError(
            f"{folder} can't be removed: {error.strerror or error}",
            hint=f"make sure that you may write to {root} and to all that is in {folder}",
        ) from error


def _require_own(folder: str, asset: str) -> None:
    if Path(folder).is_symlink() or not Path(folder).is_dir():
        raise IOManagerError(
            f"{folder} is not a folder that Partita made, and stays",
            hint="remove it, and what it leads to if it is a link, yourself",
        )
    for place, _, names in os.walk(folder):
        for name in names:
            if name == DAMAGED:
                continue
            path = f"{place}{os.sep}{name}"
            footer = read_footer(path) if name == FILE else None
            if footer is None or footer.asset != asset:
                raise IOManagerError(
                    f"{path} is not a file of {asset}, so {folder} is not removed",
                    hint="move that file away first",
                )
