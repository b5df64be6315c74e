"""Waiting for what happens in another thread or process; not a test."""

import time
from collections.abc import Callable

PATIENCE_S = 200
"""For what never happens: long, for a machine that has other things to do."""


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "timed out"
        time.sleep(0.01)
