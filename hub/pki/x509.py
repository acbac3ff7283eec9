"""Builds the X.509 objects of the profile in `alliance.tls`; pure, keys and times are arguments."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from alliance import anchors
from alliance.chain import UNREADABLE
from alliance.errors import InvalidInput

# Clocks of members may be a little behind the hub's. Short lives are backdated less: renewal counts from the start.
BACKDATE = dt.timedelta(minutes=5)
CA_LIFETIME = dt.timedelta(days=3650)
INTERMEDIATE_LIFETIME = dt.timedelta(days=730)
CA, ROOT, INTERMEDIATE = "Alliance CA", "Alliance root", "Alliance issuing CA"


def new_ca(alliance: str, key: ec.EllipticCurvePrivateKey, now: dt.datetime, *, name: str = CA) -> x509.Certificate:
    """A self-signed P-256 trust anchor."""
    builder = _authority(alliance, name, key.public_key(), now, now + CA_LIFETIME, path_length=anchors.ANCHOR_PATH)
    return _signed(builder, _name(alliance, name), key)


def new_intermediate(
    root: x509.Certificate,
    root_key: ec.EllipticCurvePrivateKey,
    *,
    key: ec.EllipticCurvePublicKey,
    alliance: str,
    now: dt.datetime,
) -> x509.Certificate:
    """An authority under an offline root that signs leaves only; at most as long as the root lives."""
    ends = min(now + INTERMEDIATE_LIFETIME, root.not_valid_after_utc)
    builder = _authority(alliance, INTERMEDIATE, key, now, ends, path_length=anchors.INTERMEDIATE_PATH)
    return _signed(builder, root.subject, root_key)


def cross(
    successor: x509.Certificate, by: x509.Certificate, by_key: ec.EllipticCurvePrivateKey, *, now: dt.datetime
) -> x509.Certificate:
    """The successor's key and name under the authority before it: who trusts that one trusts the successor.

    Raises: InvalidInput for a successor that is no P-256 authority.
    """
    key = successor.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput("the successor has no P-256 key", field="successor")
    ends = min(by.not_valid_after_utc, successor.not_valid_after_utc)
    builder = _authority("", "", key, now, ends, path_length=anchors.CROSS_PATH).subject_name(successor.subject)
    return _signed(builder, by.subject, by_key)


def _authority(
    alliance: str,
    name: str,
    public: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    ends: dt.datetime,
    *,
    path_length: int,
) -> x509.CertificateBuilder:
    """`cross` takes its subject from elsewhere: no name here."""
    builder = (
        x509.CertificateBuilder()
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return builder.subject_name(_name(alliance, name)) if name else builder


def _signed(builder: x509.CertificateBuilder, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return (
        builder.issuer_name(issuer)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def parse_request(der: bytes) -> ec.EllipticCurvePublicKey:
    """The P-256 key of a PKCS#10 request whose holder proved possession; names in it are ignored.

    Raises: InvalidInput.
    """
    try:
        request = x509.load_der_x509_csr(der)
        key = request.public_key()
        valid = request.is_signature_valid
    except UNREADABLE as error:
        raise _bad_request("the certificate request cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _bad_request("the certificate request has no P-256 key")
    if not valid:
        raise _bad_request("the certificate request is not signed by its own key")
    return key


def leaf(
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    *,
    key: ec.EllipticCurvePublicKey,
    alliance: str,
    spiffe: str,
    names: Sequence[str] = (),
    server: bool = False,
    not_before: dt.datetime,
    not_after: dt.datetime,
) -> x509.Certificate:
    """A leaf with one SPIFFE URI that does not outlive its issuer.

    Args:
        names: DNS names or IP addresses, for the hub's own certificate.
    """
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH] if not server else [ExtendedKeyUsageOID.SERVER_AUTH]
    alternatives: list[x509.GeneralName] = [x509.UniformResourceIdentifier(spiffe)]
    alternatives += [_general_name(name) for name in names]
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(alliance, spiffe.rpartition("/")[2]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before - min(BACKDATE, (not_after - not_before) / 10))
        .not_valid_after(min(not_after, ca.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    return _signed(builder, ca.subject, ca_key)


def _name(alliance: str, common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, alliance[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, common[:64]),
        ]
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _bad_request(message: str) -> InvalidInput:
    return InvalidInput(
        message,
        reason="CERTIFICATE_REQUEST_INVALID",
        field="certificate_request",
        remedy="send a PKCS#10 request for a P-256 key",
    )
