"""What watches show, looked up together: streams that one change woke share a transaction and a few queries.

A round asks hundreds of members at once, and alone each of their streams would be a job for the worker pool, a
transaction, and four queries. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog
from sqlalchemy import Connection

from alliance.errors import AllianceError, Unavailable
from alliance.names import MemberId
from alliance.tls import Peer
from alliance.v1 import membership_pb2 as pb
from hub.runtime.caller import Caller
from hub.runtime.changes import Topic
from hub.runtime.edge import Session

log = structlog.get_logger()
# What a member's watch shows of one moment: hint key -> (state, hint). A changed state is a hint.
Shown = Mapping[str, tuple[str, pb.WatchResponse]]
# Of each of these members; one that is left out is shown nothing.
Look = Callable[[Connection, Collection[MemberId]], Mapping[MemberId, Shown]]
Found = dict[Topic, Shown]
_Outcome = tuple[Caller, Found] | Exception
# Streams in one transaction.
MOST = 100


@dataclass(frozen=True, slots=True)
class _Asked:
    session: Session
    topics: frozenset[Topic]
    answer: asyncio.Future[Found] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Looks:
    def __init__(self, looks: Mapping[Topic, Look]) -> None:
        self._looks = looks
        self._waiting: list[_Asked] = []
        # The loop itself holds its tasks but weakly.
        self._running: set[asyncio.Task[None]] = set()

    async def look(self, session: Session, topics: frozenset[Topic]) -> Found:
        """What there is to show of a member, whose stream is re-checked in the same moment.

        Raises: NotAuthenticated, NotPermitted. Whatever the look raises.
        """
        asked = _Asked(session, topics)
        self._waiting.append(asked)
        if len(self._waiting) == 1:
            # After those that the same change has woken.
            asyncio.get_running_loop().call_soon(self._begin)
        return await asked.answer

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), MOST):
            some = waiting[start : start + MOST]
            running = asyncio.get_running_loop().create_task(self._answer(some))
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def _answer(self, asked: Sequence[_Asked]) -> None:
        try:
            outcomes = await asked[0].session.off_loop(partial(self._read, asked))
            for one, outcome in zip(asked, outcomes, strict=True):
                # A stream may have ended meanwhile.
                if one.answer.done():
                    continue
                if isinstance(outcome, Exception):
                    one.answer.set_exception(outcome)
                else:
                    one.session.caller, found = outcome
                    one.answer.set_result(found)
        except RuntimeError:
            # The worker pool was shut down: whoever waits is told below.
            pass
        finally:
            for one in asked:
                if not one.answer.done():
                    one.answer.set_exception(Unavailable("this hub stops", reason="HUB_STOPPING"))

    def _read(self, asked: Sequence[_Asked]) -> list[_Outcome]:
        """In the worker pool."""
        try:
            return self._together(asked)
        except Unavailable as error:
            return [Unavailable(error.message, reason=error.reason, remedy=error.remedy) for _ in asked]
        except Exception as error:
            if len(asked) == 1:
                return [error]
            # What fails for one holds up no other.
            log.warning("looks_failed_together", streams=len(asked), exc_info=error)
            return [outcome for one in asked for outcome in self._read([one])]

    def _together(self, asked: Sequence[_Asked]) -> list[_Outcome]:
        runtime = asked[0].session.runtime
        with runtime.db.read() as tx:
            callers = runtime.streams.callers(tx, {one.session.peer for one in asked if one.session.peer is not None})
            checked = [_checked(one.session, callers) for one in asked]
            found = {topic: look(tx, _members(topic, asked, checked)) for topic, look in self._looks.items()}
        return [
            c if isinstance(c, AllianceError) else (c, {topic: found[topic].get(c.member, {}) for topic in one.topics})
            for one, c in zip(asked, checked, strict=True)
        ]


def _checked(session: Session, callers: Mapping[Peer, Caller | AllianceError]) -> Caller | AllianceError:
    """The stream's caller as of now, or why it may not go on."""
    try:
        return session.checked(callers)
    except AllianceError as error:
        return error


def _members(topic: Topic, asked: Sequence[_Asked], checked: Sequence[Caller | AllianceError]) -> set[MemberId]:
    """Of whom this is looked up."""
    pairs = zip(asked, checked, strict=True)
    return {c.member for one, c in pairs if topic in one.topics and not isinstance(c, AllianceError)}
