"""What the hub signs: leaves for P-256 keys, good for one thing, no longer than their issuer."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from alliance import tls
from alliance.errors import InvalidInput
from hub.pki import x509 as profile

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def made(*, lifetime: dt.timedelta, now: dt.datetime = NOW, server: bool = False) -> tuple[x509.Certificate, ...]:
    """A leaf, and the authority that began at `NOW`."""
    key = tls.new_channel_key()
    ca = profile.new_ca("alliance.example", key, NOW)
    leaf = profile.leaf(
        ca,
        key,
        key=tls.new_channel_key().public_key(),
        alliance="alliance.example",
        spiffe=tls.hub_spiffe("alliance.example") if server else tls.member_spiffe("alliance.example", "acme", "a1"),
        server=server,
        not_before=now,
        not_after=now + lifetime,
    )
    return leaf, ca


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-384", "secp256k1", "Ed25519", "RSA"],
)
def test_a_request_for_a_key_of_another_kind_is_refused(key: Key) -> None:
    hashed = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashed)
    with pytest.raises(InvalidInput) as caught:
        profile.parse_request(request.public_bytes(Encoding.DER))
    assert caught.value.reason == "CERTIFICATE_REQUEST_INVALID"


def test_a_leaf_ends_with_its_issuer_at_the_latest() -> None:
    leaf, ca = made(lifetime=dt.timedelta(days=2), now=NOW + profile.CA_LIFETIME - dt.timedelta(days=1))
    assert leaf.not_valid_after_utc == ca.not_valid_after_utc
    leaf, ca = made(lifetime=dt.timedelta(days=2))
    assert leaf.not_valid_after_utc == NOW + dt.timedelta(days=2) < ca.not_valid_after_utc


@pytest.mark.parametrize(
    ("server", "usage"), [(False, ExtendedKeyUsageOID.CLIENT_AUTH), (True, ExtendedKeyUsageOID.SERVER_AUTH)]
)
def test_a_leaf_is_for_one_end_of_a_connection_and_signs_nothing(server: bool, usage: x509.ObjectIdentifier) -> None:
    leaf, _ = made(lifetime=dt.timedelta(days=1), server=server)
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
