"""A process that records in a loop until it is killed or done, and says on its output what the store acknowledged.

Run as `python -m tests.crash.state_store_writer FILE-OR-ADDRESS NAME TRANSACTIONS [DUE]`; one JSON line per acknowledged transaction, with the seconds that it and its claim
took. With DUE,
the log is folded into small chunks whenever so many rows are not.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime

from assets_core.model.io_manager import WriteReceipt
from assets_core.model.records import (
    AssetVersions,
    RecordedSuccess,
    RunKind,
    RunRecord,
    RunStatus,
    StepClaim,
    StepSucceeded,
)
from assets_core.state.postgres import PostgresStore
from assets_core.state.postgres_address import is_address
from assets_core.state.sql_store import DEFAULT_FOLDING, Folding, SqlStore
from assets_core.state.sqlite import SqliteStore

NOW = datetime(2025, 3, 1, tzinfo=UTC)
SPACE = "day|UTC|+00:00"


def main(path: str, name: str, transactions: int, due: int | None = None) -> None:
    """Claim five steps of two partitions each in one transaction, record them in the next, and tell."""
    folding = DEFAULT_FOLDING if due is None else Folding(partitions=3, due=due, rows=17, chunks=3)
    store = open_store(path, folding)
    store.start_run(RunRecord(name, RunKind.BACKFILL, name, "", "{}", RunStatus.RUNNING, NOW))
    versions = store.register([AssetVersions(name, SPACE, "code", "deps")])[name]
    say({"started": os.getpid()})
    for number in range(transactions):
        claims = [
            StepClaim(
                asset=name,
                partition_ids=(2 * step, 2 * step + 1),
                token=f"{name}-{number}-{step}",
                code_id=versions.code_id,
                deps_id=versions.deps_id,
            )
            for step in range(5)
        ]
        began = time.monotonic()
        claimed = store.claim(name, claims, NOW)
        outcomes = [
            StepSucceeded(
                one.step_id,
                one.epoch,
                tuple(WriteReceipt(i, number, 1, f"v{number}", "s") for i in claim.partition_ids),
            )
            for one, claim in zip(claimed, claims, strict=True)
        ]
        answers = store.record(outcomes, NOW)
        say(
            {
                "steps": [one.step_id for one in claimed],
                "read_seqs": [one.read_seq for one in claimed],
                "tokens": [claim.token for claim in claims],
                "seconds": time.monotonic() - began,
                "seqs": [one.seqs for one in answers if isinstance(one, RecordedSuccess)],
            }
        )
    store.close()


def open_store(place: str, folding: Folding = DEFAULT_FOLDING) -> SqlStore:
    """The store at a file or an address."""
    return (PostgresStore if is_address(place) else SqliteStore)(place, folding=folding)


def say(content: dict[str, object]) -> None:
    """One line, at once: what is said is what the parent may rely on."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
