"""Rules that another library judges: pydantic models row by row, pandera schemas frame by frame. Python's speed, not DuckDB's.

What the other library makes of a value (coercion, defaults) is thrown away: a contract says whether rows are good, and never changes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from assets_core.authoring.binding import LoadAs
from assets_core.execution.inputs import convert_input
from assets_core.execution.outputs import user_error
from assets_core.model.contract_rules import FrameSchema, RowModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from assets_core.execution.contract_pass import JudgedRows
    from assets_core.model.contract_rules import Rule

_EXAMPLES: Final = 3
_SHOWN: Final = 120


@dataclass(slots=True)
class Broken:
    """How many rows of one partition break a rule, and the first few, in words. With `whole` no single row is to blame."""

    count: int = 0
    whole: bool = False
    examples: list[str] = field(default_factory=list)

    def add(self, told: str) -> None:
        """One more."""
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(told)


@dataclass(slots=True)
class ModelFound:
    """What one rule found, per partition, and for each row that breaks it its place and why."""

    by_slot: dict[int, Broken] = field(default_factory=dict)
    offenders: list[tuple[int, str]] = field(default_factory=list)


def judge_models(rules: Sequence[Rule], rows: JudgedRows) -> Mapping[str, ModelFound]:
    """What the rules of other libraries say, by the rule's name. Reads the rows once more for each.

    Raises UserCodeError for what a model or schema raises that is no answer about rows.
    """
    found: dict[str, ModelFound] = {}
    for rule in rules:
        match rule:
            case RowModel():
                found[rule.name] = _by_model(rule, rows)
            case FrameSchema():
                found[rule.name] = _by_schema(rule, rows)
            case _:
                continue
    return found


def _by_model(rule: RowModel, rows: JudgedRows) -> ModelFound:
    from pydantic import ValidationError  # noqa: PLC0415 - only for those who have such rules

    validate: Any = rule.model.model_validate  # type: ignore[attr-defined] # told apart by having it
    found = ModelFound()
    place = 0
    for slot, stream in enumerate(rows.open()):
        for batch in stream:
            for values in batch.to_pylist():
                try:
                    validate(values)
                except ValidationError as error:
                    told = "; ".join(
                        f"{'.'.join(map(str, one['loc'])) or 'the row'}: {one['msg']}"
                        for one in error.errors(include_url=False, include_input=False)
                    )
                    _note(found, slot, place, f"{rule.name}: {_cut(told)}")
                except Exception as error:
                    raise user_error(f"{rule.name} of {rows.asset}'s contract", error) from error
                place += 1
    return found


def _by_schema(rule: FrameSchema, rows: JudgedRows) -> ModelFound:
    from pandera.errors import SchemaError, SchemaErrors  # noqa: PLC0415 - an extra, there if its schema is

    schema: Any = rule.schema
    found = ModelFound()
    first = 0
    for slot, stream in enumerate(rows.open()):
        frame: Any = convert_input(stream, LoadAs.PANDAS)
        try:
            schema.validate(frame, lazy=True)
        except (SchemaErrors, SchemaError) as error:
            _note_cases(found, rule, slot, first, error.failure_cases.to_dict("records"))
        except Exception as error:
            raise user_error(f"{rule.name} of {rows.asset}'s contract", error) from error
        first += len(frame)
    return found


def _note_cases(
    found: ModelFound, rule: FrameSchema, slot: int, first: int, cases: Sequence[dict[str, Any]]
) -> None:
    by_row: dict[int, list[str]] = {}
    for case in cases:
        index = case.get("index")
        told = f"{case.get('column') or 'the rows'}: {case['check']}"
        if index is None or index != index:  # noqa: PLR0124 - NaN stands for no index
            broken = found.by_slot.setdefault(slot, Broken())
            broken.whole = True
            broken.add(_cut(told))
        else:
            by_row.setdefault(int(index), []).append(f"{told}, got {case['failure_case']!r}")
    for row in sorted(by_row):
        _note(found, slot, first + row, f"{rule.name}: {_cut('; '.join(by_row[row]))}")


def _note(found: ModelFound, slot: int, place: int, reason: str) -> None:
    found.by_slot.setdefault(slot, Broken()).add(reason)
    found.offenders.append((place, reason))


def _cut(text: str) -> str:
    shown = text if text.isprintable() else repr(text)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
