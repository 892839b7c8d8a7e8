"""Shared test set-up: hypothesis runs the same examples on every machine and prints a replayable case when one fails."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

# Before anything imports them: their assertions explain themselves like those of a test module.
pytest.register_assert_rewrite(
    "tests.conformance.run_locks_suite",
    "tests.conformance.state_store_sharing",
    "tests.conformance.state_store_suite",
    "tests.conformance.io_manager_suite",
    "tests.conformance.mapping_suite",
    "tests.conformance.executor_suite",
)

settings.register_profile(
    "default",
    derandomize=True,
    deadline=None,  # the machine is shared: a slow example is not a wrong one
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "thorough", parent=settings.get_profile("default"), derandomize=False, max_examples=2000
)
# For tests that are to fail: that they do is enough, the smallest example is of no use.
settings.register_profile(
    "mutants",
    parent=settings.get_profile("default"),
    phases=[one for one in Phase if one is not Phase.shrink and one is not Phase.explain],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL server."""
    with postgres.server() as address:
        yield address


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The address of a state that does not exist yet."""
    with postgres.fresh_schema(postgres_server) as url:
        yield url
