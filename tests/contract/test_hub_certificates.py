"""Only a certificate that this hub issued, to someone who still counts, opens a call; each other one fails everywhere.

Some are refused in the handshake, where TLS can see what is wrong: the client then learns no reason (UNAVAILABLE
without details). What TLS cannot see, the edge finds on every call.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from alliance import channel, tls
from alliance.v1 import enrolment_pb2
from alliance.v1 import membership_pb2 as pb
from hub.membership.model import Role
from hub.pki import x509 as profile
from tests.kit.clock import ShiftedClock
from tests.kit.hub import RunningHub
from tests.kit.member import RawMember
from tests.kit.rpc import all_methods, raw_call

METHODS = all_methods()
WHO = METHODS["alliance.v1.MembershipService/ListMembers"]
DAY = dt.timedelta(days=1)
TLS_REFUSES = (grpc.StatusCode.UNAVAILABLE, "")


@pytest.fixture
def acme(hub: RunningHub) -> RawMember:
    return hub.enrol("acme")


class Forger:
    """Certificates for one key, by anyone's CA key, with anything in them."""

    def __init__(self, hub: RunningHub, member: RawMember) -> None:
        self.hub = hub
        self.key = tls.new_channel_key()
        self.alliance = hub.settings.alliance_name
        self.spiffe = tls.member_spiffe(self.alliance, "acme", member.agent.partition("/")[2])
        self.now = dt.datetime.now(dt.UTC)

    def leaf(
        self,
        *,
        ca: x509.Certificate | None = None,
        ca_key: ec.EllipticCurvePrivateKey | None = None,
        server: bool = False,
        start: dt.timedelta = -DAY,
        end: dt.timedelta = DAY,
    ) -> x509.Certificate:
        """By default what a thief of the CA key would make: right in every way, and never issued."""
        return profile.leaf(
            ca or self.hub.services.pki.ca,
            ca_key or self.hub.ca_key,
            key=self.key.public_key(),
            alliance=self.alliance,
            spiffe=self.spiffe,
            server=server,
            not_before=self.now + start,
            not_after=self.now + end,
        )

    def named(self, *names: x509.GeneralName) -> x509.Certificate:
        """A client certificate of the real CA with these alternative names, or none at all."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme")]))
            .issuer_name(self.hub.services.pki.ca.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - DAY)
            .not_valid_after(self.now + DAY)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.hub.ca_key, hashes.SHA256())

    def other_ca(self) -> x509.Certificate:
        """A CA of the same name with another key."""
        key = tls.new_channel_key()
        return self.leaf(ca=profile.new_ca(self.alliance, key, self.now), ca_key=key)

    def self_signed(self) -> x509.Certificate:
        return self.leaf(ca_key=self.key)

    def try_it(self, certificate: x509.Certificate) -> set[tuple[grpc.StatusCode, str]]:
        return everywhere(self.hub.open_channel(key=self.key, certificate=certificate))


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def everywhere(opened: grpc.Channel) -> set[tuple[grpc.StatusCode, str]]:
    """What every RPC there is answers over this connection."""
    outcomes = [raw_call(opened, method) for method in METHODS.values()]
    assert all(len(outcome.infos) == 1 for outcome in outcomes if outcome.code is grpc.StatusCode.UNAUTHENTICATED)
    return {(outcome.code, outcome.reason) for outcome in outcomes}


def unauthenticated(reason: str) -> set[tuple[grpc.StatusCode, str]]:
    return {(grpc.StatusCode.UNAUTHENTICATED, reason)}


@pytest.mark.parametrize(
    ("forge", "refusal"),
    [
        pytest.param(Forger.other_ca, TLS_REFUSES, id="other CA of the same name"),
        pytest.param(Forger.self_signed, TLS_REFUSES, id="self-signed"),
        pytest.param(lambda f: f.leaf(end=-DAY / 2), TLS_REFUSES, id="expired"),
        pytest.param(lambda f: f.leaf(start=DAY / 2), TLS_REFUSES, id="not yet valid"),
        pytest.param(lambda f: f.leaf(server=True), TLS_REFUSES, id="wrong usage"),
        pytest.param(Forger.leaf, "CERTIFICATE_REVOKED", id="right CA, never issued"),
        pytest.param(Forger.named, "NO_IDENTITY", id="no name"),
        pytest.param(lambda f: f.named(x509.DNSName("acme")), "NO_IDENTITY", id="host name"),
        pytest.param(lambda f: f.named(uri(f.spiffe), uri(f.spiffe)), "NO_IDENTITY", id="two names"),
        pytest.param(lambda f: f.named(uri(tls.member_spiffe("other", "acme", "1"))), "NO_IDENTITY", id="other domain"),
        pytest.param(lambda f: f.named(uri(f"{f.spiffe}/more")), "NO_IDENTITY", id="longer name"),
        pytest.param(lambda f: f.named(uri("https://alliance.example/")), "NO_IDENTITY", id="another URI"),
        pytest.param(lambda f: f.named(uri(tls.hub_spiffe(f.alliance))), "CERTIFICATE_REVOKED", id="the hub's name"),
    ],
)
def test_a_bad_certificate_opens_nothing(
    forge: Callable[[Forger], x509.Certificate],
    refusal: str | tuple[grpc.StatusCode, str],
    hub: RunningHub,
    acme: RawMember,
) -> None:
    forger = Forger(hub, acme)
    wanted = {refusal} if isinstance(refusal, tuple) else unauthenticated(refusal)
    assert forger.try_it(forge(forger)) == wanted
    assert raw_call(acme.channel, WHO).code is grpc.StatusCode.OK


def test_the_hubs_own_certificate_makes_no_client(hub: RunningHub) -> None:
    identity = hub.services.pki.server_identity(["localhost"], hub.services.pki.initial)
    opened = channel.open_channel(hub.address, roots=hub.roots, key=identity.key, chain=identity.chain)
    try:
        assert everywhere(opened) == {TLS_REFUSES}
    finally:
        opened.close()


def test_a_certificate_that_expires_while_connected_ends_there(
    hub: RunningHub, acme: RawMember, clock: ShiftedClock
) -> None:
    """TLS looked at the handshake only; the connection is still the same."""
    assert raw_call(acme.channel, WHO).code is grpc.StatusCode.OK
    clock.advance(hours=hub.settings.membership_certificate_hours)
    assert everywhere(acme.channel) == unauthenticated("CERTIFICATE_EXPIRED")


def test_a_hub_whose_clock_is_behind_says_so(hub: RunningHub, acme: RawMember, clock: ShiftedClock) -> None:
    clock.advance(hours=-2)
    assert everywhere(acme.channel) == unauthenticated("CERTIFICATE_NOT_YET_VALID")
    assert "clocks" in raw_call(acme.channel, WHO).infos[0].metadata["remedy"]


def test_an_expelled_member_is_out_at_once(hub: RunningHub, acme: RawMember) -> None:
    hub.expel(acme)
    assert everywhere(acme.channel) == unauthenticated("CERTIFICATE_REVOKED")


def test_a_member_that_left_is_out_at_once(hub: RunningHub, acme: RawMember) -> None:
    acme.leave()
    assert everywhere(acme.channel) == unauthenticated("CERTIFICATE_REVOKED")


def test_a_suspended_member_is_told_so_and_comes_back(hub: RunningHub, acme: RawMember) -> None:
    hub.suspend(acme)
    outcome = raw_call(acme.channel, WHO)
    assert (outcome.code, outcome.reason) == (grpc.StatusCode.PERMISSION_DENIED, "MEMBER_SUSPENDED")
    hub.admin.call(pb.ReinstateMemberRequest(name=acme.name, reason="cleared"), pb.ReinstateMemberResponse)
    assert raw_call(acme.channel, WHO).code is grpc.StatusCode.OK


def test_the_name_in_a_certificate_request_counts_for_nothing(hub: RunningHub) -> None:
    """A member that asks for another one's name gets its own."""
    acme, key = hub.enrol("acme", Role.EXPERT), tls.new_channel_key()
    wish = x509.SubjectAlternativeName([uri(tls.operator_spiffe(hub.settings.alliance_name, "admin"))])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")]))
        .add_extension(wish, critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    renewed = acme.call(
        enrolment_pb2.RenewCertificateRequest(certificate_request=request), enrolment_pb2.RenewCertificateResponse
    )
    peer = tls.peer_of(x509.load_der_x509_certificate(renewed.certificate_chain[0]))
    assert (peer.name, peer.agent) == (acme.name, acme.agent)
