"""Whether a member's registered identity signed something."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from alliance.errors import InvalidInput
from hub.membership.model import Member


def require_signed(member: Member, signed: bytes, signature: bytes) -> None:
    """Raises: InvalidInput."""
    try:
        key = serialization.load_der_public_key(member.identity.signing_key if member.identity else b"")
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("not P-256")
        key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature) as error:
        raise InvalidInput(
            f"not signed by the identity of {member.id}",
            reason="SIGNATURE_INVALID",
            field="signature",
            remedy="sign with the identity made at joining",
        ) from error
