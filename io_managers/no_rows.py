"""What a reader of no partitions gets: no rows, with the columns that are known.

An input that may be missing asks for none if its upstream has none, maybe before anything was ever written anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from io_managers.history import history_schema
from io_managers.moments import is_history
from io_managers.schemas import readable_schema, wanted_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from assets_core.model.io_manager import ReadRequest


def no_rows(request: ReadRequest, stored: pa.Schema | None = None) -> pa.RecordBatchReader:
    """A stream without rows, with declared and `stored` columns as a reader of rows would get them.

    Wanted columns of which nothing is known are columns of nulls; a column that known ones are not is an IOManagerError.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    known = readable_schema(request.target, pa.schema([]) if stored is None else stored)
    if is_history(request.target):
        known = history_schema(request.target, known)
    if not known.names:
        known = pa.schema([pa.field(name, pa.null()) for name in request.columns or ()])
    return pa.RecordBatchReader.from_batches(wanted_schema(request, known), [])
