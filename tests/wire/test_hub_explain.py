"""ExplainCertificate says what the handshake cannot, to the holder of the certificate's key and to nobody else."""

from __future__ import annotations

import collections
import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.timestamp_pb2 import Timestamp

from alliance import channel, tls
from alliance.errors import InvalidInput, LimitExceeded, NotPermitted
from alliance.v1 import enrolment_pb2 as pb
from alliance.v1 import membership_pb2
from hub.pki import x509 as profile
from tests.kit.clock import ShiftedClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.keys import explain_request, tampered
from tests.kit.member import RawMember

DAY = dt.timedelta(days=1)


@pytest.fixture
def acme(hub: RunningHub) -> RawMember:
    return hub.enrol("acme")


def asked(hub: RunningHub, request: pb.ExplainCertificateRequest) -> pb.ExplainCertificateResponse:
    return channel.call(hub.open_enrolment_channel(), request, pb.ExplainCertificateResponse)


def moment(clock: ShiftedClock) -> Timestamp:
    made = Timestamp()
    made.FromMicroseconds(int(clock().timestamp() * 1e6))
    return made


def state(hub: RunningHub, member: RawMember, clock: ShiftedClock) -> str:
    """What the hub says of the member's certificate, signed by the hub's clock."""
    request = member.explain_request(hub.settings.alliance_name, time=moment(clock))
    answer = asked(hub, request)
    assert bool(answer.explanation) == bool(answer.remedy) == (answer.state != pb.CERTIFICATE_STATE_GOOD)
    return pb.CertificateState.Name(answer.state).removeprefix("CERTIFICATE_STATE_")


def leave(hub: RunningHub, member: RawMember, clock: ShiftedClock) -> None:
    member.leave()


def revoke_agent(hub: RunningHub, member: RawMember, clock: ShiftedClock) -> None:
    other = member.further_agent(hub.settings.alliance_name, hub.open_enrolment_channel())
    other.call(pb.RevokeAgentRequest(name=member.agent), pb.RevokeAgentResponse)
    other.close()


@pytest.mark.parametrize(
    ("happens", "wanted"),
    [
        pytest.param(lambda hub, member, clock: None, "GOOD", id="nothing"),
        pytest.param(lambda hub, member, clock: clock.advance(hours=25), "EXPIRED", id="expired"),
        pytest.param(lambda hub, member, clock: clock.advance(hours=-2), "NOT_YET_VALID", id="hub behind"),
        pytest.param(lambda hub, member, clock: hub.suspend(member), "MEMBER_SUSPENDED", id="suspended"),
        pytest.param(lambda hub, member, clock: hub.expel(member), "MEMBER_EXPELLED", id="expelled"),
        pytest.param(leave, "MEMBER_LEFT", id="left"),
        pytest.param(revoke_agent, "REVOKED", id="agent revoked"),
    ],
)
def test_each_state_has_its_name_and_a_remedy(
    happens: Callable[[RunningHub, RawMember, ShiftedClock], None],
    wanted: str,
    hub: RunningHub,
    acme: RawMember,
    clock: ShiftedClock,
) -> None:
    happens(hub, acme, clock)
    assert state(hub, acme, clock) == wanted


def test_who_waits_is_told_so(tmp_path: Path, clock: ShiftedClock) -> None:
    with running_hub(tmp_path, clock=clock, membership_admission_cosigners=2) as hub:
        for name in ("first", "second"):
            hub.enrol(name)
        assert state(hub, hub.enrol("third"), clock) == "MEMBER_UNADMITTED"


