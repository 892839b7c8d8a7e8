"""Traces of runs and steps through the OpenTelemetry API; without an SDK configured by the user they cost next to nothing.

Span names and attributes follow OpenTelemetry's naming rules (lower-case, dotted namespaces).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def run_span(run_id: str, kind: str, partitions: int) -> Iterator[None]:
    """A span over a whole run; an exception that leaves it is recorded in it."""
    from opentelemetry import trace  # noqa: PLC0415 - off the start-up path

    attributes: dict[str, str | int] = {
        "partita.run.id": run_id,
        "partita.run.kind": kind,
        "partita.run.partitions": partitions,
    }
    with trace.get_tracer("partita").start_as_current_span("partita.run", attributes=attributes):
        yield


@contextmanager
def step_span(asset: str, name: str, attempt: int) -> Iterator[None]:
    """A span over one attempt of a step that runs in this thread; `name` is `asset@key`."""
    from opentelemetry import trace  # noqa: PLC0415 - off the start-up path

    attributes = _step_attributes(asset, name, attempt)
    with trace.get_tracer("partita").start_as_current_span("partita.step", attributes=attributes):
        yield


def begin_step_span(asset: str, name: str, attempt: int) -> Callable[[], None]:
    """As `step_span`, for an attempt that goes on elsewhere while this thread does other things; call the answer when it has ended."""
    from opentelemetry import trace  # noqa: PLC0415 - off the start-up path

    attributes = _step_attributes(asset, name, attempt)
    return trace.get_tracer("partita").start_span("partita.step", attributes=attributes).end


def _step_attributes(asset: str, name: str, attempt: int) -> dict[str, str | int]:
    return {"partita.asset": asset, "partita.step": name, "partita.attempt": attempt}
