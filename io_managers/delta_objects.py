"""Delta tables in S3, and in what speaks like it: `deltalake` writes the log, and everything else goes through the client that Parquet files use.

A version of a table is one object, which `deltalake` puts there on the condition that there is none (`If-None-Match`): of two commits
on top of one version one is refused. Nothing in its environment turns that off; with `conditional_put=disabled` it does not write at all.
Some stores take such a condition and pay no heed to it. So a new table's first version is put there once more: a store that lets that
happen is refused.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from assets_core.model.errors import IOManagerError
from assets_core.model.io_manager import PARTITION_COLUMN
from io_managers.delta_folders import LOG
from io_managers.delta_places import UnsettledError
from io_managers.object_store import StoreChangedError
from io_managers.parquet_layout import read_footer
from io_managers.parquet_objects import ObjectPlace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import pyarrow as pa

    from io_managers.conditional_store import ConditionalStore
    from io_managers.parquet_layout import Footer

_LOG_ENTRY = re.compile(r"(\d{20})\.(json|checkpoint\..*)")


class ObjectTables:
    """The tables below a URL. Rows wait in a folder of this machine's temporary folder."""

    in_folders = False
    # Whoever opens a table asks twice for each version since the last checkpoint, of which `deltalake` else makes one every 100 versions.
    properties: Mapping[str, str | None] | None = {"delta.checkpointInterval": "10"}

    def __init__(self, root: str, store: ConditionalStore) -> None:
        self.root = root
        self._store = store
        self._objects = ObjectPlace(root, store)

    @property
    def stage(self) -> str:
        """The spool of this user and root."""
        return self._objects.stage

    def prepare(self) -> None:
        """Make the spool."""
        self._objects.prepare()

    def open(self, path: str) -> pa.NativeFile:
        """All of a staged file, or of one version of an object."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        return self._objects.open(path) if self._is_object(path) else pa.OSFile(path)

    def footers(self, paths: Sequence[str]) -> list[Footer | None]:
        """Of objects many at once."""
        objects = [path for path in paths if self._is_object(path)]
        found = dict(zip(objects, self._objects.footers(objects), strict=True))
        return [found[path] if path in found else read_footer(path) for path in paths]

    def source(self, table: str) -> tuple[str, dict[str, str] | None]:
        """Its URL, and what leads the client there."""
        return self._store.address(self._key(table)), self._store.text_options()

    def has_log(self, table: str) -> bool:
        """By one request, whose failure is told as for any other file."""
        return self._has_any(f"{table}/{LOG}")

    def fault(self, table: str, verb: str, error: Exception) -> IOManagerError:
        """In the words for any other request."""
        return self._store.fault(verb, self._key(table), error)

    def unsettled(self, fault: IOManagerError) -> IOManagerError:
        """A request that was given up here may still arrive there."""
        return UnsettledError(fault.message, hint=fault.hint)

    def was_made(self, table: str) -> None:
        """Put its first version there once more, as it is: whoever lets that happen would let commits overwrite each other."""
        first = f"{self._key(table)}/{LOG}/{0:020d}.json"
        with tempfile.NamedTemporaryFile(dir=self.stage) as same:
            with self._objects.open(f"{self.root}/{first}") as there:
                same.write(there.read())
            same.flush()
            try:
                self._store.put(first, same.name, None)
            except StoreChangedError:
                return
        self._store.delete([first])
        raise IOManagerError(
            f"{table} can't be written: its store puts an object in place of another although it is told not to, so commits could overwrite each other",
            hint="keep it in a store that knows conditional writes, or in a folder; Parquet files in this store are as little protected",
        )

    def put(self, source: str, table: str, name: str) -> None:
        """By one PUT. That something has the name already means that an answer was lost: nobody else gives it."""
        with suppress(StoreChangedError):
            self._store.put(f"{self._key(table)}/{name}", source, None)

    def before_commit(self, table: str) -> None:
        """Nothing to do: a PUT that was answered is durable."""

    def committed(self, table: str, version: int) -> None:
        """Nothing to do either."""

    def names(self, table: str) -> list[str]:
        """By listing."""
        return [
            name
            for name in self._listed(table)
            if name.endswith(".parquet") and not name.startswith(f"{LOG}/")
        ]

    def may_be_there(self, path: str) -> bool:  # noqa: ARG002 - the port's
        """A look at the log has to do: a listing has all files of all versions in it."""
        return True

    def drop(self, table: str, names: Collection[str]) -> None:
        """A request per thousand."""
        self._store.delete([f"{self._key(table)}/{name}" for name in names])

    def exists(self, table: str) -> bool:
        """By one request."""
        return self._has_any(table)

    def strangers(self, table: str) -> list[str]:
        """By listing."""
        return [
            f"{table}/{name}"
            for name in self._listed(table)
            if not (
                name.startswith((f"{LOG}/", f"{PARTITION_COLUMN}="))
                or (name.endswith(".parquet") and "/" not in name)
            )
        ]

    def remove(self, table: str) -> None:
        """Its files first, then its log, the newest version first: what is there at any time is an older version whose files are gone."""
        names = list(self._listed(table))
        log = [name for name in names if name.startswith(f"{LOG}/")]
        self.drop(table, {*names} - {*log})
        self.drop(table, sorted(log, key=_version_of, reverse=True))

    def _listed(self, table: str) -> Iterator[str]:
        """All objects of a table, by their names in it."""
        prefix = f"{self._key(table)}/"
        return (one.key[len(prefix) :] for one in self._store.entries(prefix))

    def _has_any(self, path: str) -> bool:
        return next(iter(self._store.entries(f"{self._key(path)}/")), None) is not None

    def _is_object(self, path: str) -> bool:
        return path.startswith(f"{self.root}/")

    def _key(self, path: str) -> str:
        return path[len(self.root) + 1 :]


def _version_of(name: str) -> tuple[int, bool]:
    """By which the log is taken apart; what belongs to no version (the note of the last checkpoint) comes first then."""
    found = _LOG_ENTRY.match(name.rpartition("/")[2])
    return (int(found[1]), found[2] == "json") if found else (2**63, True)
