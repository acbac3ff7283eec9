"""The exact bytes that are signed, hashed or logged.

Encoding: a label, then each part as one type byte, a 64-bit big-endian length and its bytes. It is
injective: two different (label, parts) never give the same bytes. Protobuf serialisation is not
canonical, so nothing here is ever a serialised message. Changing a label or the order of parts is a
protocol change.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from alliance.errors import Corrupt
from alliance.names import BankId, Digest, GroupId, MemberId

Part = bytes | str | int

EPOCH_SECRET_SIZE = 32
CHAIN_START = Digest(bytes(32))


def encode(label: str, *parts: Part) -> bytes:
    """Encodes a labelled tuple; integers as signed 64 bit, text as UTF-8."""
    out = bytearray()
    for part in (label, *parts):
        if isinstance(part, str):
            tag, raw = b"s", part.encode()
        elif isinstance(part, int):
            tag, raw = b"i", struct.pack(">q", part)
        else:
            tag, raw = b"b", bytes(part)
        out += tag + struct.pack(">Q", len(raw)) + raw
    return bytes(out)


def decode(data: bytes) -> tuple[str, tuple[Part, ...]]:
    """The inverse of `encode`. Raises: Corrupt."""
    parts: list[Part] = []
    at = 0
    try:
        while at < len(data):
            tag, (size,) = data[at : at + 1], struct.unpack_from(">Q", data, at + 1)
            raw = data[at + 9 : at + 9 + size]
            if len(raw) != size:
                raise ValueError("short part")
            at += 9 + size
            if tag == b"s":
                parts.append(raw.decode())
            elif tag == b"i":
                parts.append(int(struct.unpack(">q", raw)[0]))
            elif tag == b"b":
                parts.append(raw)
            else:
                raise ValueError("unknown tag")
    except (struct.error, ValueError) as error:
        raise Corrupt(f"not canonical bytes: {error}", reason="CANONICAL_MALFORMED") from error
    if not parts or not isinstance(parts[0], str):
        raise Corrupt("canonical bytes without a label", reason="CANONICAL_MALFORMED")
    return parts[0], tuple(parts[1:])


def sha256(data: bytes | memoryview) -> Digest:
    return Digest(hashlib.sha256(data).digest())


def enrolment_bytes(
    alliance: str, member: MemberId, request_digest: Digest, signing_key: bytes, sealing_key: bytes
) -> bytes:
    """What a member identity signs at enrolment: it owns this channel key request, under this name."""
    return encode("alliance/v1/enrolment", alliance, member, request_digest, signing_key, sealing_key)


def agent_request_bytes(
    alliance: str, member: MemberId, agent: str, request_id: str, request_digest: Digest, time: int
) -> bytes:
    """What a member identity signs for a further or returning agent: good for one request id, at about this time.

    `agent` is empty for a new one; `time` in microseconds since the epoch.
    """
    return encode("alliance/v1/agent-request", alliance, member, agent, request_id, request_digest, time)


def explain_bytes(alliance: str, certificate_digest: Digest, time: int) -> bytes:
    """What a certificate's key signs to ask what the hub thinks of the certificate; `time` in microseconds."""
    return encode("alliance/v1/explain-certificate", alliance, certificate_digest, time)


def identity_digest(signing_key: bytes, sealing_key: bytes) -> Digest:
    """What the log holds, and members compare, of a member identity."""
    return sha256(encode("alliance/v1/identity", signing_key, sealing_key))


def admission_bytes(alliance: str, member: MemberId, role: str, identity: bytes) -> bytes:
    """What a member signs to admit another: name, role and identity digest."""
    return encode("alliance/v1/admission", alliance, member, role, identity)


def admission_digest(signed: bytes, signature: bytes) -> Digest:
    """What the log holds of an admission: binds the very signature."""
    return sha256(encode("alliance/v1/admission-signed", signed, signature))


def identity_change_bytes(alliance: str, member: MemberId, former: Digest, identity: Digest) -> bytes:
    """What both the former and the new signing key sign when a member changes its identity."""
    return encode("alliance/v1/identity-change", alliance, member, former, identity)


def epoch_commitment(group: GroupId, epoch: int, secret: bytes) -> Digest:
    """Binds an epoch secret before anyone uses it; hiding since the secret has 256 bits."""
    return Digest(hmac.new(secret, encode("alliance/v1/epoch-commitment", group, epoch), hashlib.sha256).digest())


def epoch_bytes(group: GroupId, epoch: int, creator: MemberId, commitment: bytes) -> bytes:
    """What the creator of an epoch signs."""
    return encode("alliance/v1/epoch", group, epoch, creator, commitment)


def wrap_bytes(
    group: GroupId, epoch: int, sender: MemberId, recipient: MemberId, commitment: bytes, sealed: bytes
) -> bytes:
    """What the sender of a wrap signs: the recipient and the very ciphertext are bound."""
    return encode("alliance/v1/wrap", group, epoch, sender, recipient, commitment, sha256(sealed))


def wrap_info(group: GroupId, epoch: int, recipient: MemberId) -> bytes:
    """HPKE `info` of a wrap: a sealed secret opens only as this group, epoch and recipient."""
    return encode("alliance/v1/wrap-info", group, epoch, recipient)


def batch_bytes(
    bank: BankId,
    publisher: MemberId,
    scheme: str,
    epoch: int,
    row_count: int,
    digest: bytes,
    size: int,
    time: int,
) -> bytes:
    """What a publisher signs of a batch; `time` in microseconds since the epoch."""
    return encode("alliance/v1/batch", bank, publisher, scheme, epoch, row_count, digest, size, time)


def batch_aad(bank: BankId, publisher: MemberId, scheme: str, epoch: int, row_count: int) -> bytes:
    """Associated data of a sealed batch: it opens only in this bank, from this publisher."""
    return encode("alliance/v1/batch-aad", bank, publisher, scheme, epoch, row_count)


def tombstone_bytes(bank: BankId, publisher: MemberId, batch_digest: bytes, rows: Sequence[int], time: int) -> bytes:
    """What a publisher signs to withdraw rows."""
    packed = struct.pack(f">{len(rows)}I", *rows)
    return encode("alliance/v1/tombstone", bank, publisher, batch_digest, packed, time)


def chain_step(previous: bytes, seq: int, entry: bytes) -> Digest:
    """The bank's chain: binds every entry's canonical bytes to its place in the order."""
    return sha256(encode("alliance/v1/bank-chain", previous, seq, sha256(entry)))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One leaf of the audit log: who did what to which resource, and the digest of what was exchanged.

    `time` is in microseconds since the epoch, at the hub; `digest` is empty where nothing was exchanged.
    """

    event: str
    actor: str
    subject: str
    time: int
    digest: bytes = b""

    def to_bytes(self) -> bytes:
        return encode("alliance/v1/audit", self.event, self.actor, self.subject, self.time, self.digest)

    @classmethod
    def from_bytes(cls, data: bytes) -> AuditEvent:
        """Raises: Corrupt."""
        label, parts = decode(data)
        match parts:
            case (str() as event, str() as actor, str() as subject, int() as time, bytes() as digest) if (
                label == "alliance/v1/audit"
            ):
                return cls(event=event, actor=actor, subject=subject, time=time, digest=digest)
            case _:
                raise Corrupt("not an audit event", reason="LEAF_MALFORMED")
