"""Spans of runs and steps, seen by a tracer that writes them down."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace

from assets_core.telemetry.observability import begin_step_span, run_span, step_span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STEP = {"partita.asset": "orders", "partita.step": "orders@2025-01-01", "partita.attempt": 2}


class Tracer:
    """Writes down what begins and ends."""

    def __init__(self) -> None:
        self.told: list[object] = []

    @contextmanager
    def start_as_current_span(self, name: str, attributes: Mapping[str, object]) -> Iterator[None]:
        self.told.append((name, dict(attributes)))
        yield
        self.told.append(f"{name} ended")

    def start_span(self, name: str, attributes: Mapping[str, object]) -> Tracer:
        self.told.append((name, dict(attributes)))
        return self

    def end(self) -> None:
        self.told.append("ended")


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> Tracer:
    made = Tracer()
    monkeypatch.setattr(trace, "get_tracer", lambda _: made)
    return made


def test_a_run_spans_its_steps(tracer: Tracer) -> None:
    with run_span("r1", "backfill", 7), step_span("orders", "orders@2025-01-01", 2):
        pass
    run = {"partita.run.id": "r1", "partita.run.kind": "backfill", "partita.run.partitions": 7}
    assert tracer.told == [
        ("partita.run", run),
        ("partita.step", STEP),
        "partita.step ended",
        "partita.run ended",
    ]


def test_a_step_elsewhere_ends_when_it_is_told_to(tracer: Tracer) -> None:
    end = begin_step_span("orders", "orders@2025-01-01", 2)
    assert tracer.told == [("partita.step", STEP)]
    end()
    assert tracer.told[1:] == ["ended"]
