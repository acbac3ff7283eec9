"""Whether a certificate chain leads to the alliance's CA: path validation by the library, our profile on top.

TLS libraries check a path at the handshake and say little of why; this is for where a chain is handed over as bytes
(joining, renewing, a change of CA, `doctor`, ExplainCertificate), and says what is wrong. Sources: RFC 5280 section 6;
x509-limbo (tests/vectors/test_x509_limbo.py); ADR 0001 for P-256.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, ObjectIdentifier
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from alliance.errors import NotAuthenticated

# An anchor, its successor's cross certificate, an intermediate, the leaf.
MAX_INTERMEDIATES = 2
# What the library raises for bytes that are no certificate or request, or only look like one, some of it lazily.
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension)
_REMEDY = 'see "alliance-agent doctor"; a new certificate comes by joining or renewing'


def verify_client(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], *, at: dt.datetime) -> None:
    """That an agent's or operator's chain, leaf first, leads to one of the roots.

    Args:
        at: the moment it must be valid at, UTC.

    Raises: NotAuthenticated, CHAIN_INVALID, with what is wrong.
    """
    _require_profile(chain, roots, ExtendedKeyUsageOID.CLIENT_AUTH)
    builder = _builder(roots, at)
    _validated(lambda: builder.build_client_verifier().verify(chain[0], list(chain[1:])))


def verify_server(
    chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], *, name: str, at: dt.datetime
) -> None:
    """That a hub's chain, leaf first, leads to one of the roots and is for this DNS name or IP address.

    Raises: NotAuthenticated, CHAIN_INVALID, with what is wrong.
    """
    _require_profile(chain, roots, ExtendedKeyUsageOID.SERVER_AUTH)
    builder, subject = _builder(roots, at), _subject(name)
    _validated(lambda: builder.build_server_verifier(subject).verify(chain[0], list(chain[1:])))


def _builder(roots: Sequence[x509.Certificate], at: dt.datetime) -> PolicyBuilder:
    return PolicyBuilder().store(Store(list(roots))).time(at).max_chain_depth(MAX_INTERMEDIATES)


def _subject(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _validated(work: Callable[[], object]) -> None:
    try:
        work()
    except (VerificationError, ValueError) as error:
        raise _invalid(str(error).partition(" (encountered")[0]) from error


def _require_profile(
    chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], usage: ObjectIdentifier
) -> None:
    """What our CA always makes so, whatever else RFC 5280 would allow."""
    if not chain:
        raise _invalid("there is no certificate")
    if not roots:
        raise _invalid("there is no CA to compare with")
    if len(chain) - 1 > MAX_INTERMEDIATES:
        raise _invalid(f"{len(chain) - 1} intermediates, at most {MAX_INTERMEDIATES} is ours")
    try:
        _require_leaf(chain[0], usage)
        for certificate in (*chain, *roots):
            _require_ours(certificate)
        for certificate in chain[1:]:
            _require_intermediate(certificate)
        for root in roots:
            _require_root(root)
    # The library raises TypeError for a constraint that is no network.
    except UNREADABLE as error:
        raise _invalid(f"a certificate cannot be read: {error}") from error


def _require_leaf(leaf: x509.Certificate, usage: ObjectIdentifier) -> None:
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _invalid("the certificate's key is not P-256")
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        raise _invalid("the certificate does not say what it is for") from None
    if usages.critical or list(usages.value) != [usage]:
        raise _invalid("the certificate is for another use")
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise _invalid("the certificate names nobody") from None
    if any("*" in name for name in names.get_values_for_type(x509.DNSName)):
        raise _invalid("the certificate names a wildcard, ours never do")


def _require_ours(certificate: x509.Certificate) -> None:
    """Of every certificate, the anchors too."""
    if certificate.serial_number <= 0:
        raise _invalid("a serial number is not positive")
    if not isinstance(certificate.signature_hash_algorithm, hashes.SHA256):
        raise _invalid("a certificate is not signed over SHA-256")
    for extension in certificate.extensions:
        if extension.oid == ExtensionOID.NAME_CONSTRAINTS:
            raise _invalid("a certificate constrains names, ours never do")


def _require_intermediate(certificate: x509.Certificate) -> None:
    if _key_id(certificate) is None or _issuer_id(certificate) is None:
        raise _invalid("an intermediate does not name its key and its issuer's")


def _require_root(root: x509.Certificate) -> None:
    """An anchor names its own key, and no other as its issuer's."""
    key, issuer = _key_id(root), _issuer_id(root)
    if key is None:
        raise _invalid("a root does not name its key")
    if issuer is None and root.subject != root.issuer:
        raise _invalid("a cross-signed root does not name its issuer's key")
    if issuer is not None and (issuer.key_identifier, issuer.authority_cert_issuer) != (key.digest, None):
        raise _invalid("a root is not its own issuer")
    if any(extension.oid == ExtensionOID.EXTENDED_KEY_USAGE for extension in root.extensions):
        raise _invalid("a root says what leaves are for")


def _key_id(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None


def _issuer_id(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None


def _invalid(what: str) -> NotAuthenticated:
    return NotAuthenticated(f"the certificate chain is refused: {what}", reason="CHAIN_INVALID", remedy=_REMEDY)
