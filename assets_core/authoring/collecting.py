"""How the assets and checks of modules are collected. Not decided here: what becomes of them together (`definitions`)."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from assets_core.authoring.decorators import top_level
from assets_core.model.errors import DefinitionError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from assets_core.authoring.decorators import Asset, AssetCheck


def load_assets(
    module: ModuleType | str, *more: ModuleType | str
) -> tuple[Asset | AssetCheck, ...]:
    """Return the assets and checks that the modules hold at their top level, in the order of definition, each object once.

    Lists and tuples of assets count too. A package stands for all its modules, which are imported (but no `__main__`). Assets that
    a module imported from elsewhere belong to it as well: whoever reads them needs them.

    Args:
        module: a module, or its name; `__name__` works inside of the module itself.
        more: further ones.

    Raises:
        DefinitionError: there is no module of that name. An error inside of a module is raised as it is.

    >>> load_assets("json")
    ()
    """
    found: dict[int, Asset | AssetCheck] = {}
    for name in (module, *more):
        for each in _with_submodules(_imported(name)):
            found.update((id(value), value) for value in top_level(each))
    return tuple(found.values())


def _imported(module: ModuleType | str) -> ModuleType:
    if isinstance(module, ModuleType):
        return module
    if not isinstance(module, str):
        raise DefinitionError(
            f"load_assets was given {shown(module)} where it needs a module or its name",
            hint="write load_assets(__name__), or list single assets in Definitions(assets=[…])",
        )
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        # Only the asked-for module or a parent of it; a missing import inside of it is the user's own error.
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise DefinitionError(f"load_assets({module!r}): {error}") from error
        raise


def _with_submodules(module: ModuleType) -> Iterable[ModuleType]:
    yield module
    if not hasattr(module, "__path__"):
        return
    # pkgutil.walk_packages is not used: it passes over a package that fails to import without a word.
    from pkgutil import iter_modules  # noqa: PLC0415 -- only packages need it

    for info in iter_modules(module.__path__):
        if info.name != "__main__":
            yield from _with_submodules(import_module(f"{module.__name__}.{info.name}"))
