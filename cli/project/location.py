"""Where a project is: the module or file that defines it, the folder of its imports, the folder of its state. Imports nothing of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from assets_core.model.errors import ProjectError
from assets_core.state.postgres_address import expand_variables, is_address, without_password

if TYPE_CHECKING:
    from collections.abc import Mapping

OUR_PACKAGES: Final = ("assets_core", "cli", "io_managers", "partitions")
OUR_FOLDER: Final = Path(__file__).resolve().parent.parent.parent
USUAL_FILES: Final = ("definitions.py", "assets.py")
DEFAULT_STATE: Final = ".partita/state.db"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a project is: the module or file that defines it (one is None), and the folder its imports start from.

    `table` is `[tool.partita]` as it stands, not yet checked; `pyproject` is the file it is in, None without one.
    """

    root: Path
    module: str | None
    file: Path | None
    pyproject: Path | None
    table: Mapping[str, Any]

    @property
    def source(self) -> str:
        """The module or file, as one text that tells projects in one folder apart."""
        return f"module {self.module}" if self.module is not None else f"file {self.file}"

    @property
    def state(self) -> Path | str:
        """The state file, or the address of a state in PostgreSQL.

        Raises ProjectError for an address of something else, and for an environment variable that is not set.
        """
        written = self.table.get("state", DEFAULT_STATE)
        try:
            return place_of_state(
                written if isinstance(written, str) else DEFAULT_STATE, self.root
            )
        except ProjectError as error:
            where = f"{self.pyproject}: `state` in [tool.partita]"
            raise ProjectError(f"{where}: {error.message}", hint=error.hint) from error

    @property
    def folder(self) -> Path:
        """The folder of the state file, or the usual one: it holds all else of Partita's that is of this machine."""
        return self.folder_beside(self.state)

    def folder_beside(self, state: Path | str) -> Path:
        """What `folder` is for a state that is there."""
        return (self.root / DEFAULT_STATE if isinstance(state, str) else state).parent


def place_of_state(written: str, folder: Path) -> Path | str:
    """The state file, relative to `folder`, or the address of a state in PostgreSQL, with variables of the environment put in.

    Raises ProjectError for an address of something else, and for a variable that is not set.
    """
    state = expand_variables(written)
    if is_address(state):
        return state
    if "://" in state:
        raise ProjectError(
            f"{without_password(state)} is an address, and not PostgreSQL's: a state can't be there",
            hint='name a file, such as ".partita/state.db", or "postgresql://HOST/DATABASE"',
        )
    return folder / state


def setting_of(written: str, place: Path | str, root: Path) -> str:
    """What `state` in `[tool.partita]` is to be for a place that was written so: no password, and a path below the root from there."""
    if isinstance(place, str):
        return without_password(written, "${PGPASSWORD}")
    return str(place.relative_to(root) if place.is_relative_to(root) else place)


def find_location(cwd: Path, *, module: str | None = None, file: str | None = None) -> Location:
    """Where the project is: what was named, else the nearest configured one, else the obvious file in `cwd`.

    Raises:
        ProjectError: there is none, or what was named can't be it.
    """
    if module is not None and file is not None:
        raise ProjectError(
            f"both a module ({module}) and a file ({file}) were named",
            hint="leave one of -m and -f out",
        )
    if file is not None:
        return _location_of_file(cwd / file)
    pyproject, table = _nearest_table(cwd)
    root = pyproject.parent if pyproject is not None else cwd
    if module is None:
        configured = table.get("definitions")
        if isinstance(configured, str):
            module = configured
    if module is not None:
        _refuse_module_name(module, root)
        return Location(root, module, None, pyproject, table)
    for name in USUAL_FILES:
        if (cwd / name).is_file():
            return Location(root, None, cwd / name, pyproject, table)
    raise _nothing_found(cwd, pyproject)


def _location_of_file(path: Path) -> Location:
    file = Path(os.path.normpath(path))
    if not file.is_file():
        raise ProjectError(
            f"there is no file {path}", hint="name a Python file: partita -f shop.py list"
        )
    if file.suffix != ".py":
        raise ProjectError(f"{path} is no Python file", hint="name a file that ends in .py")
    pyproject, table = _nearest_table(file.parent)
    return Location(
        file.parent if pyproject is None else pyproject.parent, None, file, pyproject, table
    )


def _nearest_table(folder: Path) -> tuple[Path | None, Mapping[str, Any]]:
    """The nearest `pyproject.toml`, going up, that has a `[tool.partita]` table."""
    import tomllib  # noqa: PLC0415 - `init` and help need none

    for parent in (folder, *folder.parents):
        path = parent / "pyproject.toml"
        if not path.is_file():
            continue
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ProjectError(
                f"{path} can't be read: {error}", hint="correct the file"
            ) from error
        tool = content.get("tool")
        table = tool.get("partita") if isinstance(tool, dict) else None
        if isinstance(table, dict):
            return path, table
    return None, {}


def _nothing_found(cwd: Path, pyproject: Path | None) -> ProjectError:
    where = f"{cwd} has no definitions.py and no assets.py"
    configured = (
        f"{pyproject} has a [tool.partita] table without `definitions`"
        if pyproject is not None
        else "no pyproject.toml from here upwards has a [tool.partita] table"
    )
    return ProjectError(
        f"no project found: {configured}, and {where}",
        hint="name a module: partita -m shop.assets list\n"
        "or a file: partita -f shop.py list\n"
        'or write into pyproject.toml: [tool.partita] definitions = "shop.assets"\n'
        "or start with: partita init shop",
    )


def _refuse_module_name(module: str, root: Path) -> None:
    top = module.partition(".")[0]
    if not all(part.isidentifier() for part in module.split(".")):
        raise ProjectError(
            f"{module!r} is no module name",
            hint="write it as in an import: shop.assets; a file is named with -f",
        )
    if top in OUR_PACKAGES:
        found = next((path for path in _candidates(root, top) if path.exists()), None)
        raise hidden_error(found or f"the module {module}", top)


def _candidates(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.py", folder / name / "__init__.py"


def hidden_error(path: Path | str, name: str) -> ProjectError:
    """The error for a module of the user's that has the name of one of our packages."""
    return ProjectError(
        f"{path} has the name of a package of Partita's ({name}): one would hide the other",
        hint=f"rename it, for example to my_{name}, and change its imports",
    )


def hidden_packages(folder: Path) -> list[Path]:
    """Modules in a folder of the search path that would take the place of Partita's own packages."""
    if folder.resolve() == OUR_FOLDER:
        return []
    return [path for name in OUR_PACKAGES for path in _candidates(folder, name) if path.is_file()]


def search_path(location: Location) -> tuple[Path, ...]:
    """The folders that the user's imports start from: a named file's own, the root, and its `src`."""
    folders = [location.root]
    if location.file is not None and location.file.parent != location.root:
        folders.insert(0, location.file.parent)
    source = location.root / "src"
    return (*folders, source) if source.is_dir() else tuple(folders)


def make_state_folder(folder: Path, *, quietly: bool = False) -> bool:
    """Make the folder for Partita's files, hidden from version control; answers whether it is there.

    Raises:
        ProjectError: it can't be made, and `quietly` is false.
    """
    ignore = folder / ".gitignore"
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        if quietly:
            return False
        raise ProjectError(
            f"{error.filename or folder} can't be written: {error.strerror}",
            hint="make the folder writable, or let `state` in [tool.partita] name a place that is",
        ) from error
    return True
