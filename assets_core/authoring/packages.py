"""What a name in `code_depends` means: an installed package and its version, or an error that names the nearest one.

Decided here: that names of distributions come first, then names that are imported (`sklearn` is scikit-learn's). Not decided here: what
the version of a package changes (`code_version`).
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets_core.model.errors import DefinitionError
from assets_core.state.packages import installed_version, packages_by_import
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """An installed distribution: its name as PEP 503 normalises it, and its version."""

    name: str
    version: str

    def text(self) -> str:
        """Canonical text, part of an asset's code version."""
        return f"{self.name} {self.version}"


class Packages:
    """Answers for one load of a project, each name once; looks where this process imports from.

    >>> Packages().find("PyArrow").name
    'pyarrow'
    """

    def __init__(self) -> None:
        self._found: dict[str, Package] = {}
        self._asked: dict[str, str] = {}

    @property
    def asked(self) -> Mapping[str, str]:
        """What the answers depend on: distribution → version that was found, "" for none."""
        return self._asked

    def find(self, name: str) -> Package:
        """The package that `name` stands for.

        Raises:
            DefinitionError: none or several, or it is part of Python.
        """
        known = self._found.get(name)
        if known is None:
            known = self._found[name] = self._distribution(name) or self._imported(name)
        return known

    def _distribution(self, name: str) -> Package | None:
        normal = _normal(name)
        version = self._asked[normal] = installed_version(normal, sys.path)
        return Package(normal, version) if version else None

    def _imported(self, name: str) -> Package:
        """The package whose modules are imported as `name`."""
        providers = packages_by_import()
        found = {self._distribution(each) for each in providers.get(name, ())} - {None}
        if len(found) > 1:
            names = sorted(each.name for each in found if each is not None)
            raise DefinitionError(
                f"{name!r} is imported from several packages: {', '.join(names)}",
                hint=f"name the one that counts, such as {names[0]!r}",
            )
        for each in found:
            if each is not None:
                return each
        if name in sys.stdlib_module_names:
            raise DefinitionError(
                f"{name!r} is part of Python, whose version does not count", hint="leave it out"
            )
        raise _not_installed(name, providers)


def _not_installed(name: str, providers: Mapping[str, Sequence[str]]) -> DefinitionError:
    names = {_normal(each) for some in providers.values() for each in some}
    near = nearest(_normal(name), names) or nearest(name, providers)
    install = f"install it into this environment ({sys.prefix})"
    write = f"write {' or '.join(repr(each) for each in near)}, or {install}"
    return DefinitionError(
        f"no package {name!r} is installed",
        hint=write if near else f"{install}, or leave it out",
    )


def _normal(name: str) -> str:
    # Source: PEP 503, "Normalized Names".
    return re.sub(r"[-_.]+", "-", name).lower()
