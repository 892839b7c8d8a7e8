"""What each write mode answers, as plain data: the table in `docs/writing.md` is made from this, and `test_write_table.py` runs it on every IO manager.

A case is what was stored before, what a step returns, and what readers get then, or the message of the refusal. Partitions are days of
January 2025 in UTC; the asset is called orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa

from assets_core.model.specs import SCD2, Append, Merge, Replace
from tests.conformance.io_manager_suite import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets_core.model.specs import WriteMode


@dataclass(frozen=True)
class Write:
    """Rows returned for some days; for none of them, those of an asset without partitions."""

    days: tuple[int, ...]
    rows: pa.Table


@dataclass(frozen=True)
class Case:
    """`then` is what readers of all days (or of `read`) get, as a table, or the refusal's message; what was stored stays then."""

    name: str
    mode: WriteMode
    before: tuple[Write, ...]
    returned: Write
    then: pa.Table | str
    read: tuple[int, ...] = ()
    by: str | None = None
    schema: pa.Schema | None = None
    policy: str | None = None


def day(number: int, **columns: Sequence[object]) -> Write:
    """Rows returned for one day."""
    return Write((number,), table(**columns))


def days(first: int, last: int, **columns: Sequence[object]) -> Write:
    """Rows returned by one step for several days."""
    return Write(tuple(range(first, last + 1)), table(**columns))


def whole(**columns: Sequence[object]) -> Write:
    """Rows returned for an asset without partitions."""
    return Write((), table(**columns))


def jan(number: int) -> date:
    return date(2025, 1, number)


def instant(number: int, hour: int = 0) -> datetime:
    return datetime(2025, 1, number, hour, tzinfo=UTC)


