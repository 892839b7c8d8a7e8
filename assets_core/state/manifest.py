"""The manifest: what a loaded project consists of, kept as JSON so that looking at it imports none of the user's modules.

Decided here: what is kept, and when it still holds. Not decided here: how it is made from definitions (`cli.project`).

Theory of operation
-------------------
While a project is imported, a `Watch` notes every file and folder that is read. The manifest keeps a content hash of each of those
files, of every imported module's source that belongs neither to the standard library nor to an installed package, and of the names in
each folder from which modules were imported or which was listed. It holds as long as all of them are as they were and Partita, Python
and the module search path are the same. A new module beside the others changes its folder's names; a changed query or
settings file that the project read is a changed file like any other. Of installed packages only those count that the project asked
the version of; they are looked for again, in the folders that were searched then. A file that was to be opened and was not there counts
as absent. Environment variables count that the user's code read, or was told of by a package that it called, set or not (`environment`).

What is not seen: files whose absence was asked about without opening them (`Path.exists`, `os.stat`: Python raises no audit event
for these), and what other programs that a module starts read.

A file that changed while the project was being loaded can't be trusted: its hash may be newer than what was imported. Such
a manifest is not written; the next load writes it. What can never be: a manifest that holds although a watched file changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from assets_core.state.environment import EnvironmentReads, environment_hash, watch_environment
from assets_core.state.packages import installed_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import FrameType

FORMAT: Final = 7
"""The number of this module's JSON; another one never holds."""

CLOCK_GRAIN_NS: Final = 20_000_000
"""A file system may stamp a change up to one kernel tick (10 ms at worst) before it happened."""

_LARGE: Final = 16 * 2**20
_SUFFIXES: Final = (".py", ".pyc", ".so", ".pyd")
_NEVER_WATCHED: Final = ("/proc/", "/sys/", "/dev/")
_NO_PACKAGES: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ManifestEdge:
    """One edge into an asset: what it reads, through which parameter (None: order only) and which mapping, as text."""

    upstream: str
    parameter: str | None
    mapping: str
    allow_missing: bool
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ManifestCheck:
    """One check of an asset."""

    name: str
    blocking: bool
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestAsset:
    """An asset as plain data. `partitions`, `write` and `retry` are descriptions; `location` names where its rows are.

    `rejected` names where those go that its contract keeps out, empty if it keeps out none; rules of a contract are among its `checks`.
    `schema` tells the declared columns and the policy, empty if there is none.
    `partition_kind` is the kind of the definition (`day`, `static`, `single`, …), `closed_after` and `timeout` in seconds, `memory` in
    bytes.
    """

    key: str
    kind: str
    description: str
    group: str
    tags: tuple[tuple[str, str], ...]
    owners: tuple[str, ...]
    partitions: str
    partition_kind: str
    dependencies: tuple[ManifestEdge, ...]
    checks: tuple[ManifestCheck, ...]
    write: str
    partition_by: str | None
    schema: str = ""
    io_manager: str
    location: str
    rejected: str = ""
    retry: str
    batch_size: int
    pool: str = ""
    priority: int = 0
    timeout: float | None = None
    memory: int | None = None
    lookback: int
    closed_after: float
    compare_input_versions: bool
    code_version: str
    defined_in: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """All assets of a project in topological order; `source` is the text that says which module or file it was loaded from."""

    source: str
    assets: tuple[ManifestAsset, ...]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a manifest depends on: path → hash, empty if there is nothing. `names` covers folders' importable names, `listings` all their visible names.

    `packages` are installed packages that were asked about: name → version, "" if there was none. `search` is where; empty if none
    was asked about. `environment` has variables: name → hash of the value, empty if it is not set; the name "" stands for all of them.
    """

    files: Mapping[str, str]
    names: Mapping[str, str]
    listings: Mapping[str, str]
    packages: Mapping[str, str]
    search: tuple[str, ...]
    environment: Mapping[str, str]

    def still_holds(self) -> bool:
        """Whether every file, folder, package and environment variable is as it was."""
        return (
            all(_file_hash(path) == was for path, was in self.files.items())
            and all(_names_hash(path) == was for path, was in self.names.items())
            and all(_listing_hash(path) == was for path, was in self.listings.items())
            and all(
                installed_version(name, self.search) == was for name, was in self.packages.items()
            )
            and all(
                environment_hash(name, os.environ) == was for name, was in self.environment.items()
            )
        )


@dataclass(slots=True)
class Watch:
    """What was read while it was active; `began_ns` is when that began, in nanoseconds since the epoch."""

    began_ns: int
    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    environment: EnvironmentReads = field(default_factory=lambda: EnvironmentReads({}))
    active: bool = True

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take in one audit event."""
        if not self.active or event not in {"open", "os.listdir", "os.scandir"}:
            return
        path = arguments[0]
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str | os.PathLike) and path is not None:
            return  # an open descriptor: its path was seen when it was opened
        absolute = str(Path(path or ".").absolute())
        if event == "open":
            if _reads(arguments[1], arguments[2]):
                self.files.add(absolute)
        elif not _is_search(sys._getframe(1)):  # noqa: SLF001 - an audit hook learns the caller no other way
            self.folders.add(absolute)


