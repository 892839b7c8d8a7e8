"""Each key once: found by ticking off numbers of a sequence, or by a query, and the answer is the same."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets_core.model.errors import DataError
from assets_core.model.specs import Merge
from io_managers.row_keys import rows_to_keep
from io_managers.workbench import Workbench
from tests.conformance.io_manager_suite import target

BENCH = Workbench()
INTEGERS = {
    pa.int8(): (-(2**7), 2**7 - 1),
    pa.int32(): (-(2**31), 2**31 - 1),
    pa.int64(): (-(2**63), 2**63 - 1),
    pa.uint64(): (0, 2**64 - 1),
}


@given(st.data(), st.sampled_from(list(INTEGERS)), st.booleans())
def test_a_number_that_is_there_twice_is_refused_and_no_other(
    data: st.DataObject, kind: pa.DataType, near: bool
) -> None:
    low, high = INTEGERS[kind]
    if near:
        low = data.draw(st.integers(low, high - 9))
        high = low + 9
    ids = data.draw(st.lists(st.integers(low, high), min_size=2, max_size=12))
    chunks = [pa.array(ids[:5], kind), pa.array(ids[5:], kind)]
    rows = pa.table({"id": pa.chunked_array(chunks)})
    repeated = sum(count > 1 for count in Counter(ids).values())
    if not repeated:
        assert rows_to_keep(BENCH, target(Merge(keys=["id"])), rows) is None
        return
    with pytest.raises(DataError, match=f"{repeated} keys? of Merge"):
        rows_to_keep(BENCH, target(Merge(keys=["id"])), rows)


def test_keys_of_several_columns_are_compared_together() -> None:
    rows = pa.table({"id": [1, 1, 2], "shop": ["a", "b", "a"]})
    assert rows_to_keep(BENCH, target(Merge(keys=["id", "shop"])), rows) is None
    with pytest.raises(DataError, match="1 key of Merge"):
        rows_to_keep(BENCH, target(Merge(keys=["id"])), rows)
