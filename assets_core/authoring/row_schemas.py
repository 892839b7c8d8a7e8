"""From what a user declares as `schema=` (a pyarrow schema or a pydantic model) to a `TableSchema`.

Decided here: which Arrow type stands for a Python type. One that leaves the choice open (a `datetime` with or without a time zone, a
`Decimal` without digits) is a mistake and not a guess. Not decided here: which types are one and the same (`arrow_types`), and what
happens to rows that differ (`io_managers.row_shape`).
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from assets_core.authoring.arrow_types import plain_type, types_within
from assets_core.model.column_names import column_name_problem
from assets_core.model.errors import DefinitionError
from assets_core.model.table_schemas import Column, SchemaPolicy, TableSchema
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from pydantic import BaseModel


def as_table_schema(key: str, given: object) -> TableSchema | None:
    """The declared columns of asset `key`; None for None.

    Optional fields of a model are nullable, others are not; a pyarrow schema says so itself (`pa.field("id", pa.int64(), False)`).

    Raises:
        DefinitionError: `given` is neither, has no column, a name that can't be one, or a type that stands for no Arrow type.

    >>> import pyarrow as pa
    >>> as_table_schema("orders", pa.schema({"id": pa.int64(), "name": pa.large_string()})).text()
    'id int64, name string'
    """
    if given is None:
        return None
    import pyarrow as pa  # noqa: PLC0415 - heavy, and most assets declare no schema

    if isinstance(given, pa.Schema):
        fields = list(given)
    elif isinstance(given, type) and hasattr(given, "model_fields"):
        _require_finite(f"asset {key!r}", given, ())
        fields = _model_fields(key, given)
    else:
        shown = f"the class {given.__name__}" if isinstance(given, type) else repr(given)[:80]
        raise DefinitionError(
            f"asset {key!r} has schema={shown}, which is neither a pyarrow schema nor a pydantic model",
            hint='write schema=pa.schema({"id": pa.int64()}), or a class derived from pydantic.BaseModel',
        )
    _check_names(key, [one.name for one in fields])
    plain = pa.schema([pa.field(one.name, plain_type(one.type), one.nullable) for one in fields])
    for one in plain:
        if pa.types.is_null(one.type):
            raise DefinitionError(
                f"asset {key!r} has a schema whose column {one.name!r} has no type",
                hint="give it one, such as pa.string()",
            )
        if any(map(pa.types.is_union, types_within(one.type))):
            raise DefinitionError(
                f"asset {key!r} has a schema whose column {one.name!r} is {one.type}; values of several types in one column are stored nowhere",
                hint="give it one type, or a column for each",
            )
    columns = tuple(Column(one.name, str(one.type), one.nullable) for one in plain)
    return TableSchema(columns, plain.serialize().to_pybytes())


def with_text(schema: TableSchema, name: str) -> TableSchema:
    """The same columns, and after them one of text that may be null; a column of that name stays what it is."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if name in {one.name for one in schema.columns}:
        return schema
    arrow = pa.ipc.read_schema(pa.py_buffer(schema.arrow)).append(pa.field(name, pa.string()))
    columns = (*schema.columns, Column(name, str(pa.string())))
    return TableSchema(columns, arrow.serialize().to_pybytes())


def as_schema_policy(key: str, given: object, schema: object) -> SchemaPolicy:
    """The policy of asset `key`; for None the default, which depends on whether there is a schema.

    Raises:
        DefinitionError: there is no such policy, or it needs a declared schema.

    >>> as_schema_policy("orders", "widen", None)
    <SchemaPolicy.WIDEN: 'widen'>
    """
    if given is None:
        return SchemaPolicy.ADD_NULLABLE if schema is None else SchemaPolicy.FREEZE
    try:
        policy = SchemaPolicy(given)  # type: ignore[arg-type] # whatever a user wrote
    except ValueError:
        names = [str(one) for one in SchemaPolicy]
        near = nearest(str(given), names)
        raise DefinitionError(
            f"asset {key!r} has schema_policy={given!r}, which is not one of {', '.join(map(repr, names))}",
            hint=f"did you mean {near[0]!r}?" if near else None,
        ) from None
    if policy.is_closed and schema is None:
        raise DefinitionError(
            f"asset {key!r} has schema_policy={str(policy)!r}, but no schema that would say which columns it is about",
            hint='add schema=pa.schema({"id": pa.int64()}) or a pydantic model',
        )
    return policy


def _check_names(key: str, names: list[str]) -> None:
    if not names:
        raise DefinitionError(
            f"asset {key!r} has a schema without columns",
            hint="name at least one, or leave schema= out",
        )
    problem = column_name_problem(names)
    if problem is not None:
        told, hint = problem
        raise DefinitionError(f"asset {key!r} has a schema with {told}", hint=hint)


def _require_finite(where: str, model: type[BaseModel], within: tuple[type, ...]) -> None:
    """Raise DefinitionError if a model has itself in a field, however deep: a column's type ends somewhere."""
    for name, info in model.model_fields.items():
        here = f"{where}: field {name!r} of {model.__name__}"
        for one in _models_in(info.annotation):
            if one is model or one in within:
                raise _no_type(here, one, f"{one.__name__} has itself inside; {_SAY_SO}")
            _require_finite(here, one, (*within, model))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - whatever a user annotates with
    if any(type(one).__module__.startswith("pyarrow") for one in get_args(annotation)):
        return  # its Arrow type is given
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        yield annotation
    for one in get_args(annotation):
        yield from _models_in(one)


