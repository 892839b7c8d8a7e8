"""Storing partitions wherever you like: `CustomIOManager`, of which a subclass says how one partition is saved and loaded.

Decided here: everything that is alike for places that keep each partition as one thing under one name (a row, a blob, a document): judging
rows, staging them, fences, tokens, receipts. The subclass gives five small methods; two promises rest on `save`: that it is atomic, and
that rows and commit go together. `tests/conformance/io_manager_suite.py` tests both and all else.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from assets_core.model.errors import IOManagerError, PartitaError
from assets_core.model.io_manager import Published, PublishFailed, Staged, WriteReceipt
from assets_core.model.specs import Append, Replace
from io_managers.refusals import append_needs_partitions, fenced, first_line, users_own
from io_managers.workbench import Workbench, sweep_scratch

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from assets_core.model.io_manager import (
        Leftover,
        PartitionSlice,
        ReadRequest,
        Recorded,
        StageRequest,
        Target,
    )
    from io_managers.staging import StagedRows


@dataclass(frozen=True, slots=True)
class Commit:
    """Who wrote a partition, and what: to be stored with its rows, and given back as it was.

    >>> commit = Commit(3, "0f1e", WriteReceipt(20119, 2, 64, "a1", "b2"))
    >>> Commit.from_text(commit.to_text()) == commit
    True
    """

    epoch: int
    token: str
    receipt: WriteReceipt

    def to_text(self) -> str:
        """All of it as one line of JSON."""
        return json.dumps(
            {"epoch": self.epoch, "token": self.token, "receipt": asdict(self.receipt)}
        )

    @classmethod
    def from_text(cls, text: str) -> Commit:
        """The commit that `to_text` was asked of."""
        found = json.loads(text)
        return cls(found["epoch"], found["token"], WriteReceipt(**found["receipt"]))


class CustomIOManager(ABC):
    """An IO manager that keeps each partition as one thing. A subclass says how; it must pickle, and open nothing when it is made.

    Offers Replace and Append. A step's rows wait in memory or, above 64 MB or if another process publishes, in the folder `staging`.
    A partition must fit into memory when it is saved or loaded.

    A late attempt is refused by looking at the stored commit before saving. Two processes that save one partition at the same moment are
    told apart only by a `save` that compares epochs itself; the lock of a project keeps its own runs from that.
    """

    tells = True
    """False if the place can't say who wrote a partition: then `commit` and `commits` are never asked, and promises are weaker."""

    def __init__(self, staging: str | os.PathLike[str]) -> None:
        self._stage = str(staging)
        self._bench = Workbench(self._stage)

    @abstractmethod
    def destination(self) -> str:
        """Names the place, for messages."""

    @abstractmethod
    def save(self, target: Target, one: PartitionSlice, rows: pa.Table, commit: Commit) -> None:
        """Replace a partition's rows and commit, in one atomic and durable act. `one.key` is empty for an unpartitioned asset."""

    @abstractmethod
    def load(self, target: Target, one: PartitionSlice) -> pa.Table | None:
        """The rows of a partition as they were saved, types included; None if it is not there."""

    @abstractmethod
    def commit(self, target: Target, one: PartitionSlice) -> Commit | None:
        """The commit of a partition; None if it is not there."""

    @abstractmethod
    def commits(self, target: Target) -> Iterable[Commit]:
        """The commits of all partitions of an asset, in any order; one that is gone makes no difference to the others."""

    @abstractmethod
    def remove(self, target: Target) -> None:
        """Remove all of an asset, however it was partitioned; nothing happens if there is nothing."""

    def location(self, target: Target) -> str:
        """`place: asset`."""
        return f"{self.destination()}: {target.asset}"

    def supports(self, target: Target) -> str | None:
        """Replace, and Append with partitions."""
        if not isinstance(target.write, (Replace, Append)):
            mode = type(target.write).__name__
            return f"{type(self).__name__} keeps whole partitions, and {mode} changes rows inside of them"
        return append_needs_partitions(target)

    def read(self, request: ReadRequest) -> pa.RecordBatchReader:
        """The rows as of now."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        from io_managers.no_rows import no_rows  # noqa: PLC0415 - with rows
        from io_managers.schemas import (  # noqa: PLC0415 - same
            conformed_table,
            joined_schema,
            readable_schema,
            wanted_schema,
        )

        if not request.slices:
            return no_rows(request)
        tables, whole = [], pa.schema([])
        for one in request.slices:
            table = self._loaded(request.target, one)
            if table is None:
                raise IOManagerError(
                    f"{_shown(request.target, one)} is not in {self.destination()}",
                    hint="materialize it first",
                )
            tables.append(table)
            try:
                whole = joined_schema(whole, table.schema, request.target, reading=True)
            except PartitaError as error:
                raise IOManagerError(error.message, hint=error.hint) from error
        wanted = wanted_schema(request, readable_schema(request.target, whole))
        fitting = [conformed_table(table, wanted) for table in tables] if wanted.names else []
        return pa.concat_tables([wanted.empty_table(), *fitting]).to_reader()

    def stage(self, request: StageRequest, stream: pa.RecordBatchReader) -> Staged:
        """Take the rows in. Raises DataError, IOManagerError."""
        from io_managers.staging import take_in  # noqa: PLC0415 - with rows

        rows = take_in(self._bench, request, stream, self._stage, in_files=request.in_files)
        return Staged(request, rows.rows, rows.dropped, rows, rows.dropped_columns)

    def read_staged(self, staged: Staged) -> pa.RecordBatchReader:
        """The staged rows, any number of times."""
        from io_managers.staging import staged_rows  # noqa: PLC0415 - with rows

        return staged_rows(staged).visible().to_reader()

    def read_staged_slices(self, staged: Staged) -> Iterator[pa.RecordBatchReader]:
        """The staged rows of each partition, any number of times."""
        from io_managers.staging import staged_rows  # noqa: PLC0415 - with rows

        yield from staged_rows(staged).readers()

    def publish(self, staged: Sequence[Staged]) -> list[Published | PublishFailed]:
        """Each by itself, partition by partition."""
        return [self._publish(one) for one in staged]

    def published(self, request: StageRequest) -> tuple[WriteReceipt, ...] | None:
        """Receipts of the partitions whose commit has the token."""
        if not self.tells:
            return None
        found = [self._commit(request.target, one) for one in request.slices]
        return tuple(
            one.receipt for one in found if one is not None and one.token == request.token
        )

    def discard(self, staged: Staged) -> None:
        """Remove the staged rows from disk, if that is where they are."""
        from io_managers.staging import remove_stage  # noqa: PLC0415 - with rows

        remove_stage(self._stage, staged.request.token)

    def discard_leftovers(self, token: str, target: Target) -> None:  # noqa: ARG002 - the port's; one stage serves all assets
        """Remove what an attempt left in the stage, and the scratch files of dead processes."""
        from io_managers.staging import remove_stage  # noqa: PLC0415 - with rows

        remove_stage(self._stage, token)
        sweep_scratch(self._stage)

    def lost(self, target: Target, recorded: Recorded) -> frozenset[int]:
        """Compares the tokens of all partitions."""
        if not self.tells or not recorded.count:
            return frozenset()
        here = {(one.receipt.partition_id, one.token) for one in self._commits(target)}
        tokens = recorded.tokens()
        return frozenset(id_ for id_ in recorded.ids() if (id_, tokens.get(id_)) not in here)

    def holdings(self, target: Target) -> list[tuple[int, str]] | None:
        """By the commits."""
        if not self.tells:
            return None
        return [(one.receipt.partition_id, one.token) for one in self._commits(target)]

    def leftovers(self) -> list[Leftover]:
        """What is in the stage."""
        from io_managers.leftovers import leftovers_in  # noqa: PLC0415 - only `state gc` asks

        return leftovers_in(self._stage)

    def remove_leftover(self, leftover: Leftover) -> None:
        """Remove it."""
        from io_managers.leftovers import remove  # noqa: PLC0415 - only `state gc` asks

        remove(leftover)

    def _loaded(self, target: Target, one: PartitionSlice) -> pa.Table | None:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        what = f"{_shown(target, one)} can't be read"
        with users_own(f"{type(self).__name__}.load", what):
            found = self.load(target, one)
        if found is not None and not isinstance(found, pa.Table):
            raise self._no_such("load", what, found, "a pyarrow Table")
        return found

    def _commit(self, target: Target, one: PartitionSlice) -> Commit | None:
        what = f"who wrote {_shown(target, one)} can't be known"
        with users_own(f"{type(self).__name__}.commit", what):
            found = self.commit(target, one)
        if found is not None and not isinstance(found, Commit):
            raise self._no_such("commit", what, found, "the Commit that was given to save")
        return found

    def _commits(self, target: Target) -> list[Commit]:
        what = f"what there is of {target.asset} can't be known"
        with users_own(f"{type(self).__name__}.commits", what):
            found = list(self.commits(target))
        for one in found:
            if not isinstance(one, Commit):
                raise self._no_such("commits", what, one, "the Commits that were given to save")
        return found

    def _no_such(self, method: str, what: str, found: object, wanted: str) -> IOManagerError:
        name = type(self).__name__
        return IOManagerError(
            f"{what}: {name}.{method} returned {type(found).__name__}",
            hint=f"it must return {wanted}"
            + (", or None if there is none" if method != "commits" else ""),
        )

    def _publish(self, staged: Staged) -> Published | PublishFailed:
        from io_managers.staging import staged_rows  # noqa: PLC0415 - with rows

        try:
            return self._save(staged.request, staged_rows(staged))
        except IOManagerError as error:
            return PublishFailed(error.message, error.hint, code=error.code, frames=error.frames)
        except PartitaError as error:
            return PublishFailed(error.message, error.hint, code=error.code)
        except Exception as error:  # noqa: BLE001 - whatever the place raises fails this step, with its words, and no other
            where = self.location(staged.request.target)
            return PublishFailed(
                f"{where} can't be written: {type(error).__name__}: {first_line(error)}"
            )
        finally:
            self.discard(staged)

    def _save(self, request: StageRequest, rows: StagedRows) -> Published | PublishFailed:
        import pyarrow as pa  # noqa: PLC0415 - heavy

        known = [
            self._commit(request.target, one) if self.tells else None for one in request.slices
        ]
        if all(one is not None and one.token == request.token for one in known):
            return Published(tuple(one.receipt for one in known if one is not None))
        for part, there in zip(request.slices, known, strict=True):
            if there is not None and there.epoch >= request.epoch:
                return fenced(request.target.asset, part.key, there.token)
        receipts = []
        for one, facts, batches in zip(request.slices, rows.facts, rows.by_slice(), strict=True):
            receipt = WriteReceipt(
                one.id, facts.rows, facts.bytes, facts.data_version, rows.schema_hash
            )
            table = pa.Table.from_batches(batches, schema=rows.schema)
            commit = Commit(request.epoch, request.token, receipt)
            what = f"{self.location(request.target)} can't be written"
            with users_own(f"{type(self).__name__}.save", what):
                self.save(request.target, one, table, commit)
            receipts.append(receipt)
        return Published(tuple(receipts))


def _shown(target: Target, one: PartitionSlice) -> str:
    return f"{target.asset} partition {one.key}" if one.key else target.asset