def _is_search(frame: FrameType | None) -> bool:
    """Whether a folder is listed only because every folder of sys.path is: to import something, or to find a package's version."""
    if frame is None or frame.f_code.co_filename.startswith("<frozen importlib"):
        return frame is not None
    # Between who asks and who lists may be Python's reader of metadata or the backport, which replaces it as soon as it is imported.
    ours = installed_version.__code__.co_filename
    while frame is not None and frame.f_code.co_filename != ours:
        frame = frame.f_back
    return frame is not None


@contextmanager
def watch_reads(began_ns: int) -> Iterator[Watch]:
    """Note what this process reads inside of the block. Python can't take an audit hook away again; afterwards it does nothing."""
    watch = Watch(began_ns)
    sys.addaudithook(watch.note)
    try:
        with watch_environment() as watch.environment:
            yield watch
    finally:
        watch.active = False


def take_fingerprint(
    watch: Watch,
    *,
    modules: Iterable[str],
    extra: Iterable[str],
    roots: Iterable[str],
    ignored: Iterable[str],
    packages: Mapping[str, str] = _NO_PACKAGES,
) -> Fingerprint | None:
    """The fingerprint of a project that was just loaded; None if something changed during loading.

    `modules` are the source files of imported modules, `extra` other files that count whether or not they were read, `roots` the
    folders put on the module search path, `packages` the versions that were found along it. Paths below `ignored` folders (the standard library, installed packages, Partita's own
    state) don't count.
    """
    skipped = tuple(f"{os.path.realpath(folder)}{os.sep}" for folder in ignored)

    def counts(path: str) -> bool:
        real = os.path.realpath(path)
        return not real.startswith((*skipped, *_NEVER_WATCHED)) and "__pycache__" not in real

    sources = {path for path in modules if counts(path)}
    files = sources | set(extra)
    files |= {path for path in watch.files if counts(path)}
    importable = {str(Path(path).parent) for path in sources} | set(roots)
    folders = {path for path in watch.folders if counts(path + os.sep)}
    there = {path for path in files if path in sources or Path(path).exists()}
    if any(_changed_after(path, watch.began_ns - CLOCK_GRAIN_NS) for path in there):
        return None
    return Fingerprint(
        files={path: _file_hash(path) for path in sorted(files)},
        names={path: _names_hash(path) for path in sorted(importable)},
        listings={path: _listing_hash(path) for path in sorted(folders)},
        packages=dict(packages),
        search=tuple(str(Path(path).absolute()) for path in sys.path) if packages else (),
        environment=watch.environment.fingerprint(counts),
    )


def write_manifest(
    path: Path,
    manifest: Manifest,
    fingerprint: Fingerprint,
    versions: Mapping[str, str],
    outline: bytes = b"",
) -> bool:
    """Replace the file in one act. False if it can't be written: it only saves time, and looking needs no permission to write.

    `outline` is what planning needs of the project, in whatever form the caller likes; it goes into a file of its own, because
    most commands don't want it. Empty means that there is none.
    """
    body = {
        "manifest": asdict(manifest),
        "fingerprint": asdict(fingerprint),
        "versions": dict(versions),
        "outline": hashlib.sha256(outline).hexdigest(),
    }
    text = json.dumps({"format": FORMAT, "digest": _digest(body), "body": body})
    # The outline first: a manifest never names one that isn't there yet.
    return _replaced(_outline_path(path), outline) and _replaced(path, text.encode("ascii"))


