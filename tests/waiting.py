"""Waiting for what another process does, the one place where tests poll: never for a time, always for a condition."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 10.0 if "MUTANT" in os.environ else 120.0
"""Seconds after which something is taken never to happen; far above what anything takes. A planted bug is there to make it never happen."""


def wait_until(holds: Callable[[], object], failing: Callable[[], object] | str) -> None:
    """Return when it holds; fail with `failing` if it never does."""
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, failing if isinstance(failing, str) else failing()
        time.sleep(0.02)
