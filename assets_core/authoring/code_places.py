"""Where code lives: which module a name belongs to, and whether that module is part of the user's project.

The project is whatever is neither Python's library, nor installed (`site-packages`), nor one of Partita's own four packages; the
package of the asset's own function always counts, also where a finished project was installed. No module is imported for the
answer, save the parent packages of a project module that a function imports inside its body.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Mapping

    from assets_core.authoring.sources import FunctionNode, Imported, SourceFile, SourceFiles

_OWN_PACKAGES: Final = frozenset({"partitions", "assets_core", "io_managers", "cli"})
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


@functools.cache
def _library() -> frozenset[Path]:
    """The folders of Python's own library."""
    paths = sysconfig.get_paths()
    return frozenset(Path(paths[name]).resolve() for name in ("stdlib", "platstdlib"))


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """One module: `file` is None without readable source, `namespace` is empty if it is not loaded.

    `is_folder`: it is a package without code of its own, a folder without an `__init__.py`, or several of one name.
    """

    name: str
    filename: str | None
    file: SourceFile | None
    namespace: Mapping[str, object] = field(default_factory=dict)
    is_folder: bool = False

    def binds(self, name: str) -> bool:
        """Whether the module's code binds `name` at its top level, or has it there at run time."""
        return (self.file is not None and name in self.file.bindings) or name in self.namespace


class Places:
    """Answers for one project; `home` is the function whose package is part of it in any case."""

    def __init__(self, files: SourceFiles, home: Callable[..., object]) -> None:
        self._files = files
        root = str(getattr(home, "__module__", None) or "__main__").partition(".")[0]
        self._home = None if root in _OWN_PACKAGES else root
        self._modules: dict[str, Module] = {}

    def is_project(self, name: str, filename: str | None) -> bool:
        """Whether module `name`, whose code is in `filename`, is part of the project."""
        root = name.partition(".")[0]
        if root == self._home:
            return True
        if root in _OWN_PACKAGES or root in sys.stdlib_module_names:
            return False
        if filename is None:
            return False
        real = Path(filename).resolve()
        return _INSTALLED.isdisjoint(real.parts) and not any(map(real.is_relative_to, _library()))

    def module(self, name: str) -> Module:
        """The module called `name`, loaded or not; without a file if there is none such."""
        known = self._modules.get(name)
        if known is None:
            known = self._modules[name] = self._look_up(name)
        return known

    def exists(self, name: str) -> bool:
        """Whether there is a module called `name`."""
        found = self.module(name)
        return found.filename is not None or found.is_folder or name in sys.modules

    def module_of(self, function: types.FunctionType) -> Module:
        """The module that a function was defined in, with the file that its code came from."""
        filename = function.__code__.co_filename
        namespace = function.__globals__
        name = str(namespace.get("__name__", "__main__"))
        known = self.module(name)
        if known.filename == filename:
            return known
        # Code of a notebook cell, a doctest or `exec` says where it comes from; its module does not.
        return Module(name, filename, self._files.file(filename, namespace), namespace)

    def nodes_of(self, function: types.FunctionType, module: Module) -> list[FunctionNode]:
        """The syntax of a function; several for lambdas on one line; none if the file does not fit the function."""
        if module.file is None:
            return []
        code = function.__code__
        return module.file.functions.get((code.co_firstlineno, code.co_name), [])

    def absolute(self, bound: Imported, module: Module) -> str:
        """The full name of the module that an import in `module` names."""
        if bound.level == 0:
            return bound.module
        package = str(module.namespace.get("__package__") or self._package_of(module))
        parts = package.split(".")
        base = ".".join(parts[: len(parts) - bound.level + 1])
        return f"{base}.{bound.module}" if bound.module else base

    def _package_of(self, module: Module) -> str:
        if module.filename is not None and Path(module.filename).name == "__init__.py":
            return module.name
        return module.name.rpartition(".")[0]

    def _look_up(self, name: str) -> Module:
        loaded = sys.modules.get(name)
        if loaded is not None:
            filename = getattr(loaded, "__file__", None)
            namespace = vars(loaded)
            is_folder = filename is None and hasattr(loaded, "__path__")
            file = self._read(name, filename, namespace)
            return Module(name, filename, file, namespace, is_folder)
        # Only the top-level name is looked up blindly: for `a.b` Python would import `a`, which may be a heavy library.
        above = self.module(name.rpartition(".")[0]) if "." in name else None
        if above and not above.is_folder and not self.is_project(above.name, above.filename):
            return Module(name, None, None)
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            # No such module, or one without a spec: then its code can't be found by name.
            spec = None
        filename = spec.origin if spec is not None and spec.has_location else None
        is_folder = spec is not None and filename is None and bool(spec.submodule_search_locations)
        return Module(name, filename, self._read(name, filename, {}), is_folder=is_folder)

    def _read(
        self, name: str, filename: str | None, namespace: Mapping[str, object]
    ) -> SourceFile | None:
        if filename is None or not self.is_project(name, filename):
            return None
        return self._files.file(filename, namespace)
