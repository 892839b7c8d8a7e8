"""What a function returned, as one stream of record batches; and the user's own part of a traceback."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets_core.model.errors import UserCodeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

ACCEPTED = "a pyarrow Table or RecordBatchReader, a pandas or polars frame (lazy ones are collected), a DuckDB relation, an iterator of record batches, Output(rows, data_version=...), None, or Skip(...)"

_OURS = tuple(
    str(Path(__file__).resolve().parents[2] / package)
    for package in ("assets_core", "partitions", "io_managers", "cli")
)


class OutputStream:
    """A function's output as `reader`; `error` is what the user's code raised while the stream was read, if anything.

    A stream runs user code late, inside whoever reads it, and on its way through Arrow an exception can lose its type: it is kept here.
    """

    def __init__(self, asset: str, value: object) -> None:
        self.error: Exception | None = None
        self.reader = self._open(asset, value)

    def _open(self, asset: str, value: object) -> pa.RecordBatchReader:
        import pyarrow as pa  # noqa: PLC0415 - heavy; the planner and the CLI don't need it

        if isinstance(value, pa.RecordBatchReader):
            return pa.RecordBatchReader.from_batches(value.schema, self._watched(value))
        if isinstance(value, pa.RecordBatch):
            value = pa.Table.from_batches([value])
        if isinstance(value, pa.Table):
            return value.to_reader()
        if type(value).__module__.startswith("polars") and hasattr(value, "collect"):
            value = _collected(value)
        if hasattr(value, "__arrow_c_stream__"):
            reader = pa.RecordBatchReader.from_stream(value)
            return pa.RecordBatchReader.from_batches(reader.schema, self._watched(reader))
        if type(value).__module__.startswith("pandas") and hasattr(value, "columns"):
            return pa.Table.from_pandas(value, preserve_index=False).to_reader()
        if hasattr(value, "fetch_arrow_reader"):
            return value.fetch_arrow_reader()
        if isinstance(value, Iterator):
            return self._from_iterator(asset, value)
        raise UserCodeError(
            f"{asset} returned {_a(type(value).__name__)}, which can't be stored",
            hint=f"return {ACCEPTED}",
        )

    def _from_iterator(self, asset: str, batches: Iterator[object]) -> pa.RecordBatchReader:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        first = next(batches, None)
        if first is None:
            raise UserCodeError(
                f"{asset} yielded no record batch, so its columns are unknown",
                hint="yield at least one batch; it may have zero rows",
            )
        if not isinstance(first, (pa.RecordBatch, pa.Table)):
            raise UserCodeError(
                f"{asset} yielded {_a(type(first).__name__)}",
                hint="an iterator must yield pyarrow RecordBatches",
            )
        return pa.RecordBatchReader.from_batches(
            first.schema, self._watched(_chain(first, batches), first.schema)
        )

    def _watched(
        self, batches: Iterable[object], schema: pa.Schema | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The batches as they come; what the user's code raises or gets wrong on the way is kept."""
        try:
            for batch in batches:
                for part in batch.to_batches() if hasattr(batch, "to_batches") else (batch,):
                    if schema is not None:
                        _require_batch(part, schema)
                    yield part
        except Exception as error:
            self.error = error
            raise


def _require_batch(part: object, schema: pa.Schema) -> None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if not isinstance(part, pa.RecordBatch):
        raise TypeError(
            f"an iterator must yield pyarrow RecordBatches, this one yielded {_a(type(part).__name__)}"
        )
    if not part.schema.equals(schema):
        raise TypeError(
            f"all batches must have the columns of the first, {_columns(schema)}; a later one has {_columns(part.schema)}"
        )


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def user_error(asset: str, error: BaseException) -> UserCodeError:
    """The user's exception as a UserCodeError: type and text in the message, their frames, the original as `__cause__`."""
    text = str(error).strip()
    name = type(error).__name__
    if isinstance(error, SystemExit):
        message = f"{asset} called sys.exit({error.code!r})"
    else:
        message = f"{asset} raised {name}: {text}" if text else f"{asset} raised {name}"
    wrapped = UserCodeError(message, frames=user_frames(error))
    wrapped.__cause__ = error
    return wrapped


def user_frames(error: BaseException) -> str:
    """The traceback as text, without frames of Partita's own packages.

    >>> user_frames(ValueError("no rows"))
    'ValueError: no rows'
    """
    told = traceback.TracebackException.from_exception(error)
    seen: set[int] = set()
    part: traceback.TracebackException | None = told
    while part is not None and id(part) not in seen:
        seen.add(id(part))
        kept = [frame for frame in part.stack if not frame.filename.startswith(_OURS)]
        part.stack = traceback.StackSummary.from_list(kept)
        part = part.__cause__ or part.__context__
    text = "".join(told.format())
    if not told.stack:
        text = text.replace("Traceback (most recent call last):\n", "", 1)
    return text.rstrip()


def _collected(lazy: Any) -> object:  # noqa: ANN401 - its arguments differ between versions
    """The rows of a lazy frame, by the engine that works through more than memory holds."""
    from inspect import signature  # noqa: PLC0415 - rare

    # Before 1.23 polars asked for it by another name.
    if "streaming" in signature(lazy.collect).parameters:
        return lazy.collect(streaming=True)
    return lazy.collect(engine="streaming")


def _chain(first: object, rest: Iterator[object]) -> Iterator[object]:
    yield first
    yield from rest


def _a(word: str) -> str:
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"
