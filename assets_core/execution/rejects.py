"""Where rows go that a contract keeps out: the destination beside an asset's own, and the tokens that an attempt stages under.

Theory of operation
-------------------
An attempt of an asset whose contract quarantines stages under three tokens: its own, one for the rejected rows, and one for good rows on their
way (`audit`). They differ because an IO manager throws away all that waits under a token at once, and rejected rows are published before the
others. Rejected rows carry the rejected token at their destination, so a re-run of the partition finds its predecessor's and replaces them as it
replaces the data. The state knows the attempt's own token only; the others lead back to it by their names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from assets_core.authoring.outline import Outline
    from assets_core.model.io_manager import StageRequest, Target

_REJECTED: Final = ".rejected"
_HELD: Final = ".held"


def rejected_token(token: str) -> str:
    """The token under which an attempt's rejected rows are staged and published.

    >>> rejected_token("ab12")
    'ab12.rejected'
    """
    return f"{token}{_REJECTED}"


def held_token(token: str) -> str:
    """The token under which good rows wait while the attempt's own stage is made again."""
    return f"{token}{_HELD}"


def step_token(token: str) -> str:
    """The token of the attempt that staged under `token`.

    >>> step_token("ab12.rejected"), step_token("ab12")
    ('ab12', 'ab12')
    """
    return token.removesuffix(_REJECTED).removesuffix(_HELD)


def rejected_request(request: StageRequest, target: Target) -> StageRequest:
    """The write of the rows that are kept out of `request`, to `target`."""
    return replace(request, target=target, token=rejected_token(request.token))


def discard_attempt(outline: Outline, asset: str, token: str) -> None:
    """Throw away all that an attempt left staged, under whichever token."""
    manager = outline.manager(asset)
    manager.discard_leftovers(token, outline.target(asset))
    rejected = outline.rejected.get(asset)
    if rejected is not None:
        manager.discard_leftovers(rejected_token(token), rejected)
        manager.discard_leftovers(held_token(token), outline.target(asset))
