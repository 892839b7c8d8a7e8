"""Handing upstream rows to a function in the type that its parameter is annotated with. What to read is the worker's decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from assets_core.authoring.binding import LoadAs
from assets_core.model.errors import DataError, DefinitionError
from assets_core.model.io_manager import ScansInPlace
from assets_core.process_memory import duckdb_memory

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

    from assets_core.model.io_manager import IOManager, ReadRequest


def load_input(manager: IOManager, request: ReadRequest, load_as: LoadAs) -> object:
    """The asked rows as a value of the asked type. A lazy frame or relation reads when it is used, if its IO manager can scan in place.

    Raises as `convert_input` does.
    """
    if load_as in {LoadAs.POLARS_LAZY, LoadAs.DUCKDB} and isinstance(manager, ScansInPlace):
        found = manager.dataset(request)
        if found is not None:
            return _lazy(found, load_as)
    return convert_input(manager.read(request), load_as)


def _lazy(found: ds.Dataset, load_as: LoadAs) -> object:
    if load_as is LoadAs.POLARS_LAZY:
        _need("polars")
        import polars as pl  # noqa: PLC0415 - optional

        return pl.scan_pyarrow_dataset(found)
    import duckdb  # noqa: PLC0415 - heavy, and only for those who ask for relations

    return duckdb.connect(config=duckdb_memory()).from_arrow(found)


def convert_input(stream: pa.RecordBatchReader, load_as: LoadAs) -> object:
    """The stream as a value of the asked type; a RecordBatchReader is passed on unread.

    Raises DefinitionError naming the package to install if pandas or polars is missing, DataError for a relation without columns.
    """
    match load_as:
        case LoadAs.READER:
            return stream
        case LoadAs.TABLE:
            return stream.read_all()
        case LoadAs.PANDAS:
            _need("pandas")
            return stream.read_pandas()
        case LoadAs.POLARS:
            return _polars(stream)
        case LoadAs.POLARS_LAZY:
            return _polars(stream).lazy()  # type: ignore[attr-defined]
        case LoadAs.DUCKDB:
            import duckdb  # noqa: PLC0415 - heavy, and only for those who ask for relations

            if not stream.schema.names:
                raise DataError(
                    "rows of which no column is known can't be a DuckDB relation",
                    hint="name the columns with Input(…, columns=[…]) or declare them with schema=…; or annotate the parameter with pa.Table",
                )
            # The relation keeps its connection alive; a table can be scanned any number of times, a stream only once.
            return duckdb.connect(config=duckdb_memory()).from_arrow(stream.read_all())
        case _:
            assert_never(load_as)


def _polars(stream: pa.RecordBatchReader) -> object:
    _need("polars")
    import polars as pl  # noqa: PLC0415 - optional

    return pl.from_arrow(stream.read_all())


def _need(package: str) -> None:
    from importlib.util import find_spec  # noqa: PLC0415 - only when something is loaded

    if find_spec(package) is None:
        raise DefinitionError(
            f"an input is annotated with a {package} type, and {package} is not installed",
            hint=f"type: pip install 'partita[{package}]'",
        )
