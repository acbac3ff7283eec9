"""Wakes the watchers of committed mutations. A wake-up says only where to look again, so none is ever lost.

Belongs to one event loop. Watchers at other hub replicas look again by time-out instead.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator
from enum import StrEnum


class Topic(StrEnum):
    """What a watcher shows: its groups, their keys and banks; or what it is asked to do in a round."""

    SHARING = "sharing"
    TASKS = "tasks"


EVERYTHING = frozenset(Topic)


class Watcher:
    """One stream's wake-ups."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._topics: frozenset[Topic] = frozenset()

    def wake(self, topics: frozenset[Topic]) -> None:
        self._topics |= topics
        self._woken.set()

    async def next(self, *, seconds: float) -> frozenset[Topic]:
        """Where to look again, once something changed; everywhere, after `seconds` without a change.

        What changes after this returned, while its caller looks, is in the next answer.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        topics, self._topics = self._topics or EVERYTHING, frozenset()
        self._woken.clear()
        return topics


class Changes:
    def __init__(self) -> None:
        self._watchers: dict[str, set[Watcher]] = {}
        self._arrivals: list[Callable[[], None]] = []

    def on_arrival(self, listener: Callable[[], None]) -> None:
        """Calls `listener` whenever an agent connected; it must not block."""
        self._arrivals.append(listener)

    @contextlib.contextmanager
    def watcher(self, name: str) -> Iterator[Watcher]:
        """A watcher that what concerns `name` wakes; one name may have several."""
        made = Watcher()
        self._watchers.setdefault(name, set()).add(made)
        try:
            yield made
        finally:
            self._watchers[name].remove(made)
            if not self._watchers[name]:
                del self._watchers[name]

    def bump(self) -> None:
        """A mutation committed that any watcher may show."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.wake(EVERYTHING)

    def arrived(self) -> None:
        """An agent connected, and is marked present."""
        for listener in self._arrivals:
            listener()

    def tell_tasks(self, names: Collection[str]) -> None:
        """What these are asked to do changed."""
        for name in names:
            for watcher in self._watchers.get(name, ()):
                watcher.wake(frozenset({Topic.TASKS}))
