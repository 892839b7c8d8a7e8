"""Which version of a package is installed, by the records that installers keep. What follows from it is decided by who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def installed_version(name: str, search: Iterable[str]) -> str:
    """The version of the distribution called `name`, first found in the folders of `search`; "" if there is none.

    Spellings of one name (`ruamel.yaml`, `Ruamel_YAML`) are the same. An import name, such as `sklearn`, is none.

    >>> installed_version("no-such-package", [])
    ''
    """
    from importlib.metadata import distributions  # noqa: PLC0415 - only who declares packages pays for it

    # Asked for no name, Python answers with every package there is.
    for found in distributions(name=name, path=list(search)) if name else ():
        # An interrupted uninstallation leaves a folder without the file that tells the version.
        if found.read_text("METADATA") or found.read_text("PKG-INFO"):
            return found.version or ""
    return ""


def packages_by_import() -> Mapping[str, Sequence[str]]:
    """Which distributions provide what this process can import: top-level name → names. Reads the records of all of them."""
    from importlib.metadata import packages_distributions  # noqa: PLC0415 - as above

    return packages_distributions()
