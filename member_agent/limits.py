"""Caps the agent's use of its machine, as its member configured: processors and private memory."""

from __future__ import annotations

import os
import resource

from member_agent.config import Settings


def apply(settings: Settings) -> None:
    """Applies to this process and those it starts. Memory beyond the cap fails with MemoryError, never swaps."""
    if settings.limits_cpus:
        usable = sorted(os.sched_getaffinity(0))[: settings.limits_cpus]
        os.sched_setaffinity(0, usable)
    if settings.limits_memory_mb:
        cap = settings.limits_memory_mb << 20
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or cap <= hard:
            # Private data only: mapped files and reserved address space do not count.
            resource.setrlimit(resource.RLIMIT_DATA, (cap, hard))


def workers() -> int:
    """How many processes of ours may compute at once."""
    return max(1, len(os.sched_getaffinity(0)))
