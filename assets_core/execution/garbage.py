"""What nothing refers to any more: which leftovers of a stage may go. What there is, IO managers say; who does what, the state.

Theory of operation
-------------------
A claim is durable before its attempt stages anything, so the state knows every token of its own attempts. A token of a step that is
running may be published yet and stays, whether or not its process lives: the next run settles it first. A token of a step that has ended is
garbage: what was to be published of it was. A token that no step has is of a former attempt, or of another project with the same
destination; as nobody here can know which, it goes only when nothing was added to it for a week. What a dead process left for
itself is garbage.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from assets_core.execution.rejects import step_token
from assets_core.model.records import StepStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from assets_core.authoring.outline import Outline
    from assets_core.model.io_manager import IOManager, Leftover
    from assets_core.state.store import StateStore

STRANGERS_STAY: Final = timedelta(days=7)
"""How long what nobody knows is left alone."""


def find_garbage(
    outline: Outline, store: StateStore, now: datetime
) -> Iterator[tuple[IOManager, Leftover]]:
    """Leftovers that may be removed, each with the IO manager that removes it, one place once. Raises IOManagerError, StoreError."""
    seen: set[str] = set()
    for manager in {id(one): one for one in map(outline.manager, outline.graph.specs)}.values():
        for leftover in manager.leftovers():
            if leftover.path not in seen and _is_garbage(leftover, store, now):
                seen.add(leftover.path)
                yield manager, leftover


def _is_garbage(leftover: Leftover, store: StateStore, now: datetime) -> bool:
    if leftover.token is None:
        return True
    status = store.step_of_token(step_token(leftover.token))
    if status is None:
        return now - leftover.changed_at > STRANGERS_STAY
    return status is not StepStatus.RUNNING
