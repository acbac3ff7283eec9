"""Waits for what happens at its own time, on machines of any speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
# No claim about time: it only ends a test that would wait for ever.
PATIENCE_S = 60.0


def eventually(found: Callable[[], T | None], what: object = "", *, pause: float = 0.02) -> T:
    """The first answer that is true, asked again and again. Raises: AssertionError, telling `what` and the last one."""
    ends = time.monotonic() + PATIENCE_S
    while not (answer := found()):
        assert time.monotonic() < ends, f"{what or 'it'} did not come: {answer!r}"
        time.sleep(pause)
    return answer