class Forger:
    """Certificates in acme's name for a key of one's own."""

    def __init__(self, hub: RunningHub, member: RawMember) -> None:
        self.hub, self.key = hub, tls.new_channel_key()
        self.alliance = hub.settings.alliance_name
        self.spiffe = tls.member_spiffe(self.alliance, "acme", member.agent.partition("/")[2])

    def leaf(
        self,
        *,
        ca: x509.Certificate | None = None,
        ca_key: ec.EllipticCurvePrivateKey | None = None,
        spiffe: str = "",
        server: bool = False,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        return profile.leaf(
            ca or self.hub.services.pki.ca,
            ca_key or self.hub.ca_key,
            key=self.key.public_key(),
            alliance=self.alliance,
            spiffe=spiffe or self.spiffe,
            server=server,
            not_before=now,
            not_after=now + DAY,
        )

    def of_another_authority(self) -> x509.Certificate:
        key = tls.new_channel_key()
        return self.leaf(ca=profile.new_ca(self.alliance, key, dt.datetime.now(dt.UTC)), ca_key=key)

    def self_signed(self) -> x509.Certificate:
        return self.leaf(ca_key=self.key)


@pytest.mark.parametrize(
    ("forge", "wanted"),
    [
        pytest.param(Forger.of_another_authority, "UNKNOWN_AUTHORITY", id="other CA of the same name"),
        pytest.param(Forger.self_signed, "UNKNOWN_AUTHORITY", id="self-signed"),
        pytest.param(lambda f: f.leaf(server=True), "WRONG_USAGE", id="wrong usage"),
        pytest.param(lambda f: f.leaf(spiffe="spiffe://other/member/acme/agent/1"), "NO_IDENTITY", id="other domain"),
        pytest.param(lambda f: f.leaf(spiffe="https://acme.example/acme"), "NO_IDENTITY", id="another URI"),
        pytest.param(lambda f: f.leaf(), "NEVER_ISSUED", id="right CA, never issued"),
    ],
)
def test_a_forged_certificate_learns_nothing_of_whom_it_names(
    forge: Callable[[Forger], x509.Certificate], wanted: str, hub: RunningHub, acme: RawMember
) -> None:
    forger = Forger(hub, acme)
    chain = [forge(forger).public_bytes(serialization.Encoding.DER)]
    first = asked(hub, explain_request(forger.alliance, forger.key, chain))
    assert pb.CertificateState.Name(first.state) == f"CERTIFICATE_STATE_{wanted}"
    assert first.remedy
    hub.suspend(acme)
    again = asked(hub, explain_request(forger.alliance, forger.key, chain))
    assert (again.state, again.explanation, again.remedy) == (first.state, first.explanation, first.remedy)


def test_only_the_holder_of_the_key_asks(hub: RunningHub, acme: RawMember) -> None:
    alliance, stranger = hub.settings.alliance_name, tls.new_channel_key()
    good = acme.explain_request(alliance)
    tampering = pb.ExplainCertificateRequest.FromString(good.SerializeToString())
    tampering.signature = tampered(good.signature)
    later = pb.ExplainCertificateRequest.FromString(good.SerializeToString())
    later.request_time.seconds += 1
    for request in (
        explain_request(alliance, stranger, acme.chain),
        explain_request("other.example", _key(acme), acme.chain),
        tampering,
        later,
        pb.ExplainCertificateRequest(certificate_chain=acme.chain, request_time=good.request_time),
    ):
        with pytest.raises(NotPermitted) as caught:
            asked(hub, request)
        assert caught.value.reason == "NOT_THE_HOLDER"


@pytest.mark.parametrize("minutes", [-6, 6])
def test_an_old_question_is_refused_and_the_clock_is_told(minutes: int, hub: RunningHub, acme: RawMember) -> None:
    clock = ShiftedClock()
    clock.advance(minutes=minutes)
    with pytest.raises(InvalidInput) as caught:
        asked(hub, acme.explain_request(hub.settings.alliance_name, time=moment(clock)))
    assert caught.value.reason == "REQUEST_EXPIRED"
    assert "clock" in str(caught.value)


def test_what_is_no_certificate_is_said(hub: RunningHub, acme: RawMember) -> None:
    good = acme.chain[0]
    for chain in ([], [b""], [b"\x30\x03\x02\x01\x01"], [good[:-9]], [bytes(5000)], [good] * 9):
        request = pb.ExplainCertificateRequest(certificate_chain=chain)
        with pytest.raises(InvalidInput) as caught:
            asked(hub, request)
        assert caught.value.reason == "CERTIFICATE_MALFORMED"


def test_a_key_of_another_kind_is_no_holder(hub: RunningHub) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + DAY)
        .sign(key, hashes.SHA256())
    )
    chain = [made.public_bytes(serialization.Encoding.DER)]
    with pytest.raises(NotPermitted):
        asked(hub, explain_request(hub.settings.alliance_name, key, chain))


def test_an_operator_is_told_too(hub: RunningHub) -> None:
    kit = hub.home.operator / "admin"
    key = serialization.load_pem_private_key((kit / "key.pem").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    leaf = x509.load_pem_x509_certificate((kit / "certificate.pem").read_bytes())
    request = explain_request(hub.settings.alliance_name, key, [leaf.public_bytes(serialization.Encoding.DER)])
    assert asked(hub, request).state == pb.CERTIFICATE_STATE_GOOD


def test_questions_from_one_address_are_limited(tmp_path: Path) -> None:
    with running_hub(tmp_path, limits_enrolment_calls_per_second=1.0) as hub:
        member = hub.enrol("acme")
        request = member.explain_request(hub.settings.alliance_name)
        with pytest.raises(LimitExceeded) as caught:
            collections.deque(asked(hub, request) for _ in range(20))
        assert caught.value.reason == "RATE_LIMITED"
        assert caught.value.retry_seconds > 0
        # Nobody on the main listener waits for that.
        member.call(membership_pb2.HandshakeRequest(client_version="0.1.0"), membership_pb2.HandshakeResponse)


def _key(member: RawMember) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(member.key_pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
