"""The access matrix's last column, another member's resource: every field that names one, presented by a stranger.

A stranger is an active member in good standing, in a group of its own. Where it is refused, it learns nothing: the
answer for what another has is the answer for what nobody has. One that is suspended, or that nobody admitted, is
refused for that, before it is told anything of what it presents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from alliance.names import BankId, GroupId, MemberId
from alliance.v1 import audit_pb2
from hub.runtime.access import TABLE, Listener
from hub.runtime.caller import MEMBERS
from tests.kit import foreign
from tests.kit.alliance import alliance
from tests.kit.federation import create_detector, spec, trigger
from tests.kit.foreign import ROWS
from tests.kit.foreign_requests import Names, Stranger
from tests.kit.keys import request_id
from tests.kit.member import RawMember
from tests.kit.rpc import Outcome, all_methods, raw_call

METHODS = {name.removeprefix("alliance.v1."): method for name, method in all_methods().items()}
# What the log tells everybody, by design: who did what to which bank and group, never what is in it.
PUBLIC = {"AuditService/ListLeaves"}
ABSENT = Names(
    group=GroupId("groups/nobodys"),
    bank=BankId("banks/nobodys"),
    blob=bytes(31) + b"\1",
    batch=bytes(31) + b"\2",
    detector="detectors/nobodys",
    round="rounds/999",
    agent="agents/00000000",
    invited=MemberId("members/nobody"),
)


class Scene:
    def __init__(self, stranger: Stranger, theirs: Names, nobody: grpc.Channel, suspended: RawMember) -> None:
        self.stranger, self.theirs, self.nobody, self.suspended = stranger, theirs, nobody, suspended

    def send(self, row: str, names: Names, *, by: RawMember | None = None) -> Outcome:
        """What the stranger is told that presents these, or another member that sends its very request."""
        name = row.partition(" ")[0]
        request: Any = ROWS[row].make(self.stranger, names)
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = request_id()
        enrolment = TABLE[f"alliance.v1.{name}"].listener is Listener.ENROLMENT
        opened = self.nobody if enrolment else (by or self.stranger.me).channel
        return raw_call(opened, METHODS[name], request.SerializeToString())


@pytest.fixture(scope="module")
def unhurried() -> Iterator[None]:
    """What is asked here again and again has a rate of its own at a hub."""
    with pytest.MonkeyPatch.context() as patched:
        for name, rule in TABLE.items():
            patched.setitem(TABLE, name, dataclasses.replace(rule, rate=0.0))
        yield


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, unhurried: None) -> Iterator[Scene]:
    # The two, the stranger and one that is suspended are founders; the next one waits.
    with alliance(members=2, folder=tmp_path_factory.mktemp("matrix"), membership_admission_cosigners=4) as a:
        other, me, suspended, waiting = a.members[0], *map(a.hub.enrol, ("stranger", "suspended", "waiting"))
        a.hub.suspend(suspended)
        code = a.hub.invite("invited")
        group = a.hub.create_group("strangers", me)
        bank = a.hub.create_bank("strangers", group)
        me.create_epoch(group, [])
        published = other.publish(a.bank)
        detector = create_detector(a.hub, a.group, spec(), *a.members)
        started = trigger(a.hub, detector, quorum=2, seconds=600)
        a.hub.integrate()
        head = me.call(audit_pb2.GetCheckpointRequest(), audit_pb2.GetCheckpointResponse)
        stranger = Stranger(
            me=me,
            other=other,
            alliance=a.hub.settings.alliance_name,
            code=code,
            group=group,
            bank=bank,
            waiting=waiting,
            head=head,
        )
        theirs = Names(
            group=a.group,
            bank=a.bank,
            blob=published.header.digest,
            batch=published.header.digest,
            detector=detector,
            round=started.name,
            agent=other.agent,
            invited=MemberId("members/invited"),
        )
        yield Scene(stranger, theirs, a.hub.open_enrolment_channel(), suspended)


def test_every_field_that_names_something_has_its_row() -> None:
    assert set(foreign.naming()) == set(ROWS)


def test_what_names_nothing_is_in_the_contract() -> None:
    there = {field for name in METHODS for _, field in foreign.fields(METHODS[name].input_type)}
    assert there >= foreign.NAMES_NOTHING


@pytest.mark.parametrize("row", sorted(ROWS))
def test_what_is_another_s_is_refused_and_nothing_is_learned(row: str, scene: Scene) -> None:
    wanted, found = ROWS[row], scene.send(row, scene.theirs)
    assert (found.reason, found.code is grpc.StatusCode.OK) == (wanted.refusal, not wanted.refusal), found
    if not wanted.told:
        assert shown(scene.send(row, ABSENT), ABSENT) == shown(found, scene.theirs)


MAIN = sorted(row for row in ROWS if TABLE[f"alliance.v1.{row.partition(' ')[0]}"].listener is Listener.MAIN)


@pytest.mark.parametrize("who", ["suspended", "waiting"])
@pytest.mark.parametrize("row", MAIN)
def test_a_stranger_that_does_not_count_is_told_that_and_no_more(row: str, who: str, scene: Scene) -> None:
    rule = TABLE[f"alliance.v1.{row.partition(' ')[0]}"]
    stranger = scene.suspended if who == "suspended" else scene.stranger.waiting
    found = scene.send(row, scene.theirs, by=stranger)
    if not (rule.while_suspended if who == "suspended" else rule.while_unadmitted):
        assert found.reason == ("MEMBER_SUSPENDED" if who == "suspended" else "NOT_ADMITTED")
        assert shown(scene.send(row, ABSENT, by=stranger), ABSENT) == shown(found, scene.theirs)
    elif ROWS[row].refusal:
        assert found.reason == ROWS[row].refusal


def shown(outcome: Outcome, names: Names) -> tuple[object, ...]:
    """All that is told but for the name that was presented."""
    message = outcome.message
    for name in (names.group, names.bank, names.detector, names.round, names.agent, names.invited):
        message = message.replace(name, "NAME")
    return outcome.code, outcome.reason, message, outcome.responses


@pytest.mark.parametrize(
    "name", sorted(name for name, method in METHODS.items() if "next_page_token" in method.output_type.fields_by_name)
)
def test_no_list_shows_what_is_another_s(name: str, scene: Scene) -> None:
    """A list that needs no name shows the caller's own, and what is public."""
    if name in PUBLIC or not TABLE[f"alliance.v1.{name}"].who & MEMBERS:
        return
    answer = raw_call(scene.stranger.me.channel, METHODS[name])
    theirs = scene.theirs
    private = [theirs.group, theirs.bank, theirs.detector, theirs.round, theirs.agent]
    for response in answer.responses:
        assert not [one for one in private if one.encode() in response]
        assert theirs.batch not in response
