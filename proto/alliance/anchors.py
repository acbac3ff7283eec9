"""Trust anchors: which certificate authorities a client of the hub trusts, and how it comes to trust another.

A new anchor counts where the key of an anchor that is trusted already has signed its key and name: a cross
certificate. That one has path length 1 and an intermediate has 0, so that the key of an intermediate, which is in
the hub, can never pass for the successor of an offline root. Whoever has the audit log also checks that the log says
the same of `name_of` and `digest_of`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from alliance.chain import UNREADABLE, verify_client
from alliance.errors import Corrupt, NotAuthenticated
from alliance.v1 import pki_pb2 as pb

# Path lengths of the profile: an anchor signs its successor, which signs intermediates, which sign leaves only.
ANCHOR_PATH, CROSS_PATH, INTERMEDIATE_PATH = 2, 1, 0
ADDED, RETIRED = "ca_added", "ca_retired"
_SUSPECT = "keep this agent's home as evidence, tell the alliance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a bundle asks of a client: the anchors to trust from now on, in the bundle's order."""

    anchors: tuple[x509.Certificate, ...]
    added: tuple[x509.Certificate, ...]
    dropped: tuple[x509.Certificate, ...]

    @property
    def is_none(self) -> bool:
        return not self.added and not self.dropped


def changes(pinned: Sequence[x509.Certificate], told: Sequence[pb.Authority]) -> Change:
    """Compares what is pinned with what the hub tells. Raises: Corrupt where no pinned key vouches for a new one."""
    added: list[x509.Certificate] = []
    anchors: list[x509.Certificate] = []
    for one in told:
        anchor = _parsed(one.anchor)
        if anchor in anchors:
            continue
        if anchor not in pinned:
            require_vouched(anchor, one.cross_certificate, [*pinned, *added])
            added.append(anchor)
        anchors.append(anchor)
    if not anchors:
        raise Corrupt("the hub names no certificate authority", reason="ANCHOR_FORGED", remedy=_SUSPECT)
    dropped = tuple(anchor for anchor in pinned if anchor not in anchors)
    return Change(anchors=tuple(anchors), added=tuple(added), dropped=dropped)


def require_vouched(anchor: x509.Certificate, cross: bytes, trusted: Iterable[x509.Certificate]) -> None:
    """The anchor signs itself, and one of `trusted` has signed its key and name as its successor. Raises: Corrupt."""
    try:
        signed = x509.load_der_x509_certificate(cross)
        anchor.verify_directly_issued_by(anchor)
        limits = signed.extensions.get_extension_for_class(x509.BasicConstraints).value
        if (limits.ca, limits.path_length) != (True, CROSS_PATH):
            raise ValueError("it is no signature on a successor")
        if (signed.subject, _key(signed)) != (anchor.subject, _key(anchor)):
            raise ValueError("what was signed is another authority")
        if not any(issued(signed, one) for one in trusted):
            raise ValueError("no trusted authority signed it")
    except (*UNREADABLE, InvalidSignature, x509.ExtensionNotFound) as error:
        raise Corrupt(
            f"the hub names a certificate authority that the trusted one does not vouch for: {error}",
            reason="ANCHOR_FORGED",
            remedy=_SUSPECT,
        ) from error


def verify_chain(chain: Sequence[bytes], anchors: Sequence[x509.Certificate]) -> x509.Certificate:
    """The leaf of a client's chain (DER, leaf first) that leads to one of `anchors` (RFC 5280). Raises: Corrupt.

    Looked at from the first moment when all of them are valid: whether they are now depends on a clock, and is the
    peer's to say.
    """
    try:
        leaf, *others = [x509.load_der_x509_certificate(der) for der in chain]
        # A hub whose clock is behind dates a leaf from before its own authority.
        begun = max(one.not_valid_before_utc for one in (leaf, *others, *anchors))
        verify_client([leaf, *others], anchors, at=min(begun, leaf.not_valid_after_utc))
    except (*UNREADABLE, NotAuthenticated) as error:
        raise Corrupt(f"the certificate is not of this alliance: {error}"[:300], reason="CERTIFICATE_WRONG") from error
    return leaf


def name_of(certificate: x509.Certificate) -> str:
    """`authorities/` and 40 hexadecimal digits: what the log calls an authority."""
    return f"authorities/{certificate.fingerprint(hashes.SHA256()).hex()[:40]}"


def digest_of(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the DER: what the log holds of it."""
    return certificate.fingerprint(hashes.SHA256())


def read_pem(data: bytes) -> list[x509.Certificate]:
    """The anchors of a `ca.pem`, the active one first. Raises: Corrupt."""
    try:
        return x509.load_pem_x509_certificates(data)
    except UNREADABLE as error:
        raise Corrupt("ca.pem cannot be read", reason="ANCHORS_CORRUPT", remedy="restore it from a backup") from error


def to_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def _parsed(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except UNREADABLE as error:
        raise Corrupt("an anchor cannot be read", reason="ANCHOR_FORGED", remedy=_SUSPECT) from error


def _key(certificate: x509.Certificate) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return certificate.public_key().public_bytes(serialization.Encoding.DER, form)


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` has signed `certificate` directly."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
