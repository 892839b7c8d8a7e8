"""Waiting for what another process does, the one place where tests poll: never for a time, always for a condition."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 120.0
"""Seconds after which something is taken never to happen; far above what anything takes."""


def wait_until(holds: Callable[[], object], failing: Callable[[], object] | str) -> None:
    """Return when it holds; fail with `failing` if it never does."""
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, failing if isinstance(failing, str) else failing()
        time.sleep(0.02)
