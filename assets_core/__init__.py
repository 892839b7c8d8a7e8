"""Partita's public names for people who write assets; each is loaded when it is first used.

Decided here: what `assets_core` exports, and that the `partitions` package Python found is ours. The four import names are generic
words: a user's own `partitions.py` in the working folder would win over the installed package and break it far from the cause.
Start-up matters (`partita --help` imports this package), so nothing but that look-up happens at import.
"""

from __future__ import annotations

import os.path
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assets_core.authoring.collecting import load_assets
    from assets_core.authoring.decorators import (
        Asset,
        AssetCheck,
        Output,
        Skip,
        asset,
        asset_check,
    )
    from assets_core.authoring.definitions import Definitions, DefinitionsError
    from assets_core.authoring.sql_checks import sql_check
    from assets_core.execution.materialize import materialize
    from assets_core.model.checks import CheckResult
    from assets_core.model.context import AssetContext
    from assets_core.model.contract_rules import (
        AcceptedValues,
        ForeignKey,
        FreshColumn,
        InRange,
        Matches,
        NotNull,
        RowCount,
        RowRule,
        Unique,
    )
    from assets_core.model.contracts import Contract
    from assets_core.model.errors import (
        DataError,
        DefinitionError,
        InternalError,
        IOManagerError,
        PartitaError,
        ProjectError,
        SelectionError,
        StoreError,
        UserCodeError,
    )
    from assets_core.model.specs import Append, Input, Merge, Replace, RetryPolicy

__all__ = [
    "SCD2",
    "AcceptedValues",
    "Append",
    "Asset",
    "AssetCheck",
    "AssetContext",
    "CheckResult",
    "Contract",
    "DataError",
    "DefinitionError",
    "Definitions",
    "DefinitionsError",
    "ForeignKey",
    "FreshColumn",
    "HiddenPackageError",
    "IOManagerError",
    "InRange",
    "Input",
    "InternalError",
    "Matches",
    "Merge",
    "NotNull",
    "Output",
    "PartitaError",
    "ProjectError",
    "Replace",
    "RetryPolicy",
    "RowCount",
    "RowRule",
    "SelectionError",
    "Skip",
    "StoreError",
    "Unique",
    "UserCodeError",
    "asset",
    "asset_check",
    "load_assets",
    "materialize",
    "sql_check",
]

_HOMES = {
    "authoring.collecting": ("load_assets",),
    "authoring.decorators": (
        "Asset",
        "AssetCheck",
        "Output",
        "Skip",
        "asset",
        "asset_check",
    ),
    "authoring.sql_checks": ("sql_check",),
    "authoring.definitions": ("Definitions", "DefinitionsError"),
    "execution.materialize": ("materialize",),
    "model.checks": ("CheckResult",),
    "model.context": ("AssetContext",),
    "model.contract_rules": (
        "AcceptedValues",
        "ForeignKey",
        "FreshColumn",
        "InRange",
        "Matches",
        "NotNull",
        "RowCount",
        "RowRule",
        "Unique",
    ),
    "model.contracts": ("Contract",),
    "model.errors": (
        "DataError",
        "DefinitionError",
        "IOManagerError",
        "InternalError",
        "PartitaError",
        "ProjectError",
        "SelectionError",
        "StoreError",
        "UserCodeError",
    ),
    "model.specs": ("SCD2", "Append", "Input", "Merge", "Replace", "RetryPolicy"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


class HiddenPackageError(ImportError):
    """Another module took the name of a package of Partita's.

    It is no PartitaError, because that class lives in the very package that can't be reached.
    """


def _require_own_partitions() -> None:
    """Raise HiddenPackageError unless `import partitions` finds the package beside this one.

    Raises:
        HiddenPackageError: the message names the file in the way.
    """
    # pathlib would cost every `partita --help` 3 ms for three calls.
    ours = os.path.join(os.path.dirname(os.path.dirname(__file__)), "partitions")  # noqa: PTH118, PTH120 -- see above
    spec = find_spec("partitions")
    if spec is None:
        raise HiddenPackageError(
            f"Partita is not completely installed: its package `partitions` is not at {ours}. "
            "Install it again: pip install --force-reinstall partita"
        )
    # A folder without `__init__.py` has no origin; it is named itself.
    found = spec.origin or next(iter(spec.submodule_search_locations or ()), "a built-in module")
    if os.path.realpath(os.path.dirname(found)) != os.path.realpath(ours):  # noqa: PTH120 -- see above
        raise HiddenPackageError(
            f"{found} hides the package `partitions` that Partita needs, because Python finds it first. "
            "Rename it (for example to my_partitions), and change the imports of it."
        )


_require_own_partitions()


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
