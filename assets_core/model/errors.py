"""The errors above the partitions package; the class tells who is to blame. Formatting for a terminal lives in `cli.render`."""

from __future__ import annotations

from partitions.errors import DefinitionError, PartitaError

__all__ = [
    "ConflictError",
    "DataError",
    "DefinitionError",
    "ExecutorError",
    "IOManagerError",
    "InternalError",
    "PartitaError",
    "PlanError",
    "PlanMovedError",
    "ProjectError",
    "QueryError",
    "RunTakenOverError",
    "SelectionError",
    "StoreError",
    "UserCodeError",
    "shown",
]


class ProjectError(PartitaError):
    """The project can't be found or loaded: no module, a bad `pyproject.toml` table, an import that fails."""

    code = "project"


class SelectionError(PartitaError):
    """An asset selection that can't be read or selects nothing."""

    code = "selection"


class PlanError(PartitaError):
    """A saved plan that can't be read, or does not fit the project."""

    code = "plan"


class PlanMovedError(PartitaError):
    """A saved plan that would not come out the same now: state or code moved since it was made; nothing was run."""

    code = "plan-moved"


class UserCodeError(PartitaError):
    """A user's function raised, or returned what it must not; the original is the `__cause__` where there is one.

    `frames` is the traceback as text, trimmed to the user's own frames.
    """

    code = "user-code"

    def __init__(self, message: str, *, frames: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.frames = frames


class DataError(PartitaError):
    """The rows that a function returned break the asset's write contract; nothing was published."""

    code = "data"


class StoreError(PartitaError):
    """The state store can't be opened, read or written."""

    code = "store"


class StepsRunningError(StoreError):
    """A run can't end while steps of it are running."""


class ConflictError(PartitaError):
    """Another run is to make what this one wants, and this one was told to fail then."""

    code = "conflict"


class RunTakenOverError(PartitaError):
    """Another process took this run for dead and settled it; whatever this one still did changed nothing."""

    code = "run-taken-over"


class IOManagerError(PartitaError):
    """A destination can't be read or written; the message names the path or table and the cause.

    `frames` is the traceback of a user's own IO manager as text, trimmed to their frames; empty where it was not their code that raised.
    """

    code = "io-manager"

    def __init__(self, message: str, *, frames: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.frames = frames


class QueryError(PartitaError):
    """A query that can't be read, does not only read, names what is no asset, or that the database refuses."""

    code = "query"


class ExecutorError(PartitaError):
    """Steps can't be carried out where the project says: no such scheduler, no worker, or workers with other code."""

    code = "executor"


class InternalError(PartitaError):
    """A law of Partita's own was broken; please report it with the text."""

    code = "internal"


def shown(value: object) -> str:
    """What a user wrote, short, for a message.

    >>> shown(int), shown("id")
    ('the class int', "'id'")
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = repr(value)
    limit = 80
    return text if len(text) <= limit else f"{text[:limit]}…"
