"""The one TLS profile: P-256 leaves, TLS 1.3, SPIFFE URI SANs, and the identity read from a peer's certificate.

A certificate without our SPIFFE id is refused even if our CA signed it. Sources: SPIFFE X.509-SVID,
RFC 8446; docs/adr/0001-one-house.md for why P-256.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from alliance.errors import NotAuthenticated
from alliance.names import agent_id, member_id, operator_id

_SPIFFE = re.compile(
    r"spiffe://(?P<alliance>[a-z0-9][a-z0-9.-]{0,252})/"
    r"(?:member/(?P<member>[a-z0-9-]+)/agent/(?P<agent>[a-z0-9-]+)|operator/(?P<operator>[a-z0-9-]+)|(?P<hub>hub))\Z"
)


class PeerKind(StrEnum):
    MEMBER = "member"
    OPERATOR = "operator"
    HUB = "hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who a certificate speaks for; `name` is a resource name, or "hub"."""

    kind: PeerKind
    alliance: str
    name: str
    agent: str
    serial: int
    not_before: dt.datetime
    not_after: dt.datetime

    def require_valid(self, now: dt.datetime) -> None:
        """Checked per RPC and per stream message, since TLS checks only at the handshake. Raises: NotAuthenticated."""
        if now >= self.not_after:
            raise NotAuthenticated(
                f"certificate expired at {self.not_after:%Y-%m-%d %H:%M:%S} UTC",
                reason="CERTIFICATE_EXPIRED",
                remedy='an agent comes back by "alliance-agent renew"; an operator asks an admin for a new certificate',
            )
        if now < self.not_before:
            raise NotAuthenticated(
                f"certificate is not valid before {self.not_before:%Y-%m-%d %H:%M:%S} UTC",
                reason="CERTIFICATE_NOT_YET_VALID",
                remedy="check the clocks of this machine and the hub",
            )


def member_spiffe(alliance: str, member: str, agent: str) -> str:
    """`acme`, `0a1b` to `spiffe://ALLIANCE/member/acme/agent/0a1b`; slugs, not resource names."""
    return f"spiffe://{alliance}/member/{member}/agent/{agent}"


def operator_spiffe(alliance: str, operator: str) -> str:
    return f"spiffe://{alliance}/operator/{operator}"


def hub_spiffe(alliance: str) -> str:
    return f"spiffe://{alliance}/hub"


def peer_of(certificate: x509.Certificate, *, alliance: str | None = None) -> Peer:
    """Reads the peer from its leaf.

    Args:
        alliance: the trust domain it must be of; None accepts any (for `doctor`).

    Raises:
        NotAuthenticated: no SPIFFE id of ours, more than one URI, or no clientAuth usage.
    """
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = san.get_values_for_type(x509.UniformResourceIdentifier)
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound as error:
        raise _no_identity("the certificate names no member") from error
    found = _SPIFFE.match(uris[0]) if len(uris) == 1 else None
    if found is None or (alliance is not None and found["alliance"] != alliance):
        raise _no_identity("the certificate names no member of this alliance")
    if found["hub"] is None and ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise _no_identity("the certificate is not for clients")
    if found["member"]:
        kind, name = PeerKind.MEMBER, str(member_id(f"members/{found['member']}"))
        agent = str(agent_id(f"agents/{found['agent']}"))
    elif found["operator"]:
        kind, name, agent = PeerKind.OPERATOR, str(operator_id(f"operators/{found['operator']}")), ""
    else:
        kind, name, agent = PeerKind.HUB, "hub", ""
    return Peer(
        kind=kind,
        alliance=found["alliance"],
        name=name,
        agent=agent,
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _no_identity(message: str) -> NotAuthenticated:
    return NotAuthenticated(
        message, reason="NO_IDENTITY", remedy="use the certificate that joining this alliance gave you"
    )


def new_channel_key() -> ec.EllipticCurvePrivateKey:
    """P-256: gRPC's BoringSSL refuses Ed25519 leaves."""
    return ec.generate_private_key(ec.SECP256R1())


def certificate_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A PKCS#10 request, DER, that proves possession of the key; the hub sets every name in the certificate."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Unencrypted PEM, for gRPC, which cannot load an encrypted key; keep it in memory."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def chain_pem(chain: tuple[bytes, ...] | list[bytes]) -> bytes:
    """DER certificates, leaf first, to one PEM."""
    return b"".join(x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM) for der in chain)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER in upper-case hex pairs, as people compare it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()
