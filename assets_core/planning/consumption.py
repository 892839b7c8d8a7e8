"""What a partition was made from, as one fingerprint of data versions: whether inputs that were written since are what they were then.

Counters say that an input changed, not that it differs: rows that went from A to B and back to A carry a later counter. An asset with
`compare_input_versions` also records the data versions that each partition was made from; where the counters call an input changed, the
fingerprint of now is compared with the recorded one. Pure: recorded versions are passed in as a function, and asked for only there.

A version that is not known (nothing was published, rows of a failed attempt may be visible) makes the whole fingerprint unknown, and
an unknown one equals nothing: then the counters decide alone. Inputs whose mapping does not trigger are left out of both.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from assets_core.model.records import DataVersions
    from assets_core.planning.columns import PartitionFacts
    from assets_core.planning.staleness import BoundDependency, Facts

    Ints = NDArray[np.int64]


_DIGEST_BYTES = 16


def consumed_versions(
    facts: Facts, bound: Sequence[BoundDependency], slots: Sequence[int]
) -> list[str | None]:
    """Per slot, the fingerprint of the data versions that it would be made from now; None where one of them is not known."""
    edges = [edge for edge in bound if edge.dependency.mapping.triggers]
    read = [[edge.mapped.upstream_slots(slot) for slot in slots] for edge in edges]
    texts: list[list[str] | None] = [[] for _ in slots]
    for edge, pieces in zip(edges, read, strict=True):
        upstream = edge.dependency.upstream
        ids = facts.indexes[upstream].ids
        wanted = np.unique(np.concatenate(pieces)) if pieces else np.zeros(0, dtype=np.int64)
        known = facts.data_versions(upstream, ids[wanted].tolist())
        for place, piece in enumerate(pieces):
            texts[place] = _added(texts[place], edge.dependency.text(), ids[piece], known)
    return [None if lines is None else _digest(lines) for lines in texts]


def with_unchanged_inputs(
    facts: Facts,
    asset: str,
    own: PartitionFacts,
    bound: Sequence[BoundDependency],
    data_seq_of: Callable[[str], Ints],
) -> PartitionFacts:
    """The facts with `read_seq` moved up to now where inputs carry the data versions that were consumed, whatever their counters say.

    `data_seq_of` gives the column of an upstream asset. Asks for versions of those partitions only whose inputs were written since.
    """
    written = np.zeros(len(own.due), dtype=np.bool_)
    for edge in bound:
        if edge.dependency.mapping.triggers:
            newest = edge.mapped.max_upstream(data_seq_of(edge.dependency.upstream))
            written |= newest > own.read_seq
    slots = np.flatnonzero(written & (own.seq > 0))
    if not slots.size:
        return own
    ids = facts.indexes[asset].ids
    recorded = facts.data_versions(asset, ids[slots].tolist())
    now = consumed_versions(facts, bound, slots.tolist())
    same = [
        fingerprint is not None
        and (past := recorded.get(int(ids[slot]))) is not None
        and past.consumed == fingerprint
        for slot, fingerprint in zip(slots, now, strict=True)
    ]
    read_seq = own.read_seq.copy()
    read_seq[slots[np.asarray(same, dtype=np.bool_)]] = facts.state.seq
    return own.per_slot(read_seq=read_seq)


def _added(
    lines: list[str] | None, edge: str, ids: Ints, known: Mapping[int, DataVersions]
) -> list[str] | None:
    """The lines with those of one edge; None if a version is not known."""
    if lines is None:
        return None
    for partition_id in ids.tolist():
        found = known.get(partition_id)
        if found is not None and found.own is None:
            return None
        # An absent partition is something that was read, too: it may be there the next time.
        lines.append(f"{edge}\0{partition_id}\0{'' if found is None else found.own}")
    return lines


def _digest(lines: Sequence[str]) -> str:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for line in lines:
        encoded = line.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()
