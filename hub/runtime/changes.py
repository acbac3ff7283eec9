"""Wakes watchers after a mutation committed; a wake-up says only "look again", so none is ever lost."""

from __future__ import annotations

import asyncio


class Changes:
    """Belongs to one event loop. Watchers on other hub replicas look again by time-out instead."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def bump(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, seconds: float) -> None:
        """Returns at the next change, or after `seconds`."""
        event = self._event
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return
