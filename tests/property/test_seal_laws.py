"""The checksum of a Parquet footer is found wherever the rest of the footer says its name as well."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from io_managers.parquet_rows import write_file
from io_managers.parquet_seal import FIELD, UNSEALED, DamagedFooterError, checked_metadata

_PIECES = [FIELD, UNSEALED, f"{FIELD}\x18\x08{UNSEALED}", FIELD[:-1], "\x18\x08", "x", ""]
sayings = st.lists(st.sampled_from(_PIECES), max_size=4).map("".join)


@settings(max_examples=40, deadline=None)
@given(values=st.lists(sayings, max_size=3), name=sayings, key=sayings)
@example(values=[f"{FIELD}\x18\x08{UNSEALED}"], name=FIELD, key=f"{FIELD}\x18\x08{UNSEALED}")
def test_a_seal_holds_whatever_names_statistics_and_keys_say(
    values: list[str], name: str, key: str
) -> None:
    rows = pa.table({name or "a": pa.array(values, pa.string())})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.parquet")
        fields = {"partita.partition": key}
        write_file(str(path), rows.schema, iter(rows.to_batches()), fields)
        whole = path.read_bytes()
        found = checked_metadata(pa.OSFile(str(path)))
        assert found.metadata[b"partita.partition"].decode() == key
        assert found.metadata[FIELD.encode()] != UNSEALED.encode(), "nothing else was sealed"
        assert found.num_rows == len(values)
        # The first byte of the footer says the version, which no reader minds; only the checksum does.
        start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
        changed = whole[: start + 1] + bytes([whole[start + 1] ^ 4]) + whole[start + 2 :]
        with pytest.raises(DamagedFooterError):
            checked_metadata(pa.BufferReader(changed))