def _model_fields(key: str, model: type[BaseModel]) -> list[pa.Field]:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    fields = []
    for name, info in model.model_fields.items():
        annotation = info.annotation
        if info.metadata:
            annotation = Annotated[annotation, *info.metadata]  # type: ignore[assignment] # what typing calls a form
        kind, nullable = _arrow_type(
            f"asset {key!r}: field {name!r} of {model.__name__}", annotation
        )
        fields.append(pa.field(name, kind, nullable))
    return fields


def _arrow_type(where: str, annotation: Any) -> tuple[pa.DataType, bool]:  # noqa: ANN401 - whatever a user annotates with
    """The Arrow type of a field, and whether it may be null."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    marks: tuple[object, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *rest = get_args(annotation)
        marks = tuple(rest)
    arms = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else None
    if arms is not None:
        nullable = type(None) in arms
        others = [arm for arm in arms if arm is not type(None)]
        if len(others) == 1:
            inner = Annotated[others[0], *marks] if marks else others[0]
            return _arrow_type(where, inner)[0], nullable
        raise _no_type(where, annotation, "annotate it with one type, or one and None")
    for mark in marks:
        if isinstance(mark, pa.DataType):
            return mark, False
    return _plain_annotation(where, annotation, marks), False


def _plain_annotation(where: str, annotation: Any, marks: tuple[object, ...]) -> pa.DataType:  # noqa: ANN401 - as above
    import pyarrow as pa  # noqa: PLC0415 - heavy

    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _arrow_type(where, Annotated[annotation, *marks] if marks else annotation)[0]
    if (
        origin in {list, set, frozenset, tuple}
        and len([a for a in arguments if a is not ...]) == 1
    ):
        return pa.list_(_arrow_type(where, arguments[0])[0])
    if origin is dict and len(arguments) == 2:  # noqa: PLR2004 - of keys and values
        key, value = (_arrow_type(where, one)[0] for one in arguments)
        return pa.map_(key, value)
    if origin is Literal:
        (kind, *others) = {type(one) for one in arguments}
        if not others:
            return _class_type(where, kind, marks)
    if isinstance(annotation, type):
        return _class_type(where, annotation, marks)
    raise _no_type(where, annotation, _SAY_SO)


def _class_type(where: str, kind: type, marks: tuple[object, ...]) -> pa.DataType:
    from datetime import date, datetime, time, timedelta  # noqa: PLC0415 - only for models
    from decimal import Decimal  # noqa: PLC0415 - same
    from enum import Enum  # noqa: PLC0415 - same

    import pyarrow as pa  # noqa: PLC0415 - heavy

    if hasattr(kind, "model_fields"):
        return pa.struct(_model_fields(f"{where}: {kind.__name__}", kind))
    if issubclass(kind, Enum):
        values = {type(one.value) for one in kind}
        if len(values) == 1:
            return _class_type(where, values.pop(), marks)
        raise _no_type(where, kind, _SAY_SO)
    if issubclass(kind, Decimal):
        return _decimal(where, marks)
    if kind.__name__ in {"AwareDatetime", "NaiveDatetime"}:
        return pa.timestamp("us", tz="UTC" if kind.__name__ == "AwareDatetime" else None)
    if issubclass(kind, datetime):
        raise _no_type(
            where,
            kind,
            "a datetime may have a time zone or not: write pydantic.AwareDatetime or pydantic.NaiveDatetime",
        )
    known: tuple[tuple[type, pa.DataType], ...] = (
        (bool, pa.bool_()),
        (int, pa.int64()),
        (float, pa.float64()),
        (str, pa.string()),
        (bytes, pa.binary()),
        (date, pa.date32()),
        (time, pa.time64("us")),
        (timedelta, pa.duration("us")),
    )
    for python, arrow in known:
        if issubclass(kind, python):
            return arrow
    raise _no_type(where, kind, _SAY_SO)


def _decimal(where: str, marks: tuple[object, ...]) -> pa.DataType:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    found = {
        name: value
        for mark in marks
        for name in ("max_digits", "decimal_places")
        if isinstance(value := _limit(mark, name), int)
    }
    if len(found) < 2:  # noqa: PLR2004 - both of them
        raise _no_type(
            where,
            "Decimal",
            "say how many digits it has: Field(max_digits=12, decimal_places=2)",
        )
    if found["max_digits"] > _MOST_DIGITS:
        raise _no_type(
            where,
            f"Decimal with {found['max_digits']} digits",
            f"{_MOST_DIGITS} is the most that a column has",
        )
    return pa.decimal128(found["max_digits"], found["decimal_places"])


def _limit(mark: object, name: str) -> object:
    # A FieldInfo, where it annotates an inner type, keeps its limits one level down.
    for one in (mark, *getattr(mark, "metadata", ())):
        value = getattr(one, name, None)
        if value is not None:
            return value
    return None


_MOST_DIGITS = 38
_SAY_SO = "name its Arrow type: Annotated[…, pa.string()]"


def _no_type(where: str, annotation: object, hint: str) -> DefinitionError:
    shown = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return DefinitionError(f"{where} is {shown}, which stands for no one column type", hint=hint)
