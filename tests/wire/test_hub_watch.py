"""A watch says where to look again, to whom it concerns, and ends when its member no longer counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection

from alliance import channel
from alliance.errors import AllianceError, NotAuthenticated, NotPermitted
from alliance.v1 import membership_pb2 as pb
from hub.membership import rpc
from hub.membership.model import Group
from hub.membership.rpc import WATCH_SECONDS
from hub.runtime.caller import Caller
from tests.kit.alliance import Alliance
from tests.kit.clock import ShiftedClock
from tests.kit.member import RawMember


class Watching:
    """A watch that is read in a thread, so that a test can wait for one hint among others."""

    def __init__(self, member: RawMember) -> None:
        self.error: AllianceError | None = None
        self._channel = member.open_channel()
        self._stream = channel.stream_out(self._channel, pb.WatchRequest(), pb.WatchResponse)
        self._hints: list[pb.WatchResponse] = []
        self._changed = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def count(self) -> int:
        return len(self._hints)

    def wait_for(self, hint: pb.WatchResponse, *, after: int = 0) -> None:
        """Waits for a hint that is not among the first `after`."""
        with self._changed:
            assert self._changed.wait_for(lambda: hint in self._hints[after:] or self._over, 20), self._hints
            assert hint in self._hints[after:], self.error

    def close(self) -> None:
        self._channel.close()
        self._thread.join(20)

    def wait_end(self) -> list[pb.WatchResponse]:
        """Everything that came, once the hub ended the stream."""
        self._thread.join(20)
        assert self._over
        return self._hints

    def _read(self) -> None:
        try:
            for hint in self._stream:
                with self._changed:
                    self._hints.append(hint)
                    self._changed.notify_all()
        except AllianceError as error:
            self.error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()


@contextmanager
def watching(member: RawMember) -> Iterator[Watching]:
    watch = Watching(member)
    try:
        yield watch
    finally:
        watch.close()


def bank(a: Alliance, head: int) -> pb.WatchResponse:
    return pb.WatchResponse(bank=pb.BankHint(bank=a.bank, head_seq=head))


def group(a: Alliance) -> pb.WatchResponse:
    return pb.WatchResponse(group=pb.GroupHint(group=a.group))


def nudge(a: Alliance) -> None:
    """A change that concerns nobody: watchers look again now, and not only at their next poll."""
    a.hub.create_group("nobody")


HEARTBEAT = pb.WatchResponse(heartbeat=pb.Heartbeat())


def test_a_watch_starts_with_all_there_is_and_goes_on_with_what_changes(three: Alliance) -> None:
    with watching(three.members[1]) as watch:
        watch.wait_for(group(three))
        watch.wait_for(bank(three, 0))
        for head in (1, 2, 3):
            three.members[0].publish(three.bank, bytes([head]))
            watch.wait_for(bank(three, head))


def test_a_change_wakes_watchers_before_the_next_poll(three: Alliance, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next poll is an hour away."""
    monkeypatch.setattr(rpc, "POLL_SECONDS", 3600.0)
    with watching(three.members[1]) as watch:
        for head in range(1, 11):
            three.members[0].publish(three.bank, bytes([head]))
            watch.wait_for(bank(three, head))


def test_members_hear_of_their_own_groups_only(three: Alliance) -> None:
    outsider, member = three.hub.enrol("outsider"), three.members[1]
    with watching(outsider) as deaf, watching(member) as watch:
        three.members[0].publish(three.bank)
        watch.wait_for(bank(three, 1))
        three.hub.expel(outsider)
        assert all(hint == HEARTBEAT for hint in deaf.wait_end())
        assert isinstance(deaf.error, NotAuthenticated)


def test_a_new_member_and_a_new_epoch_are_hints(three: Alliance) -> None:
    newcomer = three.hub.enrol("newcomer")
    with watching(newcomer) as watch:
        watch.wait_for(HEARTBEAT)
        three.hub.add_to_group(three.group, newcomer)
        watch.wait_for(group(three))
        watch.wait_for(bank(three, 0))
        before = watch.count()
        three.members[0].create_epoch(three.group, [newcomer], epoch=2)
        watch.wait_for(group(three), after=before)


def test_a_quiet_watch_beats(three: Alliance, clock: ShiftedClock) -> None:
    with watching(three.members[1]) as watch:
        watch.wait_for(bank(three, 0))
        clock.advance(seconds=21)
        nudge(three)
        watch.wait_for(HEARTBEAT)


def test_a_watch_ends_in_peace_after_half_an_hour(three: Alliance, clock: ShiftedClock) -> None:
    with watching(three.members[1]) as watch:
        watch.wait_for(bank(three, 0))
        clock.advance(seconds=WATCH_SECONDS)
        nudge(three)
        watch.wait_end()
        assert watch.error is None


@pytest.mark.parametrize(
    ("how", "error", "reason"),
    [
        ("suspended", NotPermitted, "MEMBER_SUSPENDED"),
        ("expelled", NotAuthenticated, "CERTIFICATE_REVOKED"),
        ("left", NotAuthenticated, "CERTIFICATE_REVOKED"),
        ("expired", NotAuthenticated, "CERTIFICATE_EXPIRED"),
    ],
)
def test_a_watch_is_cut_when_its_member_no_longer_counts(
    how: str, error: type[NotPermitted] | type[NotAuthenticated], reason: str, three: Alliance, clock: ShiftedClock
) -> None:
    member = three.members[1]
    clock.advance(hours=23, minutes=50)
    with watching(member) as watch:
        watch.wait_for(bank(three, 0))
        match how:
            case "suspended":
                three.hub.suspend(member)
            case "expelled":
                three.hub.expel(member)
            case "left":
                member.leave()
            case _:
                clock.advance(minutes=15)
                nudge(three)
        watch.wait_end()
        assert isinstance(watch.error, error)
        assert watch.error.reason == reason


def test_a_look_that_fails_for_one_member_ends_no_other_watch(three: Alliance, monkeypatch: pytest.MonkeyPatch) -> None:
    """They look together."""
    membership = three.hub.services.membership
    groups, broken = membership.groups, three.members[0].name

    def failing(tx: Connection, caller: Caller, **page: Any) -> list[Group]:
        if caller.name == broken:
            raise ValueError
        return groups(tx, caller, **page)

    monkeypatch.setattr(rpc, "POLL_SECONDS", 3600.0)
    with watching(three.members[0]) as lost, watching(three.members[1]) as one, watching(three.members[2]) as two:
        for watch in (lost, one, two):
            watch.wait_for(bank(three, 0))
        monkeypatch.setattr(membership, "groups", failing)
        three.members[1].publish(three.bank)
        for watch in (one, two):
            watch.wait_for(bank(three, 1))
        lost.wait_end()
        assert lost.error is not None
        assert "internal error" in lost.error.message
