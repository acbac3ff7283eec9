"""Whom a change wakes, to look at what, and that none is lost while a watcher looks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hub.runtime.changes import EVERYTHING, Changes, Topic, Watcher

SOON, NEVER = 0.01, 60.0


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 10))


def test_tasks_wake_their_members_alone_and_for_tasks_alone() -> None:
    async def work() -> None:
        changes = Changes()
        with (
            changes.watcher("members/a") as a,
            changes.watcher("members/a") as again,
            changes.watcher("members/b") as b,
        ):
            changes.tell_tasks(["members/a", "members/absent"])
            assert await a.next(seconds=NEVER) == await again.next(seconds=NEVER) == {Topic.TASKS}
            assert not b._woken.is_set()

    run(work())


def test_a_mutation_wakes_all_for_everything() -> None:
    async def work() -> None:
        changes = Changes()
        with changes.watcher("members/a") as a, changes.watcher("members/b") as b:
            changes.tell_tasks(["members/a"])
            changes.bump()
            assert await a.next(seconds=NEVER) == await b.next(seconds=NEVER) == EVERYTHING

    run(work())


def test_without_a_change_a_watcher_looks_at_everything_after_a_while() -> None:
    async def work() -> None:
        assert await Watcher().next(seconds=SOON) == EVERYTHING

    run(work())


def test_a_change_during_a_look_is_the_next_answer() -> None:
    async def work() -> None:
        changes = Changes()
        with changes.watcher("members/a") as a:
            changes.bump()
            await a.next(seconds=NEVER)
            changes.tell_tasks(["members/a"])
            await asyncio.sleep(0)  # a look
            assert await a.next(seconds=NEVER) == {Topic.TASKS}

    run(work())


def test_who_watches_no_longer_is_forgotten() -> None:
    changes = Changes()
    with changes.watcher("members/a"):
        pass
    changes.tell_tasks(["members/a"])
    changes.bump()
    assert changes._watchers == {}


def test_arrivals_are_told() -> None:
    changes, told = Changes(), []
    changes.on_arrival(lambda: told.append("one"))
    changes.bump()
    changes.arrived()
    assert told == ["one"]
