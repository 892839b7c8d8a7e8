"""What waits in a stage: listing it and removing it. Whether it may go is decided by who knows the state (`execution.garbage`)."""

from __future__ import annotations

import os
import shutil
import stat
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import Leftover
from io_managers.workbench import is_scratch_of_the_dead, is_scratch_of_the_living


def leftovers_in(stage: str, kept: frozenset[str] = frozenset()) -> list[Leftover]:
    """Everything directly below `stage` but what is `kept` and the scratch of living processes. Raises IOManagerError."""
    try:
        entries = sorted(Path(stage).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise IOManagerError(f"{stage} can't be read: {error.strerror or error}") from error
    return [
        found
        for entry in entries
        if entry.name not in kept and not is_scratch_of_the_living(entry.name)
        for found in _looked_at(entry)
    ]


def remove(leftover: Leftover) -> None:
    """Remove a file or folder of a stage; fine if it is gone. Raises IOManagerError."""
    path = Path(leftover.path)
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise IOManagerError(
            f"{leftover.path} can't be removed: {error.strerror or error}",
            hint="make sure that you may write to the folder that it is in",
        ) from error


def _looked_at(entry: Path) -> list[Leftover]:
    """The entry with all that is in it; none if its owner removes it at this moment."""
    token = None if is_scratch_of_the_dead(entry.name) else unquote(entry.name)
    try:
        inside = [Path(place, name) for place, *names in os.walk(entry) for name in chain(*names)]
        found = [one.lstat() for one in (entry, *inside)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise IOManagerError(f"{entry} can't be read: {error.strerror or error}") from error
    size = sum(one.st_size for one in found if not stat.S_ISDIR(one.st_mode))
    changed = datetime.fromtimestamp(max(one.st_mtime for one in found), UTC)
    return [Leftover(str(entry), token, size, changed)]
