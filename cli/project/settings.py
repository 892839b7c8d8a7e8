"""What `[tool.partita]` may say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from assets_core.model.errors import ProjectError
from cli.project.location import DEFAULT_STATE
from partitions.errors import nearest

if TYPE_CHECKING:
    from cli.project.location import Location


EXECUTORS: Final = ("in_process", "process", "dask")


class DaskSettings(BaseModel):
    """`[tool.partita.dask]`. Without `scheduler` a run starts a cluster of its own on this machine."""

    model_config = ConfigDict(extra="forbid", strict=True)

    scheduler: str | None = None


class Settings(BaseModel):
    """The table. `executor` is where steps run; of the others than in process, `jobs` is how many at once (default: the cores or workers)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    definitions: str | None = None
    state: str = DEFAULT_STATE
    executor: Literal["in_process", "process", "dask"] = "in_process"
    jobs: PositiveInt | None = None
    dask: DaskSettings = DaskSettings()
    config: dict[str, dict[str, Any]] = {}


def checked_settings(location: Location) -> Settings:
    """The project's table. Raises ProjectError for what it can't say."""
    try:
        settings = Settings.model_validate(dict(location.table))
    except ValidationError as error:
        raise _told(location, error) from error
    return settings


def _told(location: Location, error: ValidationError) -> ProjectError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    where = f"{location.pyproject}: `{name}` in [tool.partita]"
    if first["type"] == "extra_forbidden":
        near = nearest(name, _names(first["loc"]))
        hint = f"did you mean {near[0]}?" if near else None
        what = "there is no such setting"
    elif first["type"] == "literal_error":
        near = nearest(str(first["input"]), EXECUTORS)
        hint = f'did you mean "{near[0]}"?' if near else 'write "in_process", "process" or "dask"'
        what = f"{first['input']!r} is no executor"
    else:
        hint, what = None, first["msg"].lower()
    return ProjectError(
        f"{where}: {what}",
        hint=hint or f"the table may hold {', '.join(_names(first['loc']))}",
    )


def _names(location: tuple[int | str, ...]) -> list[str]:
    """What the table may hold in which something is wrong, as it is written from the top."""
    if location[0] == "dask" and len(location) > 1:
        return [f"dask.{name}" for name in DaskSettings.model_fields]
    return list(Settings.model_fields)
