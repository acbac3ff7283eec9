"""Caps the agent's use of its machine, as its member configured: processors and private memory."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from alliance.errors import LimitExceeded

if TYPE_CHECKING:
    from member_agent.config import Settings


def apply(settings: Settings) -> None:
    """Applies to this process and those it starts. Memory beyond the cap fails with MemoryError, never swaps.

    Raises: LimitExceeded where the agent has more than that before it does anything.
    """
    if settings.limits_cpus:
        usable = sorted(os.sched_getaffinity(0))[: settings.limits_cpus]
        os.sched_setaffinity(0, usable)
    if settings.limits_memory_mb:
        cap = settings.limits_memory_mb << 20
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or cap <= hard:
            # Private data only: mapped files and reserved address space do not count.
            resource.setrlimit(resource.RLIMIT_DATA, (cap, hard))
        # What is left in its heaps would carry it on, to fail wherever they are full.
        if _private_bytes() > cap:
            raise out_of_memory()


def workers() -> int:
    """How many processes of ours may compute at once."""
    return max(1, len(os.sched_getaffinity(0)))


def out_of_memory() -> LimitExceeded:
    return LimitExceeded(
        "the agent needs more memory than it may have",
        reason="MEMORY_LIMIT",
        field="limits.memory_mb",
        remedy="raise it in agent.toml",
    )


def _private_bytes() -> int:
    """As the cap counts them; 0 where the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) << 10
    return 0
