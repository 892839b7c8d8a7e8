"""Contracts: rules for an asset's rows, and what becomes of rows that break one. The rules themselves are in `contract_rules`.

Not decided here: how rules are checked (`execution.audit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from assets_core.model.contract_rules import (
    RULES,
    FrameSchema,
    FreshColumn,
    RowCount,
    RowModel,
    Rule,
)
from assets_core.model.errors import DefinitionError, shown

REJECTED_SUFFIX: Final = "__rejected"
"""Rows that a contract keeps out of asset `orders` go to `orders__rejected`."""

REASON_COLUMN: Final = "_reason"
"""The column of rejected rows that names the rules they break."""


class OnViolation(StrEnum):
    """What becomes of rows that break a contract."""

    FAIL = "fail"
    QUARANTINE = "quarantine"
    WARN = "warn"


@dataclass(frozen=True, slots=True, init=False)
class Contract:
    """Rules for an asset's rows, checked on what is staged, and what becomes of rows that break them.

    `fail` (the default): nothing is published, the rows that were there stay. `quarantine`: rows that break a rule go to `<asset>__rejected`
    with a `_reason`, the others are published. `warn`: everything is published, and the outcome recorded. A list of rules as `contract=` is
    a contract that fails. Rules may also be pydantic models and pandera schemas.

    >>> from assets_core import InRange, NotNull
    >>> contract = Contract([NotNull("order_id"), InRange("amount", min=0)], on_violation="quarantine")
    >>> contract.text()
    'contract(on_violation=quarantine): not_null(order_id); in_range(amount): >= 0'
    """

    rules: tuple[Rule, ...]
    on_violation: OnViolation

    def __init__(
        self,
        rules: object,
        on_violation: OnViolation | Literal["fail", "quarantine", "warn"] = OnViolation.FAIL,
    ) -> None:
        given = rules if isinstance(rules, list | tuple) else (rules,)
        object.__setattr__(self, "rules", tuple(_as_rule(rule) for rule in given))
        if not self.rules:
            raise DefinitionError(
                "a contract without rules says nothing", hint='write contract=[NotNull("id")]'
            )
        try:
            object.__setattr__(self, "on_violation", OnViolation(on_violation))
        except ValueError:
            allowed = ", ".join(repr(str(member)) for member in OnViolation)
            raise DefinitionError(
                f"on_violation={on_violation!r} is not one of {allowed}"
            ) from None
        seen: set[str] = set()
        for rule in self.rules:
            if rule.name in seen:
                raise DefinitionError(
                    f"the contract has {rule.name} twice",
                    hint='make one of them, or write RowRule("another_name", "…")',
                )
            seen.add(rule.name)

    @property
    def rejects(self) -> bool:
        """Whether it moves rows to `<asset>__rejected`: only then is it part of what the asset's rows are."""
        return self.on_violation is OnViolation.QUARANTINE

    @property
    def code(self) -> tuple[object, ...]:
        """Classes and functions of the author's that rules of it call."""
        found: list[object] = []
        for rule in self.rules:
            match rule:
                case RowModel():
                    found.append(rule.model)
                case FrameSchema():
                    found += [rule.schema] if isinstance(rule.schema, type) else rule.functions
                case _:
                    continue
        return tuple(found)

    def stops(self, rule: Rule) -> bool:
        """Whether a violation of this rule keeps everything from being published."""
        if self.on_violation is OnViolation.QUARANTINE:
            return isinstance(rule, RowCount | FreshColumn)
        return self.on_violation is OnViolation.FAIL

    def text(self) -> str:
        """Canonical text, part of the code version of an asset whose rows it decides about."""
        told = "; ".join(rule.text() for rule in self.rules)
        return f"contract(on_violation={self.on_violation}): {told}"


def _as_rule(given: object) -> Rule:
    """A rule as it is, a model or schema of another library as a rule; what they are is told by what they have, not by importing them."""
    if isinstance(given, RULES):
        return given
    if isinstance(given, type) and hasattr(given, "model_validate"):
        return RowModel(given)
    modules = [
        base.__module__ for base in (given if isinstance(given, type) else type(given)).__mro__
    ]
    if hasattr(given, "validate") and any(one.partition(".")[0] == "pandera" for one in modules):
        if any("polars" in one or "pyspark" in one for one in modules):
            raise DefinitionError(
                f"a contract holds {shown(given)}, which is not for pandas frames",
                hint="take the schema from pandera.pandas",
            )
        if getattr(given, "drop_invalid_rows", False) or getattr(
            getattr(given, "Config", None), "drop_invalid_rows", False
        ):
            raise DefinitionError(
                f"a contract holds {shown(given)}, which has drop_invalid_rows: it never says which rows are wrong",
                hint='leave that out; on_violation="quarantine" keeps such rows out, and shows them',
            )
        return FrameSchema(given)
    if isinstance(given, type) and issubclass(given, RULES):
        raise DefinitionError(
            f"a contract holds the class {given.__name__} where it needs a rule",
            hint=f"write {given.__name__}(…)",
        )
    raise DefinitionError(
        f"a contract holds {shown(given)}, which is no rule",
        hint='write, for example, NotNull("id"), a pydantic model or a pandera schema',
    )
