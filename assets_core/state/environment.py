"""Which environment variables are read while a project is loaded, and by whose code: what a kept manifest depends on besides files.

Decided here: what a read is, and that what a package reads while it is being imported is its own affair. A read by a package that the
user's code called (settings, `expandvars`) is the user's. Values are taken as they were before loading: what a module sets itself is
no difference to the next load.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from types import FrameType

WHOLE: Final = ""
"""Stands for all variables together; no variable has this name."""


@dataclass(slots=True)
class EnvironmentReads:
    """What was read: name → the files of the code that asked, innermost first; and the environment as it was before."""

    before: Mapping[str, str]
    readers: dict[str, set[str]] = field(default_factory=dict)

    def fingerprint(self, counts: Callable[[str], bool]) -> dict[str, str]:
        """Name → hash of the value of each variable that code in a file that counts has asked for; "" if it was not set."""
        return {
            name: environment_hash(name, self.before)
            for name, files in sorted(self.readers.items())
            if any(counts(file) for file in files)
        }


def environment_hash(name: str, environment: Mapping[str, str]) -> str:
    """A hash of a variable's value, of all names and values for `WHOLE`; empty for a variable that is not set.

    >>> environment_hash("HOME", {}), environment_hash("HOME", {"HOME": ""}) == ""
    ('', False)
    """
    if name == WHOLE:
        text = "\0".join(f"{one}={value}" for one, value in sorted(environment.items()))
    elif name in environment:
        text = f"{name}={environment[name]}"
    else:
        return ""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@contextmanager
def watch_environment() -> Iterator[EnvironmentReads]:
    """Note what is read of `os.environ` and `os.environb` inside of the block, under whatever name the code holds them."""
    reads = EnvironmentReads(dict(os.environ))
    # The frames themselves: of those that end meanwhile another would have the id.
    around = set(_frames(sys._getframe()))  # noqa: SLF001 - who called is known no other way
    watched = _watched(reads, around)
    environments = [one for one in (os.environ, os.environb) if type(one) is os._Environ]  # noqa: SLF001 - modules that hold the object must be seen too
    for one in environments:
        one.__class__ = watched
    try:
        yield reads
    finally:
        for one in environments:
            one.__class__ = os._Environ  # noqa: SLF001 - as it was
        around.clear()


def _watched(reads: EnvironmentReads, around: AbstractSet[FrameType]) -> type[os._Environ[str]]:
    def note(name: object) -> None:
        if isinstance(name, str | bytes):
            asking = reads.readers.setdefault(os.fsdecode(name), set())
            asking.update(_askers(sys._getframe(2), around))  # noqa: SLF001 - same

    class Watched(os._Environ[str]):  # noqa: SLF001 - same
        """`get`, `in`, `pop`, `setdefault`, `copy`, `|` and `==` all come down to these."""

        def __getitem__(self, key: str) -> str:
            note(key)
            return super().__getitem__(key)

        def __iter__(self) -> Iterator[str]:
            note(WHOLE)
            return super().__iter__()

        def __len__(self) -> int:
            note(WHOLE)
            return super().__len__()

        def __repr__(self) -> str:
            note(WHOLE)
            return super().__repr__()

    return Watched


def _askers(frame: FrameType, around: AbstractSet[FrameType]) -> Iterator[str]:
    """The files of the calls that led here, up to the import of a module or to where watching began."""
    for one in _frames(frame):
        name = one.f_code.co_filename
        if one in around or name.startswith("<frozen importlib"):
            return
        if not name.startswith("<"):  # frozen modules, and text that was compiled
            yield name


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
