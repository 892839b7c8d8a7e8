"""An in-memory DuckDB at hand: where Arrow rows are compared, counted and hashed, and where database files are attached.

Opening one costs 10 ms of CPU, attaching a file 0.2 ms, so an IO manager keeps one. It holds no state between two uses: what is
registered or attached is taken away again by who did it. DuckDB's own rule that one connection serves one thread is the IO
manager's rule as well.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from assets_core.model.sql_names import quoted, quoted_text
from assets_core.process_memory import duckdb_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_SCRATCH = re.compile(r"process-(?P<process>\d+)(-.*)?")

SPILL_BYTES = 64 * 2**20
"""More Arrow bytes than this wait on disk instead of in memory."""

BATCH_ROWS = 122_880
"""DuckDB's row group: rows move in pieces of at most this many."""


class Workbench:
    """Opens its connection at the first use, in the process that uses it; pickles as a fresh one.

    `scratch` is the folder below which DuckDB puts what does not fit into memory, in a folder of this process; None: DuckDB's
    own choice. It is made when needed.

    >>> bench = Workbench()
    >>> bench.connection().execute("select 1").fetchall()
    [(1,)]
    >>> bench.close()
    """

    def __init__(self, scratch: str | None = None) -> None:
        self._scratch = scratch
        self._connection: DuckDBPyConnection | None = None
        self._process = 0

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self._scratch,))

    def connection(self) -> DuckDBPyConnection:
        """The connection, with UTC as its zone and no look at Python variables for table names."""
        # A connection that crossed a fork is another process's: using it loses commits silently.
        if self._connection is None or self._process != os.getpid():
            import duckdb  # noqa: PLC0415 - heavy

            self._connection = duckdb.connect(
                config={
                    "python_enable_replacements": False,
                    "autoinstall_known_extensions": False,
                    **duckdb_memory(),
                }
            )
            self._process = os.getpid()
            self._connection.execute("set TimeZone = 'UTC'")
            if self._scratch is not None:
                folder = scratch_folder(self._scratch)
                self._connection.execute(f"set temp_directory = {quoted_text(folder)}")
        return self._connection

    def close(self) -> None:
        """Close the connection, if there is one; the next use opens another."""
        connection, self._connection = self._connection, None
        if connection is not None and self._process == os.getpid():
            connection.close()

    @contextmanager
    def tables(self, **tables: pa.Table | pa.RecordBatchReader) -> Iterator[DuckDBPyConnection]:
        """The connection with Arrow data under the given names, for as long as the block runs. A reader can be scanned once."""
        import duckdb  # noqa: PLC0415 - heavy

        connection = self.connection()
        for name, table in tables.items():
            connection.register(name, table)
        try:
            yield connection
        except BaseException:
            # In a transaction that DuckDB has given up nothing can be taken away, and its end does so: the first error is the one to tell.
            for name in tables:
                with suppress(duckdb.Error):
                    connection.unregister(name)
            raise
        for name in tables:
            connection.unregister(name)


def scratch_folder(folder: str) -> str:
    """This process's own folder below `folder`, not made yet; `sweep_scratch` knows it by its name when the process is dead."""
    return str(Path(folder, f"process-{os.getpid()}"))


def scratch_prefix() -> str:
    """How the names of this process's own scratch files begin, which `sweep_scratch` knows as well."""
    return f"process-{os.getpid()}-"


def sweep_scratch(folder: str) -> None:
    """Remove what dead processes left below `folder` for a while of their own."""
    try:
        entries = list(Path(folder).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if not is_scratch_of_the_dead(entry.name):
            continue
        if entry.is_dir():
            import shutil  # noqa: PLC0415 - loads every compression there is

            shutil.rmtree(entry, ignore_errors=True)
        else:
            with suppress(OSError):
                entry.unlink()


def is_scratch_of_the_dead(name: str) -> bool:
    """True for the name of a scratch file or folder whose process is dead."""
    found = _SCRATCH.fullmatch(name)
    return found is not None and not _is_alive(int(found["process"]))


def is_scratch_of_the_living(name: str) -> bool:
    """True for the name of a scratch file or folder whose process lives."""
    found = _SCRATCH.fullmatch(name)
    return found is not None and _is_alive(int(found["process"]))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


__all__ = [
    "BATCH_ROWS",
    "SPILL_BYTES",
    "Workbench",
    "is_scratch_of_the_dead",
    "is_scratch_of_the_living",
    "quoted",
    "quoted_text",
    "scratch_folder",
    "scratch_prefix",
    "sweep_scratch",
]
