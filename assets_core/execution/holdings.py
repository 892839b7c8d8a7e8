"""Comparing a state with its destinations, partition by partition and token by token. Looks only; what is wrong, the next run puts right.

A step that is running, or whose process died before the end was recorded, is on neither side: the next run settles it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.execution.rejects import step_token
from assets_core.model.errors import IOManagerError
from assets_core.model.records import StepStatus
from assets_core.state.store import ProblemKind, StateProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from assets_core.authoring.outline import Outline
    from assets_core.state.store import StateStore


def compare_holdings(outline: Outline, store: StateStore) -> list[StateProblem]:
    """What the state believes visible and a destination does not have under that token, and what one has that the state does not know.

    Asks every destination for all that it has: linear in the partitions. One that can't answer for an asset is a problem of that asset.
    Raises StoreError.
    """
    problems: list[StateProblem] = []
    for asset in outline.graph.specs:
        try:
            problems.extend(_problems_of(outline, store, asset))
        except IOManagerError as error:
            problems.append(StateProblem(ProblemKind.UNREADABLE, asset, error.message, error.hint))
    return problems


def _problems_of(outline: Outline, store: StateStore, asset: str) -> Iterator[StateProblem]:
    spec = outline.graph.spec(asset)
    target, manager = outline.target(asset), outline.manager(asset)
    # A run may go on meanwhile: what changes between the two looks at the state is not judged.
    believed, known = _believed(store, asset, spec.partitions.space)
    holdings = manager.holdings(target)
    if holdings is None:
        return
    after, known_after = _believed(store, asset, spec.partitions.space)
    known |= known_after
    unsettled = {
        (id_, token)
        for id_, token in holdings
        if token not in known and store.step_of_token(token) is StepStatus.RUNNING
    }
    believed = {id_: token for id_, token in believed.items() if after.get(id_) == token}
    where = manager.location(target)
    lost = _lost(believed, holdings, {id_ for id_, _ in unsettled})
    if lost:
        yield StateProblem(
            ProblemKind.LOST,
            asset,
            f"{where} does not have {_partitions(len(lost))} that the state believes visible,"
            f" for instance partition id {lost[0]} under the token {believed[lost[0]]}",
        )
    unknown = [one for one in holdings if one[1] not in known and one not in unsettled]
    if unknown:
        yield _unknown(asset, where, unknown)
    rejected = outline.rejected.get(asset)
    if rejected is not None:
        # Of a step that failed after they were published rejected rows may stay; of no step at all they can't be.
        strange = [
            one
            for one in manager.holdings(rejected) or ()
            if store.step_of_token(step_token(one[1])) is None
        ]
        if strange:
            yield _unknown(asset, manager.location(rejected), strange)


def _unknown(asset: str, where: str, unknown: Sequence[tuple[int, str]]) -> StateProblem:
    id_, token = unknown[0]
    return StateProblem(
        ProblemKind.UNKNOWN,
        asset,
        f"{where} has {_partitions(len(unknown))} that the state does not know,"
        f" for instance partition id {id_} under the token {token}",
    )


def _believed(store: StateStore, asset: str, space: str) -> tuple[Mapping[int, str], set[str]]:
    """Tokens by partition id, and those of all spaces: rows of a former one are known too."""
    spaces = {one: store.tokens(asset, one) for one in {space, *store.spaces(asset)}}
    return spaces[space], {token for tokens in spaces.values() for token in tokens.values()}


def _lost(
    believed: Mapping[int, str], holdings: Sequence[tuple[int, str]], unsettled: set[int]
) -> list[int]:
    here = set(holdings)
    return [
        id_ for id_, token in believed.items() if (id_, token) not in here and id_ not in unsettled
    ]


def _partitions(count: int) -> str:
    return "1 partition" if count == 1 else f"{count:,} partitions"
