"""`FunctionIOManager`: an IO manager out of two functions, for those who have no more and need no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assets_core.model.errors import DefinitionError, IOManagerError
from assets_core.model.specs import Replace
from io_managers.custom import Commit, CustomIOManager
from io_managers.refusals import users_own

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from assets_core.model.io_manager import PartitionSlice, Target


class FunctionIOManager(CustomIOManager):
    """Stores rows by calling `write(rows, asset, partition)` and loads them by `read(asset, partition)`.

    `rows` is a `pyarrow.Table`; `partition` is its key, empty for an unpartitioned asset. `write` replaces what is there, zero rows
    included. `read` returns a pyarrow table, a pandas or polars frame, or None if it has nothing. `remove(asset)`, if given, removes all of
    an asset; without it `partita state restart` is refused. Steps of other processes leave their rows in the folder `staging`.

    **What it promises is less than the others do**, because two functions can't say who wrote what:

    - Rows appear as `write` makes them appear. If that is not at once, others may see half of them.
    - After a crash while a step ran, nobody can know how far it came. The partition counts as failed and is made again, and so is what
      reads it; until then it may be half-written.
    - A process that was taken for dead and wakes up may write over newer rows; the state does not count what it wrote.
    - Rows that are deleted or changed behind its back are not noticed: `plan` and `state verify` believe the state; `--deep` counts.

    Rows are judged like everywhere: rows outside the partition, reserved names, blocking checks are found before `write` is called. Only
    Replace is offered.

    Raises:
        DefinitionError: `read` or `write` is not callable.

    >>> shelf = {}
    >>> manager = FunctionIOManager(
    ...     read=lambda asset, partition: shelf.get((asset, partition)),
    ...     write=lambda rows, asset, partition: shelf.update({(asset, partition): rows}),
    ... )
    >>> manager.destination()
    'the functions given to FunctionIOManager'
    """

    tells = False

    def __init__(
        self,
        read: Callable[[str, str], Any],
        write: Callable[[pa.Table, str, str], object],
        *,
        remove: Callable[[str], object] | None = None,
        name: str = "the functions given to FunctionIOManager",
        staging: str | os.PathLike[str] = ".partita/functions.stage",
    ) -> None:
        super().__init__(staging)
        for what, function in {"read": read, "write": write}.items():
            if not callable(function):
                raise DefinitionError(
                    f"FunctionIOManager({what}={function!r}) is not a function",
                    hint="write FunctionIOManager(read=load_rows, write=save_rows)",
                )
        self._read = read
        self._write = write
        self._remove = remove
        self._name = name

    def destination(self) -> str:
        """Its `name`."""
        return self._name

    def supports(self, target: Target) -> str | None:
        """Replace only."""
        if not isinstance(target.write, Replace):
            return (
                "a FunctionIOManager replaces whole partitions: use Replace, or another IO manager"
            )
        return super().supports(target)

    def save(self, target: Target, one: PartitionSlice, rows: pa.Table, commit: Commit) -> None:  # noqa: ARG002 - there is no place for it
        """Call `write`."""
        with users_own(_name(self._write), f"{self.location(target)} can't be written"):
            self._write(rows, target.asset, one.key)

    def load(self, target: Target, one: PartitionSlice) -> pa.Table | None:
        """Call `read`. Raises IOManagerError if that raises, or returns what is no table."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        where = f"{target.asset}@{one.key}" if one.key else target.asset
        what = f"{where} can't be read by {self._name}"
        with users_own(_name(self._read), what):
            found = self._read(target.asset, one.key)
        if found is None or isinstance(found, pa.Table):
            return found
        try:
            if type(found).__module__.startswith("pandas") and hasattr(found, "columns"):
                return pa.Table.from_pandas(found, preserve_index=False)
            return pa.table(found)
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise IOManagerError(
                f"{what}: {_name(self._read)} returned {type(found).__name__}: {error}",
                hint="read(asset, partition) must return a pyarrow table, a pandas or polars frame, or None",
            ) from error

    def commit(self, target: Target, one: PartitionSlice) -> Commit | None:  # noqa: ARG002 - the base's
        """Never known."""
        return None

    def commits(self, target: Target) -> Iterable[Commit]:  # noqa: ARG002 - the base's
        """Never known."""
        return ()

    def remove(self, target: Target) -> None:
        """Call `remove`. Raises IOManagerError if there is none."""
        if self._remove is None:
            raise IOManagerError(
                f"{self.location(target)} can't be removed: no function for that was given",
                hint="give FunctionIOManager(…, remove=…), or remove the rows yourself and give it one that does nothing",
            )
        with users_own(_name(self._remove), f"{self.location(target)} can't be removed"):
            self._remove(target.asset)


def _name(function: Callable[..., object]) -> str:
    return str(getattr(function, "__name__", function))
