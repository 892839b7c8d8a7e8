"""Where assets are stored: in a DuckDB file, as Parquet files, as Delta tables, in memory.

Importing this package, or making an IO manager, loads neither duckdb nor pyarrow: a user's module does both when it is loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io_managers.custom import Commit, CustomIOManager
    from io_managers.delta_tables import DeltaIOManager
    from io_managers.duckdb_tables import DuckDBIOManager
    from io_managers.functions import FunctionIOManager
    from io_managers.memory import MemoryIOManager
    from io_managers.parquet_files import ParquetIOManager

__all__ = [
    "Commit",
    "CustomIOManager",
    "DeltaIOManager",
    "DuckDBIOManager",
    "FunctionIOManager",
    "MemoryIOManager",
    "ParquetIOManager",
]

_HOMES = {
    "Commit": "io_managers.custom",
    "CustomIOManager": "io_managers.custom",
    "FunctionIOManager": "io_managers.functions",
    "DeltaIOManager": "io_managers.delta_tables",
    "DuckDBIOManager": "io_managers.duckdb_tables",
    "MemoryIOManager": "io_managers.memory",
    "ParquetIOManager": "io_managers.parquet_files",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
