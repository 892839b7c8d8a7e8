"""What was compared of an asset's files when: a note per asset in the stage's `checked/`, so that footers are read once.

Per partition it has a mark of the file as it was (inode, size, modification time) and one of the token that the state recorded and
the footer had; for the asset the `basis` of the state that was compared with. While the basis is the noted one and the marks agree,
a stat per file answers "is anything lost?". If the basis differs, footers are read of those files only whose mark or token differs.

The note saves time and nothing else: one that can't be read or written, or was cut short, costs a comparison.
"""

from __future__ import annotations

import json
import os
import sys
from array import array
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING

from assets_core.model.errors import IOManagerError
from io_managers.paths import path_segment
from io_managers.workbench import scratch_prefix, sweep_scratch

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTES = "checked"
"""The folder of the notes in the stage."""

_WORD = 8


@dataclass(frozen=True, slots=True)
class Note:
    """What was compared: `files` and `tokens` have a mark for each partition id that was found as recorded."""

    basis: str
    files: Mapping[int, int]
    tokens: Mapping[int, int]


def file_mark(path: str) -> int | None:
    """A number for a file as it is; None if there is none. Raises IOManagerError if that can't be known."""
    try:
        found = os.stat(path)  # noqa: PTH116 - once per partition, on the path of every no-op run
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise IOManagerError(f"{path} can't be read: {error.strerror or error}") from error
    return hash((found.st_ino, found.st_size, found.st_mtime_ns))


def token_mark(token: str | None) -> int:
    """A number for a token."""
    digest = blake2b(repr(token).encode("utf-8", "surrogatepass"), digest_size=_WORD).digest()
    return int.from_bytes(digest, sys.byteorder, signed=True)


def read_note(stage: str, asset: str) -> Note | None:
    """The note of an asset; None if there is none that can be read."""
    try:
        with open(_path(stage, asset), "rb") as file:  # noqa: PTH123 - on the path of every no-op run
            head = json.loads(file.readline())
            words = array("q")
            words.frombytes(file.read())
        count = int(head["count"])
        if len(words) != 3 * count:
            return None
        ids, files, tokens = words[:count], words[count : 2 * count], words[2 * count :]
        return Note(
            str(head["basis"]),
            dict(zip(ids, files, strict=True)),
            dict(zip(ids, tokens, strict=True)),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_note(stage: str, asset: str, note: Note) -> None:
    """Replace the note of an asset, atomically; nothing happens if that is not possible.

    What a process left that was killed right here, nobody else would look for: no run knows of it.
    """
    head = json.dumps({"basis": note.basis, "count": len(note.files)}).encode()
    words = array("q", [*note.files, *note.files.values()])
    words.extend(note.tokens[id_] for id_ in note.files)
    path = _path(stage, asset)
    fresh = Path(stage, f"{scratch_prefix()}{get_ident()}")
    with suppress(OSError):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        sweep_scratch(stage)
        fresh.write_bytes(head + b"\n" + words.tobytes())
        fresh.replace(path)


def forget_note(stage: str, asset: str) -> None:
    """Remove the note of an asset, if there is one."""
    Path(_path(stage, asset)).unlink(missing_ok=True)


def _path(stage: str, asset: str) -> str:
    return str(Path(stage, NOTES, path_segment(asset)))
