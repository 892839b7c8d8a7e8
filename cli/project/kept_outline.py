"""An outline as bytes, so that a plan needs none of the user's modules. Whether it still holds is the manifest's to say.

Only values of Partita's own packages and the standard library are read back. An IO manager or mapping that a user wrote would need
their module, so a project with one is loaded in full; and a file that somebody put there can't name a function to call.
"""

from __future__ import annotations

import io
import pickle

from assets_core.authoring.outline import Outline
from cli.project.location import OUR_PACKAGES

_STANDARD = frozenset(
    {
        ("builtins", "frozenset"),
        ("builtins", "set"),
        ("datetime", "date"),
        ("datetime", "datetime"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("pathlib", "Path"),
        ("pathlib", "PosixPath"),
        ("pathlib", "PurePosixPath"),
        ("pathlib", "WindowsPath"),
        ("pathlib", "PureWindowsPath"),
        ("time", "monotonic"),
        ("time", "sleep"),
        ("types", "MappingProxyType"),
        ("copyreg", "_reconstructor"),
        ("builtins", "object"),
    }
)


def packed(outline: Outline) -> bytes:
    """The outline as bytes; none if it holds something that can't be written or would not be read back."""
    try:
        content = pickle.dumps(outline, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError):
        return b""
    return content if unpacked(content) is not None else b""


def unpacked(content: bytes) -> Outline | None:
    """The outline that was packed; None if it names anything but values of ours."""
    try:
        found = _Reader(io.BytesIO(content)).load()
    except (pickle.UnpicklingError, ImportError, AttributeError, EOFError):
        return None
    return found if isinstance(found, Outline) else None


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> object:
        """Only what an outline of ours can consist of."""
        if module.partition(".")[0] in OUR_PACKAGES or (module, name) in _STANDARD:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an outline")
