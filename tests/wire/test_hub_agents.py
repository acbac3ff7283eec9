"""Agents over the wire: a member's identity lets one in, once per request; a revoked one is out for good."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.timestamp_pb2 import Timestamp

from alliance import canonical, channel, tls
from alliance.errors import AllianceError, FailedPrecondition, NotAuthenticated, NotFound, NotPermitted
from alliance.v1 import enrolment_pb2 as pb
from alliance.v1 import membership_pb2
from hub.membership import agents
from tests.kit.clock import ShiftedClock
from tests.kit.hub import RunningHub
from tests.kit.keys import Identity, now, request_id, tampered
from tests.kit.member import RawMember


def enrol(hub: RunningHub, request: pb.EnrolAgentRequest) -> pb.EnrolAgentResponse:
    return channel.call(hub.open_enrolment_channel(), request, pb.EnrolAgentResponse)


def asked(hub: RunningHub, member: RawMember, **options: object) -> pb.EnrolAgentRequest:
    return member.agent_request(hub.settings.alliance_name, **options)  # type: ignore[arg-type]  # because passed on


def listed(member: RawMember) -> dict[str, pb.Agent]:
    return {one.name: one for one in member.call(pb.ListAgentsRequest(), pb.ListAgentsResponse).agents}


def leaves(hub: RunningHub, event: str) -> list[canonical.AuditEvent]:
    with hub.services.db.write() as tx:
        hub.services.audit.integrate(tx)
        found = hub.services.audit.leaves(tx, start=0, limit=1000)
    told = [canonical.AuditEvent.from_bytes(leaf.data) for leaf in found]
    return [one for one in told if one.event.startswith(event)]


def test_a_further_agent_gets_a_certificate_of_its_own(hub: RunningHub) -> None:
    member = hub.enrol("acme")
    answer = enrol(hub, asked(hub, member))
    [der] = answer.certificate_chain
    peer = tls.peer_of(x509.load_der_x509_certificate(der), alliance=hub.settings.alliance_name)
    assert (peer.name, peer.agent) == (member.name, answer.agent)
    assert (answer.hub_address, answer.log_key) == (hub.address, hub.services.audit.public_key)
    assert set(listed(member)) == {member.agent, answer.agent}
    [leaf] = leaves(hub, "agent_enrolled")
    assert (leaf.event, leaf.subject) == (f"agent_enrolled:{answer.agent}", member.name)
    assert leaf.digest == canonical.sha256(der)


def test_a_returning_agent_keeps_its_name(hub: RunningHub) -> None:
    member = hub.enrol("acme")
    assert enrol(hub, asked(hub, member, agent=member.agent)).agent == member.agent
    assert set(listed(member)) == {member.agent}


def test_a_retry_is_answered_alike_and_nothing_else_by_that_request(hub: RunningHub) -> None:
    """The signature covers the request id: who overheard one request has no use for it."""
    member = hub.enrol("acme")
    request = asked(hub, member)
    assert enrol(hub, request) == enrol(hub, request)
    changed = pb.EnrolAgentRequest.FromString(request.SerializeToString())
    changed.certificate_request = tls.certificate_request(tls.new_channel_key())
    assert refused(hub, changed) == "REQUEST_ID_REUSED"
    changed.request_id = request_id()
    assert refused(hub, changed) == "IDENTITY_REFUSED"
    again = pb.EnrolAgentRequest.FromString(request.SerializeToString())
    again.request_id = request_id()
    assert refused(hub, again) == "IDENTITY_REFUSED"
    assert len(listed(member)) == 2


def forged(request: pb.EnrolAgentRequest) -> None:
    request.identity_signature = tampered(request.identity_signature)


def as_another(request: pb.EnrolAgentRequest) -> None:
    request.member = "members/rival"


def as_nobody(request: pb.EnrolAgentRequest) -> None:
    request.member = "members/nobody"


def as_invited(request: pb.EnrolAgentRequest) -> None:
    request.member = "members/invited"


def as_another_agent(request: pb.EnrolAgentRequest) -> None:
    request.agent = "agents/00000000"


def later(request: pb.EnrolAgentRequest) -> None:
    request.request_time.seconds += 1


@pytest.mark.parametrize("change", [forged, as_another, as_nobody, as_invited, as_another_agent, later])
def test_the_identity_signs_all_of_it_and_outsiders_learn_nothing(
    change: Callable[[pb.EnrolAgentRequest], None], hub: RunningHub
) -> None:
    member, _ = hub.enrol("acme"), hub.enrol("rival")
    hub.invite("invited")
    request = asked(hub, member)
    change(request)
    assert refused(hub, request) == "IDENTITY_REFUSED"


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_request_counts_for_five_minutes(seconds: int, hub: RunningHub) -> None:
    member = hub.enrol("acme")
    moment = now()
    moment.seconds += seconds
    assert refused(hub, asked(hub, member, time=moment)) == "REQUEST_EXPIRED"
    moment.seconds -= 2 * seconds // abs(seconds)
    enrol(hub, asked(hub, member, time=moment))


def test_a_lost_answer_is_given_again_after_the_five_minutes(hub: RunningHub, clock: ShiftedClock) -> None:
    request = asked(hub, hub.enrol("acme"))
    first = enrol(hub, request)
    clock.advance(minutes=10)
    assert enrol(hub, request) == first


def test_no_time_is_no_time(hub: RunningHub) -> None:
    assert refused(hub, asked(hub, hub.enrol("acme"), time=Timestamp(seconds=-1))) == "TIME_INVALID"


def test_who_is_gone_does_not_return_and_who_is_suspended_may_to_leave(hub: RunningHub) -> None:
    member, suspended = hub.enrol("acme"), hub.enrol("bigmart")
    hub.expel(member)
    hub.suspend(suspended)
    assert refused(hub, asked(hub, member)) == "IDENTITY_REFUSED"
    enrol(hub, asked(hub, suspended))


def test_a_revoked_agent_is_out_at_once_and_for_good(hub: RunningHub) -> None:
    member = hub.enrol("acme")
    second = enrol(hub, asked(hub, member)).agent
    third = member.further_agent(hub.settings.alliance_name, hub.open_enrolment_channel())
    gone = third.agent
    third.call(pb.ListAgentsRequest(), pb.ListAgentsResponse)
    for _ in range(2):
        answer = member.call(pb.RevokeAgentRequest(name=gone), pb.RevokeAgentResponse)
        assert answer.agent.HasField("revoke_time")
    with pytest.raises(NotAuthenticated) as caught:
        third.call(pb.ListAgentsRequest(), pb.ListAgentsResponse)
    assert caught.value.reason == "CERTIFICATE_REVOKED"
    third.close()
    assert refused(hub, asked(hub, member, agent=gone)) == "AGENT_REVOKED"
    assert {name for name, one in listed(member).items() if one.HasField("revoke_time")} == {gone}
    assert second in listed(member)
    assert [leaf.event for leaf in leaves(hub, "agent_revoked")] == [f"agent_revoked:{gone}"]


def test_an_agent_revokes_neither_itself_nor_anothers(hub: RunningHub) -> None:
    member, rival = hub.enrol("acme"), hub.enrol("rival")
    with pytest.raises(FailedPrecondition) as caught:
        member.call(pb.RevokeAgentRequest(name=member.agent), pb.RevokeAgentResponse)
    assert caught.value.reason == "AGENT_IS_CALLER"
    with pytest.raises(NotFound) as missing:
        member.call(pb.RevokeAgentRequest(name=rival.agent), pb.RevokeAgentResponse)
    assert missing.value.reason == "AGENT_NOT_FOUND"
    assert list(listed(rival)) == [rival.agent]


def test_a_member_has_so_many_agents_and_no_more(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "MAX_AGENTS", 2)
    member = hub.enrol("acme")
    second = enrol(hub, asked(hub, member)).agent
    assert refused(hub, asked(hub, member)) == "TOO_MANY_AGENTS"
    member.call(pb.RevokeAgentRequest(name=second), pb.RevokeAgentResponse)
    enrol(hub, asked(hub, member))


@pytest.mark.parametrize("number", [0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18, 2**255, 2**256 - 1])
def test_a_sealing_key_that_seals_nothing_is_refused(number: int, hub: RunningHub) -> None:
    """Points of low order, and second spellings of a key (RFC 7748, sections 5 and 6.1)."""

    class Weak(Identity):
        @property
        def sealing_key(self) -> bytes:
            return number.to_bytes(32, "little")

    with pytest.raises(AllianceError) as caught:
        RawMember.enrol(hub.invite("acme"), identity=Weak.generate())
    assert caught.value.reason == "IDENTITY_INVALID"


def test_a_signing_key_in_a_second_spelling_is_refused(hub: RunningHub) -> None:
    """A compressed point is the same key in other bytes, and so would be another identity's digest."""

    class Respelt(Identity):
        @property
        def signing_key(self) -> bytes:
            point = self.signing.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
            return bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + point

    assert serialization.load_der_public_key(Respelt.generate().signing_key)
    with pytest.raises(AllianceError) as caught:
        RawMember.enrol(hub.invite("acme"), identity=Respelt.generate())
    assert caught.value.reason == "IDENTITY_INVALID"


def test_a_new_agent_speaks_for_its_member(hub: RunningHub) -> None:
    member = hub.enrol("acme")
    second = member.further_agent(hub.settings.alliance_name, hub.open_enrolment_channel())
    hello = membership_pb2.HandshakeRequest(client_version="0.1.0")
    assert second.call(hello, membership_pb2.HandshakeResponse).caller == member.name
    second.close()


def refused(hub: RunningHub, request: pb.EnrolAgentRequest) -> str:
    with pytest.raises(AllianceError) as caught:
        enrol(hub, request)
    if caught.value.reason in ("IDENTITY_REFUSED", "AGENT_REVOKED"):
        assert isinstance(caught.value, NotPermitted)
    return caught.value.reason
