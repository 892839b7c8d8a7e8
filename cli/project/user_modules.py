"""Importing the user's modules: where from, which names are refused, and what an error in them becomes."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assets_core.model.errors import DefinitionError, PartitaError, ProjectError, UserCodeError
from cli.project.location import (
    OUR_FOLDER,
    OUR_PACKAGES,
    hidden_error,
    hidden_packages,
    search_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from cli.project.location import Location

_IMPORTLIB = str(importlib.__file__)


def import_user_module(location: Location) -> ModuleType:
    """Import the module or file that defines the project, with the project's folders first on the search path.

    Raises:
        ProjectError: there is no such module, or one has a name that it must not have.
        UserCodeError: it raised; the frames are the user's own.
        DefinitionError: an asset in it is wrong by itself; the message says where.
    """
    for folder in search_path(location):
        for path in hidden_packages(folder):
            raise hidden_error(path, path.stem if path.stem != "__init__" else path.parent.name)
    for folder in reversed(search_path(location)):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    name = location.module or str(location.file)
    try:
        if location.file is not None:
            return _import_file(location.file)
        return _import_name(name, location.root)
    except (Exception, SystemExit) as error:
        raise _import_error(name, error) from error


def _import_name(name: str, root: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only the asked-for module or a parent of it; a missing import inside of it is an error of that module.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ProjectError(
            f"there is no module {name}: {error}",
            hint=f"it was looked for in {root} and in the Python environment; correct -m, or `definitions` in [tool.partita]",
        ) from error


def _import_file(path: Path) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location  # noqa: PLC0415

    name = path.stem
    if name in OUR_PACKAGES:
        raise hidden_error(path, name)
    if name in sys.stdlib_module_names or name in sys.modules:
        raise ProjectError(
            f"{path} has the name of a module that Python has loaded already ({name})",
            hint=f"rename it, for example to my_{name}.py",
        )
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Before it runs, as the import system does it: dataclasses and pickling look their module up there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_error(name: str, error: Exception | SystemExit) -> PartitaError:
    if isinstance(error, DefinitionError):
        where = _last_user_frame(error)
        if where is not None:
            error.message = f"{where}: {error.message}"
        return error
    if isinstance(error, PartitaError):
        return error
    if isinstance(error, SyntaxError):
        return UserCodeError(
            f"{error.filename} has a syntax error in line {error.lineno}: {error.msg}",
            frames=_frames_of_user(error),
            hint="correct the line",
        )
    if isinstance(error, SystemExit):
        told = f"called sys.exit({error.code!r})"
    else:
        told = f"raised {type(error).__name__}: {error}"
    hint = "correct the line that the last frame names"
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        hint = f"install what provides {error.name} into this environment ({sys.prefix}), or correct the import"
    return UserCodeError(
        f"{name} {told} while it was imported", frames=_frames_of_user(error), hint=hint
    )


def _frames_of_user(error: BaseException) -> str:
    """The traceback as text without frames of Partita's and of the import system."""
    import traceback  # noqa: PLC0415 - errors are rare

    told = traceback.TracebackException.from_exception(error)
    seen: set[int] = set()
    part: traceback.TracebackException | None = told
    while part is not None and id(part) not in seen:
        seen.add(id(part))
        part.stack = traceback.StackSummary.from_list(
            [frame for frame in part.stack if _is_users(frame.filename)]
        )
        part = part.__cause__ or part.__context__
    text = "".join(told.format())
    if not told.stack:
        text = text.replace("Traceback (most recent call last):\n", "", 1)
    return text.rstrip()


def _last_user_frame(error: BaseException) -> str | None:
    import traceback  # noqa: PLC0415 - errors are rare

    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _is_users(filename: str) -> bool:
    # "<frozen importlib…>", and "<string>": the initializer that dataclasses write.
    if filename.startswith("<") or filename == _IMPORTLIB:
        return False
    return not any(filename.startswith(f"{OUR_FOLDER / name}{os.sep}") for name in OUR_PACKAGES)


def module_files() -> list[str]:
    """The source files of everything that is imported."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return [file for file in files if isinstance(file, str)]


@contextmanager
def modules_set_aside(location: Location) -> Iterator[None]:
    """For one block the project's modules are as if they had never been imported; afterwards they are as they were before.

    A process that goes on, such as a notebook, may have imported them itself, and they may have changed since.
    """
    folders = tuple(f"{folder}{os.sep}" for folder in search_path(location))
    ignored = tuple(f"{folder}{os.sep}" for folder in ignored_folders(location))

    def of_the_project() -> dict[str, ModuleType]:
        return {
            name: module
            for name, module in list(sys.modules.items())
            if name != "__main__"
            and isinstance(file := getattr(module, "__file__", None), str)
            and file.startswith(folders)
            and not file.startswith(ignored)
        }

    before, path = of_the_project(), list(sys.path)
    for name in before:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in of_the_project():
            del sys.modules[name]
        sys.modules.update(before)
        sys.path[:] = path


def ignored_folders(location: Location) -> list[str]:
    """Whose files are not the project's: Python, installed packages, Partita itself, and its state."""
    import sysconfig  # noqa: PLC0415 - with the rest of loading

    paths = sysconfig.get_paths()
    installed = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    ours = [str(OUR_FOLDER / name) for name in OUR_PACKAGES]
    return [*installed, *ours, str(location.folder), "/usr/share/zoneinfo"]
