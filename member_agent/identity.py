"""The member identity: the key that signs and the key that receives sealed bytes. Never leaves the member."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from alliance import admission, canonical
from alliance.errors import Corrupt
from alliance.names import MemberId
from member_agent.keystore import Secrets

# RFC 9180 base mode; AES-256-GCM since the wrapped secret has 256 bits.
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_DER = serialization.Encoding.DER


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """An identity that was given up: good for what the log has before leaf `until`."""

    signing_key: bytes
    sealing_key: bytes
    until: int


# Where the log has what was signed, None for nowhere; asked only for what a former identity signed.
Logged = Callable[[], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicIdentity:
    """Another member's public half: P-256 SPKI DER and X25519 raw; `former` are those before it, oldest first."""

    member: MemberId
    signing_key: bytes
    sealing_key: bytes
    former: tuple[Former, ...] = ()

    @property
    def fingerprint(self) -> str:
        """What members read out and compare."""
        return admission.fingerprint(canonical.identity_digest(self.signing_key, self.sealing_key))

    def verify(self, signature: bytes, signed: bytes, *, logged: Logged = lambda: None) -> None:
        """By the identity in use, or a former one, if the log had it before that was given up. Raises: Corrupt."""
        if _signs(self.signing_key, signature, signed):
            return
        for one in reversed(self.former):
            if _signs(one.signing_key, signature, signed):
                place = logged()
                if place is not None and place < one.until:
                    return
                break
        raise Corrupt(
            f"not signed by {self.member}",
            reason="SIGNATURE_INVALID",
            remedy="keep it as evidence; tell the alliance",
        )

    def has_keys_of(self, other: PublicIdentity) -> bool:
        return (self.signing_key, self.sealing_key) == (other.signing_key, other.sealing_key)

    def seal(self, secret: bytes, info: bytes) -> bytes:
        """HPKE-seals to this member only; `info` binds the purpose."""
        return _SUITE.encrypt(secret, X25519PublicKey.from_public_bytes(self.sealing_key), info=info)


class Identity:
    """This member's own identity."""

    def __init__(self, member: MemberId, held: Secrets) -> None:
        signing = serialization.load_der_private_key(held.signing_key, password=None)
        if not isinstance(signing, ec.EllipticCurvePrivateKey):
            raise Corrupt("the signing key is not P-256", reason="KEYS_CORRUPT", remedy="restore a backup")
        self._signing = signing
        self._sealing = X25519PrivateKey.from_private_bytes(held.sealing_key)
        raw = held.former_sealing_keys
        self._former = [X25519PrivateKey.from_private_bytes(raw[at : at + 32]) for at in range(0, len(raw), 32)]
        self.public = PublicIdentity(
            member=member,
            signing_key=signing.public_key().public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo),
            sealing_key=self._sealing.public_key().public_bytes_raw(),
        )

    def sign(self, data: bytes) -> bytes:
        return self._signing.sign(data, ec.ECDSA(hashes.SHA256()))

    def witness_key(self) -> Ed25519PrivateKey:
        """Cosigns heads of the log; derived, so that every agent of the member has it (docs/adr/0017-witnesses.md)."""
        secret = self._signing.private_numbers().private_value.to_bytes(32, "big")
        seed = HKDF(hashes.SHA256(), length=32, salt=None, info=b"alliance/v1/witness-key").derive(secret)
        return Ed25519PrivateKey.from_private_bytes(seed)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Also what was sealed to a former identity. Raises: Corrupt for bytes not for this member and purpose."""
        for key in (self._sealing, *reversed(self._former)):
            try:
                return _SUITE.decrypt(sealed, key, info=info)
            except (InvalidTag, ValueError):
                continue
        raise Corrupt("a wrap does not open", reason="WRAP_INVALID", remedy="tell the alliance")


def _signs(signing_key: bytes, signature: bytes, signed: bytes) -> bool:
    try:
        key = serialization.load_der_public_key(signing_key)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature):
        return False
    return True


def private_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
