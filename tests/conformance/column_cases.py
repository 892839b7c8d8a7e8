"""What becomes of columns and their types, as plain data, like `write_cases`: declared and stored schemas under each policy."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa

from assets_core.model.specs import Merge, Replace
from tests.conformance.io_manager_suite import table
from tests.conformance.write_cases import (
    Case,
    Write,
    dates,
    day,
    instant,
    instants,
    ints,
    jan,
    money,
    texts,
    whole,
)

ANY = Replace()
TWO = pa.schema({"id": pa.int64(), "v": pa.string()})
REQUIRED = pa.schema([pa.field("id", pa.int64(), nullable=False)])
BERLIN = pa.schema({"at": pa.timestamp("us", "Europe/Berlin")})
NAIVE = pa.schema({"at": pa.timestamp("us")})
PRICE = pa.schema({"price": pa.decimal128(12, 2)})
NESTED = pa.schema({"v": pa.struct([("x", pa.int64())])})
LISTS = pa.schema({"v": pa.list_(pa.int64())})
INT32 = pa.int32()
NOON = instant(1, 12)
ONE = day(1, id=[1], v=["a"])


def declared(
    name: str,
    returned: Write,
    then: pa.Table | str,
    *,
    schema: pa.Schema = TWO,
    policy: str = "freeze",
    before: tuple[Write, ...] = (),
) -> Case:
    return Case(name, ANY, before, returned, then, schema=schema, policy=policy)


NAMES = tuple(
    Case(name, ANY, (), returned, then)
    for name, returned, then in (
        (
            "a reserved name is refused",
            day(1, _partition=["x"]),
            "orders: the rows have column '_partition', a reserved name",
        ),
        (
            "a reserved name in capitals is refused",
            day(1, _PARTITION=["x"]),
            "orders: the rows have column '_PARTITION', a reserved name",
        ),
        (
            "a name of Partita's own is refused",
            day(1, _partita_slot=[1]),
            "orders: the rows have column '_partita_slot', a reserved name",
        ),
        (
            "names that differ only by case are refused",
            day(1, Id=[1], id=[2]),
            "orders: the rows have column 'id' and 'Id', which differ only by case",
        ),
        (
            "a name that is there twice is refused",
            Write(
                (1,),
                pa.Table.from_arrays([ints(1), ints(2)], names=["id", "id"]),
            ),
            "orders: the rows have column 'id' twice",
        ),
    )
)

OPEN = (
    Case(
        "a new column is null in older rows",
        ANY,
        (day(1, id=[1]),),
        day(2, id=[2], v=["b"]),
        table(id=[1, 2], v=[None, "b"]),
    ),
    Case(
        "a missing column is null",
        ANY,
        (ONE,),
        day(2, id=[2]),
        table(id=[1, 2], v=["a", None]),
    ),
    Case(
        "columns in another order and case are the same columns",
        ANY,
        (ONE,),
        day(2, V=["b"], ID=[2]),
        table(id=[1, 2], v=["a", "b"]),
    ),
    Case(
        "a column of nulls takes the type of the first values",
        ANY,
        (day(1, id=[1], on=[None]),),
        day(2, id=[2], on=[jan(2)]),
        table(id=[1, 2], on=dates(None, jan(2))),
    ),
    Case(
        "a dictionary column is what it holds",
        ANY,
        (),
        day(1, v=texts("x", None, "x").dictionary_encode()),
        table(v=texts("x", None, "x")),
    ),
    Case(
        "large text is text",
        ANY,
        (),
        day(1, v=pa.array(["x"], pa.large_string())),
        table(v=texts("x")),
    ),
    Case(
        "nested values come back as they went",
        ANY,
        (),
        day(1, v=[{"x": 1, "y": ["a", None]}, None]),
        table(v=[{"x": 1, "y": ["a", None]}, None]),
    ),
    Case(
        "an instant in another zone is the same instant",
        ANY,
        (day(1, at=instants(NOON)),),
        day(2, at=instants(instant(2), zone="America/Lima")),
        table(at=instants(NOON, instant(2))),
    ),
    Case(
        "a column of nulls only takes a type in a merge too",
        Merge(keys=["id"]),
        (whole(id=[1], v=[None]),),
        whole(id=[2], v=["b"]),
        table(id=[1, 2], v=[None, "b"]),
    ),
)

WIDEN = (
    *(
        Case(name, ANY, (day(1, v=old),), day(2, v=new), table(v=both), policy="widen")
        for name, old, new, both in (
            ("an integer grows", ints(1, kind=INT32), ints(2**40), ints(1, 2**40)),
            (
                "a narrower integer is taken in",
                ints(2**40),
                ints(1, kind=INT32),
                ints(2**40, 1),
            ),
            (
                "an unsigned and a signed integer meet in a larger one",
                ints(2**32 - 1, kind=pa.uint32()),
                ints(-1, kind=INT32),
                ints(2**32 - 1, -1),
            ),
            (
                "a float grows",
                pa.array([1.5], pa.float32()),
                pa.array([0.1]),
                pa.array([1.5, 0.1]),
            ),
            (
                "decimals keep all digits of both",
                money("999.99", digits=5),
                money("123456", digits=6, scale=0),
                money("999.99", "123456.00", digits=8),
            ),
            (
                "integers inside of lists grow",
                pa.array([[1]], pa.list_(INT32)),
                pa.array([[2**40]]),
                pa.array([[1], [2**40]]),
            ),
            (
                "integers inside of structs grow",
                pa.array([{"x": 1}], pa.struct([("x", INT32)])),
                pa.array([{"x": 2**40}]),
                pa.array([{"x": 1}, {"x": 2**40}]),
            ),
        )
    ),
    *(
        Case(
            name,
            Merge(keys=["id"]),
            (whole(id=[1], v=old),),
            whole(id=[1], v=new),
            f"orders: column 'v' is {new.type} in the returned rows and {old.type} where they are stored; values are never cast silently",
            policy="widen",
        )
        for name, old, new in (
            ("an integer never becomes a float", ints(1), pa.array([2.6])),
            ("nothing becomes text", ints(1), texts("1")),
            ("a date is no instant", dates(jan(1)), instants(instant(1), zone=None)),
            ("a truth value is no number", pa.array([True]), ints(1)),
        )
    ),
    Case(
        "a merge widens what is there",
        Merge(keys=["id"]),
        (whole(id=[1, 2], v=ints(1, 2, kind=INT32)),),
        whole(id=[2], v=[2**40]),
        table(id=[1, 2], v=[1, 2**40]),
        policy="widen",
    ),
)

DECLARED = (
    declared(
        "declared order and spelling come back",
        day(1, V=["a"], Id=[1]),
        table(id=[1], v=["a"]),
    ),
    declared(
        "a missing column is refused",
        day(1, id=[2]),
        "orders: column 'v' (string) is missing",
        before=(ONE,),
    ),
    declared(
        "a column too many is refused",
        day(1, id=[2], v=["b"], more=[1]),
        "orders: column 'more' (int64) is not in the schema",
        before=(ONE,),
    ),
    declared(
        "a narrower type is refused",
        day(1, id=ints(2, kind=INT32), v=["b"]),
        "orders: column 'id' is int32 in the returned rows, and the schema says int64",
        before=(ONE,),
    ),
    declared(
        "every column that does not fit is named",
        day(1, id=["x"]),
        "orders: column 'id' is string in the returned rows, and the schema says int64; column 'v' (string) is missing",
    ),
    declared(
        "an empty output has the declared columns",
        day(1),
        table(id=ints(), v=texts()),
    ),
    declared(
        "a column of nulls has its declared type",
        day(1, id=[1], v=[None]),
        table(id=[1], v=texts(None)),
    ),
    declared(
        "a declared dictionary column is what it holds",
        day(1, id=[1], v=texts("a").dictionary_encode()),
        table(id=[1], v=["a"]),
    ),
    declared(
        "a column too many is added",
        day(2, id=[2], v=["b"], more=[1]),
        table(id=[1, 2], v=["a", "b"], more=[None, 1]),
        policy="add_nullable",
        before=(ONE,),
    ),
    declared(
        "a declared column that is missing is null",
        day(1, id=[1]),
        table(id=[1], v=texts(None)),
        policy="add_nullable",
    ),
    declared(
        "a type is not widened unless the policy says so",
        day(1, id=ints(1, kind=INT32), v=["a"]),
        "orders: column 'id' is int32 in the returned rows, and the schema says int64",
        policy="add_nullable",
    ),
    declared(
        "a narrower type is taken in under the declared one",
        day(1, id=ints(1, kind=INT32), v=["a"]),
        table(id=[1], v=["a"]),
        policy="widen",
    ),
    declared(
        "a cast that could lose something is refused",
        day(1, id=[1.0], v=["a"]),
        "orders: column 'id' is double in the returned rows, and the schema says int64",
        policy="widen",
    ),
    declared(
        "what is not declared is left out",
        day(1, id=[1], secret=["x"]),
        table(id=[1], v=texts(None)),
        policy="discard",
    ),
    declared(
        "discarding casts nothing",
        day(1, id=["1"], v=["a"]),
        "orders: column 'id' is string in the returned rows, and the schema says int64",
        policy="discard",
    ),
    declared(
        "a null is refused where none may be",
        day(1, id=ints(1, None, None)),
        "orders: column 'id' is declared as not null, and 2 rows have no value in it",
        schema=REQUIRED,
        policy="add_nullable",
    ),
    declared(
        "a required column can't be left out under any policy",
        day(1, other=[1]),
        "orders: column 'id' (int64) is missing",
        schema=REQUIRED,
        policy="discard",
    ),
    declared(
        "an instant comes back in the declared zone",
        day(1, at=instants(NOON, zone="America/Lima")),
        table(at=instants(NOON, zone="Europe/Berlin")),
        schema=BERLIN,
    ),
    declared(
        "a timestamp without a zone is no instant",
        day(1, at=instants(NOON.replace(tzinfo=None), zone=None)),
        "orders: column 'at' is timestamp[us] in the returned rows, and the schema says timestamp[us, tz=Europe/Berlin]",
        schema=BERLIN,
        policy="widen",
    ),
    declared(
        "an instant is no wall clock",
        day(1, at=instants(NOON)),
        "orders: column 'at' is timestamp[us, tz=UTC] in the returned rows, and the schema says timestamp[us]",
        schema=NAIVE,
        policy="widen",
    ),
    declared(
        "seconds are taken in as microseconds",
        day(1, at=instants(datetime(2025, 1, 1, 12, tzinfo=UTC), zone="UTC", unit="s")),
        table(at=instants(NOON, zone="Europe/Berlin")),
        schema=BERLIN,
        policy="widen",
    ),
    declared(
        "decimals keep every digit",
        day(1, price=money("1234567890.12", "-0.01", None)),
        table(price=money("1234567890.12", "-0.01", None)),
        schema=PRICE,
    ),
    declared(
        "fewer digits are another type",
        day(1, price=pa.array([Decimal("1.5")], pa.decimal128(5, 1))),
        "orders: column 'price' is decimal128(5, 1) in the returned rows, and the schema says decimal128(12, 2)",
        schema=PRICE,
    ),
    declared(
        "fewer digits are taken in",
        day(1, price=pa.array([Decimal("1.5")], pa.decimal128(5, 1))),
        table(price=money("1.50")),
        schema=PRICE,
        policy="widen",
    ),
    declared(
        "a decimal never comes from a float",
        day(1, price=[1.5]),
        "orders: column 'price' is double in the returned rows, and the schema says decimal128(12, 2)",
        schema=PRICE,
        policy="widen",
    ),
    declared(
        "a struct with another part is another type",
        day(1, v=[{"x": 1, "y": 2}]),
        "orders: column 'v' is struct<x: int64, y: int64> in the returned rows, and the schema says struct<x: int64>",
        schema=NESTED,
        policy="widen",
    ),
    declared(
        "lists of nulls and empty lists have their declared type",
        day(1, v=[[], [None], None]),
        table(v=pa.array([[], [None], None], pa.list_(pa.int64()))),
        schema=LISTS,
    ),
)

COLUMN_CASES = (*NAMES, *OPEN, *WIDEN, *DECLARED)
