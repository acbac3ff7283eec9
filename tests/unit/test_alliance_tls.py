"""Join codes and certificates: what is read from them is what was written, or they are refused by name."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from alliance import anchors, join_code, tls
from alliance.errors import InvalidInput, NotAuthenticated
from alliance.join_code import JoinCode
from alliance.names import MemberId
from alliance.tls import PeerKind
from hub.pki import x509 as profile

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
CA_KEY, KEY = tls.new_channel_key(), tls.new_channel_key()
CA = profile.new_ca("shoes.example", CA_KEY, NOW)
CODE = JoinCode(
    alliance="shoes.example", address="hub:8444", member=MemberId("members/acme"), ca=CA, secret=bytes(range(32))
)


def leaf(spiffe: str, *, server: bool = False) -> x509.Certificate:
    return profile.leaf(
        CA,
        CA_KEY,
        key=KEY.public_key(),
        alliance="shoes.example",
        spiffe=spiffe,
        server=server,
        not_before=NOW,
        not_after=NOW + dt.timedelta(days=30),
    )


def named(uri: str) -> x509.Certificate:
    """A client certificate that names this and nothing else."""
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(CA.subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(CA_KEY, hashes.SHA256())
    )


# Join codes.


def test_a_join_code_survives_how_people_copy_it() -> None:
    text = CODE.encode()
    assert text.startswith("alliance1_")
    assert text.isascii()
    for copied in (text, f"  {text}\n", "\n".join(text[at : at + 70] for at in range(0, len(text), 70))):
        assert join_code.parse(copied) == CODE


def test_a_join_code_does_not_show_its_secret() -> None:
    assert repr(CODE.secret) not in repr(CODE)


@given(st.integers(0, len(CODE.encode()) - 1), st.characters(codec="ascii"))
@settings(max_examples=200)
def test_one_wrong_character_is_noticed(at: int, wrong: str) -> None:
    text = CODE.encode()
    broken = text[:at] + wrong + text[at + 1 :]
    try:
        assert join_code.parse(broken) == CODE  # a space, or padding bits: the same code after all
    except InvalidInput as error:
        assert_malformed(error)


@pytest.mark.parametrize("size", [0, 5, 10, 11, 100, -1])
def test_a_code_that_was_cut_is_noticed(size: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        join_code.parse(CODE.encode()[:size])
    assert_malformed(caught.value)


def assert_malformed(error: InvalidInput) -> None:
    assert error.reason == "JOIN_CODE_MALFORMED"
    assert "alliance1_e" not in str(error), "a refusal echoes the code"


# Certificates.


def test_a_peer_is_what_its_certificate_says() -> None:
    member = tls.peer_of(leaf(tls.member_spiffe("shoes.example", "acme", "0a1b")), alliance="shoes.example")
    assert (member.kind, member.name, member.agent) == (PeerKind.MEMBER, "members/acme", "agents/0a1b")
    operator = tls.peer_of(leaf(tls.operator_spiffe("shoes.example", "dana")))
    assert (operator.kind, operator.name, operator.agent) == (PeerKind.OPERATOR, "operators/dana", "")
    hub = tls.peer_of(leaf(tls.hub_spiffe("shoes.example"), server=True))
    assert (hub.kind, hub.name) == (PeerKind.HUB, "hub")


@pytest.mark.parametrize(
    "spiffe",
    [
        "spiffe://shoes.example/member/acme",
        "spiffe://shoes.example/member/acme/agent/",
        "spiffe://shoes.example/member/acme/agent/1/",
        "spiffe://shoes.example/member/ACME/agent/1",
        "spiffe://shoes.example/operator/",
        "spiffe://shoes.example/hub/x",
        "spiffe:///member/acme/agent/1",
        "spiffe://shoes.example@evil/member/acme/agent/1",
        "https://shoes.example/member/acme/agent/1",
        "",
    ],
)
def test_what_names_nobody_is_refused(spiffe: str) -> None:
    with pytest.raises(NotAuthenticated) as caught:
        tls.peer_of(named(spiffe))
    assert caught.value.reason == "NO_IDENTITY"


def test_another_alliance_and_another_usage_are_refused() -> None:
    spiffe = tls.member_spiffe("shoes.example", "acme", "1")
    for certificate, alliance in ((leaf(spiffe), "bags.example"), (leaf(spiffe, server=True), "shoes.example")):
        with pytest.raises(NotAuthenticated) as caught:
            tls.peer_of(certificate, alliance=alliance)
        assert caught.value.reason == "NO_IDENTITY"


@pytest.mark.parametrize(
    ("offset", "reason"),
    [
        (dt.timedelta(minutes=-6), "CERTIFICATE_NOT_YET_VALID"),
        (dt.timedelta(minutes=-4), ""),
        (dt.timedelta(days=29, hours=23), ""),
        (dt.timedelta(days=30), "CERTIFICATE_EXPIRED"),
    ],
)
def test_a_certificate_counts_while_it_is_valid(offset: dt.timedelta, reason: str) -> None:
    peer = tls.peer_of(leaf(tls.member_spiffe("shoes.example", "acme", "1")))
    if not reason:
        peer.require_valid(NOW + offset)
        return
    with pytest.raises(NotAuthenticated) as caught:
        peer.require_valid(NOW + offset)
    assert caught.value.reason == reason


def test_the_profile_is_what_it_says() -> None:
    certificate = leaf(tls.member_spiffe("shoes.example", "acme", "1"))
    certificate.verify_directly_issued_by(CA)
    extensions = certificate.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is False
    authority = CA.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (authority.critical, authority.value.ca, authority.value.path_length) == (True, True, anchors.ANCHOR_PATH)


def test_a_request_proves_its_key_and_nothing_else() -> None:
    request = tls.certificate_request(KEY)
    assert profile.parse_request(request) == KEY.public_key()
    broken = bytearray(request)
    broken[-1] ^= 1
    for bad in (bytes(broken), request[:-1], b""):
        with pytest.raises(InvalidInput) as caught:
            profile.parse_request(bad)
        assert caught.value.reason == "CERTIFICATE_REQUEST_INVALID"


def test_a_fingerprint_is_that_of_the_whole_certificate() -> None:
    assert tls.fingerprint(CA).replace(":", "").lower() == CA.fingerprint(hashes.SHA256()).hex()
