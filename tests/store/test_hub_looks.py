"""What watches show, looked up together: each stream's own member, its caller checked in the same moment.

Nothing else ends these streams: no warden of open streams runs here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection

from alliance.errors import AllianceError, NotAuthenticated, NotPermitted, Unavailable
from alliance.names import MemberId
from hub.app import Services
from hub.membership import looks
from hub.membership.looks import Found, Look, Looks
from hub.runtime.access import Listener
from hub.runtime.caller import ANONYMOUS
from hub.runtime.changes import EVERYTHING, Changes, Topic
from hub.runtime.edge import Runtime, Session
from hub.runtime.limits import Limits, Rates
from hub.runtime.metrics import Metrics
from hub.runtime.streams import Streams
from hub.serving import looks_of
from tests.kit.clock import ShiftedClock
from tests.kit.direct import ADMIN, DirectMember, create_bank, create_group, write

WATCH = "alliance.v1.MembershipService/Watch"


@dataclass(frozen=True, kw_only=True)
class Watches:
    """A stream of each of three members, the first of which is alone in a group with a bank."""

    services: Services
    members: list[DirectMember]
    pool: ThreadPoolExecutor
    clock: ShiftedClock

    def look(self, looks_: Mapping[Topic, Look] | None = None, *, gone: int | None = None) -> list[Found | Exception]:
        """What each stream is shown; the stream `gone` ends before."""
        return asyncio.run(self._look(looks_ or looks_of(self.services), gone))

    async def _look(self, looks_: Mapping[Topic, Look], gone: int | None) -> list[Found | Exception]:
        services, together = self.services, Looks(looks_)
        streams = Streams(db=services.db, pool=self.pool, clock=self.clock, callers=services.membership.callers)
        runtime = Runtime(
            alliance="test",
            db=services.db,
            pool=self.pool,
            clock=self.clock,
            metrics=Metrics(),
            changes=Changes(),
            authenticate=services.membership.authenticate,
            require_one_suffices=lambda tx, name, request: None,
            streams=streams,
            limits=Limits(Rates(calls=1e9, enrolment_calls=1e9, streams=1000, bytes=1e12), {}),
        )
        sessions = [Session(runtime, WATCH, Listener.MAIN, member.peer, ANONYMOUS) for member in self.members]
        tasks = [asyncio.ensure_future(together.look(session, EVERYTHING)) for session in sessions]
        if gone is not None:
            await asyncio.sleep(0)
            tasks[gone].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for session, answer, member in zip(sessions, answers, self.members, strict=True):
            assert (session.caller.name == member.name) is not isinstance(answer, BaseException)
        return [one if isinstance(one, dict | Exception) else Unavailable("ended") for one in answers]


@pytest.fixture
def watches(services: Services, clock: ShiftedClock) -> Iterator[Watches]:
    members = [DirectMember.join(services, name) for name in ("acme", "zoo", "shop")]
    create_bank(services, "own", create_group(services, "own", members[0]))
    with ThreadPoolExecutor(2) as pool:
        yield Watches(services=services, members=members, pool=pool, clock=clock)


def hints(found: Found | Exception) -> set[str]:
    assert isinstance(found, dict)
    return {key for shown in found.values() for key in shown}


@pytest.mark.parametrize("most", [1, 2, 100])
def test_each_is_shown_its_own(watches: Watches, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(looks, "MOST", most)
    assert [hints(found) for found in watches.look()] == [{"groups/own", "banks/own"}, set(), set()]


def suspended(watches: Watches) -> None:
    write(watches.services, lambda tx: watches.services.membership.suspend(tx, ADMIN, watches.members[0].name, "why"))


def expelled(watches: Watches) -> None:
    write(watches.services, lambda tx: watches.services.membership.expel(tx, ADMIN, watches.members[0].name, "why"))


def revoked(watches: Watches) -> None:
    write(watches.services, lambda tx: watches.services.pki.revoke(tx, watches.members[0].name))


@pytest.mark.parametrize(
    ("ends", "error"),
    [(suspended, NotPermitted), (expelled, NotAuthenticated), (revoked, NotAuthenticated)],
    ids=["suspended", "expelled", "revoked"],
)
def test_who_may_not_watch_any_more_is_shown_nothing_and_others_are(
    watches: Watches, ends: Callable[[Watches], None], error: type[AllianceError]
) -> None:
    ends(watches)
    lost, *others = watches.look()
    assert isinstance(lost, error)
    assert [hints(found) for found in others] == [set(), set()]


def test_an_expired_certificate_is_shown_nothing(watches: Watches) -> None:
    watches.clock.advance(days=40)
    assert all(isinstance(found, NotAuthenticated) for found in watches.look())


def test_a_stream_that_ended_meanwhile_holds_up_no_other(watches: Watches) -> None:
    answers = watches.look(gone=1)
    assert isinstance(answers[1], Unavailable)
    assert [hints(answers[n]) for n in (0, 2)] == [{"groups/own", "banks/own"}, set()]


def counting(error: Exception, of: MemberId) -> tuple[dict[Topic, Any], list[int]]:
    """A look that fails where it is for this member, and how many members each look was for."""
    asked: list[int] = []

    def look(tx: Connection, members: Collection[MemberId]) -> dict[MemberId, Any]:
        asked.append(len(members))
        if of in members:
            raise error
        return {}

    return {Topic.SHARING: look, Topic.TASKS: lambda tx, members: {}}, asked


def test_a_look_that_fails_for_one_is_repeated_for_each_alone(watches: Watches) -> None:
    broken, asked = counting(ValueError("a bug"), watches.members[2].name)
    first, second, lost = watches.look(broken)
    assert isinstance(lost, ValueError)
    assert [hints(found) for found in (first, second)] == [set(), set()]
    assert asked == [3, 1, 1, 1]


def test_a_database_that_is_gone_is_asked_once_for_all(watches: Watches) -> None:
    gone, asked = counting(Unavailable("the database does not answer"), watches.members[0].name)
    assert all(isinstance(found, Unavailable) for found in watches.look(gone))
    assert asked == [3]


def test_where_the_worker_pool_is_shut_down_nobody_waits(watches: Watches) -> None:
    watches.pool.shutdown()
    assert [one.reason for one in watches.look() if isinstance(one, Unavailable)] == ["HUB_STOPPING"] * 3


def test_a_look_that_cannot_be_told_leaves_nobody_waiting(watches: Watches) -> None:
    """No future takes this error."""
    broken, _ = counting(StopIteration(), watches.members[0].name)
    assert all(isinstance(found, Unavailable) for found in watches.look(broken))
