"""Joining over the wire: one code, one member, once; a lost answer can be asked for again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
from cryptography import x509

from alliance import tls
from alliance.errors import AllianceError, AlreadyExists, InvalidInput, NotPermitted, Unavailable
from alliance.join_code import JoinCode, parse
from alliance.v1 import enrolment_pb2 as pb
from alliance.v1 import membership_pb2
from hub.membership.model import Role
from tests.kit.clock import ShiftedClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.keys import Identity, request_id, tampered
from tests.kit.member import RawMember, enrol_call, enrol_request


def honest(code: JoinCode) -> pb.EnrolRequest:
    return enrol_request(code, Identity.generate(), tls.new_channel_key())


def test_a_code_as_text_makes_a_member(hub: RunningHub) -> None:
    enrolled = enrol_call(*prepared(parse(hub.invite("acme", Role.REGULATOR).encode())))
    assert (enrolled.member, enrolled.role) == ("members/acme", pb.MEMBER_ROLE_REGULATOR)
    assert (enrolled.alliance, enrolled.hub_address) == ("alliance.example", hub.address)
    assert enrolled.log_key == hub.services.audit.public_key
    [leaf] = enrolled.certificate_chain
    assert leaf != b""


def prepared(code: JoinCode) -> tuple[JoinCode, pb.EnrolRequest]:
    return code, honest(code)


@pytest.mark.parametrize("reason", ["INVITATION_USED", "INVITATION_EXPIRED", "INVITATION_UNKNOWN"])
def test_a_code_that_does_not_count_says_why(reason: str, hub: RunningHub, clock: ShiftedClock) -> None:
    code = hub.invite("acme", seconds=60)
    match reason:
        case "INVITATION_USED":
            RawMember.enrol(code).close()
        case "INVITATION_EXPIRED":
            clock.advance(seconds=60)
        case _:
            code = replace(code, secret=bytes(32))
    with pytest.raises(NotPermitted) as caught:
        RawMember.enrol(code)
    assert (caught.value.reason, caught.value.remedy) == (reason, "ask the operator for a new invitation")


def test_an_answer_that_was_lost_can_be_asked_for_again(hub: RunningHub) -> None:
    """The code is used, and yet the member that used it gets its certificate by the same request."""
    code, request = prepared(hub.invite("acme"))
    assert enrol_call(code, request) == enrol_call(code, request)
    request.request_id = request_id()
    with pytest.raises(NotPermitted) as caught:
        enrol_call(code, request)
    assert caught.value.reason == "INVITATION_USED"


def test_of_two_uses_at_once_one_is_a_member(tmp_path: Path, database_url: str) -> None:
    with running_hub(tmp_path, url=database_url) as hub, ThreadPoolExecutor(3) as pool:
        together = Barrier(3)

        def use(code: JoinCode) -> str:
            request = honest(code)
            together.wait(10)
            try:
                return enrol_call(code, request).member
            except AllianceError as error:
                return error.reason

        for n in range(4):
            code = hub.invite(f"m{n}")
            outcomes = [future.result() for future in [pool.submit(use, code) for _ in range(3)]]
            assert sorted(outcomes) == ["INVITATION_USED", "INVITATION_USED", f"members/m{n}"]


def forged_signature(request: pb.EnrolRequest) -> None:
    request.identity_signature = tampered(request.identity_signature)


def other_channel_key(request: pb.EnrolRequest) -> None:
    request.certificate_request = tls.certificate_request(tls.new_channel_key())


def other_signing_key(request: pb.EnrolRequest) -> None:
    request.identity.signing_key = Identity.generate().signing_key


def other_sealing_key(request: pb.EnrolRequest) -> None:
    request.identity.sealing_key = Identity.generate().sealing_key


def no_identity(request: pb.EnrolRequest) -> None:
    request.ClearField("identity")


@pytest.mark.parametrize(
    "change", [forged_signature, other_channel_key, other_signing_key, other_sealing_key, no_identity]
)
def test_the_identity_signs_all_of_it(change: Callable[[pb.EnrolRequest], None], hub: RunningHub) -> None:
    code, request = prepared(hub.invite("acme"))
    change(request)
    with pytest.raises(InvalidInput) as caught:
        enrol_call(code, request)
    assert caught.value.reason == "IDENTITY_INVALID"
    RawMember.enrol(code).close()  # and the code is still good


def test_an_identity_is_one_members(hub: RunningHub) -> None:
    identity = Identity.generate()
    RawMember.enrol(hub.invite("acme"), identity=identity).close()
    with pytest.raises(AlreadyExists) as caught:
        RawMember.enrol(hub.invite("rival"), identity=identity)
    assert caught.value.reason == "IDENTITY_TAKEN"


def test_a_code_for_another_ca_never_sends_its_secret(hub: RunningHub, tmp_path: Path) -> None:
    """The code carries the CA: a hub that cannot show a certificate of it is not spoken to."""
    with running_hub(tmp_path / "other") as other:
        code = replace(hub.invite("acme"), address=other.enrolment_address)
        with pytest.raises(Unavailable):
            RawMember.enrol(code)


def test_renewing_gives_the_same_agent_a_new_certificate(hub: RunningHub) -> None:
    member, key = hub.enrol("acme"), tls.new_channel_key()
    request = pb.RenewCertificateRequest(certificate_request=tls.certificate_request(key))
    [der] = member.call(request, pb.RenewCertificateResponse).certificate_chain
    renewed = x509.load_der_x509_certificate(der)
    assert tls.peer_of(renewed).agent == member.agent
    member.key_pem, member.chain_pem = tls.private_pem(key), tls.chain_pem([der])
    member.reconnect(hub.address)
    shaken = member.call(membership_pb2.HandshakeRequest(client_version="0.1.0"), membership_pb2.HandshakeResponse)
    assert (shaken.caller, shaken.caller_role) == (member.name, "brand")
    assert shaken.certificate_expire_time.ToDatetime() == renewed.not_valid_after_utc.replace(tzinfo=None)
