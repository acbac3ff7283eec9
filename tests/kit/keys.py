"""A member's keys and what is made with them: signatures, wraps, sealed batches; no wire, no hub.

It follows the protocol by hand, from `alliance` alone, so that tests can follow it to the letter or break it in
one place. How the real agent seals and stores is the agent's affair: to the hub sealed bytes are opaque.
"""

from __future__ import annotations

import dataclasses
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from google.protobuf.timestamp_pb2 import Timestamp

from alliance import canonical, entries
from alliance.names import BankId, GroupId, MemberId
from alliance.schemes import TERMS
from alliance.v1 import enrolment_pb2, fingerprint_pb2, key_pb2

HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def request_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Both halves of a member identity."""

    signing: ec.EllipticCurvePrivateKey
    sealing: X25519PrivateKey

    @classmethod
    def generate(cls) -> Self:
        return cls(signing=ec.generate_private_key(ec.SECP256R1()), sealing=X25519PrivateKey.generate())

    @property
    def signing_key(self) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.signing.public_key().public_bytes(serialization.Encoding.DER, form)

    @property
    def sealing_key(self) -> bytes:
        return self.sealing.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return self.signing.sign(data, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A batch before it is published: the header, not yet signed over, and the bytes."""

    header: fingerprint_pb2.BatchHeader
    data: bytes


class KeyHolder:
    """A member as far as its keys go."""

    def __init__(self, name: MemberId, identity: Identity) -> None:
        self.name, self.identity = name, identity

    def sign(self, data: bytes) -> bytes:
        return self.identity.sign(data)

    def wrap(
        self, recipient: MemberId, sealing_key: bytes, group: GroupId, epoch: int, secret: bytes
    ) -> key_pb2.KeyWrap:
        """The epoch secret sealed to one member, signed."""
        commitment = canonical.epoch_commitment(group, epoch, secret)
        public = X25519PublicKey.from_public_bytes(sealing_key)
        sealed = HPKE.encrypt(secret, public, info=canonical.wrap_info(group, epoch, recipient))
        signed = canonical.wrap_bytes(group, epoch, self.name, recipient, commitment, sealed)
        return key_pb2.KeyWrap(
            group=group,
            epoch=epoch,
            recipient=recipient,
            sender=self.name,
            commitment=commitment,
            sealed=sealed,
            signature=self.sign(signed),
        )

    def epoch_request(
        self, group: GroupId, recipients: Sequence[KeyHolder], *, epoch: int = 1, secret: bytes | None = None
    ) -> tuple[key_pb2.CreateEpochRequest, bytes]:
        """What starts an epoch, and its secret."""
        made = secret or os.urandom(canonical.EPOCH_SECRET_SIZE)
        commitment = canonical.epoch_commitment(group, epoch, made)
        request = key_pb2.CreateEpochRequest(
            request_id=request_id(),
            group=group,
            epoch=epoch,
            commitment=commitment,
            signature=self.sign(canonical.epoch_bytes(group, epoch, self.name, commitment)),
            wraps=[self.wrap(to.name, to.identity.sealing_key, group, epoch, made) for to in recipients],
        )
        return request, made

    def seal(
        self,
        bank: BankId,
        plaintext: bytes,
        *,
        rows: int = 1,
        epoch: int = 1,
        scheme: str = TERMS.id,
        secret: bytes | None = None,
    ) -> Sealed:
        """Any bytes as a batch, sealed under `secret`, or under one that nobody has."""
        nonce, key = os.urandom(12), canonical.sha256(secret or os.urandom(canonical.EPOCH_SECRET_SIZE))
        aad = canonical.batch_aad(bank, self.name, scheme, epoch, rows)
        data = nonce + AESGCM(key).encrypt(nonce, plaintext, aad)
        header = fingerprint_pb2.BatchHeader(
            bank=bank,
            publisher=self.name,
            scheme=scheme,
            epoch=epoch,
            row_count=rows,
            digest=canonical.sha256(data),
            size=len(data),
            create_time=now(),
        )
        return Sealed(header=header, data=data)

    def signed(self, header: fingerprint_pb2.BatchHeader) -> fingerprint_pb2.BatchHeader:
        """The header with this member's signature over it as it is now."""
        done = fingerprint_pb2.BatchHeader()
        done.CopyFrom(header)
        done.signature = self.sign(entries.batch_bytes(header))
        return done

    def tombstone(self, sealed: Sealed, rows: Sequence[int] = ()) -> fingerprint_pb2.Tombstone:
        """A signed withdrawal of rows, all of them by default."""
        made = fingerprint_pb2.Tombstone(
            bank=sealed.header.bank,
            publisher=self.name,
            batch_digest=sealed.header.digest,
            rows=rows,
            create_time=now(),
        )
        made.signature = self.sign(entries.tombstone_bytes(made))
        return made


def tampered(signature: bytes) -> bytes:
    """The signature with its last bit flipped."""
    return signature[:-1] + bytes([signature[-1] ^ 1])


def now() -> Timestamp:
    """This moment, in whole microseconds as the protocol counts them."""
    micros = time.time_ns() // 1000
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def explain_request(
    alliance: str, key: ec.EllipticCurvePrivateKey, chain: Sequence[bytes], *, time: Timestamp | None = None
) -> enrolment_pb2.ExplainCertificateRequest:
    """What the holder of a channel certificate (DER, leaf first) sends to learn what the hub thinks of it."""
    made = enrolment_pb2.ExplainCertificateRequest(certificate_chain=chain, request_time=time or now())
    micros = made.request_time.seconds * 1_000_000 + made.request_time.nanos // 1000
    signed = canonical.explain_bytes(alliance, canonical.sha256(chain[0]), micros)
    made.signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return made


def with_header(sealed: Sealed, **fields: Any) -> Sealed:
    """The same bytes under a header that says something else."""
    header = fingerprint_pb2.BatchHeader()
    header.CopyFrom(sealed.header)
    for name, value in fields.items():
        setattr(header, name, value)
    return dataclasses.replace(sealed, header=header)
