"""What can be wrong with an asset's contract, seen with the other assets of the project. What is wrong with a rule alone it says itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets_core.authoring.graph import hint_for
from assets_core.authoring.sql_expressions import sql_problems
from assets_core.model.contract_rules import ForeignKey
from assets_core.model.contracts import REJECTED_SUFFIX
from assets_core.model.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from assets_core.authoring.decorators import Asset, AssetCheck


def check_names(asset: Asset, checks: Iterable[AssetCheck]) -> frozenset[str]:
    """The names under which outcomes about an asset are recorded: of the rules of its contract, and of its checks among these."""
    rules = () if asset.contract is None else asset.contract.rules
    return frozenset(
        [*(rule.name for rule in rules), *(one.name for one in checks if one.asset == asset.key)]
    )


def contract_problems(
    asset: Asset, upstream: Collection[str], known: Collection[str], checks: Collection[str]
) -> Iterator[DefinitionError]:
    """Everything that is wrong with the contract and the SQL of `asset`, which reads or follows the assets of `upstream`, in a project of `known`.

    `checks` are the names of its other checks: outcomes are recorded by name.
    """
    yield from sql_problems(asset)
    contract = asset.contract
    if contract is None:
        return
    subject = f"asset {asset.key!r}"
    for rule in contract.rules:
        if rule.name in checks:
            yield DefinitionError(
                f"{subject}: a rule of its contract and a check are both called {rule.name!r}",
                hint='rename the check: @asset_check(…, name="…")',
            )
        if not isinstance(rule, ForeignKey) or rule.asset in upstream:
            continue
        if rule.asset not in known:
            yield DefinitionError(
                f"{subject}: {rule.name} refers to {rule.asset!r}, and there is no such asset",
                hint=hint_for(rule.asset, known),
            )
            continue
        yield DefinitionError(
            f"{subject}: {rule.name} refers to {rule.asset!r}, which it neither reads nor follows:"
            " nothing would say which comes first",
            hint=f"add deps=[{rule.asset!r}] to @asset, with Input(…, mapping=…) if not all of its partitions are meant",
        )
    rejected = f"{asset.key}{REJECTED_SUFFIX}"
    folded = {key.casefold(): key for key in known if isinstance(key, str)}
    if contract.rejects and rejected.casefold() in folded:
        yield DefinitionError(
            f"asset {folded[rejected.casefold()]!r} has the name of the place where rows go that {subject} rejects",
            hint="rename one of the two assets",
        )
