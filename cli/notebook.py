"""Rows of a project's assets in a notebook or script: `load` and `query`. The commands of the same sense are for shells.

Nothing of the project is run or written, and the current folder stays what it is. How rows are found is `project.reading`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from assets_core.authoring.binding import LoadAs
from assets_core.execution.inputs import convert_input, load_input
from assets_core.model.errors import ProjectError, QueryError
from assets_core.model.io_manager import ReadRequest
from cli.project import Project
from cli.project.location import find_location
from cli.project.reading import chosen_slices, query_project
from cli.project.user_modules import modules_set_aside
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

Form = Literal["pyarrow", "pandas", "polars", "polars-lazy", "duckdb"]
"""What rows become: a `pyarrow.Table`, a frame of pandas or polars, a polars `LazyFrame`, a DuckDB relation."""

_FORMS: Final = {
    "pyarrow": LoadAs.TABLE,
    "pandas": LoadAs.PANDAS,
    "polars": LoadAs.POLARS,
    "polars-lazy": LoadAs.POLARS_LAZY,
    "duckdb": LoadAs.DUCKDB,
}


@overload
def load(
    asset: str,
    partitions: str | None = None,
    *,
    as_: Literal["pyarrow"] = "pyarrow",
    columns: Sequence[str] | None = None,
    allow_missing: bool = False,
    project: str | os.PathLike[str] | None = None,
) -> pa.Table: ...


@overload
def load(
    asset: str,
    partitions: str | None = None,
    *,
    as_: Form,
    columns: Sequence[str] | None = None,
    allow_missing: bool = False,
    project: str | os.PathLike[str] | None = None,
) -> Any: ...  # noqa: ANN401 - a frame of a package that need not be installed


def load(
    asset: str,
    partitions: str | None = None,
    *,
    as_: Form = "pyarrow",
    columns: Sequence[str] | None = None,
    allow_missing: bool = False,
    project: str | os.PathLike[str] | None = None,
) -> Any:
    """The rows of some partitions of an asset, in partition order; without `partitions` of all that are materialized.

    Args:
        asset: its name.
        partitions: a range as on the command line: `2025-01-31`, `2025-01`, `latest:7`, `2025-01-01...2025-01-07`.
        as_: what the rows become. `polars-lazy` and `duckdb` read Parquet files when they are used, and only what is used of them.
        columns: only these, in this order.
        allow_missing: partitions of the range that are not materialized are left out, instead of being an error.
        project: its folder, or its Python file; the project is looked for from there as the command line does. Default: here.

    Raises:
        SelectionError: there is no such asset.
        ProjectError: there is no such project.
        QueryError: there is no such form, or an argument is of a kind that it can't be.
        RangeSyntaxError, UnknownPartitionError: as on the command line.
        IOManagerError: partitions of the range are not materialized; they are named. Or the rows can't be read.

    ```python
    from cli.notebook import load

    january = load("silver_orders", "2025-01", as_="pandas")
    ```
    """
    form = _form(as_)
    _require_text("the asset", asset, 'the name of one: load("orders")')
    if partitions is not None:
        _require_text("partitions", partitions, 'a range: load("orders", "2025-01")')
    wanted = None if columns is None else _columns(columns)
    with _found(project) as found:
        slices = chosen_slices(
            found, asset, partitions, datetime.now(UTC), allow_missing=allow_missing
        )
        outline = found.outline
        request = ReadRequest(outline.target(asset), slices, wanted)
        return load_input(outline.manager(asset), request, form)


@overload
def query(
    sql: str,
    *,
    as_: Literal["pyarrow"] = "pyarrow",
    project: str | os.PathLike[str] | None = None,
) -> pa.Table: ...


@overload
def query(sql: str, *, as_: Form, project: str | os.PathLike[str] | None = None) -> Any: ...  # noqa: ANN401 - as for `load`


def query(
    sql: str, *, as_: Form = "pyarrow", project: str | os.PathLike[str] | None = None
) -> Any:
    """The rows of a query over the project's assets, as `partita query` finds them; `as_` and `project` as for `load`.

    Raises:
        QueryError: the text is not one SELECT, names what is no asset, or DuckDB refuses it.
        IOManagerError: a named asset can't be read.
        ProjectError: there is no such project.

    ```python
    from cli.notebook import query

    by_day = query("select day, sum(amount) as revenue from silver_orders group by day order by day")
    ```
    """
    form = _form(as_)
    _require_text("the query", sql, 'a text: query("from orders")')
    with _found(project) as found:
        return convert_input(query_project(found, sql, datetime.now(UTC)), form)


def _require_text(what: str, value: object, wanted: str) -> None:
    """In a notebook nobody checks types: an asset itself is easily given for its name."""
    if not isinstance(value, str):
        raise QueryError(f"{what} is given as {type(value).__name__}", hint=f"give {wanted}")


def _columns(columns: object) -> tuple[str, ...]:
    hint = 'give a list of names: columns=["id", "amount"]'
    if isinstance(columns, str):
        raise QueryError(f"columns={columns!r} is one text", hint=f"give columns=[{columns!r}]")
    if not isinstance(columns, Iterable):
        raise QueryError(f"columns is given as {type(columns).__name__}", hint=hint)
    names = tuple(columns)
    for i, name in enumerate(names):
        if not isinstance(name, str):
            raise QueryError(f"columns has a {type(name).__name__}: {name!r}", hint=hint)
        if name in names[:i]:
            raise QueryError(f"columns has {name!r} twice", hint="name it once")
    return names


def _form(as_: str) -> LoadAs:
    _require_text("as_", as_, f"one of {', '.join(map(repr, _FORMS))}")
    found = _FORMS.get(as_)
    if found is not None:
        return found
    near = nearest(as_, _FORMS)
    raise QueryError(
        f"as_={as_!r} is nothing that rows can become; there are {', '.join(map(repr, _FORMS))}",
        hint=f"did you mean {near[0]!r}?" if near else None,
    )


@contextmanager
def _found(project: str | os.PathLike[str] | None) -> Iterator[Project]:
    """The project, for one block: relative paths of its IO managers hold in it, and the current folder is restored."""
    before = Path.cwd()
    if project is not None and not isinstance(project, str | os.PathLike):
        _require_text("project", project, "its folder, or its Python file")
    place = Path(os.path.normpath(before / Path(project or "").expanduser()))
    if not place.exists():
        raise ProjectError(
            f"there is no project at {place}: nothing is there",
            hint="project= names a folder, or a Python file; without it the project is looked for from here",
        )
    location = (
        find_location(before, file=str(place)) if place.suffix == ".py" else find_location(place)
    )
    found = Project(location)
    try:
        with modules_set_aside(location):
            _ = found.outline
        yield found
    finally:
        found.store.close()
        os.chdir(before)
