"""What `[tool.partita]` may say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from assets_core.model.errors import ProjectError
from cli.project.location import DEFAULT_STATE
from partitions.errors import nearest

if TYPE_CHECKING:
    from cli.project.location import Location


class Settings(BaseModel):
    """The table. `executor` is where steps run if `-j` is not given, `jobs` how many at once in processes (default: the cores)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    definitions: str | None = None
    state: str = DEFAULT_STATE
    executor: Literal["in_process", "process"] = "in_process"
    jobs: PositiveInt | None = None
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
        near = nearest(name, list(Settings.model_fields))
        hint = f"did you mean {near[0]}?" if near else None
        what = "there is no such setting"
    elif first["type"] == "literal_error":
        near = nearest(str(first["input"]), ["in_process", "process"])
        hint = f'did you mean "{near[0]}"?' if near else 'write "in_process" or "process"'
        what = f"{first['input']!r} is no executor"
    else:
        hint, what = None, first["msg"].lower()
    return ProjectError(
        f"{where}: {what}",
        hint=hint or f"the table may hold {', '.join(Settings.model_fields)}",
    )