def ints(*values: int | None, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array(values, kind or pa.int64())


def texts(*values: str | None) -> pa.Array:
    return pa.array(values, pa.string())


def dates(*values: date | None) -> pa.Array:
    return pa.array(values, pa.date32())


def instants(*values: datetime | None, zone: str | None = "UTC", unit: str = "us") -> pa.Array:
    return pa.array(values, pa.timestamp(unit, zone))


def versions(
    ids: Sequence[int], v: Sequence[str], start: Sequence[int], end: Sequence[int | None]
) -> pa.Table:
    """A history: per version the key, the value, and the days from which and up to which it was valid."""
    return table(
        id=ids,
        v=v,
        valid_from=instants(*map(instant, start)),
        valid_to=instants(*(None if one is None else instant(one) for one in end)),
        is_current=[one is None for one in end],
    )


def money(*values: str | None, digits: int = 12, scale: int = 2) -> pa.Array:
    return pa.array([v and Decimal(v) for v in values], pa.decimal128(digits, scale))


DROP = Replace(out_of_range="drop")
A, AB = day(1, id=[1], v=["a"]), whole(id=[1, 2], v=["a", "b"])

REPLACE = (
    Case(
        "a first run stores the returned rows",
        Replace(),
        (),
        day(1, id=[1, 2], v=["a", None]),
        table(id=[1, 2], v=["a", None]),
    ),
    Case(
        "a re-run leaves exactly the returned rows",
        Replace(),
        (day(1, id=[1, 2]),),
        day(1, id=[3]),
        table(id=[3]),
    ),
    Case("the same rows again double nothing", Replace(), (A,), A, A.rows),
    Case("equal rows are all kept", Replace(), (), day(1, id=[1, 1]), table(id=[1, 1])),
    Case(
        "other partitions stay",
        Replace(),
        (day(1, id=[1]), day(2, id=[2])),
        day(1, id=[3]),
        table(id=[3, 2]),
    ),
    Case(
        "zero rows clear the partition and leave others",
        Replace(),
        (day(1, id=[1]), day(2, id=[2])),
        day(1, id=ints()),
        table(id=[2]),
    ),
    Case(
        "an output without columns clears too",
        Replace(),
        (day(1, id=[1]), day(2, id=[2])),
        day(1),
        table(id=[2]),
    ),
    Case(
        "the only day, cleared without columns, keeps its columns",
        Replace(),
        (day(1, id=[1], v=["a"]),),
        day(1),
        table(id=ints(), v=pa.array([], pa.string())),
    ),
    Case(
        "a day without columns has those of the other days",
        Replace(),
        (day(1, id=[1]), day(2, id=[2])),
        day(3),
        table(id=ints()),
        read=(3,),
    ),
    Case(
        "a column to sort by must be there",
        Replace(sort_by=["day"]),
        (day(1, id=[1], day=[1]),),
        day(1, id=[2]),
        "orders: Replace(sort_by=…) names column 'day', and the returned rows have 'id'",
    ),
    Case(
        "sorting by a column is no other content",
        Replace(sort_by=["id"]),
        (day(1, id=[1]),),
        day(1, id=[3, None, 2]),
        table(id=[2, 3, None]),
    ),
    Case(
        "without partitions the whole table is swapped, columns and types included",
        Replace(),
        (whole(id=[1], old=["x"]),),
        whole(id=["one"], new=[2.5]),
        table(id=["one"], new=[2.5]),
    ),
    Case(
        "without partitions zero rows empty the table",
        Replace(),
        (AB,),
        whole(id=ints(), v=texts()),
        table(id=ints(), v=texts()),
    ),
    Case(
        "a date column tells days apart",
        Replace(),
        (),
        days(1, 3, day=[jan(3), jan(1)], n=[30, 10]),
        table(day=[jan(1)], n=[10]),
        by="day",
        read=(1, 2),
    ),
    Case(
        "an instant column tells days apart, whatever its zone",
        Replace(),
        (),
        days(1, 2, at=instants(instant(1, 23), instant(2, 1), zone="Asia/Tokyo"), n=[1, 2]),
        table(at=instants(instant(1, 23)), n=[1]),
        by="at",
        read=(1,),
    ),
    Case(
        "a re-run of one day of several leaves the others",
        Replace(),
        (days(1, 2, day=[jan(1), jan(2)], n=[1, 2]),),
        day(2, day=[jan(2)], n=[20]),
        table(day=[jan(1), jan(2)], n=[1, 20]),
        by="day",
    ),
    Case(
        "a row outside the step's partitions is refused",
        Replace(),
        (day(1, day=[jan(1)], n=[1]),),
        day(1, day=[jan(1), jan(2)], n=[3, 4]),
        "orders: 1 row outside partition 2025-01-01 by 'day', for instance day = 2025-01-02",
        by="day",
    ),
    Case(
        "a null in the partition column is outside",
        Replace(),
        (),
        day(1, day=dates(None), n=[1]),
        "orders: 1 row outside partition 2025-01-01 by 'day', for instance day = NULL",
        by="day",
    ),
    Case(
        "rows outside are dropped if wanted",
        DROP,
        (day(2, day=[jan(2)], n=[2]),),
        day(1, day=dates(jan(1), jan(2), None), n=[1, 9, 9]),
        table(day=[jan(1), jan(2)], n=[1, 2]),
        by="day",
    ),
    Case(
        "a missing partition column is refused",
        Replace(),
        (),
        day(1, days=[jan(1)], n=[1]),
        "orders: partition_by names column 'day', and the returned rows have 'days', 'n'",
        by="day",
    ),
    Case(
        "text tells no days apart",
        Replace(),
        (),
        day(1, day=["2025-01-01"]),
        "orders: partition_by column 'day' is text, and the partitions are windows of time",
        by="day",
    ),
    Case(
        "a number tells no days apart",
        Replace(),
        (),
        day(1, day=[20250101]),
        "orders: partition_by column 'day' is int64; it takes a DATE or timestamp column to tell the partitions apart",
        by="day",
    ),
    Case(
        "several days in one step need a column that tells them apart",
        Replace(),
        (),
        days(1, 2, id=[1, 2]),
        "orders: 2 partitions in one step, and nothing tells their rows apart",
    ),
)

APPEND = (
    Case(
        "loads of several days stand side by side",
        Append(),
        (day(1, id=[1, 2]),),
        day(2, id=[2, 3]),
        table(id=[1, 2, 2, 3]),
    ),
    Case(
        "a re-run first removes what the same day had loaded",
        Append(),
        (day(1, id=[1]), day(2, id=[2])),
        day(2, id=[3]),
        table(id=[1, 3]),
    ),
    Case(
        "a late row keeps its own place in time, and a re-run does not double it",
        Append(),
        (day(1, on=[jan(1)], n=[1]), day(2, on=[jan(1)], n=[2])),
        day(2, on=[jan(1)], n=[2]),
        table(on=[jan(1), jan(1)], n=[1, 2]),
    ),
    Case(
        "a load of zero rows removes what that day had loaded",
        Append(),
        (day(1, id=[1]), day(2, id=[2])),
        day(2, id=ints()),
        table(id=[1]),
    ),
    Case(
        "without partitions nothing tells loads apart",
        Append(),
        (),
        whole(id=[1]),
        "Append needs partitions: without them nothing tells one load from another, and a re-run would add its rows again; use Replace, or Merge with keys",
    ),
    Case(
        "several days in one step can't be told apart",
        Append(),
        (),
        days(1, 2, day=[jan(1), jan(2)]),
        "orders: 2 partitions in one step, and nothing tells their rows apart",
        by="day",
    ),
)

BY_ID = Merge(keys=["id"])
PER_DAY = Merge(keys=["id"], scope="partition")
NEWER = Merge(keys=["id"], order_by="n")
LATEST = Merge(keys=["id"], order_by="n", on_duplicate="latest")
GONE = Merge(keys=["id"], order_by="n", delete_when="gone")

MERGE = (
    Case(
        "new keys come, known keys change, others stay",
        BY_ID,
        (AB,),
        whole(id=[2, 3], v=["B", "c"]),
        table(id=[1, 2, 3], v=["a", "B", "c"]),
    ),
    Case("the same rows again change nothing", BY_ID, (AB,), AB, AB.rows),
    Case("no rows change nothing", BY_ID, (AB,), whole(id=ints(), v=texts()), AB.rows),
    Case("no columns change nothing", BY_ID, (AB,), whole(), AB.rows),
    Case(
        "keys of two columns count together",
        Merge(keys=["a", "b"]),
        (whole(a=[1, 1], b=["x", "y"], v=[1, 2]),),
        whole(a=[1, 2], b=["y", "x"], v=[3, 4]),
        table(a=[1, 1, 2], b=["x", "y", "x"], v=[1, 3, 4]),
    ),
    Case(
        "a value may become null",
        BY_ID,
        (AB,),
        whole(id=[1], v=texts(None)),
        table(id=[1, 2], v=[None, "b"]),
    ),
    Case(
        "a null key is refused",
        BY_ID,
        (AB,),
        whole(id=ints(None, 1, None), v=["x", "y", "z"]),
        "orders: 2 rows have no value in key column 'id'",
    ),
    Case(
        "a null in one of two keys is refused",
        Merge(keys=["a", "b"]),
        (),
        whole(a=[1, 1], b=texts("x", None)),
        "orders: 1 row has no value in key column 'b'",
    ),
    Case(
        "a key returned twice is refused",
        BY_ID,
        (AB,),
        whole(id=[1, 2, 1], v=["x", "y", "z"]),
        "orders: 1 key of Merge(keys=['id']) returned more than once, for instance id = 1",
    ),
    Case(
        "a key returned twice is refused with an order too, unless told otherwise",
        NEWER,
        (),
        whole(id=[1, 1], n=[1, 2]),
        "orders: 1 key of Merge(keys=['id']) returned more than once, for instance id = 1",
    ),
    Case(
        "a missing key column is refused",
        BY_ID,
        (),
        whole(ids=[1], v=["a"]),
        "orders: Merge(keys=…) names column 'id', and the returned rows have 'ids', 'v'",
    ),
    Case(
        "a missing order column is refused",
        NEWER,
        (),
        whole(id=[1]),
        "orders: Merge(order_by=…) names column 'n', and the returned rows have 'id'",
    ),
    Case(
        "the latest of a key wins if wanted, and a null is the oldest",
        LATEST,
        (),
        whole(id=[1, 2, 1, 1], n=ints(1, 2, 3, None)),
        table(id=[1, 2], n=[3, 2]),
    ),
    Case(
        "a tie of latest rows is refused",
        LATEST,
        (),
        whole(id=[1, 1, 1], n=[3, 1, 3], v=["x", "y", "z"]),
        "orders: 1 key of Merge with several latest rows by 'n', for instance id = 1, n = 3",
    ),
    Case(
        "an older row never overwrites a newer one",
        NEWER,
        (whole(id=[1, 2], n=[5, 5], v=["new", "new"]),),
        whole(id=[1, 2], n=[4, 6], v=["old", "newer"]),
        table(id=[1, 2], n=[5, 6], v=["new", "newer"]),
    ),
    Case(
        "a row without an order never overwrites one with it, and the other way round does",
        NEWER,
        (whole(id=[1, 2], n=ints(5, None), v=["some", "none"]),),
        whole(id=[1, 2], n=ints(None, 1), v=["none", "some"]),
        table(id=[1, 2], n=[5, 1], v=["some", "some"]),
    ),
    Case(
        "of equally old rows the one written later wins",
        NEWER,
        (whole(id=[1], n=[5], v=["first"]),),
        whole(id=[1], n=[5], v=["second"]),
        table(id=[1], n=[5], v=["second"]),
    ),
    Case(
        "a deletion removes its key and is not stored; a null is no deletion",
        GONE,
        (whole(id=[1, 2], n=[1, 1], gone=[False, False]),),
        whole(id=[1, 2, 3], n=[2, 2, 2], gone=[True, None, True]),
        pa.table({"id": [2], "n": [2], "gone": pa.array([None], pa.bool_())}),
    ),
    Case(
        "an older deletion removes nothing",
        GONE,
        (whole(id=[1], n=[5], gone=[False]),),
        whole(id=[1], n=[4], gone=[True]),
        table(id=[1], n=[5], gone=[False]),
    ),
    Case(
        "a condition that is not one is refused",
        Merge(keys=["id"], delete_when="id"),
        (),
        whole(id=["a"]),
        "orders: Merge(delete_when='id') is VARCHAR, not true or false",
    ),
    Case(
        "columns of either side only are null on the other",
        BY_ID,
        (whole(id=[1, 2], old=["a", "b"]),),
        whole(id=[2, 3], new=["x", "y"]),
        table(id=[1, 2, 3], old=["a", None, None], new=[None, "x", "y"]),
    ),
    Case(
        "another type than the stored one is refused",
        BY_ID,
        (whole(id=[1], v=[1]),),
        whole(id=[1], v=[2.5]),
        "orders: column 'v' is double in the returned rows and int64 where they are stored; values are never cast silently",
    ),
    Case(
        "a key that comes again on a later day moves there",
        BY_ID,
        (day(1, id=[1, 2], v=["a", "b"]),),
        day(2, id=[2, 3], v=["B", "c"]),
        table(id=[1], v=["a"]),
        read=(1,),
    ),
    Case(
        "with a partition column a row lies where it says",
        BY_ID,
        (days(1, 2, id=[1, 2], day=[jan(1), jan(2)]),),
        day(2, id=[1], day=[jan(2)]),
        table(id=[1, 2], day=[jan(2), jan(2)]),
        by="day",
    ),
    Case(
        "a key of its partition leaves that of another day alone",
        PER_DAY,
        (day(1, id=[1, 2], v=["a", "b"]),),
        day(2, id=[2], v=["B"]),
        table(id=[1, 2, 2], v=["a", "b", "B"]),
    ),
    Case(
        "a re-run merges into what its partition has",
        PER_DAY,
        (day(1, id=[1, 2], v=["a", "b"]), day(2, id=[1], v=["x"])),
        day(1, id=[2, 3], v=["B", "c"]),
        table(id=[1, 2, 3, 1], v=["a", "B", "c", "x"]),
    ),
    Case(
        "one key twice in a step is fine on two days",
        PER_DAY,
        (),
        days(1, 2, day=[jan(1), jan(2)], id=[1, 1]),
        table(day=[jan(1), jan(2)], id=[1, 1]),
        by="day",
    ),
    Case(
        "one key twice on one day is refused",
        PER_DAY,
        (),
        days(1, 2, day=[jan(1), jan(1)], id=[1, 1]),
        "orders: 1 key of Merge(keys=['id']) returned more than once, for instance id = 1",
        by="day",
    ),
    Case(
        "a merged row outside the step's partitions is refused",
        PER_DAY,
        (),
        day(2, day=[jan(1)], id=[1]),
        "orders: 1 row outside partition 2025-01-02 by 'day', for instance day = 2025-01-01",
        by="day",
    ),
)

HISTORY = SCD2(keys=["id"], track=["v"])
SNAPSHOTS = SCD2(keys=["id"], on_absent="close")
DATED = SCD2(keys=["id"], track=["v"], effective="at")
THREE_DAYS = tuple(day(n, id=[1], v=[v]) for n, v in zip((1, 2, 3), "abc", strict=True))

SCD2_CASES = (
    Case(
        "a change ends a version and begins another",
        HISTORY,
        (day(1, id=[1, 2], v=["a", "x"]),),
        day(2, id=[1], v=["b"]),
        versions([1, 1, 2], ["a", "b", "x"], [1, 2, 1], [2, None, None]),
    ),
    Case(
        "an unchanged row begins no version",
        HISTORY,
        (A,),
        day(2, id=[1], v=["a"]),
        versions([1], ["a"], [1], [None]),
    ),
    Case(
        "a column that is not tracked shows its last value",
        HISTORY,
        (day(1, id=[1], v=["a"], n=[1]),),
        day(2, id=[1], v=["a"], n=[2]),
        table(
            id=[1],
            v=["a"],
            n=[2],
            valid_from=instants(instant(1)),
            valid_to=instants(None),
            is_current=[True],
        ),
    ),
    Case(
        "a past day that runs again rewinds and replays",
        HISTORY,
        THREE_DAYS,
        day(2, id=[1], v=["a"]),
        versions([1, 1], ["a", "c"], [1, 3], [3, None]),
    ),
    Case(
        "a day that comes late takes its place",
        HISTORY,
        (THREE_DAYS[0], THREE_DAYS[2]),
        THREE_DAYS[1],
        versions([1, 1, 1], ["a", "b", "c"], [1, 2, 3], [2, 3, None]),
    ),
    Case(
        "reading a day is the history as of then",
        HISTORY,
        THREE_DAYS[:2],
        THREE_DAYS[2],
        versions([1, 1], ["a", "b"], [1, 2], [2, None]),
        read=(2,),
    ),
    Case(
        "a key that a day does not have stays as it is",
        HISTORY,
        (day(1, id=[1, 2], v=["a", "x"]),),
        day(2, id=ints(), v=texts()),
        versions([1, 2], ["a", "x"], [1, 1], [None, None]),
    ),
    Case(
        "a key that a snapshot does not have ends",
        SNAPSHOTS,
        (day(1, id=[1, 2], v=["a", "x"]),),
        day(2, id=[1], v=["a"]),
        versions([1, 2], ["a", "x"], [1, 1], [None, 2]),
    ),
    Case("an empty snapshot ends all", SNAPSHOTS, (A,), day(2), versions([1], ["a"], [1], [2])),
    Case(
        "a key may come back",
        SNAPSHOTS,
        (A, day(2, id=ints(), v=texts())),
        day(3, id=[1], v=["a"]),
        versions([1, 1], ["a", "a"], [1, 3], [2, None]),
    ),
    Case(
        "a column says since when, and a day may bring several changes of one key",
        DATED,
        (day(2, id=[1, 1], v=["a", "c"], at=[jan(1), jan(3)]),),
        day(3, id=[1], v=["b"], at=[jan(2)]),
        table(
            id=[1, 1, 1],
            v=["a", "b", "c"],
            at=[jan(1), jan(2), jan(3)],
            valid_from=[jan(1), jan(2), jan(3)],
            valid_to=[jan(2), jan(3), None],
            is_current=[False, False, True],
        ),
    ),
    Case(
        "a change that is told in advance is not there before its day",
        DATED,
        (day(1, id=[1], v=["a"], at=[jan(1)]),),
        day(2, id=[1], v=["b"], at=[jan(3)]),
        table(
            id=[1],
            v=["a"],
            at=[jan(1)],
            valid_from=[jan(1)],
            valid_to=pa.array([None], pa.date32()),
            is_current=[True],
        ),
        read=(2,),
    ),
    Case(
        "a key returned twice is refused in a history",
        HISTORY,
        (),
        day(1, id=[1, 1], v=["a", "b"]),
        "orders: 1 key of SCD2(keys=['id']) returned more than once, for instance id = 1",
    ),
    Case(
        "a null key is refused in a history",
        HISTORY,
        (),
        day(1, id=ints(None), v=["a"]),
        "orders: 1 row has no value in key column 'id'",
    ),
    Case(
        "a null in the effective column is refused",
        DATED,
        (),
        day(1, id=[1], v=["a"], at=dates(None)),
        "orders: 1 row has no value in effective column 'at'",
    ),
    Case(
        "an effective column that is no time is refused",
        DATED,
        (),
        day(1, id=[1], v=["a"], at=["today"]),
        "orders: SCD2(effective='at') is string, neither a date nor a timestamp",
    ),
    Case(
        "a missing tracked column is refused",
        HISTORY,
        (),
        day(1, id=[1]),
        "orders: SCD2(track=…) names column 'v', and the returned rows have 'id'",
    ),
    Case(
        "a column of the name of one that a history adds is refused",
        HISTORY,
        (),
        day(1, id=[1], v=["a"], valid_to=dates(None)),
        "orders: SCD2 adds a column 'valid_to', and the returned rows have one",
    ),
)