def read_outline(path: Path) -> bytes | None:
    """The outline that was written with the manifest at `path`; None if it is gone, is another's, or there was none.

    Whether the manifest still holds is `read_manifest`'s to say.
    """
    body = _read_body(path)
    try:
        content = _outline_path(path).read_bytes()
    except OSError:
        return None
    if body is None or not content or body["outline"] != hashlib.sha256(content).hexdigest():
        return None
    return content


def _outline_path(path: Path) -> Path:
    return path.with_name("outline.pickle")


def _replaced(path: Path, content: bytes) -> bool:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    if _is_there(path, content):
        return True  # a command that changes nothing should touch nothing
    try:
        # For its owner's eyes: an IO manager may hold credentials.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o600), "wb") as file:  # noqa: PTH123 - of a descriptor
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
        temporary.replace(path)
    except OSError:
        return False
    return True


def _is_there(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content and not path.stat().st_mode & 0o077
    except OSError:
        return False  # there is none, or it is somebody else's: then it is made anew


def read_manifest(path: Path, source: str, versions: Mapping[str, str]) -> Manifest | None:
    """The manifest if it still holds for that source, these versions and the files as they are now; else None."""
    body = _read_body(path)
    if body is None or body["versions"] != dict(versions) or body["manifest"]["source"] != source:
        return None
    if not Fingerprint(**body["fingerprint"]).still_holds():
        return None
    return _manifest(body["manifest"])


def read_stale_manifest(path: Path) -> Manifest | None:
    """The last manifest that was written, whether or not it still holds: good enough to complete a word in a shell."""
    body = _read_body(path)
    return None if body is None else _manifest(body["manifest"])


def _read_body(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    # The digest makes everything below safe to take apart: only a complete manifest of this format has it.
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    body = content.get("body")
    if not isinstance(body, dict) or content.get("digest") != _digest(body):
        return None
    return body


def _manifest(value: Mapping[str, Any]) -> Manifest:
    return Manifest(value["source"], tuple(_asset(dict(asset)) for asset in value["assets"]))


def _asset(value: dict[str, Any]) -> ManifestAsset:
    value["tags"] = tuple((name, text) for name, text in value["tags"])
    value["owners"] = tuple(value["owners"])
    value["dependencies"] = tuple(
        ManifestEdge(**{**edge, "columns": edge["columns"] and tuple(edge["columns"])})
        for edge in value["dependencies"]
    )
    value["checks"] = tuple(ManifestCheck(**check) for check in value["checks"])
    return ManifestAsset(**value)


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode("ascii")).hexdigest()


def _reads(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return not set(mode) & set("wax")
    return isinstance(flags, int) and flags & (os.O_WRONLY | os.O_CREAT) == 0


def _changed_after(path: str, instant_ns: int) -> bool:
    try:
        status = Path(path).stat()
    except OSError:
        return True
    # The change time too: unlike the modification time nobody can set it back.
    return max(status.st_mtime_ns, status.st_ctime_ns) >= instant_ns


def _file_hash(path: str) -> str:
    """A hash of the content; of a large file, its identity and change time. Empty if it can't be read."""
    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size > _LARGE:
                return (
                    f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
                )
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""


def _names_hash(folder: str) -> str:
    """A hash of what can be imported from a folder: modules, and folders that may be packages."""
    return _hash_of_names(
        folder,
        lambda entry: (
            entry.name.endswith(_SUFFIXES) or (entry.is_dir() and entry.name.isidentifier())
        ),
    )


def _listing_hash(folder: str) -> str:
    return _hash_of_names(folder, lambda _entry: True)


def _hash_of_names(folder: str, wanted: Callable[[os.DirEntry[str]], bool]) -> str:
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.name != "__pycache__" and wanted(entry)
            )
    except OSError:
        return ""
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()
