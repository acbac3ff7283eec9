"""Wakes watchers after a mutation committed; a wake-up says only "look again", so none is ever lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable


class Changes:
    """Belongs to one event loop. Watchers on other hub replicas look again by time-out instead."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Calls `listener` at every `bump`; it must not block."""
        self._listeners.append(listener)

    def bump(self) -> None:
        """A mutation committed."""
        self.tell_watchers()
        for listener in self._listeners:
            listener()

    def tell_watchers(self) -> None:
        """Something watchers look at changed, by a listener's own doing."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    def next(self) -> asyncio.Event:
        """The change after this moment; take it before looking, and no change falls between looking and waiting."""
        return self._event


async def happened(change: asyncio.Event, *, seconds: float) -> None:
    """Returns at the change, or after `seconds`."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(change.wait(), seconds)
